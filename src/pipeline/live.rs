//! The refresh loop of `report --watch`. It shows the rows so far while more rows arrive, at a limited rate, and only
//! between documents.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::Error;
use crate::error;
use crate::redact::Redactor;
use crate::store::segmented::SegmentedWriter;
use crate::tables::Table;
use crate::tables::sink::{DocumentEnd, Rows, Sink};

/// Growing tables, shared by the thread that reads documents and the thread that shows the tables.
pub struct LiveTables {
    state: Mutex<LiveState>,
    changed: Condvar,
    /// Replaces names by pseudonyms in the rows that are written to the store.
    redactor: Option<Arc<Redactor>>,
}

struct LiveState {
    rows: SegmentedWriter,
    documents: u64,
    /// True while a document is being added.
    is_within: bool,
    /// True if a document was added since the last refresh.
    is_new: bool,
    /// True if adding or showing has ended.
    is_over: bool,
}

impl LiveTables {
    pub fn new(rows: SegmentedWriter, redactor: Option<Arc<Redactor>>) -> LiveTables {
        let state = LiveState { rows, documents: 0, is_within: false, is_new: false, is_over: false };
        LiveTables { state: Mutex::new(state), changed: Condvar::new(), redactor }
    }

    /// Adds rows; `is_end` is true for the last rows of a document.
    fn add(&self, table: Table, batch: RecordBatch, is_end: bool) -> error::Result<()> {
        let batch = match &self.redactor {
            Some(redactor) => redactor.rows(table, &batch)?,
            None => batch,
        };
        let mut state = self.state();
        if state.is_over {
            return Err(error::Error::new("the refresh loop has ended"));
        }
        state.rows.add(table, batch)?;
        state.is_within = !is_end;
        if is_end {
            state.documents += 1;
            state.is_new = true;
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Refresh loop: calls `show` with the number of documents after a document ends, at most once per `min_interval`,
    /// until [`LiveTables::end`].
    ///
    /// # Errors
    /// When the rows cannot be written, or `show` fails.
    pub fn refresh(&self, min_interval: Duration, show: &mut dyn FnMut(u64) -> Result<(), Error>) -> Result<(), Error> {
        let mut shown_at: Option<Instant> = None;
        while let Some(documents) = self.wait(shown_at.map(|at| at + min_interval)) {
            // No rows may be added while `show` reads the store, so the lock is held until it returns.
            let mut state = self.state();
            let result = state.rows.seal().map_err(Error::of(Error::Store)).and_then(|()| show(documents));
            drop(state);
            if result.is_err() {
                self.end();
                return result;
            }
            shown_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Waits for a new document, but not before `not_before`. Returns the number of documents, or `None` at the end.
    fn wait(&self, not_before: Option<Instant>) -> Option<u64> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            let left = not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            if state.is_new && !state.is_within && left.is_zero() {
                state.is_new = false;
                return Some(state.documents);
            }
            state = if state.is_new && !left.is_zero() {
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Ends the refresh loop.
    pub fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }

    /// Makes all rows readable.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(self) -> error::Result<()> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).rows.seal()
    }

    fn state(&self) -> MutexGuard<'_, LiveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for &LiveTables {
    fn rows(&mut self, rows: Rows) -> error::Result<()> {
        self.add(rows.table, rows.batch, false)
    }

    fn end_document(&mut self, end: DocumentEnd) -> error::Result<()> {
        self.add(Table::Snapshots, end.batch()?, true)
    }
}
