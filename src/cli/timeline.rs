//! `alloclog timeline`: tells the story of one allocation or of all allocations of a job.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::args::{SourceArgs, StatisticsArgs};
use super::color::{self, Color};
use super::console::Console;
use super::exit::Exit;
use super::gather::gather;
use super::result_file::{self, ResultTarget};
use super::{redaction, signals};
use crate::error::{Refused, Usage};
use crate::lake::scan::DEFAULT_SPAN;
use crate::output::OutputFile;
use crate::pipeline::Pipeline;
use crate::query::{GroupBy, Method, Period};
use crate::redact::{NameKind, Redactor};
use crate::report::html;
use crate::report::timeline::{self, Look, Target, TargetMatch, Timeline};
use crate::store::Store;
use crate::time;

/// Maximum number of candidates that are listed for an ambiguous name.
const CANDIDATES: usize = 20;

const EXAMPLES: &str = "\
Examples:
  alloclog timeline api                      all allocations of job api
  alloclog timeline 4260067f dumps/          one allocation, by part of its ID
  alloclog timeline etl dumps/ --namespace prod     a job with its children
  alloclog timeline 4260067f lake --since 30d       further back than 7 days
  alloclog timeline api dumps/ --format markdown -o api.md
  alloclog timeline api dumps/ --format html -o api.html
  alloclog timeline api dumps/ --trace api.json     for ui.perfetto.dev

A whole ID takes precedence over the beginning of another ID. If several
allocations or jobs match, they are listed and the exit code is 2.";

/// Tell the story of one allocation, or of a job's allocations
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// ID of an allocation or job, or its beginning
    #[arg(value_name = "ALLOC|JOB")]
    target: String,
    /// From a lake, read allocations that were seen since this time [default: 7d]
    ///
    /// A time such as 2026-11-23T18:28:01Z, a day such as 2026-11-23 (from midnight UTC), or 24h, 30m, 7d before the
    /// newest observation. Every selected allocation is shown completely.
    #[arg(long, value_name = "WHEN")]
    since: Option<time::When>,
    /// Output format
    #[arg(long, help_heading = "Result", value_enum, default_value = "terminal")]
    format: TimelineFormat,
    /// Write to FILE instead of stdout
    ///
    /// An existing file is replaced once the new one is complete.
    #[arg(short, long, help_heading = "Result", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write a trace to FILE, for Perfetto or chrome://tracing
    ///
    /// Each task is a track with its attempts, waits and gaps; its events are instants.
    #[arg(long, help_heading = "Result", value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Use colours; with auto, a NO_COLOR in the environment turns them off
    #[arg(long, help_heading = "Result", value_enum, default_value = "auto")]
    color: Color,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    redaction: redaction::Args,
}

/// Output format of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TimelineFormat {
    /// Text as wide as the terminal, or COLUMNS, or 100 columns
    Terminal,
    /// Markdown
    Markdown,
    /// JSON, described by docs/timeline.schema.json
    Json,
    /// One self-contained HTML file
    Html,
}

