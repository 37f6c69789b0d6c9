//! Compaction: merges the small files of a lake into larger ones.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use serde::Serialize;

use super::delta_log::{self, Add, FileChange};
use super::lean::{self, FILES_AT_A_TIME, in_parts, path_key};
use super::{Batch, Lake, Replacement, data_files, now_ms, repair};
use crate::error::Result;
use crate::tables::Table;
use crate::time::DAY;

/// Maximum rows of a merged file.
const ROWS: u64 = 1_000_000;
/// Maximum decoded size of a merged file in bytes. A merge holds the rows in memory twice.
const DECODED: u64 = 64 << 20;
/// A partition with fewer small files than this is not merged, because repeated merges would cost more than the small
/// files do.
const FEW: usize = 8;
/// A day that ended this many days ago hardly gets new rows, so even a few small files of such a day are merged.
const SETTLED_DAYS: i64 = 3;
/// Merged files are committed as a batch at least this often, so that a kill loses little work.
const PUT_AFTER_MS: i64 = 10 * 60_000;
/// A batch replaces at most about this many files. Each file takes 2 KB of memory while the batch is applied.
const REPLACED: usize = 10_000;
/// A batch adds at most about this many files. Their entries take more memory, because they have full statistics.
const ADDED: usize = 1_000;
/// How many small record batches are concatenated at a time. A record batch of one row takes 7 KB, mostly for its
/// columns.
const JOINED: usize = 512;
/// How many sorted rows are written to the new file at a time.
const SLICE: usize = 64 << 10;

/// The result of a compaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Files merged.
    pub merged: usize,
    /// Files created.
    pub into: usize,
    /// Groups skipped because another writer merged one of their files meanwhile.
    pub given_up: usize,
    /// Delta log files removed because a checkpoint covers them.
    pub log_files: usize,
    /// The errors of tables that were not merged completely.
    pub failed: Vec<String>,
}

/// Merges the small files of each partition into larger, sorted files. Files of `sightings` are merged only within a
/// day. Readers see either the old files or the new ones. Safe to run beside ingests, other compactions, and Spark's
/// OPTIMIZE: a group with a file that another writer merged is skipped. An error in one table does not stop the others.
///
/// Merged files are first committed as a batch, and then applied to the table. So the batches alone determine which
/// files a table has.
///
/// # Errors
/// When the lake cannot be opened for writing.
pub fn compact(lake: &Lake, progress: &mut dyn FnMut(&str)) -> Result<Compacted> {
    let mut done = Compacted::default();
    lake.prepare()?;
    let now = lake.storage.now_ms()?;
    for table in Table::ALL {
        let merged = compact_table(lake, table, now, &mut done, progress);
        let cleaned = merged.and_then(|()| delta_log::clean_log(&lake.storage, table, now));
        match cleaned {
            Ok(gone) => done.log_files += gone,
            Err(error) => done.failed.push(format!("{}: {error:#}", table.name())),
        }
    }
    Ok(done)
}

fn compact_table(
    lake: &Lake,
    table: Table,
    now: i64,
    done: &mut Compacted,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    for some in in_parts(groups(lake, table, now)?, FILES_AT_A_TIME) {
        let mut files = lean::files(&lake.storage, table, &some.iter().flatten().copied().collect())?;
        let some = some.into_iter().map(|group| group.iter().filter_map(|key| files.remove(key)).collect::<Vec<Add>>());
        // Another writer may have merged some of the files meanwhile.
        let some = some.filter(|group| group.len() > 1);
        merge_groups(lake, table, some.collect(), done, progress)?;
    }
    Ok(())
}

fn merge_groups(
    lake: &Lake,
    table: Table,
    groups: Vec<Vec<Add>>,
    done: &mut Compacted,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut waiting: Vec<Replacement> = Vec::new();
    let mut started_ms = now_ms();
    let mut failed = None;
    for group in groups {
        progress(&format!("{}: {} files", table.name(), group.len()));
        match merge(lake, table, &group) {
            Ok(replacement) => waiting.push(replacement),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        let replaced: usize = waiting.iter().map(|replacement| replacement.removed.len()).sum();
        if replaced >= REPLACED || waiting.len() >= ADDED || now_ms() - started_ms > PUT_AFTER_MS {
            put(lake, table, std::mem::take(&mut waiting), started_ms, done)?;
            started_ms = now_ms();
        }
    }
    // After a failure, still commit the files that were merged before it.
    put(lake, table, waiting, started_ms, done)?;
    failed.map_or(Ok(()), Err)
}

/// Commits merged files as a batch.
fn put(lake: &Lake, table: Table, waiting: Vec<Replacement>, started_ms: i64, done: &mut Compacted) -> Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let replaced = BTreeMap::from([(table.name().to_owned(), waiting.clone())]);
    let batch = Batch { replaced, ..Batch::new(BTreeMap::new()) };
    let were_done = repair::put(lake, &batch, started_ms)?.and_then(|mut all| all.remove(&table)).unwrap_or_default();
    for (i, replacement) in waiting.iter().enumerate() {
        if were_done.get(i).copied().unwrap_or_default() {
            done.merged += replacement.removed.len();
            done.into += replacement.added.len();
        } else {
            done.given_up += 1;
        }
    }
    Ok(())
}

/// The decoded size of a file's rows in bytes. If the log lacks the size, assumes more bytes per row than most rows
/// take.
fn decoded(table: Table, add: &Add) -> u64 {
    let row = if table == Table::Sightings { 120 } else { 600 };
    add.decoded().unwrap_or_else(|| data_files::row_count(add).unwrap_or(ROWS).saturating_mul(row))
}

