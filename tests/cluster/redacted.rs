//! `fetch --redact`, and lakes with the files that it wrote.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{USUAL, listed, listing};
use crate::cluster::agent::Reply;
use crate::sandbox::{Sandbox, sample};

/// The rows of an exported table as texts, without what differs between a document and its redacted form.
fn rows(sandbox: &Sandbox, export: &str, table: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(export).join(format!("{table}.ndjson"))).expect("a table");
    let mut rows: Vec<String> = text
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).expect("a row");
            // These columns have hashes or tags of texts that redaction dropped.
            for column in ["text_hash", "details"] {
                if row.get(column).is_some_and(|value| !value.is_null()) {
                    row[column] = "some".into();
                }
            }
            untagged(row.to_string())
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// The row without the tags of redacted texts. The tag of a text depends on whether secrets in the text were masked
/// before the text was redacted.
fn untagged(mut row: String) -> String {
    let tags: Vec<usize> = row.match_indices("[redacted ").map(|(at, word)| at + word.len()).collect();
    tags.into_iter().for_each(|at| row.replace_range(at..at + 8, "--------"));
    row
}

#[test]
fn a_redacted_file_gives_the_redacted_rows_of_the_cluster() {
    let (sandbox, agent) = (Sandbox::new(), listed(|_| Reply::list(4265, listing())));
    let key = ["--redact", "--redact-key", "key"];
    let at = ["--observed-at", "2026-11-23T18:36:42.5Z"];
    let tables = "task_events,allocation_history,task_state_history,sightings,nodes,coverage,starts,restarts,failures,crash_loops,job_runs,reschedules";
    let format = ["--format", "ndjson", "--table", tables];
    let expected = [&["export", agent.address.as_str(), "-o", "live", "-q"], &at[..], &format, &key].concat();
    sandbox.nomad(&[], &expected).exits_with(0);
    for file in ["now.json.zst", "plain.json"] {
        sandbox.nomad(&[], &[&["fetch", &agent.address, "-o", file], &key[..]].concat()).exits_with(0);
        let out = format!("{file}.out");
        sandbox.nomad(&[], &[&["export", file, "-o", &out, "-q"], &at[..], &format].concat()).exits_with(0);
        for table in tables.split(',') {
            let (expected, found) = (rows(&sandbox, "live", table), rows(&sandbox, &out, table));
            assert!(!expected.is_empty() || table == "crash_loops", "{table}");
            assert_eq!(found, expected, "{file}: {table}");
        }
        sandbox.nomad(&[], &["export", file, "-o", &format!("{file}.own"), "-q"]).exits_with(0);
        let row = sandbox.ledger(&format!("{file}.own")).remove(0);
        assert_eq!((&row["observed_from"], &row["is_full_listing"]), (&"fetched".into(), &true.into()), "{file}");
        assert_eq!((&row["namespace"], &row["unknown_fields"]), (&"*".into(), &Value::Null), "{file}");
    }
    // The document has only fields that tables keep, and a field that marks it as redacted.
    let text = fs::read_to_string(sandbox.path("plain.json")).expect("a file");
    let allocations: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let fields: BTreeSet<&String> = allocations.iter().filter_map(Value::as_object).flat_map(|a| a.keys()).collect();
    assert!(fields.iter().any(|name| *name == "AlloclogRedacted"), "{fields:?}");
    let original: Vec<Value> = serde_json::from_str(&listing()).expect("JSON");
    let mut names = BTreeSet::new();
    for allocation in &original {
        for field in ["ID", "JobID", "NodeName", "NodeID", "Name", "EvalID"] {
            names.extend(allocation[field].as_str());
        }
    }
    assert!(names.len() > 30);
    let sidecar = fs::read_to_string(sandbox.path("plain.json.meta.json")).expect("a file");
    assert!(sidecar.contains("redacted_with") && !sidecar.contains(&agent.address), "{sidecar}");
    for name in names {
        assert!(!text.contains(&format!("\"{name}\"")) && !sidecar.contains(&format!("\"{name}\"")), "{name}");
    }
    // If a listing breaks off, the part that was read is kept.
    let agent = listed(|_| Reply::list(9, listing()).cut(50_000));
    let ran = sandbox.nomad(&[], &[&["fetch", &agent.address, "-o", "cut.json.zst"], &key[..]].concat());
    assert_eq!(ran.exits_with(3).err.matches("rejected: ").count(), 1);
    sandbox.nomad(&[], &["export", "cut.json.zst", "-o", "cut"]).exits_with(0);
    assert_eq!(sandbox.ledger("cut")[0]["is_full_listing"], false);
}

#[test]
fn a_lake_takes_either_names_or_pseudonyms_of_one_key() {
    let (sandbox, agent) = (Sandbox::new(), listed(|_| Reply::list(4265, listing())));
    for key in ["one", "two"] {
        let file = format!("{key}.json.zst");
        let fetch = ["fetch", &agent.address, "-o", &file, "--redact", "--redact-key", key];
        sandbox.nomad(&[], &fetch).exits_with(0);
    }
    let named = sample("cluster/20261123T182831Z.json");
    let ingest = |source: &[&str], lake: &str| {
        let flags = ["--lake", lake, "--cache", "cache"];
        sandbox.nomad(&[], &[&["ingest"], source, &flags].concat())
    };
    ingest(&["one.json.zst"], "redacted").exits_with(0);
    ingest(&["one.json.zst"], "redacted").exits_with(0).stderr_has("nothing new");
    let ran = ingest(&[&named], "redacted").exits_with(1);
    ran.stderr_has("lake redacted has pseudonyms of `fetch --redact` (key ")
        .stderr_has("these documents have the names of the cluster");
    ingest(&["two.json.zst"], "redacted").exits_with(1).stderr_has("ingest them into a lake of their own");
    ingest(&[&named], "named").exits_with(0);
    let ran = ingest(&["one.json.zst"], "named").exits_with(1);
    ran.stderr_has("lake named has the names of the cluster").stderr_has("nothing was committed");
    // A lake without this object was written by an older version, and has names.
    fs::remove_file(sandbox.path("named/_alloclog/redaction.json")).expect("an object");
    ingest(&["one.json.zst"], "named").exits_with(1).stderr_has("lake named has the names of the cluster");
    // The first documents with allocations decide which of the two a lake has. An empty listing before them does not.
    sandbox.file("20261123T182000Z.json", "[]");
    ingest(&["20261123T182000Z.json"], "late").exits_with(0);
    ingest(&["one.json.zst"], "late").exits_with(0);
    ingest(&[&named], "late").exits_with(1).stderr_has("lake late has pseudonyms of `fetch --redact`");
    ingest(&[&named, "one.json.zst"], "both").exits_with(1).stderr_has("ingest each into a lake of its own");
    // The listing without its metadata also shows that it is redacted.
    let unpacked = zstd::decode_all(&*fs::read(sandbox.path("one.json.zst")).expect("a file")).expect("zstd");
    sandbox.file("bare.json", unpacked);
    ingest(&["bare.json"], "named").exits_with(1).stderr_has("pseudonyms of `fetch --redact`");
    sandbox.nomad(&[], &[&["export", "redacted", "-o", "out", "-q"], &USUAL[..]].concat()).exits_with(0);
    sandbox.nomad(&[], &["lake", "check", "redacted"]).exits_with(0);
}
