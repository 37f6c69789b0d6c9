//! Documents to a lake: what is new of them, as one batch.

use std::path::PathBuf;

use tempfile::TempDir;

use super::Error;
use crate::intake::{self, Absences, Observer, Summary};
use crate::lake::Lake;
use crate::lake::ingest::{self, Added, Ledger, NewRows, StagedRows};
use crate::lake::seen::Seen;
use crate::source::Input;

/// A lake that is open for writing, with what has been seen of it.
pub struct Ingest {
    /// The lake.
    pub lake: Lake,
    seen: Seen,
    /// The file of what has been seen; `None` where there is no place for it.
    local: Option<PathBuf>,
}

/// What was taken in of documents, and is not yet in the lake.
pub struct Staged {
    /// What was read.
    pub summary: Summary,
    rows: StagedRows,
    /// Where the rows are; it goes when this is dropped.
    _directory: TempDir,
}

impl Ingest {
    /// Opens the lake, makes it if it is not there, and loads what has been seen of it: from a file in `cache`, from the
    /// lake's copy, or from its tables.
    ///
    /// # Errors
    /// When the lake cannot be read or made.
    pub fn open(lake: &str, cache: Option<PathBuf>) -> Result<Ingest, Error> {
        Lake::open_or_create(lake).and_then(|lake| Ingest::load(lake, cache)).map_err(Error::of(Error::Lake))
    }

    /// The same for a lake that is there: a missing one is not made.
    ///
    /// # Errors
    /// As [`Ingest::open`], and when there is no lake.
    pub fn open_again(lake: &str, cache: Option<PathBuf>) -> Result<Ingest, Error> {
        Lake::open_to_write(lake).and_then(|lake| Ingest::load(lake, cache)).map_err(Error::of(Error::Lake))
    }

    fn load(lake: Lake, cache: Option<PathBuf>) -> anyhow::Result<Ingest> {
        let local = cache.map(|directory| directory.join(&lake.id).join("seen.parquet"));
        let seen = ingest::recall(&lake, local.as_deref())?;
        Ok(Ingest { lake, seen, local })
    }

    /// A directory for [`Ingest::stage`], beside the cache.
    ///
    /// # Errors
    /// When none can be made.
    pub fn scratch(&self) -> Result<TempDir, Error> {
        ingest::scratch(self.local.as_deref()).map_err(Error::of(Error::Store))
    }

    /// Takes documents in: their rows that are not known to be in the lake, put away in `directory`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn stage(
        &mut self,
        inputs: &[Input],
        options: &intake::Options,
        ledger: Ledger,
        directory: TempDir,
        observer: &dyn Observer,
    ) -> Result<Staged, Error> {
        let store = Error::of(Error::Store);
        let region = &options.region;
        let mut new = NewRows::new(&mut self.seen, directory.path(), ledger, region).map_err(&store)?;
        // Which absences follow depends on the rows of the lake, too.
        let options = intake::Options { absences: Absences::Left, ..options.clone() };
        let summary = intake::run(inputs, &options, observer, &mut new);
        let rows = new.finish().map_err(&store)?;
        let mut summary = summary?;
        let rows = rows.with_shown(std::mem::take(&mut summary.shown));
        Ok(Staged { summary, rows, _directory: directory })
    }

    /// Adds what was taken in to the lake.
    ///
    /// # Errors
    /// When the lake cannot be read or written. The error says whether anything was committed.
    pub fn commit(&mut self, staged: &Staged) -> Result<Added, Error> {
        ingest::commit(&self.lake, &mut self.seen, &staged.rows).map_err(Error::of(Error::Lake))
    }

    /// Keeps what has been seen for the next ingest; a text says what could not be kept.
    pub fn save_cache(&mut self) -> Option<String> {
        ingest::remember(&self.lake, &mut self.seen, self.local.as_deref())
    }
}
