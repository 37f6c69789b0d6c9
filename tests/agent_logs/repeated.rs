//! Logs that repeat events: a log that grows and is rotated, and a log that is written as text and as JSON. Lines may
//! repeat, but each event must be given once.

use std::fs;

use super::hclog::{Line, Logger};
use crate::sandbox::{Sandbox, sample};
use crate::support::{Exported, Row};

const TABLES: &str = "log_events,recovered_events";

fn sorted(sandbox: &Sandbox, directory: &str, table: &str) -> Vec<String> {
    let rows = Exported::read(&sandbox.path(directory), table);
    let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

#[test]
fn a_log_that_grows_and_is_rotated_shows_each_event_once() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    let text = fs::read_to_string(sample("logs/client1.log")).unwrap();
    sandbox.run(&["ingest", &cluster, "--lake", "lake"]).exits_with(0);
    let ingest = || sandbox.run(&["ingest", "log", "--lake", "lake"]).exits_with(0);
    let at = |eighths: usize| text.floor_char_boundary(text.len() * eighths / 8);
    for eighths in 1..=6 {
        // The last line is rarely complete.
        sandbox.file("log/nomad.log", &text[..at(eighths)]);
        ingest();
    }
    let end = text[..at(6)].rfind('\n').unwrap() + 1;
    sandbox.file("log/nomad-1795458486976000000.log", &text[..end]);
    for eighths in [7, 8] {
        sandbox.file("log/nomad.log", &text[end..at(eighths)]);
        ingest();
    }
    sandbox.export(&["lake", "-o", "grown", "--table", TABLES]).exits_with(0);
    sandbox.file("whole.log", &text);
    sandbox.export(&[&cluster, "whole.log", "-o", "whole", "--table", TABLES]).exits_with(0);
    for table in TABLES.split(',') {
        assert_eq!(sorted(&sandbox, "grown", table), sorted(&sandbox, "whole", table), "{table}");
    }
    assert!(sorted(&sandbox, "whole", "recovered_events").len() > 30);
}

#[test]
fn a_log_as_text_and_as_json_shows_each_event_once() {
    let sandbox = Sandbox::new();
    let (cluster, logs) = (sample("cluster"), sample("logs"));
    sandbox.export(&[&logs, "-o", "lines", "--table", "log_events"]).exits_with(0);
    let mut rows = Exported::read(&sandbox.path("lines"), "log_events");
    rows.sort_by_key(|row| row["logged_at_ns"].as_i64());
    let text = |row: &Row, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let line = |(number, row): (usize, &Row)| Line {
        alloc_id: text(row, "alloc_id"),
        task: text(row, "task"),
        event_type: text(row, "event_type"),
        message: text(row, "message"),
        fails_task: row["fails_task"] == true,
        at: row["logged_at_ns"].as_i64().unwrap() + 1_000 * (number as i64 * 37 % 1_000),
    };
    let lines: Vec<Line> = rows.iter().enumerate().map(line).collect();
    let write = |name: &str, is_json: bool| {
        let logger = Logger { is_json, has_location: false, zone: 0, prefix: ("", false) };
        sandbox.file(name, lines.iter().map(|line| logger.line(line)).collect::<String>());
    };
    write("nomad.log", false);
    write("nomad.json.log", true);
    let events = |sources: &[&str], out: &str| {
        sandbox.export(&[&[cluster.as_str(), "-o", out, "--table", TABLES], sources].concat()).exits_with(0);
        let rows = Exported::read(&sandbox.path(out), "recovered_events");
        let event = |row: &Row| {
            let at = row["logged_at_ns"].as_i64().unwrap() / 1_000_000;
            (text(row, "alloc_id"), text(row, "task"), at, text(row, "event_type"), text(row, "message"))
        };
        let mut events: Vec<_> = rows.iter().map(event).collect();
        events.sort();
        events
    };
    let (of_text, of_json) = (events(&["nomad.log"], "text"), events(&["nomad.json.log"], "json"));
    assert!(of_text.len() > 30);
    assert_eq!(of_text, of_json);
    assert_eq!(events(&["nomad.log", "nomad.json.log"], "both"), of_text);
    assert_eq!(sorted(&sandbox, "both", "log_events").len(), 2 * sorted(&sandbox, "text", "log_events").len());
}
