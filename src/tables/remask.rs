//! Masks stored rows again by the current rules.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::error::ArrowError;

use super::{Table, identity, is_free_text, mask};

/// Applies the current rules to the free texts of rows, and counts the changed texts; `None` if no text changed.
/// Missing text hashes are computed from the texts before masking, so that row identities do not change.
///
/// # Errors
/// When a free text column or the hash column is missing.
pub fn remasked(table: Table, batch: &RecordBatch) -> Result<Option<(RecordBatch, u64)>, ArrowError> {
    let schema = batch.schema();
    let mut columns = batch.columns().to_vec();
    let mut changes = 0;
    for i in (0..columns.len()).filter(|i| is_free_text(schema.field(*i).name())) {
        let Some(texts) = batch.column(i).as_string_opt::<i32>() else { continue };
        let rules = if schema.field(i).name() == "details" { mask::details } else { mask::text };
        let masked: StringArray = texts.iter().map(|text| text.map(rules)).collect();
        let changed = texts.iter().zip(&masked).filter(|(before, after)| before != after).count();
        if changed > 0 {
            changes += changed as u64;
            columns[i] = Arc::new(masked);
        }
    }
    if changes == 0 {
        return Ok(None);
    }
    if let Some(hashes) = identity::text_hashes(table, batch)? {
        columns[schema.index_of(identity::TEXT_HASH)?] = Arc::new(hashes) as ArrayRef;
    }
    Ok(Some((RecordBatch::try_new(schema, columns)?, changes)))
}
