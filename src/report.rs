//! The numbers of a report, from the views, with the worst rows first.
//!
//! A report has the rows and columns of the views, and only selects which of them to show.

pub mod html;
mod layout;
mod markdown;
mod show;
mod terminal;
pub mod timeline;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::intake::Summary;
use crate::query::{self, GroupBy, Period, Row, View, view};
use crate::store::Store;
use crate::tables::Table;

pub use markdown::markdown;
pub use terminal::{Again, Appearance, NARROWEST, terminal};

/// The stored tables that a report reads directly.
pub const TABLES: [Table; 2] = [Table::TaskEvents, Table::Snapshots];

/// The views that a report reads.
const VIEWS: [&str; 9] = [
    "allocations",
    "coverage_summary",
    "crash_loops",
    "restarts",
    "failure_summary",
    "start_latency",
    "start_phases",
    "job_run_summary",
    "reschedules",
];

/// The views that a report reads.
pub fn views() -> Vec<&'static View> {
    VIEWS.iter().filter_map(|name| view(name)).collect()
}

/// A report. Its JSON form has these fields; `docs/report.schema.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The version of the program.
    pub alloclog_version: String,
    /// The columns of `--by`.
    pub by: Vec<&'static str>,
    /// `--since`, as given; null without it.
    pub since: Option<String>,
    /// `--until`, as given; null without it.
    pub until: Option<String>,
    /// What was read.
    pub input: InputSummary,
    /// How complete the history is.
    pub coverage: Coverage,
    /// Tasks in a crash loop, worst first.
    pub crash_loops: Section,
    /// Groups with restarts, most first.
    pub restarts: Section,
    /// Classes of failures, most first.
    pub failure_summary: Section,
    /// First starts, slowest group first: for each group, one row per measure.
    pub start_latency: Section,
    /// The phases of the first starts in the groups of `start_latency`.
    pub start_phases: Section,
    /// Batch jobs, most failures first.
    pub job_run_summary: Section,
    /// Replaced allocations by reason, with the columns reason, reschedules, recovered (how many of them have a known
    /// recovery time), and max_recovery_seconds.
    pub reschedules: Section,
}

/// The input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputSummary {
    /// Number of documents.
    pub documents: u64,
    /// Number of places of the input that could not be read.
    pub rejected: u64,
    /// Number of allocations.
    pub allocations: i64,
    /// Allocations by client status. The statuses lost and unknown, and preemption, are not failures of a task.
    pub allocations_by_status: Vec<Row>,
    /// Allocations that were preempted.
    pub preempted_allocations: i64,
    /// Number of jobs.
    pub jobs: i64,
    /// The namespaces of the allocations.
    pub namespaces: Vec<String>,
    /// The regions of the allocations; an empty text for no region.
    pub regions: Vec<String>,
    /// Number of task events.
    pub task_events: i64,
    /// Time of the first event; null without events.
    pub first_event_at: Value,
    /// Time of the last event; null without events.
    pub last_event_at: Value,
    /// The first observation; null if no document has a time.
    pub first_observed_at: Value,
    /// The last observation; null if no document has a time.
    pub last_observed_at: Value,
    /// The median time between two consecutive listings of a namespace (or of all namespaces), in seconds; null with
    /// fewer than two listings.
    pub observed_every_seconds: Option<f64>,
}

/// How complete the history is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// The columns of `coverage_summary` over all groups, without the columns that count allocations.
    pub total: Row,
    /// Groups with losses, most lost restarts first.
    pub worst: Section,
    /// The events in logs of agents that belong to allocations that no listing shows; null if there are no such events.
    /// The jobs of these allocations are not known, so no other number counts these events.
    pub unlisted: Option<UnlistedEvents>,
}

/// Events of allocations that no listing shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnlistedEvents {
    /// Number of allocations.
    pub allocations: i64,
    /// Number of events.
    pub events: i64,
    /// When the first event was logged, by a client's clock.
    pub first_logged_at: Value,
    /// When the last event was logged, by a client's clock.
    pub last_logged_at: Value,
}

/// A section of a report: the first rows of a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// The total number of rows or, in `start_latency` and `start_phases`, of groups.
    pub of: usize,
    /// The rows shown.
    pub rows: Vec<Row>,
}

impl Section {
    fn first(mut rows: Vec<Row>, top: usize) -> Section {
        let of = rows.len();
        rows.truncate(top);
        Section { of, rows }
    }
}

/// Options of a report.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// The columns to group by.
    pub by: GroupBy,
    /// The period, shown in the title.
    pub period: Period,
    /// Maximum number of rows per section.
    pub top: usize,
}

