//! One ingest: rows that sources show, less those that the lake has, as one batch.

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

/// A batch's documents are numbered below this: `snapshot_id` is the batch's number times this, plus the document's.
pub const DOCUMENTS: i64 = 1_000_000;
/// How many copies of what has been seen stay in the lake.
const COPIES: usize = 2;
/// How the names of what lies beside the cache for a while begin; whoever is killed leaves it.
const LEFTOVER: &str = ".ingest-";
/// What is older than a day belongs to nobody.
const LEFT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Where copies of what has been seen lie.
const COPIES_BELOW: &str = "_alloclog/seen";

/// Said with every error before the put of a batch.
const NOTHING_COMMITTED: &str = "nothing was committed";

/// The tables whose new rows the ledger counts, with the column that says how many.
const COUNTED: [(Table, &str); 3] = [
    (Table::AllocationHistory, "new_allocations"),
    (Table::TaskStateHistory, "new_task_states"),
    (Table::TaskEvents, "new_task_events"),
];

/// What became of an ingest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// The batch that holds it; `None` when there was nothing new.
    pub batch: Option<u64>,
    /// How many rows came to each table, by its name.
    pub rows: BTreeMap<&'static str, u64>,
    /// Restarts that it showed and whose events it did not bring.
    pub lost: Lost,
}

/// The rows of a run that are not known to be in the lake, as they come in.
pub struct Fresh<'s> {
    seen: &'s mut Seen,
    now: u32,
    store: Store,
    writer: Writer,
    delivered: BTreeMap<Table, u64>,
    documents: Vec<Document>,
    ledger: Ledger,
}

/// Which documents get a row in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// Every one that it does not know.
    All,
    /// Not those of an event stream that bring nothing new, of which a writer that follows a cluster beside another has
    /// thousands a day.
    WithoutIdleStreams,
}

/// One document of the run.
#[derive(Debug, Clone)]
struct Document {
    /// Whether the ledger did not know it.
    is_new: bool,
    /// How many rows of each of [`COUNTED`] had been kept when it ended.
    until: [u64; 3],
}

/// The rows of a run that has ended, put away until it is known which batch they are.
pub struct Kept {
    pub(super) store: Store,
    documents: Vec<Document>,
    ledger: Ledger,
    region: String,
    shown: Shown,
}

impl Kept {
    /// With what the documents of the run show of a region's allocations, and when: the lake's rows tell which absences
    /// follow from it.
    pub fn with_shown(self, region: &str, shown: Shown) -> Kept {
        Kept { region: region.to_owned(), shown, ..self }
    }
}

impl<'s> Fresh<'s> {
    /// Begins, in a directory for what is not written yet.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(seen: &'s mut Seen, directory: &Path, ledger: Ledger) -> anyhow::Result<Fresh<'s>> {
        let store = Store::at(directory);
        let writer = store.writer(Table::ALL)?;
        let now = seen::this_hour();
        Ok(Fresh { seen, now, store, writer, delivered: BTreeMap::new(), documents: Vec::new(), ledger })
    }

    /// Takes rows in order of arrival, a document's row of the ledger after its other rows.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn add(&mut self, table: Table, batch: RecordBatch) -> anyhow::Result<()> {
        // They follow from the rows of the lake, too, see [`Kept::with_shown`].
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

    /// Ends.
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

/// Adds what is new to the lake, and to what has been seen. Ends when it is in every table.
///
/// # Errors
/// When the lake cannot be read or written. Then it has all of it, or nothing, and the error says which: nothing was
/// committed, the batch may have been committed, or it was. Running it again is safe in every case.
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
        // Another batch with this number was read: one that may have brought the same rows, or that of a vacuum, which has
        // removed these files. Either way no table will name them.
        for (table, files) in super::ORDER.into_iter().map(|table| (table, batch.files(table))) {
            let delete = |file: &delta::Add| lake.objects.delete(&file.object(table));
            files.iter().try_for_each(delete).context(NOTHING_COMMITTED)?;
        }
        catch_up(lake, seen).context(NOTHING_COMMITTED)?;
    }
}

/// Takes what others brought into what has been seen, and looks up what that does not tell of.
fn begin(lake: &Lake, seen: &mut Seen, kept: &Kept) -> anyhow::Result<()> {
    if kept.documents.len() as i64 >= DOCUMENTS {
        bail!("more than {DOCUMENTS} documents at once; ingest them in several runs");
    }
    catch_up(lake, seen)?;
    // A table that cannot be added to is found before the batch is put, which would have to be.
    lake.look_for_gaps(seen.about.batch, &mut seen.about.heads)?;
    // Columns are there before the files that have them.
    lake.evolve(&mut seen.about.heads)?;
    look_up(lake, seen, |table| parquet::read(&kept.store.path(table.name())))?;
    labels::look_up(lake, seen, kept)?;
    look_at_hours(lake, seen, kept)
}

type NewRows = Vec<(Table, u128, Option<i64>)>;
type Files = BTreeMap<String, Vec<delta::Add>>;

