//! alloclog keeps the task-event history that Nomad throws away.
//!
//! One straight way through the program: [`source`] turns what the user names into documents, [`decode`] their bytes
//! into records, [`merge`] tells which rows are new, [`store`] puts them away, [`query`] computes views and statistics
//! with SQL, [`report`] picks what people need, [`render`] writes tables for people and programs. [`intake`] runs the first
//! three on all cores, and [`lake`] keeps what is new for good.

pub mod cli;
pub mod decode;
pub mod error;
pub mod glob;
pub mod intake;
pub mod lake;
pub mod merge;
pub mod nomad;
pub mod output;
pub mod presence;
pub mod query;
pub mod render;
pub mod report;
pub mod source;
pub mod store;
pub mod tables;
pub mod time;
