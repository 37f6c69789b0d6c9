//! `log_events`: one row is one line "Task event" in the log of a Nomad client.
//!
//! `task_events` may contain the same event. Values that only the API shows are null here.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::column::{Column, Value, derived, key};
use super::identity::text_hash;
use super::mask;
use crate::decode::agent_log::LogLine;
use crate::time::{self, DAY};

/// A line of a log.
#[derive(Debug, Clone)]
pub struct LogEventRow<'a> {
    /// The region given by `--region`.
    pub region: &'a str,
    /// The node in the path of a debug bundle.
    pub node_id: Option<&'a str>,
    /// The number of lines before this one in its log that have an equal key. Lines before the last line with another
    /// time are not counted.
    pub ordinal: i32,
    line: &'a LogLine<'a>,
    message: Cow<'a, str>,
    text_hash: i32,
    facts: MessageFacts<'a>,
}

/// The facts in a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct MessageFacts<'a> {
    exit_code: Option<i64>,
    signal: Option<i64>,
    oom_killed: Option<bool>,
    exit_message: Option<Cow<'a, str>>,
    restart_reason: Option<Cow<'a, str>>,
    start_delay: Option<i64>,
    kill_timeout: Option<i64>,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<LogEventRow<'a>>> {
    vec![
        derived("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.region))),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(&r.line.alloc_id))),
        key("task", "task name", Value::Text(|r| Some(&r.line.task))),
        key(
            "node_id",
            "client node ID in the path of the log in a debug bundle, `client/ID/`; null elsewhere",
            Value::Text(|r| r.node_id),
        ),
        key(
            "logged_at",
            "when the client wrote the line, which is shortly after the event; by the client's clock, truncated to precision_ns",
            Value::Moment(|r| Some(r.line.logged_at)),
        ),
        key(
            "precision_ns",
            "unit of logged_at in nanoseconds: 1000000 in a text log, 1000 in a JSON log",
            Value::Int64(|r| Some(r.line.precision)),
        ),
        key(
            "form",
            "how the line is written: `text` or `json`, followed by `+location` if the line names a place in Nomad's source code, as in monitor.log of a debug bundle; part of the key, because each logger of an agent writes its own time for the same event",
            Value::Text(|r| Some(r.line.form.name())),
        ),
        key("event_type", "Nomad's spelling, an open set", Value::Text(|r| Some(&r.line.event_type))),
        key(
            "ordinal",
            "number of the line among lines whose key is otherwise equal, from 0; nearly always 0",
            Value::Int32(|r| Some(r.ordinal)),
        ),
        key("fails_task", "whether the event marks the task as failed", Value::Bool(|r| Some(r.line.fails_task))),
        derived("exit_code", "exit code; null except on Terminated", Value::Int64(|r| r.facts.exit_code)),
        derived(
            "signal",
            "number of the signal that ended the process, 0 for none; null except on Terminated",
            Value::Int64(|r| r.facts.signal),
        ),
        derived(
            "oom_killed",
            "true if Docker's exit message says `OOM Killed`; null otherwise, because a log does not contain this value",
            Value::Bool(|r| r.facts.oom_killed),
        ),
        derived(
            "exit_message",
            "the driver's message about the end of the process; secrets masked; null unless the event is a Terminated with such a message",
            Value::Text(|r| r.facts.exit_message.as_deref()),
        ),
        derived(
            "restart_reason",
            "reason in a Restarting, Not Restarting or Restart Signaled: why the task is or is not restarted; secrets masked; null on other types, and where Nomad omits the reason, as it does with `Restart within policy`",
            Value::Text(|r| r.facts.restart_reason.as_deref()),
        ),
        derived(
            "start_delay_ns",
            "wait before the next start in nanoseconds; null except on Restarting",
            Value::Int64(|r| r.facts.start_delay),
        ),
        derived(
            "kill_timeout_ns",
            "time between the kill signal and SIGKILL in nanoseconds; null unless the event is a Killing whose message contains this time",
            Value::Int64(|r| r.facts.kill_timeout),
        ),
        derived(
            "message",
            "DisplayMessage of the event; secrets masked. In a line of form `text`, a control character and its escape sequence look alike",
            Value::Text(|r| Some(&r.message)),
        ),
        key(
            "text_hash",
            "16-bit hash that represents the message in the row's identity, so that masking does not change the identity",
            Value::Int32(|r| Some(r.text_hash)),
        ),
        derived("event_date", "UTC day of logged_at", Value::Date(|r| Some((r.line.logged_at / DAY) as i32))),
    ]
}

