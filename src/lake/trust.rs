//! Finds the documents in the ledger whose time is not trusted, because it is more than an hour after their ingest.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use super::delta_log::{self, Add, FileChange};
use super::lean::Detail;
use super::{Lake, data_files};
use crate::error::Result;
use crate::tables::Table;
use crate::time::{self, HOUR};

/// Maximum number of documents that are listed.
const NAMED: usize = 10;

/// Lists the documents that claim a time more than an hour after their ingest. Views ignore the times of these
/// documents, and times derived from them.
///
/// # Errors
/// When the ledger cannot be read.
pub fn untrusted(lake: &Lake) -> Result<Vec<String>> {
    let mut found: Vec<(i64, i64, String)> = Vec::new();
    let columns = ["observed_at_ns", "ingested_at_ns", "source"];
    // Files whose statistics prove that they have no such documents are not kept in memory.
    let is_ruled_out = |file: &Add| {
        let ingested = data_files::bounds(file, "ingested_at_ns").map(|(first, _)| first);
        let observed = data_files::bounds(file, "observed_at_ns").map(|(_, last)| last);
        ingested.zip(observed).is_some_and(|(ingested, observed)| observed <= ingested + HOUR)
    };
    let mut files = BTreeMap::new();
    delta_log::read(&lake.storage, Table::Snapshots, &mut |change| match change {
        FileChange::Restart => files.clear(),
        FileChange::Add(add) if is_ruled_out(&add) => {}
        FileChange::Add(add) => drop(files.insert(add.path.clone(), Detail::Bare.of(add, Table::Snapshots))),
        FileChange::Remove(remove) => drop(files.remove(&remove.path)),
    })?;
    for file in files.into_values() {
        data_files::read(&lake.storage, Table::Snapshots, &file, Some(&columns), &mut |batch| {
            let number = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
            let sources = batch.column_by_name("source").and_then(|c| c.as_string_opt::<i32>());
            let (Some(observed), Some(ingested)) = (number("observed_at_ns"), number("ingested_at_ns")) else {
                return Ok(());
            };
            for row in (0..batch.num_rows()).filter(|row| observed.is_valid(*row) && ingested.is_valid(*row)) {
                let (observed, ingested) = (observed.value(row), ingested.value(row));
                if observed > ingested + HOUR {
                    let source = sources.filter(|s| s.is_valid(row)).map_or("", |s| s.value(row));
                    found.push((observed, ingested, source.to_owned()));
                }
            }
            Ok(())
        })?;
    }
    found.sort();
    let more = found.len().saturating_sub(NAMED);
    let mut said: Vec<String> = found
        .iter()
        .take(NAMED)
        .map(|(observed, ingested, source)| {
            format!(
                "{source}: observed at {}, which is after its ingest at {}: its time is not trusted",
                time::to_rfc3339_seconds(*observed),
                time::to_rfc3339_seconds(*ingested),
            )
        })
        .collect();
    if more > 0 {
        said.push(format!("{more} more documents claim a time after their ingest"));
    }
    Ok(said)
}
