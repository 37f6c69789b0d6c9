//! Compares events that the views recover from recorded logs with the event stream, which contains every event.
//!
//! Cases with further kinds of damage and further wrong clocks take minutes:
//!
//!     ALLOCLOG_CASES=40 cargo test --release --test tests agent_logs::recovered

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use alloclog::query::Row;

use crate::recordings::{recording, unpacked};
use crate::simulator::Random;
use crate::view_store::ViewStore;

/// A task by its allocation and name.
type Task = (String, String);

/// The maximum time between an event and its line, in nanoseconds.
const DELAY: i64 = 1_000_000_000;

fn text(row: &Row, name: &str) -> String {
    row.text(name).unwrap_or_default().to_owned()
}

fn task(row: &Row) -> Task {
    (text(row, "alloc_id"), text(row, "task"))
}

fn is(row: &Row, name: &str) -> bool {
    row.get(name).as_bool() == Some(true)
}

/// The views computed from an event stream.
pub(super) struct Truth {
    /// The times of the events of each task and type.
    pub(super) events: BTreeMap<(Task, String), Vec<i64>>,
    pub(super) last_ns: i64,
    failures: Judged,
    causes: Judged,
    started: BTreeMap<Task, String>,
}

/// The result of a view for the events of each task, by time: the attempt, and a text.
type Judged = BTreeMap<Task, BTreeMap<i64, (Option<i64>, String)>>;

fn judged(store: &ViewStore, view: &str, time: &str, told: impl Fn(&Row) -> Option<String>) -> Judged {
    let mut judged = Judged::new();
    for row in store.rows(view).unwrap() {
        if let Some(told) = told(&row) {
            let at = row.int(time).unwrap();
            judged.entry(task(&row)).or_default().insert(at, (row.int("attempt"), told));
        }
    }
    judged
}

fn failures(store: &ViewStore) -> Judged {
    judged(store, "failures", "failed_at_ns", |row| {
        let class = text(row, "class");
        Some(format!("{} {} {:?} {:?}", class, text(row, "event_type"), row.int("exit_code"), row.int("signal")))
    })
}

fn causes(store: &ViewStore) -> Judged {
    judged(store, "restart_log", "restarted_at_ns", |row| is(row, "is_seen").then(|| text(row, "cause")))
}

fn outcomes(store: &ViewStore) -> BTreeMap<Task, String> {
    store.rows("starts").unwrap().iter().map(|row| (task(row), text(row, "outcome"))).collect()
}

impl Truth {
    pub(super) fn of(stream: &Path) -> Truth {
        let store = ViewStore::of(&[stream]).unwrap();
        let mut events: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        for row in store.rows("task_events").unwrap() {
            events.entry((task(&row), text(&row, "event_type"))).or_default().push(row.int("event_at_ns").unwrap());
        }
        events.values_mut().for_each(|times| times.sort_unstable());
        let last_ns = events.values().flatten().copied().max().unwrap();
        Truth { events, last_ns, failures: failures(&store), causes: causes(&store), started: outcomes(&store) }
    }

    /// Returns three numbers of events of the listed allocations: events that documents show, events that only the logs
    /// recover, and all events. Panics if a recovered event does not match a missing event at its time, or if an
    /// incomplete history is reported as complete.
    pub(super) fn compared(&self, store: &ViewStore) -> (usize, usize, usize) {
        let coverage = store.rows("coverage").unwrap();
        let listed: BTreeSet<Task> = coverage.iter().map(task).collect();
        let mut missing = self.events.clone();
        missing.retain(|(task, _), _| listed.contains(task));
        let all: usize = missing.values().map(Vec::len).sum();
        let (mut shown, mut right) = (0, 0);
        let mut last_shown: HashMap<Task, (i64, usize)> = HashMap::new();
        let timeline = store.rows("timeline").unwrap();
        for row in timeline.iter().filter(|row| text(row, "origin") == "api") {
            let at = row.int("event_at_ns").unwrap();
            let of_task = last_shown.entry(task(row)).or_default();
            *of_task = (of_task.0.max(at), of_task.1 + 1);
            // Some documents are later than the end of the stream, so they may show later events.
            let Some(times) = missing.get_mut(&(task(row), text(row, "event_type"))) else { continue };
            if let Ok(place) = times.binary_search(&at) {
                times.remove(place);
                shown += 1;
            }
        }
        for row in store.rows("recovered_events").unwrap().iter().filter(|row| is(row, "is_listed")) {
            let at = row.int("logged_at_ns").unwrap();
            let end = at + row.int("precision_ns").unwrap();
            if end > self.last_ns {
                continue;
            }
            let key = (task(row), text(row, "event_type"));
            let times = missing.get_mut(&key);
            let place =
                times.as_ref().and_then(|times| times.iter().position(|e| *e < end && end - e < DELAY + 1_000_000));
            assert!(place.is_some(), "no event matches the recovered {key:?} at {at}");
            times.unwrap().remove(place.unwrap());
            right += 1;
        }
        // The sample of the stream lacks most tasks, so this check is only for the whole stream.
        for row in coverage.iter().filter(|row| is(row, "complete") && self.started.len() > 100) {
            let (until, count) = last_shown[&task(row)];
            let of_task = self.events.iter().filter(|((of, _), _)| *of == task(row)).flat_map(|(_, times)| times);
            let truly = of_task.filter(|at| **at <= until).count();
            assert!(count == truly || until > self.last_ns, "{:?} is wrongly reported as complete", task(row));
        }
        (shown, right, all)
    }

