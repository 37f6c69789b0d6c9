//! The fast reader against serde_json's, and both against what is written down.
//!
//! Everything here is determined by its code: no clock, no chance. The number of generated cases is multiplied by
//! `ALLOCLOG_CASES` (1 if it is not set), for a run of an hour before a release:
//!
//!     ALLOCLOG_CASES=100 cargo test --release --test tests readers
//!
//! How fast both readers are is printed by a test that is not run unless asked for; with `ALLOCLOG_BENCH=FILE` they
//! read that file instead of a made-up listing:
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

/// `cases`, or as many times more as `ALLOCLOG_CASES` says.
fn cases(cases: u32) -> u32 {
    let times = std::env::var("ALLOCLOG_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    cases.saturating_mul(times)
}
