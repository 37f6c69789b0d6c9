//! The story of one allocation, or of all allocations of a job, as rows of the views.
//!
//! Every value comes from a view or a stored table. This module selects the rows of the target, and puts each gap
//! before the event that follows it.

pub(super) mod entries;
mod gaps;
mod lanes;
mod markdown;
pub(super) mod phrases;
pub(super) mod tables;
mod target;
mod terminal;
mod trace;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::query::{self, Row, View, view};
use crate::store::Store;
use crate::tables::Table;

pub use gaps::{Gap, GapKind};
pub(super) use lanes::{Slice, slices};
pub use markdown::markdown;
pub use target::{Target, TargetMatch, find};
pub(super) use terminal::description;
pub use terminal::{Look, terminal};
pub use trace::trace;

/// The stored tables that a timeline reads directly.
pub const TABLES: [Table; 2] = [Table::AllocationHistory, Table::Snapshots];

/// The views that a timeline reads.
const VIEWS: [&str; 13] = [
    "allocations",
    "attempts",
    "coverage",
    "crash_loops",
    "endings",
    "failures",
    "job_runs",
    "reschedules",
    "restart_log",
    "starts",
    "task_states",
    "timeline",
    "windows",
];

/// The views that a timeline reads.
pub fn views() -> Vec<&'static View> {
    VIEWS.iter().filter_map(|name| view(name)).collect()
}

/// The columns that identify a task and its allocation. A story has them once, so they are removed from its other
/// rows.
const SHARED: [&str; 12] = [
    "region",
    "namespace",
    "job_id",
    "task_group",
    "task",
    "alloc_id",
    "job_type",
    "job_version",
    "node_id",
    "node_name",
    "node_class",
    "datacenter",
];

/// A timeline. Its JSON form has these fields; `docs/timeline.schema.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// The version of the program.
    pub alloclog_version: String,
    /// The allocation or job.
    pub target: Target,
    /// The newest observation; null if no document has a time.
    pub last_observed_at: Value,
    /// Number of places of the input that could not be read.
    pub rejected: u64,
    /// Job versions: job_id, job_version, allocations, first_seen_at. first_seen_at is the time of the first version of
    /// an allocation with this job version, by the server's clock.
    pub versions: Vec<Row>,
    /// Deployments: deployment_id, job_version, allocations, healthy, unhealthy, canaries, created_at (the creation
    /// of its first allocation). An allocation counts only in its latest deployment.
    pub deployments: Vec<Row>,
    /// The allocations, oldest first.
    pub allocations: Vec<AllocationStory>,
    /// Restarts whose event was seen, counted by cause: cause, restarts.
    pub restart_causes: Vec<Row>,
    /// Failures by class: class, exit_code, failures, gave_up, suspected_oom, last_at.
    pub failure_classes: Vec<Row>,
}

/// The story of one allocation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AllocationStory {
    /// The row of the allocation in `allocations`.
    pub allocation: Row,
    /// The versions of the allocation, oldest first; only those that change a status, a description, the job version
    /// or the deployment.
    pub changes: Vec<Row>,
    /// The allocation that this one replaced: alloc_id, node_id, node_name, reason, replaced_at, recovery_seconds.
    pub previous: Option<Row>,
    /// The allocations that replaced this one, with the same columns.
    pub next: Vec<Row>,
    /// Its tasks, by name.
    pub tasks: Vec<TaskStory>,
}

/// The story of one task of an allocation. Rows of views lack the columns that the allocation already has.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TaskStory {
    /// The name of the task; null if no source shows it.
    pub task: Option<String>,
    /// The row of the task in `task_states`; null if there is none.
    pub state: Option<Row>,
    /// The row of the task in `coverage`; null if there is none.
    pub coverage: Option<Row>,
    /// The row of the task in `starts`; null if there is none.
    pub start: Option<Row>,
    /// The row of the task in `crash_loops`; null if it is not in a crash loop.
    pub crash_loop: Option<Row>,
    /// The rows of the task in `attempts`, in order. `run` is the number that the events of the attempt have in
    /// their `run`.
    pub attempts: Vec<Row>,
    /// The rows of the task in `timeline`, in order, with `outcome` and `class` of `endings`. These are null for an
    /// event that ended no attempt.
    pub events: Vec<Row>,
    /// Where events or restarts are missing, in order.
    pub gaps: Vec<Gap>,
    /// The latest row of the task in `failures`; null if it has no failure.
    pub last_failure: Option<Row>,
    /// Whether the events of several lives are mixed, so that attempts are unknown (see `windows`).
    pub lives_mixed: bool,
}

