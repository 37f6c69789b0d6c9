//! Splitting a document does not change the result.

use super::documents;
use super::property::{Outcome, assert_same, read};

/// Splits a document in two at every byte. All results must be equal.
fn never_shows<'a>(name: &str, bytes: &'a [u8], strict: bool) -> Outcome<'a> {
    let whole = read(bytes, &[], strict);
    for cut in 0..=bytes.len() {
        assert_same(&read(bytes, &[cut], strict), &whole, &format!("{name}, cut at {cut}, strict: {strict}"));
    }
    whole
}

fn in_pieces(name: &str, bytes: &[u8], sizes: &[usize], strict: bool) {
    let whole = read(bytes, &[], strict);
    for &size in sizes {
        let cuts: Vec<usize> = (size..bytes.len()).step_by(size).collect();
        assert_same(&read(bytes, &cuts, strict), &whole, &format!("{name}, in pieces of {size}, strict: {strict}"));
    }
}

#[test]
fn every_document_is_read_alike_at_every_cut() {
    for document in documents::all() {
        // Every split reads the whole document, so use only the first kilobytes of a long one.
        let bytes = &document.bytes[..document.bytes.len().min(6_000)];
        for strict in [false, true] {
            never_shows(document.name, bytes, strict);
        }
    }
}

#[test]
fn every_document_is_read_alike_in_pieces_of_any_size() {
    for document in documents::all() {
        for strict in [false, true] {
            in_pieces(document.name, &document.bytes, &[61, 64, 977, 4096], strict);
            let bytes = &document.bytes[..document.bytes.len().min(900)];
            in_pieces(document.name, bytes, &[1, 2, 3, 5, 8], strict);
        }
    }
}

#[test]
fn damage_is_reported_alike_wherever_it_is_cut() {
    for (name, text) in [
        (
            "a broken element",
            r#"[{"ID":"a","ClientStatus":"x"},{"ID":tru,"ClientStatus":"x"},{"ID":"c","ClientStatus":"x"}]"#,
        ),
        (
            "a broken separator",
            "[{\"ID\":\"a\",\"ClientStatus\":\"x\"} {\"ID\":\"b\",\"ClientStatus\":\"x\"}]\n[{\"ID\":\"c\",\"ClientStatus\":\"x\"}]",
        ),
        (
            "a line without its end",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n{\"ID\":\"b\",\"Job\":{\"A\":[\n{\"ID\":\"c\",\"ClientStatus\":\"x\"}\n",
        ),
        (
            "lines without their ends",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n{\"ID\":\"b\",\"ClientStatus\":\n{\"Index\":1,\"Events\":[\n{}\n{\"ID\":\"c\",\"ClientStatus\":\"x\"}\n{\"ID\":\"d\",\"Job\":{\"a\":\"b\n{\"ID\":\"e\",\"ClientStatus\":\"x\"}\n{\"ID\":\"f\",\"Job\":[\n{\"ID\":\"g\",\"ClientStatus\":\"x\"}",
        ),
        (
            "listings without their ends",
            "[{\"ID\":\"a\",\"ClientStatus\":\n[{\"ID\":\"b\",\"ClientStatus\":\"x\"}]\n[{\"ID\":\"c\",\"ClientStatus\":\"x\"},\n[{\"ID\":\"d\",\"ClientStatus\":\"x\"}]\n[]\n",
        ),
        (
            "words between lines",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\nerror: no answer\n\n{\"ID\":\"b\",\"ClientStatus\":\"x\"}\n",
        ),
        (
            "wrong types",
            r#"[{"ID":1,"ClientStatus":"x"},{"ID":"b","ClientStatus":"x","TaskStates":{"t":{"Events":[{"Time":"1"}]}}}]"#,
        ),
        ("repeated keys", r#"[{"ID":"a","ID":"a","ClientStatus":"x"},{"ID":"b","ClientStatus":"x"}]"#),
        ("an end in the middle", r#"[{"ID":"a","ClientStatus":"x"},{"ID":"b","ClientSta"#),
        ("an end in a dump", r#"{"Allocs":[{"ID":"a","ClientStatus":"x"},{"ID":"b","ClientSta"#),
        (
            "a frame with one wrong event",
            r#"{"Index":1,"Events":[{"Payload":{"Allocation":{"ID":"a"}}},7,{"Payload":{"Allocation":{"ID":2}}},{"Payload":{"Node":{"ID":"n"}}}]}"#,
        ),
        ("brackets that do not fit", r#"[{"ID":"a","ClientStatus":"x","Job":{"A":[}]},{"ID":"b","ClientStatus":"x"}]"#),
        ("half a byte order mark", "\u{feff}{}\u{feff}[]"),
        ("separators of records", "\u{1e}{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n\u{1e}[]\n"),
    ] {
        for strict in [false, true] {
            never_shows(name, text.as_bytes(), strict);
            in_pieces(name, text.as_bytes(), &[1, 2, 3, 7], strict);
        }
    }
}

/// The first part of an array ends where the second element starts, and in the state that a guessed start assumes.
#[test]
fn a_correct_guess_starts_where_the_previous_part_ends() {
    use alloclog::decode::document::{Mode, Position, Reader};
    let text = r#"[{"ID":"a","ClientStatus":"x"},{"ID":"b","ClientStatus":"x"}]"#;
    let second = text.find(",{").expect("two elements") + 1;
    let first = Reader::new(Mode::default()).part(Position::default(), &text.as_bytes()[..second], false, None);
    assert_eq!((first.end, first.position), (second, Position::inside_array()));
}
