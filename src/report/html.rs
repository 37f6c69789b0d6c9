//! A report or a timeline as one HTML file that needs no other file.
//!
//! A content security policy in the page forbids every request. It allows only the style sheet and the script of the
//! page, by their hashes. The style sheet and the script only make the page easier to read: without them, the page
//! still shows all texts, tables and charts. Texts of documents are escaped by maud, and their control characters and
//! bidirectional marks are shown as escapes.

mod chart_tables;
mod charts;
mod pictures;
mod tasks;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use super::markdown::{
    CRASH_LOOPS, FAILURES, JOB_RUNS, PHASES, RESCHEDULES, RESTARTS, ReportColumn, STARTS, left_out, text_table,
};
use super::show::{
    JOB, TASK, count, counted, coverage, group, measured, moment, percent, period, read as summary, rejected,
};
use super::timeline::{self, Timeline};
use super::{Report, Section};
use crate::query::{Row, View, view};
use crate::render::text::{Side, TextTable, one_line};
use tasks::Tasks;

pub use pictures::{Pictures, read};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Maximum size of a page in bytes. If the page would be larger, it leaves out rows, and says so.
const LARGEST: usize = 5_000_000;

/// Maximum number of characters of a text on a page. After that many characters of a longer text, the page shows only
/// the number of the remaining ones.
const TEXT: usize = 1_000;

/// Number of rows of a section unless the user says otherwise.
pub const TOP: usize = 100;

/// The views that the charts read, besides the views of the report.
pub fn views() -> Vec<&'static View> {
    timeline::views().into_iter().chain(view("period")).collect()
}

/// Formats a report.
///
/// `explain` adds the definitions below the headings.
pub fn report(report: &Report, pictures: &Pictures, explain: bool) -> String {
    fitting(|most| report_of(report, pictures, explain, most))
}

fn report_of(report: &Report, pictures: &Pictures, explain: bool, most: usize) -> String {
    let tasks = Tasks::of(&pictures.stories);
    let by = &report.by;
    let part = |title: &str, section: &Section, group_columns: &[&str], columns: &[ReportColumn], none: &str| {
        let shown = Section { rows: section.rows.iter().take(most).cloned().collect(), ..section.clone() };
        rows(report, title, &shown, group_columns, columns, none, &tasks)
    };
    let heading = |id: &str| heading(id, explain);
    let body = html! {
        (head(report))
        (less(most))
        nav aria-label="Sections" {
            ul {
                @for (id, title) in SECTIONS { li { a href=(format!("#{id}")) { (title) } } }
            }
        }
        p id="filter" {}
        (charts::patterns())
        (heading("coverage"))
        @for sentence in coverage(report) { p { (clipped(&sentence)) } }
        (coverage_strips(report, pictures))
        (heading("crash_loops"))
        (part("Crash loops", &report.crash_loops, &TASK, &CRASH_LOOPS, "No crash loops."))
        (heading("restarts"))
        @if let Some(histogram) = &pictures.restarts {
            (charts::restarts(histogram))
            p { "Restarts whose events are lost are drawn at the time before which they happened." }
            (folded("Restarts over time", &chart_tables::restarts_over_time(histogram), most))
            (table("Restarts by cause", &totals("cause", "restarts", charts::causes(histogram)), None))
        }
        (part("Restarts by group", &report.restarts, by, &RESTARTS, "No restarts."))
        (heading("failures"))
        @if !pictures.failures.is_empty() {
            (charts::bars("failures-chart", "Failures by class", &["failures"],
                &pictures.failures.iter().map(|(class, n)| (class.clone(), vec![*n])).collect::<Vec<_>>()))
            (table("Failures by class", &totals("class", "failures", pictures.failures.iter().map(|(c, n)| (c.as_str(), *n)).collect()), None))
        }
        (part("Failures by group", &report.failure_summary, by, &FAILURES, "No failures."))
        (heading("tasks"))
        (tasks.section(pictures.all_tasks, most))
        (heading("nodes"))
        (nodes(pictures))
        (heading("starts"))
        @for curve in &pictures.curves {
            @let title = if curve.measure == "created_to_started" { "First starts from the creation of the allocation" } else { "First starts from the setup of the task" };
            h3 { (title) }
            @if curve.tasks == 0 { p { "No task has a known origin." } } @else {
                (charts::curve(curve, &format!("{title}, all tasks")))
                (thinned(curve))
                (folded(&format!("{title}, all tasks"), &chart_tables::starts_over_time(curve), most))
            }
            (part(&format!("{title}, by group"), &measured(report, curve.measure), by, &STARTS, "No tasks."))
        }
        h3 { "Phases of first starts" }
        (part("Phases of first starts", &report.start_phases, by, &PHASES, "None."))
        (heading("job_runs"))
        (part("Job runs", &report.job_run_summary, &JOB, &JOB_RUNS, "No runs of batch jobs."))
        (heading("reschedules"))
        (part("Reschedules", &report.reschedules, &[], &RESCHEDULES, "No allocation replaced another."))
        footer { p { "alloclog " (report.alloclog_version) ". " code { "alloclog schema NAME" } " explains every column, " code { "alloclog timeline ALLOC" } " shows every event of an allocation." } }
    };
    page("alloclog report", &body)
}

