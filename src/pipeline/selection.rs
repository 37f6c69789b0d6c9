//! Detects when the filter and the period select nothing. Without this check, a `--fail-if` condition on the empty
//! result would always pass.

use super::{Error, Pipeline};
use crate::error::{self, Context};
use crate::lake::{self, Lake};
use crate::query;
use crate::render;
use crate::store::Store;
use crate::tables::Table;

/// Why nothing is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nothing {
    /// No allocation of any time matches the filter, or no allocation in a lake has the region.
    NoMatch,
    /// No observation is in the period; the text says why.
    NotObserved(String),
}

impl Pipeline {
    /// The rows of a lake to read.
    pub(super) fn selection(&self, span: Option<i64>) -> lake::scan::ScanFilter {
        let since = span.and(self.lake_since.or(self.period.since));
        lake::scan::ScanFilter { region: self.lake_region.clone(), filter: self.filter.clone(), span, since }
    }

    /// Returns true if allocations must be counted to decide whether the filter matches any.
    pub(super) fn counts_allocations(&self) -> bool {
        self.filter.is_restrictive() || (self.lake_region.is_some() && !self.sources.lakes().is_empty())
    }

    /// Returns why nothing is selected; `None` if something is selected. The store must have `snapshots` and, if
    /// [`Pipeline::counts_allocations`] returns true, `allocation_history`.
    pub(super) fn selects_nothing(&self, store: &Store, lakes: &[Lake]) -> Result<Option<Nothing>, Error> {
        let is_empty = || Ok::<_, error::Error>(rows(store, Table::AllocationHistory)? == 0);
        if self.counts_allocations()
            && is_empty().map_err(Error::of(Error::Store))?
            && !self.is_in_a_lake(lakes).map_err(Error::of(Error::Lake))?
        {
            return Ok(Some(Nothing::NoMatch));
        }
        let why = query::observed_nothing(store, self.period).map_err(Error::of(Error::Query))?;
        Ok(why.map(Nothing::NotObserved))
    }

    /// Returns true if a lake has a matching allocation older than the rows read from it.
    fn is_in_a_lake(&self, lakes: &[Lake]) -> error::Result<bool> {
        for lake in lakes {
            let mut found = 0;
            lake::scan::rows(lake, &[Table::AllocationHistory], &self.selection(None), &mut |_, batch| {
                found += batch.num_rows();
                Ok(())
            })
            .with_context(|| format!("lake {}", lake.storage))?;
            if found > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn rows(store: &Store, table: Table) -> error::Result<u64> {
    store.files(table.name())?.iter().map(|path| render::rows(path)).sum()
}