/// Reads the numbers of a report from a store that holds [`TABLES`], [`views`], and `recovered_events`.
/// `recovered_events` is not in [`views`], because a run that requests this view accepts logs without a listing as its
/// only input. The store has the view anyway: `coverage` reads it, and the pipeline stores it.
///
/// # Errors
/// When the store cannot be read.
pub fn read(store: &Store, summary: &Summary, options: &ReportOptions) -> Result<Report> {
    let by: Vec<&'static str> = options.by.columns().collect();
    let key = by.join(", ");
    let section = |sql: &str| Ok::<_, Error>(Section::first(query::select(store, sql)?, options.top));
    let (start_latency, start_phases) = starts(store, &by, options.top)?;
    Ok(Report {
        alloclog_version: env!("CARGO_PKG_VERSION").to_owned(),
        since: options.period.since.as_ref().map(ToString::to_string),
        until: options.period.until.as_ref().map(ToString::to_string),
        input: input(store, summary)?,
        coverage: Coverage {
            total: one(store, COVERAGE)?,
            worst: section(&format!(
                "SELECT * FROM coverage_summary \
                 WHERE gaps > 0 OR without_begin > 0 OR vanished_tasks > 0 OR COALESCE(lost_restarts, 0) > 0 \
                 ORDER BY COALESCE(lost_restarts, 0) DESC, gaps DESC, without_begin DESC, vanished_tasks DESC, \
                 {key} NULLS LAST"
            ))?,
            unlisted: unlisted(store)?,
        },
        crash_loops: section(
            "SELECT * FROM crash_loops ORDER BY is_over, restarts_last_hour DESC, region, namespace, job_id, task_group, task, \
             alloc_id NULLS LAST",
        )?,
        restarts: section(&format!(
            "SELECT * FROM restarts WHERE restarts > 0 OR restarts_seen > 0 \
             ORDER BY COALESCE(restarts, restarts_seen) DESC, {key} NULLS LAST"
        ))?,
        failure_summary: section(&format!(
            "SELECT * FROM failure_summary ORDER BY failures DESC, {key}, class NULLS LAST"
        ))?,
        start_latency,
        start_phases,
        job_run_summary: section(
            "SELECT * FROM job_run_summary ORDER BY failed + lost DESC, runs DESC, region, namespace, parent_job_id \
             NULLS LAST",
        )?,
        reschedules: section(
            "SELECT reason, COUNT(*) AS reschedules, COUNT(recovery_seconds) AS recovered, \
             MAX(recovery_seconds) AS max_recovery_seconds FROM reschedules \
             GROUP BY reason ORDER BY reschedules DESC, reason NULLS LAST",
        )?,
        by,
    })
}

/// The query of the totals. If the view has no groups, the counts are 0.
const COVERAGE: &str = "\
    SELECT COALESCE(SUM(tasks), 0) AS tasks, COALESCE(SUM(complete), 0) AS complete, \
    COALESCE(SUM(without_events), 0) AS without_events, COALESCE(SUM(without_begin), 0) AS without_begin, \
    COALESCE(SUM(events), 0) AS events, COALESCE(SUM(log_events), 0) AS log_events, \
    COALESCE(SUM(gaps), 0) AS gaps, \
    CASE WHEN COUNT(restarts) > 0 THEN SUM(restarts) END AS restarts, \
    CASE WHEN COUNT(lost_restarts) > 0 THEN SUM(lost_restarts) END AS lost_restarts, \
    COALESCE(SUM(uncounted_tasks), 0) AS uncounted_tasks, COALESCE(SUM(vanished_tasks), 0) AS vanished_tasks, \
    MIN(keep_interval_seconds) AS keep_interval_seconds FROM coverage_summary";

fn unlisted(store: &Store) -> Result<Option<UnlistedEvents>> {
    let row = one(
        store,
        "SELECT COUNT(*) AS events, COUNT(DISTINCT alloc_id) AS allocations, MIN(logged_at) AS first_at, \
         MAX(logged_at) AS last_at FROM recovered_events WHERE NOT is_listed",
    )?;
    let (events, allocations) = (row.int("events").unwrap_or(0), row.int("allocations").unwrap_or(0));
    let (first_logged_at, last_logged_at) = (row.get("first_at").clone(), row.get("last_at").clone());
    Ok((events > 0).then_some(UnlistedEvents { allocations, events, first_logged_at, last_logged_at }))
}

