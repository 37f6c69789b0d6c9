//! Which rows were met, by the allocation they belong to.

use std::collections::HashSet;

/// Words that stand together.
const PART: usize = 8192;
/// Hashes of one allocation that are searched one after another; beyond, they are looked up.
const SEARCHED: usize = 256;

/// A hash of each row that was met. The rows of one allocation are few and come together, so their hashes stand in a row:
/// a set of all of them would take three times the memory, since a part of it is always empty, and would have to tell
/// each row from all others, for which 64 bits are not enough. Two different rows of an allocation of a thousand share
/// a hash with a chance of 3 in 10^14.
#[derive(Debug, Default)]
pub struct Met {
    /// Runs of hashes, each behind a word that says where the run before it begins and how many hashes it has. They never
    /// move: what grows by moving leaves a hole of its size that nothing else fills.
    parts: Vec<Vec<u64>>,
    /// Where each allocation's last run begins, by its number.
    last: Vec<Begin>,
    /// Hashes of allocations that have many.
    more: HashSet<(u32, u64)>,
}

/// The first word of a run, counted from 1; 0 for none.
type Begin = u32;

impl Met {
    /// Whether a row of an allocation was not met before; from now on it was.
    pub fn is_new(&mut self, alloc: u32, hash: u64) -> bool {
        let last = self.last.get(alloc as usize).copied().unwrap_or(0);
        let (mut begin, mut searched) = (last, 0);
        while let Some((before, hashes)) = self.run(begin) {
            if hashes.contains(&hash) {
                return false;
            }
            searched += hashes.len();
            begin = before;
        }
        if searched < SEARCHED && self.push(alloc, last, hash) {
            return true;
        }
        self.more.insert((alloc, hash))
    }

    /// The run that begins there, and where the one before it begins; `None` where none does.
    fn run(&self, begin: Begin) -> Option<(Begin, &[u64])> {
        let word = (begin as usize).checked_sub(1)?;
        let (head, rest) = self.parts.get(word / PART)?.get(word % PART..)?.split_first()?;
        Some(((head >> 32) as Begin, rest.get(..*head as u32 as usize)?))
    }

    /// Adds a hash: to the allocation's last run if nothing stands behind it, or else as a new run. `false` when there
    /// are more words than can be numbered.
    fn push(&mut self, alloc: u32, last: Begin, hash: u64) -> bool {
        let end = self.run(last).map(|(_, hashes)| last as usize + hashes.len());
        if self.parts.last().is_none_or(|part| part.len() + 2 > PART) {
            self.parts.push(Vec::with_capacity(PART));
        }
        let before = (self.parts.len() - 1) * PART;
        let Some(part) = self.parts.last_mut() else { return false };
        if end == Some(before + part.len()) && !part.is_empty() {
            part[(last as usize - 1) % PART] += 1;
            part.push(hash);
            return true;
        }
        let Ok(begin) = Begin::try_from(before + part.len() + 1) else { return false };
        part.extend([u64::from(last) << 32 | 1, hash]);
        let alloc = alloc as usize;
        if self.last.len() <= alloc {
            self.last.resize(alloc + 1, 0);
        }
        self.last[alloc] = begin;
        true
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
        assert!(met.parts.len() > 2 && met.more.len() > SEARCHED, "{} {}", met.parts.len(), met.more.len());
    }
}
