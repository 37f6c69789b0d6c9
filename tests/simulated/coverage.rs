//! What the program says of its own completeness, against what the simulator knows to be missing.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::expected::{int, key, pairs, same, states};
use super::{Kind, cluster, directory, documents, each_case, packed, takings};
use crate::simulator::{Random, TaskKey, Truth};
use crate::support::Row;

/// Runs `alloclog export` and gives the rows of some tables.
fn export(tables: &[&str], sources: &[PathBuf], out: &Path) -> Vec<Vec<Row>> {
    let ran = Command::new(env!("CARGO_BIN_EXE_alloclog"))
        .arg("export")
        .args(sources)
        .args(["--format", "ndjson", "--table", &tables.join(","), "-o"])
        .arg(out)
        .env_remove("NOMAD_REGION")
        .output()
        .expect("the program starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let rows = |table: &&str| {
        let text = fs::read_to_string(out.join(format!("{table}.ndjson"))).expect("a table");
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
    };
    tables.iter().map(rows).collect()
}

/// What was compared, so that nobody takes little for much.
#[derive(Debug, Default)]
struct Compared {
    tasks: Cell<usize>,
    complete: Cell<usize>,
    missing: Cell<usize>,
    plain: Cell<usize>,
}

#[test]
fn completeness_is_never_said_in_vain() {
    let compared = Compared::default();
    each_case(12, |case| tells_what_is_missing(3_000_000 + case, Kind::Exact, &compared));
    let [tasks, complete, missing] = [&compared.tasks, &compared.complete, &compared.missing].map(Cell::get);
    println!("{compared:?}");
    let few = std::env::var_os("ALLOCLOG_CASE").is_some();
    assert!(few || complete * 10 > tasks && missing * 20 > tasks, "too few to prove much: {compared:?}");
}

#[test]
fn documents_that_lack_something_never_make_a_history_complete() {
    let compared = Compared::default();
    each_case(6, |case| tells_what_is_missing(4_000_000 + case, Kind::Lesser, &compared));
    println!("{compared:?}");
}

fn tells_what_is_missing(case: u64, kind: Kind, compared: &Compared) {
    let mut random = Random::new(case);
    let cluster = cluster(&mut random, 30);
    let takings = takings(&cluster, &mut random, 14, kind);
    let directory = directory();
    let sources = packed::write(&takings, directory.path(), &mut random);
    let tables = export(&["coverage", "task_states"], &sources, &directory.path().join("out"));
    let [coverage, latest] = &tables[..] else { panic!("two tables") };
    let truth = Truth::of_documents(&cluster, documents(&takings));
    if kind == Kind::Exact {
        same(&format!("case {case}, task_states"), &pairs(&states(latest)), &pairs(&truth.states()));
    }
    let truths = truth.tasks();
    let mut said: BTreeMap<TaskKey, &Row> = coverage.iter().map(|row| (key(row), row)).collect();
    assert_eq!(said.len(), coverage.len(), "case {case}: a task twice");
    for (task, truth) in &truths {
        let row = said.remove(task).unwrap_or_else(|| panic!("case {case}: no coverage of {task:?}"));
        let is = |name: &str| row[name].as_bool().expect("true or false");
        let told = (int(row, "events"), int(row, "restarts"), int(row, "lost_restarts"));
        let what = format!("case {case}: {truth:?}\n  {row:?}");
        assert_eq!(told, (Some(truth.events), truth.restarts, truth.lost_restarts), "{what}");
        assert_eq!((is("begins"), int(row, "gaps")), (truth.begins, Some(truth.gaps)), "{what}");
        assert!(!is("complete") || !truth.missing || truth.deceptive, "{what}");
        assert!(is("complete") || !truth.plain || is("tail_lost"), "{what}");
        let count = |of: &Cell<usize>, yes: bool| of.set(of.get() + usize::from(yes));
        count(&compared.tasks, true);
        count(&compared.complete, is("complete"));
        count(&compared.missing, truth.missing);
        count(&compared.plain, truth.plain);
    }
    // Tasks without a window.
    for (task, row) in said {
        assert!(int(row, "events") == Some(0) && row["complete"] == false, "case {case}: {task:?} {row:?}");
    }
}
