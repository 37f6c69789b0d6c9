//! Bytes to records: finds the allocations in a document of whatever shape and reads them, two ways that agree.

pub mod allocation;
pub mod document;
pub mod fast;
pub mod fields;
pub mod input;
pub mod number;
pub mod record;
pub mod reference;
pub mod scan;
