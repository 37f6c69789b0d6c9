//! The fast reader: one pass over the bytes with key prediction.
//!
//! Nomad always writes an object's keys in the same order, so the reader remembers each key as written, including white
//! space, and compares it with the next bytes. It parses the key only if they differ.

mod escapes;

use std::borrow::Cow;

use super::check::{self, Checked};
use super::grammar;
use super::key_order::{KeyMemory, Predicted, unknown_name};
use super::number;
use super::record::Text;
use super::skip::{after_space, plain_end, value_end};
use super::value_reader::{FaultKind, NOT_UTF8, Read, ReadFault, TWICE, ValueReader, key, not_json};

pub use super::key_order::Unknown;

/// A cursor in front of a value.
#[derive(Debug)]
pub struct Cursor<'a, 'm> {
    bytes: &'a [u8],
    at: usize,
    memory: &'m mut KeyMemory,
    checks: SkipCheck,
}

/// How a cursor checks the values that it skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SkipCheck {
    /// Only their structure is scanned.
    Structure,
    /// They are validated. For an invalid value, neither position nor reason is looked up, because the look-up may scan
    /// all bytes.
    Validity,
    /// They are validated. For an invalid value, position, path and reason are looked up.
    Faults,
}

impl<'a, 'm> Cursor<'a, 'm> {
    /// A cursor at the value at `at` (after white space).
    pub fn new(bytes: &'a [u8], at: usize, memory: &'m mut KeyMemory) -> Self {
        Cursor { bytes, at: after_space(bytes, at), memory, checks: SkipCheck::Structure }
    }

    /// Like [`Self::new`], but validates skipped values.
    pub fn checking(bytes: &'a [u8], at: usize, memory: &'m mut KeyMemory) -> Self {
        Cursor { checks: SkipCheck::Faults, ..Cursor::new(bytes, at, memory) }
    }

    /// Like [`Self::checking`], but does not look up the position and reason of a fault. For a value whose kind and end
    /// are only guesses.
    pub(super) fn trying(bytes: &'a [u8], at: usize, memory: &'m mut KeyMemory) -> Self {
        Cursor { checks: SkipCheck::Validity, ..Cursor::new(bytes, at, memory) }
    }

    /// Skips a value without validating it, since it is read later.
    pub(super) fn pass(&mut self) -> Read<()> {
        match value_end(self.bytes, self.at) {
            Some(end) if end > self.at => {
                self.at = end;
                Ok(())
            }
            Some(_) => Err(self.broken("a value")),
            None => Err(self.end()),
        }
    }

