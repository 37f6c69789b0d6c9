//! The targets of `-o FILE`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use crate::sandbox::{Finished, Sandbox, allocation, sample};

#[test]
fn an_input_is_never_overwritten() {
    let sandbox = Sandbox::new();
    let list = format!("[{}]", allocation("a", "n", "j"));
    sandbox
        .file("dumps/a.json", &list)
        .file("dumps/b.json", &list)
        .file("mine.sql", "SELECT alloc_id FROM allocations");
    fs::hard_link(sandbox.path("dumps/a.json"), sandbox.path("hard.json")).expect("a link");
    symlink("dumps/a.json", sandbox.path("soft.json")).expect("a link");
    for output in ["dumps/a.json", "./dumps/../dumps/b.json", "hard.json", "soft.json"] {
        for command in [&["report", "dumps"][..], &["query", "restarts", "dumps"], &["report", "dumps/*.json"]] {
            sandbox
                .run(&[command, &["-o", output]].concat())
                .exits_with(2)
                .stderr_has(output)
                .stderr_has("the file is one of the inputs");
        }
    }
    sandbox
        .run(&["query", "mine.sql", "dumps", "-o", "mine.sql"])
        .exits_with(2)
        .stderr_has("the file is one of the inputs");
    sandbox.file("dumps/a.json.meta.json", "{}");
    sandbox.run(&["report", "dumps/b.json", "-o", "dumps/a.json.meta.json"]).exits_with(0);
    sandbox
        .run(&["report", "dumps/a.json", "-o", "dumps/a.json.meta.json"])
        .exits_with(2)
        .stderr_has("belongs to one of the inputs");
    sandbox
        .run(&["ingest", "dumps", "--lake", "unused", "--metrics", "dumps/a.json"])
        .exits_with(2)
        .stderr_has("--metrics dumps/a.json: the file is one of the inputs");
    let mut from_stdin = sandbox.command(&["report", "-", "-o", "dumps/a.json"]);
    from_stdin.stdin(File::open(sandbox.path("dumps/a.json")).expect("a file"));
    let ran = Finished::from_output(from_stdin.output().expect("the program starts"));
    ran.exits_with(2).stderr_has("the file is one of the inputs");
    assert_eq!(fs::read_to_string(sandbox.path("dumps/a.json")).expect("a file"), list);
    sandbox.run(&["ingest", "dumps/b.json", "--lake", "lake"]).exits_with(0);
    for output in ["lake/lake.json", "lake/report.md", "lake/task_events/new.csv"] {
        sandbox.run(&["report", "lake", "-o", output]).exits_with(2).stderr_has("the file is in a lake that is read");
    }
    sandbox.run(&["report", "dumps/b.json", "-o", "report.md"]).exits_with(0);
}

#[test]
fn a_replaced_file_keeps_its_mode_and_owner() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j")).file("out.csv", "old");
    let out = sandbox.path("out.csv");
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if is_root {
        chown(&out, Some(1234), Some(4321)).expect("root may");
    }
    let before = fs::metadata(&out).expect("a file");
    for mode in [0o640, 0o604, 0o755] {
        fs::set_permissions(&out, Permissions::from_mode(mode)).expect("a mode");
        sandbox.run(&["query", "allocations", "a.json", "--format", "csv", "-o", "out.csv"]).exits_with(0);
        let after = fs::metadata(&out).expect("a file");
        assert_eq!(after.permissions().mode() & 0o7777, mode);
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert!(fs::read_to_string(&out).expect("a file").starts_with("region,"));
    }
    assert_eq!(sandbox.names(), ["a.json", "out.csv"]);
}

