//! Real documents with flipped, inserted, removed, repeated and moved bytes.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::documents::{self, Document};
use super::{cases, property};

/// A mutation. Positions are fractions of the length, so that they apply to any document.
#[derive(Debug, Clone)]
enum Damage {
    Flip(f64, u8),
    Insert(f64, &'static [u8]),
    Delete(f64, usize),
    Repeat(f64, usize),
    Move(f64, f64, usize),
    Truncate(f64),
    /// Joins the start of one document to the end of another.
    Splice(f64, prop::sample::Index, f64),
}

/// Texts that are most likely to confuse a reader.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b" ",
    b"\0",
    b"\x1e",
    b"\xEF\xBB\xBF",
    b"\xFF",
    b"\xC3",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"1.5",
    b"9223372036854775808",
    b"-Inf",
    b"\"\"",
    b"{}",
    b"[]",
    b"\\u",
    b"\\ud800",
    b"\\udc00",
    b"\"ID\":",
    b"\"ID\":\"x\",",
    b"\"Allocs\":[",
    b"\"Events\":[",
    b"\"TaskStates\":null,",
    b"\"New\":{},",
    b"}\n{",
    b"]\n[",
    b",{}",
    b"/*",
    b"'",
    b"\xF0\x9F\x98\x80",
];

fn damage() -> impl Strategy<Value = Damage> {
    let place = || 0.0..1.0f64;
    prop_oneof![
        3 => (place(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        4 => (place(), prop::sample::select(PIECES)).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        3 => (place(), 1..40usize).prop_map(|(at, len)| Damage::Delete(at, len)),
        2 => (place(), 1..400usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
        2 => (place(), place(), 1..200usize).prop_map(|(from, to, len)| Damage::Move(from, to, len)),
        1 => place().prop_map(Damage::Truncate),
        1 => (place(), any::<prop::sample::Index>(), place()).prop_map(|(at, other, from)| Damage::Splice(at, other, from)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage, documents: &[Document]) {
    let place = |bytes: &[u8], at: f64| (bytes.len() as f64 * at) as usize;
    let range = |bytes: &[u8], at: f64, len: usize| {
        let start = place(bytes, at);
        start..(start + len).min(bytes.len())
    };
    match *damage {
        Damage::Flip(at, bits) => {
            let at = place(bytes, at);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Damage::Insert(at, piece) => {
            let at = place(bytes, at);
            bytes.splice(at..at, piece.iter().copied());
        }
        Damage::Delete(at, len) => drop(bytes.drain(range(bytes, at, len))),
        Damage::Repeat(at, len) => {
            let range = range(bytes, at, len);
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, again);
        }
        Damage::Move(from, to, len) => {
            let moved: Vec<u8> = bytes.drain(range(bytes, from, len)).collect();
            let to = place(bytes, to);
            bytes.splice(to..to, moved);
        }
        Damage::Truncate(at) => bytes.truncate(place(bytes, at)),
        Damage::Splice(at, other, from) => {
            bytes.truncate(place(bytes, at));
            let other = &documents[other.index(documents.len())].bytes;
            bytes.extend_from_slice(&other[place(other, from)..]);
        }
    }
}

#[test]
fn both_readers_agree_on_the_undamaged_part_of_a_mutated_document() {
    let documents = documents::all();
    let config =
        Config { cases: cases(4000), failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::default() };
    let which = (any::<prop::sample::Index>(), prop::collection::vec(damage(), 1..4));
    let result = TestRunner::new(config).run(&which, |(which, damages)| {
        let mut bytes = documents[which.index(documents.len())].bytes.clone();
        for damage in &damages {
            apply(&mut bytes, damage, &documents);
        }
        property::check(&bytes);
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.err().map(|e| e.to_string()).unwrap_or_default());
}
