//! Rows as the program gives them, in the words of the truth; and what the truth says that they must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use alloclog::tables::Table;

use super::{Kind, Taking, documents};
use crate::simulator::{Cluster, Document, EventRow, SECOND, StateTruth, TaskKey, Truth, sightings};
use crate::support::{Row, Taken};

/// A text of a row.
pub fn text(row: &Row, name: &str) -> String {
    row[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {row:?}")).to_owned()
}

/// A text that may be null.
fn maybe(row: &Row, name: &str) -> Option<String> {
    row[name].as_str().map(str::to_owned)
}

/// An integer that may be null.
pub fn int(row: &Row, name: &str) -> Option<i64> {
    let value = row.get(name).unwrap_or_else(|| panic!("no {name} in {row:?}"));
    assert!(value.is_null() || value.is_i64(), "{name} is no integer in {row:?}");
    value.as_i64()
}

/// A row of `task_events` as the truth tells it.
pub fn event(row: &Row) -> EventRow {
    EventRow {
        alloc_id: text(row, "alloc_id"),
        task: text(row, "task"),
        event_at_ns: int(row, "event_at_ns").expect("a time"),
        event_type: text(row, "event_type"),
        ordinal: int(row, "ordinal").expect("an ordinal"),
        attempt: int(row, "attempt"),
        fails_task: row["fails_task"].as_bool().expect("true or false"),
        exit_code: int(row, "exit_code"),
        signal: int(row, "signal"),
        oom_killed: row["oom_killed"].as_bool(),
        restart_reason: maybe(row, "restart_reason"),
        start_delay_ns: int(row, "start_delay_ns"),
        kill_timeout_ns: int(row, "kill_timeout_ns"),
        details: maybe(row, "details"),
        times_rounded: row["times_rounded"].as_bool().expect("true or false"),
        namespace: text(row, "namespace"),
        job_id: text(row, "job_id"),
        task_group: text(row, "task_group"),
        node_id: text(row, "node_id"),
    }
}

/// A task of a row.
pub fn key(row: &Row) -> TaskKey {
    (text(row, "alloc_id"), text(row, "task"))
}

/// The latest state of each task in rows of `task_state_history` or `task_states`.
pub fn states(rows: &[Row]) -> BTreeMap<TaskKey, StateTruth> {
    let mut states: BTreeMap<TaskKey, StateTruth> = BTreeMap::new();
    for row in rows {
        if row["task"].is_null() || row["state"].is_null() || row.get("placeholder").is_some_and(|p| p == true) {
            continue;
        }
        let state = StateTruth {
            modify_index: int(row, "modify_index").expect("an index"),
            state: text(row, "state"),
            failed: row["failed"].as_bool().expect("true or false"),
            restarts: int(row, "restarts"),
            last_restart_ns: int(row, "last_restart_at_ns"),
            started_ns: int(row, "started_at_ns"),
            finished_ns: int(row, "finished_at_ns"),
        };
        let known = states.entry(key(row)).or_insert_with(|| state.clone());
        if known.modify_index < state.modify_index {
            *known = state;
        }
    }
    states
}

/// A row of `allocation_history` in the words of [`Truth::versions`].
fn version(row: &Row) -> String {
    let texts = ["desired_description", "client_description", "next_allocation"].map(|name| maybe(row, name));
    let [desired, client] = ["desired_status", "client_status"].map(|name| text(row, name));
    let numbers = ["create_index", "modify_index", "created_at_ns", "modified_at_ns"].map(|name| int(row, name));
    let [created, modified, created_at, modified_at] = numbers.map(|number| number.expect("a number"));
    let (id, name, node) = (text(row, "alloc_id"), text(row, "name"), text(row, "node_name"));
    format!("{id} {name} {node:?} {desired} {client} {texts:?} {created} {modified} {created_at} {modified_at}")
}

/// A window of a row of `task_state_history` in the words of [`Truth::window_rows`].
fn window(row: &Row) -> Option<String> {
    let events = int(row, "window_events")?;
    let place = |which: &str| {
        (int(row, &format!("window_{which}_attempt")), int(row, &format!("window_{which}_ns")).expect("a time"))
    };
    Some(format!(
        "{} {:?} {} {:?} {events} {} {} {:?} {:?}",
        text(row, "alloc_id"),
        text(row, "task"),
        int(row, "modify_index").expect("an index"),
        int(row, "restarts"),
        int(row, "window_restarting").expect("a number"),
        text(row, "window_first_type"),
        place("first"),
        place("last"),
    ))
}

/// Says what differs between two sets, and nothing else.
pub fn same<T: Ord + Debug>(what: &str, is: &BTreeSet<T>, must_be: &BTreeSet<T>) {
    let first = |of: Vec<&T>| of.into_iter().take(3).map(|row| format!("\n    {row:?}")).collect::<String>();
    let extra: Vec<&T> = is.difference(must_be).collect();
    let lacking: Vec<&T> = must_be.difference(is).collect();
    assert!(
        extra.is_empty() && lacking.is_empty(),
        "{what}: {} of {} rows are wrong:{}\n  {} of {} are not there:{}",
        extra.len(),
        is.len(),
        first(extra.clone()),
        lacking.len(),
        must_be.len(),
        first(lacking.clone()),
    );
}

/// The pairs of a map, for [`same`].
pub fn pairs<K: Ord + Clone, V: Debug>(map: &BTreeMap<K, V>) -> BTreeSet<(K, String)> {
    map.iter().map(|(key, value)| (key.clone(), format!("{value:?}"))).collect()
}

/// Checks what was taken in of these takings against the truth.
pub fn check(case: &str, cluster: &Cluster, takings: &[Taking], kind: Kind, taken: &Taken) {
    let truth = Truth::of_documents(cluster, documents(takings));
    let rows = taken.table(Table::TaskEvents);
    let events: BTreeSet<EventRow> = rows.iter().map(event).collect();
    assert_eq!(rows.len(), events.len(), "{case}: a row twice");
    let mut must_be = truth.events();
    if kind == Kind::Lesser {
        // Whether an attempt is known depends on which document came first.
        let unknown: BTreeSet<EventRow> = events.iter().filter(|e| e.attempt.is_none()).cloned().collect();
        must_be = must_be
            .into_iter()
            .map(|row| EventRow { attempt: None, ..row.clone() })
            .zip(truth.events())
            .map(|(without, row)| if unknown.contains(&without) { without } else { row })
            .collect();
    }
    same(&format!("{case}, task_events"), &events, &must_be);
    let messages = rows
        .iter()
        .map(|row| (EventRow { attempt: None, ..event(row) }, row["message"].as_str().unwrap_or_default().to_owned()));
    same(&format!("{case}, messages"), &pairs(&messages.collect()), &pairs(&truth.messages()));
    let versions = taken.table(Table::AllocationHistory).iter().map(version).collect();
    same(&format!("{case}, allocation_history"), &versions, &truth.versions());
    let windows = taken.table(Table::TaskStateHistory).iter().filter_map(window).collect();
    same(&format!("{case}, windows"), &windows, &truth.window_rows());
    if kind == Kind::Exact {
        let latest = states(taken.table(Table::TaskStateHistory));
        same(&format!("{case}, states"), &pairs(&latest), &pairs(&truth.states()));
    }
    let seen = taken.table(Table::Sightings).iter();
    let seen: BTreeSet<(String, i64)> =
        seen.map(|row| (text(row, "alloc_id"), int(row, "seen_at_ns").expect("a time"))).collect();
    assert_eq!(taken.table(Table::Sightings).len(), seen.len(), "{case}: a sighting twice");
    same(&format!("{case}, sightings"), &seen, &seen_in(cluster, takings));
}

/// The rows of `sightings`.
fn seen_in(cluster: &Cluster, takings: &[Taking]) -> BTreeSet<(String, i64)> {
    let mut seen = BTreeSet::new();
    for taking in takings {
        match taking {
            Taking::Listing(document) => {
                let at = document.at - document.at % SECOND;
                seen.extend(sightings(cluster, &[Document { at, ..document.clone() }]));
            }
            // A bundle's listings are of their newest time, for their names tell none.
            Taking::Bundle(documents) => {
                for document in documents {
                    let Some(at) = document.newest(cluster) else { continue };
                    seen.extend(sightings(cluster, &[Document { at, ..document.clone() }]));
                }
            }
            // Each event of a stream was seen when it happened.
            Taking::Stream(document) => {
                for shown in &document.shown {
                    let one = Document { shown: vec![*shown], ends: vec![], bytes: vec![], ..document.clone() };
                    let at = one.newest(cluster).expect("an allocation");
                    seen.extend(sightings(cluster, &[Document { at, ..one }]));
                }
            }
        }
    }
    seen
}
