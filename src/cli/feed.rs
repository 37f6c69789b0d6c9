//! `alloclog ingest --watch` and `--stream`: follows a cluster and commits a batch to the lake at intervals.
//!
//! The receiving thread appends every document to the spool as it arrives, whether or not the lake is reachable. This
//! thread commits the spooled documents and removes them from the spool after the commit. So neither the commit
//! interval nor an outage of the store loses documents.

use std::collections::BTreeSet;
use std::fs;
use std::mem;
use std::path::{self, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use xxhash_rust::xxh3::xxh3_64;

use super::console::{Console, Loudness};
use super::ingest::{Args, Opened};
use super::input::plural;
use crate::error::{Exit, Usage};
use crate::intake::Note;
use crate::lake::ingest::Ledger;
use crate::lake::objects::Objects;
use crate::source::spool::{Spool, Waiting};
use crate::source::{self, Found, Input, Options, Place};

/// How often stream frames are appended to the spool.
pub const APPEND_EVERY: Duration = Duration::from_millis(100);
/// How often the committing thread checks whether the receiving one has ended.
const LOOK: Duration = Duration::from_millis(100);
/// The largest batch, in compressed bytes and in documents; only reached after an outage.
const BATCH: (u64, usize) = (64 << 20, 1_000);
/// Marker file beside the spools: the lake has been opened before, so a missing lake is not created again.
const MARK: &str = "lake";

/// Why receiving ended, other than by cancellation.
enum Ended {
    /// The cluster can no longer be followed.
    Cluster(String),
    /// The spool cannot be written.
    Spool(anyhow::Error),
}

/// Follows the cluster until interrupted.
///
/// # Errors
/// When the lake cannot be opened and never could be, the spool cannot be written, the cluster can no longer be
/// followed, or the last commit fails.
pub fn run(args: &Args, inputs: &[Input], console: &Console) -> anyhow::Result<Exit> {
    let base = args.spool_directory()?;
    let spool = Spool::open(&base)?;
    let mut feed = Feed { args, console, spool: &spool, base, opened: None, said: BTreeSet::new(), rejected: 0 };
    if let Err(error) = feed.open() {
        if !feed.base.join(MARK).exists() || error.is::<Usage>() {
            return Err(error);
        }
        feed.postpone(&error);
    }
    console.done(); // the total is unknown
    let (ended, last) = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(inputs, &spool, console));
        let mut next = Instant::now();
        loop {
            let has_ended = receiving.is_finished();
            if has_ended || Instant::now() >= next {
                next = Instant::now() + args.every;
                let done = feed.commit();
                if has_ended || done.as_ref().is_err_and(|error| error.is::<Usage>()) {
                    stop(inputs);
                    return (receiving.join(), done);
                }
                if let Err(error) = done {
                    feed.postpone(&error);
                }
            }
            thread::sleep(LOOK);
        }
    });
    console.tell_passed_over();
    let is_left =
        || format!("uncommitted documents are kept in {}: run again to commit them", spool.directory().display());
    last.with_context(is_left)?;
    match ended.map_err(|_| anyhow!("the receiving thread panicked; this is a bug in alloclog"))? {
        Err(Ended::Spool(error)) => Err(error),
        Err(Ended::Cluster(why)) => Err(anyhow!("{why}; everything received before that is committed")),
        Ok(()) => Ok(if feed.rejected > 0 { Exit::Rejected } else { Exit::Done }),
    }
}

/// What a command without a lake collected from a cluster.
pub struct Collected {
    spool: Spool,
    documents: Vec<Waiting>,
    /// True if following the cluster ended with an error.
    pub is_cut: bool,
}

/// Spools the cluster's documents in a directory until interrupted, after those that an earlier run left there.
///
/// # Errors
/// When the directory cannot be written.
pub fn collect(inputs: &[Input], directory: &Path, console: &Console) -> anyhow::Result<Collected> {
    let spool = Spool::open(directory)?;
    let before = spool.waiting()?.len();
    if before > 0 {
        let line = format!("resuming with {} from {}", plural(before as u64, "document"), directory.display());
        console.say_if(Loudness::Usual, &line);
    }
    console.done(); // the total is unknown
    let is_cut = match receive(inputs, &spool, console) {
        Ok(()) => false,
        Err(Ended::Spool(error)) => return Err(error),
        Err(Ended::Cluster(why)) => {
            console.note(Note::Rejected(why));
            true
        }
    };
    spool.seal()?;
    let documents = spool.waiting()?;
    Ok(Collected { spool, documents, is_cut })
}

impl Collected {
    /// The documents as inputs.
    pub fn inputs(&self) -> Vec<Input> {
        self.documents.iter().map(Waiting::input).collect()
    }

    /// Removes the documents.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.spool.remove(&self.documents)
    }
}

