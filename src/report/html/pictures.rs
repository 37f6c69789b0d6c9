//! The numbers of the charts, from the views.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::query::{self, Row};
use crate::report::timeline::{self, Target, Timeline};
use crate::store::Store;

/// Maximum number of tasks whose attempts and events are shown.
const TASKS: usize = 25;

/// Maximum number of bars in a chart over time.
const BINS: i64 = 48;

/// Maximum number of steps of a curve.
const STEPS: usize = 200;

/// Maximum number of nodes that are shown.
const NODES: usize = 30;

/// The numbers that the charts show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pictures {
    /// Restarts over time; `None` without a restart whose time is known.
    pub restarts: Option<Histogram>,
    /// Failures by class, most first.
    pub failures: Vec<(String, i64)>,
    /// Nodes: node_id, node_name, tasks, restarts, failures; most restarts and failures first.
    pub nodes: Vec<Row>,
    /// The number of nodes.
    pub all_nodes: usize,
    /// The curves of first starts, one per measure.
    pub curves: Vec<Curve>,
    /// Coverage by group: the columns of `coverage_summary`, most incomplete tasks first.
    pub coverage: Vec<Row>,
    /// The number of groups with tasks.
    pub all_groups: i64,
    /// The timelines of the tasks with most restarts and failures, one per region.
    pub stories: Vec<Timeline>,
    /// The number of tasks.
    pub all_tasks: i64,
}

/// Restarts over time, stacked by cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// The start of the first bin, in nanoseconds since the epoch.
    pub from_ns: i64,
    /// The width of a bin in nanoseconds.
    pub width_ns: i64,
    /// The number of bins.
    pub bins: i64,
    /// By cause, the restarts of each bin. The cause `lost` has the restarts whose event was not seen. They are in the
    /// bin of the time before which they happened.
    pub causes: BTreeMap<String, BTreeMap<i64, i64>>,
}

impl Histogram {
    /// The start of a bin, in nanoseconds since the epoch.
    pub fn start_ns(&self, bin: i64) -> i64 {
        self.from_ns.saturating_add(self.width_ns.saturating_mul(bin))
    }
}

/// The share of tasks that have started, by the time since their origin (creation or setup): one minus the Kaplan-Meier
/// estimate of `start_latency`, over all tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// `created_to_started` or `setup_to_started`.
    pub measure: &'static str,
    /// The steps of the curve. Each step is at the time of one or more first starts.
    pub steps: Vec<Step>,
    /// The number of all steps. `steps` has only some of them if there are too many to draw.
    pub all_steps: usize,
    /// The censored tasks, which still wait or were stopped before they started: for each task, the seconds from the
    /// origin to the time when it was last known to wait.
    pub censored: Vec<f64>,
    /// The number of all censored tasks. `censored` has only some of them if there are too many to draw.
    pub all_censored: usize,
    /// Number of tasks that failed before they started. They are at risk at every step.
    pub failed: i64,
    /// The seconds up to which the curve is known: the shortest wait among the waiting tasks whose last sighting has no
    /// known time.
    pub sure_seconds: Option<f64>,
    /// Number of tasks.
    pub tasks: i64,
}

impl Curve {
    /// The steps in the known part of the curve.
    pub fn known_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().take_while(|step| self.sure_seconds.is_none_or(|sure| step.seconds <= sure))
    }
}

/// A step of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Seconds since the origin.
    pub seconds: f64,
    /// Number of tasks that had neither started nor been censored before this step.
    pub at_risk: i64,
    /// The share of tasks that have started up to and including this step.
    pub started: f64,
}

