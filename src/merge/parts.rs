//! Values in a row that never move.

/// Values that stand together.
const PART: usize = 4096;

/// Values, numbered from 0 as they come. A `Vec` that grows leaves a hole of its size where it stood, which nothing else
/// fills while everything is smaller.
#[derive(Debug)]
pub struct Parts<T> {
    parts: Vec<Vec<T>>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Parts { parts: Vec::new() }
    }
}

impl<T> Parts<T> {
    /// Adds a value, and gives it its number.
    pub fn push(&mut self, value: T) -> u32 {
        if self.parts.last().is_none_or(|part| part.len() == PART) {
            self.parts.push(Vec::with_capacity(PART));
        }
        let before = (self.parts.len() - 1) * PART;
        let Some(last) = self.parts.last_mut() else { return 0 };
        last.push(value);
        (before + last.len() - 1) as u32
    }

    /// The value with this number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.parts.get(number as usize / PART)?.get(number as usize % PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_number() {
        let mut parts = Parts::default();
        assert!((0..10_000u32).all(|n| parts.push(n * 3) == n));
        assert!((0..10_000u32).all(|n| parts.get(n) == Some(&(n * 3))));
        assert_eq!(parts.get(10_000), None);
    }
}
