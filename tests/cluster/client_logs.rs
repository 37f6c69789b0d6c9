//! `fetch --logs` against a stand-in for an agent: which logs are saved, and which messages the program prints about
//! the other logs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::agent::{Agent, Reply, Request};
use super::{TOKEN, answer, nodes};
use crate::sandbox::{Finished, Sandbox, sample};
use crate::support::Exported;

const EXPORT: &str = "/v1/agent/monitor/export";

/// The nodes of the sample cluster, by name.
fn ids() -> BTreeMap<String, String> {
    let nodes: Vec<Value> = serde_json::from_str(&nodes()).expect("a list");
    let text = |node: &Value, field: &str| node[field].as_str().expect("a text").to_owned();
    nodes.iter().map(|node| (text(node, "Name"), text(node, "ID"))).collect()
}

/// The log of a node by its ID.
fn log(id: &str) -> String {
    let (name, _) = ids().into_iter().find(|(_, other)| other == id).expect("a node");
    fs::read_to_string(sample(&format!("logs/{name}.log"))).expect("a log")
}

/// The sample cluster with changes of some nodes: the name of the node, the field, and its new value. `export` answers
/// the requests for logs.
fn cluster(fields: &[(&str, &str, &str)], export: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Agent {
    let mut list: Vec<Value> = serde_json::from_str(&nodes()).expect("a list");
    for (name, field, value) in fields {
        list.iter_mut().filter(|node| node["Name"] == *name).for_each(|node| node[*field] = (*value).into());
    }
    let list = serde_json::to_string(&list).expect("a list");
    Agent::new(move |request| match request.path.as_str() {
        EXPORT => export(request),
        "/v1/nodes" => Reply::list(7, list.clone()),
        _ => answer(request),
    })
}

fn whole(request: &Request) -> Reply {
    Reply::list(7, log(request.parameter("node_id"))).gzip()
}

fn fetch(sandbox: &Sandbox, agent: &Agent, flags: &[&str]) -> Finished {
    sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &[&["fetch", &agent.address, "-o", "dumps", "--logs"], flags].concat())
}

/// The saved logs, by node.
fn saved(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let Ok(directories) = fs::read_dir(sandbox.path("dumps/client")) else { return BTreeMap::new() };
    let mut logs = BTreeMap::new();
    for directory in directories {
        let directory = directory.expect("an entry").path();
        for file in fs::read_dir(&directory).expect("a directory") {
            let path = file.expect("an entry").path();
            assert!(path.to_string_lossy().ends_with("Z.log.zst"), "{}", path.display());
            let text = zstd::decode_all(&*fs::read(&path).expect("a file")).expect("zstd");
            let node = directory.file_name().expect("a name").to_string_lossy().into_owned();
            logs.insert(node, String::from_utf8(text).expect("text"));
        }
    }
    logs
}

#[test]
fn logs_are_saved_as_served_and_read_back_with_their_node() {
    let (sandbox, agent) = (Sandbox::new(), cluster(&[], whole));
    let ran = fetch(&sandbox, &agent, &["-v"]).exits_with(0);
    ran.stderr_has("wrote the logs of 3 of 3 clients, ").stderr_has("log of client client1 (");
    let expected: BTreeMap<String, String> = ids().into_values().map(|id| (id.clone(), log(&id))).collect();
    assert_eq!(saved(&sandbox), expected);
    for request in agent.asked(EXPORT) {
        let parameters: Vec<&str> = request.query.keys().map(String::as_str).collect();
        assert_eq!(parameters, ["node_id", "on_disk", "plain"]);
        assert_eq!((request.parameter("on_disk"), request.parameter("plain")), ("true", "true"));
    }
    let run = ["export", "dumps", "-o", "out", "--table", "log_events,recovered_events,snapshots"];
    sandbox.nomad(&[], &run).exits_with(0).stderr_has("84 lines of logs: 84 new");
    let rows = Exported::read(&sandbox.path("out"), "log_events");
    assert!(rows.len() == 84 && rows.iter().all(|row| expected.contains_key(row["node_id"].as_str().unwrap_or(""))));
    // A second fetch saves the same lines again, and `samples/logs` has the same lines, too. Neither changes the rows.
    fetch(&sandbox, &agent, &[]).exits_with(0);
    let recovered = |sources: &[&str], out: &str| {
        sandbox.export(&[sources, &["-o", out, "--table", "recovered_events", "--format", "csv"]].concat());
        String::from_utf8(sandbox.files(out)["recovered_events.csv"].clone()).expect("text")
    };
    let (twice, beside) = (recovered(&["dumps"], "twice"), recovered(&["dumps", &sample("logs")], "beside"));
    assert!(twice.lines().count() > 50 && twice == beside, "{twice}{beside}");
}

