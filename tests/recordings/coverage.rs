//! Compares the program's coverage with the event stream, which shows what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::documents::{self, Found};
use super::expected::EventKey;
use super::snapshots::{Truth, Version, snapshots, truth};
use super::{recording, sample};
use crate::support::Row;

/// A task of an allocation.
type Task = (String, String);

/// Runs `alloclog export` and returns the rows of a table.
fn export(table: &str, sources: &[&Path], options: &[&str]) -> Vec<Row> {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("out");
    let ran = Command::new(env!("CARGO_BIN_EXE_alloclog"))
        .arg("export")
        .args(sources)
        .args(["--format", "ndjson", "--table", table, "-o"])
        .arg(&out)
        .args(options)
        .env_remove("NOMAD_REGION")
        .output()
        .expect("the program starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = fs::read_to_string(out.join(format!("{table}.ndjson"))).expect("a table");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// What sources show about one task.
#[derive(Default)]
struct Shown {
    /// The events of the task.
    events: BTreeSet<EventKey>,
    /// The ModifyIndex of the task's last version, and the counter in it.
    last: (i64, i64),
}

fn shown(sources: &[&Path]) -> BTreeMap<Task, Shown> {
    let mut tasks: BTreeMap<Task, Shown> = BTreeMap::new();
    for version in sources.iter().flat_map(|source| versions(source)) {
        for (task, restarts, keys) in version.tasks() {
            let shown = tasks.entry((version.id.clone(), task.clone())).or_default();
            shown.events.extend(keys);
            shown.last = shown.last.max((version.modify_index, restarts));
        }
    }
    tasks
}

/// The allocations of a source. The event stream of a bundle is excluded, because its times are rounded.
fn versions(source: &Path) -> Vec<Version> {
    let mut versions = Vec::new();
    for document in documents::of(source).iter().filter(|document| document.file_name() != "eventstream.json") {
        // Most documents are lists, which are fast to parse.
        if let Ok(list) = serde_json::from_slice::<Vec<Version>>(&document.bytes) {
            versions.extend(list);
            continue;
        }
        documents::walk(&document.bytes, &mut |found| {
            if let Found::Allocation(a) | Found::Streamed(a) = found {
                versions.push(serde_json::from_value(a).expect("an allocation"));
            }
        });
    }
    versions
}

/// The totals of the program's coverage.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    tasks: usize,
    complete: usize,
    /// Tasks with no missing event up to their last version.
    whole: usize,
    restarts: i64,
    lost_restarts: i64,
}

/// Checks the coverage of each task of these sources.
fn check(recording: &Path, chosen: &[PathBuf]) -> Counts {
    let truth = truth(recording);
    let chosen: Vec<&Path> = chosen.iter().map(PathBuf::as_path).collect();
    let shown = shown(&chosen);
    let mut counts = Counts { tasks: 0, complete: 0, whole: 0, restarts: 0, lost_restarts: 0 };
    for row in export("coverage", &chosen, &[]) {
        let text = |name: &str| row[name].as_str().expect("text").to_owned();
        let is = |name: &str| row[name].as_bool().expect("true or false");
        let task = (text("alloc_id"), text("task"));
        let Some(shown) = shown.get(&task) else {
            // The task is known only from its resources, because the client had not reported yet.
            assert!(row["events"] == 0 && row["restarts"].is_null() && !is("complete"), "{row:?}");
            continue;
        };
        let (modify_index, counter) = shown.last;
        let restarting = shown.events.iter().filter(|key| key.3 == "Restarting").count() as i64;
        // The logs of a bundle add events and find restarts; tests/agent_logs compares them with the stream.
        let logged = row["log_events"].as_i64().expect("a number");
        assert_eq!(row["events"].as_i64(), Some(shown.events.len() as i64 + logged), "{row:?}");
        let lost = row["lost_restarts"].as_i64().expect("a number");
        assert_eq!(row["restarts"].as_i64(), Some(counter));
        assert!(lost == counter - restarting || (logged > 0 && (0..counter - restarting).contains(&lost)), "{row:?}");
        let order = lived(truth, &task, modify_index);
        let is_shown: Vec<bool> = order.iter().map(|key| shown.events.contains(key)).collect();
        let whole = is_shown.iter().all(|shown| *shown);
        assert!(whole || !is("complete"), "{row:?}");
        let begins = is_shown.first().copied().unwrap_or(false);
        assert!(is("begins") == begins || (logged > 0 && !begins), "{row:?}");
        let first = is_shown.iter().position(|shown| *shown).unwrap_or(0);
        let last = is_shown.iter().rposition(|shown| *shown).map_or(0, |last| last + 1);
        let is_torn = is_shown[first..last.max(first)].iter().any(|shown| !shown);
        assert!(!is_torn || row["gaps"].as_i64() > Some(0) || logged > 0, "{row:?}");
        assert!(!is("tail_lost"));
        counts.tasks += 1;
        counts.complete += usize::from(is("complete"));
        counts.whole += usize::from(whole && !shown.events.is_empty());
        counts.restarts += counter;
        counts.lost_restarts += counter - restarting;
    }
    assert_eq!(counts.tasks, shown.len());
    counts
}

/// The events of a task up to a version of its allocation.
fn lived<'t>(truth: &'t Truth, task: &Task, modify_index: i64) -> &'t [EventKey] {
    let count = truth.versions[&(task.0.clone(), task.1.clone(), modify_index)];
    &truth.order[task][..count]
}