/// Reads the timeline of a target from a store that holds [`TABLES`] and [`views`].
///
/// # Errors
/// When the store cannot be read.
pub fn read(store: &Store, target: Target, rejected: u64) -> Result<Timeline> {
    let is_chosen = target.has("alloc_id");
    let select = |sql: &str| query::select(store, &sql.replace("$CHOSEN", &is_chosen));
    let rows = select("SELECT * FROM allocations WHERE $CHOSEN ORDER BY created_at_ns NULLS LAST, alloc_id")?;
    let mut tasks = tasks(&select)?;
    let mut changes = grouped(select(CHANGES)?, allocation_of);
    let replaced = select(&format!("{REPLACED} WHERE $CHOSEN"))?;
    let replacing = query::select(store, &format!("{REPLACED} WHERE {}", target.has("previous_alloc_id")))?;
    let named = |row: &Row| row.text("next_allocation").map(str::to_owned);
    let others = replaced.iter().filter_map(|row| row.text("previous_alloc_id").map(str::to_owned));
    let others = others.chain(replacing.iter().map(allocation_of)).chain(rows.iter().filter_map(named));
    let others = target.with(others.collect()).has("alloc_id");
    let others = query::select(store, &format!("SELECT alloc_id, node_id, node_name FROM allocations WHERE {others}"))?;
    let allocations = rows.into_iter().map(|allocation| {
        let id = allocation_of(&allocation);
        let of_previous = replaced.iter().find(|row| allocation_of(row) == id);
        let previous =
            of_previous.map(|row| neighbour(row, row.get("previous_alloc_id"), row.get("previous_node_id"), &others));
        let of_next = replacing.iter().filter(|row| row.text("previous_alloc_id") == Some(&id));
        let mut next: Vec<Row> =
            of_next.map(|row| neighbour(row, row.get("alloc_id"), row.get("node_id"), &others)).collect();
        let named = allocation.get("next_allocation");
        if !named.is_null() && next.iter().all(|row| row.get("alloc_id") != named) {
            next.push(neighbour(&Row::default(), named, &Value::Null, &others));
        }
        AllocationStory {
            changes: collapsed(changes.remove(&id).unwrap_or_default()),
            previous,
            next,
            tasks: tasks.remove(&id).unwrap_or_default().into_iter().map(|rows| rows.story(&allocation)).collect(),
            allocation,
        }
    });
    Ok(Timeline {
        alloclog_version: env!("CARGO_PKG_VERSION").to_owned(),
        allocations: allocations.collect(),
        versions: select(VERSIONS)?,
        deployments: select(DEPLOYMENTS)?,
        restart_causes: select(RESTART_CAUSES)?,
        failure_classes: select(FAILURE_CLASSES)?,
        last_observed_at: newest(store)?,
        rejected,
        target,
    })
}

const REPLACED: &str = "\
    SELECT alloc_id, node_id, node_name, previous_alloc_id, previous_node_id, reason, replaced_at, recovery_seconds \
    FROM reschedules";

const CHANGES: &str = "\
    SELECT alloc_id, modify_index, modified_at, client_status, client_description, desired_status, \
    desired_description, job_version, deployment_id, deployment_healthy FROM allocation_history WHERE $CHOSEN \
    ORDER BY alloc_id, modified_at_ns NULLS FIRST, modify_index NULLS FIRST, shape NULLS FIRST, \
    client_status NULLS FIRST, desired_status NULLS FIRST, job_version NULLS FIRST, deployment_id NULLS FIRST, \
    client_description NULLS FIRST, desired_description NULLS FIRST";

const VERSIONS: &str = "\
    SELECT job_id, job_version, COUNT(DISTINCT alloc_id) AS allocations, MIN(modified_at) AS first_seen_at \
    FROM allocation_history WHERE $CHOSEN AND job_version IS NOT NULL \
    GROUP BY job_id, job_version ORDER BY job_id NULLS LAST, job_version";

const DEPLOYMENTS: &str = "\
    SELECT deployment_id, MAX(job_version) AS job_version, COUNT(*) AS allocations, \
    SUM(CASE WHEN deployment_healthy THEN 1 ELSE 0 END) AS healthy, \
    SUM(CASE WHEN NOT deployment_healthy THEN 1 ELSE 0 END) AS unhealthy, \
    SUM(CASE WHEN canary THEN 1 ELSE 0 END) AS canaries, MIN(created_at) AS created_at \
    FROM allocations WHERE $CHOSEN AND deployment_id IS NOT NULL \
    GROUP BY deployment_id ORDER BY created_at NULLS LAST, deployment_id";

