//! The data files of a lake: writes rows to Parquet with column statistics, and reads them back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::delta_log::{Add, DECODED_TAG, HASH_TAG, Texts};
pub use super::layout::{partition_column, time_column, times};
use super::storage::Storage;
use crate::error::{Context, Error, Result};
use crate::store::parquet::{ensure_nonempty_buffer, properties};
use crate::tables::{Table, is_free_text};
use crate::time;

/// A file is closed at about this size, in bytes.
const FILE_BYTES: usize = 128 << 20;

/// A file is also closed at this many rows, because a reader holds all rows of a file in memory, and many rows may fit
/// in a small file: a sighting takes only 0.2 bytes.
const FILE_ROWS: u64 = 1_000_000;

/// Text bounds shorter than this, in bytes, are not truncated, because this program keeps 64 bytes of a bound, and
/// other engines keep at least 16 characters.
const CUT_BOUND: usize = 16;

/// The upper bound that replaces the bounds of free texts: the greatest character, which Spark also uses where it
/// truncates a text.
const GREATEST_TEXT: &str = "\u{10FFFF}";

/// How many files are open for writing at a time. Each day has a file of its own, and a first ingest may contain events
/// of many days.
const OPEN_FILES: usize = 64;

/// Writes rows of one table as new files of the lake. No table references them before a commit.
pub struct DataFileWriter<'o> {
    storage: &'o Storage,
    table: Table,
    /// The columns stored in a file: all except the partition column.
    schema: SchemaRef,
    now_ms: i64,
    open: BTreeMap<Option<i32>, OpenFile>,
    written: Vec<Add>,
}

/// A file that is being written.
struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
    /// Decoded size of its rows in bytes.
    decoded: u64,
}

impl<'o> DataFileWriter<'o> {
    /// Creates a writer.
    pub fn new(storage: &'o Storage, table: Table, now_ms: i64) -> DataFileWriter<'o> {
        let none = Arc::new(Schema::empty());
        let mut writer =
            DataFileWriter { storage, table, schema: none, now_ms, open: BTreeMap::new(), written: Vec::new() };
        writer.set_columns(&table.schema());
        writer
    }

    /// Sets the columns of a writer that has no rows yet, so that the new files keep columns that a newer program
    /// added.
    pub fn set_columns(&mut self, schema: &Schema) {
        let parted = partition_column(self.table);
        let fields = schema.fields().iter().filter(|field| Some(field.name().as_str()) != parted).cloned();
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    }

    /// Adds rows with the columns of the stored table.
    ///
    /// # Errors
    /// When the lake cannot be written.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(parted) = partition_column(self.table) else {
            return self.add_to(None, batch);
        };
        let days = batch.column_by_name(parted).context("rows without their day")?.as_primitive::<Date32Type>();
        let distinct: BTreeSet<Option<i32>> = days.iter().collect();
        for day in distinct {
            let rows: UInt32Array =
                (0u32..).zip(days.iter()).filter(|(_, other)| *other == day).map(|(row, _)| row).collect();
            self.add_to(day, &take_record_batch(batch, &rows)?)?;
        }
        Ok(())
    }

    fn add_to(&mut self, day: Option<i32>, batch: &RecordBatch) -> Result<()> {
        if !self.open.contains_key(&day) && self.open.len() >= OPEN_FILES {
            self.close_all()?;
        }
        let columns: Option<Vec<ArrayRef>> =
            self.schema.fields().iter().map(|field| batch.column_by_name(field.name()).cloned()).collect();
        let columns = columns.context("rows without a column of their table")?;
        let columns = columns.into_iter().map(ensure_nonempty_buffer).collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let open = match self.open.entry(day) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let writer = ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(properties(&self.schema)))?;
                vacant.insert(OpenFile { writer, rows: 0, decoded: 0 })
            }
        };
        open.writer.write(&batch)?;
        open.rows += batch.num_rows() as u64;
        open.decoded += batch.get_array_memory_size() as u64;
        let is_full = open.writer.bytes_written() + open.writer.in_progress_size() >= FILE_BYTES;
        if is_full || open.rows >= FILE_ROWS {
            let open = self.open.remove(&day);
            open.map_or(Ok(()), |open| self.close(day, open))?;
        }
        Ok(())
    }

    fn close(&mut self, day: Option<i32>, open: OpenFile) -> Result<()> {
        let OpenFile { mut writer, decoded, .. } = open;
        let metadata = writer.finish()?;
        let bytes = std::mem::take(writer.inner_mut());
        let mut partition_values = Texts::default();
        let mut path = format!("part-{}.zstd.parquet", super::unique());
        if let Some(parted) = partition_column(self.table) {
            let day = day.map(time::day);
            path = format!("{parted}={}/{path}", day.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__"));
            partition_values = [(parted.to_owned(), day)].into_iter().collect();
        }
        let add = Add {
            path,
            partition_values,
            size: bytes.len() as i64,
            modification_time: self.now_ms,
            data_change: true,
            stats: Some(stats(&self.schema, &metadata).to_string()),
            tags: Some(Texts::from_iter([
                (HASH_TAG.to_owned(), Some(hash(&bytes))),
                (DECODED_TAG.to_owned(), Some(decoded.to_string())),
            ])),
        };
        self.storage.put(&add.object(self.table), bytes)?;
        self.written.push(add);
        Ok(())
    }

    fn close_all(&mut self) -> Result<()> {
        for (day, open) in std::mem::take(&mut self.open) {
            self.close(day, open)?;
        }
        Ok(())
    }

    /// Closes the remaining files and returns all of them, in the order in which they were closed.
    ///
    /// # Errors
    /// When the lake cannot be written.
    pub fn finish(mut self) -> Result<Vec<Add>> {
        self.close_all()?;
        Ok(self.written)
    }
}

