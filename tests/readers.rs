//! Compares the fast reader with serde_json's, and both with expected results.
//!
//! These tests are deterministic: they use no clock, and their random seeds are fixed. `ALLOCLOG_CASES` (default 1)
//! multiplies the number of generated cases. Before a release, use a value that takes an hour:
//!
//!     ALLOCLOG_CASES=100 cargo test --release --test tests readers
//!
//! An ignored test prints the speed of both readers. It reads a generated listing, or the file that
//! `ALLOCLOG_BENCH=FILE` names:
//!
//!     cargo test --release --test tests readers::speed -- --ignored --nocapture

mod cuts;
mod documents;
mod edges;
mod fields;
mod generated;
mod limits;
mod messages;
mod mutated;
mod property;
mod speed;

use alloclog::decode;

/// `cases` multiplied by `ALLOCLOG_CASES`.
fn cases(cases: u32) -> u32 {
    let times = std::env::var("ALLOCLOG_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    cases.saturating_mul(times)
}

/// The characters that close the braces and brackets that a text opens.
fn closing(open: &str) -> String {
    let closed = |c| match c {
        '{' => Some('}'),
        '[' => Some(']'),
        _ => None,
    };
    open.chars().rev().filter_map(closed).collect()
}
