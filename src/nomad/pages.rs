//! The pages of a listing as the one array that they are parts of.

/// Joins JSON arrays that arrive in pieces into one, without a look at what is in them.
#[derive(Debug, Default)]
pub struct Join {
    /// Where in its page reading stands.
    place: Place,
    /// Whether there was an element.
    any: bool,
    /// A bracket that may be the page's last, and the white space behind it.
    held: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the page's opening bracket.
    #[default]
    Outside,
    /// Behind it, before the first element.
    Opened,
    /// Within or behind the first element.
    Inside,
    /// Behind the bracket of a page without elements.
    Closed,
}

/// What a page turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// An array with elements.
    Whole,
    /// An array without elements.
    Empty,
    /// An array that ends before its bracket, or none at all.
    Broken,
}

impl Join {
    /// Takes a piece of the page, and adds what is certain of it to `out`.
    pub fn piece(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while self.place != Place::Inside {
            bytes = bytes.trim_ascii_start();
            let Some((first, rest)) = bytes.split_first() else { return };
            match (self.place, first) {
                (Place::Outside, b'[') => (self.place, bytes) = (Place::Opened, rest),
                (Place::Opened, b']') => (self.place, bytes) = (Place::Closed, rest),
                _ => {
                    out.push(if self.any { b',' } else { b'[' });
                    self.any = true;
                    self.place = Place::Inside;
                }
            }
        }
        let end = bytes.trim_ascii_end().len();
        if end == 0 {
            // White space alone: what is held may still be the last.
            if !self.held.is_empty() {
                self.held.extend_from_slice(bytes);
            } else {
                out.extend_from_slice(bytes);
            }
            return;
        }
        out.append(&mut self.held);
        let split = if bytes[end - 1] == b']' { end - 1 } else { bytes.len() };
        out.extend_from_slice(&bytes[..split]);
        self.held.extend_from_slice(&bytes[split..]);
    }

    /// The page is at its end: what it was.
    pub fn page_end(&mut self) -> Page {
        let page = match self.place {
            Place::Inside if !self.held.is_empty() => Page::Whole,
            Place::Closed => Page::Empty,
            _ => Page::Broken,
        };
        self.held.clear();
        self.place = Place::Outside;
        page
    }

    /// What stands behind the last page.
    pub fn end(&self) -> &'static [u8] {
        if self.any { b"]" } else { b"[]" }
    }
}

/// Notices when the tokens of pages come round again, with one of them in memory (Brent's algorithm for cycles).
#[derive(Debug, Default)]
pub struct Tokens {
    kept: String,
    /// How many tokens came since, and at how many the newest is kept instead.
    since: u64,
    renewed_at: u64,
}

impl Tokens {
    /// Returns true if a token is one that came before. A cycle is noticed after a few rounds.
    pub fn is_repeated(&mut self, token: &str) -> bool {
        if self.kept == token {
            return true;
        }
        self.since += 1;
        if self.since > self.renewed_at {
            token.clone_into(&mut self.kept);
            self.renewed_at += self.since;
            self.since = 0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_come_round_again_are_noticed_and_others_are_not() {
        let mut tokens = Tokens::default();
        assert!((0..100_000).all(|n| !tokens.is_repeated(&n.to_string())));
        for (before, cycle) in [(0, 1), (0, 2), (5, 7), (100, 1), (3, 1000)] {
            let mut tokens = Tokens::default();
            let token = |n: usize| if n < before { n } else { before + (n - before) % cycle };
            let noticed = (0..).find(|n| tokens.is_repeated(&token(*n).to_string())).unwrap_or_default();
            assert!(noticed >= before + cycle && noticed <= 4 * (before + cycle), "{before}, {cycle}: {noticed}");
        }
    }

    /// The pages joined, each handed over in pieces of `size` bytes.
    fn joined(pages: &[&str], size: usize) -> String {
        let (mut join, mut out) = (Join::default(), Vec::new());
        for page in pages {
            page.as_bytes().chunks(size).for_each(|piece| join.piece(piece, &mut out));
            assert_ne!(join.page_end(), Page::Broken, "{page}");
        }
        out.extend_from_slice(join.end());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pages_become_one_array_wherever_they_are_cut() {
        for size in 1..12 {
            assert_eq!(joined(&["[{\"a\":[1]},2]", "[[3]]\n", "[ ]", "[\"]\"]"], size), "[{\"a\":[1]},2,[3],\"]\"]");
            assert_eq!(joined(&["[]", " [ 1 ] "], size), "[1 ]");
            assert_eq!(joined(&["[]", "[]"], size), "[]");
        }
    }

    #[test]
    fn a_page_that_breaks_off_is_told() {
        for page in ["", "[", "[1", "[[1],"] {
            let (mut join, mut out) = (Join::default(), Vec::new());
            join.piece(page.as_bytes(), &mut out);
            assert_eq!(join.page_end(), Page::Broken, "{page}");
        }
    }
}
