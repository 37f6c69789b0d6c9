//! Rows of a run that are not known to be in the lake, stored on disk until their batch number is known.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU64;
use std::path::Path;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;

use super::dedup_cache::{self, DedupCache};
use super::{Lake, data_files, lost_restarts, scan};
use crate::error::{Context, Result};
use crate::merge::Filter;
use crate::presence::ShownAllocations;
use crate::store::{Store, StoreWriter};
use crate::tables::sink::{DocumentEnd, Rows, Sink};
use crate::tables::{Table, snapshots};

/// The tables whose new rows the ledger counts, with the column of the count.
pub(super) const COUNTED: [(Table, &str); 3] = [
    (Table::AllocationHistory, "new_allocations"),
    (Table::TaskStateHistory, "new_task_states"),
    (Table::TaskEvents, "new_task_events"),
];

/// Which documents get a ledger row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// Every document that the ledger does not have.
    All,
    /// All except event-stream documents without new rows. A second writer that follows the same cluster would add
    /// thousands of such documents a day.
    WithoutIdleStreams,
}

/// Collects the rows of a run that are not known to be in the lake.
pub struct NewRows<'s> {
    cache: &'s mut DedupCache,
    now: u32,
    writer: StoreWriter,
    staged: StagedRows,
    selected: Selected<'s>,
}

/// The allocations in the lake that the filter of the run selects.
enum Selected<'s> {
    /// These allocations are not needed.
    None,
    /// Not read yet.
    Unread(&'s Lake, &'s Filter),
    Read(HashSet<Box<str>>),
}

/// The staged rows of a finished run. The rows are on disk; their identities, times and documents are in memory.
pub struct StagedRows {
    pub(super) store: Store,
    pub(super) rows: BTreeMap<Table, Index>,
    /// The version of each staged row of `allocation_history`.
    pub(super) versions: Vec<Version>,
    pub(super) documents: Vec<RunDocument>,
    pub(super) ledger: Ledger,
    pub(super) region: String,
    pub(super) shown: ShownAllocations,
    /// The keys of the pseudonyms in the rows; `None` stands for rows with the original names.
    pub(super) redaction: BTreeSet<Option<NonZeroU64>>,
}

/// The keys of a table's staged rows, in order.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub identities: Vec<u128>,
    /// The time of each row, see [`data_files::time_column`].
    pub times: Vec<Option<i64>>,
    /// The number of the document with the row, from 1; 0 for rows derived from several documents.
    pub documents: Vec<u32>,
}

/// A version of an allocation.
#[derive(Debug)]
pub(super) struct Version {
    /// A hash of the allocation's ID.
    pub allocation: u128,
    /// When the allocation was created, in nanoseconds since the epoch; `None` if unknown.
    pub created: Option<i64>,
}

/// A document of the run.
#[derive(Debug)]
pub(super) struct RunDocument {
    pub identity: u128,
    /// Its ledger row; `None` if the ledger has it.
    pub row: Option<snapshots::SnapshotRow>,
}

impl StagedRows {
    /// Records which allocations the run's documents show, and when. The absences are computed from these facts and
    /// from the lake's rows.
    pub fn with_shown(self, shown: ShownAllocations) -> StagedRows {
        StagedRows { shown, ..self }
    }

    /// Adds the keys of the pseudonyms in the documents, and `None` if there are rows of logs, which have the original
    /// names.
    pub fn with_redaction(mut self, mut keys: BTreeSet<Option<NonZeroU64>>) -> StagedRows {
        if self.rows.get(&Table::LogEvents).is_some_and(|index| !index.identities.is_empty()) {
            keys.insert(None);
        }
        self.redaction = keys;
        self
    }

    /// The identity and the time of each row of a table.
    pub(super) fn keys(&self, table: Table) -> Box<dyn Iterator<Item = (u128, Option<i64>)> + '_> {
        if table == Table::Snapshots {
            let new = self.documents.iter().filter_map(|document| Some((document, document.row.as_ref()?)));
            return Box::new(new.map(|(document, row)| (document.identity, row.observed_at)));
        }
        let index = self.rows.get(&table);
        Box::new(index.into_iter().flat_map(|index| index.identities.iter().copied().zip(index.times.iter().copied())))
    }

    /// The ledger row of the document with this number; `None` if the ledger already has it.
    pub(super) fn new_document(&self, number: u32) -> Option<&snapshots::SnapshotRow> {
        let nth = usize::try_from(number).ok()?.checked_sub(1)?;
        self.documents.get(nth)?.row.as_ref()
    }
}

