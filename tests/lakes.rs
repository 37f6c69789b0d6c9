//! Tests of lakes within this process. They show whether the parts of the program work together. tests/lake and the
//! directories next to it test kills, other engines and buckets with the whole program.

mod batches;
mod format;
mod known_files;
mod labels;
mod log;
mod memory;

use std::fs;
use std::path::{Path, PathBuf};

use alloclog::intake::{self, Absences, IntakeOptions};
use alloclog::lake::check::{self, Finding, Mend};
use alloclog::lake::ingest::{self, CommitSummary, Ledger, NewRows, StagedRows};
use alloclog::lake::scan::{self, ScanFilter, ScanSummary};
use alloclog::lake::{Lake, dedup_cache::DedupCache};
use alloclog::source::{self, DocumentSource};
use alloclog::tables::Table;

use crate::support;

/// A sample.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

/// Listings of one cluster in chronological order, followed by a document with full allocations and an event stream.
pub fn documents() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(sample("cluster")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.push(sample("snapshot-state.json.zst"));
    all.push(sample("stream.ndjson.zst"));
    all
}

/// The rows of one document that are not in the cache, staged for a commit.
pub fn kept(cache: &mut DedupCache, document: &Path, directory: &Path) -> StagedRows {
    let mut new = NewRows::new(cache, directory, Ledger::All, "").unwrap();
    let inputs = source::list(&[DocumentSource::parse(document.to_str().unwrap())]).unwrap();
    let options = IntakeOptions { absences: Absences::Left, ..IntakeOptions::default() };
    let summary = intake::run(&inputs, &options, &(), &mut new).unwrap();
    new.finish().unwrap().with_shown(summary.shown)
}

/// Ingests one document without a local cache.
pub fn ingested(lake: &Lake, document: &Path) -> CommitSummary {
    let mut cache = ingest::load_cache(lake, None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kept = kept(&mut cache, document, directory.path());
    ingest::commit(lake, &mut cache, &kept).unwrap()
}

/// The rows of each table in a lake as sorted text, without the columns that depend on the order of arrival.
pub fn rows(lake: &Lake, wanted: &ScanFilter) -> (Vec<String>, ScanSummary) {
    let mut lines = Vec::new();
    let found = scan::rows(lake, &Table::ALL, wanted, &mut |table, batch| {
        for mut row in support::json(&batch) {
            row.retain(|name, _| {
                let of_arrival = name.starts_with("new_") || name.starts_with("ingested_at");
                !of_arrival && !["snapshot_id", "source"].contains(&name.as_str())
            });
            lines.push(format!("{} {}", table.name(), serde_json::Value::Object(row)));
        }
        Ok(())
    })
    .unwrap();
    lines.sort();
    (lines, found)
}

/// The findings of a check.
pub fn wrong(lake: &Lake) -> Vec<Finding> {
    check::check(lake, Mend::Nothing, &mut |_| ()).unwrap().wrong
}

/// An empty lake in a temporary directory.
pub fn lake() -> (tempfile::TempDir, Lake) {
    let directory = tempfile::tempdir().unwrap();
    let lake = Lake::open_or_create(directory.path().join("lake").to_str().unwrap()).unwrap();
    (directory, lake)
}
