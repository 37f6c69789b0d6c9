//! Functions that several tests use: they read sources within the process, and convert rows to JSON values.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use alloclog::error;
use alloclog::intake::{self, IntakeOptions, Note, Observer, Summary};
use alloclog::render;
use alloclog::source::{self, DocumentSource};
use alloclog::tables::Table;
use alloclog::tables::sink::{DocumentEnd, Rows, Sink};
use arrow::array::RecordBatch;
use serde_json::{Map, Value};

/// One row: its columns by name, nulls included.
pub type Row = Map<String, Value>;

/// The result of a run of the intake.
#[derive(Debug, Default)]
pub struct Taken {
    /// The rows of each table in the order of arrival.
    pub rows: BTreeMap<Table, Vec<Row>>,
    /// The notes.
    pub notes: Vec<Note>,
    /// The counts.
    pub summary: Summary,
}

impl Taken {
    /// The rows of a table; empty if nothing was delivered.
    pub fn table(&self, table: Table) -> &[Row] {
        self.rows.get(&table).map_or(&[], Vec::as_slice)
    }
}

/// Collects the notes.
#[derive(Default)]
struct Notes(Mutex<Vec<Note>>);

impl Observer for Notes {
    fn note(&self, note: Note) {
        self.0.lock().expect("no thread has died").push(note);
    }
}

impl Sink for Taken {
    fn rows(&mut self, rows: Rows) -> error::Result<()> {
        assert_eq!(rows.identities, rows.table.identities(&rows.batch)?, "rows of {}", rows.table.name());
        self.rows.entry(rows.table).or_default().extend(json(&rows.batch));
        Ok(())
    }

    fn end_document(&mut self, end: DocumentEnd) -> error::Result<()> {
        let batch = end.batch()?;
        assert_eq!(vec![end.identity], Table::Snapshots.identities(&batch)?);
        self.rows.entry(Table::Snapshots).or_default().extend(json(&batch));
        Ok(())
    }
}

/// Reads the sources, as `export` does before it writes anything.
pub fn take(sources: &[&Path], options: &IntakeOptions) -> Taken {
    let sources: Vec<DocumentSource> =
        sources.iter().map(|path| DocumentSource::parse(&path.to_string_lossy())).collect();
    let inputs = source::list(&sources).expect("sources that can be listed");
    let notes = Notes::default();
    let mut taken = Taken::default();
    let summary = intake::run(&inputs, options, &notes, &mut taken).expect("a run without a bug");
    taken.summary = summary;
    taken.notes = notes.0.into_inner().expect("no thread has died");
    taken
}

/// The rows of a batch as JSON values; timestamps are RFC 3339 texts.
pub fn json(batch: &RecordBatch) -> Vec<Row> {
    let mut text = Vec::new();
    render::json::write_lines(&mut text, std::iter::once(Ok(batch.clone()))).expect("a batch that can be written");
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("an object")).collect()
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