/// How the result is shown.
struct Shown {
    format: TimelineFormat,
    is_for_terminal: bool,
    look: Look,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let output = result_file::file(args.output.as_deref());
    let trace = args.trace.as_deref();
    let is_for_terminal = output.is_none() && io::stdout().is_terminal();
    let look = Look { width: color::width(is_for_terminal), colour: args.color.is_used(is_for_terminal) };
    let shown = Shown { format: args.format, is_for_terminal, look };
    // This command has no flags for these filters, so they select everything.
    let (by, method) = (GroupBy::default(), Method::default());
    let input = StatisticsArgs { source: args.source, job: None, since: None, until: None, by, method };
    let sources = input.sources()?;
    if args.since.is_some() && sources.lakes().is_empty() {
        return Err(Usage("--since applies to a lake, and no SOURCE is one".into()).into());
    }
    let console = Console::new(input.verbosity(), sources.inputs());
    signals::listen()?;
    if let Some(file) = output {
        result_file::refuse_input("-o", file, &sources, &[])?;
    }
    if let Some(file) = trace {
        result_file::refuse_input("--trace", file, &sources, &[])?;
        if output == Some(file) {
            return Err(Usage("-o and --trace name the same file".into()).into());
        }
    }
    let is_lake = !sources.lakes().is_empty();
    let wanted = input.pipeline(sources)?;
    let redactor = args.redaction.redactor()?.map(|redactor| Arc::new(redactor.searching(&args.target)));
    let pipeline = Pipeline {
        tables: timeline::TABLES.into(),
        views: timeline::views(),
        period: Period::default(),
        lake_span: Some(DEFAULT_SPAN),
        lake_since: args.since,
        redactor: redactor.clone(),
        ..wanted
    };
    let output_target = ResultTarget::begin(output)?;
    let store = output_target.store();
    let gathered = gather(&input, &pipeline, &store, &console, None)?;
    gathered.expect_something(false, &console)?;
    let name = match &redactor {
        Some(redactor) => pseudonym(&store, &args.target, redactor)?,
        None => args.target.clone(),
    };
    let target = target(&store, &name, is_lake)?;
    let story = timeline::read(&store, target, gathered.summary.rejected)?;
    let text = shown.text(&story)?;
    output_target.finish(|out| {
        out.write_all(text.as_bytes())?;
        trace.map_or(Ok(()), |file| write_trace(file, &story))
    })?;
    Ok(gathered.exit)
}

/// The pseudonym of the allocation or job whose name or ID is `name`, or begins with `name`.
fn pseudonym(store: &Store, name: &str, redactor: &Redactor) -> anyhow::Result<String> {
    for whole in [redactor.name(NameKind::Job, name), redactor.id(&name.to_lowercase())] {
        if timeline::find(store, &whole)? != TargetMatch::Nothing {
            return Ok(whole);
        }
    }
    let mut found = redactor.found();
    match (found.pop_first(), found.is_empty()) {
        (Some((_, one)), true) => Ok(one),
        (Some((first, _)), false) => {
            let candidates = std::iter::once(first).chain(found.into_keys()).collect();
            Err(ambiguous(name, candidates))
        }
        (None, _) => Ok(name.to_owned()),
    }
}

/// The error for a name with several candidates.
fn ambiguous(name: &str, mut candidates: Vec<String>) -> anyhow::Error {
    let problem = format!("{name} is ambiguous; these match, and --namespace, --region or a longer ID chooses one");
    let more = candidates.len().saturating_sub(CANDIDATES);
    candidates.truncate(CANDIDATES);
    if more > 0 {
        candidates.push(format!("and {more} more"));
    }
    Refused { problem, advice: candidates }.into()
}

/// Finds the allocation or job that a name selects.
fn target(store: &Store, name: &str, is_lake: bool) -> anyhow::Result<Target> {
    match timeline::find(store, name)? {
        TargetMatch::One(target) => Ok(target),
        TargetMatch::Several(candidates) => Err(ambiguous(name, candidates)),
        TargetMatch::Nothing => {
            let further = if is_lake { "; from a lake, --since 30d looks further back than 7 days" } else { "" };
            bail!("no allocation or job is called {name} or begins with it{further}; nothing was written")
        }
    }
}

impl Shown {
    fn text(&self, story: &Timeline) -> anyhow::Result<String> {
        Ok(match self.format {
            TimelineFormat::Terminal => timeline::terminal(story, self.look),
            TimelineFormat::Markdown => timeline::markdown(story),
            TimelineFormat::Html => html::timeline(story),
            TimelineFormat::Json => result_file::json(story, self.is_for_terminal)?,
        })
    }
}

/// Writes the trace; a file is replaced once the new one is complete.
fn write_trace(path: &Path, story: &Timeline) -> anyhow::Result<()> {
    let text = serde_json::to_string(&timeline::trace(story))? + "\n";
    let cannot = || format!("cannot write {}", path.display());
    if result_file::is_stream(path) {
        return File::options()
            .write(true)
            .open(path)
            .and_then(|mut out| out.write_all(text.as_bytes()))
            .with_context(cannot);
    }
    let file = OutputFile::begin(path)?;
    file.create()?.write_all(text.as_bytes()).with_context(cannot)?;
    Ok(file.commit()?)
}
