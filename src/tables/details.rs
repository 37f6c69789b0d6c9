//! An event's `Details` and message as text.

use std::borrow::Cow;

use super::mask;
use super::text::quote;
use crate::decode::record::TaskEvent;

/// The message of an event: `DisplayMessage` as served or, if that is empty, the event's own message or error text.
pub fn message<'a>(event: &'a TaskEvent<'a>) -> Option<&'a str> {
    event
        .display_message
        .as_deref()
        .or(event.message.as_deref())
        .or_else(|| event.legacy.first().map(|(_, text)| text.as_ref()))
}

/// The `Details` map as compact JSON, with keys sorted by bytes; `None` if empty. Legacy fields provide missing
/// entries, under the keys that Nomad uses now. Nomad before 0.7.1 had only the legacy fields.
pub fn json(event: &TaskEvent<'_>) -> Option<String> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(event.details.len() + event.legacy.len());
    // Mask the names as well, because a plugin may put a URL into a name.
    let given = event.details.iter().map(|(name, value)| (mask::credentials(name), Cow::Borrowed(value.as_ref())));
    pairs.extend(given);
    let has = |pairs: &[(Cow<'_, str>, Cow<'_, str>)], name: &str| pairs.iter().any(|(known, _)| *known == name);
    for (name, value) in &event.legacy {
        if !has(&pairs, name) {
            pairs.push((Cow::Borrowed(name), Cow::Borrowed(value.as_ref())));
        }
    }
    if let Some(text) = event.message.as_deref()
        && !pairs.iter().any(|(name, value)| matches!(name.as_ref(), "message" | "exit_message") && value == text)
        && !has(&pairs, "message")
    {
        pairs.push((Cow::Borrowed("message"), Cow::Borrowed(text)));
    }
    if let Some(limit) = event.disk_limit.filter(|n| *n != 0)
        && !has(&pairs, "disk_limit")
    {
        pairs.push((Cow::Borrowed("disk_limit"), Cow::Owned(limit.to_string())));
    }
    if pairs.is_empty() {
        return None;
    }
    // Entries whose names are equal after masking are sorted by value.
    pairs.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()).then_with(|| a.1.cmp(&b.1)));
    let mut json = String::with_capacity(pairs.iter().map(|(name, value)| name.len() + value.len() + 6).sum());
    for (i, (name, value)) in pairs.iter().enumerate() {
        json.push(if i == 0 { '{' } else { ',' });
        quote(name, &mut json);
        json.push(':');
        quote(&mask::credentials(value), &mut json);
    }
    json.push('}');
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair<'a>(name: &'a str, value: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
        (name.into(), value.into())
    }

    #[test]
    fn sorts_keys_and_escapes_only_what_json_needs() {
        let event = TaskEvent {
            details: vec![pair("b", "a<b>\u{1}\"é\\\n"), pair("B", ""), pair("a", "1")],
            ..TaskEvent::default()
        };
        let expected = "{\"B\":\"\",\"a\":\"1\",\"b\":\"a<b>\\u0001\\\"é\\\\\\n\"}";
        assert_eq!(json(&event).as_deref(), Some(expected));
        assert_eq!(json(&TaskEvent::default()), None);
    }

    #[test]
    fn a_name_that_is_a_url_is_masked_too() {
        let details = vec![pair("https://u:q@h", "2"), pair("https://u:p@h", "1"), pair("a", "https://u:p@h")];
        let expected = r#"{"a":"https://***@h","https://***@h":"1","https://***@h":"2"}"#;
        assert_eq!(json(&TaskEvent { details, ..TaskEvent::default() }).as_deref(), Some(expected));
    }

    #[test]
    fn deprecated_fields_are_added_to_details() {
        let event = TaskEvent {
            message: Some("Building Task Directory".into()),
            legacy: vec![("driver_error", "no such image".into())],
            disk_limit: Some(300),
            ..TaskEvent::default()
        };
        let expected = r#"{"disk_limit":"300","driver_error":"no such image","message":"Building Task Directory"}"#;
        assert_eq!(json(&event).as_deref(), Some(expected));
    }

    #[test]
    fn fields_that_are_in_details_are_not_repeated() {
        let event = TaskEvent {
            message: Some("OOM Killed".into()),
            details: vec![pair("exit_message", "OOM Killed"), pair("driver_error", "x")],
            legacy: vec![("driver_error", "x".into())],
            ..TaskEvent::default()
        };
        assert_eq!(json(&event).as_deref(), Some(r#"{"driver_error":"x","exit_message":"OOM Killed"}"#));
    }
}