/// The hash of a file's bytes: 128-bit XXH3, 32 hex digits.
pub fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// A path for a new file in the same partition as the file at `path`.
pub fn renamed(path: &str) -> String {
    let partition = path.rsplit_once('/').map_or(String::new(), |(partition, _)| format!("{partition}/"));
    format!("{partition}part-{}.zstd.parquet", super::unique())
}

/// The UTC day of a file of a table partitioned by day, in days since the epoch; `None` for rows without a day.
pub fn day(add: &Add) -> Option<i32> {
    let text = add.partition_values.first()?;
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Delta column statistics from the Parquet statistics of a file. Delta's statistics keep only the milliseconds of a
/// timestamp, so minimums are rounded down and maximums are rounded up.
fn stats(schema: &Schema, metadata: &ParquetMetaData) -> Value {
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (i, field) in schema.fields().iter().enumerate() {
        let groups: Option<Vec<&Statistics>> =
            metadata.row_groups().iter().map(|group| group.column(i).statistics()).collect();
        let Some(groups) = groups else { continue };
        let count: Option<u64> = groups.iter().map(|stats| stats.null_count_opt()).sum();
        nulls.extend(count.map(|count| (field.name().clone(), json!(count))));
        // A row group without values has no bounds, and does not change the bounds of the file. If a row group with
        // values has no bounds, the file has no bounds, either.
        let bounds: Option<Vec<_>> = groups
            .iter()
            .zip(metadata.row_groups())
            .filter(|(stats, group)| stats.null_count_opt() != u64::try_from(group.num_rows()).ok())
            .map(|(stats, _)| bounds_of(stats, field.data_type()))
            .collect();
        let Some(bounds) = bounds else { continue };
        let min = bounds.iter().map(|(min, _)| min).min_by(|a, b| order(a, b));
        let max = bounds.iter().map(|(_, max)| max).max_by(|a, b| order(a, b));
        least.extend(min.map(|min| (field.name().clone(), min.clone())));
        greatest.extend(max.map(|max| (field.name().clone(), max.clone())));
    }
    without_texts(json!({
        "numRecords": metadata.file_metadata().num_rows(),
        "minValues": least,
        "maxValues": greatest,
        "nullCount": nulls,
    }))
}

/// Replaces the bounds of free texts by trivial ones. Remasking replaces a file, but the log and the batches keep its
/// bounds, which would still contain its texts. Without any bounds, delta-rs (1.6) would skip the file for every text
/// filter.
pub(super) fn without_texts(mut stats: Value) -> Value {
    for (bounds, bound) in [("minValues", ""), ("maxValues", GREATEST_TEXT)] {
        if let Some(values) = stats.get_mut(bounds).and_then(Value::as_object_mut) {
            // If a bound is greater than the new one, the new one is not valid, so drop the bound of this column. Only
            // a text that begins with the greatest character can be greater.
            values.retain(|column, value| !is_free_text(column) || value.as_str() <= Some(GREATEST_TEXT));
            values.iter_mut().filter(|(column, _)| is_free_text(column)).for_each(|(_, value)| *value = json!(bound));
        }
    }
    stats
}

/// The bounds of a column in a row group, as Delta writes them; `None` if the Parquet statistics have no bounds. Text
/// bounds may be truncated; they are still valid bounds.
fn bounds_of(stats: &Statistics, kind: &DataType) -> Option<(Value, Value)> {
    match stats {
        Statistics::Int64(values) => {
            let (min, max) = (*values.min_opt()?, *values.max_opt()?);
            match kind {
                DataType::Timestamp(..) => Some((moment(min, 0)?, moment(max, 999)?)),
                _ => Some((json!(min), json!(max))),
            }
        }
        Statistics::Int32(values) => {
            let (min, max) = (*values.min_opt()?, *values.max_opt()?);
            match kind {
                DataType::Date32 => Some((json!(time::day(min)), json!(time::day(max)))),
                _ => Some((json!(min), json!(max))),
            }
        }
        Statistics::Boolean(values) => Some((json!(values.min_opt()?), json!(values.max_opt()?))),
        Statistics::ByteArray(values) => {
            Some((json!(values.min_opt()?.as_utf8().ok()?), json!(values.max_opt()?.as_utf8().ok()?)))
        }
        _ => None,
    }
}

/// The order of two bounds of one column.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => a.as_i64().cmp(&b.as_i64()),
    }
}

