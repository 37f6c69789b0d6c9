//! Receives rows while documents are read: first the rows of a document, then the end of the document.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::snapshots;
use super::{Table, column};
use crate::error;

/// New rows of one table.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The table. A [`Sink`] receives the rows of [`Table::Snapshots`] only through [`Sink::end_document`].
    pub table: Table,
    /// The document that the rows come from: the `snapshot_id` of its ledger row, counted from 1 in order of arrival.
    /// `None` for rows derived from several documents.
    pub document: Option<i64>,
    /// The rows.
    pub batch: RecordBatch,
    /// The identity of each row, see [`Table::identities`].
    pub identities: Vec<u128>,
}

impl Rows {
    /// Computes the identities of rows, such as those of a lake.
    ///
    /// # Errors
    /// When a column of the identity is missing.
    pub fn identified(table: Table, batch: RecordBatch) -> Result<Rows, ArrowError> {
        let identities = table.identities(&batch)?;
        Ok(Rows { table, document: None, batch, identities })
    }

    /// Builds a batch of rows with their identities.
    ///
    /// # Errors
    /// Only because of a bug: if a schema and its columns disagree.
    pub fn of<R>(
        table: Table,
        document: Option<i64>,
        columns: &[column::Column<R>],
        rows: &[R],
    ) -> Result<Rows, ArrowError> {
        let mut buffer = Vec::new();
        let identities = rows.iter().map(|row| column::identity(columns, row, &mut buffer)).collect();
        Ok(Rows { table, document, batch: column::batch(columns, table.schema(), rows.iter())?, identities })
    }
}

/// The end of a document with a ledger row. All rows of the document were delivered before.
#[derive(Debug, Clone)]
pub struct DocumentEnd {
    /// The identity of the ledger row.
    pub identity: u128,
    /// The ledger row.
    pub row: snapshots::SnapshotRow,
}

impl DocumentEnd {
    /// The ledger row as a batch of [`Table::Snapshots`].
    ///
    /// # Errors
    /// Only because of a bug: if the schema and its columns disagree.
    pub fn batch(&self) -> Result<RecordBatch, ArrowError> {
        column::batch(&snapshots::columns(), Table::Snapshots.schema(), [&self.row].into_iter())
    }
}

/// Receives rows in order of arrival, one call at a time.
pub trait Sink: Send {
    /// Adds new rows; the rows of a document come before its end.
    ///
    /// # Errors
    /// When they cannot be written.
    fn rows(&mut self, rows: Rows) -> error::Result<()>;

    /// Ends a document.
    ///
    /// # Errors
    /// When its ledger row cannot be written.
    fn end_document(&mut self, end: DocumentEnd) -> error::Result<()>;

    /// Returns true if a lake has an allocation that the filter selects. The lake is one that is read together with the
    /// documents, or the lake to which the documents are added. Log lines about such an allocation are kept, even if no
    /// document shows it. Called only at the end of a run that reads logs with a filter by job or namespace.
    ///
    /// # Errors
    /// When the lake cannot be read.
    fn is_selected(&mut self, _alloc_id: &str) -> error::Result<bool> {
        Ok(false)
    }
}
