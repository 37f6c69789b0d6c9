//! The fast reader: one pass over the bytes that predicts the next key.
//!
//! Nomad writes an object's keys in the same order again and again, so the reader remembers each key as it was written,
//! white space included, and compares the bytes that follow with it. Only where that fails is the key read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::fields::{Field, Order, Orders};
use super::input::{Fault, FaultKind, Input, Read, key};
use super::number;
use super::scan::{after_space, plain_end, value_end};

/// A longer key, or a longer run of white space, is not worth predicting.
const LONGEST_KEY: usize = 256;
/// More keys than this do not occur in one kind of object.
const MOST_KEYS: usize = 80;

/// How often each unknown field was met, by its place and name.
pub type Unknown = BTreeMap<String, u64>;

/// What the readers keep from one value to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Predictions; they change how fast is read, never what is read.
    pub orders: Orders,
    /// Fields that Nomad is not known to have.
    pub unknown: Unknown,
}

/// A place in the bytes, in front of a value.
#[derive(Debug)]
pub struct Cursor<'a, 'm> {
    bytes: &'a [u8],
    at: usize,
    memory: &'m mut Memory,
}

impl<'a, 'm> Cursor<'a, 'm> {
    /// The value that begins at `at` (behind white space).
    pub fn new(bytes: &'a [u8], at: usize, memory: &'m mut Memory) -> Self {
        Cursor { bytes, at: after_space(bytes, at), memory }
    }

    /// Where the cursor stands: behind the value once it was read.
    pub fn at(&self) -> usize {
        self.at
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The unknown fields counted so far.
    pub fn unknown_so_far(&self) -> Unknown {
        self.memory.unknown.clone()
    }

    fn end(&self) -> Box<Fault> {
        self.fault(FaultKind::End, "ends before it is whole")
    }

    fn unexpected(&self, wanted: &str) -> Box<Fault> {
        match self.peek() {
            None => self.end(),
            Some(b'"') => self.fault(FaultKind::Value, format!("is text, not {wanted}")),
            Some(b'{') => self.fault(FaultKind::Value, format!("is an object, not {wanted}")),
            Some(b'[') => self.fault(FaultKind::Value, format!("is an array, not {wanted}")),
            Some(b'-' | b'0'..=b'9') => match number::integer(self.scalar()) {
                Err(number::NotAnInteger::Syntax) => self.broken(wanted),
                _ => self.fault(FaultKind::Value, format!("is a number, not {wanted}")),
            },
            Some(_) if matches!(self.scalar(), b"true" | b"false") => {
                self.fault(FaultKind::Value, format!("is true or false, not {wanted}"))
            }
            Some(_) => self.broken(wanted),
        }
    }

    fn broken(&self, wanted: &str) -> Box<Fault> {
        let found: String = String::from_utf8_lossy(&self.bytes[self.at..]).chars().take(12).collect();
        self.fault(FaultKind::Syntax, format!("is not JSON: found {found:?} instead of {wanted}"))
    }

    /// The number or word at the cursor.
    fn scalar(&self) -> &'a [u8] {
        let end = value_end(self.bytes, self.at).unwrap_or(self.bytes.len());
        &self.bytes[self.at..end]
    }

