//! Where in a document's structure reading stands.

use super::scan::Skipper;

/// Where in a document's structure reading stands, between two of its parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The arrays and objects around, outermost first; empty between top-level values.
    pub(super) around: Vec<Level>,
    /// A value that is being passed over and goes on in the next part.
    pub(super) skipping: Option<Skipper>,
    /// Syntax is broken; nothing is read until a line begins with one of these bytes.
    pub(super) lost: Option<Lost>,
}

/// One array or object around the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub role: Role,
    pub is_array: bool,
    /// The key of the object around a list: `Allocs` or `Nodes`.
    pub key: &'static str,
    pub next: Next,
}

/// Why an array or object is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Its elements may be allocations.
    List,
    /// A large object that may hold lists.
    Dump,
    /// As `Dump`, and a list was found in it.
    DumpWithList,
    /// Nothing in it is kept, but `--strict` checks it piece by piece.
    PassedOver,
}

/// What may come next inside an array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    ValueOrClose,
    Value,
    CommaOrClose,
}

/// How reading finds back after broken syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Whether a line that begins with `{` will do; after a broken array only `[` does, since the lines that follow
    /// may be its own elements.
    pub objects_too: bool,
    pub at_line_start: bool,
}

impl Place {
    /// Between two elements of a top-level array, behind the comma: where a part of a large array most likely begins.
    pub fn inside_array() -> Place {
        let level = Level { role: Role::List, is_array: true, key: "", next: Next::Value };
        Place { around: vec![level], ..Place::default() }
    }

    /// The path of the list around, without an index: `""` or `.Allocs`. `None` outside of lists, and in a list inside
    /// another one, whose elements are not numbered.
    pub(super) fn list(&self) -> Option<&'static str> {
        let mut lists = self.around.iter().filter(|level| level.role == Role::List);
        let key = match lists.next()?.key {
            "Allocs" => ".Allocs",
            "Nodes" => ".Nodes",
            _ => "",
        };
        lists.next().is_none().then_some(key)
    }
}
