//! A string interner: maps names to numbers.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Names per chunk.
const CHUNK: usize = 4096;

/// Names, numbered from 0 in order of arrival. Names are kept until the end of the run. Many names share one buffer,
/// because millions of small, long-lived heap allocations would fragment the heap.
#[derive(Debug, Default)]
pub struct Interner {
    parts: Vec<Chunk>,
    numbers: HashTable<u32>,
}

/// A chunk of concatenated names.
#[derive(Debug, Default)]
struct Chunk {
    text: String,
    /// The position in `text` at which each name ends.
    ends: Vec<usize>,
}

impl Interner {
    /// The number of a name; adds it if it is new.
    pub fn number(&mut self, name: &str) -> u32 {
        let hash = xxh3_64(name.as_bytes());
        if let Some(number) = self.numbers.find(hash, |number| self.name(*number) == name) {
            return *number;
        }
        let count = self.numbers.len();
        let number = count as u32;
        if count == self.parts.len() * CHUNK {
            self.parts.push(Chunk::default());
        }
        let part = &mut self.parts[count / CHUNK];
        part.text.push_str(name);
        part.ends.push(part.text.len());
        let parts = &self.parts;
        self.numbers.insert_unique(hash, number, |number| xxh3_64(name_in(parts, *number).as_bytes()));
        number
    }

    /// The name with this number; empty if the number is unknown.
    pub fn name(&self, number: u32) -> &str {
        name_in(&self.parts, number)
    }
}

fn name_in(parts: &[Chunk], number: u32) -> &str {
    parts.get(number as usize / CHUNK).and_then(|part| part.name(number as usize % CHUNK)).unwrap_or_default()
}

impl Chunk {
    fn name(&self, number: usize) -> Option<&str> {
        let begin = if number == 0 { 0 } else { *self.ends.get(number - 1)? };
        self.text.get(begin..*self.ends.get(number)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Interner::default();
        let texts = (0..10_000).map(|n| format!("{}é{n}", "x".repeat(n % 7)));
        let all: Vec<String> = [String::new()].into_iter().chain(texts).collect();
        for round in 0..2 {
            for (number, name) in all.iter().enumerate() {
                assert_eq!(names.number(name), number as u32, "{round}");
                assert_eq!(names.name(number as u32), name);
            }
        }
        assert_eq!((names.name(10_001), names.name(u32::MAX)), ("", ""));
    }
}
