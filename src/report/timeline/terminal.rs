//! A timeline for a terminal.

use console::{Style, measure_text_width};

use super::entries::{Entry, entries};
use super::phrases;
use super::tables::{NO_DEPLOYMENT, NO_VERSION, deployments, versions};
use super::{AllocationStory, TaskStory, Timeline};
use crate::query::Row;
use crate::render::text::one_line;
use crate::report::show::moment;

/// Options of a timeline on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of text.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
}

/// Width of the column of event types. A longer type moves the text after it to the right.
const TYPE: usize = 16;

/// Formats a timeline as lines of text. Long texts are wrapped; only lines of tables are cut.
pub fn terminal(timeline: &Timeline, look: Look) -> String {
    let mut page = TextPage { look, lines: Vec::new() };
    page.put(0, &phrases::title(timeline), page.style().bold());
    phrases::as_of(timeline).iter().for_each(|line| page.put(0, line, page.style()));
    page.tables(timeline);
    timeline.allocations.iter().for_each(|story| page.allocation(story));
    page.blank();
    page.put(0, "What is known of the cause", page.style().bold());
    phrases::conclusion(timeline).iter().for_each(|line| page.put(2, line, page.style()));
    page.lines.join("\n") + "\n"
}

struct TextPage {
    look: Look,
    lines: Vec<String>,
}

impl TextPage {
    fn style(&self) -> Style {
        Style::new().force_styling(self.look.colour)
    }

    fn blank(&mut self) {
        self.lines.push(String::new());
    }

    /// Adds an indented text from the cluster, escaped and wrapped.
    fn put(&mut self, indent: usize, text: &str, style: Style) {
        self.hang(indent, "", text, &style);
    }

    /// Adds a title, and a text after it. Further lines of the text are aligned with its first line.
    fn hang(&mut self, indent: usize, title: &str, text: &str, style: &Style) {
        let title = one_line(title);
        let start = " ".repeat(indent) + &title;
        let below = measure_text_width(&start);
        // A title that takes most of the line gets a line for itself.
        let below = if below > self.look.width / 2 { indent + 2 } else { below };
        let first = wrap(&start, self.look.width);
        let is_alone = first.len() > 1 || measure_text_width(&start) > below;
        let parts = wrap(&one_line(text), self.look.width.saturating_sub(below).max(16));
        if is_alone {
            self.lines.extend(first.iter().map(|line| style.apply_to(line.trim_end()).to_string()));
        }
        for (i, part) in parts.iter().enumerate() {
            let before = if i == 0 && !is_alone { start.clone() } else { " ".repeat(below) };
            let line = before + part;
            self.lines.push(style.apply_to(line.trim_end()).to_string());
        }
    }

    fn tables(&mut self, timeline: &Timeline) {
        if timeline.target.alloc_id.is_some() {
            return;
        }
        for (title, none, mut table) in
            [("Job versions", NO_VERSION, versions(timeline)), ("Deployments", NO_DEPLOYMENT, deployments(timeline))]
        {
            table.rows.iter_mut().flatten().for_each(|cell| *cell = one_line(cell));
            self.blank();
            self.put(0, title, self.style().bold());
            if table.rows.is_empty() {
                self.put(2, none, self.style());
            } else {
                for line in table.lines() {
                    self.put_raw(2, &line);
                }
            }
        }
    }

    /// Adds a line of a table. Keeps its spaces, and cuts it to the width.
    fn put_raw(&mut self, indent: usize, line: &str) {
        let width = self.look.width.saturating_sub(indent);
        self.lines.push(" ".repeat(indent) + &console::truncate_str(line, width, "…"));
    }

