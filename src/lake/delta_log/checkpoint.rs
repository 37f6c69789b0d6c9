//! Checkpoints of a log: the state at a version as Parquet.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::action::{Action, Add, Remove};
use super::names::{log, version_name};
use super::state::{FileChange, KEPT_MS, TableState};
use crate::error::{Context, Result};
use crate::lake::storage::Storage;
use crate::tables::Table;

/// How many actions of a checkpoint are written at a time.
const ACTIONS_AT_A_TIME: usize = 4_096;

/// Actions in a row group. A reader holds a whole row group in memory.
const ROW_GROUP: usize = 64 << 10;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LastCheckpoint {
    pub(super) version: i64,
    pub(super) size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<u32>,
}

impl LastCheckpoint {
    /// Records in `state` that it was read from this checkpoint.
    pub(super) fn note_in(&self, state: &mut TableState) {
        state.head.version = self.version;
        state.checkpoint = Some(self.version);
    }
}

pub(super) fn last_checkpoint(storage: &Storage, table: Table) -> Result<Option<LastCheckpoint>> {
    let bytes = storage.get(&format!("{}/_last_checkpoint", log(table)))?;
    // `_last_checkpoint` is only a hint, and some stores overwrite it in place. If it is missing or unreadable, and the
    // first version is missing, list the log.
    if let Some(last) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(Some(last));
    }
    if storage.has(&version_name(table, 0))? {
        return Ok(None);
    }
    let last = checkpoints(storage, table)?.pop();
    Ok(last.map(|version| LastCheckpoint { version, ..LastCheckpoint::default() }))
}

/// The state to which the later versions of the log are applied: the state of the last checkpoint. If this checkpoint
/// is lost, returns the state of an earlier checkpoint, or the empty state before version 0. Passes the files of the
/// state to `files`.
pub(super) fn base(
    storage: &Storage,
    table: Table,
    last: Option<LastCheckpoint>,
    columns: &[&str],
    files: &mut dyn FnMut(FileChange),
) -> Result<TableState> {
    let Some(last) = last else { return Ok(TableState::empty()) };
    let lost = match checkpointed(storage, table, &last, columns, files) {
        Err(error) if error.is_damaged() => error,
        read => return read,
    };
    for earlier in checkpoints(storage, table)?.into_iter().rev().filter(|version| *version < last.version) {
        let earlier = LastCheckpoint { version: earlier, ..LastCheckpoint::default() };
        match checkpointed(storage, table, &earlier, columns, files) {
            Err(error) if error.is_damaged() => {}
            read => return read,
        }
    }
    files(FileChange::Restart);
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

/// The state in a checkpoint.
fn checkpointed(
    storage: &Storage,
    table: Table,
    last: &LastCheckpoint,
    columns: &[&str],
    files: &mut dyn FnMut(FileChange),
) -> Result<TableState> {
    files(FileChange::Restart);
    let mut state = TableState::default();
    read_checkpoint(storage, table, last, columns, &mut |action| state.apply(action, files))?;
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

/// Writes a checkpoint.
pub(super) struct CheckpointWriter {
    writer: ArrowWriter<Vec<u8>>,
    /// Actions that are not written yet.
    waiting: Vec<Action>,
    size: i64,
    now_ms: i64,
}

impl CheckpointWriter {
    /// Begins a checkpoint.
    pub(super) fn new(now_ms: i64) -> Result<CheckpointWriter> {
        // The statistics of a file are 4 KB of text, similar to those of other files, so compression saves most of this
        // space. Other Delta writers use Snappy, too.
        let compressed = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let properties = compressed.set_max_row_group_row_count(Some(ROW_GROUP)).build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::new(checkpoint_schema()), Some(properties))?;
        Ok(CheckpointWriter { writer, waiting: Vec::new(), size: 0, now_ms })
    }

    /// Adds an action.
    pub(super) fn add(&mut self, action: Action) -> Result<()> {
        self.waiting.push(action);
        if self.waiting.len() < ACTIONS_AT_A_TIME {
            return Ok(());
        }
        self.write()
    }

    /// Adds the last change of a file, unless the file was removed longer than [`KEPT_MS`] ago.
    pub(super) fn add_file(&mut self, change: FileChange) -> Result<()> {
        // Set `data_change` to false, because a checkpoint changes no data.
        match change {
            FileChange::Restart => Ok(()),
            FileChange::Add(add) => self.add(Add { data_change: false, ..add }.added()),
            FileChange::Remove(remove) => {
                if remove.deletion_timestamp.is_some_and(|at| at <= self.now_ms - KEPT_MS) {
                    return Ok(());
                }
                let remove = Some(Remove { data_change: false, ..remove });
                self.add(Action { remove, ..Action::default() })
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        let some = std::mem::take(&mut self.waiting);
        self.size += some.len() as i64;
        Ok(self.writer.write(&action_batch(&some)?)?)
    }

    /// Stores the checkpoint of a version.
    pub(super) fn finish(mut self, storage: &Storage, table: Table, version: i64) -> Result<()> {
        self.write()?;
        let bytes = self.writer.into_inner()?;
        let last = LastCheckpoint { version, size: self.size, parts: None };
        storage.put(&format!("{}/{version:020}.checkpoint.parquet", log(table)), bytes)?;
        storage.put(&format!("{}/_last_checkpoint", log(table)), serde_json::to_vec(&last)?)
    }
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