#[test]
fn a_client_without_a_log_is_named_with_the_reason() {
    let (sandbox, ids) = (Sandbox::new(), ids());
    let odd = [("client1", "Status", "down"), ("client2", "Version", "1.10.3+ent")];
    let agent = cluster(&odd, whole);
    let ran = fetch(&sandbox, &agent, &[]).exits_with(0);
    let ran = ran.stderr_has(&format!("log of client client1 ({}): the client is down", ids["client1"]));
    ran.stderr_has("the client runs Nomad 1.10.3+ent, and logs can be requested since 1.10.4")
        .stderr_has("wrote the logs of 1 of 3 clients");
    assert_eq!(saved(&sandbox).into_keys().collect::<Vec<_>>(), [ids["client3"].clone()]);
    assert_eq!(agent.asked(EXPORT).len(), 1);
    // The ID of a node comes from the cluster and becomes part of a path. It must not lead out of the directory.
    let sandbox = Sandbox::new();
    let agent = cluster(&[("client1", "ID", "../../../../../../../../../../etc/x.log")], whole);
    fetch(&sandbox, &agent, &[]).exits_with(0).stderr_has("its ID is not a Nomad ID");
    let sandbox = Sandbox::new();
    let agent = cluster(&["client1", "client2", "client3"].map(|name| (name, "Status", "down")), whole);
    fetch(&sandbox, &agent, &[]).exits_with(3).stderr_has("no log was written");
    assert!(!sandbox.path("dumps/client").exists());
}

#[test]
fn a_refusal_names_the_next_step_and_keeps_the_listing() {
    let missing = || Reply::status("500 Internal Server Error", "open /var/log/nomad.log: no such file or directory");
    let cases: [(Reply, &[&str], usize); 7] = [
        (Reply::recorded("path-unknown.txt"), &["has no /v1/agent/monitor/export", "1.10.4"], 1),
        (Reply::status("501 Not Implemented", "Invalid method"), &["has no /v1/agent/monitor/export"], 1),
        (
            Reply::status("403 Forbidden", "Permission denied"),
            &["the token may not read logs; its policy needs agent { policy = \"read\" }"],
            1,
        ),
        (missing(), &["no such file or directory"], 3),
        // Nomad answers this, for example, if log_file names a directory.
        (Reply::list(1, ""), &["must name a file, not a directory"], 3),
        (Reply::list(1, "-- No entries --\n"), &["returns no log"], 3),
        (Reply::status("500 Oops", &format!("{TOKEN} makes no sense")), &["*** makes no sense"], 3),
    ];
    for (reply, words, requests) in cases {
        let sandbox = Sandbox::new();
        let agent = cluster(&[], move |_| reply.clone());
        let mut ran = fetch(&sandbox, &agent, &[]).exits_with(3).stderr_has("no log was written");
        for word in words {
            ran = ran.stderr_has(word);
        }
        assert!(!ran.err.contains(TOKEN), "{}", ran.err);
        assert_eq!(agent.asked(EXPORT).len(), requests, "{}", ran.err);
        assert!(saved(&sandbox).is_empty() && sandbox.files("dumps").len() == 1);
    }
    let agent = Agent::new(|request| match request.path.as_str() {
        "/v1/nodes" => Reply::recorded("acl-nodes-anonymous.txt"),
        _ => answer(request),
    });
    let sandbox = Sandbox::new();
    fetch(&sandbox, &agent, &[]).exits_with(3).stderr_has("its policy needs node { policy = \"read\" }");
}

#[test]
fn the_journal_is_requested_if_there_is_no_log_file() {
    let agent = cluster(&[], |request| match request.parameter("on_disk") {
        "true" => Reply::status("400 Bad Request", "No nomad log file defined"),
        _ => {
            let lines = log(request.parameter("node_id"));
            let lines: Vec<String> =
                lines.lines().map(|line| format!("Nov 23 18:28:08 host nomad[123]: {line}\n")).collect();
            Reply::list(7, lines.concat())
        }
    });
    let sandbox = Sandbox::new();
    fetch(&sandbox, &agent, &[]).exits_with(0).stderr_has("wrote the logs of 3 of 3 clients");
    assert_eq!(agent.asked(EXPORT).iter().filter(|request| request.parameter("service_name") == "nomad").count(), 3);
    sandbox.nomad(&[], &["query", "log_events", "dumps"]).exits_with(0).stderr_has("84 lines of logs: 84 new");
}

