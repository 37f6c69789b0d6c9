//! The second stage of masking: secrets outside URLs, and secrets in URLs that are written in an unusual way.
//!
//! This stage reads the output of the first stage ([`super::mask::credentials`]). It may change in every version,
//! because no row identity depends on it. docs/semantics.md lists the secrets that this stage recognises. Ambiguous
//! texts stay unchanged. A regular expression finds the start of a secret; the same expression or a scan finds its end.
//! So the time is linear in the length of the text.

mod filter;
mod patterns;

use std::borrow::Cow;
use std::ops::Range;

use super::text::{quote, replaced};
use crate::members::Members;
use filter::may_hold_secret;
use patterns::{AUTHORIZATION, CURL_USER, FLAG, NAMED, PARAMETER, PRIVATE_KEY, SCHEME, SLASHES, TOKENS, TRIGGER, WORD};

/// An unquoted value of this length or more is a secret even in places where prose may follow.
const LONG_VALUE: usize = 20;
/// A word longer than this is not prose, whatever characters it has.
const LONGEST_WORD: usize = 256;
/// A word of 40 base64 characters counts as an AWS secret if it changes this often between upper case, lower case and
/// digits. A random word has 24 changes, AWS's own example has 13, and paths and camel-case names have fewer than 10.
const RANDOM_CHANGES: usize = 12;
/// Length of an AWS secret key.
const AWS_SECRET: usize = 40;

/// Maximum number of searches of a text. Some words are kept because of the word before them (`unexpected token: "}"`).
/// If the word before is masked, the other word has no reason to stay. So a text in which a secret was found is
/// searched again. The limit keeps the time linear.
const PASSES: usize = 8;

/// Masks the secrets in `text`, which is the output of the first stage. Masking the result again changes nothing.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut masked = masked_once(text);
    for _ in 1..PASSES {
        let Cow::Owned(again) = masked_once(&masked) else { break };
        if again == *masked {
            break;
        }
        masked = Cow::Owned(again);
    }
    masked
}

fn masked_once(text: &str) -> Cow<'_, str> {
    if !may_hold_secret(text) || !TRIGGER.is_match(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut secrets = Vec::new();
    tokens(text, &mut secrets);
    named(text, &mut secrets);
    flags(text, &mut secrets);
    headers(text, &mut secrets);
    urls(text, &mut secrets);
    secrets.retain(|secret| !secret.is_empty());
    replaced(text, secrets)
}

/// Masks the secrets in the names and values of an event's `details`, a JSON object of texts.
pub fn masked_details(json: &str) -> Cow<'_, str> {
    if !may_hold_secret(json) || !TRIGGER.is_match(json.as_bytes()) {
        return Cow::Borrowed(json);
    }
    let Ok(Members::<String, String>(pairs)) = serde_json::from_str(json) else { return masked(json) };
    let mut text = String::with_capacity(json.len());
    for (i, (name, value)) in pairs.iter().enumerate() {
        text.push(if i == 0 { '{' } else { ',' });
        quote(&masked(name), &mut text);
        text.push(':');
        let is_secret = names_secret(name) && !is_harmless(value);
        if is_secret { quote("***", &mut text) } else { quote(&masked(value), &mut text) }
    }
    text.push_str(if pairs.is_empty() { "{}" } else { "}" });
    if text == json { Cow::Borrowed(json) } else { Cow::Owned(text) }
}

/// Returns true if a name marks its value as a secret.
fn names_secret(name: &str) -> bool {
    let whole = format!("{name}=");
    NAMED
        .find_iter(whole.as_bytes())
        .last()
        .is_some_and(|found| found.end() == whole.len() && !is_directory(&whole, &found.range()))
}

/// Finds secrets that have a recognisable form.
fn tokens(text: &str, secrets: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    for found in TOKENS.iter().flat_map(|token| token.captures_iter(bytes)) {
        let secret = found.get(found.len() - 1);
        secrets.extend(secret.map(|secret| secret.range()));
    }
    let mut from = 0;
    while let Some(begin) = PRIVATE_KEY.find_at(bytes, from) {
        let end = memchr::memmem::find(&bytes[begin.end()..], b"-----END").map_or(bytes.len(), |n| begin.end() + n);
        secrets.push(begin.end()..end);
        from = end;
    }
    for word in WORD.find_iter(bytes).filter(|word| word.len() == AWS_SECRET) {
        let next = bytes.get(word.end()).copied().unwrap_or(b' ');
        let before = word.start().checked_sub(1).map_or(b' ', |at| bytes[at]);
        let stands_alone = |byte: u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b'.');
        if stands_alone(before) && stands_alone(next) && next != b'=' && is_random(word.as_bytes()) {
            secrets.push(word.range());
        }
    }
}

