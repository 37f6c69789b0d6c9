//! A direct Kaplan-Meier estimator over rows of `starts`.

use alloclog::query::Row;

/// The time within which the given share of the tasks started. `None` if a smaller share started.
pub fn quantile(starts: &[&Row], origin: &str, share: f64) -> Option<i64> {
    // For each task: how long it waited, and whether it started in the end.
    let mut waits: Vec<(i64, bool)> = starts.iter().filter_map(|row| wait(row, origin)).collect();
    // At equal times, starts come before censored tasks.
    waits.sort_unstable_by_key(|(span, starts)| (*span, !starts));
    let mut waiting = 1.0;
    for (before, (span, starts)) in waits.iter().enumerate() {
        if *starts {
            let at_risk = (waits.len() - before) as f64;
            waiting *= 1.0 - 1.0 / at_risk;
            // Several starts at the same time are one step of the curve, so each of them gives the same time.
            if 1.0 - waiting >= share - 1e-9 {
                return Some(*span);
            }
        }
    }
    None
}

/// How long a task waited from its origin, and whether it started then; `None` if unknown.
fn wait(row: &Row, origin: &str) -> Option<(i64, bool)> {
    let from = row.int(origin)?;
    match row.text("outcome")? {
        "started" => Some((row.int("started_at_ns")? - from, true)),
        "waiting" => Some(((row.int("last_seen_at_ns")? - from).max(0), false)),
        "stopped_before_start" => Some(((row.int("ended_at_ns")? - from).max(0), false)),
        "failed_before_start" => Some((i64::MAX, false)),
        _ => None,
    }
}
