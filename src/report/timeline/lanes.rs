//! The life of a task as slices of time that do not overlap, for pictures and traces.

use super::{Gap, TaskStory};
use crate::query::Row;

/// A slice of time in the life of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// `run`, `waiting` or `gap`.
    pub kind: &'static str,
    /// The outcome of the attempt; `None` for `waiting` and `gap`.
    pub outcome: Option<String>,
    /// A description of the slice.
    pub label: String,
    /// The first nanosecond of the slice.
    pub from_ns: i64,
    /// The end of the slice, in nanoseconds since the epoch.
    pub until_ns: i64,
}

/// The slices of a task, in order. If the end of a run is not known, its slice ends at the last event of the run or, if
/// the run is running, when the allocation was last known to exist. The label then says so. A slice never ends after
/// the start of the next run. A run without any known time is left out.
pub fn slices(task: &TaskStory, allocation: &Row) -> Vec<Slice> {
    let last_known = allocation.int("last_known_at_ns");
    let mut runs: Vec<Slice> = task.attempts.iter().filter_map(|row| run(task, row, last_known)).collect();
    runs.sort_by_key(|slice| slice.from_ns);
    let mut slices: Vec<Slice> = Vec::new();
    let mut end = task.events.iter().find_map(|event| event.int("event_at_ns"));
    let count = runs.len();
    let starts: Vec<i64> = runs.iter().map(|slice| slice.from_ns).collect();
    for (i, mut slice) in runs.into_iter().enumerate() {
        // One track can show only one slice at a time.
        slice.until_ns = slice.until_ns.min(starts.get(i + 1).copied().unwrap_or(i64::MAX)).max(slice.from_ns);
        if let Some(end) = end.filter(|end| *end < slice.from_ns) {
            slices.extend(between(&task.gaps, end, slice.from_ns));
        }
        end = Some(slice.until_ns.max(end.unwrap_or(i64::MIN)));
        slices.push(slice);
    }
    // After its last run, the task may wait for its next start. A task without a run has only waited.
    let is_waiting = task.attempts.last().is_some_and(|row| row.text("outcome") == Some("waiting"));
    let last_event = task.events.iter().filter_map(|event| event.int("event_at_ns")).max();
    let until = if is_waiting { last_known.max(last_event) } else { last_event.filter(|_| count == 0) };
    if let (Some(end), Some(until)) = (end, until)
        && end < until
    {
        slices.extend(between(&task.gaps, end, until));
    }
    slices
}

/// The slice of a row of `attempts`.
fn run(task: &TaskStory, row: &Row, last_known: Option<i64>) -> Option<Slice> {
    let own = task.events.iter().filter(|event| event.int("run").is_some() && event.int("run") == row.int("run"));
    let times: Vec<i64> = own.filter_map(|event| event.int("event_at_ns")).collect();
    let (started, ended) = (row.int("started_at_ns"), row.int("ended_at_ns"));
    let outcome = row.text("outcome").unwrap_or("unknown");
    if started.is_none() && outcome == "waiting" {
        return None;
    }
    let from_ns = started.or_else(|| times.iter().min().copied()).or(ended)?;
    let known_end = ended.or_else(|| {
        let last = times.iter().max().copied();
        if outcome == "running" { last_known.max(last) } else { last }
    });
    let until_ns = known_end.unwrap_or(from_ns).max(from_ns);
    let mut label = super::phrases::attempt_title(row);
    if started.is_none() {
        label.push_str(", start not in view");
    }
    if ended.is_none() {
        label.push_str(if outcome == "running" { ", until last seen" } else { ", end not in view" });
    }
    Some(Slice { kind: "run", outcome: Some(outcome.to_owned()), label, from_ns, until_ns })
}

/// The slices between two runs: gaps, and time in which the task waited.
fn between(gaps: &[Gap], from: i64, until: i64) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut at = from;
    let slice = |kind, label: String, from_ns, until_ns| Slice { kind, outcome: None, label, from_ns, until_ns };
    let waiting = |from_ns, until_ns| slice("waiting", "not running".to_owned(), from_ns, until_ns);
    for gap in gaps {
        let bounds = gap.not_before_ns.zip(gap.until_ns).map(|(a, b)| (a.max(at), b.min(until)));
        let Some((gap_from, gap_until)) = bounds.filter(|(a, b)| a < b) else { continue };
        if at < gap_from {
            slices.push(waiting(at, gap_from));
        }
        slices.push(slice("gap", super::phrases::gap(gap), gap_from, gap_until));
        at = gap_until;
    }
    if at < until {
        slices.push(waiting(at, until));
    }
    slices
}
