//! `alloclog export`: sources to a directory of tables.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, anyhow};
use arrow::datatypes::SchemaRef;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::args::StatisticsArgs;
use super::console::Console;
use super::exit::Exit;
use super::gather::gather;
use super::help;
use super::result_file::ResultTarget;
use super::{broken_pipe, cluster, redaction, signals, spooling};
use crate::error::Usage;
use crate::output::{Exported, Manifest, Output};
use crate::pipeline::{Pipeline, Sources};
use crate::query::{self, GroupBy, View};
use crate::redact::{NameKind, Redactor};
use crate::render::{self, Cells, Format};
use crate::store::Store;
use crate::tables::{Table, column};

/// The tables written by default.
fn default_tables() -> impl Iterator<Item = &'static str> {
    let stored = Table::ALL.into_iter().filter(|table| table.is_exported()).map(Table::name);
    stored.chain(query::VIEWS.iter().filter(|view| view.is_exported()).map(|view| view.name))
}

const EXAMPLES: &str = "\
Examples:
  alloclog export dumps/ -o tables           all dumps below it, as Parquet
  alloclog export nomad-debug.tar.gz -o tables --format csv
  alloclog export 'dumps/2026-11-*.json.zst' live.json -o tables --force
  curl -s \"$NOMAD_ADDR/v1/allocations?namespace=*\" |
      alloclog export - -o - --table task_events --format ndjson

A SOURCE is a file, a directory, a quoted glob, an archive, - for standard
input, or the address of a Nomad agent; without one, the cluster of NOMAD_ADDR
is read. The format is detected from the content: lists, full allocations,
event streams, debug bundles, raft-snapshot JSON, also inside gzip, zstd, tar
and zip.

`alloclog schema` explains every table, and `alloclog query --list` every
statistic. Not written by default are the stored tables allocation_history,
task_state_history, sightings, absences and nodes, and the views that the
statistics are built on.";

/// Write tables as Parquet, CSV, NDJSON or Arrow
///
/// Overlapping snapshots are merged: an event shown by several of them is one row. The same input gives the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Directory to write; - writes one table to stdout
    #[arg(short, long, help_heading = "Result", value_name = "DIR")]
    output: PathBuf,
    /// File format of the tables
    #[arg(long, help_heading = "Result", value_parser = file_format(), default_value = "parquet")]
    format: Format,
    /// Tables and views to write
    #[arg(long = "table", help_heading = "Result", value_name = "NAME,...", value_delimiter = ',', default_values = default_tables(),
        value_parser = help::table_names(), hide_possible_values = true)]
    tables: Vec<String>,
    /// Replace an earlier export
    #[arg(long, help_heading = "Result")]
    force: bool,
    /// Do not prefix CSV cells that look like formulas with '
    #[arg(long, help_heading = "Result")]
    csv_raw: bool,
    #[command(flatten)]
    input: StatisticsArgs,
    #[command(flatten)]
    redaction: redaction::Args,
    /// Spool received documents in DIR until the tables are written
    ///
    /// With --watch or --stream. Memory does not grow during the run, and a killed run resumes when started again with
    /// the same directory.
    #[arg(long, value_name = "DIR", requires = "follow", help_heading = "Live cluster")]
    spool: Option<PathBuf>,
}

/// The formats for programs. The formats for people belong to `alloclog query`.
fn file_format() -> impl TypedValueParser<Value = Format> {
    let names = ["parquet", "csv", "ndjson", "arrow"];
    PossibleValuesParser::new(names).try_map(|name| Format::from_str(&name, false))
}

/// A table of the result.
enum Wanted {
    Stored(Table),
    View(&'static View),
}

impl Wanted {
    fn find(name: &str) -> anyhow::Result<Wanted> {
        let stored = Table::ALL.into_iter().find(|table| table.name() == name).map(Wanted::Stored);
        let found = stored.or_else(|| query::view(name).map(Wanted::View));
        Ok(found.ok_or_else(|| query::question::no_table(name))?)
    }

    fn name(&self) -> &'static str {
        match self {
            Wanted::Stored(table) => table.name(),
            Wanted::View(view) => view.name,
        }
    }

    fn schema(&self, by: &GroupBy) -> anyhow::Result<SchemaRef> {
        Ok(match self {
            Wanted::Stored(table) => table.schema(),
            Wanted::View(view) => column::schema_of(&view.columns(by)?),
        })
    }
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let wanted = wanted(args)?;
    let frames_every = args.spool.as_ref().map_or(args.input.source.min_interval, |_| spooling::APPEND_EVERY);
    let sources = args.input.source.sources(frames_every)?;
    let console = Console::new(args.input.verbosity(), sources.inputs());
    signals::listen()?;
    let Some(directory) = &args.spool else { return write(args, &wanted, sources, &console) };
    // Check that the output can be written before the work.
    if args.output != Path::new("-") {
        drop(args.begin()?);
    }
    cluster::announce(sources.inputs(), &console);
    let collected = spooling::collect(sources.inputs(), directory, &console)?;
    let exit = write(args, &wanted, Sources::of_inputs(collected.inputs()), &console)?;
    collected.remove()?;
    Ok(if collected.is_cut { Exit::Rejected } else { exit })
}

