//! Where an export may write, which files it replaces or refuses to replace, and which files a stopped export leaves.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::texts;
use crate::sandbox::{Finished, Sandbox, allocation};
use crate::support::Exported;

#[test]
fn an_output_is_replaced_only_if_an_export_made_it() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j")).file("b.json", allocation("b", "n", "j"));
    sandbox.export(&["a.json", "-o", "out"]).exits_with(0);
    sandbox.export(&["b.json", "-o", "out"]).exits_with(1).stderr_has("--force");
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["a"]);
    sandbox.export(&["b.json", "-o", "out", "--force", "--table", "task_events"]).exits_with(0);
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["b"]);
    assert_eq!(sandbox.files("out").len(), 2, "the files of the earlier export are removed");
    sandbox.file("out/precious.txt", "x");
    sandbox.export(&["a.json", "-o", "out", "--force"]).exits_with(1).stderr_has("precious.txt");
    sandbox.file("other/precious.txt", "x");
    sandbox.export(&["a.json", "-o", "other", "--force"]).exits_with(1).stderr_has("not an earlier export");
    sandbox.export(&["a.json", "-o", "a.json", "--force"]).exits_with(1).stderr_has("is a file");
    fs::create_dir(sandbox.path("empty")).expect("a directory");
    sandbox.export(&["a.json", "-o", "empty"]).exits_with(0);
    assert_eq!(sandbox.names(), ["a.json", "b.json", "empty", "other", "out"]);
}

#[test]
fn an_unwritable_target_fails_before_the_work() {
    let sandbox = Sandbox::new();
    let ran = sandbox.export(&["gone.json", "-o", "no/such/place"]).exits_with(1).stderr_has("no/such/place");
    assert!(!ran.err.contains("gone.json"), "{}", ran.err);
}

#[test]
fn leftovers_of_a_killed_export_are_removed_and_those_of_a_running_one_kept() {
    let sandbox = Sandbox::new();
    sandbox
        .file("a.json", allocation("a", "n", "j"))
        .file(".out.alloclog-0123456789DeadXx/store/x", "")
        .file(".out.alloclog-0123456789LiveXx/store/x", "");
    let lock = fs::File::open(sandbox.path(".out.alloclog-0123456789LiveXx")).expect("a directory");
    lock.lock().expect("a lock");
    sandbox.export(&["a.json", "-o", "out"]).exits_with(0);
    assert_eq!(sandbox.names(), [".out.alloclog-0123456789LiveXx", "a.json", "out"]);
}

#[test]
fn user_files_with_similar_names_are_not_leftovers() {
    let sandbox = Sandbox::new();
    let kept = [".out.alloclog-backup/x", ".out.alloclog-mine/x", ".out.alloclog-of_last_november/x"];
    kept.iter().fold(sandbox.file("a.json", allocation("a", "n", "j")), |sandbox, name| sandbox.file(name, "precious"));
    sandbox.export(&["a.json", "-o", "out"]).exits_with(0);
    assert!(kept.iter().all(|name| sandbox.path(name).exists()), "{:?}", sandbox.names());
}

