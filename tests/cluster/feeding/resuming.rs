//! What a killed feed or export left in its spool.

use std::fs;
use std::process::Stdio;

use super::{Service, export, is_spool_empty, replayed, rows};
use crate::sandbox::{Sandbox, sample};

#[test]
fn documents_spooled_by_a_killed_feed_are_committed_by_the_next_one() {
    let sandbox = Sandbox::new();
    let (replay, agent) = replayed(2);
    // This feed never commits by itself.
    let mut never = Service::start(&sandbox, "lake", &agent.address, &["--stream"]);
    let every = never.arguments.iter().position(|argument| argument == "500ms").expect("an argument");
    never.arguments[every] = "1h".into();
    never.kill();
    replay.wait();
    never.child.kill().expect("a kill");
    never.child.wait().expect("an end");
    replay.set_away(true);
    assert!(!is_spool_empty(&sandbox, "lake"));
    // The agent is down now, so new rows can only come from the spool.
    never.child = Service::spawn(&sandbox, &never.arguments, &never.said);
    never.wait_for("batch ");
    never.stop(0);
    assert!(is_spool_empty(&sandbox, "lake"));
    let out = export(&sandbox, "lake");
    let recording = sample("stream.ndjson.zst");
    sandbox.export(&[&recording, "-o", "truth", "-q", "--table", "task_events"]).exits_with(0);
    assert!(rows(&sandbox, &out, "task_events") == rows(&sandbox, "truth", "task_events"));
}

#[test]
fn lakes_of_the_same_name_in_two_directories_have_separate_spools() {
    let sandbox = Sandbox::new();
    let (replay, agent) = replayed(1);
    let cache = sandbox.path("lake.cache").to_string_lossy().into_owned();
    let run = ["ingest", &agent.address, "--lake", "lake", "--cache", &cache, "--stream", "--every", "1h"];
    let within = |directory: &str, arguments: &[&str]| {
        fs::create_dir_all(sandbox.path(directory)).expect("a directory");
        let mut command = sandbox.nomad_command(&[], &[&run[..], arguments].concat());
        command.current_dir(sandbox.path(directory)).stderr(Stdio::null());
        command
    };
    let mut killed = within("a", &[]).spawn().expect("the program starts");
    replay.wait();
    killed.kill().expect("a kill");
    killed.wait().expect("an end");
    replay.set_away(true);
    assert!(within("b", &["--for", "1s"]).status().expect("the program starts").success());
    assert!(!is_spool_empty(&sandbox, "lake"));
    assert!(within("a", &["--for", "1s"]).status().expect("the program starts").success());
    assert!(is_spool_empty(&sandbox, "lake"));
}

#[test]
fn a_killed_export_resumes_from_its_spool() {
    let sandbox = Sandbox::new();
    let (replay, agent) = replayed(2);
    let run = ["export", &agent.address, "--stream", "--spool", "seen", "-o", "out", "--min-interval", "200ms"];
    let mut child = sandbox.nomad_command(&[], &run).stderr(Stdio::null()).spawn().expect("the program starts");
    replay.wait_for_stream();
    child.kill().expect("a kill");
    child.wait().expect("an end");
    assert!(!sandbox.path("out").exists());
    replay.set_away(true);
    let ran = sandbox.nomad(&[], &[&run[..], &["--for", "1s"]].concat()).exits_with(0);
    ran.stderr_has("resuming with ");
    let recording = sample("stream.ndjson.zst");
    sandbox.export(&[&recording, "-o", "truth", "-q", "--table", "task_events"]).exits_with(0);
    assert!(rows(&sandbox, "out", "task_events") == rows(&sandbox, "truth", "task_events"));
    let left = fs::read_dir(sandbox.path("seen/1")).expect("a spool").count();
    assert_eq!(left, 1, "only the lock of the spool is left");
}
