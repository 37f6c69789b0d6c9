//! Saves memory in a check and a compaction: keeps the log entries of data files without most of their statistics, or
//! only hashes of the entries.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::data_files;
pub use super::delta_log::path_key;
use super::delta_log::{self, Add, FileChange, TableState};
use super::layout::time_column;
use super::storage::Storage;
use crate::error::Result;
use crate::tables::{Table, identity};

/// How much of a file's log entry is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything that is needed to read the file. Of the statistics, only the number of rows. Takes half a kilobyte
    /// per file.
    Bare,
    /// The entry with only those statistics that are needed to compare the log with the batches. Takes 1.4 KB per file
    /// instead of up to 8 KB.
    Lean,
    /// The complete entry, which a repair writes to a log.
    Full,
}

impl Detail {
    /// The entry of a file with this detail.
    pub fn of(self, mut add: Add, table: Table) -> Add {
        match self {
            Detail::Bare => add.stats = data_files::row_count(&add).map(|rows| json!({"numRecords": rows}).to_string()),
            Detail::Lean => make_lean(&mut add, table),
            Detail::Full => {}
        }
        add
    }
}

/// JSON as a text that does not depend on the order of keys.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(values) => {
            let values: BTreeMap<&String, String> = values.iter().map(|(name, value)| (name, sorted(value))).collect();
            format!("{values:?}")
        }
        other => other.to_string(),
    }
}

