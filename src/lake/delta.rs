//! The Delta log of one table, as far as a lake needs it: reading, appending, checkpointing.
//!
//! Written at protocol reader 1 and writer 2, which every Delta reader supports; read as any writer of these versions
//! leaves it. A table upgraded from lake format 1 has writer 3, see [`State::upgrade`]. A table that another engine
//! moved to a newer protocol is refused. Source of every rule: the Delta Transaction Log Protocol (delta-io/delta,
//! PROTOCOL.md).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::Damaged;
use super::format::FORMAT;
use super::objects::{Created, Objects};
use crate::tables::Table;
use crate::tables::column::Described;

pub mod salvage;

/// The columns of a checkpoint that make up a state.
const CHECKPOINTED: [&str; 5] = ["protocol", "metaData", "txn", "add", "remove"];
/// The application ID of the transactions that record the last applied batch.
const APP_ID: &str = "alloclog";
/// Tag of an `add`: the hash of the file's bytes.
pub const HASH_TAG: &str = "alloclog.xxh3";
/// Tag of an `add`: the decoded size of the file's rows in bytes.
pub const DECODED_TAG: &str = "alloclog.decoded";
/// Versions between two checkpoints.
const CHECKPOINT_EVERY: i64 = 100;
/// Table property with the lake's format. A program refuses a table of an unknown format, even if it opened the lake
/// before the upgrade. Programs of format 1 do not read it.
const FORMAT_PROPERTY: &str = "alloclog.format";
/// The writer feature that writer version 3 implies.
const CHECK_CONSTRAINTS: &str = "checkConstraints";
/// Table features that do not affect a program that only appends and replaces files.
const KNOWN_FEATURES: [&str; 3] = ["appendOnly", "invariants", CHECK_CONSTRAINTS];
/// Prefix of properties with constraints that a writer must check; this one does not support them.
const CONSTRAINT: &str = "delta.constraints.";
/// Retention of versions before a checkpoint and of remove actions: seven days, in milliseconds.
pub const KEPT_MS: i64 = 7 * 24 * 3_600_000;

/// One line of a commit. Other actions are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta_data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn: Option<Txn>,
    /// A file that is added to the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Add>,
    /// A file that is removed from the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Remove>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Protocol {
    min_reader_version: i32,
    min_writer_version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer_features: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Txn {
    app_id: String,
    version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated: Option<i64>,
}

/// A data file of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Add {
    /// Its path within the table's directory, URL-encoded.
    pub path: String,
    /// The values of the partition columns, as text.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Its size in bytes.
    pub size: i64,
    /// When it was written, in milliseconds since the epoch.
    pub modification_time: i64,
    /// True if it adds rows that the table did not have.
    pub data_change: bool,
    /// Column statistics as JSON: numRecords, minValues, maxValues, nullCount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Tags by name; see [`HASH_TAG`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

/// A data file that was removed from a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remove {
    /// See [`Add::path`].
    pub path: String,
    /// When it was removed, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<i64>,
    /// True if its rows were removed too.
    pub data_change: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_file_metadata: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_values: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
}

impl Add {
    /// The hash of the file's bytes, see [`super::files::hash`]; `None` for a file of an older version of this program
    /// or of another engine.
    pub fn hash(&self) -> Option<&str> {
        self.tags.as_ref()?.get(HASH_TAG)?.as_deref()
    }

    /// The decoded size of its rows in bytes; `None` for a file of an older version of this program or of another
    /// engine.
    pub fn decoded(&self) -> Option<u64> {
        self.tags.as_ref()?.get(DECODED_TAG)?.as_deref()?.parse().ok()
    }

    /// The action that removes this file without removing rows.
    pub fn removed(&self, now_ms: i64) -> Action {
        let remove = Remove {
            path: self.path.clone(),
            deletion_timestamp: Some(now_ms),
            data_change: false,
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition_values.clone()),
            size: Some(self.size),
        };
        Action { remove: Some(remove), ..Action::default() }
    }

    /// The action that adds this file.
    pub fn added(self) -> Action {
        Action { add: Some(self), ..Action::default() }
    }

    /// Its object name in the lake.
    pub fn object(&self, table: Table) -> String {
        let path = percent_encoding::percent_decode_str(&self.path).decode_utf8_lossy();
        format!("{}/{path}", table.name())
    }

    /// Its column statistics.
    pub fn stats(&self) -> Value {
        self.stats.as_deref().and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default()
    }
}

