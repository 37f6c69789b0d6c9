//! One ingest: commits the rows of the sources that the lake does not have, as one batch.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use tempfile::TempDir;

use super::lost::{self, Counter, Lost, Restarts};
use super::objects::Objects;
use super::seen::{self, Seen};
use super::{Batch, Lake, delta, files, labels};
use crate::presence::{self, Shown};
use crate::store::{Store, Writer, parquet};
use crate::tables::{Shape, Table, identity};
use crate::time::{self, HOUR};

/// Upper limit of document numbers in a batch: `snapshot_id` is the batch number times this, plus the document number.
pub const DOCUMENTS: i64 = 1_000_000;
/// How many copies of the cache stay in the lake.
const COPIES: usize = 2;
/// Prefix of temporary files next to the cache; a killed process leaves them behind.
const LEFTOVER: &str = ".ingest-";
/// Age after which temporary files are removed: one day.
const LEFT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Directory of the copies of the cache.
const COPIES_BELOW: &str = "_alloclog/seen";

/// Context of every error before a batch is created.
const NOTHING_COMMITTED: &str = "nothing was committed";

/// The tables whose new rows the ledger counts, with the column of the count.
const COUNTED: [(Table, &str); 3] = [
    (Table::AllocationHistory, "new_allocations"),
    (Table::TaskStateHistory, "new_task_states"),
    (Table::TaskEvents, "new_task_events"),
];

/// The result of an ingest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// Its batch; `None` if nothing was new.
    pub batch: Option<u64>,
    /// New rows by table name.
    pub rows: BTreeMap<&'static str, u64>,
    /// Restarts it revealed without delivering their events.
    pub lost: Lost,
}

/// Collects the rows of a run that are not known to be in the lake.
pub struct Fresh<'s> {
    seen: &'s mut Seen,
    now: u32,
    store: Store,
    writer: Writer,
    delivered: BTreeMap<Table, u64>,
    documents: Vec<Document>,
    ledger: Ledger,
}

/// Which documents get a ledger row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// Every document that the ledger does not have.
    All,
    /// All except event-stream documents without new rows; a second writer that follows the same cluster has thousands
    /// of them a day.
    WithoutIdleStreams,
}

/// One document of the run.
#[derive(Debug, Clone)]
struct Document {
    /// True if the ledger did not have it.
    is_new: bool,
    /// How many rows of each of [`COUNTED`] were kept when it ended.
    until: [u64; 3],
}

/// The staged rows of a finished run, stored until its batch number is known.
pub struct Kept {
    pub(super) store: Store,
    documents: Vec<Document>,
    ledger: Ledger,
    region: String,
    shown: Shown,
}

impl Kept {
    /// Adds which allocations of a region the run's documents show, and when: together with the lake's rows that
    /// determines absences.
    pub fn with_shown(self, region: &str, shown: Shown) -> Kept {
        Kept { region: region.to_owned(), shown, ..self }
    }
}

impl<'s> Fresh<'s> {
    /// Starts collecting, with a directory for staged rows.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(seen: &'s mut Seen, directory: &Path, ledger: Ledger) -> anyhow::Result<Fresh<'s>> {
        let store = Store::at(directory);
        let writer = store.writer(Table::ALL)?;
        let now = seen::this_hour();
        Ok(Fresh { seen, now, store, writer, delivered: BTreeMap::new(), documents: Vec::new(), ledger })
    }

    /// Takes rows in order of arrival, a document's ledger row after its other rows.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn add(&mut self, table: Table, batch: RecordBatch) -> anyhow::Result<()> {
        // Absences also depend on the lake's rows, see [`Kept::with_shown`].
        if table == Table::Absences {
            return Ok(());
        }
        let ids = table.identities(&batch)?;
        let is_new: Vec<bool> = ids.iter().map(|id| !self.seen.meet(table, *id, self.now)).collect();
        if table == Table::TaskStateHistory {
            let known = lost::counters(&batch)?.into_iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
            known.filter_map(|(counter, _)| counter).for_each(|(task, n)| self.seen.count(task, n, self.now));
        }
        if table == Table::AllocationHistory {
            let known = labels::allocations(&batch)?.into_iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
            known.for_each(|(allocation, _)| self.seen.meet_allocation(allocation, self.now));
        }
        let kept = keep(&batch, &is_new)?;
        *self.delivered.entry(table).or_default() += kept.num_rows() as u64;
        if table == Table::Snapshots {
            let until = COUNTED.map(|(table, _)| self.delivered.get(&table).copied().unwrap_or_default());
            self.documents.extend(is_new.iter().map(|is_new| Document { is_new: *is_new, until }));
        }
        self.writer.add(table, kept)
    }

    /// Ends collecting.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn finish(self) -> anyhow::Result<Kept> {
        self.writer.finish()?;
        Ok(Kept {
            store: self.store,
            documents: self.documents,
            ledger: self.ledger,
            region: String::new(),
            shown: Shown::default(),
        })
    }
}

