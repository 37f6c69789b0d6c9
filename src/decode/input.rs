//! What both readers offer to the code that fills records, and how they say that something is wrong.

use std::borrow::Cow;
use std::fmt;

use super::key_order::Predicted;
use super::record::Text;

/// One JSON value, to be read once. Two implementations: [`super::fast::Cursor`] and [`super::reference::Raw`].
///
/// Every method that reads returns a [`Fault`] for a value of another type, and for text that is no JSON as far as it
/// had to be looked at.
pub trait Input<'a>: Sized {
    /// Text; `None` for `null`.
    fn raw_text(&mut self) -> Read<Option<Cow<'a, str>>>;
    /// A whole number, exact; `None` for `null`.
    fn integer(&mut self) -> Read<Option<i64>>;
    /// `true` or `false`; `None` for `null`.
    fn boolean(&mut self) -> Read<Option<bool>>;
    /// Passes over the value.
    fn skip(&mut self) -> Read<()>;
    /// Whether the value is `null`; it is passed over then.
    fn null(&mut self) -> Read<bool>;
    /// An object whose keys are Nomad's: calls `member` for each field that is known; unknown ones are counted and
    /// passed over. `false` for `null`. A field that is read and comes twice is a fault.
    fn object<F: Predicted>(&mut self, member: impl FnMut(&mut Self, F) -> Read<()>) -> Read<bool>;
    /// An object whose keys are data, such as task names: calls `entry` for each. `false` for `null`.
    fn map(&mut self, entry: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<bool>;
    /// An array: calls `element` for each with its index. `false` for `null`.
    fn array(&mut self, element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<bool>;
    /// Where the value that is to be read begins.
    fn place(&self) -> usize;
    /// A value that cannot be believed, at a place that [`Self::place`] gave before it was read.
    fn fault(&self, at: usize, what: impl Into<String>) -> Box<Fault>;

    /// Text; `None` for `null` and for `""`, which is how Nomad writes "nothing".
    fn text(&mut self) -> Read<Text<'a>> {
        Ok(self.raw_text()?.filter(|t| !t.is_empty()))
    }
}

/// What reading gives.
pub type Read<T> = Result<T, Box<Fault>>;

/// Something in a document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How much of the document it spoils.
    pub kind: FaultKind,
    /// Byte offset in the bytes that were read.
    pub at: usize,
    /// Where it stands, outermost part first: `.TaskStates.web.Events[3].Time`.
    pub path: String,
    /// What is wrong, as a clause about the value.
    pub what: String,
}

/// How much of a document a fault spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The allocation around it cannot be believed; what stands after it can.
    Value,
    /// The text is no JSON: nothing after it in this array, object or line can be believed.
    Syntax,
    /// The bytes end before the value does.
    End,
}

impl Fault {
    /// The fault as seen from the object or array around it.
    #[must_use]
    pub fn inside(mut self: Box<Self>, place: impl fmt::Display) -> Box<Self> {
        self.path = format!("{place}{}", self.path);
        self
    }
}

/// What is wrong with a key that is read and comes twice.
pub const TWICE: &str = "belongs to a key that stands here twice";
/// What is wrong with text in another encoding.
pub const NOT_UTF8: &str = "holds bytes that are not UTF-8";
/// What is wrong with an escape such as `\ud800` on its own.
pub const LONE_SURROGATE: &str = "holds half of a surrogate pair, which is no character";

/// A message quotes what stands within this many bytes.
pub const QUOTED: usize = 48;

/// What is wrong where something else than `wanted` stands: `is not JSON: found "x}" instead of a value`.
pub fn not_json(bytes: &[u8], at: usize, wanted: &str) -> String {
    let some = &bytes[at..bytes.len().min(at + QUOTED)];
    let found: String = String::from_utf8_lossy(some).chars().take(12).collect();
    format!("is not JSON: found {found:?} instead of {wanted}")
}

/// A key as part of a path: `.Name`, or `["odd name"]`. Odd characters are escaped, so that a message stays one line.
pub fn key(name: &str) -> String {
    const LONGEST: usize = 100;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if let Some((end, _)) = name.char_indices().nth(LONGEST) {
        return format!("[{:?}…]", &name[..end]);
    }
    if !name.is_empty() && name.chars().all(plain) { format!(".{name}") } else { format!("[{name:?}]") }
}
