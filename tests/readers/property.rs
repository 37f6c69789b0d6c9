//! Properties of any input. The fuzzer in `fuzz/` includes this file and checks the same properties.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::decode::document::{AllocationPreview, ItemContent, Mode, Position, Reader};
use super::decode::key_order::Unknown;

/// The result of reading a document. All positions are those in the whole document.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome<'a> {
    /// Allocations and nodes, with their bytes.
    pub items: Vec<(Range<usize>, ItemContent<'a>)>,
    /// The faults.
    pub faults: Vec<Told>,
    /// Number of other values.
    pub others: u64,
    /// Number of lists.
    pub lists: u64,
    pub dumps: u64,
    pub frames: u64,
    /// Unknown fields.
    pub unknown: Unknown,
}

/// A fault as reported to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Byte offset.
    pub at: usize,
    /// JSON path.
    pub path: String,
    /// The problem.
    pub what: String,
}

impl Told {
    /// Returns true for invalid JSON, as opposed to an unsupported value.
    pub fn is_damage(&self) -> bool {
        let words = [
            "is not JSON",
            "control character",
            "escape that JSON",
            "not UTF-8",
            "ends too early",
            "end of the document",
        ];
        words.iter().any(|word| self.what.contains(word))
    }
}

/// Reads a document in parts that end at `cuts`. Each part starts with the state of the one before it, as in the
/// intake.
pub fn read<'a>(bytes: &'a [u8], cuts: &[usize], strict: bool) -> Outcome<'a> {
    read_seen(bytes, cuts, strict, None)
}

type Seen<'s> = Option<&'s mut dyn FnMut(&AllocationPreview<'_>) -> Option<u32>>;

fn read_seen<'a>(bytes: &'a [u8], cuts: &[usize], strict: bool, mut seen: Seen<'_>) -> Outcome<'a> {
    let mut reader = Reader::new(Mode { strict });
    let mut outcome = Outcome::default();
    let mut position = Position::default();
    let (mut from, mut elements) = (0, 0);
    for end in cuts.iter().copied().chain([usize::MAX]) {
        let is_last = end == usize::MAX;
        let end = end.clamp(from, bytes.len());
        let seen: Seen<'_> = match &mut seen {
            Some(seen) => Some(&mut **seen),
            None => None,
        };
        let part = reader.part(std::mem::take(&mut position), &bytes[from..end], is_last, seen);
        assert!(part.end <= end - from, "a part ends within its bytes");
        assert!(!is_last || part.end == end - from, "the last part contains all remaining bytes");
        for item in part.items {
            outcome.items.push((item.bytes.start + from..item.bytes.end + from, item.content));
        }
        for fault in part.faults {
            assert!(fault.at <= end - from, "a fault is within its part");
            let path = match fault.array {
                Some((list, n)) => {
                    format!("{list}[{}]{}", if fault.list_began { n } else { elements + n }, fault.path)
                }
                None => fault.path,
            };
            outcome.faults.push(Told { at: fault.at + from, path, what: fault.what });
        }
        elements = if part.list_began { part.elements } else { elements + part.elements };
        outcome.others += part.others;
        outcome.lists += part.lists;
        outcome.dumps += part.dumps;
        outcome.frames += part.frames;
        for (name, times) in part.unknown {
            *outcome.unknown.entry(name).or_default() += times;
        }
        from += part.end;
        position = part.position;
    }
    outcome
}

/// Checks with serde_json that the bytes are a sequence of JSON values. If they are not, returns a position up to which
/// they are valid.
pub fn validity(bytes: &[u8]) -> Result<(), usize> {
    let utf8 = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), |_| usize::MAX);
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    let syntax = values.find_map(Result::err).map_or(usize::MAX, |e| {
        let line: usize =
            bytes.split_inclusive(|b| *b == b'\n').take(e.line().saturating_sub(1)).map(<[u8]>::len).sum();
        // serde_json counts columns from 1, and may point to the byte before or after the error.
        (line + e.column()).saturating_sub(2)
    });
    match utf8.min(syntax) {
        usize::MAX => Ok(()),
        position => Err(position),
    }
}

/// Asserts that two outcomes are equal. If not, shows where they differ.
pub fn assert_same(a: &Outcome<'_>, b: &Outcome<'_>, what: &str) {
    if a == b {
        return;
    }
    let other = a.items.iter().zip(&b.items).position(|(a, b)| a != b).unwrap_or(a.items.len().min(b.items.len()));
    assert_eq!(a.faults, b.faults, "{what}");
    assert_eq!(a.items.get(other), b.items.get(other), "{what}, item {other}");
    assert_eq!(
        (a.others, a.lists, a.dumps, a.frames, &a.unknown),
        (b.others, b.lists, b.dumps, b.frames, &b.unknown),
        "{what}"
    );
}

/// Checks all properties of a document.
///
/// # Panics
/// When a property does not hold.
pub fn check(bytes: &[u8]) {
    let fast = read(bytes, &[], false);
    let strict = read(bytes, &[], true);
    match validity(bytes) {
        Ok(()) => {
            assert_same(&fast, &strict, "both readers read valid JSON alike");
            assert!(!fast.faults.iter().any(Told::is_damage), "valid JSON is not damaged: {:?}", fast.faults);
        }
        Err(position) => {
            // Byte order marks and record separators between values are not JSON, but they are not damage either.
            let may_be_sound = bytes.contains(&0x1E) || bytes.windows(3).any(|w| w == b"\xEF\xBB\xBF");
            assert!(may_be_sound || !strict.faults.is_empty(), "the strict reader refuses invalid JSON");
            // A damaged frame is refused with all its events, so only elements of lists can be compared.
            let sure = |outcome: &Outcome<'_>| -> String {
                let allocations =
                    outcome.items.iter().filter(|(_, content)| matches!(content, ItemContent::Allocation(_)));
                format!("{:?}", allocations.filter(|(range, _)| range.end <= position).collect::<Vec<_>>())
            };
            assert_eq!(sure(&fast), sure(&strict), "both readers read the same up to the damage");
        }
    }
    let mut random =
        Random(bytes.iter().fold(bytes.len() as u64, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(*b))));
    for _ in 0..2 {
        let mut cuts: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        assert_same(&read(bytes, &cuts, false), &fast, &format!("cut at {cuts:?}"));
        assert_same(&read(bytes, &cuts, true), &strict, &format!("cut at {cuts:?}, strict"));
    }
    check_seen(bytes, &fast);
}

/// Checks the callback that decides which allocations are known. If it knows none, the result does not change. If it
/// knows all, each skipped allocation is a whole object.
fn check_seen(bytes: &[u8], fast: &Outcome<'_>) {
    let none = read_seen(bytes, &[], false, Some(&mut |_: &AllocationPreview<'_>| None));
    assert_same(&none, fast, "a callback that knows no allocation changes nothing");
    let all = read_seen(bytes, &[], false, Some(&mut |_: &AllocationPreview<'_>| Some(7)));
    for (range, content) in &all.items {
        if matches!(content, ItemContent::Seen(_)) {
            let text = &bytes[range.clone()];
            assert!(
                text.starts_with(b"{") && text.ends_with(b"}"),
                "a skipped allocation is a whole object: {}",
                text.escape_ascii()
            );
        }
    }
}

/// A generator of numbers, seeded from the bytes of the document.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if self.0 == 0 {
            self.0 = 0x9E37_79B9;
        }
        (self.0 % n.max(1) as u64) as usize
    }
}
