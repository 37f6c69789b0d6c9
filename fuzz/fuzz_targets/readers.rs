//! Feeds bytes to the fast and the strict reader, and checks the properties in `tests/readers/property.rs`:
//! - No reader panics.
//! - Both readers read valid JSON alike.
//! - `--strict` refuses damage.
//! - Nothing that comes before the damage is lost.
//! - The result does not depend on how the bytes are split.
#![no_main]
#![allow(missing_docs)]

// Includes the decoder's source instead of linking the library, because the decoder needs neither polars nor arrow.
// polars and arrow take minutes to compile, and much longer with the fuzzer's instrumentation.
#[allow(dead_code, unused_imports)]
#[path = "../../src/decode"]
mod decode {
    pub mod allocation;
    mod check;
    pub mod document;
    pub mod fast;
    pub mod field;
    pub mod fields;
    pub mod value_reader;
    mod items;
    pub mod key_order;
    mod classify;
    pub mod nested_fields;
    pub mod number;
    pub mod other_fields;
    mod part;
    mod position;
    pub mod record;
    pub mod strict;
    mod resync;
    pub mod skip;
    mod splitter;
    mod survey;
    pub mod grammar;
    mod walk;
}
#[path = "../../tests/readers/property.rs"]
mod property;
#[allow(dead_code)]
#[path = "../../src/time.rs"]
mod time;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| property::check(bytes));
