//! `--watch`: a cluster that changes.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::agent::{Agent, Reply, Request};
use super::{answer, aside};
use crate::recordings;
use crate::sandbox::{Finished, Sandbox, allocation, sample};

/// A cluster that changes: each listing has one more allocation. Some requests fail.
fn changing(request: &Request, times: &AtomicUsize) -> Reply {
    if request.path != "/v1/allocations" {
        return aside(request);
    }
    if !request.parameter("index").is_empty() {
        // An empty cluster has index 0, which would not block.
        assert_ne!(request.parameter("index"), "0");
        thread::sleep(Duration::from_millis(50));
        return Reply::list(1, "[]");
    }
    let time = times.fetch_add(1, Ordering::SeqCst);
    let list: Vec<String> = (0..time).map(|n| allocation(&format!("a{n}"), "default", "j")).collect();
    match time {
        2 => Reply::status("500 Internal Server Error", "something broke"),
        // The cluster was restored: its index goes back.
        3.. => Reply::list(2, format!("[{}]", list.join(","))),
        _ => Reply::list(time as i64 * 100, format!("[{}]", list.join(","))),
    }
}

#[test]
fn watching_ends_on_a_signal_and_writes_everything_it_saw() {
    for signal in ["-INT", "-TERM"] {
        let sandbox = Sandbox::new();
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let agent = Agent::new(move |request| changing(request, &counted));
        let run = ["export", &agent.address, "-o", "out", "--watch", "--min-interval", "100ms"];
        let child = sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts");
        while times.load(Ordering::SeqCst) < 6 {
            thread::sleep(Duration::from_millis(20));
        }
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success(), "{signal}");
        let ran = Finished::from_output(child.wait_with_output().expect("an end")).exits_with(0);
        ran.stderr_has("something broke").stderr_has("retrying until it answers").stderr_has("0 rejected");
        assert!(sandbox.events("out").len() >= 4);
        assert!(sandbox.ledger("out").len() >= 5);
        assert_eq!(sandbox.names(), ["out"]);
    }
    let sandbox = Sandbox::new();
    sandbox
        .nomad(&[], &["export", &sample("cluster"), "-o", "out", "--watch"])
        .exits_with(2)
        .stderr_has("--watch needs exactly one SOURCE");
}

#[test]
fn watching_a_recorded_cluster_gives_the_rows_of_its_snapshots() {
    let Some(recording) = recordings::recording() else { return };
    let directory = recordings::unpacked(&recording, "snaps.tar.zst").join("snaps");
    let entries = fs::read_dir(&directory).expect("snapshots");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let sandbox = Sandbox::new();
    let snapshots = directory.join("*.json").to_string_lossy().into_owned();
    sandbox.nomad(&[], &["export", &snapshots, "-o", "files", "-q"]).exits_with(0);

    let times = Arc::new(AtomicUsize::new(0));
    let (counted, count) = (Arc::clone(&times), files.len());
    let agent = Agent::new(move |request| {
        if request.path != "/v1/allocations" {
            return aside(request);
        }
        if !request.parameter("index").is_empty() {
            return Reply::list(1, "[]");
        }
        let time = counted.fetch_add(1, Ordering::SeqCst);
        let body = fs::read(&files[time.min(files.len() - 1)]).expect("a snapshot");
        Reply::list(time as i64 + 1, body).gzip()
    });
    let run = ["export", &agent.address, "-o", "out", "--watch", "--min-interval", "1ms", "-q"];
    let child = sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts");
    while times.load(Ordering::SeqCst) < count + 2 {
        thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    Finished::from_output(child.wait_with_output().expect("an end")).exits_with(0);
    let events = |name: &str| {
        let mut rows: Vec<String> =
            sandbox.events(name).iter().map(|row| serde_json::to_string(row).expect("a row")).collect();
        rows.sort();
        rows
    };
    let (watched, expected) = (events("out"), events("files"));
    assert!(watched.len() > 2000, "{}", watched.len());
    assert!(watched == expected, "{} of {}", watched.len(), expected.len());
}

#[test]
fn a_report_and_an_export_end_after_the_time_of_for() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    for command in [&["report"][..], &["export", "-o", "out"]] {
        let began = Instant::now();
        let watching = [agent.address.as_str(), "--watch", "--min-interval", "100ms", "--for", "1s"];
        let ran = sandbox.nomad(&[], &[command, &watching[..]].concat()).exits_with(0);
        assert!(began.elapsed() >= Duration::from_secs(1), "{}", ran.err);
        let alone = [command, &[agent.address.as_str(), "--for", "1s"]].concat();
        sandbox.nomad(&[], &alone).exits_with(2).stderr_has("--watch");
    }
    assert!(!sandbox.events("out").is_empty());
}
