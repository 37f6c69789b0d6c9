//! Old versions of Nomad without namespaces, the `*` namespace, filters or event streams.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::agent::{Agent, Reply, Request};
use super::{aside, listed, listing, namespaces};
use crate::sandbox::{Finished, Sandbox, allocation};
use crate::support::Exported;

/// Nomad 0.9.7 without ACLs: one namespace, and no support for `*`.
fn nomad_0_9(request: &Request) -> Reply {
    match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/allocations", "default") => Reply::list(1012, listing()),
        ("/v1/allocations", _) => Reply::recorded("0.9.7-list-star.txt"),
        ("/v1/namespaces", _) => Reply::recorded("0.9.7-namespaces.txt"),
        ("/v1/acl/token/self", _) => Reply::recorded("0.9.7-acl-token-self.txt"),
        ("/v1/event/stream", _) => Reply::recorded("0.9.7-event-stream.txt"),
        ("/ui/", _) => Reply::status("200 OK", "<!DOCTYPE html><html></html>"),
        _ => aside(request),
    }
}

/// Nomad 0.6.3: no namespaces, so every listing is complete.
fn nomad_0_6(request: &Request) -> Reply {
    match request.path.as_str() {
        "/v1/allocations" => Reply::list(1076, listing()),
        "/v1/namespaces" => Reply::recorded("0.6.3-namespaces.txt"),
        "/v1/acl/token/self" => Reply::recorded("0.6.3-acl-token-self.txt"),
        "/v1/event/stream" => Reply::recorded("0.6.3-event-stream.txt"),
        "/v1/agent/self" => version("0.6.3"),
        _ => aside(request),
    }
}

fn version(text: &str) -> Reply {
    let config =
        format!(r#"{{"Region":"global","Version":{{"Revision":"r","Version":"{text}","VersionMetadata":""}}}}"#);
    Reply::list(1, format!(r#"{{"config":{config},"member":{{"Name":"n"}},"stats":{{}}}}"#))
}

/// Runs an export that follows the cluster, and stops it after `times` requests for which `until` is true.
pub fn going_on(
    sandbox: &Sandbox,
    agent: &Agent,
    arguments: &[&str],
    until: impl Fn(&Request) -> bool,
    times: usize,
) -> Finished {
    let run = [&["export", &agent.address, "-o", "out", "--force", "--min-interval", "100ms"], arguments].concat();
    let child = sandbox.nomad_command(&[], &run).stderr(Stdio::piped()).spawn().expect("the program starts");
    for _ in 0..500 {
        if agent.requests().iter().filter(|request| until(request)).count() >= times {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    Finished::from_output(child.wait_with_output().expect("an end"))
}

fn is_wait(request: &Request) -> bool {
    request.path == "/v1/allocations" && !request.parameter("index").is_empty()
}

#[test]
fn open_source_nomad_before_1_0_has_its_only_namespace_listed_by_name() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(nomad_0_9));
    let expected = sandbox.expected();
    sandbox.nomad(&[], &["export", &agent.address, "-o", "out"]).exits_with(0);
    assert_eq!(sandbox.events("out"), expected);
    let row = sandbox.ledger("out").remove(0);
    assert_eq!((&row["namespace"], &row["is_full_listing"]), (&"*".into(), &true.into()));
    // This Nomad answers a request for `*` with an empty listing. If the listing were taken as complete, allocations
    // would vanish in a lake.
    assert!(agent.asked("/v1/allocations").iter().all(|request| request.parameter("namespace") == "default"));
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "x.json"]).exits_with(0);
    sandbox.nomad(&[], &["export", "x.json", "-o", "kept"]).exits_with(0);
    assert_eq!(sandbox.events("kept"), expected);
    assert_eq!(sandbox.ledger("kept")[0]["is_full_listing"], true);
    going_on(&sandbox, &agent, &["--watch"], is_wait, 2).exits_with(0);
    assert!(agent.requests().iter().filter(|request| is_wait(request)).all(|r| r.parameter("namespace") == "default"));
}

#[test]
fn without_namespaces_one_listing_is_complete() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(nomad_0_6));
    sandbox.nomad(&[], &["export", &agent.address, "-o", "out"]).exits_with(0);
    assert_eq!(sandbox.events("out"), sandbox.expected());
    let row = sandbox.ledger("out").remove(0);
    assert_eq!((&row["namespace"], &row["is_full_listing"]), (&"*".into(), &true.into()));
    sandbox
        .nomad(&[], &["report", &agent.address, "--namespace", "prod"])
        .exits_with(1)
        .stderr_has("there is no namespace \"prod\"");
}

