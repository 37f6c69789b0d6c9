//! Compares all tables of a run with the truth, row by row and column by column.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use alloclog::intake::Note;
use alloclog::tables::Table;
use alloclog::time;
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::packed::Source;
use crate::simulator::{Allocation, Cluster, Document, EventRow, Ledger, Line, Told, line};
use crate::support::{Row, Taken};

/// Columns that depend on the order of arrival. `attempt` is one of them, because the first document that shows an
/// event may lack the counters.
const BY_ARRIVAL: [&str; 7] =
    ["snapshot_id", "message", "attempt", "source", "new_allocations", "new_task_states", "new_task_events"];

/// A document in order of arrival.
#[derive(Debug, Clone)]
pub struct Arrival<'d> {
    /// The name of the document in the ledger.
    pub source: String,
    pub document: &'d Document,
    /// How many parts of the document cannot be read.
    pub rejected: usize,
}

/// The documents of sources in order of arrival.
pub fn arrivals<'d>(sources: &[&Source<'d>]) -> Vec<Arrival<'d>> {
    let documents = sources.iter().flat_map(|source| source.documents.iter());
    documents.map(|(source, document)| Arrival { source: source.clone(), document, rejected: 0 }).collect()
}

/// The paths of sources.
pub fn paths<'s>(sources: &[&'s Source<'_>]) -> Vec<&'s Path> {
    sources.iter().map(|source| source.path.as_path()).collect()
}

/// The rows of each table.
pub type Tables = BTreeMap<Table, BTreeSet<Line>>;

/// Checks everything that was read from these documents.
pub fn check(
    cluster: &Cluster,
    arrivals: &[Arrival<'_>],
    keeps: &dyn Fn(&Allocation) -> bool,
    taken: &Taken,
) -> anyhow::Result<()> {
    let rejected: usize = arrivals.iter().map(|arrival| arrival.rejected).sum();
    let reported: Vec<&Note> = taken.notes.iter().filter(|note| matches!(note, Note::Rejected(_))).collect();
    ensure!(reported.len() == rejected, "{rejected} parts cannot be read, but the messages are {reported:?}");
    // `text_hash` is left out, because the texts that it covers are compared.
    let mut given = given(taken, &["text_hash"])?;
    // Absences are checked through the views that use them.
    given.remove(&Table::Absences);
    same(&given, &expected(cluster, arrivals, keeps))
}

/// The rows that were delivered, without the columns `without`. Fails if a row occurs twice.
fn given(taken: &Taken, without: &[&str]) -> anyhow::Result<Tables> {
    let mut tables = Tables::new();
    for table in Table::ALL {
        let lines = tables.entry(table).or_default();
        for row in taken.table(table) {
            let line = given_line(row, without).with_context(|| table.name())?;
            if !lines.insert(line.clone()) {
                bail!("{}: a row occurs twice: {line}", table.name());
            }
        }
    }
    Ok(tables)
}

/// The rows that were delivered, without the columns that depend on the order of arrival.
pub fn without_arrival(taken: &Taken) -> anyhow::Result<Tables> {
    given(taken, &BY_ARRIVAL)
}

/// A row as one line of text. A timestamp has two columns, and they must agree. The line has only the one in
/// nanoseconds.
fn given_line(row: &Row, without: &[&str]) -> anyhow::Result<Line> {
    ensure!(row.get("region").is_none_or(|region| region == ""), "an unexpected region: {row:?}");
    let passed_over = |name: &str| ["region", "alloclog_version", "ingested_at"].contains(&name);
    let mut cells: Vec<(&str, Value)> = vec![];
    for (name, value) in row {
        let twin = row.get(&format!("{name}_ns"));
        if let Some(twin) = twin {
            let micros = value.as_str().map(time::rfc3339).transpose()?.flatten();
            ensure!(
                twin.as_i64().map(|ns| ns / 1000 * 1000) == micros,
                "{name} is {value}, but its nanoseconds are {twin}"
            );
        }
        if twin.is_none()
            && !value.is_null()
            && !passed_over(name.trim_end_matches("_ns"))
            && !without.contains(&name.as_str())
        {
            cells.push((name, value.clone()));
        }
    }
    Ok(line(cells))
}

/// A row without its null columns. The simulator therefore need not name a column that no document fills.
fn filled(row: &str) -> Line {
    let row: Row = serde_json::from_str(row).expect("a line of ours");
    line(row.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value.clone())))
}

