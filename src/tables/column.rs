//! Columns: the name, the meaning and the value of each column are defined in one place.
//!
//! The Parquet schema, row identities and the text of `alloclog schema` are all derived from the tables' lists of
//! columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use xxhash_rust::xxh3::xxh3_128;

/// One column of a stored table with rows of type `R`. A timestamp becomes two columns: `x_at` in microseconds, and
/// `x_at_ns`, which is exact.
pub struct Column<R> {
    /// The name of the column.
    pub name: &'static str,
    /// The meaning of a value, its unit, and when it is null.
    pub meaning: &'static str,
    /// Whether the column is part of the row's identity.
    pub role: Role,
    /// The function that computes the value.
    pub value: Value<R>,
}

/// Whether a column is part of the row's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Rows with equal values in all key columns are the same row.
    Key,
    /// The value is derived from the key, or describes the first source of the row. It never distinguishes two rows.
    NonKey,
}

/// The value that fills a column, by type.
pub enum Value<R> {
    /// UTF-8 text.
    Text(fn(&R) -> Option<&str>),
    /// A signed 64-bit integer.
    Int64(fn(&R) -> Option<i64>),
    /// A signed 32-bit integer.
    Int32(fn(&R) -> Option<i32>),
    /// True or false.
    Bool(fn(&R) -> Option<bool>),
    /// A timestamp in nanoseconds since the epoch: fills `x_at`, truncated to microseconds, and `x_at_ns`.
    Moment(fn(&R) -> Option<i64>),
    /// A UTC day, in days since the epoch.
    Date(fn(&R) -> Option<i32>),
}

/// A column whose value is part of the row's identity.
pub fn key<R>(name: &'static str, meaning: &'static str, value: Value<R>) -> Column<R> {
    Column { name, meaning, role: Role::Key, value }
}

/// A column that is not part of the row's identity.
pub fn derived<R>(name: &'static str, meaning: &'static str, value: Value<R>) -> Column<R> {
    Column { name, meaning, role: Role::NonKey, value }
}

/// A column of a file, as documented by the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The name of the column.
    pub name: String,
    /// The type of the column, as named in the schema.
    pub kind: &'static str,
    /// The meaning of a value, its unit, and when it is null.
    pub meaning: String,
    /// True if the column is part of the row's identity.
    pub is_key: bool,
}

/// The column types, as named in the schema.
pub const KINDS: [&str; 7] = ["string", "int64", "int32", "double", "bool", "timestamp", "date"];

impl Described {
    /// The Arrow field of the column. Every column is nullable, because a value that a document lacks is null.
    pub fn field(&self) -> Field {
        let kind = match self.kind {
            "int64" => DataType::Int64,
            "int32" => DataType::Int32,
            "double" => DataType::Float64,
            "bool" => DataType::Boolean,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "date" => DataType::Date32,
            _ => DataType::Utf8,
        };
        Field::new(&self.name, kind, true)
    }
}

/// The columns as the schema documents them, including the `x_at_ns` columns.
pub fn describe<R>(columns: &[Column<R>]) -> Vec<Described> {
    let mut described = Vec::new();
    for c in columns {
        let is_key = c.role == Role::Key;
        let mut add = |name: String, kind, meaning: String| described.push(Described { name, kind, meaning, is_key });
        match c.value {
            Value::Text(_) => add(c.name.into(), "string", c.meaning.into()),
            Value::Int64(_) => add(c.name.into(), "int64", c.meaning.into()),
            Value::Int32(_) => add(c.name.into(), "int32", c.meaning.into()),
            Value::Bool(_) => add(c.name.into(), "bool", c.meaning.into()),
            Value::Date(_) => add(c.name.into(), "date", c.meaning.into()),
            Value::Moment(_) => {
                add(c.name.into(), "timestamp", c.meaning.into());
                add(format!("{}_ns", c.name), "int64", format!("{} in nanoseconds since the epoch, exact", c.name));
            }
        }
    }
    described
}

/// The Arrow schema of a table.
pub fn schema<R>(columns: &[Column<R>]) -> SchemaRef {
    schema_of(&describe(columns))
}

/// The Arrow schema of described columns.
pub fn schema_of(columns: &[Described]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Described::field).collect::<Vec<_>>()))
}

/// Converts rows to a batch.
///
/// # Errors
/// Only if `schema` is not the schema of `columns`.
pub fn batch<'r, R: 'r>(
    columns: &[Column<R>],
    schema: SchemaRef,
    rows: impl ExactSizeIterator<Item = &'r R> + Clone,
) -> Result<RecordBatch, ArrowError> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for c in columns {
        match &c.value {
            Value::Text(value) => {
                let mut texts = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
                for row in rows.clone() {
                    texts.append_option(value(row));
                }
                arrays.push(Arc::new(texts.finish()));
            }
            Value::Int64(value) => arrays.push(Arc::new(rows.clone().map(value).collect::<Int64Array>())),
            Value::Int32(value) => arrays.push(Arc::new(rows.clone().map(value).collect::<Int32Array>())),
            Value::Bool(value) => arrays.push(Arc::new(rows.clone().map(value).collect::<BooleanArray>())),
            Value::Date(value) => arrays.push(Arc::new(rows.clone().map(value).collect::<Date32Array>())),
            Value::Moment(value) => {
                // Truncation equals rounding down, because all times are after 1970.
                let micros: TimestampMicrosecondArray = rows.clone().map(|r| value(r).map(|ns| ns / 1000)).collect();
                arrays.push(Arc::new(micros.with_timezone("UTC")));
                arrays.push(Arc::new(rows.clone().map(value).collect::<Int64Array>()));
            }
        }
    }
    RecordBatch::try_new(schema, arrays)
}

