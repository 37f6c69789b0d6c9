//! Listings of a live cluster: pages, cut bodies, faults, permissions and filters.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::agent::{Agent, Reply, Request};
use super::{TOKEN, answer, aside, listed, listing, namespaces};
use crate::sandbox::{Sandbox, allocation, sample};

/// The listing in pages of the requested size. Each page starts with the last allocation of the previous page.
fn paged(request: &Request) -> Reply {
    let all: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&listing()).expect("a list");
    let first: usize = request.parameter("next_token").parse().unwrap_or(0);
    let size: usize = request.parameter("per_page").parse().expect("a size");
    let end = (first + size).min(all.len());
    let body = serde_json::to_string(&all[first..end]).expect("a list");
    let reply = Reply::list(4265, body);
    if end < all.len() { reply.header("X-Nomad-Nexttoken", &(end - 1).to_string()) } else { reply }
}

#[test]
fn pages_form_one_document_and_repeats_across_them_are_merged() {
    let (sandbox, agent) = (Sandbox::new(), listed(paged));
    let events = sandbox.expected();
    sandbox
        .nomad(&[], &["export", &agent.address, "--per-page", "2", "-o", "out"])
        .exits_with(0)
        .stderr_has("2 documents, ");
    assert_eq!(sandbox.events("out"), events);
    assert!(agent.asked("/v1/allocations").len() > 5);
    assert_eq!(sandbox.ledger("out")[0]["is_full_listing"], true);
}

#[test]
fn a_listing_with_an_empty_page_is_not_full() {
    let agent = listed(|request| match request.parameter("next_token") {
        "" => Reply::list(1, format!("[{}]", allocation("a", "default", "j"))).header("X-Nomad-Nexttoken", "garbled"),
        _ => Reply::recorded("page-bad-token.txt"),
    });
    let sandbox = Sandbox::new();
    sandbox
        .nomad(&[], &["export", &agent.address, "-o", "out"])
        .exits_with(3)
        .stderr_has("so the listing may be incomplete");
    assert_eq!(sandbox.ledger("out")[0]["is_full_listing"], false);
    assert_eq!(sandbox.events("out").len(), 1);
}

#[test]
fn a_truncated_body_is_read_up_to_the_last_whole_allocation_and_requested_again() {
    let sandbox = Sandbox::new();
    let events = sandbox.expected();
    let times = AtomicUsize::new(0);
    let agent = listed(move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang_up(),
        1 => Reply::list(9, listing()).cut(50_000),
        _ => Reply::list(9, listing()),
    });
    let ran = sandbox.nomad(&[], &["export", &agent.address, "-o", "out"]).exits_with(0);
    ran.stderr_has("; retrying").stderr_has("0 rejected");
    assert_eq!(sandbox.events("out").len(), events.len());
    let full: Vec<_> = sandbox.ledger("out").iter().map(|row| row["is_full_listing"].clone()).collect();
    assert_eq!(full, [false, true, false]);

    let agent = listed(|_| Reply::list(9, listing()).cut(50_000));
    sandbox
        .nomad(&[], &["export", &agent.address, "-o", "cut"])
        .exits_with(3)
        .stderr_has("everything before it is kept");
    let seen = sandbox.events("cut").len();
    assert!(seen > 0 && seen < events.len());
    assert!(sandbox.ledger("cut").iter().all(|row| row["is_full_listing"] == false));
    assert_eq!(agent.asked("/v1/allocations").len(), 3);
}

#[test]
fn a_repeated_page_token_ends_the_listing() {
    let sandbox = Sandbox::new();
    let agent = listed(|request| {
        let next = if request.parameter("next_token") == "b" { "c" } else { "b" };
        Reply::list(1, format!("[{}]", allocation("a", "default", "j"))).header("X-Nomad-Nexttoken", next)
    });
    let ran = sandbox.nomad(&[], &["export", &agent.address, "-o", "out"]).exits_with(3);
    ran.stderr_has("the token for the next page of the listing is repeated");
    assert!(agent.asked("/v1/allocations").len() < 40);
    assert_eq!(sandbox.events("out").len(), 1);
}

#[test]
fn gzip_and_slow_answers_are_read() {
    let sandbox = Sandbox::new();
    let events = sandbox.expected();
    let agent = listed(|request| {
        assert_eq!(request.header("accept-encoding"), "gzip");
        Reply::list(9, listing()).gzip().slow(Duration::from_millis(150))
    });
    sandbox.nomad(&[], &["export", &agent.address, "-o", "out"]).exits_with(0);
    assert_eq!(sandbox.events("out"), events);
}

#[test]
fn a_transient_fault_is_retried() {
    let sandbox = Sandbox::new();
    for fault in ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"] {
        let times = AtomicUsize::new(0);
        let agent = listed(move |_| match times.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(fault, "No cluster leader"),
            _ => Reply::list(9, listing()),
        });
        let ran = sandbox.nomad(&[], &["query", "snapshots", &agent.address]).exits_with(0);
        ran.stderr_has("; retrying");
        assert_eq!(agent.asked("/v1/allocations").len(), 2, "{fault}");
    }
}

