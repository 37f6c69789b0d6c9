//! Malicious and misleading input.

use std::time::{Duration, Instant};

use crate::sandbox::{Sandbox, allocation};
use crate::support::Exported;

/// A zstd file that expands to `begin`, followed by `mebibytes` MiB of white space.
fn bomb(begin: &str, mebibytes: usize) -> Vec<u8> {
    let spaces = zstd::encode_all(vec![b' '; 1 << 20].as_slice(), 1).expect("bytes that can be compressed");
    let mut packed = zstd::encode_all(begin.as_bytes(), 1).expect("bytes that can be compressed");
    (0..mebibytes).for_each(|_| packed.extend_from_slice(&spaces));
    packed
}

#[test]
fn a_decompression_bomb_ends_at_a_gibibyte_and_earlier_data_is_kept() {
    let sandbox = Sandbox::new();
    sandbox
        .file("bomb.zst", bomb(&format!("[{}", allocation("a", "n", "j")), 1_100))
        .file("b.json", allocation("b", "n", "j"));
    let ran = sandbox.export(&["bomb.zst", "b.json", "-o", "out", "--table", "task_events"]).exits_with(3);
    let found = ran.err.lines().filter(|line| line.contains("expands to more than 1 GiB")).count();
    assert_eq!(found, 1, "{}", ran.err);
    let rows = Exported::read(&sandbox.path("out"), "task_events");
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["alloc_id"].as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn a_decompression_bomb_within_archives_is_reported_once() {
    let sandbox = Sandbox::new();
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["one.json.zst", "two.json.zst", "three.json.zst"] {
        let bytes = bomb("[", 1_100);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice()).expect("a file that can be archived");
    }
    let tar = archive.into_inner().expect("an archive");
    sandbox.file("bomb.tar.zst", zstd::encode_all(tar.as_slice(), 19).expect("bytes that can be compressed"));
    let ran = sandbox.export(&["bomb.tar.zst", "-o", "out"]).exits_with(1);
    assert_eq!(ran.err.matches("expands to more than 1 GiB").count(), 1, "{}", ran.err);
}

#[test]
fn a_long_name_in_a_tar_does_not_fill_the_memory() {
    let sandbox = Sandbox::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_path("././@LongLink").expect("a name");
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + (64 << 20), b'x');
    sandbox.file("names.tar.zst", zstd::encode_all(bytes.as_slice(), 1).expect("bytes that can be compressed"));
    sandbox
        .export(&["names.tar.zst", "-o", "out"])
        .exits_with(1)
        .stderr_has("a name or attributes in it are longer than 1 MiB");
}

#[test]
fn an_empty_listing_is_exactly_one_empty_list() {
    let sandbox = Sandbox::new();
    sandbox.file("empty.json", " [ ] ").file("dump.json", "{\"Allocs\":[]}");
    for name in ["empty.json", "dump.json"] {
        sandbox.export(&[name, "-o", "out", "--force"]).exits_with(0).stderr_has("1 document, 0 allocations");
    }
    for text in ["[{}]", "[][]", "[]\n[]", "[[]]", "[[],[]]", "[[{}]]", "[{},{}]", "[1]", "[null]", "[\"\"]"] {
        sandbox.file("other.json", text);
        for flags in [&[][..], &["--full-listing"], &["--strict"]] {
            let ran = sandbox.export(&[&["other.json", "-o", "x"], flags].concat()).exits_with(1);
            ran.stderr_has("other.json: is JSON without allocations");
        }
    }
}

