//! Bytes to records: finds the allocations in a document of whatever shape and reads them, two ways that agree.

pub mod allocation;
mod check;
pub mod document;
pub mod fast;
pub mod fields;
pub mod input;
mod kind;
pub mod memory;
pub mod number;
mod place;
pub mod record;
pub mod reference;
pub mod scan;
pub mod syntax;
