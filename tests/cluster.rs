//! A live cluster as a source: the program against a stand-in for a Nomad agent.

mod agent;
mod client_logs;
mod feeding;
mod following;
mod outages;
mod real;
mod redacted;
mod replay;
mod socks;
mod tokens;
mod versions;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use agent::{Agent, Over, Reply, Request, pem};
use socks::Socks;

use crate::recordings;
use crate::sandbox::{Finished, Sandbox, allocation, sample};
use crate::support::{Exported, Row};

/// The tables that most tests check.
const USUAL: [&str; 2] = ["--table", "task_events,snapshots"];

/// A token that must not appear in any output.
const TOKEN: &str = "3c1f0b52-4d55-4f29-8ad2-6f6f5e8f0f11";

fn listing() -> String {
    fs::read_to_string(sample("cluster/20261123T183642Z.json")).expect("a listing")
}

fn nodes() -> String {
    fs::read_to_string(sample("cluster/nodes.json")).expect("a list of nodes")
}

/// The answers of a cluster without ACLs to requests other than listings.
fn aside(request: &Request) -> Reply {
    match request.path.as_str() {
        "/v1/acl/token/self" => Reply::status("400 Bad Request", "ACL support disabled"),
        "/v1/namespaces" => namespaces(&["default", "prod", "staging"]),
        "/v1/nodes" => Reply::list(7, nodes()),
        _ => Reply::recorded("path-unknown.txt"),
    }
}