fn moment(micros: i64, up: i64) -> Option<Value> {
    let millis = (micros + up).div_euclid(1_000);
    Some(json!(DateTime::from_timestamp_millis(millis)?.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()))
}

/// The minimum and maximum of an integer column in a file; `None` if unknown.
pub fn bounds(add: &Add, column: &str) -> Option<(i64, i64)> {
    bounds_in(&add.stats(), column)
}

/// Like [`bounds`], but `None` unless every row of the file has a value.
pub fn bounds_of_all(add: &Add, column: &str) -> Option<(i64, i64)> {
    let stats = add.stats();
    bounds_in(&stats, column).filter(|_| stats["nullCount"][column].as_u64() == Some(0))
}

fn bounds_in(stats: &Value, column: &str) -> Option<(i64, i64)> {
    Some((stats["minValues"][column].as_i64()?, stats["maxValues"][column].as_i64()?))
}

/// The statistics of a file without the bounds of free texts, which format 1 stored.
pub fn stats_without_texts(add: &Add) -> Value {
    without_texts(add.stats())
}

/// The text that a column has in every row of a file; `None` if the rows have different texts, or if the texts are
/// unknown.
pub fn only_text(add: &Add, column: &str) -> Option<String> {
    let stats = add.stats();
    let (least, greatest) = (stats["minValues"][column].as_str()?, stats["maxValues"][column].as_str()?);
    // A truncated bound is not a value.
    let is_whole = least == greatest && least.len() < CUT_BOUND && stats["nullCount"][column] == 0;
    is_whole.then(|| least.to_owned())
}

/// How many rows of a file have null in a column; `None` if unknown.
pub fn null_count(add: &Add, column: &str) -> Option<u64> {
    add.stats()["nullCount"][column].as_u64()
}

/// How many rows a file has; `None` if unknown.
pub fn row_count(add: &Add) -> Option<u64> {
    /// Parses this field only, which is ten times faster than parsing all statistics.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rows {
        num_records: Option<u64>,
    }
    serde_json::from_str::<Rows>(add.stats.as_deref()?).ok()?.num_records
}

/// Returns true if a file may hold rows with a time from `first` to `last` or, if `without_time` is set, rows without a
/// time.
pub fn may_hold(table: Table, add: &Add, first: i64, last: i64, without_time: bool) -> bool {
    let Some(column) = time_column(table) else { return true };
    let stats = add.stats();
    let nulls = stats["nullCount"][column].as_u64();
    if without_time && nulls != Some(0) {
        return true;
    }
    match bounds_in(&stats, column) {
        Some((least, greatest)) => least <= last && greatest >= first,
        // No bounds: either all rows lack a time, or the writer kept no statistics.
        None => nulls.is_none() || nulls != stats["numRecords"].as_u64(),
    }
}

/// Reads the rows of a file in batches, with the named columns or, without names, with all columns of the stored table.
///
/// # Errors
/// When the file cannot be read.
pub fn read(
    storage: &Storage,
    table: Table,
    add: &Add,
    columns: Option<&[&str]>,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    decode(storage, table, add, verified(storage, table, add)?, columns, each)
}

