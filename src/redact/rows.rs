//! Rows of the stored tables with pseudonyms.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

use super::{NameKind, Redactor};
use crate::tables::Table;
use crate::tables::identity::TEXT_HASH;

/// How a text column is redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// The column has words of Nomad or of alloclog: states, types, versions.
    Keep,
    Name(NameKind),
    Id,
    AllocationName,
    Text,
    Details,
    ContentHash,
    /// The column becomes null, because no view reads it.
    Drop,
}

/// How a text column is redacted; `None` for a column that is not listed.
fn treatment(column: &str) -> Option<Treatment> {
    Some(match column {
        "alloclog_version" | "client_status" | "desired_status" | "eligibility" | "event_type" | "form"
        | "job_type" | "lifecycle_hook" | "nomad_version" | "observed_from" | "shape" | "state" | "status"
        | "window_first_type" => Treatment::Keep,
        "region" => Treatment::Name(NameKind::Region),
        "namespace" => Treatment::Name(NameKind::Namespace),
        "job_id" => Treatment::Name(NameKind::Job),
        "task_group" => Treatment::Name(NameKind::TaskGroup),
        "task" => Treatment::Name(NameKind::Task),
        "name" => Treatment::AllocationName,
        "node_name" => Treatment::Name(NameKind::Node),
        "node_class" => Treatment::Name(NameKind::NodeClass),
        "node_pool" => Treatment::Name(NameKind::NodePool),
        "datacenter" => Treatment::Name(NameKind::Datacenter),
        "source" => Treatment::Name(NameKind::Source),
        "alloc_id"
        | "node_id"
        | "eval_id"
        | "deployment_id"
        | "previous_allocation"
        | "next_allocation"
        | "followup_eval_id"
        | "preempted_by"
        | "rescheduled_from_alloc_id"
        | "rescheduled_from_node_id" => Treatment::Id,
        "message" | "exit_message" | "restart_reason" | "desired_description" | "client_description" => Treatment::Text,
        "details" => Treatment::Details,
        "content_hash" => Treatment::ContentHash,
        "unknown_fields" => Treatment::Drop,
        _ => return None,
    })
}

impl Redactor {
    /// Rows of a stored table with pseudonyms. Within the batch, rows are sorted by allocation and task, so that the
    /// order of the rows does not reveal the order of the names. Identities of rows change with their texts.
    ///
    /// # Errors
    /// When a column has a type that no stored table has.
    pub fn rows(&self, table: Table, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if table == Table::AllocationHistory {
            self.look_for_names(batch);
        }
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns: Vec<ArrayRef> =
            columns.map(|(field, column)| self.column(field.name(), column, batch)).collect::<Result<_, _>>()?;
        sorted(&RecordBatch::try_new(schema, columns)?)
    }

    fn column(&self, name: &str, column: &ArrayRef, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        if name == TEXT_HASH {
            let hashes = column.as_primitive_opt::<Int32Type>().ok_or_else(|| unexpected(name, column))?;
            return Ok(Arc::new(hashes.iter().map(|hash| Some(self.text_hash(hash?))).collect::<Int32Array>()));
        }
        if column.data_type().is_numeric()
            || column.data_type().is_temporal()
            || column.data_type() == &DataType::Boolean
        {
            return Ok(column.clone());
        }
        let texts = column.as_string_opt::<i32>().ok_or_else(|| unexpected(name, column))?;
        Ok(match treatment(name).unwrap_or(Treatment::Drop) {
            Treatment::Keep => column.clone(),
            Treatment::Drop => new_null_array(column.data_type(), column.len()),
            Treatment::Name(kind) => mapped(texts, |text| self.name(kind, text)),
            Treatment::Id => mapped(texts, |text| self.id(text)),
            Treatment::Text => mapped(texts, |text| self.text(text)),
            Treatment::Details => mapped(texts, |text| self.details(text)),
            Treatment::ContentHash => mapped(texts, |text| self.content_hash(text)),
            Treatment::AllocationName => {
                let (jobs, groups) = (strings(batch, "job_id"), strings(batch, "task_group"));
                let names = texts
                    .iter()
                    .enumerate()
                    .map(|(row, name)| Some(self.allocation_name(name?, value(jobs, row), value(groups, row))));
                Arc::new(names.collect::<StringArray>())
            }
        })
    }

    /// Remembers the allocations and jobs whose names begin with the searched text.
    fn look_for_names(&self, batch: &RecordBatch) {
        let Some(search) = &self.search else { return };
        let of_column = |name| strings(batch, name).into_iter().flatten().flatten();
        of_column("alloc_id").for_each(|id| search.look_at(id, true, |id| self.id(id)));
        of_column("job_id").for_each(|job| search.look_at(job, false, |job| self.name(NameKind::Job, job)));
    }
}

/// The values of a column, each replaced.
fn mapped(texts: &StringArray, replaced: impl Fn(&str) -> String) -> ArrayRef {
    let mut known: HashMap<&str, String> = HashMap::new();
    let values = texts.iter().map(|text| {
        let text = text?;
        Some(known.entry(text).or_insert_with(|| replaced(text)).clone())
    });
    Arc::new(values.collect::<StringArray>())
}

/// Sorts rows by allocation and task. Rows with the same allocation and task keep their order.
fn sorted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (ids, tasks) = (strings(batch, "alloc_id"), strings(batch, "task"));
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    let key = |row: u32| (value(ids, row as usize), value(tasks, row as usize));
    order.sort_by(|one, other| key(*one).cmp(&key(*other)));
    take_record_batch(batch, &UInt32Array::from(order))
}

fn strings<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b StringArray> {
    batch.column_by_name(name)?.as_string_opt::<i32>()
}

fn value(texts: Option<&StringArray>, row: usize) -> Option<&str> {
    texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
}

fn unexpected(name: &str, column: &ArrayRef) -> ArrowError {
    ArrowError::SchemaError(format!("column {name} is {}", column.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_column_of_every_stored_table_is_listed() {
        // A column that is not listed is dropped, so that the texts of a new column are never shared by accident.
        for table in Table::ALL {
            for column in table.columns().iter().filter(|column| column.kind == "string") {
                assert!(treatment(&column.name).is_some(), "{}.{}", table.name(), column.name);
            }
        }
    }
}