    /// Checks the failures and the causes of restarts in a store. They must be equal to those of the stream, or not
    /// known. Returns how many are equal, how many are not known, and the ones that differ.
    pub(super) fn judgements(&self, store: &ViewStore) -> (usize, usize, Vec<String>) {
        let (mut equal, mut unknown, mut differing) = (0, 0, Vec::new());
        for (here, truth) in [(failures(store), &self.failures), (causes(store), &self.causes)] {
            for (task, events) in here {
                for (at, (attempt, told)) in events.into_iter().filter(|(at, _)| *at < self.last_ns - DELAY) {
                    // The time of a line is shortly after the event, and truncated.
                    let near = truth.get(&task).into_iter().flat_map(|of| of.range(at - 20_000_000..at + 1_000_000));
                    let near: Vec<&(Option<i64>, String)> = near.map(|(_, truly)| truly).collect();
                    let is_same =
                        |(of, truly): &&(Option<i64>, String)| *truly == told && (attempt.is_none() || *of == attempt);
                    match () {
                        () if near.iter().any(is_same) => equal += 1,
                        () if told.starts_with("unknown") => unknown += 1,
                        () => differing.push(format!("{task:?} {attempt:?} {at}: {told:?}, truly {near:?}")),
                    }
                }
            }
        }
        (equal, unknown, differing)
    }
}

/// Every `step`th snapshot of the recording. A step of 74 gives only the last one.
pub(super) fn snapshots(recording: &Path, step: usize) -> Vec<PathBuf> {
    let directory = unpacked(recording, "snaps.tar.zst").join("snaps");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    if step == 74 { vec![paths.pop().unwrap()] } else { paths.into_iter().step_by(step).collect() }
}

fn with<'p>(snapshots: &'p [PathBuf], logs: &'p Path) -> ViewStore {
    let sources: Vec<&Path> = snapshots.iter().map(PathBuf::as_path).chain([logs]).collect();
    ViewStore::of(&sources).unwrap()
}

pub(super) fn sum(store: &ViewStore, column: &str) -> i64 {
    store.rows("coverage").unwrap().iter().filter_map(|row| row.int(column)).sum()
}

#[test]
fn the_sample_logs_recover_every_event_of_their_allocations() {
    let sample = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    let truth = Truth::of(&sample("stream.ndjson.zst"));
    let store = ViewStore::of(&[&sample("cluster"), &sample("logs")]).unwrap();
    let (shown, recovered, all) = truth.compared(&store);
    // The stream contains six allocations, and the logs contain two of them.
    assert!(recovered >= 20 && shown + recovered <= all, "{shown} shown, {recovered} recovered of {all}");
    let is_api = |row: &&Row| text(row, "alloc_id").starts_with("4260067f");
    let lines = store.rows("log_events").unwrap().iter().filter(is_api).count();
    let coverage = store.rows("coverage").unwrap();
    let covered = coverage.iter().find(is_api).unwrap();
    // Every restart of the task `api` is seen, and both gaps of this task are closed. Other lines may nevertheless be
    // missing.
    let told = ["events", "gaps", "restarts", "lost_restarts"].map(|name| covered.int(name));
    assert_eq!(told, [Some(lines as i64), Some(0), Some(18), Some(0)]);
    assert!(covered.int("log_events") == Some(lines as i64 - 25) && !is(covered, "complete"));
    let attempts = store.rows("attempts").unwrap();
    let numbers: Vec<_> = attempts.iter().filter(is_api).map(|row| row.int("attempt").unwrap()).collect();
    // The log continues after the last listing. But no counter shows that the log contains every later restart.
    assert_eq!(numbers, (1..=18).collect::<Vec<i64>>());
    store.check_twins().unwrap();
}

