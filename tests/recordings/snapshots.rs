//! Compares list snapshots with the event stream of the same minutes, which is complete.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use alloclog::intake::IntakeOptions;
use alloclog::tables::Table;
use serde::Deserialize;

use super::documents::{self, Document};
use super::expected::{EventKey, Expected, text_of, without_arrival};
use super::{recording, unpacked};
use crate::support::{Row, Taken, take};

/// The truth according to the event stream.
#[derive(Default)]
pub struct Truth {
    /// Objects other than heartbeats.
    pub frames: usize,
    /// Objects `{}`.
    pub heartbeats: usize,
    /// Events about allocations.
    pub allocation_events: usize,
    /// The attempt of each task event: one more than the number of Restarting events before it.
    pub attempts: BTreeMap<EventKey, i64>,
    /// The number of Restarting events of each task, and its counter in the last version.
    pub restarts: BTreeMap<(String, String), (i64, i64)>,
    /// The events of each task in order.
    pub order: BTreeMap<(String, String), Vec<EventKey>>,
    /// The number of events in each version. The key is the allocation, the task and the ModifyIndex.
    pub versions: BTreeMap<(String, String, i64), usize>,
}

/// The truth, which is read only once.
pub fn truth(recording: &Path) -> &'static Truth {
    static TRUTH: OnceLock<Truth> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let mut truth = Truth::default();
        for line in documents::read(&recording.join("stream.ndjson.zst")).split(|b| *b == b'\n') {
            if line.is_empty() {
                continue;
            }
            let frame: Frame = serde_json::from_slice(line).expect("a frame");
            let Some(events) = frame.events else {
                truth.heartbeats += 1;
                continue;
            };
            truth.frames += 1;
            let versions: Vec<Version> = events.into_iter().filter_map(|event| event.payload.allocation).collect();
            truth.allocation_events += versions.len();
            versions.iter().for_each(|version| truth.add(version));
        }
        truth
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Frame {
    events: Option<Vec<Event>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Payload {
    allocation: Option<Version>,
}

/// The fields of an allocation's version that determine what is missing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    #[serde(rename = "ID")]
    pub id: String,
    pub modify_index: i64,
    pub client_status: String,
    task_states: Option<BTreeMap<String, State>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    restarts: i64,
    events: Option<Vec<TaskEvent>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskEvent {
    time: i64,
    #[serde(rename = "Type")]
    kind: String,
}

impl Version {
    /// The tasks of the version, with their counters and the keys of the events in their windows.
    pub fn tasks(&self) -> impl Iterator<Item = (&String, i64, Vec<EventKey>)> {
        self.task_states.iter().flatten().map(|(task, state)| {
            let mut keys: Vec<EventKey> = Vec::new();
            for event in state.events.iter().flatten() {
                let equal = keys.iter().filter(|key| key.2 == event.time && key.3 == event.kind).count();
                keys.push((self.id.clone(), task.clone(), event.time, event.kind.clone(), equal));
            }
            (task, state.restarts, keys)
        })
    }
}

impl Truth {
    /// Adds a version of an allocation. Versions are added in order, so an event that is new in this version is later
    /// than all events before.
    fn add(&mut self, version: &Version) {
        for (task, restarts, keys) in version.tasks() {
            let (restarting, counter) = self.restarts.entry((version.id.clone(), task.clone())).or_default();
            let order = self.order.entry((version.id.clone(), task.clone())).or_default();
            for key in keys {
                let is_restarting = key.3 == "Restarting";
                if let Entry::Vacant(entry) = self.attempts.entry(key.clone()) {
                    entry.insert(*restarting + 1);
                    *restarting += i64::from(is_restarting);
                    order.push(key);
                }
            }
            *counter = restarts;
            self.versions.insert((version.id.clone(), task.clone(), version.modify_index), order.len());
        }
    }

    /// The allocations in the truth.
    fn allocations(&self) -> BTreeSet<&str> {
        self.restarts.keys().map(|(alloc_id, _)| alloc_id.as_str()).collect()
    }
}

/// The snapshots in chronological order.
pub fn snapshots(recording: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(unpacked(recording, "snaps.tar.zst").join("snaps"))
        .expect("a directory")
        .map(|entry| entry.expect("a directory").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    paths
}

/// The key of an event in a row of `task_events`.
pub fn key_of(row: &Row) -> EventKey {
    let text = |name: &str| row[name].as_str().expect("text").to_owned();
    let number = |name: &str| row[name].as_i64().expect("a number");
    (text("alloc_id"), text("task"), number("event_at_ns"), text("event_type"), number("ordinal") as usize)
}

/// The rows of all tables as text, without the columns that depend on the order of arrival.
fn rows(taken: &Taken) -> BTreeMap<Table, BTreeSet<String>> {
    let of = |table| taken.table(table).iter().map(|row| text_of(&without_arrival(table, row))).collect();
    Table::ALL.into_iter().map(|table| (table, of(table))).collect()
}

/// Totals: events, allocations, tasks whose counter equals the number of their Restarting events, Restarting events,
/// and the sum of the highest counters.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    documents: usize,
    events: usize,
    allocations: usize,
    exact_tasks: usize,
    restarting: i64,
    counted: i64,
}

fn counts(taken: &Taken, truth: &Truth) -> Counts {
    let mut tasks: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
    for row in taken.table(Table::TaskStateHistory) {
        let (Some(task), Some(restarts)) = (row["task"].as_str(), row["restarts"].as_i64()) else { continue };
        let (_, highest) = tasks.entry((row["alloc_id"].as_str().unwrap_or(""), task)).or_default();
        *highest = restarts.max(*highest);
    }
    for row in taken.table(Table::TaskEvents).iter().filter(|row| row["event_type"] == "Restarting") {
        let task = (row["alloc_id"].as_str().unwrap_or(""), row["task"].as_str().unwrap_or(""));
        tasks.entry(task).or_default().0 += 1;
    }
    let final_counter = |(alloc_id, task): (&str, &str)| truth.restarts[&(alloc_id.to_owned(), task.to_owned())].1;
    let allocations: BTreeSet<&str> =
        taken.table(Table::AllocationHistory).iter().filter_map(|row| row["alloc_id"].as_str()).collect();
    Counts {
        documents: taken.table(Table::Snapshots).len(),
        events: taken.table(Table::TaskEvents).len(),
        allocations: allocations.len(),
        exact_tasks: tasks.iter().filter(|(task, (seen, _))| final_counter(**task) == *seen).count(),
        restarting: tasks.values().map(|(seen, _)| seen).sum(),
        counted: tasks.values().map(|(_, highest)| highest).sum(),
    }
}

/// Reads snapshots and checks each row. The event of a row must be in the stream with the same attempt, no event of
/// the snapshots may be missing, and all other tables must match the documents.
fn check(recording: &Path, chosen: &[PathBuf]) -> Counts {
    let truth = truth(recording);
    let documents: Vec<Document> = chosen.iter().flat_map(|path| documents::of(path)).collect();
    let paths: Vec<&Path> = chosen.iter().map(PathBuf::as_path).collect();
    let taken = take(&paths, &IntakeOptions::default());
    assert_eq!(taken.summary.rejected, 0);
    for row in taken.table(Table::TaskEvents) {
        let attempt = truth.attempts.get(&key_of(row)).unwrap_or_else(|| panic!("the stream lacks the event: {row:?}"));
        assert_eq!(row["attempt"].as_i64(), Some(*attempt), "{row:?}");
    }
    Expected::of(&documents).check(&taken);
    counts(&taken, truth)
}

#[test]
fn the_stream_matches_its_readme() {
    let Some(recording) = recording() else { return };
    let truth = truth(&recording);
    assert_eq!((truth.frames, truth.heartbeats, truth.allocation_events), (5425, 13, 8164));
    assert_eq!((truth.allocations().len(), truth.restarts.len(), truth.attempts.len()), (555, 670, 11477));
    assert!(truth.restarts.values().all(|(events, counter)| events == counter));
    assert_eq!(truth.restarts.values().map(|(events, _)| events).sum::<i64>(), 2695);
}

#[test]
fn the_stream_gives_every_event() {
    let Some(recording) = recording() else { return };
    let truth = truth(&recording);
    let path = recording.join("stream.ndjson.zst");
    let taken = take(&[&path], &IntakeOptions::default());
    assert_eq!(taken.notes, []);
    Expected::of(&documents::of(&path)).check(&taken);
    let given: BTreeMap<EventKey, i64> =
        taken.table(Table::TaskEvents).iter().map(|row| (key_of(row), row["attempt"].as_i64().unwrap_or(0))).collect();
    assert!(given == truth.attempts);
    let counted = counts(&taken, truth);
    assert_eq!((counted.documents, counted.exact_tasks, counted.restarting, counted.counted), (1, 670, 2695, 2695));
}

#[test]
fn a_stream_opened_before_a_namespace_lacks_it() {
    let Some(recording) = recording() else { return };
    let path = recording.join("stream-opened-before-namespaces.ndjson.zst");
    let taken = take(&[&path], &IntakeOptions::default());
    Expected::of(&documents::of(&path)).check(&taken);
    let events = taken.table(Table::TaskEvents);
    assert!(events.iter().all(|row| row["namespace"] == "default"));
    let truth = truth(&recording);
    assert!(events.iter().all(|row| row["attempt"].as_i64() == truth.attempts.get(&key_of(row)).copied()));
}

#[test]
fn all_snapshots_give_each_of_their_events() {
    let Some(recording) = recording() else { return };
    let counts = check(&recording, &[recording.join("snaps.tar.zst")]);
    let expected =
        Counts { documents: 74, events: 9894, allocations: 555, exact_tasks: 657, restarting: 2272, counted: 2685 };
    assert_eq!(counts, expected);
}

#[test]
fn every_third_snapshot_gives_each_of_its_events() {
    let Some(recording) = recording() else { return };
    let chosen: Vec<PathBuf> = snapshots(&recording).into_iter().step_by(3).collect();
    let counts = check(&recording, &chosen);
    assert_eq!((counts.documents, counts.events, counts.allocations), (25, 7500, 555));
}

#[test]
fn every_sixth_snapshot_gives_each_of_its_events() {
    let Some(recording) = recording() else { return };
    let chosen: Vec<PathBuf> = snapshots(&recording).into_iter().step_by(6).collect();
    let counts = check(&recording, &chosen);
    let expected =
        Counts { documents: 13, events: 6174, allocations: 555, exact_tasks: 644, restarting: 1038, counted: 2652 };
    assert_eq!(counts, expected);
}

#[test]
fn the_last_snapshot_gives_each_of_its_events() {
    let Some(recording) = recording() else { return };
    let chosen: Vec<PathBuf> = snapshots(&recording).into_iter().next_back().into_iter().collect();
    let counts = check(&recording, &chosen);
    assert_eq!((counts.documents, counts.events, counts.allocations, counts.restarting), (1, 1143, 153, 133));
}

#[test]
fn neither_order_nor_repetition_nor_strictness_changes_a_row() {
    let Some(recording) = recording() else { return };
    let chosen: Vec<PathBuf> = snapshots(&recording).into_iter().skip(4).step_by(5).collect();
    let there: Vec<&Path> = chosen.iter().map(PathBuf::as_path).collect();
    let back: Vec<&Path> = there.iter().rev().chain(&there).copied().collect();
    let once = take(&there, &IntakeOptions::default());
    let twice = take(&back, &IntakeOptions { strict: true, ..IntakeOptions::default() });
    assert!(rows(&once) == rows(&twice));
    assert_eq!(twice.summary.repeated_documents, chosen.len() as u64);
}

#[test]
fn full_listings_are_marked_in_the_ledger() {
    let Some(recording) = recording() else { return };
    let chosen: Vec<PathBuf> = snapshots(&recording).into_iter().step_by(15).collect();
    let paths: Vec<&Path> = chosen.iter().map(PathBuf::as_path).collect();
    let mut options = IntakeOptions::default();
    options.source.full_listing = Some("*".into());
    let taken = take(&paths, &options);
    let mut expected = Expected::default();
    expected.full_listing = Some("*".into());
    chosen.iter().flat_map(|path| documents::of(path)).for_each(|document| expected.add(&document));
    expected.check(&taken);
    let observed = taken.table(Table::Snapshots).iter().map(|row| row["observed_at"].as_str().unwrap_or(""));
    let observed: Vec<&str> = observed.collect();
    assert_eq!(observed[..2], ["2026-11-23T18:28:01.000000Z", "2026-11-23T18:30:31.000000Z"]);
}
