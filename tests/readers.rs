//! The fast reader against serde_json's, and both against expected results.
//!
//! Everything here is deterministic: no clock, no randomness. `ALLOCLOG_CASES` (default 1) multiplies the number of
//! generated cases, for a run of an hour before a release:
//!
//!     ALLOCLOG_CASES=100 cargo test --release --test tests readers
//!
//! An ignored test prints the speed of both readers; with `ALLOCLOG_BENCH=FILE` they read that file instead of a
//! generated listing:
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

/// `cases` times `ALLOCLOG_CASES`.
fn cases(cases: u32) -> u32 {
    let times = std::env::var("ALLOCLOG_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    cases.saturating_mul(times)
}

/// What closes the braces and brackets that a text opens.
fn closing(open: &str) -> String {
    let closed = |c| match c {
        '{' => Some('}'),
        '[' => Some(']'),
        _ => None,
    };
    open.chars().rev().filter_map(closed).collect()
}
