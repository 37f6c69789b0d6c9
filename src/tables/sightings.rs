//! `sightings`: when an allocation that was not terminal was still shown.
//!
//! Without it an unchanged allocation and one that vanished would look alike.

use super::column::{Column, Value, key};

/// One sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    /// What `--region` says.
    pub region: &'a str,
    /// Which allocation was seen.
    pub alloc_id: &'a str,
    /// Nanoseconds since the epoch: the document's observed_at, cut to the UTC hour unless the allocation is pending.
    pub seen_at: i64,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<Row<'a>>> {
    vec![
        key("region", "what `--region` says; empty without it", Value::Text(|r| Some(r.region))),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(r.alloc_id))),
        key(
            "seen_at",
            "observed_at of a document that shows it not terminal, cut to the UTC hour, uncut while it is pending",
            Value::Moment(|r| Some(r.seen_at)),
        ),
    ]
}
