//! `alloclog timeline` as a user sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::sandbox::{Finished, Sandbox, allocation, is_as_expected, sample};

fn json(ran: &Finished) -> Value {
    serde_json::from_str(&ran.out).expect("JSON")
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// All events of a timeline, as (allocation, task, time, type, message).
fn events(timeline: &Value) -> Vec<[String; 5]> {
    let mut all = Vec::new();
    for story in rows(&timeline["allocations"]) {
        for task in rows(&story["tasks"]) {
            for event in rows(&task["events"]) {
                all.push([
                    story["allocation"]["alloc_id"].to_string(),
                    task["task"].to_string(),
                    event["event_at_ns"].to_string(),
                    event["event_type"].to_string(),
                    event["message"].to_string(),
                ]);
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_timeline_of_the_samples_is_as_expected_in_every_format() {
    let sandbox = Sandbox::new();
    for (format, ending) in [("terminal", "txt"), ("markdown", "md"), ("json", "json")] {
        for (target, name) in [("4260067f", "allocation"), ("oom", "job")] {
            let flags = ["timeline", target, &sample("cluster"), "-q", "--format", format];
            let ran = sandbox.run(&flags).exits_with(0);
            is_as_expected(&format!("timeline-{name}.{ending}"), &ran.out);
            sandbox.run(&[&flags[..], &["-o", "out"]].concat()).exits_with(0);
            assert_eq!(fs::read_to_string(sandbox.path("out")).expect("a file"), ran.out);
        }
    }
}

#[test]
fn every_event_of_an_event_stream_is_shown_exactly_once() {
    // The events of the stream, read without the program.
    let stream = fs::File::open(sample("stream.ndjson.zst")).expect("a file");
    let text = std::io::read_to_string(zstd::Decoder::new(stream).expect("zstd")).expect("text");
    let mut truth: BTreeMap<String, BTreeSet<[String; 4]>> = BTreeMap::new();
    for frame in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        for event in rows(&frame["Events"]) {
            let allocation = &event["Payload"]["Allocation"];
            let Some(tasks) = allocation["TaskStates"].as_object() else { continue };
            for (task, state) in tasks {
                for event in rows(&state["Events"]) {
                    let job = allocation["JobID"].as_str().expect("a job").to_owned();
                    let texts = [&allocation["ID"], &Value::from(task.as_str()), &event["Time"], &event["Type"]];
                    truth.entry(job).or_default().insert(texts.map(ToString::to_string));
                }
            }
        }
    }
    assert!(truth.len() > 1);
    let sandbox = Sandbox::new();
    for (job, expected) in truth {
        let ran =
            sandbox.run(&["timeline", &job, &sample("stream.ndjson.zst"), "-q", "--format", "json"]).exits_with(0);
        let shown: Vec<[String; 4]> =
            events(&json(&ran)).into_iter().map(|[alloc, task, at, kind, _]| [alloc, task, at, kind]).collect();
        assert_eq!(shown.len(), expected.len(), "{job}");
        assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), expected, "{job}");
    }
}

#[test]
fn every_event_of_the_tables_is_in_one_timeline_and_every_lost_restart_in_a_gap() {
    let sandbox = Sandbox::new();
    let query = |sql: &str| -> Value {
        json(&sandbox.run(&["query", sql, &sample("cluster"), "-q", "--format", "json"]).exits_with(0))
    };
    let table = query("SELECT alloc_id, task, event_at_ns, event_type, message FROM task_events");
    let columns = ["alloc_id", "task", "event_at_ns", "event_type", "message"];
    let mut expected: Vec<[String; 5]> =
        rows(&table).iter().map(|row| columns.map(|column| row[column].to_string())).collect();
    expected.sort();
    let jobs = query("SELECT DISTINCT namespace, job_id FROM allocations");
    let parent = |job: &str| {
        let cut = job.split_once("/dispatch-").or(job.split_once("/periodic-"));
        cut.map_or(job, |(of, _)| of).to_owned()
    };
    let jobs: BTreeSet<(String, String)> = rows(&jobs)
        .iter()
        .map(|row| [&row["namespace"], &row["job_id"]].map(|text| text.as_str().expect("a text")))
        .map(|[namespace, job]| (namespace.to_owned(), parent(job)))
        .collect();
    let lost = query("SELECT alloc_id, task, lost_restarts FROM coverage");
    let lost: BTreeMap<[String; 2], &Value> = rows(&lost)
        .iter()
        .map(|row| ([row["alloc_id"].to_string(), row["task"].to_string()], &row["lost_restarts"]))
        .collect();
    let mut shown = Vec::new();
    let mut tasks_with_loss = 0;
    for (namespace, name) in &jobs {
        let cluster = sample("cluster");
        let flags = ["timeline", name, &cluster, "--namespace", namespace, "-q", "--format", "json"];
        let story = json(&sandbox.run(&flags).exits_with(0));
        shown.extend(events(&story));
        for allocation in rows(&story["allocations"]) {
            for task in rows(&allocation["tasks"]) {
                let numbers = rows(&task["events"]).iter().map(|event| event["event_no"].as_i64().expect("a number"));
                assert!(
                    numbers.eq(1..=rows(&task["events"]).len() as i64),
                    "{name}: the event numbers are out of order"
                );
                let key = [allocation["allocation"]["alloc_id"].to_string(), task["task"].to_string()];
                let expected = lost.get(&key).and_then(|lost| lost.as_i64());
                let in_gaps: i64 = rows(&task["gaps"]).iter().filter_map(|gap| gap["lost_restarts"].as_i64()).sum();
                assert_eq!(in_gaps, expected.unwrap_or(0), "{name} {key:?}");
                tasks_with_loss += i32::from(in_gaps > 0);
            }
        }
    }
    shown.sort();
    let missing: Vec<_> = expected.iter().filter(|event| !shown.contains(event)).take(3).collect();
    assert!(shown == expected, "{} shown, {} in the table, missing {missing:?}", shown.len(), expected.len());
    assert!(tasks_with_loss >= 3, "{tasks_with_loss}");
}

#[test]
fn the_terminal_shows_each_event_and_each_gap_once() {
    let sandbox = Sandbox::new();
    let flags = ["timeline", "77a4f90a", &sample("cluster"), "-q"];
    let text = sandbox.run(&flags).exits_with(0).out;
    let story = json(&sandbox.run(&[&flags[..], &["--format", "json"]].concat()).exits_with(0));
    let events = events(&story);
    assert!(events.len() > 30);
    for kind in ["Started", "Terminated", "Restarting", "Received"] {
        let expected = events.iter().filter(|event| event[3] == format!("{kind:?}")).count();
        // The line of an event begins with its time and its type.
        let is_event = |line: &&str| {
            line.trim_start().split_once("  ").is_some_and(|(time, rest)| {
                time.len() == 12 && rest.trim_start().strip_prefix(kind).is_some_and(|rest| rest.starts_with(' '))
            })
        };
        assert_eq!(text.lines().filter(is_event).count(), expected, "{kind}:\n{text}");
    }
    let gaps: usize = rows(&story["allocations"][0]["tasks"]).iter().map(|task| rows(&task["gaps"]).len()).sum();
    assert_eq!(text.matches("┄┄ ").count(), gaps, "{text}");
    assert!(text.contains("94 restarts lost: counted by Nomad, cause unknown."), "{text}");
}

#[test]
fn a_beginning_of_an_id_is_enough_and_candidates_are_listed_if_it_is_ambiguous() {
    let sandbox = Sandbox::new();
    let of = |id: &str, namespace: &str, job: &str| allocation(id, namespace, job);
    let listing = [
        of("abcd1111-0000-0000-0000-000000000000", "prod", "web"),
        of("abcd2222-0000-0000-0000-000000000000", "prod", "api"),
        of("ee000000-0000-0000-0000-000000000000", "test", "api"),
        of("ff000000-0000-0000-0000-000000000000", "test", "it's \\\\ \\\"x\\\""),
        of("f1000000-0000-0000-0000-000000000000", "prod", "abcd1"),
    ];
    sandbox.file("a.json", format!("[{}]", listing.join(",")));
    let run = |target: &str, more: &[&str]| sandbox.run(&[&["timeline", target, "a.json", "-q"], more].concat());
    for id in ["abcd2", "ABCD2222", "abcd22220000", "abcd2222-0000-0000-0000-000000000000"] {
        let text = run(id, &[]).exits_with(0).out;
        assert!(text.starts_with("Allocation abcd2222-0000-0000-0000-000000000000 of job api"), "{text}");
    }
    let ran = run("abcd", &[]).exits_with(2).stderr_has("is ambiguous").stderr_has("allocation of job web");
    assert!(ran.err.contains("abcd1  --namespace prod: job with 1 allocation") && ran.out.is_empty(), "{}", ran.err);
    // A complete name takes precedence over the beginning of an ID.
    assert!(run("abcd1", &[]).exits_with(0).out.starts_with("Job abcd1 in namespace prod"));
    run("api", &[]).exits_with(2).stderr_has("--namespace prod: job").stderr_has("--namespace test: job");
    assert!(run("api", &["--namespace", "test"]).exits_with(0).out.starts_with("Job api in namespace test"));
    assert!(run("we", &[]).exits_with(0).out.starts_with("Job web in namespace prod"));
    let quoted = run("it's \\ \"x\"", &[]).exits_with(0).out;
    assert!(quoted.starts_with("Job it's \\ \"x\" in namespace test"), "{quoted}");
    run("nothing", &[]).exits_with(1).stderr_has("no allocation or job is called nothing");
    run("", &[]).exits_with(1);
    run("api", &["--since", "1h"]).exits_with(2).stderr_has("--since applies to a lake");
    run("web", &["-o", "x", "--trace", "x"]).exits_with(2);
    run("web", &["--trace", "a.json"]).exits_with(2).stderr_has("--trace a.json: the file is one of the inputs");
    assert_eq!(sandbox.names(), ["a.json"]);
}

#[test]
fn a_parent_job_has_the_allocations_of_its_children() {
    let sandbox = Sandbox::new();
    let listing = [
        allocation("a1", "n", "etl/periodic-1795458551"),
        allocation("a2", "n", "etl/periodic-1795458561"),
        allocation("a3", "n", "etl-other"),
    ];
    let listing = listing.map(|text| text.replace("\"TaskGroup\"", "\"JobType\":\"batch\",\"TaskGroup\""));
    sandbox.file("a.json", format!("[{}]", listing.join(",")));
    let story = json(&sandbox.run(&["timeline", "etl", "a.json", "-q", "--format", "json"]).exits_with(0));
    let ids: Vec<_> = rows(&story["allocations"]).iter().map(|story| story["allocation"]["alloc_id"].clone()).collect();
    assert_eq!(ids, ["a1", "a2"]);
}

#[test]
fn neighbours_and_their_nodes_are_named() {
    let sandbox = Sandbox::new();
    let story =
        |id: &str| json(&sandbox.run(&["timeline", id, &sample("cluster"), "-q", "--format", "json"]).exits_with(0));
    let replaced = story("2d0f02b9");
    let next = &replaced["allocations"][0]["next"][0];
    assert_eq!(
        (&next["alloc_id"], &next["node_name"], &next["reason"]),
        (&Value::from("a781966b-16a4-24c1-0569-7b356f61bf51"), &Value::from("client3"), &Value::from("rescheduled"),)
    );
    let previous = &story("a781966b")["allocations"][0]["previous"];
    assert_eq!(
        (&previous["alloc_id"], &previous["node_name"]),
        (&Value::from("2d0f02b9-8db8-8dc3-1e97-a680fc1aaba3"), &Value::from("client1"),)
    );
    assert_eq!(story("4260067f")["allocations"][0]["previous"], Value::Null);
}

#[test]
fn texts_of_documents_are_escaped_and_lines_fit() {
    let sandbox = Sandbox::new();
    let long = "y".repeat(700);
    let job = "<img src=x>|\\u001b[2J*b*\\u202e";
    let hostile = allocation("a", "n", job)
        .replace("\"t\":", &format!("\"{long}\":"))
        .replace("Received", "Setup\\u0007 |<b>")
        .replace("=cmd", &format!("<script>\\n|x {long}"));
    sandbox.file("a.json", hostile);
    let text = sandbox.run(&["timeline", "a", "a.json", "-q"]).exits_with(0).out;
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']) && text.contains("<script>\\n|x"), "{text}");
    assert!(text.lines().all(|line| console::measure_text_width(line) <= 100), "{text}");
    assert!(text.replace([' ', '\n'], "").contains(&long), "long names are not shortened");
    let markdown = sandbox.run(&["timeline", "a", "a.json", "-q", "--format", "markdown"]).exits_with(0).out;
    assert!(!markdown.contains("<img") && !markdown.contains("<script>") && !markdown.contains("<b>"), "{markdown}");
    let colours = sandbox.run(&["timeline", "a", "a.json", "-q", "--color", "always"]).exits_with(0).out;
    assert_eq!(console::strip_ansi_codes(&colours), text);
}

#[test]
fn a_trace_has_a_track_per_task_and_no_overlapping_slices() {
    let sandbox = Sandbox::new();
    for target in ["oom", "77a4f90a", "4260067f", "web"] {
        let flags = ["timeline", target, &sample("cluster"), "-q", "--trace", "trace.json", "--format", "json"];
        let story = json(&sandbox.run(&flags).exits_with(0));
        let trace: Value =
            serde_json::from_slice(&fs::read(sandbox.path("trace.json")).expect("a file")).expect("JSON");
        let mut tracks: BTreeMap<(i64, i64), Vec<(f64, f64)>> = BTreeMap::new();
        let mut instants = 0;
        for event in rows(&trace["traceEvents"]) {
            let track = (event["pid"].as_i64().expect("a process"), event["tid"].as_i64().expect("a thread"));
            match event["ph"].as_str() {
                Some("X") => {
                    let (at, long) = (event["ts"].as_f64().expect("a time"), event["dur"].as_f64().expect("a time"));
                    assert!(at >= 0.0 && long >= 0.0, "{event}");
                    tracks.entry(track).or_default().push((at, at + long));
                }
                Some("i") => instants += 1,
                other => assert_eq!(other, Some("M")),
            }
        }
        assert_eq!(instants, events(&story).len(), "{target}");
        assert!(!tracks.is_empty(), "{target}");
        for slices in tracks.values_mut() {
            slices.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
            assert!(slices.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-3), "{target}: {slices:?}");
        }
    }
}

#[test]
fn a_lake_gives_the_same_timeline_as_its_documents() {
    let sandbox = Sandbox::new();
    sandbox.run(&["ingest", &sample("cluster"), "--lake", "lake", "-q"]).exits_with(0);
    let of = |source: &str| {
        let ran = sandbox.run(&["timeline", "oom", source, "-q", "--format", "json"]).exits_with(0);
        events(&json(&ran))
    };
    assert_eq!(of("lake"), of(&sample("cluster")));
    sandbox.run(&["timeline", "oom", "lake", "-q", "--since", "1d"]).exits_with(0);
    sandbox.run(&["timeline", "zzz", "lake", "-q"]).exits_with(1).stderr_has("--since 30d looks further back");
}
