//! `alloclog export`: sources to a directory of tables.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;

use super::console::{Console, Loudness};
use super::interrupt;
use crate::error::{Exit, Usage};
use crate::intake::{self, Summary, Watch};
use crate::merge::Filter;
use crate::output::{Exported, Manifest, Output};
use crate::query::{self, Period, View};
use crate::render::{self, Cells, Format};
use crate::source::{self, Input, Source};
use crate::store::Store;
use crate::tables::{Table, column};
use crate::time;

/// The tables that are written unless `--table` says otherwise.
const USUAL: [&str; 5] = ["task_events", "allocations", "task_states", "coverage", "snapshots"];

const EXAMPLES: &str = "\
Examples:
  alloclog export dumps/ -o tables                      every dump below a directory, as Parquet
  alloclog export nomad-debug.tar.gz -o tables --format csv
  alloclog export 'dumps/2026-11-*.json.zst' live.json -o tables --force
  curl -s \"$NOMAD_ADDR/v1/allocations?namespace=*\" | alloclog export - -o - --table task_events --format ndjson

A SOURCE is a file, a directory, a quoted glob, an archive, or - for standard input. What it holds is told by its
content: lists, full allocations, event streams, debug bundles, raft-snapshot JSON; inside gzip, zstd, tar and zip.

`alloclog schema` explains every table. Stored tables: task_events, allocation_history, task_state_history, sightings,
snapshots, nodes. Views: allocations, task_states, coverage. Statistics: restarts, failures, failure_summary, attempts,
starts, start_latency, crash_loops, job_runs, job_run_summary, reschedules; and the helpers beneath.";

/// Write tables of all that the sources hold, as Parquet, CSV, NDJSON or Arrow
///
/// Overlapping snapshots are merged: an event that many of them show is one row. The same input gives the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to read: files, directories, quoted globs, archives, or - for standard input
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
    /// The directory to write, or - to write one table to standard output
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What to write the tables as
    #[arg(long, value_enum, default_value = "parquet")]
    format: Format,
    /// The tables and views to write
    #[arg(long = "table", value_name = "NAME,...", value_delimiter = ',', default_values = USUAL)]
    tables: Vec<String>,
    /// Only allocations of this namespace; * for all
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Only jobs whose ID matches this glob
    #[arg(long, value_name = "GLOB")]
    job: Option<String>,
    /// Cut statistics to what came at or after this: RFC 3339, or 24h, 30m, 7d before the newest observation
    ///
    /// Stored tables, allocations, task_states and coverage are never cut.
    #[arg(long, value_name = "WHEN")]
    since: Option<time::When>,
    /// Cut statistics to what came before this
    #[arg(long, value_name = "WHEN")]
    until: Option<time::When>,
    /// The region that all rows get
    #[arg(long, value_name = "NAME", env = "NOMAD_REGION", default_value = "", hide_default_value = true)]
    region: String,
    /// When the documents were observed (RFC 3339), for those that do not say so themselves
    #[arg(long, value_name = "TIME")]
    observed_at: Option<time::Moment>,
    /// The documents list every allocation (of --namespace, if given), so that one which is missing has vanished
    #[arg(long)]
    full_listing: bool,
    /// Replace an earlier export
    #[arg(long)]
    force: bool,
    /// Validate every byte, and write nothing if any of it is wrong
    #[arg(long)]
    strict: bool,
    /// Do not put ' before CSV cells that a spreadsheet would run as a formula
    #[arg(long)]
    csv_raw: bool,
    /// Say only what is wrong
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Name every file that is passed over
    #[arg(short, long)]
    verbose: bool,
}

/// A table of the result.
enum Wanted {
    Stored(Table),
    View(&'static View),
}

impl Wanted {
    fn find(name: &str) -> anyhow::Result<Wanted> {
        let stored = Table::ALL.into_iter().find(|table| table.name() == name).map(Wanted::Stored);
        let names = || Table::ALL.iter().map(|t| t.name()).chain(query::VIEWS.iter().map(|v| v.name));
        let unknown =
            || Usage(format!("there is no table {name:?}; there are {}", names().collect::<Vec<_>>().join(", ")));
        Ok(stored.or_else(|| query::view(name).map(Wanted::View)).ok_or_else(unknown)?)
    }

    fn name(&self) -> &'static str {
        match self {
            Wanted::Stored(table) => table.name(),
            Wanted::View(view) => view.name,
        }
    }