/// Returns true if a word changes between upper case, lower case and digits as often as a random word does.
fn is_random(word: &[u8]) -> bool {
    let kinds = word.iter().filter_map(|byte| match byte {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    });
    let kinds: Vec<u8> = kinds.collect();
    let has = |kind| kinds.contains(&kind);
    has(0) && has(1) && has(2) && kinds.windows(2).filter(|pair| pair[0] != pair[1]).count() >= RANDOM_CHANGES
}

/// Finds values after a name: `password=x`, `"token": "x"`, `X-Vault-Token: x`.
fn named(text: &str, secrets: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = NAMED.captures_at(bytes, from) {
        let (Some(all), Some(name)) = (found.get(0), found.get(1)) else { return };
        from = all.end();
        // Check the name before the value, which may be long. After a name that does not mark a secret, the search for
        // names continues within the value. If the value were parsed first, a long value would be parsed once for each
        // name in it.
        let is_part = name.as_bytes().eq_ignore_ascii_case(b"sig") && is_within_word(bytes, name.start());
        if is_part || is_directory(text, &all.range()) || is_masked(&text[all.end()..]) {
            continue;
        }
        let sign = found.get(3).map_or(&b""[..], |sign| sign.as_bytes());
        let value = value(text, all.end(), sign.starts_with(b"%"));
        let is_colon = matches!(sign, b":" | b"%3a" | b"%3A");
        if !is_harmless(&text[value.range.clone()])
            && (!is_colon || found.get(2).is_some() || is_told(text, name.start(), all.range(), &value))
        {
            from = value.range.end.max(from);
            secrets.push(value.range);
        }
    }
}

/// Returns true if the text after an unquoted name and a colon is a secret value. In the error message `failed to
/// derive token: permission denied` it is prose, and in the image `registry/auth-token:v1.2` it is a version.
fn is_told(text: &str, name: usize, all: Range<usize>, value: &FoundValue) -> bool {
    const COMPLAINTS: [&str; 8] =
        ["unexpected", "invalid", "illegal", "unknown", "expected", "missing", "bad", "unrecognized"];
    let before = text[..name].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let value_text = &text[value.range.clone()];
    if value_text.len() > LONGEST_WORD {
        return true;
    }
    if value.is_quoted {
        let word = before.trim_end().rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        return !COMPLAINTS.iter().any(|complaint| word.eq_ignore_ascii_case(complaint));
    }
    let is_close = text.as_bytes()[all.end - 1] == b':';
    let is_version = || {
        let digits = value_text.strip_prefix('v').unwrap_or(value_text);
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.')
    };
    if is_close && (before.ends_with('/') || is_version()) {
        return false;
    }
    let has = |is: fn(&char) -> bool| value_text.chars().any(|c| is(&c));
    let is_path = value_text.contains('/') && !is_random(value_text.as_bytes());
    !is_path && (value_text.len() >= LONG_VALUE || (has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)))
}

/// Returns true for `PWD`, the working directory.
fn is_directory(text: &str, found: &Range<usize>) -> bool {
    let before = &text[..found.start];
    let is_variable = text[found.clone()].starts_with("PWD")
        && (before.ends_with("OLD") || !is_within_word(text.as_bytes(), found.start));
    let is_path =
        text[found.clone()].to_ascii_lowercase().starts_with("pwd") && text[found.end..].starts_with(['/', '.']);
    is_variable || is_path
}

fn is_within_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at - 1].is_ascii_alphanumeric()
}

