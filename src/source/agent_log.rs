//! Recognises the log of a Nomad agent by its lines, as hclog writes them.

use memchr::memmem;

/// How many bytes of a file are searched for the first line of a log, which may follow start-up messages of the agent.
pub const SEARCHED: usize = 64 << 10;

/// The levels of hclog in a text log.
const LEVELS: [&[u8]; 5] = [b" [INFO] ", b" [DEBUG] ", b" [WARN] ", b" [ERROR] ", b" [TRACE] "];

/// Returns true if the start of a file looks like the log of an agent: a line in it has a time and a level, or is a
/// line of `log_json`.
pub fn is_log(head: &[u8]) -> bool {
    let is_line = |at: usize| is_json(&head[at..]);
    is_text(head) || memmem::find_iter(head, br#"{"@"#).any(is_line)
}

/// Returns true if a text begins with a JSON object of a log: a line of `log_json`, or a line of Docker's json-file
/// driver that quotes a line of text. In `log_json`, hclog sorts the keys; the keys that it adds begin with `@`.
pub(super) fn is_json(head: &[u8]) -> bool {
    let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
    let is_own = line.starts_with(br#"{"@caller":""#) && memmem::find(line, br#""@level":""#).is_some();
    let is_wrapped = line.starts_with(br#"{"log":""#) && (is_text(line) || memmem::find(line, br#"{\"@"#).is_some());
    is_own || is_wrapped || line.starts_with(br#"{"@level":""#)
}

/// Returns true if a line of a text has hclog's time and level.
fn is_text(head: &[u8]) -> bool {
    LEVELS.into_iter().any(|level| memmem::find_iter(head, level).any(|at| ends_with_time(&head[..at])))
}

/// Returns true if a text ends with a time of hclog: with milliseconds and a zone.
fn ends_with_time(text: &[u8]) -> bool {
    let stamp = &text[text.len().saturating_sub(40)..];
    let stamp = stamp.rsplit(|b| !(b.is_ascii_alphanumeric() || b"-+:.".contains(b))).next().unwrap_or_default();
    let is = |at: usize, c: u8| stamp.get(at) == Some(&c);
    stamp.len() >= 21 && is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(19, b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_recognised_by_a_line() {
        for head in [
            "2026-11-23T18:27:55.837Z [WARN]  agent.plugin_loader: skipping",
            "==> Nomad agent started! Log data will stream in below:\n\n    2026-11-23T10:27:55.837-0800 [INFO]  client: x",
            "Nov 23 18:28:08 host nomad[123]: 2026-11-23T18:28:08.678+01:00 [DEBUG] http: request complete",
            r#"{"log":"2026-11-23T18:28:08.678Z [INFO]  client: started\n","stream":"stdout"}"#,
            r#"{"@level":"info","@message":"x","@module":"agent","@timestamp":"2026-11-23T18:27:55.830941Z"}"#,
            r#"{"@caller":"agent.go:1","@level":"info","@message":"x"}"#,
        ] {
            assert!(is_log(head.as_bytes()), "{head}");
        }
        for head in [
            "",
            "[INFO] 2026-11-23T18:27:55.837Z",
            "2026-11-23 18:27:55 [INFO] something else",
            r#"[{"ID":"a","Name":" [INFO] "}]"#,
            r#"{"ID":"@level"}"#,
            r#"{"level":"info","@level":"info"}"#,
        ] {
            assert!(!is_log(head.as_bytes()), "{head}");
        }
    }
}
