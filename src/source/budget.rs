//! Limits the expansion of archives per input, against zip bombs.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Every input may expand to this many bytes: 1 GiB.
const ALWAYS: u64 = 1 << 30;
/// Beyond that, an input may expand by this factor. Nomad listings compress by a factor of 10 to 100. The deflate
/// format compresses no data by more than a factor of 1,032.
const RATIO: u64 = 1_000;
/// No input may expand to more than this: 1 TiB.
const TOTAL: u64 = 1 << 40;

/// Counts the bytes of one input, and the bytes that all layers of its archives expanded to.
#[derive(Debug, Clone, Default)]
pub struct Budget(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    input: Cell<u64>,
    expanded: Cell<u64>,
    is_told: Cell<bool>,
}

impl Budget {
    /// Sets the size of the input.
    pub fn set_input(&self, bytes: u64) {
        self.0.input.set(bytes);
    }

    /// Counts the bytes of an input of unknown size as they are read.
    pub fn count_input<R: Read>(&self, inner: R) -> CountedInput<R> {
        CountedInput { inner, budget: self.clone() }
    }

    /// Counts decompressed bytes, and fails when there are too many.
    pub fn metered<R: Read>(&self, inner: R) -> Metered<R> {
        Metered { inner, budget: self.clone() }
    }

    /// Returns true if the input expanded beyond its limit. The rest of the input is not read.
    pub fn is_spent(&self) -> bool {
        let Counts { input, expanded, .. } = &*self.0;
        expanded.get() > input.get().saturating_mul(RATIO).clamp(ALWAYS, TOTAL)
    }

    /// Returns true if the excess was already reported, and marks it as reported.
    pub fn is_reported(&self) -> bool {
        self.is_spent() && self.0.is_told.replace(true)
    }
}

/// See [`Budget::count_input`].
pub struct CountedInput<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for CountedInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let input = &self.budget.0.input;
        input.set(input.get() + n as u64);
        Ok(n)
    }
}

/// See [`Budget::metered`].
pub struct Metered<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.budget.is_spent() {
            let what = "its archive expands to more than 1 GiB and 1,000 times its bytes, or to more than 1 TiB; unpack it and name the files";
            return Err(io::Error::other(what));
        }
        let n = self.inner.read(buffer)?;
        let expanded = &self.budget.0.expanded;
        expanded.set(expanded.get() + n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_may_expand_to_a_gibibyte_or_a_thousand_times_its_bytes() {
        let budget = |input: u64, expanded: u64| {
            let budget = Budget::default();
            budget.set_input(input);
            budget.0.expanded.set(expanded);
            budget.is_spent()
        };
        assert!(!budget(0, ALWAYS) && budget(0, ALWAYS + 1));
        assert!(!budget(2 << 30, 2_000 << 30 >> 1) && budget(1 << 21, (1_000 << 21) + 1));
        assert!(budget(u64::MAX, TOTAL + 1));
    }
}
