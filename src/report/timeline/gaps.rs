//! Places where events and restarts of a task are missing, according to `windows`, `restart_log` and `coverage`.

use serde::Serialize;
use serde_json::Value;

use super::TaskRows;
use crate::query::Row;
use crate::time;

/// A place where events or restarts are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What is missing.
    pub kind: GapKind,
    /// The number of the event that follows the gap; null if the gap is after the last event.
    pub before_event: Option<i64>,
    /// The time after which the gap lies: the time of the event before it, of the creation of the allocation, or of a
    /// version of the allocation. Null if not known.
    pub not_before_at: Option<String>,
    /// `not_before_at` in nanoseconds since the epoch.
    pub not_before_ns: Option<i64>,
    /// The time before which the gap lies: the time of the event after it, or of a version of the allocation. Null if
    /// not known.
    pub until_at: Option<String>,
    /// `until_at` in nanoseconds since the epoch.
    pub until_ns: Option<i64>,
    /// The number of counted restarts in the gap whose event was not seen, according to `restart_log`. Null if the
    /// number of lost restarts of the task is not known (see `coverage`).
    pub lost_restarts: Option<i64>,
}

/// The kinds of gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// No source shows the first event of the task.
    Beginning,
    /// Events between two windows may be missing.
    Gap,
    /// The client lost its state, and ran the task again as a new one.
    NewLife,
    /// Restarts were counted, but no event shows them, and the windows show no gap at this place.
    Restarts,
    /// The allocation vanished before any source showed how it ended.
    End,
}

/// The gaps of a task, in order.
pub(super) fn find(task: &TaskRows, allocation: &Row) -> Vec<Gap> {
    let events = &task.events;
    let is_counted = task.coverage.as_ref().is_some_and(|row| !row.get("lost_restarts").is_null());
    let mut gaps: Vec<Gap> = Vec::new();
    for window in &task.windows {
        let says = |column: &str| *window.get(column) == Value::Bool(true);
        let kind = match () {
            () if says("new_life") => GapKind::NewLife,
            () if says("after_gap") => GapKind::Gap,
            () if window.int("window_no") == Some(1) && !says("begins") => GapKind::Beginning,
            () => continue,
        };
        let head = head(events, window);
        let before = head.and_then(|at| at.checked_sub(1)).map(|at| &events[at]);
        let since = match before {
            Some(event) => event.int("event_at_ns"),
            None => allocation.int("created_at_ns"),
        };
        let until = head.map_or(window.int("first_ns"), |at| events[at].int("event_at_ns"));
        let before_event = head.and_then(|at| events[at].int("event_no"));
        // Two windows may start with the same event.
        if gaps.iter().all(|gap| gap.before_event != before_event || gap.kind != kind) {
            gaps.push(Gap::new(kind, before_event, since, until, is_counted.then_some(0)));
        }
    }
    for row in &task.unseen_restarts {
        let until = row.int("restarted_at_ns");
        let next =
            until.and_then(|until| events.iter().find(|event| event.int("event_at_ns").is_some_and(|at| at >= until)));
        let before_event = next.and_then(|event| event.int("event_no"));
        let number = row.int("number").filter(|_| is_counted);
        match gaps.iter_mut().find(|gap| gap.before_event == before_event && gap.kind != GapKind::End) {
            Some(gap) => gap.lost_restarts = gap.lost_restarts.zip(number).map(|(lost, more)| lost + more),
            None => {
                gaps.push(Gap::new(GapKind::Restarts, before_event, row.int("not_before_ns"), until, number));
            }
        }
    }
    if task.coverage.as_ref().is_some_and(|row| *row.get("tail_lost") == Value::Bool(true)) {
        let since = allocation.int("last_known_at_ns");
        gaps.push(Gap::new(GapKind::End, None, since, None, None));
    }
    gaps.sort_by_key(|gap| (gap.before_event.unwrap_or(i64::MAX), gap.kind == GapKind::End));
    gaps
}

/// The position of the first event of a window. In a task with a new life, events have null as their attempt.
fn head(events: &[Row], window: &Row) -> Option<usize> {
    let first = window.int("first_ns")?;
    let attempt = window.int("first_attempt");
    let at = |event: &Row| event.int("event_at_ns");
    let is_of = |event: &Row| event.int("attempt").is_none_or(|own| attempt.is_none_or(|attempt| attempt == own));
    let exact = events.iter().position(|event| at(event) == Some(first) && is_of(event));
    exact.or_else(|| events.iter().position(|event| at(event).is_some_and(|at| at >= first)))
}

impl Gap {
    fn new(kind: GapKind, before_event: Option<i64>, since: Option<i64>, until: Option<i64>, lost: Option<i64>) -> Gap {
        Gap {
            kind,
            before_event,
            not_before_at: since.map(time::to_rfc3339),
            not_before_ns: since,
            until_at: until.map(time::to_rfc3339),
            until_ns: until,
            lost_restarts: lost,
        }
    }
}
