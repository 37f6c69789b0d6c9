//! The program as a user sees it: exit codes, files, messages.

mod targets;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::sandbox::{Finished, Sandbox, allocation, sample};
use crate::support::{Exported, Row};

fn texts(rows: &[Row], column: &str) -> Vec<String> {
    rows.iter().map(|row| row[column].as_str().unwrap_or("null").to_owned()).collect()
}

#[test]
fn an_export_holds_tables_and_statistics() {
    let sandbox = Sandbox::new();
    sandbox
        .export(&[&sample("cluster"), "-o", "out"])
        .exits_with(0)
        .stderr_has(" documents, ")
        .stderr_has(" lost")
        .stderr_has("0 rejected");
    let files = sandbox.files("out");
    let schema = sandbox.run(&["schema"]).exits_with(0).out;
    let exported = schema.lines().filter(|line| line.ends_with(", exported by default)"));
    let mut expected: Vec<String> =
        exported.filter_map(|line| Some(format!("{}.parquet", line.split_once(' ')?.0))).collect();
    expected.push("_export.json".into());
    expected.sort();
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let has = |table: &str| files.contains_key(&format!("{table}.parquet"));
    assert!(["task_events", "snapshots", "coverage", "restarts"].into_iter().all(has));
    assert!(!["allocation_history", "windows", "timeline", "period"].into_iter().any(has));
    assert!(!Exported::read(&sandbox.path("out"), "task_events").is_empty());
    assert!(!Exported::read(&sandbox.path("out"), "coverage").is_empty());
    assert_eq!(sandbox.names(), ["out"]);
}

#[test]
fn the_same_input_gives_the_same_bytes_in_every_format() {
    let sandbox = Sandbox::new();
    for format in ["parquet", "csv", "ndjson", "arrow"] {
        for out in ["a", "b"] {
            sandbox.export(&[&sample("cluster"), "-o", out, "--force", "-q", "--format", format]).exits_with(0);
        }
        assert!(sandbox.files("a") == sandbox.files("b"), "{format}");
    }
}

/// Edited and damaged copies of a document show known versions. Thread timing must not decide whether a copy is read or
/// skipped. There are more copies than the program reads at a time.
#[test]
fn changed_copies_give_the_same_bytes_on_every_run() {
    let sandbox = Sandbox::new();
    let one = |n: i64| {
        format!(
            r#"{{"ID":"{n:036}","ClientStatus":"running","ModifyIndex":{n},"ModifyTime":{},"TaskStates":{{"t":
                {{"State":"running","Restarts":0,"Events":[{{"Type":"Task Setup","Time":{}}}]}}}}}}"#,
            1_795_458_551_898_620_217 + n,
            1_795_458_551_898_620_217 + n
        )
    };
    let original = format!("[{}]", (1..=200).map(one).collect::<Vec<_>>().join(","));
    fs::create_dir(sandbox.path("dumps")).unwrap();
    for copy in 0..60 {
        let content = match copy % 4 {
            0 => original.clone(),
            3 => original.replacen("\"Restarts\":0", "\"Restarts\":x", 1 + copy % 3),
            _ => original.replace("Task Setup", &format!("Task {copy:05}")),
        };
        sandbox.file(&format!("dumps/{copy:02}.json"), content);
    }
    let export = || {
        let ran = sandbox.export(&["dumps", "-o", "out", "--force"]).exits_with(3);
        (ran.err, sandbox.files("out"))
    };
    let first = export();
    assert!((0..10).all(|_| export() == first));
}

#[test]
fn every_table_can_be_named_and_standard_output_takes_one() {
    let sandbox = Sandbox::new();
    let all =
        "task_events,allocation_history,task_state_history,sightings,snapshots,nodes,allocations,task_states,coverage";
    sandbox.export(&[&sample("cluster"), "-o", "out", "--format", "csv", "--table", all]).exits_with(0);
    let files = sandbox.files("out");
    assert_eq!(files.len(), 10);
    for table in all.split(',') {
        let ran =
            sandbox.export(&[&sample("cluster"), "-o", "-", "--format", "csv", "--table", table, "-q"]).exits_with(0);
        assert_eq!(ran.out.as_bytes(), files[&format!("{table}.csv")], "{table}");
        assert_eq!(ran.err, "");
    }
    sandbox.export(&[&sample("cluster"), "-o", "-"]).exits_with(2).stderr_has("--table");
    sandbox
        .export(&[&sample("cluster"), "-o", "x", "--table", "task_event"])
        .exits_with(2)
        .stderr_has("did you mean task_events?");
    assert_eq!(sandbox.names(), ["out"]);
}

