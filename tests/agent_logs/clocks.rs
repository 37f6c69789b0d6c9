//! Agents whose clocks are wrong, or are set while they run. A client stamps its events and the lines of its log by the
//! same clock, so both have the same error.

use std::fs;
use std::path::{Path, PathBuf};

use alloclog::time;
use serde_json::Value;

use super::recovered::{Truth, shifted, snapshots, sum};
use crate::recordings::{recording, unpacked};
use crate::view_store::ViewStore;

/// How many milliseconds the clock of a client is ahead at the time `HH:MM:SS`. The clock of client1 is always ahead.
/// The clock of client2 is set forward, and the clock of client3 is set back.
fn ahead(client: &str, clock: &str) -> i64 {
    match client {
        "client1" => 90_000,
        "client2" if clock >= "18:33:30" => 45_000,
        "client3" if clock >= "18:35:11" => -7_300,
        _ => 0,
    }
}

/// The time `ns` as the clock of a client shows it, in nanoseconds.
fn by_clock(client: &str, ns: i64) -> i64 {
    let text = time::to_rfc3339(ns);
    ns + ahead(client, &text[11..19]) * 1_000_000
}

/// Changes the times that clients stamp in a document or a frame of a stream.
fn set_clocks(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(set_clocks),
        Value::Object(fields) => {
            let client = fields.get("NodeName").and_then(Value::as_str).unwrap_or_default().to_owned();
            match fields.get_mut("TaskStates").and_then(Value::as_object_mut) {
                Some(states) => states.values_mut().for_each(|state| set_clock(&client, state)),
                None => fields.values_mut().for_each(set_clocks),
            }
        }
        _ => {}
    }
}

fn set_clock(client: &str, state: &mut Value) {
    for name in ["StartedAt", "FinishedAt"] {
        let at = state[name].as_str().and_then(|text| time::rfc3339(text).unwrap());
        if let Some(at) = at {
            state[name] = time::to_rfc3339(by_clock(client, at)).into();
        }
    }
    for event in state["Events"].as_array_mut().into_iter().flatten() {
        event["Time"] = by_clock(client, event["Time"].as_i64().unwrap()).into();
    }
}

/// The documents in a text, one per line, with the times that the wrong clocks give.
fn with_clocks(text: &str) -> String {
    let frames = serde_json::Deserializer::from_str(text).into_iter::<Value>().map(|frame| {
        let mut frame = frame.unwrap();
        set_clocks(&mut frame);
        format!("{frame}\n")
    });
    frames.collect()
}

fn logs(recording: &Path, directory: &Path) -> PathBuf {
    let (from, to) = (unpacked(recording, "logs.tar.zst").join("logs"), directory.join("logs"));
    fs::create_dir(&to).unwrap();
    for client in ["client1", "client2", "client3"] {
        let text = fs::read_to_string(from.join(format!("{client}.log"))).unwrap();
        let line = |line: &str| {
            let clock = line.find("2026-11-23T").and_then(|at| line.get(at + 11..at + 19));
            shifted(line, clock.map_or(0, |clock| ahead(client, clock)))
        };
        let lines: String = text.split_inclusive('\n').map(line).collect();
        fs::write(to.join(format!("{client}.log")), lines).unwrap();
    }
    to
}

#[test]
fn clocks_that_are_wrong_or_are_set_change_no_event() {
    let Some(recording) = recording() else { return };
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, with_clocks(text)).unwrap();
        path
    };
    let stream = zstd::decode_all(&*fs::read(recording.join("stream.ndjson.zst")).unwrap()).unwrap();
    let mut truth = Truth::of(&write("stream.ndjson", &String::from_utf8(stream).unwrap()));
    // The clocks of the clients differ by up to 100 s. So lines of one client may be later than the last event of the
    // stream.
    truth.last_ns -= 100_000_000_000;
    let last_ns = truth.last_ns;
    truth.events.values_mut().for_each(|times| times.retain(|at| *at <= last_ns));
    let mut sources: Vec<PathBuf> = snapshots(&recording, 6)
        .iter()
        .map(|path| write(&path.file_name().unwrap().to_string_lossy(), &fs::read_to_string(path).unwrap()))
        .collect();
    sources.push(logs(&recording, directory.path()));
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    let store = ViewStore::of(&sources).unwrap();
    let (shown, recovered, all) = truth.compared(&store);
    let (equal, unknown, differing) = truth.judgements(&store);
    eprintln!(
        "clocks: {shown} + {recovered} of {all}, {} lost; {equal} equal, {unknown} unknown, {} differ",
        sum(&store, "lost_restarts"),
        differing.len()
    );
    assert!((shown + recovered) as f64 >= 0.995 * all as f64, "{shown} shown, {recovered} recovered of {all}");
    assert!(differing.is_empty(), "{differing:#?}");
}
