//! The cells of one row, derived from its JSON by the data model.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime};
use serde_json::{Value, json};

use super::EventKey;
use crate::support::Row;

/// A row of these cells.
pub fn cells<const N: usize>(cells: [(&str, Value); N]) -> Row {
    cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The ID of an allocation.
pub fn id(a: &Value) -> String {
    a["ID"].as_str().expect("an allocation with an ID").to_owned()
}

/// The events of a task's window with their keys.
pub fn events<'v>(
    a: &'v Value,
    task: &'v str,
    state: &'v Value,
) -> impl Iterator<Item = (EventKey, &'v Value)> + use<'v> {
    let mut equal: BTreeMap<(i64, String), usize> = BTreeMap::new();
    state["Events"].as_array().into_iter().flatten().map(move |event| {
        let (time, kind) = (event["Time"].as_i64().unwrap_or(0), event["Type"].as_str().unwrap_or("").to_owned());
        let before = equal.entry((time, kind.clone())).or_default();
        *before += 1;
        ((id(a), task.to_owned(), time, kind, *before - 1), event)
    })
}

/// The attempt of each event of a window: Restarts + 1 − the number of Restarting events at or after the event.
pub fn attempts(state: &Value) -> Vec<Value> {
    let kinds: Vec<&str> =
        state["Events"].as_array().into_iter().flatten().map(|e| e["Type"].as_str().unwrap_or("")).collect();
    let restarting_from = |at: usize| kinds[at..].iter().filter(|kind| **kind == "Restarting").count() as i64;
    (0..kinds.len()).map(|at| json!(state["Restarts"].as_i64().map(|n| n + 1 - restarting_from(at)))).collect()
}

/// An allocation's ModifyTime.
pub fn modified(a: &Value) -> Option<i64> {
    a["ModifyTime"].as_i64().filter(|ns| *ns > 0)
}

/// An allocation's CreateTime.
pub fn created(a: &Value) -> Option<i64> {
    a["CreateTime"].as_i64().filter(|ns| *ns > 0)
}

/// A UTC time such as 20261123T182801Z in a file's name.
pub fn time_in(name: &str) -> Option<i64> {
    let end = name.find('Z')?;
    let time = NaiveDateTime::parse_from_str(name.get(end.checked_sub(15)?..end)?, "%Y%m%dT%H%M%S").ok()?;
    time.and_utc().timestamp_nanos_opt()
}

fn text(value: &Value) -> Value {
    value.as_str().filter(|text| !text.is_empty()).map_or(Value::Null, |text| json!(text))
}

fn number(value: &Value) -> Value {
    json!(value.as_i64())
}

/// Nanoseconds since the epoch, as Nomad writes them. 0 means never.
fn nanos(value: &Value) -> Value {
    json!(value.as_i64().filter(|ns| *ns > 0))
}

/// Nanoseconds since the epoch of an RFC 3339 text. The year 1 means never.
fn moment(value: &Value) -> Value {
    let ns = value.as_str().map(|text| DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_nanos_opt());
    json!(ns.flatten().filter(|ns| *ns > 0))
}

fn namespace(a: &Value) -> Value {
    if text(&a["Namespace"]).is_null() { json!("default") } else { a["Namespace"].clone() }
}

/// The row of one event.
pub fn task_event(a: &Value, key: &EventKey, event: &Value, attempt: Value) -> Row {
    let details = &event["Details"];
    let is = |kind: &str| event["Type"] == kind;
    // Nomad writes these fields in events of every type. A field has a meaning only if it is not 0, or if the type of
    // the event uses it.
    let applies = |name: &str, detail: &str| match event[name].as_i64() {
        Some(n) if n != 0 || is("Terminated") => json!(n),
        _ => json!(details[detail].as_str().and_then(|d| d.parse::<i64>().ok())),
    };
    let kill_timeout = event["KillTimeout"].as_i64().filter(|n| *n != 0);
    assert!(kill_timeout.is_some() == details["kill_timeout"].is_string(), "not both spellings: {event}");
    let time = event["Time"].as_i64().filter(|ns| *ns > 0);
    let date = time.map(|ns| DateTime::from_timestamp_nanos(ns).date_naive().to_string());
    cells([
        ("region", json!("")),
        ("namespace", namespace(a)),
        ("job_id", text(&a["JobID"])),
        ("task_group", text(&a["TaskGroup"])),
        ("task", json!(key.1)),
        ("alloc_id", json!(key.0)),
        ("node_id", text(&a["NodeID"])),
        ("attempt", attempt),
        ("event_at_ns", json!(time)),
        ("event_type", text(&event["Type"])),
        ("ordinal", json!(key.4)),
        ("fails_task", json!(event["FailsTask"].as_bool())),
        ("exit_code", applies("ExitCode", "exit_code")),
        ("signal", applies("Signal", "signal")),
        (
            "oom_killed",
            if is("Terminated") { json!(details["oom_killed"].as_str().map(|d| d == "true")) } else { Value::Null },
        ),
        ("restart_reason", text(&event["RestartReason"])),
        ("start_delay_ns", if is("Restarting") { number(&event["StartDelay"]) } else { Value::Null }),
        ("kill_timeout_ns", json!(kill_timeout)),
        ("times_rounded", json!(false)),
        ("message", message(event)),
        ("details", self::details(event)),
        ("event_date", json!(date)),
    ])
}

/// The legacy fields of an event, and the keys of Details with the same meaning.
const OLD_FIELDS: [(&str, &str); 12] = [
    ("SetupError", "setup_error"),
    ("DriverError", "driver_error"),
    ("DriverMessage", "driver_message"),
    ("KillError", "kill_error"),
    ("KillReason", "kill_reason"),
    ("DownloadError", "download_error"),
    ("ValidationError", "validation_error"),
    ("FailedSibling", "failed_sibling"),
    ("VaultError", "vault_renewal_error"),
    ("TaskSignal", "task_signal"),
    ("TaskSignalReason", "task_signal_reason"),
    ("GenericSource", "generic_source"),
];

fn message(event: &Value) -> Value {
    let old = OLD_FIELDS.iter().map(|(field, _)| field);
    let mut shown = ["DisplayMessage", "Message"].iter().chain(old).map(|field| text(&event[*field]));
    shown.find(|text| !text.is_null()).map_or(Value::Null, |text| json!(masked(text.as_str().unwrap_or(""))))
}

fn details(event: &Value) -> Value {
    let mut pairs: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in event["Details"].as_object().into_iter().flatten() {
        pairs.insert(key.clone(), masked(value.as_str().expect("Details are text")));
    }
    for (field, key) in OLD_FIELDS {
        if let Some(text) = text(&event[field]).as_str() {
            pairs.entry(key.to_owned()).or_insert_with(|| masked(text));
        }
    }
    if let Some(text) = text(&event["Message"]).as_str()
        && pairs.get("exit_message").is_none_or(|exit| *exit != masked(text))
    {
        pairs.entry("message".to_owned()).or_insert_with(|| masked(text));
    }
    // serde_json writes \b and \f where the tables write \u0008 and \u000c.
    let compact = serde_json::to_string(&pairs).expect("text is JSON");
    if pairs.is_empty() { Value::Null } else { json!(compact.replace("\\b", "\\u0008").replace("\\f", "\\u000c")) }
}

/// Masks the only URL with credentials in the recording.
fn masked(text: &str) -> String {
    let text = text.replace("http://user:s3cret@", "http://***@").replace("http://user:***@", "http://***@");
    text.replace("?sig=abc", "?sig=***")
}

/// The row of one task state. If the task has no state, `state` is null.
pub fn task_state(a: &Value, task: Option<&str>, state: &Value) -> Row {
    let events: Vec<&Value> = state["Events"].as_array().into_iter().flatten().collect();
    let is_placeholder = state["State"] == "" && events.is_empty();
    let restarting = events.iter().filter(|event| event["Type"] == "Restarting").count();
    let attempts = attempts(state);
    let window = |value: Value| if events.is_empty() { Value::Null } else { value };
    let time = |event: Option<&&Value>| event.map_or(Value::Null, |event| nanos(&event["Time"]));
    let lifecycle = &a["AllocatedResources"]["TaskLifecycles"][task.unwrap_or("")];
    cells([
        ("region", json!("")),
        ("namespace", namespace(a)),
        ("job_id", text(&a["JobID"])),
        ("task_group", text(&a["TaskGroup"])),
        ("task", json!(task)),
        ("alloc_id", json!(id(a))),
        ("node_id", text(&a["NodeID"])),
        ("modify_index", number(&a["ModifyIndex"])),
        ("modified_at_ns", nanos(&a["ModifyTime"])),
        ("state", text(&state["State"])),
        ("placeholder", json!(is_placeholder)),
        ("failed", json!(state["Failed"].as_bool())),
        ("restarts", if is_placeholder { Value::Null } else { number(&state["Restarts"]) }),
        ("last_restart_at_ns", moment(&state["LastRestart"])),
        ("started_at_ns", moment(&state["StartedAt"])),
        ("finished_at_ns", moment(&state["FinishedAt"])),
        ("lifecycle_hook", text(&lifecycle["Hook"])),
        ("sidecar", json!(lifecycle["Sidecar"].as_bool())),
        ("window_events", window(json!(events.len()))),
        ("window_restarting", window(json!(restarting))),
        ("window_first_type", events.first().map_or(Value::Null, |event| text(&event["Type"]))),
        ("window_first_attempt", attempts.first().cloned().unwrap_or_default()),
        ("window_first_ns", time(events.first())),
        ("window_last_attempt", attempts.last().cloned().unwrap_or_default()),
        ("window_last_ns", time(events.last())),
    ])
}

/// The row of one version of an allocation.
pub fn history(a: &Value, shape: &str) -> Row {
    let tasks: Vec<&Value> =
        a["AllocatedResources"]["Tasks"].as_object().into_iter().flatten().map(|(_, task)| task).collect();
    let is_listed = a["AllocatedResources"].is_object();
    let sum = |group: &str, name: &str, old: &str| {
        let of_tasks: Vec<i64> = tasks.iter().filter_map(|task| task[group][name].as_i64()).collect();
        match (is_listed, of_tasks.is_empty()) {
            (true, true) => Value::Null,
            (true, false) => json!(of_tasks.iter().sum::<i64>()),
            (false, _) => number(&a["Resources"][old]),
        }
    };
    let more_than_none = |value: Value| if value == 0 { Value::Null } else { value };
    let job = |stub: &str, full: &str| if a["Job"].is_object() { a["Job"][full].clone() } else { a[stub].clone() };
    let name = a["Name"].as_str().unwrap_or("");
    let group = format!("{}.{}[", a["JobID"].as_str().unwrap_or(""), a["TaskGroup"].as_str().unwrap_or(""));
    let index = name.strip_prefix(&group).and_then(|rest| rest.strip_suffix(']')?.parse::<i64>().ok());
    let moves = &a["RescheduleTracker"]["Events"];
    let last_move = moves.as_array().and_then(|events| events.last()).unwrap_or(&Value::Null);
    let wish = |name: &str| json!(a["DesiredTransition"][name].as_bool());
    let tracked = a["RescheduleTracker"].is_object().then(|| moves.as_array().map_or(0, Vec::len));
    cells([
        ("region", json!("")),
        ("namespace", namespace(a)),
        ("job_id", text(&a["JobID"])),
        ("task_group", text(&a["TaskGroup"])),
        ("alloc_id", json!(id(a))),
        ("shape", json!(shape)),
        ("name", text(&a["Name"])),
        ("alloc_index", json!(index)),
        ("job_type", text(&job("JobType", "Type"))),
        ("job_version", number(&job("JobVersion", "Version"))),
        ("eval_id", text(&a["EvalID"])),
        ("deployment_id", text(&a["DeploymentID"])),
        ("node_id", text(&a["NodeID"])),
        ("node_name", text(&a["NodeName"])),
        ("desired_status", text(&a["DesiredStatus"])),
        ("desired_description", text(&a["DesiredDescription"])),
        ("client_status", text(&a["ClientStatus"])),
        ("client_description", text(&a["ClientDescription"])),
        ("desired_migrate", wish("Migrate")),
        ("desired_reschedule", wish("Reschedule")),
        ("desired_force_reschedule", wish("ForceReschedule")),
        ("desired_no_shutdown_delay", wish("NoShutdownDelay")),
        ("desired_migrate_disable_placement", wish("MigrateDisablePlacement")),
        ("deployment_healthy", json!(a["DeploymentStatus"]["Healthy"].as_bool())),
        ("deployment_healthy_at_ns", moment(&a["DeploymentStatus"]["Timestamp"])),
        ("canary", json!(a["DeploymentStatus"]["Canary"].as_bool())),
        ("previous_allocation", text(&a["PreviousAllocation"])),
        ("next_allocation", text(&a["NextAllocation"])),
        ("followup_eval_id", text(&a["FollowupEvalID"])),
        ("preempted_by", text(&a["PreemptedByAllocation"])),
        ("reschedule_attempts", json!(tracked)),
        ("rescheduled_from_alloc_id", text(&last_move["PrevAllocID"])),
        ("rescheduled_from_node_id", text(&last_move["PrevNodeID"])),
        ("rescheduled_at_ns", nanos(&last_move["RescheduleTime"])),
        ("created_at_ns", nanos(&a["CreateTime"])),
        ("modified_at_ns", nanos(&a["ModifyTime"])),
        ("create_index", number(&a["CreateIndex"])),
        ("modify_index", number(&a["ModifyIndex"])),
        ("cpu_shares", sum("Cpu", "CpuShares", "CPU")),
        ("memory_mb", sum("Memory", "MemoryMB", "MemoryMB")),
        ("memory_max_mb", more_than_none(sum("Memory", "MemoryMaxMB", "MemoryMaxMB"))),
        (
            "disk_mb",
            if is_listed {
                number(&a["AllocatedResources"]["Shared"]["DiskMB"])
            } else {
                number(&a["Resources"]["DiskMB"])
            },
        ),
    ])
}

/// The row of one version of a node.
pub fn node(n: &Value) -> Row {
    let version = if n["Version"].is_string() { &n["Version"] } else { &n["Attributes"]["nomad.version"] };
    let drain = n["Drain"].as_bool().or_else(|| n.get("DrainStrategy").map(|strategy| !strategy.is_null()));
    cells([
        ("region", json!("")),
        ("node_id", text(&n["ID"])),
        ("node_name", text(&n["Name"])),
        ("node_class", text(&n["NodeClass"])),
        ("node_pool", text(&n["NodePool"])),
        ("datacenter", text(&n["Datacenter"])),
        ("status", text(&n["Status"])),
        ("eligibility", text(&n["SchedulingEligibility"])),
        ("drain", json!(drain)),
        ("nomad_version", text(version)),
        ("modify_index", number(&n["ModifyIndex"])),
    ])
}
