//! Messages on damaged input: file, byte, line, path, problem, and consequence.

use std::fs;
use std::path::Path;

use alloclog::intake::{IntakeOptions, Note};
use alloclog::tables::Table;

use crate::support::take;

/// Reads a document from a file. Returns the notes, without the directory in their paths, and the IDs of the
/// allocations that were read.
fn notes_of(name: &str, bytes: &[u8], strict: bool) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a file");
    let taken = take(&[path.as_path()], &IntakeOptions { strict, ..IntakeOptions::default() });
    let notes = taken.notes.iter().map(|note| match note {
        Note::Rejected(message)
        | Note::Skipped(message, _)
        | Note::Warning(message)
        | Note::Recovered(message)
        | Note::Info(message) => message.clone(),
    });
    let without_folder = |message: String| message.replace(&format!("{}/", Path::new(folder.path()).display()), "");
    let ids = taken.table(Table::AllocationHistory).iter();
    let ids = ids.filter_map(|row| row.get("alloc_id")?.as_str().map(str::to_owned)).collect();
    (notes.map(without_folder).collect(), ids)
}

#[test]
fn a_fault_is_reported_with_file_byte_line_and_path() {
    for (name, text, place, message, ids) in [
        (
            "wrong type",
            "[{\"ID\":\"a\",\"ClientStatus\":\"x\"},\n {\"ID\":\"b\",\"ClientStatus\":\"x\",\"TaskStates\":{\"my task\":{\"Events\":[{},{},{\"Time\":\"now\"}]}}},\n {\"ID\":\"c\",\"ClientStatus\":\"x\"}]",
            "\"now\"",
            r#"line 2: [1].TaskStates["my task"].Events[2].Time is text, not a number: this allocation is rejected"#,
            vec!["a", "c"],
        ),
        (
            "number too large",
            r#"{"ID":"a","ClientStatus":"x","ModifyIndex":9223372036854775808}"#,
            "9223372036854775808",
            "line 1: .ModifyIndex does not fit a signed 64-bit integer: this allocation is rejected",
            vec![],
        ),
        (
            "repeated key",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n{\"ID\":\"b\",\"ClientStatus\":\"x\",\n\"ID\":\"c\"}\n",
            "\"c\"",
            "line 3: .ID belongs to a repeated key: this allocation is rejected",
            vec!["a"],
        ),
        (
            "no ID",
            "[\n{\"ClientStatus\":\"x\"}]",
            "{\"ClientStatus",
            "line 2: [0].ID is missing: rejected, since the allocation cannot be identified",
            vec![],
        ),
        (
            "broken array",
            "[{\"ID\":\"a\",\"ClientStatus\":\"x\"},\n{\"ID\":\"b\",\"ClientStatus\":\"x\"}}\n,{\"ID\":\"c\",\"ClientStatus\":\"x\"}]",
            "}\n,",
            r#"line 2: [2] is not JSON: found "}\n,{\"ID\":\"c\"" instead of `,` or the closing bracket: the rest of this array is not read"#,
            vec!["a", "b"],
        ),
        (
            "broken line",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n{\"ID\":\"b\",ClientStatus:\"x\"}\n{\"ID\":\"c\",\"ClientStatus\":\"x\"}\n",
            "ClientStatus:",
            r#"line 2: the value is not JSON: found "ClientStatus" instead of a key: reading goes on at the next line that begins a value"#,
            vec!["a", "c"],
        ),
        (
            "cut line",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n{\"ID\":\"b\",\"ClientStatus\":\n{\"ID\":\"c\",\"ClientStatus\":\"x\"}\n",
            "\n{\"ID\":\"c\"",
            "line 2: .ClientStatus is not JSON: the line ends inside it; reading continues at the next line",
            vec!["a", "c"],
        ),
        (
            "cut download",
            "[{\"ID\":\"a\",\"ClientStatus\":\"x\"},\n{\"ID\":\"b\",\"Clie",
            "{\"ID\":\"b\",\"Clie",
            "line 2: [1] is cut off by the end of the document; everything before it is kept",
            vec!["a"],
        ),
        (
            "a control character",
            "[{\"ID\":\"a\",\"ClientStatus\":\"x\"},{\"ID\":\"b\",\"ClientStatus\":\"x\ty\"}]",
            "\"x\ty\"",
            "line 1: [1].ClientStatus holds a control character that is not escaped: this allocation is rejected",
            vec!["a"],
        ),
        (
            "half a pair",
            r#"{"Index":1,"Events":[{"Payload":{"Allocation":{"ID":"a"}}},{"Payload":{"Allocation":{"ID":"\udead"}}}]}"#,
            "\"\\udead",
            "line 1: .Events[1].Payload.Allocation.ID holds half of a surrogate pair, which is not a character: this allocation is rejected",
            vec!["a"],
        ),
        (
            "a failed request",
            "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n{\"Error\":\"Unexpected response code: 500\\n(No cluster leader)\"}\n",
            "{\"Error",
            "line 2: the value is the error of a failed request: Unexpected response code: 500 (No cluster leader)",
            vec!["a"],
        ),
        (
            "a dump",
            "{\"Jobs\":[],\n\"Allocs\":[{\"ID\":\"a\",\"ClientStatus\":\"x\"},{\"ID\":3,\"ClientStatus\":\"x\"}]}",
            "3,",
            "line 2: .Allocs[1].ID is a number, not text: this allocation is rejected",
            vec!["a"],
        ),
    ] {
        let at = text.find(place).expect("the place is in the text");
        let message = format!("dump.json: byte {at}, {message}");
        let (reported, read) = notes_of("dump.json", text.as_bytes(), false);
        assert_eq!((reported, read), (vec![message], ids.iter().map(|id| (*id).to_owned()).collect()), "{name}");
    }
}

#[test]
fn utf_16_is_reported_with_the_next_step() {
    let text = "[{\"ID\":\"a\",\"ClientStatus\":\"x\"}]";
    let message =
        "powershell.json: is UTF-16, and JSON is UTF-8: convert it, for instance with iconv -f UTF-16 -t UTF-8";
    let little = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let text = format!("\u{feff}{text}");
    for bytes in [little(&text), big(&text)] {
        assert_eq!(notes_of("powershell.json", &bytes, false), (vec![message.into()], vec![]));
    }
    let (notes, _) = notes_of("other.txt", &little("\u{feff}no JSON"), false);
    assert_eq!(notes, ["other.txt: is neither JSON nor an archive"]);
}

#[test]
fn strict_reports_the_position_of_skipped_input() {
    let text = "[{\"ID\":\"a\",\"ClientStatus\":\"x\",\"Metrics\":{\"Scores\":\n{\"n.binpack\":-Inf}}}]";
    assert_eq!(notes_of("old.json", text.as_bytes(), false), (vec![], vec!["a".into()]));
    let (notes, _) = notes_of("old.json", text.as_bytes(), true);
    let expected = r#"old.json: byte 64, line 2: [0].Metrics.Scores["n.binpack"] is not JSON: found "-Inf}}}" instead of a value: this allocation is rejected"#;
    assert_eq!(notes, [expected]);
    let mut latin = text.replace("-Inf", "\"?\"").into_bytes();
    let at = latin.iter().position(|b| *b == b'?').expect("a question mark");
    latin[at] = 0xE9;
    let (notes, _) = notes_of("old.json", &latin, true);
    let expected = r#"old.json: byte 65, line 2: [0].Metrics.Scores["n.binpack"] holds bytes that are not UTF-8: this allocation is rejected"#;
    assert_eq!(notes, [expected]);
}

/// Blocks are decoded on all cores, each with its own offsets.
#[test]
fn positions_are_relative_to_the_whole_document_in_every_block() {
    let stub = |n: usize| format!(r#"{{"ID":"{n:08}","ClientStatus":"running","Pad":"{}"}}"#, "x".repeat(900));
    let bad = |n: usize| stub(n).replace(r#""running""#, "17");
    let count = 20_000;
    let wrong = [3, 4_711, 9_999, 19_998];
    let element = |n: usize| if wrong.contains(&n) { bad(n) } else { stub(n) };
    for (between, first, last) in [(",\n", "[", "]"), ("\n", "", "\n")] {
        let text = format!("{first}{}{last}", (0..count).map(element).collect::<Vec<_>>().join(between));
        assert!(text.len() > 4 * (1 << 20), "several blocks");
        let (notes, ids) = notes_of("big.json", text.as_bytes(), false);
        let place = |n: usize| {
            let at = first.len() + n * (stub(0).len() + between.len()) - wrong.iter().filter(|w| **w < n).count() * 7;
            let at = at + r#"{"ID":"00000000","ClientStatus":"#.len();
            let element = if first.is_empty() { String::new() } else { format!("[{n}]") };
            format!(
                "big.json: byte {at}, line {}: {element}.ClientStatus is a number, not text: this allocation is rejected",
                n + 1
            )
        };
        assert_eq!(notes, wrong.map(place));
        assert_eq!(ids.len(), count - wrong.len());
    }
}
