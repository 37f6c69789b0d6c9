//! Lines of a log as hclog writes them as text.
//!
//! hclog quotes a value that contains a rune outside `-` to `~`. In quotes it escapes `"` and unprintable runes, but
//! not a backslash. It writes a value with a newline over several lines (go-hclog, `intlogger.go`).

use std::borrow::Cow;

use super::{Following, Form, LOGGER, LineKind, LogLine, TORN, is_prefix, time};

/// The prefix of each line of a value that has several lines.
pub(super) const BAR: &str = "  | ";

/// Reads a line whose message begins at `at`. The line ends at `end` of the input; the other lines of a multi-line
/// message come from `following`. Returns the end of the last line read.
pub(super) fn line<'a>(line: &'a str, at: usize, end: usize, following: &mut Following<'a>) -> (LineKind<'a>, usize) {
    let (head, words) = line.split_at(at);
    let Some(fields) = words.strip_prefix("Task event: alloc_id=") else {
        // The head belongs to a task event, and the line ends within the words or directly after them.
        let is_torn = "Task event: alloc_id=".starts_with(words) && read_head(head).is_some();
        return (if is_torn { LineKind::Torn(TORN) } else { LineKind::Other }, end);
    };
    let Some(head) = read_head(head) else { return (LineKind::Other, end) };
    let Head::Read { prefix, logged_at, precision, form } = head else { return (LineKind::Torn(TORN), end) };
    let mut read = || -> Option<(LogLine<'a>, usize)> {
        let (alloc_id, rest) = value(fields)?;
        let (task, rest) = value(rest.strip_prefix(" task=")?)?;
        let (event_type, rest) = value(rest.strip_prefix(" type=")?)?;
        let (message, failed, end) = match rest.strip_prefix(" msg=") {
            Some(rest) => {
                // Nomad has already escaped the unprintable runes of the exit message (Go's %q).
                let (message, failed) = message(rest, event_type == "Terminated")?;
                (message, failed, end)
            }
            None if rest.is_empty() => lines(prefix, following)?,
            None => return None,
        };
        let fails_task = match word(failed) {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        if alloc_id.is_empty() {
            return None;
        }
        Some((LogLine { alloc_id, task, event_type, message, fails_task, logged_at, precision, form }, end))
    };
    match read() {
        Some((line, end)) => (LineKind::Event(line), end),
        None => (LineKind::Torn(TORN), end),
    }
}

/// The text in front of a line's message.
enum Head<'a> {
    Read { prefix: &'a str, logged_at: i64, precision: i64, form: Form },
    Torn,
}

/// Reads the head of a line; `None` if it is not the head of a task event's line.
fn read_head(head: &str) -> Option<Head<'_>> {
    let head = head.strip_suffix(": ")?.strip_suffix(LOGGER)?;
    let (before, location) = match head.strip_suffix(" [INFO]  ") {
        Some(before) => (before, ""),
        None => {
            let level = memchr::memrchr(b'[', head.as_bytes())?;
            let location = head[level..].strip_prefix("[INFO] ")?;
            (head[..level].strip_suffix(' ')?, location.trim_start_matches(' '))
        }
    };
    let form = match location {
        "" => Form::Text,
        _ if location.ends_with(": ") && location.contains(".go:") && !location.trim_end().contains(' ') => {
            Form::TextWithLocation
        }
        _ => return None,
    };
    let at = memchr::memrchr(b' ', before.as_bytes()).map_or(0, |n| n + 1);
    let (prefix, stamp) = before.split_at(at);
    if !is_prefix(prefix) {
        return None;
    }
    Some(match time(stamp) {
        Some((logged_at, precision)) => Head::Read { prefix, logged_at, precision, form },
        None => Head::Torn,
    })
}

/// The text before the first space.
fn word(text: &str) -> &str {
    &text[..memchr::memchr(b' ', text.as_bytes()).unwrap_or(text.len())]
}

/// A value as it is written.
enum WrittenValue<'a> {
    Plain(&'a str),
    /// Without its quotes.
    Quoted(&'a str),
}

/// Returns a value as it is written, and the text after it.
fn raw_value(text: &str) -> Option<(WrittenValue<'_>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let plain = word(text);
        return Some((WrittenValue::Plain(plain), &text[plain.len()..]));
    };
    let bytes = quoted.as_bytes();
    let end = memchr::memchr_iter(b'"', bytes).find(|at| *at == 0 || bytes[at - 1] != b'\\')?;
    Some((WrittenValue::Quoted(&quoted[..end]), &quoted[end + 1..]))
}

