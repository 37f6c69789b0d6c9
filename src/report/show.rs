//! Number formats of a report. Numbers are rounded, but a number other than zero is never shown as zero.

use chrono::DateTime;
use serde_json::Value;

use super::{Report, Section};
use crate::query::Row;

/// Formats a duration: `340 ms`, `4.2 s`, `35 s`, `12 min`, `1.5 h`, `3.2 d`.
pub fn span(seconds: f64) -> String {
    let (sign, s) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    let text = match s {
        _ if s == 0.0 => "0 s".to_owned(),
        _ if s < 0.000_999_5 => "<1 ms".to_owned(),
        _ if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        _ if s < 9.95 => format!("{s:.1} s"),
        _ if s < 119.5 => format!("{s:.0} s"),
        _ if s < 119.5 * 60.0 => format!("{:.0} min", s / 60.0),
        _ if s < 47.95 * 3600.0 => format!("{:.1} h", s / 3600.0),
        _ => format!("{:.1} d", s / 86400.0),
    };
    format!("{sign}{text}")
}

/// A duration; `-` if unknown.
pub fn maybe_span(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), span)
}

/// A count with commas; `-` if unknown.
pub fn count(n: Option<i64>) -> String {
    let Some(n) = n else { return "-".to_owned() };
    let digits = n.unsigned_abs().to_string();
    let mut text = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count; an empty text for 0.
pub fn count_or_blank(n: Option<i64>) -> String {
    if n == Some(0) { String::new() } else { count(n) }
}

/// A count and a noun in singular or plural.
pub fn counted(n: i64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(Some(n)))
}

/// A rate with about two significant digits.
pub fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(r) if r >= 9.95 => count(Some(r.round() as i64)),
        Some(r) if r >= 0.095 => format!("{r:.1}"),
        Some(r) if r >= 0.0095 => format!("{r:.2}"),
        Some(_) => "<0.01".to_owned(),
    }
}

/// A share in percent: 100 only if the part is the whole, 0 only if the part is zero.
pub fn percent(part: i64, whole: i64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = part as f64 * 1000.0 / whole as f64;
    match part {
        _ if part == whole => "100%".to_owned(),
        0 => "0%".to_owned(),
        _ if tenths > 999.0 => ">99.9%".to_owned(),
        _ if tenths < 1.0 => "<0.1%".to_owned(),
        _ if tenths < 990.0 => format!("{:.0}%", tenths / 10.0),
        _ => format!("{:.1}%", (tenths).floor() / 10.0),
    }
}

/// A timestamp to the second, converted from RFC 3339.
pub fn moment(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), |text| text.get(..19).unwrap_or(text).replace('T', " "))
}

/// How long a time was before the newest observation, such as `3 min ago`. If the time is after the newest observation
/// (by another clock), or no observation is known, shows the time itself.
pub fn ago(value: &Value, report: &Report) -> String {
    let time = |value: &Value| value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let (Some(at), Some(newest)) = (time(value), time(&report.input.last_observed_at)) else { return moment(value) };
    match (newest - at).num_microseconds() {
        Some(micros) if (0..1_000_000).contains(&micros) => "<1 s ago".to_owned(),
        Some(micros) if micros > 0 => format!("{} ago", span(micros as f64 / 1e6)),
        _ => clock(value, report),
    }
}

/// The time of day to the second, if the last observation was on the same day. Otherwise, month, day, hour and minute.
pub fn clock(value: &Value, report: &Report) -> String {
    let text = moment(value);
    let today = moment(&report.input.last_observed_at);
    match (text.split_once(' '), today.split_once(' ')) {
        (Some((day, time)), Some((last_day, _))) if day == last_day => time.to_owned(),
        (Some((day, time)), _) => format!("{} {}", day.get(5..).unwrap_or(day), time.get(..5).unwrap_or(time)),
        _ => text,
    }
}

/// The title of a group column: the names of the shown columns, joined by slashes.
pub fn group_title(report: &Report, columns: &[&str]) -> String {
    let titles = shown(report, columns).map(|column| match column {
        "job_id" | "parent_job_id" => "job",
        "task_group" => "group",
        other => other,
    });
    titles.collect::<Vec<_>>().join("/")
}

