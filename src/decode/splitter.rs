//! Walks through a part of a document, into lists and dumps, to the objects that may be allocations.

use super::classify::ObjectKind;
use super::fast::Cursor;
use super::grammar;
use super::number;
use super::position::{Container, Expected, Level};
use super::skip::{Skipper, after_space, value_end};
use super::value_reader::{FaultKind, Read, ReadFault};
use super::walk::{LONG, PartWalk, Survey};

/// Maximum nesting of arrays and objects that are searched for allocations.
const DEEPEST: usize = 1 << 20;

impl PartWalk<'_, '_, '_, '_> {
    /// Reads the part; returns the number of bytes processed.
    pub(super) fn run(&mut self) -> usize {
        let mut at = 0;
        loop {
            if let Some(lost) = self.part.position.lost {
                match self.resync(lost, at) {
                    Some(found) => at = found,
                    None => return self.bytes.len(),
                }
            }
            if let Some(mut skipper) = self.part.position.skipping {
                let Some(end) = skipper.run(self.bytes, at) else {
                    self.part.position.skipping = Some(skipper);
                    if self.is_last {
                        self.truncated(self.bytes.len());
                    }
                    return self.bytes.len();
                };
                self.part.position.skipping = None;
                at = end;
            }
            at = after_space(self.bytes, at);
            let Some(&byte) = self.bytes.get(at) else {
                if self.is_last && !self.part.position.around.is_empty() {
                    self.truncated(self.bytes.len());
                }
                return self.bytes.len();
            };
            match self.step(byte, at) {
                Ok(next) => at = next,
                Err(fault) if fault.kind == FaultKind::End && self.is_last => {
                    let Some(next) = self.cut_lines(at, self.bytes.len()) else {
                        self.truncated(at);
                        return self.bytes.len();
                    };
                    at = next;
                }
                Err(fault) if self.needs_more(at, &fault) => return at,
                Err(fault) => at = self.recover(at, *fault),
            }
        }
    }

    /// Reads one token or one complete value at `at`; returns where to continue. The fault `End` means that the bytes
    /// do not contain all of it.
    pub(super) fn step(&mut self, byte: u8, at: usize) -> Read<usize> {
        let Some(level) = self.part.position.around.last().copied() else {
            return match byte {
                b'{' => self.object(at, true),
                b'[' => self.enter(at, Container::List, ""),
                0xEF if self.bytes[at..].starts_with(b"\xEF\xBB\xBF") => Ok(at + 3),
                0x1E => Ok(at + 1), // RFC 7464 puts a record separator before each value
                _ => self.scalar(at),
            };
        };
        let close = if level.is_array { b']' } else { b'}' };
        match (level.next, byte) {
            (Expected::ValueOrClose | Expected::CommaOrClose, b) if b == close => {
                self.part.position.around.pop();
                self.part.others += u64::from(level.role == Container::Dump);
                self.value_done();
                Ok(at + 1)
            }
            (Expected::CommaOrClose, b',') => {
                self.expect(Expected::Value);
                Ok(at + 1)
            }
            (Expected::CommaOrClose, _) => Err(self.broken(at, "`,` or the closing bracket")),
            _ if !level.is_array => self.member(at),
            _ if level.role == Container::Skipped => self.pass_over(at),
            (_, b'{') => self.object(at, false),
            (_, b'[') => self.enter(at, Container::List, ""),
            _ => self.scalar(at),
        }
    }

    /// Enters the array or object at `at`. When it is closed, it counts as a value of the enclosing array or object.
    pub(super) fn enter(&mut self, at: usize, role: Container, key: &'static str) -> Read<usize> {
        let around = &mut self.part.position.around;
        if around.len() >= DEEPEST {
            let what = format!("is nested in more than {DEEPEST} arrays and objects");
            return Err(Box::new(ReadFault { kind: FaultKind::Syntax, at, path: String::new(), what }));
        }
        if role == Container::List {
            self.part.lists += u64::from(key != "Nodes");
            self.part.dumps += u64::from(key == "Allocs");
            if around.iter().all(|level| level.role != Container::List) {
                self.part.elements = 0;
                self.part.list_began = true;
            }
        }
        around.push(Level { role, is_array: self.bytes[at] == b'[', key, next: Expected::ValueOrClose });
        Ok(at + 1)
    }

