//! JSON's grammar (RFC 8259), byte by byte, to find where a text breaks it and the path of that position.
//!
//! This check is too slow for regular reading. It is used for damaged input, and for values larger than anything that
//! Nomad writes. It has its own stack, so the nesting depth is unlimited.

use super::number;
use super::skip::{after_space, plain_end, value_end};
use super::value_reader::{FaultKind, ReadFault, key, not_json};

/// Invalid numbers as Go and JavaScript print them; old Nomad versions write `-Inf` in `Metrics`.
pub const NO_NUMBERS: [&[u8]; 7] = [b"-Inf", b"+Inf", b"Inf", b"NaN", b"-Infinity", b"Infinity", b"-NaN"];
/// Maximum number of steps in a path. A longer path ends with `…`.
const LONGEST_PATH: usize = 16;

/// The first position where the value at `at` breaks JSON's grammar; `None` if the value is valid, or the bytes end
/// before an error. Bytes after the value are not checked, nor is UTF-8. A lenient check accepts `-Inf` and similar
/// numbers.
pub fn first_fault(bytes: &[u8], at: usize, lenient: bool) -> Option<Box<ReadFault>> {
    let mut walk = GrammarWalk { bytes, at, around: Vec::new(), lenient };
    match walk.value() {
        Ok(()) | Err(Stop::End) => None,
        Err(Stop::Broken(what)) => {
            Some(Box::new(ReadFault { kind: FaultKind::Syntax, at: walk.at, path: walk.path(), what }))
        }
    }
}

/// The path from the value at `at` to the byte at `position` inside it.
pub fn path_to(bytes: &[u8], at: usize, position: usize) -> String {
    let mut walk = GrammarWalk { bytes: &bytes[..position.min(bytes.len())], at, around: Vec::new(), lenient: true };
    // Only the position where the walk stops matters, not the reason.
    let _ = walk.value();
    walk.path()
}

struct GrammarWalk<'b> {
    bytes: &'b [u8],
    at: usize,
    around: Vec<Around>,
    lenient: bool,
}

/// An enclosing array or object.
enum Around {
    /// With the index of the element.
    Array(usize),
    /// With the position of the member's key.
    Object(usize),
}

enum Stop {
    End,
    Broken(String),
}

