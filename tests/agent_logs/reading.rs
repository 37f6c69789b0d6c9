//! Logs as sources of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use alloclog::intake::{IntakeOptions, Note};
use alloclog::tables::Table;

use crate::sandbox::Sandbox;
use crate::support::{Exported, take};

const JSON_LINE: &str = r#"{"@level":"info","@message":"Task event","@module":"client.alloc_runner.task_runner","@timestamp":"2026-11-23T18:28:06.980999Z","alloc_id":"a1","failed":false,"msg":"Task started by client","task":"app","type":"Started"}"#;

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name).to_string_lossy().into_owned()
}

/// A line in text form for an event in the given second.
fn line(second: u32, event_type: &str, message: &str) -> String {
    format!(
        "2026-11-23T18:28:{second:02}.000Z [INFO]  client.alloc_runner.task_runner: Task event: alloc_id=a1 task=app \
         type={event_type} msg=\"{message}\" failed=false\n"
    )
}

#[test]
fn logs_change_no_other_table_and_their_order_changes_no_view() {
    let sandbox = Sandbox::new();
    let (cluster, logs) = (sample("cluster"), sample("logs"));
    let tables = "task_events,allocation_history,task_state_history,sightings,absences,snapshots,nodes,shown_windows,\
                  observations,allocations";
    let views = "coverage,restarts,failures,starts,crash_loops,attempts,timeline,windows,restart_log,log_events";
    sandbox.export(&[&cluster, "-o", "without", "--table", tables]).exits_with(0);
    sandbox.export(&[&cluster, &logs, "-o", "with", "--table", tables]).exits_with(0);
    assert_eq!(sandbox.files("without"), sandbox.files("with"));
    sandbox.export(&[&cluster, &logs, "-o", "after", "--table", views]).exits_with(0);
    sandbox.export(&[&logs, &cluster, &logs, "-o", "before", "--table", views]).exits_with(0);
    assert_eq!(sandbox.files("after"), sandbox.files("before"));
    sandbox.export(&[&cluster, "-o", "default"]).exits_with(0);
    assert!(!sandbox.path("default/log_events.parquet").exists());
}

#[test]
fn a_log_alone_gives_only_its_own_events() {
    let sandbox = Sandbox::new();
    let logs = sample("logs");
    let done = sandbox.export(&[&logs, "-o", "out", "--table", "log_events,recovered_events"]).exits_with(0);
    assert!(done.err.contains("84 lines of logs: 84 new"), "{}", done.err);
    let rows = Exported::read(&sandbox.path("out"), "log_events");
    assert_eq!(rows.len(), 84);
    // No listing shows the allocations, so their job is unknown.
    let recovered = Exported::read(&sandbox.path("out"), "recovered_events");
    assert!(recovered.len() >= 82 && recovered.iter().all(|row| row["job_id"].is_null()), "{}", recovered.len());
    let done = sandbox.run(&["report", &logs]).exits_with(1);
    assert!(done.err.contains("no allocations found, only 84 lines of logs; read a listing"), "{}", done.err);
}

#[test]
fn lines_are_filtered_through_their_allocation() {
    let sandbox = Sandbox::new();
    let (cluster, logs) = (sample("cluster"), sample("logs"));
    let sql = "SELECT alloc_id, COUNT(*) AS n FROM log_events GROUP BY alloc_id ORDER BY alloc_id";
    for sources in [[&cluster, &logs], [&logs, &cluster]] {
        for (flags, expected) in [
            (vec!["--job", "api"], "alloc_id,n\n4260067f-0b7a-2512-6fe7-43be86be354a,62\n"),
            (vec!["--namespace", "nowhere", "--allow-empty"], "alloc_id,n\n"),
            (vec!["--prefix", "4260067f"], "alloc_id,n\n4260067f-0b7a-2512-6fe7-43be86be354a,62\n"),
        ] {
            let arguments = [&["query", sql, sources[0], sources[1], "--format", "csv"], flags.as_slice()].concat();
            let arguments: Vec<&str> = arguments.into_iter().filter(|flag| *flag != "--allow-empty").collect();
            assert_eq!(sandbox.run(&arguments).out.replace('\r', ""), expected, "{arguments:?}");
        }
    }
}

