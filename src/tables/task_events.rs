//! `task_events`: one row is one event of one task, as Nomad recorded it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::column::{Column, Value, derived, key};
use super::identity::text_hash;
use super::{AllocationKey, details, mask};
use crate::decode::record::{TaskEvent, TaskState};
use crate::time::{self, DAY};

/// Up to this many events of a window are compared pairwise (Nomad keeps ten). With more events, a hash map is used.
const COMPARED: usize = 64;

/// One event of a task.
#[derive(Debug, Clone)]
pub struct TaskEventRow<'a> {
    /// The columns that identify the allocation of the event.
    pub allocation: AllocationKey<'a>,
    /// The task.
    pub task: &'a str,
    /// The run of the task that the event belongs to.
    pub attempt: Option<i64>,
    /// When it happened, in nanoseconds since the epoch, by the client's clock.
    pub event_at: Option<i64>,
    /// The number of equal events before this one in its window.
    pub ordinal: i32,
    /// Whether the times of the document passed through a float64; the merge sets it.
    pub times_rounded: bool,
    event: &'a TaskEvent<'a>,
    exit_code: Option<i64>,
    signal: Option<i64>,
    oom_killed: Option<bool>,
    fails_task: Option<bool>,
    restart_reason: Option<Cow<'a, str>>,
    start_delay: Option<i64>,
    kill_timeout: Option<i64>,
    message: Option<Cow<'a, str>>,
    details: Option<String>,
    text_hash: i32,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<TaskEventRow<'a>>> {
    vec![
        derived("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.allocation.region))),
        derived(
            "namespace",
            "Nomad namespace; if the source does not show it, the namespace that was listed, or `default` if that is not known",
            Value::Text(|r| Some(r.allocation.namespace)),
        ),
        derived("job_id", "job ID; null where a source lacks it", Value::Text(|r| r.allocation.job_id)),
        derived("task_group", "task group; null where a source lacks it", Value::Text(|r| r.allocation.task_group)),
        key("task", "task name", Value::Text(|r| Some(r.task))),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(r.allocation.alloc_id))),
        derived("node_id", "client node ID; null when unknown", Value::Text(|r| r.allocation.node_id)),
        derived(
            "attempt",
            "which run of the task the event belongs to; 1 is the first run, including its setup; a Restarting belongs to the run that it ends; null without a Restarts counter (before Nomad 0.6)",
            Value::Int64(|r| r.attempt),
        ),
        key(
            "event_at",
            "when it happened, by the client's wall clock; null when the event has no time",
            Value::Moment(|r| r.event_at),
        ),
        key(
            "event_type",
            "Nomad's spelling, an open set; null when the event has none",
            Value::Text(|r| r.event.kind.as_deref()),
        ),
        key(
            "ordinal",
            "number of the event among events whose key is otherwise equal, from 0; nearly always 0",
            Value::Int32(|r| Some(r.ordinal)),
        ),
        key(
            "fails_task",
            "whether the event marks the task as failed; null where a source lacks it",
            Value::Bool(|r| r.fails_task),
        ),
        key(
            "exit_code",
            "exit code; null where none applies, although Nomad writes 0 in this case",
            Value::Int64(|r| r.exit_code),
        ),
        key(
            "signal",
            "number of the signal that ended the process, 0 for none; null where none applies",
            Value::Int64(|r| r.signal),
        ),
        key(
            "oom_killed",
            "whether the kernel killed the task for lack of memory; null on other types than Terminated, and before Nomad 0.9",
            Value::Bool(|r| r.oom_killed),
        ),
        derived(
            "restart_reason",
            "why the task is or is not restarted; secrets masked; null without a reason",
            Value::Text(|r| r.restart_reason.as_deref()),
        ),
        key(
            "start_delay_ns",
            "wait before the next start in nanoseconds; null unless the event is a Restarting",
            Value::Int64(|r| r.start_delay),
        ),
        key(
            "kill_timeout_ns",
            "time between the kill signal and SIGKILL in nanoseconds; null if the event has no such time",
            Value::Int64(|r| r.kill_timeout),
        ),
        key(
            "times_rounded",
            "whether event_at is from a document whose times passed through a float",
            Value::Bool(|r| Some(r.times_rounded)),
        ),
        derived(
            "message",
            "DisplayMessage as served, or the event's own message or error; secrets masked; null when there is none",
            Value::Text(|r| r.message.as_deref()),
        ),
        derived(
            "details",
            "the Details map as JSON with sorted keys; legacy fields provide entries that the map lacks; secrets masked; null when empty",
            Value::Text(|r| r.details.as_deref()),
        ),
        key(
            "text_hash",
            "16-bit hash that represents restart_reason and details in the row's identity, so that masking does not change the identity; null in rows that alloclog wrote to a lake of format 1",
            Value::Int32(|r| Some(r.text_hash)),
        ),
        derived(
            "event_date",
            "UTC day of event_at; null when the event has no time",
            Value::Date(|r| r.event_at.map(|ns| (ns / DAY) as i32)),
        ),
    ]
}

