//! `alloclog report`: shows what happened, worst first, and how complete the data is.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::StatisticsArgs;
use super::color::{self, Color};
use super::console::Console;
use super::exit::Exit;
use super::gather::{boxed, gather};
use super::result_file::{self, ResultTarget};
use super::screen::Screen;
use super::{fail_if, redaction, signals};
use crate::error::Usage;
use crate::intake::Summary;
use crate::lake::scan::DEFAULT_SPAN;
use crate::pipeline::{Pipeline, Show};
use crate::query::Condition;
use crate::report::{self, Appearance, ReportOptions, html};
use crate::store::Store;

const EXAMPLES: &str = "\
Examples:
  alloclog report                            the live cluster of NOMAD_ADDR
  alloclog report --watch                    refreshed with every change
  alloclog report --watch --format html -o report.html    FILE is updated
  alloclog report --stream                   follow Nomad's event stream
  alloclog report dumps/                     a directory of dumps
  alloclog report nomad-debug.tar.gz --since 24h
  alloclog report dumps/ --by node_name      by node instead of by task
  alloclog report dumps/ --job 'payments-*' --format markdown -o report.md
  alloclog report dumps/ --format html -o report.html
  alloclog report dumps/ --redact --format html -o report.html   pseudonyms
  alloclog report dumps/ --fail-if 'restarts.lost_restarts > 0' \\
      --fail-if 'start_latency.p95_seconds > 60 and start_latency.tasks >= 20'

A condition reads the columns of one view, each written VIEW.COLUMN; `alloclog
schema` lists them. A condition that is null for a row does not hold for it;
the number of such rows is printed.";

/// Show coverage, crash loops, restarts, failures, starts, job runs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Output format
    #[arg(long, help_heading = "Result", value_enum, default_value = "terminal")]
    format: ReportFormat,
    /// Write to FILE instead of stdout
    ///
    /// An existing file is replaced once the new one is complete; with --watch or --stream, after each change.
    #[arg(short, long, help_heading = "Result", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Maximum number of rows per section [default: 10; 100 for html]
    #[arg(long, help_heading = "Result", value_name = "N")]
    top: Option<usize>,
    /// Explain the terms below each section
    #[arg(long, help_heading = "Result")]
    explain: bool,
    /// Use colours; with auto, a NO_COLOR in the environment turns them off
    #[arg(long, help_heading = "Result", value_enum, default_value = "auto")]
    color: Color,
    /// Exit with 4 if this SQL condition holds for any row; repeatable
    ///
    /// The condition can use the columns of one view, each written VIEW.COLUMN.
    #[arg(long, help_heading = "Result", value_name = "CONDITION")]
    fail_if: Vec<String>,
    /// Accept filters and a period that select nothing
    ///
    /// No warning is printed, and --fail-if is evaluated on the empty result.
    #[arg(long, help_heading = "Result")]
    allow_empty: bool,
    #[command(flatten)]
    input: StatisticsArgs,
    #[command(flatten)]
    redaction: redaction::Args,
}

/// Output format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// Text as wide as the terminal, or COLUMNS, or 100 columns
    Terminal,
    /// Markdown
    Markdown,
    /// JSON, described by docs/report.schema.json
    Json,
    /// One self-contained HTML file with charts
    Html,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let by = &args.input.by;
    let conditions = args.fail_if.iter().map(|text| Condition::qualified(text, by)).collect::<Result<Vec<_>, _>>()?;
    if args.redaction.redact && !conditions.is_empty() {
        let word =
            "--fail-if cannot be used with --redact: a condition on a name would never hold; run without --redact";
        return Err(Usage(word.into()).into());
    }
    let sources = args.input.sources()?;
    let console = Console::new(args.input.verbosity(), sources.inputs());
    signals::listen()?;
    let output = args.output();
    if let Some(file) = output {
        result_file::refuse_input("-o", file, &sources, &[])?;
    }
    let mut views = report::views();
    if args.format == ReportFormat::Html {
        views.extend(html::views());
    }
    views.extend(conditions.iter().filter_map(|condition| condition.view));
    let wanted = args.input.pipeline(sources)?;
    let redactor = args.redaction.shared()?;
    let pipeline = Pipeline { tables: report::TABLES.into(), views, lake_span: Some(DEFAULT_SPAN), redactor, ..wanted };
    let output_target = ResultTarget::begin(output)?;
    let store = output_target.store();
    let is_followed = args.input.source.follow_flag().is_some();
    let is_on_screen = is_followed && args.is_for_terminal();
    if is_on_screen {
        console.done(); // its progress bar would be drawn over the screen
    }
    let screen = is_on_screen.then(Screen::enter).transpose()?;
    let mut show = |store: &Store, summary: &Summary| {
        let text = args.text(store, summary).map_err(boxed)?;
        match &screen {
            Some(screen) => screen.draw(&text),
            None => output_target.refresh(&text),
        }
        .map_err(boxed)
    };
    let show: Option<&mut Show<'_>> =
        if is_followed && (is_on_screen || output_target.is_file()) { Some(&mut show) } else { None };
    let gathered = gather(&args.input, &pipeline, &store, &console, show)?;
    drop(screen);
    if !args.allow_empty {
        gathered.expect_something(!conditions.is_empty(), &console)?;
    }
    let text = args.text(&store, &gathered.summary)?;
    let named = conditions.iter().filter_map(|condition| Some((condition, condition.view?.name)));
    let exit = fail_if::judge(&store, named, gathered.exit, &console)?;
    output_target.finish(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(exit)
}

impl Args {
    /// Renders the report on a store.
    fn text(&self, store: &Store, summary: &Summary) -> anyhow::Result<String> {
        let options = ReportOptions { by: self.input.by.clone(), period: self.input.period(), top: self.top() };
        let report = report::read(store, summary, &options)?;
        Ok(match self.format {
            ReportFormat::Terminal => report::terminal(&report, self.look()),
            ReportFormat::Markdown => report::markdown(&report, self.explain),
            ReportFormat::Html => html::report(&report, &html::read(store)?, self.explain),
            ReportFormat::Json => result_file::json(&report, self.is_for_terminal())?,
        })
    }

    fn top(&self) -> usize {
        self.top.unwrap_or(if self.format == ReportFormat::Html { html::TOP } else { 10 })
    }

    /// The output file; `None` for stdout.
    fn output(&self) -> Option<&Path> {
        result_file::file(self.output.as_deref())
    }

    fn is_for_terminal(&self) -> bool {
        self.output().is_none() && io::stdout().is_terminal()
    }

    fn look(&self) -> Appearance {
        let is_terminal = self.is_for_terminal();
        let (width, colour) = (color::width(is_terminal), self.color.is_used(is_terminal));
        Appearance { width, colour, explain: self.explain, again: self.input.again() }
    }
}
