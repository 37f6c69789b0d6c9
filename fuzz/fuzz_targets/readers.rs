//! Feeds bytes to both readers and asserts what `tests/readers/property.rs` says of any bytes: no panic, valid JSON read
//! alike, damage refused by `--strict` and nothing lost before it, and the same however the bytes are cut into parts.
#![no_main]
#![allow(missing_docs)]

// The decoder's source is included rather than the library linked: it needs neither polars nor arrow, which take
// minutes to compile, and much longer with the fuzzer's instrumentation.
#[allow(dead_code, unused_imports)]
#[path = "../../src/decode"]
mod decode {
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
}
#[path = "../../tests/readers/property.rs"]
mod property;
#[allow(dead_code)]
#[path = "../../src/time.rs"]
mod time;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| property::check(bytes));
