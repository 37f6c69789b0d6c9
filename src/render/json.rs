//! NDJSON, with one JSON object per line, and JSON, with an array of objects. Every object has every column; a
//! missing value is null.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited};

use super::text::is_unseen;
use crate::error::Result;

/// Writes batches as NDJSON; timestamps are RFC 3339 with six fractional digits.
///
/// # Errors
/// When a batch is an error or the output cannot be written.
pub fn write_lines(out: impl Write, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<()> {
    write::<LineDelimited, _>(out, batches)?.flush()?;
    Ok(())
}

/// Writes batches as one JSON array; timestamps are written as in NDJSON.
///
/// # Errors
/// When a batch is an error or the output cannot be written.
pub fn write_array(out: impl Write, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<()> {
    let mut out = write::<JsonArray, _>(out, batches)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Escapes characters that control a terminal, because JSON itself escapes only characters below U+0020.
pub fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of texts, JSON contains no such characters except line feeds.
        if c != '\n' && is_unseen(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A writer that applies [`escaped`] to JSON.
pub struct Escaping<W> {
    inner: W,
    /// The start of a character that is split across two writes.
    rest: Vec<u8>,
}

impl<W: Write> Escaping<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Escaping<W> {
        Escaping { inner, rest: Vec::new() }
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text,
            Err(e) => std::str::from_utf8(&self.rest[..e.valid_up_to()]).unwrap_or_default(),
        };
        let len = whole.len();
        let text = escaped(whole);
        self.rest.drain(..len);
        self.inner.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write<F: JsonFormat, W: Write>(out: W, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<W> {
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format("%Y-%m-%dT%H:%M:%S%.6fZ".into());
    let mut writer = builder.build::<_, F>(out);
    for batch in batches {
        writer.write(&naive(&batch?)?)?;
    }
    writer.finish()?;
    Ok(writer.into_inner())
}

/// Removes the time zone from timestamps. All timestamps are in UTC. To look up a time zone, Arrow would need a time
/// zone database.
fn naive(batch: &RecordBatch) -> Result<RecordBatch> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_a_terminal_has_no_control_characters() -> io::Result<()> {
        let text = "{\"a\":\"\u{9b}1m\u{202e}\u{7f}é\"}\n";
        let expected = "{\"a\":\"\\u009b1m\\u202e\\u007fé\"}\n";
        for size in 1..6 {
            let mut out = Vec::new();
            let mut escaping = Escaping::new(&mut out);
            text.as_bytes().chunks(size).try_for_each(|piece| escaping.write_all(piece))?;
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        Ok(())
    }
}