    /// Takes a word such as `null` if it stands here and ends here.
    #[inline]
    fn word(&mut self, word: &[u8]) -> Read<bool> {
        let rest = &self.bytes[self.at..];
        if !rest.starts_with(word) {
            // The bytes may end within the word.
            return if word.starts_with(rest) && !rest.is_empty() { Err(self.end()) } else { Ok(false) };
        }
        match rest.get(word.len()) {
            None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') => {
                self.at += word.len();
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    /// The string whose opening quote is at the cursor.
    #[inline]
    fn string(&mut self) -> Read<Cow<'a, str>> {
        let start = self.at + 1;
        let end = plain_end(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            let text = std::str::from_utf8(&self.bytes[start..end])
                .map_err(|_| self.fault(FaultKind::Value, "holds bytes that are not UTF-8"))?;
            self.at = end + 1;
            return Ok(Cow::Borrowed(text));
        }
        self.escaped_string(start, end).map(Cow::Owned)
    }

    /// The rest of a string in which something needs care at `at`.
    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Read<String> {
        let mut text = self.bytes[start..at].to_vec();
        loop {
            match self.bytes.get(at) {
                None => return Err(self.end()),
                Some(b'"') => break,
                Some(b'\\') => at = self.escape(at, &mut text)?,
                Some(_) => return Err(self.fault(FaultKind::Syntax, "holds a control character that is not escaped")),
            }
            let end = plain_end(self.bytes, at);
            text.extend_from_slice(&self.bytes[at..end]);
            at = end;
        }
        let text =
            String::from_utf8(text).map_err(|_| self.fault(FaultKind::Value, "holds bytes that are not UTF-8"))?;
        self.at = at + 1;
        Ok(text)
    }

    /// The escape at `at`: its character is added to `text`; the position behind it is returned.
    fn escape(&self, at: usize, text: &mut Vec<u8>) -> Read<usize> {
        let plain = match *self.bytes.get(at + 1).ok_or_else(|| self.end())? {
            c @ (b'"' | b'\\' | b'/') => c,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let first = self.hex(at + 2)?;
                let (code, end) = match first {
                    0xD800..=0xDBFF if self.bytes.get(at + 6..at + 8) == Some(b"\\u") => {
                        let second = self.hex(at + 8)?;
                        if !(0xDC00..=0xDFFF).contains(&second) {
                            return Err(self.lone_surrogate());
                        }
                        (0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), at + 12)
                    }
                    0xD800..=0xDFFF if self.bytes.len() < at + 8 => return Err(self.end()),
                    _ => (first, at + 6),
                };
                let c = char::from_u32(code).ok_or_else(|| self.lone_surrogate())?;
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(end);
            }
            _ => return Err(self.fault(FaultKind::Syntax, "holds an escape that JSON does not have")),
        };
        text.push(plain);
        Ok(at + 2)
    }

    fn lone_surrogate(&self) -> Box<Fault> {
        self.fault(FaultKind::Value, "holds half of a surrogate pair, which is no character")
    }

    fn hex(&self, at: usize) -> Read<u32> {
        let digits = self.bytes.get(at..at + 4).ok_or_else(|| self.end())?;
        let digit = |n: u32, d: &u8| Some(n * 16 + (*d as char).to_digit(16)?);
        digits
            .iter()
            .try_fold(0, digit)
            .ok_or_else(|| self.fault(FaultKind::Syntax, "holds an escape that JSON does not have"))
    }

    /// Reads a key and the colon behind it; the cursor stands at its quote, afterwards at the value.
    pub(super) fn key(&mut self) -> Read<Cow<'a, str>> {
        match self.peek() {
            Some(b'"') => {}
            None => return Err(self.end()),
            Some(_) => return Err(self.broken("a key")),
        }
        let name = self.string()?;
        self.at = after_space(self.bytes, self.at);
        match self.peek() {
            Some(b':') => self.at = after_space(self.bytes, self.at + 1),
            None => return Err(self.end()),
            Some(_) => return Err(self.broken("`:` behind a key")),
        }
        Ok(name)
    }

    /// Takes what stands between two members or elements. `true` when there is another one.
    #[inline]
    fn separator(&mut self, close: u8) -> Read<bool> {
        if matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at = after_space(self.bytes, self.at);
        }
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b) if b == close => {
                self.at += 1;
                Ok(false)
            }
            None => Err(self.end()),
            Some(_) => Err(self.broken("`,` or the closing bracket")),
        }
    }

    /// Steps into an object or array; `None` for `null`, `Some(false)` for an empty one.
    #[inline]
    fn open(&mut self, open: u8, close: u8, wanted: &str) -> Read<Option<bool>> {
        if self.peek() != Some(open) {
            return if self.word(b"null")? { Ok(None) } else { Err(self.unexpected(wanted)) };
        }
        self.at += 1;
        let next = after_space(self.bytes, self.at);
        match self.bytes.get(next) {
            None => Err(self.end()),
            Some(b) if *b == close => {
                self.at = next + 1;
                Ok(Some(false))
            }
            Some(_) => Ok(Some(true)),
        }
    }

    /// The next key of an object of Nomad's: as predicted by the slot, or read and remembered. The slot moves on.
    #[inline]
    fn next_field<F: Field>(&mut self, slot: &mut usize) -> Read<Option<F>> {
        let rest = &self.bytes[self.at..];
        let keys = &F::order(&mut self.memory.orders).keys;
        // Where an object leaves keys out, the right one stands further on.
        let found = keys.iter().enumerate().skip(*slot).find(|(_, (raw, _))| {
            // White space that the prediction does not know leads to the slow road, which knows it.
            rest.starts_with(raw) && !matches!(rest.get(raw.len()), Some(b' ' | b'\n' | b'\r' | b'\t'))
        });
        let Some((i, (raw, field))) = found else { return self.unpredicted_field(slot) };
        let field = *field;
        self.at += raw.len();
        *slot = i + 1;
        if field.is_none() {
            self.note_unknown::<F>(i);
        }
        Ok(field)
    }

    #[cold]
    fn unpredicted_field<F: Field>(&mut self, slot: &mut usize) -> Read<Option<F>> {
        let start = self.at;
        self.at = after_space(self.bytes, self.at);
        let name = self.key()?;
        let field = F::of(&name);
        if field.is_none() {
            *self.memory.unknown.entry(format!("{}{name}", F::PLACE)).or_default() += 1;
        }
        let raw = &self.bytes[start..self.at];
        // A name of the data must not be able to grow the memory without end.
        let Order { keys } = F::order(&mut self.memory.orders);
        if raw.len() <= LONGEST_KEY && keys.len() < MOST_KEYS {
            // The same key may be known from another place in the order; one entry is enough.
            keys.retain(|(known, _)| **known != *raw);
            *slot = (*slot).min(keys.len());
            keys.insert(*slot, (raw.into(), field));
            *slot += 1;
        }
        Ok(field)
    }

    /// The key at `at` as part of a path.
    #[cold]
    fn name_at(&self, at: usize) -> String {
        let mut memory = Memory::default();
        Cursor::new(self.bytes, at, &mut memory).key().map(|name| key(&name)).unwrap_or_default()
    }

    #[cold]
    fn note_unknown<F: Field>(&mut self, slot: usize) {
        let raw = F::order(&mut self.memory.orders).keys[slot].0.clone();
        let quoted = raw.trim_ascii_end().strip_suffix(b":").unwrap_or_default().trim_ascii();
        let name = serde_json::from_slice::<String>(quoted).unwrap_or_default();
        *self.memory.unknown.entry(format!("{}{name}", F::PLACE)).or_default() += 1;
    }
}

