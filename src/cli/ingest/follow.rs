//! `alloclog ingest --watch` and `--stream`: follows a cluster and commits a batch to the lake at intervals.
//!
//! A receiving thread appends every document to the spool as it arrives, whether or not the lake is reachable. The main
//! thread commits the spooled documents and removes them from the spool after the commit. So neither the commit
//! interval nor an outage of the store loses documents.

use std::collections::BTreeSet;
use std::fs;
use std::mem;
use std::path::{self, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};
use xxhash_rust::xxh3::xxh3_64;

use super::args::{Args, tell};
use crate::cli::console::{Console, Verbosity};
use crate::cli::exit::{Exit, is_usage};
use crate::cli::spooling::{ReceiveEnd, receive};
use crate::error::Usage;
use crate::lake::ingest::Ledger;
use crate::lake::storage::Storage;
use crate::pipeline::ingest::Ingest;
use crate::pipeline::plural;
use crate::source::spool::{Spool, SpooledDocument};
use crate::source::{Input, Location};

/// The largest batch, in compressed bytes and in documents; only reached after an outage.
const BATCH: (u64, usize) = (64 << 20, 1_000);
/// Name of a marker file beside the spools. It says that the lake was opened before, so a missing lake is not created
/// again.
const MARK: &str = "lake";

/// Follows the cluster until interrupted.
///
/// # Errors
/// - The lake cannot be opened, and it was never opened before.
/// - Opening the lake fails with a usage error.
/// - The spool cannot be written.
/// - The cluster can no longer be followed.
/// - The last commit fails.
pub fn run(args: &Args, inputs: &[Input], console: &Console) -> anyhow::Result<Exit> {
    let base = args.spool_directory()?;
    let spool = Spool::open(&base)?;
    let mut feed = Feed { args, console, spool: &spool, base, opened: None, said: BTreeSet::new(), rejected: 0 };
    if let Err(error) = feed.open() {
        if !feed.base.join(MARK).exists() || is_usage(&error) {
            return Err(error);
        }
        feed.postpone(&error);
    }
    console.done(); // the total is unknown
    let (ended, last) = thread::scope(|scope| {
        // Nothing is sent on this channel. It closes when the receiving thread ends, even by a panic.
        let (running, ended) = channel::<()>();
        let spool = &spool;
        let receiving = scope.spawn(move || {
            let _running = running;
            receive(inputs, spool, console)
        });
        let mut next = Instant::now();
        loop {
            let waited = ended.recv_timeout(next.saturating_duration_since(Instant::now()));
            let has_ended = waited == Err(RecvTimeoutError::Disconnected);
            next = Instant::now() + args.every;
            let done = feed.commit();
            if has_ended || done.as_ref().is_err_and(is_usage) {
                stop(inputs);
                return (receiving.join(), done);
            }
            if let Err(error) = done {
                feed.postpone(&error);
            }
        }
    });
    console.print_skipped();
    let is_left =
        || format!("uncommitted documents are kept in {}: run again to commit them", spool.directory().display());
    last.with_context(is_left)?;
    match ended.map_err(|_| anyhow!("the receiving thread panicked; this is a bug in alloclog"))? {
        Err(ReceiveEnd::Spool(error)) => Err(error.into()),
        Err(ReceiveEnd::Cluster(why)) => Err(anyhow!("{why}; everything received before that is committed")),
        Ok(()) => Ok(if feed.rejected > 0 { Exit::Rejected } else { Exit::Done }),
    }
}

/// Cancels receiving.
fn stop(inputs: &[Input]) {
    for input in inputs {
        if let Location::Cluster(cluster) = &input.location {
            cluster.client.stop().cancel();
        }
    }
}

/// The committing side.
struct Feed<'f> {
    args: &'f Args,
    console: &'f Console,
    spool: &'f Spool,
    /// The directory with this spool, and with the spools of other writers of the same rows.
    base: PathBuf,
    /// The lake; `None` after opening it or committing failed.
    opened: Option<Ingest>,
    /// The errors printed since the last commit that succeeded, without digits.
    said: BTreeSet<String>,
    /// The number of places in documents that could not be read.
    rejected: u64,
}

impl Feed<'_> {
    fn open(&mut self) -> anyhow::Result<&mut Ingest> {
        if self.opened.is_none() {
            let mark = self.base.join(MARK);
            // A lake that was opened before may be unreachable now, for example because its directory is not mounted.
            // Do not create it again.
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
            let mut documents = self.spool.pending()?;
            if documents.is_empty() {
                return Ok(());
            }
            documents.truncate(fitting(&documents));
            self.commit_documents(&documents).inspect_err(|_| self.opened = None)?;
            self.spool.remove(&documents)?;
        }
    }

    fn commit_documents(&mut self, documents: &[SpooledDocument]) -> anyhow::Result<()> {
        let began = Instant::now();
        let inputs: Vec<Input> = documents.iter().map(SpooledDocument::input).collect();
        let (args, console) = (self.args, self.console);
        let opened = self.open()?;
        let staged = args.stage(opened, &inputs, Ledger::WithoutIdleStreams, console)?;
        let added = opened.commit(&staged)?;
        if let Some(word) = opened.save_cache() {
            console.print_at(Verbosity::Normal, &format!("warning: {word}"));
        }
        let verbosity = if added.batch.is_some() { Verbosity::Normal } else { Verbosity::Verbose };
        tell(&opened.lake, &staged.summary, &added, verbosity, console);
        // The batch is committed already, so a failure to write metrics must not keep its documents in the spool.
        if let Err(error) = args.write_metrics(&opened.lake, &staged.summary, &added, began.elapsed()) {
            console.print(&format!("warning: {error:#}"));
        }
        self.rejected += staged.summary.rejected;
        if !mem::take(&mut self.said).is_empty() {
            console.print_at(Verbosity::Normal, "the lake is writable again");
        }
        Ok(())
    }

    /// Prints a commit error, but the same error only once per outage. The caller retries the commit.
    fn postpone(&mut self, error: &anyhow::Error) {
        let what = format!("{error:#}");
        if self.said.insert(without_digits(&what)) {
            let held = self.spool.pending().map_or(0, |waiting| waiting.len());
            self.console.print(&format!(
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
fn fitting(documents: &[SpooledDocument]) -> usize {
    let mut bytes = 0;
    let within = documents.iter().take(BATCH.1).take_while(|document| {
        bytes += document.bytes;
        bytes <= BATCH.0
    });
    within.count().max(1)
}

impl Args {
    /// The spool directory shared by all writers that produce the same rows from the same documents. So one writer may
    /// commit the documents that another left.
    fn spool_directory(&self) -> anyhow::Result<PathBuf> {
        let spools = self
            .cache_directory()
            .context(Usage("no directory for the spool: HOME and XDG_CACHE_HOME are unset; use --cache DIR".into()))?;
        let objects = Storage::at(&self.lake)?;
        let lake = match objects.directory() {
            Some(directory) => path::absolute(directory)?.to_string_lossy().into_owned(),
            None => objects.to_string(),
        };
        let namespace = self.source.namespace.as_deref().unwrap_or("*");
        let parts = [&lake, &self.source.region(), namespace, &self.source.prefix];
        let name = parts.map(|part| format!("{}:{part}", part.len())).concat();
        Ok(spools.join(format!("spool-{:016x}", xxh3_64(name.as_bytes()))))
    }
}
