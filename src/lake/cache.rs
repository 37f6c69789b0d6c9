//! Loads the deduplication cache of a lake, updates it from the lake, and saves it for the next ingest.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::dedup_cache::{self, DedupCache};
use super::lost_restarts::{self, TaskRestarts};
use super::storage::Storage;
use super::{Lake, data_files, delta_log, labels};
use crate::error::{Context, Error, Result};
use crate::presence::{self, ShownAllocations};
use crate::tables::{Table, identity};
use crate::time::HOUR;

/// How many copies of the cache stay in the lake.
const COPIES: usize = 2;

/// Prefix of temporary files next to the cache; a killed process leaves them behind.
const LEFTOVER: &str = ".ingest-";

/// Age after which temporary files are removed: one day.
const LEFT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// Directory of the copies of the cache.
const COPIES_BELOW: &str = "_alloclog/seen";

/// Context of every error before a batch is created.
pub(super) const NOTHING_COMMITTED: &str = "nothing was committed";

/// Creates a directory for the rows of a run: next to the cache file if `local` names one, else in the system's
/// temporary directory. The directory is removed when the returned value is dropped. Also removes the directories that
/// killed runs left behind.
///
/// # Errors
/// When it cannot be created.
pub fn scratch(local: Option<&Path>) -> Result<TempDir> {
    let beside = local.and_then(Path::parent).filter(|directory| fs::create_dir_all(directory).is_ok());
    let directory = beside.map_or_else(std::env::temp_dir, Path::to_owned);
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(LEFTOVER);
        let written = entry.metadata().and_then(|meta| meta.modified());
        let is_old = written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > LEFT_FOR));
        if is_left && is_old {
            // Ignore failures: the files may belong to another user.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    let made = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(&directory);
    made.or_else(|_| tempfile::tempdir()).context("cannot create a temporary directory")
}

/// Loads the cache of a lake: from this machine's file, else from a copy in the lake, else from the lake's tables.
///
/// # Errors
/// When the lake cannot be read.
pub fn load_cache(lake: &Lake, local: Option<&Path>) -> Result<DedupCache> {
    find_cache(lake, local).context(NOTHING_COMMITTED)
}

fn find_cache(lake: &Lake, local: Option<&Path>) -> Result<DedupCache> {
    let from_local = local.and_then(|path| fs::read(path).ok());
    if let Some(cache) = from_local.and_then(|bytes| parse_cache(lake, bytes)) {
        return Ok(cache);
    }
    for copy in lake.storage.list(COPIES_BELOW)?.iter().rev() {
        if let Some(cache) = lake.storage.get(&copy.name)?.and_then(|bytes| parse_cache(lake, bytes)) {
            return Ok(cache);
        }
    }
    rebuild(lake)
}

/// Parses a cache file, and updates the cache from the lake. Returns `None` if the file is not a cache of this version,
/// if the last batch of the cache is not in this lake, or if the cache cannot be updated.
fn parse_cache(lake: &Lake, bytes: Vec<u8>) -> Option<DedupCache> {
    let mut cache = DedupCache::from_bytes(bytes).ok()?;
    let is_ours = match cache.header.batch {
        0 => true,
        number => lake.batch(number).ok()?.is_some_and(|batch| batch.id == cache.header.batch_id),
    };
    // Only a version that still has the same commit is a valid starting point for reading a log.
    for table in Table::ALL {
        let head = cache.header.heads.get(table.name()).copied();
        if !head.is_some_and(|head| delta_log::is_there(&lake.storage, table, head).unwrap_or(false)) {
            cache.header.heads.remove(table.name());
        }
    }
    (is_ours && catch_up(lake, &mut cache).is_ok()).then_some(cache)
}

