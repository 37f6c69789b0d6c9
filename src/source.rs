//! SOURCE texts to documents: where each comes from, when it was observed, and its decompressed bytes as a stream.
//!
//! What a file holds is told by its content: gzip, zstd, tar and zip are looked into, however nested, and never
//! unpacked to disk; JSON is handed on; the rest is passed over and named.

mod archive;
mod budget;
mod bundle;
mod cluster;
mod content;
mod directory;
mod follow;
mod glob;
pub mod kept;
mod outage;
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

pub use cluster::{Cluster, Watching};
pub use spec::{Listing, Source, list, list_one};

/// What the user says about all documents of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--observed-at`, in nanoseconds since the epoch.
    pub observed_at: Option<i64>,
    /// `--full-listing`: every document that lists allocations lists all of this namespace, `*` for all.
    pub full_listing: Option<String>,
}

/// What tells when a document showed the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedFrom {
    /// `--observed-at`.
    Flag,
    /// A request of our own.
    Fetched,
    /// A UTC time in the file's name.
    Name,
    /// The newest ModifyTime in the document, by the server's clock.
    Content,
    /// The newest CreateTime in a document without a ModifyTime: it was observed then or later.
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

/// What an error of a document's stream holds when it breaks off and its source is asked for all of it again: what came
/// is kept, and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AskedAgain(pub String);

impl AskedAgain {
    /// Whether an error of a stream is one.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<AskedAgain>())
    }
}

/// Where a document comes from, and what is known of it before it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The number of its source.
    pub source: usize,
    /// The source as the user wrote it, with the path inside an archive behind `:`.
    pub name: String,
    /// When it was observed, in nanoseconds since the epoch, and what says so.
    pub observed: Option<(i64, ObservedFrom)>,
    /// The namespace that was asked for, where we asked; whether all of it is listed is another question.
    pub namespace: Option<String>,
    /// The namespace of which it lists every allocation (`*`: of all); `None` when it may not list all.
    pub full_listing: Option<String>,
    /// X-Nomad-Index of the answer.
    pub nomad_index: Option<i64>,
    /// It stood on the command line itself, so that passing it over is worth a word.
    pub is_named: bool,
    /// It lists nodes, and allocations beside it.
    pub is_nodes: bool,
    /// It is frames of a live event stream.
    pub is_stream: bool,
}

impl Origin {
    /// The namespace of allocations that name none, as in lists of Nomad before 0.9: the one that was listed by its name,
    /// else `default`.
    pub fn listed_namespace(&self) -> &str {
        let listed = self.full_listing.as_deref().or(self.namespace.as_deref());
        listed.filter(|name| *name != "*").unwrap_or("default")
    }
}

/// Why an empty file is passed over: a recording of a stream from which nothing came is one.
pub const EMPTY: &str = "is empty";

/// What walking the sources brings, in order of arrival.
pub enum Found<'r> {
    /// A document, to be read to its end before the next.
    Document(Origin, &'r mut dyn Read),
    /// Something that holds no allocations, and why.
    PassedOver(Origin, String),
    /// Something that could not be read, and why.
    Unreadable(Origin, String),
    /// Something worth a word that loses nothing.
    Told(Origin, String),
    /// A source that was told to be in trouble answers again.
    Recovered(Origin, String),
}

impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Document(origin, _) => write!(f, "Document({})", origin.name),
            Found::PassedOver(origin, why) => write!(f, "PassedOver({}, {why})", origin.name),
            Found::Unreadable(origin, why) => write!(f, "Unreadable({}, {why})", origin.name),
            Found::Told(origin, what) => write!(f, "Told({}, {what})", origin.name),
            Found::Recovered(origin, what) => write!(f, "Recovered({}, {what})", origin.name),
        }
    }
}

/// Gets each thing that is found; `false` ends the walk.
pub type Visit<'v> = dyn FnMut(Found<'_>) -> bool + 'v;

/// Where an input's bytes are.
#[derive(Debug, Clone, Default)]
pub enum Place {
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
    /// How it is named to the user.
    pub name: String,
    /// Where its bytes are.
    pub place: Place,
    /// Its size in bytes, compressed as it is; `None` when not known.
    pub size: Option<u64>,
    /// It stood on the command line itself.
    pub is_named: bool,
    /// Why it cannot be read, where that is known already.
    pub problem: Option<String>,
    /// Why it is not looked at, if it is not.
    pub passed_over: Option<&'static str>,
}

/// Walks through the inputs and shows `visit` every document. `read` is told the bytes that were read of the files,
/// for progress.
pub fn walk(inputs: &[Input], options: &Options, read: &(dyn Fn(u64) + Sync), visit: &mut Visit<'_>) {
    let mut flags = bundle::Flags::default();
    for input in inputs {
        let origin = origin(input, options);
        if let Some(problem) = &input.problem {
            if !visit(Found::Unreadable(origin, problem.clone())) {
                return;
            }
            continue;
        }
        if let Some(why) = input.passed_over {
            if !visit(Found::PassedOver(origin, why.into())) {
                return;
            }
            continue;
        }
        let goes_on = match &input.place {
            Place::Cluster(cluster) => cluster.walk(&origin, read, visit),
            Place::StandardInput => {
                let stream = Counted { inner: io::stdin().lock(), read };
                content::Walk::new(options, visit, &mut flags).input(stream, &origin)
            }
            Place::File(path) => match File::open(path) {
                Ok(file) => {
                    content::Walk::new(options, visit, &mut flags).file(Counted { inner: file, read }, path, &origin)
                }
                Err(e) => visit(Found::Unreadable(origin, format!("cannot be opened: {e}"))),
            },
        };
        if !goes_on {
            return;
        }
    }
}

/// What is known of an input's document before its content is.
fn origin(input: &Input, options: &Options) -> Origin {
    let file_name = match &input.place {
        Place::File(path) => path.file_name().map(|n| n.to_string_lossy().into_owned()),
        Place::StandardInput | Place::Cluster(_) => None,
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

/// When a document was observed, as far as the flag and its file's name tell. Never a file's or an archive's own time:
/// those change with every copy.
fn observed(options: &Options, file_name: Option<&str>) -> Option<(i64, ObservedFrom)> {
    let flag = options.observed_at.map(|ns| (ns, ObservedFrom::Flag));
    flag.or_else(|| Some((time::in_file_name(file_name?)?, ObservedFrom::Name)))
}

/// Tells how many bytes go through it.
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
