//! Detects filters and periods that select nothing: a gate on an empty result would never fail.

use anyhow::Context;

use super::input::Args;
use crate::lake::{self, Lake};
use crate::query;
use crate::render;
use crate::store::Store;
use crate::tables::Table;

impl Args {
    /// Returns true if a filter on allocations is given.
    pub fn is_filtered(&self) -> bool {
        let namespace = self.reading.namespace.as_deref().is_some_and(|namespace| namespace != "*");
        namespace || self.job.is_some() || !self.reading.prefix.is_empty()
    }

    /// Returns true if counting allocations decides whether the filters match any.
    pub fn counts_allocations(&self) -> bool {
        self.is_filtered() || (self.reading.region.is_some() && !self.reading.lakes().is_empty())
    }

    /// Why nothing is selected; `None` if something is. The store has `snapshots`, and `allocation_history` if
    /// [`Args::counts_allocations`].
    ///
    /// # Errors
    /// When the store or a lake cannot be read.
    pub fn selects_nothing(&self, store: &Store) -> anyhow::Result<Option<String>> {
        if self.counts_allocations() && rows(store, Table::AllocationHistory)? == 0 && !self.is_in_a_lake()? {
            let flags = [
                self.reading.region.as_ref().map(|region| format!("--region {region}")),
                self.reading.namespace.as_ref().map(|namespace| format!("--namespace {namespace}")),
                self.job.as_ref().map(|job| format!("--job {job}")),
                Some(&self.reading.prefix)
                    .filter(|prefix| !prefix.is_empty())
                    .map(|prefix| format!("--prefix {prefix}")),
            ];
            let flags: Vec<String> = flags.into_iter().flatten().collect();
            return Ok(Some(format!("no allocation of any time matches {}", flags.join(" "))));
        }
        query::observed_nothing(store, self.period())
    }

    /// Returns true if a lake has a matching allocation older than the rows read from it.
    fn is_in_a_lake(&self) -> anyhow::Result<bool> {
        for text in self.reading.lakes() {
            let wanted = lake::read::Wanted {
                region: self.reading.region.clone(),
                filter: self.filter()?,
                span: None,
                since: None,
            };
            let mut found = 0;
            lake::read::rows(&Lake::open(text)?, &[Table::AllocationHistory], &wanted, &mut |_, batch| {
                found += batch.num_rows();
                Ok(())
            })
            .with_context(|| format!("lake {text}"))?;
            if found > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn rows(store: &Store, table: Table) -> anyhow::Result<u64> {
    store.files(table.name())?.iter().map(|path| render::rows(path)).sum()
}
