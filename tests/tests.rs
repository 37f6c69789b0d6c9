//! One integration binary: every further one would link polars again.

mod program;
mod readers;
mod recordings;
mod simulated;
mod simulator;
mod support;
