//! The rows of the views of logs in a run that reads no logs. Most runs read no logs, so they need not compute these
//! views.

use polars::prelude::{Column, DataFrame, DataType, TimeUnit};

use super::GroupBy;
use super::plan::Plan;
use crate::error::{Result, bail};

/// The rows that a view has if `log_events` is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithoutLogs {
    /// The view has no rows.
    Empty,
    /// The view has the rows of another view with the same columns, in any order.
    SameAs(&'static str),
}

/// The rows that a view has if `log_events` is empty; `None` if the view must be computed in this case, too.
pub(super) fn without_logs(view: &str) -> Option<WithoutLogs> {
    match view {
        "log_pairs" | "placed_lines" | "log_gaps" | "recovered_events" | "log_attempts" => Some(WithoutLogs::Empty),
        "windows" => Some(WithoutLogs::SameAs("shown_windows")),
        _ => None,
    }
}

/// Returns true if every row of a view comes from lines of logs, so that the view has no rows without logs. Some of
/// these lines may be about allocations that no other source shows.
pub(crate) fn is_of_logs(view: &str) -> bool {
    without_logs(view) == Some(WithoutLogs::Empty)
}

/// A view without rows.
///
/// # Errors
/// When the header of the view cannot be parsed; tests check that it can.
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
