//! Runs the library on documents: reads, stores and queries them.

use std::path::Path;

use alloclog::intake::{self, Options, Watch};
use alloclog::query::{self, By, Period, Row, VIEWS, View, plan};
use alloclog::source::{self, Source};
use alloclog::store::Store;
use alloclog::tables::Table;
use anyhow::Context;
use tempfile::TempDir;

/// A store with all views computed.
pub struct Answers {
    store: Store,
    _directory: TempDir,
}

impl Answers {
    /// Reads documents, and computes all views without a period.
    pub fn of(paths: &[&Path]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = Store::at(directory.path());
        let sources: Vec<Source> = paths.iter().map(|path| Source::parse(&path.to_string_lossy())).collect();
        let inputs = source::list(&sources).map_err(anyhow::Error::msg)?;
        let mut writer = store.writer(Table::ALL)?;
        let watch = Watch { read: &|_| {}, note: &|_| {} };
        intake::run(&inputs, &Options::default(), &watch, &mut |table, batch| writer.add(table, batch))?;
        writer.finish()?;
        query::run(&store, &plan::needed(&VIEWS.iter().collect::<Vec<_>>(), &By::default())?, Period::default())?;
        Ok(Self { store, _directory: directory })
    }

    /// Recomputes some statistics for a period and a grouping.
    pub fn again(&self, names: &[&str], period: Period, by: &By) -> anyhow::Result<()> {
        let named = |view: &&View| view.name == "period" || names.contains(&view.name);
        let plans = VIEWS.iter().filter(named).map(|view| plan::of(view, by)).collect::<anyhow::Result<Vec<_>>>()?;
        query::run(&self.store, &plans, period)
    }

    /// The rows of a table or view.
    pub fn rows(&self, name: &str) -> anyhow::Result<Vec<Row>> {
        query::select(&self.store, &format!("SELECT * FROM {name}"))
    }

    /// The newest observation.
    pub fn newest(&self) -> anyhow::Result<i64> {
        let rows = query::select(&self.store, "SELECT MAX(observed_at_ns) AS newest FROM snapshots")?;
        rows[0].int("newest").context("a document")
    }
}