#[test]
fn a_fault_names_the_next_step() {
    let sandbox = Sandbox::new();
    let cases: [(&str, Reply, &[&str]); 9] = [
        ("none", Reply::recorded("acl-list-anonymous-star.txt"), &["Permission denied", "NOMAD_TOKEN", "read-job"]),
        (TOKEN, Reply::status("500 Oops", &format!("{TOKEN} makes no sense")), &["*** makes no sense"]),
        (
            TOKEN,
            Reply::recorded("acl-list-bad-token.txt"),
            &["Permission denied", "the token may not read", "read-job"],
        ),
        ("none", Reply::recorded("acl-taskapi-nopolicy-list-notoken.txt"), &["Unauthorized", "identity"]),
        ("none", Reply::recorded("region-unknown.txt"), &["No path to region", "--region"]),
        ("none", Reply::recorded("filter-syntax-error.txt"), &["failed to read filter expression"]),
        ("none", Reply::recorded("path-unknown.txt"), &["not a Nomad agent"]),
        ("none", Reply::recorded("tls-plain-http-to-https.txt"), &["https://"]),
        ("none", Reply::list(1, "<html>log in</html>"), &["the answer is not Nomad's"]),
    ];
    for (token, reply, words) in cases {
        let agent = listed(move |_| reply.clone());
        let variables: &[(&str, &str)] = if token == "none" { &[] } else { &[("NOMAD_TOKEN", token)] };
        let mut ran = sandbox.nomad(variables, &["export", &agent.address, "-o", "x"]).exits_with(1);
        for word in words {
            ran = ran.stderr_has(word);
        }
        assert!(!ran.err.contains(TOKEN), "{}", ran.err);
        assert_eq!(agent.asked("/v1/nodes").len(), 0, "a failed run sends no further requests");
    }
    let agent = listed(|_| Reply::status("500 Internal Server Error", "No cluster leader"));
    sandbox.nomad(&[], &["report", &agent.address]).exits_with(1).stderr_has("--stale");
    assert_eq!(agent.asked("/v1/allocations").len(), 5);
    sandbox
        .nomad(&[], &["report", "http://127.0.0.1:1"])
        .exits_with(1)
        .stderr_has("connection refused")
        .stderr_has("NOMAD_ADDR");
    sandbox.nomad(&[], &["report", "http://nomad.invalid:4646"]).exits_with(1).stderr_has("not known to DNS");
    sandbox.nomad(&[], &["report", "unix:///nowhere/api.sock"]).exits_with(1).stderr_has("there is no socket");
    sandbox.nomad(&[], &["report", "http://h/v1/allocations"]).exits_with(2).stderr_has("SOURCE: ");
    sandbox.nomad(&[], &["report", &sample("cluster"), "--stale"]).exits_with(2).stderr_has("--stale");
    sandbox.nomad(&[], &["report", "--prefix", "xyz"]).exits_with(2).stderr_has("hexadecimal");
    assert!(sandbox.names().is_empty());
}

#[test]
fn without_permission_to_read_nodes_only_their_classes_are_missing() {
    let agent = Agent::new(|request| match request.path.as_str() {
        "/v1/nodes" => Reply::recorded("acl-nodes-anonymous.txt"),
        _ => answer(request),
    });
    let sandbox = Sandbox::new();
    sandbox.nomad(&[], &["export", &agent.address, "-o", "out"]).exits_with(0).stderr_has("node { policy = \"read\" }");
    assert_eq!(sandbox.ledger("out").len(), 1);
}

#[test]
fn a_token_for_some_namespaces_lists_each_of_them_in_full() {
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/acl/token/self", _) => Reply::list(1, r#"{"AccessorID":"x","Type":"client","Policies":["p"]}"#),
        ("/v1/namespaces", _) => namespaces(&["prod", "default", "jobs-only"]),
        ("/v1/allocations", "prod") => Reply::list(5, format!("[{}]", allocation("a", "prod", "j"))),
        ("/v1/allocations", "default") => Reply::list(6, "[]"),
        ("/v1/allocations", _) => Reply::recorded("acl-list-bad-token.txt"),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    let ran = sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &["export", &agent.address, "-o", "out"]).exits_with(0);
    ran.stderr_has("namespace jobs-only: the token may not read");
    let ledger = sandbox.ledger("out");
    let row = |n: usize| {
        (ledger[n]["namespace"].clone(), ledger[n]["is_full_listing"].clone(), ledger[n]["nomad_index"].clone())
    };
    assert_eq!(row(0), ("default".into(), true.into(), 6.into()));
    assert_eq!(row(1), ("prod".into(), true.into(), 5.into()));
}

#[test]
fn a_prefix_of_odd_length_is_shortened_in_the_request_and_filtered_locally() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let events = sandbox.expected();
    let id = events[0]["alloc_id"].as_str().expect("an ID").to_owned();
    sandbox.nomad(&[], &["export", &agent.address, "--prefix", &id[..11], "-o", "out"]).exits_with(0);
    let digits = id.replace('-', "");
    assert_eq!(agent.asked("/v1/allocations")[0].parameter("prefix"), &digits[..10]);
    let ids: Vec<_> = sandbox.events("out").iter().map(|row| row["alloc_id"].clone()).collect();
    assert!(!ids.is_empty() && ids.iter().all(|other| *other == id.as_str()));
}
