//! A report in Markdown, for a ticket or an e-mail.

use serde_json::Value;

use super::show::{
    JOB, TASK, causes, class, commonest, count, coverage, group, group_title, maybe_span, measured, moment, period,
    rate, read, rejected, success,
};
use super::{Report, Section};
use crate::query::{Row, view};
use crate::render::text::{Side, TextTable, markdown as escaped};

use Side::{Left, Right};

/// Formats a report in Markdown. With `explain`, adds the definitions.
pub fn markdown(report: &Report, explain: bool) -> String {
    let input = &report.input;
    let mut text = String::from("# alloclog report\n\n");
    let (first, last) = (moment(&input.first_observed_at), moment(&input.last_observed_at));
    text.push_str(&format!("{}, seen from {first} to {last} UTC.\n\n", read(report)));
    text.extend(period(report).map(|sentence| format!("{sentence}\n\n")));
    text.extend(rejected(report).map(|sentence| format!("**{sentence}**\n\n")));
    let mut statuses =
        TextTable { columns: vec![("client status".into(), Left), ("allocations".into(), Right)], rows: vec![] };
    for row in &input.allocations_by_status {
        statuses
            .rows
            .push(vec![row.text("client_status").unwrap_or("unknown to us").to_owned(), count(row.int("allocations"))]);
    }
    statuses.rows.push(vec!["(preempted)".into(), count(Some(input.preempted_allocations))]);
    text.push_str(&statuses.markdown());
    let mut add = |title: &str, body: String, views: &[&str]| {
        text.push_str(&format!("\n## {title}\n\n{body}"));
        if explain {
            views.iter().for_each(|name| text.push_str(&explanation(name)));
        }
    };
    let sentences: Vec<String> = coverage(report).iter().map(|sentence| format!("- {}\n", escaped(sentence))).collect();
    add("Coverage", sentences.concat(), &["coverage", "coverage_summary"]);
    add("Crash loops", table(report, &report.crash_loops, &TASK, "No crash loops.", &CRASH_LOOPS), &["crash_loops"]);
    add("Restarts", table(report, &report.restarts, &report.by, "No restarts.", &RESTARTS), &["restarts"]);
    add("Failures", table(report, &report.failure_summary, &report.by, "No failures.", &FAILURES), &["failures"]);
    for (measure, title) in [
        ("created_to_started", "First starts, from their creation"),
        ("setup_to_started", "First starts, from their setup"),
    ] {
        add(title, table(report, &measured(report, measure), &report.by, "No tasks.", &STARTS), &["start_latency"]);
    }
    add("Phases of first starts", table(report, &report.start_phases, &report.by, "None.", &PHASES), &["start_phases"]);
    add("Job runs", table(report, &report.job_run_summary, &JOB, "No runs of batch jobs.", &JOB_RUNS), &["job_runs"]);
    add(
        "Reschedules",
        table(report, &report.reschedules, &[], "No allocation replaced another.", &RESCHEDULES),
        &["reschedules"],
    );
    text
}

