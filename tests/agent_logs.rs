//! Logs of agents as a source. The lines that are read are compared with what was logged. The events that they
//! recover are compared with the event stream, which contains every event.

mod clocks;
pub mod hclog;
mod reading;
mod recovered;
mod repeated;