#[test]
fn an_empty_list_is_a_result_and_no_document_is_a_failure() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).expect("a directory");
    sandbox
        .file("list.json", "[]")
        .file("notes/a.txt", "hello")
        .file("notes/b.json", "{\"a\":1}")
        .file("none.json", "");
    sandbox.export(&["list.json", "-o", "out"]).exits_with(0).stderr_has("1 document, 0 allocations");
    for nothing in ["empty", "notes", "*.ndjson", "none.json", "notes/b.json"] {
        sandbox.export(&[nothing, "-o", "x"]).exits_with(1).stderr_has(nothing);
        sandbox.export(&["list.json", nothing, "-o", "y", "--force"]).exits_with(if nothing.contains(".json") {
            0
        } else {
            1
        });
    }
    sandbox.export(&["notes", "-o", "x"]).exits_with(1).stderr_has("skipped: notes/a.txt: ");
    assert!(!sandbox.path("x").exists());
}

#[test]
fn a_missing_source_is_rejected_and_the_others_are_read() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "default", "j"));
    sandbox
        .export(&["a.json", "gone.json", "-o", "out"])
        .exits_with(3)
        .stderr_has("rejected: gone.json: cannot be opened");
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["a"]);
    sandbox.export(&["gone.json", "-o", "x"]).exits_with(1);
    sandbox.export(&["a.json", "gone.json", "-o", "x", "--strict"]).exits_with(1).stderr_has("nothing was written");
    assert!(!sandbox.path("x").exists());
}

#[test]
fn damage_is_reported_with_file_byte_line_and_path() {
    let sandbox = Sandbox::new();
    let (a, b, c) = (allocation("a", "n", "j"), allocation("b", "n", "j"), allocation("c", "n", "j"));
    let wrong = b.replace("1795458551898620219", "\"soon\"");
    sandbox.file("list.json", format!("[{a},\n{wrong},\n{c}]"));
    let byte = a.len() + 3 + wrong.find("\"soon\"").expect("it is there");
    sandbox
        .export(&["list.json", "-o", "out"])
        .exits_with(3)
        .stderr_has(&format!("list.json: byte {byte}, line 2: [1].TaskStates.t.Events[0].Time is text, not a number"));
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["a", "c"]);
    sandbox.file("cut.json", &format!("[{a},{b}")[..a.len() + 40]);
    sandbox
        .export(&["cut.json", "-o", "out", "--force"])
        .exits_with(3)
        .stderr_has("cut.json: byte ")
        .stderr_has("[1] ");
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["a"]);
    for file in ["list.json", "cut.json"] {
        sandbox.export(&[file, "-o", "strict", "--strict"]).exits_with(1).stderr_has(file);
    }
    assert!(!sandbox.path("strict").exists());
}

#[test]
fn a_repeated_document_counts_once() {
    let sandbox = Sandbox::new();
    let list = format!("[{}]", allocation("a", "n", "j"));
    sandbox.file("a.json", &list).file("b.json", &list);
    sandbox
        .export(&["a.json", "b.json", "a.json", "-o", "out"])
        .exits_with(0)
        .stderr_has("3 task events: 1 new, 2 repeated");
    assert_eq!(Exported::read(&sandbox.path("out"), "snapshots").len(), 1);
    assert_eq!(Exported::read(&sandbox.path("out"), "task_events").len(), 1);
}

