//! Finds the allocations in a document of whatever shape, part by part.
//!
//! A document is a sequence of JSON values: arrays of allocations, single allocations, stream frames, bare events, one
//! large object with `Allocs`, or any mixture. [`Place`] says where in that structure a part begins, so that parts can
//! be read one after the other or, where the place can be guessed, at the same time.

use super::key_order::Memory;
use super::walk::Walk;

pub use super::part::{Content, Head, Item, LARGEST_ALLOCATION, Mode, Part, PlacedFault, Seen};
pub use super::place::Place;

/// Reads parts of documents. It learns the order of keys, which changes its speed and never its results.
#[derive(Debug, Default)]
pub struct Reader {
    memory: Memory,
    mode: Mode,
}

impl Reader {
    /// A reader that has learnt nothing yet.
    pub fn new(mode: Mode) -> Reader {
        Reader { mode, ..Reader::default() }
    }

    /// Reads `bytes`, which begin at `place`; `is_last` says that the document ends with them. `seen` is asked for each
    /// allocation whose version can be told early; when it knows the version, the allocation is not read.
    ///
    /// Where the document was cut into parts shows in nothing but [`Part::elements`]: what a part cannot decide, it
    /// leaves to the next, and nothing is decided by what happens to be at hand.
    pub fn part<'a>(&mut self, place: Place, bytes: &'a [u8], is_last: bool, seen: Option<&mut Seen<'_>>) -> Part<'a> {
        let part = Part { place, ..Part::default() };
        let Reader { memory, mode } = self;
        let mut walk = Walk {
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
