//! A document that ends too early gives all that was whole by then, and says so.

use alloclog::intake::{Note, Options};

use super::expected::check;
use super::{Kind, Taking, cluster, directory, each_case, packed};
use crate::simulator::{Document, Layout, MINUTE, Random, START, Style};
use crate::support::take;

#[test]
fn a_document_that_ends_too_early_gives_what_was_whole() {
    each_case(20, |case| {
        let mut random = Random::new(2_000_000 + case);
        let cluster = cluster(&mut random, 30);
        let at = random.between(START + 5 * MINUTE, cluster.end());
        let style = Style { bom: false, ..Style::any(&mut random) };
        let stream = random.chance(30);
        let (document, loose) = if stream && random.chance(50) {
            (cluster.frames(at - 5 * MINUTE, at, &style), true)
        } else if stream {
            (cluster.bare_events(at - 5 * MINUTE, at, &style), true)
        } else {
            let loose = [Layout::Lines, Layout::Concatenated, Layout::PrettyConcatenated].contains(&style.layout);
            (cluster.document(at, &style), loose)
        };
        if document.ends.is_empty() {
            return;
        }
        for _ in 0..8 {
            // Often just where something ends.
            let at = if random.chance(40) {
                let end = *random.pick(&document.ends) as i64;
                (end + random.between(-2, 2)).clamp(1, document.bytes.len() as i64) as usize
            } else {
                1 + random.below(document.bytes.len())
            };
            let cut = document.cut(at);
            let between = loose && rest(&cut).iter().all(u8::is_ascii_whitespace);
            let tail = &document.bytes[at..];
            let whole = between || tail.iter().all(u8::is_ascii_whitespace);
            let directory = directory();
            let path = packed::save(directory.path(), &cut.name, &cut.bytes);
            let taken = take(&[&path], &Options::default());
            let name = format!("case {case}, {:?}, {stream}, cut at {at} of {}", style.layout, document.bytes.len());
            let rejected = taken.notes.iter().any(|note| matches!(note, Note::Rejected(_)));
            assert_eq!(rejected, !whole, "{name}: {:?}", taken.notes);
            let taking = if stream { Taking::Stream(cut) } else { Taking::Listing(cut) };
            check(&name, &cluster, &[taking], Kind::Exact, &taken);
        }
    });
}

/// What stands after the last whole allocation.
fn rest(document: &Document) -> &[u8] {
    &document.bytes[document.ends.last().copied().unwrap_or(0)..]
}
