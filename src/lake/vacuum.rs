//! Vacuum: removes the objects of a lake that no table references any longer.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::delta_log::{self, Add};
use super::lean::{self, Detail, FileDigests};
use super::replay::{Against, ExpectedTable};
use super::storage::{self, ObjectInfo};
use super::{Batch, Lake, TableHeads, now_ms};
use crate::error::{Context, Error, Result};
use crate::tables::Table;

/// A batch counts as created before a file only if it is older than the file by more than this.
const BATCH_AFTER_MS: i64 = 24 * 3_600_000;

/// Removes unreferenced objects older than `older_than_ms` by the store's clock, and returns them; with `dry_run` it
/// only returns them.
///
/// Before removing anything, it commits the list as a batch. If the list has files of a suspended writer, that writer
/// later finds its batch number taken, and writes its files again.
///
/// # Errors
/// When the lake cannot be read or written.
pub fn vacuum(lake: &Lake, older_than_ms: i64, dry_run: bool) -> Result<Vec<ObjectInfo>> {
    let mut heads = TableHeads::new();
    loop {
        let now = if dry_run { now_ms() } else { lake.storage.now_ms()? };
        let last = if dry_run {
            delta_log::head(&lake.storage, Table::Snapshots, None)?.batch
        } else {
            lake.finish(&mut heads)?
        };
        lake.look_for_gaps(last, &mut heads)?;
        let unneeded = unneeded(lake, now - older_than_ms)?;
        refuse_live_files(lake, &unneeded)?;
        if dry_run || unneeded.is_empty() {
            return Ok(unneeded);
        }
        let removed = unneeded.iter().map(|object| object.name.clone()).collect();
        let put = lake.put_batch(last + 1, &Batch { removed, ..Batch::new(BTreeMap::new()) });
        if put.context("nothing was removed; run this again")? {
            lake.finish(&mut heads)?;
            unneeded.iter().try_for_each(|object| lake.storage.delete(&object.name))?;
            return Ok(unneeded);
        }
    }
}

fn unneeded(lake: &Lake, before_ms: i64) -> Result<Vec<ObjectInfo>> {
    let mut unneeded = Vec::new();
    // List the objects before reading the tables. Files that are added to a table meanwhile are then not in the list;
    // files that are removed from a table meanwhile are kept, because they were removed too recently.
    let mut listed = BTreeMap::new();
    for table in Table::ALL {
        listed.insert(table, lake.storage.list(table.name())?);
    }
    let in_tables = lake.files()?;
    let unfinished = lake.unfinished()?;
    for (table, objects) in listed {
        let state = lake.state(table)?;
        let taken_out_lately =
            state.removed.values().filter(|remove| remove.deletion_timestamp.is_none_or(|at| at >= before_ms));
        let needed: BTreeSet<String> = in_tables
            .get(&table)
            .into_iter()
            .flatten()
            .chain(unfinished.iter().flat_map(|(_, batch)| batch.replacements(table)).flat_map(|one| &one.added))
            .map(|add| add.object(table))
            .chain(taken_out_lately.map(|remove| Add { path: remove.path.clone(), ..Add::default() }.object(table)))
            .collect();
        let log = format!("{}/_", table.name());
        unneeded.extend(objects.into_iter().filter(|object| {
            let is_data = !object.name.starts_with(&log);
            let is_idle = storage::is_unfinished(&object.name) || (is_data && !needed.contains(&object.name));
            is_idle && object.written_ms < before_ms
        }));
    }
    let ours = lake.storage.list("_alloclog")?.into_iter();
    unneeded.extend(ours.filter(|object| {
        let is_idle = storage::is_unfinished(&object.name) || object.name.starts_with("_alloclog/clock/");
        is_idle && object.written_ms < before_ms
    }));
    Ok(unneeded)
}

/// Refuses to remove a file that a batch added and no batch replaced, but that the log does not list: the log is
/// damaged, and a repair needs the file. Reads only the batches since the oldest of these files.
fn refuse_live_files(lake: &Lake, unneeded: &[ObjectInfo]) -> Result<()> {
    let mut suspects: BTreeMap<Table, BTreeSet<&str>> = BTreeMap::new();
    for table in Table::ALL {
        let below = format!("{}/", table.name());
        let mut of_table: BTreeSet<&str> = unneeded
            .iter()
            .map(|object| object.name.as_str())
            .filter(|name| name.starts_with(&below) && !storage::is_unfinished(name))
            .collect();
        if of_table.is_empty() {
            continue;
        }
        let state = lake.state(table)?;
        // Another engine removes files from a table without a batch; so did programs of format 1.
        if state.files.values().any(|add| add.hash().is_none()) {
            continue;
        }
        for remove in state.removed.values() {
            of_table.remove(Add { path: remove.path.clone(), ..Add::default() }.object(table).as_str());
        }
        suspects.insert(table, of_table);
    }
    let is_suspect = |name: &str| suspects.values().any(|names| names.contains(name));
    let Some(oldest) = unneeded.iter().filter(|one| is_suspect(&one.name)).map(|one| one.written_ms).min() else {
        return Ok(());
    };
    // A batch is written after its files; in a copied lake, the times may be those of the copy.
    let batches = lake.storage.list("_alloclog/batches")?;
    let names: Vec<String> =
        batches.into_iter().filter(|one| one.written_ms >= oldest - BATCH_AFTER_MS).map(|one| one.name).collect();
    let mut expected: BTreeMap<Table, ExpectedTable> =
        suspects.keys().map(|table| (*table, ExpectedTable::new())).collect();
    let (log, none) = (FileDigests::default(), HashSet::new());
    let against = Against { log: &log, held: (&none, Detail::Lean) };
    let mut number = 0;
    let mut all = names.iter().filter(|name| !storage::is_unfinished(name));
    lake.storage.get_all(all.clone().cloned(), &mut |bytes| {
        number += 1;
        let name = all.next().map_or("a batch", String::as_str);
        let damaged = || format!("lake {}: {name} is damaged", lake.storage);
        let batch = Batch::parse(&bytes.unwrap_or_default()).or_damaged(damaged)?;
        expected.iter_mut().for_each(|(table, expected)| expected.apply(*table, number, &batch, true, against));
        Ok(())
    })?;
    for (table, expected) in &expected {
        let lost = suspects[table].iter().find(|name| {
            let path = name.strip_prefix(table.name()).and_then(|path| path.strip_prefix('/'));
            path.is_some_and(|path| expected.files.contains_key(&lean::path_key(path)))
        });
        if let Some(name) = lost {
            return Err(Error::damaged(format!(
                "lake {}: the log of {} does not list {name}, which a batch added: nothing was removed; run \
                 `alloclog lake check --repair`",
                lake.storage,
                table.name()
            )));
        }
    }
    Ok(())
}