/// Appends the cluster's documents to the spool.
fn receive(inputs: &[Input], spool: &Spool, console: &Console) -> Result<(), Ended> {
    let mut ended = Ok(());
    source::walk(inputs, &Options::default(), &|bytes| console.read(bytes), &mut |found| {
        match found {
            Found::Document(origin, stream) => match spool.take(&origin, stream) {
                Ok(None) => {}
                Ok(Some(what)) => console.note(Note::Warning(format!("{}: {what}", origin.name))),
                Err(error) => ended = Err(Ended::Spool(error)),
            },
            Found::PassedOver(origin, why) => console.note(Note::PassedOver(format!("{}: {why}", origin.name), true)),
            Found::Told(origin, what) => console.note(Note::Warning(format!("{}: {what}", origin.name))),
            Found::Recovered(origin, what) => console.note(Note::Recovered(format!("{}: {what}", origin.name))),
            Found::Unreadable(origin, why) => ended = Err(Ended::Cluster(format!("{}: {why}", origin.name))),
        }
        ended.is_ok()
    });
    ended
}

/// Cancels receiving.
fn stop(inputs: &[Input]) {
    for input in inputs {
        if let Place::Cluster(cluster) = &input.place {
            cluster.client.stop().set();
        }
    }
}

/// The committing side.
struct Feed<'f> {
    args: &'f Args,
    console: &'f Console,
    spool: &'f Spool,
    /// The cache directory, which holds this spool and those of other writers.
    base: PathBuf,
    /// The lake; `None` after opening it or committing failed.
    opened: Option<Opened>,
    /// The errors printed since the last commit that succeeded, without digits.
    said: BTreeSet<String>,
    /// Places in documents that could not be read.
    rejected: u64,
}

impl Feed<'_> {
    fn open(&mut self) -> anyhow::Result<&mut Opened> {
        if self.opened.is_none() {
            let mark = self.base.join(MARK);
            // A lake that was here before may be unreachable, as in a directory that is not mounted.
            let opened = if mark.exists() { self.args.open_again()? } else { self.args.open()? };
            fs::write(&mark, &opened.lake.id).with_context(|| format!("cannot write {}", mark.display()))?;
            self.opened = Some(opened);
        }
        self.opened.as_mut().context("the lake is not open; this is a bug in alloclog")
    }

    /// Commits all spooled documents, in batches.
    fn commit(&mut self) -> anyhow::Result<()> {
        self.spool.seal()?;
        loop {
            let mut documents = self.spool.waiting()?;
            if documents.is_empty() {
                return Ok(());
            }
            documents.truncate(fitting(&documents));
            self.commit_documents(&documents).inspect_err(|_| self.opened = None)?;
            self.spool.remove(&documents)?;
        }
    }

    fn commit_documents(&mut self, documents: &[Waiting]) -> anyhow::Result<()> {
        let began = Instant::now();
        let inputs: Vec<Input> = documents.iter().map(Waiting::input).collect();
        let (args, console) = (self.args, self.console);
        let opened = self.open()?;
        let taken = opened.add(args, &inputs, Ledger::WithoutIdleStreams, console)?;
        let added = opened.commit(&taken.kept)?;
        if let Some(word) = opened.remember() {
            console.say_if(Loudness::Usual, &format!("warning: {word}"));
        }
        let loudness = if added.batch.is_some() { Loudness::Usual } else { Loudness::Verbose };
        opened.tell(&taken.summary, &added, loudness, console);
        // The batch is committed: a failure to write metrics must not keep its documents in the spool.
        if let Err(error) = args.write_metrics(&opened.lake, &taken.summary, &added, began.elapsed()) {
            console.say(&format!("warning: {error:#}"));
        }
        self.rejected += taken.summary.rejected;
        if !mem::take(&mut self.said).is_empty() {
            console.say_if(Loudness::Usual, "the lake is writable again");
        }
        Ok(())
    }

    /// Prints each distinct commit error once per outage; the commit is retried.
    fn postpone(&mut self, error: &anyhow::Error) {
        let what = format!("{error:#}");
        if self.said.insert(without_digits(&what)) {
            let held = self.spool.waiting().map_or(0, |waiting| waiting.len());
            self.console.say(&format!(
                "warning: {what}; retrying every {:?}, with {} waiting in {}",
                self.args.every,
                plural(held as u64, "document"),
                self.spool.directory().display(),
            ));
        }
    }
}

/// The error text without durations and counts of retries, which differ each time.
fn without_digits(what: &str) -> String {
    what.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// How many of the documents, at least one, fit the next batch.
fn fitting(documents: &[Waiting]) -> usize {
    let mut bytes = 0;
    let within = documents.iter().take(BATCH.1).take_while(|document| {
        bytes += document.bytes;
        bytes <= BATCH.0
    });
    within.count().max(1)
}

impl Args {
    /// The spool directory shared by all writers that produce the same rows from the same documents, so that one may
    /// commit what another left.
    fn spool_directory(&self) -> anyhow::Result<PathBuf> {
        let place = self
            .cache_directory()
            .context(Usage("no directory for the spool: HOME and XDG_CACHE_HOME are unset; use --cache DIR".into()))?;
        let objects = Objects::at(&self.lake)?;
        let lake = match objects.directory() {
            Some(directory) => path::absolute(directory)?.to_string_lossy().into_owned(),
            None => objects.to_string(),
        };
        let namespace = self.reading.namespace.as_deref().unwrap_or("*");
        let parts = [&lake, &self.reading.label(), namespace, &self.reading.prefix];
        let name = parts.map(|part| format!("{}:{part}", part.len())).concat();
        Ok(place.join(format!("spool-{:016x}", xxh3_64(name.as_bytes()))))
    }
}
