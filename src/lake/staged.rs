//! The rows of a run, less those that are known to be in the lake, put away until it is known which batch they are.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::lost;
use super::seen::{self, Seen};
use crate::presence::Shown;
use crate::store::{Store, Writer};
use crate::tables::Table;

/// The tables whose new rows the ledger counts, with the column of the count.
pub(super) const COUNTED: [(Table, &str); 3] = [
    (Table::AllocationHistory, "new_allocations"),
    (Table::TaskStateHistory, "new_task_states"),
    (Table::TaskEvents, "new_task_events"),
];

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
pub(super) struct Document {
    /// True if the ledger did not have it.
    pub(super) is_new: bool,
    /// How many rows of each of [`COUNTED`] were kept when it ended.
    pub(super) until: [u64; 3],
}

/// The staged rows of a finished run, stored until its batch number is known.
pub struct Kept {
    pub(super) store: Store,
    pub(super) documents: Vec<Document>,
    pub(super) ledger: Ledger,
    pub(super) region: String,
    pub(super) shown: Shown,
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
            let known = lost::allocations(&batch)?.into_iter().zip(&is_new).filter(|(_, is_new)| !**is_new);
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

pub(super) fn keep(batch: &RecordBatch, wanted: &[bool]) -> anyhow::Result<RecordBatch> {
    if wanted.iter().all(|wanted| *wanted) {
        return Ok(batch.clone());
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(wanted.to_vec()))?)
}
