//! Removes from the tables of a lake the duplicate rows and the lost files that a check found.

use std::collections::{BTreeMap, HashSet};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;

use super::delta_log::{self, Add, TableState};
use super::finding::{Bad, Mend};
use super::{Batch, Lake, Replacement, TableHeads, data_files, lean, now_ms};
use crate::error::{Context, Error, Result};
use crate::tables::Table;

/// A replacement that takes longer than this is abandoned, because a vacuum could remove its new files, which no table
/// references yet.
const AT_MOST_MS: i64 = 12 * 3_600_000;

/// Removes duplicate rows and, if `mend` allows it, lost files from the tables. Writes misplaced files again.
///
/// A misplaced file is written under a new name, because the object at its old name may be the only copy of another
/// file.
pub(super) fn take_out(lake: &Lake, bad: &BTreeMap<Table, Bad>, mend: Mend, loses_rows: bool) -> Result<()> {
    let started_ms = now_ms();
    if loses_rows {
        // Commit a separate batch without replacements. From this batch on, checks no longer compare the number of rows
        // in a table with the number that the batches added.
        lake.upgrade()?;
        put(lake, &Batch { rows_lost: true, ..Batch::new(BTreeMap::new()) }, started_ms)?;
    }
    let mut replaced = BTreeMap::new();
    let mut loses_rows = false;
    for (table, bad) in bad {
        let lost = bad.lost.keys().filter(|_| mend == Mend::DropDamaged);
        let mut of_table: Vec<Replacement> = lost
            .map(|path| Replacement {
                removed: vec![path.clone()],
                added: Vec::new(),
                rows_dropped: bad.files.get(path).and_then(data_files::row_count),
            })
            .collect();
        loses_rows |= !of_table.is_empty();
        // Read the full statistics, which a check does not keep.
        let whole = match bad.misplaced.is_empty() {
            true => TableState::default(),
            false => delta_log::state_of(&lake.storage, *table, &|path| bad.misplaced.contains_key(path))?,
        };
        for (path, stored_as) in &bad.misplaced {
            let add = whole.files.get(path).context("a file that is in no table any longer")?;
            let bytes = lake.storage.need(stored_as)?;
            if add.hash() != Some(data_files::hash(&bytes).as_str()) {
                return Err(Error::conflict(format!(
                    "lake {}: {stored_as} changed while it was read; try again",
                    lake.storage
                )));
            }
            let added = Add {
                path: data_files::renamed(&add.path),
                modification_time: now_ms(),
                data_change: false,
                ..add.clone()
            };
            lake.storage.put(&added.object(*table), bytes)?;
            of_table.push(Replacement { removed: vec![path.clone()], added: vec![added], rows_dropped: Some(0) });
        }
        for (path, doubled) in &bad.doubled {
            let add = bad.files.get(path).context("a file that is in no table")?;
            of_table.push(without(lake, *table, add, doubled)?);
        }
        if !of_table.is_empty() {
            replaced.insert(table.name().to_owned(), of_table);
        }
    }
    // A cache that still has the dropped rows would keep an ingest from adding them again, although a source may still
    // show them. With `rows_lost`, such an ingest stops at this batch, and the next one rebuilds the cache.
    let batch = Batch { rows_lost: loses_rows, replaced, ..Batch::new(BTreeMap::new()) };
    if batch.replaced.is_empty() {
        return Ok(());
    }
    // A program of format 1 would ignore replacements.
    lake.upgrade()?;
    let replaced = put(lake, &batch, started_ms)?;
    if replaced.is_none_or(|replaced| replaced.values().flatten().any(|was_done| !was_done)) {
        return Err(Error::conflict(format!("lake {}: tables changed during the repair; try again", lake.storage)));
    }
    Ok(())
}

/// Rewrites a file without some of its rows.
fn without(lake: &Lake, table: Table, add: &Add, rows: &[u32]) -> Result<Replacement> {
    let mut writer = data_files::DataFileWriter::new(&lake.storage, table, now_ms());
    let (mut row, mut unwanted) = (0u32, rows.iter().peekable());
    let mut is_first = true;
    data_files::read_whole(&lake.storage, table, add, &mut |batch| {
        if std::mem::take(&mut is_first) {
            writer.set_columns(&batch.schema());
        }
        let wanted: BooleanArray = (row..row + batch.num_rows() as u32)
            .map(|row| Some(unwanted.next_if(|unwanted| **unwanted == row).is_none()))
            .collect();
        row += batch.num_rows() as u32;
        writer.add(&filter_record_batch(&batch, &wanted)?)
    })?;
    // A file without a hash was written by another program. No batch added its duplicate rows, so they are not
    // subtracted from the number of rows that batches added.
    let rows_dropped = if add.hash().is_some() { rows.len() as u64 } else { 0 };
    Ok(Replacement { removed: vec![add.path.clone()], added: writer.finish()?, rows_dropped: Some(rows_dropped) })
}

/// Commits a batch that replaces files, and applies it. Returns one boolean per replacement of each table, in order. It
/// is true if the replacement was applied, and false if the replacement was skipped because another writer had replaced
/// one of its files. The new files of skipped replacements are removed. Returns `None`, and replaces nothing, if more
/// than [`AT_MOST_MS`] have passed since `started_ms`.
///
/// # Errors
/// When the lake cannot be read or written. The batch may have been applied, or may be applied by the next ingest.
pub(super) fn put(lake: &Lake, batch: &Batch, started_ms: i64) -> Result<Option<BTreeMap<Table, Vec<bool>>>> {
    let mut heads = TableHeads::new();
    loop {
        let last = lake.finish(&mut heads)?;
        lake.look_for_gaps(last, &mut heads)?;
        if now_ms() - started_ms > AT_MOST_MS {
            for table in super::ORDER {
                remove(lake, table, batch.replacements(table))?;
            }
            return Ok(None);
        }
        let number = last + 1;
        let put = lake.put_batch(number, batch);
        if put.with_context(|| format!("batch {number} may have been committed; run this again"))? {
            let committed = || format!("batch {number} was committed; the next ingest applies it to every table");
            lake.finish(&mut heads).with_context(committed)?;
            break;
        }
    }
    let mut all = BTreeMap::new();
    for table in super::ORDER.into_iter().filter(|table| !batch.replacements(*table).is_empty()) {
        let named = |replacement: &Replacement| {
            let added = replacement.added.iter().map(|add| add.path.clone());
            added.chain(replacement.removed.iter().cloned()).collect::<Vec<_>>()
        };
        let named: HashSet<String> = batch.replacements(table).iter().flat_map(named).collect();
        let there = lean::state_of(&lake.storage, table, &|path| named.contains(path))?;
        let mut done = Vec::new();
        for replacement in batch.replacements(table) {
            let (gone, came) = (&replacement.removed, &replacement.added);
            let was_done =
                came.iter().all(|add| there.files.contains_key(&add.path) || there.removed.contains_key(&add.path))
                    && !gone.iter().any(|path| there.files.contains_key(path));
            // Keep the new files if the table has one of them now.
            if !was_done && !came.iter().any(|add| there.files.contains_key(&add.path)) {
                remove(lake, table, std::slice::from_ref(replacement))?;
            }
            done.push(was_done);
        }
        all.insert(table, done);
    }
    Ok(Some(all))
}

/// Removes the new files of replacements that were not applied.
fn remove(lake: &Lake, table: Table, replacements: &[Replacement]) -> Result<()> {
    let mut added = replacements.iter().flat_map(|replacement| &replacement.added);
    added.try_for_each(|add| lake.storage.delete(&add.object(table)))
}
