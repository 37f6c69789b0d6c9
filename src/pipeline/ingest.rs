//! Ingests documents into a lake: commits their new rows as one batch.

use std::path::PathBuf;

use tempfile::TempDir;

use super::Error;
use crate::error;
use crate::intake::{self, Absences, Observer, Summary};
use crate::lake::Lake;
use crate::lake::dedup_cache::{self, DedupCache};
use crate::lake::ingest::{self, CommitSummary, Ledger, NewRows, StagedRows};
use crate::source::{Input, KnownFiles};

/// A lake opened for writing, with its deduplication cache.
pub struct Ingest {
    /// The lake.
    pub lake: Lake,
    seen: DedupCache,
    /// The local cache file; `None` if the user has no directory for it.
    local: Option<PathBuf>,
}

/// Staged rows of documents, not yet in the lake.
pub struct Staged {
    /// Summary of the documents that were read.
    pub summary: Summary,
    rows: StagedRows,
    /// The directory of the rows, removed when this is dropped.
    _directory: TempDir,
}

impl Ingest {
    /// Opens the lake, creates it if it does not exist, and loads its deduplication cache: from a file in `cache`, from
    /// the lake's copy, or from its tables.
    ///
    /// # Errors
    /// When the lake cannot be read or created.
    pub fn open(lake: &str, cache: Option<PathBuf>) -> Result<Ingest, Error> {
        Lake::open_or_create(lake).and_then(|lake| Ingest::load(lake, cache)).map_err(Error::of(Error::Lake))
    }

    /// Like [`Ingest::open`], but does not create a missing lake.
    ///
    /// # Errors
    /// As [`Ingest::open`], and when the lake does not exist.
    pub fn open_again(lake: &str, cache: Option<PathBuf>) -> Result<Ingest, Error> {
        Lake::open_to_write(lake).and_then(|lake| Ingest::load(lake, cache)).map_err(Error::of(Error::Lake))
    }

    fn load(lake: Lake, cache: Option<PathBuf>) -> error::Result<Ingest> {
        let local = cache.map(|directory| directory.join(&lake.id).join("seen.parquet"));
        let seen = ingest::load_cache(&lake, local.as_deref())?;
        Ok(Ingest { lake, seen, local })
    }

    /// Creates a directory for [`Ingest::stage`], next to the cache.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn scratch(&self) -> Result<TempDir, Error> {
        ingest::scratch(self.local.as_deref()).map_err(Error::of(Error::Store))
    }

    /// Reads documents, and stages in `directory` those of their rows that are not known to be in the lake.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn stage(
        &mut self,
        inputs: &[Input],
        options: &intake::IntakeOptions,
        ledger: Ledger,
        directory: TempDir,
        observer: &dyn Observer,
    ) -> Result<Staged, Error> {
        let store = Error::of(Error::Store);
        let region = &options.region;
        let known_files = self.known_files(options, ledger);
        let new = NewRows::new(&mut self.seen, directory.path(), ledger, region).map_err(&store)?;
        let mut new = new.with_allocations_of(&self.lake, &options.filter);
        // Absences also depend on the rows of the lake.
        let options = intake::IntakeOptions { absences: Absences::Left, known_files, ..options.clone() };
        let summary = intake::run(inputs, &options, observer, &mut new);
        let rows = new.finish().map_err(&store)?;
        let mut summary = summary?;
        let rows = rows.with_shown(std::mem::take(&mut summary.shown)).with_redaction(summary.redaction.clone());
        Ok(Staged { summary, rows, _directory: directory })
    }

    /// The input files that need not be read, because the lake has all of their rows. `None` for documents of a live
    /// cluster, because they are new. Also `None` if a filter selects rows, because the rows that a file yields may
    /// then depend on other files.
    fn known_files(&self, options: &intake::IntakeOptions, ledger: Ledger) -> Option<KnownFiles> {
        let context = format!("{} {:?}", env!("CARGO_PKG_VERSION"), options.region);
        let all = || KnownFiles::new(context, self.seen.files().collect());
        (ledger == Ledger::All && !options.filter.is_restrictive()).then(all)
    }

    /// Commits staged rows to the lake.
    ///
    /// # Errors
    /// When the lake cannot be read or written. The error says whether anything was committed.
    pub fn commit(&mut self, staged: &Staged) -> Result<CommitSummary, Error> {
        let added = ingest::commit(&self.lake, &mut self.seen, &staged.rows).map_err(Error::of(Error::Lake))?;
        let now = dedup_cache::this_hour();
        staged.summary.known_files.iter().for_each(|key| self.seen.touch_file(*key, now));
        staged.summary.read_files.iter().for_each(|file| self.seen.add_file(file.key, file.hours.clone()));
        Ok(added)
    }

    /// Saves the cache for the next ingest; returns a warning if that fails.
    pub fn save_cache(&mut self) -> Option<String> {
        ingest::save_cache(&self.lake, &mut self.seen, self.local.as_deref())
    }
}
