//! Checkpoints of a log: the state at a version as Parquet.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::names::{log, version_name};
use super::state::TableState;
use crate::error::{Context, Result};
use crate::lake::storage::Storage;
use crate::tables::Table;

/// Actions of a checkpoint that are written at a time.
const ACTIONS_AT_A_TIME: usize = 4_096;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LastCheckpoint {
    pub(super) version: i64,
    pub(super) size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<u32>,
}

impl LastCheckpoint {
    /// Notes in a state that it was read from this checkpoint.
    pub(super) fn note_in(&self, state: &mut TableState) {
        state.head.version = self.version;
        state.checkpoint = Some(self.version);
    }
}

pub(super) fn last_checkpoint(storage: &Storage, table: Table) -> Result<Option<LastCheckpoint>> {
    let bytes = storage.get(&format!("{}/_last_checkpoint", log(table)))?;
    // `_last_checkpoint` is a hint, and some stores overwrite it in place: if it is unreadable, list the log.
    if let Some(last) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(Some(last));
    }
    if storage.has(&version_name(table, 0))? {
        return Ok(None);
    }
    let last = checkpoints(storage, table)?.pop();
    Ok(last.map(|version| LastCheckpoint { version, ..LastCheckpoint::default() }))
}

/// The state where reading a log starts: the last checkpoint; if that is lost, an earlier one, or empty before version
/// 0.
pub(super) fn base(
    storage: &Storage,
    table: Table,
    last: Option<LastCheckpoint>,
    columns: &[&str],
) -> Result<TableState> {
    let Some(last) = last else { return Ok(TableState::empty()) };
    let lost = match checkpointed(storage, table, &last, columns) {
        Err(error) if error.is_damaged() => error,
        read => return read,
    };
    for earlier in checkpoints(storage, table)?.into_iter().rev().filter(|version| *version < last.version) {
        let earlier = LastCheckpoint { version: earlier, ..LastCheckpoint::default() };
        match checkpointed(storage, table, &earlier, columns) {
            Err(error) if error.is_damaged() => {}
            read => return read,
        }
    }
    if storage.has(&version_name(table, 0))? { Ok(TableState::empty()) } else { Err(lost) }
}

/// The versions of single-file checkpoints, ascending.
pub(super) fn checkpoints(storage: &Storage, table: Table) -> Result<Vec<i64>> {
    let version = |name: &str| name.rsplit('/').next()?.strip_suffix(".checkpoint.parquet")?.parse().ok();
    Ok(storage.list(&log(table))?.iter().filter_map(|object| version(&object.name)).collect())
}

/// The object names of a checkpoint's files.
pub(super) fn checkpoint_names(table: Table, last: &LastCheckpoint) -> Vec<String> {
    let (log, version) = (log(table), last.version);
    match last.parts {
        None => vec![format!("{log}/{version:020}.checkpoint.parquet")],
        Some(n) => (1..=n).map(|i| format!("{log}/{version:020}.checkpoint.{i:010}.{n:010}.parquet")).collect(),
    }
}

/// The state that a checkpoint has.
fn checkpointed(storage: &Storage, table: Table, last: &LastCheckpoint, columns: &[&str]) -> Result<TableState> {
    let mut state = TableState::default();
    read_checkpoint(storage, table, last, columns, &mut |action| state.apply(action))?;
    last.note_in(&mut state);
    Ok(state)
}

/// Reads the actions of a checkpoint.
pub(super) fn read_checkpoint(
    storage: &Storage,
    table: Table,
    last: &LastCheckpoint,
    columns: &[&str],
    each: &mut dyn FnMut(Action),
) -> Result<()> {
    for name in checkpoint_names(table, last) {
        let bytes = storage.need(&name)?;
        let damaged = || format!("lake {storage}: {name} is damaged");
        parquet_actions(bytes, columns, each).or_damaged(damaged)?;
    }
    Ok(())
}

fn parquet_actions(bytes: Vec<u8>, columns: &[&str], each: &mut dyn FnMut(Action)) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?;
    let roots = builder.parquet_schema().root_schema().get_fields();
    let wanted: Vec<usize> = (0..roots.len()).filter(|i| columns.contains(&roots[*i].name())).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    for batch in builder.with_projection(mask).build()? {
        let mut text = LineDelimitedWriter::new(Vec::new());
        text.write(&batch?)?;
        text.finish()?;
        for action in serde_json::Deserializer::from_slice(&text.into_inner()).into_iter() {
            each(action?);
        }
    }
    Ok(())
}

/// Writes a checkpoint of this state.
pub(super) fn write_checkpoint(storage: &Storage, table: Table, state: &TableState, now_ms: i64) -> Result<()> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::new(checkpoint_schema()), None)?;
    let (mut actions, mut size) = (state.actions(now_ms).peekable(), 0);
    while actions.peek().is_some() {
        let some: Vec<Action> = actions.by_ref().take(ACTIONS_AT_A_TIME).collect();
        size += some.len() as i64;
        writer.write(&action_batch(&some)?)?;
    }
    writer.close()?;
    let last = LastCheckpoint { version: state.head.version, size, parts: None };
    storage.put(&format!("{}/{:020}.checkpoint.parquet", log(table), last.version), bytes)?;
    storage.put(&format!("{}/_last_checkpoint", log(table)), serde_json::to_vec(&last)?)
}

pub(super) fn action_batch(actions: &[Action]) -> Result<RecordBatch> {
    let mut text = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut text, action)?;
        text.write_all(b"\n")?;
    }
    let schema = Arc::new(checkpoint_schema());
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(actions.len().max(1)).build_decoder()?;
    decoder.decode(&text)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// The Parquet schema of a checkpoint.
pub(super) fn checkpoint_schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let bool = |name: &str| Field::new(name, DataType::Boolean, true);
    let map = |name: &str| {
        let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), text("value")]);
        Field::new(name, DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false), true)
    };
    let list = |name: &str| Field::new(name, DataType::List(Arc::new(text("element"))), true);
    let all = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(fields.into()), true);
    Schema::new(vec![
        all("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        all(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                bool("dataChange"),
                text("stats"),
                map("tags"),
            ],
        ),
        all(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                bool("dataChange"),
                bool("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        all(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                all("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        all(
            "protocol",
            vec![int("minReaderVersion"), int("minWriterVersion"), list("readerFeatures"), list("writerFeatures")],
        ),
    ])
}