fn input(store: &Store, summary: &Summary) -> Result<InputSummary> {
    let counts = one(
        store,
        "SELECT COUNT(*) AS allocations, SUM(CASE WHEN preempted_by IS NULL THEN 0 ELSE 1 END) AS preempted \
         FROM allocations",
    )?;
    let jobs = query::select(store, "SELECT DISTINCT region, namespace, job_id FROM allocations")?;
    let events = one(
        store,
        "SELECT COUNT(*) AS task_events, MIN(event_at) AS first_at, MAX(event_at) AS last_at FROM task_events",
    )?;
    let trusted = query::TRUSTED;
    let observed = one(
        store,
        &format!("SELECT MIN(observed_at) AS first_at, MAX(observed_at) AS last_at FROM snapshots WHERE {trusted}"),
    )?;
    let moments = query::select(
        store,
        &format!(
            "SELECT DISTINCT region, namespace, observed_at_ns FROM snapshots \
             WHERE observed_at_ns IS NOT NULL AND shape <> 'stream' AND {trusted} \
             ORDER BY region, namespace, observed_at_ns"
        ),
    )?;
    let by_status = "SELECT client_status, COUNT(*) AS allocations FROM allocations \
                     GROUP BY client_status ORDER BY client_status NULLS LAST";
    let distinct = |column: &str| {
        let mut texts: Vec<String> = jobs.iter().filter_map(|row| row.text(column)).map(str::to_owned).collect();
        texts.sort();
        texts.dedup();
        texts
    };
    // If the user lists each namespace separately, several listings follow each other closely. So compare only listings
    // of the same namespace.
    let mut series: BTreeMap<(Option<&str>, Option<&str>), Vec<i64>> = BTreeMap::new();
    for row in &moments {
        let of = series.entry((row.text("region"), row.text("namespace"))).or_default();
        of.extend(row.int("observed_at_ns"));
    }
    Ok(InputSummary {
        documents: summary.documents,
        rejected: summary.rejected,
        allocations: counts.int("allocations").unwrap_or(0),
        allocations_by_status: query::select(store, by_status)?,
        preempted_allocations: counts.int("preempted").unwrap_or(0),
        jobs: jobs.len() as i64,
        namespaces: distinct("namespace"),
        regions: distinct("region"),
        task_events: events.int("task_events").unwrap_or(0),
        first_event_at: events.get("first_at").clone(),
        last_event_at: events.get("last_at").clone(),
        first_observed_at: observed.get("first_at").clone(),
        last_observed_at: observed.get("last_at").clone(),
        observed_every_seconds: median_step(series.into_values()),
    })
}

/// The median difference between adjacent values of sorted series. The values are in nanoseconds, the result is in
/// seconds. If the number of differences is even, the result is the lower median.
fn median_step(series: impl Iterator<Item = Vec<i64>>) -> Option<f64> {
    let steps = |sorted: Vec<i64>| sorted.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    let mut steps: Vec<i64> = series.flat_map(steps).collect();
    steps.sort_unstable();
    let median = steps.get(steps.len().checked_sub(1)? / 2)?;
    Some(*median as f64 / 1e9)
}

/// The groups with the slowest first starts after the creation of the allocation, with both measures and all phases.
/// Groups that have no p95, because too many of their tasks have not started, come first.
fn starts(store: &Store, by: &[&str], top: usize) -> Result<(Section, Section)> {
    let latency = query::select(store, "SELECT * FROM start_latency")?;
    let mut slowest: Vec<&Row> =
        latency.iter().filter(|row| row.text("measure") == Some("created_to_started")).collect();
    // The sort is stable, so groups of equal rank keep the order of the view.
    slowest.sort_by(|a, b| slowness(b).partial_cmp(&slowness(a)).unwrap_or(Ordering::Equal));
    let of = slowest.len();
    let groups: Vec<Vec<Value>> = slowest.iter().take(top).map(|row| group(row, by)).collect();
    let sorted = |rows: Vec<Row>| {
        let mut placed: Vec<(usize, Row)> = Vec::new();
        for row in rows {
            let index = groups.iter().position(|wanted| *wanted == group(&row, by));
            placed.extend(index.map(|index| (index, row)));
        }
        // The rows within a group keep the order of the view, too.
        placed.sort_by_key(|(index, _)| *index);
        Section { of, rows: placed.into_iter().map(|(_, row)| row).collect() }
    };
    let phases = query::select(store, "SELECT * FROM start_phases")?;
    Ok((sorted(latency), sorted(phases)))
}

/// The sort key of slow groups, by priority: whether the p95 is missing because tasks have not started; the p95; the
/// p50; the number of tasks.
fn slowness(row: &Row) -> (bool, f64, f64, Option<i64>) {
    let missing: i64 = ["waiting", "failed_before_start"].iter().filter_map(|count| row.int(count)).sum();
    let seconds = |quantile: &str| row.number(quantile).unwrap_or(-1.0);
    let is_stuck = row.number("p95_seconds").is_none() && missing > 0;
    (is_stuck, seconds("p95_seconds"), seconds("p50_seconds"), row.int("tasks"))
}

/// The group of a row.
fn group(row: &Row, by: &[&str]) -> Vec<Value> {
    by.iter().map(|column| row.get(column).clone()).collect()
}

fn one(store: &Store, sql: &str) -> Result<Row> {
    Ok(query::select(store, sql)?.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_step_is_an_observed_one() {
        let median_step = |series: &[&[i64]]| median_step(series.iter().map(|moments| moments.to_vec()));
        assert_eq!(median_step(&[]), None);
        assert_eq!(median_step(&[&[5], &[6]]), None);
        assert_eq!(median_step(&[&[0, 2_000_000_000]]), Some(2.0));
        assert_eq!(median_step(&[&[0, 1_000_000_000, 4_000_000_000]]), Some(1.0));
        assert_eq!(median_step(&[&[0, 30_000_000_000], &[3_000_000, 30_003_000_000]]), Some(30.0));
    }
}
