//! Loads the deduplication cache of a lake, updates it from the lake, and saves it for the next ingest.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::dedup_cache::{self, Seen};
use super::lost_restarts::{self, Counter};
use super::storage::Objects;
use super::{Lake, data_files, delta_log, labels};
use crate::presence::{self, Shown};
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

/// Creates a directory for the rows of a run, next to the cache if there is one. It is removed when dropped; leftovers
/// of killed runs are removed now.
///
/// # Errors
/// When it cannot be created.
pub fn scratch(local: Option<&Path>) -> anyhow::Result<TempDir> {
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

/// Loads the cache of a lake: from this machine's file, else from the copy in the lake, else from its tables.
///
/// # Errors
/// When the lake cannot be read.
pub fn recall(lake: &Lake, local: Option<&Path>) -> anyhow::Result<Seen> {
    remembered(lake, local).context(NOTHING_COMMITTED)
}

fn remembered(lake: &Lake, local: Option<&Path>) -> anyhow::Result<Seen> {
    let from_local = local.and_then(|path| fs::read(path).ok());
    if let Some(seen) = from_local.and_then(|bytes| valid(lake, bytes)) {
        return Ok(seen);
    }
    for copy in lake.objects.list(COPIES_BELOW)?.iter().rev() {
        if let Some(seen) = lake.objects.get(&copy.name)?.and_then(|bytes| valid(lake, bytes)) {
            return Ok(seen);
        }
    }
    rebuild(lake)
}

/// Parses a cache file, if it belongs to this lake in its present state, and the batches since can still be read.
fn valid(lake: &Lake, bytes: Vec<u8>) -> Option<Seen> {
    let mut seen = Seen::from_bytes(bytes).ok()?;
    let is_ours = match seen.about.batch {
        0 => true,
        number => lake.batch(number).ok()?.is_some_and(|batch| batch.id == seen.about.batch_id),
    };
    // Only a version that still has the same commit is a valid start.
    for table in Table::ALL {
        let head = seen.about.heads.get(table.name()).copied();
        if !head.is_some_and(|head| delta_log::is_there(&lake.objects, table, head).unwrap_or(false)) {
            seen.about.heads.remove(table.name());
        }
    }
    (is_ours && catch_up(lake, &mut seen).is_ok()).then_some(seen)
}

/// Builds a cache from the rows of the last days.
fn rebuild(lake: &Lake) -> anyhow::Result<Seen> {
    let mut heads = BTreeMap::new();
    let last = lake.finish(&mut heads)?;
    if last == 0 {
        let mut seen = Seen::default();
        seen.about.heads = heads;
        return Ok(seen);
    }
    let now = dedup_cache::this_hour();
    let horizon = |table| (table, now.saturating_sub(dedup_cache::remembered_hours(table)));
    let mut seen = Seen::after(super::ORDER.map(horizon));
    for (table, hour) in super::ORDER.map(horizon) {
        // From the hour before the horizon: rows within the horizon's hour are covered too.
        let first = i64::from(hour.saturating_sub(1)) * HOUR;
        for file in lake.state(table)?.files.into_values() {
            if data_files::may_hold(table, &file, first, i64::MAX, false) {
                each_key(&lake.objects, table, &file, &mut |key| {
                    if key.time.is_some_and(|time| time >= first) {
                        take(&mut seen, table, key, now);
                    }
                })?;
            }
        }
    }
    seen.about.heads = heads;
    seen.about.batch_id = lake.batch(last)?.map(|batch| batch.id).unwrap_or_default();
    seen.about.batch = last;
    Ok(seen)
}

/// Saves the cache for the next ingest: on this machine, and hourly in the lake. Failure is harmless; the returned text
/// is a warning.
pub fn remember(lake: &Lake, seen: &mut Seen, local: Option<&Path>) -> Option<String> {
    let now = dedup_cache::this_hour();
    seen.forget(now);
    let mut copy = || -> anyhow::Result<()> {
        let is_due = seen.about.copied_hour != now;
        if is_due {
            seen.about.copied_hour = now;
        }
        let bytes = seen.to_bytes()?;
        if is_due {
            let copies = lake.objects.list(COPIES_BELOW)?;
            lake.objects.put(&format!("{COPIES_BELOW}/{:012}.parquet", seen.about.batch), bytes.clone())?;
            let old = copies.len().saturating_sub(COPIES - 1);
            copies[..old].iter().try_for_each(|copy| lake.objects.delete(&copy.name))?;
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
pub(super) fn catch_up(lake: &Lake, seen: &mut Seen) -> anyhow::Result<()> {
    let last = lake.finish(&mut seen.about.heads)?;
    let now = dedup_cache::this_hour();
    while seen.about.batch < last {
        let number = seen.about.batch + 1;
        let batch = lake.batch(number)?.with_context(|| format!("lake {}: batch {number} is missing", lake.objects))?;
        if batch.rows_lost {
            bail!("lake {} was repaired meanwhile and lost rows; run this again", lake.objects);
        }
        for table in super::ORDER {
            for file in batch.files(table) {
                each_key(&lake.objects, table, file, &mut |key| take(seen, table, key, now))?;
                take_presence(lake, seen, table, file)?;
            }
        }
        (seen.about.batch, seen.about.batch_id) = (number, batch.id);
    }
    Ok(())
}

/// Reads the tables for those rows that the cache does not cover, and adds what is found to the cache. A row is given
/// by its identity and its time.
pub(super) fn look_up<R>(lake: &Lake, seen: &mut Seen, rows: impl Fn(Table) -> R) -> anyhow::Result<()>
where
    R: Iterator<Item = (u128, Option<i64>)>,
{
    let now = dedup_cache::this_hour();
    for table in super::ORDER {
        let mut unsure: HashSet<u128> = HashSet::new();
        let (mut first, mut last, mut without_time) = (i64::MAX, i64::MIN, false);
        for (id, time) in rows(table) {
            if seen.would_know(table, time) || seen.meet(table, id, now) {
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
            each_key(&lake.objects, table, &file, &mut |key| {
                if unsure.remove(&key.id) {
                    take(seen, table, key, now);
                }
            })?;
        }
    }
    Ok(())
}

/// Reads when allocations were last shown in the hours of a run, unless the cache has it.
pub(super) fn look_at_hours(lake: &Lake, seen: &mut Seen, shown: &Shown) -> anyhow::Result<()> {
    let hours = seen.presence.unknown_hours(shown);
    if !hours.is_empty() {
        for (table, _) in presence::READS {
            for file in lake.state(table)?.files.into_values() {
                let may_hold = |hour: &i64| data_files::may_hold(table, &file, *hour, *hour + (HOUR - 1), false);
                if hours.iter().any(may_hold) {
                    take_presence(lake, seen, table, &file)?;
                }
            }
        }
    }
    seen.presence.need(shown, dedup_cache::this_hour());
    Ok(())
}

/// Adds when a file's allocations were last shown to the cache.
fn take_presence(lake: &Lake, seen: &mut Seen, table: Table, file: &delta_log::Add) -> anyhow::Result<()> {
    let Some((_, columns)) = presence::READS.into_iter().find(|(other, _)| *other == table) else { return Ok(()) };
    data_files::read(&lake.objects, table, file, Some(columns), &mut |batch| seen.presence.take(table, &batch))
}

/// What the cache keeps of a row of the lake.
struct Key<'r> {
    id: u128,
    /// Its time, in nanoseconds since the epoch.
    time: Option<i64>,
    /// The Restarts counter in a task's state.
    counter: Option<Counter>,
    /// The allocation it is a version of, and its region.
    label: Option<(u128, &'r str)>,
}

/// Adds a row of the lake to the cache.
fn take(seen: &mut Seen, table: Table, key: Key<'_>, now: u32) {
    seen.add(table, key.id, key.time, now);
    key.counter.into_iter().for_each(|(task, restarts)| seen.count(task, restarts, now));
    key.label.into_iter().for_each(|(allocation, region)| seen.label(allocation, region, key.time, now));
}

/// Calls `each` for each row of a file.
fn each_key(
    objects: &Objects,
    table: Table,
    file: &delta_log::Add,
    each: &mut dyn FnMut(Key<'_>),
) -> anyhow::Result<()> {
    let is_hashed = data_files::null_count(file, identity::TEXT_HASH) == Some(0);
    let needed: Vec<&str> = identity::needed_columns(table, is_hashed).chain(data_files::time_column(table)).collect();
    data_files::read(objects, table, file, Some(&needed), &mut |batch| {
        let times = data_files::times(table, &batch);
        let counters = if table == Table::TaskStateHistory { lost_restarts::counters(&batch)? } else { Vec::new() };
        let mut counters = counters.into_iter();
        let labels = if table == Table::AllocationHistory { labels::of(&batch)? } else { Vec::new() };
        let mut labels = labels.into_iter();
        for (id, time) in table.identities(&batch)?.into_iter().zip(times) {
            each(Key { id, time, counter: counters.next().flatten(), label: labels.next() });
        }
        Ok(())
    })
}
