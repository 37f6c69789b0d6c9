//! Summary of the input that was read, in one line.

use super::Error;
use crate::intake::Summary;
use crate::render;
use crate::store::Store;

/// Number of lost restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRestarts {
    /// Total over the tasks for which the number is known.
    pub restarts: i64,
    /// Number of tasks for which the number is unknown.
    pub unknown_tasks: u64,
}

/// The lost restarts in the store's `coverage`.
///
/// # Errors
/// When the store has no such view, or it cannot be read.
pub fn lost_restarts(store: &Store) -> Result<LostRestarts, Error> {
    let lost = render::int64s(store, "coverage", "lost_restarts").map_err(Error::of(Error::Store))?;
    let unknown_tasks = lost.iter().filter(|n| n.is_none()).count() as u64;
    Ok(LostRestarts { restarts: lost.iter().flatten().sum(), unknown_tasks })
}

/// Summary of the documents that were read. It calls events that are not new "repeated" or, with `is_filtered`,
/// "repeated or filtered out".
pub fn summary_line(summary: &Summary, is_filtered: bool, lost: Option<LostRestarts>) -> String {
    let lost = match lost {
        None => String::new(),
        Some(lost) => {
            let restarts = plural(lost.restarts as u64, "restart");
            match lost.unknown_tasks {
                0 => format!(", {restarts} lost"),
                unknown => format!(", {restarts} lost (not known for {})", plural(unknown, "task")),
            }
        }
    };
    let repeated = summary.task_events - summary.new_task_events;
    let repeated =
        if is_filtered { format!("{repeated} repeated or filtered out") } else { format!("{repeated} repeated") };
    let logs = log_lines(summary, summary.new_log_events);
    format!(
        "{}, {}, {}: {} new, {repeated}{lost}{logs}, {} rejected",
        plural(summary.documents, "document"),
        plural(summary.allocations, "allocation"),
        plural(summary.task_events, "task event"),
        summary.new_task_events,
        summary.rejected,
    )
}

/// A number with its noun: `1 batch`, `2 batches`.
pub fn plural(n: u64, noun: &str) -> String {
    let ending = if noun.ends_with("ch") { "es" } else { "s" };
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}{ending}") }
}

/// The number of lines read from logs, for a summary line; empty without logs.
pub fn log_lines(summary: &Summary, new: u64) -> String {
    match summary.log_lines {
        0 => String::new(),
        lines => {
            let unlisted = match summary.unlisted_log_events {
                0 => String::new(),
                n => format!(", {n} of allocations that are not listed or not selected"),
            };
            format!(", {} of logs: {new} new{unlisted}", plural(lines, "line"))
        }
    }
}
