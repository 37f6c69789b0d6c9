//! Snapshots with any shape and in any order give exactly the rows of the truth.

use std::collections::BTreeSet;

use alloclog::intake::IntakeOptions;
use alloclog::source;
use alloclog::tables::Table;
use anyhow::ensure;

use super::compare::{Tables, arrivals, check, differ, paths, without_arrival};
use super::snapshot_schedule::{Case, Kind, cases};
use super::{directory, for_all, packed};
use crate::simulator::{Document, Line, Random};
use crate::support::take;

#[test]
fn any_part_of_a_history_in_any_shape_gives_its_rows() {
    for_all(120, cases(8), |case| {
        let cluster = case.cluster();
        let mut snapshots = case.documents(&cluster);
        let mut random = case.random();
        // Options with which the user describes all documents.
        let full_listing = random.chance(15).then(|| *random.pick(&["*", "prod"]));
        let observed_at = random.chance(15).then(|| cluster.end() + random.between(-9_000_000_000, 9_000_000_000));
        for document in snapshots.iter_mut().flatten() {
            document.listing = full_listing.or(document.listing);
            document.flag = observed_at;
        }
        let directory = directory()?;
        let sources = packed::write(&snapshots, directory.path(), &mut random);
        let mut named: Vec<_> = sources.iter().collect();
        for _ in 0..random.below(3) {
            named.push(*random.pick(&named));
        }
        random.shuffle(&mut named);
        let source_options = source::SourceOptions { observed_at, full_listing: full_listing.map(str::to_owned) };
        let options = IntakeOptions { strict: random.chance(20), source: source_options, ..IntakeOptions::default() };
        let taken = take(&paths(&named), &options);
        check(&cluster, &arrivals(&named), &|_| true, &taken)?;
        // Read the same documents again, in the same order.
        let again = take(&paths(&named), &options);
        ensure!(again.rows == taken.rows, "the same input does not give the same rows in the same order");
        ensure!(again.notes == taken.notes && again.summary == taken.summary, "the same input gives other notes");
        Ok(())
    });
}

#[test]
fn order_repetition_packing_and_splitting_do_not_matter() {
    for_all(80, cases(7), |case| {
        let cluster = case.cluster();
        let snapshots = case.documents(&cluster);
        let mut random = case.random();
        let first = taken(&snapshots, false, &mut random)?;
        let mut others = snapshots.clone();
        random.shuffle(&mut others);
        let is_split = random.chance(60);
        if is_split {
            others = others.into_iter().flat_map(|documents| split(documents, &mut random)).collect();
        }
        let second = taken(&others, true, &mut random)?;
        for (table, rows) in &first {
            // In the ledger, the two halves of a document are two documents.
            if !(is_split && table.name() == "snapshots") {
                let compared = |rows: &BTreeSet<Line>| match table {
                    Table::Snapshots if has_twins(&snapshots) => rows.iter().map(without_namespace).collect(),
                    _ => rows.clone(),
                };
                differ(table.name(), &compared(&second[table]), &compared(rows))?;
            }
        }
        Ok(())
    });
}

/// Returns true if full listings of different namespaces have the same content. If they also have the same time, they
/// are one document, with the namespace that was read first.
fn has_twins(snapshots: &[Vec<Document>]) -> bool {
    let listings = snapshots.iter().flatten().filter_map(|document| Some((document, document.listing?)));
    let listings: Vec<_> = listings.collect();
    listings
        .iter()
        .any(|(one, namespace)| listings.iter().any(|(other, listed)| other.bytes == one.bytes && listed != namespace))
}

fn without_namespace(row: &Line) -> Line {
    let mut row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row).unwrap_or_default();
    row.remove("namespace");
    serde_json::Value::Object(row).to_string()
}

/// The rows read from documents, without the columns that depend on the order of arrival.
fn taken(snapshots: &[Vec<Document>], again: bool, random: &mut Random) -> anyhow::Result<Tables> {
    let directory = directory()?;
    let sources = packed::write(snapshots, directory.path(), random);
    let mut named: Vec<_> = sources.iter().collect();
    if again {
        for _ in 0..1 + random.below(3) {
            named.push(*random.pick(&named));
        }
        random.shuffle(&mut named);
    }
    let taken = take(&paths(&named), &IntakeOptions::default());
    ensure!(taken.summary.rejected == 0, "{:?}", taken.notes);
    without_arrival(&taken)
}

/// Splits a document into two snapshots if possible. The name of the document must have the time, and its times must
/// not be rounded, because a half may have too few times to detect this.
fn split(documents: Vec<Document>, random: &mut Random) -> Vec<Vec<Document>> {
    let [document] = documents.as_slice() else { return vec![documents] };
    let floats = document.shown.iter().any(|shown| shown.floats);
    if floats || !document.is_named || document.ends.is_empty() {
        return vec![documents];
    }
    let end = *random.pick(&document.ends);
    let text = document.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&document.bytes);
    let (first, second) = (&document.bytes[..end], &document.bytes[end..]);
    let (first, second) = match (text.first(), second.first()) {
        (Some(b'['), Some(b',')) => ([first, b"]"].concat(), [b"[", &second[1..]].concat()),
        (Some(b'{'), _) if !text.starts_with(b"{\n  \"ACLPolicies\"") => (first.to_vec(), second.to_vec()),
        _ => return vec![documents],
    };
    let part = |name: &str, bytes: Vec<u8>| {
        vec![Document { name: format!("{name}-{}", document.name), bytes, ..Document::default() }]
    };
    vec![part("first", first), part("second", second)]
}

/// The generated cases must include the difficult situations.
#[test]
fn cases_cover_the_hard_situations() {
    let mut hard = std::collections::BTreeMap::<&str, u32>::new();
    for_each_case(60, |case| {
        let cluster = case.cluster();
        let snapshots = case.documents(&cluster);
        let truth = crate::simulator::Truth::of_documents(&cluster, snapshots.iter().flatten());
        let mut count = |name: &'static str, times: usize| *hard.entry(name).or_default() += times as u32;
        let tasks = truth.tasks();
        count("tasks", tasks.len());
        count("tasks with lost restarts", tasks.values().filter(|t| t.lost_restarts.is_some_and(|n| n > 0)).count());
        count("tasks with gaps", tasks.values().filter(|t| t.gaps > 0).count());
        count("tasks that do not begin", tasks.values().filter(|t| !t.begins).count());
        count("tasks that are complete", tasks.values().filter(|t| t.plain).count());
        count("tasks whose client lost its state", tasks.values().filter(|t| t.deceptive).count());
        let events = truth.events();
        count("equal events", events.iter().filter(|event| event.ordinal > 0).count());
        count("rounded events", events.iter().filter(|event| event.times_rounded).count());
        count("events without attempt", events.iter().filter(|event| event.attempt.is_none()).count());
        count("bundles", case.observations.iter().filter(|look| look.kind == Kind::Bundle).count());
    });
    println!("{hard:#?}");
    assert!(hard.len() == 10 && hard.values().all(|times| *times > 0), "{hard:#?}");
}

/// Calls `each` for the first cases of the properties in this file.
fn for_each_case(number: u32, each: impl FnMut(&Case)) {
    let each = std::cell::RefCell::new(each);
    for_all(number, cases(8), |case| {
        (each.borrow_mut())(case);
        Ok(())
    });
}
