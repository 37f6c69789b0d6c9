//! A chunked vector whose values never move.

/// Values per chunk.
const CHUNK: usize = 4096;

/// Values, numbered from 0 in order of arrival. The type replaces a single `Vec`, which would move to a larger buffer
/// when it grows. Each former buffer would leave a hole in the heap that smaller allocations do not fill.
#[derive(Debug)]
pub struct ChunkedVec<T> {
    parts: Vec<Vec<T>>,
}

impl<T> Default for ChunkedVec<T> {
    fn default() -> Self {
        ChunkedVec { parts: Vec::new() }
    }
}

impl<T> ChunkedVec<T> {
    /// The number of values.
    pub fn len(&self) -> u32 {
        self.parts.last().map_or(0, |last| (self.parts.len() - 1) * CHUNK + last.len()) as u32
    }

    /// Adds a value and returns its number.
    pub fn push(&mut self, value: T) -> u32 {
        let number = self.len();
        match self.parts.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(value),
            None => {
                let mut part = Vec::with_capacity(CHUNK);
                part.push(value);
                self.parts.push(part);
            }
        }
        number
    }

    /// The value with this number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.parts.get(number as usize / CHUNK)?.get(number as usize % CHUNK)
    }

    /// The value with this number, mutable.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.parts.get_mut(number as usize / CHUNK)?.get_mut(number as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_numbers() {
        let mut parts = ChunkedVec::default();
        assert!((0..10_000u32).all(|n| parts.push(n * 3) == n));
        assert!((0..10_000u32).all(|n| parts.get(n) == Some(&(n * 3))));
        assert_eq!((parts.get(10_000), parts.len()), (None, 10_000));
        assert_eq!(parts.get_mut(9_999), Some(&mut 29_997));
    }
}
