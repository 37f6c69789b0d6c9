//! A feed while the program, the agent and the store fail.
//!
//! ALLOCLOG_FEED_SECONDS sets how long the replay of the recorded twelve minutes takes. The default is 20 s. 73 s is
//! ten times real speed.
//! ALLOCLOG_FEED_SEED sets the seed, to repeat a run that printed its seed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::agent::Agent;
use super::super::answer;
use super::super::replay::Replay;
use super::{Service, export, is_spool_empty, number, replayed, rows, serve};
use crate::recordings;
use crate::sandbox::{Sandbox, sample};
use crate::simulator::random::Random;

/// Tables whose rows do not depend on when the cluster was listed.
const EXACT: [&str; 4] = ["task_events", "allocation_history", "task_state_history", "nodes"];

/// The stream to replay: the whole recording, or the sample cut from it.
fn stream() -> PathBuf {
    recordings::recording().map_or_else(|| sample("stream.ndjson.zst").into(), |path| path.join("stream.ndjson.zst"))
}

/// The duration of the replay.
fn within() -> Duration {
    Duration::from_secs(number("ALLOCLOG_FEED_SECONDS").unwrap_or(20))
}

/// The events of the recording.
fn truth(sandbox: &Sandbox) -> BTreeSet<String> {
    sandbox.export(&[&stream().to_string_lossy(), "-o", "truth", "-q", "--table", "task_events"]).exits_with(0);
    rows(sandbox, "truth", "task_events")
}

#[derive(Debug, Clone, Copy)]
enum Misfortune {
    Kill,
    AgentGoes,
    AgentComes,
    StoreGoes,
    StoreComes,
}

