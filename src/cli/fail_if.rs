//! `--fail-if`: conditions that turn a number into an exit code.

use serde_json::Value;

use super::console::Console;
use super::exit::Exit;
use crate::pipeline::plural;
use crate::query::{self, Condition, GroupBy, Row};
use crate::store::Store;

/// How many rows that meet a condition are printed.
const NAMED: usize = 10;

/// Columns that identify a row, in addition to the groupable columns, if the result has them.
const PLACE: [&str; 6] = ["parent_job_id", "alloc_id", "attempt", "class", "measure", "phase"];

/// Evaluates each condition on its result and prints the rows that meet it.
///
/// # Errors
/// When the engine rejects a condition.
pub fn judge<'c>(
    store: &Store,
    conditions: impl IntoIterator<Item = (&'c Condition, &'c str)>,
    exit: Exit,
    console: &Console,
) -> anyhow::Result<Exit> {
    let mut exit = exit;
    for (condition, result) in conditions {
        let text = &condition.text;
        let (met, unknown) = query::matching_rows(store, result, condition)?;
        if unknown > 0 {
            let rows = plural(unknown as u64, "row");
            console.print(&format!("--fail-if '{text}' is unknown for {rows}, because a value is null"));
        }
        if met.is_empty() {
            continue;
        }
        exit = Exit::ConditionHolds;
        let rows = plural(met.len() as u64, "row");
        console.print(&format!("--fail-if '{text}' holds for {rows}:"));
        for row in met.iter().take(NAMED) {
            console.print(&format!("  {}", name(row, condition)));
        }
        if met.len() > NAMED {
            console.print(&format!("  and {} more", met.len() - NAMED));
        }
    }
    Ok(exit)
}

/// The columns that identify a row, and the values that the condition reads.
fn name(row: &Row, condition: &Condition) -> String {
    let is_place = |column: &str| GroupBy::COLUMNS.contains(&column) || PLACE.contains(&column);
    let is_shown = |column: &str| is_place(column) || condition.columns.contains(column);
    let shown = row.0.iter().filter(|(column, value)| is_shown(column) && !matches!(value, Value::Null));
    let shown = shown.filter(|(_, value)| value.as_str() != Some(""));
    let shown = shown.map(|(column, value)| match value.as_str() {
        Some(text) => format!("{column} {text}"),
        None => format!("{column} {value}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