/// The attempt of each event of a window: Restarts + 1 − the number of Restarting events at or after it. So every
/// window gives an event the same number (Nomad increments `Restarts` once per event: task_runner.go, `appendEvent`).
pub fn attempts(state: &TaskState<'_>) -> Vec<Option<i64>> {
    let mut after = 0;
    let mut attempts: Vec<Option<i64>> = state
        .events
        .iter()
        .rev()
        .map(|event| {
            after += i64::from(event.kind.as_deref() == Some("Restarting"));
            state.restarts.map(|restarts| restarts + 1 - after)
        })
        .collect();
    attempts.reverse();
    attempts
}

/// Builds the rows of one task's window, in document order.
pub fn rows<'a>(allocation: AllocationKey<'a>, state: &'a TaskState<'a>, rows: &mut Vec<TaskEventRow<'a>>) {
    let first = rows.len();
    for (event, attempt) in state.events.iter().zip(attempts(state)) {
        let mut row = row(allocation, &state.task, event, attempt);
        if state.events.len() <= COMPARED {
            // Most events have different times, so compare the times first.
            let same_time = rows[first..].iter().filter(|other| other.event_at == row.event_at);
            row.ordinal = same_time.filter(|other| other.content() == row.content()).count() as i32;
        }
        rows.push(row);
    }
    if state.events.len() > COMPARED {
        let mut equal = HashMap::new();
        let mut ordinals: Vec<i32> = Vec::with_capacity(state.events.len());
        for row in &rows[first..] {
            let next = equal.entry(row.content()).or_insert(0);
            ordinals.push(*next);
            *next += 1;
        }
        rows[first..].iter_mut().zip(ordinals).for_each(|(row, ordinal)| row.ordinal = ordinal);
    }
}

fn row<'a>(
    allocation: AllocationKey<'a>,
    task: &'a str,
    event: &'a TaskEvent<'a>,
    attempt: Option<i64>,
) -> TaskEventRow<'a> {
    let detail = |name: &str| event.details.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    let is = |kind: &str| event.kind.as_deref() == Some(kind);
    let terminated = is("Terminated");
    // Nomad always writes the exit code and the signal. They have a meaning only if they are not zero, or if the type
    // of the event is Terminated.
    let applies = |value: Option<i64>, detail: Option<&str>| {
        value.filter(|n| *n != 0).or_else(|| detail.and_then(|d| d.parse().ok())).or(value.filter(|_| terminated))
    };
    let start_delay = if is("Restarting") {
        event
            .start_delay
            .filter(|n| *n != 0)
            .or_else(|| detail("start_delay").and_then(|d| d.parse().ok()))
            .or(event.start_delay)
    } else {
        None
    };
    let reason = event.restart_reason.as_deref().or_else(|| detail("restart_reason").filter(|d| !d.is_empty()));
    // Row identities depend only on the first stage of masking.
    let details = details::json(event);
    let text_hash = text_hash([details.as_deref(), reason.map(mask::credentials).as_deref()]);
    let details = details.map(|json| {
        let masked = match mask::details(&json) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(masked),
        };
        masked.unwrap_or(json)
    });
    TaskEventRow {
        allocation,
        task,
        attempt,
        event_at: event.time.and_then(time::positive),
        ordinal: 0,
        times_rounded: false,
        event,
        exit_code: applies(event.exit_code, detail("exit_code")),
        signal: applies(event.signal, detail("signal")),
        oom_killed: if terminated { detail("oom_killed").and_then(|d| d.parse().ok()) } else { None },
        fails_task: match detail("fails_task") {
            Some("true") => Some(true),
            _ => event.fails_task,
        },
        start_delay,
        kill_timeout: event
            .kill_timeout
            .filter(|n| *n != 0)
            .or_else(|| detail("kill_timeout").and_then(time::go_duration).filter(|n| *n != 0)),
        message: details::message(event).map(mask::text),
        text_hash,
        restart_reason: reason.map(mask::text),
        details,
    }
}