/// Reads the numbers of the charts from a store that holds the views of a report and of a timeline, and `period`.
///
/// # Errors
/// When the store cannot be read.
pub fn read(store: &Store) -> Result<Pictures> {
    let period = query::select(store, "SELECT since_ns, until_ns FROM period")?;
    let bound = |column: &str, open: i64| period.first().and_then(|row| row.int(column)).unwrap_or(open);
    let within =
        format!("restarted_at_ns >= {} AND restarted_at_ns < {}", bound("since_ns", 0), bound("until_ns", i64::MAX));
    let failures = query::select(
        store,
        "SELECT class, COUNT(*) AS failures FROM failures GROUP BY class ORDER BY failures DESC, class",
    )?;
    let nodes = query::select(
        store,
        &format!(
            "SELECT a.node_id, a.node_name, a.tasks, COALESCE(r.restarts, 0) AS restarts, \
             COALESCE(f.failures, 0) AS failures FROM \
             (SELECT region, node_id, MAX(node_name) AS node_name, COUNT(*) AS tasks FROM coverage \
              WHERE node_id IS NOT NULL GROUP BY region, node_id) AS a LEFT JOIN \
             (SELECT c.region, c.node_id, SUM(CASE WHEN l.is_seen THEN 1 ELSE l.number END) AS restarts \
              FROM restart_log AS l JOIN coverage AS c \
              ON c.region = l.region AND c.alloc_id = l.alloc_id AND c.task = l.task \
              WHERE {within} GROUP BY c.region, c.node_id) AS r \
             ON r.region = a.region AND r.node_id = a.node_id LEFT JOIN \
             (SELECT region, node_id, COUNT(*) AS failures FROM failures GROUP BY region, node_id) AS f \
             ON f.region = a.region AND f.node_id = a.node_id \
             ORDER BY restarts DESC, failures DESC, tasks DESC, node_id"
        ),
    )?;
    let coverage = "SELECT * FROM coverage_summary WHERE tasks > 0 \
                    ORDER BY tasks - complete DESC, COALESCE(lost_restarts, 0) DESC, tasks DESC LIMIT 15";
    let groups = query::select(store, "SELECT COUNT(*) AS n FROM coverage_summary WHERE tasks > 0")?;
    let all = query::select(store, "SELECT COUNT(*) AS tasks FROM coverage")?;
    Ok(Pictures {
        restarts: histogram(store, &within)?,
        failures: failures
            .iter()
            .map(|row| (row.text("class").unwrap_or("unknown").to_owned(), row.int("failures").unwrap_or(0)))
            .collect(),
        all_nodes: nodes.len(),
        nodes: nodes.into_iter().take(NODES).collect(),
        curves: [
            curve(store, "created_to_started", "created_at_ns")?,
            curve(store, "setup_to_started", "setup_at_ns")?,
        ]
        .into(),
        coverage: query::select(store, coverage)?,
        all_groups: groups.first().and_then(|row| row.int("n")).unwrap_or(0),
        stories: stories(store)?,
        all_tasks: all.first().and_then(|row| row.int("tasks")).unwrap_or(0),
    })
}

/// Restarts in bins of a round width. Each bin begins at a multiple of the width.
fn histogram(store: &Store, within: &str) -> Result<Option<Histogram>> {
    let bounds = format!("SELECT MIN(restarted_at_ns) AS a, MAX(restarted_at_ns) AS b FROM restart_log WHERE {within}");
    let bounds = query::select(store, &bounds)?;
    let Some((first, last)) = bounds.first().and_then(|row| row.int("a").zip(row.int("b"))) else { return Ok(None) };
    let width_ns = bin_width(last - first);
    let from_ns = first - first.rem_euclid(width_ns);
    let sql = format!(
        "SELECT CASE WHEN is_seen THEN cause ELSE 'lost' END AS cause, \
         CAST(FLOOR(CAST(restarted_at_ns - {from_ns} AS DOUBLE) / {width_ns}) AS BIGINT) AS bin, \
         SUM(CASE WHEN is_seen THEN 1 ELSE number END) AS restarts FROM restart_log WHERE {within} \
         GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let mut causes: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    for row in query::select(store, &sql)? {
        let cause = row.text("cause").unwrap_or("unknown").to_owned();
        let bin = row.int("bin").unwrap_or(0);
        *causes.entry(cause).or_default().entry(bin).or_default() += row.int("restarts").unwrap_or(0);
    }
    Ok(Some(Histogram { from_ns, width_ns, bins: (last - from_ns) / width_ns + 1, causes }))
}

/// The smallest round width that divides a span into at most [`BINS`] bins.
fn bin_width(span_ns: i64) -> i64 {
    const SECONDS: [i64; 18] =
        [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800];
    let widths = SECONDS.into_iter().map(|seconds| seconds * 1_000_000_000);
    let fits = |width: &i64| span_ns / width < BINS - 1;
    widths.clone().find(fits).unwrap_or_else(|| (span_ns / BINS / 86_400_000_000_000 + 1) * 86_400_000_000_000)
}