    fn schema(&self) -> anyhow::Result<SchemaRef> {
        Ok(match self {
            Wanted::Stored(table) => table.schema(),
            Wanted::View(view) => column::schema_of(&view.head()?.columns),
        })
    }
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let wanted = wanted(args)?;
    let inputs = inputs(args)?;
    let console = Console::new(args.loudness(), &inputs);
    interrupt::listen()?;
    if args.output == Path::new("-") {
        let work = interrupt::undisturbed(|unfinished| {
            let work = tempfile::tempdir().context("no temporary directory can be made")?;
            *unfinished = Some(work.path().to_owned());
            anyhow::Ok(work)
        })?;
        let store = Store::at(work.path());
        let exit = fill(args, &inputs, &wanted, &store, &console)?;
        for table in &wanted {
            render::table(&store, table.name(), &table.schema()?, args.format, args.cells(), io::stdout())?;
        }
        return Ok(exit);
    }
    let output = interrupt::undisturbed(|unfinished| {
        let output = Output::begin(&args.output, args.force)?;
        *unfinished = Some(output.temporary().to_owned());
        anyhow::Ok(output)
    })?;
    let store = Store::at(&output.store());
    let exit = fill(args, &inputs, &wanted, &store, &console)?;
    let mut files = Vec::new();
    for table in &wanted {
        let file = format!("{}.{}", table.name(), args.format.ending());
        let path = output.file(&file);
        let cannot = || format!("{} cannot be written", args.output.join(&file).display());
        let rows = match table {
            // It is what it is to be already.
            Wanted::Stored(_) if args.format == Format::Parquet => {
                fs::rename(store.path(table.name()), &path).with_context(cannot)?;
                render::rows(&path)?
            }
            _ => {
                let out = File::create(&path).with_context(cannot)?;
                render::table(&store, table.name(), &table.schema()?, args.format, args.cells(), out)
                    .with_context(cannot)?
            }
        };
        files.push(Exported { table: table.name().to_owned(), file, rows });
    }
    interrupt::undisturbed(|unfinished| {
        *unfinished = None;
        output.commit(&args.manifest(files))
    })?;
    Ok(exit)
}

/// Fills the store with the tables that are wanted, and says what was done.
fn fill(args: &Args, inputs: &[Input], wanted: &[Wanted], store: &Store, console: &Console) -> anyhow::Result<Exit> {
    let views = wanted.iter().filter_map(|w| if let Wanted::View(view) = w { Some(*view) } else { None });
    let views = query::needed_views(&views.collect::<Vec<_>>())?;
    let mut tables = query::needed_tables(&views)?;
    tables.insert(Table::Snapshots); // its newest observation is what spans count from
    tables.extend(wanted.iter().filter_map(|w| if let Wanted::Stored(table) = w { Some(*table) } else { None }));
    let result = take_in(args, inputs, store, tables, console);
    if result.is_ok() && !views.is_empty() {
        console.stage("computing views");
        query::run(store, &views, Period { since: args.since, until: args.until })?;
    }
    console.done();
    console.tell_passed_over();
    let summary = result?;
    if args.strict && summary.rejected > 0 {
        bail!("nothing was written, since --strict lets nothing be rejected");
    }
    if let Some(source) = source_without_allocations(args, &summary) {
        bail!("{source}: nothing there holds allocations; nothing was written");
    }
    tell_summary(&summary, args.namespace.is_some() || args.job.is_some(), lost_restarts(store, &views)?, console);
    let has_period = args.since.is_some() || args.until.is_some();
    if has_period && !views.iter().any(|view| view.name == "period") {
        let word = "warning: --since and --until cut statistics only; none of the tables written is one";
        console.say_if(Loudness::Usual, word);
    }
    Ok(if summary.rejected > 0 { Exit::Rejected } else { Exit::Done })
}

/// Reads the sources into the store's tables.
fn take_in(
    args: &Args,
    inputs: &[Input],
    store: &Store,
    tables: BTreeSet<Table>,
    console: &Console,
) -> anyhow::Result<Summary> {
    let mut writer = store.writer(tables)?;
    let watch = Watch { read: &|bytes| console.read(bytes), note: &|note| console.note(note) };
    let taken = intake::run(inputs, &args.options()?, &watch, &mut |table, batch| writer.add(table, batch));
    // What stopped the writing is the reason for whatever came after it.
    writer.finish().context("the tables cannot be written")?;
    Ok(taken?)
}

