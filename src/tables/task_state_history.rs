//! `task_state_history`: one row is one state of a task as a document showed it, with its window of events.

use super::AllocationKey;
use super::column::{Column, Value, derived, key};
use super::task_events::attempts;
use crate::decode::record::{Allocation, TaskState};
use crate::time;

/// One state of a task.
#[derive(Debug, Clone)]
pub struct TaskStateRow<'a> {
    /// The columns that identify the allocation of the task.
    pub allocation: AllocationKey<'a>,
    /// The first document that showed this state; the merge sets it.
    pub snapshot_id: i64,
    task: Option<&'a str>,
    modify_index: Option<i64>,
    modified_at: Option<i64>,
    /// `None` for a task that is known only from its resources.
    state: Option<&'a TaskState<'a>>,
    is_placeholder: bool,
    lifecycle_hook: Option<&'a str>,
    sidecar: Option<bool>,
    window: Option<EventWindow<'a>>,
}

/// The window of events of a state.
#[derive(Debug, Clone)]
struct EventWindow<'a> {
    events: i64,
    restarting: i64,
    first_type: Option<&'a str>,
    first_attempt: Option<i64>,
    first: Option<i64>,
    last_attempt: Option<i64>,
    last: Option<i64>,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<TaskStateRow<'a>>> {
    vec![
        key("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.allocation.region))),
        key(
            "namespace",
            "Nomad namespace; if the source does not show it, the namespace that was listed, or `default` if that is not known",
            Value::Text(|r| Some(r.allocation.namespace)),
        ),
        key("job_id", "job ID; null where a source lacks it", Value::Text(|r| r.allocation.job_id)),
        key("task_group", "task group; null where a source lacks it", Value::Text(|r| r.allocation.task_group)),
        key(
            "task",
            "task name; null in the one row of an allocation whose tasks are not known",
            Value::Text(|r| r.task),
        ),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(r.allocation.alloc_id))),
        key("node_id", "client node ID", Value::Text(|r| r.allocation.node_id)),
        key("modify_index", "raft index of the allocation's version", Value::Int64(|r| r.modify_index)),
        key("modified_at", "ModifyTime of that version, by the server's clock", Value::Moment(|r| r.modified_at)),
        key(
            "state",
            "pending, running or dead; null for a task without a state yet",
            Value::Text(|r| r.state?.state.as_deref().filter(|s| !s.is_empty())),
        ),
        key(
            "placeholder",
            "whether the state is Nomad's placeholder for a task that never ran: an empty state, no events, and a back-filled FinishedAt",
            Value::Bool(|r| Some(r.is_placeholder)),
        ),
        key(
            "failed",
            "whether an event marked the task as failed; never reset; null without a state",
            Value::Bool(|r| r.state?.failed),
        ),
        key(
            "restarts",
            "Nomad's Restarts counter; null before Nomad 0.6 and in placeholders",
            Value::Int64(|r| r.counter()),
        ),
        key(
            "last_restart_at",
            "time of the last Restarting event, by the client's clock",
            Value::Moment(|r| r.state?.last_restart),
        ),
        key(
            "started_at",
            "latest start, by the client's clock; not the first one",
            Value::Moment(|r| r.state?.started_at),
        ),
        key(
            "finished_at",
            "first end, by the client's clock; never cleared, so it may precede started_at",
            Value::Moment(|r| r.state?.finished_at),
        ),
        key(
            "lifecycle_hook",
            "prestart, poststart or poststop; null for a main task, or when not listed",
            Value::Text(|r| r.lifecycle_hook),
        ),
        key("sidecar", "whether a task with a hook is a sidecar; null without a hook", Value::Bool(|r| r.sidecar)),
        key(
            "window_events",
            "events in its window, at most ten; null when there are none",
            Value::Int64(|r| Some(r.window.as_ref()?.events)),
        ),
        key(
            "window_restarting",
            "how many events of the window are Restarting",
            Value::Int64(|r| Some(r.window.as_ref()?.restarting)),
        ),
        key(
            "window_first_type",
            "type of the first event of the window",
            Value::Text(|r| r.window.as_ref()?.first_type),
        ),
        key(
            "window_first_attempt",
            "attempt of the first event of the window; null without a counter",
            Value::Int64(|r| r.window.as_ref()?.first_attempt),
        ),
        key(
            "window_first_ns",
            "time of the first event of the window, in nanoseconds since the epoch",
            Value::Int64(|r| r.window.as_ref()?.first),
        ),
        key(
            "window_last_attempt",
            "attempt of the last event of the window; null without a counter",
            Value::Int64(|r| r.window.as_ref()?.last_attempt),
        ),
        key(
            "window_last_ns",
            "time of the last event of the window, in nanoseconds since the epoch",
            Value::Int64(|r| r.window.as_ref()?.last),
        ),
        derived("snapshot_id", "the document that showed this state first", Value::Int64(|r| Some(r.snapshot_id))),
    ]
}

/// Builds the rows of an allocation: one for each task state, and one for each task that only the resources name. An
/// allocation without tasks gets one row without a task.
pub fn rows<'a>(allocation: AllocationKey<'a>, a: &'a Allocation<'a>, rows: &mut Vec<TaskStateRow<'a>>) {
    let first = rows.len();
    let lifecycle = |task: &str| a.allocated.as_ref()?.lifecycles.iter().find(|l| l.task == task);
    let row = |task: Option<&'a str>, state: Option<&'a TaskState<'a>>| {
        let lifecycle = task.and_then(lifecycle);
        TaskStateRow {
            allocation,
            snapshot_id: 0,
            task,
            modify_index: a.modify_index,
            modified_at: a.modify_time.and_then(time::positive),
            state,
            is_placeholder: state.is_some_and(|s| s.state.as_deref() == Some("") && s.events.is_empty()),
            lifecycle_hook: lifecycle.and_then(|l| l.hook.as_deref()),
            sidecar: lifecycle.and_then(|l| l.sidecar),
            window: state.and_then(window),
        }
    };
    rows.extend(a.task_states.iter().map(|s| row(Some(&s.task), Some(s))));
    for t in a.allocated.iter().flat_map(|r| &r.tasks) {
        if !a.task_states.iter().any(|s| s.task == t.task) {
            rows.push(row(Some(&t.task), None));
        }
    }
    if rows.len() == first {
        rows.push(row(None, None));
    }
}

fn window<'a>(state: &'a TaskState<'a>) -> Option<EventWindow<'a>> {
    let (first, last) = (state.events.first()?, state.events.last()?);
    let attempts = attempts(state);
    Some(EventWindow {
        events: state.events.len() as i64,
        restarting: state.events.iter().filter(|e| e.kind.as_deref() == Some("Restarting")).count() as i64,
        first_type: first.kind.as_deref(),
        first_attempt: attempts.first().copied().flatten(),
        first: first.time.and_then(time::positive),
        last_attempt: attempts.last().copied().flatten(),
        last: last.time.and_then(time::positive),
    })
}

impl TaskStateRow<'_> {
    fn counter(&self) -> Option<i64> {
        self.state.filter(|_| !self.is_placeholder)?.restarts
    }
}
