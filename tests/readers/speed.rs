//! The speed of both readers on one core. The comment at the top of the parent module shows how to run it.

use std::hint::black_box;
use std::time::Instant;

use alloclog::decode::document::{Mode, Position, Reader};

use super::documents::sample;

/// The size of the intake's blocks.
const BLOCK: usize = 1 << 20;

/// Reads a document block by block. Returns the number of allocations.
fn read(text: &[u8], strict: bool) -> usize {
    let mut reader = Reader::new(Mode { strict });
    let (mut position, mut from, mut end, mut items) = (Position::default(), 0, 0, 0);
    while end < text.len() {
        end = (end + BLOCK).min(text.len());
        let part = reader.part(std::mem::take(&mut position), &text[from..end], end == text.len(), None);
        items += black_box(&part.items).len();
        from += part.end;
        position = part.position;
    }
    items
}

/// A listing of 100 MB: a real one, repeated with other identifiers and times, so that no two stubs are equal.
fn listing() -> Vec<u8> {
    let real = String::from_utf8(sample("cluster/20261123T183642Z.json")).expect("a sample is UTF-8");
    let elements = real.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).expect("an array");
    let mut text = String::from("[");
    for n in 0.. {
        text.push_str(
            &elements.replace("\"ID\":\"", &format!("\"ID\":\"{n:06}")).replace(":17954", &format!(":17{n:03}")),
        );
        if text.len() > 100_000_000 {
            break;
        }
        text.push(',');
    }
    text.push(']');
    text.into_bytes()
}

#[test]
#[ignore = "prints how fast the readers are; see the head of the module"]
fn gigabytes_a_second() {
    let text = std::env::var_os("ALLOCLOG_BENCH").map_or_else(listing, |file| std::fs::read(file).expect("a file"));
    for (name, strict, times) in [("fast reader", false, 9), ("reference reader", true, 2)] {
        let runs = (0..times).map(|_| {
            let start = Instant::now();
            (read(&text, strict), start.elapsed().as_secs_f64())
        });
        let (items, best) = runs.fold((0, f64::MAX), |(_, best), (items, seconds)| (items, best.min(seconds)));
        println!("{name}: {items} allocations, {:.2} GB/s (best of {times})", text.len() as f64 / best / 1e9);
    }
}
