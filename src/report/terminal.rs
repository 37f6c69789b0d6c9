//! A report for a terminal, as wide as the terminal, with colours and bars.

mod again;

use console::{Style, measure_text_width, truncate_str};
use serde_json::Value;

pub use again::Again;

use super::layout::{bar, short};
use super::show::{
    JOB, TASK, ago, causes, class, clock, commonest, count, count_or_blank, counted, coverage, group, group_title,
    maybe_span, measured, moment, period, rate, read, rejected, span, success,
};
use super::{Report, Section};
use crate::query::{Row, view};
use crate::render::fit::{RankedColumn, fit, fold, left, right};
use crate::render::text::one_line;

/// Options of a terminal report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appearance {
    /// Columns of text, at least [`NARROWEST`].
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
    /// Whether to explain the terms.
    pub explain: bool,
    /// How to read the same input again.
    pub again: Again,
}

/// The smallest width of a report, in columns of text.
pub const NARROWEST: usize = 60;

/// Formats a report as lines of text.
pub fn terminal(report: &Report, look: Appearance) -> String {
    let page = TerminalPage { report, look };
    let has_period = report.since.is_some() || report.until.is_some();
    let not_cut = |what: &'static str| if has_period { what } else { "" };
    let mut lines = page.head();
    for (title, note, body, views) in [
        ("Crash loops", not_cut(" of the last hour"), page.crash_loops(), &["crash_loops"][..]),
        ("Coverage", not_cut(" of all time"), page.coverage(), &["coverage", "coverage_summary"][..]),
        ("Restarts", "", page.restarts(), &["restarts"][..]),
        ("Failures", "", page.failures(), &["failures"][..]),
        ("First starts", "", page.starts(), &["start_latency", "start_phases"][..]),
        ("Job runs", "", page.job_runs(), &["job_runs"][..]),
        ("Reschedules", "", page.reschedules(), &["reschedules"][..]),
    ] {
        lines.push(String::new());
        lines.push(page.style().bold().apply_to(format!("{title}{note}")).to_string());
        lines.extend(body.into_iter().map(|line| format!("  {line}")));
        if page.look.explain {
            lines.extend(page.explanation(views));
        }
    }
    if !page.look.explain {
        lines.push(String::new());
        let hint = "--explain defines the terms; --format json has all columns.";
        lines.push(page.style().dim().apply_to(hint).to_string());
    }
    let mut text = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
    text.push('\n');
    text
}

struct TerminalPage<'r> {
    report: &'r Report,
    look: Appearance,
}