/// The rows that these documents are expected to give.
fn expected(cluster: &Cluster, arrivals: &[Arrival<'_>], keeps: &dyn Fn(&Allocation) -> bool) -> Tables {
    let mut tables: Tables = Table::ALL.into_iter().map(|table| (table, BTreeSet::new())).collect();
    tables.remove(&Table::Absences);
    let mut add = |table: Table, line: Line| {
        tables.entry(table).or_default().insert(filled(&line));
    };
    let mut reported: HashMap<*const Document, Told> = HashMap::new();
    let (mut events, mut states, mut history) = (BTreeSet::<EventRow>::new(), BTreeSet::new(), BTreeSet::new());
    let (mut ledger, mut sightings) = (BTreeSet::new(), BTreeSet::new());
    for Arrival { source, document, rejected } in arrivals {
        let rows = reported.entry(*document).or_insert_with(|| document.rows(cluster, keeps, *rejected > 0));
        let Some(facts) = &rows.ledger else { continue };
        let id = ledger.len() as i64 + 1;
        let mut new = [0; 3];
        for (row, (attempt, message)) in &rows.events {
            if events.insert(row.clone()) {
                new[0] += 1;
                add(Table::TaskEvents, row.line(*attempt, Some(message)));
            }
        }
        for row in rows.states.iter().filter(|row| states.insert((*row).clone())) {
            new[1] += 1;
            add(Table::TaskStateHistory, with_snapshot(row, id));
        }
        for row in rows.history.iter().filter(|row| history.insert((*row).clone())) {
            new[2] += 1;
            add(Table::AllocationHistory, with_snapshot(row, id));
        }
        for ((alloc_id, seen_at), namespace) in &rows.sightings {
            if sightings.insert((alloc_id.clone(), *seen_at)) {
                let cells = [("alloc_id", json!(alloc_id)), ("seen_at_ns", json!(seen_at))];
                add(Table::Sightings, line(cells.into_iter().chain([("namespace", namespace.clone())])));
            }
        }
        rows.nodes.iter().for_each(|row| add(Table::Nodes, row.clone()));
        let hash = format!("{:032x}", xxh3_128(&document.bytes));
        if ledger.insert((hash.clone(), facts.observed_at, facts.namespace.is_some())) {
            add(Table::Snapshots, ledger_line(facts, &hash, source, document, *rejected, id, new));
        }
    }
    tables
}

fn ledger_line(
    facts: &Ledger,
    hash: &str,
    source: &str,
    document: &Document,
    rejected: usize,
    id: i64,
    new: [usize; 3],
) -> Line {
    let [new_events, new_states, new_allocations] = new;
    line([
        ("content_hash", json!(hash)),
        ("observed_at_ns", json!(facts.observed_at)),
        ("observed_from", json!(facts.observed_from)),
        ("is_full_listing", json!(facts.namespace.is_some())),
        ("absences_recorded", json!(true)),
        ("snapshot_id", json!(id)),
        ("source", json!(source)),
        ("shape", json!(facts.shape)),
        ("namespace", json!(facts.namespace)),
        ("nomad_index", Value::Null),
        ("times_rounded", json!(facts.times_rounded)),
        ("bytes", json!(document.bytes.len())),
        ("allocations", json!(facts.allocations)),
        ("task_states", json!(facts.task_states)),
        ("task_events", json!(facts.task_events)),
        ("rejected", json!(rejected)),
        ("unknown_fields", json!((!facts.unknown_fields.is_empty()).then(|| json!(facts.unknown_fields).to_string()))),
        ("new_allocations", json!(new_allocations)),
        ("new_task_states", json!(new_states)),
        ("new_task_events", json!(new_events)),
    ])
}

fn with_snapshot(row: &str, id: i64) -> Line {
    let row: Row = serde_json::from_str(row).expect("a line of ours");
    let cells = row.iter().map(|(name, value)| (name.as_str(), value.clone()));
    line(cells.chain([("snapshot_id", json!(id))]))
}

/// Reports the differences between two sets of tables.
pub fn same(is: &Tables, must_be: &Tables) -> anyhow::Result<()> {
    for (table, rows) in must_be {
        differ(table.name(), &is[table], rows)?;
    }
    Ok(())
}

/// Reports the differences between two sets of rows.
pub fn differ<T: Ord + std::fmt::Debug>(name: &str, is: &BTreeSet<T>, must_be: &BTreeSet<T>) -> anyhow::Result<()> {
    let first = |rows: Vec<&T>| rows.iter().take(3).map(|row| format!("\n    {row:?}")).collect::<String>();
    let wrong: Vec<&T> = is.difference(must_be).collect();
    let lacking: Vec<&T> = must_be.difference(is).collect();
    ensure!(
        wrong.is_empty() && lacking.is_empty(),
        "{name}: {} of {} rows are wrong:{}\n  {} of {} are not there:{}",
        wrong.len(),
        is.len(),
        first(wrong.clone()),
        lacking.len(),
        must_be.len(),
        first(lacking.clone()),
    );
    Ok(())
}
