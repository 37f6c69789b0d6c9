//! Tables to files that people and programs read: one file a format.

mod csv;
pub mod ndjson;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::ipc::writer::FileWriter;

use crate::store::{Store, parquet};

pub use csv::Cells;

/// What a table is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Apache Parquet, zstd.
    Parquet,
    /// CSV with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Arrow IPC file.
    Arrow,
}

impl Format {
    /// The ending of its files, without the dot.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
            Format::Arrow => "arrow",
        }
    }

    /// Whether it is no text, so that a terminal shows rubbish.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }
}

/// Writes a table of the store, its columns in the types of `schema`; how many rows it has.
///
/// # Errors
/// When the store has another table than `schema` says, or the output cannot be written.
pub fn table(
    store: &Store,
    name: &str,
    schema: &SchemaRef,
    format: Format,
    cells: Cells,
    out: impl Write + Send,
) -> anyhow::Result<u64> {
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
        Format::Ndjson => ndjson::write(out, batches)?,
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

/// How many rows a Parquet file has.
///
/// # Errors
/// When it cannot be read.
pub fn rows(path: &Path) -> anyhow::Result<u64> {
    let metadata = parquet::metadata(path)?;
    Ok(u64::try_from(metadata.file_metadata().num_rows())?)
}

/// One column of integers of a table of the store.
///
/// # Errors
/// When it cannot be read, or is no such column.
pub fn int64s(store: &Store, table: &str, column: &str) -> anyhow::Result<Vec<Option<i64>>> {
    let mut values = Vec::new();
    for batch in parquet::read(&store.path(table))? {
        let batch = batch?;
        let column = batch.column_by_name(column).with_context(|| format!("table {table} has no column {column}"))?;
        values.extend(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>());
    }
    Ok(values)
}

/// The batch in the types of `schema`: a query engine has types of its own for the same values.
fn typed(batch: &RecordBatch, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
    let names = |s: &SchemaRef| s.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    anyhow::ensure!(
        names(&batch.schema()) == names(schema),
        "has the columns {:?} instead of {:?}",
        names(&batch.schema()),
        names(schema)
    );
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| match field.data_type() {
        // The engine keeps moments as naive UTC.
        DataType::Timestamp(unit, Some(zone)) => {
            let naive = cast(column, &DataType::Timestamp(*unit, None))?;
            let micros = naive.as_primitive::<TimestampMicrosecondType>().clone();
            Ok(Arc::new(micros.with_timezone(zone.clone())) as ArrayRef)
        }
        kind => cast(column, kind),
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
}
