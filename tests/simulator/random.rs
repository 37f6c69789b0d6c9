//! The simulator's seeded generator. A seed determines a cluster completely.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). It applies
//! multiplications to a counter. The results are random enough for simulated tasks.

use crate::simulator::SECOND;

/// A random stream determined by a seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream for this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent stream, so that the draws of one task do not affect the next one.
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// Any 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`. If `n` is 0, the number is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % (n.max(1) as u64)) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.number() % (high - low + 1).max(1) as u64) as i64
    }

    /// A duration in nanoseconds between two numbers of seconds. It has digits down to nanoseconds, because a round
    /// time would look like one that passed through a float.
    pub fn seconds(&mut self, low: f64, high: f64) -> i64 {
        self.between((low * SECOND as f64) as i64, (high * SECOND as f64) as i64)
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of several values. `of` must not be empty.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of several values, drawn by weight. If all weights are 0, the first value.
    pub fn weighted<T: Copy>(&mut self, of: &[(T, u32)]) -> T {
        let mut left = self.below(of.iter().map(|(_, weight)| *weight as usize).sum());
        for (value, weight) in of {
            match left.checked_sub(*weight as usize) {
                None => return *value,
                Some(rest) => left = rest,
            }
        }
        of[0].0
    }

    /// Puts the values in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }

    /// A random ID in the form in which Nomad creates them: a UUID without version bits.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.number(), self.number());
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }
}
