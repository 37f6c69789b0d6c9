//! `alloclog ingest`: adds new rows from the sources to a lake.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::console::{Console, Loudness};
use super::input::{self, plural};
use super::{cluster, feed, interrupt, metrics};
use crate::error::{Exit, Usage};
use crate::intake::{self, Absences, Summary, Watch};
use crate::lake::ingest::{Added, Fresh, Kept, Ledger};
use crate::lake::seen::Seen;
use crate::lake::{Lake, ingest};
use crate::source::Input;

const EXAMPLES: &str = "\
Examples:
  alloclog ingest --lake /var/lib/alloclog                 the cluster of NOMAD_ADDR, as it is now
  alloclog ingest --lake s3://bucket/nomad --stream        follow it, and commit a batch every minute
  alloclog ingest --lake s3://bucket/nomad --region eu     from cron, as often as every minute
  alloclog ingest dumps/ --lake lake                       a directory of dumps
  alloclog report lake                                     a lake is a SOURCE for report, query and export

An ingest is atomic: it may be killed at any moment, run twice, or run in parallel with others, and
each row is in the lake once. With --stream or --watch it runs until interrupted, then commits what
it received. Received documents that are not yet committed stay in the directory of --cache, and are
committed when the same command runs again. Credentials and endpoints of a bucket come from the
environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS,
AZURE_STORAGE_ACCOUNT_NAME and the like). docs/operations.md says how often to run it.";

// The flags that other commands explain otherwise, since they read lakes, too, and write at the end.
const SOURCES: &str = "What to read; by default the live cluster of NOMAD_ADDR\n\n\
    Files, directories, quoted globs, archives, - for stdin, or the http://, https:// or unix:// address of a Nomad agent.";
const REGION: &str = "Region of all rows, and region to query [NOMAD_REGION]";
const WATCH: &str = "Follow the cluster by polling until interrupted\n\n\
    Lists with every change, and commits a batch every --every. Ends by Ctrl-C, SIGTERM or --for.";

/// Add new rows to a lake of Delta tables in a directory or bucket
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("sources", |arg| arg.long_help(SOURCES)),
    mut_arg("region", |arg| arg.long_help(REGION)),
    mut_arg("watch", |arg| arg.help(WATCH.lines().next().unwrap_or_default()).long_help(WATCH)),
)]
pub struct Args {
    #[command(flatten)]
    pub reading: input::Reading,
    /// Lake to write; created if missing
    ///
    /// A directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(long, help_heading = "Lake", value_name = "URL", env = "ALLOCLOG_LAKE")]
    pub lake: String,
    /// Directory for the deduplication cache and the spool
    ///
    /// The cache saves reading the lake. The spool holds what --watch and --stream received and did not commit yet. By
    /// default the user's cache directory.
    #[arg(long, help_heading = "Lake", value_name = "DIR", env = "ALLOCLOG_CACHE")]
    cache: Option<PathBuf>,
    /// With --watch or --stream, the time between batches
    #[arg(long, help_heading = "Lake", value_name = "TIME", value_parser = cluster::span, default_value = "60s",
        requires = "going_on")]
    pub every: Duration,
    /// Write OpenMetrics gauges of the last run or batch to FILE
    ///
    /// For the textfile collector of node_exporter.
    #[arg(long, help_heading = "Lake", value_name = "FILE")]
    metrics: Option<PathBuf>,
}

/// A lake opened for writing, with its deduplication cache.
pub struct Opened {
    pub lake: Lake,
    seen: Seen,
    /// The cache file; `None` if there is no directory for it.
    local: Option<PathBuf>,
}

/// Rows read from documents, not yet in the lake.
pub struct Taken {
    pub summary: Summary,
    pub kept: Kept,
    /// The directory of the rows, removed when this is dropped.
    _directory: TempDir,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    if let Some(lake) = args.reading.lakes().first() {
        return Err(Usage(format!("{lake} is a lake; ingest reads documents")).into());
    }
    let going_on = args.reading.going_on();
    if let Some(flag) = going_on.filter(|_| args.reading.strict) {
        let word = format!("--strict cannot be used with {flag}, which commits before it has read everything");
        return Err(Usage(word).into());
    }
    let inputs = args.reading.inputs_with(going_on.map_or(args.reading.min_interval, |_| feed::APPEND_EVERY))?;
    let console = Console::new(args.reading.loudness(), &inputs);
    interrupt::listen()?;
    if going_on.is_some() {
        cluster::announce(&inputs, &console);
        return feed::run(args, &inputs, &console);
    }
    // Open the lake before the work, so that an unwritable one fails early.
    let mut opened = args.open()?;
    cluster::announce(&inputs, &console);
    let taken = opened.add(args, &inputs, Ledger::All, &console);
    console.done();
    console.tell_passed_over();
    let taken = taken?;
    let summary = &taken.summary;
    if args.reading.strict && summary.rejected > 0 {
        bail!("input was rejected and --strict is set; nothing was ingested");
    }
    if let Some(source) = args.reading.without_allocations(&inputs, summary) {
        bail!("{source}: no allocations found; nothing was ingested");
    }
    console.stage("adding to the lake");
    let added = opened.commit(&taken.kept)?;
    if let Some(word) = opened.remember() {
        console.say_if(Loudness::Usual, &format!("warning: {word}"));
    }
    console.done();
    opened.tell(summary, &added, Loudness::Usual, &console);
    args.write_metrics(&opened.lake, summary, &added, started.elapsed())?;
    Ok(if summary.rejected > 0 { Exit::Rejected } else { Exit::Done })
}