fn keep(batch: &RecordBatch, wanted: &[bool]) -> anyhow::Result<RecordBatch> {
    if wanted.iter().all(|wanted| *wanted) {
        return Ok(batch.clone());
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(wanted.to_vec()))?)
}

/// Commits new rows to the lake and adds them to the cache. Returns once they are in every table.
///
/// # Errors
/// When the lake cannot be read or written. The error says whether nothing was committed, the batch may have been
/// committed, or it was. Running the ingest again is safe in every case.
pub fn commit(lake: &Lake, seen: &mut Seen, kept: &Kept) -> anyhow::Result<Added> {
    begin(lake, seen, kept).context(NOTHING_COMMITTED)?;
    loop {
        labels::check(lake, seen, kept).context(NOTHING_COMMITTED)?;
        let number = seen.about.batch + 1;
        let mut presence = seen.presence.clone();
        let facts = presence.add(&kept.region, &kept.shown, false);
        let facts = presence::batches(&kept.region, &facts)?;
        look_up(lake, seen, |table| Ok(of_table(&facts, table))).context(NOTHING_COMMITTED)?;
        let (tables, mut added, new, restarts) = write(lake, seen, kept, &facts, number).context(NOTHING_COMMITTED)?;
        if tables.is_empty() {
            return Ok(added);
        }
        let batch = Batch::new(tables);
        let is_ours = lake.put_batch(number, &batch).with_context(|| {
            format!("batch {number} may have been committed; run this again, no row is added twice")
        })?;
        if is_ours {
            lake.finish(&mut seen.about.heads)
                .with_context(|| format!("batch {number} was committed; the next ingest brings it into every table"))?;
            let now = seen::this_hour();
            new.into_iter().for_each(|(table, id, time)| seen.add(table, id, time, now));
            labels::note(seen, kept, now)?;
            restarts.counters().for_each(|(task, n)| seen.count(task, n, now));
            seen.presence = presence;
            (seen.about.batch, seen.about.batch_id) = (number, batch.id);
            added.batch = Some(number);
            return Ok(added);
        }
        // Another batch has this number: it may hold the same rows, or be a vacuum that removed these files. In both
        // cases no table will reference them.
        for (table, files) in super::ORDER.into_iter().map(|table| (table, batch.files(table))) {
            let delete = |file: &delta::Add| lake.objects.delete(&file.object(table));
            files.iter().try_for_each(delete).context(NOTHING_COMMITTED)?;
        }
        catch_up(lake, seen).context(NOTHING_COMMITTED)?;
    }
}

/// Adds the rows of other writers to the cache, and looks up rows that it does not cover.
fn begin(lake: &Lake, seen: &mut Seen, kept: &Kept) -> anyhow::Result<()> {
    if kept.documents.len() as i64 >= DOCUMENTS {
        bail!("more than {DOCUMENTS} documents at once; ingest them in several runs");
    }
    catch_up(lake, seen)?;
    // Find a damaged table before the batch is created: every committed batch must be applied.
    lake.look_for_gaps(seen.about.batch, &mut seen.about.heads)?;
    // Add columns before the files that have them.
    lake.evolve(&mut seen.about.heads)?;
    look_up(lake, seen, |table| parquet::read(&kept.store.path(table.name())))?;
    labels::look_up(lake, seen, kept)?;
    look_at_hours(lake, seen, kept)
}

type NewRows = Vec<(Table, u128, Option<i64>)>;
type Files = BTreeMap<String, Vec<delta::Add>>;

