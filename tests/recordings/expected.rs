//! The rows that documents must give, derived from their JSON by the data model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use alloclog::tables::Table;
use chrono::{DateTime, NaiveDateTime};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::documents::{self, Document, Found};
use crate::support::{Row, Taken};

const HOUR: i64 = 3_600_000_000_000;

/// The key of an event in a recording: allocation, task, time, type, and the number of equal ones before it.
pub type EventKey = (String, String, i64, String, usize);

/// The rows that documents must give.
#[derive(Default)]
pub struct Expected {
    /// The rows of `task_events`.
    pub events: BTreeMap<EventKey, Row>,
    /// The rows of the other tables, as text without columns that depend on the order of arrival.
    pub rows: BTreeMap<Table, BTreeSet<String>>,
    /// The documents that hold no allocations, by name.
    pub skipped: BTreeSet<String>,
    /// `--full-listing`.
    pub full_listing: Option<String>,
    /// Hashes of allocations that were added, to skip repeats in lists quickly.
    added: HashSet<u128>,
}

/// The ledger counts of a document.
#[derive(Default)]
struct Counts {
    allocations: usize,
    task_states: usize,
    task_events: usize,
    nodes: usize,
    others: usize,
    lists: usize,
    shapes: BTreeSet<&'static str>,
    modified: Option<i64>,
    created: Option<i64>,
}

impl Expected {
    /// The rows of these documents.
    pub fn of(documents: &[Document]) -> Expected {
        let mut expected = Expected::default();
        documents.iter().for_each(|document| expected.add(document));
        expected
    }