/// A file that is to be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Small {
    /// The earliest time of its rows.
    first: Option<i64>,
    /// See [`path_key`].
    key: u64,
    rows: u64,
    decoded: u64,
}

/// Groups of small files to merge. The files of a group are in one partition and adjacent in time, and are together at
/// most as large as one merged file. A file is given by its [`path_key`].
fn groups(lake: &Lake, table: Table, now_ms: i64) -> Result<Vec<Vec<u64>>> {
    let settled = now_ms / (DAY / 1_000_000) - SETTLED_DAYS;
    let enough = |day: Option<i64>| if day.is_some_and(|day| day < settled) { 2 } else { FEW };
    let mut small: HashMap<u64, (Option<i64>, Small)> = HashMap::new();
    let time = data_files::time_column(table);
    delta_log::read(&lake.storage, table, &mut |change| match (change.path().map(path_key), change) {
        (Some(key), FileChange::Add(add)) => {
            let rows = data_files::row_count(&add).unwrap_or(ROWS);
            let decoded = decoded(table, &add);
            if rows >= ROWS / 2 || decoded >= DECODED / 2 {
                small.remove(&key);
                return;
            }
            let first = time.and_then(|time| data_files::bounds(&add, time)).map(|(first, _)| first);
            // Every day has a sighting of each live allocation. So keep the days in separate files, although the table
            // is not partitioned.
            let day = match table {
                Table::Sightings => first.map(|first| first.div_euclid(DAY)),
                _ => data_files::day(&add).map(i64::from),
            };
            small.insert(key, (day, Small { first, key, rows, decoded }));
        }
        (Some(key), _) => drop(small.remove(&key)),
        (None, _) => small.clear(),
    })?;
    let mut days: BTreeMap<Option<i64>, Vec<Small>> = BTreeMap::new();
    small.into_values().for_each(|(day, file)| days.entry(day).or_default().push(file));
    let mut groups = Vec::new();
    for (_, mut files) in days.into_iter().filter(|(day, files)| files.len() >= enough(*day)) {
        files.sort_unstable();
        let (mut group, mut in_group): (Vec<u64>, _) = (Vec::new(), (0, 0));
        for file in files {
            let with = (in_group.0 + file.rows, in_group.1 + file.decoded);
            in_group = if with.0 > ROWS || with.1 > DECODED || group.len() >= REPLACED {
                groups.push(std::mem::take(&mut group));
                (file.rows, file.decoded)
            } else {
                with
            };
            group.push(file.key);
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() > 1);
    Ok(groups)
}

/// The columns by which a merged file of a table is sorted, so that rows that are queried together are stored together.
fn sorted_by(table: Table) -> &'static [&'static str] {
    match table {
        Table::TaskEvents => {
            &["region", "namespace", "job_id", "task_group", "task", "alloc_id", "attempt", "event_at_ns", "ordinal"]
        }
        Table::AllocationHistory => &["region", "namespace", "job_id", "alloc_id", "modified_at_ns"],
        Table::TaskStateHistory => &["region", "namespace", "job_id", "alloc_id", "task", "modified_at_ns"],
        Table::Sightings => &["seen_at_ns", "alloc_id"],
        Table::Absences => &["missing_at_ns", "alloc_id"],
        Table::Snapshots => &["observed_at_ns", "snapshot_id"],
        Table::Nodes => &["node_id", "modify_index"],
        Table::LogEvents => &["alloc_id", "task", "logged_at_ns"],
    }
}

/// Writes the rows of files as new sorted files.
fn merge(lake: &Lake, table: Table, group: &[Add]) -> Result<Replacement> {
    let (mut batches, mut joined): (Vec<RecordBatch>, usize) = (Vec::new(), 0);
    let size = |batches: &[RecordBatch]| batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum::<u64>();
    let mut removed = Vec::new();
    let mut bytes = 0;
    for add in group {
        data_files::read_whole(&lake.storage, table, add, &mut |batch| {
            bytes += batch.get_array_memory_size() as u64;
            batches.push(batch);
            Ok(())
        })?;
        removed.push(add.path.clone());
        if batches.len() >= joined + JOINED {
            let small = batches.split_off(joined);
            bytes -= size(&small);
            batches.push(data_files::concat(table, small)?);
            bytes += size(&batches[joined..]);
            joined += 1;
        }
        // Files of other programs may be larger than estimated. Then merge only the files that were read so far.
        if bytes > 2 * DECODED {
            break;
        }
    }
    let all = data_files::concat(table, batches)?;
    let by: Vec<SortColumn> = sorted_by(table)
        .iter()
        .filter_map(|name| all.column_by_name(name))
        .map(|column| SortColumn { values: column.clone(), options: None })
        .collect();
    let order = lexsort_to_indices(&by, None)?;
    let mut writer = data_files::DataFileWriter::new(&lake.storage, table, now_ms());
    writer.set_columns(&all.schema());
    for from in (0..order.len()).step_by(SLICE) {
        writer.add(&take_record_batch(&all, &order.slice(from, SLICE.min(order.len() - from)))?)?;
    }
    // `data_change: false`: the rows are unchanged, so readers that follow changes skip these files.
    let added = writer.finish()?.into_iter().map(|add| Add { data_change: false, ..add }).collect();
    Ok(Replacement { removed, added, rows_dropped: Some(0) })
}
