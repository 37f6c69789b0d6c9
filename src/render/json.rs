//! NDJSON, one JSON object a line, and JSON, an array of them; every column in every object, null where there is nothing.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited};

/// Writes batches as NDJSON; moments are RFC 3339 with six digits of a second.
///
/// # Errors
/// When a batch cannot be had or the output cannot be written.
pub fn write_lines(out: impl Write, batches: impl Iterator<Item = anyhow::Result<RecordBatch>>) -> anyhow::Result<()> {
    write::<LineDelimited, _>(out, batches)?.flush()?;
    Ok(())
}

/// Writes batches as one JSON array, and moments as above.
///
/// # Errors
/// When a batch cannot be had or the output cannot be written.
pub fn write_array(out: impl Write, batches: impl Iterator<Item = anyhow::Result<RecordBatch>>) -> anyhow::Result<()> {
    let mut out = write::<JsonArray, _>(out, batches)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

fn write<F: JsonFormat, W: Write>(
    out: W,
    batches: impl Iterator<Item = anyhow::Result<RecordBatch>>,
) -> anyhow::Result<W> {
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format("%Y-%m-%dT%H:%M:%S%.6fZ".into());
    let mut writer = builder.build::<_, F>(out);
    for batch in batches {
        writer.write(&naive(&batch?)?)?;
    }
    writer.finish()?;
    Ok(writer.into_inner())
}

/// The batch without the name of the time zone, which is UTC in all our tables: to look it up, Arrow would want a
/// database of time zones.
fn naive(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let kind = match field.data_type() {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, None),
            other => other.clone(),
        };
        columns.push(cast(column, &kind)?);
        fields.push(Field::new(field.name(), kind, true));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