/// Builds a cache from the newest rows of each table, see [`dedup_cache::remembered_hours`].
fn rebuild(lake: &Lake) -> Result<DedupCache> {
    let mut heads = BTreeMap::new();
    let last = lake.finish(&mut heads)?;
    if last == 0 {
        let mut cache = DedupCache::default();
        cache.header.heads = heads;
        return Ok(cache);
    }
    let now = dedup_cache::this_hour();
    let horizon = |table| (table, now.saturating_sub(dedup_cache::remembered_hours(table)));
    let mut cache = DedupCache::after(super::ORDER.map(horizon));
    for (table, hour) in super::ORDER.map(horizon) {
        // The cache must have every row from the horizon on. Start one hour earlier, as a margin.
        let first = i64::from(hour.saturating_sub(1)) * HOUR;
        for file in lake.state(table)?.files.into_values() {
            if data_files::may_hold(table, &file, first, i64::MAX, false) {
                each_key(&lake.storage, table, &file, &mut |key| {
                    if key.time.is_some_and(|time| time >= first) {
                        absorb(&mut cache, table, key, now);
                    }
                })?;
            }
        }
    }
    cache.header.heads = heads;
    cache.header.batch_id = lake.batch(last)?.map(|batch| batch.id).unwrap_or_default();
    cache.header.batch = last;
    Ok(cache)
}

/// Saves the cache for the next ingest: on this machine, and hourly in the lake. A failure is harmless, so it is only
/// returned as the text of a warning.
pub fn save_cache(lake: &Lake, cache: &mut DedupCache, local: Option<&Path>) -> Option<String> {
    let now = dedup_cache::this_hour();
    cache.forget(now);
    let mut copy = || -> Result<()> {
        let is_due = cache.header.copied_hour != now;
        if is_due {
            cache.header.copied_hour = now;
        }
        let bytes = cache.to_bytes()?;
        if is_due {
            let copies = lake.storage.list(COPIES_BELOW)?;
            lake.storage.put(&format!("{COPIES_BELOW}/{:012}.parquet", cache.header.batch), bytes.clone())?;
            let old = copies.len().saturating_sub(COPIES - 1);
            copies[..old].iter().try_for_each(|copy| lake.storage.delete(&copy.name))?;
        }
        let Some(path) = local else { return Ok(()) };
        let directory = path.parent().context("no directory for it")?;
        let mut file = tempfile::Builder::new().prefix(LEFTOVER).tempfile_in(directory)?;
        std::io::Write::write_all(&mut file, &bytes)?;
        file.persist(path)?;
        Ok(())
    };
    copy().err().map(|error| format!("cannot save the deduplication cache: {error:#}"))
}

/// Applies the batches of other writers, and adds their rows to the cache.
pub(super) fn catch_up(lake: &Lake, cache: &mut DedupCache) -> Result<()> {
    let last = lake.finish(&mut cache.header.heads)?;
    let now = dedup_cache::this_hour();
    while cache.header.batch < last {
        let number = cache.header.batch + 1;
        let batch = lake.batch(number)?.with_context(|| format!("lake {}: batch {number} is missing", lake.storage))?;
        if batch.rows_lost {
            return Err(Error::conflict(format!(
                "lake {} was repaired meanwhile and lost rows; run this again",
                lake.storage
            )));
        }
        for table in super::ORDER {
            for file in batch.files(table) {
                each_key(&lake.storage, table, file, &mut |key| absorb(cache, table, key, now))?;
                absorb_presence(lake, cache, table, file)?;
            }
        }
        (cache.header.batch, cache.header.batch_id) = (number, batch.id);
    }
    Ok(())
}