/// Reads the inputs and writes the tables.
fn write(args: &Args, wanted: &[Wanted], sources: Sources, console: &Console) -> anyhow::Result<Exit> {
    let redactor = args.redaction.shared()?;
    let read = Pipeline { redactor: redactor.clone(), ..args.input.pipeline(sources)? };
    let pipeline = pipeline(wanted, read);
    if args.output == Path::new("-") {
        let output_target = ResultTarget::begin(None)?;
        let store = output_target.store();
        let gathered = gather(&args.input, &pipeline, &store, console, None)?;
        gathered.expect_something(false, console)?;
        for table in wanted {
            render::table(
                &store,
                table.name(),
                &table.schema(&args.input.by)?,
                args.format,
                args.cells(),
                broken_pipe::stdout(),
            )?;
        }
        broken_pipe::stdout().flush()?;
        return Ok(gathered.exit);
    }
    let output = args.begin()?;
    let store = Store::at(&output.store());
    let gathered = gather(&args.input, &pipeline, &store, console, None)?;
    gathered.expect_something(false, console)?;
    let files = args.write(wanted, &store, &output)?;
    signals::with_cleanup_lock(|unfinished| {
        *unfinished = None;
        output.commit(&args.manifest(files, redactor.as_deref()))
    })?;
    Ok(gathered.exit)
}

/// Adds the tables and views that these results require.
fn pipeline(wanted: &[Wanted], mut pipeline: Pipeline) -> Pipeline {
    for table in wanted {
        match table {
            Wanted::Stored(table) => {
                pipeline.tables.insert(*table);
            }
            Wanted::View(view) => pipeline.views.push(view),
        }
    }
    pipeline
}

/// Takes the next table that no thread has taken, with its number.
fn take<'w>(wanted: &'w [Wanted], next: &AtomicUsize) -> (usize, Option<&'w Wanted>) {
    let number = next.fetch_add(1, Ordering::Relaxed);
    (number, wanted.get(number))
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
            return Err(Usage("-o - writes one table to stdout; name it with --table".into()).into());
        }
        if args.format.is_binary() && io::stdout().is_terminal() {
            return Err(Usage(
                "this format is binary and stdout is a terminal; use --format csv or ndjson, or -o DIR".into(),
            )
            .into());
        }
    }
    Ok(wanted)
}

impl Args {
    /// Creates the temporary output directory.
    fn begin(&self) -> anyhow::Result<Output> {
        signals::with_cleanup_lock(|unfinished| {
            let output = Output::begin(&self.output, self.force)?;
            *unfinished = Some(output.temporary().to_owned());
            Ok(output)
        })
    }

    /// Writes the tables on all cores and returns them in the order of `--table`.
    fn write(&self, wanted: &[Wanted], store: &Store, output: &Output) -> anyhow::Result<Vec<Exported>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut written = Vec::new();
            while let (number, Some(table)) = take(wanted, &next) {
                written.push((number, self.write_one(table, store, output)?));
            }
            anyhow::Ok(written)
        };
        let mut files = thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(2, |n| n.get());
            let workers: Vec<_> = (0..cores.min(wanted.len())).map(|_| scope.spawn(work)).collect();
            let mut files = Vec::new();
            for worker in workers {
                files.extend(
                    worker.join().map_err(|_| anyhow!("a writer thread panicked; this is a bug in alloclog"))??,
                );
            }
            anyhow::Ok(files)
        })?;
        files.sort_by_key(|(number, _)| *number);
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    fn write_one(&self, table: &Wanted, store: &Store, output: &Output) -> anyhow::Result<Exported> {
        let file = format!("{}.{}", table.name(), self.format.ending());
        let path = output.file(&file);
        let cannot = || format!("cannot write {}", self.output.join(&file).display());
        let rows = match table {
            // The store has the table as a Parquet file already, so move the file.
            Wanted::Stored(_) if self.format == Format::Parquet => {
                fs::rename(store.path(table.name()), &path).with_context(cannot)?;
                render::rows(&path)?
            }
            _ => {
                let out = File::create(&path).with_context(cannot)?;
                let schema = table.schema(&self.input.by)?;
                render::table(store, table.name(), &schema, self.format, self.cells(), out).with_context(cannot)?
            }
        };
        Ok(Exported { table: table.name().to_owned(), file, rows })
    }

    fn cells(&self) -> Cells {
        let is_for_terminal = self.output == Path::new("-") && io::stdout().is_terminal();
        Cells { has_formulas: self.csv_raw, is_for_terminal }
    }

    /// The manifest. Names given by flags are redacted, too. A glob has no pseudonym, so a fixed text replaces it.
    fn manifest(&self, files: Vec<Exported>, redactor: Option<&Redactor>) -> Manifest {
        let named = |kind, name: &str| redactor.map_or_else(|| name.to_owned(), |redactor| redactor.name(kind, name));
        let glob = |glob: &String| if redactor.is_some() { "[redacted]".to_owned() } else { glob.clone() };
        Manifest {
            alloclog_version: env!("CARGO_PKG_VERSION").to_owned(),
            format: self.format.ending().to_owned(),
            region: named(NameKind::Region, &self.input.source.region()),
            namespace: self.input.source.namespace.as_deref().map(|name| named(NameKind::Namespace, name)),
            job: self.input.job.as_ref().map(glob),
            since: self.input.since.as_ref().map(ToString::to_string),
            until: self.input.until.as_ref().map(ToString::to_string),
            by: self.input.by.columns().map(str::to_owned).collect(),
            redacted_with: redactor.map(Redactor::key_name),
            files,
        }
    }
}