    /// Reads a member of an object that the reader walks through: enters `Allocs` and `Nodes`, skips other values.
    pub(super) fn member(&mut self, at: usize) -> Read<usize> {
        let mut cursor = Cursor::new(self.bytes, at, self.memory);
        let name = cursor.any_key()?;
        let value = cursor.at();
        let level = self.part.position.around.last_mut();
        let dump = level.filter(|level| level.role != Container::Skipped && self.bytes.get(value) == Some(&b'['));
        let list = match (dump, name.as_deref()) {
            (Some(dump), Some("Allocs")) => Some((dump, "Allocs")),
            (Some(dump), Some("Nodes")) => Some((dump, "Nodes")),
            _ => None,
        };
        let Some((dump, key)) = list else {
            let end = self.pass_over(value)?;
            if name.is_none()
                && let Some(key_end) = value_end(self.bytes, at)
            {
                self.check(at..key_end);
            }
            return Ok(end);
        };
        dump.role = Container::DumpWithList;
        self.enter(value, Container::List, key)
    }

    /// Skips an ignored value inside an array or object that the reader walks through.
    pub(super) fn pass_over(&mut self, at: usize) -> Read<usize> {
        let opens = matches!(self.bytes.get(at), Some(b'{' | b'['));
        if opens && !self.strict {
            self.value_done();
            self.part.position.skipping = Some(Skipper::default());
            return Ok(at);
        }
        if opens {
            // Validated piece by piece, so that the value may have any length.
            return self.enter(at, Container::Skipped, "");
        }
        let end = value_end(self.bytes, at).ok_or_else(|| self.short(at))?;
        if end == at {
            return Err(self.broken(at, "a value"));
        }
        self.check(at..end);
        self.value_done();
        Ok(end)
    }

    /// Reads a number, literal or text where an allocation is possible.
    pub(super) fn scalar(&mut self, at: usize) -> Read<usize> {
        let is_text = self.bytes[at] == b'"';
        let end = match value_end(self.bytes, at) {
            None if !is_text && self.is_last => self.bytes.len(),
            None if is_text || self.bytes.len() - at <= LONG => return Err(self.short(at)),
            None => at,
            Some(end) => end,
        };
        let whole = &self.bytes[at..end];
        let is_sound = match whole {
            [b'"', ..] => grammar::first_fault(whole, 0, false).is_none(),
            b"null" | b"true" | b"false" => true,
            _ => whole.len() <= LONG && number::is_number(whole),
        };
        if !is_sound {
            return Err(self.broken(at, "a value"));
        }
        self.check(at..end);
        self.part.others += 1;
        self.value_done();
        Ok(end)
    }

    /// Reads an object where an allocation or a wrapper is possible.
    pub(super) fn object(&mut self, at: usize, is_top: bool) -> Read<usize> {
        if self.expect_allocation
            && !self.strict
            && let Some(end) = self.predicted_allocation(at)
        {
            self.value_done();
            return Ok(end);
        }
        let (kind, end) = match self.survey(at, is_top)? {
            Survey::Whole(kind, end) => (kind, end),
            Survey::Dump => return self.enter(at, Container::Dump, ""),
            Survey::TooLarge => {
                self.reject(at, String::new(), "is larger than 256 MiB, the limit of an allocation: skipped".into());
                self.value_done();
                self.part.position.skipping = Some(Skipper::default());
                return Ok(at);
            }
        };
        self.expect_allocation = kind == ObjectKind::Allocation;
        match kind {
            ObjectKind::Allocation => self.allocation(at..end, false, ""),
            ObjectKind::Node => self.node(at..end, ""),
            ObjectKind::Wrapper => self.wrapper(at..end),
            ObjectKind::Other => {
                self.check(at..end);
                self.part.others += 1;
            }
        }
        self.value_done();
        Ok(end)
    }
}
