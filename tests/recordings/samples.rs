//! `samples/`: each document gives exactly the expected rows, and each document is a part of the recording.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use alloclog::intake::{IntakeOptions, Note};
use alloclog::tables::Table;
use serde_json::Value;
use serde_json::value::RawValue;

use super::documents::{self, Document};
use super::expected::{EventKey, Expected, text_of, without_arrival};
use super::snapshots::{key_of, truth};
use super::{recording, sample, unpacked};
use crate::support::{Row, Taken, take};

/// Reads samples, and checks every row of every table and the skipped documents.
fn check(names: &[&str]) -> Taken {
    let paths: Vec<_> = names.iter().map(|name| sample(name)).collect();
    let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
    let taken = take(&paths, &IntakeOptions::default());
    let documents: Vec<Document> = paths.iter().flat_map(|path| documents::of(path)).collect();
    let expected = Expected::of(&documents);
    expected.check(&taken);
    let skipped: BTreeSet<String> = skipped(&taken).into_keys().collect();
    assert_eq!(skipped, expected.skipped);
    assert!(taken.notes.iter().all(|note| matches!(note, Note::Skipped(..))), "{:#?}", taken.notes);
    taken
}

/// The skipped documents, with the reasons.
pub fn skipped(taken: &Taken) -> BTreeMap<String, String> {
    let split = |note: &Note| match note {
        Note::Skipped(line, _) => line.split_once(": ").map(|(name, why)| (name.to_owned(), why.to_owned())),
        _ => None,
    };
    taken.notes.iter().filter_map(split).collect()
}

fn events_of(taken: &Taken) -> BTreeMap<EventKey, &Row> {
    taken.table(Table::TaskEvents).iter().map(|row| (key_of(row), row)).collect()
}

fn rows(taken: &Taken, table: Table) -> BTreeSet<String> {
    taken.table(table).iter().map(|row| text_of(&without_arrival(table, row))).collect()
}

/// The highest counter of a task, and the number of its Restarting events.
fn restarts(taken: &Taken, alloc: &str) -> (i64, usize) {
    let is = |row: &&Row| row["alloc_id"].as_str().is_some_and(|id| id.starts_with(alloc));
    let counters = taken.table(Table::TaskStateHistory).iter().filter(is).filter_map(|row| row["restarts"].as_i64());
    let shown = taken.table(Table::TaskEvents).iter().filter(is).filter(|row| row["event_type"] == "Restarting");
    (counters.max().unwrap_or(0), shown.count())
}

#[test]
fn cluster_gives_the_rows_of_its_documents() {
    let taken = check(&["cluster"]);
    assert_eq!(taken.notes, []);
    let summary = &taken.summary;
    assert_eq!((summary.documents, summary.allocations, summary.new_task_events), (7, 68, 352));
    assert_eq!(taken.table(Table::Nodes).len(), 3);
}

#[test]
fn cluster_loses_the_restarts_listed_in_its_readme() {
    let taken = take(&[&sample("cluster")], &IntakeOptions::default());
    for (alloc, counted, shown) in [
        ("77a4f90a", 114, 20),
        ("1bc5f42c", 82, 15),
        ("4260067f", 18, 8),
        ("1e7390ed", 3, 3),
        ("7396ffa1", 2, 2),
        ("2d0f02b9", 2, 2),
        ("a781966b", 2, 2),
        ("30a58334", 2, 2),
        ("46388a90", 2, 2),
        ("9e8d4b32", 1, 1),
        ("e9be89da", 0, 0),
        ("c266b936", 1, 2), // two tasks
        ("eb6010bf", 1, 1),
    ] {
        assert_eq!(restarts(&taken, alloc), (counted, shown), "{alloc}");
    }
    let readme = fs::read_to_string(sample("README.md")).expect("a README");
    let known: BTreeSet<&str> =
        taken.table(Table::AllocationHistory).iter().filter_map(|row| row["alloc_id"].as_str()?.get(..8)).collect();
    assert_eq!(known.len(), 27);
    assert!(known.iter().all(|alloc| readme.contains(alloc)));
}

