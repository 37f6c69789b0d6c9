//! The definition of a table in its log: columns, properties, protocol.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::action::{Action, Protocol};
use crate::error::{Error, Kind, Result, bail};
use crate::lake::layout::{FORMAT, partition_column};
use crate::lake::storage::Storage;
use crate::tables::Table;
use crate::tables::column::Described;

/// Table property with the lake's format. A program refuses a table of an unknown format, even if it opened the lake
/// before the upgrade. Programs of format 1 do not read this property.
pub(super) const FORMAT_PROPERTY: &str = "alloclog.format";

/// The writer feature that writer version 3 implies.
pub(super) const CHECK_CONSTRAINTS: &str = "checkConstraints";

/// Table features that do not affect a program that only appends and replaces files.
pub(super) const KNOWN_FEATURES: [&str; 3] = ["appendOnly", "invariants", CHECK_CONSTRAINTS];

/// Prefix of the table properties that define constraints. A writer must check constraints; this program cannot.
pub(super) const CONSTRAINT: &str = "delta.constraints.";

/// The protocol and metadata actions of a new table in a lake of this format.
pub(super) fn definition(table: Table, format: u32, now_ms: i64) -> [Action; 2] {
    let partitions: Vec<&str> = partition_column(table).into_iter().collect();
    let mut configuration = json!({"delta.logRetentionDuration": "interval 7 days"});
    if format > 1 {
        configuration[FORMAT_PROPERTY] = format.to_string().into();
    }
    let meta_data = json!({
        "id": crate::lake::unique_uuid(),
        "name": table.name(),
        "description": format!("one row is {}", table.row_is()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json!({"type": "struct", "fields": fields(&table.columns())}).to_string(),
        "partitionColumns": partitions,
        "configuration": configuration,
        "createdTime": now_ms,
    });
    let protocol = Protocol { min_reader_version: 1, min_writer_version: 2, ..Protocol::default() };
    [
        Action { protocol: Some(protocol), ..Action::default() },
        Action { meta_data: Some(meta_data), ..Action::default() },
    ]
}

/// Columns as Delta schema fields, with their meaning as the comment.
pub(super) fn fields(columns: &[Described]) -> Vec<Value> {
    columns
        .iter()
        .map(|column| {
            let kind = match column.kind {
                "int64" => "long",
                "int32" => "integer",
                "bool" => "boolean",
                other => other,
            };
            json!({"name": column.name, "type": kind, "nullable": true, "metadata": {"comment": column.meaning}})
        })
        .collect()
}

/// A hash of the names and types of a table's columns in this program.
pub fn fingerprint(table: Table) -> u64 {
    let columns = table.columns();
    let named: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    xxh3_64(named.join(",").as_bytes())
}

/// The [`TableHead::columns`] of a table with this metadata.
///
/// # Errors
/// When the table has an unknown format, or constraints that this program cannot check.
pub(super) fn known_columns(storage: &Storage, table: Table, meta_data: &Value) -> Result<u64> {
    let format = format_of(meta_data);
    if format > FORMAT {
        return Err(Error::of(
            Kind::Unsupported,
            format!(
                "lake {storage}: table {} has format {format}; this alloclog supports formats up to {FORMAT}: use a newer one",
                table.name()
            ),
        ));
    }
    let properties = meta_data["configuration"].as_object().into_iter().flatten();
    if let Some((name, _)) = properties.into_iter().find(|(name, _)| name.starts_with(CONSTRAINT)) {
        bail!("lake {storage}: table {} has {name}, which alloclog cannot check: drop the constraint", table.name());
    }
    Ok(if missing_fields(table, meta_data).is_empty() { fingerprint(table) } else { 0 })
}

/// The lake format in a table's metadata.
pub(super) fn format_of(meta_data: &Value) -> u32 {
    meta_data["configuration"][FORMAT_PROPERTY].as_str().and_then(|format| format.parse().ok()).unwrap_or(1)
}

/// The fields of a table's schema.
pub(super) fn schema_fields(meta_data: &Value) -> Vec<Value> {
    let schema = meta_data["schemaString"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    schema.and_then(|schema| schema["fields"].as_array().cloned()).unwrap_or_default()
}

/// The columns of this program that a table lacks.
pub(super) fn missing_fields(table: Table, meta_data: &Value) -> Vec<Value> {
    let there = schema_fields(meta_data);
    let mut ours = fields(&table.columns());
    ours.retain(|field| !there.iter().any(|other| other["name"] == field["name"]));
    ours
}

/// Returns what is wrong in the metadata of a table, and the corrected metadata; `None` if the metadata is right.
/// `format` is the format of the lake. Columns that other programs added stay. A column that is not part of the key may
/// be missing, because the next write adds it.
pub(super) fn corrected(table: Table, format: u32, meta_data: &Value) -> Option<(String, Value)> {
    let mut wrong = Vec::new();
    let mut right = meta_data.clone();
    let partitions: Vec<&str> = partition_column(table).into_iter().collect();
    if meta_data["partitionColumns"] != json!(partitions) {
        wrong.push(format!("partition columns {}", meta_data["partitionColumns"]));
        right["partitionColumns"] = json!(partitions);
    }
    // An upgrade changes the format of the tables before that of the lake. So a table may have a newer format than the
    // lake, but never an older one.
    if format_of(meta_data) < format {
        wrong.push(format!("format {}", format_of(meta_data)));
        right["configuration"][FORMAT_PROPERTY] = format.to_string().into();
    }
    let keys = table.key_columns();
    let mut there = schema_fields(meta_data);
    let before = there.clone();
    for ours in fields(&table.columns()) {
        let name = ours["name"].as_str().unwrap_or_default().to_owned();
        match there.iter_mut().find(|field| field["name"] == ours["name"]) {
            Some(field) if field["type"] != ours["type"] => {
                wrong.push(format!("{name} has type {}", field["type"]));
                *field = ours;
            }
            // A table of format 1 lacks one column of the key.
            None if format > 1 && keys.contains(&name) => {
                wrong.push(format!("column {name} is missing"));
                there.push(ours);
            }
            _ => {}
        }
    }
    if there != before {
        right["schemaString"] = json!({"type": "struct", "fields": there}).to_string().into();
    }
    (!wrong.is_empty()).then(|| (wrong.join(", "), right))
}

pub(super) fn check_protocol(storage: &Storage, table: Table, protocol: Option<&Protocol>) -> Result<()> {
    let Some(protocol) = protocol else { return Ok(()) };
    let features = protocol.reader_features.iter().chain(&protocol.writer_features).flatten();
    let foreign: BTreeSet<&str> = features.map(String::as_str).filter(|name| !KNOWN_FEATURES.contains(name)).collect();
    let is_known = protocol.min_reader_version == 1 && protocol.min_writer_version <= 3
        || (protocol.writer_features.is_some() && foreign.is_empty() && protocol.min_reader_version != 2);
    if !is_known {
        let needs = if foreign.is_empty() {
            format!("reader {}, writer {}", protocol.min_reader_version, protocol.min_writer_version)
        } else {
            foreign.into_iter().collect::<Vec<_>>().join(", ")
        };
        return Err(Error::of(
            Kind::Unsupported,
            format!("lake {storage}: table {} requires an unsupported Delta protocol ({needs})", table.name()),
        ));
    }
    Ok(())
}
