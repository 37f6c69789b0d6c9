//! Nomad's encodings of time, converted to nanoseconds since the Unix epoch.
//!
//! Event times, `CreateTime` and `ModifyTime` are integers; state times are RFC 3339 text with zero to nine fractional
//! digits and, for some fields, the client's own offset. Nomad writes "never" as `null`, as `0001-01-01T00:00:00Z`, as
//! 0, or by omitting the key. All of these become `None`.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDate, SecondsFormat};

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Nanoseconds in an hour.
pub const HOUR: i64 = 3600 * SECOND;
/// Nanoseconds in a day.
pub const DAY: i64 = 24 * HOUR;

/// `ns`, or `None` for 0 and less, which Nomad writes for "never".
#[inline]
pub fn positive(ns: i64) -> Option<i64> {
    (ns > 0).then_some(ns)
}

/// Why a text is not a valid time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotATime {
    /// It is not RFC 3339.
    #[error("is not an RFC 3339 time")]
    Syntax,
    /// It is after the year 2261.
    #[error("is after the year 2261, the last complete one in 64-bit nanoseconds")]
    Range,
}

/// The first time out of range: the start of the year 2262. From April 2262 on, nanoseconds exceed 64 bits. A time
/// shortly before April 2262 may exceed them when it is rounded to a float.
const END: i64 = 9_214_646_400 * SECOND;

/// Checks the range of a time in nanoseconds since the epoch.
///
/// # Errors
/// When it is after the year 2261.
#[inline]
pub fn check_range(ns: i64) -> Result<i64, NotATime> {
    if ns < END { Ok(ns) } else { Err(NotATime::Range) }
}

/// Parses RFC 3339 to nanoseconds since the epoch; `None` for the epoch and earlier times, which Nomad writes for
/// "never".
///
/// # Errors
/// When the text is not RFC 3339, or the time is after the year 2261.
pub fn rfc3339(text: &str) -> Result<Option<i64>, NotATime> {
    if let Some(ns) = utc_quickly(text.as_bytes()) {
        return Ok(positive(ns));
    }
    let moment = DateTime::parse_from_rfc3339(text).map_err(|_| NotATime::Syntax)?;
    if moment.timestamp() <= 0 {
        return Ok(positive(moment.timestamp_nanos_opt().unwrap_or(0)));
    }
    check_range(moment.timestamp_nanos_opt().ok_or(NotATime::Range)?).map(positive)
}

/// A fast parser for the usual form, `2026-11-23T18:29:16.28257174Z`. `None` means "use chrono", not "invalid".
fn utc_quickly(b: &[u8]) -> Option<i64> {
    let digits = |from: usize, len: usize| -> Option<i64> {
        let mut n = 0i64;
        for &d in b.get(from..from + len)? {
            n = n * 10 + i64::from(d.is_ascii_digit().then(|| d - b'0')?);
        }
        Some(n)
    };
    let is = |at: usize, c: u8| b.get(at) == Some(&c);
    if !(b.last() == Some(&b'Z') && is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let days_in_month = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let usual_day = day >= 1 && day <= *days_in_month.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1970..2262).contains(&year) || !usual_day || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match b.len() - 20 {
        0 if is(19, b'Z') => 0,
        n @ 2..=10 if is(19, b'.') => digits(20, n - 1)? * 10i64.pow(10 - n as u32),
        _ => return None,
    };
    let seconds = (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * SECOND + fraction)
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar.
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.)
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The current time in nanoseconds since the epoch; 0 if the clock is out of range.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(0)
}

