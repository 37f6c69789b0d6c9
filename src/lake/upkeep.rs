//! What keeps a lake fit for years: what it holds, whether it is whole, small files made large, and what nobody needs
//! removed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Context;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch};
use serde::Serialize;

use super::delta::{self, Add, Committed, State};
use super::objects::{self, Object};
use super::{Batch, Heads, Lake, files, now_ms};
use crate::tables::Table;
use crate::time::DAY;

/// Files of this size and more are large enough.
const LARGE: i64 = 32 << 20;
/// As much is merged into one file.
const MERGED: i64 = 64 << 20;
/// Fewer small files than these are left alone: merging them again and again would cost more than they do.
const FEW: usize = 8;
/// After so many days hardly anything comes to a day any more, and its last few files are merged, too.
const SETTLED_DAYS: i64 = 3;
/// As many of the last batches are read by a check: a week's, with one each minute.
const LAST_BATCHES: u64 = 10_000;
/// A merge that takes longer gives up: what it has written could be taken for what nobody needs.
const MERGE_MS: i64 = 12 * 3_600_000;

/// What a table of a lake holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableInfo {
    /// Its name.
    pub table: &'static str,
    /// The newest version of its Delta log.
    pub version: i64,
    /// The last batch that is in it.
    pub batch: u64,
    /// Its data files.
    pub files: usize,
    /// Their bytes.
    pub bytes: i64,
    /// Its rows; null when a file does not say how many it has.
    pub rows: Option<u64>,
    /// The first and the last time of its rows, in nanoseconds since the epoch; null where no file says.
    pub span_ns: Option<(i64, i64)>,
}

/// What a lake holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// What tells it from other lakes.
    pub id: String,
    /// Its tables.
    pub tables: Vec<TableInfo>,
    /// Batches that were committed, those of vacuums included.
    pub batches: u64,
    /// How many of them are not yet in every table.
    pub unfinished: usize,
    /// When the last one was written by its writer's clock, in milliseconds since the epoch.
    pub last_written_ms: Option<i64>,
}

/// What a lake holds, from its logs alone.
///
/// # Errors
/// When they cannot be read.
pub fn info(lake: &Lake) -> anyhow::Result<Info> {
    let unfinished = lake.unfinished()?;
    let mut tables = Vec::new();
    for table in Table::ALL {
        let state = delta::state(&lake.objects, table)?;
        let adds = || state.files.values();
        let spans: Vec<_> = files::time_column(table)
            .map(|time| adds().filter_map(|add| files::bounds(add, time)).collect())
            .unwrap_or_default();
        tables.push(TableInfo {
            table: table.name(),
            version: state.head.version,
            batch: state.head.batch,
            files: state.files.len(),
            bytes: adds().map(|add| add.size).sum(),
            rows: adds().map(files::row_count).sum(),
            span_ns: spans.iter().map(|(first, _)| *first).min().zip(spans.iter().map(|(_, last)| *last).max()),
        });
    }
    let in_tables = tables.iter().find(|info| info.table == Table::Snapshots.name()).map_or(0, |info| info.batch);
    let batches = unfinished.last().map_or(in_tables, |(number, _)| *number);
    let last_written_ms = if batches == 0 { None } else { lake.batch(batches)?.map(|batch| batch.written_ms) };
    Ok(Info { id: lake.id.clone(), tables, batches, unfinished: unfinished.len(), last_written_ms })
}

/// Something that is wrong with a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What.
    pub what: String,
    /// Whether [`check`] can mend it, or has.
    pub can_be_mended: bool,
}

