//! Reduces the statistics of data files to what a check needs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::data_files;
use super::delta_log::Add;
use super::layout::time_column;
use crate::tables::{Table, identity};

/// How much of a file's log entry is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What a check needs: half a kilobyte per file instead of four.
    Lean,
    /// Everything, as a repair writes it to a log.
    Full,
}

impl Detail {
    /// The entry of a file with this detail.
    pub fn of(self, mut add: Add, table: Table) -> Add {
        if self == Detail::Lean {
            make_lean(&mut add, table);
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

/// Keeps the statistics that a check needs, and a hash of the others.
pub fn make_lean(add: &mut Add, table: Table) {
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

/// Returns true if a log entry agrees with its batch. Another engine's checkpoint may omit fields, and a remasked batch
/// omits the text bounds of format 1.
pub fn is_same(add: &Add, other: &Add) -> bool {
    add.size == other.size
        && (other.stats.is_none() || data_files::stats_without_texts(add) == data_files::stats_without_texts(other))
        && (other.hash().is_none() || add.hash() == other.hash())
        && add.partition_values == other.partition_values
}