impl<'a> Input<'a> for Cursor<'a, '_> {
    #[inline]
    fn raw_text(&mut self) -> Read<Option<Cow<'a, str>>> {
        if self.peek() == Some(b'"') {
            return self.string().map(Some);
        }
        if self.word(b"null")? { Ok(None) } else { Err(self.unexpected("text")) }
    }

    #[inline]
    fn integer(&mut self) -> Read<Option<i64>> {
        // Up to 18 digits always fit; anything else takes the exact road.
        let digits = &self.bytes[self.at..];
        let mut value = 0i64;
        let mut len = 0;
        while let Some(d @ b'0'..=b'9') = digits.get(len) {
            if len == 18 {
                break;
            }
            value = value * 10 + i64::from(d - b'0');
            len += 1;
        }
        if len > 0 && matches!(digits.get(len), Some(b',' | b'}' | b']')) && (len == 1 || digits[0] != b'0') {
            self.at += len;
            return Ok(Some(value));
        }
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let text = self.scalar();
                if self.at + text.len() == self.bytes.len() {
                    return Err(self.end());
                }
                let value = number::integer(text).map_err(|e| {
                    let kind = if e == number::NotAnInteger::Syntax { FaultKind::Syntax } else { FaultKind::Value };
                    self.fault(kind, e.to_string())
                })?;
                self.at += text.len();
                Ok(Some(value))
            }
            _ if self.word(b"null")? => Ok(None),
            _ => Err(self.unexpected("a number")),
        }
    }

    #[inline]
    fn boolean(&mut self) -> Read<Option<bool>> {
        if self.word(b"false")? {
            Ok(Some(false))
        } else if self.word(b"true")? {
            Ok(Some(true))
        } else if self.word(b"null")? {
            Ok(None)
        } else {
            Err(self.unexpected("true or false"))
        }
    }

    #[inline]
    fn skip(&mut self) -> Read<()> {
        match value_end(self.bytes, self.at) {
            Some(end) if end > self.at => {
                self.at = end;
                Ok(())
            }
            Some(_) => Err(self.broken("a value")),
            None => Err(self.end()),
        }
    }

    fn null(&mut self) -> Read<bool> {
        self.word(b"null")
    }

    #[inline]
    fn object<F: Field>(&mut self, mut member: impl FnMut(&mut Self, F) -> Read<()>) -> Read<bool> {
        match self.open(b'{', b'}', "an object")? {
            None => return Ok(false),
            Some(false) => return Ok(true),
            Some(true) => {}
        }
        let (mut slot, mut met) = (0, 0u64);
        loop {
            let key_at = self.at;
            match self.next_field::<F>(&mut slot)? {
                Some(field) => {
                    let bit = field.bit().unwrap_or(0);
                    let read = if met & bit == 0 {
                        met |= bit;
                        member(self, field)
                    } else {
                        Err(self.fault(FaultKind::Value, "belongs to a key that stands here twice"))
                    };
                    if let Err(fault) = read {
                        return Err(fault.inside(self.name_at(key_at)));
                    }
                }
                None => self.skip()?,
            }
            if !self.separator(b'}')? {
                return Ok(true);
            }
        }
    }

    #[inline]
    fn map(&mut self, mut entry: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<bool> {
        match self.open(b'{', b'}', "an object")? {
            None => return Ok(false),
            Some(false) => return Ok(true),
            Some(true) => {}
        }
        loop {
            self.at = after_space(self.bytes, self.at);
            let name = self.key()?;
            let place = self.at;
            entry(self, name.clone()).map_err(|fault| fault.inside(key(&name)))?;
            debug_assert!(self.at > place, "an entry reads its value");
            if !self.separator(b'}')? {
                return Ok(true);
            }
        }
    }

    #[inline]
    fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<bool> {
        match self.open(b'[', b']', "an array")? {
            None => return Ok(false),
            Some(false) => return Ok(true),
            Some(true) => {}
        }
        let mut index = 0;
        loop {
            self.at = after_space(self.bytes, self.at);
            element(self, index).map_err(|fault| fault.inside(format_args!("[{index}]")))?;
            index += 1;
            if !self.separator(b']')? {
                return Ok(true);
            }
        }
    }

    #[cold]
    fn fault(&self, kind: FaultKind, what: impl Into<String>) -> Box<Fault> {
        Box::new(Fault { kind, at: self.at, path: String::new(), what: what.into() })
    }
}
