//! Runs the library on documents: reads, stores and queries them.

use std::path::Path;

use alloclog::pipeline::{Pipeline, Sources};
use alloclog::query::{self, GroupBy, Period, Row, VIEWS, View, plan};
use alloclog::store::Store;
use alloclog::tables::Table;
use anyhow::Context;
use tempfile::TempDir;

/// A store with all views computed.
pub struct ViewStore {
    store: Store,
    _directory: TempDir,
}

impl ViewStore {
    /// Reads documents, and computes all views without a period.
    pub fn of(paths: &[&Path]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = Store::at(directory.path());
        let sources = Sources::parse(paths.iter().map(|path| path.to_string_lossy()))?;
        let (tables, views) = (Table::ALL.into(), VIEWS.iter().collect());
        Pipeline { sources, tables, views, ..Pipeline::default() }.run(&store, &())?;
        Ok(Self { store, _directory: directory })
    }

    /// Recomputes some statistics for a period and a grouping.
    pub fn recompute(&self, names: &[&str], period: Period, by: &GroupBy) -> anyhow::Result<()> {
        let named = |view: &&View| view.name == "period" || names.contains(&view.name);
        let plans = VIEWS.iter().filter(named).map(|view| plan::for_view(view, by)).collect::<Result<Vec<_>, _>>()?;
        Ok(query::run(&self.store, &plans, period)?)
    }

    /// The rows of a table or view.
    pub fn rows(&self, name: &str) -> anyhow::Result<Vec<Row>> {
        Ok(query::select(&self.store, &format!("SELECT * FROM {name}"))?)
    }

    /// The newest observation.
    pub fn newest(&self) -> anyhow::Result<i64> {
        let rows = query::select(&self.store, "SELECT MAX(observed_at_ns) AS newest FROM snapshots")?;
        rows[0].int("newest").context("a document")
    }
}