    fn allocation(&mut self, story: &AllocationStory) {
        self.blank();
        let id = story.allocation.text("alloc_id").unwrap_or("unknown");
        let summary = phrases::summary(&story.allocation);
        let summary = summary.split_once(' ').map_or("", |(_, rest)| rest);
        self.put(0, &format!("Allocation {id} {summary}"), self.style().bold());
        phrases::allocation(story).iter().for_each(|line| self.put(2, line, self.style()));
        let mut before = None;
        for row in &story.changes {
            let what = phrases::change(row, before);
            if !what.is_empty() {
                self.hang(2, &format!("{}  ", moment(row.get("modified_at"))), &what, &self.style());
            }
            before = Some(row);
        }
        story.tasks.iter().for_each(|task| self.task(task));
    }

    fn task(&mut self, task: &TaskStory) {
        self.blank();
        let name = task.task.as_deref().unwrap_or("unknown");
        self.put(2, &format!("Task {name}: {}", phrases::task(task)), self.style().bold());
        let mut day = "";
        let entries = entries(task);
        for (i, entry) in entries.iter().enumerate() {
            // The heading of an attempt shows the day of its first event.
            let dated = entries[i..].iter().take(2).find_map(|entry| match entry {
                Entry::Event(event) => event.text("event_at"),
                _ => None,
            });
            let dated = dated.and_then(|at| at.split_once('T')).filter(|_| !matches!(entry, Entry::Gap(_)));
            if let Some((own_day, _)) = dated.filter(|(own_day, _)| *own_day != day) {
                day = own_day;
                self.put(4, day, self.style().dim());
            }
            match entry {
                Entry::Attempt(row) => {
                    let style = match row.text("outcome") {
                        Some("failed" | "lost") => self.style().red(),
                        Some("unknown") => self.style().yellow(),
                        _ => self.style(),
                    };
                    self.hang(4, "── ", &phrases::attempt(row), &style);
                }
                Entry::Gap(gap) => self.hang(4, "┄┄ ", &phrases::gap(gap), &self.style().yellow()),
                Entry::Event(event) => {
                    let time = event.text("event_at").and_then(|at| at.split_once('T'));
                    let time = time.map_or("time unknown", |(_, time)| time.get(..12).unwrap_or(time));
                    let kind = event.text("event_type").unwrap_or("no type");
                    let title = format!("{time:<12}  {kind:<TYPE$}  ");
                    self.hang(6, &title, &description(event), &self.style());
                }
            }
        }
        if task.events.is_empty() {
            self.put(4, "No event is in view.", self.style());
        }
    }
}

/// Nomad's message for an event, and the facts that the message lacks.
pub fn description(event: &Row) -> String {
    let message = event.text("message").unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    if !message.is_empty() {
        parts.push(message.to_owned());
    }
    if let Some(code) = event.int("exit_code").filter(|_| !message.contains("Exit Code")) {
        parts.push(format!("exit code {code}"));
    }
    if *event.get("oom_killed") == serde_json::Value::Bool(true) {
        parts.push("killed by the kernel: out of memory".to_owned());
    }
    parts.join("; ")
}

/// Wraps a text at spaces. A word that is longer than a line is divided.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut taken) = (String::new(), 0);
    for word in text.split_inclusive(' ') {
        let wide = measure_text_width(word.trim_end());
        if taken > 0 && taken + wide > width {
            lines.push(std::mem::take(&mut line));
            taken = 0;
        }
        for c in word.chars() {
            let own = measure_text_width(c.encode_utf8(&mut [0; 4]));
            if taken + own > width && c != ' ' {
                lines.push(std::mem::take(&mut line));
                taken = 0;
            }
            line.push(c);
            taken += own;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_without_a_loss() {
        for (text, width, lines) in [
            ("one two three", 8, vec!["one two ", "three"]),
            ("abcdefghij", 4, vec!["abcd", "efgh", "ij"]),
            ("a bcdefghij k", 4, vec!["a ", "bcde", "fghi", "j k"]),
            ("作业作业", 4, vec!["作业", "作业"]),
            ("", 4, vec![""]),
        ] {
            assert_eq!(wrap(text, width), lines, "{text}");
            assert_eq!(wrap(text, width).concat(), text);
        }
    }
}