impl<'s> NewRows<'s> {
    /// Starts collecting rows of this region in a directory.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(cache: &'s mut DedupCache, directory: &Path, ledger: Ledger, region: &str) -> Result<NewRows<'s>> {
        let store = Store::at(directory);
        let writer = store.writer(Table::ALL.into_iter().filter(|table| *table != Table::Snapshots))?;
        let staged = StagedRows {
            store,
            rows: BTreeMap::new(),
            versions: Vec::new(),
            documents: Vec::new(),
            ledger,
            region: region.to_owned(),
            shown: ShownAllocations::default(),
            redaction: BTreeSet::new(),
        };
        Ok(NewRows { cache, now: dedup_cache::this_hour(), writer, staged, selected: Selected::None })
    }

    /// Also keeps log lines about allocations that are in the lake and that this filter selects. These allocations are
    /// read from the lake when [`Sink::is_selected`] is first called.
    #[must_use]
    pub fn with_allocations_of(self, lake: &'s Lake, filter: &'s Filter) -> NewRows<'s> {
        NewRows { selected: Selected::Unread(lake, filter), ..self }
    }

    fn add(&mut self, rows: Rows) -> Result<()> {
        let Rows { table, document, batch, identities } = rows;
        // Absences also depend on the lake's rows, see [`StagedRows::with_shown`].
        if table == Table::Absences {
            return Ok(());
        }
        let is_new: Vec<bool> = identities.iter().map(|id| !self.cache.touch(table, *id, self.now)).collect();
        if table == Table::TaskStateHistory {
            let known = lost_restarts::counters(&batch)?.into_iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
            known.filter_map(|(counter, _)| counter).for_each(|(task, n)| self.cache.count(task, n, self.now));
        }
        if table == Table::AllocationHistory {
            let known = lost_restarts::allocations(&batch)?.into_iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
            known.for_each(|(allocation, _)| self.cache.touch_allocation(allocation, self.now));
        }
        let staged = filter_rows(&batch, &is_new)?;
        if table == Table::AllocationHistory {
            let created = staged.column_by_name("created_at_ns").context("versions without created_at_ns")?;
            let created = created.as_primitive::<Int64Type>().iter();
            let versions = lost_restarts::allocations(&staged)?.into_iter().zip(created);
            self.staged.versions.extend(versions.map(|(allocation, created)| Version { allocation, created }));
        }
        let index = self.staged.rows.entry(table).or_default();
        index.identities.extend(identities.into_iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(id, _)| id));
        index.times.extend(data_files::times(table, &staged));
        let document = document.and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
        index.documents.resize(index.identities.len(), document);
        self.writer.add(table, staged)
    }

    /// Ends collecting.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn finish(self) -> Result<StagedRows> {
        self.writer.finish()?;
        Ok(self.staged)
    }
}

impl Sink for NewRows<'_> {
    fn rows(&mut self, rows: Rows) -> Result<()> {
        self.add(rows)
    }

    fn end_document(&mut self, end: DocumentEnd) -> Result<()> {
        let is_known = self.cache.touch(Table::Snapshots, end.identity, self.now);
        self.staged.documents.push(RunDocument { identity: end.identity, row: (!is_known).then_some(end.row) });
        Ok(())
    }

    fn is_selected(&mut self, alloc_id: &str) -> Result<bool> {
        if let Selected::Unread(lake, filter) = self.selected {
            self.selected = Selected::Read(scan::selected_allocations(lake, filter)?);
        }
        Ok(matches!(&self.selected, Selected::Read(selected) if selected.contains(alloc_id)))
    }
}

/// The wanted rows of a batch.
pub(super) fn filter_rows(batch: &RecordBatch, wanted: &[bool]) -> Result<RecordBatch> {
    if wanted.iter().all(|wanted| *wanted) {
        return Ok(batch.clone());
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(wanted.to_vec()))?)
}