/// Writes the rows that are not in the lake as files of batch `number`: those of the run, and those that record absences.
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
    // The ledger last: it counts what the others got.
    for table in super::ORDER {
        let mut writer = files::Writer::new(&lake.objects, table, super::now_ms());
        let counted = COUNTED.iter().position(|(other, _)| *other == table);
        let (mut row, mut document, mut rows) = (0u64, 0, 0u64);
        let mut ledger_rows = kept.documents.iter().enumerate().filter(|(_, document)| document.is_new);
        // The rows of the run are distinct; one that records an absence may be a row of the run, too.
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

/// For each row whether it is of a document in the ledger that is to have none there: frames of a stream that bring no
/// row. `of_document` says which document a row of the ledger is, and is empty for other tables.
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

/// Rows whose snapshot_id is that of the lake; null for a document that brought rows though the ledger had it.
fn numbered(batch: &RecordBatch, documents: &[Document], number: u64) -> anyhow::Result<RecordBatch> {
    let run = batch.column_by_name("snapshot_id").context("rows without snapshot_id")?.as_primitive::<Int64Type>();
    let of_lake = |id: Option<i64>| {
        let document = usize::try_from(id?.checked_sub(1)?).ok()?;
        documents.get(document)?.is_new.then_some(snapshot_id(number, id?))
    };
    let ids: Int64Array = run.iter().map(of_lake).collect();
    replace(batch, "snapshot_id", Arc::new(ids))
}

/// Rows of the ledger as they stand in the lake; `of_document` says which document each is.
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

/// Finishes what others began, and takes what they brought into what has been seen.
fn catch_up(lake: &Lake, seen: &mut Seen) -> anyhow::Result<()> {
    let last = lake.finish(&mut seen.about.heads)?;
    let now = seen::this_hour();
    while seen.about.batch < last {
        let number = seen.about.batch + 1;
        let batch = lake.batch(number)?.with_context(|| format!("lake {}: batch {number} is missing", lake.objects))?;
        if batch.rows_lost {
            bail!("lake {} was repaired meanwhile, and rows of it were lost; run this again", lake.objects);
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

/// The batches of a table among those of several.
fn of_table<'b>(
    batches: &'b [(Table, RecordBatch)],
    table: Table,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'b {
    batches.iter().filter(move |(other, _)| *other == table).map(|(_, batch)| Ok(batch.clone()))
}

/// Looks up in the tables those of the rows of each table that the cache cannot tell of, and adds what is found to the
/// cache.
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

/// Reads the rows that tell when allocations were last shown in the hours that a run is about, unless they are known.
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

/// Takes what a file tells of when allocations were last shown into what has been seen.
fn take_presence(lake: &Lake, seen: &mut Seen, table: Table, file: &delta::Add) -> anyhow::Result<()> {
    let Some((_, columns)) = presence::READS.into_iter().find(|(other, _)| *other == table) else { return Ok(()) };
    files::read(&lake.objects, table, file, Some(columns), &mut |batch| seen.presence.take(table, &batch))
}

/// What is remembered of a row of the lake.
struct Key<'r> {
    id: u128,
    /// When it came about, in nanoseconds since the epoch.
    time: Option<i64>,
    /// The counter in a task's state.
    counter: Option<Counter>,
    /// The allocation whose version it is, and its region.
    label: Option<(u128, &'r str)>,
}

/// Takes a row of the lake into what has been seen.
fn take(seen: &mut Seen, table: Table, key: Key<'_>, now: u32) {
    seen.add(table, key.id, key.time, now);
    key.counter.into_iter().for_each(|(task, restarts)| seen.count(task, restarts, now));
    key.label.into_iter().for_each(|(allocation, region)| seen.label(allocation, region, key.time, now));
}

/// What is to be remembered of each row of a file.
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

/// A directory for the rows of a run, beside the cache if there is one. It goes when it is dropped; what runs that were
/// killed have left goes now.
///
/// # Errors
/// When none can be made.
pub fn scratch(local: Option<&Path>) -> anyhow::Result<TempDir> {
    let beside = local.and_then(Path::parent).filter(|directory| fs::create_dir_all(directory).is_ok());
    let directory = beside.map_or_else(std::env::temp_dir, Path::to_owned);
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(LEFTOVER);
        let written = entry.metadata().and_then(|meta| meta.modified());
        let is_old = written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > LEFT_FOR));
        if is_left && is_old {
            // Whoever may not remove it leaves it.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
    let made = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(&directory);
    made.or_else(|_| tempfile::tempdir()).context("no temporary directory can be made")
}

/// What has been seen of a lake: from this machine's file, else from the copy in the lake, else from its tables.
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

/// What a file holds, if it speaks of this lake as it is, and what came since can still be read.
fn valid(lake: &Lake, bytes: Vec<u8>) -> Option<Seen> {
    let mut seen = Seen::from_bytes(bytes).ok()?;
    let is_ours = match seen.about.batch {
        0 => true,
        number => lake.batch(number).ok()?.is_some_and(|batch| batch.id == seen.about.batch_id),
    };
    // Only from a version that is still the same can be counted on.
    for table in Table::ALL {
        let head = seen.about.heads.get(table.name()).copied();
        if !head.is_some_and(|head| delta::is_there(&lake.objects, table, head).unwrap_or(false)) {
            seen.about.heads.remove(table.name());
        }
    }
    (is_ours && catch_up(lake, &mut seen).is_ok()).then_some(seen)
}

/// Reads the rows of the last days from the tables.
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
        // From the hour before the horizon on: what came about within it is known, too.
        let first = i64::from(hour.saturating_sub(1)) * 3_600_000_000_000;
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

/// Keeps what has been seen for the next ingest: on this machine, and hourly in the lake. It is only a cache, so what
/// cannot be kept is no failure; the text says what could not.
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
    copy().err().map(|error| format!("what has been seen could not be kept: {error:#}"))
}
