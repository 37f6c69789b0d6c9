//! Decides which names a lake has: the names of the cluster, or pseudonyms made with one key.
//!
//! A lake with both kinds of names would have every allocation twice. The first ingest with allocations decides which
//! kind the lake has. The ingest creates an object that records its kind of names, unless the object exists. If a lake
//! has allocations but not this object, it is older than the first version of alloclog that wrote the object. Such a
//! lake has the names of the cluster.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::staged::StagedRows;
use super::storage::Created;
use super::{Lake, delta_log};
use crate::error::{Context, Result, bail};
use crate::tables::Table;

/// Name of the object that says which names the lake has, [`RedactionFile`].
const FILE: &str = "_alloclog/redaction.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RedactionFile {
    /// The name of the key of the pseudonyms, 16 hex digits; null if the lake has the names of the cluster.
    redacted_with: Option<String>,
}

/// Refuses an ingest whose allocations have other names than the lake: names of the cluster instead of pseudonyms, the
/// reverse, or pseudonyms of another key. `batch` is the last batch of the lake.
///
/// # Errors
/// When the names differ in this way, or the lake cannot be read or written.
pub fn check(lake: &Lake, batch: u64, staged: &StagedRows) -> Result<()> {
    let mut keys = staged.redaction.iter();
    let (key, other) = (keys.next(), keys.next());
    let Some(key) = key else { return Ok(()) };
    if other.is_some() {
        bail!(
            "these documents have allocations with names and with pseudonyms of `fetch --redact`, or pseudonyms of \
             several keys: ingest each into a lake of its own"
        );
    }
    let of_run = RedactionFile { redacted_with: key.map(name) };
    let of_lake = match lake.storage.get(FILE)? {
        Some(file) => read(lake, &file)?,
        None => {
            let is_older = batch > 0 && has_allocations(lake)?;
            let decided = if is_older { RedactionFile { redacted_with: None } } else { of_run.clone() };
            match lake.storage.create(FILE, serde_json::to_vec(&decided)?)? {
                Created::Ours => decided,
                Created::Taken(theirs) => read(lake, &theirs)?,
            }
        }
    };
    if of_lake == of_run {
        return Ok(());
    }
    let has = |file: &RedactionFile| match &file.redacted_with {
        Some(key) => format!("pseudonyms of `fetch --redact` (key {key})"),
        None => "the names of the cluster".to_owned(),
    };
    bail!(
        "lake {} has {}, and these documents have {}: ingest them into a lake of their own",
        lake.storage,
        has(&of_lake),
        has(&of_run)
    )
}

/// Returns true if the lake has rows of allocations, listed or from logs.
fn has_allocations(lake: &Lake) -> Result<bool> {
    for table in [Table::AllocationHistory, Table::LogEvents] {
        if !lake.is_to_come(table)? && !delta_log::state(&lake.storage, table)?.files.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn name(key: NonZeroU64) -> String {
    format!("{key:016x}")
}

fn read(lake: &Lake, file: &[u8]) -> Result<RedactionFile> {
    serde_json::from_slice(file).or_damaged(|| format!("lake {}: {FILE} is damaged", lake.storage))
}
