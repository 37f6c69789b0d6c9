//! Compares the statistics with the truth. Runs the whole library on files.
//!
//! An event is *in view* if a document shows it. If every event is in view, the statistics must equal the truth. If
//! Nomad evicted events, each statistic must be true or unknown. Results for all time and per task are compared with
//! the truth. The counts for periods and groups must add up to these results.

mod judge;
mod latency;

use std::cell::RefCell;
use std::collections::BTreeMap;

use alloclog::query::{GroupBy, Period, Row};
use alloclog::time::When;
use anyhow::{Context, ensure};
use proptest::collection::vec;
use proptest::prelude::{Just, any};
use proptest::prop_oneof;
use proptest::strategy::Strategy;

use self::judge::{Judge, Tally, group};
use super::{directory, for_all, packed};
use crate::simulator::{Cluster, Config, Document, MINUTE, Random, START, Style, Truth};
use crate::view_store::ViewStore;

/// A cluster, and the part of it in view.
#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    nodes: usize,
    jobs: usize,
    rare: u32,
    minutes: i64,
    /// Times of snapshots, in thousandths of the simulated time. If empty, the whole stream is in view.
    moments: Vec<i64>,
    chance: u64,
}

fn cases(most: usize) -> impl Strategy<Value = Case> {
    let cluster = (any::<u64>(), 2..5usize, 3..9usize, prop_oneof![Just(0u32), Just(12), Just(40)]);
    let minutes = prop_oneof![2 => Just(40i64), 1 => Just(150)];
    let moments = if most == 0 { vec(1..=1000i64, 0..=0) } else { vec(1..=1000i64, 1..=most) };
    (cluster, minutes, moments, any::<u64>()).prop_map(|((seed, nodes, jobs, rare), minutes, moments, chance)| Case {
        seed,
        nodes,
        jobs,
        rare,
        minutes,
        moments,
        chance,
    })
}

impl Case {
    fn cluster(&self) -> Cluster {
        let config = if self.rare == 0 { Config::plain() } else { Config { rare: self.rare, ..Config::default() } };
        let span = self.minutes * MINUTE;
        let kept = if self.moments.is_empty() { span } else { config.kept };
        Cluster::simulate(self.seed, Config { nodes: self.nodes, jobs: self.jobs, span, kept, ..config })
    }

    fn documents(&self, cluster: &Cluster) -> Vec<Document> {
        let mut random = Random::new(self.chance);
        if self.moments.is_empty() {
            // The stream lacks the type of a job; a list has it.
            let style = Style::list(self.chance);
            return vec![
                cluster.frames(START - MINUTE, cluster.end(), &style),
                cluster.document(cluster.end(), &style),
            ];
        }
        let documents = self.moments.iter().map(|moment| {
            let style = Style::any(&mut random);
            cluster.document(START + cluster.config.span * moment / 1000, &style)
        });
        documents.filter(|document| !document.shown.is_empty()).collect()
    }
}