/// Finds values after a flag: `--password x`.
fn flags(text: &str, secrets: &mut Vec<Range<usize>>) {
    const PROSE: [&str; 40] = [
        "is",
        "are",
        "was",
        "were",
        "be",
        "must",
        "or",
        "and",
        "not",
        "flag",
        "option",
        "argument",
        "can",
        "cannot",
        "has",
        "have",
        "to",
        "with",
        "for",
        "require",
        "requires",
        "required",
        "needs",
        "need",
        "in",
        "on",
        "if",
        "when",
        "isn",
        "given",
        "specified",
        "set",
        "missing",
        "invalid",
        "provided",
        "may",
        "should",
        "will",
        "value",
        "empty",
    ];
    let mut from = 0;
    while let Some(found) = FLAG.find_at(text.as_bytes(), from) {
        let value = value(text, found.end(), false);
        let value_text = &text[value.range.clone()];
        let is_prose = !value.is_quoted && PROSE.iter().any(|word| value_text.eq_ignore_ascii_case(word));
        let is_secret = !is_prose && !value_text.starts_with("--") && !is_harmless(value_text);
        // The next flag may begin at the space that ends this one.
        let space = text[..found.end()].chars().next_back().map_or(1, char::len_utf8);
        from = if is_secret { value.range.end.max(found.end()) } else { found.end() - space }.max(from + 1);
        if is_secret {
            secrets.push(value.range);
        }
    }
    let mut from = 0;
    while let Some(found) = CURL_USER.find_at(text.as_bytes(), from) {
        let value = value(text, found.end(), false);
        from = value.range.end.max(found.end());
        if !is_harmless(&text[value.range.clone()]) {
            secrets.push(value.range);
        }
    }
}

/// Finds HTTP credentials: `Authorization: Basic x`, `Bearer x`.
fn headers(text: &str, secrets: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = AUTHORIZATION.captures_at(bytes, from) {
        let Some(all) = found.get(0) else { return };
        let scheme = found.get(2).map(|scheme| scheme.as_bytes().to_ascii_lowercase());
        let quote = found.get(1).map(|quote| quote.as_bytes()[0]);
        let rest = &bytes[all.end()..];
        let has_parts = matches!(scheme.as_deref(), Some(b"digest" | b"aws4-hmac-sha256"));
        let ends = |byte: &u8| match quote {
            Some(quote) => *byte == quote,
            None if has_parts => matches!(byte, b'\n' | b'"' | b'\''),
            None => byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b']'),
        };
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        let value = trimmed(text, all.end()..all.end() + len);
        from = value.end.max(all.end());
        let value_text = &text[value.clone()];
        if !is_harmless(value_text) && (scheme.is_some() || is_credential(value_text)) {
            secrets.push(value);
        }
    }
    for found in SCHEME.captures_iter(bytes).filter_map(|found| found.get(1)) {
        let value_text = &text[found.range()];
        if is_credential(value_text) {
            secrets.push(found.range());
        }
    }
}

/// Returns true if a word is not natural language: it is long, or it has a digit, an upper-case letter, `=`, `+` or `~`
/// after its first character.
fn is_credential(word: &str) -> bool {
    let is_odd = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || matches!(c, '=' | '+' | '~');
    word.len() >= 24 || word.chars().skip(1).any(is_odd)
}

/// Finds users, passwords and parameters of URLs that the first stage does not find: URLs that write `\/` for a slash
/// or `%40` for `@`, URLs in a parameter of another URL, and parameters without a `?`.
fn urls(text: &str, secrets: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut word_end = 0;
    let mut last_at = None;
    for found in SLASHES.find_iter(bytes) {
        let start = found.end();
        if start >= word_end {
            let is_end = |byte: &u8| {
                byte.is_ascii_whitespace() || byte.is_ascii_control() || matches!(byte, b'"' | b'\'' | b'`')
            };
            word_end = bytes[start..].iter().position(is_end).map_or(bytes.len(), |n| start + n);
            last_at = find_last_at(&bytes[start..word_end]).map(|at| start + at);
            parameters(text, start..word_end, secrets);
        }
        let is_plain = found.as_bytes() == b"://";
        let word = &bytes[start..word_end];
        let authority = authority_len(word, is_plain);
        let in_authority = find_last_at(&word[..authority]);
        if is_plain && memchr::memchr(b'@', &word[..authority]).is_some() {
            continue; // masked by the first stage
        }
        let at = in_authority.map(|at| start + at).or_else(|| {
            let is_split = !is_plain && has_password(&text[start..start + authority]);
            last_at.filter(|at| is_split && *at >= start)
        });
        if let Some(at) = at.filter(|at| &text[start..*at] != "***") {
            secrets.push(start..at);
        }
    }
}