    /// Checks that the value is valid, and that nothing follows it.
    pub(super) fn check_all(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'"' | b'{' | b'[') | None => self.skip(),
            Some(_) if check::is_scalar(&self.bytes[self.at..]) => Ok(()),
            Some(_) => Err(self.broken("a value")),
        }
    }

    /// The fault of a skipped value that is invalid.
    #[cold]
    fn unsound(&self) -> Box<ReadFault> {
        let Some(end) = value_end(self.bytes, self.at).filter(|end| *end > self.at) else {
            return self.broken("a value");
        };
        match std::str::from_utf8(&self.bytes[self.at..end]) {
            Err(e) => {
                let at = self.at + e.valid_up_to();
                let path = grammar::path_to(self.bytes, self.at, at);
                Box::new(ReadFault { kind: FaultKind::Value, at, path, what: NOT_UTF8.into() })
            }
            Ok(_) => grammar::first_fault(self.bytes, self.at, true).unwrap_or_else(|| self.broken("a value")),
        }
    }

    /// The position of the cursor. After a value is read, it is the position after that value.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The byte at the cursor.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips the value that starts at `start`, even if the reader has read a part of it.
    pub(super) fn leave(&mut self, start: usize) -> Read<()> {
        self.at = start;
        self.pass()
    }

    #[cold]
    fn end(&self) -> Box<ReadFault> {
        self.wrong(FaultKind::End, "ends too early")
    }

    #[cold]
    fn wrong(&self, kind: FaultKind, what: impl Into<String>) -> Box<ReadFault> {
        Box::new(ReadFault { kind, at: self.at, path: String::new(), what: what.into() })
    }

    /// The fault of a value whose type is not `wanted`, or of a missing value.
    #[cold]
    fn broken(&self, wanted: &str) -> Box<ReadFault> {
        if self.at >= self.bytes.len() {
            return self.end();
        }
        self.wrong(FaultKind::Syntax, not_json(self.bytes, self.at, wanted))
    }

    #[cold]
    fn unexpected(&self, wanted: &str) -> Box<ReadFault> {
        let found = match self.peek() {
            Some(b'"') => "text",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            _ => match self.scalar() {
                b"true" | b"false" => "true or false",
                other if number::is_number(other) => "a number",
                _ => return self.broken(wanted),
            },
        };
        self.wrong(FaultKind::Value, format!("is {found}, not {wanted}"))
    }

    /// The number or literal at the cursor.
    fn scalar(&self) -> &'a [u8] {
        let end = value_end(self.bytes, self.at).unwrap_or(self.bytes.len());
        &self.bytes[self.at..end]
    }

    /// Consumes a literal such as `null` if it is complete here.
    #[inline]
    fn word(&mut self, word: &[u8]) -> Read<bool> {
        let rest = &self.bytes[self.at..];
        if !rest.starts_with(word) {
            // The bytes may end within the literal.
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
            let Ok(text) = std::str::from_utf8(&self.bytes[start..end]) else {
                return Err(self.wrong(FaultKind::Value, NOT_UTF8));
            };
            self.at = end + 1;
            return Ok(Cow::Borrowed(text));
        }
        self.escaped_string(start, end).map(Cow::Owned)
    }

    /// Reads a key and its colon; the cursor moves from the opening quote of the key to the value.
    fn key(&mut self) -> Read<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(self.broken("a key"));
        }
        let name = self.string()?;
        self.colon()?;
        Ok(name)
    }

    /// Like [`Self::key`], but returns `None` for a key that is not valid text.
    pub(super) fn any_key(&mut self) -> Read<Option<Cow<'a, str>>> {
        self.at = after_space(self.bytes, self.at);
        let start = self.at;
        match self.key() {
            Ok(name) => Ok(Some(name)),
            Err(fault) if fault.kind == FaultKind::Value => {
                self.leave(start)?;
                self.colon()?;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    fn colon(&mut self) -> Read<()> {
        self.at = after_space(self.bytes, self.at);
        if self.peek() != Some(b':') {
            return Err(self.broken("`:` after a key"));
        }
        self.at = after_space(self.bytes, self.at + 1);
        Ok(())
    }

    /// Consumes the separator between two members or elements; `true` if another one follows.
    #[inline]
    pub(super) fn separator(&mut self, close: u8) -> Read<bool> {
        if self.peek().is_some_and(|byte| byte <= b' ') {
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
            _ => Err(self.broken("`,` or the closing bracket")),
        }
    }

    /// Enters an object or array; `None` for `null`, `Some(false)` for an empty one.
    #[inline]
    pub(super) fn open(&mut self, open: u8, close: u8, wanted: &str) -> Read<Option<bool>> {
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

    /// Reads the next key of an object with Nomad's keys. If the key is not the one predicted for the slot, searches
    /// the other slots. If no slot has the key, parses and remembers it. Advances the slot. Returns the field with its
    /// bit, or `None` for an unknown field.
    #[inline]
    fn next_field<F: Predicted>(&mut self, slot: &mut usize) -> Read<Option<(F, u64)>> {
        let rest = &self.bytes[self.at..];
        if let Some(key) = F::order(&mut self.memory.orders).predicted(*slot, rest)
            && let Ok(field) = key.field()
        {
            let bit = key.bit();
            self.at += key.width();
            *slot += 1;
            return Ok(Some((field, bit)));
        }
        self.other_field(slot)
    }

    #[inline(never)]
    fn other_field<F: Predicted>(&mut self, slot: &mut usize) -> Read<Option<(F, u64)>> {
        let start = self.at;
        if let Some((i, key)) = F::order(&mut self.memory.orders).found(*slot, &self.bytes[start..]) {
            let (field, bit) = (key.field().map_err(Clone::clone), key.bit());
            self.at += key.width();
            *slot = i + 1;
            return Ok(field.map(|field| (field, bit)).map_err(|name| self.memory.note(name)).ok());
        }
        self.at = after_space(self.bytes, self.at);
        let name = self.key()?;
        let field = F::from_name(&name).ok_or_else(|| unknown_name::<F>(&name));
        if let Err(name) = &field {
            self.memory.note(name.clone());
        }
        let known = field.as_ref().ok().map(|field| (*field, field.bit().unwrap_or(0)));
        *slot = F::order(&mut self.memory.orders).learn(*slot, &self.bytes[start..self.at], field);
        Ok(known)
    }

    /// The key at `at` as part of a path.
    #[cold]
    fn name_at(&self, at: usize) -> String {
        let mut memory = KeyMemory::default();
        Cursor::new(self.bytes, at, &mut memory).key().map(|name| key(&name)).unwrap_or_default()
    }
}

impl<'a> ValueReader<'a> for Cursor<'a, '_> {
    #[inline]
    fn raw_text(&mut self) -> Read<Option<Cow<'a, str>>> {
        if self.peek() == Some(b'"') {
            return self.string().map(Some);
        }
        if self.word(b"null")? { Ok(None) } else { Err(self.unexpected("text")) }
    }

    #[inline]
    fn text(&mut self) -> Read<Text<'a>> {
        // Most texts of an event are empty.
        if self.bytes[self.at..].starts_with(b"\"\"") {
            self.at += 2;
            return Ok(None);
        }
        Ok(self.raw_text()?.filter(|text| !text.is_empty()))
    }

    #[inline]
    fn integer(&mut self) -> Read<Option<i64>> {
        let rest = &self.bytes[self.at..];
        if let Some((value, len)) = number::plain(rest)
            && let Some(b',' | b'}' | b']') = rest.get(len)
        {
            self.at += len;
            return Ok(Some(value));
        }
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let text = self.scalar();
                if self.at + text.len() == self.bytes.len() {
                    return Err(self.end());
                }
                let value = number::integer(text).map_err(|e| match e {
                    number::NotAnInteger::Syntax => self.broken("a number"),
                    _ => self.wrong(FaultKind::Value, e.to_string()),
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
        if self.checks == SkipCheck::Structure {
            return self.pass();
        }
        match check::check(self.bytes, self.at) {
            Checked::Whole(end) => {
                self.at = end;
                Ok(())
            }
            Checked::End => Err(self.end()),
            Checked::Broken if self.checks == SkipCheck::Validity => Err(self.wrong(FaultKind::Syntax, "is not JSON")),
            Checked::Broken => Err(self.unsound()),
        }
    }

    fn null(&mut self) -> Read<bool> {
        self.word(b"null")
    }

    #[inline]
    fn object<F: Predicted>(&mut self, mut member: impl FnMut(&mut Self, F) -> Read<()>) -> Read<bool> {
        match self.open(b'{', b'}', "an object")? {
            None => return Ok(false),
            Some(false) => return Ok(true),
            Some(true) => {}
        }
        let (mut slot, mut met) = (0, 0u64);
        loop {
            let key_at = self.at;
            match self.next_field::<F>(&mut slot)? {
                Some((field, bit)) => {
                    let read = if met & bit == 0 {
                        met |= bit;
                        member(self, field)
                    } else {
                        Err(self.wrong(FaultKind::Value, TWICE))
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
            let key_at = self.at;
            let name = self.key()?;
            if let Err(fault) = entry(self, name) {
                return Err(fault.inside(self.name_at(key_at)));
            }
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
            if let Err(fault) = element(self, index) {
                return Err(fault.inside(format_args!("[{index}]")));
            }
            index += 1;
            if !self.separator(b']')? {
                return Ok(true);
            }
        }
    }

    fn position(&self) -> usize {
        self.at
    }

    #[cold]
    fn fault(&self, at: usize, what: impl Into<String>) -> Box<ReadFault> {
        Box::new(ReadFault { kind: FaultKind::Value, at, path: String::new(), what: what.into() })
    }
}
