//! The stored tables. Each table has a file. The file defines what a row is, and lists the columns, each with the
//! function that computes it.

pub mod absences;
pub mod allocation_history;
pub mod column;
mod details;
pub mod identity;
pub mod log_events;
pub mod mask;
pub mod nodes;
pub mod remask;
mod secrets;
pub mod sightings;
pub mod sink;
pub mod snapshots;
pub mod task_events;
pub mod task_state_history;
mod text;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::decode::record::Allocation;
use column::Described;

/// The stored tables. They are append-only; all other results are computed from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each has a file of its own
pub enum Table {
    TaskEvents,
    AllocationHistory,
    TaskStateHistory,
    Sightings,
    Absences,
    Snapshots,
    Nodes,
    LogEvents,
}

impl Table {
    /// All tables, in the order in which the documentation lists them.
    pub const ALL: [Table; 8] = [
        Table::TaskEvents,
        Table::AllocationHistory,
        Table::TaskStateHistory,
        Table::Sightings,
        Table::Absences,
        Table::Snapshots,
        Table::Nodes,
        Table::LogEvents,
    ];

    /// The name of the table, in SQL and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Table::TaskEvents => "task_events",
            Table::AllocationHistory => "allocation_history",
            Table::TaskStateHistory => "task_state_history",
            Table::Sightings => "sightings",
            Table::Absences => "absences",
            Table::Snapshots => "snapshots",
            Table::Nodes => "nodes",
            Table::LogEvents => "log_events",
        }
    }

    /// Returns true if `export` without `--table` writes the table.
    pub fn is_exported(self) -> bool {
        matches!(self, Table::TaskEvents | Table::Snapshots)
    }

    /// What one row is, as a noun phrase.
    pub fn row_is(self) -> &'static str {
        match self {
            Table::TaskEvents => "one event of one task, as Nomad recorded it",
            Table::AllocationHistory => "one version of an allocation as one kind of source showed it",
            Table::TaskStateHistory => "one observed state of a task, with its window of events",
            Table::Sightings => "one time at which a document showed an allocation that was not terminal",
            Table::Absences => {
                "a full listing that lacks an allocation shown earlier in the same UTC hour, or the exact time of a last sighting"
            }
            Table::Snapshots => "one document that was read: the ledger",
            Table::Nodes => "one version of a client node",
            Table::LogEvents => "one line `Task event` in the log of a Nomad client, which reports one event",
        }
    }

    /// The columns of the table, as the schema documents them.
    pub fn columns(self) -> Vec<Described> {
        match self {
            Table::TaskEvents => column::describe(&task_events::columns()),
            Table::AllocationHistory => column::describe(&allocation_history::columns()),
            Table::TaskStateHistory => column::describe(&task_state_history::columns()),
            Table::Sightings => column::describe(&sightings::columns()),
            Table::Absences => column::describe(&absences::columns()),
            Table::Snapshots => column::describe(&snapshots::columns()),
            Table::Nodes => column::describe(&nodes::columns()),
            Table::LogEvents => column::describe(&log_events::columns()),
        }
    }

    /// The columns that [`Table::identities`] reads.
    pub fn key_columns(self) -> Vec<String> {
        identity::needed_columns(self, false).map(str::to_owned).collect()
    }

    /// The identities of a batch's rows; reads only [`Table::key_columns`].
    ///
    /// # Errors
    /// When one of these columns is missing or has another type.
    pub fn identities(self, batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
        identity::identities(self, batch)
    }

    /// The Arrow schema of the table.
    pub fn schema(self) -> SchemaRef {
        match self {
            Table::TaskEvents => column::schema(&task_events::columns()),
            Table::AllocationHistory => column::schema(&allocation_history::columns()),
            Table::TaskStateHistory => column::schema(&task_state_history::columns()),
            Table::Sightings => column::schema(&sightings::columns()),
            Table::Absences => column::schema(&absences::columns()),
            Table::Snapshots => column::schema(&snapshots::columns()),
            Table::Nodes => column::schema(&nodes::columns()),
            Table::LogEvents => column::schema(&log_events::columns()),
        }
    }
}

/// Returns true if a column contains free text from Nomad, a driver or a user. Such a text may quote a credential.
pub fn is_free_text(column: &str) -> bool {
    ["message", "details", "restart_reason", "exit_message", "desired_description", "client_description"]
        .contains(&column)
}

/// Reads a text as the beginning of an allocation ID. Returns the text in lower case and without hyphens, because users
/// type IDs with or without hyphens. `None` if the text cannot be the beginning of an ID, or has fewer than two digits.
pub fn beginning_of_id(text: &str) -> Option<String> {
    let digits: String = text.to_lowercase().chars().filter(|c| *c != '-').collect();
    (digits.len() >= 2 && digits.chars().all(|c| c.is_ascii_hexdigit())).then_some(digits)
}

/// The kind of source that showed an allocation. Each kind lacks fields that the other kinds have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Shape {
    /// An entry of a list.
    #[default]
    Stub,
    /// A full allocation, from a read or a raft snapshot.
    Full,
    /// The payload of an event-stream event.
    Stream,
}

impl Shape {
    /// The name of the shape in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Stub => "stub",
            Shape::Full => "full",
            Shape::Stream => "stream",
        }
    }
}

/// The columns that identify an allocation; every row about an allocation has them.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the names are the columns'
pub struct AllocationKey<'a> {
    pub region: &'a str,
    pub namespace: &'a str,
    pub job_id: Option<&'a str>,
    pub task_group: Option<&'a str>,
    pub alloc_id: &'a str,
    pub node_id: Option<&'a str>,
}

impl<'a> AllocationKey<'a> {
    /// The key of an allocation; `None` if it has no ID. An allocation without a namespace gets `namespace`.
    pub fn from_allocation(region: &'a str, namespace: &'a str, a: &'a Allocation<'a>) -> Option<AllocationKey<'a>> {
        Some(AllocationKey {
            region,
            namespace: a.namespace.as_deref().unwrap_or(namespace),
            job_id: a.job_id.as_deref(),
            task_group: a.task_group.as_deref(),
            alloc_id: a.id.as_deref()?,
            node_id: a.node_id.as_deref(),
        })
    }
}
