//! Joins the pages of a listing into one array.

/// Joins JSON arrays that arrive in pieces, without parsing their elements.
#[derive(Debug, Default)]
pub struct Join {
    /// Position in the current page.
    state: ParserState,
    /// True after the first element.
    any: bool,
    /// A closing bracket that may be the last byte of the page, and the white space after it.
    held: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    /// Before the page's opening bracket.
    #[default]
    Outside,
    /// After the opening bracket, before the first element.
    Opened,
    /// In or after the first element.
    Inside,
    /// After the closing bracket of an empty page.
    Closed,
}

/// The kind of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// An array with elements.
    Whole,
    /// An array without elements.
    Empty,
    /// A truncated array, or no array.
    Broken,
}

impl Join {
    /// Takes a piece of the page. Appends to `out` the bytes that certainly belong to the joined array.
    pub fn piece(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while self.state != ParserState::Inside {
            bytes = bytes.trim_ascii_start();
            let Some((first, rest)) = bytes.split_first() else { return };
            match (self.state, first) {
                (ParserState::Outside, b'[') => (self.state, bytes) = (ParserState::Opened, rest),
                (ParserState::Opened, b']') => (self.state, bytes) = (ParserState::Closed, rest),
                _ => {
                    out.push(if self.any { b',' } else { b'[' });
                    self.any = true;
                    self.state = ParserState::Inside;
                }
            }
        }
        let end = bytes.trim_ascii_end().len();
        if end == 0 {
            // The piece is white space only, so the held bracket may still be the last byte of the page.
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

    /// Ends a page, and returns its kind.
    pub fn page_end(&mut self) -> PageKind {
        let page = match self.state {
            ParserState::Inside if !self.held.is_empty() => PageKind::Whole,
            ParserState::Closed => PageKind::Empty,
            _ => PageKind::Broken,
        };
        self.held.clear();
        self.state = ParserState::Outside;
        page
    }

    /// The bytes after the last page.
    pub fn end(&self) -> &'static [u8] {
        if self.any { b"]" } else { b"[]" }
    }
}

/// Detects repeated page tokens, with one token in memory (Brent's cycle detection).
#[derive(Debug, Default)]
pub struct Tokens {
    /// The stored token.
    kept: String,
    /// Number of tokens since the stored one.
    since: u64,
    /// If `since` exceeds this number, the newest token replaces the stored one.
    renewed_at: u64,
}

impl Tokens {
    /// Returns true if a token is repeated. A cycle is detected after a few rounds.
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
    fn only_repeated_tokens_are_detected() {
        let mut tokens = Tokens::default();
        assert!((0..100_000).all(|n| !tokens.is_repeated(&n.to_string())));
        for (before, cycle) in [(0, 1), (0, 2), (5, 7), (100, 1), (3, 1000)] {
            let mut tokens = Tokens::default();
            let token = |n: usize| if n < before { n } else { before + (n - before) % cycle };
            let noticed = (0..).find(|n| tokens.is_repeated(&token(*n).to_string())).unwrap_or_default();
            assert!(noticed >= before + cycle && noticed <= 4 * (before + cycle), "{before}, {cycle}: {noticed}");
        }
    }

    /// Joins pages, each passed in pieces of `size` bytes.
    fn joined(pages: &[&str], size: usize) -> String {
        let (mut join, mut out) = (Join::default(), Vec::new());
        for page in pages {
            page.as_bytes().chunks(size).for_each(|piece| join.piece(piece, &mut out));
            assert_ne!(join.page_end(), PageKind::Broken, "{page}");
        }
        out.extend_from_slice(join.end());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pages_become_one_array_at_every_cut() {
        for size in 1..12 {
            assert_eq!(joined(&["[{\"a\":[1]},2]", "[[3]]\n", "[ ]", "[\"]\"]"], size), "[{\"a\":[1]},2,[3],\"]\"]");
            assert_eq!(joined(&["[]", " [ 1 ] "], size), "[1 ]");
            assert_eq!(joined(&["[]", "[]"], size), "[]");
        }
    }

    #[test]
    fn a_truncated_page_is_reported() {
        for page in ["", "[", "[1", "[[1],"] {
            let (mut join, mut out) = (Join::default(), Vec::new());
            join.piece(page.as_bytes(), &mut out);
            assert_eq!(join.page_end(), PageKind::Broken, "{page}");
        }
    }
}
