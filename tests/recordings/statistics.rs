//! Compares the statistics of list snapshots with those of the event stream of the same minutes, which is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use alloclog::query::Row;

use super::recording;
use super::snapshots::snapshots;
use crate::view_store::ViewStore;

/// The rows of a statistic by their key.
type Rows = BTreeMap<Vec<String>, Row>;

/// The compared statistics, with their key columns.
const KEYS: [(&str, &[&str]); 5] = [
    ("restart_log", &["alloc_id", "task", "restarted_at_ns"]),
    ("failures", &["alloc_id", "task", "failed_at_ns", "event_type"]),
    ("attempts", &["alloc_id", "task", "attempt"]),
    ("starts", &["alloc_id", "task"]),
    ("reschedules", &["alloc_id"]),
];

/// The statistics of the whole stream, computed once.
fn truth(recording: &Path) -> &'static BTreeMap<&'static str, Rows> {
    static TRUTH: OnceLock<BTreeMap<&'static str, Rows>> = OnceLock::new();
    TRUTH.get_or_init(|| of(&[recording.join("stream.ndjson.zst")]))
}

fn of(sources: &[PathBuf]) -> BTreeMap<&'static str, Rows> {
    let answers = ViewStore::of(&sources.iter().map(PathBuf::as_path).collect::<Vec<_>>()).expect("statistics");
    let rows = |(name, keys): (&'static str, &[&str])| {
        // Restarts that were not seen get the time of the version that counts them, so they are not compared.
        let seen = |row: &Row| name != "restart_log" || row.get("is_seen") == true;
        let key = |row: &Row| keys.iter().map(|key| row.get(key).to_string()).collect();
        let rows = answers.rows(name).expect("rows").into_iter().filter(seen);
        (name, rows.map(|row| (key(&row), row)).collect())
    };
    KEYS.into_iter().map(rows).collect()
}

/// How many rows of each statistic have a known value, which is compared.
#[derive(Debug, Default, PartialEq)]
struct KnownValues {
    causes: usize,
    failures: usize,
    ends: usize,
    starts: usize,
    reasons: usize,
}

/// Checks that the statistics of sources are equal to those of the stream, or unknown.
fn check(truth: &BTreeMap<&'static str, Rows>, sources: &[PathBuf]) -> KnownValues {
    let found = of(sources);
    let mut counts = KnownValues::default();
    let pairs = |name: &'static str| {
        let known = &truth[name];
        let truth =
            move |key, row| known.get(key).unwrap_or_else(|| panic!("{name} has a row that the stream lacks: {row:?}"));
        found[name].iter().map(move |(key, row)| (row, truth(key, row)))
    };
    for (row, truth) in pairs("restart_log") {
        let cause = row.text("cause");
        assert!(cause == truth.text("cause") || cause == Some("unknown"), "{row:?}\n{truth:?}");
        counts.causes += usize::from(cause != Some("unknown"));
    }
    for (row, truth) in pairs("failures") {
        let (class, true_class) = (row.text("class"), truth.text("class"));
        assert!(class == true_class || class == Some("unknown"), "{row:?}\n{truth:?}");
        assert_eq!(row.int("attempt"), truth.int("attempt"), "{row:?}\n{truth:?}");
        counts.failures += usize::from(class != Some("unknown"));
    }
    for (row, truth) in pairs("attempts") {
        let outcome = row.text("outcome");
        let open = matches!(outcome, Some("unknown" | "running" | "waiting" | "lost"));
        assert!(open || outcome == truth.text("outcome"), "{row:?}\n{truth:?}");
        for time in ["started_at_ns", "ended_at_ns"] {
            assert!(row.int(time).is_none() || row.int(time) == truth.int(time), "{row:?}\n{truth:?}");
        }
        counts.ends += usize::from(!open);
    }
    for (row, truth) in pairs("starts").filter(|(row, _)| row.text("task").is_some()) {
        let outcome = row.text("outcome");
        let open = matches!(outcome, Some("unknown" | "waiting"));
        assert!(open || outcome == truth.text("outcome"), "{row:?}\n{truth:?}");
        if outcome == Some("started") {
            assert_eq!(row.int("started_at_ns"), truth.int("started_at_ns"), "{row:?}");
        }
        counts.starts += usize::from(!open);
    }
    for (row, truth) in pairs("reschedules") {
        let reason = row.text("reason");
        assert!(reason.is_none() || reason == truth.text("reason"), "{row:?}\n{truth:?}");
        counts.reasons += usize::from(reason.is_some());
    }
    counts
}

#[test]
fn statistics_of_snapshots_equal_those_of_the_stream_or_are_unknown() {
    let Some(recording) = recording() else { return };
    let truth = truth(&recording);
    let all: Vec<PathBuf> = snapshots(&recording).into_iter().collect();
    let third: Vec<PathBuf> = all.iter().step_by(3).cloned().collect();
    let last: Vec<PathBuf> = all.iter().next_back().cloned().into_iter().collect();
    let counts = [all, third, last].map(|sources| check(truth, &sources));
    println!("{counts:#?}");
    let has_all = |counts: &KnownValues| {
        counts.causes > 0 && counts.failures > 0 && counts.ends > 0 && counts.starts > 0 && counts.reasons > 0
    };
    assert!(counts.iter().all(has_all));
    assert!(counts[0].causes >= counts[1].causes && counts[1].causes >= counts[2].causes);
}

#[test]
fn an_allocation_replaced_while_disconnected_and_then_not_needed_is_lost() {
    let Some(recording) = recording() else { return };
    let all: Vec<PathBuf> = snapshots(&recording).into_iter().collect();
    let answers = ViewStore::of(&all.iter().map(PathBuf::as_path).collect::<Vec<_>>()).expect("statistics");
    let history = answers.rows("allocation_history").expect("rows");
    let unknown = history.iter().filter(|version| version.text("client_status") == Some("unknown"));
    let away: BTreeSet<&str> = unknown.filter_map(|version| version.text("alloc_id")).collect();
    let replaced = answers.rows("reschedules").expect("rows").into_iter();
    let reasons: Vec<_> = replaced
        .filter(|row| row.text("previous_alloc_id").is_some_and(|previous| away.contains(previous)))
        .map(|row| row.text("reason").map(str::to_owned))
        .collect();
    assert_eq!(reasons, vec![Some("lost".to_owned()); 5]);
}