#[test]
fn coverage_of_all_snapshots() {
    let Some(recording) = recording() else { return };
    let counts = check(&recording, &snapshots(&recording));
    assert_eq!(counts, Counts { tasks: 670, complete: 648, whole: 649, restarts: 2685, lost_restarts: 413 });
}

#[test]
fn coverage_of_every_third_snapshot() {
    let Some(recording) = recording() else { return };
    let counts = check(&recording, &snapshots(&recording).into_iter().step_by(3).collect::<Vec<_>>());
    assert_eq!(counts, Counts { tasks: 670, complete: 599, whole: 599, restarts: 2652, lost_restarts: 1151 });
}

#[test]
fn coverage_of_every_sixth_snapshot() {
    let Some(recording) = recording() else { return };
    let counts = check(&recording, &snapshots(&recording).into_iter().step_by(6).collect::<Vec<_>>());
    assert_eq!(counts, Counts { tasks: 670, complete: 590, whole: 590, restarts: 2652, lost_restarts: 1614 });
}

#[test]
fn coverage_of_the_last_snapshot() {
    let Some(recording) = recording() else { return };
    let counts = check(&recording, &snapshots(&recording).into_iter().next_back().into_iter().collect::<Vec<_>>());
    assert_eq!(counts, Counts { tasks: 177, complete: 137, whole: 137, restarts: 1860, lost_restarts: 1727 });
}

#[test]
fn coverage_of_sources_of_every_kind_together() {
    let Some(recording) = recording() else { return };
    let mut sources: Vec<PathBuf> = snapshots(&recording).into_iter().step_by(12).collect();
    sources.extend(["debug.tar.gz", "read.tar.zst", "snapshot-state.json.zst"].map(|name| recording.join(name)));
    let counts = check(&recording, &sources);
    assert_eq!(counts, Counts { tasks: 670, complete: 579, whole: 579, restarts: 2652, lost_restarts: 1670 });
}

#[test]
fn the_stream_is_complete_for_every_task() {
    let Some(recording) = recording() else { return };
    let rows = export("coverage", &[&recording.join("stream.ndjson.zst")], &[]);
    let complete = rows.iter().filter(|row| row["complete"] == true);
    assert!(complete.clone().all(|row| row["begins"] == true && row["gaps"] == 0 && row["lost_restarts"] == 0));
    assert_eq!((rows.len(), complete.count()), (670, 670));
}