/// The group of a row: the values of the shown columns, `?` for null.
pub fn group(report: &Report, row: &Row, columns: &[&str]) -> String {
    let values = shown(report, columns).map(|column| match row.get(column) {
        Value::Null => "?".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    values.collect::<Vec<_>>().join("/")
}

/// The columns to show. Leaves out the region or the namespace if all of the input is in the default one, unless it is
/// the only column.
fn shown<'c>(report: &'c Report, columns: &'c [&'c str]) -> impl Iterator<Item = &'c str> {
    let is_usual = |column: &str, usual: &str, all: &[String]| columns.len() > 1 && column == usual && all.len() <= 1;
    columns.iter().copied().filter(move |column| {
        let input = &report.input;
        let region = is_usual(column, "region", &input.regions) && input.regions.iter().all(String::is_empty);
        let namespace =
            is_usual(column, "namespace", &input.namespaces) && input.namespaces.iter().all(|n| n == "default");
        !region && !namespace
    })
}

/// The observed causes of restarts, most frequent first.
pub fn causes(row: &Row) -> String {
    let mut causes: Vec<(i64, &str)> = Vec::new();
    for (column, value) in &row.0 {
        if let (Some(cause), Some(n)) = (column.strip_prefix("cause_"), value.as_i64().filter(|n| *n > 0)) {
            causes.push((n, cause));
        }
    }
    causes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let named = causes.iter().map(|(n, cause)| format!("{} {}", count(Some(*n)), cause.replace('_', " ")));
    named.collect::<Vec<_>>().join(", ")
}

/// The class of a failure, with its exit code.
pub fn class(class: Option<&str>, exit_code: Option<i64>) -> String {
    match (class, exit_code) {
        (None, _) => "-".to_owned(),
        (Some("exit"), Some(code)) => format!("exit {code}"),
        (Some(class), Some(code)) if code != 0 => format!("{class} (exit {code})"),
        (Some(class), _) => class.to_owned(),
    }
}

/// The most frequent message of the failures in a row. If some of them have another message or exit code, adds the
/// share of the failures with the most frequent pair of message and exit code.
pub fn commonest(row: &Row) -> Option<String> {
    let message = row.text("message")?;
    match row.number("pair_share") {
        Some(share) if share < 1.0 => Some(format!("{:.0} %: {message}", (share * 100.0).floor().max(1.0))),
        _ => Some(message.to_owned()),
    }
}

/// The columns that identify a task.
pub const TASK: [&str; 5] = ["region", "namespace", "job_id", "task_group", "task"];

/// The columns that identify the parent of job runs.
pub const JOB: [&str; 3] = ["region", "namespace", "parent_job_id"];

/// A summary of the input, without the full stop.
pub fn read(report: &Report) -> String {
    let input = &report.input;
    format!(
        "{} of {}: {} and {}, from {}",
        counted(input.allocations, "allocation"),
        counted(input.jobs, "job"),
        counted(report.coverage.total.int("tasks").unwrap_or(0), "task"),
        counted(input.task_events, "event"),
        counted(input.documents as i64, "document"),
    )
}

/// A sentence about the period; `None` if no period is given.
pub fn period(report: &Report) -> Option<String> {
    let since = report.since.as_ref().map(|since| format!(" since {since}"));
    let until = report.until.as_ref().map(|until| format!(" until {until}"));
    let is_cut = since.is_some() || until.is_some();
    let cut = format!("{}{}", since.unwrap_or_default(), until.unwrap_or_default());
    is_cut.then(|| format!("Statistics cover the time{cut}; Coverage covers all time, and Crash loops the last hour."))
}

/// A sentence with the number of parts that could not be read; `None` if all parts were read.
pub fn rejected(report: &Report) -> Option<String> {
    let parts = report.input.rejected as i64;
    (parts > 0)
        .then(|| format!("{} of the input could not be read; its numbers are missing here.", counted(parts, "part")))
}