    /// Adds the rows of one document.
    pub fn add(&mut self, document: &Document) {
        let mut full_listing = self.full_listing.clone();
        let parts: Vec<&str> = document.name.rsplitn(4, ['/', ':']).collect();
        match parts.as_slice() {
            ["allocations.json", _, "interval" | "nomad", ..] => {
                full_listing.get_or_insert_with(|| "default".to_owned());
            }
            ["nodes.json", _, "interval" | "nomad", ..] => {}
            [_, _, "interval" | "nomad", ..] | ["eventstream.json", "cluster", ..] => {
                self.skipped.insert(document.name.clone());
                return;
            }
            // Logs are compared in tests/agent_logs; what has no line of a task event is skipped.
            [name, ..] if name.ends_with(".log") => {
                if memchr::memmem::find(&document.bytes, b"Task event").is_none() {
                    self.skipped.insert(document.name.clone());
                }
                return;
            }
            // In an archive it is read for the bundle's namespace.
            ["cli-flags.json", "cluster", ..] if document.name.contains(':') => return,
            _ => {}
        }
        let mut counts = Counts::default();
        let mut live = Vec::new();
        let whole = documents::walk(&document.bytes, &mut |found| match found {
            Found::Allocation(a) => {
                let shape = if a.get("Job").is_some() || a.get("Metrics").is_some() { "full" } else { "stub" };
                live.extend(self.allocation(&a, shape, &mut counts).map(|pending| (a, pending)));
            }
            Found::Streamed(a) => {
                if let Some(pending) = self.allocation(&a, "stream", &mut counts) {
                    self.sighting(&a, modified(&a).or(created(&a)), pending);
                }
            }
            Found::Node(node) => {
                counts.nodes += 1;
                self.row(Table::Nodes, &self::node(&node));
            }
            Found::List => counts.lists += 1,
            Found::Other => counts.others += 1,
        });
        if !whole || counts.allocations + counts.nodes == 0 && (counts.others > 0 || counts.lists == 0) {
            self.skipped.insert(document.name.clone());
            return;
        }
        let named = time_in(document.file_name());
        let observed = named.or(counts.modified).or(counts.created);
        let from = match (named, counts.modified) {
            (Some(_), _) => "name",
            (None, Some(_)) => "content",
            (None, None) => "created",
        };
        for (a, pending) in live {
            self.sighting(&a, observed, pending);
        }
        let shape = match counts.shapes.iter().collect::<Vec<_>>().as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            _ => json!("mixed"),
        };
        let row = cells([
            ("region", json!("")),
            ("content_hash", json!(format!("{:032x}", xxh3_128(&document.bytes)))),
            ("observed_at_ns", json!(observed)),
            ("observed_from", json!(observed.map(|_| from))),
            ("absences_recorded", json!(true)),
            ("is_full_listing", json!(full_listing.is_some())),
            ("namespace", json!(full_listing)),
            ("shape", shape),
            ("times_rounded", json!(false)),
            ("bytes", json!(document.bytes.len())),
            ("allocations", json!(counts.allocations)),
            ("task_states", json!(counts.task_states)),
            ("task_events", json!(counts.task_events)),
            ("rejected", json!(0)),
            ("unknown_fields", Value::Null),
            ("nomad_index", Value::Null),
            ("ingested_at_ns", Value::Null),
            ("alloclog_version", json!(env!("CARGO_PKG_VERSION"))),
        ]);
        self.row(Table::Snapshots, &row);
    }

    /// Adds an allocation; returns whether it is pending, if it is not terminal.
    fn allocation(&mut self, a: &Value, shape: &'static str, counts: &mut Counts) -> Option<bool> {
        counts.allocations += 1;
        counts.shapes.insert(shape);
        counts.modified = counts.modified.max(modified(a));
        counts.created = counts.created.max(created(a));
        let states = || a["TaskStates"].as_object().into_iter().flatten();
        counts.task_states += states().count();
        counts.task_events += states().map(|(_, s)| s["Events"].as_array().map_or(0, Vec::len)).sum::<usize>();
        if self.added.insert(xxh3_128(format!("{shape}{a}").as_bytes())) {
            self.rows_of(a, shape);
        }
        let is_live = !matches!(a["ClientStatus"].as_str(), Some("complete" | "failed" | "lost"));
        is_live.then(|| a["ClientStatus"] == "pending")
    }

    /// Adds the rows of an allocation.
    fn rows_of(&mut self, a: &Value, shape: &'static str) {
        self.row(Table::AllocationHistory, &history(a, shape));
        let mut tasks = 0;
        for (task, state) in a["TaskStates"].as_object().into_iter().flatten() {
            tasks += 1;
            self.row(Table::TaskStateHistory, &task_state(a, Some(task), state));
            for ((key, event), attempt) in events(a, task, state).zip(attempts(state)) {
                let row = task_event(a, &key, event, attempt);
                let known = self.events.entry(key).or_insert_with(|| row.clone());
                assert_eq!(*known, row, "documents that disagree about an event");
            }
        }
        for (task, _) in a["AllocatedResources"]["Tasks"].as_object().into_iter().flatten() {
            if a["TaskStates"].get(task).is_none() {
                tasks += 1;
                self.row(Table::TaskStateHistory, &task_state(a, Some(task), &Value::Null));
            }
        }
        if tasks == 0 {
            self.row(Table::TaskStateHistory, &task_state(a, None, &Value::Null));
        }
    }

    fn sighting(&mut self, a: &Value, at: Option<i64>, pending: bool) {
        let Some(at) = at else { return };
        let seen_at = if pending { at } else { at - at % HOUR };
        let namespace = if a["Namespace"].is_string() { a["Namespace"].clone() } else { json!("default") };
        let row = cells([
            ("region", json!("")),
            ("alloc_id", json!(id(a))),
            ("seen_at_ns", json!(seen_at)),
            ("namespace", namespace),
        ]);
        self.row(Table::Sightings, &row);
    }

    fn row(&mut self, table: Table, row: &Row) {
        self.rows.entry(table).or_default().insert(text_of(row));
    }

    /// Compares everything that was read with the expected rows: every row of every table, once.
    pub fn check(&self, taken: &Taken) {
        // Absences depend on the order of documents, and have their own tests.
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Absences) {
            let given: Vec<Row> = taken.table(table).iter().map(|row| without_arrival(table, row)).collect();
            let mut rows = BTreeSet::new();
            for row in &given {
                assert!(rows.insert(text_of(row)), "{} has a row twice: {}", table.name(), text_of(row));
            }
            // Logs are compared with the event stream in tests/agent_logs.
            if table == Table::LogEvents {
                continue;
            }
            let expected = match table {
                Table::TaskEvents => self.events.values().map(text_of).collect(),
                _ => self.rows.get(&table).cloned().unwrap_or_default(),
            };
            same(table.name(), &rows, &expected);
        }
        let sum =
            |column: &str| -> i64 { taken.table(Table::Snapshots).iter().filter_map(|row| row[column].as_i64()).sum() };
        assert_eq!(sum("new_allocations"), taken.table(Table::AllocationHistory).len() as i64);
        assert_eq!(sum("new_task_states"), taken.table(Table::TaskStateHistory).len() as i64);
        assert_eq!(sum("new_task_events"), taken.table(Table::TaskEvents).len() as i64);
    }
}

