//! Runs the program on files, and compares its views `coverage`, `task_states` and `allocations` with what the
//! simulator knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::compare::{Arrival, arrivals, differ, paths};
use super::snapshot_schedule::{Case, Kind, Observation, cases};
use super::{directory, for_all, packed};
use crate::simulator::{Cluster, Document, StateTruth, TaskKey, Truth};
use crate::support::Row;

#[test]
fn coverage_is_exact_and_complete_is_never_wrong() {
    for_all(16, cases(14), check);
}

/// If the clock of a client is set back between two attempts of a task, the windows of the task look like those of a
/// new life.
#[test]
fn a_task_whose_clock_was_set_back_need_not_be_complete() -> anyhow::Result<()> {
    let observed = [
        (Kind::Bundle, 216, true, false, 12_081_767_220_990_729_744),
        (Kind::Events, 400, true, false, 2),
        (Kind::Read, 351, true, false, 14_904_815_895_205_081_891),
        (Kind::Any, 435, true, false, 6_601_327_731_384_314_820),
        (Kind::Any, 744, false, true, 15_427_126_569_164_784_426),
        (Kind::Bundle, 200, true, false, 490_792_096_784_004_096),
        (Kind::Any, 923, true, false, 4_857_708_144_022_986_902),
        (Kind::Any, 1000, true, true, 3_134_195_324_660_769_120),
        (Kind::Events, 400, true, false, 0),
        (Kind::Frames, 800, false, false, 10_669_499_862_253_827_874),
        (Kind::State, 1000, true, true, 1_246_351_045_790_139_844),
        (Kind::Events, 793, false, false, 5_898_190_346_785_584_346),
        (Kind::Cli, 342, true, false, 984_492_405_317_127_636),
        (Kind::Events, 849, false, false, 4_342_114_485_031_835_754),
    ];
    let (seed, chance) = (15_143_906_905_937_372_236, 4_670_257_107_790_761_089);
    check(&Case { seed, nodes: 2, jobs: 6, rare: 60, observations: observations(&observed), chance })
}

/// The stream shows versions of an allocation that are newer than the last listing with the allocation. A later
/// document of the same hour shows only a part of the allocations.
#[test]
fn an_export_knows_the_last_sighting_despite_streams_and_partial_documents() -> anyhow::Result<()> {
    let observed = [
        (Kind::List, 387, true, false, 2),
        (Kind::Any, 564, true, false, 10_861_156_254_429_650_605),
        (Kind::Events, 200, true, false, 0),
        (Kind::Frames, 600, false, true, 6_002_192_620_257_841_138),
        (Kind::Payloads, 671, true, false, 16_775_994_393_180_790_848),
        (Kind::Frames, 32, true, false, 0),
    ];
    let (seed, chance) = (13_029_739_946_734_509_902, 9_540_266_117_476_879_988);
    check(&Case { seed, nodes: 4, jobs: 5, rare: 12, observations: observations(&observed), chance })
}

/// The observations of a case that was once found by chance.
fn observations(observed: &[(Kind, i64, bool, bool, u64)]) -> Vec<Observation> {
    let observation = |(kind, moment, is_named, is_trimmed, seed): &(Kind, i64, bool, bool, u64)| Observation {
        kind: *kind,
        moment: *moment,
        is_named: *is_named,
        is_trimmed: *is_trimmed,
        seed: *seed,
    };
    observed.iter().map(observation).collect()
}

fn check(case: &Case) -> anyhow::Result<()> {
    let cluster = case.cluster();
    let snapshots = exact_documents(case, &cluster);
    let mut random = case.random();
    let directory = directory()?;
    let sources = packed::write(&snapshots, &directory.path().join("in"), &mut random);
    let mut named: Vec<_> = sources.iter().collect();
    random.shuffle(&mut named);
    let documents = arrivals(&named);
    if !documents.iter().any(|arrival| !arrival.document.shown.is_empty()) {
        return Ok(());
    }
    let views = export(&paths(&named), directory.path())?;
    let known = Known::of(&cluster, &documents);
    known.check_coverage(&views["coverage"])?;
    known.check_task_states(&views["task_states"])?;
    known.check_allocations(&views["allocations"])
}

