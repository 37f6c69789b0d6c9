//! `absences`: which full listings lack an allocation that an earlier document showed.
//!
//! The times of sightings are cut to the hour. Within the hour of an allocation's last sighting, the rows of `absences`
//! determine exactly when the allocation was last shown.

use super::column::{Column, Value, derived, key};

/// An allocation that a full listing lacks. If no listing proves that it was missing, the row only states when the
/// allocation was last shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsenceRow<'a> {
    /// The region given by `--region`.
    pub region: &'a str,
    /// The allocation.
    pub alloc_id: &'a str,
    /// When the allocation was last shown before the listing that lacks it, in nanoseconds since the epoch.
    pub shown_at: Option<i64>,
    /// When the listing that lacks it was observed, in nanoseconds since the epoch.
    pub missing_at: Option<i64>,
    /// X-Nomad-Index of the listing.
    pub missing_index: Option<i64>,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<AbsenceRow<'a>>> {
    vec![
        key("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.region))),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(r.alloc_id))),
        key(
            "shown_at",
            "observed_at of the last document that shows the allocation, in the UTC hour of missing_at; null if the documents of that hour do not determine which one is the last",
            Value::Moment(|r| r.shown_at),
        ),
        key(
            "missing_at",
            "observed_at of a full listing of the allocation's namespace that lacks the allocation; null if no listing in the UTC hour of shown_at proves that the allocation was missing after shown_at. If missing_at is null, the row only says that the allocation was last shown at shown_at; lakes have no such rows",
            Value::Moment(|r| r.missing_at),
        ),
        derived(
            "missing_index",
            "X-Nomad-Index of that listing; null when not known",
            Value::Int64(|r| r.missing_index),
        ),
    ]
}