/// Formats microseconds since the epoch as RFC 3339 in UTC with six fractional digits; `None` if out of chrono's range.
pub fn micros_to_rfc3339(micros: i64) -> Option<String> {
    Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Formats days since the epoch as `2026-11-23`.
pub fn day(days: i32) -> String {
    DateTime::from_timestamp_nanos(i64::from(days) * DAY).format("%Y-%m-%d").to_string()
}

/// Formats nanoseconds since the epoch as RFC 3339 in UTC, truncated to the second.
pub fn to_rfc3339_seconds(ns: i64) -> String {
    to_rfc3339(ns - ns.rem_euclid(1_000_000_000))
}

/// Formats nanoseconds since the epoch as RFC 3339 in UTC, with as many fractional digits as needed.
pub fn to_rfc3339(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Nanoseconds of a Go duration such as `5s`, `1m30s` or `1.5h`, as in `Details.kill_timeout` (Go's
/// `time.Duration.String`); `None` for anything else.
pub fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0i64;
    loop {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (digits, after) = rest.split_at(number);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => HOUR,
            _ => return None,
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        let mut weight = scale;
        for d in fraction.bytes() {
            weight /= 10;
            total = total.checked_add(i64::from(d.checked_sub(b'0').filter(|d| *d < 10)?) * weight)?;
        }
        rest = after;
        if rest.is_empty() {
            return Some(if negative { -total } else { total });
        }
    }
}

/// The last UTC time in a file name, in nanoseconds: `20261123T182801Z`, `2026-11-23T18:28:01Z`,
/// `2026-11-23T18-28-01Z`, `2026-11-23-182801Z`, with or without a fraction. A time without the `Z` has no time zone
/// and is ignored.
pub fn in_file_name(name: &str) -> Option<i64> {
    name.match_indices('Z').filter_map(|(end, _)| time_before_z(&name[..end])).next_back()
}

/// The time at the end of a text: digits with the separators that file names use.
fn time_before_z(text: &str) -> Option<i64> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '_' | 'T' | '.');
    let start = text.rfind(|c: char| !is_part(c)).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    let tail = &text[start..];
    let (clock, fraction) = match tail.rsplit_once('.') {
        Some((clock, f)) if (1..=9).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()) => (clock, f),
        _ => (tail, ""),
    };
    let digits: String = clock.chars().filter(char::is_ascii_digit).collect();
    let last = digits.get(digits.len().checked_sub(14)?..)?;
    let number = |range: std::ops::Range<usize>| last[range].parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(number(0..4)? as i32, number(4..6)?, number(6..8)?)?;
    let moment = date.and_hms_opt(number(8..10)?, number(10..12)?, number(12..14)?)?.and_utc();
    let nanos = format!("{fraction:0<9}").parse::<i64>().ok()?;
    positive(moment.timestamp().checked_mul(SECOND)?.checked_add(nanos)?)
}

/// A time given by the user, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub i64);

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let moment = rfc3339(text).map_err(|e| format!("{e}, such as 2026-11-23T18:28:01Z"))?;
        moment.map(Moment).ok_or_else(|| "is before 1970".to_owned())
    }
}

/// Parses a duration given by the user, in nanoseconds: a Go duration, or days such as `7d`; `None` for anything else,
/// and for zero.
pub fn span(text: &str) -> Option<i64> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).and_then(|n| n.checked_mul(DAY));
    days.or_else(|| go_duration(text)).filter(|ns| *ns > 0)
}

/// The start or end of a period, as given by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A time, in nanoseconds since the epoch.
    At(i64),
    /// This many nanoseconds before the newest observation of the input.
    Before(i64),
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // A day starts at midnight UTC, like event_date.
        if let Ok(moment) = text.parse::<Moment>().or_else(|_| format!("{text}T00:00:00Z").parse()) {
            return Ok(When::At(moment.0));
        }
        span(text).map(When::Before).ok_or_else(|| {
            "is neither a time (2026-11-23T18:28:01Z), nor a day (2026-11-23, from midnight UTC), nor a duration (24h, 30m, 7d)"
                .to_owned()
        })
    }
}

