//! One ingest: commits, as one batch, those rows of the sources that the lake lacks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};

use super::cache::{NOTHING_COMMITTED, catch_up, load_presence, look_up_uncovered};
use super::dedup_cache::{self, DedupCache};
use super::lost_restarts::{IngestLosses, NewRestarts};
use super::staged::{COUNTED, filter_rows};
use super::{Batch, Lake, data_files, delta_log, labels, redaction};
use crate::error::{Context, Result, bail};
use crate::presence;
use crate::store::parquet;
use crate::tables::sink::Rows;
use crate::tables::{Shape, Table, column, snapshots};
use crate::time;

pub use super::cache::{load_cache, save_cache, scratch};
pub use super::staged::{Ledger, NewRows, StagedRows};

/// The document numbers in a batch are below this limit. The `snapshot_id` of a document is the batch number times this
/// limit, plus the document number.
pub const DOCUMENTS: i64 = 1_000_000;
/// Ledger rows written at a time.
const LEDGER_ROWS: usize = 8 << 10;

/// The result of an ingest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitSummary {
    /// Its batch; `None` if nothing was new.
    pub batch: Option<u64>,
    /// New rows by table name.
    pub rows: BTreeMap<&'static str, u64>,
    /// Restarts that the counters of new task states show, but whose events the ingest did not deliver.
    pub lost: IngestLosses,
}

/// Commits new rows to the lake and adds them to the cache. Returns once every table has its new rows.
///
/// # Errors
/// When the lake cannot be read or written. The error says whether the batch was committed, was not committed, or may
/// have been committed. Running the ingest again is safe in every case.
pub fn commit(lake: &Lake, cache: &mut DedupCache, staged: &StagedRows) -> Result<CommitSummary> {
    prepare(lake, cache, staged).context(NOTHING_COMMITTED)?;
    loop {
        labels::check(lake, cache, staged).context(NOTHING_COMMITTED)?;
        redaction::check(lake, cache.header.batch, staged).context(NOTHING_COMMITTED)?;
        let number = cache.header.batch + 1;
        let mut presence = cache.presence.clone();
        let facts = presence.add(&staged.region, &staged.shown);
        let facts = presence::batches(&staged.region, &facts)?;
        look_up_uncovered(lake, cache, |table| keys_of(&facts, table)).context(NOTHING_COMMITTED)?;
        let written = write(lake, cache, staged, &facts, number).context(NOTHING_COMMITTED)?;
        let Written { files, mut added, restarts, new } = written;
        if files.is_empty() {
            return Ok(added);
        }
        let batch = Batch::new(files);
        let is_ours = lake.put_batch(number, &batch).with_context(|| {
            format!("batch {number} may have been committed; run this again, no row is added twice")
        })?;
        if is_ours {
            lake.finish(&mut cache.header.heads)
                .with_context(|| format!("batch {number} was committed; the next ingest applies it to every table"))?;
            let now = dedup_cache::this_hour();
            new.add_to(cache, staged, now);
            labels::note(cache, staged, now);
            restarts.counters().for_each(|(task, n)| cache.count(task, n, now));
            cache.presence = presence;
            (cache.header.batch, cache.header.batch_id) = (number, batch.id);
            added.batch = Some(number);
            return Ok(added);
        }
        // Another batch has this number. It may have the same rows, or it may be a vacuum that removed the files
        // written above. In both cases no table will reference these files.
        for (table, files) in super::ORDER.into_iter().map(|table| (table, batch.files(table))) {
            let delete = |file: &delta_log::Add| lake.storage.delete(&file.object(table));
            files.iter().try_for_each(delete).context(NOTHING_COMMITTED)?;
        }
        catch_up(lake, cache).context(NOTHING_COMMITTED)?;
    }
}

/// Adds the rows of other writers to the cache, and looks up the rows that the cache does not cover.
fn prepare(lake: &Lake, cache: &mut DedupCache, staged: &StagedRows) -> Result<()> {
    if staged.documents.len() as i64 >= DOCUMENTS {
        bail!("more than {DOCUMENTS} documents at once; ingest them in several runs");
    }
    catch_up(lake, cache)?;
    // Find a damaged table before the batch is created, because every committed batch must be applied.
    lake.look_for_gaps(cache.header.batch, &mut cache.header.heads)?;
    // Add columns before the files that have them.
    lake.evolve(&mut cache.header.heads)?;
    look_up_uncovered(lake, cache, |table| staged.keys(table))?;
    labels::look_up(lake, cache, staged)?;
    load_presence(lake, cache, &staged.shown)
}

