//! Corner cases of JSON's grammar (RFC 8259), like those of public suites such as Nicolas Seriot's JSONTestSuite, each
//! with the expected verdict.
//!
//! Each case is read in five positions: as a whole document, as an element of a list, as a text field, as an integer
//! field, and as an ignored value. Both readers accept valid JSON and refuse invalid JSON. There is one exception: in
//! ignored values, the fast reader accepts the invalid numbers that old Nomad versions write.

use super::property::{Outcome, read, validity};

/// The expected verdict on a text.
#[derive(Debug, Clone, Copy)]
enum Is {
    /// A JSON string with this value.
    Text(&'static str),
    /// A JSON string that is not Unicode, because it contains half of a surrogate pair.
    NoText,
    /// An integer.
    Whole(i64),
    /// A number that is not supported, and the message for it.
    Number(&'static str),
    Bool,
    Null,
    Array,
    Object,
    /// Not JSON.
    Broken,
}

use Is::{Array, Bool, Broken, NoText, Null, Number, Object, Text, Whole};

const FRACTION: &str = "is not a whole number";
const RANGE: &str = "does not fit a signed 64-bit integer";

/// Every case: its name and its bytes.
const CASES: &[(&str, &[u8], Is)] = &[
    // Arrays.
    ("empty array", b"[]", Array),
    ("array with space", b"[ \t\r\n]", Array),
    ("array in array", b"[[]]", Array),
    ("array of everything", br#"[null, 1, "1", {}, false]"#, Array),
    ("array with empty text", br#"[""]"#, Array),
    ("array with a trailing comma", b"[1,]", Broken),
    ("array with two commas", b"[1,,2]", Broken),
    ("array with a leading comma", b"[,1]", Broken),
    ("array of a comma", b"[,]", Broken),
    ("array without a comma", b"[1 2]", Broken),
    ("array with a colon", br#"["":1]"#, Broken),
    ("array with a second end", b"[1]]", Broken),
    ("array closed as an object", b"[1}", Broken),
    ("array with a bare word", b"[a]", Broken),
    ("array with a star", b"[*]", Broken),
    ("array with a minus", b"[-]", Broken),
    ("array with a form feed", b"[\x0c]", Broken),
    ("array with a newline in text", b"[\"a\n\"]", Broken),
    ("array open", b"[1", Broken),
    ("array open in array", b"[[1]", Broken),
    ("array of objects open", br#"[{"a":1}"#, Broken),
    // Objects.
    ("empty object", b"{}", Object),
    ("object with space", b"{ \n }", Object),
    ("object with an empty key", br#"{"":0}"#, Object),
    ("object with an escaped key", br#"{"a\u0000\"b":1}"#, Object),
    ("object with a key twice", br#"{"a":1,"a":2}"#, Object),
    ("object with a key twice, equal", br#"{"a":1,"a":1}"#, Object),
    (
        "object with long names",
        br#"{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx":0}"#,
        Object,
    ),
    ("object with half a surrogate pair as key", br#"{"\ud800":1}"#, Object),
    ("object with newlines", b"{\n\"a\"\n:\n1\n}", Object),
    ("object with a trailing comma", br#"{"a":1,}"#, Broken),
    ("object with two commas", br#"{"a":1,,"b":2}"#, Broken),
    ("object with a leading comma", br#"{,"a":1}"#, Broken),
    ("object without a colon", br#"{"a" 1}"#, Broken),
    ("object with two colons", br#"{"a"::1}"#, Broken),
    ("object without a value", br#"{"a":}"#, Broken),
    ("object with only a key", br#"{"a"}"#, Broken),
    ("object with a number as key", b"{1:1}", Broken),
    ("object with a bare key", b"{a:1}", Broken),
    ("object with single quotes", b"{'a':1}", Broken),
    ("object without a comma", br#"{"a":1 "b":2}"#, Broken),
    ("object closed as an array", br#"{"a":1]"#, Broken),
    ("object with a bare value", br#"{"a":b}"#, Broken),
    ("object with a second end", br#"{"a":1}}"#, Broken),
    ("object with a comment", br#"{"a":1/**/}"#, Broken),
    ("object open", br#"{"a":1"#, Broken),
    ("object open after a comma", br#"{"a":1,"#, Broken),
    ("object open after a key", br#"{"a""#, Broken),
    ("object with an unclosed key", br#"{"a:1}"#, Broken),
    ("object with garbage after it", br#"{"a":1}#"#, Broken),
    ("object that holds an array closed as an object", br#"{"a":[1}}"#, Broken),
    // Text.
    ("empty text", br#""""#, Text("")),
    ("text", br#""asd""#, Text("asd")),
    ("every short escape", br#""\"\\\/\b\f\n\r\t""#, Text("\"\\/\u{8}\u{c}\n\r\t")),
    ("escaped escape", br#""\\n""#, Text("\\n")),
    ("escape at the end", br#""a\\""#, Text("a\\")),
    ("escaped quote at the end", br#""a\"""#, Text("a\"")),
    ("code", br#""\u0041\u00e9\u4e2d""#, Text("Aé中")),
    ("code in capitals", br#""\u00E9\uABCD""#, Text("é\u{abcd}")),
    ("code of nought", br#""\u0000""#, Text("\u{0}")),
    ("code of a control character", br#""\u001f""#, Text("\u{1f}")),
    ("code of a noncharacter", br#""\uFFFF\uFDD0""#, Text("\u{ffff}\u{fdd0}")),
    ("pair of surrogates", br#""\ud83d\ude00""#, Text("😀")),
    ("pair of the last plane", br#""\uDBFF\uDFFF""#, Text("\u{10ffff}")),
    ("two pairs", br#""\ud83d\ude00\uD83D\uDE01""#, Text("😀😁")),
    ("separators of JavaScript", "\"\u{2028}\u{2029}\"".as_bytes(), Text("\u{2028}\u{2029}")),
    (
        "utf-8 of one to four bytes",
        "\"a\u{80}\u{800}\u{10000}\u{10ffff}\"".as_bytes(),
        Text("a\u{80}\u{800}\u{10000}\u{10ffff}"),
    ),
    ("delete", b"\"\x7f\"", Text("\u{7f}")),
    ("byte order mark in text", "\"\u{feff}\"".as_bytes(), Text("\u{feff}")),
    ("comment in text", br#""/*a*/ //b""#, Text("/*a*/ //b")),
    ("brackets in text", br#""]}[{,:""#, Text("]}[{,:")),
    ("first half of a pair", br#""\ud800""#, NoText),
    ("second half of a pair", br#""\udc00""#, NoText),
    ("pair in the wrong order", br#""\ude00\ud83d""#, NoText),
    ("first half twice", br#""\ud800\ud800""#, NoText),
    ("first half and a letter", br#""\ud800a""#, NoText),
    ("first half and an escape", br#""\ud800\n""#, NoText),
    ("first half and a code", br#""\ud800\u0041""#, NoText),
    ("first half at the end of a longer text", br#""abc\uD9FF""#, NoText),
    ("escape of x", br#""\x00""#, Broken),
    ("escape of a capital", br#""\N""#, Broken),
    ("escape of a space", br#""\ ""#, Broken),
    ("escape of a control character", b"\"\\\t\"", Broken),
    ("escape of a letter beyond ascii", "\"\\é\"".as_bytes(), Broken),
    ("code of three digits", br#""\u00A""#, Broken),
    ("code of no digits", br#""\u""#, Broken),
    ("code with a sign", br#""\u+123""#, Broken),
    ("code with a space", br#""\u 123""#, Broken),
    ("pair with a broken half", br#""\ud800\u1x""#, Broken),
    ("newline in text", b"\"a\nb\"", Broken),
    ("tab in text", b"\"\t\"", Broken),
    ("nought in text", b"\"a\0b\"", Broken),
    ("unclosed text", br#""abc"#, Broken),
    ("text that ends in an escape", br#""abc\""#, Broken),
    ("single quotes", b"'a'", Broken),
    ("a lone quote", br#"""#, Broken),
    ("text without quotes", b"abc", Broken),
    ("text and more text", br#""a""b""#, Broken),
    ("utf-8 that is too long", b"\"\xc0\xaf\"", Broken),
    ("utf-8 cut", b"\"\xe0\xff\"", Broken),
    ("utf-8 of a surrogate", b"\"\xed\xa0\x80\"", Broken),
    ("utf-8 beyond unicode", b"\"\xf4\xbf\xbf\xbf\"", Broken),
    ("utf-8 continued from nothing", b"\"\x81\"", Broken),
    ("latin 1", b"\"\xe9\"", Broken),
    // Numbers.
    ("nought", b"0", Whole(0)),
    ("minus nought", b"-0", Whole(0)),
    ("one", b"1", Whole(1)),
    ("minus one", b"-1", Whole(-1)),
    ("exponent", b"1e3", Whole(1000)),
    ("capital exponent", b"1E3", Whole(1000)),
    ("exponent with plus", b"1E+2", Whole(100)),
    ("exponent with noughts", b"1e002", Whole(100)),
    ("negative exponent that leaves a whole number", b"12300e-2", Whole(123)),
    ("negative exponent", b"1e-2", Number(FRACTION)),
    ("nought with an exponent", b"0e1", Whole(0)),
    ("nought with a huge exponent", b"0e999999999999999999999999", Whole(0)),
    ("fraction of nought", b"1.0", Whole(1)),
    ("fraction and exponent", b"123.456e3", Whole(123_456)),
    ("fraction", b"123.456789", Number(FRACTION)),
    ("close to nought", b"-0.000000000000000000000000000000000000000000000000000000000001", Number(FRACTION)),
    ("largest", b"9223372036854775807", Whole(i64::MAX)),
    ("smallest", b"-9223372036854775808", Whole(i64::MIN)),
    ("one too large", b"9223372036854775808", Number(RANGE)),
    ("one too small", b"-9223372036854775809", Number(RANGE)),
    ("largest without a sign", b"18446744073709551615", Number(RANGE)),
    ("very large", b"123123123123123123123123123123", Number(RANGE)),
    ("huge exponent", b"1e400", Number(RANGE)),
    ("huge negative exponent", b"123e-10000000", Number(FRACTION)),
    ("exponent beyond counting", b"1e99999999999999999999", Number(RANGE)),
    ("beyond a float's exactness", b"9007199254740993", Whole(9_007_199_254_740_993)),
    ("nanoseconds", b"1795458551898620217", Whole(1_795_458_551_898_620_217)),
    ("nanoseconds through a float", b"1.4957473717957038e18", Whole(1_495_747_371_795_703_800)),
    ("leading nought", b"01", Broken),
    ("leading nought and minus", b"-01", Broken),
    ("leading noughts", b"00", Broken),
    ("minus", b"-", Broken),
    ("plus", b"+1", Broken),
    ("two minuses", b"--1", Broken),
    ("minus and space", b"- 1", Broken),
    ("point at the end", b"1.", Broken),
    ("point at the beginning", b".5", Broken),
    ("point and exponent", b"1.e3", Broken),
    ("two points", b"1.2.3", Broken),
    ("open exponent", b"1e", Broken),
    ("open exponent with sign", b"1e+", Broken),
    ("exponent with two signs", b"1e+-1", Broken),
    ("exponent with a fraction", b"1e1.5", Broken),
    ("hexadecimal", b"0x1F", Broken),
    ("underscore", b"1_000", Broken),
    ("space in a number", b"1 000", Broken),
    ("not a number", b"NaN", Broken),
    ("infinity", b"Infinity", Broken),
    ("minus infinity of Go", b"-Inf", Broken),
    ("wide digits", "１".as_bytes(), Broken),
    ("number and letter", b"1a", Broken),
    ("number and control character", b"1\x01", Broken),
    // Words.
    ("true", b"true", Bool),
    ("false", b"false", Bool),
    ("null", b"null", Null),
    ("capital word", b"True", Broken),
    ("half a word", b"nul", Broken),
    ("word and more", b"nulll", Broken),
    ("word and nought", b"null\0", Broken),
    ("undefined", b"undefined", Broken),
    ("words of Python", b"None", Broken),
    // White space, valid and invalid.
    ("space around", b" \t\r\n1 \n", Whole(1)),
    ("form feed before", b"\x0c1", Broken),
    ("vertical tab before", b"\x0b1", Broken),
    ("space of no break before", "\u{a0}1".as_bytes(), Broken),
    ("space of word joiner before", "\u{2060}1".as_bytes(), Broken),
    ("comment before", b"/**/1", Broken),
    ("comment behind", b"1 // one", Broken),
    ("nought before", b"\x001", Broken),
    ("an angle bracket", b"<", Broken),
    ("byte order mark of utf-16", b"\xff\xfe1\0", Broken),
];

/// Reads a text with both readers.
fn both(text: &[u8]) -> [Outcome<'_>; 2] {
    [read(text, &[], false), read(text, &[], true)]
}

/// Inserts a case between two texts.
fn put(before: &str, case: &[u8], behind: &str) -> Vec<u8> {
    [before.as_bytes(), case, behind.as_bytes()].concat()
}

#[test]
fn the_verdicts_are_those_of_serde_json() {
    for (name, text, is) in CASES {
        // A document may hold several values, so the case is wrapped in an array.
        let sound = validity(&put("[", text, "]")).is_ok();
        assert_eq!(sound, !matches!(is, Broken), "{name}");
    }
}

#[test]
fn as_a_whole_document() {
    for (name, text, is) in CASES {
        let [fast, strict] = both(text);
        match is {
            Broken => {
                // Two texts one after the other are two values.
                let is_two = *name == "text and more text";
                assert_eq!(!strict.faults.is_empty(), !is_two, "{name}, strict: {strict:?}");
                assert_eq!(!fast.faults.is_empty(), !is_two, "{name}: {fast:?}");
            }
            _ => {
                assert_eq!(fast, strict, "{name}");
                assert_eq!(fast.faults, [], "{name}");
                // As a whole document, `{}` is a heartbeat of a stream.
                let is_list = matches!(is, Array) || *text == b"{}" || name == &"object with space";
                assert_eq!((fast.lists + fast.frames > 0, fast.items.len()), (is_list, 0), "{name}");
            }
        }
    }
}

#[test]
fn as_an_element() {
    for (name, text, is) in CASES {
        let text = put(r#"[{"ID":"a","ClientStatus":"x"},"#, text, r#",{"ID":"b","ClientStatus":"x"}]"#);
        let [fast, strict] = both(&text);
        assert!(!fast.items.is_empty() && !strict.items.is_empty(), "{name}: the element before it is kept");
        match is {
            Broken => {
                assert!(!strict.faults.is_empty(), "{name}, strict");
                assert!(!fast.faults.is_empty(), "{name}: {fast:?}");
            }
            _ => {
                assert_eq!(fast, strict, "{name}");
                assert_eq!(fast.items.len(), 2, "{name}: {fast:?}");
                assert_eq!(fast.faults, [], "{name}");
            }
        }
    }
}

#[test]
fn as_an_ignored_value() {
    for place in ["Metrics", "New", "PreemptedAllocations"] {
        for (name, case, is) in CASES {
            let text = put(&format!(r#"[{{"ID":"a","{place}":"#), case, r#","ClientStatus":"x"}]"#);
            let [fast, strict] = both(&text);
            match is {
                Broken => {
                    assert!(!strict.faults.is_empty(), "{name} as {place}, strict");
                    assert!(strict.items.is_empty(), "{name} as {place}, strict");
                    let passes = [&b"NaN"[..], b"Infinity", b"-Inf"].contains(case);
                    assert_eq!(fast.faults.is_empty(), passes, "{name} as {place}: {fast:?}");
                    assert_eq!(fast.items.len(), usize::from(passes), "{name} as {place}: {fast:?}");
                }
                _ => {
                    assert_eq!(fast, strict, "{name} as {place}");
                    assert_eq!((fast.items.len(), fast.faults.len()), (1, 0), "{name} as {place}: {fast:?}");
                }
            }
        }
    }
}

/// The error of a reader that expects another type.
fn instead(is: Is, wanted: &str) -> String {
    let found = match is {
        Text(_) | NoText => "text",
        Whole(_) | Number(_) => "a number",
        Bool => "true or false",
        Array => "an array",
        Object => "an object",
        Null | Broken => "nothing",
    };
    format!("is {found}, not {wanted}: this allocation is rejected")
}

#[test]
fn as_a_text_field() {
    for (name, text, is) in CASES {
        let text = put(r#"[{"ID":"a","Name":"#, text, r#","ClientStatus":"x"}]"#);
        let expected = match is {
            Text(text) => Ok((!text.is_empty()).then_some(*text)),
            Null => Ok(None),
            NoText => {
                Err("holds half of a surrogate pair, which is not a character: this allocation is rejected".into())
            }
            Broken => {
                for outcome in both(&text) {
                    assert!(!outcome.faults.is_empty() && outcome.items.is_empty(), "{name}: {outcome:?}");
                }
                continue;
            }
            other => Err(instead(*other, "text")),
        };
        for outcome in both(&text) {
            match &expected {
                Ok(expected) => assert_eq!(Ok(*expected), kept(&outcome, |a| a.name.as_deref()), "{name}"),
                Err(message) => assert_eq!(Err((message.as_str(), "[0].Name")), kept(&outcome, |_| ""), "{name}"),
            }
        }
    }
}

#[test]
fn as_an_integer_field() {
    for (name, text, is) in CASES {
        let text = put(r#"[{"ID":"a","CreateIndex":"#, text, r#","ClientStatus":"x"}]"#);
        let expected = match is {
            Whole(n) => Ok(Some(*n)),
            Null => Ok(None),
            Number(message) => Err(format!("{message}: this allocation is rejected")),
            Broken => {
                for outcome in both(&text) {
                    assert!(!outcome.faults.is_empty() && outcome.items.is_empty(), "{name}: {outcome:?}");
                }
                continue;
            }
            other => Err(instead(*other, "a number")),
        };
        for outcome in both(&text) {
            match &expected {
                Ok(expected) => assert_eq!(Ok(*expected), kept(&outcome, |a| a.create_index), "{name}"),
                Err(message) => assert_eq!(Err((message.as_str(), "[0].CreateIndex")), kept(&outcome, |_| 0), "{name}"),
            }
        }
    }
}

/// The value of the only allocation of an outcome, or the text and path of its only fault.
fn kept<'o, T>(
    outcome: &'o Outcome<'_>,
    value: impl FnOnce(&'o alloclog::decode::record::Allocation<'_>) -> T,
) -> Result<T, (&'o str, &'o str)> {
    use alloclog::decode::document::ItemContent;
    match (outcome.items.as_slice(), outcome.faults.as_slice()) {
        ([(_, ItemContent::Allocation(a))], []) => Ok(value(a)),
        ([], [fault]) => Err((&fault.what, &fault.path)),
        _ => Err(("neither one allocation nor one fault", "")),
    }
}
