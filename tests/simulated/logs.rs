//! Logs of the simulated clients. Compares rows of `log_events` with what was logged, and `recovered_events` with the
//! events that the documents do not show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use alloclog::intake::IntakeOptions;
use alloclog::tables::{Table, mask};
use anyhow::{Context, ensure};

use super::snapshot_schedule::{Case, Kind, Observation, cases};
use super::{directory, for_all, packed};
use crate::agent_logs::hclog::{Line, Logger};
use crate::simulator::{Cluster, Random};
use crate::support::{Row, take};
use crate::view_store::ViewStore;

/// The lines of each node, in the order of their times. A line follows its event within milliseconds.
fn lines(cluster: &Cluster, random: &mut Random) -> Vec<Vec<Line>> {
    let mut nodes = vec![vec![]; cluster.nodes.len()];
    for allocation in &cluster.allocations {
        for task in &allocation.lives {
            for lived in &task.events {
                nodes[allocation.node].push(Line {
                    alloc_id: allocation.id.clone(),
                    task: task.task.clone(),
                    event_type: lived.event.kind.to_owned(),
                    message: lived.event.display.clone(),
                    fails_task: lived.event.fails_task,
                    at: lived.event.time + random.between(2_000, 3_000_000),
                });
            }
        }
    }
    nodes.iter_mut().for_each(|lines| lines.sort_by_key(|line| line.at));
    nodes
}

/// A log in which other lines come between those of events.
fn log(logger: &Logger, lines: &[Line], random: &mut Random) -> String {
    let mut log = String::new();
    for line in lines {
        if random.chance(30) {
            log.push_str("2026-11-23T18:27:55.839Z [DEBUG] http: request complete: method=GET path=\"Task event\"\n");
        }
        log.push_str(&logger.line(line));
    }
    log
}

fn any_logger(is_json: bool, random: &mut Random) -> Logger {
    let prefixes = [("", false), ("    ", false), ("Nov 23 18:28:08 host nomad[123]: ", true)];
    Logger {
        is_json,
        has_location: random.chance(30),
        zone: *random.pick(&[0, 60, -480, 330]),
        prefix: *random.pick(&prefixes),
    }
}

/// A row without its time and text. The remaining values are equal in the text form and the JSON form of a log.
fn as_text(row: &Row) -> String {
    let columns =
        ["alloc_id", "task", "event_type", "fails_task", "exit_code", "signal", "start_delay_ns", "kill_timeout_ns"];
    columns.map(|column| row[column].to_string()).join(" ")
}

fn rows(paths: &[&Path]) -> anyhow::Result<Vec<Row>> {
    let taken = take(paths, &IntakeOptions::default());
    ensure!(taken.summary.rejected == 0, "{:?}", taken.notes);
    ensure!(taken.rows.keys().all(|table| *table == Table::LogEvents), "a log gives rows of another table");
    Ok(taken.table(Table::LogEvents).to_vec())
}

/// Allocation, task, type, time, message (if text reproduces it exactly), and whether the event fails the task.
type LoggedEvent = (String, String, String, i64, Option<String>, bool);