/// The newest known version of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version.
    pub version: i64,
    /// The last batch applied to the table; 0 for none.
    pub batch: u64,
    /// The hash of the commit's bytes, which differs if a lake restored to an earlier state reuses the version; 0 for a
    /// version known only from a checkpoint.
    pub commit: u64,
    /// The [`fingerprint`] of the table's columns when they were checked; 0 if columns are missing or were not checked.
    #[serde(default)]
    pub columns: u64,
}

/// The full state of a table at a version.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The version.
    pub head: Head,
    /// Its files by path.
    pub files: BTreeMap<String, Add>,
    /// Removed files by path.
    pub removed: BTreeMap<String, Remove>,
    /// The version of the checkpoint that was read; `None` without one.
    pub checkpoint: Option<i64>,
    protocol: Option<Protocol>,
    meta_data: Option<Value>,
    txns: BTreeMap<String, Txn>,
}

/// The result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Committed; the new head.
    Done(Head),
    /// Another writer committed this version first; read the log again.
    Conflict,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct LastCheckpoint {
    version: i64,
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<u32>,
}

fn log(table: Table) -> String {
    format!("{}/_delta_log", table.name())
}

fn version_name(table: Table, version: i64) -> String {
    format!("{}/{version:020}.json", log(table))
}

/// Returns true if the table exists.
///
/// # Errors
/// When the lake cannot be read.
pub fn exists(objects: &Objects, table: Table) -> anyhow::Result<bool> {
    Ok(objects.has(&version_name(table, 0))? || last_checkpoint(objects, table)?.is_some())
}

/// Returns true if the version of a head still has the same commit.
///
/// # Errors
/// When the lake cannot be read.
pub fn is_there(objects: &Objects, table: Table, head: Head) -> anyhow::Result<bool> {
    let bytes = objects.get(&version_name(table, head.version))?;
    Ok(bytes.is_some_and(|bytes| xxh3_64(&bytes) == head.commit))
}

/// Creates an empty table for a lake of a format, unless it exists.
///
/// # Errors
/// When the lake cannot be written.
pub fn create_table(objects: &Objects, table: Table, format: u32, now_ms: i64) -> anyhow::Result<()> {
    if exists(objects, table)? {
        return Ok(());
    }
    let mut actions = vec![info("CREATE TABLE", now_ms)];
    actions.extend(definition(table, format, now_ms));
    objects.create(&version_name(table, 0), lines(&actions)?).map(drop)
}

