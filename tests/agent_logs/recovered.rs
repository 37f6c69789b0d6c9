//! `recovered_events` of recorded logs, against the event stream, which has every event.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::recordings::{recording, unpacked};
use crate::view_store::ViewStore;

/// An event by its allocation, task and type.
type Key = (String, String, String);

fn times(store: &ViewStore, table: &str, column: &str) -> BTreeMap<Key, Vec<i64>> {
    let mut times: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
    for row in store.rows(table).unwrap() {
        let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let at = row.int(column).unwrap() + row.int("precision_ns").unwrap_or_default();
        times.entry((text("alloc_id"), text("task"), text("event_type"))).or_default().push(at);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

/// How many events of the stream the sources show, how many the logs recover besides, and how many there are. Panics if
/// a recovered event is not one of the missing ones, with its time.
fn compared(sources: &[&Path], stream: &Path) -> (usize, usize, usize) {
    let truth = ViewStore::of(&[stream]).unwrap();
    let mut missing = times(&truth, "task_events", "event_at_ns");
    let all: usize = missing.values().map(Vec::len).sum();
    let last = missing.values().flatten().copied().max().unwrap();
    let store = ViewStore::of(sources).unwrap();
    let mut shown = 0;
    for (key, times) in times(&store, "task_events", "event_at_ns") {
        let missing = missing.get_mut(&key);
        // Reads after the end of the stream may show later events.
        let Some(missing) = missing else { continue };
        let before = missing.len();
        missing.retain(|at| times.binary_search(at).is_err());
        shown += before - missing.len();
    }
    let mut right = 0;
    for (key, times) in times(&store, "recovered_events", "logged_at_ns") {
        for end in times.into_iter().filter(|end| *end <= last) {
            // A line follows its event within moments; `end` is the end of its unit of time.
            let of_key = missing.get_mut(&key);
            let place = of_key.as_ref().and_then(|m| m.iter().position(|at| *at <= end && end - at < 1_001_000_000));
            assert!(place.is_some(), "{key:?} at {end} is invented");
            of_key.unwrap().remove(place.unwrap());
            right += 1;
        }
    }
    (shown, right, all)
}

#[test]
fn the_sample_logs_recover_every_event_of_their_allocations() {
    let sample = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    let (shown, recovered, all) = compared(&[&sample("cluster"), &sample("logs")], &sample("stream.ndjson.zst"));
    // Of the six allocations of the stream, the logs have two.
    assert!(recovered >= 20 && shown + recovered <= all, "{shown} shown, {recovered} recovered of {all}");
    let store = ViewStore::of(&[&sample("cluster"), &sample("logs")]).unwrap();
    let events = |table: &str| -> usize {
        let rows = store.rows(table).unwrap();
        rows.iter().filter(|row| row.text("alloc_id").unwrap().starts_with("4260067f")).count()
    };
    assert_eq!(events("task_events") + events("recovered_events"), events("log_events"));
}

/// Snapshots every 10 seconds, every minute, and only the last one, each with the logs of the agents.
#[test]
fn recorded_logs_recover_what_snapshots_miss() {
    let Some(recording) = recording() else { return };
    let mut snapshots: Vec<PathBuf> =
        fs::read_dir(unpacked(&recording, "snaps.tar.zst").join("snaps")).unwrap().map(|e| e.unwrap().path()).collect();
    snapshots.retain(|path| path.extension().is_some_and(|end| end == "json"));
    snapshots.sort();
    let (logs, stream) = (recording.join("logs.tar.zst"), recording.join("stream.ndjson.zst"));
    for (step, expected_shown) in [(1, 9894), (6, 6174), (74, 1143)] {
        let mut sources: Vec<&Path> = snapshots.iter().rev().step_by(step).map(PathBuf::as_path).collect();
        if step == 6 {
            sources = snapshots.iter().step_by(step).map(PathBuf::as_path).collect();
        }
        sources.push(&logs);
        let (shown, recovered, all) = compared(&sources, &stream);
        assert_eq!((shown, all), (expected_shown, 11_477), "every {step}");
        assert!((shown + recovered) as f64 >= 0.995 * all as f64, "every {step}: {shown} shown, {recovered} recovered");
    }
}

/// The logs in a bundle beside those of the agents: the same events, from other loggers.
#[test]
fn logs_of_a_bundle_beside_those_of_its_agents_recover_no_event_twice() {
    let Some(recording) = recording() else { return };
    let (logs, bundle) = (recording.join("logs.tar.zst"), recording.join("debug.tar.gz"));
    let stream = recording.join("stream.ndjson.zst");
    let (shown, recovered, _) = compared(&[&bundle], &stream);
    // The bundle's listings alone show 3,257 events.
    assert_eq!((shown, recovered), (3257, 2462));
    let (shown, recovered, all) = compared(&[&bundle, &logs], &stream);
    assert!((shown + recovered) as f64 >= 0.995 * all as f64, "{shown} shown, {recovered} recovered of {all}");
}

/// Lines that are lost, cut files, another zone and swapped files change no precision.
#[test]
fn damaged_logs_invent_nothing() {
    let Some(recording) = recording() else { return };
    let stream = recording.join("stream.ndjson.zst");
    let mut snapshots: Vec<PathBuf> =
        fs::read_dir(unpacked(&recording, "snaps.tar.zst").join("snaps")).unwrap().map(|e| e.unwrap().path()).collect();
    snapshots.retain(|path| path.extension().is_some_and(|end| end == "json"));
    snapshots.sort();
    let logs = unpacked(&recording, "logs.tar.zst").join("logs");
    let directory = tempfile::tempdir().unwrap();
    for (number, name) in ["client1.log", "client2.log", "client3.log"].into_iter().enumerate() {
        let text = fs::read_to_string(logs.join(name)).unwrap();
        let mut kept = String::new();
        for (n, line) in text.split_inclusive('\n').enumerate() {
            // Every fifth line is lost, in bursts of three.
            if (n / 3) % 5 != number {
                kept.push_str(&if number == 0 { in_another_zone(line) } else { line.to_owned() });
            }
        }
        // Cut within a line, and given in two files in the wrong order.
        kept.truncate(kept.floor_char_boundary(kept.len() * 9 / 10));
        let half = kept.floor_char_boundary(kept.len() / 2);
        fs::write(directory.path().join(format!("{number}-b.log")), &kept[..half]).unwrap();
        fs::write(directory.path().join(format!("{number}-a.log")), &kept[half..]).unwrap();
    }
    let mut sources: Vec<&Path> = snapshots.iter().step_by(6).map(PathBuf::as_path).collect();
    sources.push(directory.path());
    let (shown, recovered, _) = compared(&sources, &stream);
    assert!(shown == 6174 && recovered > 3_000, "{shown} shown, {recovered} recovered");
}

/// The same line as an agent at -08:00 writes it: the hour of its time is eight less.
fn in_another_zone(line: &str) -> String {
    match (line.strip_prefix("2026-11-23T18:"), line.get(23..24)) {
        (Some(_), Some("Z")) => format!("2026-11-23T10:{}-0800{}", &line[14..23], &line[24..]),
        _ => line.to_owned(),
    }
}
