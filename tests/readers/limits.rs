//! Deep, long, wrongly encoded and endless input. It must cause no panic and no stack overflow, use bounded memory, and
//! give the right message.

use alloclog::decode::document::{ItemContent, Mode, Position, Reader};

use super::closing;
use super::property::{Outcome, Told, assert_same, read};

const DEEP: usize = 100_000;
const MIB: usize = 1 << 20;

fn both(text: &[u8]) -> [Outcome<'_>; 2] {
    [read(text, &[], false), read(text, &[], true)]
}

fn ids<'o>(outcome: &'o Outcome<'_>) -> Vec<&'o str> {
    let id = |content: &'o ItemContent<'_>| match content {
        ItemContent::Allocation(a) | ItemContent::Streamed(a) => a.id.as_deref(),
        ItemContent::Node(n) => n.id.as_deref(),
        ItemContent::Seen(_) => None,
    };
    outcome.items.iter().filter_map(|(_, content)| id(content)).collect()
}

fn reported(at: usize, path: &str, what: &str) -> Told {
    Told { at, path: path.into(), what: what.into() }
}

/// A value nested to this depth, with arrays and objects in turn.
fn nested(depth: usize) -> String {
    let mut text = String::new();
    for level in 0..depth {
        text.push_str(if level % 2 == 0 { "[" } else { r#"{"a":"# });
    }
    text.push('1');
    for level in (0..depth).rev() {
        text.push(if level % 2 == 0 { ']' } else { '}' });
    }
    text
}

#[test]
fn ignored_values_may_be_nested_at_any_depth() {
    // serde_json stops at depth 128 when it builds values; ignored values may be deeper.
    for depth in [100, 127, 128, 129, 1000, DEEP] {
        let deep = nested(depth);
        for text in [
            format!(r#"[{{"ID":"a","Metrics":{deep},"ClientStatus":"x"}}]"#),
            format!(r#"[{{"ID":"a","New":{deep},"ClientStatus":"x"}}]"#),
            format!(r#"[{{"ID":"a","Job":{{"Meta":{deep},"Type":"batch"}},"ClientStatus":"x"}}]"#),
            format!(r#"[{{"ID":"a","ClientStatus":"x","TaskStates":{{"t":{{"Events":[{{"New":{deep}}}]}}}}}}]"#),
            format!(r#"{{"Deep":{deep},"Allocs":[{{"ID":"a","ClientStatus":"x"}}],"Deeper":{deep}}}"#),
            format!(r#"[{deep},{{"ID":"a","ClientStatus":"x"}}]"#),
            format!(r#"{deep}{{"ID":"a","ClientStatus":"x"}}"#),
            format!(r#"{{"Events":[{{"Payload":{{"Job":{deep},"Allocation":{{"ID":"a"}}}}}}]}}"#),
        ] {
            for outcome in both(text.as_bytes()) {
                let seen = &text[..40];
                assert_eq!((ids(&outcome), outcome.faults.as_slice()), (vec!["a"], [].as_slice()), "{depth}: {seen}");
            }
        }
    }
}

#[test]
fn a_deep_value_in_a_field_is_a_wrong_type() {
    let deep = nested(DEEP);
    for (before, path, what) in [
        (r#"[{"ID":"#, ".ID", "is an array, not text"),
        (r#"[{"ID":"a","CreateIndex":"#, ".CreateIndex", "is an array, not a number"),
        (r#"[{"ID":"a","TaskStates":{"t":"#, ".TaskStates.t", "is an array, not an object"),
        (
            r#"[{"ID":"a","TaskStates":{"t":{"Events":[{"Time":"#,
            ".TaskStates.t.Events[0].Time",
            "is an array, not a number",
        ),
        (r#"[{"ID":"a","TaskStates":{"t":{"Failed":"#, ".TaskStates.t.Failed", "is an array, not true or false"),
    ] {
        let close = closing(before);
        let close = close.strip_suffix("}]").expect("an element of a list");
        let text = format!(r#"{before}{deep}{close},"ClientStatus":"x"}},{{"ID":"b","ClientStatus":"x"}}]"#);
        for outcome in both(text.as_bytes()) {
            assert_eq!(ids(&outcome), ["b"]);
            let what = format!("{what}: this allocation is rejected");
            assert_eq!(outcome.faults, [reported(before.len(), &format!("[0]{path}"), &what)]);
        }
    }
}

#[test]
fn unclosed_brackets_are_reported_once() {
    for opening in ["[", "{\"a\":", "[{\"a\":"] {
        let text = opening.repeat(DEEP);
        for outcome in both(text.as_bytes()) {
            assert_eq!((outcome.faults.len(), outcome.items.len()), (1, 0), "{opening}");
            assert!(outcome.faults[0].what.contains("is cut off by the end of the document"), "{:?}", outcome.faults);
        }
    }
    let text = format!(r#"[{{"ID":"a","ClientStatus":"x","Metrics":{}"#, "[".repeat(3 * MIB));
    for outcome in both(text.as_bytes()) {
        assert_eq!(
            outcome.faults,
            [reported(1, "[0]", "is cut off by the end of the document; everything before it is kept")]
        );
    }
}

#[test]
fn a_million_nested_arrays_are_rejected() {
    let text = "[".repeat(2 * MIB);
    for outcome in both(text.as_bytes()) {
        let what = "is nested in more than 1048576 arrays and objects: the rest of this array is not read";
        assert_eq!(outcome.faults, [reported(MIB, "", what)]);
    }
}

#[test]
fn a_text_of_fifty_megabytes() {
    let long = "Exit Code: 137 ".repeat(50_000_000 / 15);
    let escaped = "\\n".repeat(25_000_000);
    let text = format!(
        r#"[{{"ID":"a","ClientStatus":"x","ClientDescription":"{long}"}},{{"ID":"b","ClientStatus":"x","Name":"{escaped}"}}]"#
    );
    for outcome in both(text.as_bytes()) {
        let [(_, ItemContent::Allocation(a)), (_, ItemContent::Allocation(b))] = outcome.items.as_slice() else {
            unreachable!("there are two allocations")
        };
        assert!(a.client_description.as_deref() == Some(&long), "the text is kept unchanged");
        assert_eq!(b.name.as_ref().map(|name| name.len()), Some(25_000_000));
    }
    for text in [
        format!(r#"[{{"ID":"a","Metrics":"{long}","ClientStatus":"x"}}]"#),
        format!(r#"["{long}",{{"ID":"a","ClientStatus":"x"}}]"#),
    ] {
        for outcome in both(text.as_bytes()) {
            assert_eq!((ids(&outcome), outcome.faults.len()), (vec!["a"], 0));
        }
    }
    let text = format!(r#"[{{"ID":"a","{long}":1,"ClientStatus":"x"}}]"#);
    for outcome in both(text.as_bytes()) {
        let name = format!("{}…", &long[..100]);
        assert_eq!((ids(&outcome), outcome.unknown.get(&name)), (vec!["a"], Some(&1)), "a long name is shortened");
    }
}

#[test]
fn bytes_that_are_not_utf8() {
    let refused = "holds bytes that are not UTF-8: this allocation is rejected";
    let put = |before: &str, behind: &str| [before.as_bytes(), b"\xE9t\xE9", behind.as_bytes()].concat();
    // In a field that is read, both readers refuse only the allocation. The fast reader reports the start of the text,
    // and the strict reader reports the first wrong byte.
    for (before, behind, path) in [
        (r#"[{"ID":"a","Name":""#, r#"","ClientStatus":"x"},{"ID":"b","ClientStatus":"x"}]"#, "[0].Name"),
        (r#"[{"ID":"a","Name":"\n"#, r#"","ClientStatus":"x"},{"ID":"b","ClientStatus":"x"}]"#, "[0].Name"),
        (r#"[{"ID":"a",""#, r#"":1,"ClientStatus":"x"},{"ID":"b","ClientStatus":"x"}]"#, "[0]"),
        (
            r#"[{"ID":"a","ClientStatus":"x","TaskStates":{""#,
            r#"":{}}},{"ID":"b","ClientStatus":"x"}]"#,
            "[0].TaskStates",
        ),
    ] {
        let text = put(before, behind);
        let [fast, strict] = both(&text);
        let quote = before.rfind('"').expect("a quote");
        assert_eq!((ids(&fast), fast.faults.as_slice()), (vec!["b"], [reported(quote, path, refused)].as_slice()));
        assert_eq!((ids(&strict), strict.faults.len()), (vec!["b"], 1));
        assert_eq!((strict.faults[0].at, strict.faults[0].what.as_str()), (before.len(), refused));
        assert!(strict.faults[0].path.starts_with(path));
    }
    // Both readers also refuse an allocation with such bytes in an ignored field.
    for (before, behind) in [
        (r#"[{"ID":"a","Metrics":{"x":""#, r#""},"ClientStatus":"x"}]"#),
        (r#"[{"ID":"a","Metrics":{""#, r#"":1},"ClientStatus":"x"}]"#),
        (r#"[{"ID":"a","New":""#, r#"","ClientStatus":"x"}]"#),
    ] {
        let text = put(before, behind);
        let [fast, strict] = both(&text);
        for outcome in [fast, strict] {
            assert_eq!((ids(&outcome).len(), outcome.faults[0].at), (0, before.len()));
            assert_eq!(outcome.faults[0].what, refused);
        }
    }
    let text = put(r#"{""#, r#"":1,"Allocs":[{"ID":"a","ClientStatus":"x"}],"Z":"é"}"#);
    for outcome in both(&text) {
        assert_eq!((ids(&outcome), outcome.faults.len()), (vec!["a"], 1));
    }
}

#[test]
fn half_a_surrogate_pair_is_refused_only_in_fields_that_are_read() {
    for key in [r#"\ud800"#, r#"x\udfff"#] {
        let text = format!(
            r#"[{{"{key}":1}},{{"ID":"a","Metrics":{{"{key}":"{key}"}},"ClientStatus":"x"}},{{"{key}":1,"ID":"b","ClientStatus":"x"}},
            {{"ID":"c","ClientStatus":"x","TaskStates":{{"{key}":null}}}},{{"ID":"d","ClientStatus":"{key}"}},{{"ID":"e","ClientStatus":"x"}}]"#
        );
        for outcome in both(text.as_bytes()) {
            assert_eq!(ids(&outcome), ["a", "e"]);
            let paths: Vec<&str> = outcome.faults.iter().map(|fault| fault.path.as_str()).collect();
            assert_eq!(paths, ["[2]", "[3].TaskStates", "[4].ClientStatus"]);
            let what = "holds half of a surrogate pair, which is not a character: this allocation is rejected";
            assert!(outcome.faults.iter().all(|fault| fault.what == what && text[fault.at..].starts_with('"')));
        }
    }
}

#[test]
fn marks_and_separators_between_values_are_skipped() {
    let text = "\u{feff}{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n\u{feff}[{\"ID\":\"b\",\"ClientStatus\":\"x\"}]\u{1e}{\"ID\":\"c\",\"ClientStatus\":\"x\"}\n\u{1e}";
    for outcome in both(text.as_bytes()) {
        assert_eq!((ids(&outcome), outcome.faults.as_slice()), (vec!["a", "b", "c"], [].as_slice()));
    }
    // Inside values, these characters are damage.
    for text in ["[\u{feff}1]", "[\u{1e}1]", "{\u{feff}}", "{\"Allocs\":[\u{1e}]}"] {
        for outcome in both(text.as_bytes()) {
            assert_eq!(outcome.faults.len(), 1, "{text:?}");
        }
    }
}

#[test]
fn zero_bytes_are_damage_and_the_next_line_is_read() {
    let text = "{\"ID\":\"a\",\"ClientStatus\":\"x\"}\n\0\0\0\0\n{\"ID\":\"b\",\"ClientStatus\":\"x\"}\n";
    for outcome in both(text.as_bytes()) {
        assert_eq!(ids(&outcome), ["a", "b"]);
        let what = r#"is not JSON: found "\0\0\0\0\n{\"ID\":\"" instead of a value: reading goes on at the next line that begins a value"#;
        assert_eq!(outcome.faults, [reported(30, "", what)]);
    }
}

/// Reads bytes in blocks, as the intake does. Returns the largest number of bytes carried to the next block, and the
/// faults.
fn in_blocks(block: usize, blocks: &mut dyn Iterator<Item = Vec<u8>>, strict: bool) -> (usize, Vec<String>) {
    let mut reader = Reader::new(Mode { strict });
    let (mut position, mut left, mut most, mut faults) = (Position::default(), Vec::new(), 0, Vec::new());
    for bytes in blocks.chain([Vec::new()]) {
        let is_last = bytes.is_empty();
        left.extend_from_slice(&bytes);
        let part = reader.part(std::mem::take(&mut position), &left, is_last, None);
        faults.extend(part.faults.iter().map(|fault| fault.what.clone()));
        let end = part.end;
        position = part.position;
        left.drain(..end);
        most = most.max(left.len());
    }
    assert!(most < 64 * MIB + block, "{most} bytes were kept");
    (most, faults)
}

#[test]
fn memory_does_not_grow_with_ignored_data() {
    let block = 4 * MIB;
    for strict in [false, true] {
        // Input of which at most 2 MiB are buffered: zero bytes, digits, an array of small values, and others.
        for pattern in ["\0", "1", "[1,\"x\",{\"a\":[]}],", "x", "\n", "{}\n", "{\"a\":tru}\n", "{\"a\":[\n", "\"\n"] {
            let bytes = pattern.repeat(block / pattern.len() + 1);
            let (most, _) = in_blocks(block, &mut (0..4).map(|_| bytes.clone().into_bytes()), strict);
            assert!(most <= 2 * MIB, "{pattern:?}: {most} bytes were kept, strict: {strict}");
        }
        // A dump in which more data precedes and follows the allocations than is ever buffered.
        let jobs = r#"{"ID":"job","Meta":{"a":[1,2,3]}},"#.repeat(100_000);
        let dump = [
            r#"{"Jobs":["#.to_owned(),
            jobs.clone(),
            jobs.clone(),
            jobs.clone(),
            r#"0],"Allocs":[{"ID":"a","ClientStatus":"x"}],"Evals":["#.to_owned(),
            jobs.clone(),
            jobs,
            "0]}".to_owned(),
        ];
        let (most, faults) = in_blocks(block, &mut dump.iter().map(|text| text.clone().into_bytes()), strict);
        assert!(most <= 2 * MIB && faults.is_empty(), "{most} bytes were kept, {faults:?}, strict: {strict}");
    }
}

#[test]
fn strict_checks_a_large_dump_piece_by_piece() {
    let jobs = r#"{"ID":"job","Meta":{"a":[1,2,3]}},"#.repeat(100_000);
    let damaged = jobs.replacen("[1,2,3]", "[1,2,3,]", 1);
    let list = r#""Allocs":[{"ID":"a","ClientStatus":"x"}]"#;
    for (text, before) in [
        (format!(r#"{{"Jobs":[{jobs}{damaged}0],{list}}}"#), vec![]),
        (format!(r#"{{{list},"Jobs":[{jobs}{damaged}0]}}"#), vec!["a"]),
        (format!(r#"{{{list},"Jobs":{{"x":[{jobs}0],"y":tru}}}}"#), vec!["a"]),
        (format!(r#"{{{list},"Jobs":[{jobs}tru]}}"#), vec!["a"]),
    ] {
        let at = text.find("[1,2,3,]").map(|at| at + 7).or_else(|| text.find("tru}")).or_else(|| text.find("tru]"));
        let [fast, strict] = both(text.as_bytes());
        assert_eq!((ids(&fast), fast.faults.as_slice()), (vec!["a"], [].as_slice()));
        let places: Vec<usize> = strict.faults.iter().map(|fault| fault.at).collect();
        assert_eq!((ids(&strict), places), (before, at.into_iter().collect()));
        for cut in [MIB / 2, MIB, MIB + 60, 2 * MIB, 3 * MIB] {
            assert_same(&read(text.as_bytes(), &[cut], true), &strict, &format!("cut at {cut}"));
        }
    }
}

/// A value of about this many bytes.
fn filler(bytes: usize) -> String {
    format!("[{}0]", "1,".repeat(bytes / 2))
}

#[test]
fn long_objects_are_read_alike_at_every_cut() {
    let long = filler(2 * MIB);
    for text in [
        // A large allocation, two whose identifying keys come after more than 1 MiB, one that is damaged near its
        // start, and one that is damaged near its end.
        format!(r#"{{"ID":"a","Job":{{"Meta":{long}}},"ClientStatus":"x"}}"#),
        format!(r#"[{{"Job":{{"Meta":{long}}},"ID":"a","ClientStatus":"x"}},{{"ID":"b","ClientStatus":"x"}}]"#),
        format!(r#"{{"Job":{{"Meta":{long}}},"ID":"a","ClientStatus":"x"}}"#),
        format!(
            "{{\"ID\":\"a\",\"Job\":{{\"Meta\":[1 2],\"B\":{long}}},\"ClientStatus\":\"x\"}}\n{{\"ID\":\"b\",\"ClientStatus\":\"x\"}}"
        ),
        format!(
            "{{\"ID\":\"a\",\"Job\":{{\"B\":{long},\"Meta\":[1 2]}},\"ClientStatus\":\"x\"}}\n{{\"ID\":\"b\",\"ClientStatus\":\"x\"}}"
        ),
        // Infinities, as an old Nomad writes them, in a large allocation.
        format!(r#"{{"ID":"a","Metrics":{{"Scores":[-Inf]}},"Job":{{"Meta":{long}}},"ClientStatus":"x"}}"#),
        // A large value that is not an allocation.
        format!(r#"{{"Terraform":{long}}}"#),
        format!(r#"{{"A":{},"Payload":{{"Allocation":{{"ID":"a"}}}}}}"#, filler(MIB - 8)),
        format!(r#"{{"A":{long},"Payload":{{"Allocation":{{"ID":"a"}}}}}}"#),
    ] {
        for strict in [false, true] {
            let whole = read(text.as_bytes(), &[], strict);
            let len = text.len();
            for cut in [0, 1, 5, 20, MIB - 1, MIB, MIB + 1, MIB + 9, 2 * MIB, len - 60, len - 40, len - 9, len - 1, len]
            {
                let same = read(text.as_bytes(), &[cut], strict);
                assert_same(&same, &whole, &format!("{} cut at {cut}, strict: {strict}", &text[..30]));
            }
            let cuts: Vec<usize> = (1..len / 400_000).map(|n| n * 400_000).collect();
            assert_same(&read(text.as_bytes(), &cuts, strict), &whole, &format!("{} in pieces", &text[..30]));
        }
    }
}

#[test]
fn a_truncated_line_loses_only_that_line() {
    let line = |id: &str| {
        format!(
            "{{\"ID\":\"{id}\",\"ClientStatus\":\"x\",\"Job\":{{\"Tasks\":[{{\"Env\":{{\"A\":\"b\"}}}}]}},\"TaskStates\":null}}\n"
        )
    };
    let whole = line("broken");
    let good: String = (0..40_000).map(|n| line(&n.to_string())).collect();
    for end in 1..whole.len() - 1 {
        let (before, after) = (line("first"), if end % 20 == 1 { good.as_str() } else { "" });
        let text = format!("{before}{}\n{}{after}", &whole[..end], line("next"));
        for outcome in both(text.as_bytes()) {
            let ids = ids(&outcome);
            let rest = if end % 20 == 1 { 40_000 } else { 0 };
            assert!(ids.starts_with(&["first", "next"]), "cut at {end}: {:?}", outcome.faults);
            assert_eq!(ids.len(), 2 + rest, "cut at {end}: {:?}", outcome.faults);
            let [fault] = outcome.faults.as_slice() else { panic!("cut at {end}: {:?}", outcome.faults) };
            assert!((before.len()..=before.len() + end).contains(&fault.at), "cut at {end}: {fault:?}");
        }
    }
}

#[test]
fn a_log_line_between_records_loses_only_itself() {
    let row = |id: &str| format!(r#"{{"ID":"{id}","ClientStatus":"x"}}"#);
    for remark in
        ["[INFO] hello", "[2026-11-27T01:02:03Z] {\"x\":1}", r#"[z]","x":1}"#, "2026-11-27 INFO hello", "oops"]
    {
        for (lines, wanted) in [
            (vec![row("a"), remark.to_owned(), row("b")], &["a", "b"][..]),
            (vec![remark.to_owned(), row("a"), remark.to_owned(), remark.to_owned(), row("b")], &["a", "b"]),
        ] {
            let text = lines.join("\n") + "\n";
            for outcome in both(text.as_bytes()) {
                assert_eq!(ids(&outcome), wanted, "{text}: {:?}", outcome.faults);
                assert!(!outcome.faults.is_empty(), "{text}");
            }
        }
    }
}

#[test]
fn a_truncated_line_does_not_lose_the_next_one() {
    let row = |id: &str| format!(r#"{{"ID":"{id}","ClientStatus":"x"}}"#);
    let frame = |id: &str| format!(r#"{{"Index":2,"Events":[{{"Payload":{{"Allocation":{{"ID":"{id}"}}}}}}]}}"#);
    let list = |id: &str| format!("[{}]", row(id));
    /// A function that formats a line with an allocation of the given ID, and truncated lines, each with the path at
    /// which the line ends.
    type LinesAndCuts<'t> = (&'t dyn Fn(&str) -> String, &'t [(&'t str, &'t str)]);
    let kinds: [LinesAndCuts<'_>; 3] = [
        (
            &row,
            &[
                (r#"{"ID":"b","ClientStatus":"#, ".ClientStatus"),
                (r#"{"ID":"b","Job":{"A":[1,"#, ".Job.A[1]"),
                (r#"{"ID":"b","Job":{"A":["#, ".Job.A"),
                (r#"{"ID":"b","TaskStates":{"t":"#, ".TaskStates.t"),
            ],
        ),
        (
            &frame,
            &[
                (r#"{"Index":2,"Events":["#, ".Events"),
                (r#"{"Index":2,"Events":[{"Payload":{"Allocation":{"ID":"b"}}}"#, ".Events[0]"),
                (r#"{"Index":2,"Events":[{"Payload":{"Allocation":{"ID":"b"}}},"#, ".Events[1]"),
            ],
        ),
        (&list, &[(r#"[{"ID":"b","ClientStatus":"#, "[0].ClientStatus")]),
    ];
    for (line, cuts) in kinds {
        for (cut, path) in cuts {
            for (behind, wanted) in [
                (vec![line("c")], vec!["a", "c"]),
                (vec![line("c"), line("d")], vec!["a", "c", "d"]),
                (vec![(*cut).to_owned(), line("c"), line("d")], vec!["a", "c", "d"]),
                (vec![line("c"), (*cut).to_owned(), line("d")], vec!["a", "c", "d"]),
            ] {
                let lines = [vec![line("a"), (*cut).to_owned()], behind].concat();
                for (between, end) in [("\n", ""), ("\n", "\n"), ("\r\n", "\r\n"), ("\n\n", "\n")] {
                    let text = lines.join(between) + end;
                    for outcome in both(text.as_bytes()) {
                        assert_eq!(ids(&outcome), wanted, "{text}: {:?}", outcome.faults);
                        let reported: Vec<(&str, usize)> =
                            outcome.faults.iter().map(|fault| (fault.path.as_str(), fault.at)).collect();
                        let cut = format!("{cut}{between}");
                        let ends = text.match_indices(&cut).map(|(at, found)| at + found.len());
                        let ends = ends.map(|end| text[..end].trim_end_matches('\n').len());
                        assert_eq!(reported, ends.map(|end| (*path, end)).collect::<Vec<_>>(), "{text}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_broken_multiline_value_gives_no_partial_allocation() {
    let inner = r#"{"ID":"inner","ClientStatus":"x"}"#;
    let next = "{\"ID\":\"next\",\"ClientStatus\":\"x\"}\n{\"ID\":\"last\",\"ClientStatus\":\"x\"}\n";
    for broken in [
        format!("{{\n\"ID\":\"b\",\n\"Job\":\n{inner}\n\"x\"\n}}\n"),
        format!("{{\n\"ID\":\"b\",\n\"A\":[\n{inner}\n}}\n"),
        format!("{{\n  \"ID\": \"b\",\n  \"A\": [\n    {inner}\n  }}\n}}\n"),
        format!("{{\"ID\":\"b\",\"A\":[\n{inner},\n{inner}\n}}\n"),
        "{\"ID\":\"b\",\"A\":[\n{\"Type\":\"Received\"}\n{\"Type\":\"Started\"}\n]}\n".into(),
    ] {
        let text = format!("{broken}{next}");
        for outcome in both(text.as_bytes()) {
            assert_eq!(ids(&outcome), ["next", "last"], "{text}: {:?}", outcome.faults);
        }
    }
}

#[test]
fn damage_in_every_line_takes_linear_time() {
    for (line, lines) in [
        ("{\"ID\":\"a\",\"ClientStatus\":tru}\n", 50_000),
        ("{\"ID\":\"a\" \"b\"}\n", 50_000),
        ("]\n", 50_000),
        ("{\"a\":[}\n", 50_000),
        ("\"\n", 50_000),
        ("{\"ID\":1,\"ClientStatus\":\"x\"}\n", 50_000),
        ("{\"ID\":\n", 50_000),
        ("{\"a\":\n{}\n", 50_000),
        ("[{\"a\":\n[7]\n", 50_000),
        // After each of these lines, the reader searches for the end of an object up to the end of the block. The time
        // is still linear in the size of the document, but it is half a millisecond per line.
        ("{\"ID\":\"a\",\"Events\":[\n{\"ID\":1,\"ClientStatus\":\"x\"}\n", 5_000),
        ("[{\"a\":[\n[7]\n", 5_000),
    ] {
        let text = line.repeat(lines);
        for outcome in both(text.as_bytes()) {
            assert!(outcome.items.is_empty() && !outcome.faults.is_empty(), "{line}");
        }
    }
}