/// Returns a value and the text after it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    raw_value(text).map(|(raw, rest)| (plain(raw, false), rest))
}

/// The text of a value. `is_printable` means that the value has only printable runes, so hclog escaped only its quotes.
fn plain(raw: WrittenValue<'_>, is_printable: bool) -> Cow<'_, str> {
    match raw {
        WrittenValue::Plain(text) => Cow::Borrowed(text),
        WrittenValue::Quoted(text) if is_printable && backslash(text).is_some() => {
            Cow::Owned(text.replace("\\\"", "\""))
        }
        WrittenValue::Quoted(text) if is_printable => Cow::Borrowed(text),
        WrittenValue::Quoted(text) => unescaped(text),
    }
}

/// Returns the message in a line, and the text of `failed`. hclog does not escape a backslash, so a message that ends
/// with one hides its closing quote. In that case ` failed=` is searched from the end of the line.
fn message(text: &str, is_printable: bool) -> Option<(Cow<'_, str>, &str)> {
    if let Some((raw, rest)) = raw_value(text)
        && let Some(failed) = rest.strip_prefix(" failed=")
    {
        return Some((plain(raw, is_printable), failed));
    }
    let (raw, failed) = text.rsplit_once("\" failed=")?;
    Some((plain(WrittenValue::Quoted(raw.strip_prefix('"')?), is_printable), failed))
}

/// Returns the message in the lines after the first, the text of `failed`, and the end of the last line.
fn lines<'a>(prefix: &str, following: &mut Following<'a>) -> Option<(Cow<'a, str>, &'a str, usize)> {
    if !content(following.next()?, prefix, "  msg=")?.is_empty() {
        return None;
    }
    let mut message = String::new();
    let mut is_first = true;
    loop {
        let line = following.next()?;
        if let Some(text) = content(line, prefix, BAR) {
            if !is_first {
                message.push('\n');
            }
            is_first = false;
            message.push_str(&unescaped(text));
        } else {
            let failed = content(line, prefix, "   failed=")?;
            return (!is_first).then_some((Cow::Owned(message), failed, following.at));
        }
    }
}

/// Returns the text after `begin` in a line. journald and similar tools put a prefix in front of every line, a
/// terminal only in front of the first.
fn content<'a>(line: &'a str, prefix: &str, begin: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix(begin) {
        return Some(rest);
    }
    if prefix.trim().is_empty() {
        return None;
    }
    // The prefix contains a time, which may be some digits longer or shorter than in the first line.
    let nearest = prefix.len().saturating_sub(8);
    let at = line.get(nearest..)?.find(begin)? + nearest;
    (at <= prefix.len() + 8).then(|| &line[at + begin.len()..])
}

fn backslash(text: &str) -> Option<usize> {
    memchr::memchr(b'\\', text.as_bytes())
}

/// Undoes hclog's escapes. A newline is never escaped, so `\n` is two characters.
fn unescaped(text: &str) -> Cow<'_, str> {
    let Some(first) = backslash(text) else { return Cow::Borrowed(text) };
    let mut plain = String::with_capacity(text.len());
    plain.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(n) = backslash(rest) {
        plain.push_str(&rest[..n]);
        rest = &rest[n + 1..];
        let (c, len) = escape(rest).unwrap_or(('\\', 0));
        plain.push(c);
        rest = &rest[len..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Returns the character of an escape without its backslash, and the length of the escape; `None` if hclog does not
/// write this escape.
fn escape(text: &str) -> Option<(char, usize)> {
    let hex = |len: usize| {
        let digits = text.get(1..=len).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, len + 1))
    };
    match text.as_bytes().first()? {
        b'"' => Some(('"', 1)),
        b'a' => Some(('\u{7}', 1)),
        b'b' => Some(('\u{8}', 1)),
        b'f' => Some(('\u{c}', 1)),
        b'r' => Some(('\r', 1)),
        b't' => Some(('\t', 1)),
        b'v' => Some(('\u{b}', 1)),
        b'x' => hex(2).filter(|(c, _)| *c < ' '),
        // Letters and digits are printable, hence never escaped.
        b'u' => hex(4).filter(|(c, _)| !c.is_alphanumeric()),
        b'U' => hex(8).filter(|(c, _)| !c.is_alphanumeric()),
        _ => None,
    }
}
