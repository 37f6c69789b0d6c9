//! `sightings`: when documents showed an allocation that was not terminal.
//!
//! Without this table, an unchanged allocation and a vanished one would look the same. For the hour of an
//! allocation's last sighting, `absences` records which full listings lack it.

use super::column::{Column, Value, derived, key};

/// One sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SightingRow<'a> {
    /// The region given by `--region`.
    pub region: &'a str,
    /// The allocation.
    pub alloc_id: &'a str,
    /// The namespace of the allocation.
    pub namespace: &'a str,
    /// The document's observed_at in nanoseconds since the epoch. It is cut to the UTC hour, unless the allocation is
    /// pending, or is shown again after a listing of the same hour lacked it.
    pub seen_at: i64,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<SightingRow<'a>>> {
    vec![
        key("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.region))),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(r.alloc_id))),
        key(
            "seen_at",
            "observed_at of a document that shows the allocation in a non-terminal status, truncated to the UTC hour. Exact for a pending allocation, and for a document that shows the allocation again after a listing of the same hour lacked it",
            Value::Moment(|r| Some(r.seen_at)),
        ),
        derived(
            "namespace",
            "Nomad namespace; if the source does not show it, the namespace that was listed, or `default` if that is not known; null in rows of a lake of format 1",
            Value::Text(|r| Some(r.namespace)),
        ),
    ]
}
