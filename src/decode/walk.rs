//! The state of reading a part of a document.

use super::classify::ObjectKind;
use super::key_order::KeyMemory;
use super::part::{LARGEST_ALLOCATION, ParsedPart, PlacedFault, Seen};
use super::position::{Container, Expected, Position};
use super::value_reader::{FaultKind, QUOTED, ReadFault, not_json};

/// If a value does not end within this many bytes, it is inspected before more bytes are buffered. Most likely it is
/// a truncated line, or a dump of a whole cluster.
pub(super) const LONG: usize = 1 << 20;

/// The state of reading one part.
pub(super) struct PartWalk<'a, 'r, 's, 'f> {
    pub memory: &'r mut KeyMemory,
    /// Validate and read every value with serde_json.
    pub strict: bool,
    pub bytes: &'a [u8],
    pub is_last: bool,
    pub seen: Option<&'s mut Seen<'f>>,
    /// How many allocations were looked up in `seen`.
    pub tried: u32,
    /// How many of them were known.
    pub known: u32,
    /// True if the previous object was an allocation. Then the next object most likely is an allocation, too.
    pub expect_allocation: bool,
    pub part: ParsedPart<'a>,
}

/// The result of scanning an object's keys.
pub(super) enum Survey {
    /// The kind of the object, and its end.
    Whole(ObjectKind, usize),
    /// A large object that may contain lists.
    Dump,
    /// The object is larger than [`LARGEST_ALLOCATION`].
    TooLarge,
}

impl PartWalk<'_, '_, '_, '_> {
    /// Called when a value of the enclosing array or object is complete.
    pub(super) fn value_done(&mut self) {
        if self.part.position.around.last().is_some_and(|level| level.role == Container::List)
            && self.part.position.list().is_some()
        {
            self.part.elements += 1;
        }
        self.expect(Expected::CommaOrClose);
    }

    pub(super) fn expect(&mut self, next: Expected) {
        if let Some(level) = self.part.position.around.last_mut() {
            level.next = next;
        }
    }

    pub(super) fn short(&self, at: usize) -> Box<ReadFault> {
        Box::new(ReadFault { kind: FaultKind::End, at, path: String::new(), what: "ends too early".into() })
    }

    pub(super) fn broken(&self, at: usize, wanted: &str) -> Box<ReadFault> {
        let what = not_json(self.bytes, at, wanted);
        Box::new(ReadFault { kind: FaultKind::Syntax, at, path: String::new(), what })
    }

    pub(super) fn reject(&mut self, at: usize, path: String, what: String) {
        let array = self.part.position.list().map(|list| (list.to_owned(), self.part.elements));
        self.part.faults.push(PlacedFault { at, array, list_began: self.part.list_began, path, what });
    }

    /// Called when the document ends inside a value or array.
    pub(super) fn truncated(&mut self, at: usize) {
        let what = "is cut off by the end of the document; everything before it is kept";
        self.reject(at, String::new(), what.into());
        self.part.position = Position::default();
    }

    /// Returns true if only more bytes can show whether a fault of the value at `at` is real.
    pub(super) fn needs_more(&self, at: usize, fault: &ReadFault) -> bool {
        let is_short = fault.kind == FaultKind::End || self.bytes.len() - fault.at < QUOTED;
        is_short && !self.is_last && self.bytes.len() - at <= LARGEST_ALLOCATION
    }
}
