//! Output formats: one file per format.

mod csv;
pub mod fit;
pub mod json;
pub mod terminal;
pub mod text;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::ipc::writer::FileWriter;

use crate::error::{Context, Refused, Result, bail};
use crate::store::{Store, parquet};

/// Options for writing texts in the cells of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cells {
    /// Write a CSV cell unchanged even if it looks like a formula. Otherwise, such a cell gets the prefix `'` (OWASP,
    /// "CSV Injection").
    pub has_formulas: bool,
    /// Escape control characters in every format, because a terminal would interpret them.
    pub is_for_terminal: bool,
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet with zstd
    Parquet,
    /// CSV with a header line
    Csv,
    /// One JSON object per line
    Ndjson,
    /// Arrow IPC file
    Arrow,
    /// A JSON array of objects
    Json,
    /// A Markdown table
    Markdown,
    /// A table for a terminal, with long texts truncated
    Table,
}

impl Format {
    /// All formats. Formats for programs come first.
    pub const ALL: [Format; 7] =
        [Format::Parquet, Format::Csv, Format::Ndjson, Format::Arrow, Format::Json, Format::Markdown, Format::Table];

    /// The extension of files in this format, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
            Format::Arrow => "arrow",
            Format::Json => "json",
            Format::Markdown => "md",
            Format::Table => "txt",
        }
    }

    /// Returns true if the format is binary, which a terminal cannot show.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }
}

/// Writes a table of the store with its columns cast to `schema`. Returns the number of rows.
///
/// # Errors
/// When the table does not fit `schema`, or the output cannot be written.
pub fn table(
    store: &Store,
    name: &str,
    schema: &SchemaRef,
    format: Format,
    cells: Cells,
    out: impl Write + Send,
) -> Result<u64> {
    let out = BufWriter::with_capacity(1 << 20, out);
    let mut rows = 0;
    let batches = parquet::read(&store.path(name))?.map(|batch| {
        let batch = typed(&batch?, schema).with_context(|| format!("table {name}"))?;
        rows += batch.num_rows() as u64;
        Ok(batch)
    });
    match format {
        Format::Parquet => parquet::write(out, schema.clone(), batches)?,
        Format::Csv => csv::write(out, schema, cells, batches)?,
        Format::Ndjson if cells.is_for_terminal => json::write_lines(json::Escaping::new(out), batches)?,
        Format::Ndjson => json::write_lines(out, batches)?,
        Format::Json if cells.is_for_terminal => json::write_array(json::Escaping::new(out), batches)?,
        Format::Json => json::write_array(out, batches)?,
        Format::Markdown => text::write_markdown(out, schema, batches)?,
        Format::Table => text::write_table(out, schema, batches)?,
        Format::Arrow => {
            let mut writer = FileWriter::try_new(out, schema)?;
            for batch in batches {
                writer.write(&batch?)?;
            }
            writer.finish()?;
            writer.into_inner()?.flush()?;
        }
    }
    Ok(rows)
}

/// The schema with which a table of the store can be written in every format. Types that no stored table has, such as
/// those that a query may return, are replaced by similar types.
///
/// # Errors
/// When the table cannot be read, or a column has an unsupported type.
pub fn plain_schema(store: &Store, name: &str) -> Result<SchemaRef> {
    let schema = parquet::schema(&store.path(name))?;
    let fields = schema.fields().iter().map(|field| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
            DataType::Dictionary(_, values) if values.is_string() => DataType::Utf8,
            DataType::Int32 => DataType::Int32,
            kind if kind.is_integer() => DataType::Int64,
            kind if kind.is_floating() => DataType::Float64,
            DataType::Boolean => DataType::Boolean,
            DataType::Date32 => DataType::Date32,
            DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Duration(_) => {
                let problem =
                    format!("column {} is an interval, and output formats write intervals differently", field.name());
                let advice = vec!["subtract the `x_at_ns` columns, which gives nanoseconds".to_owned()];
                return Err(Refused { problem, advice });
            }
            other => {
                let problem = format!("column {} has the type {other}, which not every format can hold", field.name());
                return Err(Refused { problem, advice: vec!["CAST it to another type".to_owned()] });
            }
        };
        Ok(Field::new(field.name(), kind, true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?)))
}

/// The number of rows in a Parquet file.
///
/// # Errors
/// When the file cannot be read.
pub fn rows(path: &Path) -> Result<u64> {
    let metadata = parquet::metadata(path)?;
    Ok(u64::try_from(metadata.file_metadata().num_rows())?)
}

/// Reads an integer column of a table of the store.
///
/// # Errors
/// When the table cannot be read, or the column does not have integers.
pub fn int64s(store: &Store, table: &str, column: &str) -> Result<Vec<Option<i64>>> {
    let mut values = Vec::new();
    for batch in parquet::read(&store.path(table))? {
        let batch = batch?;
        let column = batch.column_by_name(column).with_context(|| format!("table {table} has no column {column}"))?;
        values.extend(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>());
    }
    Ok(values)
}

/// Casts a batch to `schema`, because the engine uses other types for the same values.
fn typed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let names = |s: &SchemaRef| s.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    if names(&batch.schema()) != names(schema) {
        bail!("has the columns {:?} instead of {:?}", names(&batch.schema()), names(schema));
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| match field.data_type() {
        // The engine stores timestamps without a zone, in UTC.
        DataType::Timestamp(unit, Some(zone)) => {
            let naive = cast(column, &DataType::Timestamp(*unit, None))?;
            let micros = naive.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(micros.with_timezone(zone.clone())) as ArrayRef)
        }
        // A value that does not fit the type is an error. It never becomes null.
        kind => cast_with_options(column, kind, &CastOptions { safe: false, ..CastOptions::default() }),
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
}