/// The length of a URL's authority (user, password, host and port).
fn authority_len(word: &[u8], is_plain: bool) -> usize {
    let is_coded_end = |at: usize| {
        let code = word[at + 1..].strip_prefix(b"25").unwrap_or(&word[at + 1..]);
        matches!(code, [b'2', b'f' | b'F' | b'3', ..] | [b'3', b'f' | b'F', ..])
    };
    let ends = |at: usize| match word[at] {
        b'/' | b'?' | b'#' => true,
        b'\\' => !is_plain,
        b'%' => !is_plain && is_coded_end(at),
        _ => false,
    };
    (0..word.len()).find(|at| ends(*at)).unwrap_or(word.len())
}

/// The position of the last `@`, plain or percent-encoded once or twice.
fn find_last_at(bytes: &[u8]) -> Option<usize> {
    let coded = |code: &[u8]| memchr::memmem::rfind(bytes, code);
    memchr::memrchr(b'@', bytes).max(coded(b"%40")).max(coded(b"%2540"))
}

/// Returns true if the apparent host and port contain a password instead of a port.
fn has_password(authority: &str) -> bool {
    let colons = [":", "%3A", "%3a", "%253A", "%253a"];
    let port = colons.iter().find_map(|colon| authority.split_once(colon));
    port.is_some_and(|(host, port)| !host.starts_with('[') && !port.bytes().all(|b| b.is_ascii_digit()))
}

fn parameters(text: &str, word: Range<usize>, secrets: &mut Vec<Range<usize>>) {
    let bytes = &text.as_bytes()[..word.end];
    let mut from = word.start;
    while let Some(found) = PARAMETER.find_at(bytes, from) {
        let is_coded = found.as_bytes().last() != Some(&b'=');
        let value = value(&text[..word.end], found.end(), is_coded).range;
        let end = text[value.clone()].find('#').map_or(value.end, |n| value.start + n);
        from = end.max(found.end());
        if !is_harmless(&text[value.start..end]) {
            secrets.push(value.start..end);
        }
    }
}

/// The value after a name.
struct FoundValue {
    range: Range<usize>,
    is_quoted: bool,
}

/// Parses the value at a position: a quoted text, or a word. If the whole text is itself quoted, backslashes escape
/// the quotes in it. `is_coded` means that `&` is written as `%26`.
fn value(text: &str, at: usize, is_coded: bool) -> FoundValue {
    let bytes = text.as_bytes();
    let slashes = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
    if let Some(quote @ (b'"' | b'\'' | b'`')) = bytes.get(at + slashes).copied() {
        let start = at + slashes + 1;
        let end = memchr::memchr_iter(quote, &bytes[start..]).map(|n| start + n).find_map(|end| {
            let before = bytes[start..end].iter().rev().take(slashes + 2).take_while(|byte| **byte == b'\\').count();
            match slashes {
                0 if before % 2 == 1 => None,
                0 => Some(end),
                _ if before > slashes => None,
                _ => Some(end - before),
            }
        });
        return FoundValue { range: start..end.unwrap_or(bytes.len()), is_quoted: true };
    }
    let ends = |n: usize| match bytes[n] {
        b'&' | b'"' | b'\'' | b'`' | b';' => true,
        b',' => bytes.get(n + 1).is_none_or(|next| next.is_ascii_whitespace()),
        b'%' => is_coded && matches!(bytes.get(n + 1..n + 3), Some(b"26" | b"22" | b"20")),
        byte => byte.is_ascii_whitespace() || byte.is_ascii_control(),
    };
    let end = (at..bytes.len()).find(|n| ends(*n)).unwrap_or(bytes.len());
    FoundValue { range: trimmed(text, at..end), is_quoted: false }
}

/// Removes the trailing punctuation of a sentence or a list from a range.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let len = text[range.clone()].trim_end_matches(['\\', ')', ']', '}', ',', '.']).len();
    range.start..range.start + len
}

/// Returns true for a value that is not a secret: an empty text, a masked text, a word for yes, no or nothing, or the
/// name of a variable.
fn is_harmless(value: &str) -> bool {
    const WORDS: [&str; 14] = [
        "",
        "true",
        "false",
        "null",
        "nil",
        "<nil>",
        "none",
        "undefined",
        "yes",
        "no",
        "-",
        "=",
        "<redacted>",
        "[redacted",
    ];
    let value = value.trim();
    let is_variable = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'}'));
    is_masked(value)
        || WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
        || value.strip_prefix("${").is_some_and(is_variable)
}

/// Returns true if a text is masked. A secret that merely begins with `***` is not masked.
fn is_masked(text: &str) -> bool {
    let rest = text.strip_prefix("***").map(|rest| rest.trim_start_matches('*'));
    rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}
