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
    /// How many there are.
    pub fn len(&self) -> u32 {
        self.parts.last().map_or(0, |last| (self.parts.len() - 1) * PART + last.len()) as u32
    }

    /// Adds a value, and gives it its number.
    pub fn push(&mut self, value: T) -> u32 {
        let number = self.len();
        match self.parts.last_mut().filter(|last| last.len() < PART) {
            Some(last) => last.push(value),
            None => {
                let mut part = Vec::with_capacity(PART);
                part.push(value);
                self.parts.push(part);
            }
        }
        number
    }

    /// The value with this number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.parts.get(number as usize / PART)?.get(number as usize % PART)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.parts.get_mut(number as usize / PART)?.get_mut(number as usize % PART)
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
        assert_eq!((parts.get(10_000), parts.len()), (None, 10_000));
        assert_eq!(parts.get_mut(9_999), Some(&mut 29_997));
    }
}