#[test]
fn allocations_that_vanished_while_live_lack_their_last_events() {
    let Some(recording) = recording() else { return };
    // Two full listings. The second one is dated an hour after its real time, so it is in a later hour than the first.
    let all = snapshots(&recording);
    let directory = tempfile::tempdir().expect("a directory");
    let late = directory.path().join("20261123T194012Z.json");
    fs::copy(&all[73], &late).expect("a copy");
    let statuses = |path: &Path| -> BTreeMap<String, String> {
        versions(path).into_iter().map(|version| (version.id, version.client_status)).collect()
    };
    let (then, now) = (statuses(&all[12]), statuses(&late));
    let vanished = |alloc_id: &str| {
        let was_live = |status: &String| !matches!(status.as_str(), "complete" | "failed" | "lost");
        then.get(alloc_id).is_some_and(was_live) && !now.contains_key(alloc_id)
    };
    let rows = export("coverage", &[&all[12], &late], &["--full-listing"]);
    for row in &rows {
        let vanished = vanished(row["alloc_id"].as_str().expect("text"));
        assert_eq!(row["tail_lost"], vanished, "{row:?}");
        assert!(!vanished || row["complete"] == false, "{row:?}");
    }
    assert_eq!(rows.iter().filter(|row| row["tail_lost"] == true).count(), 84);
}

/// Returns how many tasks are reported as complete, and the tasks for which this is false. It is false for a task if
/// the stream has an event that the full listings do not show, and the last listing lacks the allocation.
fn falsely_complete(recording: &Path, chosen: &[PathBuf]) -> (usize, Vec<Task>) {
    let truth = truth(recording);
    let chosen: Vec<&Path> = chosen.iter().map(PathBuf::as_path).collect();
    let shown = shown(&chosen);
    let last: BTreeSet<String> = versions(chosen[chosen.len() - 1]).into_iter().map(|version| version.id).collect();
    let rows = export("coverage", &chosen, &["--full-listing"]);
    let complete = rows.iter().filter(|row| row["complete"] == true);
    let task = |row: &Row| {
        let text = |name: &str| row[name].as_str().expect("text").to_owned();
        (text("alloc_id"), text("task"))
    };
    let gone = complete.clone().map(task).filter(|(alloc_id, _)| !last.contains(alloc_id));
    let hides = |task: &Task| {
        truth.order[task].iter().any(|key| !shown.get(task).is_some_and(|shown| shown.events.contains(key)))
    };
    (complete.count(), gone.filter(hides).collect())
}

#[test]
fn a_task_without_its_end_is_not_complete() {
    let Some(recording) = recording() else { return };
    let all = snapshots(&recording);
    let every = |n: usize| all.iter().step_by(n).cloned().collect::<Vec<_>>();
    // The agent was unavailable for four minutes.
    let outage: Vec<PathBuf> = all[..20].iter().chain(&all[44..]).cloned().collect();
    for chosen in [all.clone(), every(3), every(6), outage] {
        let (complete, wrong) = falsely_complete(&recording, &chosen);
        println!("{} listings: {complete} tasks are complete", chosen.len());
        assert!(wrong.is_empty(), "{} of {complete} tasks are wrongly reported as complete: {wrong:?}", wrong.len());
    }
}

#[test]
fn coverage_of_the_sample_cluster() {
    let rows = export("coverage", &[&sample("cluster")], &[]);
    let sum = |name: &str| rows.iter().filter_map(|row| row[name].as_i64()).sum::<i64>();
    assert_eq!((rows.len(), sum("events"), sum("restarts"), sum("lost_restarts")), (40, 352, 231, 171));
    let complete = rows.iter().filter(|row| row["complete"] == true).count();
    assert_eq!(complete, 32);
    let row = |task: &str| rows.iter().find(|row| row["task"] == task).expect("a task");
    let coverage_of = |task: &str| ["begins", "gaps", "lost_restarts", "complete"].map(|name| row(task)[name].clone());
    // A crash loop, a task with all restarts in view but not all other events, and a task whose start is missing.
    assert_eq!(json!(coverage_of("flaky")), json!([false, 4, 94, false]));
    assert_eq!(json!(coverage_of("dead-port")), json!([true, 1, 0, false]));
    assert_eq!(json!(coverage_of("fetch")), json!([false, 0, 0, false]));
}
