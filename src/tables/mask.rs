//! Masks secrets in all stored texts from the cluster, in two stages. Messages contain secrets because they quote
//! URLs and commands.
//!
//! The first stage, [`credentials`], masks credentials in URLs. It never changes, because row identities depend on
//! its output. The second stage, `secrets`, masks more kinds of secrets, and may change in every version. [`text`]
//! and [`details`] apply both stages.
//!
//! URLs in messages are often malformed, because people paste passwords without encoding them. So the text before an
//! `@` is masked if it can only be a password. Such a password may contain any character except white space.

use std::borrow::Cow;
use std::ops::Range;

use super::secrets;
use super::text::replaced;

/// A query parameter is a credential if its name contains one of these texts.
const SECRET_NAMES: [&str; 7] = ["key", "token", "secret", "password", "signature", "sig", "credential"];

/// The longest scheme, including go-getter's prefix as in `git::https`.
const LONGEST_SCHEME: usize = 32;

/// Masks a text for storage, with both stages.
pub fn text(text: &str) -> Cow<'_, str> {
    match credentials(text) {
        Cow::Borrowed(text) => secrets::masked(text),
        Cow::Owned(text) => Cow::Owned(secrets::masked(&text).into_owned()),
    }
}

/// Masks the JSON of an event's details for storage. The first stage has already masked the names and values in it.
pub fn details(json: &str) -> Cow<'_, str> {
    secrets::masked_details(json)
}

/// The first stage: replaces `user:password@` and the values of secret query parameters in URLs by `***`.
pub fn credentials(text: &str) -> Cow<'_, str> {
    let Some(first) = scheme_end(text, 0) else { return Cow::Borrowed(text) };
    let mut secrets: Vec<Range<usize>> = Vec::new();
    let (mut word, mut url) = (Piece::default(), Piece::default());
    let mut is_quoted = false;
    let mut next = Some(first);
    while let Some(scheme) = next {
        let start = scheme + 3;
        if start > word.end {
            word = Piece::new(text, start, word_len(&text[start..]));
        }
        let stands_in_another = start < url.end;
        if !stands_in_another {
            let quote = quote_before(text, scheme);
            url = Piece::new(text, start, url_len(&text[start..word.end], quote));
            is_quoted = quote.is_some() && text.as_bytes().get(url.end).copied() == quote;
        }
        let user = user_end(text, start, &url, word.last_at.filter(|_| !is_quoted));
        secrets.extend(user.map(|at| start..at));
        let rest = user.unwrap_or(start);
        if rest >= url.end {
            url = Piece::new(text, rest, url_len(&text[rest..word.end], None));
            is_quoted = false;
            parameters(text, rest..url.end, &mut secrets);
        } else if !stands_in_another {
            parameters(text, rest..url.end, &mut secrets);
        }
        next = scheme_end(text, rest);
    }
    replaced(text, secrets)
}

/// The end and the last `@` of a word or a URL. They are searched only once per word or URL, because a text may be one
/// long word that contains a thousand URLs.
#[derive(Default)]
struct Piece {
    end: usize,
    last_at: Option<usize>,
}

impl Piece {
    fn new(text: &str, start: usize, len: usize) -> Piece {
        let end = start + len;
        Piece { end, last_at: memchr::memrchr(b'@', &text.as_bytes()[start..end]).map(|n| start + n) }
    }
}

/// The position of the next `://` at or after `from`. This function runs on nearly every text. It searches for the
/// slash, because fewer texts contain a slash than a colon.
fn scheme_end(text: &str, from: usize) -> Option<usize> {
    let bytes = &text.as_bytes()[from..];
    let is_scheme = |slash: &usize| *slash > 0 && bytes[slash - 1..].starts_with(b"://");
    memchr::memchr_iter(b'/', bytes).find(is_scheme).map(|slash| from + slash - 1)
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || c.is_control()).unwrap_or(text.len())
}

/// The byte that closes the quotes around the URL whose scheme ends at `scheme`, if the URL is quoted.
fn quote_before(text: &str, scheme: usize) -> Option<u8> {
    let some = &text.as_bytes()[scheme.saturating_sub(LONGEST_SCHEME)..scheme];
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'+' | b'-' | b'.');
    let opening = some.iter().rposition(|b| !is_scheme(b))?;
    match some[opening] {
        // The quotes are escaped, because the whole text is itself quoted.
        b'"' if some[..opening].ends_with(b"\\") => Some(b'\\'),
        b'<' => Some(b'>'),
        quote @ (b'"' | b'\'' | b'`') => Some(quote),
        _ => None,
    }
}

/// The length of a URL: up to the quote, bracket or backslash that ends it. Exceptions:
/// - None of these characters ends the URL if a letter, a digit or `@` follows, because a password may contain the
///   character.
/// - A `'`, which URLs may contain, ends it only if the URL is in single quotes.
fn url_len(word: &str, quote: Option<u8>) -> usize {
    let bytes = word.as_bytes();
    let ends = |at: &usize| match bytes[*at] {
        b'\'' if quote != Some(b'\'') => false,
        b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' => {
            bytes.get(at + 1).is_none_or(|next| next.is_ascii() && !next.is_ascii_alphanumeric() && *next != b'@')
        }
        _ => false,
    };
    (0..bytes.len()).find(ends).unwrap_or(bytes.len())
}