#[test]
fn without_wildcard_support_each_namespace_is_listed() {
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/allocations", "*") => Reply::recorded("0.9.7-list-star.txt"),
        ("/v1/allocations", name) => Reply::list(5, format!("[{}]", allocation(name, name, "j"))),
        ("/v1/namespaces", _) => {
            Reply::list(1, r#"[{"Name":"default","CreateIndex":1},{"Name":"prod","CreateIndex":2}]"#)
        }
        ("/v1/agent/self", _) => version("0.11.3+ent"),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    // No blocking query covers all namespaces, so the program lists the namespaces repeatedly.
    let is_listing = |request: &Request| request.path == "/v1/allocations";
    going_on(&sandbox, &agent, &["--watch"], is_listing, 6).exits_with(0);
    assert!(agent.asked("/v1/allocations").iter().all(|request| request.parameter("namespace") != "*"));
    assert_eq!(sandbox.events("out").len(), 2);
    let ledger = sandbox.ledger("out");
    assert_eq!((&ledger[0]["namespace"], &ledger[0]["is_full_listing"]), (&"default".into(), &true.into()));
    assert_eq!((&ledger[1]["namespace"], &ledger[1]["is_full_listing"]), (&"prod".into(), &true.into()));

    // Nomad 0.12 supports `*`, and denies it to a token for some namespaces.
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/acl/token/self", _) => Reply::list(1, r#"{"Type":"client","Policies":["p"]}"#),
        ("/v1/namespaces", _) => Reply::list(1, r#"[{"Name":"default"},{"Name":"prod"}]"#),
        ("/v1/agent/self", _) => version("0.12.0+ent"),
        ("/v1/allocations", "*") => Reply::recorded("acl-list-anonymous-star.txt"),
        ("/v1/allocations", name) => Reply::list(5, format!("[{}]", allocation(name, name, "j"))),
        _ => aside(request),
    });
    going_on(&sandbox, &agent, &["--watch"], is_wait, 3).exits_with(0);
    assert_eq!(sandbox.events("out").len(), 2);

    // A token for all namespaces gets one listing.
    let agent = Agent::new(|request| match request.path.as_str() {
        "/v1/namespaces" => Reply::list(1, r#"[{"Name":"default"},{"Name":"prod"}]"#),
        "/v1/agent/self" => version("0.12.0+ent"),
        "/v1/allocations" => Reply::list(5, listing()),
        _ => aside(request),
    });
    sandbox.nomad(&[], &["export", &agent.address, "-o", "new"]).exits_with(0);
    assert_eq!(agent.asked("/v1/allocations").len(), 1);
    assert_eq!(sandbox.ledger("new")[0]["is_full_listing"], true);
}

/// Nomad Enterprise 0.7 and 0.8, whose lists do not say in which namespace an allocation is.
#[test]
fn an_allocation_without_a_namespace_is_in_the_one_that_was_listed() {
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&is_gone);
    let agent = Agent::new(move |request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/allocations", "prod") if !gone.load(Ordering::SeqCst) => {
            Reply::list(5, format!("[{}]", allocation("a", "prod", "j").replace(r#""Namespace":"prod","#, "")))
        }
        ("/v1/allocations", _) => Reply::recorded("0.9.7-list-star.txt"),
        ("/v1/namespaces", _) => Reply::list(1, r#"[{"Name":"default"},{"Name":"prod"}]"#),
        ("/v1/agent/self", _) => version("0.8.7+ent"),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    let vanished_from = |out: &str| {
        let row = Exported::read(&sandbox.path(out), "allocations").remove(0);
        (row["namespace"].clone(), row["vanished"].clone())
    };
    // The listings of `default` do not show the allocation. Nevertheless, the allocation must not count as vanished.
    let is_listing = |request: &Request| request.path == "/v1/allocations";
    let table = ["--table", "allocations"];
    going_on(&sandbox, &agent, &["--watch", table[0], table[1]], is_listing, 6).exits_with(0);
    assert_eq!(vanished_from("out"), ("prod".into(), false.into()));
    sandbox
        .nomad(&[], &["export", &agent.address, "-o", "named", "--namespace", "prod", table[0], table[1]])
        .exits_with(0);
    assert_eq!(vanished_from("named"), ("prod".into(), false.into()));

    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "dumps", "--every", "1s", "--for", "1500ms"]).exits_with(0);
    is_gone.store(true, Ordering::SeqCst);
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "dumps/last.json.zst"]).exits_with(0);
    sandbox.export(&["dumps", "-o", "kept", table[0], table[1]]).exits_with(0);
    assert_eq!(vanished_from("kept"), ("prod".into(), true.into()));
    // The order of documents does not matter.
    let mut names: Vec<String> = sandbox.files("dumps").into_keys().map(|name| format!("dumps/{name}")).collect();
    names.reverse();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    sandbox.export(&[&names[..], &["-o", "turned"], &table].concat()).exits_with(0);
    assert_eq!(vanished_from("turned"), ("prod".into(), true.into()));
}

