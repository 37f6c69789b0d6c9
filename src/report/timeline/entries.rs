//! The events, attempts and gaps of a task in one sequence.

use super::{Gap, TaskStory};
use crate::query::Row;

/// One line of a task's story.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Entry<'t> {
    /// The beginning of an attempt, with its row of `attempts`.
    Attempt(&'t Row),
    /// Events or restarts are missing here.
    Gap(&'t Gap),
    /// An event.
    Event(&'t Row),
}

/// The entries of a task's story in order. Each event and each gap occurs once.
pub fn entries(task: &TaskStory) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut gaps = task.gaps.iter().peekable();
    let mut run = None;
    for event in &task.events {
        let number = event.int("event_no");
        while let Some(gap) = gaps.next_if(|gap| gap.before_event.is_some_and(|before| Some(before) <= number)) {
            entries.push(Entry::Gap(gap));
        }
        if event.int("run") != run {
            run = event.int("run");
            let attempt = task.attempts.iter().find(|row| run.is_some() && row.int("run") == run);
            entries.extend(attempt.map(Entry::Attempt));
        }
        entries.push(Entry::Event(event));
    }
    entries.extend(gaps.map(Entry::Gap));
    entries
}
