//! Outages of the cluster: the program prints one warning, and one message at the end of the outage.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::agent::{Agent, Ending, Over, Reply, Request, pem};
use super::{answer, aside, listed, listing, namespaces};
use crate::sandbox::{Finished, Sandbox, allocation};

/// The reply of an unavailable agent: no answer at all, or the error of a cluster without a leader.
fn failing(kind: usize) -> Reply {
    match kind {
        0 => Reply::hang_up(),
        _ => Reply::status("500 Internal Server Error", "No cluster leader"),
    }
}

/// An agent that is unavailable while a flag is set, including its streams.
fn agent(away: &Arc<AtomicBool>, kind: usize) -> Agent {
    let away = Arc::clone(away);
    Agent::new(move |request: &Request| {
        if away.load(Ordering::SeqCst) {
            return failing(kind);
        }
        match request.path.as_str() {
            "/v1/event/stream" => {
                let away = Arc::clone(&away);
                Reply::stream(move |out| {
                    while !away.load(Ordering::SeqCst) {
                        out.write_all(b"{}\n")?;
                        thread::sleep(Duration::from_millis(100));
                    }
                    Ok(Ending::Reset)
                })
            }
            "/v1/allocations" if !request.parameter("index").is_empty() => {
                thread::sleep(Duration::from_millis(200));
                answer(request)
            }
            _ => answer(request),
        }
    })
}

/// Waits until an agent received this many more requests.
fn until(agent: &Agent, more: usize) {
    let before = agent.requests().len();
    for _ in 0..1000 {
        if agent.requests().len() >= before + more {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("the program sent no further requests to the agent");
}

#[test]
fn an_outage_is_reported_once_and_its_end_once() {
    let ways: [&[&str]; 3] = [
        &["export", "-o", "out", "--watch", "--min-interval", "100ms"],
        &["export", "-o", "out", "--stream", "--min-interval", "100ms"],
        &["fetch", "-o", "out", "--every", "100ms"],
    ];
    for way in ways {
        for kind in [0, 1] {
            let away = Arc::new(AtomicBool::new(false));
            let (sandbox, agent) = (Sandbox::new(), agent(&away, kind));
            let run = [way, &[agent.address.as_str()]].concat();
            let child = sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts");
            until(&agent, 8);
            away.store(true, Ordering::SeqCst);
            until(&agent, 8);
            away.store(false, Ordering::SeqCst);
            until(&agent, 12);
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
            let ran = Finished::from_output(child.wait_with_output().expect("an end"));
            let about = ran.err.lines().filter(|line| line.contains(&agent.address) && !line.contains("asking http"));
            let about: Vec<&str> = about.collect();
            let is_end = |line: &&str| line.contains("answers again after ");
            assert_eq!(about.len(), 2, "{way:?} {kind}\n{}", ran.err);
            assert!(!is_end(&about[0]) && is_end(&about[1]), "{way:?} {kind}\n{}", ran.err);
        }
    }
}

#[test]
fn a_fault_that_ends_during_the_retries_is_reported_with_its_end() {
    let times = AtomicUsize::new(0);
    let agent = listed(move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0..3 => Reply::status("503 Service Unavailable", "wait"),
        _ => Reply::list(9, listing()),
    });
    let sandbox = Sandbox::new();
    let ran = sandbox.nomad(&[], &["query", "snapshots", &agent.address]).exits_with(0).stderr_has("answers again");
    assert_eq!(ran.err.matches("; retrying").count(), 1, "{}", ran.err);
    assert!(!sandbox.nomad(&[], &["query", "snapshots", &agent.address, "-q"]).exits_with(0).err.contains("again"));
}

#[test]
fn the_end_of_a_connection_is_reported_without_library_errors() {
    let sandbox = Sandbox::new();
    let ca = pem("ca.pem").to_string_lossy().into_owned();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let agent = Agent::over(&Over::Tls(false), move |request| match request.path.as_str() {
        // TLS has its own close message, which is missing when Nomad ends a stream.
        "/v1/event/stream" => {
            counted.fetch_add(1, Ordering::SeqCst);
            Reply::stream(|out| {
                out.write_all(b"{}\n")?;
                thread::sleep(Duration::from_millis(300));
                Ok(Ending::Closed)
            })
        }
        _ => answer(request),
    });
    let address = agent.address.replace("127.0.0.1", "localhost");
    let run = ["export", &address, "-o", "out", "--stream", "--min-interval", "100ms", "--ca-cert", &ca];
    let child = sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts");
    for _ in 0..500 {
        if count.load(Ordering::SeqCst) >= 3 {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    let ran = Finished::from_output(child.wait_with_output().expect("an end"))
        .exits_with(0)
        .stderr_has("the other side closed it");
    assert!(!ran.err.contains("docs.rs") && !ran.err.contains("close_notify"), "{}", ran.err);
}

#[test]
fn rounds_are_counted_rather_than_their_listings() {
    // With a token for some namespaces, the program lists each of them, one right after the other. These listings
    // count as one round.
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/acl/token/self", _) => Reply::list(1, r#"{"Type":"client"}"#),
        ("/v1/namespaces", _) => namespaces(&["prod", "default", "staging"]),
        ("/v1/allocations", name) => Reply::list(5, format!("[{}]", allocation(name, name, "j"))),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "dumps", "--every", "1s", "--for", "2s"]).exits_with(0);
    let ran = sandbox.nomad(&[], &["report", "dumps", "--format", "json"]).exits_with(0);
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("a report");
    let every = report["input"]["observed_every_seconds"].as_f64().expect("a time");
    assert!((0.9..20.0).contains(&every), "{every}");
}
