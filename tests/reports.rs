//! `alloclog report` as a user sees it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::sandbox::{Finished, Sandbox, allocation, is_as_expected, sample};

/// Runs the program in the repository, for a terminal of this width.
fn in_the_repository(sandbox: &Sandbox, arguments: &[&str], width: usize) -> Finished {
    let mut command = sandbox.command(arguments);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("COLUMNS", width.to_string());
    Finished::from_output(command.output().expect("the program starts")).exits_with(0)
}

#[test]
fn the_readmes_command_gives_a_report() {
    let sandbox = Sandbox::new();
    let ran = in_the_repository(&sandbox, &["report", "samples/cluster"], 100).stderr_has("0 rejected");
    is_as_expected("terminal.txt", &ran.out);
    assert!(!ran.out.contains('\u{1b}'));
    assert!(sandbox.names().is_empty());
}

#[test]
fn markdown_and_json_match_the_expected_output() {
    let sandbox = Sandbox::new();
    for (format, file) in [("markdown", "report.md"), ("json", "report.json")] {
        let ran = sandbox.run(&["report", &sample("cluster"), "--format", format, "-q"]).exits_with(0);
        is_as_expected(file, &ran.out);
        sandbox.run(&["report", &sample("cluster"), "--format", format, "-q", "-o", file]).exits_with(0);
        assert_eq!(fs::read_to_string(sandbox.path(file)).expect("a file"), ran.out);
    }
    assert_eq!(sandbox.names(), ["report.json", "report.md"]);
}

#[test]
fn explain_defines_every_term() {
    let sandbox = Sandbox::new();
    let ran = in_the_repository(&sandbox, &["report", "samples/cluster", "--explain", "-q"], 100);
    is_as_expected("explained.txt", &ran.out);
    let markdown =
        sandbox.run(&["report", &sample("cluster"), "--explain", "-q", "--format", "markdown"]).exits_with(0);
    assert!(markdown.out.contains("> **Which tasks"), "{}", markdown.out);
}

#[test]
fn a_narrow_terminal_gets_fewer_columns_and_a_wide_one_whole_names() {
    let sandbox = Sandbox::new();
    for width in [60, 80, 200] {
        let ran = in_the_repository(&sandbox, &["report", "samples/cluster", "-q"], width);
        is_as_expected(&format!("terminal-{width}.txt"), &ran.out);
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(300);
    let wide = allocation("a", &long, &long).replace("\"t\":", &format!("\"{long}\":"));
    sandbox.file("wide.json", &wide);
    let cjk = "作业".repeat(60);
    sandbox.file("cjk.json", allocation("a", &cjk, &cjk));
    for source in ["wide.json".to_owned(), "cjk.json".to_owned(), sample("cluster"), sample("stream.ndjson.zst")] {
        for (columns, colour) in [(60, "always"), (61, "never"), (100, "always"), (240, "never")] {
            let flags = ["report", &source, "-q", "--top", "100", "--explain", "--color", colour, "--since", "24h"];
            let output = sandbox.command(&flags).env("COLUMNS", columns.to_string()).output().expect("it starts");
            for line in Finished::from_output(output).exits_with(0).out.lines() {
                let width = console::measure_text_width(line);
                assert!(width <= columns, "{source}: {width} columns: {line}");
            }
        }
    }
}

#[test]
fn the_commands_that_a_report_suggests_run() {
    let sandbox = Sandbox::new();
    let text = in_the_repository(&sandbox, &["report", "samples/cluster", "-q", "--since", "24h"], 200).out;
    let commands: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("→ alloclog ")).collect();
    assert_eq!(commands.len(), 7, "one command for each section:\n{text}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let shown = in_the_repository(&sandbox, &[&words[..], &["-q"]].concat(), 100).out;
        assert!(shown.lines().count() > 1, "{command}:\n{shown}");
    }
}

