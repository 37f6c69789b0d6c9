//! Combines the rows of several sources in one store, without duplicates.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::error::{self, Context};
use crate::intake::Absences;
use crate::lake::dedup_cache::DedupCache;
use crate::presence::{self, Presence, ShownAllocations};
use crate::redact::Redactor;
use crate::store::StoreWriter;
use crate::tables::sink::{DocumentEnd, Rows, Sink};
use crate::tables::{Table, column};

/// Writes rows of lakes and documents to a store.
pub struct Combined {
    writer: StoreWriter,
    /// Replaces names by pseudonyms in the rows that are written to the store. All other fields use the original names.
    redactor: Option<Arc<Redactor>>,
    /// The rows so far, because two sources may have the same row. `None` if all rows are from one lake, or all are
    /// from documents: such rows are already distinct.
    seen: Option<DedupCache>,
    /// The times at which allocations were last shown, according to the rows of lakes. The absences in documents that
    /// are read together with a lake depend on these times.
    presence: Option<Presence>,
    /// The allocations in the rows that were read from lakes. The filter selects all of them. `None` if they are not
    /// recorded.
    selected: Option<HashSet<Box<str>>>,
}

impl Combined {
    /// Creates the writer for this number of lakes and inputs.
    pub fn new(writer: StoreWriter, redactor: Option<Arc<Redactor>>, lakes: usize, inputs: usize) -> Combined {
        let seen = (lakes > 0 && lakes + inputs > 1).then(DedupCache::default);
        let presence = (lakes > 0 && inputs > 0).then(Presence::default);
        Combined { writer, redactor, seen, presence, selected: None }
    }

    /// From now on, records the allocations in the rows of lakes, for [`Sink::is_selected`].
    pub fn note_selected(&mut self) {
        self.selected = Some(HashSet::new());
    }

    /// When intake delivers absences. If lakes are read, too, intake delivers none, and [`Combined::finish`] adds them.
    pub fn absences(&self) -> Absences {
        if self.presence.is_some() { Absences::Left } else { Absences::AtTheEnd }
    }

    /// Adds rows of a lake.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add_of_lake(&mut self, table: Table, batch: RecordBatch) -> error::Result<()> {
        self.presence.as_mut().map_or(Ok(()), |presence| presence.add_rows(table, &batch))?;
        if let (Some(selected), Table::AllocationHistory) = (&mut self.selected, table) {
            for id in column::named("alloc_id", &batch)?.as_string::<i32>().iter().flatten() {
                if !selected.contains(id) {
                    selected.insert(id.into());
                }
            }
        }
        match self.seen {
            Some(_) => self.add(Rows::identified(table, batch)?),
            None => self.store(table, batch),
        }
    }

    fn store(&mut self, table: Table, batch: RecordBatch) -> error::Result<()> {
        let batch = match &self.redactor {
            Some(redactor) => redactor.rows(table, &batch)?,
            None => batch,
        };
        self.writer.add(table, batch)
    }

    fn add(&mut self, rows: Rows) -> error::Result<()> {
        let Rows { table, batch, identities, .. } = rows;
        let batch = match &mut self.seen {
            Some(seen) => unseen(seen, table, &batch, &identities)?,
            None => batch,
        };
        self.store(table, batch)
    }

    /// Adds the absences derived from the documents, and closes the tables.
    ///
    /// # Errors
    /// When anything could not be written, in this call or an earlier one.
    pub fn finish(mut self, region: &str, shown: Option<&ShownAllocations>) -> error::Result<()> {
        if let (Some(mut presence), Some(shown)) = (self.presence.take(), shown) {
            let facts = presence.add(region, shown);
            presence::batches(region, &facts)?.into_iter().try_for_each(|rows| self.add(rows))?;
        }
        self.writer.finish().context("cannot write the tables")
    }
}

impl Sink for Combined {
    fn rows(&mut self, rows: Rows) -> error::Result<()> {
        self.add(rows)
    }

    fn end_document(&mut self, end: DocumentEnd) -> error::Result<()> {
        let (table, document) = (Table::Snapshots, Some(end.row.snapshot_id));
        self.add(Rows { table, document, batch: end.batch()?, identities: vec![end.identity] })
    }

    fn is_selected(&mut self, alloc_id: &str) -> error::Result<bool> {
        Ok(self.selected.as_ref().is_some_and(|selected| selected.contains(alloc_id)))
    }
}

/// The rows that no earlier source delivered.
fn unseen(seen: &mut DedupCache, table: Table, batch: &RecordBatch, identities: &[u128]) -> error::Result<RecordBatch> {
    let mut is_new = Vec::with_capacity(identities.len());
    for row in identities {
        is_new.push(!seen.touch(table, *row, 0));
        seen.add(table, *row, None, 0);
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(is_new))?)
}
