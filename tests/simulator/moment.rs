//! Time formats of Nomad.

/// A time as in RFC 3339, with as many fractional digits as needed, in a zone given in minutes east of UTC.
pub fn rfc3339(ns: i64, zone: i32) -> String {
    let local = ns.div_euclid(1_000_000_000) + i64::from(zone) * 60;
    let (day, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(day);
    let mut text =
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let fraction = format!("{:09}", ns.rem_euclid(1_000_000_000));
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text = format!("{text}.{fraction}");
    }
    match zone {
        0 => text + "Z",
        _ => format!("{text}{}{:02}:{:02}", if zone < 0 { '-' } else { '+' }, zone.abs() / 60, zone.abs() % 60),
    }
}

/// `20261123T234000Z`: a time as in the names of snapshots.
pub fn stamp(ns: i64) -> String {
    rfc3339(ns - ns.rem_euclid(1_000_000_000), 0).replace(['-', ':'], "")
}

/// The calendar date of a day given in days after 1970-01-01 (Howard Hinnant's `civil_from_days`).
pub fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Nanoseconds after conversion to a float64, to its shortest decimal form, and back to an integer.
pub fn through_float(ns: i64) -> i64 {
    (ns as f64).to_string().parse().unwrap_or(ns)
}