/// The documents of each snapshot of a case. A snapshot is left out if one of its documents has rounded times, but too
/// few to be detected: the events of such a document cannot be distinguished from exact ones.
fn exact_documents(case: &Case, cluster: &Cluster) -> Vec<Vec<Document>> {
    let tells = |document: &Document| document.marked(cluster).iter().all(|shown| shown.floats == shown.marked);
    case.documents(cluster).into_iter().filter(|documents| documents.iter().all(tells)).collect()
}

/// Runs `alloclog export` and returns the rows of each view.
fn export(sources: &[&Path], directory: &Path) -> anyhow::Result<BTreeMap<&'static str, Vec<Row>>> {
    let (views, out) = (["coverage", "task_states", "allocations"], directory.join("out"));
    let ran = Command::new(env!("CARGO_BIN_EXE_alloclog"))
        .arg("export")
        .args(sources)
        .args(["--format", "ndjson", "--table", &views.join(","), "-o"])
        .arg(&out)
        .env_remove("NOMAD_REGION")
        .output()?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let rows = |view: &'static str| {
        let text = fs::read_to_string(out.join(format!("{view}.ndjson")))?;
        Ok((view, text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?))
    };
    views.into_iter().map(rows).collect()
}

/// The facts that documents show about a cluster.
struct Known<'a> {
    cluster: &'a Cluster,
    truth: Truth<'a>,
    /// The rows of `allocation_history` and `task_state_history`, by allocation.
    history: BTreeMap<String, Vec<Row>>,
    states: BTreeMap<String, Vec<Row>>,
    /// Allocations that a document showed as not terminal, at a known time.
    sighted: BTreeSet<String>,
    /// For each of these allocations, when a document other than a stream last showed it as not terminal.
    seen: BTreeMap<String, i64>,
    /// Full listings: namespace and time.
    listings: Vec<(&'static str, i64)>,
    /// The attempts of each task's events, as in the first document that has the event.
    attempts: BTreeMap<TaskKey, BTreeSet<Option<i64>>>,
    rounded: BTreeSet<TaskKey>,
    lists_nodes: BTreeSet<usize>,
}