/// Fails with the first differences of two sets of rows.
pub fn same(what: &str, given: &BTreeSet<String>, expected: &BTreeSet<String>) {
    let wrong: Vec<_> = given.difference(expected).take(3).collect();
    let missing: Vec<_> = expected.difference(given).take(3).collect();
    assert!(
        wrong.is_empty() && missing.is_empty(),
        "{what}: {} rows instead of {}\nnot expected: {wrong:#?}\nmissing: {missing:#?}",
        given.len(),
        expected.len()
    );
}

/// A row without columns that depend on arrival, and without the microsecond timestamps, which are checked here.
pub fn without_arrival(table: Table, row: &Row) -> Row {
    let mut kept = row.clone();
    for (name, value) in row {
        let Some(twin) = row.get(&format!("{name}_ns")) else { continue };
        let cut = twin.as_i64().map(|ns| DateTime::from_timestamp_micros(ns / 1000).expect("a moment"));
        assert_eq!(value.as_str().map(|t| t.parse().expect("RFC 3339")), cut, "{}.{name}", table.name());
        kept.remove(name);
    }
    let by_arrival: &[&str] = match table {
        Table::Snapshots => &["snapshot_id", "source", "new_allocations", "new_task_states", "new_task_events"],
        // The texts that the hash covers are compared directly.
        _ => &["snapshot_id", "text_hash"],
    };
    by_arrival.iter().for_each(|name| drop(kept.remove(*name)));
    kept
}

/// A row as text, its columns sorted.
pub fn text_of(row: &Row) -> String {
    let sorted: BTreeMap<&String, &Value> = row.iter().collect();
    serde_json::to_string(&sorted).expect("a row is JSON")
}

fn cells<const N: usize>(cells: [(&str, Value); N]) -> Row {
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

/// Restarts + 1 − the Restarting events at or after each event of a window.
fn attempts(state: &Value) -> Vec<Value> {
    let kinds: Vec<&str> =
        state["Events"].as_array().into_iter().flatten().map(|e| e["Type"].as_str().unwrap_or("")).collect();
    let restarting_from = |at: usize| kinds[at..].iter().filter(|kind| **kind == "Restarting").count() as i64;
    (0..kinds.len()).map(|at| json!(state["Restarts"].as_i64().map(|n| n + 1 - restarting_from(at)))).collect()
}

/// An allocation's ModifyTime.
fn modified(a: &Value) -> Option<i64> {
    a["ModifyTime"].as_i64().filter(|ns| *ns > 0)
}

/// An allocation's CreateTime.
fn created(a: &Value) -> Option<i64> {
    a["CreateTime"].as_i64().filter(|ns| *ns > 0)
}

/// A UTC time such as 20261123T182801Z in a file's name.
fn time_in(name: &str) -> Option<i64> {
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

/// Nanoseconds since the epoch as Nomad counts them; 0 is never.
fn nanos(value: &Value) -> Value {
    json!(value.as_i64().filter(|ns| *ns > 0))
}

/// Nanoseconds since the epoch of an RFC 3339 text; the year 1 is never.
fn moment(value: &Value) -> Value {
    let ns = value.as_str().map(|text| DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_nanos_opt());
    json!(ns.flatten().filter(|ns| *ns > 0))
}

fn namespace(a: &Value) -> Value {
    if text(&a["Namespace"]).is_null() { json!("default") } else { a["Namespace"].clone() }
}

/// The row of one event.
fn task_event(a: &Value, key: &EventKey, event: &Value, attempt: Value) -> Row {
    let details = &event["Details"];
    let is = |kind: &str| event["Type"] == kind;
    // A field that Nomad always writes has a meaning only if it is not 0, or if it applies to the type.
    let applies = |name: &str, detail: &str| match event[name].as_i64() {
        Some(n) if n != 0 || is("Terminated") => json!(n),
        _ => json!(details[detail].as_str().and_then(|d| d.parse::<i64>().ok())),
    };
    let kill_timeout = event["KillTimeout"].as_i64().filter(|n| *n != 0);
    assert!(kill_timeout.is_some() == details["kill_timeout"].is_string(), "both spellings are there: {event}");
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

/// The one URL with credentials in the recording, masked.
fn masked(text: &str) -> String {
    let text = text.replace("http://user:s3cret@", "http://***@").replace("http://user:***@", "http://***@");
    text.replace("?sig=abc", "?sig=***")
}

/// The row of one state; null for a task without one.
fn task_state(a: &Value, task: Option<&str>, state: &Value) -> Row {
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
fn history(a: &Value, shape: &str) -> Row {
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
fn node(n: &Value) -> Row {
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
