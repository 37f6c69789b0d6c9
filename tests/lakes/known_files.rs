//! When an ingest reads a file again, and when it skips the file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::{Finished, Sandbox, allocation, sample};

const AS_BEFORE: &str = "as ingested before";

/// A directory with two listings.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for time in ["182831", "183352"] {
        let name = format!("20261123T{time}Z.json");
        sandbox.file(&format!("dumps/{name}"), fs::read(sample(&format!("cluster/{name}"))).unwrap());
    }
    sandbox
}

fn ingest(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    sandbox.run(&[&["ingest", "--lake", "lake", "--cache", "cache"], arguments].concat())
}

/// A data file below the directory of a table.
fn data_file(directory: &Path) -> Option<PathBuf> {
    let mut paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.find_map(|path| match path.is_dir() {
        true => data_file(&path),
        false => path.extension().is_some_and(|kind| kind == "parquet").then_some(path),
    })
}

#[test]
fn a_file_that_was_ingested_is_not_read_again() {
    let sandbox = sandbox();
    let first = ingest(&sandbox, &["dumps"]).exits_with(0).stderr_has("2 documents");
    assert!(!first.err.contains(AS_BEFORE), "{}", first.err);
    ingest(&sandbox, &["dumps"])
        .exits_with(0)
        .stderr_has("nothing new: 0 documents, 2 files as ingested before, 0 alloc");
    let new = sample("cluster/20261123T183131Z.json");
    sandbox.file("dumps/20261123T183131Z.json", fs::read(new).unwrap());
    ingest(&sandbox, &["dumps"]).exits_with(0).stderr_has("batch 2: 1 document, 2 files as ingested before");
    ingest(&sandbox, &["dumps", "--metrics", "metrics"]).exits_with(0).stderr_has("3 files as ingested before");
    let metrics = fs::read_to_string(sandbox.path("metrics")).unwrap();
    assert!(metrics.contains("alloclog_ingest_last_known_files{lake=\"lake\"} 3\n"), "{metrics}");
}

#[test]
fn a_file_is_read_again_if_anything_about_it_changed() {
    let path = "dumps/20261123T182831Z.json";
    let sandbox = sandbox();
    ingest(&sandbox, &[path]).exits_with(0);
    let is_read = |arguments: &[&str]| {
        let again = ingest(&sandbox, arguments).exits_with(0).stderr_has("1 document,");
        assert!(!again.err.contains(AS_BEFORE), "{}", again.err);
    };
    is_read(&["./dumps/20261123T182831Z.json"]);
    is_read(&[path, "--observed-at", "2026-11-23T18:28:32Z"]);
    is_read(&[path, "--full-listing"]);
    is_read(&[path, "--namespace", "default"]);
    ingest(&sandbox, &[path]).exits_with(0).stderr_has(AS_BEFORE);
    let about = r#"{"alloclog":"0","address":"","region":"","observed_at":"2026-11-23T18:28:33Z","namespace":null,"full_listing":"*","nomad_index":7,"nodes":null}"#;
    sandbox.file(&format!("{path}.meta.json"), about);
    is_read(&[path]);
    ingest(&sandbox, &[path]).exits_with(0).stderr_has(AS_BEFORE);
    let longer = [fs::read(sandbox.path(path)).unwrap(), b"\n".into()].concat();
    sandbox.file(path, longer);
    is_read(&[path]);
    // Another region for the same cluster is still refused.
    ingest(&sandbox, &[path, "--region", "eu"]).exits_with(1).stderr_has("under region");
}

#[test]
fn damage_is_reported_each_time() {
    let sandbox = sandbox();
    let one = allocation("11111111-1111-4111-8111-111111111111", "default", "api");
    sandbox.file("dumps/damaged.json", format!("[{one},{{\"ID\":"));
    for documents in ["3 documents,", "1 document, 2 files as ingested before,"] {
        let ended = ingest(&sandbox, &["dumps"]).exits_with(3).stderr_has(documents);
        assert!(ended.err.contains("damaged.json: byte"), "{}", ended.err);
    }
}

#[test]
fn rows_that_a_repair_dropped_come_back_from_the_same_files() {
    let sandbox = sandbox();
    ingest(&sandbox, &["dumps"]).exits_with(0);
    let count =
        || sandbox.run(&["query", "SELECT COUNT(*) AS n FROM task_events", "lake", "--since", "2000-01-01", "-q"]).out;
    let before = count();
    fs::remove_file(data_file(&sandbox.path("lake/task_events")).unwrap()).unwrap();
    sandbox.run(&["lake", "check", "lake", "--repair", "--drop-damaged"]);
    assert_ne!(count(), before);
    let again = ingest(&sandbox, &["dumps"]).exits_with(0).stderr_has("2 documents,");
    assert!(!again.err.contains(AS_BEFORE), "{}", again.err);
    assert_eq!(count(), before);
}