#[test]
fn cluster_shows_a_node_lost_and_found() {
    let taken = take(&[&sample("cluster")], &IntakeOptions::default());
    let statuses = |alloc: &str| -> Vec<String> {
        let mut versions: Vec<(i64, String)> = taken
            .table(Table::AllocationHistory)
            .iter()
            .filter(|row| row["alloc_id"].as_str().is_some_and(|id| id.starts_with(alloc)))
            .map(|row| (row["modify_index"].as_i64().unwrap_or(0), row["client_status"].as_str().unwrap_or("").into()))
            .collect();
        versions.sort();
        versions.dedup_by(|a, b| a.1 == b.1);
        versions.into_iter().map(|(_, status)| status).collect()
    };
    assert_eq!(statuses("1fb9fa98"), ["running", "lost", "complete"]);
    assert_eq!(statuses("6c08ba61"), ["running", "unknown", "running"]);
}

#[test]
fn stream_gives_every_event_that_the_cluster_shows() {
    let stream = check(&["stream.ndjson.zst"]);
    let cluster = take(&[&sample("cluster")], &IntakeOptions::default());
    let all = events_of(&stream);
    let streamed: BTreeSet<&str> = all.keys().map(|key| key.0.as_str()).collect();
    assert_eq!(streamed.len(), 6);
    let mut common = 0;
    for (key, row) in events_of(&cluster).iter().filter(|(key, _)| streamed.contains(key.0.as_str())) {
        assert_eq!(Some(row), all.get(key));
        common += 1;
    }
    assert!(common == 64 && common < all.len(), "{common} of {}", all.len());
    // Nothing was lost: for each allocation, the counter equals the number of events.
    for alloc in ["1fb9fa98", "2d0f02b9", "a781966b", "b404f8cc", "f3f5e367", "4260067f"] {
        let (counted, shown) = restarts(&stream, alloc);
        assert_eq!(counted, shown as i64, "{alloc}");
    }
    assert_eq!(restarts(&stream, "4260067f").0, 18);
}

#[test]
fn a_read_keeps_unusual_names() {
    let taken = check(&["allocation.json"]);
    let row = &taken.table(Table::AllocationHistory)[0];
    assert_eq!(row["shape"], "full");
    assert_eq!(row["job_id"], "weird.job[1]/x");
    assert_eq!(row["task_group"], "grp.[0]");
    assert_eq!((row["name"].as_str(), row["alloc_index"].as_i64()), (Some("weird.job[1]/x.grp.[0][0]"), Some(0)));
    assert!(taken.table(Table::TaskEvents).iter().all(|row| row["task"] == "täsk, \"q\" x"));
}

#[test]
fn the_command_line_gives_the_rows_of_a_list() {
    let taken = check(&["cli/alloc-status.json", "cli/job-allocs.json", "cli/not-found.json"]);
    let summary = &taken.summary;
    assert_eq!((summary.documents, summary.allocations, summary.skipped, summary.rejected), (2, 2, 1, 0));
    let name = sample("cli/not-found.json").to_string_lossy().into_owned();
    let skipped = skipped(&taken);
    assert_eq!(skipped.get(&name).map(String::as_str), Some("is neither JSON nor an archive"));
}

#[test]
fn a_raft_snapshot_gives_full_allocations_and_nodes() {
    let taken = check(&["snapshot-state.json.zst"]);
    let shapes: Vec<&Value> = taken.table(Table::AllocationHistory).iter().map(|row| &row["shape"]).collect();
    assert_eq!(shapes, ["full", "full", "full"]);
    assert_eq!(taken.table(Table::Nodes).len(), 3);
}