/// The identity of a row within a run: a 128-bit hash of its key columns. The probability that any two of a billion
/// rows collide is below 10^-20. `buffer` is scratch space.
pub fn identity<R>(columns: &[Column<R>], row: &R, buffer: &mut Vec<u8>) -> u128 {
    buffer.clear();
    for c in columns.iter().filter(|c| c.role == Role::Key) {
        match &c.value {
            Value::Text(value) => match value(row) {
                None => buffer.push(0),
                Some(value) => text(value, buffer),
            },
            Value::Int64(value) | Value::Moment(value) => number(value(row), buffer),
            Value::Int32(value) | Value::Date(value) => number(value(row).map(i64::from), buffer),
            Value::Bool(value) => number(value(row).map(i64::from), buffer),
        }
    }
    xxh3_128(buffer)
}

#[inline]
fn number(value: Option<i64>, buffer: &mut Vec<u8>) {
    match value {
        None => buffer.push(0),
        Some(n) => {
            buffer.push(1);
            buffer.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// Finds a column of a batch by name.
///
/// # Errors
/// When the column is missing.
pub fn named(name: &str, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("column {name} is missing"));
    batch.column_by_name(name).cloned().ok_or_else(missing)
}

/// A 128-bit hash of some columns for each row.
///
/// # Errors
/// When a column is missing or has a type that a key cannot have.
pub fn hashes<'n>(names: impl IntoIterator<Item = &'n str>, batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
    let keys: Vec<ArrayRef> = names.into_iter().map(|name| named(name, batch)).collect::<Result<_, _>>()?;
    row_hashes(&keys, batch.num_rows())
}

/// A 128-bit hash of these columns for each row.
///
/// # Errors
/// When a column has a type that a key cannot have.
pub fn row_hashes(keys: &[ArrayRef], rows: usize) -> Result<Vec<u128>, ArrowError> {
    let mut buffer = Vec::with_capacity(512);
    let mut hashes = Vec::with_capacity(rows);
    for row in 0..rows {
        buffer.clear();
        for key in keys {
            match key.data_type() {
                _ if key.is_null(row) => buffer.push(0),
                DataType::Utf8 => text(key.as_string::<i32>().value(row), &mut buffer),
                DataType::Int64 => number(Some(key.as_primitive::<Int64Type>().value(row)), &mut buffer),
                DataType::Int32 => number(Some(key.as_primitive::<Int32Type>().value(row).into()), &mut buffer),
                DataType::Date32 => number(Some(key.as_primitive::<Date32Type>().value(row).into()), &mut buffer),
                DataType::Boolean => number(Some(key.as_boolean().value(row).into()), &mut buffer),
                other => return Err(ArrowError::SchemaError(format!("a key column is {other}"))),
            }
        }
        hashes.push(xxh3_128(&buffer));
    }
    Ok(hashes)
}

fn text(text: &str, buffer: &mut Vec<u8>) {
    buffer.push(1);
    buffer.extend_from_slice(&(text.len() as u64).to_le_bytes());
    buffer.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One nullable value of each type.
    type SampleRow = (Option<&'static str>, Option<i64>, Option<i32>, Option<bool>, Option<i64>, Option<i32>);

    fn columns() -> Vec<Column<SampleRow>> {
        vec![
            key("text", "", Value::Text(|r| r.0)),
            key("large", "", Value::Int64(|r| r.1)),
            derived("message", "", Value::Text(|r| r.0)),
            key("small", "", Value::Int32(|r| r.2)),
            key("flag", "", Value::Bool(|r| r.3)),
            key("at", "", Value::Moment(|r| r.4)),
            key("day", "", Value::Date(|r| r.5)),
        ]
    }

    /// The key columns. For a timestamp, that is its exact column.
    fn names() -> [&'static str; 6] {
        ["text", "large", "small", "flag", "at_ns", "day"]
    }

    #[test]
    fn a_batch_has_the_identities_of_its_rows() -> Result<(), ArrowError> {
        let rows: [SampleRow; 5] = [
            (Some("a"), Some(1), Some(-2), Some(true), Some(1_511_000_000_123_456_789), Some(20_000)),
            (Some("a"), Some(1), Some(-2), Some(false), Some(1_511_000_000_123_456_789), Some(20_000)),
            (Some(""), None, Some(0), None, None, None),
            (None, Some(0), None, Some(false), Some(1), Some(0)),
            (None, None, None, None, None, None),
        ];
        let columns = columns();
        let batch = batch(&columns, schema(&columns), rows.iter())?;
        let expected: Vec<u128> = rows.iter().map(|row| identity(&columns, row, &mut Vec::new())).collect();
        assert_eq!(hashes(names(), &batch)?, expected);
        let distinct: std::collections::HashSet<u128> = expected.iter().copied().collect();
        assert_eq!(distinct.len(), rows.len());
        Ok(())
    }

    #[test]
    fn a_batch_without_a_key_column_has_no_identities() -> Result<(), ArrowError> {
        let columns = columns();
        let batch = batch(&columns, schema(&columns), [].iter())?;
        let without = batch.project(&[1, 2])?;
        assert!(hashes(names(), &without).is_err());
        Ok(())
    }
}