#[test]
fn microsecond_clocks_are_not_mistaken_for_floats() {
    let sandbox = Sandbox::new();
    let event = |time: i64| format!(r#"{{"Type":"Received","Time":{time}}}"#);
    let list = |times: [i64; 4]| {
        let events = times.map(event).join(",");
        format!(
            r#"[{{"ID":"a","ClientStatus":"running","ModifyIndex":5,"TaskStates":{{"t":{{"State":"running","Restarts":0,"Events":[{events}]}}}}}}]"#
        )
    };
    let start = 1_795_477_200_144_272_000;
    let coarse = [start, start + 101_000, start + 202_000, start + 303_000];
    let rounded = coarse.map(|ns| ((ns + 123) as f64).to_string().parse().expect("a whole number"));
    for (times, is_rounded) in [(coarse, false), (rounded, true)] {
        sandbox.file("list.json", list(times));
        sandbox.export(&["list.json", "-o", "out", "--force"]).exits_with(0);
        assert_eq!(Exported::read(&sandbox.path("out"), "snapshots")[0]["times_rounded"], is_rounded, "{times:?}");
    }
}

#[test]
fn filters_apply_to_rows_but_not_to_the_ledger() {
    let sandbox = Sandbox::new();
    let list = [("a", "prod", "web"), ("b", "prod", "api/dispatch-1"), ("c", "dev", "web")];
    let list: Vec<String> = list.map(|(id, namespace, job)| allocation(id, namespace, job)).to_vec();
    sandbox.file("list.json", format!("[{}]", list.join(",")));
    let tables = "task_events,allocation_history,task_state_history,sightings,snapshots";
    for (flags, expected) in [
        (vec!["--namespace", "prod"], vec!["a", "b"]),
        (vec!["--namespace", "*"], vec!["a", "b", "c"]),
        (vec!["--job", "web"], vec!["a", "c"]),
        (vec!["--job", "api*"], vec!["b"]),
        (vec!["--namespace", "dev", "--job", "api*"], vec![]),
    ] {
        sandbox
            .export(&[&["list.json", "-o", "out", "--force", "--table", tables], flags.as_slice()].concat())
            .exits_with(0);
        for table in ["task_events", "allocation_history", "task_state_history", "sightings"] {
            assert_eq!(texts(&Exported::read(&sandbox.path("out"), table), "alloc_id"), expected, "{flags:?} {table}");
        }
        assert_eq!(Exported::read(&sandbox.path("out"), "snapshots").len(), 1);
    }
    sandbox.export(&["list.json", "-o", "x", "--job", "[a"]).exits_with(2).stderr_has("--job");
}

#[test]
fn region_and_observed_at_come_from_the_user() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let flags = ["--region", "eu", "--observed-at", "2026-11-23T20:00:00Z", "--full-listing"];
    sandbox.export(&[&["a.json", "-o", "out"], flags.as_slice()].concat()).exits_with(0);
    let row = &Exported::read(&sandbox.path("out"), "snapshots")[0];
    assert_eq!(row["region"], "eu");
    assert_eq!(row["observed_at"], "2026-11-23T20:00:00.000000Z");
    assert_eq!((&row["observed_from"], &row["namespace"]), (&"flag".into(), &"*".into()));
    assert_eq!(row["is_full_listing"], true);
    sandbox.export(&["a.json", "-o", "x", "--observed-at", "yesterday"]).exits_with(2);
}

#[test]
fn a_period_applies_to_statistics_only_and_warns_otherwise() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    sandbox
        .export(&["a.json", "-o", "out", "--since", "24h", "--table", "task_events,coverage"])
        .exits_with(0)
        .stderr_has("--since and --until have no effect");
    assert_eq!(Exported::read(&sandbox.path("out"), "task_events").len(), 1);
    sandbox.export(&["a.json", "-o", "x", "--since", "yesterday"]).exits_with(2).stderr_has("24h");
}

#[test]
fn csv_is_safe_for_spreadsheets_unless_raw() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("-a", "@n", "j,\\\"k\\\""));
    let flags = ["a.json", "-o", "-", "--table", "task_events", "--format", "csv", "-q"];
    let safe = sandbox.export(&flags).exits_with(0).out;
    assert!(
        safe.lines().nth(1).is_some_and(|l| l.starts_with("\"\",'@n,\"j,\"\"k\"\"\",g,t,'-a,n,1,2026-11-23T")),
        "{safe}"
    );
    assert!(safe.contains(",'=cmd,"), "{safe}");
    let raw = sandbox.export(&[&flags[..], &["--csv-raw"]].concat()).exits_with(0).out;
    assert_eq!(raw, safe.replace(",'", ","));
}