const RESTART_CAUSES: &str = "\
    SELECT cause, COUNT(*) AS restarts FROM restart_log WHERE $CHOSEN AND is_seen \
    GROUP BY cause ORDER BY restarts DESC, cause NULLS LAST";

const FAILURE_CLASSES: &str = "\
    SELECT class, exit_code, COUNT(*) AS failures, SUM(CASE WHEN gave_up THEN 1 ELSE 0 END) AS gave_up, \
    SUM(CASE WHEN suspected_oom THEN 1 ELSE 0 END) AS suspected_oom, MAX(failed_at) AS last_at \
    FROM failures WHERE $CHOSEN GROUP BY class, exit_code ORDER BY failures DESC, class, exit_code NULLS LAST";

const EVENTS: &str = "\
    SELECT t.alloc_id, t.task, t.event_no, t.attempt, t.run, t.event_at, t.event_at_ns, t.event_type, t.fails_task, \
    t.exit_code, t.signal, t.oom_killed, t.start_delay_ns, t.message, e.outcome, e.class \
    FROM (SELECT * FROM timeline WHERE $CHOSEN) AS t LEFT JOIN (SELECT * FROM endings WHERE $CHOSEN) AS e \
    ON e.region = t.region AND e.alloc_id = t.alloc_id AND e.task = t.task AND e.event_no = t.event_no \
    ORDER BY t.alloc_id, t.task, t.event_no";

/// The rows of the views about one task.
#[derive(Debug, Default)]
struct TaskRows {
    state: Option<Row>,
    coverage: Option<Row>,
    start: Option<Row>,
    crash_loop: Option<Row>,
    attempts: Vec<Row>,
    events: Vec<Row>,
    windows: Vec<Row>,
    unseen_restarts: Vec<Row>,
    last_failure: Option<Row>,
}

impl TaskRows {
    fn story(self, allocation: &Row) -> TaskStory {
        let name = [&self.state, &self.start, &self.coverage];
        let name = name.into_iter().flatten().chain(&self.events).find_map(|row| row.text("task").map(str::to_owned));
        let gaps = gaps::find(&self, allocation);
        let runs = runs(&self.events, self.attempts);
        TaskStory {
            task: name,
            state: self.state.map(own),
            coverage: self.coverage.map(own),
            start: self.start.map(own),
            crash_loop: self.crash_loop.map(own),
            attempts: runs.into_iter().map(own).collect(),
            events: self.events.into_iter().map(own).collect(),
            gaps,
            last_failure: self.last_failure.map(own),
            lives_mixed: self.windows.iter().any(|row| *row.get("lives_mixed") == Value::Bool(true)),
        }
    }
}

/// The rows of the views about the tasks, by allocation.
fn tasks(select: &dyn Fn(&str) -> Result<Vec<Row>>) -> Result<BTreeMap<String, Vec<TaskRows>>> {
    let mut tasks: BTreeMap<(String, Option<String>), TaskRows> = BTreeMap::new();
    let mut each = |sql: &str, put: fn(&mut TaskRows, Row)| {
        for row in select(sql)? {
            let key = (allocation_of(&row), row.text("task").map(str::to_owned));
            put(tasks.entry(key).or_default(), row);
        }
        Ok::<_, Error>(())
    };
    each("SELECT * FROM task_states WHERE $CHOSEN", |task, row| task.state = Some(row))?;
    each("SELECT * FROM coverage WHERE $CHOSEN", |task, row| task.coverage = Some(row))?;
    each("SELECT * FROM starts WHERE $CHOSEN", |task, row| task.start = Some(row))?;
    each("SELECT * FROM crash_loops WHERE $CHOSEN", |task, row| task.crash_loop = Some(row))?;
    // The rows keep the order of the view, which is by run.
    each("SELECT * FROM attempts WHERE $CHOSEN", |task, row| task.attempts.push(row))?;
    each(EVENTS, |task, row| task.events.push(row))?;
    let windows = "SELECT * FROM windows WHERE $CHOSEN ORDER BY alloc_id, task, window_no";
    each(windows, |task, row| task.windows.push(row))?;
    let unseen = "SELECT * FROM restart_log WHERE $CHOSEN AND NOT is_seen \
                  ORDER BY alloc_id, task, restarted_at_ns NULLS LAST, not_before_ns";
    each(unseen, |task, row| task.unseen_restarts.push(row))?;
    let failures = "SELECT * FROM failures WHERE $CHOSEN ORDER BY alloc_id, task, failed_at_ns NULLS FIRST, event_type";
    each(failures, |task, row| task.last_failure = Some(row))?;
    let mut by_allocation: BTreeMap<String, Vec<TaskRows>> = BTreeMap::new();
    for ((alloc_id, _), rows) in tasks {
        by_allocation.entry(alloc_id).or_default().push(rows);
    }
    Ok(by_allocation)
}

