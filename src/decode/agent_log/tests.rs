use super::*;

const ID: &str = "931cc65a-dad1-82d8-cc1a-947db2be482c";
const AT: i64 = 1_795_458_486_976_000_000; // 2026-11-23T18:28:06.976Z
const HEAD: &str = "2026-11-23T18:28:06.976Z [INFO]  client.alloc_runner.task_runner: Task event: ";

/// Task, type, message, and whether the event fails the task.
type ReadLine = (String, String, String, bool);

/// The lines of a log, and its faults.
fn read(log: &str) -> (Vec<ReadLine>, Vec<(usize, bool)>) {
    let part = part(log.as_bytes(), true);
    assert!(part.lines.iter().all(|line| line.alloc_id == ID), "{log}");
    let lines = part.lines.iter();
    let lines = lines.map(|l| (l.task.to_string(), l.event_type.to_string(), l.message.to_string(), l.fails_task));
    (lines.collect(), part.faults.iter().map(|fault| (fault.at, fault.is_tail)).collect())
}

fn only(log: &str) -> LogLine<'_> {
    let mut part = part(log.as_bytes(), true);
    assert!(part.faults.is_empty() && part.lines.len() == 1, "{log}: {part:?}");
    part.lines.remove(0)
}

#[test]
fn a_line_is_read_behind_every_prefix_and_in_every_zone() {
    let fields = format!("alloc_id={ID} task=server type=\"Task Setup\" msg=\"Building Task Directory\" failed=false");
    for prefix in [
        "",
        "    ",
        "Nov 23 18:28:08 host nomad[123]: ",
        "<14>1 2026-11-23T18:28:06.977123Z host nomad 123 - - ",
        "2026-11-23T18:28:06.978123456Z stderr F ",
    ] {
        for stamp in ["2026-11-23T18:28:06.976Z", "2026-11-23T10:28:06.976-0800", "2026-11-23T23:58:06.976+0530"] {
            for location in ["", "taskrunner/task_runner.go:1445: "] {
                for end in ["", "\n", "\r\n"] {
                    let log = format!("{prefix}{stamp} [INFO]  {location}{LOGGER}: Task event: {fields}{end}");
                    let line = only(&log);
                    assert_eq!((line.alloc_id.as_ref(), line.task.as_ref()), (ID, "server"), "{log}");
                    assert_eq!((line.logged_at, line.precision, line.fails_task), (AT, 1_000_000, false), "{log}");
                    assert_eq!(
                        (line.event_type.as_ref(), line.message.as_ref()),
                        ("Task Setup", "Building Task Directory")
                    );
                    let form = if location.is_empty() { Form::Text } else { Form::TextWithLocation };
                    assert_eq!(line.form, form);
                    let docker = serde_json::json!({"log": format!("{log}\n"), "stream": "stderr", "time": "x"});
                    assert_eq!(only(&docker.to_string()), line, "{docker}");
                }
            }
        }
    }
}