#[test]
fn names_of_stdout_and_devices_are_written_in_place() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j")).file("b.csv", "kept\n");
    let query = ["query", "allocations", "a.json", "--format", "csv"];
    let plain = sandbox.run(&query).exits_with(0).out;
    for name in ["/dev/stdout", "-", "/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(sandbox.run(&[&query[..], &["-o", name]].concat()).exits_with(0).out, plain, "{name}");
        let report = sandbox.run(&["report", "a.json", "-o", name]).exits_with(0).out;
        assert_eq!(report, sandbox.run(&["report", "a.json"]).out, "{name}");
    }
    // If the shell opened the file for appending, the output is appended.
    let appended = File::options().append(true).open(sandbox.path("b.csv")).expect("a file");
    let mut command = sandbox.command(&[&query[..], &["-o", "/dev/stdout", "-q"]].concat());
    Finished::from_output(command.stdout(appended).output().expect("the program starts")).exits_with(0);
    assert_eq!(fs::read_to_string(sandbox.path("b.csv")).expect("a file"), format!("kept\n{plain}"));
    sandbox.run(&[&query[..], &["-o", "/dev/null"]].concat()).exits_with(0);
    let piped = Command::new("mkfifo").arg(sandbox.path("pipe")).status().expect("mkfifo");
    assert!(piped.success());
    let reader = Command::new("cat").arg(sandbox.path("pipe")).stdout(Stdio::piped()).spawn().expect("cat");
    sandbox.run(&[&query[..], &["-o", "pipe"]].concat()).exits_with(0);
    let read = reader.wait_with_output().expect("cat");
    assert_eq!(String::from_utf8_lossy(&read.stdout), plain);
    assert_eq!(sandbox.names(), ["a.json", "b.csv", "pipe"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure_for_every_output() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["--help"],
        vec!["--version"],
        vec!["help", "report"],
        vec!["report", "--help"],
        vec!["schema"],
        vec!["man"],
        vec!["completions", "bash"],
        vec!["query", "--list"],
        vec!["report", "a.json"],
        vec!["report", "a.json", "--format", "json"],
        vec!["report", "a.json", "-o", "/dev/stdout"],
        vec!["export", "a.json", "-o", "-", "--table", "coverage"],
    ];
    for format in ["table", "csv", "json", "ndjson", "markdown", "parquet", "arrow"] {
        commands.push(vec!["query", "allocations", "a.json", "--format", format]);
    }
    for arguments in commands {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        let ran = sandbox.command(&arguments).stdout(full).output().expect("the program starts");
        Finished::from_output(ran).exits_with(1).stderr_has("alloclog: ").stderr_has("No space left");
    }
    let ran = sandbox.run(&["report", "a.json", "-o", "/dev/full"]).exits_with(1);
    ran.stderr_has("cannot write /dev/full").stderr_has("No space left");
}

/// `script` of util-linux is used as the terminal.
#[test]
fn control_characters_are_escaped_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return;
    }
    let sandbox = Sandbox::new();
    let evil = allocation("a", "n", "j").replace("=cmd", "\\u001b]0;owned\\u0007\\u009b31m\\u202e x\\ny");
    sandbox.file("a.json", evil);
    for format in ["table", "csv", "json", "ndjson", "markdown"] {
        let query = format!(
            "{} query \"SELECT message FROM task_events\" a.json -q --format {format}",
            env!("CARGO_BIN_EXE_alloclog")
        );
        let mut command = Command::new("script");
        command.args(["-qec", &query, "/dev/null"]).current_dir(sandbox.path("")).stdin(Stdio::null());
        let shown = command.output().expect("script").stdout;
        let shown = String::from_utf8(shown).expect("text");
        assert!(shown.contains("owned"), "{format}: {shown:?}");
        let drives = |c: char| (c.is_control() && !matches!(c, '\r' | '\n')) || c == '\u{202e}';
        assert!(!shown.contains(drives), "{format}: {shown:?}");
        assert!(!shown.contains("x\r\ny") && !shown.contains("x\ny"), "{format}: {shown:?}");
    }
    // In a file or a pipe, texts are not changed.
    let piped =
        sandbox.run(&["query", "SELECT message FROM task_events", "a.json", "--format", "csv"]).exits_with(0).out;
    assert!(piped.contains("\u{1b}]0;owned\u{7}\u{9b}31m\u{202e} x\ny"));
    assert!(std::path::Path::new(&sample("cluster")).exists());
}
