//! Resolves one SOURCE text to files.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::directory::{in_order, input, walk};
use super::poll::Cluster;
use super::{Input, Location, glob};
use crate::error::Usage;

/// One SOURCE.
#[derive(Debug, Clone)]
pub enum DocumentSource {
    /// `-`.
    StandardInput,
    /// A file, a directory, or a glob that the shell did not expand.
    Path(String),
    /// A live cluster.
    Cluster(Arc<Cluster>),
}

impl DocumentSource {
    /// Parses a source; agents' addresses are handled by the caller.
    pub fn parse(text: &str) -> DocumentSource {
        if text == "-" { DocumentSource::StandardInput } else { DocumentSource::Path(text.to_owned()) }
    }
}

/// As the user wrote it, without credentials.
impl fmt::Display for DocumentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DocumentSource::StandardInput => f.write_str("-"),
            DocumentSource::Path(text) => f.write_str(text),
            DocumentSource::Cluster(cluster) => cluster.client.address().fmt(f),
        }
    }
}

/// The files of one source.
#[derive(Debug, Clone, Default)]
pub struct SourceFiles {
    /// By path, with their sizes if known.
    pub inputs: Vec<Input>,
    /// True if it may be several files: a directory or a glob.
    pub holds_many: bool,
}

/// Lists the files of one source. Each of them gets the number of the source.
///
/// # Errors
/// When a glob is malformed.
pub fn list_one(source: &DocumentSource, number: usize) -> Result<SourceFiles, Usage> {
    let mut listing = files(source)?;
    listing.inputs.iter_mut().for_each(|input| input.source = number);
    Ok(listing)
}

/// Lists the files of the sources, by source and path.
///
/// # Errors
/// When a glob is malformed.
pub fn list(sources: &[DocumentSource]) -> Result<Vec<Input>, Usage> {
    let mut inputs = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        inputs.extend(list_one(source, number)?.inputs);
    }
    Ok(inputs)
}

/// The files of one source, in byte order of their paths.
fn files(source: &DocumentSource) -> Result<SourceFiles, Usage> {
    let one = |input| SourceFiles { inputs: vec![Input { is_named: true, ..input }], holds_many: false };
    let text = match source {
        DocumentSource::StandardInput => return Ok(one(Input { name: "-".into(), ..Input::default() })),
        DocumentSource::Cluster(cluster) => {
            let (name, location) = (source.to_string(), Location::Cluster(Arc::clone(cluster)));
            return Ok(one(Input { name, location, ..Input::default() }));
        }
        DocumentSource::Path(text) => text,
    };
    let path = Path::new(text);
    Ok(match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => SourceFiles { inputs: in_order(walk(path)), holds_many: true },
        Ok(meta) => one(Input { size: Some(meta.len()), ..input(path.to_owned()) }),
        Err(_) if glob::may_be_glob(text) => SourceFiles { inputs: glob::matching(text)?, holds_many: true },
        Err(e) => {
            one(Input { name: text.clone(), problem: Some(format!("cannot be opened: {e}")), ..Input::default() })
        }
    })
}