impl<'a> Known<'a> {
    fn of(cluster: &'a Cluster, arrivals: &[Arrival<'_>]) -> Self {
        let mut known = Known {
            cluster,
            truth: Truth::of_documents(cluster, arrivals.iter().map(|arrival| arrival.document)),
            history: BTreeMap::new(),
            states: BTreeMap::new(),
            sighted: BTreeSet::new(),
            seen: BTreeMap::new(),
            listings: vec![],
            attempts: BTreeMap::new(),
            rounded: BTreeSet::new(),
            lists_nodes: BTreeSet::new(),
        };
        let mut counted = BTreeSet::new();
        for document in arrivals.iter().map(|arrival| arrival.document).filter(|document| !document.is_aside) {
            let claimed = document.rows(cluster, &|_| true, false);
            let by_allocation = |rows: &BTreeSet<String>, into: &mut BTreeMap<String, Vec<Row>>| {
                for row in rows {
                    let row: Row = serde_json::from_str(row).expect("a line of ours");
                    into.entry(row["alloc_id"].as_str().expect("an ID").to_owned()).or_default().push(row);
                }
            };
            by_allocation(&claimed.history, &mut known.history);
            by_allocation(&claimed.states, &mut known.states);
            known.sighted.extend(claimed.sightings.into_keys().map(|(alloc_id, _)| alloc_id));
            for (alloc_id, at) in claimed.exact_sightings {
                let last = known.seen.entry(alloc_id).or_insert(at);
                *last = at.max(*last);
            }
            let listing = claimed.ledger.and_then(|facts| facts.namespace.zip(facts.observed_at));
            known.listings.extend(listing);
            for (event, (attempt, _)) in claimed.events {
                let task = (event.alloc_id.clone(), event.task.clone());
                if event.times_rounded {
                    known.rounded.insert(task.clone());
                }
                if counted.insert(event) {
                    known.attempts.entry(task).or_default().insert(attempt);
                }
            }
            known.lists_nodes.extend(document.nodes.iter().map(|(node, _)| *node));
        }
        known
    }

    fn check_coverage(&self, rows: &[Row]) -> anyhow::Result<()> {
        let truths = self.truth.tasks();
        let mut tasks = BTreeSet::new();
        for row in rows {
            let task = key(row);
            let what = || format!("{:?}\n  {row:?}", truths.get(&task));
            let vanished = self.latest(&task.0)["vanished"].clone();
            ensure!(row["tail_lost"] == vanished, "tail_lost, not {vanished}: {}", what());
            let complete = row["complete"] == true;
            match truths.get(&task) {
                None => ensure!(
                    row["events"] == 0 && !complete,
                    "a task without a window has events or is complete: {}",
                    what()
                ),
                Some(truth) => {
                    let claimed = ["events", "restarts", "lost_restarts", "begins", "gaps"].map(|name| &row[name]);
                    let true_ones = [
                        json!(truth.events),
                        json!(truth.restarts),
                        json!(truth.lost_restarts),
                        json!(truth.begins),
                        json!(truth.gaps),
                    ];
                    ensure!(claimed == true_ones.each_ref(), "{true_ones:?}: {}", what());
                    ensure!(
                        !complete || !truth.missing || truth.deceptive,
                        "reported as complete despite losses: {}",
                        what()
                    );
                    ensure!(
                        !complete || !self.rounded.contains(&task),
                        "reported as complete despite rounded times: {}",
                        what()
                    );
                    ensure!(
                        complete || !truth.plain || row["tail_lost"] != false,
                        "not reported as complete: {}",
                        what()
                    );
                }
            }
            ensure!(tasks.insert(task), "a task occurs twice: {row:?}");
        }
        differ("coverage", &tasks, &self.tasks().into_iter().filter_map(|(id, task)| Some((id, task?))).collect())
    }

    fn check_task_states(&self, rows: &[Row]) -> anyhow::Result<()> {
        let truths = self.truth.states();
        let is: BTreeSet<Vec<String>> = rows.iter().map(|row| state_cells(&|name| row[name].clone())).collect();
        ensure!(is.len() == rows.len(), "a row occurs twice");
        let must_be = self.tasks().into_iter().map(|(alloc_id, task)| {
            let latest = self.latest(&alloc_id);
            let named = (alloc_id.clone(), task.clone().unwrap_or_default());
            let state = truths.get(&named);
            let own = self.states[&alloc_id].iter().filter(|row| row["task"] == json!(task));
            let own: Vec<&Row> = own.collect();
            let ends = state.is_some_and(|s| s.state == "dead")
                || ["complete", "failed"].iter().any(|status| latest["client_status"] == *status);
            let of = |value: &dyn Fn(&StateTruth) -> Value| state.map_or(Value::Null, value);
            let attempts = self.attempts.get(&named);
            let seen = attempts.map_or(0, |attempts| attempts.iter().flatten().count());
            state_cells(&|name| match name {
                "alloc_id" => json!(alloc_id),
                "task" => json!(task),
                "state" => of(&|s| json!(s.state)),
                "failed" => of(&|s| json!(s.failed)),
                "restarts" => of(&|s| json!(s.restarts)),
                "modify_index" => of(&|s| json!(s.modify_index)),
                "last_restart_at_ns" => of(&|s| json!(s.last_restart_ns)),
                "started_at_ns" => of(&|s| json!(s.started_ns)),
                "finished_at_ns" => of(&|s| json!(s.finished_ns)),
                "ended_at_ns" if ends => of(&|s| json!(s.finished_ns)),
                "ended_at_ns" => Value::Null,
                "lifecycle_hook" | "sidecar" => largest(&own, name),
                "attempts_seen" if attempts.is_some() && seen == 0 => Value::Null,
                "attempts_seen" => json!(seen),
                _ => latest[name].clone(),
            })
        });
        differ("task_states", &is, &must_be.collect())
    }

    fn check_allocations(&self, rows: &[Row]) -> anyhow::Result<()> {
        ensure!(rows.len() == self.history.len(), "{} allocations, not {}", rows.len(), self.history.len());
        for row in rows {
            let alloc_id = row["alloc_id"].as_str().context("an ID")?;
            for (name, value) in self.latest(alloc_id) {
                ensure!(row[&name] == value, "{name} must be {value}: {row:?}");
            }
        }
        Ok(())
    }

    /// Every task that a source names. An allocation without tasks has one task without a name.
    fn tasks(&self) -> BTreeSet<(String, Option<String>)> {
        let named = self.states.iter().flat_map(|(alloc_id, rows)| {
            let mut names: BTreeSet<Option<String>> =
                rows.iter().map(|row| row["task"].as_str().map(str::to_owned)).collect();
            if names.len() > 1 {
                names.remove(&None);
            }
            names.into_iter().map(|name| (alloc_id.clone(), name))
        });
        named.collect()
    }

    /// The latest state of an allocation, combined from all sources.
    fn latest(&self, alloc_id: &str) -> Row {
        let rows: Vec<&Row> = self.history[alloc_id].iter().collect();
        let index = |row: &&Row| row["modify_index"].as_i64();
        let newest = rows.iter().map(index).max().flatten();
        let newest: Vec<&Row> = rows.iter().filter(|row| index(row) == newest).copied().collect();
        let mut latest = Row::new();
        for name in rows[0].keys().filter(|name| *name != "shape") {
            let value = match name.as_str() {
                "job_version" | "deployment_id" | "next_allocation" => {
                    let telling: Vec<&Row> = rows.iter().filter(|row| !row[name].is_null()).copied().collect();
                    let last = telling.iter().map(index).max().flatten();
                    largest(&telling.into_iter().filter(|row| index(row) == last).collect::<Vec<_>>(), name)
                }
                _ if CONSTANT.contains(&name.as_str()) => largest(&rows, name),
                _ => largest(&newest, name),
            };
            latest.insert(name.clone(), value);
        }
        let is_live = !["complete", "failed", "lost"].iter().any(|status| latest["client_status"] == *status);
        let seen = self.seen.get(alloc_id).copied();
        let namespace = latest["namespace"].clone();
        let listings = self.listings.iter().filter(|(listed, _)| *listed == "*" || namespace == *listed);
        let listings: Vec<i64> = listings.map(|(_, at)| *at).collect();
        let modified = rows.iter().filter_map(|row| row["modified_at_ns"].as_i64());
        // These documents have no Nomad index. So the time of a version that only a stream shows is compared with the
        // times of listings.
        let is_streamed = newest.iter().all(|row| row["shape"] == "stream");
        let version = newest.iter().filter_map(|row| row["modified_at_ns"].as_i64()).max().unwrap_or(0);
        let since = seen.unwrap_or(0).max(if is_streamed { version } else { 0 });
        let is_sighted = self.sighted.contains(alloc_id);
        let vanished = match (is_live, is_sighted) {
            (true, true) => json!(listings.iter().any(|listed| *listed > since)),
            (true, false) if !listings.is_empty() => Value::Null,
            _ => json!(false),
        };
        let known = modified.chain(seen.filter(|_| is_live)).max();
        latest.insert("vanished".into(), vanished);
        latest.insert("last_seen_at_ns".into(), json!(known.filter(|_| !is_live || is_sighted)));
        let nodes = &self.cluster.nodes;
        let node =
            (0..nodes.len()).find(|n| latest["node_id"] == nodes[*n].id.as_str() && self.lists_nodes.contains(n));
        let class = node.map(|n| nodes[n].class).filter(|class| !class.is_empty());
        latest.insert("node_class".into(), json!(class));
        latest.insert("datacenter".into(), json!(node.map(|n| nodes[n].datacenter)));
        latest
    }
}

