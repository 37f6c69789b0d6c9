//! A timeline in Markdown, for a ticket or an e-mail.

use super::entries::{Entry, entries};
use super::tables::{NO_DEPLOYMENT, NO_VERSION, deployments, versions};
use super::terminal::description;
use super::{AllocationStory, TaskStory, Timeline, phrases};
use crate::query::Row;
use crate::render::text::{Side, TextTable, markdown as escaped};
use crate::report::show::moment;

use Side::Left;

/// Formats a timeline in Markdown.
pub fn markdown(timeline: &Timeline) -> String {
    let mut text = format!("# {}\n\n", escaped(&phrases::title(timeline)));
    text.push_str(&list(&phrases::as_of(timeline)));
    if timeline.target.alloc_id.is_none() {
        for (title, none, table) in
            [("Job versions", NO_VERSION, versions(timeline)), ("Deployments", NO_DEPLOYMENT, deployments(timeline))]
        {
            text.push_str(&format!("\n## {title}\n\n{}", shown(&table, none)));
        }
    }
    timeline.allocations.iter().for_each(|story| text.push_str(&allocation(story)));
    text.push_str("\n## What is known of the cause\n\n");
    text.push_str(&list(&phrases::conclusion(timeline)));
    text
}

fn list(sentences: &[String]) -> String {
    sentences.iter().map(|sentence| format!("- {}\n", escaped(sentence))).collect()
}

fn table(columns: &[(&str, Side)], rows: impl Iterator<Item = Vec<String>>, none: &str) -> String {
    let columns = columns.iter().map(|(title, side)| ((*title).to_owned(), *side)).collect();
    shown(&TextTable { columns, rows: rows.collect() }, none)
}

fn shown(table: &TextTable, none: &str) -> String {
    if table.rows.is_empty() { format!("{none}\n") } else { table.markdown() }
}

fn allocation(story: &AllocationStory) -> String {
    let id = story.allocation.text("alloc_id").unwrap_or("unknown");
    let summary = phrases::summary(&story.allocation);
    let summary = summary.split_once(' ').map_or("", |(_, rest)| rest);
    let mut text = format!("\n## Allocation {} {}\n\n", escaped(id), escaped(summary));
    text.push_str(&list(&phrases::allocation(story)));
    let mut before: Option<&Row> = None;
    let changes = story.changes.iter().filter_map(|row| {
        let what = phrases::change(row, before.replace(row));
        (!what.is_empty()).then(|| vec![moment(row.get("modified_at")), what])
    });
    text.push('\n');
    text.push_str(&table(&[("time (UTC)", Left), ("change", Left)], changes, "No version of it is in view."));
    story.tasks.iter().for_each(|task| text.push_str(&task_story(task)));
    text
}

fn task_story(task: &TaskStory) -> String {
    let name = task.task.as_deref().unwrap_or("unknown");
    let mut text = format!("\n### Task {}: {}\n\n", escaped(name), escaped(&phrases::task(task)));
    let rows = entries(task).into_iter().map(|entry| match entry {
        Entry::Attempt(row) => vec![String::new(), "attempt".to_owned(), phrases::attempt(row)],
        Entry::Gap(gap) => vec![String::new(), "missing".to_owned(), phrases::gap(gap)],
        Entry::Event(event) => {
            let at = event.text("event_at").map_or("time unknown".to_owned(), |at| at.replace('T', " "));
            let kind = event.text("event_type").unwrap_or("no type").to_owned();
            vec![at.trim_end_matches('Z').to_owned(), kind, description(event)]
        }
    });
    text.push_str(&table(&[("time (UTC)", Left), ("event", Left), ("message", Left)], rows, "No event is in view."));
    text
}
