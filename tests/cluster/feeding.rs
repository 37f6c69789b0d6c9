//! `alloclog ingest --stream` and `--watch` on a replayed recording.

mod faults;
mod memory;
mod resuming;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::agent::{Agent, Reply};
use super::aside;
use super::replay::Replay;
use crate::sandbox::{Sandbox, allocation, sample};
use crate::support::{Exported, Row};

/// The stored tables that are compared.
const TABLES: [&str; 6] =
    ["task_events", "allocation_history", "task_state_history", "sightings", "nodes", "snapshots"];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The sample of a recording, replayed within this number of seconds, and the agent that serves it.
fn replayed(seconds: u64) -> (Arc<Replay>, Agent) {
    let recording = sample("stream.ndjson.zst");
    let replay = Replay::new(Path::new(&recording), Duration::from_secs(seconds), usize::MAX, &[]);
    let agent = serve(&replay);
    (replay, agent)
}

fn serve(replay: &Arc<Replay>) -> Agent {
    let answering = Arc::clone(replay);
    Agent::new(move |request| answering.answer(request))
}

/// The program as a service under systemd or Nomad: restarted whenever it ends.
struct Service<'d> {
    sandbox: &'d Sandbox,
    arguments: Vec<String>,
    child: Child,
    said: PathBuf,
}