#[test]
fn every_line_of_an_event_is_a_row_and_text_and_json_agree() {
    for_all(12, cases(1), |case| {
        let cluster = case.cluster();
        let mut random = case.random();
        let mut of_form = vec![];
        let nodes = lines(&cluster, &mut random);
        for is_json in [false, true] {
            let directory = directory()?;
            let precision = if is_json { 1_000 } else { 1_000_000 };
            let mut expected: BTreeMap<LoggedEvent, i64> = BTreeMap::new();
            for (number, lines) in nodes.iter().enumerate() {
                let text = log(&any_logger(is_json, &mut random), lines, &mut random);
                fs::write(directory.path().join(format!("nomad-{number}.log")), text)?;
                for line in lines {
                    let at = line.at - line.at % precision;
                    // In text a backslash and a control character are ambiguous.
                    let is_exact =
                        is_json || !line.message.chars().any(|c| c.is_control() || c == '\\' || c >= '\u{200b}');
                    let message = is_exact.then(|| mask::text(&line.message).into_owned());
                    let key = (
                        line.alloc_id.clone(),
                        line.task.clone(),
                        line.event_type.clone(),
                        at,
                        message,
                        line.fails_task,
                    );
                    *expected.entry(key).or_default() += 1;
                }
            }
            let found = rows(&[directory.path()])?;
            let mut actual: BTreeMap<_, i64> = BTreeMap::new();
            for row in &found {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                let key = |message| {
                    let at = row["logged_at_ns"].as_i64().unwrap_or_default();
                    let fails_task = row["fails_task"] == true;
                    (text("alloc_id"), text("task"), text("event_type"), at, message, fails_task)
                };
                let exact = key(Some(text("message")));
                let key = if expected.contains_key(&exact) { exact } else { key(None) };
                *actual.entry(key).or_default() += 1;
                ensure!(row["precision_ns"] == precision, "{row:?}");
            }
            // Two equal lines with the same time count once if they are not neighbours, so the counts are not compared.
            ensure!(actual.keys().eq(expected.keys()), "{is_json}: {} of {}", actual.len(), expected.len());
            // Neither the order of logs nor their repetition changes the result.
            let copies = super::directory()?;
            for (number, _) in nodes.iter().enumerate() {
                let bytes = fs::read(directory.path().join(format!("nomad-{number}.log")))?;
                fs::write(copies.path().join(format!("{}.log.zst", nodes.len() - number)), packed::zstd(&bytes))?;
            }
            let ordered = |rows: &[Row]| rows.iter().map(|row| format!("{row:?}")).collect::<BTreeSet<_>>();
            let again = rows(&[copies.path(), directory.path(), copies.path()])?;
            ensure!(again.len() == found.len() && ordered(&again) == ordered(&found), "the order of logs changes rows");
            let mut as_text: Vec<String> = found.iter().map(as_text).collect();
            as_text.sort();
            of_form.push(as_text);
        }
        let [text, json] = of_form.as_slice() else { return Ok(()) };
        let distinct = |rows: &[String]| rows.iter().cloned().collect::<BTreeSet<_>>();
        ensure!(distinct(text) == distinct(json), "text and JSON differ");
        Ok(())
    });
}

#[test]
fn logs_recover_only_real_events_that_no_document_shows() {
    for_all(20, cases(4), recovers_only_real_events);
}

/// The client lost its state before the only snapshot. Only lines of the log show the earlier life.
#[test]
fn a_history_with_earlier_lines_in_a_log_is_not_complete() -> anyhow::Result<()> {
    let snapshot =
        Observation { kind: Kind::List, moment: 517, is_named: true, is_trimmed: false, seed: 6128338544141 };
    let observations = vec![snapshot];
    let case = Case { seed: 4079428281246359731, nodes: 2, jobs: 1, rare: 12, observations, chance: 0 };
    // About half of these logs are whole.
    (0..8).try_for_each(|chance| recovers_only_real_events(&Case { chance, ..case.clone() }))
}