/// The bytes of a file. If the hash of the file is known, verifies the bytes. Damaged bytes could give wrong rows
/// without an error, and a compaction would store these rows with a new, valid hash.
fn verified(storage: &Storage, table: Table, add: &Add) -> Result<bytes::Bytes> {
    let name = add.object(table);
    let bytes = storage.need(&name)?;
    if add.hash().is_some_and(|written| written != hash(&bytes)) {
        return Err(Error::damaged(format!(
            "lake {storage}: {name} was changed after it was written: its hash differs; run `alloclog lake check`"
        )));
    }
    Ok(bytes.into())
}

/// Reads the rows from the bytes of a file, like [`read`].
///
/// # Errors
/// [`Kind::Damaged`](crate::error::Kind::Damaged) when the bytes are not valid Parquet, and errors of `each`.
pub fn decode(
    storage: &Storage,
    table: Table,
    add: &Add,
    bytes: bytes::Bytes,
    columns: Option<&[&str]>,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let is_wanted = |field: &&Arc<Field>| columns.is_none_or(|names| names.contains(&field.name().as_str()));
    let fields: Vec<Arc<Field>> = table.schema().fields().iter().filter(is_wanted).cloned().collect();
    decode_as(storage, table, add, bytes, &|_| Schema::new(fields.clone()), each)
}

/// Reads the rows of a file with all columns: those of the stored table, then those added by a newer program, which a
/// rewrite of the file must keep.
///
/// # Errors
/// When the file cannot be read.
pub fn read_whole(
    storage: &Storage,
    table: Table,
    add: &Add,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    decode_as(storage, table, add, verified(storage, table, add)?, &|of_file| union(&table.schema(), of_file), each)
}

/// The fields of `schema`, then the fields that only `other` has.
fn union(schema: &Schema, other: &Schema) -> Schema {
    let is_new = |field: &&Arc<Field>| schema.field_with_name(field.name()).is_err();
    Schema::new(schema.fields().iter().chain(other.fields().iter().filter(is_new)).cloned().collect::<Vec<_>>())
}

/// Concatenates rows of several files. A column that some of the files lack is null in their rows.
///
/// # Errors
/// When a column has different types in two of the files.
pub fn concat(table: Table, batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    let all = batches.iter().fold(table.schema().as_ref().clone(), |all, batch| union(&all, &batch.schema()));
    let schema = Arc::new(all);
    let mut filled = Vec::with_capacity(batches.len());
    for batch in batches {
        let column = |field: &Arc<Field>| {
            let there = batch.column_by_name(field.name()).cloned();
            there.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
        };
        filled.push(RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect())?);
    }
    Ok(concat_batches(&schema, &filled)?)
}

fn decode_as(
    storage: &Storage,
    table: Table,
    add: &Add,
    bytes: bytes::Bytes,
    wanted: &dyn Fn(&Schema) -> Schema,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let damaged = || format!("lake {storage}: cannot read {} as Parquet", add.object(table));
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).or_damaged(damaged)?;
    let schema = Arc::new(wanted(builder.schema()));
    let mask =
        ProjectionMask::columns(builder.parquet_schema(), schema.fields().iter().map(|field| field.name().as_str()));
    for batch in builder.with_projection(mask).with_batch_size(16 << 10).build().or_damaged(damaged)? {
        each(conform(table, &batch.or_damaged(damaged)?, schema.clone(), add)?)?;
    }
    Ok(())
}

/// Casts a column to our type. Timestamps are UTC, whether a file says so or not.
fn retyped(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    if let DataType::Timestamp(unit, Some(_)) = kind {
        let naive = cast(column, &DataType::Timestamp(*unit, None))?;
        let micros =
            naive.as_primitive_opt::<TimestampMicrosecondType>().context("a timestamp with an unexpected unit")?;
        return Ok(Arc::new(micros.clone().with_timezone("UTC")));
    }
    Ok(cast(column, kind)?)
}

/// Converts a file's rows to `schema`, whichever engine wrote the file. A column that the file lacks is null. The
/// partition day comes from the file's log entry.
fn conform(table: Table, batch: &RecordBatch, schema: SchemaRef, add: &Add) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        arrays.push(match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            Some(column) => retyped(column, field.data_type())?,
            None if partition_column(table) == Some(field.name().as_str()) => {
                Arc::new(Date32Array::from(vec![day(add); rows]))
            }
            None => new_null_array(field.data_type(), rows),
        });
    }
    Ok(RecordBatch::try_new(schema, arrays)?)
}
