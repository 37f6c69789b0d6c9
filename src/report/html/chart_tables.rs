//! The numbers of charts over time as tables, for readers who do not see the picture or want to copy a number.

use std::collections::BTreeSet;

use super::charts::causes;
use super::columns;
use super::pictures::{Curve, Histogram};
use crate::render::text::{Side, TextTable};
use crate::report::show::count;
use crate::time;

/// One row per bar: its start, the restarts of each cause in it, and their sum. Bars without a restart have no row.
pub fn restarts_over_time(histogram: &Histogram) -> TextTable {
    let causes: Vec<&str> = causes(histogram).into_iter().map(|(cause, _)| cause).collect();
    let bins: BTreeSet<i64> = histogram.causes.values().flat_map(|bins| bins.keys().copied()).collect();
    let rows = bins.into_iter().map(|bin| {
        let restarts = causes.iter().map(|cause| histogram.causes.get(*cause).and_then(|bins| bins.get(&bin)).copied());
        let restarts: Vec<i64> = restarts.map(Option::unwrap_or_default).collect();
        let cells = restarts.iter().chain([&restarts.iter().sum()]).map(|n| count(Some(*n))).collect::<Vec<_>>();
        std::iter::once(time::to_rfc3339_seconds(histogram.start_ns(bin))).chain(cells).collect()
    });
    let names: Vec<String> = causes.iter().map(|cause| cause.replace('_', " ")).collect();
    let titles: Vec<(&str, Side)> = std::iter::once(("from", Side::Left))
        .chain(names.iter().map(|name| (name.as_str(), Side::Right)))
        .chain([("restarts", Side::Right)])
        .collect();
    TextTable { columns: columns(&titles), rows: rows.collect() }
}

/// One row per drawn step of the curve: the seconds since the origin, the number of tasks that waited just before the
/// step, and the share of tasks that had started up to and including it. Steps beyond the known part of the curve have
/// no row.
pub fn starts_over_time(curve: &Curve) -> TextTable {
    let rows = curve.known_steps().map(|step| {
        vec![format!("{:.3}", step.seconds), count(Some(step.at_risk)), format!("{:.1}%", step.started * 100.0)]
    });
    let titles = [("seconds", Side::Right), ("waiting before", Side::Right), ("started by then", Side::Right)];
    TextTable { columns: columns(&titles), rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::pictures::Step;

    #[test]
    fn a_bar_without_restarts_has_no_row_and_each_row_has_its_sum() {
        let causes = [("oom", vec![(0, 2), (3, 1)]), ("failure", vec![(3, 4)])];
        let causes = causes.into_iter().map(|(cause, bins)| (cause.to_owned(), bins.into_iter().collect())).collect();
        let table = restarts_over_time(&Histogram { from_ns: 0, width_ns: 60_000_000_000, bins: 4, causes });
        assert_eq!(
            table.columns.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>(),
            ["from", "failure", "oom", "restarts"]
        );
        assert_eq!(table.rows, [["1970-01-01T00:00:00Z", "0", "2", "2"], ["1970-01-01T00:03:00Z", "4", "1", "5"]]);
    }

    #[test]
    fn a_curve_ends_where_it_is_no_longer_known() {
        let steps =
            [(1.5, 10, 0.1), (2.0, 4, 0.325)].map(|(seconds, at_risk, started)| Step { seconds, at_risk, started });
        let curve = Curve {
            measure: "created_to_started",
            steps: steps.into(),
            all_steps: 2,
            censored: Vec::new(),
            all_censored: 0,
            failed: 0,
            sure_seconds: Some(1.75),
            tasks: 10,
        };
        assert_eq!(starts_over_time(&curve).rows, [["1.500", "10", "10.0%"]]);
        assert_eq!(starts_over_time(&Curve { sure_seconds: None, ..curve }).rows[1], ["2.000", "4", "32.5%"]);
    }
}