/// Looks whether a lake is whole: every file there and readable, every row once, every batch in every table, the logs
/// consistent. With `mend`, batches that are not in every table are finished, rows that are there twice are taken out,
/// and so are files that are gone or damaged, whose rows are lost.
///
/// # Errors
/// When the lake cannot be read, or what is to be mended cannot be written.
pub fn check(lake: &Lake, mend: bool, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Vec<Wrong>> {
    let (mut wrong, mut rows_lost) = (Vec::new(), false);
    let unfinished = lake.unfinished()?;
    if !unfinished.is_empty() {
        let what =
            format!("{} of the last batches not in every table yet; the next ingest finishes them", unfinished.len());
        if mend {
            lake.finish(&mut Heads::new())?;
        }
        wrong.push(Wrong { what, can_be_mended: true });
    }
    check_batches(lake, &mut wrong)?;
    for table in Table::ALL {
        progress(table.name());
        let state = match delta::state(&lake.objects, table) {
            Ok(state) => state,
            Err(error) => {
                wrong.push(Wrong { what: format!("{error:#}"), can_be_mended: false });
                continue;
            }
        };
        let mut bad = Bad::default();
        check_files(lake, table, &state, &mut bad)?;
        if mend {
            if !bad.lost.is_empty() && !rows_lost {
                tell_of_lost_rows(lake)?;
                rows_lost = true;
            }
            take_out(lake, table, &state, &bad)?;
        }
        wrong.extend(bad.foreign.into_values().map(|what| Wrong { what, can_be_mended: false }));
        wrong.extend(bad.lost.into_values().map(|what| Wrong { what, can_be_mended: true }));
        wrong.extend(bad.doubled.into_values().map(|(what, _)| Wrong { what, can_be_mended: true }));
    }
    if rows_lost {
        // Again: an ingest may have read a file that was about to go. Whoever is killed before has told of it already.
        tell_of_lost_rows(lake)?;
    }
    Ok(wrong)
}

/// Puts a batch that makes every ingest read the tables anew. Whoever remembers rows that are lost would never add them
/// again, though a source may still show them.
fn tell_of_lost_rows(lake: &Lake) -> anyhow::Result<()> {
    let batch = Batch { rows_lost: true, ..Batch::new(BTreeMap::new()) };
    let mut heads = Heads::new();
    while !lake.put_batch(lake.finish(&mut heads)? + 1, &batch)? {}
    lake.finish(&mut heads)?;
    Ok(())
}

/// Batches have the numbers from 1 on, and none is missing. The last ones, which an ingest may still read, are whole.
fn check_batches(lake: &Lake, wrong: &mut Vec<Wrong>) -> anyhow::Result<()> {
    let last = delta::head(&lake.objects, Table::Snapshots, None)?.batch;
    let listed: HashSet<String> =
        lake.objects.list("_alloclog/batches")?.into_iter().map(|object| object.name).collect();
    for number in 1..=last {
        let name = super::batch_name(number);
        let what = if !listed.contains(&name) {
            format!("batch {number} is missing: {name}")
        } else if number + LAST_BATCHES <= last {
            continue;
        } else if let Err(error) = lake.batch(number) {
            format!("{error:#}")
        } else {
            continue;
        };
        wrong.push(Wrong { what, can_be_mended: false });
    }
    Ok(())
}

/// What is wrong with a table's files, by path.
#[derive(Default)]
struct Bad {
    lost: BTreeMap<String, String>,
    /// Whole, for all we know, but written in a way that we cannot read.
    foreign: BTreeMap<String, String>,
    /// With the identities of rows that stand in another file, or earlier in this one.
    doubled: BTreeMap<String, (String, Vec<bool>)>,
}

fn check_files(lake: &Lake, table: Table, state: &State, bad: &mut Bad) -> anyhow::Result<()> {
    let keys = table.key_columns();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let sizes: HashMap<String, u64> =
        lake.objects.list(table.name())?.into_iter().map(|object| (object.name, object.bytes)).collect();
    // A row's identity tells its day, so that days can be looked at one after the other.
    let mut days: BTreeMap<Option<i32>, Vec<&Add>> = BTreeMap::new();
    state.files.values().for_each(|add| days.entry(files::day(add)).or_default().push(add));
    for adds in days.into_values() {
        let mut met: HashSet<u128> = HashSet::new();
        for add in adds {
            let name = add.object(table);
            let size = sizes.get(&name).copied();
            if size != Some(add.size as u64) {
                let what =
                    size.map_or("is missing".to_owned(), |size| format!("has {size} bytes and not {}", add.size));
                bad.lost.insert(add.path.clone(), format!("{name} {what}"));
                continue;
            }
            let mut is_first = Vec::new();
            let read = files::read(&lake.objects, table, add, Some(&keys), &mut |batch| {
                is_first.extend(table.identities(&batch)?.into_iter().map(|id| met.insert(id)));
                Ok(())
            });
            let rows = is_first.len() as u64;
            if let Err(error) = read {
                let bad = if is_foreign(&error) { &mut bad.foreign } else { &mut bad.lost };
                bad.insert(add.path.clone(), format!("{error:#}"));
            } else if files::row_count(add).is_some_and(|said| said != rows) {
                bad.lost.insert(add.path.clone(), format!("{name} has {rows} rows, and the log says otherwise"));
            } else if let Some(doubled) = Some(is_first.iter().filter(|first| !**first).count()).filter(|n| *n > 0) {
                let what = format!("{name} has {doubled} rows that the table has already");
                bad.doubled.insert(add.path.clone(), (what, is_first));
            }
        }
    }
    Ok(())
}

/// Whether a file cannot be read because it uses what this program was built without, and not for being damaged.
fn is_foreign(error: &anyhow::Error) -> bool {
    // The first cause is our own word, which names the lake, and a lake may be called anything.
    error.chain().skip(1).any(|cause| {
        let text = cause.to_string();
        ["Disabled feature", "NYI", "not yet implemented"].iter().any(|word| text.contains(word))
    })
}

/// Takes what is bad out of a table.
fn take_out(lake: &Lake, table: Table, state: &State, bad: &Bad) -> anyhow::Result<()> {
    let mut actions = Vec::new();
    let mut writer = files::Writer::new(&lake.objects, table, now_ms());
    let paths: Vec<&String> = bad.lost.keys().chain(bad.doubled.keys()).collect();
    for path in &paths {
        let add = state.files.get(*path).context("a file that is in no table")?;
        actions.push(add.removed(now_ms()));
        if let Some((_, is_first)) = bad.doubled.get(*path) {
            let mut row = 0;
            files::read(&lake.objects, table, add, None, &mut |batch| {
                let wanted = BooleanArray::from(is_first[row..row + batch.num_rows()].to_vec());
                row += batch.num_rows();
                writer.add(&filter_record_batch(&batch, &wanted)?)
            })?;
        }
    }
    if actions.is_empty() {
        return Ok(());
    }
    let written = writer.finish()?;
    actions.extend(written.into_iter().map(Add::added));
    loop {
        let now = delta::state(&lake.objects, table)?;
        if !paths.iter().all(|path| now.files.contains_key(*path)) {
            anyhow::bail!("lake {}: {} changed while it was mended; try again", lake.objects, table.name());
        }
        let done = delta::commit(&lake.objects, table, now.head, "REPAIR", None, actions.clone(), now_ms())?;
        if done != Committed::Conflict {
            return Ok(());
        }
    }
}

/// What a merge of small files did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Files that were merged.
    pub merged: usize,
    /// Files that came of them.
    pub into: usize,
    /// Groups of files that somebody else merged meanwhile.
    pub given_up: usize,
    /// Files of the Delta log that were removed, since a checkpoint holds what they say.
    pub log_files: usize,
}