/// The list of namespaces as Nomad gives it since 1.3.
fn namespaces(names: &[impl AsRef<str>]) -> Reply {
    let one =
        |name: &str| format!(r#"{{"Name":"{name}","Description":"","Quota":"","Capabilities":null,"Meta":null}}"#);
    let list: Vec<String> = names.iter().map(|name| one(name.as_ref())).collect();
    Reply::list(1, format!("[{}]", list.join(",")))
}

/// A cluster without ACLs that serves one listing.
fn answer(request: &Request) -> Reply {
    match (request.path.as_str(), request.parameter("filter")) {
        ("/v1/allocations", "(") => Reply::recorded("filter-syntax-error.txt"),
        ("/v1/allocations", _) => Reply::list(4265, listing()),
        _ => aside(request),
    }
}

/// A cluster that answers listings with `list`.
fn listed(list: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Agent {
    Agent::new(move |request| if request.path == "/v1/allocations" { list(request) } else { aside(request) })
}

impl Sandbox {
    /// Runs the program with no other Nomad variables than these.
    fn nomad(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
        Finished::from_output(self.nomad_command(variables, arguments).output().expect("the program starts"))
    }

    fn nomad_command(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
        // The statistics are slow, and covered by other tests.
        let usual: &[&str] = if arguments[0] == "export" && !arguments.contains(&"--table") { &USUAL } else { &[] };
        let mut command = self.command(&[arguments, usual].concat());
        let names = std::env::vars().map(|(name, _)| name);
        for name in names.filter(|name| name.starts_with("NOMAD_") || name.to_ascii_uppercase().ends_with("_PROXY")) {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        command
    }

    /// The rows of an export of the listing as a file, without the ledger.
    fn expected(&self) -> Vec<Row> {
        self.file("expected.json", listing());
        self.nomad(&[], &["export", "expected.json", "-o", "expected", "--force", "-q"]).exits_with(0);
        Exported::read(&self.path("expected"), "task_events")
    }

    fn events(&self, name: &str) -> Vec<Row> {
        Exported::read(&self.path(name), "task_events")
    }

    fn ledger(&self, name: &str) -> Vec<Row> {
        Exported::read(&self.path(name), "snapshots")
    }
}

#[test]
fn a_live_cluster_gives_the_rows_of_its_listing() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let at = ["--observed-at", "2026-11-23T18:36:42Z", "--format", "csv"];
    sandbox.file("a.json", listing()).file("nodes.json", nodes());
    let tables = ["--table", "task_events,allocation_history,task_state_history,sightings,nodes,starts,coverage"];
    sandbox
        .export(&[&["a.json", "nodes.json", "--full-listing", "-o", "files"], &at[..], &tables].concat())
        .exits_with(0);
    let ran = sandbox.nomad(&[], &[&["export", &agent.address, "-o", "live"], &at[..], &tables].concat());
    ran.exits_with(0).stderr_has(&format!("asking {}, namespace *", agent.address)).stderr_has("2 documents, ");
    let (mut files, mut live) = (sandbox.files("files"), sandbox.files("live"));
    files.remove("_export.json");
    live.remove("_export.json");
    assert_eq!(files.len(), 7);
    assert!(files == live);
    let asked = agent.asked("/v1/allocations").remove(0);
    let parameters = [("namespace", "*"), ("resources", "true"), ("task_states", "true"), ("per_page", "5000")];
    assert_eq!(asked.query, parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn the_ledger_records_the_request_and_whether_the_listing_is_full() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let with_password = agent.address.replace("http://", "http://ann:hunter2@");
    for (out, arguments, namespace, full) in [
        ("all", vec![], "*", true),
        ("one", vec!["--namespace", "prod"], "prod", true),
        ("part", vec!["--filter", "ClientStatus == \"failed\""], "*", false),
        ("ids", vec!["--prefix", "2"], "*", false),
    ] {
        let run = [&["export", &with_password, "-o", out, "--table", "snapshots"], &arguments[..]].concat();
        let ran = sandbox.nomad(&[], &run).exits_with(0);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        let row = sandbox.ledger(out).remove(0);
        assert_eq!((&row["namespace"], &row["is_full_listing"]), (&namespace.into(), &full.into()), "{out}");
        assert_eq!((&row["nomad_index"], &row["observed_from"]), (&4265.into(), &"fetched".into()));
        assert_eq!(row["source"].as_str(), Some(agent.address.as_str()));
    }
    let filters = agent.asked("/v1/allocations");
    assert_eq!(filters.iter().filter(|request| request.parameter("filter") == "ClientStatus == \"failed\"").count(), 1);
    assert!(agent.requests().iter().all(|request| request.header("authorization") == "Basic YW5uOmh1bnRlcjI="));
}

#[test]
fn without_a_source_the_cluster_of_the_environment_is_read() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let socket = sandbox.path("api.sock");
    let task = Agent::over(&Over::Socket(&socket), answer);
    let v6 = Agent::over(&Over::Ipv6, answer);
    let events = sandbox.expected();
    type Way<'w> = (&'w str, Vec<(&'w str, &'w str)>, Vec<&'w str>);
    let ways: [Way<'_>; 5] = [
        ("addr", vec![("NOMAD_ADDR", &agent.address), ("NOMAD_UNIX_ADDR", "unix:///nowhere")], vec![]),
        ("unix", vec![("NOMAD_UNIX_ADDR", &task.address)], vec![]),
        ("unixaddr", vec![("NOMAD_ADDR", &task.address)], vec![]),
        ("flag", vec![("NOMAD_ADDR", "http://127.0.0.1:1")], vec!["--address", &agent.address]),
        ("v6", vec![], vec![&v6.address]),
    ];
    for (out, variables, arguments) in ways {
        sandbox.nomad(&variables, &[&["export", "-o", out], &arguments[..]].concat()).exits_with(0);
        assert_eq!(sandbox.events(out), events, "{out}");
    }
    let namespaced = [("NOMAD_ADDR", agent.address.as_str()), ("NOMAD_NAMESPACE", "prod"), ("NOMAD_REGION", "eu")];
    sandbox.nomad(&namespaced, &["report", "-v"]).exits_with(0).stderr_has("namespace prod");
    let asked = agent.asked("/v1/allocations").pop().expect("a request");
    assert_eq!((asked.parameter("namespace"), asked.parameter("region")), ("prod", "eu"));
    sandbox.nomad(&[], &["query", "coverage_summary", &agent.address]).exits_with(0);
}

/// The listing in pages of two, each starting with the last allocation of the previous one.
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
fn credentials_are_sent_to_their_agent_only_and_never_printed() {
    let (sandbox, other) = (Sandbox::new(), Agent::new(answer));
    let elsewhere = other.address.clone();
    let agent = Agent::new(answer);
    sandbox.file("token", format!("{TOKEN}\n"));
    let auth = ("NOMAD_HTTP_AUTH", "ann:hunter2:x");
    let url = agent.address.replace("http://", "http://bob:hunter3@");
    for (out, variables, arguments) in [
        ("env", vec![auth, ("NOMAD_TOKEN", TOKEN)], vec!["-v", &agent.address]),
        ("file", vec![auth, ("NOMAD_TOKEN", "not-this")], vec!["-v", "--token-file", "token", url.as_str()]),
    ] {
        let ran = sandbox
            .nomad(&variables, &[&["export", "-o", out, "--format", "csv"], &arguments[..]].concat())
            .exits_with(0);
        let mut written: Vec<u8> = sandbox.files(out).into_values().flatten().collect();
        written.extend(ran.out.bytes().chain(ran.err.bytes()));
        let written = String::from_utf8_lossy(&written);
        for secret in [TOKEN, "hunter2", "hunter3", "YW5uOmh1bnRlcjI6eA=="] {
            assert!(!written.contains(secret), "{secret}");
        }
    }
    for request in agent.requests() {
        assert_eq!(
            (request.header("x-nomad-token"), request.header("authorization")),
            (TOKEN, "Basic YW5uOmh1bnRlcjI6eA==")
        );
        assert!(!request.target.contains(TOKEN));
    }
    let there = Agent::new(move |request| {
        Reply::status("307 Temporary Redirect", "").header("Location", &format!("{elsewhere}{}", request.target))
    });
    let ran = sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &["report", &there.address]).exits_with(1);
    ran.stderr_has("redirects to").stderr_has(&other.address);
    assert!(other.requests().is_empty());
}

#[test]
fn a_redirect_within_the_agent_is_followed() {
    let agent = Agent::new(|request| match request.path.strip_prefix("/gate") {
        Some(rest) => {
            Reply::status("307 Temporary Redirect", "").header("Location", &request.target.replace(&request.path, rest))
        }
        None => answer(request),
    });
    Sandbox::new()
        .nomad(&[("NOMAD_TOKEN", TOKEN)], &["query", "snapshots", &format!("{}/gate", agent.address)])
        .exits_with(0);
    assert!(agent.asked("/v1/allocations").iter().all(|request| request.header("x-nomad-token") == TOKEN));
}

#[test]
fn a_proxy_is_used_for_other_hosts_only() {
    let (sandbox, proxy, agent) = (Sandbox::new(), Agent::new(answer), Agent::new(answer));
    let variables = [("HTTP_PROXY", proxy.address.as_str())];
    sandbox.nomad(&variables, &["query", "snapshots", &agent.address]).exits_with(0);
    assert!(proxy.requests().is_empty());
    sandbox.nomad(&variables, &["query", "snapshots", "http://nomad.invalid:4646"]).exits_with(0);
    assert!(proxy.requests().iter().all(|request| request.target.starts_with("http://nomad.invalid:4646/v1/")));
    sandbox
        .nomad(&[variables[0], ("NO_PROXY", "nomad.invalid")], &["report", "http://nomad.invalid:4646"])
        .exits_with(1);
}

#[test]
fn a_socks_proxy_resolves_names() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let socks = Socks::to(Some(agent.address.replace("http://", "")));
    let closed = Socks::to(None);
    let snapshots = ["query", "snapshots", "http://nomad.invalid:4646"];
    sandbox.nomad(&[("HTTP_PROXY", &socks.address)], &snapshots).exits_with(0);
    assert!(!agent.asked("/v1/allocations").is_empty());
    assert!(socks.asked().iter().all(|asked| asked == "nomad.invalid:4646"));
    sandbox
        .nomad(&[("HTTP_PROXY", &closed.address)], &snapshots)
        .exits_with(1)
        .stderr_has("the proxy for http://nomad.invalid:4646");
    assert!(!closed.asked().is_empty());
}

