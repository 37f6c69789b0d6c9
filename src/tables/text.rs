//! Functions on texts, for masking: replace ranges, and quote for JSON.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

/// Replaces these ranges of `text` by `***`.
pub(super) fn replaced(text: &str, mut secrets: Vec<Range<usize>>) -> Cow<'_, str> {
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_by_key(|secret| secret.start);
    let mut masked = String::with_capacity(text.len());
    let mut kept = 0;
    for secret in secrets {
        // A URL in the parameter of another URL may be masked already.
        if secret.start >= kept {
            masked.push_str(&text[kept..secret.start]);
            masked.push_str("***");
        }
        kept = kept.max(secret.end);
    }
    masked.push_str(&text[kept..]);
    Cow::Owned(masked)
}

/// Appends a JSON string that escapes only `"`, `\` and control characters.
pub fn quote(text: &str, json: &mut String) {
    json.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        json.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            // Writing to a String cannot fail.
            control => drop(write!(json, "\\u{control:04x}")),
        }
    }
    json.push_str(&text[plain..]);
    json.push('"');
}