/// Reads the logs of the agents with a snapshot every 10 seconds, with one every minute, and with only the last one.
#[test]
fn recorded_logs_recover_what_snapshots_miss() {
    let Some(recording) = recording() else { return };
    let (logs, truth) = (recording.join("logs.tar.zst"), Truth::of(&recording.join("stream.ndjson.zst")));
    for (step, expected_shown, expected_lost) in [(1, 9894, 413), (6, 6174, 1614), (74, 1143, 1727)] {
        let snapshots = snapshots(&recording, step);
        let store = with(&snapshots, &logs);
        let (shown, recovered, all) = truth.compared(&store);
        assert_eq!(shown, expected_shown, "every {step}");
        assert!((shown + recovered) as f64 >= 0.995 * all as f64, "every {step}: {shown} + {recovered} of {all}");
        // Every restart has a line in the logs.
        assert_eq!((sum(&store, "lost_restarts"), sum(&store, "gaps")), (0, 0), "every {step}");
        let (equal, unknown, differing) = truth.judgements(&store);
        assert!(
            differing.is_empty() && unknown <= 40,
            "every {step}: {equal} equal, {unknown} unknown: {differing:#?}"
        );
        let started = outcomes(&store);
        assert!(started.iter().all(|(task, outcome)| truth.started[task] == *outcome), "every {step}");
        // Logs add only the events that the column `log_events` counts. The numbers from other sources stay the same.
        let paths: Vec<&Path> = snapshots.iter().map(PathBuf::as_path).collect();
        let without = ViewStore::of(&paths).unwrap();
        assert_eq!(sum(&without, "lost_restarts"), expected_lost, "every {step}");
        assert_eq!(sum(&without, "events") + sum(&store, "log_events"), sum(&store, "events"), "every {step}");
        assert_eq!(sum(&without, "restarts"), sum(&store, "restarts"), "every {step}");
        let newest = |store: &ViewStore| store.rows("observations").unwrap();
        assert_eq!(newest(&store), newest(&without), "every {step}: a log changes the newest observation");
        if step == 6 {
            store.check_twins().unwrap();
        }
    }
}

/// A bundle contains logs, and the agents have logs of their own. Different loggers wrote the same events to both.
#[test]
fn logs_of_a_bundle_beside_those_of_its_agents_recover_no_event_twice() {
    let Some(recording) = recording() else { return };
    let (logs, bundle) = (recording.join("logs.tar.zst"), recording.join("debug.tar.gz"));
    let truth = Truth::of(&recording.join("stream.ndjson.zst"));
    let alone = ViewStore::of(&[&bundle]).unwrap();
    let (shown, recovered, all) = truth.compared(&alone);
    // The bundle's listings alone show 3,257 events.
    eprintln!("a bundle alone: {shown} shown, {recovered} recovered of {all}, {} lost", sum(&alone, "lost_restarts"));
    assert_eq!(shown, 3257);
    assert!(truth.judgements(&alone).2.is_empty());
    let (shown, recovered, all) = truth.compared(&ViewStore::of(&[&bundle, &logs]).unwrap());
    assert!((shown + recovered) as f64 >= 0.995 * all as f64, "{shown} shown, {recovered} recovered of {all}");
}

/// The kinds of damage to the logs of a cluster.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The given percentage of lines is lost, each line independently of the others.
    Lost(u32),
    /// Of every five blocks of 40 lines, one is lost.
    Bursts,
    /// The last third is lost. The rest is in two files in the wrong order, and one log uses another zone.
    CutAndSwapped,
    /// The first half is lost, as after a rotation.
    Rotated,
    /// The times in all logs are wrong by this number of milliseconds.
    Shifted(i64),
}

