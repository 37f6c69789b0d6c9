//! Flags of `alloclog ingest`, and its messages.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::cli::args::SourceArgs;
use crate::cli::console::{Console, Verbosity};
use crate::cli::{cluster, metrics, result_file, signals};
use crate::error::Usage;
use crate::intake::Summary;
use crate::lake::Lake;
use crate::lake::ingest::{CommitSummary, Ledger};
use crate::pipeline::ingest::{Ingest, Staged};
use crate::pipeline::{Sources, log_lines, plural};
use crate::source::Input;

const EXAMPLES: &str = "\
Examples:
  alloclog ingest --lake /var/lib/alloclog   the cluster of NOMAD_ADDR
  alloclog ingest --lake s3://bucket/nomad --stream       follow the cluster
  alloclog ingest --lake s3://bucket/nomad --region eu    from cron
  alloclog ingest dumps/ --lake lake         a directory of dumps
  alloclog report lake                       a lake is a SOURCE elsewhere

An ingest is atomic: it may be killed at any moment, run twice, or run in
parallel with others, and each row is in the lake once. With --stream or
--watch it runs until interrupted, then commits what it received. Received
documents that are not yet committed stay in the directory of --cache, and are
committed when the same command runs again. Credentials and endpoints of a
bucket come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and the like).
docs/operations.md says how often to run it.";

// Help texts that differ from those of other commands. Other commands also read lakes, and write only at the end.
const SOURCES: &str = "What to read; by default the live cluster of NOMAD_ADDR\n\n\
    Files, directories, quoted globs, archives, - for stdin, or the http://, https:// or unix:// address of a Nomad agent.";
const REGION: &str = "Region of all rows, and region to query [NOMAD_REGION]";
const WATCH: &str = "Follow the cluster by polling until interrupted\n\n\
    Lists again after each change, and commits a batch every --every. Ends by Ctrl-C, SIGTERM or --for.";

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
    pub source: SourceArgs,
    /// Lake to write; created if missing
    ///
    /// A directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(long, help_heading = "Lake", value_name = "URL", env = "ALLOCLOG_LAKE")]
    pub lake: String,
    /// Directory for the deduplication cache and the spool
    ///
    /// With the cache, an ingest need not read the lake. The spool contains the documents that --watch and
    /// --stream received and have not yet committed. The default is the user's cache directory.
    #[arg(long, help_heading = "Lake", value_name = "DIR", env = "ALLOCLOG_CACHE")]
    cache: Option<PathBuf>,
    /// With --watch or --stream, the time between batches
    #[arg(long, help_heading = "Lake", value_name = "TIME", value_parser = cluster::span, default_value = "60s",
        requires = "follow")]
    pub every: Duration,
    /// Write OpenMetrics gauges of the last run or batch to FILE
    ///
    /// For the textfile collector of node_exporter.
    #[arg(long, help_heading = "Lake", value_name = "FILE")]
    metrics: Option<PathBuf>,
}

impl Args {
    /// Opens the lake and loads its deduplication cache.
    ///
    /// # Errors
    /// When the lake cannot be read or created.
    pub fn open(&self) -> anyhow::Result<Ingest> {
        Ok(Ingest::open(&self.lake, self.cache_directory())?)
    }

    /// Opens an existing lake, and loads its deduplication cache.
    ///
    /// # Errors
    /// When the lake does not exist or cannot be read.
    pub fn open_again(&self) -> anyhow::Result<Ingest> {
        Ok(Ingest::open_again(&self.lake, self.cache_directory())?)
    }

    /// Reads documents, and stages those of their rows that are not known to be in the lake.
    ///
    /// # Errors
    /// When the local disk cannot be written.
    pub fn stage(
        &self,
        opened: &mut Ingest,
        inputs: &[Input],
        ledger: Ledger,
        console: &Console,
    ) -> anyhow::Result<Staged> {
        let directory = signals::with_cleanup_lock(|unfinished| {
            let directory = opened.scratch()?;
            *unfinished = Some(directory.path().to_owned());
            anyhow::Ok(directory)
        })?;
        Ok(opened.stage(inputs, &self.source.intake_options(), ledger, directory, console)?)
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

    /// Refuses a file of `--metrics` that is also an input.
    ///
    /// # Errors
    /// A usage error that names the file.
    pub fn refuse_metrics_over(&self, sources: &Sources) -> Result<(), Usage> {
        let Some(path) = &self.metrics else { return Ok(()) };
        result_file::refuse_input("--metrics", path, sources, &[])
    }

    /// Writes the metrics of an ingest to the file of `--metrics`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_metrics(
        &self,
        lake: &Lake,
        summary: &Summary,
        added: &CommitSummary,
        took: Duration,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.metrics else { return Ok(()) };
        metrics::write(path, lake, summary, added, took).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Prints the result of an ingest.
pub fn tell(lake: &Lake, summary: &Summary, added: &CommitSummary, verbosity: Verbosity, console: &Console) {
    let new = added.rows.get("task_events").copied().unwrap_or_default();
    let batch = match added.batch {
        Some(number) => format!("batch {number}"),
        None => "nothing new".to_owned(),
    };
    let new_lines = added.rows.get("log_events").copied().unwrap_or_default();
    let logs = log_lines(summary, new_lines);
    let known = match summary.known_files.len() as u64 {
        0 => String::new(),
        files => format!(", {} as ingested before", plural(files, "file")),
    };
    let line = format!(
        "lake {}: {batch}: {}{known}, {}, {}: {new} new, {} known{logs}, {} lost, {} rejected",
        lake.storage,
        plural(summary.documents, "document"),
        plural(summary.allocations, "allocation"),
        plural(summary.task_events, "task event"),
        summary.task_events.saturating_sub(new),
        plural(added.lost.restarts, "restart"),
        summary.rejected,
    );
    console.print_at(verbosity, &line);
}