/// The listing is in a lake, and the logs are files. The allocations of the lake count as listed, no matter which
/// source is named first.
#[test]
fn lines_are_filtered_through_the_allocations_of_a_lake() {
    let sandbox = Sandbox::new();
    let (cluster, logs) = (sample("cluster"), sample("logs"));
    sandbox.run(&["ingest", &cluster, "--lake", "lake"]).exits_with(0);
    let sql = "SELECT alloc_id, COUNT(*) AS n FROM log_events GROUP BY alloc_id ORDER BY alloc_id";
    for sources in [["lake", &logs], [&logs, "lake"]] {
        let query = |flags: &[&str]| {
            sandbox.run(&[&["query", sql, sources[0], sources[1], "--format", "csv"], flags].concat()).exits_with(0)
        };
        let done = query(&["--job", "api"]);
        assert_eq!(done.out.replace('\r', ""), "alloc_id,n\n4260067f-0b7a-2512-6fe7-43be86be354a,62\n");
        done.stderr_has("84 lines of logs: 62 new, 22 of allocations that are not listed or not selected");
        assert_eq!(query(&["--job", "nothing"]).out.replace('\r', ""), "alloc_id,n\n");
        assert_eq!(query(&["--job", "api", "--prefix", "00"]).out.replace('\r', ""), "alloc_id,n\n");
        // Without a filter, lines of allocations that no source lists are kept, too.
        assert!(!query(&[]).err.contains("not selected"));
    }
    // The statistics of the job are the same if the listing is a file instead.
    let restarts = |sources: &[&str]| {
        let run = [&["query", "restarts", "--job", "api", "--format", "csv"], sources].concat();
        sandbox.run(&run).exits_with(0).out
    };
    assert_eq!(restarts(&["lake", &logs]), restarts(&[&cluster, &logs]));
}

/// Logs are often ingested alone, after the listings. Then the program finds the allocations of their lines in the
/// lake.
#[test]
fn ingested_lines_are_filtered_through_the_allocations_of_their_lake() {
    let sandbox = Sandbox::new();
    let (cluster, logs) = (sample("cluster"), sample("logs"));
    sandbox.run(&["ingest", &cluster, "--lake", "lake"]).exits_with(0);
    let lines = |lake: &str| {
        let sql = "SELECT alloc_id, COUNT(*) AS n FROM log_events GROUP BY alloc_id ORDER BY alloc_id";
        sandbox.run(&["query", sql, lake, "--format", "csv"]).exits_with(0).out.replace('\r', "")
    };
    let done = sandbox.run(&["ingest", &logs, "--lake", "lake", "--namespace", "nowhere"]).exits_with(0);
    done.stderr_has("84 lines of logs: 0 new, 84 of allocations that are not listed or not selected");
    assert_eq!(lines("lake"), "alloc_id,n\n");
    let done = sandbox.run(&["ingest", &logs, "--lake", "lake", "--namespace", "default"]).exits_with(0);
    done.stderr_has("84 lines of logs: 11 new, 73 of allocations that are not listed or not selected");
    assert_eq!(lines("lake"), "alloc_id,n\n7396ffa1-0bb0-9311-e79f-b99f57fbeec8,11\n");
    // With a listing in the same ingest, the rows are the same.
    sandbox.run(&["ingest", &cluster, &logs, "--lake", "both", "--namespace", "default"]).exits_with(0);
    assert_eq!(lines("lake"), lines("both"));
    // A lake without a listing shows no allocation.
    let done = sandbox.run(&["ingest", &logs, "--lake", "empty", "--namespace", "default"]).exits_with(0);
    done.stderr_has("84 lines of logs: 0 new, 84 of allocations that are not listed or not selected");
}