#[test]
fn a_log_that_breaks_off_is_requested_again_and_never_saved_in_part() {
    let first = ids()["client1"].clone();
    let of_first = first.clone();
    let times = AtomicUsize::new(0);
    let agent = cluster(&[], move |request| {
        let reply = Reply::list(7, log(request.parameter("node_id")));
        let is_first = request.parameter("node_id") == of_first;
        if is_first && times.fetch_add(1, Ordering::SeqCst) == 0 { reply.cut(2_000) } else { reply }
    });
    let sandbox = Sandbox::new();
    fetch(&sandbox, &agent, &[]).exits_with(0).stderr_has("; retrying");
    assert_eq!(saved(&sandbox)[&first], log(&first));

    let of_first = first.clone();
    let agent = cluster(&[], move |request| {
        let reply = Reply::list(7, log(request.parameter("node_id")));
        if request.parameter("node_id") == of_first { reply.reset(2_000) } else { reply }
    });
    let sandbox = Sandbox::new();
    let ran = fetch(&sandbox, &agent, &[]).exits_with(3).stderr_has("wrote the logs of 2 of 3 clients");
    ran.stderr_has("byte 2000");
    assert!(saved(&sandbox).len() == 2 && !saved(&sandbox).contains_key(&first));
    assert!(!has_leftovers(&sandbox.path("dumps")));
    assert_eq!(agent.asked(EXPORT).iter().filter(|request| request.parameter("node_id") == first).count(), 3);

    // If Nomad cannot read a log to its end, it ends the answer as if the log were whole. The last line is then cut
    // off.
    let agent = cluster(&[], |request| {
        let text = log(request.parameter("node_id"));
        Reply::list(7, &text.as_bytes()[..text.len() - 7])
    });
    let sandbox = Sandbox::new();
    fetch(&sandbox, &agent, &[]).exits_with(0).stderr_has("it ends within a line, and may have been cut off");
    assert_eq!((saved(&sandbox).len(), agent.asked(EXPORT).len()), (3, 9));
}

#[test]
fn several_clients_are_queried_at_a_time_and_reported_in_order() {
    const CLIENTS: usize = 40;
    let mut list: Vec<Value> = serde_json::from_str(&nodes()).expect("a list");
    let node = list.swap_remove(0);
    let text = log(node["ID"].as_str().expect("a text"));
    let id = |number: usize| format!("20d373dc-dee0-55ce-c110-{number:012}");
    let clients: Vec<Value> = (0..CLIENTS)
        .map(|number| {
            let mut node = node.clone();
            (node["ID"], node["Name"]) = (id(number).into(), format!("client{number}").into());
            node
        })
        .collect();
    let list = serde_json::to_string(&clients).expect("a list");
    let (asked, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&asked), Arc::clone(&most));
    let agent = Agent::new(move |request| match request.path.as_str() {
        EXPORT => {
            counts.1.fetch_max(counts.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let number: usize = request.parameter("node_id")[24..].parse().expect("a number");
            // Except for the first client, earlier clients answer later.
            thread::sleep(Duration::from_millis(if number == 0 { 0 } else { 60 - number as u64 }));
            counts.0.fetch_sub(1, Ordering::SeqCst);
            if number % 10 == 3 { Reply::status("500 Oops", "no such file") } else { Reply::list(7, text.clone()) }
        }
        "/v1/nodes" => Reply::list(7, list.clone()),
        _ => answer(request),
    });
    let sandbox = Sandbox::new();
    let ran = fetch(&sandbox, &agent, &["-v"]).exits_with(3).stderr_has("wrote the logs of 36 of 40 clients");
    let said: Vec<usize> =
        ran.err.split("log of client client").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
    assert_eq!(said, (0..CLIENTS).collect::<Vec<_>>(), "{}", ran.err);
    assert_eq!(saved(&sandbox).len(), 36);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} requests at a time");
}

/// Returns true if a directory has hidden files, such as temporary ones, at any depth.
fn has_leftovers(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        is_hidden || (path.is_dir() && has_leftovers(&path))
    })
}

#[test]
fn flags_that_cannot_be_combined_with_logs_are_refused() {
    let (sandbox, agent) = (Sandbox::new(), cluster(&[], whole));
    let run = |flags: &[&str]| sandbox.nomad(&[], &[&["fetch", &agent.address, "--logs"], flags].concat());
    run(&["-o", "x.json.zst"]).exits_with(2).stderr_has("--logs writes several files, so -o must be a directory");
    run(&["-o", "dumps", "--redact"]).exits_with(2).stderr_has("--redact");
    run(&["-o", "dumps", "--every", "1s"]).exits_with(2).stderr_has("--every");
    assert!(sandbox.names().is_empty() && agent.requests().is_empty());
}