impl Args {
    /// Opens the lake and loads its deduplication cache.
    ///
    /// # Errors
    /// When the lake cannot be read or created.
    pub fn open(&self) -> anyhow::Result<Opened> {
        self.recall(Lake::open_or_create(&self.lake)?)
    }

    /// Opens a lake that is there, and recalls what has been seen of it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open_again(&self) -> anyhow::Result<Opened> {
        self.recall(Lake::open_to_write(&self.lake)?)
    }

    fn recall(&self, lake: Lake) -> anyhow::Result<Opened> {
        let local = self.cache_directory().map(|directory| directory.join(&lake.id).join("seen.parquet"));
        let seen = ingest::recall(&lake, local.as_deref())?;
        Ok(Opened { lake, seen, local })
    }

    /// The directory for the cache and the spool; `None` if no flag or variable names one.
    pub fn cache_directory(&self) -> Option<PathBuf> {
        let of_user = || {
            let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            absolute("XDG_CACHE_HOME")
                .or_else(|| Some(absolute("HOME")?.join(".cache")))
                .map(|cache| cache.join("alloclog"))
        };
        self.cache.clone().or_else(of_user)
    }

    /// Writes the metrics of an ingest to the file of `--metrics`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_metrics(&self, lake: &Lake, summary: &Summary, added: &Added, took: Duration) -> anyhow::Result<()> {
        let Some(path) = &self.metrics else { return Ok(()) };
        metrics::write(path, lake, summary, added, took).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Opened {
    /// Reads documents and stages their rows that are not known to be in the lake.
    ///
    /// # Errors
    /// When the local disk cannot be written.
    pub fn add(&mut self, args: &Args, inputs: &[Input], ledger: Ledger, console: &Console) -> anyhow::Result<Taken> {
        let directory = interrupt::undisturbed(|unfinished| {
            let directory = ingest::scratch(self.local.as_deref())?;
            *unfinished = Some(directory.path().to_owned());
            anyhow::Ok(directory)
        })?;
        let mut fresh = Fresh::new(&mut self.seen, directory.path(), ledger)?;
        let watch = Watch { read: &|bytes| console.read(bytes), note: &|note| console.note(note) };
        let options = intake::Options { absences: Absences::Left, ..args.reading.options(None) };
        let summary = intake::run(inputs, &options, &watch, &mut |table, batch| fresh.add(table, batch));
        let kept = fresh.finish()?;
        let mut summary = summary?;
        let kept = kept.with_shown(&options.region, std::mem::take(&mut summary.shown));
        Ok(Taken { summary, kept, _directory: directory })
    }

    /// Commits staged rows to the lake.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn commit(&mut self, kept: &Kept) -> anyhow::Result<Added> {
        ingest::commit(&self.lake, &mut self.seen, kept)
    }

    /// Saves the cache for the next ingest; returns a warning if that fails.
    pub fn remember(&mut self) -> Option<String> {
        ingest::remember(&self.lake, &mut self.seen, self.local.as_deref())
    }

    /// Prints the result of an ingest.
    pub fn tell(&self, summary: &Summary, added: &Added, loudness: Loudness, console: &Console) {
        let new = added.rows.get("task_events").copied().unwrap_or_default();
        let batch = match added.batch {
            Some(number) => format!("batch {number}"),
            None => "nothing new".to_owned(),
        };
        let line = format!(
            "lake {}: {batch}: {}, {}, {}: {new} new, {} known, {} lost, {} rejected",
            self.lake.objects,
            plural(summary.documents, "document"),
            plural(summary.allocations, "allocation"),
            plural(summary.task_events, "task event"),
            summary.task_events.saturating_sub(new),
            plural(added.lost.restarts, "restart"),
            summary.rejected,
        );
        console.say_if(loudness, &line);
    }
}