fn recovers_only_real_events(case: &Case) -> anyhow::Result<()> {
    let cluster = case.cluster();
    let snapshots = case.documents(&cluster);
    let mut random = case.random();
    let directory = directory()?;
    let sources = packed::write(&snapshots, directory.path(), &mut random);
    let nodes = lines(&cluster, &mut random);
    let logs = directory.path().join("logs");
    fs::create_dir(&logs)?;
    // Some lines are lost in some cases; one agent may log twice.
    let lost = *random.pick(&[0, 0, 20, 70]);
    let mut logged: BTreeMap<(String, String, String), Vec<i64>> = BTreeMap::new();
    for (number, lines) in nodes.iter().enumerate() {
        let is_json = random.chance(50);
        let kept: Vec<Line> = lines.iter().filter(|_| !random.chance(lost)).cloned().collect();
        fs::write(logs.join(format!("{number}.log")), log(&any_logger(is_json, &mut random), &kept, &mut random))?;
        if random.chance(40) {
            // The monitor of a debug bundle writes the same events some moments later, beginning when the monitor
            // starts.
            let from = random.below(kept.len().max(1));
            let later = |line: &Line| Line { at: line.at + 700_000, ..line.clone() };
            let monitored: Vec<Line> = kept.iter().skip(from).map(later).collect();
            let monitor = Logger { is_json: false, has_location: true, zone: 0, prefix: ("", false) };
            fs::write(logs.join(format!("{number}-monitor.log")), log(&monitor, &monitored, &mut random))?;
        }
        for line in kept {
            logged.entry((line.alloc_id, line.task, line.event_type)).or_default().push(line.at);
        }
    }
    let mut paths: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
    paths.push(&logs);
    let Ok(store) = ViewStore::of(&paths) else { return Ok(()) };

    let mut missing: BTreeMap<(String, String, String), Vec<i64>> = BTreeMap::new();
    for allocation in &cluster.allocations {
        for task in &allocation.lives {
            for lived in &task.events {
                let key = (allocation.id.clone(), task.task.clone(), lived.event.kind.to_owned());
                missing.entry(key).or_default().push(lived.event.time);
            }
        }
    }
    let mut is_exact = lost == 0;
    for row in store.rows("task_events")? {
        let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let key = (text("alloc_id"), text("task"), text("event_type"));
        let place = missing.get(&key).and_then(|times| times.iter().position(|at| Some(*at) == row.int("event_at_ns")));
        match (place, missing.get_mut(&key)) {
            (Some(place), Some(times)) => drop(times.swap_remove(place)),
            // An event with a rounded time, or one that a document shows in another way, may hide another event.
            _ => is_exact = false,
        }
    }
    let mut recovered: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for row in store.rows("recovered_events")? {
        let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let key = (text("alloc_id"), text("task"), text("event_type"));
        let at = row.int("logged_at_ns").context("a time")?;
        let precision = row.int("precision_ns").context("a precision")?;
        let times = logged.get(&key).context("an event that was not logged")?;
        let is_line = |logged: &i64| at <= *logged + 700_000 && *logged < at + precision;
        ensure!(times.iter().any(is_line), "no line of the log has {key:?} at {at}");
        *recovered.entry(key).or_default() += 1;
    }
    for (key, count) in &recovered {
        let missing = missing.get(key).map_or(0, Vec::len);
        ensure!(*count <= missing, "{key:?}: {count} recovered, {missing} missing");
    }
    // A history that is reported as complete must lack no event before the last event that a document shows. Later
    // events may be missing, because a log may begin after the last window. A history before the client lost its
    // state leaves no trace in the documents. It counts only if a log has its `Received`, and so few lines are
    // lost that the log is trusted.
    let shown = store.rows("timeline")?;
    for row in store.rows("coverage")?.iter().filter(|row| row.get("complete").as_bool() == Some(true)) {
        let of =
            |row: &alloclog::query::Row| (row.text("alloc_id").map(str::to_owned), row.text("task").map(str::to_owned));
        let of_api = shown.iter().filter(|event| of(event) == of(row) && event.text("origin") == Some("api"));
        let last = of_api.filter_map(|event| event.int("event_at_ns")).max().context("an event")?;
        let is_own = |(alloc_id, task, _): &&(String, String, String)| {
            row.text("alloc_id") == Some(alloc_id.as_str()) && row.text("task") == Some(task.as_str())
        };
        let first = shown.iter().filter(|event| of(event) == of(row) && event.text("origin") == Some("api"));
        let first = first.filter_map(|event| event.int("event_at_ns")).min().context("an event")?;
        let received = logged.iter().filter(|(key, _)| is_own(key) && key.2 == "Received");
        let is_traced = lost < 50 && received.flat_map(|(_, times)| times).any(|at| *at + 1_000_000 < first);
        let lost = missing.iter().filter(|(key, _)| is_own(key)).flat_map(|(_, times)| times);
        let lost = lost.filter(|at| **at < last && (is_traced || **at >= first)).count();
        ensure!(lost == 0, "{:?} is wrongly reported as complete", of(row));
    }
    if is_exact {
        // If equal lines are close to each other, the count may be smaller. If the client lost the state of a task, or
        // its clock was set back, lives may be mixed. Then no event is recovered.
        let lives = cluster.allocations.iter().flat_map(|allocation| {
            let mixed = allocation.lives.iter().filter(|task| {
                let is_sorted = task.events.is_sorted_by_key(|lived| lived.event.time);
                !is_sorted || task.events.iter().any(|lived| lived.epoch > 0)
            });
            mixed.map(|task| (allocation.id.as_str(), task.task.as_str()))
        });
        let mixed: BTreeSet<_> = lives.collect();
        let counts = |(alloc_id, task, kind): &(String, String, String)| {
            kind != "Received" && !mixed.contains(&(alloc_id.as_str(), task.as_str()))
        };
        let total: usize = missing.iter().filter(|(key, _)| counts(key)).map(|(_, times)| times.len()).sum();
        let found: usize = recovered.iter().filter(|(key, _)| counts(key)).map(|(_, count)| count).sum();
        eprintln!("{found} of {total} recovered");
        ensure!(found * 10 >= total * 9, "{found} of {total} recovered");
    }
    Ok(())
}
