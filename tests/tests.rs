//! There is one integration binary, because each additional one would link polars again.

// Failing tests panic, including in helpers outside of `#[test]` functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agent_logs;
mod cluster;
#[path = "../examples/restarts.rs"]
#[allow(dead_code)] // its main
mod example;
mod hostile_input;
mod lakes;
mod layers;
mod library;
mod masking;
mod pages;
mod program;
mod query_command;
mod readers;
mod recordings;
mod redaction;
mod reports;
mod result_files;
mod sandbox;
mod simulated;
mod simulator;
mod sources;
mod support;
mod timelines;
mod twins;
mod view_store;
