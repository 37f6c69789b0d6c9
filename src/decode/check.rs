//! Validates an ignored value: grammar, escapes, numbers and UTF-8, in one pass.
//!
//! Optimised for speed. [`super::grammar`], which is slower, finds the position of an error.

use super::grammar::NO_NUMBERS;
use super::number;
use super::skip::{after_space, plain_end};

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Valid; it ends at this offset.
    Whole(usize),
    /// The bytes end within the value, or an error is at the very end of the bytes.
    End,
    /// Not JSON, or not UTF-8.
    Broken,
}

/// Checks the value at `at`. Accepts the invalid numbers that old Nomad versions write in `Metrics`.
#[inline]
pub fn check(bytes: &[u8], at: usize) -> Checked {
    let end = match bytes.get(at) {
        Some(b'"') => text_end(bytes, at + 1),
        Some(b'{' | b'[') => nested_end(bytes, at),
        Some(_) => scalar_end(bytes, at),
        None => return Checked::End,
    };
    match end {
        Checked::Whole(end) if std::str::from_utf8(&bytes[at..end]).is_err() => Checked::Broken,
        end => end,
    }
}

/// The end of the object or array at `at`.
fn nested_end(bytes: &[u8], mut at: usize) -> Checked {
    // One bit for each enclosing array or object: 1 for an object. The first 64 levels need no allocation.
    let (mut around, mut depth, mut outer) = (0u64, 0usize, Vec::<u64>::new());
    loop {
        // A value.
        at = after_space(bytes, at);
        let Some(byte) = bytes.get(at).copied() else { return Checked::End };
        let end = match byte {
            b'{' | b'[' => {
                if depth > 0 && depth % 64 == 0 {
                    outer.push(around);
                }
                depth += 1;
                around = around << 1 | u64::from(byte == b'{');
                at = after_space(bytes, at + 1);
                // The code of a closing bracket is the code of its opening bracket plus 2.
                match bytes.get(at) {
                    None => return Checked::End,
                    Some(next) if *next == byte + 2 => Checked::Whole(at),
                    Some(_) if byte == b'[' => continue,
                    Some(_) => match key_end(bytes, at) {
                        Checked::Whole(end) => {
                            at = end;
                            continue;
                        }
                        other => return other,
                    },
                }
            }
            b'"' => text_end(bytes, at + 1),
            _ => scalar_end(bytes, at),
        };
        let Checked::Whole(end) = end else { return end };
        at = end;
        // After the value.
        loop {
            at = after_space(bytes, at);
            let is_object = around & 1 == 1;
            match bytes.get(at) {
                None => return Checked::End,
                Some(b',') if is_object => match key_end(bytes, after_space(bytes, at + 1)) {
                    Checked::Whole(end) => {
                        at = end;
                        break;
                    }
                    other => return other,
                },
                Some(b',') => {
                    at += 1;
                    break;
                }
                Some(b) if *b == if is_object { b'}' } else { b']' } => {
                    at += 1;
                    depth -= 1;
                    if depth == 0 {
                        return Checked::Whole(at);
                    }
                    around = if depth % 64 == 0 { outer.pop().unwrap_or_default() } else { around >> 1 };
                }
                Some(_) => return Checked::Broken,
            }
        }
    }
}

/// The end of the key at `at` and its colon.
#[inline]
fn key_end(bytes: &[u8], at: usize) -> Checked {
    match bytes.get(at) {
        None => return Checked::End,
        Some(b'"') => {}
        Some(_) => return Checked::Broken,
    }
    let end = match text_end(bytes, at + 1) {
        Checked::Whole(end) => end,
        other => return other,
    };
    let colon = after_space(bytes, end);
    match bytes.get(colon) {
        None => Checked::End,
        Some(b':') => Checked::Whole(colon + 1),
        Some(_) => Checked::Broken,
    }
}

/// The end of the text whose opening quote is directly before `at`.
#[inline]
fn text_end(bytes: &[u8], mut at: usize) -> Checked {
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            None => return Checked::End,
            Some(b'"') => return Checked::Whole(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                None => return Checked::End,
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => {
                    let hex = bytes.get(at + 2..at + 6).unwrap_or(&bytes[at + 2..]);
                    match (hex.iter().all(u8::is_ascii_hexdigit), hex.len()) {
                        (false, _) => return Checked::Broken,
                        (true, 4) => at += 6,
                        (true, _) => return Checked::End,
                    }
                }
                Some(_) => return Checked::Broken,
            },
            Some(_) => return Checked::Broken,
        }
    }
}

/// The end of the number or word at `at`.
#[inline]
fn scalar_end(bytes: &[u8], at: usize) -> Checked {
    let rest = &bytes[at..];
    let is_end = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':' | b'"' | b'{' | b'[');
    let Some(len) = rest.iter().position(is_end) else { return Checked::End };
    if is_scalar(&rest[..len]) { Checked::Whole(at + len) } else { Checked::Broken }
}

/// Returns true if the bytes are a number, or a JSON literal.
#[inline]
pub fn is_scalar(word: &[u8]) -> bool {
    matches!(word, b"null" | b"true" | b"false") || number::is_number(word) || NO_NUMBERS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::grammar::first_fault;

    #[test]
    fn agrees_with_a_parser_of_the_grammar() {
        let deep = format!("{}1{}", "[{\"a\":".repeat(150), "}]".repeat(150));
        let texts = [
            r#"{"a":[1,-2.5e3,{"b":"é\n\ud800\"","c":{}},[],null,true],"d":false,"e":-Inf} "#,
            r#"["a\u00e9b","",{"":""}] "#,
            &deep,
        ];
        for text in texts {
            assert_eq!(check(text.as_bytes(), 0), Checked::Whole(text.trim_end().len()));
            for at in 0..text.len() {
                for byte in *b"\"\\{}[],:x0 \n" {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[at] = byte;
                    let whole = matches!(check(&bytes, 0), Checked::Whole(_));
                    let is_utf8 = std::str::from_utf8(&bytes).is_ok();
                    let fault = first_fault(&bytes, 0, true);
                    if fault.is_some() || !is_utf8 {
                        assert_ne!(check(&bytes, 0), Checked::End, "{}", bytes.escape_ascii());
                        // Bytes after the value are not checked.
                        assert!(!whole || is_utf8 || fault.is_none(), "{}", bytes.escape_ascii());
                    }
                    assert!(!(whole && fault.is_some()), "{}", bytes.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn truncated_text_is_not_broken() {
        let text = r#"{"a":[1,{"b":"x\u00e9"}],"c":null}"#;
        assert!((0..text.len()).all(|end| check(&text.as_bytes()[..end], 0) == Checked::End));
    }

    #[test]
    fn text_in_another_encoding_is_broken() {
        assert_eq!(check(b"\"\xe9\" ", 0), Checked::Broken);
        assert_eq!(check(b"[\"\xc0\xaf\"]", 0), Checked::Broken);
    }
}
