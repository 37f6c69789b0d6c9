//! The targets of `-o FILE`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use crate::desk::{Desk, Ran, allocation, sample};

#[test]
fn an_input_is_never_overwritten() {
    let desk = Desk::new();
    let list = format!("[{}]", allocation("a", "n", "j"));
    desk.file("dumps/a.json", &list).file("dumps/b.json", &list).file("mine.sql", "SELECT alloc_id FROM allocations");
    fs::hard_link(desk.path("dumps/a.json"), desk.path("hard.json")).expect("a link");
    symlink("dumps/a.json", desk.path("soft.json")).expect("a link");
    for output in ["dumps/a.json", "./dumps/../dumps/b.json", "hard.json", "soft.json"] {
        for command in [&["report", "dumps"][..], &["query", "restarts", "dumps"], &["report", "dumps/*.json"]] {
            desk.run(&[command, &["-o", output]].concat()).ends(2).says(output).says("the file is one of the inputs");
        }
    }
    desk.run(&["query", "mine.sql", "dumps", "-o", "mine.sql"]).ends(2).says("the file is one of the inputs");
    desk.file("dumps/a.json.meta.json", "{}");
    desk.run(&["report", "dumps/b.json", "-o", "dumps/a.json.meta.json"]).ends(0);
    desk.run(&["report", "dumps/a.json", "-o", "dumps/a.json.meta.json"]).ends(2).says("belongs to one of the inputs");
    assert_eq!(fs::read_to_string(desk.path("dumps/a.json")).expect("a file"), list);
    desk.run(&["ingest", "dumps/b.json", "--lake", "lake"]).ends(0);
    for output in ["lake/lake.json", "lake/report.md", "lake/task_events/new.csv"] {
        desk.run(&["report", "lake", "-o", output]).ends(2).says("the file is in a lake that is read");
    }
    desk.run(&["report", "dumps/b.json", "-o", "report.md"]).ends(0);
}

#[test]
fn a_replaced_file_keeps_its_mode_and_owner() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j")).file("out.csv", "old");
    let out = desk.path("out.csv");
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if is_root {
        chown(&out, Some(1234), Some(4321)).expect("root may");
    }
    let before = fs::metadata(&out).expect("a file");
    for mode in [0o640, 0o604, 0o755] {
        fs::set_permissions(&out, Permissions::from_mode(mode)).expect("a mode");
        desk.run(&["query", "allocations", "a.json", "--format", "csv", "-o", "out.csv"]).ends(0);
        let after = fs::metadata(&out).expect("a file");
        assert_eq!(after.permissions().mode() & 0o7777, mode);
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert!(fs::read_to_string(&out).expect("a file").starts_with("region,"));
    }
    assert_eq!(desk.names(), ["a.json", "out.csv"]);
}

#[test]
fn names_of_stdout_and_devices_are_written_in_place() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j")).file("b.csv", "kept\n");
    let query = ["query", "allocations", "a.json", "--format", "csv"];
    let plain = desk.run(&query).ends(0).out;
    for name in ["/dev/stdout", "-", "/dev/fd/1", "/proc/self/fd/1"] {
        assert_eq!(desk.run(&[&query[..], &["-o", name]].concat()).ends(0).out, plain, "{name}");
        let report = desk.run(&["report", "a.json", "-o", name]).ends(0).out;
        assert_eq!(report, desk.run(&["report", "a.json"]).out, "{name}");
    }
    // Appended to, if the shell appends.
    let appended = File::options().append(true).open(desk.path("b.csv")).expect("a file");
    let mut command = desk.command(&[&query[..], &["-o", "/dev/stdout", "-q"]].concat());
    Ran::of(command.stdout(appended).output().expect("the program starts")).ends(0);
    assert_eq!(fs::read_to_string(desk.path("b.csv")).expect("a file"), format!("kept\n{plain}"));
    desk.run(&[&query[..], &["-o", "/dev/null"]].concat()).ends(0);
    let piped = Command::new("mkfifo").arg(desk.path("pipe")).status().expect("mkfifo");
    assert!(piped.success());
    let reader = Command::new("cat").arg(desk.path("pipe")).stdout(Stdio::piped()).spawn().expect("cat");
    desk.run(&[&query[..], &["-o", "pipe"]].concat()).ends(0);
    let read = reader.wait_with_output().expect("cat");
    assert_eq!(String::from_utf8_lossy(&read.stdout), plain);
    assert_eq!(desk.names(), ["a.json", "b.csv", "pipe"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure_for_every_output() {
    let desk = Desk::new();
    desk.file("a.json", allocation("a", "n", "j"));
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
        let ran = desk.command(&arguments).stdout(full).output().expect("the program starts");
        Ran::of(ran).ends(1).says("alloclog: ").says("No space left");
    }
    let ran = desk.run(&["report", "a.json", "-o", "/dev/full"]).ends(1);
    ran.says("cannot write /dev/full").says("No space left");
}

/// `script` of util-linux provides the terminal.
#[test]
fn control_characters_are_escaped_on_a_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return;
    }
    let desk = Desk::new();
    let evil = allocation("a", "n", "j").replace("=cmd", "\\u001b]0;owned\\u0007\\u009b31m\\u202e x\\ny");
    desk.file("a.json", evil);
    for format in ["table", "csv", "json", "ndjson", "markdown"] {
        let query = format!(
            "{} query \"SELECT message FROM task_events\" a.json -q --format {format}",
            env!("CARGO_BIN_EXE_alloclog")
        );
        let mut command = Command::new("script");
        command.args(["-qec", &query, "/dev/null"]).current_dir(desk.path("")).stdin(Stdio::null());
        let shown = command.output().expect("script").stdout;
        let shown = String::from_utf8(shown).expect("text");
        assert!(shown.contains("owned"), "{format}: {shown:?}");
        let drives = |c: char| (c.is_control() && !matches!(c, '\r' | '\n')) || c == '\u{202e}';
        assert!(!shown.contains(drives), "{format}: {shown:?}");
        assert!(!shown.contains("x\r\ny") && !shown.contains("x\ny"), "{format}: {shown:?}");
    }
    // In a file or a pipe, texts are unchanged.
    let piped = desk.run(&["query", "SELECT message FROM task_events", "a.json", "--format", "csv"]).ends(0).out;
    assert!(piped.contains("\u{1b}]0;owned\u{7}\u{9b}31m\u{202e} x\ny"));
    assert!(std::path::Path::new(&sample("cluster")).exists());
}
