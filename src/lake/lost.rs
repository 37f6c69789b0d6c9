//! Restarts that an ingest shows to have happened without bringing their events: what an operator watches to know
//! whether ingests run often enough.
//!
//! Nomad's Restarts counter of a task goes up once for each `Restarting` event. By how much it has gone up since the
//! lake last knew it, less the `Restarting` events that came with it, is what was lost in between.

use std::collections::HashMap;

use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::seen::Seen;
use crate::tables::{Table, column};

/// What new rows of a lake tell of restarts.
#[derive(Debug, Default)]
pub struct Restarts {
    /// When allocations were created, in nanoseconds since the epoch.
    created: HashMap<u128, i64>,
    tasks: HashMap<u128, Task>,
}

#[derive(Debug, Default)]
struct Task {
    allocation: u128,
    /// The largest counter.
    counter: Option<u32>,
    /// Its `Restarting` events.
    events: u32,
    /// Whether an event's time went through a float, so that it may be there already under its exact time.
    is_rounded: bool,
}

/// What was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Restarts whose events neither the lake nor the ingest has.
    pub restarts: u64,
    /// Tasks of which that is not known: what the lake has of them is older than what is remembered, or events were
    /// rounded.
    pub uncounted_tasks: u64,
}

/// A task and its Restarts counter.
pub type Counter = (u128, u32);

/// The counter in each of some rows of `task_state_history`; `None` for one without.
///
/// # Errors
/// When a column is missing.
pub fn counters(rows: &RecordBatch) -> anyhow::Result<Vec<Option<Counter>>> {
    let restarts = rows.column_by_name("restarts").context("states without restarts")?.as_primitive::<Int64Type>();
    let counter = |(task, restarts): (u128, Option<i64>)| Some((task, u32::try_from(restarts?).ok()?));
    Ok(tasks(rows)?.into_iter().zip(restarts).map(counter).collect())
}

/// Whose rows they are, as events are known: an allocation's ID says all.
fn tasks(rows: &RecordBatch) -> anyhow::Result<Vec<u128>> {
    Ok(column::hashes(["alloc_id", "task"], rows)?)
}

fn allocations(rows: &RecordBatch) -> anyhow::Result<Vec<u128>> {
    Ok(column::hashes(["alloc_id"], rows)?)
}

impl Restarts {
    /// Takes rows that are new to the lake.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn add(&mut self, table: Table, rows: &RecordBatch) -> anyhow::Result<()> {
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
            Table::Sightings | Table::Absences | Table::Snapshots | Table::Nodes => {}
        }
        Ok(())
    }

    /// What was lost, by what the lake is known to have had before.
    ///
    /// More events than the counter went up fill what was lost before, or their client lost its state: they make up for
    /// no other task.
    pub fn lost(&self, seen: &Seen) -> Lost {
        let mut lost = Lost::default();
        for (task, told) in &self.tasks {
            let Some(counter) = told.counter else { continue };
            let created = self.created.get(&told.allocation).copied();
            // What was created within what is remembered would be known if the lake had it.
            let is_new = || seen.would_know(Table::TaskStateHistory, created);
            match seen.restarts(*task).or_else(|| is_new().then_some(0)) {
                Some(before) if !told.is_rounded => {
                    lost.restarts += u64::from(counter.saturating_sub(before).saturating_sub(told.events));
                }
                _ => lost.uncounted_tasks += 1,
            }
        }
        lost
    }

    /// The tasks and their counters.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        self.tasks.iter().filter_map(|(task, told)| Some((*task, told.counter?)))
    }
}
