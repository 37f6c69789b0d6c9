//! Redacts free texts. Keeps the parts by which views classify events, and Nomad's own texts, which contain no names.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::Redactor;

/// The beginnings of texts by which views classify events. `tests/redaction.rs` compares them with the files of
/// `queries/`.
const BEGINNINGS: [&str; 10] = [
    "Downloading",
    "Identity",
    "Preempted",
    "Template",
    "User requested",
    "Vault",
    "allocation exceeded max_run_duration",
    "consul-template:",
    "healthcheck",
    "vault:",
];

/// The parts of texts by which views classify events.
const PARTS: [&str; 9] = [
    ", Exit Message: ",
    "being migrated",
    "being updated",
    "disconnected client reconnect",
    "lost since its node is down",
    "node is tainted",
    "not needed",
    "rescheduled because it failed",
    "unknown since its node is disconnected",
];

/// Texts of Nomad that contain no names (nomad/structs/structs.go, `PopulateEventDisplayMessage`; client/allocrunner
/// and scheduler).
static NOMADS_OWN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let duration = "[0-9.hmsuµn]+";
    let texts = [
        "Task received by client",
        "Building Task Directory",
        "Task started by client",
        "Client is downloading artifacts",
        "Task signaled to restart",
        "Task exceeded restart policy",
        "Task not running by deadline",
        "Task successfully killed",
        "Sent interrupt",
        &format!("Sent interrupt\\. Waiting {duration} before force killing"),
        "Exit Code: -?[0-9]+(, Signal: [0-9]+)?",
        &format!("Task restarting in {duration}"),
        "Restart within policy",
        "Policy allows no restarts",
        "Error was unrecoverable",
        &format!("Exceeded allowed attempts [0-9]+ in interval {duration} and mode is \"(fail|delay)\""),
        "Template with change_mode restart re-rendered",
        "User requested (running tasks|task) to restart",
        "OOM Killed",
        "Leader Task in Group dead",
        "Main tasks in the group died",
        "Tasks are (running|pending)",
        "All tasks have completed",
        "Failed tasks",
        "No tasks have started",
        "allocation exceeded max_run_duration",
        "alloc is being migrated",
        "alloc is being updated due to job update",
        "alloc is lost since its node is down",
        "alloc is unknown since its node is disconnected",
        "alloc not needed as node is tainted",
        "alloc not needed due to disconnected client reconnect",
        "alloc not needed due to job update",
        "alloc was rescheduled because it failed",
    ];
    Regex::new(&format!("^({})$", texts.join("|"))).ok()
});

/// The beginning of Nomad's text for the end of a task; the message of the driver follows.
static EXIT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^Exit Code: -?[0-9]+(, Signal: [0-9]+)?, Exit Message: ").ok());

/// The entries of an event's details that are numbers, flags or durations.
const NUMBERS: [&str; 7] =
    ["disk_limit", "exit_code", "fails_task", "kill_timeout", "oom_killed", "signal", "start_delay"];

/// The entries of an event's details that are texts by which views classify events.
const TEXTS: [&str; 3] = ["exit_message", "message", "restart_reason"];

/// The entry with the tag of the details, if other entries were dropped.
pub(super) const DROPPED: &str = "redacted";

impl Redactor {
    /// A free text. It is unchanged if it is a text of Nomad that contains no names. Otherwise it is replaced by the
    /// parts by which views classify it, and by a tag. Equal texts have equal tags.
    pub fn text(&self, text: &str) -> String {
        if text.is_empty() || NOMADS_OWN.as_ref().is_some_and(|own| own.is_match(text)) {
            return text.to_owned();
        }
        let exit = EXIT.as_ref().and_then(|exit| exit.find(text)).map(|found| found.as_str());
        let beginning = BEGINNINGS.iter().copied().find(|beginning| text.starts_with(beginning));
        let behind = text.strip_prefix(exit.unwrap_or_default()).unwrap_or(text);
        let parts = PARTS.iter().copied().filter(|part| behind.contains(part));
        let mut kept: Vec<Cow<'_, str>> =
            exit.map(str::trim_end).into_iter().chain(beginning).chain(parts).map(Cow::Borrowed).collect();
        kept.push(Cow::Owned(format!("[redacted {}]", self.tag(text))));
        kept.join(" ")
    }

    /// The JSON of an event's details.
    pub(super) fn details(&self, json: &str) -> String {
        let entries: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
        Value::Object(self.detail_entries(entries, json)).to_string()
    }

    /// The entries of an event's details: numbers and flags stay, texts by which views classify events are replaced,
    /// and the others are dropped. `whole` is the text from which the entries were read.
    pub(super) fn detail_entries(&self, entries: Map<String, Value>, whole: &str) -> Map<String, Value> {
        let mut kept = Map::new();
        let mut has_dropped = false;
        for (name, value) in entries {
            let text = value.as_str();
            match text {
                Some(text) if TEXTS.contains(&name.as_str()) => drop(kept.insert(name, self.text(text).into())),
                Some(text) if NUMBERS.contains(&name.as_str()) && is_number(text) => drop(kept.insert(name, value)),
                _ => has_dropped = true,
            }
        }
        if has_dropped {
            kept.insert(DROPPED.to_owned(), self.tag(whole).into());
        }
        kept
    }
}

/// Returns true for a number, a flag or a duration.
fn is_number(text: &str) -> bool {
    let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || ".-+hmsuµn".contains(c));
    ["", "true", "false"].contains(&text) || (text.contains(|c: char| c.is_ascii_digit()) && is_digits(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_what_views_look_for_and_nothing_else() {
        let redactor = Redactor::new(b"k");
        for own in
            ["", "Exit Code: 137, Signal: 9", "Task restarting in 15.8s", "alloc is being migrated", "OOM Killed"]
        {
            assert_eq!(redactor.text(own), own);
        }
        let secret = [
            ("Template failed: host db1.example", "Template [redacted "),
            ("healthcheck: check \"db1\" unhealthy", "healthcheck [redacted "),
            ("Exit Code: 1, Exit Message: \"db1 is down\"", "Exit Code: 1, Exit Message: [redacted "),
            ("alloc not needed since its node is tainted on db1", "node is tainted not needed [redacted "),
            ("db1 is gone", "[redacted "),
            ("Task restarting in 15s\ndb1", "[redacted "),
        ];
        for (text, kept) in secret {
            let redacted = redactor.text(text);
            assert!(redacted.starts_with(kept) && !redacted.contains("db1"), "{redacted}");
            assert_eq!(redacted.len(), kept.len() + 8 + 1, "{redacted}");
        }
        assert_ne!(redactor.text("one"), redactor.text("other"));
    }

    #[test]
    fn details_keep_numbers_and_drop_the_rest() {
        let redactor = Redactor::new(b"k");
        let details = redactor.details(
            r#"{"exit_code":"1","exit_message":"db1 is down","message":"","oom_killed":"false","signal":"db1","x":"db1"}"#,
        );
        let kept: Map<String, Value> = serde_json::from_str(&details).unwrap_or_default();
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["exit_code", "exit_message", "message", "oom_killed", "redacted"]);
        assert!(!details.contains("db1"), "{details}");
        assert!(details.contains("\"exit_message\":\"[redacted ") && details.contains("\"message\":\"\""), "{details}");
        assert_eq!(redactor.details(r#"{"exit_message":"OOM Killed"}"#), r#"{"exit_message":"OOM Killed"}"#);
    }
}