/// The rows of `start_latency` with the given measure.
pub fn measured(report: &Report, measure: &str) -> Section {
    let rows = report.start_latency.rows.iter().filter(|row| row.text("measure") == Some(measure));
    Section { of: report.start_latency.of, rows: rows.cloned().collect() }
}

/// The share of ended runs that completed successfully.
pub fn success(row: &Row) -> String {
    let int = |column: &str| row.int(column).unwrap_or(0);
    percent(int("complete"), int("complete") + int("failed") + int("stopped") + int("lost"))
}

/// Sentences that say what was lost and where, and which interval of observation would have prevented the loss.
pub fn coverage(report: &Report) -> Vec<String> {
    let total = &report.coverage.total;
    let int = |column: &str| total.int(column).unwrap_or(0);
    let (tasks, complete) = (int("tasks"), int("complete"));
    let mut lines = Vec::new();
    lines.push(format!(
        "The history of {} of {} ({}) is complete up to the last observation.",
        count(Some(complete)),
        counted(tasks, "task"),
        percent(complete, tasks)
    ));
    let mut lost = Vec::new();
    if int("lost_restarts") > 0 {
        let all = total.int("restarts").unwrap_or(0);
        lost.push(format!("the events of {} of {}", count(total.int("lost_restarts")), counted(all, "restart")));
    }
    if int("without_begin") > 0 {
        lost.push(format!("the beginning of {}", counted(int("without_begin"), "task")));
    }
    if int("gaps") > 0 {
        lost.push(format!("the events in {}", counted(int("gaps"), "gap")));
    }
    if int("vanished_tasks") > 0 {
        lost.push(format!("the end of {}, which vanished", counted(int("vanished_tasks"), "task")));
    }
    if !lost.is_empty() {
        let mut line = format!("Lost: {}", lost.join("; "));
        if let Some(worst) = report.coverage.worst.rows.first() {
            line.push_str(&format!(". Most of it in {}", group(report, worst, &report.by)));
        }
        lines.push(line + ".");
    }
    if int("log_events") > 0 {
        let (logged, events) = (count(total.int("log_events")), counted(int("events"), "event"));
        lines.push(format!("Only logs of agents show {logged} of {events}."));
    }
    if let Some(unlisted) = &report.coverage.unlisted {
        lines.push(format!(
            "Logs of agents also show {} of {} that no listing shows, from {} to {} UTC. Their job is unknown, so no \
             other number counts them (recovered_events).",
            counted(unlisted.events, "event"),
            counted(unlisted.allocations, "allocation"),
            moment(&unlisted.first_logged_at),
            moment(&unlisted.last_logged_at),
        ));
    }
    if int("uncounted_tasks") > 0 {
        let tasks = counted(int("uncounted_tasks"), "task");
        lines.push(format!("For {tasks} the number of lost restarts is unknown."));
    }
    if int("without_events") > 0 {
        lines.push(format!("{} had no event yet, or shows none.", counted(int("without_events"), "task")));
    }
    if let Some(interval) = total.number("keep_interval_seconds") {
        let every = report.input.observed_every_seconds;
        let every = every.map_or_else(String::new, |every| format!("; these are {} apart (median)", span(every)));
        lines.push(format!("Snapshots at most {} apart would have kept the events{every}.", span(interval)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_readable_unit() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.0002, "<1 ms"),
            (0.34, "340 ms"),
            (4.249, "4.2 s"),
            (9.96, "10 s"),
            (119.0, "119 s"),
            (119.7, "2 min"),
            (5400.0, "90 min"),
            (7200.0, "2.0 h"),
            (200_000.0, "2.3 d"),
            (-0.5, "-500 ms"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_share_is_shown_as_0_or_100_percent_only_if_exact() {
        for (part, whole, text) in [
            (0, 0, "-"),
            (5, 5, "100%"),
            (0, 5, "0%"),
            (9999, 10_000, ">99.9%"),
            (995, 1000, "99.5%"),
            (1, 5000, "<0.1%"),
            (1, 2, "50%"),
        ] {
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn counts_have_commas() {
        assert_eq!(count(Some(1_234_567)), "1,234,567");
        assert_eq!(count(Some(-123)), "-123");
        assert_eq!(count(None), "-");
    }
}
