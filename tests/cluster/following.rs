//! Following a cluster by its event stream: an accelerated replay of a recording, with faults.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::agent::{Agent, Ending, Reply, Request};
use super::replay::{Opened, Replay, Trouble};
use super::{TOKEN, aside, listed, listing, namespaces};
use crate::recordings;
use crate::sandbox::{Finished, Sandbox, allocation, sample};
use crate::support::{Exported, Row};

/// Common arguments of the runs.
const QUICKLY: [&str; 6] = ["--table", "task_events,snapshots,coverage", "--min-interval", "200ms", "--timeout", "1s"];

/// Follows a replay with `--watch` or `--stream` to its end, then sends a signal.
fn live(sandbox: &Sandbox, out: &str, replay: &Arc<Replay>, way: &str) -> Finished {
    let answering = Arc::clone(replay);
    let agent = Agent::new(move |request| answering.answer(request));
    let run = [&["export", &agent.address, "-o", out, way], &QUICKLY[..]].concat();
    let child = sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts");
    // On a busy machine, the program may read a stream later than the replay writes it.
    if way == "--stream" {
        replay.wait_for_stream();
    } else {
        replay.wait();
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    Finished::from_output(child.wait_with_output().expect("an end")).exits_with(0)
}

/// All events, according to the recorded stream.
fn truth(sandbox: &Sandbox, recording: &Path) -> Vec<String> {
    let recording = recording.to_string_lossy();
    sandbox.nomad(&[], &["export", &recording, "-o", "truth", "-q", "--table", "task_events"]).exits_with(0);
    events(sandbox, "truth")
}

fn events(sandbox: &Sandbox, out: &str) -> Vec<String> {
    let text = |row: &Row| serde_json::to_string(row).expect("a row");
    let mut rows: Vec<String> = Exported::read(&sandbox.path(out), "task_events").iter().map(text).collect();
    rows.sort();
    rows
}

/// Returns true if the sorted `rows` contain all of `others`.
fn hold(rows: &[String], others: &[String]) -> bool {
    others.iter().all(|row| rows.binary_search(row).is_ok())
}

/// Checks that coverage counts exactly the lost restarts of each task, and that a task that is reported as complete
/// lacks no event.
fn check_coverage(sandbox: &Sandbox, out: &str) {
    type Counts = BTreeMap<(String, String), (i64, i64)>;
    let count = |name: &str| {
        let mut counts = Counts::new();
        for row in Exported::read(&sandbox.path(name), "task_events") {
            let text = |column: &str| row[column].as_str().expect("a text").to_owned();
            let (events, restarts) = counts.entry((text("alloc_id"), text("task"))).or_default();
            *events += 1;
            *restarts += i64::from(text("event_type") == "Restarting");
        }
        counts
    };
    let (seen, all) = (count(out), count("truth"));
    let mut found = 0;
    for row in Exported::read(&sandbox.path(out), "coverage") {
        let text = |column: &str| row[column].as_str().expect("a text").to_owned();
        let key = (text("alloc_id"), text("task"));
        let (events, restarts) = seen.get(&key).copied().unwrap_or_default();
        let (all_events, all_restarts) = all[&key];
        assert_eq!(row["lost_restarts"], all_restarts - restarts, "{key:?}");
        if row["complete"] == true {
            assert_eq!(events, all_events, "{key:?}");
        }
        found += 1;
    }
    assert_eq!(found, all.len());
}

#[test]
fn a_stream_shows_all_events_including_new_namespaces() {
    let (sandbox, recording) = (Sandbox::new(), sample("stream.ndjson.zst"));
    let replay = Replay::new(Path::new(&recording), Duration::from_secs(4), usize::MAX, &[]);
    let ran = live(&sandbox, "out", &replay, "--stream");
    ran.stderr_has("0 rejected");
    assert!(events(&sandbox, "out") == truth(&sandbox, Path::new(&recording)));
    check_coverage(&sandbox, "out");
    let opened = replay.opened();
    // For each new namespace, the stream is opened again, and the server repeats all events that it remembers.
    let whole = Opened { namespace: "*".into(), from: None };
    assert!(opened.len() > 1 && opened.iter().all(|opened| *opened == whole), "{opened:?}");
    let ledger = sandbox.ledger("out");
    let streamed: Vec<_> = ledger.iter().filter(|row| row["shape"] == "stream").collect();
    assert!(streamed.len() > 1 && streamed.iter().all(|row| row["is_full_listing"] == false));
    assert!(streamed[0]["source"].as_str().expect("a text").ends_with("/v1/event/stream"));
    assert_eq!((&streamed[0]["observed_from"], &streamed[0]["namespace"]), (&"fetched".into(), &"*".into()));
    assert_eq!(ledger[0]["is_full_listing"], true, "the first document is a listing");
}

#[test]
fn a_broken_stream_resumes_at_its_index() {
    let (sandbox, recording) = (Sandbox::new(), sample("stream.ndjson.zst"));
    let troubles = [(10, Trouble::Cut), (25, Trouble::Reset), (40, Trouble::Silence), (55, Trouble::Dropped)];
    let replay = Replay::new(Path::new(&recording), Duration::from_secs(6), usize::MAX, &troubles);
    let ran = live(&sandbox, "out", &replay, "--stream");
    ran.stderr_has("within a line")
        .stderr_has("no answer within 1s")
        .stderr_has("event dropped from buffer")
        .stderr_has("0 rejected");
    assert_eq!(replay.troubles_left(), 0);
    assert!(events(&sandbox, "out") == truth(&sandbox, Path::new(&recording)));
    check_coverage(&sandbox, "out");
    assert!(replay.opened().iter().any(|opened| opened.from.is_some()), "{:?}", replay.opened());
}

#[test]
fn after_a_gap_a_listing_shows_what_the_cluster_still_has() {
    let Some(recording) = recordings::recording() else { return };
    let recording = recording.join("stream.ndjson.zst");
    let sandbox = Sandbox::new();
    let all = truth(&sandbox, &recording);
    let within = Duration::from_secs(12);
    let watched = Replay::new(&recording, within, 100, &[]);
    live(&sandbox, "watched", &watched, "--watch").stderr_has("0 rejected");

    let whole = Replay::new(&recording, within, usize::MAX, &[]);
    live(&sandbox, "whole", &whole, "--stream").stderr_has("0 rejected");
    assert!(events(&sandbox, "whole") == all, "{} of {}", events(&sandbox, "whole").len(), all.len());

    // The server remembers almost nothing, so every break is a gap.
    let middle = whole.len() / 2;
    let troubles = [(middle / 2, Trouble::Dropped), (middle, Trouble::Silence), (middle + middle / 2, Trouble::Reset)];
    let broken = Replay::new(&recording, within, 3, &troubles);
    live(&sandbox, "broken", &broken, "--stream").stderr_has("0 rejected");
    assert_eq!(broken.troubles_left(), 0);
    let (watched, broken) = (events(&sandbox, "watched"), events(&sandbox, "broken"));
    assert!(hold(&all, &watched) && hold(&all, &broken));
    assert!(broken.len() < all.len() && broken.len() >= watched.len(), "{} {}", broken.len(), watched.len());
    check_coverage(&sandbox, "watched");
    check_coverage(&sandbox, "broken");
}

/// Follows an agent until it has received a number of requests for a path, at most for some seconds.
fn follow(
    sandbox: &Sandbox,
    agent: &Agent,
    variables: &[(&str, &str)],
    arguments: &[&str],
    asked: (&str, usize),
) -> Finished {
    let run = [&["export", &agent.address, "-o", "out", "--stream"], &QUICKLY[..], arguments].concat();
    let child = sandbox.nomad_command(variables, &run).stderr(Stdio::piped()).spawn().expect("the program starts");
    for _ in 0..400 {
        if agent.asked(asked.0).len() >= asked.1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    Finished::from_output(child.wait_with_output().expect("an end"))
}

#[test]
fn a_denied_stream_is_distinguished_from_a_quiet_one() {
    let silent = |after: u64| {
        Reply::stream(move |_| {
            std::thread::sleep(Duration::from_secs(after));
            Ok(Ending::Closed)
        })
    };
    let denied: [(Reply, &str); 4] = [
        (silent(0), "not even a heartbeat"),
        (silent(3), "not even a heartbeat"),
        (Reply::status("500 Internal Server Error", "Permission denied"), "read-job"),
        (Reply::status("404 Not Found", ""), "no event stream"),
    ];
    for (reply, word) in denied {
        let agent = Agent::new(move |request: &Request| match request.path.as_str() {
            "/v1/event/stream" => reply.clone(),
            "/v1/allocations" => Reply::list(9, listing()),
            _ => aside(request),
        });
        let sandbox = Sandbox::new();
        // The program then requests a listing after every change, so nothing is lost.
        let ran = follow(&sandbox, &agent, &[], &[], ("/v1/allocations", 6)).exits_with(0);
        ran.stderr_has(word).stderr_has("listing after every change instead, as --watch does");
        assert!(agent.asked("/v1/allocations").iter().any(|request| !request.parameter("index").is_empty()));
        assert_eq!(agent.asked("/v1/event/stream").len(), 1);
        assert_eq!(sandbox.events("out").len(), sandbox.expected().len());
    }
    let quiet = Agent::new(|request: &Request| match request.path.as_str() {
        "/v1/event/stream" => Reply::stream(|out| {
            loop {
                out.write_all(b"{}\n")?;
                std::thread::sleep(Duration::from_millis(300));
            }
        }),
        "/v1/allocations" => Reply::list(9, listing()),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    let ran = follow(&sandbox, &quiet, &[], &[], ("/v1/namespaces", 10)).exits_with(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    assert_eq!(quiet.asked("/v1/allocations").len(), 1, "no gap requires another listing");
    assert_eq!(quiet.asked("/v1/event/stream").len(), 1);
}

#[test]
fn a_token_for_some_namespaces_follows_each_of_them() {
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/acl/token/self", _) => Reply::list(1, r#"{"Type":"client"}"#),
        ("/v1/namespaces", _) => namespaces(&["prod", "default", "jobs-only"]),
        ("/v1/allocations" | "/v1/event/stream", "jobs-only") => Reply::recorded("acl-list-bad-token.txt"),
        ("/v1/allocations", name) => Reply::list(5, format!("[{}]", allocation(name, name, "j"))),
        ("/v1/event/stream", name) => {
            let event = allocation(&format!("{name}-later"), name, "j");
            let line =
                format!(r#"{{"Index":6,"Events":[{{"Topic":"Allocation","Payload":{{"Allocation":{event}}}}}]}}"#);
            Reply::stream(move |out| {
                out.write_all(format!("{{}}\n{line}\n").as_bytes())?;
                loop {
                    std::thread::sleep(Duration::from_millis(300));
                    out.write_all(b"{}\n")?;
                }
            })
        }
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    let ran = follow(&sandbox, &agent, &[("NOMAD_TOKEN", TOKEN)], &[], ("/v1/namespaces", 8)).exits_with(0);
    ran.stderr_has("namespace jobs-only: the token may not read");
    let mut ids: Vec<_> = sandbox.events("out").iter().map(|row| row["alloc_id"].clone()).collect();
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, ["default", "default-later", "prod", "prod-later"]);
    assert_eq!(agent.asked("/v1/event/stream").len(), 3);
}

#[test]
fn a_decreasing_index_triggers_a_listing() {
    let agent = Agent::new(|request| match request.path.as_str() {
        "/v1/allocations" => Reply::list(9, listing()),
        "/v1/event/stream" => Reply::stream(|out| {
            for index in [500, 501, 3] {
                let event = allocation(&format!("a{index}"), "default", "j");
                let payload = format!(r#"{{"Topic":"Allocation","Payload":{{"Allocation":{event}}}}}"#);
                out.write_all(format!("{{\"Index\":{index},\"Events\":[{payload}]}}\n").as_bytes())?;
                std::thread::sleep(Duration::from_millis(500));
            }
            loop {
                out.write_all(b"{}\n")?;
                std::thread::sleep(Duration::from_millis(300));
            }
        }),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    follow(&sandbox, &agent, &[], &[], ("/v1/allocations", 2)).exits_with(0);
    assert_eq!(agent.asked("/v1/allocations").len(), 2);
    assert_eq!(sandbox.events("out").len(), sandbox.expected().len() + 3);
}

#[test]
fn sources_that_cannot_be_followed_are_refused() {
    let (sandbox, agent) = (Sandbox::new(), listed(|_| Reply::list(9, listing())));
    let run = |arguments: &[&str]| sandbox.nomad(&[], &[&["export", "-o", "x"], arguments].concat()).exits_with(2);
    run(&[&sample("cluster"), "--stream"]).stderr_has("--stream needs exactly one SOURCE");
    run(&[&agent.address, "--stream", "--filter", "JobID == \"x\""])
        .stderr_has("--filter cannot be used with --stream");
    run(&[&agent.address, "--stream", "--watch"]).stderr_has("cannot be used with");
    run(&[&agent.address, "--min-interval", "1s"]).stderr_has("required");
    // ingest accepts all flags in its help. It refuses contradictory flags before it creates the lake.
    let help = sandbox.nomad(&[], &["ingest", "--help"]).exits_with(0).out;
    assert!(help.contains("--stream") && help.contains("--watch") && !help.contains("--job"), "{help}");
    let run = ["ingest", &agent.address, "--lake", "x", "--stream", "--strict"];
    sandbox.nomad(&[], &run).exits_with(2).stderr_has("cannot be used with --stream");
    assert!(sandbox.names().is_empty());
}

#[test]
fn a_body_that_is_reset_or_stalls_is_requested_again() {
    let sandbox = Sandbox::new();
    let expected = sandbox.expected();
    for (first, word) in [
        (Reply::list(9, listing()).reset(50_000), "retrying"),
        (Reply::list(9, listing()).stall(50_000, Duration::from_secs(3)), "no answer within 1s"),
    ] {
        let times = std::sync::atomic::AtomicUsize::new(0);
        let agent = listed(move |_| match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => first.clone(),
            _ => Reply::list(9, listing()),
        });
        let ran =
            sandbox.nomad(&[], &["export", &agent.address, "-o", "out", "--force", "--timeout", "1s"]).exits_with(0);
        ran.stderr_has(word).stderr_has("0 rejected");
        assert_eq!(sandbox.events("out").len(), expected.len(), "{word}");
    }
}