/// Writes the rows that are not in the lake as files of batch `number`: rows of the run and absences.
fn write(
    lake: &Lake,
    seen: &mut Seen,
    kept: &Kept,
    facts: &[(Table, RecordBatch)],
    number: u64,
) -> anyhow::Result<(Files, Added, NewRows, Restarts)> {
    let now = seen::this_hour();
    let now_ns = time::now();
    let (mut tables, mut added, mut new) = (Files::new(), Added::default(), NewRows::new());
    let mut restarts = Restarts::default();
    let mut counts = vec![[0i64; 3]; kept.documents.len()];
    // The ledger is last: it counts the rows of the others.
    for table in super::ORDER {
        let mut writer = files::Writer::new(&lake.objects, table, super::now_ms());
        let counted = COUNTED.iter().position(|(other, _)| *other == table);
        let (mut row, mut document, mut rows) = (0u64, 0, 0u64);
        let mut ledger_rows = kept.documents.iter().enumerate().filter(|(_, document)| document.is_new);
        // Rows of the run are distinct, but an absence may also be a row of the run.
        let has_facts = facts.iter().any(|(other, _)| *other == table);
        let mut in_batch: HashSet<u128> = HashSet::new();
        for batch in parquet::read(&kept.store.path(table.name()))?.chain(of_table(facts, table)) {
            let batch = batch?;
            let ids = table.identities(&batch)?;
            let times = files::times(table, &batch);
            let mut wanted = Vec::with_capacity(ids.len());
            let mut of_document = Vec::new();
            if table == Table::Snapshots {
                of_document.extend(ledger_rows.by_ref().take(batch.num_rows()).map(|(document, _)| document));
            }
            let is_idle = idle(&batch, kept.ledger, &of_document, &counts)?;
            for ((id, time), is_idle) in ids.into_iter().zip(times).zip(is_idle) {
                let is_new = !is_idle && !seen.meet(table, id, now) && (!has_facts || in_batch.insert(id));
                wanted.push(is_new);
                if let Some(counted) = counted {
                    while kept.documents.get(document).is_some_and(|document| document.until[counted] <= row) {
                        document += 1;
                    }
                    if let Some(counts) = counts.get_mut(document).filter(|_| is_new) {
                        counts[counted] += 1;
                    }
                }
                new.extend(is_new.then_some((table, id, time)));
                row += 1;
            }
            let batch = match table {
                Table::Snapshots => ledger(&batch, &of_document, &counts, number, now_ns)?,
                Table::AllocationHistory | Table::TaskStateHistory => numbered(&batch, &kept.documents, number)?,
                _ => batch,
            };
            let batch = keep(&batch, &wanted)?;
            rows += batch.num_rows() as u64;
            if batch.num_rows() > 0 {
                restarts.add(table, &batch)?;
                writer.add(&batch)?;
            }
        }
        let written = writer.finish()?;
        if !written.is_empty() {
            tables.insert(table.name().to_owned(), written);
        }
        added.rows.insert(table.name(), rows);
    }
    added.lost = restarts.lost(seen);
    Ok((tables, added, new, restarts))
}

/// For each ledger row, true if its document gets none: stream frames without new rows. `of_document` maps ledger rows
/// to documents, and is empty for other tables.
fn idle(batch: &RecordBatch, ledger: Ledger, of_document: &[usize], counts: &[[i64; 3]]) -> anyhow::Result<Vec<bool>> {
    if ledger == Ledger::All || of_document.is_empty() {
        return Ok(vec![false; batch.num_rows()]);
    }
    let shapes = batch.column_by_name("shape").context("a ledger without shape")?.as_string::<i32>();
    let is_stream = shapes.iter().map(|shape| shape == Some(Shape::Stream.name()));
    Ok(is_stream.zip(of_document).map(|(is_stream, document)| is_stream && counts[*document] == [0; 3]).collect())
}

fn snapshot_id(number: u64, document: i64) -> i64 {
    number as i64 * DOCUMENTS + document
}

