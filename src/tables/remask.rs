//! Stored rows, masked anew by the rules of today.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::error::ArrowError;

use super::{Table, identity, is_free_text, mask};

/// Rows as the rules of today mask their free texts, and how many of these texts change; `None` where none does. The hash
/// of the texts is filled in first, so that the rows keep their identities.
///
/// # Errors
/// When a column of free text is missing, or that of the hash.
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
