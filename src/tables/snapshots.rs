//! `snapshots`, the ledger: one row is one document that was read.

use super::column::{Column, Value, derived, key};

/// One document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each is described by its column
pub struct SnapshotRow {
    pub region: String,
    pub content_hash: String,
    pub observed_at: Option<i64>,
    pub observed_from: Option<&'static str>,
    pub is_full_listing: bool,
    pub snapshot_id: i64,
    pub source: String,
    pub shape: Option<&'static str>,
    pub namespace: Option<String>,
    pub nomad_index: Option<i64>,
    pub times_rounded: bool,
    pub bytes: i64,
    pub allocations: i64,
    pub task_states: i64,
    pub task_events: i64,
    pub rejected: i64,
    pub unknown_fields: Option<String>,
    pub new_allocations: i64,
    pub new_task_states: i64,
    pub new_task_events: i64,
    pub ingested_at: Option<i64>,
}

/// The columns, in order.
pub fn columns() -> Vec<Column<SnapshotRow>> {
    vec![
        key("region", "region given by `--region`; empty without it", Value::Text(|r| Some(&r.region))),
        key(
            "content_hash",
            "XXH3-128 of the decompressed document, 32 hex digits",
            Value::Text(|r| Some(&r.content_hash)),
        ),
        key("observed_at", "when the document was observed; null when unknown", Value::Moment(|r| r.observed_at)),
        derived(
            "observed_from",
            "source of observed_at: `flag` (--observed-at), `fetched` (our own request), `name` (a UTC time in the file's name), `content` (the newest ModifyTime in the document, by the server's clock) or `created` (the newest CreateTime, for a document of a Nomad before 0.7.1, which has no ModifyTime; the document was observed at this time or later)",
            Value::Text(|r| r.observed_from),
        ),
        key(
            "is_full_listing",
            "whether the document shows every allocation of its namespace, so that an allocation that it lacks has vanished",
            Value::Bool(|r| Some(r.is_full_listing)),
        ),
        derived("snapshot_id", "number of the document in order of arrival", Value::Int64(|r| Some(r.snapshot_id))),
        derived(
            "source",
            "where the document came from: the source as the user wrote it, without credentials, and the path inside an archive",
            Value::Text(|r| Some(&r.source)),
        ),
        derived(
            "shape",
            "`stub`, `full` or `stream`; `mixed` for several; null for a document without allocations",
            Value::Text(|r| r.shape),
        ),
        derived(
            "namespace",
            "namespace that it lists, `*` for all; of full listings with equal content and time, the one that was read first; null when not known",
            Value::Text(|r| r.namespace.as_deref()),
        ),
        derived("nomad_index", "X-Nomad-Index of the answer; null when not known", Value::Int64(|r| r.nomad_index)),
        derived(
            "times_rounded",
            "whether its times passed through a float: it has four or more event times, each equals the shortest decimal form of its nearest float64, and at least one is finer than a microsecond, so that a coarse clock is not the reason",
            Value::Bool(|r| Some(r.times_rounded)),
        ),
        derived("bytes", "bytes of the decompressed document", Value::Int64(|r| Some(r.bytes))),
        derived("allocations", "allocations in it", Value::Int64(|r| Some(r.allocations))),
        derived("task_states", "task states in it", Value::Int64(|r| Some(r.task_states))),
        derived("task_events", "task events in it", Value::Int64(|r| Some(r.task_events))),
        derived("rejected", "parts of it that could not be read", Value::Int64(|r| Some(r.rejected))),
        derived(
            "unknown_fields",
            "unknown fields with their counts, as JSON; null when there are none",
            Value::Text(|r| r.unknown_fields.as_deref()),
        ),
        derived(
            "new_allocations",
            "rows of allocation_history that it showed first",
            Value::Int64(|r| Some(r.new_allocations)),
        ),
        derived(
            "new_task_states",
            "rows of task_state_history that it showed first",
            Value::Int64(|r| Some(r.new_task_states)),
        ),
        derived(
            "new_task_events",
            "rows of task_events that it showed first",
            Value::Int64(|r| Some(r.new_task_events)),
        ),
        derived(
            "absences_recorded",
            "true, because the allocations that a full listing lacks are recorded in absences; null in rows of a lake of format 1, which does not record them",
            Value::Bool(|_| Some(true)),
        ),
        derived(
            "ingested_at",
            "when it was ingested into a lake; null outside a lake",
            Value::Moment(|r| r.ingested_at),
        ),
        derived(
            "alloclog_version",
            "version of alloclog that read it",
            Value::Text(|_| Some(env!("CARGO_PKG_VERSION"))),
        ),
    ]
}
