//! Vacuum: removes the objects of a lake that no table references any longer.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::delta_log::{self, Add, FileChange, Remove};
use super::lean::{Detail, FileDigests, path_key};
use super::replay::{Against, ExpectedTable};
use super::storage::{self, ObjectInfo};
use super::{Batch, Lake, TableHeads, batch_name, now_ms};
use crate::error::{Context, Error, Result};
use crate::tables::Table;

/// A batch counts as older than a file only if it is older by more than this, in milliseconds.
const BATCH_AFTER_MS: i64 = 24 * 3_600_000;

/// How many objects one batch removes. Each name takes 100 bytes in the batch.
const AT_A_TIME: usize = 100_000;

/// Removes unreferenced objects that are older than `older_than_ms` by the store's clock, and passes them to `gone`.
/// With `dry_run`, it only passes them to `gone`.
///
/// Before removing anything, it commits the list as a batch. If the list has files of a suspended writer, that writer
/// later finds its batch number taken, and writes its files again.
///
/// # Errors
/// When the lake cannot be read or written.
pub fn vacuum(lake: &Lake, older_than_ms: i64, dry_run: bool, gone: &mut dyn FnMut(&ObjectInfo)) -> Result<()> {
    in_rounds(lake, older_than_ms, dry_run, AT_A_TIME, gone)
}

/// As [`vacuum`], with at most `at_a_time` objects in a batch.
fn in_rounds(
    lake: &Lake,
    older_than_ms: i64,
    dry_run: bool,
    at_a_time: usize,
    gone: &mut dyn FnMut(&ObjectInfo),
) -> Result<()> {
    let mut heads = TableHeads::new();
    loop {
        let now = if dry_run { now_ms() } else { lake.storage.now_ms()? };
        let last = if dry_run {
            delta_log::head(&lake.storage, Table::Snapshots, None)?.batch
        } else {
            lake.finish(&mut heads)?
        };
        lake.look_for_gaps(last, &mut heads)?;
        let unneeded = unneeded(lake, now - older_than_ms, if dry_run { usize::MAX } else { at_a_time })?;
        refuse_live_files(lake, &unneeded, last)?;
        if dry_run || unneeded.is_empty() {
            unneeded.iter().for_each(gone);
            return Ok(());
        }
        let removed = unneeded.iter().map(|object| object.name.clone()).collect();
        let put = lake.put_batch(last + 1, &Batch { removed, ..Batch::new(BTreeMap::new()) });
        if put.context("nothing more was removed; run this again")? {
            lake.finish(&mut heads)?;
            for object in &unneeded {
                lake.storage.delete(&object.name)?;
                gone(object);
            }
            if unneeded.len() < at_a_time {
                return Ok(());
            }
        }
    }
}

/// The objects that are not needed and were written before `before_ms`; at most `most` of them.
fn unneeded(lake: &Lake, before_ms: i64, most: usize) -> Result<Vec<ObjectInfo>> {
    let mut unneeded = Vec::new();
    let unfinished = lake.unfinished()?;
    for table in Table::ALL {
        // List the objects before reading the table. Files that are added to the table meanwhile are then not in the
        // list. Files that are removed from the table meanwhile are kept, because they were removed too recently.
        let mut objects = lake.storage.list(table.name())?;
        objects.retain(|object| object.written_ms < before_ms);
        let needed = needed(lake, table, before_ms, &unfinished)?;
        let log = format!("{}/_", table.name());
        unneeded.extend(objects.into_iter().filter(|object| {
            let is_data = !object.name.starts_with(&log);
            storage::is_unfinished(&object.name) || (is_data && !needed.contains(&path_key(&object.name)))
        }));
        if unneeded.len() >= most {
            unneeded.truncate(most);
            return Ok(unneeded);
        }
    }
    let ours = lake.storage.list("_alloclog")?.into_iter();
    unneeded.extend(ours.filter(|object| {
        let is_idle = storage::is_unfinished(&object.name) || object.name.starts_with("_alloclog/clock/");
        is_idle && object.written_ms < before_ms
    }));
    unneeded.truncate(most);
    Ok(unneeded)
}

