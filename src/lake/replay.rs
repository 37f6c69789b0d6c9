//! Replays batches to find the files that a table should have, and the number of rows that the batches added.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::delta_log::{Action, Add};
use super::lean::{Detail, FileDigests, path_key};
use super::{Batch, Replacement, data_files};
use crate::tables::Table;

/// The files of a table by path.
type FilesByPath = BTreeMap<String, Add>;

/// The data kept in memory for a file that a batch added.
#[derive(Debug, Clone)]
pub enum Held {
    /// Nothing: the log has the same entry.
    Same,
    /// Nothing: the log has a different entry for the file, or no entry.
    Differs,
    /// The complete entry of the batch.
    Whole(Box<Add>),
}

/// The log that the batches are compared with while they are read.
#[derive(Clone, Copy)]
pub struct Against<'l> {
    /// The files of the log.
    pub log: &'l FileDigests,
    /// The files to keep in memory, by [`path_key`], and how much of each.
    pub held: (&'l HashSet<u64>, Detail),
}

/// The expected state of a table according to the batches.
#[derive(Debug, Clone, Default)]
pub struct ExpectedTable {
    /// The files that it should have, by [`path_key`], each with the number of the batch that added or changed it.
    pub files: HashMap<u64, (Held, u64)>,
    /// The last batch that commits to it; 0 for none.
    pub batch: u64,
    /// How many rows the batches added, minus the rows that they dropped. Null if one of these numbers is unknown: a
    /// file or a replacement lacks it, a batch says only that rows were lost, or a lost batch was rebuilt without its
    /// changes to the table.
    pub rows: Option<u64>,
    /// True if a batch replaced files that no batch had added. Such files come from a program of format 1 or another
    /// engine that merged files of the table. Also true if a batch was lost and its changes to the table are unknown.
    pub is_mixed: bool,
    /// True if a batch is unreadable or was changed, so that the batches do not determine the files.
    pub is_incomplete: bool,
    /// The [`path_key`] of replaced files.
    gone: HashSet<u64>,
}

impl ExpectedTable {
    /// The state before the first batch.
    pub fn new() -> ExpectedTable {
        ExpectedTable { rows: Some(0), ..ExpectedTable::default() }
    }

    /// Returns true if a batch replaced the file of this path.
    pub fn is_gone(&self, path: &str) -> bool {
        self.gone.contains(&path_key(path))
    }

    /// Returns true if a batch added the file of this key, replaced or not.
    pub fn is_known(&self, key: u64) -> bool {
        self.files.contains_key(&key) || self.gone.contains(&key)
    }

    /// Applies the next batch. If the batch is not in every table yet, it may or may not be in this table. Then neither
    /// the files that it adds nor the files that it replaces are required.
    pub fn apply(
        &mut self,
        table: Table,
        number: u64,
        batch: &Batch,
        is_finished: bool,
        Against { log, held: (wanted, detail) }: Against<'_>,
    ) {
        let held = |add: &Add| match log.agrees(add) {
            true => Held::Same,
            false if wanted.contains(&path_key(&add.path)) => Held::Whole(Box::new(detail.of(add.clone(), table))),
            false => Held::Differs,
        };
        if is_finished && batch.rows_lost && batch.replaced.is_empty() && batch.rebuilt.is_none() {
            self.rows = None;
        }
        let unknown = batch.rebuilt.as_ref().map_or(&[][..], |rebuilt| &rebuilt.unknown);
        if unknown.iter().any(|name| name == table.name()) {
            (self.rows, self.is_mixed) = (None, true);
        }
        if is_finished && batch.commits_to(table) {
            self.batch = number;
        }
        for add in batch.files(table) {
            if is_finished {
                self.rows = self.rows.zip(data_files::row_count(add)).map(|(rows, more)| rows + more);
            }
            self.files.insert(path_key(&add.path), (held(add), number));
        }
        for replacement in batch.replacements(table) {
            // A replacement has no effect if an earlier replacement removed one of the same files.
            if replacement.removed.iter().any(|path| self.is_gone(path)) {
                continue;
            }
            for path in &replacement.removed {
                if is_finished {
                    self.is_mixed |= self.files.remove(&path_key(path)).is_none();
                    self.gone.insert(path_key(path));
                } else if let Some((_, decides)) = self.files.get_mut(&path_key(path)) {
                    *decides = number;
                }
            }
            self.files.extend(replacement.added.iter().map(|add| (path_key(&add.path), (held(add), number))));
            if is_finished {
                self.rows = self.rows.zip(replacement.rows_dropped).map(|(rows, fewer)| rows.saturating_sub(fewer));
            }
        }
    }
}

/// The replacements in a batch that can be applied, because the table has all files that they replace.
fn possible<'b>(batch: &'b Batch, table: Table, there: &FilesByPath) -> Vec<&'b Replacement> {
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    let mut possible = Vec::new();
    for replacement in batch.replacements(table) {
        if replacement.removed.iter().all(|path| there.contains_key(path) && !gone.contains(path.as_str())) {
            gone.extend(replacement.removed.iter().map(String::as_str));
            possible.push(replacement);
        }
    }
    possible
}

/// The Delta actions of a batch on a table that has these files.
pub fn actions(batch: &Batch, table: Table, there: &FilesByPath, now_ms: i64) -> Vec<Action> {
    let mut actions: Vec<Action> = batch.files(table).iter().cloned().map(Add::added).collect();
    for replacement in possible(batch, table, there) {
        actions.extend(replacement.removed.iter().filter_map(|path| there.get(path)).map(|add| add.removed(now_ms)));
        actions.extend(replacement.added.iter().cloned().map(Add::added));
    }
    actions
}