/// Merges the small files of each partition into larger ones, sorted. Readers see the old files or the new. Safe beside
/// ingests, other merges, and Spark's OPTIMIZE: whoever finds that another has merged a file leaves it.
///
/// # Errors
/// When the lake cannot be read or written.
pub fn compact(lake: &Lake, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Compacted> {
    let mut done = Compacted::default();
    lake.finish(&mut Heads::new())?;
    let now = lake.objects.now_ms()?;
    for table in Table::ALL {
        let state = delta::state(&lake.objects, table)?;
        for group in groups(table, &state, now) {
            progress(&format!("{}: {} files", table.name(), group.len()));
            match merge(lake, table, &group)? {
                Some(into) => {
                    done.merged += group.len();
                    done.into += into;
                }
                None => done.given_up += 1,
            }
        }
        done.log_files += delta::clean_log(&lake.objects, table, now)?;
    }
    Ok(done)
}

/// Small files that belong together: of one partition, next to each other in time, as many as make a large one.
fn groups(table: Table, state: &State, now_ms: i64) -> Vec<Vec<Add>> {
    let settled = now_ms / (DAY / 1_000_000) - SETTLED_DAYS;
    let enough = |day: Option<i32>| if day.is_some_and(|day| i64::from(day) < settled) { 2 } else { FEW };
    let mut small: BTreeMap<Option<i32>, Vec<&Add>> = BTreeMap::new();
    for add in state.files.values().filter(|add| add.size < LARGE) {
        small.entry(files::day(add)).or_default().push(add);
    }
    let first = |add: &Add| files::time_column(table).and_then(|time| files::bounds(add, time)).map(|(first, _)| first);
    let mut groups = Vec::new();
    for (_, mut adds) in small.into_iter().filter(|(day, adds)| adds.len() >= enough(*day)) {
        adds.sort_by_cached_key(|add| (first(add), add.path.clone()));
        let (mut group, mut bytes) = (Vec::new(), 0);
        for add in adds {
            if bytes + add.size > MERGED && group.len() > 1 {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += add.size;
            group.push(add.clone());
        }
        groups.extend((group.len() > 1).then_some(group));
    }
    groups
}

/// The columns by which a table's merged files are sorted: what is asked for together lies together.
fn sorted_by(table: Table) -> &'static [&'static str] {
    match table {
        Table::TaskEvents => {
            &["region", "namespace", "job_id", "task_group", "task", "alloc_id", "attempt", "event_at_ns", "ordinal"]
        }
        Table::AllocationHistory => &["region", "namespace", "job_id", "alloc_id", "modified_at_ns"],
        Table::TaskStateHistory => &["region", "namespace", "job_id", "alloc_id", "task", "modified_at_ns"],
        Table::Sightings => &["seen_at_ns", "alloc_id"],
        Table::Snapshots => &["observed_at_ns", "snapshot_id"],
        Table::Nodes => &["node_id", "modify_index"],
    }
}

/// Merges files; how many came of them, or `None` when another took one of them meanwhile.
fn merge(lake: &Lake, table: Table, group: &[Add]) -> anyhow::Result<Option<usize>> {
    let started_ms = now_ms();
    let mut batches: Vec<RecordBatch> = Vec::new();
    for add in group {
        files::read(&lake.objects, table, add, None, &mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
    }
    let all = concat_batches(&table.schema(), &batches)?;
    drop(batches);
    let by: Vec<SortColumn> = sorted_by(table)
        .iter()
        .filter_map(|name| all.column_by_name(name))
        .map(|column| SortColumn { values: column.clone(), options: None })
        .collect();
    let mut writer = files::Writer::new(&lake.objects, table, now_ms());
    writer.add(&take_record_batch(&all, &lexsort_to_indices(&by, None)?)?)?;
    let written = writer.finish()?;
    loop {
        let state = delta::state(&lake.objects, table)?;
        let are_there = group.iter().all(|add| state.files.contains_key(&add.path));
        if !are_there || now_ms() - started_ms > MERGE_MS {
            written.iter().try_for_each(|add| lake.objects.delete(&add.object(table)))?;
            return Ok(None);
        }
        // The same rows in other files: nothing for whoever follows the changes of the table.
        let removes = group.iter().map(|add| add.removed(now_ms()));
        let adds = written.iter().map(|add| Add { data_change: false, ..add.clone() }.added());
        let actions = removes.chain(adds).collect();
        let done = delta::commit(&lake.objects, table, state.head, "OPTIMIZE", None, actions, now_ms())?;
        if done != Committed::Conflict {
            return Ok(Some(written.len()));
        }
    }
}

/// Removes objects that belong to nothing and were written longer ago than `older_than_ms`, by the clock of the place,
/// and gives them; with `dry_run` it only gives them.
///
/// Before anything goes, what is to go is put as a batch. A writer that slept while its files were taken for nobody's
/// finds its number gone, and writes anew.
///
/// # Errors
/// When the lake cannot be read or written.
pub fn vacuum(lake: &Lake, older_than_ms: i64, dry_run: bool) -> anyhow::Result<Vec<Object>> {
    let mut heads = Heads::new();
    loop {
        let now = if dry_run { now_ms() } else { lake.objects.now_ms()? };
        let last =
            if dry_run { delta::head(&lake.objects, Table::Snapshots, None)?.batch } else { lake.finish(&mut heads)? };
        let unneeded = unneeded(lake, now - older_than_ms)?;
        if dry_run || unneeded.is_empty() {
            return Ok(unneeded);
        }
        let removed = unneeded.iter().map(|object| object.name.clone()).collect();
        if lake.put_batch(last + 1, &Batch { removed, ..Batch::new(BTreeMap::new()) })? {
            lake.finish(&mut heads)?;
            unneeded.iter().try_for_each(|object| lake.objects.delete(&object.name))?;
            return Ok(unneeded);
        }
    }
}

fn unneeded(lake: &Lake, before_ms: i64) -> anyhow::Result<Vec<Object>> {
    let mut unneeded = Vec::new();
    // Listed first: what comes to the tables meanwhile was not there, and what goes from them is not yet old.
    let mut listed = BTreeMap::new();
    for table in Table::ALL {
        listed.insert(table, lake.objects.list(table.name())?);
    }
    let in_tables = lake.files()?;
    for (table, objects) in listed {
        let state = delta::state(&lake.objects, table)?;
        let taken_out_lately =
            state.removed.values().filter(|remove| remove.deletion_timestamp.is_none_or(|at| at >= before_ms));
        let needed: BTreeSet<String> = in_tables
            .get(&table)
            .into_iter()
            .flatten()
            .map(|add| add.object(table))
            .chain(taken_out_lately.map(|remove| Add { path: remove.path.clone(), ..Add::default() }.object(table)))
            .collect();
        let log = format!("{}/_", table.name());
        unneeded.extend(objects.into_iter().filter(|object| {
            let is_data = !object.name.starts_with(&log);
            let is_idle = objects::is_unfinished(&object.name) || (is_data && !needed.contains(&object.name));
            is_idle && object.written_ms < before_ms
        }));
    }
    let ours = lake.objects.list("_alloclog")?.into_iter();
    unneeded.extend(ours.filter(|object| {
        let is_idle = objects::is_unfinished(&object.name) || object.name.starts_with("_alloclog/clock/");
        is_idle && object.written_ms < before_ms
    }));
    Ok(unneeded)
}