/// A cache of masked messages with their text hashes, because most events have one of a few messages. It omits the
/// messages of `Restarting` events without a reason, because each contains its own delay.
#[derive(Debug, Default)]
pub struct KnownMessages<'a>(HashMap<&'a str, (Cow<'a, str>, i32)>);

/// Builds the row of a line.
pub fn row<'a>(
    region: &'a str,
    node_id: Option<&'a str>,
    line: &'a LogLine<'a>,
    known: &mut KnownMessages<'a>,
) -> LogEventRow<'a> {
    let text = line.message.as_ref();
    // Row identities depend only on the first stage of masking.
    let masked = || (mask::text(text), text_hash([Some(mask::credentials(text).as_ref())]));
    let (message, text_hash) = match delay(text) {
        Some(_) => (Cow::Borrowed(text), text_hash([Some(text)])),
        None => known.0.entry(text).or_insert_with(masked).clone(),
    };
    LogEventRow { region, node_id, ordinal: 0, line, message, text_hash, facts: message_facts(&line.event_type, text) }
}

/// The message of a `Restarting` event without a reason, up to the delay.
const RESTARTING: &str = "Task restarting in ";

/// The delay in the message of a `Restarting` event without a reason. `None` unless the delay has only characters of a
/// duration, because only then the message certainly contains no secret.
fn delay(message: &str) -> Option<&str> {
    let is_of_duration = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'h' | b'm' | b's');
    message.strip_prefix(RESTARTING).filter(|delay| delay.bytes().all(is_of_duration))
}

impl LogEventRow<'_> {
    /// The allocation's ID.
    pub fn alloc_id(&self) -> &str {
        &self.line.alloc_id
    }

    /// When it was logged, in nanoseconds since the epoch.
    pub fn logged_at(&self) -> i64 {
        self.line.logged_at
    }
}

/// Parses the message of an event, as Nomad writes it (`TaskEvent.PopulateEventDisplayMessage`).
fn message_facts<'a>(event_type: &str, message: &'a str) -> MessageFacts<'a> {
    let none = MessageFacts::default;
    match event_type {
        "Terminated" => terminated(message).unwrap_or_default(),
        "Restarting" => {
            let alone = delay(message).map(|delay| ("", delay));
            let Some((reason, delay)) = alone.or_else(|| message.rsplit_once(RESTARTING)) else { return none() };
            let reason = reason.strip_suffix(" - ").unwrap_or(reason);
            // Nomad omits "Restart within policy", so the message may have no reason.
            let restart_reason = Some(reason).filter(|reason| !reason.is_empty()).map(mask::text);
            MessageFacts { start_delay: time::go_duration(delay), restart_reason, ..none() }
        }
        "Restart Signaled" if message == "Task signaled to restart" => none(),
        "Not Restarting" if message == "Task exceeded restart policy" => none(),
        "Not Restarting" | "Restart Signaled" => MessageFacts { restart_reason: Some(mask::text(message)), ..none() },
        "Killing" => {
            let timeout = message.strip_prefix("Sent interrupt. Waiting ");
            let timeout = timeout.and_then(|rest| rest.strip_suffix(" before force killing"));
            MessageFacts { kill_timeout: timeout.and_then(time::go_duration), ..none() }
        }
        _ => none(),
    }
}

