//! The API documentation of Nomad 0.6, which was the starting point of this project. Every field and event type in it
//! has a column, a key in `details`, or a reason why it is not stored.

use std::collections::{BTreeMap, BTreeSet};

use alloclog::intake::IntakeOptions;
use alloclog::tables::Table;
use serde_json::{Value, json};

use super::documents;
use super::expected::Expected;
use super::sample;
use crate::support::{Row, Taken, take};

/// Where a field is stored.
enum Place {
    /// A column of this table.
    Column(Table, &'static str),
    /// This key of `task_events.details`.
    Details(&'static str),
    /// Not stored, with the reason.
    NotKept(&'static str),
}

use Place::{Column, Details, NotKept};
use Table::{AllocationHistory, TaskEvents, TaskStateHistory};

/// Every field in the two examples of the page. An object whose members are not listed stands for all of its members.
const FIELDS: [(&str, Place); 54] = [
    ("ID", Column(AllocationHistory, "alloc_id")),
    ("EvalID", Column(AllocationHistory, "eval_id")),
    ("Name", Column(AllocationHistory, "name")),
    ("NodeID", Column(AllocationHistory, "node_id")),
    ("JobID", Column(AllocationHistory, "job_id")),
    ("Job", NotKept("the wanted state, not what happened; it may hold secrets")),
    ("Job.Type", Column(AllocationHistory, "job_type")),
    ("TaskGroup", Column(AllocationHistory, "task_group")),
    ("Resources.CPU", Column(AllocationHistory, "cpu_shares")),
    ("Resources.MemoryMB", Column(AllocationHistory, "memory_mb")),
    ("Resources.DiskMB", Column(AllocationHistory, "disk_mb")),
    ("Resources.IOPS", NotKept("never enforced, and gone since Nomad 0.9")),
    ("Resources.Networks", NotKept("addresses and ports say nothing of a task's life")),
    ("SharedResources", NotKept("part of Resources")),
    ("TaskResources", NotKept("Resources is their sum")),
    ("Metrics", NotKept("how the scheduler found the node")),
    ("DesiredStatus", Column(AllocationHistory, "desired_status")),
    ("DesiredDescription", Column(AllocationHistory, "desired_description")),
    ("ClientStatus", Column(AllocationHistory, "client_status")),
    ("ClientDescription", Column(AllocationHistory, "client_description")),
    ("PreviousAllocation", Column(AllocationHistory, "previous_allocation")),
    ("CreateIndex", Column(AllocationHistory, "create_index")),
    ("ModifyIndex", Column(AllocationHistory, "modify_index")),
    ("AllocModifyIndex", NotKept("clients' reports do not raise it; they raise ModifyIndex")),
    ("CreateTime", Column(AllocationHistory, "created_at_ns")),
    ("TaskStates", Column(TaskStateHistory, "task")),
    ("TaskStates.*.State", Column(TaskStateHistory, "state")),
    ("TaskStates.*.Failed", Column(TaskStateHistory, "failed")),
    ("TaskStates.*.StartedAt", Column(TaskStateHistory, "started_at_ns")),
    ("TaskStates.*.FinishedAt", Column(TaskStateHistory, "finished_at_ns")),
    ("TaskStates.*.LastRestart", Column(TaskStateHistory, "last_restart_at_ns")),
    ("TaskStates.*.Restarts", Column(TaskStateHistory, "restarts")),
    ("TaskStates.*.Events", Column(TaskEvents, "task")),
    ("TaskStates.*.Events.Type", Column(TaskEvents, "event_type")),
    ("TaskStates.*.Events.Time", Column(TaskEvents, "event_at_ns")),
    ("TaskStates.*.Events.FailsTask", Column(TaskEvents, "fails_task")),
    ("TaskStates.*.Events.RestartReason", Column(TaskEvents, "restart_reason")),
    ("TaskStates.*.Events.SetupError", Details("setup_error")),
    ("TaskStates.*.Events.DriverError", Details("driver_error")),
    ("TaskStates.*.Events.ExitCode", Column(TaskEvents, "exit_code")),
    ("TaskStates.*.Events.Signal", Column(TaskEvents, "signal")),
    ("TaskStates.*.Events.Message", Details("message")),
    ("TaskStates.*.Events.KillTimeout", Column(TaskEvents, "kill_timeout_ns")),
    ("TaskStates.*.Events.KillError", Details("kill_error")),
    ("TaskStates.*.Events.KillReason", Details("kill_reason")),
    ("TaskStates.*.Events.StartDelay", Column(TaskEvents, "start_delay_ns")),
    ("TaskStates.*.Events.DownloadError", Details("download_error")),
    ("TaskStates.*.Events.ValidationError", Details("validation_error")),
    ("TaskStates.*.Events.DiskLimit", Details("disk_limit")),
    ("TaskStates.*.Events.FailedSibling", Details("failed_sibling")),
    ("TaskStates.*.Events.VaultError", Details("vault_renewal_error")),
    ("TaskStates.*.Events.TaskSignalReason", Details("task_signal_reason")),
    ("TaskStates.*.Events.TaskSignal", Details("task_signal")),
    ("TaskStates.*.Events.DriverMessage", Details("driver_message")),
];

/// Every event type in the page's field reference. That list includes `Building Task Directory`, which is the message
/// of a `Task Setup`.
const EVENT_TYPES: [&str; 19] = [
    "Setup Failure",
    "Driver Failure",
    "Started",
    "Terminated",
    "Killing",
    "Killed",
    "Received",
    "Failed Validation",
    "Restarting",
    "Not Restarting",
    "Downloading Artifacts",
    "Failed Artifact Download",
    "Restart Signaled",
    "Signaling",
    "Sibling Task Failed",
    "Leader Task Dead",
    "Driver",
    "Task Setup",
    "Building Task Directory",
];

fn example(name: &str) -> Value {
    serde_json::from_slice(&documents::read(&sample(name))).expect("an example")
}

fn taken(document: &Value) -> Taken {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), document.to_string()).expect("a file");
    let taken = take(&[file.path()], &IntakeOptions::default());
    assert_eq!(taken.notes, [], "{document}");
    taken
}

/// The JSON pointer of a field in the example of a read. A field of events points to the second event.
fn pointer(field: &str) -> String {
    format!("/{}", field.replace("TaskStates.*", "TaskStates/redis").replace("Events.", "Events/1/").replace('.', "/"))
}

/// The paths of all values except objects. A field of events is counted once.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = if path == "TaskStates" { "*" } else { name };
                paths(value, &if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, found);
            }
        }
        Value::Array(elements) if path.ends_with(".Events") => {
            elements.iter().for_each(|element| paths(element, path, found));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

/// A value of the same type that is unique in the example.
fn probe(field: &str, value: &Value) -> Value {
    match value {
        Value::Bool(_) => json!(true),
        Value::Number(_) if field.ends_with("Time") => json!(1_495_747_371_798_867_777_i64),
        Value::Number(_) => json!(4711),
        Value::String(text) if text.ends_with('Z') => json!("2017-05-25T21:22:59.5Z"),
        Value::String(_) => json!("probe"),
        _ => json!({"probe": "probe"}),
    }
}

/// The expected value of a field's column if the field has the value `probe`.
fn held(field: &str, probe: &Value) -> Value {
    if probe == "2017-05-25T21:22:59.5Z" {
        return json!(1_495_747_379_500_000_000_i64);
    }
    if matches!(field, "TaskStates" | "TaskStates.*.Events") { json!("redis") } else { probe.clone() }
}

#[test]
fn every_field_of_the_nomad_0_6_page_is_stored_or_excluded() {
    let mut named = BTreeSet::new();
    paths(&example("nomad-0.6/allocations.json")[0], "", &mut named);
    paths(&example("nomad-0.6/allocation.json"), "", &mut named);
    for path in &named {
        let has_place = FIELDS.iter().any(|(field, _)| path == field || path.starts_with(&format!("{field}.")));
        assert!(has_place, "{path}");
    }
    for (field, place) in &FIELDS {
        let mut document = example("nomad-0.6/allocation.json");
        let spot = document.pointer_mut(&pointer(field)).unwrap_or_else(|| panic!("{field} is not in the example"));
        let probe = probe(field, spot);
        if !matches!(*field, "TaskStates" | "TaskStates.*.Events") {
            *spot = probe.clone();
        }
        if field.ends_with("StartDelay") {
            document["TaskStates"]["redis"]["Events"][1]["Type"] = json!("Restarting");
        }
        let taken = taken(&document);
        match place {
            Column(table, column) => {
                let wanted = held(field, &probe);
                assert!(taken.table(*table).iter().any(|row| row[*column] == wanted), "{field}");
            }
            Details(key) => {
                let text = probe.as_str().map_or_else(|| probe.to_string(), str::to_owned);
                let is_there = |row: &Row| {
                    let details = row["details"].as_str().map(|d| serde_json::from_str::<Value>(d).expect("JSON"));
                    details.is_some_and(|details| details[*key] == text)
                };
                assert!(taken.table(TaskEvents).iter().any(is_there), "{field}");
            }
            NotKept(why) => {
                let rows = taken.rows.values().flatten();
                let is_there = rows.flat_map(|row| row.values()).any(|value| *value == probe);
                assert!(!is_there && !why.is_empty(), "{field}");
            }
        }
    }
}

#[test]
fn every_event_type_of_the_nomad_0_6_page_is_stored_as_spelled() {
    let mut document = example("nomad-0.6/allocation.json");
    let event = document["TaskStates"]["redis"]["Events"][0].clone();
    let events = EVENT_TYPES.iter().enumerate().map(|(number, kind)| {
        let mut event = event.clone();
        event["Type"] = json!(kind);
        event["Time"] = json!(1_495_747_371_795_703_801_i64 + number as i64);
        event
    });
    document["TaskStates"]["redis"]["Events"] = events.collect();
    let taken = taken(&document);
    let kinds: Vec<&str> = taken.table(TaskEvents).iter().filter_map(|row| row["event_type"].as_str()).collect();
    assert_eq!(kinds, EVENT_TYPES);
}

#[test]
fn nomad_0_6_list_and_read_give_the_same_events() {
    let (list, read) = (sample("nomad-0.6/allocations.json"), sample("nomad-0.6/allocation.json"));
    for (path, shape) in [(&list, "stub"), (&read, "full")] {
        let taken = take(&[path], &IntakeOptions::default());
        Expected::of(&documents::of(path)).check(&taken);
        assert_eq!(taken.table(AllocationHistory)[0]["shape"], shape);
    }
    let taken = take(&[&list, &read], &IntakeOptions::default());
    assert_eq!(taken.notes, []);
    let events: Vec<BTreeMap<&str, &Value>> = taken
        .table(TaskEvents)
        .iter()
        .map(|row| ["event_type", "event_at", "attempt", "message", "details"].map(|name| (name, &row[name])).into())
        .collect();
    let expected = json!([
        {"event_type": "Received", "event_at": "2017-05-25T21:22:51.795703Z", "attempt": 1, "message": null, "details": null},
        {"event_type": "Driver", "event_at": "2017-05-25T21:22:51.798867Z", "attempt": 1,
         "message": "Downloading image redis:3.2", "details": "{\"driver_message\":\"Downloading image redis:3.2\"}"},
        {"event_type": "Started", "event_at": "2017-05-25T21:22:59.525667Z", "attempt": 1, "message": null, "details": null},
    ]);
    assert_eq!(json!(events), expected);
}
