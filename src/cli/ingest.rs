//! `alloclog ingest`: what is new in the sources to a lake.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};

use super::console::{Console, Loudness};
use super::input::{self, plural};
use super::{cluster, interrupt, metrics};
use crate::error::{Exit, Usage};
use crate::intake::{self, Watch};
use crate::lake::{Lake, ingest};

const EXAMPLES: &str = "\
Examples:
  alloclog ingest --lake /var/lib/alloclog                 the cluster of NOMAD_ADDR, as it is now
  alloclog ingest --lake s3://bucket/nomad --region eu     from cron, every minute if wanted
  alloclog ingest dumps/ --lake lake                       all that a directory of dumps shows
  alloclog report lake                                     a lake is a SOURCE for report, query and export

An ingest has happened, or it has not: it may be killed at any moment, run twice, or run beside others, and a row is in
the lake once. Credentials and endpoints of a bucket come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and the like). docs/operations.md says how often to run it.";

/// Add what is new to a lake: Delta tables in a directory or a bucket, which any warehouse reads
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    reading: input::Reading,
    /// The lake: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; made if it is not there
    #[arg(long, value_name = "URL", env = "ALLOCLOG_LAKE")]
    lake: String,
    /// Where to keep what has been seen, so that the lake need not be read; without it, the user's cache directory
    #[arg(long, value_name = "DIR", env = "ALLOCLOG_CACHE")]
    cache: Option<PathBuf>,
    /// Write what the last run did to this file, as OpenMetrics text for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    if let Some(lake) = args.reading.lakes().first() {
        return Err(Usage(format!("{lake} is a lake; what is ingested are documents")).into());
    }
    if let Some(flag) = args.reading.going_on() {
        let word = format!("{flag} is not for ingest: run it as often as wanted, it reads only what is new");
        return Err(Usage(word).into());
    }
    let inputs = args.reading.inputs()?;
    let console = Console::new(args.reading.loudness(), &inputs);
    interrupt::listen()?;
    // An unwritable lake is found before the work.
    let lake = Lake::open_or_create(&args.lake)?;
    let local = args.cache_file(&lake);
    let mut seen = ingest::recall(&lake, local.as_deref())?;
    cluster::announce(&inputs, &console);
    let directory = interrupt::undisturbed(|unfinished| {
        let directory = ingest::scratch(local.as_deref())?;
        *unfinished = Some(directory.path().to_owned());
        anyhow::Ok(directory)
    })?;
    let mut fresh = ingest::Fresh::new(&mut seen, directory.path())?;
    let watch = Watch { read: &|bytes| console.read(bytes), note: &|note| console.note(note) };
    let options = args.reading.options(None);
    let summary = intake::run(&inputs, &options, &watch, &mut |table, batch| fresh.add(table, batch));
    let kept = fresh.finish()?;
    console.done();
    console.tell_passed_over();
    let summary = summary?;
    if args.reading.strict && summary.rejected > 0 {
        bail!("nothing was ingested, since --strict lets nothing be rejected");
    }
    if let Some(source) = args.reading.without_allocations(&inputs, &summary) {
        bail!("{source}: nothing there holds allocations; nothing was ingested");
    }
    console.stage("adding to the lake");
    let added = ingest::commit(&lake, &mut seen, &kept)?;
    if let Some(word) = ingest::remember(&lake, &mut seen, local.as_deref()) {
        console.say_if(Loudness::Usual, &format!("warning: {word}"));
    }
    console.done();
    tell(&lake, &summary, &added, &console);
    if let Some(path) = &args.metrics {
        metrics::write(path, &lake, &summary, &added, started.elapsed())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(if summary.rejected > 0 { Exit::Rejected } else { Exit::Done })
}

impl Args {
    /// The file of what has been seen; `None` where there is no place for it.
    fn cache_file(&self, lake: &Lake) -> Option<PathBuf> {
        let of_user = || {
            let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            absolute("XDG_CACHE_HOME")
                .or_else(|| Some(absolute("HOME")?.join(".cache")))
                .map(|cache| cache.join("alloclog"))
        };
        let directory = self.cache.clone().or_else(of_user)?;
        Some(directory.join(&lake.id).join("seen.parquet"))
    }
}

fn tell(lake: &Lake, summary: &intake::Summary, added: &ingest::Added, console: &Console) {
    let new = added.rows.get("task_events").copied().unwrap_or_default();
    let batch = match added.batch {
        Some(number) => format!("batch {number}"),
        None => "nothing new".to_owned(),
    };
    let line = format!(
        "lake {}: {batch}: {}, {}, {}: {new} new, {} known, {} lost, {} rejected",
        lake.objects,
        plural(summary.documents, "document"),
        plural(summary.allocations, "allocation"),
        plural(summary.task_events, "task event"),
        summary.task_events.saturating_sub(new),
        plural(added.lost.restarts, "restart"),
        summary.rejected,
    );
    console.say_if(Loudness::Usual, &line);
}
