//! The format of a lake, and how a lake of an older format is upgraded.
//!
//! The upgrade is a batch. A program of format 1 cannot parse it, so a writer that runs already stops at its number.
//! Entering it evolves the schema of every table, creates the tables that the format adds, and marks each table, so that
//! older programs refuse it. `lake.json` is last: once it names a format, every table has it. Killed anywhere, the next
//! writer goes on. docs/design.md says which change needs a new format.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::delta::{self, Committed, Head};
use super::{About, Batch, Heads, LAKE, Lake, now_ms};
use crate::tables::Table;

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 2;

/// The format that a table came with. A lake of an older one has no such table until it is upgraded.
pub fn since(table: Table) -> u32 {
    match table {
        Table::TaskEvents
        | Table::AllocationHistory
        | Table::TaskStateHistory
        | Table::Sightings
        | Table::Nodes
        | Table::Snapshots => 1,
        Table::Absences => 2,
    }
}

/// The object of a batch that moves a lake to a new format: the batch, wrapped.
///
/// Programs from format 2 on refuse it by `needs_format`. A program of format 1 takes it for a batch whose `written_ms` is
/// no number, and quotes that text when it stops.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upgrade {
    /// The format that the lake has from this batch on.
    pub needs_format: u32,
    written_ms: String,
    /// The batch itself.
    pub batch: Batch,
}

impl Upgrade {
    pub fn new(batch: Batch) -> Upgrade {
        let written_ms = format!("the lake now has format {FORMAT}: use a newer alloclog");
        Upgrade { needs_format: FORMAT, written_ms, batch }
    }
}

/// Refuses the object of a batch that needs a newer format.
///
/// # Errors
/// When it does.
pub(super) fn refuse_newer(bytes: &[u8]) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Needs {
        needs_format: u32,
    }
    match serde_json::from_slice::<Needs>(bytes) {
        Ok(Needs { needs_format }) if needs_format > FORMAT => {
            bail!(
                "the lake has format {needs_format} from here on; this version of alloclog knows {FORMAT}: use a newer one"
            )
        }
        _ => Ok(()),
    }
}

impl Lake {
    /// Upgrades a lake of an older format. Safe when several do so at once, and when any of them is killed.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn upgrade(&self) -> anyhow::Result<()> {
        if self.about.format >= FORMAT {
            return Ok(());
        }
        let mut heads = Heads::new();
        loop {
            // Enters an upgrade that another has put.
            let last = self.finish(&mut heads)?;
            self.look_for_gaps(last, &mut heads)?;
            if self.is_upgraded()? {
                break;
            }
            self.put_batch(last + 1, &Batch { upgrades_to: Some(FORMAT), ..Batch::new(BTreeMap::new()) })?;
        }
        self.objects.put(LAKE, serde_json::to_vec_pretty(&About { format: FORMAT, ..self.about.clone() })?)
    }

    fn is_upgraded(&self) -> anyhow::Result<bool> {
        for table in super::ORDER {
            if self.state(table)?.format() < FORMAT {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the columns of this program that tables lack, so that other engines see them.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn evolve(&self, heads: &mut Heads) -> anyhow::Result<()> {
        for table in super::ORDER {
            while self.head(table, heads)?.columns != delta::fingerprint(table) {
                let state = self.state(table)?;
                let mut head = Head { columns: delta::fingerprint(table), ..state.head };
                if let Some(action) = state.evolve(table) {
                    let done = delta::commit(&self.objects, table, head, "ADD COLUMNS", None, vec![action], now_ms())?;
                    let Committed::Done(done) = done else { continue };
                    head = done;
                }
                heads.insert(table.name().to_owned(), head);
            }
        }
        Ok(())
    }
}
