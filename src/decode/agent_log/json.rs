//! Lines of a log with `log_json`, and lines that Docker's json-file driver wraps.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Following, Form, LOGGER, LineKind, LogLine, TORN, text, time};

/// The fields of a line. The names of hclog's own fields begin with `@`.
#[derive(Deserialize)]
struct LogFields<'a> {
    #[serde(borrow, rename = "@message")]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "@module")]
    module: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "@timestamp")]
    timestamp: Option<Cow<'a, str>>,
    #[serde(rename = "@caller")]
    caller: Option<IgnoredAny>,
    #[serde(borrow)]
    alloc_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    task: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    failed: Option<bool>,
}

/// A line of Docker's json-file driver.
#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
}

/// Reads a line that is a JSON object.
pub(super) fn line(object: &str) -> LineKind<'_> {
    // If the object lacks this field, the words are part of a value in a line about something else.
    if !object.contains(r#""@message":"Task event""#) {
        return LineKind::Other;
    }
    let Ok(fields) = serde_json::from_str::<LogFields<'_>>(object) else { return LineKind::Torn(TORN) };
    if fields.message.as_deref() != Some("Task event") || fields.module.as_deref() != Some(LOGGER) {
        return LineKind::Other;
    }
    let form = if fields.caller.is_some() { Form::JsonWithLocation } else { Form::Json };
    let times = fields.timestamp.as_deref().and_then(time);
    match (fields.alloc_id, fields.task, fields.kind, fields.msg, fields.failed, times) {
        (
            Some(alloc_id),
            Some(task),
            Some(event_type),
            Some(message),
            Some(fails_task),
            Some((logged_at, precision)),
        ) => LineKind::Event(LogLine { alloc_id, task, event_type, message, fails_task, logged_at, precision, form }),
        _ => LineKind::Torn(TORN),
    }
}

/// Reads a line that Docker wrapped in a JSON object. Docker wraps each line in its own object. Therefore the other
/// lines of a multi-line value are read from the objects that follow.
pub(super) fn docker<'a>(bytes: &'a [u8], wrapped: &'a str, end: usize) -> (LineKind<'a>, usize) {
    let Some(first) = unwrapped(wrapped) else { return (LineKind::Torn(TORN), end) };
    let first = first.trim_end_matches(['\n', '\r']);
    if first.starts_with(r#"{"@"#) {
        return (owned(line(first)), end);
    }
    let mut lines = first.to_owned();
    let mut following = Following { bytes, at: end };
    let mut ends = vec![(lines.len(), end)];
    // A multi-line value ends with the line of `failed`. The lines of the value begin with a bar and may contain any
    // text.
    let mut is_open = !first.contains(" failed=");
    while is_open {
        let Some(next) = following.next().and_then(unwrapped) else { break };
        let next = next.trim_end_matches(['\n', '\r']);
        let is_value = next.contains(text::BAR) || next.ends_with("  msg=");
        if !is_value && !next.contains("   failed=") {
            break;
        }
        is_open = is_value;
        lines.push('\n');
        lines.push_str(next);
        ends.push((lines.len(), following.at));
    }
    let first_end = lines.find('\n').unwrap_or(lines.len());
    let Some(at) = lines[..first_end].find("Task event") else { return (LineKind::Other, end) };
    let (found, read) =
        text::line(&lines[..first_end], at, first_end, &mut Following { bytes: lines.as_bytes(), at: first_end });
    let next = ends.iter().find(|(length, _)| *length >= read).map_or(end, |(_, end)| *end);
    (owned(found), next)
}

fn unwrapped(line: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Docker<'_>>(line).ok().map(|docker| docker.log)
}

fn owned<'a>(found: LineKind<'_>) -> LineKind<'a> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    match found {
        LineKind::Event(line) => LineKind::Event(LogLine {
            alloc_id: text(line.alloc_id),
            task: text(line.task),
            event_type: text(line.event_type),
            message: text(line.message),
            fails_task: line.fails_task,
            logged_at: line.logged_at,
            precision: line.precision,
            form: line.form,
        }),
        LineKind::Other => LineKind::Other,
        LineKind::Torn(what) => LineKind::Torn(what),
    }
}
