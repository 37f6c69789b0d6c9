//! The interface of both readers, and the faults they report.

use std::borrow::Cow;
use std::fmt;

use super::key_order::Predicted;
use super::record::Text;

/// One JSON value, which can be read once. The implementations are [`super::fast::Cursor`] and [`super::strict::Raw`].
///
/// Every reading method returns a [`ReadFault`] for a value of another type. It also returns one for invalid JSON in
/// the bytes that it inspected.
pub trait ValueReader<'a>: Sized {
    /// Text; `None` for `null`.
    fn raw_text(&mut self) -> Read<Option<Cow<'a, str>>>;
    /// An exact integer; `None` for `null`.
    fn integer(&mut self) -> Read<Option<i64>>;
    /// `true` or `false`; `None` for `null`.
    fn boolean(&mut self) -> Read<Option<bool>>;
    /// Skips the value.
    fn skip(&mut self) -> Read<()>;
    /// Returns true if the value is `null`; in that case skips it.
    fn null(&mut self) -> Read<bool>;
    /// Reads an object with Nomad's keys: calls `member` for each known field, counts and skips each unknown one.
    /// Returns false for `null`. A repeated field is a fault.
    fn object<F: Predicted>(&mut self, member: impl FnMut(&mut Self, F) -> Read<()>) -> Read<bool>;
    /// Reads an object whose keys are data, such as task names: calls `entry` for each key. Returns false for `null`.
    fn map(&mut self, entry: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<bool>;
    /// Reads an array: calls `element` for each element with its index. Returns false for `null`.
    fn array(&mut self, element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<bool>;
    /// The position of the value.
    fn position(&self) -> usize;
    /// The fault of an invalid value. `at` is what [`Self::position`] returned before the value was read.
    fn fault(&self, at: usize, what: impl Into<String>) -> Box<ReadFault>;

    /// Text; `None` for `null` and for `""`, which is how Nomad writes "nothing".
    fn text(&mut self) -> Read<Text<'a>> {
        Ok(self.raw_text()?.filter(|t| !t.is_empty()))
    }
}

/// The result of reading.
pub type Read<T> = Result<T, Box<ReadFault>>;

/// Something in a document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFault {
    /// How much of the document it affects.
    pub kind: FaultKind,
    /// Byte offset in the bytes that were read.
    pub at: usize,
    /// The path of the value, outermost part first: `.TaskStates.web.Events[3].Time`.
    pub path: String,
    /// The problem, as a clause about the value.
    pub what: String,
}

/// How much of a document a fault affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The enclosing allocation is rejected; the values after it can be read.
    Value,
    /// Invalid JSON: nothing after it in this array, object or line can be trusted.
    Syntax,
    /// The bytes end before the value does.
    End,
}

impl ReadFault {
    /// The fault with the enclosing object or array added to its path.
    #[must_use]
    pub fn inside(mut self: Box<Self>, step: impl fmt::Display) -> Box<Self> {
        self.path = format!("{step}{}", self.path);
        self
    }
}

/// The problem of a repeated key whose value is read.
pub const TWICE: &str = "belongs to a repeated key";
/// The problem of text in another encoding.
pub const NOT_UTF8: &str = "holds bytes that are not UTF-8";
/// The problem of an escape such as `\ud800` on its own.
pub const LONE_SURROGATE: &str = "holds half of a surrogate pair, which is not a character";

/// How many bytes of input a message needs to quote 12 characters.
pub const QUOTED: usize = 48;

/// The problem of unexpected text, for example `is not JSON: found "x}" instead of a value`.
pub fn not_json(bytes: &[u8], at: usize, wanted: &str) -> String {
    let some = &bytes[at..bytes.len().min(at + QUOTED)];
    let found: String = String::from_utf8_lossy(some).chars().take(12).collect();
    format!("is not JSON: found {found:?} instead of {wanted}")
}

/// A key as part of a path: `.Name`, or `["odd name"]`. Special characters are escaped, so that a message stays one
/// line.
pub fn key(name: &str) -> String {
    const LONGEST: usize = 100;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if let Some((end, _)) = name.char_indices().nth(LONGEST) {
        return format!("[{:?}…]", &name[..end]);
    }
    if !name.is_empty() && name.chars().all(plain) { format!(".{name}") } else { format!("[{name:?}]") }
}
