//! The format of a lake, and the upgrade from an older one.
//!
//! The upgrade is a batch. A program of format 1 cannot parse it, so a running writer of format 1 stops at the number
//! of this batch. Applying the batch adds missing columns to every table, creates the tables that the format adds, and
//! sets the format property of each table, so that older programs refuse the table. `lake.json` is updated last. So if
//! `lake.json` has the new format, every table has it. If the upgrade is killed at any point, the next writer continues
//! it. docs/design.md lists which changes need a new format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::delta_log::{self, Committed, NewVersion, TableHead};
pub use super::layout::{FORMAT, since};
use super::{Batch, LAKE, Lake, LakeFile, TableHeads, now_ms};
use crate::error::{Error, Kind, Result};

/// The object of a batch that upgrades a lake: a wrapped batch.
///
/// A program of format 2 or later refuses it if `needs_format` is newer than the program's format. A program of format
/// 1 reads it as a batch whose `written_ms` is a text instead of a number. The error of that program quotes the text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upgrade {
    /// The format of the lake from this batch on.
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

/// The bytes of the object of a batch.
///
/// # Errors
/// When the batch cannot be written as JSON.
pub(super) fn batch_bytes(batch: Batch) -> serde_json::Result<Vec<u8>> {
    if batch.upgrades_to.is_some() { serde_json::to_vec(&Upgrade::new(batch)) } else { serde_json::to_vec(&batch) }
}

/// Refuses a batch object that needs a newer format.
///
/// # Errors
/// When the batch needs a newer format.
pub(super) fn refuse_newer(bytes: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Needs {
        needs_format: u32,
    }
    match serde_json::from_slice::<Needs>(bytes) {
        Ok(Needs { needs_format }) if needs_format > FORMAT => {
            let problem = format!(
                "the lake has format {needs_format} from this batch on; this alloclog supports formats up to {FORMAT}: use a newer one"
            );
            Err(Error::of(Kind::Unsupported, problem))
        }
        _ => Ok(()),
    }
}

impl Lake {
    /// Upgrades a lake of an older format. May run concurrently, and may be killed at any time.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn upgrade(&self) -> Result<()> {
        if self.about.format >= FORMAT {
            return Ok(());
        }
        let mut heads = TableHeads::new();
        loop {
            // This also applies an upgrade batch of another writer.
            let last = self.finish(&mut heads)?;
            self.look_for_gaps(last, &mut heads)?;
            if self.is_upgraded()? {
                break;
            }
            self.put_batch(last + 1, &Batch { upgrades_to: Some(FORMAT), ..Batch::new(BTreeMap::new()) })?;
        }
        self.storage.put(LAKE, LakeFile { format: FORMAT, ..self.about.clone() }.bytes()?)
    }

    fn is_upgraded(&self) -> Result<bool> {
        for table in super::ORDER {
            if self.state(table)?.format() < FORMAT {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prepares a change of files: applies pending batches, looks for gaps in the logs, and adds missing columns.
    /// Returns the number of the last batch.
    ///
    /// # Errors
    /// As [`Lake::finish`], [`Lake::look_for_gaps`] and [`Lake::evolve`].
    pub fn prepare(&self) -> Result<u64> {
        let mut heads = TableHeads::new();
        let last = self.finish(&mut heads)?;
        self.look_for_gaps(last, &mut heads)?;
        self.evolve(&mut heads)?;
        Ok(last)
    }

    /// Adds to the tables the columns of this program that they lack, so that other engines see these columns.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn evolve(&self, heads: &mut TableHeads) -> Result<()> {
        for table in super::ORDER {
            while self.head(table, heads)?.columns != delta_log::fingerprint(table) {
                let state = self.state(table)?;
                let mut head = TableHead { columns: delta_log::fingerprint(table), ..state.head };
                if let Some(action) = state.evolve(table) {
                    let new = NewVersion { head, operation: "ADD COLUMNS", batch: None, actions: vec![action] };
                    let done = delta_log::commit(&self.storage, table, new, now_ms())?;
                    let Committed::Done(done) = done else { continue };
                    head = done;
                }
                heads.insert(table.name().to_owned(), head);
            }
        }
        Ok(())
    }
}
