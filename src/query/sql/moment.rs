//! Timestamps in microseconds since 1970, UTC: parsing, parts, units and intervals.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Timelike, Utc};
use sqlparser::ast;

use super::refusal::refused;
use crate::error::Result;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A calendar unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    /// Parses the name of a unit, singular or plural.
    pub fn named(name: &str) -> Option<Unit> {
        let name = name.to_lowercase();
        let name = name.strip_suffix('s').filter(|name| name.len() > 1).unwrap_or(&name);
        Some(match name {
            "microsecond" | "us" => Unit::Microsecond,
            "millisecond" | "ms" => Unit::Millisecond,
            "second" | "sec" | "s" => Unit::Second,
            "minute" | "min" | "m" => Unit::Minute,
            "hour" | "h" => Unit::Hour,
            "day" | "d" => Unit::Day,
            "week" | "w" => Unit::Week,
            "month" | "mon" => Unit::Month,
            "quarter" => Unit::Quarter,
            "year" | "y" => Unit::Year,
            _ => return None,
        })
    }

    /// The length of the unit in microseconds; `None` if it varies.
    fn length(self) -> Option<i64> {
        Some(match self {
            Unit::Microsecond => 1,
            Unit::Millisecond => 1000,
            Unit::Second => SECOND,
            Unit::Minute => 60 * SECOND,
            Unit::Hour => 3600 * SECOND,
            Unit::Day => DAY,
            Unit::Week => 7 * DAY,
            Unit::Month | Unit::Quarter | Unit::Year => return None,
        })
    }

    /// The length of the unit in months; 0 for units shorter than a month.
    fn months(self) -> i64 {
        match self {
            Unit::Month => 1,
            Unit::Quarter => 3,
            Unit::Year => 12,
            _ => 0,
        }
    }

    /// The number of whole units between 1970 and a timestamp. Weeks start on Monday.
    fn number(self, micros: i64) -> i64 {
        match self {
            // 1970-01-01 was a Thursday.
            Unit::Week => (micros + 3 * DAY).div_euclid(7 * DAY),
            Unit::Month | Unit::Quarter | Unit::Year => {
                let day = date_time(micros);
                (i64::from(day.year()) * 12 + i64::from(day.month0())).div_euclid(self.months())
            }
            unit => micros.div_euclid(unit.length().unwrap_or(1)),
        }
    }

    /// The start of the unit that contains a timestamp.
    pub fn truncate(self, micros: i64) -> i64 {
        match self {
            Unit::Week => self.number(micros) * 7 * DAY - 3 * DAY,
            Unit::Month | Unit::Quarter | Unit::Year => {
                let months = self.number(micros) * self.months();
                let first = NaiveDate::from_ymd_opt(months.div_euclid(12) as i32, months.rem_euclid(12) as u32 + 1, 1);
                first.and_then(|day| day.and_hms_opt(0, 0, 0)).map_or(0, |day| day.and_utc().timestamp_micros())
            }
            unit => self.number(micros) * unit.length().unwrap_or(1),
        }
    }

    /// The number of unit boundaries between two timestamps.
    pub fn between(self, from: i64, to: i64) -> i64 {
        self.number(to) - self.number(from)
    }
}

fn date_time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Parses a timestamp: a day, or a day and a time. The time may end with Z or an offset; otherwise it is in UTC.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(days) = parse_date(text) {
        return Some(i64::from(days) * DAY);
    }
    let mut text = text.to_owned();
    if text.as_bytes().get(10) == Some(&b' ') {
        text.replace_range(10..11, "T");
    }
    // +01 is short for +01:00.
    let short = text.len().checked_sub(3).and_then(|at| text.get(at..)).is_some_and(|end| end.starts_with(['+', '-']));
    if short && text.len() > 13 {
        text.push_str(":00");
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(&text) {
        return Some(moment.timestamp_micros());
    }
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%MZ"];
    let naive = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok());
    naive.map(|naive| naive.and_utc().timestamp_micros())
}