#[test]
fn bundle_in_either_layout_gives_the_same_rows() {
    let new = check(&["debug/nomad-debug-2026-11-23-183148Z.tar.gz"]);
    let old = check(&["debug/old-layout.tar.gz"]);
    for table in [Table::TaskEvents, Table::TaskStateHistory, Table::AllocationHistory, Table::Sightings, Table::Nodes]
    {
        assert_eq!(rows(&new, table), rows(&old, table));
    }
    for taken in [&new, &old] {
        let listings: Vec<&Row> =
            taken.table(Table::Snapshots).iter().filter(|row| row["is_full_listing"] == true).collect();
        // The flags of the bundle name no namespace, because NOMAD_NAMESPACE selected it.
        assert!(listings.len() == 3 && listings.iter().all(|row| row["namespace"] == "default"));
        assert_eq!(taken.summary.allocations, 35);
    }
}

#[test]
fn bundle_reports_why_its_event_stream_is_skipped() {
    let taken = take(&[&sample("debug/nomad-debug-2026-11-23-183148Z.tar.gz")], &IntakeOptions::default());
    let skipped = skipped(&taken);
    let why = |end: &str| skipped.iter().find(|(name, _)| name.ends_with(end)).map(|(_, why)| why.as_str());
    assert!(why("cluster/eventstream.json").is_some_and(|why| why.contains("rounded")));
    assert_eq!(why("cluster/namespaces.json"), Some("is JSON without allocations"));
    assert_eq!(why("interval/0000/license.json"), Some("a part of the debug bundle without allocations"));
    assert_eq!(why("server1.global/monitor.log"), Some("is the log of an agent without task events"));
    assert_eq!(why("cluster/cli-flags.json"), None);
}

#[test]
fn bundle_unpacked_gives_the_same_rows() {
    let archive = sample("debug/nomad-debug-2026-11-23-183148Z.tar.gz");
    let directory = tempfile::tempdir().expect("a directory");
    for member in documents::unpack(&archive) {
        let path = directory.path().join(member.name);
        fs::create_dir_all(path.parent().expect("a path below the directory")).expect("a directory");
        fs::write(path, member.bytes).expect("a file");
    }
    let (packed, unpacked) =
        (take(&[&archive], &IntakeOptions::default()), take(&[directory.path()], &IntakeOptions::default()));
    for table in Table::ALL {
        assert_eq!(rows(&packed, table), rows(&unpacked, table));
    }
}

#[test]
fn bundle_line_of_a_failed_listing_is_reported() {
    // If a listing fails, `nomad operator debug` writes a line with the error instead of the listing.
    let directory = tempfile::tempdir().expect("a directory");
    let bundle = documents::unpack(&sample("debug/nomad-debug-2026-11-23-183148Z.tar.gz"));
    let listing = bundle.iter().find(|member| member.name.ends_with("0000/allocations.json")).expect("a listing");
    for (capture, text) in
        [("0000", listing.bytes.as_slice()), ("0001", b"{\"Error\":\"rpc error: No cluster leader\"}\n")]
    {
        let path = directory.path().join("interval").join(capture);
        fs::create_dir_all(&path).expect("a directory");
        fs::write(path.join("allocations.json"), text).expect("a file");
    }
    let taken = take(&[directory.path()], &IntakeOptions::default());
    let summary = &taken.summary;
    assert_eq!((summary.documents, summary.allocations, summary.rejected), (1, 12, 1));
    let [Note::Rejected(line)] = taken.notes.as_slice() else { panic!("{:?}", taken.notes) };
    assert!(line.contains("0001/allocations.json: byte 0, line 1:") && line.ends_with("rpc error: No cluster leader"));
}

