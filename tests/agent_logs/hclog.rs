//! Writes lines as a Nomad client does through go-hclog. The code follows hclog's source (`intlogger.go`), not the
//! program's reader.

use std::fmt::Write;

use chrono::{DateTime, FixedOffset};

/// The facts that a client logs about an event.
#[derive(Debug, Clone)]
pub struct Line {
    pub alloc_id: String,
    pub task: String,
    pub event_type: String,
    pub message: String,
    pub fails_task: bool,
    /// Nanoseconds since the epoch.
    pub at: i64,
}

/// The configuration of a logger.
#[derive(Debug, Clone)]
pub struct Logger {
    pub is_json: bool,
    pub has_location: bool,
    /// The zone of the logger, in minutes east of UTC.
    pub zone: i32,
    /// The prefix of each line, and whether each line of a multi-line value has the prefix, too.
    pub prefix: (&'static str, bool),
}

impl Logger {
    /// Formats an event as a line, or as several lines if a value has several.
    pub fn line(&self, line: &Line) -> String {
        let written = if self.is_json { self.json(line) } else { self.text(line) };
        let (prefix, is_everywhere) = self.prefix;
        let mut all = String::new();
        for (n, line) in written.lines().enumerate() {
            let _ = writeln!(all, "{}{line}", if n == 0 || is_everywhere { prefix } else { "" });
        }
        all
    }

    fn moment(&self, line: &Line) -> DateTime<FixedOffset> {
        let zone = FixedOffset::east_opt(self.zone * 60).expect("a zone");
        DateTime::from_timestamp_nanos(line.at).with_timezone(&zone)
    }

    fn json(&self, line: &Line) -> String {
        let mut object = serde_json::json!({
            "@level": "info", "@message": "Task event", "@module": "client.alloc_runner.task_runner",
            "@timestamp": self.moment(line).format("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string().replace("+00:00", "Z"),
            "alloc_id": line.alloc_id, "task": line.task, "type": line.event_type, "msg": line.message,
            "failed": line.fails_task,
        });
        if self.has_location {
            object["@caller"] = "/build/client/allocrunner/taskrunner/task_runner.go:1445".into();
        }
        object.to_string()
    }

    fn text(&self, line: &Line) -> String {
        let stamp = self.moment(line).format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string().replace("+0000", "Z");
        let location = if self.has_location { "taskrunner/task_runner.go:1445: " } else { "" };
        let mut text = format!("{stamp} [INFO]  {location}client.alloc_runner.task_runner: Task event:");
        for (key, value) in [
            ("alloc_id", line.alloc_id.as_str()),
            ("task", &line.task),
            ("type", &line.event_type),
            ("msg", &line.message),
            ("failed", if line.fails_task { "true" } else { "false" }),
        ] {
            if value.is_empty() {
                let _ = write!(text, " {key}=\"\"");
            } else if value.contains('\n') {
                let _ = write!(text, "\n  {key}=\n");
                for part in value.strip_suffix('\n').unwrap_or(value).split('\n') {
                    let _ = writeln!(text, "  | {}", escaped(part, false));
                }
                text.push_str("  ");
            } else if value.chars().any(|c| !('-'..='~').contains(&c)) {
                let _ = write!(text, " {key}=\"{}\"", escaped(value, true));
            } else {
                let _ = write!(text, " {key}={value}");
            }
        }
        text
    }
}

/// `writeEscapedForOutput`: a backslash is not escaped.
fn escaped(value: &str, quotes: bool) -> String {
    let mut text = String::new();
    for c in value.chars() {
        let _ = match c {
            '"' if quotes => write!(text, "\\\""),
            '\u{7}' => write!(text, "\\a"),
            '\u{8}' => write!(text, "\\b"),
            '\u{c}' => write!(text, "\\f"),
            '\r' => write!(text, "\\r"),
            '\t' => write!(text, "\\t"),
            '\u{b}' => write!(text, "\\v"),
            c if c < ' ' => write!(text, "\\x{:02x}", c as u32),
            // The only unprintable characters in the tests.
            '\u{7f}'..='\u{a0}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => {
                write!(text, "\\u{:04x}", c as u32)
            }
            c => write!(text, "{c}"),
        };
    }
    text
}