/// Starts an export of stdin, calls `meanwhile` while it runs, and then writes its input.
fn export_while(sandbox: &Sandbox, flags: &[&str], meanwhile: impl FnOnce()) -> Finished {
    let arguments = [&["export", "-"], flags].concat();
    let piped = sandbox.command(&arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = piped.expect("the program starts");
    let working = || sandbox.names().iter().any(|name| name.contains(".alloclog-"));
    while !working() {
        assert!(child.try_wait().expect("a child").is_none(), "the export ended before its input");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    meanwhile();
    let mut input = child.stdin.take().expect("its input");
    input.write_all(allocation("a", "n", "j").as_bytes()).expect("a pipe");
    drop(input);
    Finished::from_output(child.wait_with_output().expect("an end"))
}

#[test]
fn a_target_created_during_an_export_is_not_replaced() {
    let sandbox = Sandbox::new();
    let ran = export_while(&sandbox, &["-o", "out"], || _ = sandbox.file("out/thesis.txt", "precious"));
    ran.exits_with(1).stderr_has("out was created by another program meanwhile");
    assert_eq!(sandbox.files("out")["thesis.txt"], b"precious");
    let ran = export_while(&sandbox, &["-o", "file"], || _ = sandbox.file("file", "precious"));
    ran.exits_with(1).stderr_has("file was created by another program meanwhile");
    assert_eq!(fs::read(sandbox.path("file")).expect("a file"), b"precious");
    sandbox.file("a.json", allocation("b", "n", "j"));
    let ran = export_while(&sandbox, &["-o", "two"], || drop(sandbox.export(&["a.json", "-o", "two"]).exits_with(0)));
    ran.exits_with(1).stderr_has("two was created by another program meanwhile");
    assert_eq!(texts(&Exported::read(&sandbox.path("two"), "task_events"), "alloc_id"), ["b"]);
    assert_eq!(sandbox.names(), ["a.json", "file", "out", "two"]);
}

#[test]
fn force_checks_the_replaced_directory_again() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("b", "n", "j"));
    sandbox.export(&["a.json", "-o", "out"]).exits_with(0);
    let force = ["-o", "out", "--force"];
    let ran = export_while(&sandbox, &force, || _ = sandbox.file("out/thesis.txt", "precious"));
    ran.exits_with(1)
        .stderr_has("out was changed by another program meanwhile, and is not replaced")
        .stderr_has("thesis.txt");
    assert_eq!(sandbox.files("out")["thesis.txt"], b"precious");
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["b"]);
    fs::remove_file(sandbox.path("out/thesis.txt")).expect("a file");
    export_while(&sandbox, &force, || ()).exits_with(0);
    assert_eq!(texts(&Exported::read(&sandbox.path("out"), "task_events"), "alloc_id"), ["a"]);
    let new = ["-o", "new", "--force"];
    export_while(&sandbox, &new, || _ = sandbox.file("new", "precious"))
        .exits_with(1)
        .stderr_has("new was changed by another program meanwhile");
    assert_eq!(fs::read(sandbox.path("new")).expect("a file"), b"precious");
    assert_eq!(sandbox.names(), ["a.json", "new", "out"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_mount_point_is_refused_before_the_work() {
    let sandbox = Sandbox::new();
    for flags in [&["gone.json", "-o", "/proc"][..], &["gone.json", "-o", "/proc/", "--force"]] {
        let ran = sandbox.export(flags).exits_with(1).stderr_has("/proc is a mount point").stderr_has("/proc/tables");
        assert!(!ran.err.contains("gone.json"), "{}", ran.err);
    }
}

#[test]
fn a_dangling_link_is_reported() {
    let sandbox = Sandbox::new();
    sandbox.file("a.json", allocation("a", "n", "j"));
    std::os::unix::fs::symlink("gone", sandbox.path("dangling")).expect("a link");
    std::os::unix::fs::symlink("loop", sandbox.path("loop")).expect("a link");
    for link in ["dangling", "loop"] {
        sandbox
            .export(&["a.json", "-o", link])
            .exits_with(1)
            .stderr_has(&format!("{link} is a dangling link; remove it"));
        sandbox.run(&["report", "a.json", "-o", link]).exits_with(1).stderr_has(&format!("{link} is a dangling link"));
    }
    fs::create_dir(sandbox.path("there")).expect("a directory");
    std::os::unix::fs::symlink("there", sandbox.path("link")).expect("a link");
    sandbox.export(&["a.json", "-o", "link/"]).exits_with(0);
    assert!(sandbox.path("link").is_symlink() && sandbox.path("there/task_events.parquet").exists());
}

#[test]
fn an_interrupted_export_leaves_no_files() {
    let sandbox = Sandbox::new();
    let mut child =
        sandbox.command(&["export", "-", "-o", "out"]).stdin(Stdio::piped()).spawn().expect("the program starts");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(sandbox.names().len(), 1, "the running export writes to one temporary directory");
    let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
    assert!(stopped.success());
    let status = child.wait().expect("an end");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert_eq!(sandbox.names(), Vec::<String>::new());
}