/// Formats a timeline.
pub fn timeline(timeline: &Timeline) -> String {
    fitting(|most| timeline_of(timeline, most))
}

fn timeline_of(timeline: &Timeline, most: usize) -> String {
    let stories = std::slice::from_ref(timeline);
    let title = clipped(&timeline::phrases::title(timeline));
    let list = |sentences: Vec<String>| html! { ul { @for sentence in sentences { li { (clipped(&sentence)) } } } };
    let tasks = Tasks::of(stories);
    let body = html! {
        h1 { (title) }
        (list(timeline::phrases::as_of(timeline)))
        (less(most))
        p id="filter" {}
        (charts::patterns())
        h2 { "What is known of the cause" }
        (list(timeline::phrases::conclusion(timeline)))
        @if !timeline.versions.is_empty() {
            h2 { "Job versions" }
            (table("Job versions", &timeline::tables::versions(timeline), None))
        }
        @if !timeline.deployments.is_empty() {
            h2 { "Deployments" }
            (table("Deployments", &timeline::tables::deployments(timeline), None))
        }
        h2 { "Tasks" }
        (tasks.all(most))
        footer { p { "alloclog " (timeline.alloclog_version) } }
    };
    page(&title, &body)
}

const SECTIONS: [(&str, &str); 9] = [
    ("coverage", "Coverage"),
    ("crash_loops", "Crash loops"),
    ("restarts", "Restarts"),
    ("failures", "Failures"),
    ("tasks", "Tasks"),
    ("nodes", "Nodes"),
    ("starts", "First starts"),
    ("job_runs", "Job runs"),
    ("reschedules", "Reschedules"),
];

/// The heading of a section, and the definitions of its views.
fn heading(id: &str, explain: bool) -> Markup {
    let title = SECTIONS.iter().find(|(section, _)| *section == id).map_or(id, |(_, title)| title);
    let views: &[&str] = match id {
        "coverage" => &["coverage", "coverage_summary"],
        "failures" => &["failures", "failure_summary"],
        "tasks" => &["attempts"],
        "starts" => &["starts", "start_latency", "start_phases"],
        _ => &[id],
    };
    let heads = views.iter().filter_map(|name| view(name)?.head().ok()).filter(|_| explain);
    html! {
        h2 id=(id) { (title) }
        @for head in heads { p { strong { (head.question) } " " (head.definition.join(" ")) } }
    }
}

/// The page with as many rows, lines and tasks as [`LARGEST`] allows.
fn fitting(page: impl Fn(usize) -> String) -> String {
    let mut text = page(usize::MAX);
    for most in [1_000, 300, 100, 40, 15, 5, 1] {
        if text.len() <= LARGEST {
            break;
        }
        text = page(most);
    }
    text
}

