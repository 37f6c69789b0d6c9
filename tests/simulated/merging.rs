//! Whatever was seen of a cluster, in whatever order and shape, gives the rows that the truth says.

use std::collections::BTreeSet;
use std::path::Path;

use alloclog::intake::Options;
use alloclog::tables::Table;

use super::expected::{check, same};
use super::{Kind, cluster, directory, each_case, packed, takings};
use crate::simulator::Random;
use crate::support::{Row, Taken, take};

#[test]
fn any_part_of_a_history_gives_exactly_what_it_shows() {
    each_case(50, |case| gives_what_it_shows(case, Kind::Exact));
}

#[test]
fn documents_that_lack_something_give_what_they_show() {
    each_case(25, |case| gives_what_it_shows(case + 500_000, Kind::Lesser));
}

fn gives_what_it_shows(case: u64, kind: Kind) {
    let mut random = Random::new(case);
    let cluster = cluster(&mut random, 30);
    let takings = takings(&cluster, &mut random, 8, kind);
    let directory = directory();
    let sources = packed::write(&takings, directory.path(), &mut random);
    let mut sources: Vec<&Path> = sources.iter().map(|path| path.as_path()).collect();
    for _ in 0..random.below(3) {
        let again = *random.pick(&sources);
        sources.push(again);
    }
    random.shuffle(&mut sources);
    let taken = take(&sources, &Options::default());
    assert_eq!(taken.summary.rejected, 0, "case {case}: {:?}", taken.notes);
    assert!(taken.summary.unknown_fields.is_empty(), "case {case}: {:?}", taken.summary.unknown_fields);
    check(&format!("case {case}"), &cluster, &takings, kind, &taken);
}

#[test]
fn order_and_repetition_never_show() {
    each_case(30, |case| {
        let mut random = Random::new(1_000_000 + case);
        let kind = *random.pick(&[Kind::Exact, Kind::Lesser]);
        let cluster = cluster(&mut random, 30);
        let takings = takings(&cluster, &mut random, 8, kind);
        let directory = directory();
        let sources = packed::write(&takings, directory.path(), &mut random);
        let mut sources: Vec<&Path> = sources.iter().map(|path| path.as_path()).collect();
        let first = take(&sources, &Options::default());
        for _ in 0..1 + random.below(4) {
            let again = *random.pick(&sources);
            sources.push(again);
        }
        random.shuffle(&mut sources);
        let second = take(&sources, &Options::default());
        for table in Table::ALL {
            let (is, must_be) = (rows(&second, table, kind), rows(&first, table, kind));
            same(&format!("case {case}, {kind:?}, {}", table.name()), &is, &must_be);
            assert_eq!(second.table(table).len(), is.len(), "case {case}, {}: a row twice", table.name());
        }
    });
}

/// The rows of a table without what depends on the order of arrival.
fn rows(taken: &Taken, table: Table, kind: Kind) -> BTreeSet<String> {
    const LEDGER: [&str; 4] = ["region", "content_hash", "observed_at_ns", "is_full_listing"];
    let kept = |name: &str| match table {
        Table::Snapshots => LEDGER.contains(&name),
        Table::TaskEvents => !(["snapshot_id", "message"].contains(&name) || name == "attempt" && kind == Kind::Lesser),
        _ => name != "snapshot_id",
    };
    let strip = |row: &Row| {
        let columns: Vec<String> =
            row.iter().filter(|(name, _)| kept(name)).map(|(name, value)| format!("{name}={value}")).collect();
        columns.join(" ")
    };
    taken.table(table).iter().map(strip).collect()
}