impl TerminalPage<'_> {
    fn style(&self) -> Style {
        Style::new().force_styling(self.look.colour)
    }

    fn bad(&self, text: String) -> String {
        if text.is_empty() { text } else { self.style().red().apply_to(text).to_string() }
    }

    fn doubtful(&self, text: String) -> String {
        if text.is_empty() { text } else { self.style().yellow().apply_to(text).to_string() }
    }

    fn head(&self) -> Vec<String> {
        let input = &self.report.input;
        let mut lines = vec![self.style().bold().apply_to("alloclog report").to_string()];
        lines.extend(self.wrapped(&(read(self.report) + ".")));
        if !input.last_observed_at.is_null() {
            let (first, last) = (moment(&input.first_observed_at), moment(&input.last_observed_at));
            let since = if first == last { String::new() } else { format!(", the first {first}") };
            let (event, last_event) = (moment(&input.first_event_at), moment(&input.last_event_at));
            lines.extend(
                self.wrapped(&format!("Newest observation {last} UTC{since}; \"ago\" counts back from the newest.")),
            );
            lines.extend(self.wrapped(&format!("Events from {event} to {last_event}.")));
        }
        let by_status = input.allocations_by_status.iter().map(|row| {
            format!("{} {}", count(row.int("allocations")), row.text("client_status").unwrap_or("of unknown status"))
        });
        let mut statuses: Vec<String> = by_status.collect();
        if input.preempted_allocations > 0 {
            statuses.push(format!("{} preempted", count(Some(input.preempted_allocations))));
        }
        if !statuses.is_empty() {
            lines.extend(self.wrapped(&format!("Allocations: {}.", statuses.join(", "))));
        }
        lines.extend(period(self.report).iter().flat_map(|sentence| self.wrapped(sentence)));
        lines.extend(rejected(self.report).map(|sentence| self.bad(sentence)));
        lines
    }

    fn coverage(&self) -> Vec<String> {
        let total = &self.report.coverage.total;
        let (tasks, complete) = (total.int("tasks").unwrap_or(0), total.int("complete").unwrap_or(0));
        let mut lines = Vec::new();
        for (i, sentence) in coverage(self.report).into_iter().enumerate() {
            let sentence = if i == 0 && tasks > 0 {
                format!("{} {sentence}", bar(complete as f64, tasks as f64))
            } else {
                sentence
            };
            lines.extend(self.wrapped(&sentence).into_iter().map(|line| match i {
                0 if complete < tasks => self.doubtful(line),
                _ => line,
            }));
        }
        if tasks > complete {
            lines.extend(self.deeper("coverage", None));
        }
        lines
    }

    /// The time of the loop's first restart in the last hour. If that restart was not seen, the time of the first
    /// restart that was seen.
    fn since(&self, row: &Row) -> String {
        match (row.get("since_at"), row.get("seen_since_at")) {
            (Value::Null, Value::Null) => "-".to_owned(),
            (Value::Null, seen) => format!("seen {}", clock(seen, self.report)),
            (since, _) => clock(since, self.report),
        }
    }

    fn crash_loops(&self) -> Vec<String> {
        let columns = [
            right("restarts", 0),
            left("last", 0),
            left("state", 0),
            left("failure", 1),
            left("alloc", 2),
            left("node", 3),
            right("every", 4),
            left("since", 5),
        ];
        let row = |row: &Row| {
            let node = row.text("node_name").map(str::to_owned).or_else(|| row.text("node_id").map(short));
            vec![
                self.bad(count(row.int("restarts_last_hour"))),
                ago(row.get("last_restart_at"), self.report),
                one_line(row.text("state").unwrap_or("-")),
                class(row.text("last_class"), row.int("last_exit_code")),
                one_line(&row.text("alloc_id").map_or_else(|| "-".to_owned(), short)),
                one_line(&node.unwrap_or_else(|| "-".to_owned())),
                maybe_span(row.number("period_seconds")),
                self.since(row),
            ]
        };
        let none = format!(
            "No task restarted three times or more in the hour before {}.",
            moment(&self.report.input.last_observed_at)
        );
        let section = &self.report.crash_loops;
        let mut lines = self.table(section, &none, &columns, &TASK, row, "task");
        if let Some(worst) = section.rows.first() {
            let id = worst.text("alloc_id").map(short).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            lines.extend(self.deeper("attempts", id.map(|id| ("--prefix", id))));
        }
        lines
    }

    fn restarts(&self) -> Vec<String> {
        let section = &self.report.restarts;
        let most = section.rows.first().and_then(|row| row.int("restarts")).unwrap_or(0);
        // On a narrow terminal, groups of several tasks keep the column of the rate longest, because their totals are
        // not comparable.
        let rate_rank = if self.report.by.contains(&"task") { 3 } else { 1 };
        let columns = [
            right("restarts", 0),
            left("", 4),
            right("lost", 2),
            left("last", 0),
            right("per hour", rate_rank),
            right("of task time", rate_rank),
            left("causes seen", 2),
        ];
        let row = |row: &Row| {
            let lost = row.int("lost_restarts");
            vec![
                count(row.int("restarts")),
                bar(row.int("restarts").unwrap_or(0) as f64, most as f64),
                if lost == Some(0) { "0".to_owned() } else { self.doubtful(count(lost)) },
                ago(row.get("last_restart_at"), self.report),
                rate(row.number("restarts_per_task_day").map(|of_a_day| of_a_day / 24.0)),
                maybe_span(row.number("task_days").map(|days| days * 86400.0)),
                causes(row),
            ]
        };
        let mut lines = self.table(section, "No restarts.", &columns, &self.report.by, row, "group");
        if let Some(worst) = section.rows.first() {
            lines.extend(self.deeper("attempts", self.job(worst)));
        }
        lines
    }

    fn failures(&self) -> Vec<String> {
        let section = &self.report.failure_summary;
        let most = section.rows.first().and_then(|row| row.int("failures")).unwrap_or(0);
        let columns = [
            right("failures", 0),
            left("", 4),
            right("gave up", 2),
            right("tasks", 3),
            left("last", 0),
            left("class", 0),
        ];
        let row = |row: &Row| {
            let failures = row.int("failures");
            let maybe_oom = if row.int("suspected_oom").unwrap_or(0) > 0 { " OOM?" } else { "" };
            vec![
                count(failures),
                bar(failures.unwrap_or(0) as f64, most as f64),
                self.bad(count_or_blank(row.int("gave_up"))),
                count(row.int("tasks")),
                ago(row.get("last_at"), self.report),
                format!("{}{maybe_oom}", class(row.text("class"), row.int("exit_code"))),
            ]
        };
        let mut lines = self.table(section, "No failures.", &columns, &self.report.by, row, "group");
        self.note_each(&mut lines, section.rows.iter().map(commonest));
        if let Some(worst) = section.rows.first() {
            lines.extend(self.deeper("failures", self.job(worst)));
        }
        lines
    }

    fn starts(&self) -> Vec<String> {
        let section = measured(self.report, "created_to_started");
        let setups = measured(self.report, "setup_to_started").rows;
        let columns = [
            right("tasks", 1),
            right("waiting", 1),
            right("failed", 1),
            right("unknown", 4),
            right("p50", 2),
            right("p95", 0),
            right("max", 3),
            right("setup p95", 5),
        ];
        let row = |row: &Row| {
            let setup = setups.iter().find(|setup| self.is_same_group(setup, row));
            let number = |row: &Row, column: &str| row.int(column).unwrap_or(0);
            // The quantile is null if too many tasks have not started, or if the wait of some tasks is unknown.
            let quantile = |row: &Row, column: &str| match row.number(column) {
                Some(seconds) => span(seconds),
                None if number(row, "waits_unsure") > 0 => "-".to_owned(),
                None if number(row, "waiting") + number(row, "failed_before_start") > 0 => "never".to_owned(),
                None => "-".to_owned(),
            };
            vec![
                count(row.int("tasks")),
                self.doubtful(count_or_blank(row.int("waiting"))),
                self.bad(count_or_blank(row.int("failed_before_start"))),
                count_or_blank(row.int("unknown")),
                quantile(row, "p50_seconds"),
                quantile(row, "p95_seconds"),
                maybe_span(row.number("max_seconds")),
                setup.map_or_else(|| "-".to_owned(), |setup| quantile(setup, "p95_seconds")),
            ]
        };
        let mut lines = self.table(&section, "No tasks.", &columns, &self.report.by, row, "group");
        self.note_each(&mut lines, section.rows.iter().map(|row| self.phases(row)));
        if let Some(slowest) = section.rows.first() {
            lines.extend(self.deeper("starts", self.job(slowest)));
        }
        lines
    }

    /// The phases of the first starts in a group, in the order of [`PHASES`].
    fn phases(&self, row: &Row) -> Option<String> {
        let of_group = self.report.start_phases.rows.iter().filter(|phase| self.is_same_group(phase, row));
        let of_group: Vec<&Row> = of_group.collect();
        let parts = PHASES.iter().filter_map(|(name, shown)| {
            let phase = of_group.iter().find(|phase| phase.text("phase") == Some(name))?;
            Some(format!("{shown} {}", maybe_span(phase.number("p50_seconds"))))
        });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("p50 of {}", parts.join(", ")))
    }

    /// Adds a note below each row of a table. The first line of the table has the titles.
    fn note_each(
        &self,
        lines: &mut Vec<String>,
        notes: impl DoubleEndedIterator<Item = Option<String>> + ExactSizeIterator,
    ) {
        for (i, note) in notes.enumerate().rev() {
            if let Some(note) = note {
                let note = truncate_str(&one_line(&note), self.look.width - 8, "…").into_owned();
                lines.insert(i + 2, format!("      {}", self.style().dim().apply_to(note)));
            }
        }
    }

    fn job_runs(&self) -> Vec<String> {
        let columns = [
            right("runs", 1),
            right("complete", 3),
            right("failed", 0),
            right("lost", 2),
            right("stopped", 5),
            right("running", 4),
            right("success", 1),
            right("p50", 5),
            right("p95", 3),
            left("last success", 2),
        ];
        let row = |row: &Row| {
            vec![
                count(row.int("runs")),
                count_or_blank(row.int("complete")),
                self.bad(count_or_blank(row.int("failed"))),
                self.bad(count_or_blank(row.int("lost"))),
                count_or_blank(row.int("stopped")),
                count_or_blank(row.int("running")),
                success(row),
                maybe_span(row.number("p50_seconds")),
                maybe_span(row.number("p95_seconds")),
                ago(row.get("last_success_at"), self.report),
            ]
        };
        let section = &self.report.job_run_summary;
        let mut lines = self.table(section, "No runs of batch jobs.", &columns, &JOB, row, "job");
        if !section.rows.is_empty() {
            lines.extend(self.deeper("job_runs", None));
        }
        lines
    }

    fn reschedules(&self) -> Vec<String> {
        let rows = &self.report.reschedules.rows;
        let total: i64 = rows.iter().filter_map(|row| row.int("reschedules")).sum();
        if total == 0 {
            return vec!["No allocation replaced another.".to_owned()];
        }
        let reasons = rows.iter().map(|row| {
            format!("{} {}", count(row.int("reschedules")), row.text("reason").unwrap_or("for no known reason"))
        });
        let longest = rows
            .iter()
            .filter_map(|row| row.number("max_recovery_seconds"))
            .fold(None, |most: Option<f64>, s| Some(most.map_or(s, |most| most.max(s))));
        let longest = longest.map_or_else(String::new, |s| format!("; the work was down for at most {}", span(s)));
        let sentence =
            format!("{}: {}{longest}.", counted(total, "allocation"), reasons.collect::<Vec<_>>().join(", "));
        self.wrapped(&sentence).into_iter().chain(self.deeper("reschedules", None)).collect()
    }

    /// The command that shows a section in more detail, filtered to its worst row if that fits. `None` if no form of
    /// the command fits the width.
    fn deeper(&self, view: &str, filter: Option<(&'static str, String)>) -> Option<String> {
        let commands = [(filter.as_ref(), true), (filter.as_ref(), false), (None, false)]
            .map(|(filter, is_whole)| format!("→ {}", self.look.again.query(view, filter, is_whole)));
        let fitting = commands.into_iter().find(|command| measure_text_width(command) <= self.look.width - 2)?;
        Some(self.style().dim().apply_to(fitting).to_string())
    }

    /// The filter for a row's job. `None` if the rows are not grouped by job, or if the ID has characters that are
    /// special in a glob, a `!`, or characters that a line cannot show.
    fn job(&self, row: &Row) -> Option<(&'static str, String)> {
        let job = row.text("job_id").filter(|_| self.report.by.contains(&"job_id"))?;
        let is_plain = one_line(job) == job && !job.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        is_plain.then(|| ("--job", job.to_owned()))
    }

    /// The rows of a section as a table, with the group in the last column. `cells` must escape the texts that come
    /// from the cluster.
    fn table(
        &self,
        section: &Section,
        none: &str,
        columns: &[RankedColumn<'_>],
        group_columns: &[&str],
        cells: impl Fn(&Row) -> Vec<String>,
        noun: &str,
    ) -> Vec<String> {
        if section.rows.is_empty() {
            return self.wrapped(none);
        }
        let rows = section.rows.iter().map(cells).collect();
        let names: Vec<String> =
            section.rows.iter().map(|row| one_line(&group(self.report, row, group_columns))).collect();
        let title = group_title(self.report, group_columns);
        let mut lines = fit(columns, rows, [&title, noun], &names, self.look.width - 2).lines();
        lines[0] = self.style().dim().apply_to(&lines[0]).to_string();
        if section.of > section.rows.len() {
            let more = section.of - section.rows.len();
            let hint = format!("and {}; --top shows more", counted(more as i64, &format!("more {noun}")));
            lines.push(self.style().dim().apply_to(hint).to_string());
        }
        lines
    }

    fn is_same_group(&self, one: &Row, other: &Row) -> bool {
        self.report.by.iter().all(|column| one.get(column) == other.get(column))
    }

    fn wrapped(&self, text: &str) -> Vec<String> {
        fold(&one_line(text), self.look.width - 2)
    }

    /// The definitions, as given in the headers of the views.
    fn explanation(&self, views: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for name in views {
            let Some(head) = view(name).and_then(|view| view.head().ok()) else { continue };
            lines.push(String::new());
            for line in std::iter::once(format!("{name}: {}", head.question)).chain(unbroken(&head.definition)) {
                let indent = if line.is_empty() { "" } else { "    " };
                let line = hanging(&line, self.look.width - indent.len());
                lines.extend(
                    line.into_iter().map(|part| self.style().dim().apply_to(format!("{indent}{part}")).to_string()),
                );
            }
        }
        lines
    }
}

/// Joins lines that were wrapped at the width of the file. A line that starts a sentence or a list item stays a line.
fn unbroken(lines: &[String]) -> Vec<String> {
    let is_of_list = |line: &str| line.contains("  ");
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        match whole.last_mut() {
            Some(last) if !last.ends_with('.') && !is_of_list(last) && !is_of_list(line) => {
                last.push(' ');
                last.push_str(line);
            }
            _ => whole.push(line.clone()),
        }
    }
    whole
}

/// Folds a line. In an item of a list, `name  meaning`, the lines after the first are indented to the column where the
/// meaning begins.
fn hanging(line: &str, width: usize) -> Vec<String> {
    let after_name = line.find("  ").map_or(0, |at| line.len() - line[at..].trim_start().len());
    let (name, meaning) = line.split_at(after_name);
    let indent = measure_text_width(name);
    let parts = fold(meaning, width.saturating_sub(indent).max(1)).into_iter().enumerate();
    parts.map(|(n, part)| if n == 0 { format!("{name}{part}") } else { format!("{:indent$}{part}", "") }).collect()
}

/// The phases in the order in which they are shown, each with its label.
const PHASES: [(&str, &str); 6] = [
    ("created_to_received", "placed to client"),
    ("received_to_setup", "client to setup"),
    ("setup_to_started", "setup to started"),
    ("artifact", "artifacts"),
    ("image", "image"),
    ("created_to_healthy", "to healthy"),
];