#[test]
fn damage_in_ignored_fields_is_reported() {
    let sandbox = Sandbox::new();
    for (metrics, path) in [
        (&br#"{"a":tru}"#[..], ".Metrics.a is not JSON"),
        (br#"{"a":[1,02]}"#, ".Metrics.a[1] is not JSON"),
        (br#"{"a":"\x"}"#, ".Metrics.a is not JSON"),
        (b"{\"a\":\"\xe9\"}", ".Metrics.a holds bytes that are not UTF-8"),
        (br#"{"a" 1}"#, ".Metrics.a is not JSON"),
        (br#"[1 2]"#, ".Metrics[0] is not JSON"),
    ] {
        let [before, behind] = [r#"[{"ID":"a","Metrics":"#, r#","ClientStatus":"x"},"#];
        let text = [before.as_bytes(), metrics, behind.as_bytes(), allocation("b", "n", "j").as_bytes(), b"]"].concat();
        sandbox.file("a.json", text);
        let ran = sandbox.export(&["a.json", "-o", "out", "--force", "--table", "allocations"]).exits_with(3);
        ran.stderr_has(&format!("[0]{path}")).stderr_has("1 allocation,");
    }
    // Old Nomad versions write such values for missing numbers. These values are accepted.
    sandbox.file("a.json", r#"[{"ID":"a","Metrics":{"Scores":{"n":-Inf}},"ClientStatus":"x"}]"#);
    sandbox.export(&["a.json", "-o", "out", "--force"]).exits_with(0);
}

#[test]
fn globs_match_characters() {
    let sandbox = Sandbox::new();
    for (n, name) in ["täsk", "日本", "task"].into_iter().enumerate() {
        sandbox.file(&format!("d/{name}.json"), format!("[{}]", allocation(&n.to_string(), "n", name)));
    }
    let ids = |arguments: &[&str]| {
        sandbox.export(&[arguments, &["-o", "out", "--force", "-q", "--table", "allocations"]].concat()).exits_with(0);
        let rows = Exported::read(&sandbox.path("out"), "allocations");
        let mut ids: Vec<_> = rows.iter().filter_map(|row| row["alloc_id"].as_str()).map(str::to_owned).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&["d/t?sk.json"]), ["0", "2"]);
    assert_eq!(ids(&["d/t[à-ü]sk.json"]), ["0"]);
    assert_eq!(ids(&["d/??.json"]), ["1"]);
    assert_eq!(ids(&["d", "--job", "t?sk"]), ["0", "2"]);
    assert_eq!(ids(&["d", "--job", "[日月]?"]), ["1"]);
    assert_eq!(ids(&["d", "--job", "t[!a]sk"]), ["0"]);
    sandbox.export(&["d", "--job", "t[", "-o", "x"]).exits_with(2).stderr_has("--job t[ has a [ without a ]");
    sandbox.export(&["d/t[", "-o", "x"]).exits_with(2).stderr_has("as a glob: has a [ without a ]");
}

/// Masking takes time linear in the length of a message. Four times the length takes four times as long, not sixteen
/// times.
#[test]
fn masking_time_is_linear_in_the_message_length() {
    let sandbox = Sandbox::new();
    let elapsed = |mebibytes: usize| -> Duration {
        let message = "all work and no play ".repeat((mebibytes << 20) / 21);
        sandbox.file("long.json", format!("[{}]", allocation("a", "n", "j").replace("=cmd", &message)));
        let run = || {
            let begun = Instant::now();
            sandbox.export(&["long.json", "-o", "out", "--force", "--table", "task_events", "-q"]).exits_with(0);
            begun.elapsed()
        };
        run().min(run())
    };
    let (short, long) = (elapsed(12), elapsed(48));
    assert!(long < short * 8, "12 MiB took {short:?}, 48 MiB {long:?}");
}

#[test]
fn secrets_are_in_no_table_and_no_message() {
    let sandbox = Sandbox::new();
    let secret = "hunter2-AbC";
    let text = allocation("a", "n", "j")
        .replace("=cmd", &format!("run --password {secret}"))
        .replace("\"Details\":{}", &format!(r#""RestartReason":"password={secret}","Details":{{"token":"{secret}"}}"#))
        .replace("\"ClientStatus\"", &format!(r#""DesiredDescription":"Bearer {secret}1","ClientDescription":"https:\\/\\/u:{secret}@h","ClientStatus""#));
    sandbox.file(
        "a.json",
        format!("[{text},{{\"ID\":\"b\",\"ClientStatus\":\"x\",\"TaskStates\":{{\"password={secret}\":1}}}}]"),
    );
    sandbox.file("b.json", format!("{{\"Error\":\"Get https://u:{secret}@h: X-Nomad-Token: {secret}\"}}"));
    let all = "task_events,allocation_history,task_state_history,snapshots,allocations,coverage,restarts";
    let ran = sandbox.export(&["a.json", "b.json", "-o", "out", "--format", "csv", "--table", all, "-v"]).exits_with(3);
    assert!(!ran.err.contains(secret), "{}", ran.err);
    for (name, bytes) in sandbox.files("out") {
        let text = String::from_utf8(bytes).expect("CSV is text");
        assert!(!text.contains(secret), "{name}: {text}");
        assert!(!matches!(name.as_str(), "task_events.csv" | "allocation_history.csv") || text.contains("***"));
    }
}
