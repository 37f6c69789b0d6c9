//! The position in a document's structure.

use super::skip::Skipper;

/// The position in a document's structure between two parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The enclosing arrays and objects, outermost first; empty between top-level values.
    pub(super) around: Vec<Level>,
    /// A value that is being skipped and continues in the next part.
    pub(super) skipping: Option<Skipper>,
    /// After a syntax error: nothing is read until a line starts with one of the brackets that the rule accepts.
    pub(super) lost: Option<ResyncRule>,
}

/// An enclosing array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub role: Container,
    pub is_array: bool,
    /// The key of the list in the enclosing object: `Allocs` or `Nodes`.
    pub key: &'static str,
    pub next: Expected,
}

/// Why the reader walks through an array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// Its elements may be allocations.
    List,
    /// A large object that may contain lists.
    Dump,
    /// Like `Dump`, after a list was found in it.
    DumpWithList,
    /// Its content is not used, but `--strict` validates it piece by piece.
    Skipped,
}

/// What may come next inside an array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    ValueOrClose,
    Value,
    CommaOrClose,
}

/// How to resynchronise after broken syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResyncRule {
    /// Whether a line that starts with `{` is accepted. After an error in an array only `[` is accepted, since the
    /// following lines may be elements of that array.
    pub objects_too: bool,
    pub at_line_start: bool,
}

impl Position {
    /// The position between two elements of a top-level array, after the comma. Most parts of a large array start
    /// there.
    pub fn inside_array() -> Position {
        let level = Level { role: Container::List, is_array: true, key: "", next: Expected::Value };
        Position { around: vec![level], ..Position::default() }
    }

    /// The path of the enclosing list, without an index: `""`, `.Allocs` or `.Nodes`. `None` outside of lists, and in a
    /// nested list, because the elements of a nested list are not numbered.
    pub(super) fn list(&self) -> Option<&'static str> {
        let mut lists = self.around.iter().filter(|level| level.role == Container::List);
        let key = match lists.next()?.key {
            "Allocs" => ".Allocs",
            "Nodes" => ".Nodes",
            _ => "",
        };
        lists.next().is_none().then_some(key)
    }
}
