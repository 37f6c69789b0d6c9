//! Computes presence from rows of stored tables, and builds the rows that record it.

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use super::{Document, Extent, Fact, Presence, hour_of};
use crate::error::{Context, Result};
use crate::tables::sink::Rows;
use crate::tables::{Table, absences, sightings};

/// Rows per batch.
const ROWS: usize = 8 << 10;

/// The tables that [`Presence::add_rows`] reads, with the columns it needs.
pub const READS: [(Table, &[&str]); 3] = [
    (Table::Sightings, &["region", "alloc_id", "seen_at_ns", "namespace"]),
    (Table::Absences, &["region", "alloc_id", "shown_at_ns", "missing_at_ns", "missing_index"]),
    (
        Table::Snapshots,
        &[
            "region",
            "observed_at_ns",
            "is_full_listing",
            "shape",
            "namespace",
            "nomad_index",
            "allocations",
            "absences_recorded",
        ],
    ),
];

impl Presence {
    /// Adds rows of a stored table.
    ///
    /// # Errors
    /// When a column is missing or has another type.
    pub fn add_rows(&mut self, table: Table, rows: &RecordBatch) -> Result<()> {
        match table {
            Table::Sightings => self.add_sightings(rows),
            Table::Absences => self.add_absences(rows),
            Table::Snapshots => self.add_documents(rows),
            _ => Ok(()),
        }
    }

    fn add_sightings(&mut self, rows: &RecordBatch) -> Result<()> {
        let (regions, ids, seen) = (text(rows, "region")?, text(rows, "alloc_id")?, number(rows, "seen_at_ns")?);
        let namespaces = text(rows, "namespace").ok();
        for row in (0..rows.num_rows()).filter(|row| seen.is_valid(*row)) {
            let at = seen.value(row);
            let Some(entry) = self.region(regions, row).entry(ids.value(row), hour_of(at)) else { continue };
            if at != entry.hour {
                entry.uncut = entry.uncut.max(Some(at));
            }
            let namespace = namespaces.filter(|names| names.is_valid(row)).map(|names| names.value(row));
            if let Some(namespace) = namespace.filter(|name| entry.namespace.is_none() || *name != "default") {
                entry.namespace = Some(namespace.into());
            }
        }
        Ok(())
    }

    fn add_absences(&mut self, rows: &RecordBatch) -> Result<()> {
        let (regions, ids) = (text(rows, "region")?, text(rows, "alloc_id")?);
        let (shown, missing) = (number(rows, "shown_at_ns")?, number(rows, "missing_at_ns")?);
        let indexes = number(rows, "missing_index")?;
        let value = |column: &Int64Array, row| column.is_valid(row).then(|| column.value(row));
        for row in 0..rows.num_rows() {
            let (shown, missing) = (value(shown, row), value(missing, row));
            let Some(at) = missing.or(shown) else { continue };
            if let Some(entry) = self.region(regions, row).entry(ids.value(row), hour_of(at)) {
                entry.add_absence(shown, missing, value(indexes, row));
            }
        }
        Ok(())
    }

    fn add_documents(&mut self, rows: &RecordBatch) -> Result<()> {
        let (regions, shapes) = (text(rows, "region")?, text(rows, "shape")?);
        let (observed, indexes) = (number(rows, "observed_at_ns")?, number(rows, "nomad_index")?);
        let (namespaces, allocations) = (text(rows, "namespace")?, number(rows, "allocations")?);
        let (full, recorded) = (flag(rows, "is_full_listing")?, flag(rows, "absences_recorded").ok());
        for row in (0..rows.num_rows()).filter(|row| observed.is_valid(*row)) {
            let is_full = full.is_valid(row) && full.value(row);
            let is_stream = shapes.is_valid(row) && shapes.value(row) == "stream";
            if is_stream || (!is_full && allocations.is_valid(row) && allocations.value(row) == 0) {
                continue;
            }
            let is_recorded = recorded.is_some_and(|recorded| recorded.is_valid(row) && recorded.value(row));
            let document = Document {
                at: observed.value(row),
                index: indexes.is_valid(row).then(|| indexes.value(row)),
                namespace: namespaces.is_valid(row).then(|| namespaces.value(row).into()),
                extent: if is_full && is_recorded { Extent::Full } else { Extent::Unknown },
            };
            self.region(regions, row).documents.insert(document);
        }
        Ok(())
    }
}

fn text<'b>(rows: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
    let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.with_context(|| format!("rows without {name}"))
}

fn number<'b>(rows: &'b RecordBatch, name: &str) -> Result<&'b Int64Array> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.with_context(|| format!("rows without {name}"))
}

fn flag<'b>(rows: &'b RecordBatch, name: &str) -> Result<&'b BooleanArray> {
    let column = rows.column_by_name(name).and_then(|column| column.as_boolean_opt());
    column.with_context(|| format!("rows without {name}"))
}

/// Converts rows to batches of their tables.
///
/// # Errors
/// Only through a bug: if a schema and its columns disagree.
pub fn batches(region: &str, facts: &[Fact]) -> Result<Vec<Rows>, ArrowError> {
    let absences: Vec<absences::AbsenceRow<'_>> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Absence { alloc_id, shown_at, missing_at, missing_index } => Some(absences::AbsenceRow {
                region,
                alloc_id,
                shown_at: *shown_at,
                missing_at: *missing_at,
                missing_index: *missing_index,
            }),
            Fact::Sighting { .. } => None,
        })
        .collect();
    let sightings: Vec<sightings::SightingRow<'_>> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Sighting { alloc_id, namespace, seen_at } => {
                Some(sightings::SightingRow { region, alloc_id, namespace, seen_at: *seen_at })
            }
            Fact::Absence { .. } => None,
        })
        .collect();
    let mut batches = Vec::new();
    for rows in sightings.chunks(ROWS) {
        batches.push(Rows::of(Table::Sightings, None, &sightings::columns(), rows)?);
    }
    for rows in absences.chunks(ROWS) {
        batches.push(Rows::of(Table::Absences, None, &absences::columns(), rows)?);
    }
    Ok(batches)
}