#[test]
fn a_closed_pipe_on_stdout_is_not_a_failure() {
    let sandbox = Sandbox::new();
    let mut command =
        sandbox.command(&["export", &sample("cluster"), "-o", "-", "--table", "task_events", "--format", "csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    Finished::from_output(child.wait_with_output().expect("an end")).exits_with(0);
}

#[test]
fn write_errors_on_stderr_are_ignored() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j")).file("b.json", "[{\"ID\":7,\"ClientStatus\":\"x\"}]");
    let mut child = sandbox.command(&["export", "a.json", "b.json", "-v", "-o", "closed"]);
    let mut child = child.stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("an end").code(), Some(3));
    assert!(sandbox.path("closed/task_events.parquet").exists());
    let mut refused = sandbox.command(&["export", "a.json", "-o", "closed"]);
    let mut refused = refused.stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(refused.stderr.take());
    assert_eq!(refused.wait().expect("an end").code(), Some(1));
    #[cfg(target_os = "linux")]
    {
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
        let status = sandbox.command(&["export", "a.json", "b.json", "-o", "full"]).stderr(full()).status();
        assert_eq!(status.expect("an end").code(), Some(3));
        for result in [&["schema"][..], &["man"], &["report", "a.json"], &["query", "coverage", "a.json"]] {
            let status = sandbox.command(result).stdout(full()).status();
            assert_eq!(
                status.expect("an end").code(),
                Some(1),
                "exit code 1 if the result cannot be written: {result:?}"
            );
        }
    }
}

#[test]
fn control_characters_in_documents_and_names_are_escaped() {
    let sandbox = Sandbox::new();
    let wrong = allocation("a", "n", "j").replace("1795458551898620219", "\"x\"").replace("\"t\":", "\"\\u001b[2J\":");
    sandbox.file("a\u{1b}[31m.json", format!("[{wrong},{}]", allocation("b", "n", "j")));
    let ran = sandbox.export(&["a\u{1b}[31m.json", "-o", "x"]).exits_with(3);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

#[test]
fn the_schema_documents_every_column_of_every_table() {
    let sandbox = Sandbox::new();
    let all = sandbox.run(&["schema"]).exits_with(0).out;
    assert!(all.contains("\ntask_state_history (stored table)\n"), "{all}");
    let one = sandbox.run(&["schema", "coverage"]).exits_with(0).out;
    assert!(one.starts_with("coverage (view, exported by default)\n") && one.contains("lost_restarts"), "{one}");
    sandbox.run(&["schema", "nothing"]).exits_with(2).stderr_has("task_events");
    let markdown = sandbox.run(&["schema", "--markdown"]).exits_with(0).out;
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.md")).expect("docs/schema.md");
    assert!(page == markdown, "docs/schema.md is out of date: run `alloclog schema --markdown > docs/schema.md`");
}

#[test]
fn examples_in_help_are_not_wrapped_and_completions_know_names() {
    let sandbox = Sandbox::new();
    for columns in ["40", "200"] {
        let help = sandbox.command(&["report", "-h"]).env("COLUMNS", columns).output().expect("the program starts");
        let help = String::from_utf8(help.stdout).expect("text");
        let example = "  alloclog report dumps/ --job 'payments-*' --format markdown -o report.md\n";
        assert!(help.contains(example), "{columns}: {help}");
    }
    let script = sandbox.run(&["completions", "bash"]).exits_with(0).out;
    for word in ["node_name", "job_version", "task_events", "crash_loops"] {
        assert!(script.contains(word), "{word}");
    }
}

#[test]
fn help_completions_and_manual_exist() {
    let sandbox = Sandbox::new();
    assert!(sandbox.run(&["export", "--help"]).exits_with(0).out.contains("alloclog export dumps/ -o tables"));
    assert!(sandbox.run(&["--help"]).exits_with(0).out.contains("Exit codes"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(sandbox.run(&["completions", shell]).exits_with(0).out.contains("alloclog"), "{shell}");
    }
    assert!(sandbox.run(&["man"]).exits_with(0).out.contains(".TH alloclog 1"));
    let page = sandbox.run(&["man", "lake", "check"]).exits_with(0).out;
    assert!(page.contains(".TH alloclog-lake-check 1"), "{page}");
    sandbox.run(&["man", "lake", "chek"]).exits_with(2).stderr_has("info, check, compact, vacuum");
    sandbox.run(&["man", "-o", "man/man1"]).exits_with(0);
    for name in ["alloclog", "alloclog-report", "alloclog-lake", "alloclog-lake-vacuum", "alloclog-man"] {
        let page = fs::read_to_string(sandbox.path(&format!("man/man1/{name}.1"))).expect("a page");
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
    }
    let page = fs::read_to_string(sandbox.path("man/man1/alloclog-export.1")).expect("a page");
    let example = "  alloclog export nomad\\-debug.tar.gz \\-o tables \\-\\-format csv\n";
    assert!(page.contains(".SH EXAMPLES\n.nf\n") && page.contains(example), "{page}");
    sandbox.run(&[]).exits_with(2);
    sandbox.run(&["export"]).exits_with(2);
}
