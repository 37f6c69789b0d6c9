//! Short forms of the views, for a terminal: only the most informative columns, with the worst or the newest rows
//! first.

use super::GroupBy;

/// The short form of a view's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortForm {
    /// The columns that identify a row, from the widest scope to the narrowest.
    pub names: Vec<&'static str>,
    /// The other columns, the most informative first.
    pub columns: Vec<&'static str>,
    order: &'static str,
}

/// A view in the table below: its name, the columns that identify its rows, its most informative columns, and its
/// order.
type Definition = (&'static str, Names, &'static [&'static str], &'static str);

/// The columns that identify the rows of a view.
#[derive(Debug, Clone, Copy)]
enum Names {
    /// The columns of `--by`.
    Group,
    Task,
    TaskGroup,
    Job,
    ParentJob,
}

use Names::{Group, Job, ParentJob, Task, TaskGroup};

/// If a row is one event, or one run of a task, the newest rows come first. In all other views, the worst rows come
/// first.
const FORMS: [Definition; 15] = [
    (
        "allocations",
        TaskGroup,
        &["client_status", "alloc_id", "node_name", "created_at", "desired_status", "job_version", "modified_at"],
        "CASE client_status WHEN 'failed' THEN 0 WHEN 'lost' THEN 1 WHEN 'unknown' THEN 2 WHEN 'pending' THEN 3 \
         WHEN 'running' THEN 4 ELSE 5 END, modified_at_ns DESC NULLS LAST",
    ),
    (
        "attempts",
        Task,
        &["outcome", "started_at", "attempt", "failure_class", "exit_code", "alloc_id", "ended_at", "node_name"],
        "COALESCE(started_at_ns, ended_at_ns) DESC NULLS LAST, attempt DESC NULLS LAST",
    ),
    (
        "coverage",
        Task,
        &["complete", "lost_restarts", "gaps", "alloc_id", "begins", "tail_lost", "restarts", "events"],
        "complete, lost_restarts DESC NULLS LAST, gaps DESC NULLS LAST",
    ),
    (
        "coverage_summary",
        Group,
        &["lost_restarts", "complete", "tasks", "gaps", "without_begin", "vanished_tasks", "keep_interval_seconds"],
        "lost_restarts DESC NULLS LAST, gaps DESC, without_begin DESC, vanished_tasks DESC",
    ),
    (
        "crash_loops",
        Task,
        &[
            "restarts_last_hour",
            "state",
            "last_restart_at",
            "last_class",
            "last_exit_code",
            "alloc_id",
            "node_name",
            "period_seconds",
        ],
        "is_over, restarts_last_hour DESC",
    ),
    (
        "failures",
        Task,
        &["failed_at", "class", "exit_code", "gave_up", "alloc_id", "attempt", "node_name", "message"],
        "failed_at_ns DESC NULLS LAST",
    ),
    (
        "failure_summary",
        Group,
        &["failures", "class", "exit_code", "last_at", "gave_up", "tasks", "suspected_oom", "message"],
        "failures DESC, class",
    ),
    (
        "job_runs",
        Job,
        &["outcome", "created_at", "duration_seconds", "attempts", "finished_at", "allocations", "job_version"],
        "CASE outcome WHEN 'failed' THEN 0 WHEN 'lost' THEN 1 WHEN 'stopped' THEN 2 WHEN 'unknown' THEN 3 \
         WHEN 'running' THEN 4 ELSE 5 END, created_at_ns DESC NULLS LAST",
    ),
    (
        "job_run_summary",
        ParentJob,
        &["runs", "failed", "lost", "success_rate", "last_success_at", "running", "p50_seconds", "p95_seconds"],
        "failed + lost DESC, runs DESC",
    ),
    (
        "reschedules",
        TaskGroup,
        &["reason", "replaced_at", "recovery_seconds", "alloc_id", "previous_alloc_id", "node_name"],
        "recovery_seconds DESC NULLS LAST, replaced_at_ns DESC NULLS LAST",
    ),
    (
        "restarts",
        Group,
        &[
            "restarts",
            "lost_restarts",
            "last_restart_at",
            "cause_failure",
            "cause_oom",
            "cause_start_failure",
            "cause_health",
            "cause_unknown",
            "restarts_per_task_day",
            "task_days",
        ],
        "COALESCE(restarts, restarts_seen) DESC NULLS LAST, restarts_seen DESC",
    ),
    (
        "start_latency",
        Group,
        &["p95_seconds", "measure", "tasks", "waiting", "failed_before_start", "p50_seconds", "max_seconds"],
        "CASE WHEN p95_seconds IS NULL AND waiting + failed_before_start > 0 THEN 0 ELSE 1 END, \
         p95_seconds DESC NULLS LAST, measure",
    ),
    (
        "start_phases",
        Group,
        &["p95_seconds", "phase", "p50_seconds", "samples", "max_seconds"],
        "p95_seconds DESC NULLS LAST, phase",
    ),
    (
        "starts",
        Task,
        &[
            "outcome",
            "created_to_started_seconds",
            "created_at",
            "alloc_id",
            "created_to_received_seconds",
            "received_to_setup_seconds",
            "setup_to_started_seconds",
        ],
        "CASE outcome WHEN 'failed_before_start' THEN 0 WHEN 'waiting' THEN 1 ELSE 2 END, \
         created_to_started_seconds DESC NULLS LAST",
    ),
    (
        "task_states",
        Task,
        &["state", "failed", "restarts", "last_restart_at", "alloc_id", "node_name", "started_at", "client_status"],
        "failed DESC NULLS LAST, restarts DESC NULLS LAST",
    ),
];

impl ShortForm {
    /// The short form of a view; `None` if the view has none.
    pub fn of(view: &str, by: &GroupBy) -> Option<ShortForm> {
        let (_, names, columns, order) = FORMS.into_iter().find(|(name, ..)| *name == view)?;
        let names = match names {
            Names::Group => by.columns().collect(),
            Names::Task => vec!["region", "namespace", "job_id", "task_group", "task"],
            Names::TaskGroup => vec!["region", "namespace", "job_id", "task_group"],
            Names::Job => vec!["region", "namespace", "job_id"],
            Names::ParentJob => vec!["region", "namespace", "parent_job_id"],
        };
        Some(ShortForm { names, columns: columns.to_vec(), order })
    }

    /// The query that selects the columns of the short form from a result, with the rows in the order of the short
    /// form. Rows that are equal in this order are ordered by the columns that identify them.
    pub fn sql(&self, result: &str) -> String {
        let columns: Vec<&str> = self.names.iter().chain(&self.columns).copied().collect();
        let names = self.names.iter().chain(self.columns.iter().filter(|column| **column == "alloc_id"));
        let names: Vec<String> = names.map(|name| format!("{name} NULLS LAST")).collect();
        format!("SELECT {} FROM {result} ORDER BY {}, {}", columns.join(", "), self.order, names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{VIEWS, view};

    #[test]
    fn every_exported_view_has_a_short_form_of_its_columns() -> crate::error::Result<()> {
        for view in VIEWS.iter().filter(|view| view.is_exported()) {
            let by = GroupBy::default();
            let short = ShortForm::of(view.name, &by).unwrap_or_else(|| panic!("{} has none", view.name));
            let known: Vec<String> = view.columns(&by)?.into_iter().map(|column| column.name).collect();
            for column in short.names.iter().chain(&short.columns) {
                assert!(known.iter().any(|name| name == column), "{}: {column}", view.name);
            }
        }
        assert!(FORMS.iter().all(|(name, ..)| view(name).is_some_and(|view| view.is_exported())));
        Ok(())
    }

    #[test]
    fn a_group_is_named_by_its_columns() {
        let by = "node_name".parse().unwrap_or_default();
        let sql = ShortForm::of("failure_summary", &by).map(|short| short.sql("answer")).unwrap_or_default();
        assert!(sql.starts_with("SELECT node_name, failures, class, "), "{sql}");
        assert!(sql.ends_with(" ORDER BY failures DESC, class, node_name NULLS LAST"), "{sql}");
    }
}
