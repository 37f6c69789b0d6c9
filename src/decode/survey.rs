//! Classifies an object by its keys: an allocation, a node, a wrapper, or a dump of a whole cluster.

use super::classify::{Keys, ObjectKind};
use super::fast::Cursor;
use super::grammar;
use super::part::LARGEST_ALLOCATION;
use super::skip::after_space;
use super::value_reader::{FaultKind, Read, ValueReader};
use super::walk::{LONG, PartWalk, Survey};

/// A value longer than this many bytes may be a truncated line. Before such a value is scanned, the reader checks
/// whether its line is truncated, because the scan of each truncated line would read the rest of the document.
const NEAR: usize = 64 << 10;

impl PartWalk<'_, '_, '_, '_> {
    /// Scans the keys of the object at `at`; returns its kind and its end.
    pub(super) fn survey(&mut self, at: usize, is_top: bool) -> Read<Survey> {
        let near = self.bytes.len().min(at + NEAR);
        let mut keys = Keys::default();
        let mut found = self.keys(&self.bytes[..near], at, is_top, &mut keys);
        if near < self.bytes.len() && found.is_err() {
            if self.line_follows(at, near)
                && let Some(fault) = grammar::first_fault(&self.bytes[..self.bytes.len().min(at + LONG)], at, true)
            {
                return Err(fault);
            }
            keys = Keys::default();
            found = self.keys(self.bytes, at, is_top, &mut keys);
        }
        let ends = found.as_ref().is_err_and(|fault| fault.kind == FaultKind::End);
        // The position that the scan reached. It does not depend on how the document is split.
        let far = match &found {
            Ok(Survey::Whole(_, end)) => *end,
            Ok(_) => keys.next,
            Err(_) if ends => self.bytes.len(),
            Err(fault) => fault.at,
        };
        // If a line is truncated, the scan reads the following lines as parts of its value, whether their quotes
        // match or not. So the scan fails after the position of the truncation.
        let fails_later = found.is_err() && !ends && memchr::memchr(b'\n', &self.bytes[at..far]).is_some();
        if far - at > LONG || fails_later || (ends && self.is_last) {
            let some = &self.bytes[..self.bytes.len().min(at + LONG)];
            if let Some(fault) = grammar::first_fault(some, at, true) {
                return Err(fault);
            }
        }
        match found {
            Ok(Survey::Whole(_, end)) if end - at > LARGEST_ALLOCATION => Ok(Survey::TooLarge),
            Err(_) if ends && is_top && keys.next - at > LONG && !keys.any_of_ours() => Ok(Survey::Dump),
            Err(_) if ends && far - at > LARGEST_ALLOCATION => Ok(Survey::TooLarge),
            found => found,
        }
    }

    /// Returns true if the line after the first line of the value at `at` starts with a bracket, as in a document
    /// with one value per line.
    pub(super) fn line_follows(&self, at: usize, near: usize) -> bool {
        let next = memchr::memchr(b'\n', &self.bytes[at..near]).map(|n| after_space(self.bytes, at + n));
        next.is_some_and(|next| next < near && self.bytes[next - 1] == b'\n' && matches!(self.bytes[next], b'{' | b'['))
    }

    /// Scans the keys of the object at `at` until its kind is known.
    pub(super) fn keys(&mut self, bytes: &[u8], at: usize, is_top: bool, keys: &mut Keys) -> Read<Survey> {
        let mut cursor = Cursor::new(bytes, at, self.memory);
        keys.next = cursor.at() + 1;
        let mut goes_on = cursor.open(b'{', b'}', "an object")? == Some(true);
        while goes_on {
            keys.next = cursor.at();
            if is_top && keys.next - at > LONG && !keys.any_of_ours() {
                return Ok(Survey::Dump);
            }
            let name = cursor.any_key()?;
            keys.record(name.as_deref().unwrap_or_default(), cursor.peek());
            if is_top && keys.allocs && !keys.any_of_ours() {
                return Ok(Survey::Dump);
            }
            // The next key comes after this value, whose end is not known yet.
            keys.next = bytes.len();
            cursor.skip()?;
            goes_on = cursor.separator(b'}')?;
        }
        Ok(Survey::Whole(keys.kind(), cursor.at()))
    }

    /// Returns true if a complete array or object may contain allocations or nodes.
    pub(super) fn is_wanted(&mut self, at: usize) -> bool {
        if self.bytes[at] == b'[' {
            return true;
        }
        match self.keys(self.bytes, at, true, &mut Keys::default()) {
            Ok(Survey::Whole(kind, _)) => kind != ObjectKind::Other,
            Ok(Survey::Dump) => true,
            Ok(Survey::TooLarge) | Err(_) => false,
        }
    }
}