fn replace(batch: &RecordBatch, name: &str, column: ArrayRef) -> anyhow::Result<RecordBatch> {
    let i = batch.schema().index_of(name)?;
    let mut columns = batch.columns().to_vec();
    columns[i] = column;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// Replaces `snapshot_id` by that of the lake; null for a document that has new rows although the ledger has it.
fn numbered(batch: &RecordBatch, documents: &[Document], number: u64) -> anyhow::Result<RecordBatch> {
    let run = batch.column_by_name("snapshot_id").context("rows without snapshot_id")?.as_primitive::<Int64Type>();
    let of_lake = |id: Option<i64>| {
        let document = usize::try_from(id?.checked_sub(1)?).ok()?;
        documents.get(document)?.is_new.then_some(snapshot_id(number, id?))
    };
    let ids: Int64Array = run.iter().map(of_lake).collect();
    replace(batch, "snapshot_id", Arc::new(ids))
}

/// Ledger rows as stored in the lake; `of_document` maps rows to documents.
fn ledger(
    batch: &RecordBatch,
    of_document: &[usize],
    counts: &[[i64; 3]],
    number: u64,
    now_ns: i64,
) -> anyhow::Result<RecordBatch> {
    let ids: Int64Array = of_document.iter().map(|document| snapshot_id(number, *document as i64 + 1)).collect();
    let mut batch = replace(batch, "snapshot_id", Arc::new(ids))?;
    for (i, (_, column)) in COUNTED.iter().enumerate() {
        let new: Int64Array = of_document.iter().map(|document| counts[*document][i]).collect();
        batch = replace(&batch, column, Arc::new(new))?;
    }
    let rows = batch.num_rows();
    let micros = TimestampMicrosecondArray::from(vec![now_ns / 1_000; rows]).with_timezone("UTC");
    batch = replace(&batch, "ingested_at", Arc::new(micros))?;
    replace(&batch, "ingested_at_ns", Arc::new(Int64Array::from(vec![now_ns; rows])))
}

/// Applies the batches of other writers, and adds their rows to the cache.
fn catch_up(lake: &Lake, seen: &mut Seen) -> anyhow::Result<()> {
    let last = lake.finish(&mut seen.about.heads)?;
    let now = seen::this_hour();
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

/// The batches of one table among those of several.
fn of_table<'b>(
    batches: &'b [(Table, RecordBatch)],
    table: Table,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'b {
    batches.iter().filter(move |(other, _)| *other == table).map(|(_, batch)| Ok(batch.clone()))
}

/// Reads the tables for those rows that the cache does not cover, and adds what is found to the cache.
fn look_up<B>(lake: &Lake, seen: &mut Seen, rows: impl Fn(Table) -> anyhow::Result<B>) -> anyhow::Result<()>
where
    B: Iterator<Item = Result<RecordBatch, ArrowError>>,
{
    let now = seen::this_hour();
    for table in super::ORDER {
        let mut unsure: HashSet<u128> = HashSet::new();
        let (mut first, mut last, mut without_time) = (i64::MAX, i64::MIN, false);
        for batch in rows(table)? {
            let batch = batch?;
            let ids = table.identities(&batch)?;
            for (id, time) in ids.into_iter().zip(files::times(table, &batch)) {
                if seen.would_know(table, time) || seen.meet(table, id, now) {
                    continue;
                }
                unsure.insert(id);
                match time {
                    Some(time) => (first, last) = (first.min(time), last.max(time)),
                    None => without_time = true,
                }
            }
        }
        if unsure.is_empty() {
            continue;
        }
        for file in lake.state(table)?.files.into_values() {
            if !files::may_hold(table, &file, first, last, without_time) {
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
fn look_at_hours(lake: &Lake, seen: &mut Seen, kept: &Kept) -> anyhow::Result<()> {
    let hours = seen.presence.unknown_hours(&kept.shown);
    if !hours.is_empty() {
        for (table, _) in presence::READS {
            for file in lake.state(table)?.files.into_values() {
                let may_hold = |hour: &i64| files::may_hold(table, &file, *hour, *hour + (HOUR - 1), false);
                if hours.iter().any(may_hold) {
                    take_presence(lake, seen, table, &file)?;
                }
            }
        }
    }
    seen.presence.need(&kept.shown, seen::this_hour());
    Ok(())
}

/// Adds when a file's allocations were last shown to the cache.
fn take_presence(lake: &Lake, seen: &mut Seen, table: Table, file: &delta::Add) -> anyhow::Result<()> {
    let Some((_, columns)) = presence::READS.into_iter().find(|(other, _)| *other == table) else { return Ok(()) };
    files::read(&lake.objects, table, file, Some(columns), &mut |batch| seen.presence.take(table, &batch))
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
fn each_key(objects: &Objects, table: Table, file: &delta::Add, each: &mut dyn FnMut(Key<'_>)) -> anyhow::Result<()> {
    let is_hashed = files::null_count(file, identity::TEXT_HASH) == Some(0);
    let needed: Vec<&str> = identity::needed_columns(table, is_hashed).chain(files::time_column(table)).collect();
    files::read(objects, table, file, Some(&needed), &mut |batch| {
        let times = files::times(table, &batch);
        let counters = if table == Table::TaskStateHistory { lost::counters(&batch)? } else { Vec::new() };
        let mut counters = counters.into_iter();
        let labels = if table == Table::AllocationHistory { labels::of(&batch)? } else { Vec::new() };
        let mut labels = labels.into_iter();
        for (id, time) in table.identities(&batch)?.into_iter().zip(times) {
            each(Key { id, time, counter: counters.next().flatten(), label: labels.next() });
        }
        Ok(())
    })
}

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
        if !head.is_some_and(|head| delta::is_there(&lake.objects, table, head).unwrap_or(false)) {
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
    let now = seen::this_hour();
    let horizon = |table| (table, now.saturating_sub(seen::remembered_hours(table)));
    let mut seen = Seen::after(super::ORDER.map(horizon));
    for (table, hour) in super::ORDER.map(horizon) {
        // From the hour before the horizon: rows within the horizon's hour are covered too.
        let first = i64::from(hour.saturating_sub(1)) * HOUR;
        for file in lake.state(table)?.files.into_values() {
            if files::may_hold(table, &file, first, i64::MAX, false) {
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
    let now = seen::this_hour();
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