/// The protocol and metadata actions of a table of a format.
fn definition(table: Table, format: u32, now_ms: i64) -> [Action; 2] {
    let partitions: Vec<&str> = super::files::partition_column(table).into_iter().collect();
    let mut configuration = json!({"delta.logRetentionDuration": "interval 7 days"});
    if format > 1 {
        configuration[FORMAT_PROPERTY] = format.to_string().into();
    }
    let meta_data = json!({
        "id": super::unique_uuid(),
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
fn fields(columns: &[Described]) -> Vec<Value> {
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

/// The [`Head::columns`] of a table with this metadata.
///
/// # Errors
/// When the table has an unknown format, or constraints that this program cannot check.
fn known_columns(objects: &Objects, table: Table, meta_data: &Value) -> anyhow::Result<u64> {
    let format = format_of(meta_data);
    if format > FORMAT {
        bail!(
            "lake {objects}: table {} has format {format}; this alloclog supports formats up to {FORMAT}: use a newer one",
            table.name()
        );
    }
    let properties = meta_data["configuration"].as_object().into_iter().flatten();
    if let Some((name, _)) = properties.into_iter().find(|(name, _)| name.starts_with(CONSTRAINT)) {
        bail!("lake {objects}: table {} has {name}, which alloclog cannot check: drop the constraint", table.name());
    }
    Ok(if missing_fields(table, meta_data).is_empty() { fingerprint(table) } else { 0 })
}

/// The lake format in a table's metadata.
fn format_of(meta_data: &Value) -> u32 {
    meta_data["configuration"][FORMAT_PROPERTY].as_str().and_then(|format| format.parse().ok()).unwrap_or(1)
}

/// The fields of a table's schema.
fn schema_fields(meta_data: &Value) -> Vec<Value> {
    let schema = meta_data["schemaString"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    schema.and_then(|schema| schema["fields"].as_array().cloned()).unwrap_or_default()
}

/// The columns of this program that a table lacks.
fn missing_fields(table: Table, meta_data: &Value) -> Vec<Value> {
    let there = schema_fields(meta_data);
    let mut ours = fields(&table.columns());
    ours.retain(|field| !there.iter().any(|other| other["name"] == field["name"]));
    ours
}

fn info(operation: &str, now_ms: i64) -> Action {
    let info = json!({
        "timestamp": now_ms,
        "operation": operation,
        "operationParameters": {},
        "engineInfo": concat!("alloclog/", env!("CARGO_PKG_VERSION")),
        "txnId": super::unique_uuid(),
    });
    Action { commit_info: Some(info), ..Action::default() }
}

/// The transaction action that records an applied batch.
fn entered(batch: u64, now_ms: i64) -> Action {
    let txn = Txn { app_id: APP_ID.to_owned(), version: batch as i64, last_updated: Some(now_ms) };
    Action { txn: Some(txn), ..Action::default() }
}

fn lines(actions: &[Action]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The head of a table, starting from a known earlier head.
///
/// # Errors
/// When the log cannot be read, has a gap, or requires an unsupported protocol.
pub fn head(objects: &Objects, table: Table, known: Option<Head>) -> anyhow::Result<Head> {
    let last = last_checkpoint(objects, table)?;
    // Versions older than a checkpoint may have been removed, so a missing successor would not prove the end of the
    // log.
    let known = known.filter(|known| last.as_ref().is_none_or(|last| known.version >= last.version));
    let (mut head, mut protocol, mut meta_data) = match (known, last) {
        (Some(known), _) => (known, None, None),
        (None, last) => {
            let state = base(objects, table, last, &["protocol", "metaData", "txn"])?;
            (state.head, state.protocol, state.meta_data)
        }
    };
    let is_known = known.is_some();
    let mut next = read_version(objects, table, head.version + 1)?;
    while let Some((actions, commit)) = next {
        head.version += 1;
        head.commit = commit;
        for action in actions {
            head.batch = action.batch().unwrap_or(head.batch);
            protocol = action.protocol.or(protocol);
            meta_data = action.meta_data.or(meta_data);
        }
        next = read_version(objects, table, head.version + 1)?;
        if next.is_none() && !is_known {
            next = after_the_last(objects, table, head.version)?;
        }
    }
    if head.version < 0 {
        bail!(no_log(objects, table));
    }
    check_protocol(objects, table, protocol.as_ref())?;
    if let Some(meta_data) = meta_data {
        head.columns = known_columns(objects, table, &meta_data)?;
    }
    Ok(head)
}

fn no_log(objects: &Objects, table: Table) -> Damaged {
    let name = table.name();
    Damaged(format!(
        "lake {objects}: {name} is not a Delta table, its log is missing: run `alloclog lake check --repair`"
    ))
}

/// The full state of a table at its newest version.
///
/// # Errors
/// As [`head`].
pub fn state(objects: &Objects, table: Table) -> anyhow::Result<State> {
    let last = last_checkpoint(objects, table)?;
    let mut state = base(objects, table, last, &CHECKPOINTED)?;
    let mut next = read_version(objects, table, state.head.version + 1)?;
    while let Some((actions, commit)) = next {
        state.head.version += 1;
        state.head.commit = commit;
        actions.into_iter().for_each(|action| state.apply(action));
        next = read_version(objects, table, state.head.version + 1)?;
        if next.is_none() {
            next = after_the_last(objects, table, state.head.version)?;
        }
    }
    if state.head.version < 0 {
        bail!(no_log(objects, table));
    }
    check_protocol(objects, table, state.protocol.as_ref())?;
    if let Some(meta_data) = &state.meta_data {
        state.head.columns = known_columns(objects, table, meta_data)?;
    }
    Ok(state)
}

/// Commits actions as the version after `head`, and writes a checkpoint every `CHECKPOINT_EVERY` versions.
///
/// # Errors
/// When the lake cannot be written.
pub fn commit(
    objects: &Objects,
    table: Table,
    head: Head,
    operation: &str,
    batch: Option<u64>,
    actions: Vec<Action>,
    now_ms: i64,
) -> anyhow::Result<Committed> {
    let done = append(objects, table, head, operation, batch, actions, now_ms)?;
    if let Committed::Done(head) = done
        && head.version % CHECKPOINT_EVERY == 0
    {
        write_checkpoint(objects, table, &state(objects, table)?, now_ms)?;
    }
    Ok(done)
}

/// Commits actions as the version after `head`, without a checkpoint.
fn append(
    objects: &Objects,
    table: Table,
    head: Head,
    operation: &str,
    batch: Option<u64>,
    actions: Vec<Action>,
    now_ms: i64,
) -> anyhow::Result<Committed> {
    let version = head.version + 1;
    let mut all = vec![info(operation, now_ms)];
    all.extend(batch.map(|batch| entered(batch, now_ms)));
    all.extend(actions);
    let columns = match all.iter().find_map(|action| action.meta_data.as_ref()) {
        Some(meta_data) if missing_fields(table, meta_data).is_empty() => fingerprint(table),
        Some(_) => 0,
        None => head.columns,
    };
    let bytes = lines(&all)?;
    let name = version_name(table, version);
    if objects.create(&name, bytes.clone())? != Created::Ours {
        return Ok(Committed::Conflict);
    }
    Ok(Committed::Done(Head { version, batch: batch.unwrap_or(head.batch), commit: xxh3_64(&bytes), columns }))
}

impl Action {
    fn batch(&self) -> Option<u64> {
        self.txn.as_ref().filter(|txn| txn.app_id == APP_ID).and_then(|txn| u64::try_from(txn.version).ok())
    }
}

impl State {
    /// The state before version 0.
    fn empty() -> State {
        State { head: Head { version: -1, ..Head::default() }, ..State::default() }
    }

    fn apply(&mut self, action: Action) {
        self.head.batch = action.batch().unwrap_or(self.head.batch);
        if let Some(txn) = action.txn {
            self.txns.insert(txn.app_id.clone(), txn);
        }
        if let Some(add) = action.add {
            self.removed.remove(&add.path);
            self.files.insert(add.path.clone(), add);
        }
        if let Some(remove) = action.remove {
            self.files.remove(&remove.path);
            self.removed.insert(remove.path.clone(), remove);
        }
        self.protocol = action.protocol.or(self.protocol.take());
        self.meta_data = action.meta_data.or(self.meta_data.take());
    }

    /// The lake format of the table.
    pub fn format(&self) -> u32 {
        self.meta_data.as_ref().map_or(1, format_of)
    }

    /// The action that adds missing columns of this program to a table; `None` if it has them all. Existing rows have
    /// null in them.
    pub fn evolve(&self, table: Table) -> Option<Action> {
        let meta_data = self.meta_data.as_ref()?;
        let missing = missing_fields(table, meta_data);
        if missing.is_empty() {
            return None;
        }
        let mut there = schema_fields(meta_data);
        there.extend(missing);
        let mut meta_data = meta_data.clone();
        meta_data["schemaString"] = json!({"type": "struct", "fields": there}).to_string().into();
        Some(Action { meta_data: Some(meta_data), ..Action::default() })
    }

    /// The actions that upgrade a table to the format of this program: its columns, the format property, and writer
    /// version 3. A running program of format 1 refuses that version when it next reads the log, before it rewrites
    /// files without the new columns. Readers are unaffected. Version 3 adds constraints, and the table has none.
    pub fn upgrade(&self, table: Table) -> Vec<Action> {
        if self.format() >= FORMAT {
            return self.evolve(table).into_iter().collect();
        }
        let evolved = self.evolve(table).and_then(|action| action.meta_data);
        let mut meta_data = evolved.or_else(|| self.meta_data.clone()).unwrap_or_default();
        meta_data["configuration"][FORMAT_PROPERTY] = FORMAT.to_string().into();
        let mut protocol = self.protocol.clone().unwrap_or_default();
        match &mut protocol.writer_features {
            Some(features) => {
                if !features.iter().any(|feature| feature == CHECK_CONSTRAINTS) {
                    features.push(CHECK_CONSTRAINTS.to_owned());
                }
            }
            None => protocol.min_writer_version = protocol.min_writer_version.max(3),
        }
        vec![
            Action { protocol: Some(protocol), ..Action::default() },
            Action { meta_data: Some(meta_data), ..Action::default() },
        ]
    }

    /// The actions of a checkpoint of this state, without removals older than [`KEPT_MS`].
    fn actions(&self, now_ms: i64) -> Vec<Action> {
        let recent = |remove: &&Remove| remove.deletion_timestamp.is_none_or(|at| at > now_ms - KEPT_MS);
        let protocol = self.protocol.clone().map(|protocol| Action { protocol: Some(protocol), ..Action::default() });
        let meta = self.meta_data.clone().map(|meta| Action { meta_data: Some(meta), ..Action::default() });
        let txns = self.txns.values().map(|txn| Action { txn: Some(txn.clone()), ..Action::default() });
        // A checkpoint changes no data.
        let adds = self.files.values().map(|add| Add { data_change: false, ..add.clone() }.added());
        let removes = self.removed.values().filter(recent).map(|remove| Action {
            remove: Some(Remove { data_change: false, ..remove.clone() }),
            ..Action::default()
        });
        protocol.into_iter().chain(meta).chain(txns).chain(adds).chain(removes).collect()
    }
}

fn check_protocol(objects: &Objects, table: Table, protocol: Option<&Protocol>) -> anyhow::Result<()> {
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
        bail!("lake {objects}: table {} requires an unsupported Delta protocol ({needs})", table.name());
    }
    Ok(())
}

/// The actions of a version and the hash of its bytes; `None` if the version does not exist yet.
fn read_version(objects: &Objects, table: Table, version: i64) -> anyhow::Result<Option<(Vec<Action>, u64)>> {
    let name = version_name(table, version);
    let Some(bytes) = objects.get(&name)? else { return Ok(None) };
    let actions = serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>();
    let actions = actions.with_context(|| Damaged(format!("lake {objects}: {name} is damaged")))?;
    Ok(Some((actions, xxh3_64(&bytes))))
}

fn last_checkpoint(objects: &Objects, table: Table) -> anyhow::Result<Option<LastCheckpoint>> {
    let bytes = objects.get(&format!("{}/_last_checkpoint", log(table)))?;
    // `_last_checkpoint` is a hint, and some stores overwrite it in place: if it is unreadable, list the log.
    if let Some(last) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(Some(last));
    }
    if objects.has(&version_name(table, 0))? {
        return Ok(None);
    }
    let last = checkpoints(objects, table)?.pop();
    Ok(last.map(|version| LastCheckpoint { version, ..LastCheckpoint::default() }))
}

/// The state where reading a log starts: the last checkpoint; if that is lost, an earlier one, or empty before version
/// 0.
fn base(objects: &Objects, table: Table, last: Option<LastCheckpoint>, columns: &[&str]) -> anyhow::Result<State> {
    let Some(last) = last else { return Ok(State::empty()) };
    let lost = match read_checkpoint(objects, table, &last, columns) {
        Err(error) if error.is::<Damaged>() => error,
        read => return read,
    };
    for earlier in checkpoints(objects, table)?.into_iter().rev().filter(|version| *version < last.version) {
        let earlier = LastCheckpoint { version: earlier, ..LastCheckpoint::default() };
        match read_checkpoint(objects, table, &earlier, columns) {
            Err(error) if error.is::<Damaged>() => {}
            read => return read,
        }
    }
    if objects.has(&version_name(table, 0))? { Ok(State::empty()) } else { Err(lost) }
}

/// Reads the version after the last one found, in case it was just written.
///
/// # Errors
/// When the log cannot be read, and [`Damaged`] when it has later versions but not this one.
fn after_the_last(objects: &Objects, table: Table, last: i64) -> anyhow::Result<Option<(Vec<Action>, u64)>> {
    let later = objects.names_after(&log(table), &version_name(table, last))?;
    if !later.iter().any(|name| version_of(name).is_some()) {
        return Ok(None);
    }
    let next = read_version(objects, table, last + 1)?;
    if next.is_none() {
        bail!(Damaged(format!(
            "lake {objects}: {} is missing, but later versions exist; run `alloclog lake check --repair`",
            version_name(table, last + 1)
        )));
    }
    Ok(next)
}

/// The version that a log object holds.
fn version_of(name: &str) -> Option<i64> {
    let digits = name.rsplit('/').next()?.strip_suffix(".json")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// The versions of single-file checkpoints, ascending.
fn checkpoints(objects: &Objects, table: Table) -> anyhow::Result<Vec<i64>> {
    let version = |name: &str| name.rsplit('/').next()?.strip_suffix(".checkpoint.parquet")?.parse().ok();
    Ok(objects.list(&log(table))?.iter().filter_map(|object| version(&object.name)).collect())
}

/// The object names of a checkpoint's files.
fn checkpoint_names(table: Table, last: &LastCheckpoint) -> Vec<String> {
    let (log, version) = (log(table), last.version);
    match last.parts {
        None => vec![format!("{log}/{version:020}.checkpoint.parquet")],
        Some(n) => (1..=n).map(|i| format!("{log}/{version:020}.checkpoint.{i:010}.{n:010}.parquet")).collect(),
    }
}

fn read_checkpoint(objects: &Objects, table: Table, last: &LastCheckpoint, columns: &[&str]) -> anyhow::Result<State> {
    let mut state = State::default();
    for name in checkpoint_names(table, last) {
        let bytes = objects.need(&name)?;
        let damaged = || Damaged(format!("lake {objects}: {name} is damaged"));
        for action in parquet_actions(bytes, columns).with_context(damaged)? {
            state.apply(action);
        }
    }
    state.head.version = last.version;
    state.checkpoint = Some(last.version);
    Ok(state)
}

fn parquet_actions(bytes: Vec<u8>, columns: &[&str]) -> anyhow::Result<Vec<Action>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?;
    let roots = builder.parquet_schema().root_schema().get_fields();
    let wanted: Vec<usize> = (0..roots.len()).filter(|i| columns.contains(&roots[*i].name())).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let mut text = LineDelimitedWriter::new(Vec::new());
    for batch in builder.with_projection(mask).build()? {
        text.write(&batch?)?;
    }
    text.finish()?;
    Ok(serde_json::Deserializer::from_slice(&text.into_inner()).into_iter().collect::<Result<_, _>>()?)
}

/// Writes a checkpoint, so that older versions can be removed after [`KEPT_MS`].
///
/// # Errors
/// When the lake cannot be read or written.
pub fn checkpoint(objects: &Objects, table: Table, now_ms: i64) -> anyhow::Result<()> {
    write_checkpoint(objects, table, &state(objects, table)?, now_ms)
}

/// Writes a checkpoint of this state.
fn write_checkpoint(objects: &Objects, table: Table, state: &State, now_ms: i64) -> anyhow::Result<()> {
    let actions = state.actions(now_ms);
    let batch = action_batch(&actions)?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    let last = LastCheckpoint { version: state.head.version, size: actions.len() as i64, parts: None };
    for name in checkpoint_names(table, &last) {
        objects.put(&name, bytes.clone())?;
    }
    objects.put(&format!("{}/_last_checkpoint", log(table)), serde_json::to_vec(&last)?)
}

fn action_batch(actions: &[Action]) -> anyhow::Result<RecordBatch> {
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
fn checkpoint_schema() -> Schema {
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

/// Removes versions before the last checkpoint that are older than [`KEPT_MS`] by the store's clock. Returns how many.
///
/// # Errors
/// When the log cannot be read, or an object cannot be removed.
pub fn clean_log(objects: &Objects, table: Table, now_ms: i64) -> anyhow::Result<usize> {
    let Some(last) = last_checkpoint(objects, table)? else { return Ok(0) };
    let mut gone = 0;
    for object in objects.list(&log(table))? {
        let file = object.name.rsplit('/').next().unwrap_or_default();
        let version = file.split('.').next().and_then(|digits| digits.parse::<i64>().ok());
        if version.is_some_and(|version| version < last.version) && object.written_ms < now_ms - KEPT_MS {
            objects.delete(&object.name)?;
            gone += 1;
        }
    }
    Ok(gone)
}
