//! Decodes bytes to records: finds the allocations in documents of any structure. The fast reader and the strict reader
//! return the same records.

pub mod agent_log;
pub mod allocation;
mod check;
mod classify;
pub mod document;
pub mod fast;
pub mod field;
pub mod fields;
pub mod grammar;
mod items;
pub mod key_order;
pub mod nested_fields;
pub mod number;
pub mod other_fields;
mod part;
mod position;
pub mod record;
mod resync;
pub mod skip;
mod splitter;
pub mod strict;
mod survey;
pub mod value_reader;
mod walk;
