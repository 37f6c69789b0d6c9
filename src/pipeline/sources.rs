//! Resolves each SOURCE text once: to documents or to a lake.

use super::Error;
use crate::error::Usage;
use crate::intake::Summary;
use crate::lake;
use crate::source::{self, Input};

/// A resolved SOURCE.
#[derive(Debug, Clone)]
pub enum Source {
    /// Documents: files, archives, stdin, a live cluster.
    Documents(source::DocumentSource),
    /// A lake: rows of stored tables.
    Lake(String),
}

impl Source {
    /// Parses a source. The caller handles the addresses of agents.
    pub fn parse(text: &str) -> Source {
        if text != "-" && lake::is_lake(text) {
            Source::Lake(text.to_owned())
        } else {
            Source::Documents(source::DocumentSource::parse(text))
        }
    }

    /// Returns true if it is a live cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Source::Documents(source::DocumentSource::Cluster(_)))
    }
}

/// All sources of a run, with their files.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    inputs: Vec<Input>,
    lakes: Vec<String>,
    /// The names of the sources; the index is the number of the source.
    names: Vec<Name>,
}

#[derive(Debug, Clone)]
struct Name {
    /// The source as the user wrote it, without credentials.
    name: String,
    /// True if the source may be several files.
    holds_many: bool,
}

impl Sources {
    /// Parses sources: files, directories, globs, archives, `-` and lakes.
    ///
    /// # Errors
    /// When a glob is malformed.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Sources, Usage> {
        Sources::list(texts.into_iter().map(|text| Source::parse(text.as_ref())))
    }

    /// Lists the files of the sources.
    ///
    /// # Errors
    /// When a glob is malformed.
    pub fn list(sources: impl IntoIterator<Item = Source>) -> Result<Sources, Usage> {
        let mut all = Sources::default();
        for (number, source) in sources.into_iter().enumerate() {
            match source {
                Source::Lake(text) => {
                    all.names.push(Name { name: text.clone(), holds_many: false });
                    all.lakes.push(text);
                }
                Source::Documents(source) => {
                    let listing = source::list_one(&source, number)?;
                    all.names.push(Name { name: source.to_string(), holds_many: listing.holds_many });
                    all.inputs.extend(listing.inputs);
                }
            }
        }
        Ok(all)
    }

    /// Sources whose inputs are already known, such as the documents in a spool.
    pub fn of_inputs(inputs: Vec<Input>) -> Sources {
        Sources { inputs, ..Sources::default() }
    }

    /// The files, streams and clusters to read, sorted by source and then by path.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The lakes among the sources.
    pub fn lakes(&self) -> &[String] {
        &self.lakes
    }

    /// Returns true if all sources are lakes.
    pub fn are_lakes(&self) -> bool {
        !self.lakes.is_empty() && self.lakes.len() == self.names.len()
    }

    /// Checks the summary of the documents that were read. With `logs_suffice`, no allocation is required if logs of
    /// agents were read.
    ///
    /// # Errors
    /// When `strict` is set and input was rejected, or when a source has no allocations.
    pub fn check(&self, summary: &Summary, strict: bool, logs_suffice: bool) -> Result<(), Error> {
        if strict && summary.rejected > 0 {
            return Err(Error::Rejected);
        }
        if logs_suffice && summary.logs > 0 {
            return Ok(());
        }
        let Some(name) = self.without_allocations(summary) else { return Ok(()) };
        Err(match summary.log_lines {
            0 => Error::NoAllocations(name),
            lines => Error::OnlyLogs(name, super::plural(lines, "line")),
        })
    }

    /// Returns the name of a source that lacks allocations, for the error message; `None` if no source lacks them:
    /// - If no document was read, no file was skipped as known, and there are no lakes, this is the first source.
    /// - Otherwise it is the first source that may be several files and has no allocations. A stream without events and
    ///   a log do not count as such a source if another source has allocations.
    fn without_allocations(&self, summary: &Summary) -> Option<String> {
        if summary.documents > 0 || !summary.known_files.is_empty() || !self.lakes.is_empty() {
            let any = !summary.listings_by_source.is_empty() || !self.lakes.is_empty();
            let is_answer = |number: &usize| {
                summary.listings_by_source.contains_key(number)
                    || (any && (summary.quiet_sources.contains(number) || summary.log_sources.contains(number)))
            };
            let empty = self.names.iter().enumerate().find(|(number, name)| name.holds_many && !is_answer(number));
            return empty.map(|(_, name)| name.name.clone());
        }
        let first = self.names.first().map(|name| &name.name);
        first.or_else(|| self.inputs.first().map(|input| &input.name)).cloned()
    }
}