#[test]
fn a_report_shows_log_events_of_unlisted_allocations_separately() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    let log = line(1, "Received", "Task received by client") + &line(2, "Started", "Task started by client");
    sandbox.file("nomad.log", log + &line(9, "Terminated", "Exit Code: 3"));
    let said = "Logs of agents also show 3 events of 1 allocation that no listing shows, from 2026-11-23 18:28:01 to \
                2026-11-23 18:28:09 UTC. Their job is unknown, so no other number counts them (recovered_events).";
    for format in ["terminal", "markdown", "html", "json"] {
        let text = |sources: &[&str]| {
            let text = sandbox.run(&[&["report", "--format", format], sources].concat()).exits_with(0).out;
            // Long lines are wrapped, and Markdown escapes underscores.
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if format == "markdown" { text.replace('\\', "") } else { text }
        };
        let (with, without) = (text(&[&cluster, "nomad.log"]), text(&[&cluster]));
        if format == "json" {
            let unlisted =
                |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["coverage"]["unlisted"].take();
            let expected = serde_json::json!({
                "allocations": 1,
                "events": 3,
                "first_logged_at": "2026-11-23T18:28:01.000000Z",
                "last_logged_at": "2026-11-23T18:28:09.000000Z",
            });
            assert_eq!((unlisted(&with), unlisted(&without)), (expected, serde_json::Value::Null));
        } else {
            assert!(with.contains(said) && !without.contains("Logs of agents also"), "{format}: {with}");
        }
    }
    // With a filter by job, the lines of unlisted allocations are dropped and counted.
    let done = sandbox.run(&["report", &cluster, "nomad.log", "--job", "api"]).exits_with(0);
    let done = done.stderr_has("3 lines of logs: 0 new, 3 of allocations that are not listed or not selected");
    assert!(!done.out.contains("Logs of agents also"), "{}", done.out);
}

#[test]
fn only_a_torn_line_is_lost_and_its_byte_and_line_are_reported() {
    let sandbox = Sandbox::new();
    let first = line(1, "Received", "Task received by client");
    let torn = &line(2, "Started", "Task started by client")[..120];
    let last = line(3, "Terminated", "Exit Code: 1");
    sandbox.file("nomad.log", format!("{first}{torn}\n{last}"));
    let done = sandbox.export(&["nomad.log", "-o", "out", "--table", "log_events"]).exits_with(3);
    assert!(done.err.contains("nomad.log: byte 156, line 2: is a line of a task event"), "{}", done.err);
    assert_eq!(Exported::read(&sandbox.path("out"), "log_events").len(), 2);
    sandbox.export(&["nomad.log", "-o", "strict", "--table", "log_events", "--strict"]).exits_with(1);
    // An incomplete last line is not damage, because the agent may still be writing it.
    sandbox.file("nomad.log", format!("{first}{torn}"));
    let done = sandbox.export(&["nomad.log", "-o", "growing", "--table", "log_events"]).exits_with(0);
    assert!(done.err.contains("still be writing"), "{}", done.err);
    assert_eq!(Exported::read(&sandbox.path("growing"), "log_events").len(), 1);
}

#[test]
fn the_content_decides_what_a_log_is() {
    let sandbox = Sandbox::new();
    let text = line(1, "Received", "Task received by client");
    let banner = format!("==> Loaded configuration\n{}\n    Nomad agent started!\n\n    {text}", "    x\n".repeat(400));
    sandbox.file("in/banner", banner);
    sandbox.file("in/rotated-1795458486976000000.log", &text);
    sandbox.file("in/json.txt", format!("{JSON_LINE}\n"));
    sandbox.file("in/docker.json", format!("{}\n", serde_json::json!({"log": text, "stream": "stderr"})));
    sandbox.file("in/packed.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    sandbox.file("in/server.log", "2026-11-23T18:27:54.657Z [INFO]  nomad: setting up raft bolt store\n");
    sandbox.file("in/other.txt", "Task event: alloc_id=a1\n");
    sandbox.file("in/other.json", r#"{"log":"Task event"}"#);
    let taken = take(&[&sandbox.path("in")], &IntakeOptions::default());
    assert_eq!((taken.summary.logs, taken.summary.log_lines, taken.summary.rejected), (5, 5, 0), "{:?}", taken.notes);
    let skipped: BTreeMap<String, String> = taken
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Skipped(what, _) => what.rsplit_once(": "),
            _ => None,
        })
        .map(|(name, why)| (name.rsplit('/').next().unwrap_or_default().to_owned(), why.to_owned()))
        .collect();
    let expected = [
        ("other.json", "is JSON without allocations"),
        ("other.txt", "is neither JSON nor an archive"),
        ("server.log", "is the log of an agent without task events"),
    ];
    assert_eq!(skipped, expected.map(|(name, why)| (name.to_owned(), why.to_owned())).into());
    // The five logs repeat one text line and one JSON line. Each of the two lines gives one row, wherever it is found.
    let forms: BTreeSet<_> = taken.table(Table::LogEvents).iter().map(|row| row["form"].to_string()).collect();
    assert_eq!((taken.table(Table::LogEvents).len(), forms.len()), (2, 2));
}

