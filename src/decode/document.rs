//! Finds the allocations in a document of any structure, part by part.
//!
//! A document is a sequence of JSON values: arrays of allocations, single allocations, stream frames, bare events, one
//! large object with `Allocs`, or any mixture. [`Position`] is the position in that structure where a part starts, so
//! that parts can be read in sequence or, if the position can be guessed, in parallel.

use super::key_order::KeyMemory;
use super::walk::PartWalk;

pub use super::part::{AllocationPreview, Item, ItemContent, LARGEST_ALLOCATION, Mode, ParsedPart, PlacedFault, Seen};
pub use super::position::Position;

/// Reads parts of documents. It learns the order of keys, which affects speed but not results.
#[derive(Debug, Default)]
pub struct Reader {
    memory: KeyMemory,
    mode: Mode,
}

impl Reader {
    /// A reader without learned key orders.
    pub fn new(mode: Mode) -> Reader {
        Reader { mode, ..Reader::default() }
    }

    /// Reads `bytes`, which start at `position`; `is_last` means that the document ends with them. `seen` looks up the
    /// version of an allocation before the allocation is read. An allocation whose version is known is skipped.
    ///
    /// How a document is split affects only [`ParsedPart::elements`]. If a part does not contain enough bytes for a
    /// decision, the decision is left to the next part.
    pub fn part<'a>(
        &mut self,
        position: Position,
        bytes: &'a [u8],
        is_last: bool,
        seen: Option<&mut Seen<'_>>,
    ) -> ParsedPart<'a> {
        let part = ParsedPart { position, ..ParsedPart::default() };
        let Reader { memory, mode } = self;
        let mut walk = PartWalk {
            memory,
            strict: mode.strict,
            bytes,
            is_last,
            seen,
            tried: 0,
            known: 0,
            expect_allocation: true,
            part,
        };
        let end = walk.run();
        let mut part = walk.part;
        part.end = end;
        part.unknown = self.memory.take_unknown();
        part
    }
}