/// Looks up new rows of a run that the cache does not cover, and adds to the cache the rows that the lake has. `rows`
/// returns the identity and the time of each new row of a table.
pub(super) fn look_up_uncovered<R>(lake: &Lake, cache: &mut DedupCache, rows: impl Fn(Table) -> R) -> Result<()>
where
    R: Iterator<Item = (u128, Option<i64>)>,
{
    let now = dedup_cache::this_hour();
    for table in super::ORDER {
        let mut unsure: HashSet<u128> = HashSet::new();
        let (mut first, mut last, mut without_time) = (i64::MAX, i64::MIN, false);
        for (id, time) in rows(table) {
            if cache.covers(table, time) || cache.touch(table, id, now) {
                continue;
            }
            unsure.insert(id);
            match time {
                Some(time) => (first, last) = (first.min(time), last.max(time)),
                None => without_time = true,
            }
        }
        if unsure.is_empty() {
            continue;
        }
        for file in lake.state(table)?.files.into_values() {
            if !data_files::may_hold(table, &file, first, last, without_time) {
                continue;
            }
            each_key(&lake.storage, table, &file, &mut |key| {
                if unsure.remove(&key.id) {
                    absorb(cache, table, key, now);
                }
            })?;
        }
    }
    Ok(())
}

/// Reads from the lake when allocations were last shown. Reads only those hours of the run that the cache lacks.
pub(super) fn load_presence(lake: &Lake, cache: &mut DedupCache, shown: &ShownAllocations) -> Result<()> {
    let hours = cache.presence.unknown_hours(shown);
    if !hours.is_empty() {
        for (table, _) in presence::READS {
            for file in lake.state(table)?.files.into_values() {
                let may_hold = |hour: &i64| data_files::may_hold(table, &file, *hour, *hour + (HOUR - 1), false);
                if hours.iter().any(may_hold) {
                    absorb_presence(lake, cache, table, &file)?;
                }
            }
        }
    }
    cache.presence.mark_needed(shown, dedup_cache::this_hour());
    Ok(())
}

/// Adds to the cache the times at which the allocations in a file were last shown.
fn absorb_presence(lake: &Lake, cache: &mut DedupCache, table: Table, file: &delta_log::Add) -> Result<()> {
    let Some((_, columns)) = presence::READS.into_iter().find(|(other, _)| *other == table) else { return Ok(()) };
    data_files::read(&lake.storage, table, file, Some(columns), &mut |batch| cache.presence.add_rows(table, &batch))
}

/// The part of a row of the lake that the cache keeps.
struct CachedRow<'r> {
    id: u128,
    /// Its time, in nanoseconds since the epoch.
    time: Option<i64>,
    /// The Restarts counter in a task's state.
    counter: Option<TaskRestarts>,
    /// For a version of an allocation: the allocation and its region.
    label: Option<(u128, &'r str)>,
}

/// Adds a row of the lake to the cache.
fn absorb(cache: &mut DedupCache, table: Table, key: CachedRow<'_>, now: u32) {
    cache.add(table, key.id, key.time, now);
    key.counter.into_iter().for_each(|(task, restarts)| cache.count(task, restarts, now));
    key.label.into_iter().for_each(|(allocation, region)| cache.label(allocation, region, key.time, now));
}

/// Calls `each` for each row of a file.
fn each_key(storage: &Storage, table: Table, file: &delta_log::Add, each: &mut dyn FnMut(CachedRow<'_>)) -> Result<()> {
    let is_hashed = data_files::null_count(file, identity::TEXT_HASH) == Some(0);
    let needed: Vec<&str> = identity::needed_columns(table, is_hashed).chain(data_files::time_column(table)).collect();
    data_files::read(storage, table, file, Some(&needed), &mut |batch| {
        let times = data_files::times(table, &batch);
        let counters = if table == Table::TaskStateHistory { lost_restarts::counters(&batch)? } else { Vec::new() };
        let mut counters = counters.into_iter();
        let labels = if table == Table::AllocationHistory { labels::allocation_regions(&batch)? } else { Vec::new() };
        let mut labels = labels.into_iter();
        for (id, time) in table.identities(&batch)?.into_iter().zip(times) {
            each(CachedRow { id, time, counter: counters.next().flatten(), label: labels.next() });
        }
        Ok(())
    })
}