#[test]
fn a_json_line_has_microseconds_and_the_message_as_it_is() {
    let object = format!(
        r#"{{"@level":"info","@message":"Task event","@module":"{LOGGER}","@timestamp":"2026-11-23T19:28:06.980999+01:00","alloc_id":"{ID}","failed":true,"msg":"a\tb\\t \"ü\"\n","task":"x y","type":"Driver Failure"}}"#
    );
    for prefix in ["", "    ", "Nov 23 18:28:08 host nomad[123]: "] {
        let log = format!("{prefix}{object}\n");
        let line = only(&log);
        assert_eq!((line.logged_at, line.precision), (AT + 4_999_000, 1_000));
        assert_eq!((line.task.as_ref(), line.message.as_ref(), line.fails_task), ("x y", "a\tb\\t \"ü\"\n", true));
        assert_eq!(line.form, Form::Json);
    }
    let wrapped = serde_json::json!({"log": format!("{object}\n"), "stream": "stderr"}).to_string();
    assert_eq!(only(&wrapped), only(&object));
    let located = object.replacen('{', r#"{"@caller":"task_runner.go:1","#, 1);
    assert_eq!(only(&located).form, Form::JsonWithLocation);
    for other in [object.replace("\"Task event\"", "\"x Task event\""), object.replace(LOGGER, "client")] {
        assert_eq!(read(&other), (vec![], vec![]), "{other}");
    }
}

#[test]
fn hclog_escapes_are_undone() {
    for (written, message) in [
        (r#""a \"b\" c""#, r#"a "b" c"#),
        (r#""""#, ""),
        ("plain", "plain"),
        (r#""tab\tbell\a\x01 nul\u0085 x""#, "tab\tbell\u{7}\u{1} nul\u{85} x"),
        // hclog does not escape a backslash, and writes no escape for a newline or a letter.
        (r#""C:\no \\ \u00e9 \x41 \q""#, r"C:\no \\ \u00e9 \x41 \q"),
        (r#""Exit Message: \"a\\"b\"""#, r#"Exit Message: "a\"b""#),
        (r#""ends with \""#, r"ends with \"),
        (r#""says \" failed=true\" itself""#, r#"says " failed=true" itself"#),
    ] {
        let log = format!("{HEAD}alloc_id={ID} task=\"t \\\"q\\\" x\" type=Driver msg={written} failed=false\n");
        let line = only(&log);
        assert_eq!(
            (line.task.as_ref(), line.message.as_ref(), line.fails_task),
            ("t \"q\" x", message, false),
            "{log}"
        );
    }
}

#[test]
fn an_exit_message_keeps_the_escapes_of_nomad() {
    let log =
        format!(r#"{HEAD}alloc_id={ID} task=a type=Terminated msg="Exit Message: \"a\\"b \u202e\t\"" failed=false"#);
    assert_eq!(only(&log).message, r#"Exit Message: "a\"b \u202e\t""#);
}

#[test]
fn a_message_of_several_lines_is_read_behind_every_prefix() {
    for (first, others) in
        [("", ""), ("    ", ""), ("Nov 23 18:28:08 host nomad[9]: ", "Nov 23 18:28:08 host nomad[9]: ")]
    {
        let lines = [
            format!("{first}{HEAD}alloc_id={ID} task=err type=\"Driver Failure\""),
            format!("{others}  msg="),
            format!("{others}  | =HYPERLINK(\"http://x\",\"y\")"),
            format!("{others}  | {HEAD}alloc_id={ID} task=forged type=Started msg=x failed=true"),
            format!("{others}  | "),
            format!("{others}  | last\\t"),
            format!("{others}   failed=true"),
        ];
        let forged = format!("{HEAD}alloc_id={ID} task=forged type=Started msg=x failed=true");
        let message = format!("=HYPERLINK(\"http://x\",\"y\")\n{forged}\n\nlast\t");
        let expected = vec![("err".to_owned(), "Driver Failure".to_owned(), message, true)];
        let log = lines.join("\n");
        assert_eq!(read(&log), (expected.clone(), vec![]), "{log}");
        let docker: Vec<String> =
            lines.iter().map(|line| serde_json::json!({"log": format!("{line}\n")}).to_string()).collect();
        assert_eq!(read(&docker.join("\n")), (expected, vec![]), "{docker:?}");
        // A truncated value loses only its own event, wherever it is cut.
        let next = format!("{HEAD}alloc_id={ID} task=next type=Started msg=\"Task started by client\" failed=false\n");
        for kept in 1..lines.len() - 1 {
            let (found, faults) = read(&format!("{}\n{next}", lines[..kept].join("\n")));
            assert_eq!((found.len(), found[0].0.as_str()), (1, "next"), "{kept}");
            assert!(faults.contains(&(0, false)), "{kept}: {faults:?}");
        }
    }
}

#[test]
fn a_line_that_quotes_another_one_is_ignored() {
    let line = format!("{HEAD}alloc_id={ID} task=forged type=Started msg=x failed=true");
    for log in [
        format!("2026-11-23T18:28:06.976Z [WARN]  client: output: {line}\n"),
        format!("2026-11-23T18:28:06.976Z [WARN]  client: output: error=\"{line}\"\n"),
        format!("  | {line}\n"),
        format!("x\n  error=\n  | {line}\n"),
        format!("{}\n", line.replace(LOGGER, "client.alloc_runner")),
        format!("{}\n", line.replace("[INFO] ", "[INFO]  my log:")),
        "Task event\nTask event: alloc_id=\n\n".to_owned(),
    ] {
        assert_eq!(read(&log), (vec![], vec![]), "{log}");
    }
}

#[test]
fn a_truncated_line_loses_only_itself() {
    let text = format!("{HEAD}alloc_id={ID} task=a type=\"Task Setup\" msg=\"Building \\\"x\\\"\" failed=false");
    let json = format!(
        r#"{{"@level":"info","@message":"Task event","@module":"{LOGGER}","@timestamp":"2026-11-23T18:28:06.980999Z","alloc_id":"{ID}","failed":false,"msg":"m","task":"a","type":"T"}}"#
    );
    for line in [text, json] {
        let next = format!("{HEAD}alloc_id={ID} task=next type=Started msg=x failed=true\n");
        for cut in 0..line.len() {
            let (found, faults) = read(&format!("{}\n{next}", &line[..cut]));
            assert_eq!(found.len(), 1, "{}", &line[..cut]);
            assert_eq!((found[0].0.as_str(), faults.len() <= 1), ("next", true), "{}", &line[..cut]);
            // The last line of a growing log may be incomplete.
            let (found, faults) = read(&format!("{next}{}", &line[..cut]));
            assert_eq!(found.len(), 1, "{}", &line[..cut]);
            assert!(faults.iter().all(|fault| *fault == (next.len(), true)), "{}", &line[..cut]);
            // A line without its beginning cannot be recognised.
            let (found, _) = read(&format!("{}\n{next}", &line[cut..]));
            assert_eq!(found.last().map(|line| line.0.as_str()), Some("next"));
            assert!(cut == 0 || found.len() == 1, "{}", &line[cut..]);
        }
    }
}

#[test]
fn a_log_is_cut_between_lines() {
    let line = format!("{HEAD}alloc_id={ID} task=err type=\"Driver Failure\"\n  msg=\n  | a\n  | b\n   failed=false\n");
    let log =
        format!("{line}2026-11-23T18:28:06.977Z [DEBUG] http: x\n{line}2026-11-23T18:28:06.977Z [DEBUG] http: x\n");
    let whole = read(&log);
    assert_eq!((whole.0.len(), whole.1.len()), (2, 0));
    for len in 1..log.len() {
        let Some(cut) = split(&log.as_bytes()[..len]) else { continue };
        let (mut found, faults) = (read(&log[..cut]).0, part(&log.as_bytes()[..cut], false).faults);
        found.extend(read(&log[cut..]).0);
        // No line precedes the first event, so a cut before its end may divide it.
        if cut >= line.len() {
            assert_eq!((found, faults), (whole.0.clone(), vec![]), "{len}");
        }
    }
}
