//! Names and their numbers, by which others speak of them.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Names, numbered from 0 as they come. All stand in one text: millions of small pieces of memory, each kept among others
/// that are soon let go, would hold on to all that lies between them.
#[derive(Debug, Default)]
pub struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
}

impl Names {
    /// The number of a name, which it is given if it has none.
    pub fn number(&mut self, name: &str) -> u32 {
        let hash = xxh3_64(name.as_bytes());
        if let Some(number) = self.numbers.find(hash, |number| self.name(*number) == name) {
            return *number;
        }
        let number = self.ends.len() as u32;
        self.text.push_str(name);
        self.ends.push(self.text.len());
        let Names { text, ends, numbers } = self;
        numbers.insert_unique(hash, number, |number| xxh3_64(place(text, ends, *number).as_bytes()));
        number
    }

    /// The name with this number; empty when none has it.
    pub fn name(&self, number: u32) -> &str {
        place(&self.text, &self.ends, number)
    }
}

fn place<'t>(text: &'t str, ends: &[usize], number: u32) -> &'t str {
    let number = number as usize;
    let begin = number.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    ends.get(number).and_then(|end| text.get(begin..*end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut names = Names::default();
        let all: Vec<String> = (0..1000).map(|n| format!("{}é{n}", "x".repeat(n % 7))).chain([String::new()]).collect();
        for round in 0..2 {
            for (number, name) in all.iter().enumerate() {
                assert_eq!(names.number(name), number as u32, "{round}");
                assert_eq!(names.name(number as u32), name);
            }
        }
        assert_eq!(names.name(1001), "");
    }
}
