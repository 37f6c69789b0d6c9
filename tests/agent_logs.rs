//! Logs of agents as a source: their lines against what was logged, and the events that they recover against the event
//! stream, which has all.

pub mod hclog;
mod reading;
mod recovered;
