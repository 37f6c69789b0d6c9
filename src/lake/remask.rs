//! Remasking: rewrites files with free texts that the current rules mask and older rules did not.
//!
//! The old files stay until a vacuum. The logs and batches of format 1 also hold texts: the minimum and maximum of each
//! column of a file. Remasking rewrites the batches. It writes a checkpoint of each table that it changes, so that the
//! old versions of the table's log can be removed later, and these texts with them.

use std::collections::{BTreeMap, HashSet};

use super::delta_log::{self, Add};
use super::lean::{self, FILES_AT_A_TIME, path_key};
use super::{Batch, Lake, Replacement, batch_name, data_files, now_ms, repair};
use crate::error::{Context, Result};
use crate::tables::{Table, identity, is_free_text, remask::remasked};

/// Rewritten files are committed as a batch at least this often, so that a kill loses little work.
const PUT_AFTER_MS: i64 = 10 * 60_000;
/// A batch replaces at most this many files; each takes several KB of memory while the batch is applied.
const AT_A_TIME: usize = 1_000;

/// The result of remasking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remasked {
    /// Texts that changed.
    pub texts: u64,
    /// Files that were rewritten.
    pub files: usize,
    /// Batches that were rewritten without the bounds of free texts.
    pub batches: usize,
}

/// Rewrites every file with a text that the current rules would mask differently. Row identities do not change, so
/// ingests are unaffected. Safe to run beside ingests and compactions. If another writer replaced a file, the file is
/// skipped, and its replacement is examined.
///
/// # Errors
/// When the lake cannot be read or written. Files that were rewritten before the error stay rewritten.
pub fn remask(lake: &Lake, progress: &mut dyn FnMut(&str)) -> Result<Remasked> {
    let mut done = Remasked::default();
    let last = lake.prepare()?;
    for table in super::ORDER {
        let texts: Vec<String> = table.columns().into_iter().map(|column| column.name).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|name| is_free_text(name)).collect();
        if texts.is_empty() {
            continue;
        }
        let before = done.files;
        remask_table(lake, table, &texts, &mut done, progress)?;
        if done.files > before {
            delta_log::checkpoint(&lake.storage, table, now_ms())?;
        }
    }
    for number in 1..=last {
        let batch = lake.batch(number)?.with_context(|| format!("lake {}: batch {number} is missing", lake.storage))?;
        // This batch and later batches contain no bounds of free texts, and each records the hash of the previous
        // batch.
        if batch.upgrades_to.is_some() || batch.before.is_some() {
            break;
        }
        if let Some(batch) = without_texts(batch) {
            progress(&format!("batch {number}"));
            lake.storage.put(&batch_name(number), serde_json::to_vec(&batch)?)?;
            done.batches += 1;
        }
    }
    Ok(done)
}

/// Rewrites the files of a table.
fn remask_table(
    lake: &Lake,
    table: Table,
    texts: &[&str],
    done: &mut Remasked,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut examined: HashSet<u64> = HashSet::new();
    loop {
        let mut keys = lean::keys(&lake.storage, table)?;
        keys.retain(|key| !examined.contains(key));
        if keys.is_empty() {
            return Ok(());
        }
        for some in keys.chunks(FILES_AT_A_TIME) {
            let mut files: Vec<Add> =
                lean::files(&lake.storage, table, &some.iter().copied().collect())?.into_values().collect();
            files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            examined.extend(some);
            remask_files(lake, table, texts, files, &mut examined, done, progress)?;
        }
    }
}

fn remask_files(
    lake: &Lake,
    table: Table,
    texts: &[&str],
    files: Vec<Add>,
    examined: &mut HashSet<u64>,
    done: &mut Remasked,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut rewritten = Vec::new();
    let mut started_ms = now_ms();
    for (i, add) in files.into_iter().enumerate() {
        progress(&format!("{}: {i} files", table.name()));
        let changes = changes(lake, table, &add, texts)?;
        if changes > 0 {
            let written = rewrite(lake, table, &add)?;
            examined.extend(written.iter().map(|add| path_key(&add.path)));
            let replacement = Replacement { removed: vec![add.path], added: written, rows_dropped: Some(0) };
            rewritten.push((changes, replacement));
        }
        if rewritten.len() >= AT_A_TIME || now_ms() - started_ms > PUT_AFTER_MS {
            put(lake, table, std::mem::take(&mut rewritten), started_ms, done)?;
            started_ms = now_ms();
        }
    }
    put(lake, table, rewritten, started_ms, done)
}

/// Commits rewritten files as a batch. A file that another writer replaced meanwhile is skipped.
fn put(
    lake: &Lake,
    table: Table,
    rewritten: Vec<(u64, Replacement)>,
    started_ms: i64,
    done: &mut Remasked,
) -> Result<()> {
    if rewritten.is_empty() {
        return Ok(());
    }
    let replacements = rewritten.iter().map(|(_, replacement)| replacement.clone()).collect();
    let replaced = BTreeMap::from([(table.name().to_owned(), replacements)]);
    let batch = Batch { replaced, ..Batch::new(BTreeMap::new()) };
    let were_done = repair::put(lake, &batch, started_ms)?.and_then(|mut all| all.remove(&table)).unwrap_or_default();
    for ((changes, _), _) in rewritten.iter().zip(were_done).filter(|(_, was_done)| *was_done) {
        done.texts += changes;
        done.files += 1;
    }
    Ok(())
}

/// How many texts of a file the current rules mask differently.
fn changes(lake: &Lake, table: Table, add: &Add, texts: &[&str]) -> Result<u64> {
    let columns: Vec<&str> = texts.iter().copied().chain([identity::TEXT_HASH]).collect();
    let mut changes = 0;
    data_files::read(&lake.storage, table, add, Some(&columns), &mut |batch| {
        changes += remasked(table, &batch)?.map_or(0, |(_, changes)| changes);
        Ok(())
    })?;
    Ok(changes)
}

/// Writes the remasked rows of a file, in their order.
fn rewrite(lake: &Lake, table: Table, add: &Add) -> Result<Vec<Add>> {
    let mut writer = data_files::DataFileWriter::new(&lake.storage, table, now_ms());
    let mut is_first = true;
    data_files::read_whole(&lake.storage, table, add, &mut |batch| {
        if std::mem::take(&mut is_first) {
            writer.set_columns(&batch.schema());
        }
        let masked = remasked(table, &batch)?.map(|(masked, _)| masked);
        writer.add(masked.as_ref().unwrap_or(&batch))
    })?;
    // `data_change: false`: no rows are added, so readers that follow changes skip these files.
    Ok(writer.finish()?.into_iter().map(|add| Add { data_change: false, ..add }).collect())
}

/// The batch without the bounds of free texts; `None` if it has no such bounds.
fn without_texts(mut batch: Batch) -> Option<Batch> {
    let mut changes = false;
    for add in batch.tables.values_mut().flatten() {
        let stats = data_files::stats_without_texts(add);
        if stats != add.stats() {
            changes = true;
            add.stats = Some(stats.to_string());
        }
    }
    changes.then_some(batch)
}
