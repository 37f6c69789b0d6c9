//! The layout of a lake's tables: partitions, time columns, and the format that introduced each table.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::tables::Table;

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 3;

/// The format that introduced a table. A lake of an older format lacks the table until the upgrade.
pub fn since(table: Table) -> u32 {
    match table {
        Table::TaskEvents
        | Table::AllocationHistory
        | Table::TaskStateHistory
        | Table::Sightings
        | Table::Nodes
        | Table::Snapshots => 1,
        Table::Absences => 2,
        Table::LogEvents => 3,
    }
}

/// The partition column of a table, if any.
pub fn partition_column(table: Table) -> Option<&'static str> {
    (table == Table::TaskEvents).then_some("event_date")
}

/// The column with a row's time, in nanoseconds since the epoch; `None` if the rows of the table have no time. The time
/// decides which files are read, and how long the cache keeps a row.
pub fn time_column(table: Table) -> Option<&'static str> {
    match table {
        Table::TaskEvents => Some("event_at_ns"),
        Table::AllocationHistory | Table::TaskStateHistory => Some("modified_at_ns"),
        Table::Sightings => Some("seen_at_ns"),
        Table::Absences => Some("missing_at_ns"),
        Table::Snapshots => Some("observed_at_ns"),
        Table::LogEvents => Some("logged_at_ns"),
        Table::Nodes => None,
    }
}

/// The time of each row; all `None` for a table without a time column.
pub fn times(table: Table, batch: &RecordBatch) -> Vec<Option<i64>> {
    match time_column(table).and_then(|name| batch.column_by_name(name)) {
        Some(column) => column.as_primitive::<Int64Type>().iter().collect(),
        None => vec![None; batch.num_rows()],
    }
}
