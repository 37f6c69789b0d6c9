//! Decodes strings with escapes.

use super::Cursor;
use crate::decode::skip::plain_end;
use crate::decode::value_reader::{FaultKind, LONE_SURROGATE, NOT_UTF8, Read};

impl Cursor<'_, '_> {
    /// Reads a string that starts at `start` (after its quote) and has its first special character at `at`.
    #[cold]
    pub(super) fn escaped_string(&mut self, start: usize, mut at: usize) -> Read<String> {
        let mut text = self.bytes[start..at].to_vec();
        loop {
            match self.bytes.get(at) {
                None => return Err(self.end()),
                Some(b'"') => break,
                Some(b'\\') => at = self.escape(at, &mut text)?,
                Some(_) => return Err(self.wrong(FaultKind::Syntax, "holds a control character that is not escaped")),
            }
            let end = plain_end(self.bytes, at);
            text.extend_from_slice(&self.bytes[at..end]);
            at = end;
        }
        let text = String::from_utf8(text).map_err(|_| self.wrong(FaultKind::Value, NOT_UTF8))?;
        self.at = at + 1;
        Ok(text)
    }

    /// Decodes the escape at `at` into `text`; returns the position after it.
    fn escape(&self, at: usize, text: &mut Vec<u8>) -> Read<usize> {
        let plain = match *self.bytes.get(at + 1).ok_or_else(|| self.end())? {
            c @ (b'"' | b'\\' | b'/') => c,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (code, end) = match self.hex(at + 2)? {
                    high @ 0xD800..=0xDBFF if self.bytes.get(at + 6..at + 8) == Some(b"\\u") => {
                        let low = self.hex(at + 8)?;
                        if !(0xDC00..=0xDFFF).contains(&low) {
                            return Err(self.wrong(FaultKind::Value, LONE_SURROGATE));
                        }
                        (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), at + 12)
                    }
                    0xD800..=0xDBFF if self.bytes.len() < at + 8 => return Err(self.end()),
                    code => (code, at + 6),
                };
                let c = char::from_u32(code).ok_or_else(|| self.wrong(FaultKind::Value, LONE_SURROGATE))?;
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(end);
            }
            _ => return Err(self.wrong(FaultKind::Syntax, "holds an escape that JSON does not have")),
        };
        text.push(plain);
        Ok(at + 2)
    }

    fn hex(&self, at: usize) -> Read<u32> {
        let digits = self.bytes.get(at..at + 4).ok_or_else(|| self.end())?;
        let digit = |n: u32, d: &u8| Some(n * 16 + (*d as char).to_digit(16)?);
        digits
            .iter()
            .try_fold(0, digit)
            .ok_or_else(|| self.wrong(FaultKind::Syntax, "holds an escape that JSON does not have"))
    }
}