/// The identity and the time of each row of one table.
fn keys_of(all: &[Rows], table: Table) -> Box<dyn Iterator<Item = (u128, Option<i64>)> + '_> {
    let of_table = all.iter().filter(move |rows| rows.table == table);
    Box::new(of_table.flat_map(|rows| rows.identities.iter().copied().zip(data_files::times(rows.table, &rows.batch))))
}

/// Files of a batch that is not created yet.
struct Written {
    /// By table name.
    files: BTreeMap<String, Vec<delta_log::Add>>,
    added: CommitSummary,
    restarts: NewRestarts,
    new: WrittenRows,
}

/// The rows in the files of a batch.
#[derive(Default)]
struct WrittenRows {
    /// For each staged row of a table, whether it is in the files.
    staged: BTreeMap<Table, Vec<bool>>,
    /// Other rows: those that record presence, and ledger rows.
    others: Vec<(Table, u128, Option<i64>)>,
}

impl WrittenRows {
    fn add_to(&self, cache: &mut DedupCache, staged: &StagedRows, now: u32) {
        for (table, chosen) in &self.staged {
            for ((id, time), _) in staged.keys(*table).zip(chosen).filter(|(_, is_chosen)| **is_chosen) {
                cache.add(*table, id, time, now);
            }
        }
        self.others.iter().for_each(|(table, id, time)| cache.add(*table, *id, *time, now));
    }
}

/// Takes the rows of the run, and the rows that record presence (`facts`). Writes those of them that the lake lacks to
/// files of batch `number`.
fn write(lake: &Lake, cache: &mut DedupCache, staged: &StagedRows, facts: &[Rows], number: u64) -> Result<Written> {
    let now = dedup_cache::this_hour();
    let mut written = Written {
        files: BTreeMap::new(),
        added: CommitSummary::default(),
        restarts: NewRestarts::default(),
        new: WrittenRows::default(),
    };
    let mut counts = vec![[0i64; 3]; staged.documents.len()];
    // The ledger is last, because it counts the rows of the other tables.
    for table in super::ORDER.into_iter().filter(|table| *table != Table::Snapshots) {
        let mut writer = data_files::DataFileWriter::new(&lake.storage, table, super::now_ms());
        let counted = COUNTED.iter().position(|(other, _)| *other == table);
        // The rows of the run are distinct, but a sighting in `facts` may also be a row of the run.
        let has_facts = facts.iter().any(|rows| rows.table == table);
        let mut in_batch: HashSet<u128> = HashSet::new();
        let mut is_new =
            |cache: &mut DedupCache, id: u128| !cache.touch(table, id, now) && (!has_facts || in_batch.insert(id));
        let mut chosen: Vec<bool> = Vec::new();
        let mut rows = 0;
        if let Some(index) = staged.rows.get(&table) {
            for batch in parquet::read(&staged.store.path(table.name()))? {
                let batch = batch?;
                let begin = chosen.len();
                let range = begin..begin + batch.num_rows();
                let documents = index.documents.get(range.clone()).context("staged rows that are in no document")?;
                let identities = index.identities.get(range).context("staged rows without an identity")?;
                chosen.extend(identities.iter().map(|id| is_new(cache, *id)));
                for (document, _) in documents.iter().zip(&chosen[begin..]).filter(|(_, is_chosen)| **is_chosen) {
                    let of_document = (*document as usize).checked_sub(1).and_then(|nth| counts.get_mut(nth));
                    if let (Some(counts), Some(counted)) = (of_document, counted) {
                        counts[counted] += 1;
                    }
                }
                let batch = match table {
                    Table::AllocationHistory | Table::TaskStateHistory => {
                        with_snapshot_ids(&batch, documents, staged, number)?
                    }
                    _ => batch,
                };
                rows += add(&mut writer, &mut written.restarts, table, &filter_rows(&batch, &chosen[begin..])?)?;
            }
            written.new.staged.insert(table, chosen);
        }
        for facts in facts.iter().filter(|rows| rows.table == table) {
            let wanted: Vec<bool> = facts.identities.iter().map(|id| is_new(cache, *id)).collect();
            let times = data_files::times(table, &facts.batch);
            let new = facts.identities.iter().zip(times).zip(&wanted).filter(|(_, is_wanted)| **is_wanted);
            written.new.others.extend(new.map(|((id, time), _)| (table, *id, time)));
            rows += add(&mut writer, &mut written.restarts, table, &filter_rows(&facts.batch, &wanted)?)?;
        }
        finish(&mut written, table, writer, rows)?;
    }
    write_ledger(lake, cache, staged, &counts, number, &mut written)?;
    written.added.lost = written.restarts.lost(cache);
    Ok(written)
}

