//! `alloclog lake`: shows, checks and maintains a lake.

use std::fmt::Write;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::console::{Console, Verbosity};
use super::exit::Exit;
use super::{cluster, metrics, print, signals};
use crate::error::Usage;
use crate::intake::Observer;
use crate::lake::check::{self, CheckReport, Mend, Remedy};
use crate::lake::scan::DEFAULT_SPAN;
use crate::lake::{Lake, compact, info, remask, vacuum};
use crate::pipeline::{LostRestarts, Pipeline, Source, Sources, lost_restarts, plural};
use crate::query;
use crate::store::Store;
use crate::tables::Table;
use crate::time;

const EXAMPLES: &str = "\
Examples:
  alloclog lake info s3://bucket/nomad
  alloclog lake check /var/lib/alloclog      exit code 1 if anything is wrong
  alloclog lake check lake --repair --dry-run       repairs and rows to lose
  alloclog lake compact s3://bucket/nomad    daily: merge small files
  alloclog lake compact lake --remask        mask old rows by the new rules
  alloclog lake vacuum s3://bucket/nomad --dry-run  what would be removed";

/// Show, check and maintain a lake
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: LakeCommand,
}

#[derive(Debug, Subcommand)]
enum LakeCommand {
    /// Show tables, files, bytes, rows, time span and batches
    Info {
        #[command(flatten)]
        common: Common,
        /// Output format
        #[arg(long, value_enum, default_value = "text")]
        format: InfoFormat,
    },
    /// Check a lake for damage; exit code 1 if any is found
    ///
    /// Checks that every file has the bytes that were written, every row is there once, every batch is in every table,
    /// and the logs are consistent. Reads all files. Files without a hash (of an older version or another engine) are
    /// only checked to be readable.
    Check {
        #[command(flatten)]
        common: Common,
        /// Repair damage that loses no row
        ///
        /// Repairs damaged Delta logs, unfinished batches and duplicate rows.
        #[arg(long)]
        repair: bool,
        /// Drop files proven to be missing or damaged; their rows are lost
        #[arg(long, requires = "repair")]
        drop_damaged: bool,
        /// Only print repairs and the rows they would lose
        ///
        /// The exit code is 1 if there is any damage, because the damage remains.
        #[arg(long, requires = "repair")]
        dry_run: bool,
    },
    /// Merge small files into large sorted ones and trim the Delta logs
    ///
    /// Readers and ingests can run at the same time. The small files stay until a vacuum.
    Compact {
        #[command(flatten)]
        common: Common,
        /// Also rewrite files with secrets that older versions did not mask
        ///
        /// Reads all files with texts. The old files stay until a vacuum. Files written by `alloclog fetch`
        /// contain Nomad's answers unmasked.
        #[arg(long)]
        remask: bool,
    },
    /// Remove files that no table references any longer
    Vacuum {
        #[command(flatten)]
        common: Common,
        /// Only files unreferenced for this long; at least 24h
        ///
        /// The time is measured by the store's clock.
        #[arg(long, value_name = "TIME", value_parser = cluster::span, default_value = "7d")]
        older_than: std::time::Duration,
        /// Only list the files
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of all subcommands.
#[derive(Debug, clap::Args)]
struct Common {
    /// Lake: a directory, s3://, gs:// or az:// URL
    ///
    /// A directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(value_name = "URL", env = "ALLOCLOG_LAKE")]
    lake: String,
    /// Print only errors
    #[arg(short, long)]
    quiet: bool,
}

/// Output format of `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InfoFormat {
    /// Text for people
    Text,
    /// One JSON object
    Json,
    /// OpenMetrics gauges for node_exporter's textfile collector
    Openmetrics,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    signals::listen()?;
    match &args.command {
        LakeCommand::Info { common, format } => {
            let lake = Lake::open(&common.lake)?;
            let about = InfoOutput { info: info::info(&lake)?, coverage: coverage(&common.lake)? };
            match format {
                InfoFormat::Text => print(text(&lake, &about).as_bytes()),
                InfoFormat::Openmetrics => print(openmetrics(&lake, &about).as_bytes()),
                InfoFormat::Json => print((serde_json::to_string_pretty(&about)? + "\n").as_bytes()),
            }
        }
        LakeCommand::Check { common, repair, drop_damaged, dry_run } => {
            let console = Console::new(Verbosity::from_flags(common.quiet, false), &[]);
            let (lake, lost) = match repair {
                true => Lake::open_to_repair(&common.lake, *dry_run)?,
                false => (Lake::open(&common.lake)?, None),
            };
            let wanted = match (repair, drop_damaged) {
                (false, _) => Mend::Nothing,
                (true, false) => Mend::WithoutLoss,
                (true, true) => Mend::DropDamaged,
            };
            let mend = if *dry_run { Mend::Nothing } else { wanted };
            let mut report = check::check(&lake, mend, &mut |what| console.stage(&format!("checking {what}")))?;
            console.done();
            report.wrong.splice(0..0, lost);
            tell(&report, wanted, *dry_run, &console);
            let left = report.wrong.iter().filter(|wrong| !wrong.remedy.is_in(mend)).count();
            if left == 0 {
                console.print_at(Verbosity::Normal, &verdict(&lake, &report));
            }
            Ok(if left == 0 { Exit::Done } else { Exit::Failed })
        }
        LakeCommand::Compact { common, remask } => {
            let (lake, console) = common.open(true)?;
            if *remask {
                let done = remask::remask(&lake, &mut |what| console.stage(&format!("masking {what}")))?;
                console.done();
                let line = format!(
                    "lake {}: {} masked in {}, {} rewritten; vacuum removes the old files when they are seven days old",
                    lake.storage,
                    plural(done.texts, "text"),
                    plural(done.files as u64, "file"),
                    plural(done.batches as u64, "batch"),
                );
                console.print_at(Verbosity::Normal, &line);
            }
            let done = compact::compact(&lake, &mut |what| console.stage(&format!("merging {what}")))?;
            console.done();
            let mut line = format!(
                "lake {}: {} merged into {}, {} of the Delta logs removed",
                lake.storage,
                plural(done.merged as u64, "file"),
                done.into,
                plural(done.log_files as u64, "file"),
            );
            if done.given_up > 0 {
                line.push_str(&format!(
                    "; {} skipped, already merged by another process",
                    plural(done.given_up as u64, "group")
                ));
            }
            console.print_at(Verbosity::Normal, &line);
            done.failed.iter().for_each(|word| console.print(word));
            Ok(if done.failed.is_empty() { Exit::Done } else { Exit::Failed })
        }
        LakeCommand::Vacuum { common, older_than, dry_run } => {
            if older_than.as_secs() < 24 * 3_600 {
                let word = "--older-than must be at least 24h: a younger file may belong to a running ingest";
                return Err(Usage(word.into()).into());
            }
            let (lake, console) = common.open(!*dry_run)?;
            console.stage("looking for unreferenced files");
            let (mut names, mut files, mut bytes) = (String::new(), 0, 0);
            vacuum::vacuum(&lake, i64::try_from(older_than.as_millis())?, *dry_run, &mut |object| {
                if *dry_run {
                    names.push_str(&object.name);
                    names.push('\n');
                }
                files += 1;
                bytes += object.bytes;
            })?;
            console.done();
            if *dry_run {
                print(names.as_bytes())?;
            }
            let verb = if *dry_run { "would be removed" } else { "removed" };
            let line = format!("lake {}: {} {verb}, {bytes} bytes", lake.storage, plural(files, "file"));
            console.print_at(Verbosity::Normal, &line);
            Ok(Exit::Done)
        }
    }
}

/// Prints the findings and their remedies, the rows lost in each table, and documents that are not trusted.
fn tell(report: &CheckReport, wanted: Mend, dry_run: bool, console: &Console) {
    report.untrusted.iter().for_each(|what| console.print_at(Verbosity::Normal, what));
    for wrong in &report.wrong {
        let end = match wrong.remedy {
            Remedy::Nothing => "",
            remedy if remedy.is_in(wanted) && dry_run => " (would be repaired)",
            remedy if remedy.is_in(wanted) => " (repaired)",
            Remedy::Repair => " (--repair fixes this without losing a row)",
            Remedy::Drop(..) => " (--repair --drop-damaged drops it)",
            Remedy::DropRows(..) => " (--repair --drop-damaged continues without them)",
            Remedy::DropBatch => " (--repair --drop-damaged replaces it; rows that no table has yet are lost)",
        };
        console.print(&format!("{}{end}", wrong.what));
    }
    for table in Table::ALL {
        let lost: Vec<Option<u64>> = report
            .wrong
            .iter()
            .filter_map(|wrong| match wrong.remedy {
                Remedy::Drop(of, rows) if of == table => Some(rows),
                _ => None,
            })
            .collect();
        if lost.is_empty() {
            continue;
        }
        let files = plural(lost.len() as u64, "file");
        let rows = lost
            .iter()
            .copied()
            .sum::<Option<u64>>()
            .map_or("an unknown number of rows".to_owned(), |n| plural(n, "row"));
        let verb = match (wanted, dry_run) {
            (Mend::DropDamaged, false) => "dropped",
            (Mend::DropDamaged, true) => "would be dropped",
            _ => "missing or damaged, not dropped",
        };
        console.print(&format!("{}: {files} with {rows} {verb}", table.name()));
    }
}

/// The message for a lake without findings.
fn verdict(lake: &Lake, report: &CheckReport) -> String {
    if report.unverified.is_empty() {
        return format!("lake {} is whole", lake.storage);
    }
    let files: Vec<String> = report.unverified.iter().map(|(table, n)| format!("{} {n}", table.name())).collect();
    format!(
        "lake {}: no damage found; files without a hash (older version or another engine) are unverified: {}",
        lake.storage,
        files.join(", ")
    )
}

impl Common {
    /// Opens the lake. With `writes`, opens it for writing, which upgrades an older format.
    fn open(&self, writes: bool) -> anyhow::Result<(Lake, Console)> {
        let lake = if writes { Lake::open_to_write(&self.lake) } else { Lake::open(&self.lake) };
        Ok((lake?, Console::new(Verbosity::from_flags(self.quiet, false), &[])))
    }
}

/// The output of `info`.
#[derive(Debug, Serialize)]
struct InfoOutput {
    #[serde(flatten)]
    info: info::Info,
    coverage: RecentCoverage,
}

/// Completeness of the tasks seen in the last seven days.
#[derive(Debug, Serialize)]
struct RecentCoverage {
    tasks: u64,
    complete: u64,
    lost_restarts: i64,
    /// Tasks whose number of lost restarts is unknown.
    uncounted_tasks: u64,
}

fn coverage(lake: &str) -> anyhow::Result<RecentCoverage> {
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let store = Store::at(directory.path());
    let sources = Sources::list([Source::Lake(lake.to_owned())])?;
    let views = query::view("coverage").into_iter().collect();
    Pipeline { sources, views, lake_span: Some(DEFAULT_SPAN), ..Pipeline::default() }.run(&store, &())?;
    let LostRestarts { restarts, unknown_tasks } = lost_restarts(&store)?;
    let count = |sql| anyhow::Ok(query::select(&store, sql)?.len() as u64);
    Ok(RecentCoverage {
        tasks: count("SELECT alloc_id FROM coverage")?,
        complete: count("SELECT alloc_id FROM coverage WHERE complete")?,
        lost_restarts: restarts,
        uncounted_tasks: unknown_tasks,
    })
}

/// The info as gauges.
fn openmetrics(lake: &Lake, about: &InfoOutput) -> String {
    let (tables, coverage) = (&about.info.tables, &about.coverage);
    let bytes: i64 = tables.iter().map(|table| table.bytes).sum();
    let files: usize = tables.iter().map(|table| table.files).sum();
    metrics::text(
        lake,
        &[
            ("lake_bytes", "Bytes of the data files.", bytes as f64),
            ("lake_files", "Data files.", files as f64),
            ("lake_batches", "Batches that were committed.", about.info.batches as f64),
            ("lake_unfinished_batches", "Batches not yet in every table.", about.info.unfinished as f64),
            ("lake_tasks", "Tasks seen in the last 7 days.", coverage.tasks as f64),
            (
                "lake_complete_tasks",
                "Tasks seen in the last 7 days whose history is complete.",
                coverage.complete as f64,
            ),
            ("lake_lost_restarts", "Lost restarts of tasks seen in the last 7 days.", coverage.lost_restarts as f64),
            (
                "lake_uncounted_tasks",
                "Tasks seen in the last 7 days whose lost restarts are unknown.",
                coverage.uncounted_tasks as f64,
            ),
        ],
    )
}

/// The info as text.
fn text(lake: &Lake, about: &InfoOutput) -> String {
    let (info, coverage) = (&about.info, &about.coverage);
    let mut text = format!("lake {} ({})\n", lake.storage, info.id);
    let last = info.last_written_ms.map_or("never".to_owned(), |ms| time::to_rfc3339_seconds(ms * 1_000_000));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}, the last at {last}; {} not yet in every table",
        plural(info.batches, "batch"),
        info.unfinished
    );
    let _ = writeln!(text, "\n{:20} {:>7} {:>7} {:>15} {:>13}  span", "table", "version", "files", "bytes", "rows");
    for table in &info.tables {
        let rows = table.rows.map_or("?".to_owned(), |rows| rows.to_string());
        let span = table.span_ns.map_or(String::new(), |(first, last)| {
            format!("{} to {}", time::to_rfc3339_seconds(first), time::to_rfc3339_seconds(last))
        });
        let line = format!(
            "{:20} {:>7} {:>7} {:>15} {rows:>13}  {span}",
            table.table, table.version, table.files, table.bytes
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(
        text,
        "\nof {} seen in the last 7 days, {} complete, {} lost (not known for {})",
        plural(coverage.tasks, "task"),
        coverage.complete,
        plural(coverage.lost_restarts.unsigned_abs(), "restart"),
        plural(coverage.uncounted_tasks, "task"),
    );
    text
}