/// Reads `Exit Code: N[, Signal: N][, Exit Message: "quoted"]`.
fn terminated(message: &str) -> Option<MessageFacts<'_>> {
    let (exit_code, rest) = before_comma(message.strip_prefix("Exit Code: ")?);
    let (signal, rest) = rest.strip_prefix(", Signal: ").map_or(("0", rest), before_comma);
    let exit_message = match rest.strip_prefix(", Exit Message: ") {
        Some(quoted) => Some(go_unquoted(quoted)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some(MessageFacts {
        exit_code: Some(exit_code.parse().ok()?),
        signal: Some(signal.parse().ok()?),
        oom_killed: (exit_message.as_deref() == Some("OOM Killed")).then_some(true),
        exit_message: exit_message.map(|text| match text {
            Cow::Borrowed(text) => mask::text(text),
            Cow::Owned(text) => Cow::Owned(mask::text(&text).into_owned()),
        }),
        ..MessageFacts::default()
    })
}

/// Splits a text before its first comma.
fn before_comma(text: &str) -> (&str, &str) {
    text.split_at(memchr::memchr(b',', text.as_bytes()).unwrap_or(text.len()))
}

/// Decodes a text in Go's quotes (`strconv.Quote`); `None` if the text is not quoted in this way.
fn go_unquoted(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let mut text: Vec<u8> = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest.as_bytes().get(at + 1)?;
        let digits = match escape {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        let code = if digits > 0 { u32::from_str_radix(rest.get(at + 2..at + 2 + digits)?, 16).ok()? } else { 0 };
        match escape {
            b'a' => text.push(7),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'v' => text.push(11),
            b'\\' | b'"' | b'\'' => text.push(*escape),
            // A byte of a text that is not UTF-8.
            b'x' => text.push(u8::try_from(code).ok()?),
            b'u' | b'U' => text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return None,
        }
        rest = &rest[at + 2 + digits..];
    }
    text.extend_from_slice(rest.as_bytes());
    Some(Cow::Owned(String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_parsed_as_nomad_writes_them() {
        let facts_of = |event_type: &str, message: &'static str| message_facts(event_type, message);
        let ended = facts_of("Terminated", r#"Exit Code: 137, Signal: 9, Exit Message: "OOM Killed""#);
        assert_eq!((ended.exit_code, ended.signal, ended.oom_killed), (Some(137), Some(9), Some(true)));
        let ended = facts_of("Terminated", r#"Exit Code: -1, Exit Message: "a \"b\"\\\t\u00e9, Signal: 7""#);
        assert_eq!((ended.exit_code, ended.signal, ended.oom_killed), (Some(-1), Some(0), None));
        assert_eq!(ended.exit_message.as_deref(), Some("a \"b\"\\\té, Signal: 7"));
        assert_eq!(facts_of("Terminated", "Exit Code: x"), MessageFacts::default());
        assert_eq!(facts_of("Terminated", "Exit Code: 1, Exit Message: cut"), MessageFacts::default());
        assert_eq!(facts_of("Driver", "Exit Code: 1"), MessageFacts::default());

        let restart = facts_of("Restarting", "Task restarting in 1.183510195s");
        assert_eq!(restart.start_delay, Some(1_183_510_195));
        assert_eq!(restart.restart_reason, None);
        let restart = facts_of("Restarting", "Template with change_mode restart re-rendered - Task restarting in 0s");
        assert_eq!(restart.start_delay, Some(0));
        assert_eq!(restart.restart_reason.as_deref(), Some("Template with change_mode restart re-rendered"));
        assert_eq!(
            facts_of("Not Restarting", "Policy allows no restarts").restart_reason.as_deref(),
            Some("Policy allows no restarts")
        );
        assert_eq!(
            facts_of("Killing", "Sent interrupt. Waiting 5s before force killing").kill_timeout,
            Some(5_000_000_000)
        );
        assert_eq!(facts_of("Killing", "Sent interrupt").kill_timeout, None);
    }
}
