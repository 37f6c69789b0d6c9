//! alloclog keeps the task-event history that Nomad throws away.
//!
//! One path through the program: [`source`] resolves sources to documents, [`decode`] parses documents into records,
//! [`merge`] keeps the rows that are new, [`store`] writes them to a temporary store, [`query`] computes views and
//! statistics with SQL, [`report`] selects the rows worth showing, [`render`] formats tables. [`intake`] runs the first
//! three stages on all cores, and [`lake`] stores new rows permanently.

pub mod cli;
pub mod decode;
pub mod error;
pub mod glob;
pub mod intake;
pub mod lake;
pub mod merge;
pub mod nomad;
pub mod output;
pub mod pipeline;
pub mod presence;
pub mod query;
pub mod render;
pub mod report;
pub mod source;
pub mod store;
pub mod tables;
pub mod time;
