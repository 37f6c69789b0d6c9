//! Reads the recording directly, with its archives, as a user would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use alloclog::intake::{IntakeOptions, Note};
use alloclog::tables::Table;

use super::documents;
use super::expected::{EventKey, Expected};
use super::samples::skipped;
use super::snapshots::{key_of, truth};
use super::{recording, unpacked};
use crate::support::{Row, Taken, take};

const NOT_JSON: &str = "is neither JSON nor an archive";
const NO_EVENTS: &str = "is the log of an agent without task events";
const NOT_OURS: &str = "is JSON without allocations";
const EMPTY: &str = "is empty";
const BUNDLED: &str = "a part of the debug bundle without allocations";
const ROUNDED: &str = "the debug bundle's event stream went through floats, so its times are rounded; allocations.json beside it is exact";

/// Reads a source and checks every row. Documents without allocations must be skipped, and nothing may be rejected.
fn check(source: &Path) -> Taken {
    let taken = take(&[source], &IntakeOptions::default());
    let expected = Expected::of(&documents::of(source));
    expected.check(&taken);
    let found: BTreeSet<String> = skipped(&taken).into_keys().collect();
    assert_eq!(found, expected.skipped);
    assert!(taken.notes.iter().all(|note| matches!(note, Note::Skipped(_, false))), "{:#?}", taken.notes);
    taken
}

/// The reasons for which documents were skipped, with their counts.
fn reasons(taken: &Taken) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for why in skipped(taken).into_values() {
        *reasons.entry(why).or_default() += 1;
    }
    reasons
}

fn counted<const N: usize>(reasons: [(&str, usize); N]) -> BTreeMap<String, usize> {
    reasons.into_iter().map(|(why, times)| (why.to_owned(), times)).collect()
}

#[test]
fn an_archive_of_reads() {
    let Some(recording) = recording() else { return };
    let read = check(&recording.join("read.tar.zst"));
    // The skipped files are jobs, evaluations, deployments, namespaces and pools, and also indexes, texts and errors of
    // the command line.
    assert_eq!((read.summary.documents, read.summary.skipped), (181, 72));
    assert_eq!(reasons(&read), counted([(NOT_JSON, 10), (NOT_OURS, 60), (EMPTY, 2)]));
}

#[test]
fn a_raft_snapshot() {
    let Some(recording) = recording() else { return };
    let taken = check(&recording.join("snapshot-state.json.zst"));
    assert_eq!((taken.summary.documents, taken.summary.allocations, taken.summary.skipped), (1, 206, 0));
    assert_eq!(taken.table(Table::Nodes).len(), 3);
}

#[test]
fn a_debug_bundle_packed_and_unpacked() {
    let Some(recording) = recording() else { return };
    let packed = check(&recording.join("debug.tar.gz"));
    // Five captures of allocations and nodes, and the nodes of the cluster.
    assert_eq!((packed.summary.documents, packed.summary.allocations), (11, 1613));
    assert_eq!(reasons(&packed), counted([(NOT_JSON, 2), (NO_EVENTS, 2), (NOT_OURS, 5), (BUNDLED, 50), (ROUNDED, 1)]));
    let unpacked = check(&unpacked(&recording, "debug.tar.gz"));
    assert_eq!(packed.table(Table::TaskEvents), unpacked.table(Table::TaskEvents));
}

#[test]
fn logs_of_servers_and_http_exchanges_are_skipped() {
    let Some(recording) = recording() else { return };
    let logs = check(&recording.join("logs.tar.zst"));
    assert_eq!((logs.summary.documents, reasons(&logs)), (0, counted([(NO_EVENTS, 1)])));
    // A file with an HTTP exchange has the request and headers, so it is not JSON. Two responses and the 41 pages of a
    // list were stored without them.
    let http = check(&recording.join("http-samples"));
    assert_eq!(http.summary.documents, 2 + 41);
    assert_eq!(reasons(&http), counted([(NOT_JSON, 214)]));
}

#[test]
fn times_with_an_offset_are_converted_to_utc() {
    let Some(recording) = recording() else { return };
    // The answer is from a client at +05:30, and has a task that was restarted after it had finished.
    let taken = check(&recording.join("http-samples/tz-offset-restart-all-tasks-read.json"));
    let states = taken.table(Table::TaskStateHistory);
    let number = |row: &Row, name: &str| row[name].as_i64().unwrap_or(0);
    let restarted = |row: &&Row| row["last_restart_at"].is_string();
    assert!(
        states.iter().filter(restarted).all(|row| number(row, "modified_at_ns") > number(row, "last_restart_at_ns"))
    );
    assert!(
        states.iter().any(
            |row| number(row, "finished_at_ns") > 0 && number(row, "started_at_ns") > number(row, "finished_at_ns")
        )
    );
}

#[test]
fn the_whole_recording_at_once() {
    let Some(recording) = recording() else { return };
    let taken = take(&[&recording], &IntakeOptions::default());
    let summary = &taken.summary;
    assert_eq!(summary.rejected, 0);
    assert!(taken.notes.iter().all(|note| matches!(note, Note::Skipped(_, false))), "{:#?}", taken.notes);
    // The stream contains every event of its cluster. One response comes from another cluster.
    let truth = truth(&recording);
    let events: BTreeMap<EventKey, &Row> =
        taken.table(Table::TaskEvents).iter().map(|row| (key_of(row), row)).collect();
    let of_the_cluster = |key: &&EventKey| truth.restarts.contains_key(&(key.0.clone(), key.1.clone()));
    assert!(events.keys().filter(of_the_cluster).eq(truth.attempts.keys()));
    assert!(events.iter().all(|(key, row)| truth.attempts.get(key).is_none_or(|n| row["attempt"] == *n)));
    let elsewhere: BTreeSet<&str> =
        events.keys().filter(|key| !of_the_cluster(key)).map(|key| key.0.as_str()).collect();
    assert_eq!(elsewhere.len(), 1);
}