#[test]
fn a_log_longer_than_a_block_is_read_whole() {
    let sandbox = Sandbox::new();
    let mut log = String::new();
    let filler = format!("2026-11-23T18:27:55.839Z [DEBUG] http: request complete: {}\n", "x".repeat(3_000));
    for n in 0..6_000u32 {
        let message = if n % 7 == 0 { "several\nlines".to_owned() } else { format!("number {n}") };
        let logger = super::hclog::Logger { is_json: n % 5 == 0, has_location: false, zone: 0, prefix: ("", false) };
        log.push_str(&logger.line(&super::hclog::Line {
            alloc_id: "a1".into(),
            task: "app".into(),
            event_type: "Driver".into(),
            message,
            fails_task: false,
            at: 1_795_458_486_976_000_000 + i64::from(n) * 1_000_000,
        }));
        if n % 40 == 0 {
            (0..20).for_each(|_| log.push_str(&filler));
        }
    }
    // A line that never ends is not read as an event.
    log.push_str(&"y".repeat(5 << 20));
    sandbox.file("nomad.log", &log);
    let taken = take(&[&sandbox.path("nomad.log")], &IntakeOptions::default());
    assert_eq!((taken.summary.log_lines, taken.summary.rejected), (6_000, 0), "{:?}", taken.notes);
    assert_eq!(taken.table(Table::LogEvents).len(), 6_000);
    let several = taken.table(Table::LogEvents).iter().filter(|row| row["message"] == "several\nlines").count();
    assert_eq!(several, 858);
}

#[test]
fn a_lake_has_the_rows_of_an_export_once() {
    let sandbox = Sandbox::new();
    let (cluster, logs) = (sample("cluster"), sample("logs"));
    sandbox.run(&["ingest", &logs, "--lake", "lake"]).exits_with(0);
    sandbox.run(&["ingest", &cluster, "--lake", "lake"]).exits_with(0);
    let again = sandbox.run(&["ingest", &logs, &cluster, "--lake", "lake"]).exits_with(0);
    assert!(again.err.contains("84 lines of logs"), "{}", again.err);
    sandbox.export(&[&cluster, &logs, "-o", "documents", "--table", "log_events,recovered_events"]).exits_with(0);
    sandbox.export(&["lake", "-o", "of-lake", "--table", "log_events,recovered_events"]).exits_with(0);
    for table in ["log_events", "recovered_events"] {
        let sorted = |directory: &str| {
            let rows = Exported::read(&sandbox.path(directory), table);
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            rows.sort();
            rows
        };
        assert_eq!(sorted("of-lake"), sorted("documents"), "{table}");
    }
    let done = sandbox.run(&["lake", "check", "lake"]).exits_with(0);
    assert!(!done.err.contains("log_events"), "{}", done.err);
}

#[test]
fn a_secret_in_a_log_is_masked() {
    let sandbox = Sandbox::new();
    let message = "failed to download artifact http://user:hunter2@host/x?token=hunter2";
    sandbox.file(
        "nomad.log",
        line(1, "Driver", message) + &line(2, "Terminated", r#"Exit Code: 1, Exit Message: \"http://u:hunter2@h\""#),
    );
    sandbox
        .export(&["nomad.log", "-o", "out", "--format", "csv", "--table", "log_events,recovered_events"])
        .exits_with(0);
    for (name, bytes) in sandbox.files("out").into_iter().filter(|(name, _)| name.ends_with(".csv")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("hunter2") && text.contains("http://***@"), "{name}: {text}");
    }
}