/// Keeps the statistics of [`Detail::Lean`], and a hash of the other statistics.
fn make_lean(add: &mut Add, table: Table) {
    let Some(text) = add.stats.take() else { return };
    let stats: Value = serde_json::from_str(&text).unwrap_or_default();
    let bound = |side: &str, column: &str| stats[side].get(column).cloned();
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in time_column(table).into_iter().chain([identity::TEXT_HASH]) {
        least.extend(bound("minValues", column).map(|value| (column.to_owned(), value)));
        greatest.extend(bound("maxValues", column).map(|value| (column.to_owned(), value)));
        nulls.extend(bound("nullCount", column).map(|value| (column.to_owned(), value)));
    }
    let rows = stats["numRecords"].clone();
    let rest = data_files::hash(sorted(&data_files::without_texts(stats)).as_bytes());
    let lean = json!({"numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls, "alloclog.rest": rest});
    add.stats = Some(lean.to_string());
}

/// How many files a check or a compaction holds in memory at a time. Each takes half a kilobyte, mostly for its path
/// and hash.
pub const FILES_AT_A_TIME: usize = 100_000;

/// Summary of a file's entry in a log or a batch: a hash of the entry, and the number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digest {
    content: u64,
    /// Null if unknown.
    rows: Option<u32>,
}

impl Digest {
    fn of(add: &Add) -> Digest {
        let mut said = format!("{} {:?} {:?} ", add.size, add.hash(), add.partition_values).into_bytes();
        add.stats.iter().for_each(|stats| said.extend_from_slice(stats.as_bytes()));
        let rows = data_files::row_count(add).and_then(|rows| u32::try_from(rows).ok());
        Digest { content: xxh3_64(&said), rows }
    }
}

/// The files of a table by [`path_key`], in 40 to 70 bytes each.
#[derive(Debug, Clone, Default)]
pub struct FileDigests(HashMap<u64, Digest>);

impl FileDigests {
    /// Applies a change of the table's files.
    pub fn take(&mut self, change: &FileChange) {
        match change {
            FileChange::Restart => self.0.clear(),
            FileChange::Add(add) => drop(self.0.insert(path_key(&add.path), Digest::of(add))),
            FileChange::Remove(remove) => drop(self.0.remove(&path_key(&remove.path))),
        }
    }

    /// Removes the file of a path.
    pub fn remove(&mut self, path: &str) {
        self.0.remove(&path_key(path));
    }

    /// Returns true if the table has the file with exactly this entry.
    pub fn agrees(&self, add: &Add) -> bool {
        self.0.get(&path_key(&add.path)).is_some_and(|digest| *digest == Digest::of(add))
    }

    /// Returns true if the table has a file of this key.
    pub fn contains(&self, key: u64) -> bool {
        self.0.contains_key(&key)
    }

    /// The keys of the files, in any order.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// How many rows the files have; null if the number of rows of any file is unknown.
    pub fn rows(&self) -> Option<u64> {
        self.0.values().map(|digest| digest.rows.map(u64::from)).sum()
    }
}

/// As [`delta_log::state_of`], without most statistics of the files.
///
/// # Errors
/// When the log cannot be read.
pub fn state_of(storage: &Storage, table: Table, is_wanted: &dyn Fn(&str) -> bool) -> Result<TableState> {
    let mut files = TableState::default();
    let mut state = delta_log::read(storage, table, &mut |change| {
        if change.path().is_none_or(is_wanted) {
            files.take(match change {
                FileChange::Add(add) => FileChange::Add(Detail::Bare.of(add, table)),
                other => other,
            });
        }
    })?;
    (state.files, state.removed) = (files.files, files.removed);
    Ok(state)
}

/// The keys of a table's files, in no particular order.
///
/// # Errors
/// When the log cannot be read.
pub fn keys(storage: &Storage, table: Table) -> Result<Vec<u64>> {
    let mut keys = HashSet::new();
    delta_log::read(storage, table, &mut |change| match (change.path().map(path_key), &change) {
        (Some(key), FileChange::Add(_)) => drop(keys.insert(key)),
        (Some(key), _) => drop(keys.remove(&key)),
        (None, _) => keys.clear(),
    })?;
    Ok(keys.into_iter().collect())
}

/// The files of these keys that a table has, without most of their statistics.
///
/// # Errors
/// When the log cannot be read.
pub fn files(storage: &Storage, table: Table, wanted: &HashSet<u64>) -> Result<HashMap<u64, Add>> {
    files_after(|each| delta_log::read(storage, table, each).map(drop), table, wanted)
}

/// Like `files`, but takes the changes of the table's files from `read`.
///
/// # Errors
/// Those of `read`.
pub fn files_after(
    read: impl FnOnce(&mut dyn FnMut(FileChange)) -> Result<()>,
    table: Table,
    wanted: &HashSet<u64>,
) -> Result<HashMap<u64, Add>> {
    let mut found = HashMap::new();
    read(&mut |change| match (change.path().map(path_key), change) {
        (Some(key), FileChange::Add(add)) if wanted.contains(&key) => {
            found.insert(key, Detail::Bare.of(add, table));
        }
        (Some(key), FileChange::Remove(_)) => drop(found.remove(&key)),
        (None, _) => found.clear(),
        _ => {}
    })?;
    Ok(found)
}

/// Combines groups of files into parts of at most `most` files. A group with more files than that becomes a part of its
/// own.
pub fn in_parts(groups: Vec<Vec<u64>>, most: usize) -> Vec<Vec<Vec<u64>>> {
    let (mut parts, mut files): (Vec<Vec<Vec<u64>>>, usize) = (Vec::new(), 0);
    for group in groups {
        files += group.len();
        match parts.last_mut().filter(|_| files <= most) {
            Some(part) => part.push(group),
            None => {
                files = group.len();
                parts.push(vec![group]);
            }
        }
    }
    parts
}

/// Returns true if the entry of a file in a batch (`add`) agrees with its entry in the log (`other`). Fields that
/// another engine's checkpoint may omit need not be in the log. Text bounds are not compared, because a remasked batch
/// omits them.
pub fn is_same(add: &Add, other: &Add) -> bool {
    add.size == other.size
        && (other.stats.is_none() || data_files::stats_without_texts(add) == data_files::stats_without_texts(other))
        && (other.hash().is_none() || add.hash() == other.hash())
        && add.partition_values == other.partition_values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::delta_log::Texts;

    fn file(path: &str, rows: u64) -> Add {
        let stats = Some(json!({"numRecords": rows, "minValues": {"event_at_ns": 1}}).to_string());
        Add { path: path.to_owned(), size: 7, stats, ..Add::default() }
    }

    fn gone(path: &str) -> FileChange {
        FileChange::Remove(file(path, 0).removed(0).remove.unwrap())
    }

    #[test]
    fn parts_have_at_most_so_many_files_unless_a_group_has_more() {
        let groups = vec![vec![1, 2], vec![3], vec![4], vec![5, 6, 7, 8, 9], vec![10]];
        let parts = in_parts(groups.clone(), 3);
        assert_eq!(parts, [vec![vec![1, 2], vec![3]], vec![vec![4]], vec![vec![5, 6, 7, 8, 9]], vec![vec![10]]]);
        assert_eq!(in_parts(groups.clone(), 100), [groups]);
        assert!(in_parts(Vec::new(), 3).is_empty());
    }

    #[test]
    fn digests_follow_the_changes_of_files() {
        let mut files = FileDigests::default();
        files.take(&FileChange::Add(file("lost", 1)));
        files.take(&FileChange::Restart);
        for path in ["a", "b", "c"] {
            files.take(&FileChange::Add(file(path, 2)));
        }
        files.take(&gone("b"));
        assert!(files.agrees(&file("a", 2)) && !files.agrees(&file("b", 2)) && !files.agrees(&file("lost", 1)));
        assert!(files.contains(path_key("c")) && files.keys().count() == 2);
        assert_eq!(files.rows(), Some(4));
        files.take(&FileChange::Add(Add { stats: None, ..file("c", 2) }));
        assert_eq!(files.rows(), None, "one does not say how many it has");
    }

    #[test]
    fn a_digest_differs_with_everything_that_a_batch_says_of_a_file() {
        let mut files = FileDigests::default();
        files.take(&FileChange::Add(file("a", 2)));
        let tags = Texts::from_iter([(super::super::delta_log::HASH_TAG.to_owned(), Some("0".to_owned()))]);
        let day = Texts::from_iter([("event_date".to_owned(), Some("2026-11-30".to_owned()))]);
        for other in [
            Add { size: 8, ..file("a", 2) },
            Add { tags: Some(tags), ..file("a", 2) },
            Add { partition_values: day, ..file("a", 2) },
            Add { stats: None, ..file("a", 2) },
            file("a", 3),
        ] {
            assert!(!files.agrees(&other), "{other:?}");
        }
        // The time and `data_change` are not compared.
        assert!(files.agrees(&Add { modification_time: 5, data_change: true, ..file("a", 2) }));
    }
}