#[test]
fn tls_trusts_the_given_authorities_and_explains_failures() {
    let sandbox = Sandbox::new();
    let (agent, strict) = (Agent::over(&Over::Tls(false), answer), Agent::over(&Over::Tls(true), answer));
    let file = |name: &str| pem(name).to_string_lossy().into_owned();
    let (ca, client, key) = (file("ca.pem"), file("client.pem"), file("client.key.pem"));
    fs::create_dir(sandbox.path("authorities")).expect("a directory");
    fs::copy(&ca, sandbox.path("authorities/ca.pem")).expect("a file");
    let localhost = agent.address.replace("127.0.0.1", "localhost");
    let strict = strict.address.replace("127.0.0.1", "localhost");
    // A connection to localhost may try its other addresses first; the agent listens on one.
    sandbox.nomad(&[], &["report", &localhost]).exits_with(1).stderr_has("not known here").stderr_has("NOMAD_CACERT");
    sandbox.nomad(&[], &["query", "snapshots", &localhost, "--ca-cert", &ca]).exits_with(0);
    sandbox.nomad(&[("NOMAD_CACERT", &ca)], &["query", "snapshots", &localhost]).exits_with(0);
    sandbox.nomad(&[("NOMAD_CAPATH", "authorities")], &["query", "snapshots", &localhost]).exits_with(0);
    sandbox.nomad(&[("NOMAD_SKIP_VERIFY", "true")], &["query", "snapshots", &agent.address]).exits_with(0);
    sandbox.nomad(&[("NOMAD_SKIP_VERIFY", "no")], &["report", &agent.address]).exits_with(1);
    let ran = sandbox.nomad(&[], &["report", &agent.address, "--ca-cert", &ca]).exits_with(1);
    ran.stderr_has("for another name").stderr_has("--tls-server-name");
    let named = ["query", "snapshots", &agent.address, "--ca-cert", &ca, "--tls-server-name", "server.global.nomad"];
    sandbox.nomad(&[], &named).exits_with(0);
    let host = agent.requests().pop().expect("a request").header("host").to_owned();
    assert!(agent.address.ends_with(&host), "{host}");

    sandbox
        .nomad(&[("NOMAD_CACERT", &ca)], &["report", &strict])
        .exits_with(1)
        .stderr_has("client certificate")
        .stderr_has("--client-cert");
    let both = [("NOMAD_CACERT", ca.as_str()), ("NOMAD_CLIENT_CERT", &client), ("NOMAD_CLIENT_KEY", &key)];
    sandbox.nomad(&both, &["query", "snapshots", &strict]).exits_with(0);
    sandbox.nomad(&both[..2], &["report", &strict]).exits_with(1).stderr_has("--client-key");
    sandbox
        .nomad(&[("NOMAD_CACERT", "gone.pem")], &["report", &strict])
        .exits_with(1)
        .stderr_has("cannot read gone.pem");
    sandbox.nomad(&[("NOMAD_CACERT", &key)], &["report", &strict]).exits_with(1).stderr_has("client.key.pem");
    sandbox.nomad(&[], &["report", &agent.address.replace("https", "http")]).exits_with(1);
    let plain = Agent::new(answer).address.replace("http", "https");
    sandbox.nomad(&[], &["report", &plain]).exits_with(1).stderr_has("may not speak TLS");
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

#[test]
fn a_fetched_file_gives_the_rows_of_the_cluster() {
    let (sandbox, agent) = (
        Sandbox::new(),
        listed(|request| Reply::list(4265, listing()).slow(Duration::from_millis(request.path.len() as u64))),
    );
    let tables = [
        "--format",
        "csv",
        "--table",
        "task_events,allocation_history,task_state_history,sightings,nodes,coverage,starts",
    ];
    let export = |arguments: &[&str], out: &str| {
        sandbox.nomad(&[], &[&["export", "-o", out, "-q"], arguments, &tables].concat()).exits_with(0);
        let mut files = sandbox.files(out);
        files.remove("_export.json");
        files
    };
    let at = ["--observed-at", "2026-11-23T18:36:42.5Z"];
    let live = export(&[&[agent.address.as_str()], &at[..]].concat(), "live");
    for (file, kept) in [("now.json.zst", "now.json.zst"), ("plain.json", "plain.json"), ("dumps/", "dumps")] {
        let ran = sandbox.nomad(&[], &["fetch", &agent.address, "-o", file]).exits_with(0);
        ran.stderr_has("namespace *").stderr_has("wrote ");
        assert!(export(&[&[kept], &at[..]].concat(), &format!("{kept}.out")) == live, "{file}");
        // Without --observed-at, the time is that of the answer, to the nanosecond.
        sandbox.nomad(&[], &["export", kept, "-o", &format!("{kept}.own"), "-q"]).exits_with(0);
        let row = sandbox.ledger(&format!("{kept}.own")).remove(0);
        assert_eq!((&row["observed_from"], &row["is_full_listing"]), (&"fetched".into(), &true.into()), "{file}");
        assert_eq!((&row["namespace"], &row["nomad_index"]), (&"*".into(), &4265.into()), "{file}");
    }
    assert_eq!(fs::read_to_string(sandbox.path("plain.json")).expect("a file"), listing());
    assert!(sandbox.names().contains(&"plain.json.meta.json".to_owned()));
    // A metadata file that is not ours does not prevent reading the file next to it.
    sandbox.file("a.json", listing()).file("a.json.meta.json", "{}");
    sandbox
        .nomad(&[], &["export", "a.json", "-o", "a"])
        .exits_with(0)
        .stderr_has("a.json.meta.json is ignored, because it cannot be read");
    let unpacked = zstd::decode_all(&*fs::read(sandbox.path("now.json.zst")).expect("a file")).expect("zstd");
    assert_eq!(String::from_utf8(unpacked).expect("text"), listing());
    let name = sandbox.files("dumps").into_keys().next().expect("a file");
    let row = sandbox.ledger("dumps.own").remove(0);
    let at = alloclog::time::in_file_name(&name);
    assert_eq!(row["observed_at_ns"].as_i64(), at, "{name}");
    // Next to others in a directory, and inside an archive.
    fs::create_dir(sandbox.path("all")).expect("a directory");
    for file in ["now.json.zst", "plain.json", "plain.json.meta.json"] {
        fs::rename(sandbox.path(file), sandbox.path("all").join(file)).expect("a file that moves");
    }
    let ran = sandbox.nomad(&[], &["export", "all", "-o", "all.out"]).exits_with(0);
    ran.stderr_has("4 documents, ");
}

#[test]
fn a_failed_fetch_writes_nothing_and_a_truncated_one_says_so() {
    let sandbox = Sandbox::new();
    let agent = listed(|_| Reply::recorded("acl-list-anonymous-star.txt"));
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "x.json.zst"]).exits_with(1).stderr_has("read-job");
    assert!(sandbox.names().is_empty());
    sandbox
        .nomad(&[], &["fetch", &agent.address, "-o", "x.zst", "--every", "1s"])
        .exits_with(2)
        .stderr_has("directory");
    assert!(sandbox.names().is_empty());
    let times = AtomicUsize::new(0);
    let agent = listed(move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::list(9, listing()).cut(50_000),
        _ => Reply::list(9, listing()),
    });
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "x.json.zst"]).exits_with(0).stderr_has("retrying");
    let unpacked = zstd::decode_all(&*fs::read(sandbox.path("x.json.zst")).expect("a file")).expect("zstd");
    assert_eq!(String::from_utf8(unpacked).expect("text"), listing());
    let agent = listed(|_| Reply::list(9, listing()).cut(50_000));
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "cut.json.zst"]).exits_with(3);
    sandbox.nomad(&[], &["export", "cut.json.zst", "-o", "cut"]).exits_with(3);
    assert_eq!(sandbox.ledger("cut")[0]["is_full_listing"], false);
    let bytes = fs::read(sandbox.path("x.json.zst")).expect("a file");
    sandbox.file("half.zst", &bytes[..bytes.len() / 2]);
    sandbox.nomad(&[], &["export", "half.zst", "-o", "half"]).exits_with(1).stderr_has("rejected: half.zst: ");
}