impl When {
    /// The text that parses to this value: a time, or a duration in the largest unit without remainder.
    pub fn argument(&self) -> String {
        match self {
            When::At(ns) => to_rfc3339(*ns),
            When::Before(ns) => {
                let units = [(3600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s"), (1, "ns")];
                let (unit, name) = units.into_iter().find(|(unit, _)| ns % unit == 0).unwrap_or((1, "ns"));
                format!("{}{name}", ns / unit)
            }
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.argument();
        match self {
            When::At(_) => f.write_str(&text),
            When::Before(_) => write!(f, "{text} before the newest observation"),
        }
    }
}

/// Returns true if a number of nanoseconds equals the shortest decimal form of its nearest float64. Every time that
/// passed through a float64 has this property. From 2007 to 2042, adjacent floats differ by 256, so the shortest form
/// ends in two zeros.
#[inline]
pub fn looks_like_float(ns: i64) -> bool {
    ns % 100 == 0 && (ns as f64).to_string().parse() == Ok(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nomads_times() {
        assert_eq!(rfc3339("1970-01-01T00:00:01Z"), Ok(Some(SECOND)));
        assert_eq!(rfc3339("2026-11-23T18:29:16.28257174Z"), Ok(Some(1_795_458_556_282_571_740)));
        assert_eq!(rfc3339("2026-11-23T23:59:16.28257174+05:30"), Ok(Some(1_795_458_556_282_571_740)));
        assert_eq!(rfc3339("2024-02-29T00:00:00Z"), Ok(Some(1_709_164_800 * SECOND)));
        assert_eq!(rfc3339("0001-01-01T00:00:00Z"), Ok(None));
        assert_eq!(rfc3339("1969-12-31T23:59:59Z"), Ok(None));
        assert_eq!(rfc3339("2026-11-23"), Err(NotATime::Syntax));
        assert_eq!(rfc3339("2023-02-29T00:00:00Z"), Err(NotATime::Syntax));
        assert_eq!(rfc3339("2300-01-01T00:00:00Z"), Err(NotATime::Range));
    }

    #[test]
    fn fast_and_general_parsers_agree_on_every_day() {
        for day in (0..106_000).step_by(13) {
            let ns = day * DAY + 3_723 * SECOND + 120_000_000;
            let text = to_rfc3339(ns);
            assert_eq!(rfc3339(&text), Ok(Some(ns)), "{text}");
            // The fast parser leaves 29 February to chrono.
            let quickly = if text.contains("-02-29T") { None } else { Some(ns) };
            assert_eq!(utc_quickly(text.as_bytes()), quickly, "{text}");
        }
    }

    #[test]
    fn reads_go_durations() {
        for (text, ns) in [
            ("5s", Some(5 * SECOND)),
            ("1m30s", Some(90 * SECOND)),
            ("1h0m0.5s", Some(HOUR + SECOND / 2)),
            ("1.049726747s", Some(1_049_726_747)),
            ("250ms", Some(250_000_000)),
            ("3µs", Some(3_000)),
            ("0", Some(0)),
            ("-2s", Some(-2 * SECOND)),
            ("", None),
            ("5", None),
            ("s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(go_duration(text), ns, "{text}");
        }
    }

    #[test]
    fn finds_times_in_file_names() {
        let expected = rfc3339("2026-11-23T18:28:01Z").unwrap_or_default();
        for name in [
            "20261123T182801Z.json",
            "2026-11-23T18:28:01Z.json.gz",
            "allocs-2026-11-23T18-28-01Z.ndjson",
            "nomad-debug-2026-11-23-182801Z",
            "20261123T182801.000Z.json",
        ] {
            assert_eq!(in_file_name(name), expected, "{name}");
        }
        for name in ["allocations.json", "20261123T182801.json", "20261323T182801Z.json", "12Z", "Zebra.json"] {
            assert_eq!(in_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_period_begins_at_a_time_or_a_duration_before_the_newest() {
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(When::At(SECOND)));
        assert_eq!("1970-01-02".parse(), Ok(When::At(DAY)));
        assert_eq!("24h".parse(), Ok(When::Before(DAY)));
        assert_eq!("7d".parse(), Ok(When::Before(7 * DAY)));
        assert_eq!("1h30m".parse(), Ok(When::Before(HOUR * 3 / 2)));
        for text in ["", "24", "yesterday", "-1h", "0s"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    #[test]
    fn detects_times_that_passed_through_a_float() {
        // Such times are in the samples of Nomad 0.6's API page.
        assert!(looks_like_float(1_495_747_371_795_703_800));
        assert!(!looks_like_float(1_795_458_551_898_620_217));
        assert!(!looks_like_float(1_795_458_551_898_620_300 + 1));
    }
}