#[test]
fn each_sample_is_a_cut_of_the_recording() {
    let Some(recording) = recording() else { return };
    let read = unpacked(&recording, "read.tar.zst");
    for (name, original) in [
        ("cluster/nodes.json", "read/end/nodes.json"),
        ("allocation.json", "read/end/allocation/1bc5f42c-ca2c-4d92-2a46-b3143e9e426b.json"),
        ("cli/alloc-status.json", "read/mid/cli/alloc-status-f3f5e367-7d74-617d-17fb-4c93ddb2c964.json"),
        ("cli/not-found.json", "read/mid/cli/alloc-status-71a2363e-4f1e-762d-a3e1-0cc98fc4bbe9.json"),
    ] {
        assert!(documents::read(&sample(name)) == documents::read(&read.join(original)), "{name}");
    }
    let snaps = unpacked(&recording, "snaps.tar.zst").join("snaps");
    let listings = documents::of(&sample("cluster")).into_iter().filter(|d| d.file_name() != "nodes.json");
    let kept: usize =
        listings.map(|listing| elements_in(&listing.bytes, &documents::read(&snaps.join(listing.file_name())))).sum();
    assert_eq!(kept, 68);
    let whole = documents::read(&read.join("read/end/cli/job-allocs-prod-api.json"));
    assert_eq!(elements_in(&documents::read(&sample("cli/job-allocs.json")), &whole), 1);
    let whole = documents::read(&recording.join("snapshot-state.json.zst"));
    let state = documents::read(&sample("snapshot-state.json.zst"));
    assert_eq!(elements_in(member(&state, "Allocs"), &whole) + elements_in(member(&state, "Nodes"), &whole), 6);
}

#[test]
fn the_stream_sample_has_complete_histories() {
    let Some(recording) = recording() else { return };
    let whole = documents::read(&recording.join("stream.ndjson.zst"));
    let begin = |line: &[u8]| line.split(|b| *b == b',').next().unwrap_or_default().to_vec();
    let frames: BTreeMap<Vec<u8>, &[u8]> = whole.split(|b| *b == b'\n').map(|line| (begin(line), line)).collect();
    let sample = sample("stream.ndjson.zst");
    for line in documents::read(&sample).split(|b| *b == b'\n').filter(|line| line.len() > 2) {
        assert!(elements_in(member(line, "Events"), frames[&begin(line)]) > 0);
    }
    let taken = take(&[&sample], &IntakeOptions::default());
    let given = events_of(&taken);
    let streamed: BTreeSet<&str> = given.keys().map(|key| key.0.as_str()).collect();
    let truth = truth(&recording);
    let lived = truth.attempts.iter().filter(|(key, _)| streamed.contains(key.0.as_str()));
    let lived: BTreeMap<&EventKey, i64> = lived.map(|(key, attempt)| (key, *attempt)).collect();
    assert!(lived == given.iter().map(|(key, row)| (key, row["attempt"].as_i64().unwrap_or(0))).collect());
}

#[test]
fn the_bundle_sample_is_a_cut_of_the_recorded_one() {
    let Some(recording) = recording() else { return };
    let whole = unpacked(&recording, "debug.tar.gz");
    for file in documents::unpack(&sample("debug/nomad-debug-2026-11-23-183148Z.tar.gz")) {
        let whole = fs::read(whole.join(&file.name)).expect("a file of the bundle");
        let lines: BTreeSet<&[u8]> = whole.split(|b| *b == b'\n').chain([b"".as_slice()]).collect();
        assert!(file.bytes.split(|b| *b == b'\n').all(|line| lines.contains(line)), "{}", file.name);
    }
}

/// The array that is the value of a member of an object.
fn member<'d>(object: &'d [u8], name: &str) -> &'d [u8] {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(object).expect("an object");
    members[name].get().as_bytes()
}

/// The number of elements in an array. Each element must occur in `whole`, byte for byte.
fn elements_in(array: &[u8], whole: &[u8]) -> usize {
    let elements: Vec<&RawValue> = serde_json::from_slice(array).expect("an array");
    for element in &elements {
        assert!(memchr::memmem::find(whole, element.get().as_bytes()).is_some(), "{element}");
    }
    elements.len()
}
