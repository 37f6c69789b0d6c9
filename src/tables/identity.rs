//! The identity of a row: a hash of the columns in a fixed list per table.
//!
//! A lake deduplicates rows by these lists. A column that is added to a table later is not added to the list of the
//! table. Otherwise a row that a lake already has would look new. docs/design.md says what a change of a list requires.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Table, column, mask};

/// The version of the lists and of [`text_hash`]. A cache with another version is rebuilt.
pub const VERSION: u32 = 2;

/// The column that represents a row's free texts in its identity.
pub const TEXT_HASH: &str = "text_hash";

/// The columns of a table's identity, in hashing order.
pub fn columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::TaskEvents => &[
            "task",
            "alloc_id",
            "event_at_ns",
            "event_type",
            "ordinal",
            "fails_task",
            "exit_code",
            "signal",
            "oom_killed",
            "start_delay_ns",
            "kill_timeout_ns",
            "times_rounded",
            TEXT_HASH,
        ],
        Table::AllocationHistory => &[
            "region",
            "namespace",
            "job_id",
            "task_group",
            "alloc_id",
            "shape",
            "name",
            "alloc_index",
            "job_type",
            "job_version",
            "eval_id",
            "deployment_id",
            "node_id",
            "node_name",
            "desired_status",
            "client_status",
            TEXT_HASH,
            "desired_migrate",
            "desired_reschedule",
            "desired_force_reschedule",
            "desired_no_shutdown_delay",
            "desired_migrate_disable_placement",
            "deployment_healthy",
            "deployment_healthy_at_ns",
            "canary",
            "previous_allocation",
            "next_allocation",
            "followup_eval_id",
            "preempted_by",
            "reschedule_attempts",
            "rescheduled_from_alloc_id",
            "rescheduled_from_node_id",
            "rescheduled_at_ns",
            "created_at_ns",
            "modified_at_ns",
            "create_index",
            "modify_index",
            "cpu_shares",
            "memory_mb",
            "memory_max_mb",
            "disk_mb",
        ],
        Table::TaskStateHistory => &[
            "region",
            "namespace",
            "job_id",
            "task_group",
            "task",
            "alloc_id",
            "node_id",
            "modify_index",
            "modified_at_ns",
            "state",
            "placeholder",
            "failed",
            "restarts",
            "last_restart_at_ns",
            "started_at_ns",
            "finished_at_ns",
            "lifecycle_hook",
            "sidecar",
            "window_events",
            "window_restarting",
            "window_first_type",
            "window_first_attempt",
            "window_first_ns",
            "window_last_attempt",
            "window_last_ns",
        ],
        Table::Sightings => &["region", "alloc_id", "seen_at_ns"],
        Table::Absences => &["region", "alloc_id", "shown_at_ns", "missing_at_ns"],
        Table::Snapshots => &["region", "content_hash", "observed_at_ns", "is_full_listing"],
        Table::Nodes => &[
            "region",
            "node_id",
            "node_name",
            "node_class",
            "node_pool",
            "datacenter",
            "status",
            "eligibility",
            "drain",
            "nomad_version",
            "modify_index",
        ],
        Table::LogEvents => &[
            "alloc_id",
            "task",
            "node_id",
            "logged_at_ns",
            "precision_ns",
            "form",
            "event_type",
            "ordinal",
            "fails_task",
            TEXT_HASH,
        ],
    }
}

/// A column of free text, and whether its stored text has already passed the first stage of masking.
struct FreeText {
    name: &'static str,
    is_masked: bool,
}

/// The free texts that [`TEXT_HASH`] covers, in hashing order. Rows without the hash were written by lake format 1.
/// That format masked `details` and stored the other texts as served.
fn texts(table: Table) -> &'static [FreeText] {
    match table {
        Table::TaskEvents => {
            &[FreeText { name: "details", is_masked: true }, FreeText { name: "restart_reason", is_masked: false }]
        }
        Table::AllocationHistory => &[
            FreeText { name: "desired_description", is_masked: false },
            FreeText { name: "client_description", is_masked: false },
        ],
        Table::LogEvents => &[FreeText { name: "message", is_masked: false }],
        Table::TaskStateHistory | Table::Sightings | Table::Absences | Table::Snapshots | Table::Nodes => &[],
    }
}

/// The columns that [`identities`] reads: the columns of the identity and, unless every row has a text hash, the free
/// texts.
pub fn needed_columns(table: Table, is_hashed: bool) -> impl Iterator<Item = &'static str> {
    let texts: &'static [FreeText] = if is_hashed { &[] } else { texts(table) };
    columns(table).iter().copied().chain(texts.iter().map(|text| text.name))
}