#[test]
fn an_empty_listing_of_all_namespaces_is_trusted_only_with_wildcard_support() {
    let agent = Agent::new(|request| match request.path.as_str() {
        "/v1/namespaces" => Reply::status("403 Forbidden", "no"),
        "/v1/allocations" => Reply::recorded("0.9.7-list-star.txt"),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    sandbox
        .nomad(&[], &["report", &agent.address])
        .exits_with(1)
        .stderr_has("nothing is listed for all namespaces")
        .stderr_has("--namespace");
    // This cluster supports `*`, as its answer to /v1/namespaces shows. So the empty listing is complete.
    let empty = listed(|_| Reply::list(1, "[]"));
    sandbox.nomad(&[], &["export", &empty.address, "-o", "empty"]).exits_with(0);
    assert_eq!(sandbox.ledger("empty")[0]["is_full_listing"], true);
}

#[test]
fn an_agent_without_event_streams_is_polled_after_one_warning() {
    for nomad in [nomad_0_9, nomad_0_6] {
        let (sandbox, agent) = (Sandbox::new(), Agent::new(nomad));
        let ran = going_on(&sandbox, &agent, &["--stream"], is_wait, 2).exits_with(0);
        assert_eq!(
            ran.err.matches("the agent has no event stream, which Nomad has since 1.0").count(),
            1,
            "{}",
            ran.err
        );
        assert_eq!(ran.err.matches("warning").count(), 1, "{}", ran.err);
        assert_eq!((agent.asked("/v1/event/stream").len(), agent.asked("/ui/").len()), (1, 0));
        assert_eq!(sandbox.events("out"), sandbox.expected());
    }
}

#[test]
fn a_filter_that_the_servers_ignore_is_refused() {
    let (sandbox, filter) = (Sandbox::new(), ["--filter", "ClientStatus == \"failed\""]);
    for nomad in [nomad_0_9, nomad_0_6] {
        let agent = Agent::new(nomad);
        let ran = sandbox.nomad(&[], &["export", &agent.address, "-o", "out", filter[0], filter[1]]).exits_with(1);
        ran.stderr_has("the servers ignore --filter, which Nomad knows since 1.3");
    }
    let agent = Agent::new(super::answer);
    sandbox.nomad(&[], &["export", &agent.address, "-o", "out", filter[0], filter[1]]).exits_with(0);
    assert_eq!(sandbox.ledger("out")[0]["is_full_listing"], false);
}

#[test]
fn an_unknown_namespace_is_reported_with_the_existing_ones() {
    let sandbox = Sandbox::new();
    // Nomad lists an unknown namespace as empty.
    let agent = Agent::new(|request| match request.path.as_str() {
        "/v1/allocations" => Reply::recorded("namespace-unknown.txt"),
        "/v1/namespaces" => namespaces(&["prod", "default", "staging"]),
        _ => aside(request),
    });
    for (variables, flag) in [(vec![], vec!["--namespace", "prdo"]), (vec![("NOMAD_NAMESPACE", "prdo")], vec![])] {
        for command in ["report", "fetch"] {
            let out: &[&str] = if command == "fetch" { &["-o", "x.json"] } else { &[] };
            let run = [&[command, &agent.address], out, &flag[..]].concat();
            sandbox
                .nomad(&variables, &run)
                .exits_with(1)
                .stderr_has("there is no namespace \"prdo\"; the known ones are default, prod, staging");
        }
    }
    assert!(sandbox.names().is_empty());
    for going_on in ["--watch", "--stream"] {
        sandbox
            .nomad(&[], &["export", &agent.address, "-o", "x", "--namespace", "prdo", going_on])
            .exits_with(1)
            .stderr_has("prdo");
    }
    sandbox.nomad(&[], &["export", &agent.address, "-o", "x", "--namespace", "staging"]).exits_with(0);
}