impl Service<'_> {
    fn start<'d>(sandbox: &'d Sandbox, name: &str, address: &str, arguments: &[&str]) -> Service<'d> {
        let mut all = vec!["ingest", address, "--lake", name, "--cache"];
        let cache = format!("{name}.cache");
        all.extend([cache.as_str(), "--every", "500ms", "--min-interval", "200ms", "--timeout", "2s"]);
        all.extend(arguments);
        let arguments: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let said = sandbox.path(&format!("{name}.log"));
        let child = Service::spawn(sandbox, &arguments, &said);
        Service { sandbox, arguments, child, said }
    }

    fn spawn(sandbox: &Sandbox, arguments: &[String], said: &Path) -> Child {
        let log = fs::File::options().create(true).append(true).open(said).expect("a log");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        sandbox.nomad_command(&[], &arguments).stdout(Stdio::null()).stderr(log).spawn().expect("the program starts")
    }

    /// The program's stderr so far.
    fn said(&self) -> String {
        fs::read_to_string(&self.said).expect("a log")
    }

    fn kill(&mut self) {
        // Killing fails if the program has already ended.
        let _ = self.child.kill();
        self.child.wait().expect("an end");
        self.child = Service::spawn(self.sandbox, &self.arguments, &self.said);
    }

    /// Restarts the program if it has ended.
    fn look(&mut self) {
        if self.child.try_wait().expect("a child").is_some() {
            self.kill();
        }
    }

    fn signal(&self, name: &str) {
        Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
    }

    /// Sends SIGTERM and checks the exit code.
    fn stop(mut self, code: i32) -> String {
        self.signal("-TERM");
        let ended = self.child.wait().expect("an end").code();
        assert_eq!(ended, Some(code), "{}", self.said());
        self.said()
    }

    /// Waits until the program's stderr contains a text.
    fn wait_for(&self, word: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.said().contains(word) {
            assert!(Instant::now() < until, "{word:?} is not in:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The rows of a table without the columns that depend on the order of arrival. One of these columns names the first
/// document with the row. The other says whether a listing or the stream showed a version.
fn rows(sandbox: &Sandbox, out: &str, table: &str) -> BTreeSet<String> {
    let text = |mut row: Row| {
        for column in ["snapshot_id", "shape"] {
            row.remove(column);
        }
        serde_json::to_string(&row).expect("a row")
    };
    Exported::read(&sandbox.path(out), table).into_iter().map(text).collect()
}

/// Exports a lake, and checks that it is whole and without duplicate rows.
fn export(sandbox: &Sandbox, lake: &str) -> String {
    let out = format!("{lake}.out");
    sandbox.run(&["lake", "check", lake]).exits_with(0);
    sandbox.export(&[lake, "-o", &out, "-q", "--table", &TABLES.join(",")]).exits_with(0);
    for table in TABLES {
        let rows = Exported::read(&sandbox.path(&out), table);
        let texts: BTreeSet<String> = rows.iter().map(|row| serde_json::to_string(row).expect("a row")).collect();
        assert_eq!(texts.len(), rows.len(), "{table}");
    }
    out
}

/// The files below a directory. Empty if the directory does not exist.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns true if no document waits in the spool.
fn is_spool_empty(sandbox: &Sandbox, lake: &str) -> bool {
    let cache = sandbox.path(&format!("{lake}.cache"));
    assert!(cache.is_dir(), "no cache");
    files(&cache).iter().all(|path| {
        let name = path.to_string_lossy();
        !name.ends_with(".json.zst") && !name.ends_with(".open") && !name.ends_with(".tmp")
    })
}

#[test]
fn concurrent_writers_add_each_row_once_and_the_idle_one_no_ledger_row() {
    let sandbox = Sandbox::new();
    let (replay, agent) = replayed(6);
    let first = Service::start(&sandbox, "lake", &agent.address, &["--stream"]);
    // The second service shares the cache directory of the first, like two processes on one machine.
    let second = Service::start(&sandbox, "lake", &agent.address, &["--stream", "--quiet"]);
    replay.wait();
    let said = first.stop(0) + &second.stop(0);
    assert!(is_spool_empty(&sandbox, "lake"), "{said}");
    let out = export(&sandbox, "lake");
    let recording = sample("stream.ndjson.zst");
    sandbox.export(&[&recording, "-o", "truth", "-q", "--table", "task_events"]).exits_with(0);
    assert!(rows(&sandbox, &out, "task_events") == rows(&sandbox, "truth", "task_events"));
    let ledger = sandbox.ledger(&out);
    let brings = |row: &&Row| ["new_allocations", "new_task_states", "new_task_events"].iter().any(|n| row[*n] != 0);
    let streamed: Vec<&Row> = ledger.iter().filter(|row| row["shape"] == "stream").collect();
    assert!(!streamed.is_empty() && streamed.iter().all(brings), "{streamed:?}");
    let source = streamed[0]["source"].as_str().expect("a text");
    assert_eq!(source, format!("{}/v1/event/stream", agent.address));
    assert!(ledger.iter().any(|row| row["is_full_listing"] == true && row["source"] == agent.address.as_str()));
}

/// A document of the stream that only repeats known versions gets no ledger row. The ledger rows of listings show that
/// the program still runs.
#[test]
fn the_ledger_of_an_idle_cluster_has_listings_only() {
    let one = allocation("a", "default", "j");
    let event = format!(
        r#"{{"Topic":"Allocation","Type":"AllocationUpdated","Key":"a","Namespace":"default","Index":2,"Payload":{{"Allocation":{one}}}}}"#
    );
    let frame = format!("{{\"Index\":2,\"Events\":[{event}]}}\n");
    let agent = Agent::new(move |request| match request.path.as_str() {
        "/v1/allocations" => Reply::list(2, format!("[{one}]")),
        "/v1/event/stream" => {
            let frame = frame.clone();
            Reply::stream(move |out| {
                loop {
                    out.write_all(frame.as_bytes())?;
                    thread::sleep(Duration::from_millis(150));
                }
            })
        }
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        let run = ["ingest", &agent.address, "--lake", "lake", "--cache", "c", "--stream", "--every", "200ms"];
        sandbox.nomad(&[], &[&run[..], &["--for", "2s"]].concat()).exits_with(0);
    }
    let ledger = sandbox.ledger(&export(&sandbox, "lake"));
    assert_eq!(ledger.iter().filter(|row| row["shape"] == "stream").count(), 1, "{ledger:?}");
    let listings: Vec<&Row> = ledger.iter().filter(|row| row["is_full_listing"] == true).collect();
    let new: Vec<bool> = listings.iter().map(|row| row["new_allocations"] != 0).collect();
    assert_eq!(new, [true, false]);
}

#[test]
fn a_feed_ends_after_the_time_of_for_with_watch_and_stream() {
    let sandbox = Sandbox::new();
    let (_, agent) = replayed(2);
    let began = Instant::now();
    let quickly = ["--min-interval", "200ms", "--every", "400ms", "--for", "3s", "--metrics", "a.prom"];
    let run =
        [&["ingest", &agent.address, "--lake", "lake", "--cache", "lake.cache", "--watch"], &quickly[..]].concat();
    let ran = sandbox.nomad(&[], &run).exits_with(0);
    assert!(began.elapsed() >= Duration::from_secs(3), "{}", ran.err);
    assert!(ran.err.matches(": batch ").count() > 1, "{}", ran.err);
    assert!(fs::read_to_string(sandbox.path("a.prom")).expect("metrics").contains("alloclog_ingest_last_batch"));
    let out = export(&sandbox, "lake");
    assert!(sandbox.ledger(&out).iter().all(|row| row["shape"] != "stream"));
    assert!(!rows(&sandbox, &out, "task_events").is_empty());
}

#[test]
fn a_lake_that_cannot_be_opened_and_contradictory_flags_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.file("lake", "a file");
    let feed = ["ingest", "http://127.0.0.1:1", "--lake", "lake", "--cache", "cache", "--stream"];
    sandbox.nomad(&[], &feed).exits_with(1).stderr_has("lake");
    for flag in [&["--strict"][..], &["--observed-at", "2026-11-23T18:28:01Z"], &["--full-listing"]] {
        sandbox.nomad(&[], &[&feed[..], flag].concat()).exits_with(2).stderr_has("cannot be used with --stream");
    }
    // These flags are refused, because the time and the coverage of a listing of a live cluster are known.
    for flag in [&["--observed-at", "2026-11-23T18:28:01Z"][..], &["--full-listing"]] {
        for command in [&["report", "--watch"][..], &["export", "-o", "out", "--stream", "--spool", "seen"]] {
            sandbox
                .nomad(&[], &[command, &["http://127.0.0.1:1"], flag].concat())
                .exits_with(2)
                .stderr_has("cannot be used with --");
        }
    }
    sandbox
        .nomad(&[], &["report", "http://127.0.0.1:1", "--full-listing"])
        .exits_with(2)
        .stderr_has("--full-listing is for documents");
    sandbox
        .nomad(&[], &["ingest", "http://127.0.0.1:1", "--lake", "lake", "--every", "5s"])
        .exits_with(2)
        .stderr_has("--every");
    sandbox
        .nomad(&[], &["ingest", "http://127.0.0.1:1", "--lake", "lake", "--for", "5s"])
        .exits_with(2)
        .stderr_has("--for");
}

/// The command `timeout` sends SIGTERM to the process and then to its group, so the process receives it twice.
#[test]
fn signals_within_a_second_count_as_one_and_a_later_one_aborts() {
    let sandbox = Sandbox::new();
    let (_, agent) = replayed(1);
    let service = Service::start(&sandbox, "lake", &agent.address, &["--stream"]);
    service.wait_for("batch 1");
    service.signal("-TERM");
    service.signal("-TERM");
    service.stop(0);

    // The last commit never ends, because lake.json is replaced by a pipe without a writer.
    let mut service = Service::start(&sandbox, "lake", &agent.address, &["--stream"]);
    thread::sleep(Duration::from_millis(300));
    let made = Command::new("mkfifo").arg(sandbox.path("fifo")).status().expect("mkfifo runs");
    assert!(made.success());
    fs::rename(sandbox.path("fifo"), sandbox.path("lake/_alloclog/lake.json")).expect("a pipe");
    service.kill();
    thread::sleep(Duration::from_millis(500));
    service.signal("-TERM");
    thread::sleep(Duration::from_millis(1_200));
    assert!(service.child.try_wait().expect("a child").is_none());
    service.signal("-TERM");
    assert_eq!(service.child.wait().expect("an end").code(), None, "the signal ends the program");
}
