//! Reads the lines that a Nomad client writes for task events, from its log as text or as JSON.
//!
//! Since Nomad 1.5.0 a client writes one INFO line "Task event" for each event that it appends to a task's state
//! (client/allocrunner/taskrunner/task_runner.go, `appendEvent`). Everything else in a log is skipped.

mod json;
mod text;

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The words that every line of a task event contains.
static WORDS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("Task event"));

/// The name of the logger that writes these lines.
const LOGGER: &str = "client.alloc_runner.task_runner";

/// The longest value that continues over several lines, in bytes. If a line begins within this distance of the end of
/// a block, its value may continue in the next block.
const LONGEST: usize = 256 << 10;

/// The length of a short line of a task event, in bytes; most lines are longer. Used only to estimate how many such
/// lines a block has.
const SHORT_LINE: usize = 192;

/// How a logger formats its lines. Two loggers of one agent write the same event with slightly different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Form {
    Text,
    TextWithLocation,
    Json,
    JsonWithLocation,
}

impl Form {
    /// The name of the form in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::TextWithLocation => "text+location",
            Form::Json => "json",
            Form::JsonWithLocation => "json+location",
        }
    }
}

/// A line that reports a task event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The allocation's ID.
    pub alloc_id: Cow<'a, str>,
    /// The task's name.
    pub task: Cow<'a, str>,
    /// The event's type.
    pub event_type: Cow<'a, str>,
    /// The event's DisplayMessage. In a log written as text, a control character and its escape look the same.
    pub message: Cow<'a, str>,
    /// Whether the event marks the task as failed.
    pub fails_task: bool,
    /// When the line was written, by the client's clock, in nanoseconds since the epoch, cut to `precision`.
    pub logged_at: i64,
    /// The precision of `logged_at`, in nanoseconds.
    pub precision: i64,
    /// How the line is written.
    pub form: Form,
}

/// A line of a task event that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFault {
    /// The byte where the line begins.
    pub at: usize,
    /// Why it cannot be read.
    pub what: &'static str,
    /// True for the last line of a log if it has no newline: the agent may still be writing it.
    pub is_tail: bool,
}

/// What a part of a log contains.
#[derive(Debug, Default)]
pub struct LogPart<'a> {
    /// The lines of task events, in order.
    pub lines: Vec<LogLine<'a>>,
    /// The lines that cannot be read.
    pub faults: Vec<LogFault>,
}

/// The kind of a line that contains [`WORDS`].
enum LineKind<'a> {
    Event(LogLine<'a>),
    /// A line that contains [`WORDS`] but does not report a task event.
    Other,
    Torn(&'static str),
}

/// The fault of a line that is damaged or truncated.
const TORN: &str = "is a line of a task event that is damaged or cut off";

/// Reads a part of a log that begins and ends with whole lines. `is_last` means that the log ends with this part.
pub fn part(bytes: &[u8], is_last: bool) -> LogPart<'_> {
    let mut part = LogPart::default();
    let mut from = 0;
    while let Some(n) = WORDS.find(&bytes[from..]) {
        let at = from + n;
        let start = memchr::memrchr(b'\n', &bytes[from..at]).map_or(from, |n| from + n + 1);
        let (found, next) = line(bytes, start, at);
        match found {
            LineKind::Event(line) => {
                if part.lines.is_empty() {
                    part.lines.reserve(bytes.len() / SHORT_LINE);
                }
                part.lines.push(line);
            }
            LineKind::Other => {}
            LineKind::Torn(what) => {
                let is_tail = is_last && next == bytes.len() && bytes.last() != Some(&b'\n');
                part.faults.push(LogFault { at: start, what, is_tail });
            }
        }
        from = next;
    }
    part
}

/// Returns where to cut a log so that no line of a task event is divided: the number of bytes before the cut. `None`
/// if no line ends in `bytes`.
pub fn split(bytes: &[u8]) -> Option<usize> {
    let tail = bytes.len().saturating_sub(LONGEST);
    // Search from the front, because only the forward search uses vector instructions.
    let begun = WORDS.find_iter(&bytes[tail..]).last().map(|n| tail + n);
    let start = begun.and_then(|at| memchr::memrchr(b'\n', &bytes[..at])).map(|n| n + 1);
    start.or_else(|| memchr::memrchr(b'\n', bytes).map(|n| n + 1))
}

/// Reads the line that begins at `start` and contains [`WORDS`] at `at`. Returns the line and the position where
/// reading continues.
fn line(bytes: &[u8], start: usize, at: usize) -> (LineKind<'_>, usize) {
    let end = end_of_line(bytes, at);
    let Ok(text) = std::str::from_utf8(&bytes[start..end]) else { return (LineKind::Torn(TORN), end) };
    let text = without_returns(text);
    if text.starts_with(r#"{"log":"#) {
        return json::docker(bytes, text, end);
    }
    match memchr::memchr(b'{', &bytes[start..at]) {
        Some(object) if text[object..].starts_with(r#"{"@"#) && is_prefix(&text[..object]) => {
            (json::line(&text[object..]), end)
        }
        _ => text::line(text, at - start, end, &mut Following { bytes, at: end }),
    }
}

/// A line without the carriage returns at its end.
fn without_returns(mut line: &str) -> &str {
    while let Some(shorter) = line.strip_suffix('\r') {
        line = shorter;
    }
    line
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |n| at + n)
}

/// Returns true if a terminal, journald, syslog or a container runtime can put this text in front of a line. The text
/// must not be the beginning of a log line that quotes another log line.
fn is_prefix(text: &str) -> bool {
    let is_level = |level: &str| text.contains(level);
    // Each line of a multi-line value begins with `  | `.
    text.is_empty()
        || (text.len() <= 256
            && !text.ends_with("| ")
            && !text.contains(['"', '{'])
            && !["[TRACE]", "[DEBUG]", "[INFO]", "[WARN]", "[ERROR]"].into_iter().any(is_level))
}

/// Reads the lines that follow a line, for multi-line values.
struct Following<'a> {
    bytes: &'a [u8],
    /// The end of the last line that was read.
    at: usize,
}

impl<'a> Following<'a> {
    /// The next line, without its line end; `None` at the end of the bytes, or if the line is not UTF-8.
    fn next(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        if start > self.bytes.len() {
            return None;
        }
        let end = end_of_line(self.bytes, start);
        let line = std::str::from_utf8(&self.bytes[start..end]).ok()?;
        self.at = end;
        Some(without_returns(line))
    }
}

/// Parses a time as written in a log. Returns it in nanoseconds since the epoch, and its precision in nanoseconds. In
/// a text log, the zone has no colon.
fn time(text: &str) -> Option<(i64, i64)> {
    let zone = text.len().checked_sub(5).filter(|at| matches!(text.as_bytes()[*at], b'+' | b'-'));
    let at = match zone {
        Some(at) if !text[at..].contains(':') => {
            crate::time::rfc3339(&format!("{}:{}", text.get(..at + 3)?, text.get(at + 3..)?))
        }
        _ => crate::time::rfc3339(text),
    };
    // Before the fraction, a time has 19 characters.
    let fraction = text.as_bytes().get(19..).and_then(|rest| rest.strip_prefix(b".")).unwrap_or_default();
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count().min(9);
    Some((at.ok()??, 10i64.pow(9 - digits as u32)))
}

#[cfg(test)]
mod tests;