/// Says that the page leaves out rows, to be no larger than [`LARGEST`].
fn less(most: usize) -> Markup {
    html! {
        @if most < usize::MAX {
            p { strong { "This page would be larger than 5 MB: each table has at most " (counted(most as i64, "row")) ". The other formats have all." } }
        }
    }
}

/// Says what a curve leaves out.
fn thinned(curve: &pictures::Curve) -> Markup {
    let parts = [("step", curve.steps.len(), curve.all_steps), ("mark", curve.censored.len(), curve.all_censored)];
    html! {
        @for (what, drawn, all) in parts {
            @if drawn < all { p { (count(Some(drawn as i64))) " of " (counted(all as i64, what)) " are drawn, evenly chosen." } }
        }
    }
}

/// A text of a document in one line, without control characters, and cut if it is long.
fn clipped(text: &str) -> String {
    let mut characters = text.char_indices();
    match characters.nth(TEXT) {
        None => one_line(text),
        Some((end, _)) => {
            format!("{}… ({} more)", one_line(&text[..end]), counted(characters.count() as i64 + 1, "character"))
        }
    }
}

fn page(title: &str, body: &Markup) -> String {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

fn head(report: &Report) -> Markup {
    let input = &report.input;
    let seen = (moment(&input.first_observed_at), moment(&input.last_observed_at));
    let statuses = input.allocations_by_status.iter().map(|row| {
        format!("{} {}", count(row.int("allocations")), row.text("client_status").unwrap_or("of unknown status"))
    });
    html! {
        h1 { "alloclog report" }
        p { (clipped(&summary(report))) ", seen from " (seen.0) " to " (seen.1) " UTC." }
        p { "Allocations: " (clipped(&statuses.collect::<Vec<_>>().join(", "))) "; " (count(Some(input.preempted_allocations))) " preempted." }
        @if let Some(sentence) = period(report) {
            p { (sentence) " Coverage and the tasks below are not restricted." }
        }
        @if let Some(sentence) = rejected(report) { p { strong { (sentence) } } }
    }
}

/// A table of a section. Each row has links to those of its tasks that the page shows.
fn rows(
    report: &Report,
    title: &str,
    section: &Section,
    group_columns: &[&str],
    columns: &[ReportColumn],
    none: &str,
    tasks: &Tasks<'_>,
) -> Markup {
    if section.rows.is_empty() {
        return html! { p { (none) } };
    }
    let text = text_table(report, &section.rows, group_columns, columns);
    let links: Vec<Vec<(String, String)>> = section.rows.iter().map(|row| tasks.links(row, group_columns)).collect();
    let more = left_out(report, section, group_columns);
    html! {
        (table(title, &text, Some(&links).filter(|links| links.iter().any(|row| !row.is_empty()))))
        @if more > 0 { p { "and " (count(Some(more as i64))) " more; --top shows more." } }
    }
}

/// A table that can be sorted and filtered if scripts run. `links` fills one more column.
fn table(title: &str, text: &TextTable, links: Option<&Vec<Vec<(String, String)>>>) -> Markup {
    let title = clipped(title);
    html! {
        div class="wide" tabindex="0" role="region" aria-label=(format!("{title}, table")) {
            table {
                caption { (title) }
                thead {
                    tr {
                        @for (column, side) in &text.columns {
                            th scope="col" class=[(*side == Side::Right).then_some("n")] { (clipped(column)) }
                        }
                        @if links.is_some() { th scope="col" { "tasks below" } }
                    }
                }
                tbody {
                    @for (i, row) in text.rows.iter().enumerate() {
                        tr {
                            @for (cell, (_, side)) in row.iter().zip(&text.columns) {
                                td class=[(*side == Side::Right).then_some("n")] { (clipped(cell)) }
                            }
                            @if let Some(links) = links {
                                td {
                                    @for (anchor, name) in links.get(i).into_iter().flatten() {
                                        a href=(format!("#{anchor}")) { (clipped(name)) } " "
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The numbers of a chart as a table below it. A click opens the table.
fn folded(title: &str, numbers: &TextTable, most: usize) -> Markup {
    let rows = numbers.rows.iter().take(most).cloned().collect();
    html! {
        details {
            summary { (title) " as a table" }
            (table(title, &TextTable { columns: numbers.columns.clone(), rows }, None))
        }
    }
}

fn columns(titles: &[(&str, Side)]) -> Vec<(String, Side)> {
    titles.iter().map(|(title, side)| ((*title).to_owned(), *side)).collect()
}

fn totals(what: &str, number: &str, rows: Vec<(&str, i64)>) -> TextTable {
    let rows = rows.into_iter().map(|(name, n)| vec![name.replace('_', " "), count(Some(n))]).collect();
    TextTable { columns: columns(&[(what, Side::Left), (number, Side::Right)]), rows }
}

fn coverage_strips(report: &Report, pictures: &Pictures) -> Markup {
    let groups = &pictures.coverage;
    let left_out = pictures.all_groups - groups.len() as i64;
    let number = |row: &Row, column: &str| row.int(column).unwrap_or(0);
    let strips: Vec<(String, i64, i64)> = groups
        .iter()
        .map(|row| (group(report, row, &report.by), number(row, "complete"), number(row, "tasks")))
        .collect();
    let rows = groups.iter().map(|row| {
        let (complete, tasks) = (number(row, "complete"), number(row, "tasks"));
        vec![
            group(report, row, &report.by),
            count(Some(tasks)),
            count(Some(complete)),
            percent(complete, tasks),
            count(row.int("gaps")),
            count(row.int("restarts")),
            count(row.int("lost_restarts")),
            count(row.int("vanished_tasks")),
        ]
    });
    let text = TextTable {
        columns: columns(&[
            ("group", Side::Left),
            ("tasks", Side::Right),
            ("complete", Side::Right),
            ("share", Side::Right),
            ("gaps", Side::Right),
            ("restarts", Side::Right),
            ("lost restarts", Side::Right),
            ("vanished", Side::Right),
        ]),
        rows: rows.collect(),
    };
    if groups.is_empty() {
        return html! { p { "No tasks." } };
    }
    html! {
        (charts::strips(&strips))
        p {
            "The " (counted(groups.len() as i64, "group")) " with most incomplete histories"
            @if left_out > 0 { "; " (count(Some(left_out))) " left out" }
            "."
        }
        (table("Coverage by group", &text, None))
    }
}

fn nodes(pictures: &Pictures) -> Markup {
    let name = |row: &Row| row.text("node_name").or(row.text("node_id")).unwrap_or("unknown").to_owned();
    let series = ["tasks", "restarts", "failures"];
    let values = |row: &Row| series.iter().map(|column| row.int(column).unwrap_or(0)).collect::<Vec<i64>>();
    let bars: Vec<(String, Vec<i64>)> = pictures.nodes.iter().map(|row| (name(row), values(row))).collect();
    if bars.is_empty() {
        return html! { p { "No source shows nodes." } };
    }
    let text = TextTable {
        columns: columns(&[
            ("node", Side::Left),
            ("tasks", Side::Right),
            ("restarts", Side::Right),
            ("failures", Side::Right),
            ("node ID", Side::Left),
        ]),
        rows: pictures
            .nodes
            .iter()
            .map(|row| {
                let numbers = values(row).into_iter().map(|n| count(Some(n)));
                let id = row.text("node_id").unwrap_or("-").to_owned();
                std::iter::once(name(row)).chain(numbers).chain([id]).collect()
            })
            .collect(),
    };
    let more = pictures.all_nodes - bars.len();
    html! {
        (charts::bars("nodes-chart", "Nodes side by side", &series, &bars))
        (table("Nodes", &text, None))
        @if more > 0 { p { (counted(more as i64, "node")) " with fewer restarts and failures left out." } }
    }
}
