//! Resolves SOURCE texts to documents. A document has an origin, a time of observation, and decompressed bytes as a
//! stream.
//!
//! The format of a file is detected from its content: gzip, zstd, tar and zip are read at any nesting, without
//! unpacking to disk; JSON and logs of agents are passed on; other files are skipped and reported.

mod agent_log;
mod archive;
mod budget;
mod bundle;
mod directory;
mod event_stream;
pub mod fetch_file;
mod glob;
mod known_files;
mod outage;
mod poll;
mod sniff;
mod spec;
pub mod spool;
mod tar;
mod zip;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::time;

use known_files::FileKey;
pub use known_files::KnownFiles;
pub use poll::{Cluster, Watching};
pub use spec::{DocumentSource, SourceFiles, list, list_one};

/// Facts that the user states about all documents of a run.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// `--observed-at`, in nanoseconds since the epoch.
    pub observed_at: Option<i64>,
    /// `--full-listing`: the namespace whose allocations every document with allocations lists completely; `*` for all
    /// namespaces.
    pub full_listing: Option<String>,
}

/// The source of a document's time of observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedFrom {
    /// `--observed-at`.
    Flag,
    /// The time of alloclog's own request.
    Fetched,
    /// A UTC time in the file's name.
    Name,
    /// The newest ModifyTime in the document, by the server's clock.
    Content,
    /// The newest CreateTime, for a document without a ModifyTime. The document was observed at this time or later.
    Created,
}

impl ObservedFrom {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            ObservedFrom::Flag => "flag",
            ObservedFrom::Fetched => "fetched",
            ObservedFrom::Name => "name",
            ObservedFrom::Content => "content",
            ObservedFrom::Created => "created",
        }
    }
}

/// The error of a stream that broke and will be requested again. The part that was read is kept, and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WillRetry(pub String);

impl WillRetry {
    /// Returns true if the error of a stream contains a `WillRetry`.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<WillRetry>())
    }
}

/// The origin of a document, and the facts known about the document before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The number of its source.
    pub source: usize,
    /// The source as the user wrote it; inside an archive followed by `:` and the path.
    pub name: String,
    /// When it was observed, in nanoseconds since the epoch, and the source of that time.
    pub observed: Option<(i64, ObservedFrom)>,
    /// The namespace in alloclog's request; `None` for other documents. Unlike `full_listing`, this field does not mean
    /// that the listing is complete.
    pub namespace: Option<String>,
    /// The namespace whose allocations the document lists completely (`*`: all namespaces); `None` if the listing may
    /// be incomplete.
    pub full_listing: Option<String>,
    /// X-Nomad-Index of the answer.
    pub nomad_index: Option<i64>,
    /// True if the file was named on the command line. Then skipping it is always reported.
    pub is_named: bool,
    /// True if the document is a list of nodes that belongs to a listing.
    pub is_nodes: bool,
    /// True if the document consists of frames from a live event stream.
    pub is_stream: bool,
}

impl Origin {
    /// The namespace to assume for allocations without this field, as in listings of Nomad before 0.9: the listed
    /// namespace, or `default` if it is not known.
    pub fn listed_namespace(&self) -> &str {
        let listed = self.full_listing.as_deref().or(self.namespace.as_deref());
        listed.filter(|name| *name != "*").unwrap_or("default")
    }
}

pub use agent_log::{SEARCHED as LOG_HEAD, is_log};
pub use bundle::client_node;

/// The reason for skipping an empty file. This is not an error, because the file may be a recording of a stream without
/// events.
pub const EMPTY: &str = "is empty";

/// An item of the walk over the sources, in order of arrival.
pub enum Found<'r> {
    /// A document, which must be read to its end before the next.
    Document(Origin, &'r mut dyn Read),
    /// The log of an agent, which must be read to its end before the next.
    Log(Origin, &'r mut dyn Read),
    /// A file without allocations, and why.
    Skipped(Origin, String),
    /// A file that could not be read, and why.
    Unreadable(Origin, String),
    /// A warning about a problem that loses no data.
    Warning(Origin, String),
    /// A source that had been reported as unavailable answers again.
    Recovered(Origin, String),
    /// A file that is not read, because its rows are known. The number is its key in [`KnownFiles`].
    Known(Origin, u128),
    /// The end of a file that did not change while it was read. The number is its key in [`KnownFiles`].
    EndOfFile(u128),
}

impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Document(origin, _) => write!(f, "Document({})", origin.name),
            Found::Log(origin, _) => write!(f, "Log({})", origin.name),
            Found::Skipped(origin, why) => write!(f, "PassedOver({}, {why})", origin.name),
            Found::Unreadable(origin, why) => write!(f, "Unreadable({}, {why})", origin.name),
            Found::Warning(origin, what) => write!(f, "Warning({}, {what})", origin.name),
            Found::Recovered(origin, what) => write!(f, "Recovered({}, {what})", origin.name),
            Found::Known(origin, _) => write!(f, "Known({})", origin.name),
            Found::EndOfFile(_) => write!(f, "EndOfFile"),
        }
    }
}