/// Writes rows, and returns their number.
fn add(
    writer: &mut data_files::DataFileWriter<'_>,
    restarts: &mut NewRestarts,
    table: Table,
    batch: &RecordBatch,
) -> Result<u64> {
    if batch.num_rows() > 0 {
        restarts.add(table, batch)?;
        writer.add(batch)?;
    }
    Ok(batch.num_rows() as u64)
}

fn finish(written: &mut Written, table: Table, writer: data_files::DataFileWriter<'_>, rows: u64) -> Result<()> {
    let files = writer.finish()?;
    if !files.is_empty() {
        written.files.insert(table.name().to_owned(), files);
    }
    written.added.rows.insert(table.name(), rows);
    Ok(())
}

/// Writes the ledger rows. If the ledger skips idle streams, a document of stream frames without new rows gets no row.
fn write_ledger(
    lake: &Lake,
    cache: &mut DedupCache,
    staged: &StagedRows,
    counts: &[[i64; 3]],
    number: u64,
    written: &mut Written,
) -> Result<()> {
    let (now, now_ns) = (dedup_cache::this_hour(), time::now());
    let mut writer = data_files::DataFileWriter::new(&lake.storage, Table::Snapshots, super::now_ms());
    let columns = snapshots::columns();
    let mut rows = Vec::new();
    let mut all = 0;
    let mut write = |rows: &mut Vec<snapshots::SnapshotRow>| -> Result<()> {
        if !rows.is_empty() {
            writer.add(&column::batch(&columns, Table::Snapshots.schema(), rows.iter())?)?;
            all += rows.len() as u64;
            rows.clear();
        }
        Ok(())
    };
    for ((nth, document), counts) in (1i64..).zip(&staged.documents).zip(counts) {
        let Some(row) = &document.row else { continue };
        let is_stream = row.shape == Some(Shape::Stream.name());
        let is_idle = staged.ledger == Ledger::WithoutIdleStreams && is_stream && *counts == [0; 3];
        if is_idle || cache.touch(Table::Snapshots, document.identity, now) {
            continue;
        }
        written.new.others.push((Table::Snapshots, document.identity, row.observed_at));
        rows.push(snapshots::SnapshotRow {
            snapshot_id: snapshot_id(number, nth),
            new_allocations: counts[0],
            new_task_states: counts[1],
            new_task_events: counts[2],
            ingested_at: Some(now_ns),
            ..row.clone()
        });
        if rows.len() >= LEDGER_ROWS {
            write(&mut rows)?;
        }
    }
    write(&mut rows)?;
    finish(written, Table::Snapshots, writer, all)
}

fn snapshot_id(number: u64, document: i64) -> i64 {
    number as i64 * DOCUMENTS + document
}

/// Replaces the `snapshot_id` of the run by the `snapshot_id` that the document has in the lake. If the ledger already
/// has the document, the ID becomes null.
fn with_snapshot_ids(batch: &RecordBatch, documents: &[u32], staged: &StagedRows, number: u64) -> Result<RecordBatch> {
    let of_lake = |document: &u32| staged.new_document(*document).map(|_| snapshot_id(number, (*document).into()));
    let ids: Int64Array = documents.iter().map(of_lake).collect();
    let nth = batch.schema().index_of("snapshot_id")?;
    let mut columns = batch.columns().to_vec();
    columns[nth] = Arc::new(ids);
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}