fn damaged(recording: &Path, damage: Damage, seed: u64) -> tempfile::TempDir {
    let logs = unpacked(recording, "logs.tar.zst").join("logs");
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    for (number, name) in ["client1.log", "client2.log", "client3.log"].into_iter().enumerate() {
        let text = fs::read_to_string(logs.join(name)).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let kept: Vec<String> = match damage {
            Damage::Lost(percent) => {
                lines.iter().filter(|_| !random.chance(percent)).map(|line| (*line).to_owned()).collect()
            }
            Damage::Bursts => {
                let is_kept = |(n, _): &(usize, &&str)| (n / 40) % 5 != number;
                lines.iter().enumerate().filter(is_kept).map(|(_, line)| (*line).to_owned()).collect()
            }
            Damage::CutAndSwapped => {
                let zone = |line: &&str| if number == 0 { in_another_zone(line) } else { (*line).to_owned() };
                lines[..lines.len() * 2 / 3].iter().map(zone).collect()
            }
            Damage::Rotated => lines[lines.len() / 2..].iter().map(|line| (*line).to_owned()).collect(),
            Damage::Shifted(ms) => lines.iter().map(|line| shifted(line, ms)).collect(),
        };
        let (first, second) = kept.split_at(kept.len() / 2);
        fs::write(directory.path().join(format!("{number}-b.log")), first.concat()).unwrap();
        fs::write(directory.path().join(format!("{number}-a.log")), second.concat()).unwrap();
    }
    directory
}

/// Lost lines, truncated files, another zone, swapped files and a wrong clock must not give a wrong result.
#[test]
fn damaged_logs_give_no_false_result() {
    let Some(recording) = recording() else { return };
    let truth = Truth::of(&recording.join("stream.ndjson.zst"));
    let mut cases = vec![
        (6, Damage::CutAndSwapped, 3_000),
        (6, Damage::Bursts, 3_000),
        (74, Damage::Rotated, 1_000),
        (6, Damage::Shifted(-500), 0),
        (6, Damage::Shifted(90_000), 0),
    ];
    if std::env::var("ALLOCLOG_CASES").is_ok() {
        cases.extend([1, 5, 20, 50].map(|percent| (6, Damage::Lost(percent), 0)));
        cases.extend([1, 20].map(|percent| (74, Damage::Lost(percent), 0)));
        cases.extend([-7_300, 500, 1_500, 3_600_000, -86_400_000].map(|ms| (6, Damage::Shifted(ms), 0)));
        cases.extend([(74, Damage::Bursts, 0), (1, Damage::Bursts, 0), (6, Damage::Rotated, 0)]);
    }
    for (step, damage, least) in cases {
        let directory = damaged(&recording, damage, 7);
        let store = with(&snapshots(&recording, step), directory.path());
        let (shown, recovered, all) = truth.compared(&store);
        let (equal, unknown, differing) = truth.judgements(&store);
        eprintln!("{damage:?} every {step}: {shown} + {recovered} of {all}; {equal} equal, {unknown} unknown");
        assert!(recovered >= least, "{damage:?} every {step}: {shown} shown, {recovered} recovered");
        // A log that lacks only one Restart Signaled looks like the log of a run that ended without a cause.
        let allowed = if matches!(damage, Damage::Lost(_)) { 4 } else { 0 };
        assert!(differing.len() <= allowed, "{damage:?} every {step}: {differing:#?}");
    }
}

/// The same line as an agent at -08:00 writes it. The hour of its time is smaller by eight.
fn in_another_zone(line: &str) -> String {
    match (line.strip_prefix("2026-11-23T18:"), line.get(23..24)) {
        (Some(_), Some("Z")) => format!("2026-11-23T10:{}-0800{}", &line[14..23], &line[24..]),
        _ => line.to_owned(),
    }
}

/// The same line, written by a clock that is ahead by this number of milliseconds.
pub(super) fn shifted(line: &str, ms: i64) -> String {
    let Some(at) = line.find("2026-11-23T") else { return line.to_owned() };
    let number = |from: usize, to: usize| line.get(at + from..at + to).and_then(|digits| digits.parse::<i64>().ok());
    let [Some(hour), Some(minute), Some(second), Some(milli)] =
        [number(11, 13), number(14, 16), number(17, 19), number(20, 23)]
    else {
        return line.to_owned();
    };
    let moved = ((hour * 60 + minute) * 60 + second) * 1000 + milli + ms;
    let (day, moved) = (23 + moved.div_euclid(86_400_000), moved.rem_euclid(86_400_000));
    let (seconds, milli) = (moved / 1000, moved % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let time = format!("2026-11-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}");
    format!("{}{time}{}", &line[..at], &line[at + 23..])
}
