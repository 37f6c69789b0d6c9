//! What several tests need: sources taken in within the process, and their rows as JSON values.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use alloclog::intake::{self, Note, Options, Summary, Watch};
use alloclog::source::{self, Source};
use alloclog::tables::Table;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Map, Value};

/// One row: its columns by name, nulls included.
pub type Row = Map<String, Value>;

/// What a run of the intake gave.
#[derive(Debug, Default)]
pub struct Taken {
    /// The rows of each table in the order of arrival.
    pub rows: BTreeMap<Table, Vec<Row>>,
    /// What was said.
    pub notes: Vec<Note>,
    /// What was counted.
    pub summary: Summary,
}

impl Taken {
    /// The rows of a table; none if nothing was delivered.
    pub fn table(&self, table: Table) -> &[Row] {
        self.rows.get(&table).map_or(&[], Vec::as_slice)
    }
}

/// Takes the sources in, as `export` does before it writes anything.
pub fn take(sources: &[&Path], options: &Options) -> Taken {
    let sources: Vec<Source> = sources.iter().map(|path| Source::parse(&path.to_string_lossy())).collect();
    let inputs = source::list(&sources).expect("sources that can be listed");
    let notes = Mutex::new(Vec::new());
    let note = |note: Note| notes.lock().expect("no thread has died").push(note);
    let watch = Watch { read: &|_| {}, note: &note };
    let mut taken = Taken::default();
    let mut deliver = |table: Table, batch: RecordBatch| {
        taken.rows.entry(table).or_default().extend(json(&batch));
        Ok(())
    };
    let summary = intake::run(&inputs, options, &watch, &mut deliver).expect("a run without a bug");
    taken.summary = summary;
    taken.notes = notes.into_inner().expect("no thread has died");
    taken
}

/// The rows of a batch as JSON values; timestamps are RFC 3339 texts.
pub fn json(batch: &RecordBatch) -> Vec<Row> {
    let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write(&with_offsets(batch)).expect("a batch that can be written");
    writer.finish().expect("a batch that can be written");
    let text = writer.into_inner();
    if text.is_empty() { Vec::new() } else { serde_json::from_slice(&text).expect("an array of objects") }
}

/// The batch with `+00:00` in place of `UTC`: arrow knows no names of time zones unless it is built with their tables.
fn with_offsets(batch: &RecordBatch) -> RecordBatch {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let kind = match field.data_type() {
            DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
            other => other.clone(),
        };
        columns.push(arrow::compute::cast(column, &kind).expect("another name for the same zone"));
        fields.push(Field::new(field.name(), kind, true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the same columns")
}

/// Reads tables that the program wrote.
pub struct Exported;

impl Exported {
    /// The rows of a table of a Parquet export, in order.
    pub fn read(directory: &Path, table: &str) -> Vec<Row> {
        let path = directory.join(format!("{table}.parquet"));
        let batches = alloclog::store::parquet::read(&path).expect("a Parquet file");
        batches.flat_map(|batch| json(&batch.expect("a batch"))).collect()
    }
}
