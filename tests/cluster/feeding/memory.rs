//! The memory of a feed over hours.
//!
//! The recorded twelve minutes happen again every half hour, with other allocations. Each half hour begins when the
//! feed has committed a batch of the half hour before. So simulated hours pass as fast as the feed can commit them.
//! libfaketime sets the program's clock, so that cached rows expire as in reality. The program's waits take real time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use alloclog::time::to_rfc3339_seconds;

use super::super::replay::Replay;
use super::{export, files, is_spool_empty, number, serve};
use crate::sandbox::{Sandbox, sample};
use crate::support::{Exported, Row};

/// The ID of a document in the ledger is the number of its batch times this factor, plus its number in the batch.
const DOCUMENTS: i64 = 1_000_000;
/// The time between two replays.
const APART: Duration = Duration::from_secs(1_800);
/// 2026-11-23T18:41:00Z, just after the recording, in seconds since the epoch.
const AFTER: i64 = 1_795_459_260;

/// ALLOCLOG_FEED_HOURS sets the number of hours, 30 by default. The deduplication cache forgets a row after 72 hours,
/// so in a run of 150 hours or more the cache begins to forget rows in the first half of the run.
#[test]
fn memory_does_not_grow_over_hours() {
    let Some(faketime) = libfaketime() else {
        eprintln!("NOT RUN: libfaketime is not installed");
        return;
    };
    let steps = 2 * number("ALLOCLOG_FEED_HOURS").unwrap_or(30);
    let (sandbox, recording) = (Sandbox::new(), sample("stream.ndjson.zst"));
    let replay = Replay::stepwise(Path::new(&recording), steps, APART);
    let agent = serve(&replay);
    let clock = sandbox.path("clock");
    let set_clock = |step: u64| {
        let now = AFTER + (step * APART.as_secs()) as i64;
        let text = to_rfc3339_seconds(now * 1_000_000_000).replace('T', " ").replace('Z', "\n");
        sandbox.file("clock.new", format!("@{text}"));
        fs::rename(sandbox.path("clock.new"), &clock).expect("a clock");
    };
    set_clock(0);
    let often = ["--cache", "lake.cache", "--every", "100ms", "--min-interval", "100ms", "--quiet"];
    let run = [&["ingest", &agent.address, "--lake", "lake", "--stream"], &often[..]].concat();
    let variables = [
        ("LD_PRELOAD", faketime.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &clock.to_string_lossy()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("TZ", "UTC"),
    ];
    let mut child = sandbox.nomad_command(&variables, &run).stderr(Stdio::null()).spawn().expect("the program starts");
    let batch_files = sandbox.path("lake/_alloclog/batches");
    let batches =
        || files(&batch_files).iter().filter(|path| path.extension().is_some_and(|end| end == "json")).count();
    let mut memory = Vec::new();
    for step in 1..=steps {
        let (before, began) = (memory.last().map_or(0, |(batches, _)| *batches), Instant::now());
        while batches() == before {
            assert!(began.elapsed() < Duration::from_secs(60), "no batch after step {step}");
            thread::sleep(Duration::from_millis(20));
        }
        memory.push((batches(), resident(child.id())));
        if step < steps {
            set_clock(step);
            replay.step();
        }
    }
    replay.wait_for_stream();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(child.wait().expect("an end").success());
    assert!(is_spool_empty(&sandbox, "lake"));

    let out = export(&sandbox, "lake");
    sandbox.export(&[&recording, "-o", "once", "-q", "--table", "task_events"]).exits_with(0);
    let count = |out: &str| Exported::read(&sandbox.path(out), "task_events").len() as u64;
    assert_eq!(count(&out), count("once") * steps);
    let batch_of = |row: &Row| row["snapshot_id"].as_i64().expect("a number") / DOCUMENTS;
    let batches = sandbox.ledger(&out).iter().map(batch_of).collect::<BTreeSet<i64>>().len() as u64;
    assert!(batches >= steps, "{batches} batches");
    let most = |part: &[(usize, u64)]| part.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
    let (first, second) = memory.split_at(memory.len() / 2);
    let (first, second) = (most(first), most(second));
    let received = zstd::decode_all(&*fs::read(&recording).expect("a recording")).expect("zstd").len() as u64 >> 10;
    let received = received * steps / 2;
    eprintln!(
        "{} hours, {} events in {batches} batches: {first} KiB at most in the first half, {second} KiB in the second, which \
         received {received} KiB",
        steps / 2,
        count(&out)
    );
    // Memory use becomes stable after about 25 hours. A feed that kept half of what it receives would not pass.
    let growth = if steps < 300 { received / 2 } else { first / 10 };
    assert!(second <= first + growth, "{first} KiB, then {second} KiB");
}

/// The resident memory of a process in KiB.
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
