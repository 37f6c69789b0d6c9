//! A temporary store: a directory with one Parquet file per stored table, and the views computed from them.
//!
//! Batches fill row groups in order of arrival. Row groups are encoded on all cores, but appended in order. So the same
//! rows give the same bytes.

pub mod parquet;
pub mod segmented;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::error::{Context, Error, Kind, Result};
use crate::tables::Table;
use crate::tables::sink::{DocumentEnd, Rows, Sink};
use parquet::RowGroups;

/// Rows in a row group. They are few enough that several row groups fit in the memory of a small machine, and enough
/// that dictionaries and column statistics pay off.
const ROW_GROUP: usize = 64 << 10;

/// A directory of Parquet files, one per table or view.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in an existing directory.
    pub fn at(directory: &Path) -> Store {
        Store { directory: directory.to_owned() }
    }

    /// Creates a store in a subdirectory.
    ///
    /// # Errors
    /// When the directory cannot be created.
    fn within(&self, name: &str) -> Result<Store> {
        let directory = self.directory.join(name);
        fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Store { directory })
    }

    /// The files of a table or view, in order of arrival. A segmented store has several files per table.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn files(&self, name: &str) -> io::Result<Vec<PathBuf>> {
        let parts = segmented::parts(&self.directory)?;
        let stores = parts.into_iter().map(|part| Store { directory: part }).chain([self.clone()]);
        Ok(stores.map(|store| store.path(name)).filter(|path| path.exists()).collect())
    }

    /// The rows of a table or view.
    ///
    /// # Errors
    /// When the store has no such table, or it cannot be read.
    pub fn batches(&self, name: &str) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>> + use<>> {
        let files = self.files(name)?;
        if files.is_empty() {
            return Err(Error::of(Kind::NotFound, format!("the store has no table {name:?}")));
        }
        let readers = files.iter().map(|path| parquet::read(path)).collect::<Result<Vec<_>>>()?;
        Ok(readers.into_iter().flatten())
    }

    /// The path of a table or view.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.parquet"))
    }

    /// Starts writing these stored tables.
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn writer(&self, tables: impl IntoIterator<Item = Table>) -> Result<StoreWriter> {
        let mut open = BTreeMap::new();
        for table in tables {
            let path = self.path(table.name());
            let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            let groups = RowGroups::new(file, table.schema())?;
            open.insert(table, OpenTable { file: Arc::new(groups), groups: 0, rows: 0, batches: Vec::new() });
        }
        let cores = thread::available_parallelism().map_or(2, |n| n.get());
        let (jobs, receive) = sync_channel::<Job>(1);
        let receive = Arc::new(Mutex::new(receive));
        let failed = Arc::new(AtomicBool::new(false));
        let encoders = (0..cores)
            .map(|_| {
                let (receive, failed) = (Arc::clone(&receive), Arc::clone(&failed));
                thread::spawn(move || encode(&receive, &failed))
            })
            .collect();
        Ok(StoreWriter { open, jobs, encoders, failed })
    }
}

/// Writes a store's tables.
#[derive(Debug)]
pub struct StoreWriter {
    open: BTreeMap<Table, OpenTable>,
    jobs: SyncSender<Job>,
    encoders: Vec<JoinHandle<Result<()>>>,
    failed: Arc<AtomicBool>,
}

/// A table whose file is being written, with rows that do not fill a row group yet.
#[derive(Debug)]
struct OpenTable {
    file: Arc<RowGroups>,
    groups: u64,
    rows: usize,
    batches: Vec<RecordBatch>,
}

/// A row group to encode.
#[derive(Debug)]
struct Job {
    file: Arc<RowGroups>,
    number: u64,
    batches: Vec<RecordBatch>,
}

impl OpenTable {
    fn next_job(&mut self) -> Job {
        let job = Job { file: Arc::clone(&self.file), number: self.groups, batches: std::mem::take(&mut self.batches) };
        self.groups += 1;
        self.rows = 0;
        job
    }
}

/// One encoder thread: encodes row groups until the channel is closed.
fn encode(receive: &Mutex<Receiver<Job>>, failed: &AtomicBool) -> Result<()> {
    loop {
        let job = match receive.lock().map(|receive| receive.recv()) {
            Ok(Ok(job)) => job,
            _ => return Ok(()),
        };
        let encoded = job.file.add(job.number, &job.batches);
        if encoded.is_err() {
            failed.store(true, Ordering::Relaxed);
            return encoded;
        }
    }
}

impl StoreWriter {
    /// Adds rows to a table. Rows of a table that this writer does not write are dropped.
    ///
    /// # Errors
    /// When writing has failed; [`StoreWriter::finish`] returns the cause.
    pub fn add(&mut self, table: Table, batch: RecordBatch) -> Result<()> {
        let Some(open) = self.open.get_mut(&table) else { return Ok(()) };
        let mut rest = batch;
        // The row count alone determines the row groups, because batch boundaries must not affect the file.
        while open.rows + rest.num_rows() >= ROW_GROUP {
            let fits = ROW_GROUP - open.rows;
            open.batches.push(rest.slice(0, fits));
            rest = rest.slice(fits, rest.num_rows() - fits);
            if self.failed.load(Ordering::Relaxed) {
                return Err(Error::new("writing has stopped"));
            }
            self.jobs.send(open.next_job()).map_err(|_| Error::new("writing has stopped"))?;
        }
        if rest.num_rows() > 0 {
            open.rows += rest.num_rows();
            open.batches.push(rest);
        }
        Ok(())
    }

    /// Writes the remaining rows, and closes the files.
    ///
    /// # Errors
    /// When anything could not be written, in this call or an earlier one.
    pub fn finish(mut self) -> Result<()> {
        for open in self.open.values_mut().filter(|open| open.rows > 0) {
            // If the channel is closed, an encoder has failed; its error is returned below.
            let _ = self.jobs.send(open.next_job());
        }
        drop(self.jobs);
        for encoder in self.encoders {
            encoder.join().map_err(|_| Error::new("a writer thread panicked; this is a bug in alloclog"))??;
        }
        self.open.into_values().try_for_each(|open| open.file.close())
    }
}

impl Sink for StoreWriter {
    fn rows(&mut self, rows: Rows) -> Result<()> {
        self.add(rows.table, rows.batch)
    }

    fn end_document(&mut self, end: DocumentEnd) -> Result<()> {
        self.add(Table::Snapshots, end.batch()?)
    }
}
