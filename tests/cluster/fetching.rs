//! `alloclog fetch`.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::agent::{Agent, Reply};
use super::{answer, aside, listed, listing, namespaces};
use crate::sandbox::{Sandbox, allocation, sample};

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
        // Without --observed-at, the time of the document is the time of the answer, to the nanosecond.
        sandbox.nomad(&[], &["export", kept, "-o", &format!("{kept}.own"), "-q"]).exits_with(0);
        let row = sandbox.ledger(&format!("{kept}.own")).remove(0);
        assert_eq!((&row["observed_from"], &row["is_full_listing"]), (&"fetched".into(), &true.into()), "{file}");
        assert_eq!((&row["namespace"], &row["nomad_index"]), (&"*".into(), &4265.into()), "{file}");
    }
    assert_eq!(fs::read_to_string(sandbox.path("plain.json")).expect("a file"), listing());
    assert!(sandbox.names().contains(&"plain.json.meta.json".to_owned()));
    // The program ignores a metadata file that `fetch` did not write, and reads the document next to it.
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
    // The program also reads the files together, from one directory.
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