fn wanted(args: &Args) -> anyhow::Result<Vec<Wanted>> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for name in &args.tables {
        let table = Wanted::find(name.trim())?;
        if !wanted.iter().any(|other| other.name() == table.name()) {
            wanted.push(table);
        }
    }
    if args.output == Path::new("-") {
        if wanted.len() != 1 {
            return Err(Usage("-o - writes one table to standard output; name it with --table".into()).into());
        }
        if args.format.is_binary() && io::stdout().is_terminal() {
            return Err(Usage("that format is not for a terminal; use --format csv or ndjson, or -o DIR".into()).into());
        }
    }
    Ok(wanted)
}

fn inputs(args: &Args) -> anyhow::Result<Vec<Input>> {
    for source in &args.sources {
        if ["http://", "https://", "unix://"].iter().any(|scheme| source.starts_with(scheme)) {
            return Err(Usage(format!("{source}: this version reads files only; save what the address serves")).into());
        }
    }
    let sources: Vec<Source> = args.sources.iter().map(|text| Source::parse(text)).collect();
    Ok(source::list(&sources).map_err(Usage)?)
}

impl Args {
    fn options(&self) -> anyhow::Result<intake::Options> {
        let job = self.job.as_deref().map(|glob| {
            let matcher = globset::Glob::new(glob).map(|glob| glob.compile_matcher());
            matcher.map_err(|e| Usage(format!("--job {glob}: {}", e.kind())))
        });
        let full_listing = self.full_listing.then(|| self.namespace.clone().unwrap_or_else(|| "*".into()));
        Ok(intake::Options {
            source: source::Options { observed_at: self.observed_at.map(|m| m.0), full_listing },
            region: self.region.clone(),
            filter: Filter { namespace: self.namespace.clone(), job: job.transpose()? },
            strict: self.strict,
        })
    }

    fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (_, true) => Loudness::Verbose,
            _ => Loudness::Usual,
        }
    }

    fn cells(&self) -> Cells {
        if self.csv_raw { Cells::Raw } else { Cells::Safe }
    }

    fn manifest(&self, files: Vec<Exported>) -> Manifest {
        Manifest {
            alloclog_version: env!("CARGO_PKG_VERSION").to_owned(),
            format: self.format.ending().to_owned(),
            region: self.region.clone(),
            namespace: self.namespace.clone(),
            job: self.job.clone(),
            since: self.since.as_ref().map(ToString::to_string),
            until: self.until.as_ref().map(ToString::to_string),
            files,
        }
    }
}

/// The first source in which nothing holds allocations: all of them together, or one that may hold many files.
fn source_without_allocations<'a>(args: &'a Args, summary: &Summary) -> Option<&'a str> {
    let has_documents = |number: usize| summary.documents_by_source.contains_key(&number);
    if summary.documents == 0 {
        return args.sources.first().map(String::as_str);
    }
    let mut numbered = args.sources.iter().enumerate();
    numbered
        .find(|(number, text)| !has_documents(*number) && Source::parse(text).holds_many())
        .map(|(_, text)| text.as_str())
}

/// The restarts whose events were lost, when coverage was computed, and the tasks for which that is not known.
fn lost_restarts(store: &Store, views: &[&View]) -> anyhow::Result<Option<(i64, i64)>> {
    if !views.iter().any(|view| view.name == "coverage") {
        return Ok(None);
    }
    let lost = render::int64s(store, "coverage", "lost_restarts")?;
    let unknown = lost.iter().filter(|n| n.is_none()).count() as i64;
    Ok(Some((lost.iter().flatten().sum(), unknown)))
}

fn tell_summary(summary: &Summary, is_filtered: bool, lost: Option<(i64, i64)>, console: &Console) {
    let lost = match lost {
        None => String::new(),
        Some((lost, 0)) => format!(", {} lost", plural(lost as u64, "restart")),
        Some((lost, unknown)) => {
            format!(", {} lost (not known for {})", plural(lost as u64, "restart"), plural(unknown as u64, "task"))
        }
    };
    let repeated = summary.task_events - summary.new_task_events;
    let repeated =
        if is_filtered { format!("{repeated} repeated or filtered out") } else { format!("{repeated} repeated") };
    let line = format!(
        "{}, {}, {}: {} new, {repeated}{lost}, {} rejected",
        plural(summary.documents, "document"),
        plural(summary.allocations, "allocation"),
        plural(summary.task_events, "task event"),
        summary.new_task_events,
        summary.rejected,
    );
    console.say_if(Loudness::Usual, &line);
    if !summary.unknown_fields.is_empty() {
        let named: Vec<String> = summary.unknown_fields.iter().map(|(field, n)| format!("{field} ({n})")).collect();
        console.say_if(Loudness::Verbose, &format!("fields that this version does not know: {}", named.join(", ")));
    }
}

fn plural(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
