//! A store that can be read while it grows. Each of its tables consists of complete segments.
//!
//! A segment is merged with the next one unless the earlier segment is more than twice as large as the later one. So
//! there are few segments, and each row is rewritten a logarithmic number of times.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use super::{Store, StoreWriter, parquet};
use crate::error::{Context, Result};
use crate::tables::Table;

/// Prefix of a segment's directory; its zero-padded number follows.
const PART: &str = "part-";

/// Fills a store segment by segment.
#[derive(Debug)]
pub struct SegmentedWriter {
    store: Store,
    tables: BTreeSet<Table>,
    /// The complete segments, each with its number of rows.
    parts: Vec<(Store, usize)>,
    /// The segment that is being written, with its number of rows.
    open: Option<(Store, StoreWriter, usize)>,
    /// How many segments were started.
    begun: usize,
}

/// The segment directories of a store, in order.
pub(super) fn parts(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PART) {
            parts.push(entry.path());
        }
    }
    parts.sort();
    Ok(parts)
}

impl SegmentedWriter {
    /// An empty store for these tables.
    pub fn new(store: &Store, tables: BTreeSet<Table>) -> SegmentedWriter {
        SegmentedWriter { store: store.clone(), tables, parts: Vec::new(), open: None, begun: 0 }
    }

    /// Adds rows to a table; rows of other tables are dropped.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, table: Table, batch: RecordBatch) -> Result<()> {
        if !self.tables.contains(&table) {
            return Ok(());
        }
        let (store, mut writer, rows) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let added = batch.num_rows();
        writer.add(table, batch)?;
        self.open = Some((store, writer, rows + added));
        Ok(())
    }

    /// Makes the added rows readable. Must not be called while the store is read.
    ///
    /// # Errors
    /// When these or earlier rows cannot be written.
    pub fn seal(&mut self) -> Result<()> {
        let (store, writer, rows) = match self.open.take() {
            Some(open) => open,
            None if self.parts.is_empty() => self.begin()?,
            None => return Ok(()),
        };
        writer.finish()?;
        self.parts.push((store, rows));
        while let [.., (_, before), (_, last)] = self.parts.as_slice()
            && *before <= 2 * last
        {
            self.join()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(Store, StoreWriter, usize)> {
        self.begun += 1;
        let store = self.store.within(&format!("{PART}{:012}", self.begun))?;
        let writer = store.writer(self.tables.iter().copied())?;
        Ok((store, writer, 0))
    }

    /// Merges the last two segments.
    fn join(&mut self) -> Result<()> {
        let (joined, mut writer, mut rows) = self.begin()?;
        let old = self.parts.split_off(self.parts.len().saturating_sub(2));
        for (part, part_rows) in &old {
            for table in &self.tables {
                for batch in parquet::read(&part.path(table.name()))? {
                    writer.add(*table, batch?)?;
                }
            }
            rows += part_rows;
        }
        writer.finish()?;
        for (part, _) in &old {
            let directory = &part.directory;
            fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        self.parts.push((joined, rows));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{column, sightings};

    fn batch(moments: std::ops::Range<i64>) -> RecordBatch {
        let rows: Vec<_> = moments
            .map(|seen_at| sightings::SightingRow { region: "", alloc_id: "a", namespace: "default", seen_at })
            .collect();
        column::batch(&sightings::columns(), Table::Sightings.schema(), rows.iter()).unwrap()
    }

    #[test]
    fn parts_are_few_and_contain_every_row_once_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        let mut growing = SegmentedWriter::new(&store, [Table::Sightings].into());
        let mut most = 0;
        growing.seal().unwrap();
        for n in 0..200 {
            growing.add(Table::Sightings, batch(n..n + 1)).unwrap();
            growing.add(Table::Snapshots, batch(n..n + 1)).unwrap();
            growing.seal().unwrap();
            most = most.max(store.files("sightings").unwrap().len());
        }
        assert!(most <= 8, "{most}");
        let files = store.files("sightings").unwrap();
        let read = files.iter().flat_map(|path| parquet::read(path).unwrap()).map(Result::unwrap);
        let batches: Vec<RecordBatch> = read.collect();
        let all = arrow::compute::concat_batches(&Table::Sightings.schema(), &batches).unwrap();
        assert_eq!(all, batch(0..200));
        assert!(store.files("snapshots").unwrap().is_empty());
    }
}
