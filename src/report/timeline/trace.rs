//! A timeline in the trace event format, which Perfetto and chrome://tracing display.
//!
//! An allocation is a process, and each of its tasks is a thread with one track. Slices of one track must not overlap,
//! because viewers would draw them wrongly. Events are instants. Times are microseconds since the first time of the
//! timeline, which is `otherData.origin`. Viewers read times as floats, which are exact to the nanosecond for these
//! differences.

use serde_json::{Map, Value, json};

use super::lanes::{Slice, slices};
use super::phrases::summary;
use super::{AllocationStory, TaskStory, Timeline};
use crate::query::Row;
use crate::time;

/// Formats a timeline as a trace.
pub fn trace(timeline: &Timeline) -> Value {
    let tracks: Vec<(usize, usize, &AllocationStory, &TaskStory, Vec<Slice>)> = timeline
        .allocations
        .iter()
        .enumerate()
        .flat_map(|(process, story)| {
            let tracks = story.tasks.iter().enumerate();
            tracks.map(move |(thread, task)| (process + 1, thread + 1, story, task, slices(task, &story.allocation)))
        })
        .collect();
    let times = tracks.iter().flat_map(|(.., task, slices)| {
        let events = task.events.iter().filter_map(|event| event.int("event_at_ns"));
        events.chain(slices.iter().map(|slice| slice.from_ns))
    });
    let origin = times.min().unwrap_or(0);
    let mut events: Vec<Value> = Vec::new();
    for (i, story) in timeline.allocations.iter().enumerate() {
        events.push(named("process_name", i + 1, 0, &summary(&story.allocation)));
    }
    for (process, thread, _, task, slices) in &tracks {
        let task_name = task.task.as_deref().unwrap_or("unknown tasks");
        events.push(named("thread_name", *process, *thread, task_name));
        for slice in slices {
            events.push(json!({
                "ph": "X",
                "pid": process,
                "tid": thread,
                "name": slice.label,
                "cat": slice.outcome.as_deref().unwrap_or(slice.kind),
                "ts": micros(slice.from_ns.saturating_sub(origin)),
                "dur": micros(slice.until_ns.saturating_sub(slice.from_ns)),
                "args": {"from": time::to_rfc3339(slice.from_ns), "until": time::to_rfc3339(slice.until_ns)},
            }));
        }
        events.extend(task.events.iter().filter_map(|event| instant(event, *process, *thread, origin)));
    }
    json!({
        "displayTimeUnit": "ms",
        "otherData": {"origin": time::to_rfc3339(origin), "program": format!("alloclog {}", timeline.alloclog_version)},
        "traceEvents": events,
    })
}

fn named(what: &str, process: usize, thread: usize, name: &str) -> Value {
    json!({"ph": "M", "pid": process, "tid": thread, "name": what, "args": {"name": name}})
}

/// An event with a time.
fn instant(event: &Row, process: usize, thread: usize, origin: i64) -> Option<Value> {
    let at = event.int("event_at_ns")?;
    let mut args = Map::new();
    for (name, value) in event.0.iter().filter(|(_, value)| !value.is_null()) {
        args.insert(name.clone(), value.clone());
    }
    Some(json!({
        "ph": "i",
        "s": "t",
        "pid": process,
        "tid": thread,
        "name": event.text("event_type").unwrap_or("event without a type"),
        "cat": "event",
        "ts": micros(at.saturating_sub(origin)),
        "args": args,
    }))
}

/// Nanoseconds as microseconds.
fn micros(ns: i64) -> f64 {
    ns as f64 / 1e3
}