/// A column: its title, its alignment, and its text for a row.
pub(super) type ReportColumn = (&'static str, Side, fn(&Row) -> String);

pub(super) const CRASH_LOOPS: [ReportColumn; 8] = [
    ("restarts in the last hour", Right, |row| count(row.int("restarts_last_hour"))),
    ("every", Right, |row| maybe_span(row.number("period_seconds"))),
    ("since (UTC)", Left, |row| match (row.get("since_at"), row.get("seen_since_at")) {
        (Value::Null, Value::Null) => "-".to_owned(),
        (Value::Null, seen) => format!("seen since {}", moment(seen)),
        (since, _) => moment(since),
    }),
    ("last (UTC)", Left, |row| moment(row.get("last_restart_at"))),
    ("last failure", Left, |row| class(row.text("last_class"), row.int("last_exit_code"))),
    ("state", Left, |row| word(row, "state")),
    ("allocation", Left, |row| word(row, "alloc_id")),
    ("node", Left, |row| row.text("node_name").map_or_else(|| word(row, "node_id"), str::to_owned)),
];

pub(super) const RESTARTS: [ReportColumn; 7] = [
    ("restarts", Right, |row| count(row.int("restarts"))),
    ("seen", Right, |row| count(row.int("restarts_seen"))),
    ("lost", Right, |row| count(row.int("lost_restarts"))),
    ("a task-day", Right, |row| rate(row.number("restarts_per_task_day"))),
    ("task time", Right, |row| maybe_span(row.number("task_days").map(|days| days * 86400.0))),
    ("last (UTC)", Left, |row| moment(row.get("last_restart_at"))),
    ("causes seen", Left, causes),
];

pub(super) const FAILURES: [ReportColumn; 7] = [
    ("failures", Right, |row| count(row.int("failures"))),
    ("class", Left, |row| class(row.text("class"), row.int("exit_code"))),
    ("gave up", Right, |row| count(row.int("gave_up"))),
    ("suspected OOM", Right, |row| count(row.int("suspected_oom"))),
    ("tasks", Right, |row| count(row.int("tasks"))),
    ("last (UTC)", Left, |row| moment(row.get("last_at"))),
    ("commonest message", Left, |row| commonest(row).unwrap_or_else(|| "-".to_owned())),
];

pub(super) const STARTS: [ReportColumn; 9] = [
    ("tasks", Right, |row| count(row.int("tasks"))),
    ("started", Right, |row| count(row.int("started"))),
    ("waiting", Right, |row| count(row.int("waiting"))),
    ("failed", Right, |row| count(row.int("failed_before_start"))),
    ("stopped", Right, |row| count(row.int("stopped_before_start"))),
    ("unknown", Right, |row| count(row.int("unknown"))),
    ("p50", Right, |row| maybe_span(row.number("p50_seconds"))),
    ("p95", Right, |row| maybe_span(row.number("p95_seconds"))),
    ("max", Right, |row| maybe_span(row.number("max_seconds"))),
];

pub(super) const PHASES: [ReportColumn; 5] = [
    ("phase", Left, |row| word(row, "phase")),
    ("samples", Right, |row| count(row.int("samples"))),
    ("p50", Right, |row| maybe_span(row.number("p50_seconds"))),
    ("p95", Right, |row| maybe_span(row.number("p95_seconds"))),
    ("max", Right, |row| maybe_span(row.number("max_seconds"))),
];

pub(super) const JOB_RUNS: [ReportColumn; 11] = [
    ("runs", Right, |row| count(row.int("runs"))),
    ("complete", Right, |row| count(row.int("complete"))),
    ("failed", Right, |row| count(row.int("failed"))),
    ("lost", Right, |row| count(row.int("lost"))),
    ("stopped", Right, |row| count(row.int("stopped"))),
    ("running", Right, |row| count(row.int("running"))),
    ("unknown", Right, |row| count(row.int("unknown"))),
    ("success", Right, success),
    ("p50", Right, |row| maybe_span(row.number("p50_seconds"))),
    ("p95", Right, |row| maybe_span(row.number("p95_seconds"))),
    ("last success (UTC)", Left, |row| moment(row.get("last_success_at"))),
];

pub(super) const RESCHEDULES: [ReportColumn; 4] = [
    ("reason", Left, |row| word(row, "reason")),
    ("reschedules", Right, |row| count(row.int("reschedules"))),
    ("recovered", Right, |row| count(row.int("recovered"))),
    ("longest recovery", Right, |row| maybe_span(row.number("max_recovery_seconds"))),
];

fn word(row: &Row, column: &str) -> String {
    row.text(column).unwrap_or("-").to_owned()
}

/// The rows of a section, each starting with its group.
fn table(report: &Report, section: &Section, group_columns: &[&str], none: &str, columns: &[ReportColumn]) -> String {
    if section.rows.is_empty() {
        return format!("{none}\n");
    }
    let mut table = text_table(report, &section.rows, group_columns, columns).markdown();
    let more = left_out(report, section, group_columns);
    if more > 0 {
        table.push_str(&format!("\nand {more} more.\n"));
    }
    table
}

/// The rows as texts, each starting with its group.
pub(super) fn text_table(report: &Report, rows: &[Row], group_columns: &[&str], columns: &[ReportColumn]) -> TextTable {
    let mut text = TextTable::default();
    if !group_columns.is_empty() {
        text.columns.push((group_title(report, group_columns), Left));
    }
    text.columns.extend(columns.iter().map(|(title, side, _)| ((*title).to_owned(), *side)));
    for row in rows {
        let about = (!group_columns.is_empty()).then(|| group(report, row, group_columns));
        text.rows.push(about.into_iter().chain(columns.iter().map(|(_, _, show)| show(row))).collect());
    }
    text
}

/// The number of rows, or of groups, that a section leaves out.
pub(super) fn left_out(report: &Report, section: &Section, group_columns: &[&str]) -> usize {
    let groups = |rows: &[Row]| {
        let mut distinct_groups: Vec<String> = rows.iter().map(|row| group(report, row, group_columns)).collect();
        distinct_groups.dedup();
        distinct_groups.len()
    };
    let is_of_groups = !group_columns.is_empty() && section.rows.first().is_some_and(|row| row.text("phase").is_some());
    let shown = if is_of_groups { groups(&section.rows) } else { section.rows.len() };
    section.of.saturating_sub(shown)
}

fn explanation(name: &str) -> String {
    let Some(head) = view(name).and_then(|view| view.head().ok()) else { return String::new() };
    let lines: Vec<String> = head.definition.iter().map(|line| format!("> {}\n", escaped(line))).collect();
    format!("\n> **{}**\n{}", escaped(&head.question), lines.concat())
}