impl GrammarWalk<'_> {
    /// Checks one value.
    fn value(&mut self) -> Result<(), Stop> {
        loop {
            match self.next()? {
                b'{' => {
                    self.at += 1;
                    if self.next()? != b'}' {
                        self.around.push(Around::Object(self.at));
                        self.key()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    if self.next()? != b']' {
                        self.around.push(Around::Array(0));
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => self.string()?,
                _ => self.scalar()?,
            }
            if !self.goes_on()? {
                return Ok(());
            }
        }
    }

    /// Continues after a value; `false` if that value was the outermost one.
    fn goes_on(&mut self) -> Result<bool, Stop> {
        while let Some(around) = self.around.last_mut() {
            let close = match around {
                Around::Array(_) => b']',
                Around::Object(_) => b'}',
            };
            self.at = after_space(self.bytes, self.at);
            match self.bytes.get(self.at) {
                None => return Err(Stop::End),
                Some(b',') => {
                    self.at += 1;
                    if let Around::Array(index) = around {
                        *index += 1;
                    } else {
                        self.next()?;
                        self.around.pop();
                        self.around.push(Around::Object(self.at));
                        self.key()?;
                    }
                    return Ok(true);
                }
                Some(b) if *b == close => {
                    self.at += 1;
                    self.around.pop();
                }
                Some(_) => return Err(self.broken(if close == b']' { "`,` or `]`" } else { "`,` or `}`" })),
            }
        }
        Ok(false)
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Result<u8, Stop> {
        self.at = after_space(self.bytes, self.at);
        self.bytes.get(self.at).copied().ok_or(Stop::End)
    }

    fn key(&mut self) -> Result<(), Stop> {
        if self.next()? != b'"' {
            return Err(self.broken("a key"));
        }
        self.string()?;
        if self.next()? != b':' {
            return Err(self.broken("`:` after a key"));
        }
        self.at += 1;
        Ok(())
    }

    /// Checks the string whose opening quote is here.
    fn string(&mut self) -> Result<(), Stop> {
        let mut at = self.at + 1;
        loop {
            at = plain_end(self.bytes, at);
            let escape = match self.bytes.get(at) {
                None => return Err(Stop::End),
                Some(b'"') => break,
                Some(b'\\') => self.bytes.get(at + 1).ok_or(Stop::End)?,
                Some(_) => {
                    self.at = at;
                    return Err(Stop::Broken("is not JSON: control character in a string".into()));
                }
            };
            let hex = self.bytes.get(at + 2..).unwrap_or_default();
            let hex = &hex[..hex.len().min(4)];
            match escape {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if hex.iter().all(u8::is_ascii_hexdigit) => {
                    if hex.len() < 4 {
                        return Err(Stop::End);
                    }
                    at += 6;
                }
                _ => {
                    self.at = at;
                    return Err(self.broken("an escape that JSON has"));
                }
            }
        }
        self.at = at + 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Stop> {
        // A number or literal at the end of the bytes may continue after them.
        let end = value_end(self.bytes, self.at).ok_or(Stop::End)?;
        let word = &self.bytes[self.at..end];
        let is_whole = matches!(word, b"null" | b"true" | b"false")
            || number::is_number(word)
            || (self.lenient && NO_NUMBERS.contains(&word));
        if !is_whole {
            return Err(self.broken("a value"));
        }
        self.at = end;
        Ok(())
    }

    fn broken(&self, wanted: &str) -> Stop {
        Stop::Broken(not_json(self.bytes, self.at, wanted))
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for (i, around) in self.around.iter().enumerate() {
            if i == LONGEST_PATH {
                path.push('…');
                break;
            }
            match around {
                Around::Array(index) => path.push_str(&format!("[{index}]")),
                Around::Object(quote) => {
                    let written = value_end(self.bytes, *quote).map(|end| &self.bytes[*quote..end]);
                    let name = written.and_then(|written| serde_json::from_slice::<String>(written).ok());
                    path.push_str(&name.map(|name| key(&name)).unwrap_or_default());
                }
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_the_position_of_the_syntax_error() {
        for (text, at, path) in [
            (r#"{"a":[1,{"b c":tru}]}"#, 15, r#".a[1]["b c"]"#),
            (r#"{"a":1 "b":2}"#, 7, ".a"),
            (r#"{"a":1,}"#, 7, ""),
            (r#"[1,2,]"#, 5, "[2]"),
            (r#"["\x"]"#, 2, "[0]"),
            (r#"["\u12G4"]"#, 2, "[0]"),
            ("{\"a\":\"x\ny\"}", 7, ".a"),
            (r#"{"a":01}"#, 5, ".a"),
            (r#"{"a":-Inf}"#, 5, ".a"),
            (r#"[{]}"#, 2, "[0]"),
        ] {
            let fault = first_fault(text.as_bytes(), 0, false).unwrap_or_else(|| panic!("{text} is whole"));
            assert_eq!((fault.at, fault.path.as_str()), (at, path), "{text}");
        }
    }

    #[test]
    fn complete_or_truncated_text_is_not_broken() {
        let text = r#" {"a":[1,-2.5e3,{"b":"é\n\ud800\"","c":{}},[],null,true],"d":false} "#;
        for end in 0..=text.len() {
            assert_eq!(
                first_fault(&text.as_bytes()[..end], 0, false),
                None,
                "{}",
                &text.as_bytes()[..end].escape_ascii()
            );
        }
        assert_eq!(first_fault(br#"{"a":-Inf}"#, 0, true), None);
        assert_eq!(first_fault("[".repeat(200_000).as_bytes(), 0, false), None);
    }

    #[test]
    fn finds_the_path_of_a_position() {
        let text = r#"{"a":[1,{"b":"xyz"}],"c":2}"#;
        assert_eq!(path_to(text.as_bytes(), 0, 15), ".a[1].b");
        assert_eq!(path_to(text.as_bytes(), 0, 26), ".c");
    }
}
