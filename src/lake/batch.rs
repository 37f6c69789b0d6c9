//! A batch: the object whose creation commits an ingest, a compaction, a repair, a vacuum or an upgrade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::delta_log::Add;
use super::format::{self, FORMAT, Upgrade, since};
use super::{ORDER, data_files, now_ms, unique};
use crate::error::Result;
use crate::tables::Table;

/// The object name of batch N. A directory has up to a thousand batches.
pub(super) fn batch_name(number: u64) -> String {
    format!("_alloclog/batches/{:09}/{number:012}.json", number / 1_000)
}

/// The new files of one ingest, or the record of a compaction, a repair, a vacuum or an upgrade. A batch is never
/// removed. Only two commands change it: remasking may rewrite it, and a repair replaces it if it is lost or damaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Unique ID; distinguishes the batches of two writers that tried to take the same number.
    pub id: String,
    /// When it was written, by its writer's clock, in milliseconds since the epoch.
    pub written_ms: i64,
    /// The version of alloclog that wrote it.
    pub alloclog_version: String,
    /// The new files of each table, by table name.
    #[serde(default)]
    pub tables: BTreeMap<String, Vec<Add>>,
    /// Unreferenced objects that a vacuum found. It may remove them once this batch exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// True if rows were removed from the tables. A cache from before this batch may then contain rows that the lake
    /// lacks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_lost: bool,
    /// By table name, the files that replace other files in a compaction, a repair or a remasking.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, Vec<Replacement>>,
    /// The format of the lake from this batch on, if this batch upgrades the lake; null otherwise. Applying such a
    /// batch upgrades every table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades_to: Option<u32>,
    /// The hash of the previous batch, see [`data_files::hash`]; null in the first batch, in batches of format 1, and
    /// in the batch that upgrades a lake of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// By table name, the number of the last batch that commits to the table, this batch included. A table without an
    /// entry has had no commit since the upgrade to format 2.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reached: BTreeMap<String, u64>,
    /// Set in a batch that a repair wrote in place of a lost batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Rebuilt>,
}

/// The facts that a repair knows about a lost batch, in addition to the changes that the logs record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// The hash of the lost batch, as `before` of the next batch records it; null if it was the last batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The names of the tables whose logs no longer record the changes of the lost batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Files of a table that replace other files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replacement {
    /// The paths of the replaced files. Unless all of them are in the table, nothing is replaced.
    pub removed: Vec<String>,
    /// The new files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Add>,
    /// How many rows from earlier batches are dropped; null if unknown.
    pub rows_dropped: Option<u64>,
}

impl Batch {
    /// A batch that adds these files.
    pub fn new(tables: BTreeMap<String, Vec<Add>>) -> Batch {
        Batch {
            id: unique(),
            written_ms: now_ms(),
            alloclog_version: env!("CARGO_PKG_VERSION").to_owned(),
            tables,
            removed: Vec::new(),
            rows_lost: false,
            replaced: BTreeMap::new(),
            upgrades_to: None,
            before: None,
            reached: BTreeMap::new(),
            rebuilt: None,
        }
    }

    /// Sets `reached` to `number` for each table that the batch commits to.
    pub(super) fn note_commits(&mut self, number: u64) {
        let commits: Vec<Table> = ORDER.into_iter().filter(|table| self.commits_to(*table)).collect();
        self.reached.extend(commits.into_iter().map(|table| (table.name().to_owned(), number)));
    }

    /// Returns true if the batch records the hash of `last`, the batch before it. In a lake that began with format 1,
    /// the hash chain starts at the first upgrade, because remasking may rewrite the batches before the upgrade.
    pub fn is_chained(&self, last: &Batch) -> bool {
        self.upgrades_to.is_none() || last.before.is_some() || last.upgrades_to.is_some()
    }

    /// The hash of this batch, which the next batch records as `before`. For a rebuilt batch, this is the hash of the
    /// lost batch. `bytes` are the content of this batch's object.
    pub(super) fn hash(&self, bytes: &[u8]) -> String {
        let lost = self.rebuilt.as_ref().and_then(|rebuilt| rebuilt.hash.clone());
        lost.unwrap_or_else(|| data_files::hash(bytes))
    }

    /// Parses a batch.
    ///
    /// # Errors
    /// When the bytes are not a batch, or the batch has an unknown format.
    pub fn parse(bytes: &[u8]) -> Result<Batch> {
        match serde_json::from_slice::<Upgrade>(bytes) {
            Ok(upgrade) if upgrade.needs_format <= FORMAT => Ok(upgrade.batch),
            _ => format::refuse_newer(bytes).and_then(|()| Ok(serde_json::from_slice::<Batch>(bytes)?)),
        }
    }

    /// The files that it adds to a table.
    pub fn files(&self, table: Table) -> &[Add] {
        self.tables.get(table.name()).map_or(&[], Vec::as_slice)
    }

    /// The replacements of files that it makes in a table.
    pub fn replacements(&self, table: Table) -> &[Replacement] {
        self.replaced.get(table.name()).map_or(&[], Vec::as_slice)
    }

    /// Returns true if the batch commits to a table. Every batch commits to the ledger, even if it adds nothing.
    pub fn commits_to(&self, table: Table) -> bool {
        let changes_files = || !self.files(table).is_empty() || !self.replacements(table).is_empty();
        let is_upgraded = self.upgrades_to.is_some_and(|format| since(table) <= format);
        table == Table::Snapshots || is_upgraded || changes_files()
    }
}
