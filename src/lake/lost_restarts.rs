//! Counts the restarts whose events an ingest did not deliver. The count shows an operator whether ingests run often
//! enough.
//!
//! Nomad's Restarts counter of a task increases by one per `Restarting` event. The number of lost restarts is the
//! increase of the counter since the last state of the task in the lake, minus the number of new `Restarting` events.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::dedup_cache::DedupCache;
use crate::error::{Context, Result};
use crate::tables::{Table, column};

/// Restart counters and events in the new rows of a lake.
#[derive(Debug, Default)]
pub struct NewRestarts {
    /// When allocations were created, in nanoseconds since the epoch.
    created: HashMap<u128, i64>,
    tasks: HashMap<u128, Task>,
}

#[derive(Debug, Default)]
struct Task {
    allocation: u128,
    /// The largest counter.
    counter: Option<u32>,
    /// Number of `Restarting` events.
    events: u32,
    /// True if the time of an event is rounded. The lake may then already have the event with its exact time.
    is_rounded: bool,
}

/// Lost restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngestLosses {
    /// Restarts whose events neither the lake nor the ingest has.
    pub restarts: u64,
    /// Tasks whose number of lost restarts is unknown: the cache no longer has their last state, or event times were
    /// rounded.
    pub uncounted_tasks: u64,
}

/// A task and its Restarts counter.
pub type TaskRestarts = (u128, u32);

/// The counter of each row of `task_state_history`; `None` for a row without one.
///
/// # Errors
/// When a column is missing.
pub fn counters(rows: &RecordBatch) -> Result<Vec<Option<TaskRestarts>>> {
    let restarts = rows.column_by_name("restarts").context("states without restarts")?.as_primitive::<Int64Type>();
    let counter = |(task, restarts): (u128, Option<i64>)| Some((task, u32::try_from(restarts?).ok()?));
    Ok(tasks(rows)?.into_iter().zip(restarts).map(counter).collect())
}

/// A hash for the task of each row. Allocation ID and task name suffice, because an allocation ID is unique.
fn tasks(rows: &RecordBatch) -> Result<Vec<u128>> {
    Ok(column::hashes(["alloc_id", "task"], rows)?)
}

/// A hash for the allocation of each row.
pub(super) fn allocations(rows: &RecordBatch) -> Result<Vec<u128>> {
    Ok(column::hashes(["alloc_id"], rows)?)
}

impl NewRestarts {
    /// Adds rows that are new to the lake.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn add(&mut self, table: Table, rows: &RecordBatch) -> Result<()> {
        let column = |name| rows.column_by_name(name).with_context(|| format!("rows without {name}"));
        match table {
            Table::TaskEvents => {
                let (types, rounded) =
                    (column("event_type")?.as_string::<i32>(), column("times_rounded")?.as_boolean());
                let restarting =
                    (0..rows.num_rows()).filter(|row| types.is_valid(*row) && types.value(*row) == "Restarting");
                let restarting: Vec<usize> = restarting.collect();
                if restarting.is_empty() {
                    return Ok(());
                }
                let (tasks, allocations) = (tasks(rows)?, allocations(rows)?);
                for row in restarting {
                    let task = self.tasks.entry(tasks[row]).or_default();
                    task.allocation = allocations[row];
                    task.events += 1;
                    task.is_rounded |= rounded.is_valid(row) && rounded.value(row);
                }
            }
            Table::AllocationHistory => {
                let created = column("created_at_ns")?.as_primitive::<Int64Type>();
                let created = allocations(rows)?.into_iter().zip(created);
                self.created.extend(created.filter_map(|(allocation, created)| Some((allocation, created?))));
            }
            Table::TaskStateHistory => {
                for (counter, allocation) in counters(rows)?.into_iter().zip(allocations(rows)?) {
                    let Some((task, restarts)) = counter else { continue };
                    let task = self.tasks.entry(task).or_default();
                    task.allocation = allocation;
                    task.counter = task.counter.max(Some(restarts));
                }
            }
            Table::Sightings | Table::Absences | Table::Snapshots | Table::Nodes | Table::LogEvents => {}
        }
        Ok(())
    }

    /// The lost restarts, given the counters that the lake had before the ingest.
    ///
    /// A task's new events may outnumber the increase of its counter, because the ingest delivered events that were
    /// lost before, or because the client lost its state. This surplus does not offset losses of other tasks.
    pub fn lost(&self, cache: &DedupCache) -> IngestLosses {
        let mut lost = IngestLosses::default();
        for (task, counts) in &self.tasks {
            let Some(counter) = counts.counter else { continue };
            let created = self.created.get(&counts.allocation).copied();
            // The cache has every row that is newer than its horizon. So if a task is not in the cache, and its
            // allocation was created after the horizon, the task is new.
            let is_new = || cache.covers(Table::TaskStateHistory, created);
            match cache.restarts(*task).or_else(|| is_new().then_some(0)) {
                Some(before) if !counts.is_rounded => {
                    lost.restarts += u64::from(counter.saturating_sub(before).saturating_sub(counts.events));
                }
                _ => lost.uncounted_tasks += 1,
            }
        }
        lost
    }

    /// The tasks and their counters.
    pub fn counters(&self) -> impl Iterator<Item = TaskRestarts> {
        self.tasks.iter().filter_map(|(task, counts)| Some((*task, counts.counter?)))
    }
}
