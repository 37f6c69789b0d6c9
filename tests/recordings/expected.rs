//! The rows that documents must give, derived from their JSON by the data model.

mod rows;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use alloclog::tables::Table;
use chrono::DateTime;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use self::rows::{attempts, cells, created, events, history, id, modified, node, task_event, task_state, time_in};
use super::documents::{self, Document, Found};
use crate::support::{Row, Taken};

const HOUR: i64 = 3_600_000_000_000;

/// The key of an event in a recording: allocation, task, time, type, and the number of equal events before it.
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
            // Logs are compared in tests/agent_logs. A log without a line of a task event is skipped.
            [name, ..] if name.ends_with(".log") => {
                if memchr::memmem::find(&document.bytes, b"Task event").is_none() {
                    self.skipped.insert(document.name.clone());
                }
                return;
            }
            // In an archive, the program reads this file for the bundle's namespace.
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

    /// Adds an allocation. Returns whether it is pending; `None` if it is terminal.
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
                assert_eq!(*known, row, "the documents disagree about an event");
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

    /// Compares everything that was read with the expected rows. Every expected row of every table must occur exactly
    /// once.
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
