//! Credentials in URLs are masked wherever an event's text is kept: artifact and image errors quote their sources.

use std::borrow::Cow;

/// Names of query parameters whose values are credentials, when the name contains one of these.
const SECRET_NAMES: [&str; 7] = ["key", "token", "secret", "password", "signature", "sig", "credential"];

/// `text` with `user:password@` and the values of secret query parameters in URLs replaced by `***`.
pub fn credentials(text: &str) -> Cow<'_, str> {
    let Some(first) = scheme_end(text, 0) else { return Cow::Borrowed(text) };
    let mut masked = String::new();
    let mut kept = 0;
    let mut next = Some(first);
    while let Some(scheme) = next {
        let start = scheme + 3;
        let is_end = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '\\');
        let url = &text[start..text[start..].find(is_end).map_or(text.len(), |n| start + n)];
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        if let Some(at) = url[..authority].rfind('@') {
            masked.push_str(&text[kept..start]);
            masked.push_str("***");
            kept = start + at;
        }
        let mut from = url.find('?').map_or(url.len(), |n| n + 1);
        while from < url.len() {
            let end = url[from..].find(['&', ';', '#']).map_or(url.len(), |n| from + n);
            if let Some(equals) = url[from..end].find('=') {
                let name = url[from..from + equals].to_ascii_lowercase();
                if SECRET_NAMES.iter().any(|secret| name.contains(secret)) && from + equals + 1 < end {
                    masked.push_str(&text[kept..start + from + equals + 1]);
                    masked.push_str("***");
                    kept = start + end;
                }
            }
            from = end + 1;
        }
        // What was masked is not looked into again.
        let from = start.max(kept);
        next = scheme_end(text, from);
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[kept..]);
    Cow::Owned(masked)
}

/// Where the next `://` at or after `from` stands. Nearly every text of an event is looked through, and few hold a colon.
fn scheme_end(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', &bytes[from..]).map(|n| from + n).find(|colon| bytes[*colon..].starts_with(b"://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_opens_doors_and_nothing_else() {
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
        ] {
            assert_eq!(credentials(text), expected);
        }
    }
}