/// The position of the `@` after the user and password of the URL at `start`. This position may be after the apparent
/// end of the URL, but not after `furthest`.
fn user_end(text: &str, start: usize, url: &Piece, furthest: Option<usize>) -> Option<usize> {
    let bytes = &text.as_bytes()[start..url.end];
    let authority = bytes.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(bytes.len());
    let at = memchr::memrchr(b'@', &bytes[..authority]).map(|n| start + n);
    let behind = || url.last_at.into_iter().chain(furthest).find(|at| *at >= start);
    at.or_else(|| if has_password(&text[start..start + authority]) { behind() } else { None })
}

/// Returns true if the apparent host and port are invalid. They must then be a user and the beginning of a password.
fn has_password(authority: &str) -> bool {
    let port = if authority.starts_with('[') { None } else { authority.split_once(':').map(|(_, port)| port) };
    port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()))
}

/// Finds the values of secret parameters in the query of a URL, and in URLs nested in its values.
fn parameters(text: &str, url: Range<usize>, secrets: &mut Vec<Range<usize>>) {
    let Some(query) = text[url.clone()].find('?') else { return };
    let mut from = url.start + query + 1;
    while from < url.end {
        let end = text[from..url.end].find(['&', ';', '#']).map_or(url.end, |n| from + n);
        let mut start = from;
        for piece in text[from..end].split('?') {
            if let Some(equals) = piece.find('=') {
                let name = piece[..equals].to_ascii_lowercase();
                let value = start + equals + 1;
                if value < end && SECRET_NAMES.iter().any(|secret| name.contains(secret)) {
                    secrets.push(value..end);
                    break;
                }
            }
            start += piece.len() + 1;
        }
        from = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_credentials_and_nothing_else() {
        for (text, expected) in [
            ("no url: user:pw@host?key=1", "no url: user:pw@host?key=1"),
            ("GET https://u:p@h/x failed", "GET https://***@h/x failed"),
            ("git::https://token@h/x?ref=1", "git::https://***@h/x?ref=1"),
            ("http://h/a?X-Amz-Signature=abc&b=1&api_key=2#f", "http://h/a?X-Amz-Signature=***&b=1&api_key=***#f"),
            ("http://h/a?b=1", "http://h/a?b=1"),
            ("http://a:b@c and \"s3://d:e@f?AccessKeyId=g\"", "http://***@c and \"s3://***@f?AccessKeyId=***\""),
            ("http://h/mail@example.com", "http://h/mail@example.com"),
            ("http://h/?token=", "http://h/?token="),
            ("://", "://"),
            ("http://é:ü@ö?sig=ß", "http://***@ö?sig=***"),
            ("http://u:p@ss@h/", "http://***@h/"),
            ("http://h:80/a@b and [::1]: http://[::1]:80/a@b", "http://h:80/a@b and [::1]: http://[::1]:80/a@b"),
            ("see http://host/path then mail a@b", "see http://host/path then mail a@b"),
            (r#"{"a":"docker://image:latest","mail":"a@b"}"#, r#"{"a":"docker://image:latest","mail":"a@b"}"#),
            (r#"{\"a\":\"docker://image:1.2\",\"b\":\"a@b\"}"#, r#"{\"a\":\"docker://image:1.2\",\"b\":\"a@b\"}"#),
            ("<http://host>,<mailto:a@b> 'http://host',a@b", "<http://host>,<mailto:a@b> 'http://host',a@b"),
        ] {
            assert_eq!(credentials(text), expected);
        }
    }

    #[test]
    fn a_password_may_contain_characters_that_are_invalid_in_urls() {
        for password in [
            "pa'ss", "pa\"ss", "pa`ss", "pa\\ss", "pa<ss", "pa>ss", "pa/ss", "pa?ss", "pa#ss", "'", "/x", "\\\"", "a@b",
        ] {
            for (before, behind) in [("", ""), ("GET ", " failed"), ("\"", "\": x@y"), ("('", "')"), ("<", ">")] {
                let text = format!("{before}https://user:{password}@host/x?b=1{behind}");
                assert_eq!(credentials(&text), format!("{before}https://***@host/x?b=1{behind}"));
            }
        }
        assert_eq!(credentials("https://user:pa\",ss@host/x?token=a"), "https://***@host/x?token=***");
        assert_eq!(credentials("https://to'ken@host"), "https://***@host");
    }

    #[test]
    fn a_secret_parameter_continues_after_a_quote() {
        for (text, expected) in [
            ("http://h?token=abc'def", "http://h?token=***"),
            ("http://h?token=abc\\def&x=1", "http://h?token=***&x=1"),
            ("\"http://h?token=abc\"def\", \"x\"", "\"http://h?token=***\", \"x\""),
            ("'http://h?token=abc', 'x'", "'http://h?token=***', 'x'"),
            ("http://h?token=a?b&u=http://c:d@e?key=f?g", "http://h?token=***&u=http://***@e?key=***"),
            ("http://h?token=http://c:d@e&x=1", "http://h?token=***&x=1"),
        ] {
            assert_eq!(credentials(text), expected);
        }
    }

    #[test]
    fn a_long_word_of_urls_is_masked_quickly() {
        for url in ["://", "a://u:p/", "a://b?c=", "\"a://b\",", "a://b:c\",", "a://b:c@\","] {
            let word = url.repeat(300_000);
            let begun = std::time::Instant::now();
            for text in [&word, &format!("\"{word}@"), &format!("{word}\",@")] {
                assert!(!credentials(text).is_empty());
            }
            assert!(begun.elapsed().as_secs() < 20, "{url}");
        }
    }
}
