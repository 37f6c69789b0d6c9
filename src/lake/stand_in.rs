//! Rebuilds lost batches from the Delta logs.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::delta_log::salvage::{self, Change};
use super::ingest::DOCUMENTS;
use super::lean::path_key;
use super::replay::ExpectedTable;
use super::staged::COUNTED;
use super::storage::Created;
use super::{Batch, Lake, ORDER, Rebuilt, Replacement, batch_name, data_files, format};
use crate::error::{Context, Error, Result};
use crate::tables::Table;

/// The lost batches by number, each with the hash that the next batch records as `before`. The outer `None` means that
/// the next batch is unknown, too. The inner `None` means that the next batch records no hash.
pub type LostBatches = BTreeMap<u64, Option<Option<String>>>;

/// Builds a batch in place of each lost batch, from undamaged logs. `expected` is the state of the tables according to
/// the other batches.
///
/// Each built batch has `rows_lost` set, because the lost batch may have had it set. Without it, a cache that still has
/// the lost rows would keep a later ingest from adding them again.
///
/// A batch is not built if the ledger counts more rows for it than the logs have. For each such batch, the second
/// result has the reason.
///
/// # Errors
/// When the logs cannot be read.
pub fn build(
    lake: &Lake,
    lost: &LostBatches,
    expected: &BTreeMap<Table, ExpectedTable>,
) -> Result<(BTreeMap<u64, Batch>, Vec<String>)> {
    let numbers: BTreeSet<u64> = lost.keys().copied().collect();
    let empty = || Batch { rows_lost: true, rebuilt: Some(Rebuilt::default()), ..Batch::new(BTreeMap::new()) };
    let mut batches: BTreeMap<u64, Batch> = numbers.iter().map(|number| (*number, empty())).collect();
    for table in ORDER {
        if lake.is_to_come(table)? {
            continue;
        }
        let changes = salvage::changes(&lake.storage, table, &numbers)?;
        for (number, batch) in &mut batches {
            match (changes.of(*number), &mut batch.rebuilt) {
                (Some(change), _) => fill(batch, table, change, &numbers, expected.get(&table)),
                (None, Some(rebuilt)) => rebuilt.unknown.push(table.name().to_owned()),
                (None, None) => {}
            }
        }
    }
    for (number, hash) in lost {
        if let Some(rebuilt) = batches.get_mut(number).and_then(|batch| batch.rebuilt.as_mut()) {
            rebuilt.hash = hash.clone().flatten();
        }
    }
    let mut refused = Vec::new();
    for number in numbers {
        let lacks = batches.get(&number).map(|batch| lacking(lake, number, batch)).transpose()?;
        for table in lacks.unwrap_or_default() {
            refused.push(format!("the ledger counts more rows of batch {number} than the log of {} has", table.name()));
            batches.remove(&number);
        }
    }
    Ok((batches, refused))
}

/// The tables for which the ledger counts more rows of a batch than the files of the batch have.
fn lacking(lake: &Lake, number: u64, batch: &Batch) -> Result<Vec<Table>> {
    let mut counts = [0; COUNTED.len()];
    let columns: Vec<&str> = ["snapshot_id"].into_iter().chain(COUNTED.map(|(_, column)| column)).collect();
    for add in batch.files(Table::Snapshots) {
        let read = data_files::read(&lake.storage, Table::Snapshots, add, Some(&columns), &mut |rows| {
            let column = |name| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
            let ids = column("snapshot_id").context("a ledger without snapshot_id")?;
            let is_of_batch = |id: Option<i64>| id.is_some_and(|id| u64::try_from(id / DOCUMENTS) == Ok(number));
            for (count, (_, name)) in counts.iter_mut().zip(COUNTED) {
                let new = column(name).context("a ledger without counts")?;
                let new = ids.iter().zip(new).filter(|(id, _)| is_of_batch(*id)).filter_map(|(_, new)| new);
                *count += new.sum::<i64>();
            }
            Ok(())
        });
        // Skip a missing file: a compaction may have merged it.
        if let Err(error) = read
            && !error.is_damaged()
        {
            return Err(error);
        }
    }
    let unknown = |table: Table| batch.rebuilt.iter().any(|of| of.unknown.iter().any(|name| name == table.name()));
    let has = |table: Table| batch.files(table).iter().filter_map(data_files::row_count).sum::<u64>();
    let tables = COUNTED.into_iter().zip(counts).map(|((table, _), count)| (table, count));
    Ok(tables
        .filter(|(table, count)| !unknown(*table) && u64::try_from(*count).is_ok_and(|count| count > has(*table)))
        .map(|(table, _)| table)
        .collect())
}

/// Adds a table's change to a batch.
fn fill(batch: &mut Batch, table: Table, change: Change, lost: &BTreeSet<u64>, expected: Option<&ExpectedTable>) {
    batch.upgrades_to = change.upgraded_to.or(batch.upgrades_to);
    // A version that repairs the log may also add files of other batches.
    let is_of_another = |path: &String| {
        let deciding = expected.and_then(|expected| expected.files.get(&path_key(path)));
        deciding.is_some_and(|(_, number)| !lost.contains(number))
    };
    let mut added = change.added;
    added.retain(|add| !is_of_another(&add.path));
    let name = table.name().to_owned();
    if !change.removed.is_empty() {
        let is_merge = !added.is_empty() && added.iter().all(|add| !add.data_change);
        let rows_dropped = is_merge.then_some(0);
        batch.replaced.insert(name, vec![Replacement { removed: change.removed, added, rows_dropped }]);
    } else if !added.is_empty() {
        batch.tables.insert(name, added);
    }
}

/// Writes the rebuilt batches under the numbers of the lost ones.
///
/// # Errors
/// When the lake cannot be written, or an object of a lost batch appeared meanwhile.
pub fn put(lake: &Lake, lost: &LostBatches, batches: &BTreeMap<u64, Batch>) -> Result<()> {
    for (number, batch) in batches {
        let mut batch = batch.clone();
        if *number > 1 {
            let (before, hash) = lake.old_batch(number - 1)?;
            let is_chained = batch.is_chained(&before) && lake.format() > 1 && lost.get(number) != Some(&Some(None));
            (batch.before, batch.reached) = (Some(hash).filter(|_| is_chained), before.reached);
        }
        batch.note_commits(*number);
        let (name, bytes) = (batch_name(*number), format::batch_bytes(batch)?);
        if lake.storage.has(&name)? {
            lake.storage.put(&name, bytes)?;
        } else if lake.storage.create(&name, bytes)? != Created::Ours {
            return Err(Error::conflict(format!(
                "lake {}: {name} appeared while it was rebuilt; try again",
                lake.storage
            )));
        }
    }
    Ok(())
}
