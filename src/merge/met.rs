//! Which rows were met, by the allocation they belong to.

use std::iter::successors;

use hashbrown::HashSet;

use super::parts::Parts;

/// Hashes of a block: with what stands before them, it fills a line of the processor's cache.
const HASHES: usize = 7;
/// Blocks of one allocation that are searched one after another; where there would be more, hashes are looked up.
const SEARCHED: usize = 8;
/// In the place of a block: there is none.
const NONE: u32 = u32::MAX;
/// In the place of an allocation's last block: its hashes are among those that are looked up.
const MANY: u32 = NONE - 1;

/// A hash of each row that was met. Most allocations have few rows, and these have blocks of their own: a set of all rows
/// is never full, and has to tell each from all others, for which 64 bits are not enough. Among a thousand rows of an
/// allocation, two share a hash by chance once in 3 times 10^13.
#[derive(Debug, Default)]
pub struct Met {
    blocks: Parts<Block>,
    /// Each allocation's last block, by its number.
    last: Vec<u32>,
    /// Hashes of allocations that have many.
    many: HashSet<Row>,
}

/// Some hashes of one allocation.
#[derive(Debug)]
struct Block {
    /// The block before it.
    before: u32,
    len: u32,
    hashes: [u64; HASHES],
}

/// A row of an allocation that has many. Without gaps between its values, which would be a quarter of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, packed(4))]
struct Row {
    alloc: u32,
    hash: u64,
}

impl Block {
    fn hashes(&self) -> &[u64] {
        self.hashes.get(..self.len as usize).unwrap_or_default()
    }
}

impl Met {
    /// Whether a row of an allocation was not met before; from now on it was.
    pub fn is_new(&mut self, alloc: u32, hash: u64) -> bool {
        let number = alloc as usize;
        if self.last.len() <= number {
            self.last.resize(number + 1, NONE);
        }
        let last = self.last[number];
        if last == MANY {
            return self.many.insert(Row { alloc, hash });
        }
        if self.blocks(last).any(|block| block.hashes().contains(&hash)) {
            return false;
        }
        if let Some(block) = self.blocks.get_mut(last).filter(|block| block.hashes().len() < HASHES) {
            block.hashes[block.len as usize] = hash;
            block.len += 1;
        } else if self.blocks(last).count() < SEARCHED && self.blocks.len() < MANY {
            let mut hashes = [0; HASHES];
            hashes[0] = hash;
            self.last[number] = self.blocks.push(Block { before: last, len: 1, hashes });
        } else {
            let all: Vec<u64> = self.blocks(last).flat_map(Block::hashes).copied().chain([hash]).collect();
            self.many.extend(all.into_iter().map(|hash| Row { alloc, hash }));
            self.last[number] = MANY;
        }
        true
    }

    /// A block and those before it.
    fn blocks(&self, last: u32) -> impl Iterator<Item = &Block> {
        successors(self.blocks.get(last), |block| self.blocks.get(block.before))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Allocations whose rows come together, and some that get one every now and then, up to many.
    #[test]
    fn a_row_is_new_once() {
        let (mut met, mut truth) = (Met::default(), HashSet::new());
        let mut meet = |alloc: u32, row: u64| {
            let hash = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            assert_eq!(met.is_new(alloc, hash), truth.insert((alloc, hash)), "row {row} of {alloc}");
        };
        for round in 0..2_000u32 {
            (0..round % 19).for_each(|row| meet(100 + round, row.into()));
            (0..7).for_each(|alloc| meet(alloc, (round % (100 << alloc)).into()));
            (0..round % 17).for_each(|row| meet(100 + round / 2, row.into()));
        }
        assert_eq!(met.last.iter().filter(|last| **last == MANY).count(), 7);
        let rows = truth.iter().filter(|(alloc, _)| *alloc >= 100).count();
        assert_eq!(met.many.len() + rows, truth.len());
        // They fill what blocks there are, but for the last of each allocation, and those of which all was moved.
        assert!(met.blocks.len() as usize <= rows / HASHES + 2_000 + 7 * SEARCHED, "{}", met.blocks.len());
    }
}