/// The values that distinguish two events of one task, except the ordinal. Together with the ordinal, they identify the
/// event within its task.
#[derive(PartialEq, Eq, Hash)]
struct EventContent<'r> {
    event_at: Option<i64>,
    event_type: Option<&'r str>,
    fails_task: Option<bool>,
    exit_code: Option<i64>,
    signal: Option<i64>,
    oom_killed: Option<bool>,
    start_delay: Option<i64>,
    kill_timeout: Option<i64>,
    text_hash: i32,
}

impl TaskEventRow<'_> {
    fn content(&self) -> EventContent<'_> {
        EventContent {
            event_at: self.event_at,
            event_type: self.event.kind.as_deref(),
            fails_task: self.fails_task,
            exit_code: self.exit_code,
            signal: self.signal,
            oom_killed: self.oom_killed,
            start_delay: self.start_delay,
            kill_timeout: self.kill_timeout,
            text_hash: self.text_hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocation() -> AllocationKey<'static> {
        AllocationKey { region: "", namespace: "", alloc_id: "", job_id: None, task_group: None, node_id: None }
    }

    #[test]
    fn events_that_differ_only_in_details_are_two_events_in_every_window() {
        let event = |text: &'static str| TaskEvent {
            time: Some(1_795_458_600_000_000_001),
            kind: Some("Driver".into()),
            details: vec![("driver_message".into(), text.into())],
            ..TaskEvent::default()
        };
        let identities = |texts: &[&'static str]| -> Vec<u128> {
            let state = TaskState { events: texts.iter().map(|text| event(text)).collect(), ..TaskState::default() };
            let mut made = Vec::new();
            rows(allocation(), &state, &mut made);
            made.iter().map(|row| super::super::column::identity(&columns(), row, &mut Vec::new())).collect()
        };
        let both = identities(&["pulling", "pulled"]);
        assert_ne!(both[0], both[1]);
        assert_eq!(identities(&["pulling"]), both[..1]);
        assert_eq!(identities(&["pulled"]), both[1..]);
        assert_eq!(identities(&["pulled", "pulling"]), [both[1], both[0]]);
        // Events whose texts are equal, too, are numbered by their ordinal.
        let three = identities(&["pulled", "pulling", "pulled"]);
        assert_eq!(three[..2], [both[1], both[0]]);
        assert!(!both.contains(&three[2]));
        // Events whose hashes collide are numbered as well. None is lost, whichever text gets which number.
        let of = |text: &str| {
            super::super::identity::text_hash([Some(format!(r#"{{"driver_message":"{text}"}}"#).as_str()), None])
        };
        let names: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
        let mut met = HashMap::new();
        let colliding = names.iter().find_map(|name| met.insert(of(name), name).map(|other| [other, name]));
        assert!(colliding.is_some(), "2,000 texts have 2,000 hashes of 16 bits");
        let Some([one, other]) = colliding else { return };
        let (one, other) = (one.clone().leak(), other.clone().leak());
        let both = identities(&[one, other]);
        assert_ne!(both[0], both[1]);
        assert_eq!(both, identities(&[other, one]));
    }

    #[test]
    fn long_and_short_windows_number_events_alike() {
        let event = |n: usize| TaskEvent { time: Some((n % 7) as i64), ..TaskEvent::default() };
        for count in [COMPARED, COMPARED + 1, 1_000] {
            let state = TaskState { events: (0..count).map(event).collect(), ..TaskState::default() };
            let mut made = Vec::new();
            rows(allocation(), &state, &mut made);
            // Time 0 means no time, but it still distinguishes this event from the others.
            assert!(made.iter().enumerate().all(|(n, row)| row.ordinal == (n / 7) as i32), "{count}");
        }
    }
}