/// Parses a day, in days since 1970.
pub fn parse_date(text: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()?;
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Adds calendar months. If the target month is too short for the day, the result is its last day.
pub fn add_months(micros: i64, months: i64) -> Option<i64> {
    let count = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let moment = date_time(micros);
    let moved = if months < 0 { moment.checked_sub_months(count) } else { moment.checked_add_months(count) };
    moved.map(|moment| moment.timestamp_micros())
}

/// The function that computes a part of a timestamp, by the name of the part in DATE_PART.
pub fn part(name: &str) -> Option<fn(i64) -> i64> {
    let name = name.to_lowercase();
    Some(match name.as_str() {
        "dow" | "dayofweek" | "weekday" => |m| i64::from(date_time(m).weekday().num_days_from_sunday()),
        "isodow" => |m| i64::from(date_time(m).weekday().number_from_monday()),
        "doy" | "dayofyear" => |m| i64::from(date_time(m).ordinal()),
        "isoyear" => |m| i64::from(date_time(m).iso_week().year()),
        "week" | "weeks" | "isoweek" | "weekofyear" => |m| i64::from(date_time(m).iso_week().week()),
        "dayofmonth" => |m| i64::from(date_time(m).day()),
        _ => match Unit::named(&name)? {
            Unit::Year => |m| i64::from(date_time(m).year()),
            Unit::Quarter => |m| i64::from(date_time(m).month0() / 3 + 1),
            Unit::Month => |m| i64::from(date_time(m).month()),
            Unit::Day => |m| i64::from(date_time(m).day()),
            Unit::Hour => |m| i64::from(date_time(m).hour()),
            Unit::Minute => |m| i64::from(date_time(m).minute()),
            Unit::Second => |m| i64::from(date_time(m).second()),
            // Counted within the minute, as in DuckDB.
            Unit::Millisecond => |m| m.rem_euclid(60 * SECOND) / 1000,
            Unit::Microsecond => |m| m.rem_euclid(60 * SECOND),
            Unit::Week => return None,
        },
    })
}

/// The length of an INTERVAL: calendar months and microseconds.
///
/// # Errors
/// When the INTERVAL is not a number of known units.
pub fn interval(interval: &ast::Interval) -> Result<(i64, i64)> {
    let wrong = || refused(format!("{interval} is not a number of units such as INTERVAL '90 minutes'"));
    let text = match interval.value.as_ref() {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            ast::Value::Number(digits, _) => digits.clone(),
            _ => return Err(wrong()),
        },
        ast::Expr::UnaryOp { .. } | ast::Expr::Nested(_) => interval.value.to_string().replace(['(', ')', ' '], ""),
        _ => return Err(wrong()),
    };
    let text = interval.leading_field.as_ref().map_or_else(|| text.clone(), |unit| format!("{text} {unit}"));
    span(&text).ok_or_else(wrong)
}

/// Parses an interval such as `1 day 2 hours` or `90m`.
pub fn span(text: &str) -> Option<(i64, i64)> {
    let (mut months, mut micros) = (0i64, 0i64);
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = Unit::named(unit).filter(|_| !unit.is_empty())?;
        match unit.length() {
            Some(length) => {
                let amount = match number.parse::<i64>() {
                    Ok(n) => n.checked_mul(length)?,
                    Err(_) => (number.parse::<f64>().ok()? * length as f64).round() as i64,
                };
                micros = micros.checked_add(amount)?;
            }
            None => months = months.checked_add(number.parse::<i64>().ok()?.checked_mul(unit.months())?)?,
        }
        rest = after.trim_start();
    }
    Some((months, micros))
}

/// The start of the time bucket of a timestamp; buckets are aligned to Monday, 3 January 2000.
pub fn bucket(micros: i64, width: i64) -> i64 {
    const ORIGIN: i64 = 10_959 * DAY;
    (micros - ORIGIN).div_euclid(width) * width + ORIGIN
}