/// Called for each item; `false` ends the walk.
pub type Visit<'v> = dyn FnMut(Found<'_>) -> bool + 'v;

/// The location of an input's bytes.
#[derive(Debug, Clone, Default)]
pub enum Location {
    /// Standard input.
    #[default]
    StandardInput,
    /// A file.
    File(PathBuf),
    /// A live cluster.
    Cluster(Arc<Cluster>),
}

/// One file, standard input, or a live cluster.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// The number of its source.
    pub source: usize,
    /// Its name in messages.
    pub name: String,
    /// Its location.
    pub location: Location,
    /// Its size in bytes, before decompression; `None` if unknown.
    pub size: Option<u64>,
    /// True if it was named on the command line.
    pub is_named: bool,
    /// Why it cannot be read; `None` if no problem is known yet.
    pub problem: Option<String>,
    /// Why it is skipped; `None` if it is not skipped.
    pub skipped: Option<&'static str>,
}

/// Walks over the inputs and calls `visit` for every document. `read` is called with the number of bytes read from
/// files, for progress. Files that `known` contains are not read. Without `known`, all files are read, and `visit` is
/// not called at their ends.
pub fn walk(
    inputs: &[Input],
    options: &SourceOptions,
    known: Option<&KnownFiles>,
    read: &(dyn Fn(u64) + Sync),
    visit: &mut Visit<'_>,
) {
    let mut flags = bundle::Flags::default();
    for input in inputs {
        let origin = origin(input, options);
        if let Some(problem) = &input.problem {
            if !visit(Found::Unreadable(origin, problem.clone())) {
                return;
            }
            continue;
        }
        if let Some(why) = input.skipped {
            if !visit(Found::Skipped(origin, why.into())) {
                return;
            }
            continue;
        }
        let file = match (&input.location, known) {
            (Location::File(path), Some(known)) => known.key(path, &origin, options),
            _ => None,
        };
        if let Some(file) = &file
            && known.is_some_and(|known| known.contains(file.key))
        {
            read(input.size.unwrap_or_default());
            if !visit(Found::Known(origin, file.key)) {
                return;
            }
            continue;
        }
        let goes_on = match &input.location {
            Location::Cluster(cluster) => cluster.walk(&origin, read, visit),
            Location::StandardInput => {
                let stream = Counted { inner: io::stdin().lock(), read };
                sniff::InputWalk::new(options, visit, &mut flags).input(stream, &origin)
            }
            Location::File(path) => match File::open(path) {
                Ok(file) => {
                    sniff::InputWalk::new(options, visit, &mut flags).file(Counted { inner: file, read }, path, &origin)
                }
                Err(e) => visit(Found::Unreadable(origin, format!("cannot be opened: {e}"))),
            },
        };
        if !goes_on || file.filter(FileKey::is_unchanged).is_some_and(|file| !visit(Found::EndOfFile(file.key))) {
            return;
        }
    }
}

/// What is known about an input's document before it is read.
fn origin(input: &Input, options: &SourceOptions) -> Origin {
    let file_name = match &input.location {
        Location::File(path) => path.file_name().map(|n| n.to_string_lossy().into_owned()),
        Location::StandardInput | Location::Cluster(_) => None,
    };
    Origin {
        source: input.source,
        name: input.name.clone(),
        observed: observed(options, file_name.as_deref()),
        namespace: None,
        full_listing: options.full_listing.clone(),
        nomad_index: None,
        is_named: input.is_named,
        is_nodes: false,
        is_stream: false,
    }
}

/// The time of observation from the flag or the file's name. The modification time of a file or archive is never
/// used, because it changes with every copy.
fn observed(options: &SourceOptions, file_name: Option<&str>) -> Option<(i64, ObservedFrom)> {
    let flag = options.observed_at.map(|ns| (ns, ObservedFrom::Flag));
    flag.or_else(|| Some((time::in_file_name(file_name?)?, ObservedFrom::Name)))
}

/// Counts the bytes read through it.
struct Counted<'c, R> {
    inner: R,
    read: &'c (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.read)(n as u64);
        Ok(n)
    }
}

impl<R: io::Seek> io::Seek for Counted<'_, R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
