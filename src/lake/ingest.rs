//! One ingest: commits the rows of the sources that the lake does not have, as one batch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use super::cache::{NOTHING_COMMITTED, catch_up, look_at_hours, look_up};
use super::lost::{Lost, Restarts};
use super::seen::{self, Seen};
use super::staged::{COUNTED, Document, keep};
use super::{Batch, Lake, delta, files, labels};
use crate::presence;
use crate::store::parquet;
use crate::tables::{Shape, Table};
use crate::time;

pub use super::cache::{recall, remember, scratch};
pub use super::staged::{Fresh, Kept, Ledger};

/// Upper limit of document numbers in a batch: `snapshot_id` is the batch number times this, plus the document number.
pub const DOCUMENTS: i64 = 1_000_000;

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

/// The batches of one table among those of several.
fn of_table<'b>(
    batches: &'b [(Table, RecordBatch)],
    table: Table,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'b {
    batches.iter().filter(move |(other, _)| *other == table).map(|(_, batch)| Ok(batch.clone()))
}
