//! Runs the pipeline for a command, and prints a summary of the input on stderr.

use anyhow::{anyhow, bail};

use super::args::StatisticsArgs;
use super::cluster;
use super::console::{Console, Verbosity};
use super::exit::Exit;
use crate::error::BoxError;
use crate::intake::Summary;
use crate::pipeline::{self, Nothing, Outcome, Pipeline, Show, summary_line};
use crate::query::{self, GroupBy};
use crate::store::Store;

/// The summary of the input, and the exit code.
#[derive(Debug)]
pub struct Gathered {
    pub summary: Summary,
    pub exit: Exit,
    /// Why the filters and the period select nothing; `None` if they select something.
    nothing: Option<String>,
}

/// Fills the store, and prints a summary. `show` is called repeatedly while more documents arrive.
///
/// # Errors
/// As [`Pipeline::run`].
pub fn gather(
    args: &StatisticsArgs,
    pipeline: &Pipeline,
    store: &Store,
    console: &Console,
    show: Option<&mut Show<'_>>,
) -> anyhow::Result<Gathered> {
    cluster::announce(pipeline.sources.inputs(), console);
    if args.source.follow_flag().is_some() {
        console.done(); // no progress bar: the number of documents is unknown
    }
    let result = match show {
        None => pipeline.run(store, console),
        Some(show) => pipeline.run_live(store, console, args.source.min_interval, show),
    };
    console.done();
    console.print_skipped();
    let outcome = result.map_err(|error| with_end(error, "nothing was written"))?;
    if !pipeline.sources.inputs().is_empty() {
        tell_summary(&outcome, pipeline.filter.is_restrictive(), console);
    }
    warn_of_unused_flags(args, &outcome, console);
    let nothing = outcome.nothing.map(|nothing| match nothing {
        Nothing::NoMatch => format!("no allocation of any time matches {}", args.filter_flags()),
        Nothing::NotObserved(why) => why,
    });
    let exit = if outcome.summary.rejected > 0 { Exit::Rejected } else { Exit::Done };
    Ok(Gathered { summary: outcome.summary, exit, nothing })
}

/// Converts an error of the pipeline. If the input is at fault, adds `end`, which says what happened to the output.
pub fn with_end(error: pipeline::Error, end: &str) -> anyhow::Error {
    match error {
        pipeline::Error::Rejected | pipeline::Error::NoAllocations(_) | pipeline::Error::OnlyLogs(..) => {
            anyhow!("{error}; {end}")
        }
        error => error.into(),
    }
}

/// Converts an error for a closure that the pipeline calls.
pub fn boxed(error: anyhow::Error) -> BoxError {
    error.reallocate_into_boxed_dyn_error_without_backtrace()
}

impl Gathered {
    /// If nothing is selected, warns or, if there are conditions, fails.
    ///
    /// # Errors When nothing is selected and there are conditions. No condition holds for an empty result, so the gate
    /// would pass although it checked nothing.
    pub fn expect_something(&self, has_conditions: bool, console: &Console) -> anyhow::Result<()> {
        match &self.nothing {
            Some(why) if has_conditions => {
                bail!(
                    "{why}, so --fail-if cannot be evaluated; nothing was written (--allow-empty accepts an empty result)"
                )
            }
            Some(why) => {
                console.print_at(Verbosity::Normal, &format!("warning: {why}"));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Prints the summary of the documents.
fn tell_summary(outcome: &Outcome, is_filtered: bool, console: &Console) {
    let summary = &outcome.summary;
    console.print_at(Verbosity::Normal, &summary_line(summary, is_filtered, outcome.lost));
    if !summary.unknown_fields.is_empty() {
        let named: Vec<String> = summary.unknown_fields.iter().map(|(field, n)| format!("{field} ({n})")).collect();
        console.print_at(Verbosity::Verbose, &format!("fields unknown to this version: {}", named.join(", ")));
    }
}

/// Warns of flags that have no effect on the requested results.
fn warn_of_unused_flags(args: &StatisticsArgs, outcome: &Outcome, console: &Console) {
    let has_period = args.since.is_some() || args.until.is_some();
    if has_period && !outcome.views.contains("period") {
        let word = "warning: --since and --until have no effect: they restrict statistics only, and none is requested";
        console.print_at(Verbosity::Normal, word);
    }
    let is_grouped = outcome.views.iter().filter_map(|name| query::view(name)).any(|view| view.is_grouped());
    if args.by != GroupBy::default() && !is_grouped {
        let grouped = query::VIEWS.iter().filter(|view| view.is_grouped()).map(|view| view.name);
        let grouped = grouped.collect::<Vec<_>>().join(", ");
        let word = format!("warning: --by has no effect: it groups {grouped} only, and none is requested");
        console.print_at(Verbosity::Normal, &word);
    }
}
