//! Feeds bytes to both readers and checks the properties of `tests/readers/property.rs`: no panic, valid JSON read
//! alike, damage refused by `--strict` and nothing lost before it, and the same result however the bytes are split.
#![no_main]
#![allow(missing_docs)]

// Includes the decoder's source instead of linking the library: it needs neither polars nor arrow, which take minutes
// to compile, and much longer with the fuzzer's instrumentation.
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
