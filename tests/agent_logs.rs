//! Logs of agents as a source. The lines that the program reads are compared with what was logged. The events that
//! logs recover are compared with the event stream, which contains every event.

mod clocks;
pub mod hclog;
mod reading;
mod recovered;
mod repeated;