/// The faults within the recorded twelve minutes, with their times. There is a kill each minute, and the store is down
/// three times for two minutes. If `agent` is true, the agent is down three times for 20 s.
fn misfortunes(random: &mut Random, within: Duration, agent: bool) -> Vec<(Duration, Misfortune)> {
    let minute = within / 12;
    let mut at = |minutes: f64| minute.mul_f64(minutes + random.below(1_000) as f64 / 1_500.0);
    let mut all: Vec<(Duration, Misfortune)> = (0..12).map(|n| (at(f64::from(n)), Misfortune::Kill)).collect();
    for begins in [1.0, 4.5, 8.0] {
        let goes = at(begins);
        all.extend([(goes, Misfortune::StoreGoes), (goes + 2 * minute, Misfortune::StoreComes)]);
    }
    for begins in [2.0, 6.0, 10.0].into_iter().filter(|_| agent) {
        let goes = at(begins);
        all.extend([(goes, Misfortune::AgentGoes), (goes + minute / 3, Misfortune::AgentComes)]);
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

/// Runs a feed through the faults and returns the name of the lake.
fn live(sandbox: &Sandbox, name: &str, remembered: usize, agent_goes: bool, seed: u64, all: usize) -> String {
    eprintln!("{name}: ALLOCLOG_FEED_SEED={seed}");
    // The lake is a symbolic link that is switched atomically. During an outage the link leads to a file, so nothing
    // can be read or written.
    let point = |to: &str| {
        let link = sandbox.path(&format!("{name}.link"));
        symlink(sandbox.path(to), &link).expect("a link");
        fs::rename(link, sandbox.path(name)).expect("a link that is turned");
    };
    let real = format!("{name}.real");
    fs::create_dir(sandbox.path(&real)).expect("a directory");
    sandbox.file(&format!("{name}.away"), "");
    point(&real);
    let replay = Replay::new(&stream(), within(), remembered, &[]);
    let agent = serve(&replay);
    let mut random = Random::new(seed);
    let plan = misfortunes(&mut random, within(), agent_goes);
    let mut service = Service::start(sandbox, name, &agent.address, &["--stream"]);
    let began = Instant::now();
    for (at, misfortune) in plan {
        while began.elapsed() < at {
            service.look();
            thread::sleep(Duration::from_millis(10));
        }
        match misfortune {
            Misfortune::Kill => service.kill(),
            Misfortune::AgentGoes => replay.set_away(true),
            Misfortune::AgentComes => replay.set_away(false),
            Misfortune::StoreGoes => point(&format!("{name}.away")),
            Misfortune::StoreComes => point(&real),
        }
    }
    replay.wait_for_stream();
    service.look();
    settle(sandbox, name, all);
    let said = service.stop(0);
    assert!(said.contains("retrying every 500ms"), "no outage of the store was reported:\n{said}");
    assert!(!said.contains("bug in alloclog"), "{said}");
    assert!(is_spool_empty(sandbox, name));
    export(sandbox, name)
}

/// Waits until a lake has this many events, or has received no event for a while.
fn settle(sandbox: &Sandbox, lake: &str, all: usize) {
    let probe = format!("{lake}.probe");
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let ran = sandbox.export(&[lake, "-o", &probe, "--force", "-q", "--table", "task_events"]);
        let events = if ran.code == 0 { rows(sandbox, &probe, "task_events").len() } else { 0 };
        if events != before {
            (before, since) = (events, Instant::now());
        }
        if events >= all || since.elapsed() > Duration::from_secs(60) {
            return;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn uninterrupted(sandbox: &Sandbox, all: usize) -> String {
    let replay = Replay::new(&stream(), within(), usize::MAX, &[]);
    let agent = serve(&replay);
    let service = Service::start(sandbox, "whole", &agent.address, &["--stream"]);
    replay.wait_for_stream();
    settle(sandbox, "whole", all);
    service.stop(0);
    assert!(is_spool_empty(sandbox, "whole"));
    export(sandbox, "whole")
}

fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    number("ALLOCLOG_FEED_SEED").unwrap_or_else(clock)
}

#[test]
fn a_feed_with_repeated_failures_gives_the_rows_of_one_without() {
    let (sandbox, seed) = (Sandbox::new(), seed());
    let all = truth(&sandbox);
    let (whole, broken) = thread::scope(|scope| {
        let whole = scope.spawn(|| uninterrupted(&sandbox, all.len()));
        let broken = live(&sandbox, "broken", usize::MAX, true, seed, all.len());
        (whole.join().expect("an end"), broken)
    });
    assert!(rows(&sandbox, &whole, "task_events") == all);
    for table in EXACT {
        let (whole, broken) = (rows(&sandbox, &whole, table), rows(&sandbox, &broken, table));
        let (lost, more) = (whole.difference(&broken).count(), broken.difference(&whole).count());
        assert!(
            lost + more == 0,
            "{table}: {lost} of {} rows are missing, and there are {more} wrong rows",
            whole.len()
        );
    }
}

/// The server remembers a hundred events, as Nomad does. So an event during an outage of the agent is lost unless a
/// later listing shows it.
#[test]
fn a_feed_loses_nothing_unless_the_agent_is_down() {
    if number("ALLOCLOG_FEED_SECONDS").is_none() {
        // At the default speed, the server forgets a hundred events before a killed process has started again. So this
        // test needs a slower replay, for example at ten times real speed.
        return;
    }
    let (sandbox, seed) = (Sandbox::new(), seed());
    let all = truth(&sandbox);
    let (up, away) = thread::scope(|scope| {
        let up = scope.spawn(|| live(&sandbox, "up", 100, false, seed, all.len()));
        let away = live(&sandbox, "away", 100, true, seed, all.len());
        (up.join().expect("an end"), away)
    });
    let (up, away) = (rows(&sandbox, &up, "task_events"), rows(&sandbox, &away, "task_events"));
    let kept = |rows: &BTreeSet<String>| all.intersection(rows).count() as f64 / all.len() as f64;
    eprintln!("agent up: {:.4} of {} events; away three times 20 s: {:.4}", kept(&up), all.len(), kept(&away));
    assert!(up == all);
    assert!(away.is_subset(&all) && kept(&away) >= 0.97);
}

#[test]
fn a_feed_waits_for_a_missing_lake_and_does_not_create_it_again() {
    let sandbox = Sandbox::new();
    let (replay, agent) = replayed(4);
    let mut service = Service::start(&sandbox, "lake", &agent.address, &["--stream"]);
    service.wait_for("batch 1");
    // As after an unmount: the directory is there, and empty.
    fs::rename(sandbox.path("lake"), sandbox.path("mount")).expect("a mount that goes");
    fs::create_dir(sandbox.path("lake")).expect("a directory");
    service.wait_for("retrying every 500ms");
    service.kill();
    replay.wait();
    assert_eq!(sandbox.files("lake").len(), 0);
    service.wait_for("not a lake");
    fs::remove_dir(sandbox.path("lake")).expect("an empty directory");
    fs::rename(sandbox.path("mount"), sandbox.path("lake")).expect("a mount that comes");
    service.wait_for("the lake is writable again");
    service.stop(0);
    let out = export(&sandbox, "lake");
    sandbox.export(&[&sample("stream.ndjson.zst"), "-o", "truth", "-q", "--table", "task_events"]).exits_with(0);
    assert!(rows(&sandbox, &out, "task_events") == rows(&sandbox, "truth", "task_events"));
}

/// The error of a store that does not answer contains how long the program tried, so the text of the error differs each
/// time.
#[test]
fn an_outage_of_the_store_is_reported_once() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let store =
        [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let run = ["ingest", &agent.address, "--lake", "s3://b/x", "--cache", "c", "--watch", "--every", "100ms", "-q"];
    sandbox.nomad(&store, &run).exits_with(1);
    // Mark the spool as if the lake had been opened before.
    let spool = fs::read_dir(sandbox.path("c")).expect("a cache").next().expect("a spool").expect("a directory");
    fs::write(spool.path().join("lake"), "").expect("a file");
    let ran = sandbox.nomad(&store, &[&run[..], &["--for", "12s"]].concat()).exits_with(1);
    let ran = ran.stderr_has("uncommitted documents are kept in");
    assert_eq!(ran.err.matches("retrying every").count(), 1, "{}", ran.err);
}