#[test]
fn a_section_that_a_period_does_not_restrict_says_so() {
    let sandbox = Sandbox::new();
    let text = |flags: &[&str]| sandbox.run(&[&["report", &sample("cluster"), "-q"], flags].concat()).exits_with(0).out;
    let cut = text(&["--since", "1m"]);
    assert!(cut.contains("\nCrash loops of the last hour\n") && cut.contains("\nCoverage of all time\n"), "{cut}");
    let whole = text(&[]);
    assert!(whole.contains("\nCrash loops\n") && whole.contains("\nCoverage\n"), "{whole}");
}

#[test]
fn a_rate_is_shown_from_an_hour_of_task_time_on() {
    let sandbox = Sandbox::new();
    let listing = |task_seconds: i64| {
        let created = 1_795_458_551_898_620_217_i64;
        let restarting =
            format!(r#"{{"Type":"Restarting","Time":{},"DisplayMessage":"","Details":{{}}}}"#, created + 9);
        let text = allocation("a", "default", "j")
            .replace("\"Restarts\":0", "\"Restarts\":1")
            .replace("\"Events\":[", &format!("\"Events\":[{restarting},"));
        sandbox.file("a.json", text);
        let at = format!("@{}", created / 1_000_000_000 + task_seconds);
        let date = std::process::Command::new("date").args(["-u", "-d", &at, "+%FT%TZ"]).output().expect("date");
        let at = String::from_utf8_lossy(&date.stdout).trim().to_owned();
        let ran = sandbox.run(&["report", "a.json", "--full-listing", "--observed-at", &at, "-q"]).exits_with(0);
        let (_, section) = ran.out.split_once("\nRestarts\n").expect("the section");
        let row = section.lines().nth(1).expect("a row").to_owned();
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let under = listing(3000);
    assert!(under.contains(&"-".to_owned()) && under.contains(&"50 min".to_owned()), "{under:?}");
    let over = listing(7200);
    assert!(over.contains(&"0.5".to_owned()) && over.contains(&"2.0 h".to_owned()), "{over:?}");
}

#[test]
fn colours_are_used_only_when_requested() {
    let sandbox = Sandbox::new();
    let plain = sandbox.run(&["report", &sample("cluster"), "-q"]).exits_with(0).out;
    let coloured = sandbox.run(&["report", &sample("cluster"), "-q", "--color", "always"]).exits_with(0).out;
    assert!(coloured.contains('\u{1b}'));
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

#[test]
fn texts_of_the_cluster_do_not_control_a_coloured_terminal() {
    let sandbox = Sandbox::new();
    for name in ["20261123T182801Z.json", "20261123T184012Z.json"] {
        let text = fs::read_to_string(Path::new(&sample("cluster")).join(name)).unwrap();
        sandbox.file(name, text.replace("\"client3\"", "\"\\u001b]0;owned\""));
    }
    let flags = ["report", "20261123T182801Z.json", "20261123T184012Z.json", "-q", "--color", "always"];
    let coloured = sandbox.run(&flags).exits_with(0).out;
    assert!(coloured.contains("owned") && !coloured.contains("\u{1b}]0;"), "{coloured}");
}

#[test]
fn top_limits_the_sections_and_says_so() {
    let sandbox = Sandbox::new();
    let json = |top: &str| -> Value {
        let ran = sandbox.run(&["report", &sample("cluster"), "-q", "--format", "json", "--top", top]).exits_with(0);
        serde_json::from_str(&ran.out).expect("JSON")
    };
    let (all, one) = (json("1000"), json("1"));
    for section in ["restarts", "failure_summary", "job_run_summary"] {
        let rows = |report: &Value| report[section]["rows"].as_array().expect("rows").clone();
        assert!(rows(&all).len() > 1, "{section}");
        assert_eq!(all[section]["of"], rows(&all).len(), "{section}");
        assert_eq!((&one[section]["of"], rows(&one).as_slice()), (&all[section]["of"], &rows(&all)[..1]), "{section}");
    }
    let text = sandbox.run(&["report", &sample("cluster"), "-q", "--top", "1"]).exits_with(0).out;
    assert!(text.contains("; --top shows more"), "{text}");
}

#[test]
fn an_empty_list_gives_an_empty_report() {
    let sandbox = Sandbox::new();
    sandbox.file("list.json", "[]");
    let text = sandbox.run(&["report", "list.json", "-q"]).exits_with(0).out;
    assert!(text.contains("0 allocations") && text.contains("No restarts.") && text.contains("No failures."), "{text}");
    for format in ["markdown", "json"] {
        sandbox.run(&["report", "list.json", "-q", "--format", format]).exits_with(0);
    }
}

#[test]
fn rejected_input_is_counted_in_the_report() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", format!("[{},{{\"ID\":\"b\",\"ClientStatus\":5}}]", allocation("a", "n", "j")));
    let ran = sandbox.run(&["report", "a.json"]).exits_with(3).stderr_has("rejected: a.json");
    assert!(ran.out.contains("1 part of the input could not be read"), "{}", ran.out);
    sandbox.run(&["report", "a.json", "--strict"]).exits_with(1);
}

#[test]
fn texts_of_documents_are_escaped_for_terminals_and_markdown() {
    let sandbox = Sandbox::new();
    let job = "<img src=x>|\\u001b[2J*b*";
    let failing = allocation("a", "n", job)
        .replace(r#""Type":"Received""#, r#""Type":"Setup Failure","FailsTask":true"#)
        .replace("=cmd", "<script>\\n|x");
    sandbox.file("a.json", failing);
    let text = sandbox.run(&["report", "a.json", "-q"]).exits_with(0).out;
    assert!(!text.contains('\u{1b}') && text.contains("<script>\\n|x"), "{text}");
    let markdown = sandbox.run(&["report", "a.json", "-q", "--format", "markdown"]).exits_with(0).out;
    assert!(
        !markdown.contains("<img") && !markdown.contains("<script>") && markdown.contains("&lt;script&gt;\\\\n\\|x")
    );
}

#[test]
fn a_condition_that_holds_exits_with_4_and_names_its_rows() {
    let sandbox = Sandbox::new();
    let cluster = sample("cluster");
    let report = |condition: &str| sandbox.run(&["report", &cluster, "-q", "--fail-if", condition]);
    let ran = report("restarts.restarts > 0").exits_with(4).stderr_has("--fail-if 'restarts.restarts > 0' holds for ");
    assert!(ran.err.contains("job_id") && ran.err.contains("restarts "), "{}", ran.err);
    assert!(ran.out.starts_with("alloclog report\n"), "the report is written nevertheless");
    report("restarts.restarts > 1000000").exits_with(0);
    report("start_latency.p95_seconds > 1e9 and start_latency.tasks >= 20").exits_with(0);
    report("reschedules.recovery_seconds < 0").exits_with(0);
    report("restarts.restart > 0").exits_with(2).stderr_has("did you mean restarts?");
    report("restarts > 0").exits_with(2).stderr_has("such as restarts.lost_restarts");
    report("restarts.job_id").exits_with(2);
    let two = ["report", &cluster, "-q", "--fail-if", "restarts.restarts < 0", "--fail-if", "coverage.events > 0"];
    sandbox.run(&two).exits_with(4).stderr_has("coverage.events > 0");
}

#[test]
fn a_condition_takes_precedence_over_rejected_input_and_nulls_are_counted() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", format!("[{},{{\"ID\":\"b\",\"ClientStatus\":5}}]", allocation("a", "n", "j")));
    sandbox.run(&["report", "a.json", "-q", "--fail-if", "coverage.events = 1"]).exits_with(4);
    let unknown = "starts.started_at_ns > 0";
    sandbox.run(&["report", "a.json", "-q", "--fail-if", unknown]).exits_with(3).stderr_has("is unknown for 1 row");
}

#[test]
fn by_selects_the_groups() {
    let sandbox = Sandbox::new();
    let report = |by: &str| -> Value {
        let ran = sandbox
            .run(&["report", &sample("cluster"), "-q", "--format", "json", "--top", "1000", "--by", by])
            .exits_with(0);
        serde_json::from_str(&ran.out).expect("JSON")
    };
    let total = |report: &Value, section: &str, column: &str| -> i64 {
        report[section]["rows"].as_array().expect("rows").iter().filter_map(|row| row[column].as_i64()).sum()
    };
    let usual = report("region,namespace,job_id,task_group,task");
    for by in ["node_name", "job_type,job_version", "datacenter", "region", "node_class,node_id"] {
        let other = report(by);
        assert_eq!(other["by"].as_array().expect("columns").len(), by.split(',').count());
        for (section, column) in [("restarts", "restarts"), ("failure_summary", "failures"), ("start_latency", "tasks")]
        {
            assert_eq!(total(&other, section, column), total(&usual, section, column), "{by}: {section}.{column}");
            let row = &other[section]["rows"][0];
            assert!(by.split(',').all(|column| row.get(column).is_some()) && row.get("task_group").is_none(), "{row}");
        }
    }
    sandbox.run(&["report", &sample("cluster"), "--by", "alloc_id"]).exits_with(2).stderr_has("node_class");
    sandbox.run(&["export", &sample("cluster"), "-o", "out", "--by", "node_name", "--table", "restarts"]).exits_with(0);
    assert!(
        crate::support::Exported::read(&sandbox.path("out"), "restarts")
            .iter()
            .all(|row| row.contains_key("node_name"))
    );
    let idle = ["export", &sample("cluster"), "-o", "x", "--by", "node_name", "--table", "task_events"];
    sandbox.run(&idle).exits_with(0).stderr_has("--by has no effect");
}

#[test]
fn a_period_restricts_a_report() {
    let sandbox = Sandbox::new();
    let restarts = |flags: &[&str]| -> Value {
        let ran =
            sandbox.run(&[&["report", &sample("cluster"), "-q", "--format", "json"], flags].concat()).exits_with(0);
        let report: Value = serde_json::from_str(&ran.out).expect("JSON");
        report["restarts"]["of"].clone()
    };
    assert_eq!(restarts(&["--until", "2020-01-01T00:00:00Z"]), 0);
    assert_eq!(restarts(&["--since", "2020-01-01T00:00:00Z"]), restarts(&[]));
    let text = sandbox.run(&["report", &sample("cluster"), "-q", "--since", "24h"]).exits_with(0).out;
    assert!(text.contains("Statistics cover the time since 24h"), "{text}");
}

/// Replaces the outputs in a page by what its commands print now. Returns the text and the number of commands. With
/// `--nocapture`, prints each command with its duration.
fn with_outputs(page: &str) -> (String, usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut text, mut examples) = (String::new(), 0);
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let Some(command) = line.strip_prefix("    $ ") else { continue };
        while lines.next_if(|line| line.starts_with("    ") && !line.starts_with("    $ ")).is_some() {}
        let script = format!("alloclog() {{ \"$ALLOCLOG\" \"$@\"; }}\n{command}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).current_dir(root).env("ALLOCLOG", env!("CARGO_BIN_EXE_alloclog"));
        let started = Instant::now();
        let answered = shell.env_remove("NOMAD_REGION").output().expect("a shell");
        println!("{:.2} s  {command}", started.elapsed().as_secs_f64());
        assert!(answered.status.success(), "{command}: {}", String::from_utf8_lossy(&answered.stderr));
        for line in String::from_utf8_lossy(&answered.stdout).lines() {
            assert!(!line.is_empty(), "{command}: prints an empty line, which would end the example");
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
        examples += 1;
    }
    (text, examples)
}

/// With `ALLOCLOG_UPDATE=1 cargo test --release --test tests examples_in_the_docs`, writes the current outputs to the
/// page.
#[test]
fn the_examples_in_the_docs_match_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (document, least) in [("README.md", 1), ("docs/semantics.md", 8), ("docs/symptom-to-cause.md", 12)] {
        let page = fs::read_to_string(root.join(document)).expect(document);
        let (expected, examples) = with_outputs(&page);
        assert!(examples >= least, "{document}: {examples}");
        if std::env::var_os("ALLOCLOG_UPDATE").is_some() {
            fs::write(root.join(document), &expected).expect(document);
        } else {
            let differing = page.lines().zip(expected.lines()).find(|(page, expected)| page != expected);
            assert!(page == expected, "{document}: {differing:#?}; ALLOCLOG_UPDATE=1 writes what the commands print");
        }
    }
}
