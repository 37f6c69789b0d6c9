//! A live cluster as a source. In most tests, the program sends its requests to a stand-in for a Nomad agent.

mod agent;
mod client_logs;
mod connections;
mod feeding;
mod fetching;
mod following;
mod listings;
mod outages;
mod real;
mod redacted;
mod replay;
mod socks;
mod tokens;
mod versions;
mod watching;

use std::fs;
use std::process::Command;

use agent::{Agent, Over, Reply, Request};

use crate::sandbox::{Finished, Sandbox, sample};
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
