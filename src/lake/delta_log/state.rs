//! The state of a table at a version: its files, removed files, and metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::{Action, Add, Protocol, Remove, Txn};
use super::table::{CHECK_CONSTRAINTS, FORMAT_PROPERTY, format_of, missing_fields, schema_fields};
use crate::lake::layout::FORMAT;
use crate::tables::Table;

/// How long versions before a checkpoint, and remove actions, are kept: seven days, in milliseconds.
pub const KEPT_MS: i64 = 7 * 24 * 3_600_000;

/// The newest known version of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHead {
    /// The version.
    pub version: i64,
    /// The last batch applied to the table; 0 for none.
    pub batch: u64,
    /// The hash of the commit's bytes; 0 for a version that is known only from a checkpoint. A lake that was restored
    /// to an earlier state may reuse the number of the version, but then the hash differs.
    pub commit: u64,
    /// The [`super::fingerprint`] of the table's columns when they were checked; 0 if columns are missing or were not
    /// checked.
    #[serde(default)]
    pub columns: u64,
}

/// A change of a table's files, in the order of its log.
#[derive(Debug, Clone)]
pub enum FileChange {
    /// All changes so far are void, because the log is read again from another checkpoint.
    Restart,
    /// A file was added.
    Add(Add),
    /// A file was removed.
    Remove(Remove),
}

impl FileChange {
    /// The path of the file; `None` for [`FileChange::Restart`].
    pub fn path(&self) -> Option<&str> {
        match self {
            FileChange::Restart => None,
            FileChange::Add(add) => Some(&add.path),
            FileChange::Remove(remove) => Some(&remove.path),
        }
    }
}

/// The full state of a table at a version.
#[derive(Debug, Clone, Default)]
pub struct TableState {
    /// The version.
    pub head: TableHead,
    /// Its files by path.
    pub files: BTreeMap<String, Add>,
    /// Removed files by path.
    pub removed: BTreeMap<String, Remove>,
    /// The version of the checkpoint that was read; `None` if no checkpoint was read.
    pub checkpoint: Option<i64>,
    pub(super) protocol: Option<Protocol>,
    pub(super) meta_data: Option<Value>,
    pub(super) txns: BTreeMap<String, Txn>,
}

impl TableState {
    /// The state before version 0.
    pub(super) fn empty() -> TableState {
        TableState { head: TableHead { version: -1, ..TableHead::default() }, ..TableState::default() }
    }

    /// Applies an action. Passes a change of the table's files to `files` instead of applying it.
    pub(super) fn apply(&mut self, action: Action, files: &mut dyn FnMut(FileChange)) {
        self.head.batch = action.batch().unwrap_or(self.head.batch);
        if let Some(txn) = action.txn {
            self.txns.insert(txn.app_id.clone(), txn);
        }
        if let Some(add) = action.add {
            files(FileChange::Add(add));
        }
        if let Some(remove) = action.remove {
            files(FileChange::Remove(remove));
        }
        self.protocol = action.protocol.or(self.protocol.take());
        self.meta_data = action.meta_data.or(self.meta_data.take());
    }

    /// Applies a change of the table's files.
    pub fn take(&mut self, change: FileChange) {
        match change {
            FileChange::Restart => {
                self.files.clear();
                self.removed.clear();
            }
            FileChange::Add(add) => {
                self.removed.remove(&add.path);
                self.files.insert(add.path.clone(), add);
            }
            FileChange::Remove(remove) => {
                self.files.remove(&remove.path);
                self.removed.insert(remove.path.clone(), remove);
            }
        }
    }

    /// The lake format of the table.
    pub fn format(&self) -> u32 {
        self.meta_data.as_ref().map_or(1, format_of)
    }

    /// The lake format and the creation time, in milliseconds since the epoch, in the table's metadata; `None` if the
    /// metadata is unknown.
    pub fn definition(&self) -> Option<(u32, Option<i64>)> {
        let meta_data = self.meta_data.as_ref()?;
        Some((format_of(meta_data), meta_data["createdTime"].as_i64()))
    }

    /// The action that adds missing columns of this program to a table; `None` if the table has all of them. The new
    /// columns are null in existing rows.
    pub fn evolve(&self, table: Table) -> Option<Action> {
        let meta_data = self.meta_data.as_ref()?;
        let missing = missing_fields(table, meta_data);
        if missing.is_empty() {
            return None;
        }
        let mut there = schema_fields(meta_data);
        there.extend(missing);
        let mut meta_data = meta_data.clone();
        meta_data["schemaString"] = json!({"type": "struct", "fields": there}).to_string().into();
        Some(Action { meta_data: Some(meta_data), ..Action::default() })
    }

    /// The actions that upgrade a table to the format of this program. They set its columns, its format property and,
    /// if the table has format 1, writer version 3.
    ///
    /// A running program of format 1 refuses writer version 3 when it next reads the log, so it cannot rewrite files
    /// and drop their new columns. Readers are unaffected. For other writers, version 3 only adds constraints, and the
    /// table has none.
    pub fn upgrade(&self, table: Table) -> Vec<Action> {
        if self.format() >= FORMAT {
            return self.evolve(table).into_iter().collect();
        }
        let evolved = self.evolve(table).and_then(|action| action.meta_data);
        let mut meta_data = evolved.or_else(|| self.meta_data.clone()).unwrap_or_default();
        meta_data["configuration"][FORMAT_PROPERTY] = FORMAT.to_string().into();
        let mut protocol = self.protocol.clone().unwrap_or_default();
        match &mut protocol.writer_features {
            Some(features) if !features.iter().any(|feature| feature == CHECK_CONSTRAINTS) => {
                features.push(CHECK_CONSTRAINTS.to_owned());
            }
            None if self.format() == 1 => protocol.min_writer_version = protocol.min_writer_version.max(3),
            // Programs of format 2 and later refuse the table by its format property.
            _ => {}
        }
        vec![
            Action { protocol: Some(protocol), ..Action::default() },
            Action { meta_data: Some(meta_data), ..Action::default() },
        ]
    }

    /// The actions of a checkpoint of this state, without its files.
    pub(super) fn actions(&self) -> impl Iterator<Item = Action> + '_ {
        let protocol = self.protocol.clone().map(|protocol| Action { protocol: Some(protocol), ..Action::default() });
        let meta = self.meta_data.clone().map(|meta| Action { meta_data: Some(meta), ..Action::default() });
        let txns = self.txns.values().map(|txn| Action { txn: Some(txn.clone()), ..Action::default() });
        protocol.into_iter().chain(meta).chain(txns)
    }
}
