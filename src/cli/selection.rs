//! Whether filters and a period leave anything to look at: a gate over nothing would always be green.

use anyhow::Context;

use super::input::Args;
use crate::lake::{self, Lake};
use crate::query;
use crate::render;
use crate::store::Store;
use crate::tables::Table;

impl Args {
    /// Whether only some allocations count.
    pub fn is_filtered(&self) -> bool {
        let namespace = self.reading.namespace.as_deref().is_some_and(|namespace| namespace != "*");
        namespace || self.job.is_some() || !self.reading.prefix.is_empty()
    }

    /// Whether the number of allocations tells if the filters match any.
    pub fn counts_allocations(&self) -> bool {
        self.is_filtered() || (self.reading.region.is_some() && !self.reading.lakes().is_empty())
    }

    /// Why nothing is selected; `None` when something is. The store has `snapshots`, and `allocation_history` where
    /// [`Args::counts_allocations`] asks for it.
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

    /// Whether a lake has a matching allocation that is older than what is read of it.
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