#[test]
fn a_token_for_some_namespaces_fetches_each_of_them() {
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/acl/token/self", _) => Reply::list(1, r#"{"Type":"client"}"#),
        ("/v1/namespaces", _) => namespaces(&["prod", "default"]),
        ("/v1/allocations", name) => Reply::list(5, format!("[{}]", allocation(name, name, "j"))),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "x.json.zst"]).exits_with(0);
    sandbox.nomad(&[], &["export", "x.json.zst", "-o", "out"]).exits_with(0).stderr_has("3 documents, 2 allocations");
    let names: Vec<_> = sandbox.ledger("out").iter().map(|row| row["namespace"].clone()).collect();
    assert_eq!(names[..2], ["default", "prod"]);
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "x.json"]).exits_with(1).stderr_has("--namespace");
}

#[test]
fn fetching_repeats_until_the_given_time() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    // The directory is created, with or without a trailing slash in its name.
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "other/", "--every", "300ms", "--for", "300ms"]).exits_with(0);
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "dumps", "--every", "300ms", "--for", "1s"]).exits_with(0);
    assert!(!sandbox.files("other").is_empty());
    let files = sandbox.files("dumps");
    assert!((3..=4).contains(&files.len()), "{:?}", files.keys());
    sandbox.nomad(&[], &["export", "dumps", "-o", "out"]).exits_with(0);
    assert_eq!(sandbox.events("out").len(), sandbox.expected().len());
}

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
fn single_allocations_are_saved_in_full_without_their_secrets() {
    let full = fs::read_to_string(sample("allocation.json")).expect("an allocation");
    let value: serde_json::Value = serde_json::from_str(&full).expect("an allocation");
    let id = value["ID"].as_str().expect("an ID").to_owned();
    let with_secret = full.replacen('{', r#"{"SignedIdentities":{"t":"a-token"},"#, 1);
    let path = format!("/v1/allocation/{id}");
    let agent = Agent::new(move |request| {
        if request.path == path {
            Reply::list(1, with_secret.clone())
        } else {
            Reply::status("404 Not Found", "alloc not found")
        }
    });
    let sandbox = Sandbox::new();
    sandbox.nomad(&[], &["fetch", &agent.address, "-o", "x.json", "--allocations", &id]).exits_with(0);
    let kept = fs::read_to_string(sandbox.path("x.json")).expect("a file");
    assert!(!kept.contains("a-token") && !kept.contains("\"Env\"") && !kept.contains("\"Config\""), "{kept}");
    sandbox
        .nomad(&[], &["fetch", &agent.address, "-o", "all.json", "--allocations", &id, "--everything"])
        .exits_with(0);
    assert!(fs::read_to_string(sandbox.path("all.json")).expect("a file").contains("a-token"));
    let other = format!("{id},00000000-0000-0000-0000-000000000000");
    sandbox
        .nomad(&[], &["fetch", &agent.address, "-o", "two.zst", "--allocations", &other])
        .exits_with(3)
        .stderr_has("alloc not found");
    let events = |file: &str, out: &str| {
        sandbox.nomad(&[], &["export", file, "-o", out, "-q"]).exits_with(0);
        sandbox.events(out)
    };
    let expected = events(&sample("allocation.json"), "expected");
    assert_eq!(events("x.json", "a"), expected);
    assert_eq!(events("two.zst", "b"), expected);
}