/// Runs a case and judges the result. Does nothing if the case shows no allocations.
fn with(case: &Case, judge: impl FnOnce(&Truth<'_>, &ViewStore) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let cluster = case.cluster();
    let documents = case.documents(&cluster);
    if documents.iter().all(|document| document.shown.is_empty()) {
        return Ok(());
    }
    let directory = directory()?;
    let named = documents.iter().enumerate();
    let saved: Vec<_> =
        named.map(|(n, d)| packed::save(directory.path(), &format!("{n}-{}", d.name), &d.bytes)).collect();
    let answers = ViewStore::of(&saved.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>())?;
    judge(&Truth::of_documents(&cluster, &documents), &answers)
}

/// Judges cases, and checks that they include the situations in `hard`.
fn judged(number: u32, most: usize, hard: &[&str]) {
    let tally = RefCell::new(Tally::new());
    for_all(number, cases(most), |case| {
        with(case, |truth, answers| {
            let mut judge = Judge::new(truth, answers)?;
            judge.all()?;
            for (what, times) in judge.tally {
                *tally.borrow_mut().entry(what).or_default() += times;
            }
            Ok(())
        })
    });
    let tally = tally.into_inner();
    println!("{tally:#?}");
    let unmet: Vec<_> = hard.iter().filter(|what| !tally.contains_key(**what)).collect();
    assert!(unmet.is_empty(), "situations that no case has: {unmet:?}");
}

#[test]
fn with_everything_in_view_the_statistics_equal_the_truth() {
    judged(
        12,
        0,
        &[
            "cause health",
            "cause user",
            "class timeout",
            "loops of the hour",
            "parents of several runs",
            "replaced: lost",
        ],
    );
}

#[test]
fn evicted_events_make_statistics_unknown_but_never_wrong() {
    judged(
        16,
        9,
        &[
            "cause unknown",
            "health failures that hide",
            "no loops of the hour",
            "run unknown",
            "start started attempt",
            "start unknown ",
        ],
    );
}

/// In each case, the client's clock was set back: between two runs with all events in view, between two runs with lost
/// events, and within a run. In the last case, a stopped batch allocation completed, but the order of its events is not
/// known.
#[test]
fn a_clock_that_was_set_back_misleads_no_statistic() -> anyhow::Result<()> {
    let case = |seed, nodes, jobs, moments: &[i64], chance| Case {
        seed,
        nodes,
        jobs,
        rare: 12,
        minutes: 40,
        moments: moments.to_vec(),
        chance,
    };
    let cases = [
        case(5416452094009593621, 3, 4, &[], 60404138318),
        case(11979555398014945399, 4, 7, &[341, 345], 8309819730985171052),
        case(5416452094009593996, 3, 6, &[], 8107306206895151671),
    ];
    cases.iter().try_for_each(|case| with(case, |truth, answers| Judge::new(truth, answers)?.all()))
}

#[test]
fn periods_restrict_the_truth_and_adjacent_ones_add_up() {
    for_all(5, cases(6), |case| {
        with(case, |truth, answers| {
            let mut random = Random::new(case.chance);
            let end = truth.cluster.end();
            let mut cuts = vec![START - 60 * MINUTE, end + 60 * MINUTE];
            cuts.extend([random.between(START, end), random.between(START, end)]);
            cuts.sort_unstable();
            let whole: BTreeMap<&str, Vec<Row>> =
                CUT.iter().map(|name| Ok((*name, answers.rows(name)?))).collect::<anyhow::Result<_>>()?;
            let log = answers.rows("restart_log")?;
            let mut sums: BTreeMap<(&str, String), i64> = BTreeMap::new();
            for tile in cuts.windows(2) {
                let (since, until) = (tile[0], tile[1]);
                let period = Period { since: Some(When::At(since)), until: Some(When::At(until)) };
                answers.recompute(&CUT, period, &GroupBy::default())?;
                let within = |at: Option<i64>| at.is_some_and(|at| (since..until).contains(&at));
                for (name, dates) in DATED {
                    let rows = answers.rows(name)?;
                    let date = |row: &Row| dates.iter().find_map(|date| row.int(date));
                    // A run that neither started nor ended has no date.
                    let dated =
                        |rows: &[Row]| -> Vec<Row> { rows.iter().filter(|row| date(row).is_some()).cloned().collect() };
                    let must_be: Vec<Row> = whole[name].iter().filter(|row| within(date(row))).cloned().collect();
                    ensure!(dated(&rows) == must_be, "{name} from {since} to {until}");
                    *sums.entry((name, String::new())).or_default() += rows.len() as i64;
                }
                let rows = answers.rows("restarts")?;
                let restarts: i64 = rows.iter().filter_map(|row| row.int("restarts")).sum();
                let logged = log.iter().filter(|row| within(row.int("restarted_at_ns")));
                let truth: i64 = logged.filter_map(|row| row.int("number")).sum();
                ensure!(restarts == truth, "{restarts} restarts from {since} to {until}, not {truth}");
                add(&mut sums, "restarts", &rows, &RESTARTS, &group);
                add(&mut sums, "failure_summary", &answers.rows("failure_summary")?, &["failures"], &group);
                add(&mut sums, "start_latency", &answers.rows("start_latency")?, &LATENCY, &group);
            }
            let mut all = BTreeMap::new();
            for (name, _) in DATED {
                all.insert((name, String::new()), whole[name].len() as i64);
            }
            add(&mut all, "restarts", &whole["restarts"], &RESTARTS, &group);
            add(&mut all, "failure_summary", &whole["failure_summary"], &["failures"], &group);
            add(&mut all, "start_latency", &whole["start_latency"], &LATENCY, &group);
            sums.retain(|_, sum| *sum != 0);
            all.retain(|_, sum| *sum != 0);
            ensure!(sums == all, "the periods do not add up to all time: {sums:?}\n{all:?}");
            Ok(())
        })
    });
}

/// The statistics that a period restricts.
const CUT: [&str; 9] = [
    "attempts",
    "starts",
    "failures",
    "restarts",
    "failure_summary",
    "start_latency",
    "job_runs",
    "job_run_summary",
    "reschedules",
];

/// Statistics with one row per item, and the columns that give the item's date. The first column that is not null
/// counts.
const DATED: [(&str, &[&str]); 5] = [
    ("attempts", &["started_at_ns", "ended_at_ns"]),
    ("starts", &["created_at_ns"]),
    ("failures", &["failed_at_ns"]),
    ("job_runs", &["created_at_ns"]),
    ("reschedules", &["replaced_at_ns"]),
];

const RESTARTS: [&str; 11] = [
    "restarts",
    "restarts_seen",
    "lost_restarts",
    "cause_failure",
    "cause_clean_exit",
    "cause_oom",
    "cause_start_failure",
    "cause_user",
    "cause_change",
    "cause_health",
    "cause_unknown",
];

const LATENCY: [&str; 6] = ["tasks", "started", "waiting", "failed_before_start", "stopped_before_start", "unknown"];

/// Adds the numbers in rows to the sums of their groups.
fn add<'n>(
    sums: &mut BTreeMap<(&'n str, String), i64>,
    name: &'n str,
    rows: &[Row],
    columns: &[&str],
    group: &dyn Fn(&Row) -> Vec<String>,
) {
    for row in rows {
        for column in columns {
            let of = format!("{:?} {:?} {:?} {column}", group(row), row.text("measure"), row.text("class"));
            *sums.entry((name, of)).or_default() += row.int(column).unwrap_or_default();
        }
    }
}

#[test]
fn in_any_grouping_counts_add_up_and_quantiles_are_over_all_tasks() {
    let groups = ["region", "namespace", "job_id", "task_group", "task", "job_version", "job_type", "node_id"];
    let groups = groups.into_iter().chain(["node_name", "node_class", "datacenter", "task_group,datacenter,job_type"]);
    let groups: Vec<&str> = groups.collect();
    for_all(3, cases(3), |case| {
        with(case, |_, answers| {
            let starts = answers.rows("starts")?;
            let nobody = |_: &Row| vec![];
            let total = |answers: &ViewStore| -> anyhow::Result<_> {
                let mut sums = BTreeMap::new();
                let tasks = [&RESTARTS[..], &["tasks", "uncounted_tasks"]].concat();
                add(&mut sums, "restarts", &answers.rows("restarts")?, &tasks, &nobody);
                let failures = ["failures", "gave_up", "suspected_oom"];
                add(&mut sums, "failure_summary", &answers.rows("failure_summary")?, &failures, &nobody);
                add(&mut sums, "start_latency", &answers.rows("start_latency")?, &LATENCY, &nobody);
                Ok(sums)
            };
            let finest = total(answers)?;
            for by in groups.iter().chain(&["region,namespace,job_id,task_group,task"]) {
                let columns: GroupBy = by.parse().map_err(anyhow::Error::msg)?;
                answers.recompute(&["restarts", "failure_summary", "start_latency"], Period::default(), &columns)?;
                ensure!(total(answers)? == finest, "grouped by {by}, the counts do not add up: {:?}", total(answers)?);
                check_quantiles(&answers.rows("start_latency")?, &starts, by).with_context(|| format!("by {by}"))?;
            }
            Ok(())
        })
    });
}

/// Compares every quantile of every group with a direct computation.
fn check_quantiles(rows: &[Row], starts: &[Row], by: &str) -> anyhow::Result<()> {
    for row in rows {
        let same = |start: &&Row| by.split(',').all(|column| start.get(column) == row.get(column));
        let own: Vec<&Row> = starts.iter().filter(same).collect();
        ensure!(row.int("tasks") == Some(own.len() as i64), "not {} tasks: {row:?}", own.len());
        let origin = match row.text("measure") {
            Some("created_to_started") => "created_at_ns",
            _ => "setup_at_ns",
        };
        for (name, share) in [("p50_seconds", 0.5), ("p90_seconds", 0.9), ("p95_seconds", 0.95), ("p99_seconds", 0.99)]
        {
            let truth = latency::quantile(&own, origin, share).map(|ns| ns as f64 / 1e9);
            let claimed = row.number(name);
            let near = claimed.zip(truth).is_some_and(|(a, b)| (a - b).abs() < 1e-6);
            ensure!(near || claimed.is_none() && truth.is_none(), "{name} is not {truth:?}: {row:?}");
        }
    }
    Ok(())
}
