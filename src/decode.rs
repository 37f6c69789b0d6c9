//! Decodes bytes to records: finds the allocations in documents of any shape, with two readers that agree.

pub mod allocation;
mod check;
pub mod document;
pub mod fast;
pub mod field;
pub mod fields;
pub mod input;
mod items;
pub mod key_order;
mod kind;
pub mod nested_fields;
pub mod number;
pub mod other_fields;
mod part;
mod place;
pub mod record;
pub mod reference;
mod resync;
pub mod scan;
mod splitter;
mod survey;
pub mod syntax;
mod walk;
