//! The tasks of a page: their attempts over time, and their events.

use maud::{Markup, html};

use super::charts::{self, Lane};
use super::clipped;
use crate::query::Row;
use crate::report::layout::short;
use crate::report::show::{count, counted, moment};
use crate::report::timeline::entries::{Entry, entries};
use crate::report::timeline::{AllocationStory, TaskStory, Timeline, description, phrases, slices};

/// Maximum number of lines about one task of a report.
const LINES: usize = 40;

/// The tasks of a page, each with an anchor.
#[derive(Debug)]
pub struct Tasks<'t> {
    tasks: Vec<(String, &'t AllocationStory, &'t TaskStory)>,
}

impl<'t> Tasks<'t> {
    /// The tasks of some timelines, in order.
    pub fn of(stories: &'t [Timeline]) -> Tasks<'t> {
        let allocations = stories.iter().flat_map(|story| &story.allocations);
        let tasks = allocations.flat_map(|story| story.tasks.iter().map(move |task| (story, task)));
        let named = tasks.enumerate().map(|(i, (story, task))| (format!("t{}", i + 1), story, task));
        Tasks { tasks: named.collect() }
    }

    /// The anchors and short names of the tasks that a row is about. These tasks have the values of the row in the
    /// group columns. If the row names an allocation, the tasks belong to that allocation.
    pub fn links(&self, row: &Row, group_columns: &[&str]) -> Vec<(String, String)> {
        if group_columns.is_empty() || group_columns.contains(&"parent_job_id") {
            return Vec::new();
        }
        let has = |story: &AllocationStory, task: &TaskStory, column: &str| match column {
            "task" => row.text("task") == task.task.as_deref(),
            column => row.get(column) == story.allocation.get(column),
        };
        let is_of = |story: &AllocationStory, task: &TaskStory| {
            let id = row.text("alloc_id").is_none_or(|id| story.allocation.text("alloc_id") == Some(id));
            id && group_columns.iter().all(|column| has(story, task, column))
        };
        let found = self.tasks.iter().filter(|(_, story, task)| is_of(story, task));
        found.map(|(anchor, story, _)| (anchor.clone(), short(id(story)))).collect()
    }

    /// The tasks with most restarts and failures. `all` is the number of all tasks, `most` the maximum number of lines
    /// per task.
    pub fn section(&self, all: i64, most: usize) -> Markup {
        let left_out = all - self.tasks.len() as i64;
        html! {
            @if self.tasks.is_empty() { p { "No tasks." } } @else {
                p {
                    "The " (counted(self.tasks.len() as i64, "task")) " with most restarts and failures"
                    @if left_out > 0 { "; " (count(Some(left_out))) " left out" }
                    "."
                }
                (self.lanes(usize::MAX))
                @for (anchor, story, task) in &self.tasks { (details(anchor, story, task, most.min(LINES))) }
            }
        }
    }

    /// The tasks with their events: at most `most` tasks, and at most as many lines about each task.
    pub fn all(&self, most: usize) -> Markup {
        let left_out = self.tasks.len().saturating_sub(most);
        html! {
            @if self.tasks.is_empty() { p { "No tasks." } } @else {
                @if left_out > 0 { p { (counted(left_out as i64, "task")) " left out." } }
                (self.lanes(most))
                @for (anchor, story, task) in self.tasks.iter().take(most) { (details(anchor, story, task, most)) }
            }
        }
    }

    fn lanes(&self, most: usize) -> Markup {
        let lanes = self
            .tasks
            .iter()
            .take(most)
            .map(|(_, story, task)| Lane { name: name(story, task), slices: slices(task, &story.allocation) });
        charts::lanes(&lanes.collect::<Vec<_>>())
    }
}

fn id(story: &AllocationStory) -> &str {
    story.allocation.text("alloc_id").unwrap_or("unknown")
}

fn name(story: &AllocationStory, task: &TaskStory) -> String {
    let job = story.allocation.text("job_id").unwrap_or("unknown");
    format!("{job}/{} {}", task.task.as_deref().unwrap_or("unknown"), short(id(story)))
}

fn details(anchor: &str, story: &AllocationStory, task: &TaskStory, most: usize) -> Markup {
    let entries = entries(task);
    let left_out = entries.len().saturating_sub(most);
    let name = clipped(&name(story, task));
    html! {
        details {
            summary { strong { (name) } " on " (clipped(&phrases::node(&story.allocation))) ": " (clipped(&phrases::task(task))) }
            div id=(anchor) {
                p { "Allocation " code { (clipped(id(story))) } ", namespace " (clipped(story.allocation.text("namespace").unwrap_or("unknown"))) "." }
                ul { @for fact in phrases::allocation(story) { li { (clipped(&fact)) } } }
                @if left_out > 0 { p { (counted(left_out as i64, "earlier line")) " left out; alloclog timeline shows all." } }
                div class="wide" tabindex="0" role="region" aria-label=(format!("Events of {name}, {anchor}")) {
                    table {
                        caption { "Events of " (name) }
                        thead { tr { th scope="col" { "time (UTC)" } th scope="col" { "event" } th scope="col" { "message" } } }
                        tbody { @for entry in &entries[left_out..] { (line(entry)) } }
                    }
                }
            }
        }
    }
}

fn line(entry: &Entry<'_>) -> Markup {
    match entry {
        Entry::Attempt(row) => {
            html! { tr class="attempt" { td {} td { "attempt" } td { (clipped(&phrases::attempt(row))) } } }
        }
        Entry::Gap(gap) => html! { tr class="gap" { td {} td { "missing" } td { (clipped(&phrases::gap(gap))) } } },
        Entry::Event(event) => {
            let at = event.get("event_at").as_str().map_or_else(
                || "time unknown".to_owned(),
                |at| at.get(..23).map_or_else(|| moment(event.get("event_at")), |at| at.replace('T', " ")),
            );
            let kind = event.text("event_type").unwrap_or("no type");
            html! { tr { td { (at) } td { (clipped(kind)) } td { (clipped(&description(event))) } } }
        }
    }
}
