//! A native twin of a view is Rust code that computes the view instead of its SQL. It gives the same rows as the SQL.
//! All views that read such a view also give the same rows with either of them.
//!
//! In the random histories, tasks behave as in no real cluster. Any event type follows any other. Times are equal,
//! decrease or are missing. Counters decrease or are missing. Some documents passed through a float, and a log contains
//! some of the events. `ALLOCLOG_CASES=40` tries 10,000 histories:
//!
//!     ALLOCLOG_CASES=40 cargo test --release --test tests twins

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::agent_logs::hclog::{Line, Logger};
use crate::recordings::recording;
use crate::simulator::Random;
use crate::view_store::ViewStore;

/// The number of random histories in one run of the views.
const TOGETHER: usize = 250;

/// Types that the views interpret, and two that they do not.
const TYPES: [&str; 18] = [
    "Received",
    "Task Setup",
    "Driver",
    "Downloading Artifacts",
    "Started",
    "Restart Signaled",
    "Killing",
    "Terminated",
    "Killed",
    "Restarting",
    "Not Restarting",
    "Driver Failure",
    "Task hook failed",
    "Reconnected",
    "Failed Validation",
    "Setup Failure",
    "Alloc Unhealthy",
    "Signaling",
];

#[test]
fn twins_of_views_agree_with_their_sql_on_the_samples() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    for source in [samples.clone(), samples.join("cluster"), samples.join("nomad-0.6")] {
        ViewStore::of(&[&source]).unwrap().check_twins().unwrap();
    }
}

#[test]
fn twins_of_views_agree_with_their_sql_on_the_recordings() {
    let Some(newest) = recording() else { return };
    let Some(all) = newest.parent() else { return };
    for name in ["nomad-0.6/snaps.tar.zst", "nomad-0.9/snaps.tar.zst", "nomad-2.0/snaps.tar.zst"] {
        let path = all.join(name);
        if path.exists() {
            ViewStore::of(&[&path]).unwrap().check_twins().unwrap();
        }
    }
}

#[test]
fn twins_of_views_agree_with_their_sql_on_random_histories() {
    let times = std::env::var("ALLOCLOG_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    for seed in 0..times {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed);
        let histories: Vec<History> = (0..TOGETHER).map(|_| History::random(&mut random)).collect();
        for document in 0..5 {
            let is_rounded = document == 2 || document == 4;
            let shown: Vec<Value> =
                histories.iter().filter_map(|history| history.shown(document, is_rounded, &mut random)).collect();
            let name = format!("20261123T18{:02}01Z.json", 10 + document);
            std::fs::write(directory.path().join(name), Value::from(shown).to_string()).unwrap();
        }
        if seed % 2 == 0 {
            let logger = Logger { is_json: seed % 4 == 0, has_location: false, zone: 0, prefix: ("", false) };
            let mut lines: Vec<Line> = histories.iter().flat_map(|history| history.lines(&mut random)).collect();
            lines.sort_by_key(|line| line.at);
            let log: String = lines.iter().map(|line| logger.line(line)).collect();
            std::fs::write(directory.path().join("nomad.log"), log).unwrap();
        }
        let checked = ViewStore::of(&[directory.path()]).and_then(|store| {
            let rows = store.rows("timeline")?;
            assert!(rows.len() > TOGETHER, "the program read the documents");
            let logged = rows.iter().filter(|row| row.text("origin") == Some("log")).count();
            assert!(seed % 2 == 1 || logged > 20, "{logged} events of the log");
            store.check_twins()
        });
        checked.unwrap_or_else(|problem| panic!("seed {seed}: {problem:#}"));
    }
}

/// The history of the only task of an allocation.
struct History {
    alloc_id: String,
    events: Vec<Value>,
    /// The restart counter after each event.
    counters: Vec<i64>,
    has_counters: bool,
    /// For each document, how many events it shows if it shows the allocation at all.
    shown: Vec<usize>,
}

impl History {
    fn random(random: &mut Random) -> History {
        let mut history = History {
            alloc_id: random.uuid(),
            events: Vec::new(),
            counters: Vec::new(),
            has_counters: random.chance(85),
            shown: Vec::new(),
        };
        let mut ns = 1_795_458_600_000_000_123 + random.between(0, 1_000_000_000);
        let mut counter = 0;
        for _ in 0..1 + random.below(32) {
            let kind = if history.events.is_empty() { "Received" } else { *random.pick(&TYPES) };
            counter += i64::from(kind == "Restarting");
            if random.chance(2) {
                counter = 0; // the client lost its state
            }
            ns += *random.pick(&[0, 0, 1, 150, 1_001, 2_000_000_007, 60_000_000_011]);
            if random.chance(2) {
                ns -= 3_000_000_001; // the clock of the client was set back
            }
            let time = if random.chance(3) { 0 } else { ns };
            history.events.push(event(kind, time, random));
            history.counters.push(counter);
        }
        let mut shown: Vec<usize> = (0..5).map(|_| 1 + random.below(history.events.len())).collect();
        shown.sort_unstable();
        history.shown = shown;
        history
    }