/// Adds to each row of `attempts` the number of its run in `timeline`. Without a period, `attempts` has one row for
/// each run with events, in the order of the runs. If a row does not agree with the runs, its number is null.
fn runs(events: &[Row], attempts: Vec<Row>) -> Vec<Row> {
    let mut numbers: Vec<i64> = events.iter().filter_map(|row| row.int("run")).filter(|run| *run > 0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let is_one_each = numbers.len() == attempts.len();
    let with_run = attempts.into_iter().enumerate().map(|(i, mut row)| {
        let run = numbers.get(i).filter(|run| is_one_each && row.int("attempt").is_none_or(|attempt| attempt == **run));
        row.0.insert(0, ("run".to_owned(), run.map_or(Value::Null, |run| Value::from(*run))));
        row
    });
    with_run.collect()
}

/// Groups rows by a key. Keeps the order of the rows.
fn grouped(rows: Vec<Row>, key: fn(&Row) -> String) -> BTreeMap<String, Vec<Row>> {
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    rows.into_iter().for_each(|row| groups.entry(key(&row)).or_default().push(row));
    groups
}

fn allocation_of(row: &Row) -> String {
    row.text("alloc_id").unwrap_or_default().to_owned()
}

/// Removes the columns that the story of the allocation already has.
fn own(row: Row) -> Row {
    Row(row.0.into_iter().filter(|(name, _)| !SHARED.contains(&name.as_str())).collect())
}

/// The versions of one allocation in which something changed. Some kinds of sources lack some columns, so a null is
/// not a change: the value of the version before replaces it.
fn collapsed(rows: Vec<Row>) -> Vec<Row> {
    let mut changes: Vec<Row> = Vec::new();
    let is_time = |name: &str| matches!(name, "modify_index" | "modified_at");
    for mut row in rows.into_iter().map(|row| Row(row.0.into_iter().filter(|(name, _)| name != "alloc_id").collect())) {
        let Some(last) = changes.last_mut() else {
            changes.push(row);
            continue;
        };
        for (name, value) in row.0.iter_mut().filter(|(_, value)| value.is_null()) {
            *value = last.get(name).clone();
        }
        let differs = |name: &str, value: &Value| !is_time(name) && last.get(name) != value;
        let is_same_version =
            last.get("modify_index") == row.get("modify_index") && last.get("modified_at") == row.get("modified_at");
        if is_same_version {
            *last = row;
        } else if row.0.iter().any(|(name, value)| differs(name, value)) {
            changes.push(row);
        }
    }
    changes
}

/// An allocation that replaced another one or was replaced, with the values of the row of `reschedules` that joins
/// the two.
fn neighbour(joins: &Row, alloc_id: &Value, node_id: &Value, known: &[Row]) -> Row {
    let known = known.iter().find(|row| row.get("alloc_id") == alloc_id);
    let of = |column: &str| known.map_or(Value::Null, |row| row.get(column).clone());
    let node_id = if node_id.is_null() { of("node_id") } else { node_id.clone() };
    let mut row = vec![
        ("alloc_id".to_owned(), alloc_id.clone()),
        ("node_id".to_owned(), node_id),
        ("node_name".to_owned(), of("node_name")),
    ];
    let joined = ["reason", "replaced_at", "recovery_seconds"];
    row.extend(joined.map(|column| (column.to_owned(), joins.get(column).clone())));
    Row(row)
}

fn newest(store: &Store) -> Result<Value> {
    let sql = format!("SELECT MAX(observed_at) AS newest FROM snapshots WHERE {}", query::TRUSTED);
    Ok(query::select(store, &sql)?.first().map_or(Value::Null, |row| row.get("newest").clone()))
}
