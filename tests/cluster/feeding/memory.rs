//! The memory of a feed over hours.
//!
//! libfaketime speeds up the program's clock like the replay, so that cached rows expire as in reality. Waits of the program
//! take real time, so `--every` is short.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::replay::Replay;
use super::{export, is_spool_empty, number, serve};
use crate::sandbox::{Sandbox, sample};
use crate::support::{Exported, Row};

/// The ID of a document in the ledger is the number of its batch times this, and its number in the batch.
const DOCUMENTS: i64 = 1_000_000;

/// Each replayed hour takes 1.5 s.
///
/// ALLOCLOG_FEED_HOURS sets the number of hours, 12 by default.
#[test]
fn memory_does_not_grow_over_hours() {
    let Some(faketime) = libfaketime() else {
        eprintln!("NOT RUN: libfaketime is not installed");
        return;
    };
    let hours = number("ALLOCLOG_FEED_HOURS").unwrap_or(12);
    let (sandbox, recording) = (Sandbox::new(), sample("stream.ndjson.zst"));
    // A replay takes nearly twelve minutes.
    let (replays, within) = (hours * 5, Duration::from_millis(hours * 1_500));
    let replay = Replay::again(Path::new(&recording), replays, within);
    let agent = serve(&replay);
    let often = ["--cache", "lake.cache", "--every", "250ms", "--min-interval", "60s", "--timeout", "600s", "--quiet"];
    let run = [&["ingest", &agent.address, "--lake", "lake", "--stream"], &often[..]].concat();
    let clock = format!("@2026-11-23 18:28:00 x{}", replay.speed());
    let variables = [("LD_PRELOAD", faketime.as_str()), ("FAKETIME", &clock), ("TZ", "UTC")];
    let mut child = sandbox.nomad_command(&variables, &run).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut memory = Vec::new();
    let began = Instant::now();
    while began.elapsed() < within {
        thread::sleep(Duration::from_millis(100));
        memory.push(resident(child.id()));
    }
    replay.wait_for_stream();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(child.wait().expect("an end").success());
    assert!(is_spool_empty(&sandbox, "lake"));

    let out = export(&sandbox, "lake");
    sandbox.export(&[&recording, "-o", "once", "-q", "--table", "task_events"]).exits_with(0);
    let count = |out: &str| Exported::read(&sandbox.path(out), "task_events").len() as u64;
    let (events, all) = (count(&out), count("once") * replays);
    let batch_of = |row: &Row| row["snapshot_id"].as_i64().expect("a number") / DOCUMENTS;
    let batches = sandbox.ledger(&out).iter().map(batch_of).collect::<BTreeSet<i64>>().len() as u64;
    let most = |part: &[u64]| part.iter().max().copied().unwrap_or_default();
    let (first, second) = memory.split_at(memory.len() / 2);
    let (first, second) = (most(first), most(second));
    let received = zstd::decode_all(&*fs::read(&recording).expect("a recording")).expect("zstd").len() as u64 >> 10;
    let received = received * replays / 2;
    eprintln!(
        "{hours} hours, {events} of {all} events in {batches} batches: {first} KiB at most in the first half, {second} KiB in \
         the second, which received {received} KiB"
    );
    // Events are lost if a slow machine delays the reader by more than the server remembers, 0.3 s.
    assert!(events >= all / 10 * 9, "{events} of {all} events");
    assert!(batches >= 2 * hours, "{batches} batches");
    assert!(second <= first + first / 10, "{first} KiB, then {second} KiB");
}

/// Its resident memory in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
}

fn libfaketime() -> Option<String> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = places.map(|place| place.path().join("faketime/libfaketime.so.1"));
    Some(libraries.find(|path| path.is_file())?.to_string_lossy().into_owned())
}
