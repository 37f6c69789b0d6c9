//! The content of a lake, from its logs alone.

use serde::Serialize;

use super::{Lake, data_files};
use crate::error::Result;
use crate::tables::Table;

/// The content of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableInfo {
    /// Its name.
    pub table: &'static str,
    /// The newest version of its Delta log.
    pub version: i64,
    /// The last batch applied to it.
    pub batch: u64,
    /// Number of data files.
    pub files: usize,
    /// Bytes of the data files.
    pub bytes: i64,
    /// Number of rows; null if the log lacks the number for a file.
    pub rows: Option<u64>,
    /// The earliest and latest time of its rows, in nanoseconds since the epoch; null if the log has no times.
    pub span_ns: Option<(i64, i64)>,
}

/// The content of a lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Its unique ID.
    pub id: String,
    /// Its tables.
    pub tables: Vec<TableInfo>,
    /// Committed batches, including those of vacuums.
    pub batches: u64,
    /// How many batches are not yet in every table.
    pub unfinished: usize,
    /// When the last batch was written, by its writer's clock, in milliseconds since the epoch; null without a batch.
    pub last_written_ms: Option<i64>,
}

/// Reads the content of a lake from its logs alone.
///
/// # Errors
/// When the logs cannot be read.
pub fn info(lake: &Lake) -> Result<Info> {
    let unfinished = lake.unfinished()?;
    let mut tables = Vec::new();
    for table in Table::ALL {
        let state = lake.state(table)?;
        let adds = || state.files.values();
        let spans: Vec<_> = data_files::time_column(table)
            .map(|time| adds().filter_map(|add| data_files::bounds(add, time)).collect())
            .unwrap_or_default();
        tables.push(TableInfo {
            table: table.name(),
            version: state.head.version,
            batch: state.head.batch,
            files: state.files.len(),
            bytes: adds().map(|add| add.size).sum(),
            rows: adds().map(data_files::row_count).sum(),
            span_ns: spans.iter().map(|(first, _)| *first).min().zip(spans.iter().map(|(_, last)| *last).max()),
        });
    }
    let in_tables = tables.iter().find(|info| info.table == Table::Snapshots.name()).map_or(0, |info| info.batch);
    let batches = unfinished.last().map_or(in_tables, |(number, _)| *number);
    let last_written_ms = if batches == 0 { None } else { lake.batch(batches)?.map(|batch| batch.written_ms) };
    Ok(Info { id: lake.id.clone(), tables, batches, unfinished: unfinished.len(), last_written_ms })
}