/// A hash of texts after the first stage of masking. That stage never changes, so later rules do not change a row's
/// identity. Two different texts have the same 16 bits in 1 of 65,536 cases, which matters only in rows that are equal
/// otherwise. An attacker who guesses a secret cannot confirm the guess with only 16 bits.
pub fn text_hash<'t>(texts: impl IntoIterator<Item = Option<&'t str>>) -> i32 {
    let hash = (1u64..).zip(texts).fold(0u64, |hash, (seed, text)| {
        // An empty text changes the hash; a missing text does not.
        hash.wrapping_add(text.map_or(0, |text| xxh3_64_with_seed(text.as_bytes(), seed)))
    });
    i32::from((hash >> 48) as u16)
}

/// The text hashes of a batch. Hashes that are missing are computed from the stored texts. `None` for a table without
/// free texts.
///
/// # Errors
/// When a row has no hash and the batch lacks a text column.
pub fn text_hashes(table: Table, batch: &RecordBatch) -> Result<Option<Int32Array>, ArrowError> {
    let of_table = texts(table);
    if of_table.is_empty() {
        return Ok(None);
    }
    let stored = batch.column_by_name(TEXT_HASH).map(|column| column.as_primitive::<Int32Type>());
    if let Some(stored) = stored.filter(|stored| stored.null_count() == 0) {
        return Ok(Some(stored.clone()));
    }
    let mut columns = Vec::with_capacity(of_table.len());
    for text in of_table {
        let missing = || ArrowError::SchemaError(format!("column {} is missing", text.name));
        columns.push((batch.column_by_name(text.name).ok_or_else(missing)?.as_string::<i32>(), text.is_masked));
    }
    let hash = |row: usize| {
        let stored = stored.filter(|stored| stored.is_valid(row)).map(|stored| stored.value(row));
        stored.unwrap_or_else(|| {
            let texts: Vec<_> = columns
                .iter()
                .map(|(column, is_masked)| {
                    let text = column.is_valid(row).then(|| column.value(row))?;
                    Some(if *is_masked { text.into() } else { mask::credentials(text) })
                })
                .collect();
            text_hash(texts.iter().map(Option::as_deref))
        })
    };
    Ok(Some((0..batch.num_rows()).map(hash).map(Some).collect()))
}

/// The identities of a batch's rows. Reads only [`needed_columns`].
///
/// # Errors
/// When one of these columns is missing or has another type.
pub fn identities(table: Table, batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
    let text_hashes = text_hashes(table, batch)?.map(|hashes| Arc::new(hashes) as ArrayRef);
    let array = |name: &&'static str| {
        let of_texts = text_hashes.as_ref().filter(|_| *name == TEXT_HASH);
        of_texts.map_or_else(|| column::named(name, batch), |hashes| Ok(hashes.clone()))
    };
    let arrays: Vec<ArrayRef> = columns(table).iter().map(array).collect::<Result<_, _>>()?;
    column::row_hashes(&arrays, batch.num_rows())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn identity_columns_match_this_version() {
        // Lakes deduplicate rows by these lists. A change of a list requires a new VERSION and a new lake format:
        // docs/design.md, "Changing the format".
        let digests: BTreeMap<&str, String> = Table::ALL
            .into_iter()
            .map(|table| (table.name(), format!("{:016x}", xxh3_64_with_seed(columns(table).join(",").as_bytes(), 0))))
            .collect();
        let expected = [
            ("task_events", "d6fcc14196697033"),
            ("allocation_history", "87da8b16f196ee41"),
            ("task_state_history", "d6bd512a57b38f7b"),
            ("sightings", "f1158b1ccbbc2732"),
            ("absences", "729e8ee5d73c2325"),
            ("snapshots", "3d3bff741bf8c225"),
            ("nodes", "663e391a51f51c92"),
            ("log_events", "d2a1e3dd088e2ac8"),
        ];
        assert_eq!((VERSION, digests), (2, expected.map(|(name, digest)| (name, digest.to_owned())).into()));
    }

    #[test]
    fn key_columns_match_the_identity_columns_in_order() {
        for table in Table::ALL {
            let described = table.columns();
            // The identity contains the `_ns` column of a timestamp, which is exact.
            let keys = described.iter().filter(|column| column.is_key && column.kind != "timestamp");
            let keys: Vec<&str> = keys.map(|column| column.name.as_str()).collect();
            // A row built from a document and the same row read from a lake have the same identity.
            assert_eq!(keys, columns(table), "{}", table.name());
        }
    }

    #[test]
    fn missing_empty_and_swapped_texts_have_different_identities() {
        let hashes = [
            text_hash([None, None]),
            text_hash([Some(""), None]),
            text_hash([None, Some("")]),
            text_hash([Some("a"), Some("b")]),
            text_hash([Some("b"), Some("a")]),
        ];
        assert_eq!(hashes[0], 0);
        assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), hashes.len());
        assert!(hashes.iter().all(|hash| (0..65_536).contains(hash)));
        // Lakes store these hashes, so the function must not change within a version.
        assert_eq!(hashes[3], 53_261);
    }
}