/// Columns of an allocation that never change; some sources lack them.
const CONSTANT: [&str; 15] = [
    "namespace",
    "job_id",
    "task_group",
    "job_type",
    "node_id",
    "node_name",
    "name",
    "alloc_index",
    "previous_allocation",
    "created_at_ns",
    "create_index",
    "cpu_shares",
    "memory_mb",
    "memory_max_mb",
    "disk_mb",
];

/// The columns of `task_states` that are compared.
const STATE: [&str; 24] = [
    "alloc_id",
    "task",
    "namespace",
    "job_id",
    "task_group",
    "job_type",
    "job_version",
    "node_id",
    "node_name",
    "node_class",
    "datacenter",
    "client_status",
    "desired_status",
    "state",
    "failed",
    "restarts",
    "modify_index",
    "last_restart_at_ns",
    "started_at_ns",
    "finished_at_ns",
    "ended_at_ns",
    "lifecycle_hook",
    "sidecar",
    "attempts_seen",
];

fn state_cells(value: &dyn Fn(&str) -> Value) -> Vec<String> {
    STATE.iter().map(|name| format!("{name}={}", value(name))).collect()
}

fn key(row: &Row) -> TaskKey {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    (text("alloc_id"), text("task"))
}

/// The value of a column. If the rows differ because some of them have rounded times, the largest value.
fn largest(rows: &[&Row], name: &str) -> Value {
    let values = rows.iter().map(|row| &row[name]).filter(|value| !value.is_null());
    values.max_by_key(|value| (value.as_i64(), value.to_string())).cloned().unwrap_or_default()
}
