//! Views of logs without a log: most runs read none, and then these views take no time.

use polars::prelude::{Column, DataFrame, DataType, TimeUnit};

use super::GroupBy;
use super::plan::Plan;
use crate::error::{Result, bail};

/// What the rows of a view are if `log_events` is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithoutLogs {
    /// There are none.
    Empty,
    /// Those of another view with the same columns, in any order.
    SameAs(&'static str),
}

/// What the rows of a view are if `log_events` is empty; `None` if they have to be computed all the same.
pub(super) fn without_logs(view: &str) -> Option<WithoutLogs> {
    match view {
        "log_pairs" | "placed_lines" | "log_gaps" | "recovered_events" | "log_attempts" => Some(WithoutLogs::Empty),
        "windows" => Some(WithoutLogs::SameAs("shown_windows")),
        _ => None,
    }
}

/// Returns true if the rows of a view are events of logs, whether or not a source shows allocations.
pub(crate) fn is_of_logs(view: &str) -> bool {
    without_logs(view) == Some(WithoutLogs::Empty)
}

/// A view without rows.
///
/// # Errors
/// When its head cannot be parsed, which tests rule out.
pub(super) fn empty(plan: &Plan) -> Result<DataFrame> {
    let columns = plan.view.columns(&GroupBy::default())?;
    let columns = columns.into_iter().map(|column| {
        let kind = match column.kind {
            "string" => DataType::String,
            "int64" => DataType::Int64,
            "int32" => DataType::Int32,
            "bool" => DataType::Boolean,
            "timestamp" => DataType::Datetime(TimeUnit::Microseconds, None),
            other => bail!("a view of logs has a column of type {other}"),
        };
        Ok(Column::new_empty(column.name.into(), &kind))
    });
    Ok(DataFrame::new(0, columns.collect::<Result<Vec<_>>>()?)?)
}