    /// The lines of the history's events in a log, which contains all, most or few of them.
    fn lines(&self, random: &mut Random) -> Vec<Line> {
        let kept = *random.pick(&[100, 100, 95, 95, 30]);
        let line = |event: &Value| {
            let (event_type, at) = (event["Type"].as_str()?.to_owned(), event["Time"].as_i64().filter(|at| *at > 0)?);
            let detail = |name: &str| event["Details"][name].as_str().unwrap_or("0").to_owned();
            let message = match event_type.as_str() {
                "Terminated" => format!("Exit Code: {}, Signal: {}", detail("exit_code"), detail("signal")),
                "Restarting" => "Task restarting in 1s".to_owned(),
                "Restart Signaled" | "Not Restarting" => event["Details"]["restart_reason"].as_str()?.to_owned(),
                _ => "done".to_owned(),
            };
            let (alloc_id, fails_task) = (self.alloc_id.clone(), event["FailsTask"] == true);
            Some(Line { alloc_id, task: "app".to_owned(), event_type, message, fails_task, at: at + 20_000 })
        };
        self.events.iter().filter_map(line).filter(|_| random.chance(kept)).collect()
    }

    /// The allocation as a document shows it; `None` if the document does not show it.
    fn shown(&self, document: usize, is_rounded: bool, random: &mut Random) -> Option<Value> {
        if random.chance(30) {
            return None;
        }
        let end = self.shown[document];
        let length = *random.pick(&[10, 10, 10, 10, 7, 13]);
        let mut events = self.events[end.saturating_sub(length)..end].to_vec();
        if is_rounded {
            for event in &mut events {
                let time = event["Time"].as_i64().unwrap() as f64;
                event["Time"] = json!(format!("{time}").parse::<i64>().unwrap());
            }
        }
        let mut task = json!({"State": random.pick(&["running", "pending", "dead"]), "Failed": random.chance(20),
            "StartedAt": "2026-11-23T18:10:00.123456789Z", "Events": events});
        if self.has_counters && random.chance(95) {
            task["Restarts"] = json!(self.counters[end - 1]);
        }
        Some(json!({
            "ID": self.alloc_id, "Namespace": "default", "JobID": random.pick(&["shop", "bank"]), "TaskGroup": "web",
            "NodeID": "4f3c7a52-0000-0000-0000-000000000001", "DesiredStatus": random.pick(&["run", "run", "stop"]),
            "ClientStatus": random.pick(&["running", "pending", "complete", "failed", "lost"]),
            "CreateIndex": 10, "ModifyIndex": 10 + end, "CreateTime": 1_795_458_599_000_000_001i64,
            "ModifyTime": 1_795_458_600_000_000_001i64 + end as i64 * 1_000_000_003,
            "TaskStates": {"app": task},
        }))
    }
}

fn event(kind: &str, time: i64, random: &mut Random) -> Value {
    let mut details = Map::new();
    let mut add = |name: &str, value: &str| details.insert(name.to_owned(), json!(value));
    match kind {
        "Terminated" => {
            add("exit_code", random.pick::<&str>(&["0", "0", "1", "137"]));
            add("signal", random.pick::<&str>(&["0", "0", "9"]));
            add("oom_killed", random.pick::<&str>(&["false", "false", "true"]));
            if random.chance(30) {
                add("exit_message", random.pick::<&str>(&["OOM Killed", "gone"]));
            }
        }
        "Restart Signaled" | "Restarting" | "Not Restarting" if random.chance(70) => {
            let reasons =
                ["healthcheck: check \"x\" unhealthy", "User requested running tasks to restart", "Template x"];
            add("restart_reason", random.pick::<&str>(&reasons));
        }
        "Driver" => {
            add("driver_message", random.pick::<&str>(&["Downloading image", "pulled"]));
        }
        "Killing" if random.chance(30) => {
            add("fails_task", "true");
        }
        _ => {}
    }
    let message = *random.pick(&["", "Template failed: x", "allocation exceeded max_run_duration", "Downloading x"]);
    let mut event = json!({"Type": kind, "Time": time, "DisplayMessage": message, "Details": details});
    if random.chance(3) {
        event["Type"] = Value::Null;
    }
    if random.chance(10) {
        event["FailsTask"] = json!(true);
    }
    event
}
