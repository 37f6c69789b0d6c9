//! Compares the simulator's truth with the rows that the program reads from the simulator's documents.
//!
//! Each test states a property, and tries it on generated clusters with snapshots at random times. The cases are
//! deterministic. `ALLOCLOG_CASES=100` tries a hundred times as many cases, beginning with the default ones:
//!
//!     ALLOCLOG_CASES=100 cargo test --release --test tests simulated
//!
//! A failing case is minimized and printed as a `Case`. With `ALLOCLOG_KEEP`, the files of all cases stay in the
//! temporary directory.

mod blocks;
mod compare;
mod coverage;
mod cuts;
mod filters;
mod known_files;
mod logs;
mod merging;
mod packed;
mod presence;
mod regressions;
mod snapshot_schedule;
mod statistics;
mod twins;

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Tries a property on `cases` cases, multiplied by `ALLOCLOG_CASES` if it is set.
fn for_all<S: Strategy>(cases: u32, strategy: S, property: impl Fn(&S::Value) -> anyhow::Result<()>)
where
    S::Value: Debug,
{
    let times = std::env::var("ALLOCLOG_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let config = Config {
        cases: cases.saturating_mul(times),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x6e_6f6d_6164),
        max_shrink_time: 60_000,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let tried = TestRunner::new(config)
        .run(&strategy, |case| property(&case).map_err(|problem| TestCaseError::fail(format!("{problem:#}"))));
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A directory for the files of a case. `ALLOCLOG_KEEP` keeps it.
fn directory() -> anyhow::Result<tempfile::TempDir> {
    let mut directory = tempfile::tempdir()?;
    directory.disable_cleanup(std::env::var_os("ALLOCLOG_KEEP").is_some());
    Ok(directory)
}
