//! A report for a terminal: at most 100 columns, with colours and bars.

use console::{Style, measure_text_width, truncate_str};
use serde_json::Value;

use super::layout::{bar, fold, short, tail};
use super::show::{
    JOB, TASK, causes, class, clock, commonest, count, count_or_blank, counted, coverage, group, group_title,
    maybe_span, measured, moment, period, rate, read, rejected, span, success,
};
use super::{Report, Section};
use crate::query::{Row, view};
use crate::render::text::{Side, TextTable, one_line};

/// Options of a terminal report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appearance {
    /// Columns of text.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
    /// Whether to explain the terms.
    pub explain: bool,
}

/// Formats a report as lines of text.
pub fn terminal(report: &Report, look: Appearance) -> String {
    let page = TerminalPage { report, look };
    let mut lines = page.head();
    for (title, body, views) in [
        ("Coverage", page.coverage(), &["coverage", "coverage_summary"][..]),
        ("Crash loops", page.crash_loops(), &["crash_loops"][..]),
        ("Restarts", page.restarts(), &["restarts"][..]),
        ("Failures", page.failures(), &["failures"][..]),
        ("First starts", page.starts(), &["start_latency", "start_phases"][..]),
        ("Job runs", page.job_runs(), &["job_runs"][..]),
        ("Reschedules", page.reschedules(), &["reschedules"][..]),
    ] {
        lines.push(String::new());
        lines.push(page.style().bold().apply_to(title).to_string());
        lines.extend(body.into_iter().map(|line| format!("  {line}")));
        if look.explain {
            lines.extend(page.explanation(views));
        }
    }
    if !look.explain {
        lines.push(String::new());
        let hint = "--explain defines the terms; alloclog query NAME and --format json show all columns.";
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
            let seen =
                if first == last { format!("Seen at {last} UTC") } else { format!("Seen from {first} to {last} UTC") };
            let events =
                format!("{}; events from {} to {}.", seen, moment(&input.first_event_at), moment(&input.last_event_at));
            lines.extend(self.wrapped(&events));
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
        lines
    }

    /// When a loop started within the hour, or when its first restart was seen.
    fn since(&self, row: &Row) -> String {
        match (row.get("since_at"), row.get("seen_since_at")) {
            (Value::Null, Value::Null) => "-".to_owned(),
            (Value::Null, seen) => format!("seen {}", clock(seen, self.report)),
            (since, _) => clock(since, self.report),
        }
    }

    fn crash_loops(&self) -> Vec<String> {
        let columns = [
            ("restarts", Side::Right),
            ("every", Side::Right),
            ("since", Side::Left),
            ("last", Side::Left),
            ("state", Side::Left),
            ("alloc", Side::Left),
            ("node", Side::Left),
        ];
        let row = |row: &Row| {
            let node = row.text("node_name").map(str::to_owned).or_else(|| row.text("node_id").map(short));
            // Texts of the cluster: they may contain control sequences.
            let shown = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| one_line(&text));
            vec![
                self.bad(count(row.int("restarts_last_hour"))),
                maybe_span(row.number("period_seconds")),
                self.since(row),
                class(row.text("last_class"), row.int("last_exit_code")),
                shown(row.text("state").map(str::to_owned)),
                shown(row.text("alloc_id").map(short)),
                shown(node),
            ]
        };
        let none = format!(
            "No task restarted three times or more in the hour before {}.",
            moment(&self.report.input.last_observed_at)
        );
        self.table(&self.report.crash_loops, &none, &columns, &TASK, row, "task")
    }

    fn restarts(&self) -> Vec<String> {
        let most = self.report.restarts.rows.first().and_then(|row| row.int("restarts")).unwrap_or(0);
        let columns = [
            ("restarts", Side::Right),
            ("", Side::Left),
            ("lost", Side::Right),
            ("/task-day", Side::Right),
            ("last", Side::Left),
            ("causes seen", Side::Left),
        ];
        let row = |row: &Row| {
            let lost = row.int("lost_restarts");
            vec![
                count(row.int("restarts")),
                bar(row.int("restarts").unwrap_or(0) as f64, most as f64),
                if lost == Some(0) { "0".to_owned() } else { self.doubtful(count(lost)) },
                rate(row.number("restarts_per_task_day")),
                clock(row.get("last_restart_at"), self.report),
                causes(row),
            ]
        };
        self.table(&self.report.restarts, "No restarts.", &columns, &self.report.by, row, "group")
    }

    fn failures(&self) -> Vec<String> {
        let most = self.report.failure_summary.rows.first().and_then(|row| row.int("failures")).unwrap_or(0);
        let columns = [
            ("failures", Side::Right),
            ("", Side::Left),
            ("gave up", Side::Right),
            ("tasks", Side::Right),
            ("last", Side::Left),
            ("class", Side::Left),
        ];
        let section = &self.report.failure_summary;
        let row = |row: &Row| {
            let failures = row.int("failures");
            let maybe_oom = if row.int("suspected_oom").unwrap_or(0) > 0 { " OOM?" } else { "" };
            vec![
                count(failures),
                bar(failures.unwrap_or(0) as f64, most as f64),
                self.bad(count_or_blank(row.int("gave_up"))),
                count(row.int("tasks")),
                clock(row.get("last_at"), self.report),
                format!("{}{maybe_oom}", class(row.text("class"), row.int("exit_code"))),
            ]
        };
        let mut lines = self.table(section, "No failures.", &columns, &self.report.by, row, "group");
        self.note_each(&mut lines, section.rows.iter().map(commonest));
        lines
    }

    fn starts(&self) -> Vec<String> {
        let section = measured(self.report, "created_to_started");
        let setups = measured(self.report, "setup_to_started").rows;
        let columns = [
            ("tasks", Side::Right),
            ("waiting", Side::Right),
            ("failed", Side::Right),
            ("unknown", Side::Right),
            ("p50", Side::Right),
            ("p95", Side::Right),
            ("max", Side::Right),
            ("setup p95", Side::Right),
        ];
        let row = |row: &Row| {
            let setup = setups.iter().find(|setup| self.is_same_group(setup, row));
            let number = |row: &Row, column: &str| row.int(column).unwrap_or(0);
            // No quantile: too many tasks have not started, or it is unknown how long some of them waited.
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
        lines
    }

    /// The phases of a group's first starts, in chronological order.
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

    /// Adds a note below each row of a table; the first line has the titles.
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
            ("runs", Side::Right),
            ("complete", Side::Right),
            ("failed", Side::Right),
            ("lost", Side::Right),
            ("stopped", Side::Right),
            ("running", Side::Right),
            ("success", Side::Right),
            ("p50", Side::Right),
            ("p95", Side::Right),
            ("last success", Side::Left),
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
                clock(row.get("last_success_at"), self.report),
            ]
        };
        self.table(&self.report.job_run_summary, "No runs of batch jobs.", &columns, &JOB, row, "job")
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
        self.wrapped(&format!("{}: {}{longest}.", counted(total, "allocation"), reasons.collect::<Vec<_>>().join(", ")))
    }

    /// The rows of a section as a table; the group is in the last column, which takes the remaining width.
    fn table(
        &self,
        section: &Section,
        none: &str,
        columns: &[(&str, Side)],
        place: &[&str],
        cells: impl Fn(&Row) -> Vec<String>,
        noun: &str,
    ) -> Vec<String> {
        if section.rows.is_empty() {
            return self.wrapped(none);
        }
        let mut text = TextTable::default();
        text.columns.extend(columns.iter().map(|(title, side)| ((*title).to_owned(), *side)));
        for row in &section.rows {
            text.rows.push(cells(row).into_iter().map(|cell| self.shortened(cell)).collect());
        }
        let taken: usize = (0..columns.len())
            .map(|i| {
                text.rows.iter().map(|row| measure_text_width(&row[i])).chain([columns[i].0.len()]).max().unwrap_or(0)
                    + 2
            })
            .sum();
        let room = self.look.width.saturating_sub(taken + 2).max(10);
        text.columns.push((group_title(self.report, place), Side::Left));
        for (cells, row) in text.rows.iter_mut().zip(&section.rows) {
            cells.push(tail(&one_line(&group(self.report, row, place)), room));
        }
        let title = text.columns.last().map_or(String::new(), |(title, _)| tail(title, room));
        if let Some(last) = text.columns.last_mut() {
            last.0 = title;
        }
        let mut lines = text.lines();
        lines[0] = self.style().dim().apply_to(&lines[0]).to_string();
        if section.of > section.rows.len() {
            let more = section.of - section.rows.len();
            let hint = format!("and {}; --top shows more", counted(more as i64, &format!("more {noun}")));
            lines.push(self.style().dim().apply_to(hint).to_string());
        }
        lines
    }

    /// Shortens a cell, to leave room for the group. A coloured cell is kept: its texts of the cluster are escaped already.
    fn shortened(&self, cell: String) -> String {
        if self.look.colour && cell.contains('\x1b') {
            return cell;
        }
        truncate_str(&one_line(&cell), 30, "…").into_owned()
    }

    fn is_same_group(&self, one: &Row, other: &Row) -> bool {
        self.report.by.iter().all(|column| one.get(column) == other.get(column))
    }

    fn wrapped(&self, text: &str) -> Vec<String> {
        let mut lines = vec![String::new()];
        for word in one_line(text).split(' ') {
            let width = lines.last().map_or(0, |line| measure_text_width(line));
            if width > 0 && width + 1 + measure_text_width(word) > self.look.width - 2 {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&truncate_str(word, self.look.width - 2, "…"));
            }
        }
        lines
    }

    /// The definitions in the headers of views.
    fn explanation(&self, views: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for name in views {
            let Some(head) = view(name).and_then(|view| view.head().ok()) else { continue };
            lines.push(String::new());
            for line in std::iter::once(format!("{name}: {}", head.question)).chain(unbroken(&head.definition)) {
                let indent = if line.is_empty() { "" } else { "    " };
                lines.extend(
                    fold(&line, self.look.width - 4)
                        .into_iter()
                        .map(|part| self.style().dim().apply_to(format!("{indent}{part}")).to_string()),
                );
            }
        }
        lines
    }
}

/// Joins lines that were wrapped at the width of a file. A line that starts a sentence or a list item stays separate.
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

/// The phases in chronological order, with their labels.
const PHASES: [(&str, &str); 6] = [
    ("created_to_received", "placed to client"),
    ("received_to_setup", "client to setup"),
    ("setup_to_started", "setup to started"),
    ("artifact", "artifacts"),
    ("image", "image"),
    ("created_to_healthy", "to healthy"),
];