/// The estimate of `start_latency` over all tasks. Uses the same spans as that view and, as the view does, places
/// starts before censorings of the same span.
fn curve(store: &Store, measure: &'static str, origin: &str) -> Result<Curve> {
    let sql = format!(
        "SELECT outcome, last_seen_at_ns IS NULL AS is_unseen, \
         CASE WHEN outcome = 'started' THEN started_at_ns - {origin} \
         WHEN outcome = 'waiting' AND COALESCE(last_known_at_ns, 0) < {origin} THEN 0 \
         WHEN outcome = 'waiting' THEN last_known_at_ns - {origin} \
         WHEN outcome = 'stopped_before_start' AND ended_at_ns < {origin} THEN 0 \
         WHEN outcome = 'stopped_before_start' THEN ended_at_ns - {origin} END AS span_ns \
         FROM starts WHERE {origin} IS NOT NULL"
    );
    let rows = query::select(store, &sql)?;
    let is = |row: &Row, outcome: &str| row.text("outcome") == Some(outcome);
    let failed = rows.iter().filter(|row| is(row, "failed_before_start")).count() as i64;
    // Each span, and whether it ended without a start. Sorting by both places starts before censorings of the same
    // span.
    let mut spans: Vec<(i64, bool)> =
        rows.iter().filter_map(|row| Some((row.int("span_ns")?, !is(row, "started")))).collect();
    spans.sort_unstable();
    let unsure = rows.iter().filter(|row| is(row, "waiting") && row.get("is_unseen").as_bool() == Some(true));
    let sure_ns = unsure.filter_map(|row| row.int("span_ns")).min();
    let mut at_risk = spans.len() as i64 + failed;
    let tasks = at_risk;
    let (mut waiting, mut steps, mut censored) = (1.0_f64, Vec::new(), Vec::new());
    let mut rest = spans.as_slice();
    while let Some((span, is_censored)) = rest.first().copied() {
        let same = rest.iter().take_while(|other| **other == (span, is_censored)).count();
        if is_censored {
            censored.extend(std::iter::repeat_n(span as f64 / 1e9, same));
        } else {
            waiting *= (at_risk - same as i64) as f64 / at_risk as f64;
            steps.push(Step { seconds: span as f64 / 1e9, at_risk, started: 1.0 - waiting });
        }
        at_risk -= same as i64;
        rest = &rest[same..];
    }
    Ok(Curve {
        measure,
        all_steps: steps.len(),
        steps: thinned(steps),
        all_censored: censored.len(),
        censored: thinned(censored),
        failed,
        sure_seconds: sure_ns.map(|ns| ns as f64 / 1e9),
        tasks,
    })
}

/// About [`STEPS`] of the steps or marks, evenly chosen, and the last one.
fn thinned<T>(all: Vec<T>) -> Vec<T> {
    let every = all.len().div_ceil(STEPS).max(1);
    let last = all.len().saturating_sub(1);
    all.into_iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last).map(|(_, one)| one).collect()
}

/// The timelines of the tasks with most restarts and failures.
fn stories(store: &Store) -> Result<Vec<Timeline>> {
    let sql = format!(
        "SELECT c.region, c.alloc_id, c.task FROM coverage AS c LEFT JOIN \
         (SELECT region, alloc_id, task, COUNT(*) AS failures FROM failures GROUP BY region, alloc_id, task) AS f \
         ON f.region = c.region AND f.alloc_id = c.alloc_id AND f.task = c.task \
         ORDER BY COALESCE(c.restarts, 0) DESC, COALESCE(f.failures, 0) DESC, c.complete, c.alloc_id, c.task \
         LIMIT {TASKS}"
    );
    let worst = query::select(store, &sql)?;
    let own = |row: &Row, column: &str| row.text(column).unwrap_or_default().to_owned();
    let regions: BTreeSet<String> = worst.iter().map(|row| own(row, "region")).collect();
    let mut stories = Vec::new();
    for region in regions {
        let of_region = || worst.iter().filter(|row| own(row, "region") == region);
        let chosen: BTreeSet<(String, String)> =
            of_region().map(|row| (own(row, "alloc_id"), own(row, "task"))).collect();
        let ids: BTreeSet<String> = of_region().map(|row| own(row, "alloc_id")).collect();
        let mut story = timeline::read(store, Target::of_allocations(region.clone(), ids.into_iter().collect()), 0)?;
        for allocation in &mut story.allocations {
            let id = own(&allocation.allocation, "alloc_id");
            let is_chosen = |task: &String| chosen.contains(&(id.clone(), task.clone()));
            allocation.tasks.retain(|task| task.task.as_ref().is_some_and(is_chosen));
        }
        stories.push(story);
    }
    Ok(stories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_round_and_few() {
        for (seconds, width) in [(0, 1), (40, 1), (60, 5), (720, 30), (86_400, 3600), (400 * 86_400, 9 * 86_400)] {
            let found = bin_width(seconds * 1_000_000_000);
            assert_eq!(found, width * 1_000_000_000, "{seconds} s");
            assert!(seconds * 1_000_000_000 / found < BINS);
        }
    }
}