/// For each file that a table needs, the [`path_key`] of its object. A table needs the files that it has, the files
/// that an unfinished batch adds, and the files that were removed from it since `since_ms`.
fn needed(lake: &Lake, table: Table, since_ms: i64, unfinished: &[(u64, Batch)]) -> Result<HashSet<u64>> {
    let key = |path: &str| object_key(table, path);
    let mut needed = HashSet::new();
    if !lake.is_to_come(table)? {
        delta_log::read(&lake.storage, table, &mut |change| match &change {
            FileChange::Remove(remove) if remove.deletion_timestamp.is_some_and(|at| at < since_ms) => {
                needed.remove(&key(&remove.path));
            }
            FileChange::Add(Add { path, .. }) | FileChange::Remove(Remove { path, .. }) => {
                needed.insert(key(path));
            }
            FileChange::Restart => needed.clear(),
        })?;
    }
    for (_, batch) in unfinished {
        let replacing = batch.replacements(table).iter().flat_map(|replacement| &replacement.added);
        needed.extend(batch.files(table).iter().chain(replacing).map(|add| key(&add.path)));
    }
    Ok(needed)
}

/// The [`path_key`] of the object of a file, given by its path in the log.
fn object_key(table: Table, path: &str) -> u64 {
    path_key(&Add { path: path.to_owned(), ..Add::default() }.object(table))
}

/// Refuses to remove a file that a batch added and no batch replaced. If the log does not list such a file, the log is
/// damaged, and a repair needs the file. Reads only the batches since the oldest of the files that the log does not
/// list, up to the batch `last`, which is in every log. A later batch is not in the logs yet. It takes the number that
/// the vacuum needs, so the vacuum starts again.
fn refuse_live_files(lake: &Lake, unneeded: &[ObjectInfo], last: u64) -> Result<()> {
    let mut suspects: BTreeMap<Table, BTreeSet<&str>> = BTreeMap::new();
    for table in Table::ALL {
        let below = format!("{}/", table.name());
        let mut of_table: BTreeSet<&str> = unneeded
            .iter()
            .map(|object| object.name.as_str())
            .filter(|name| name.starts_with(&below) && !storage::is_unfinished(name))
            .collect();
        if of_table.is_empty() || lake.is_to_come(table)? {
            continue;
        }
        let (mut removed, mut without_hash) = (HashSet::new(), HashSet::new());
        let key = |path: &str| object_key(table, path);
        delta_log::read(&lake.storage, table, &mut |change| match (change.path().map(key), &change) {
            (Some(key), FileChange::Add(add)) => {
                removed.remove(&key);
                if add.hash().is_none() {
                    without_hash.insert(key)
                } else {
                    without_hash.remove(&key)
                };
            }
            (Some(key), _) => {
                removed.insert(key);
                without_hash.remove(&key);
            }
            (None, _) => {
                removed.clear();
                without_hash.clear();
            }
        })?;
        // Skip a table with files of other programs: another engine removes files without a batch, and so did programs
        // of format 1.
        if !without_hash.is_empty() {
            continue;
        }
        of_table.retain(|name| !removed.contains(&path_key(name)));
        suspects.insert(table, of_table);
    }
    let is_suspect = |name: &str| suspects.values().any(|names| names.contains(name));
    let Some(oldest) = unneeded.iter().filter(|one| is_suspect(&one.name)).map(|one| one.written_ms).min() else {
        return Ok(());
    };
    // Read only the batches that may be newer than the oldest file, because a batch is written after its files. The
    // margin allows for a copied lake, whose times may be those of the copy.
    let batches = lake.storage.list("_alloclog/batches")?;
    let is_read = |one: &ObjectInfo| one.written_ms >= oldest - BATCH_AFTER_MS && one.name <= batch_name(last);
    let names: Vec<String> = batches.into_iter().filter(is_read).map(|one| one.name).collect();
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
            path.is_some_and(|path| expected.files.contains_key(&path_key(path)))
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn more_objects_than_one_batch_takes_are_removed_in_several() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lake");
        let lake = Lake::open_or_create(path.to_str().unwrap()).unwrap();
        let names: Vec<String> = (0..7).map(|n| format!("{}/part-{n}.parquet", Table::ALL[n % 2].name())).collect();
        for name in &names {
            fs::write(path.join(name), "").unwrap();
            File::open(path.join(name)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let removed = |dry_run| {
            let mut removed = Vec::new();
            in_rounds(&lake, 24 * 3_600_000, dry_run, 3, &mut |object| removed.push(object.name.clone())).unwrap();
            removed.sort();
            removed
        };
        let mut expected = names.clone();
        expected.sort();
        assert_eq!(removed(true), expected);
        assert_eq!(lake.unfinished().unwrap().len(), 0);
        assert_eq!(removed(false), expected);
        let batches: Vec<usize> = (1..=3).map(|n| lake.batch(n).unwrap().unwrap().removed.len()).collect();
        assert_eq!((batches, lake.batch(4).unwrap()), (vec![3, 3, 1], None));
        assert!(names.iter().all(|name| !path.join(name).exists()));
        assert_eq!(removed(false), Vec::<String>::new());
    }
}
