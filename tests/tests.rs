//! One integration binary: every further one would link polars again.

// A test that cannot go on ends with a panic, helpers outside of `#[test]` functions included.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod answers;
mod cluster;
mod desk;
mod hostile_input;
mod lakes;
mod masking;
mod program;
mod questions;
mod readers;
mod recordings;
mod reports;
mod result_files;
mod simulated;
mod simulator;
mod sources;
mod support;
