//! The names of the objects of a log.

use crate::tables::Table;

pub(super) fn log(table: Table) -> String {
    format!("{}/_delta_log", table.name())
}

pub(super) fn version_name(table: Table, version: i64) -> String {
    format!("{}/{version:020}.json", log(table))
}

/// The version that a log object contains, from its name; `None` if the object is not a version.
pub(super) fn version_of(name: &str) -> Option<i64> {
    let digits = name.rsplit('/').next()?.strip_suffix(".json")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}
