//! A hash set of rows, grouped by allocation.

use std::iter::successors;

use hashbrown::HashSet;

use super::chunked_vec::ChunkedVec;

/// Hashes per block, so that a block fills one cache line.
const HASHES: usize = 7;
/// How many blocks of one allocation are searched linearly. The hashes of an allocation that needs more blocks move to
/// a hash set.
const SEARCHED: usize = 8;
/// The number that stands for "no block".
const NONE: u32 = u32::MAX;
/// The number that stands for "the hashes of this allocation are in the hash set".
const MANY: u32 = NONE - 1;

/// One 64-bit hash per row. Most allocations have few rows, and the hashes of these rows are stored in blocks that
/// belong to one allocation. A single hash set for all rows would have unused slots, and would need hashes of more than
/// 64 bits to avoid collisions. Among a thousand rows of one allocation, two hashes collide with a probability of 1 in
/// 3e13.
#[derive(Debug, Default)]
pub struct RowSet {
    blocks: ChunkedVec<HashBlock>,
    /// The last block of each allocation, by the number of the allocation.
    last: Vec<u32>,
    /// Hashes of allocations with many rows.
    many: HashSet<RowHash>,
}

/// A block of hashes of one allocation.
#[derive(Debug)]
struct HashBlock {
    /// The number of the previous block of the allocation.
    before: u32,
    len: u32,
    hashes: [u64; HASHES],
}

/// The hash of a row of an allocation with many rows. The struct is packed, because padding would be a quarter of its
/// size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, packed(4))]
struct RowHash {
    alloc: u32,
    hash: u64,
}

impl HashBlock {
    fn hashes(&self) -> &[u64] {
        self.hashes.get(..self.len as usize).unwrap_or_default()
    }
}

impl RowSet {
    /// Returns true if a row was not in the set, and adds it.
    pub fn is_new(&mut self, alloc: u32, hash: u64) -> bool {
        let number = alloc as usize;
        if self.last.len() <= number {
            self.last.resize(number + 1, NONE);
        }
        let last = self.last[number];
        if last == MANY {
            return self.many.insert(RowHash { alloc, hash });
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
            self.last[number] = self.blocks.push(HashBlock { before: last, len: 1, hashes });
        } else {
            let all: Vec<u64> = self.blocks(last).flat_map(HashBlock::hashes).copied().chain([hash]).collect();
            self.many.extend(all.into_iter().map(|hash| RowHash { alloc, hash }));
            self.last[number] = MANY;
        }
        true
    }

    /// Iterates over a block and the blocks before it.
    fn blocks(&self, last: u32) -> impl Iterator<Item = &HashBlock> {
        successors(self.blocks.get(last), |block| self.blocks.get(block.before))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Tests allocations that get all rows at once, and some that get single rows at intervals, up to many rows.
    #[test]
    fn a_row_is_new_once() {
        let (mut met, mut truth) = (RowSet::default(), HashSet::new());
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
        // All blocks are full, except the last of each allocation and those moved to the hash set.
        assert!(met.blocks.len() as usize <= rows / HASHES + 2_000 + 7 * SEARCHED, "{}", met.blocks.len());
    }
}