/// Translates a STRFTIME format to chrono's format; `None` if a code is not supported.
pub fn format(form: &str) -> Option<String> {
    let mut like = String::new();
    let mut chars = form.chars();
    while let Some(c) = chars.next() {
        like.push(c);
        if c != '%' {
            continue;
        }
        match chars.next()? {
            'f' => like.push_str("6f"),
            'g' => like.push_str("3f"),
            '-' => match chars.next()? {
                code @ ('d' | 'm' | 'H' | 'M' | 'S' | 'I' | 'j') => like.extend(['-', code]),
                _ => return None,
            },
            code if "YmdHMSjaAbBpIyuwVGs%".contains(code) => like.push(code),
            _ => return None,
        }
    }
    Some(like)
}

/// Formats a timestamp with a format from [`format`].
pub fn print(micros: i64, form: &str) -> String {
    date_time(micros).format(form).to_string()
}

/// Parses a timestamp with a format from [`format`].
pub fn parse_form(text: &str, form: &str) -> Option<i64> {
    let moment = NaiveDateTime::parse_from_str(text, form);
    let day = || NaiveDate::parse_from_str(text, form).ok()?.and_hms_opt(0, 0, 0);
    moment.ok().or_else(day).map(|naive| naive.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_parsed_as_times() {
        let at = |text: &str| parse(text).map(|micros| print(micros, "%Y-%m-%d %H:%M:%S.%6f"));
        let wanted = Some("2026-11-23 18:30:00.500000".to_owned());
        for text in [
            "2026-11-23T18:30:00.5Z",
            "2026-11-23 18:30:00.500",
            "2026-11-23T19:30:00.5+01:00",
            "2026-11-23 19:30:00.5+01",
            "2026-11-23T18:30:00.500000999Z",
        ] {
            assert_eq!(at(text), wanted, "{text}");
        }
        assert_eq!(at("2026-11-23"), Some("2026-11-23 00:00:00.000000".to_owned()));
        assert_eq!(at("2026-11-23 18:30"), Some("2026-11-23 18:30:00.000000".to_owned()));
        assert_eq!(at("yesterday"), None);
        assert_eq!(at("2026-02-30"), None);
    }

    #[test]
    fn units_begin_at_calendar_boundaries() {
        let moment = parse("2026-11-25T18:31:12.345678Z").unwrap();
        for (unit, begin) in [
            ("millisecond", "2026-11-25 18:31:12.345000"),
            ("minutes", "2026-11-25 18:31:00.000000"),
            ("day", "2026-11-25 00:00:00.000000"),
            ("week", "2026-11-23 00:00:00.000000"),
            ("month", "2026-11-01 00:00:00.000000"),
            ("QUARTER", "2026-10-01 00:00:00.000000"),
            ("year", "2026-01-01 00:00:00.000000"),
        ] {
            let begun = Unit::named(unit).unwrap().truncate(moment);
            assert_eq!(print(begun, "%Y-%m-%d %H:%M:%S.%6f"), begin, "{unit}");
        }
        assert_eq!(Unit::named("fortnight"), None);
        let (from, to) = (parse("2026-11-25T18:59:59Z").unwrap(), parse("2026-11-25T19:00:00Z").unwrap());
        assert_eq!((Unit::Hour.between(from, to), Unit::Minute.between(from, to)), (1, 1));
    }

    #[test]
    fn spans_are_numbers_of_units() {
        assert_eq!(span("1 day 2 hours"), Some((0, DAY + 7200 * SECOND)));
        assert_eq!(span("90 minutes"), Some((0, 5400 * SECOND)));
        assert_eq!(span("-1.5 hours"), Some((0, -5400 * SECOND)));
        assert_eq!(span("2 months"), Some((2, 0)));
        assert_eq!(span("1 year 1 month"), Some((13, 0)));
        assert_eq!(span("soon"), None);
        assert_eq!(add_months(parse("2026-03-31").unwrap(), -1), parse("2026-02-28"));
    }
}
