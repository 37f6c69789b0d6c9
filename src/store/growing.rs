//! A store that can be read while it grows: its tables are in parts, each of them whole.
//!
//! Every part is more than twice as large as the one behind it, or they become one, so there are few of them, and a row
//! is written a few times and not once for each part.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow::array::RecordBatch;

use super::{Store, Writer, parquet};
use crate::tables::Table;

/// The beginning of a part's directory; its number follows, with as many digits as any has.
const PART: &str = "part-";

/// Fills a store part by part.
#[derive(Debug)]
pub struct Growing {
    store: Store,
    tables: BTreeSet<Table>,
    /// The parts that are whole, with their rows.
    parts: Vec<(Store, usize)>,
    /// The part that is being written.
    open: Option<(Store, Writer, usize)>,
    /// How many parts there were.
    begun: usize,
}

/// The directories of the parts in a store's directory, in order.
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

impl Growing {
    /// Nothing yet, in a store that has nothing of these tables.
    pub fn new(store: &Store, tables: BTreeSet<Table>) -> Growing {
        Growing { store: store.clone(), tables, parts: Vec::new(), open: None, begun: 0 }
    }

    /// Adds rows to a table; those of a table that is not written are dropped.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, table: Table, batch: RecordBatch) -> anyhow::Result<()> {
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

    /// Makes what was added readable. Nobody may be reading the store.
    ///
    /// # Errors
    /// When it cannot be written, also earlier.
    pub fn seal(&mut self) -> anyhow::Result<()> {
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

    fn begin(&mut self) -> anyhow::Result<(Store, Writer, usize)> {
        self.begun += 1;
        let store = self.store.within(&format!("{PART}{:012}", self.begun))?;
        let writer = store.writer(self.tables.iter().copied())?;
        Ok((store, writer, 0))
    }

    /// Makes one part of the last two.
    fn join(&mut self) -> anyhow::Result<()> {
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
            fs::remove_dir_all(directory).with_context(|| format!("{} cannot be removed", directory.display()))?;
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
            .map(|seen_at| sightings::Row { region: "", alloc_id: "a", namespace: "default", seen_at })
            .collect();
        column::batch(&sightings::columns(), Table::Sightings.schema(), rows.iter()).unwrap()
    }

    #[test]
    fn parts_are_few_and_hold_every_row_once_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        let mut growing = Growing::new(&store, [Table::Sightings].into());
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
