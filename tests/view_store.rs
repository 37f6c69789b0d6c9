//! Runs the library on documents: reads, stores and queries them.

use std::path::Path;
use std::sync::Arc;

use alloclog::pipeline::{Pipeline, Sources};
use alloclog::query::{self, GroupBy, Method, Period, Plan, Row, VIEWS, View, plan};
use alloclog::redact::Redactor;
use alloclog::store::Store;
use alloclog::tables::Table;
use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tempfile::TempDir;

use crate::support;

/// A store with all views computed.
pub struct ViewStore {
    store: Store,
    _directory: TempDir,
}

impl ViewStore {
    /// Reads documents, and computes all views without a period.
    pub fn of(paths: &[&Path]) -> anyhow::Result<Self> {
        Self::read(paths, None)
    }

    /// Like `of`, with pseudonyms instead of names.
    pub fn redacted(paths: &[&Path], key: &[u8]) -> anyhow::Result<Self> {
        Self::read(paths, Some(Arc::new(Redactor::new(key))))
    }

    fn read(paths: &[&Path], redactor: Option<Arc<Redactor>>) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = Store::at(directory.path());
        let sources = Sources::parse(paths.iter().map(|path| path.to_string_lossy()))?;
        let (tables, views) = (Table::ALL.into(), VIEWS.iter().collect());
        Pipeline { sources, tables, views, redactor, ..Pipeline::default() }.run(&store, &())?;
        Ok(Self { store, _directory: directory })
    }

    /// Recomputes some statistics for a period and a grouping.
    pub fn recompute(&self, names: &[&str], period: Period, by: &GroupBy) -> anyhow::Result<()> {
        let named = |view: &&View| view.name == "period" || names.contains(&view.name);
        let plans: Vec<_> = VIEWS.iter().filter(named).map(|view| Plan::new(view, by, true)).collect();
        Ok(query::run(&self.store, &plans, period, Method::default())?)
    }

    /// The rows of a table or view.
    pub fn rows(&self, name: &str) -> anyhow::Result<Vec<Row>> {
        Ok(query::select(&self.store, &format!("SELECT * FROM {name}"))?)
    }

    /// Checks that every view has the same rows if the views with a native twin are computed by their SQL. The rows
    /// must be equal bit by bit and in the same order, both if helper views are results themselves and if they are not.
    pub fn check_twins(&self) -> anyhow::Result<()> {
        for wanted in [VIEWS.iter().collect::<Vec<_>>(), VIEWS.iter().filter(|view| view.is_exported()).collect()] {
            let plans = plan::needed(&wanted, &GroupBy::default());
            let computed = |method| -> anyhow::Result<Vec<Option<RecordBatch>>> {
                query::run(&self.store, &plans, Period::default(), method)?;
                wanted.iter().map(|view| self.batch(view.name)).collect()
            };
            let (native, sql) = (computed(Method::Native)?, computed(Method::Sql)?);
            for ((view, native), sql) in wanted.iter().zip(native).zip(sql) {
                // Batches are equal only if the names and types of their columns are equal.
                if native != sql {
                    let rows = |batch: Option<RecordBatch>| batch.iter().flat_map(support::json).collect::<Vec<_>>();
                    let (native, sql) = (rows(native), rows(sql));
                    let differing: Vec<_> =
                        native.iter().zip(&sql).filter(|(one, other)| one != other).take(2).collect();
                    bail!("{}: {} rows, by SQL {}: {differing:#?}", view.name, native.len(), sql.len());
                }
            }
        }
        Ok(())
    }

    /// All rows of a table or view; `None` if it has no rows.
    fn batch(&self, name: &str) -> anyhow::Result<Option<RecordBatch>> {
        let batches = self.store.batches(name)?.collect::<Result<Vec<_>, _>>()?;
        let batch = batches.first().map(|first| concat_batches(&first.schema(), &batches)).transpose()?;
        Ok(batch)
    }

    /// The newest observation.
    pub fn newest(&self) -> anyhow::Result<i64> {
        let rows = query::select(&self.store, "SELECT MAX(observed_at_ns) AS newest FROM snapshots")?;
        rows[0].int("newest").context("a document")
    }
}
