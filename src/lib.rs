//! Keeps the task-event history that Nomad throws away.
//!
//! The data passes through these modules, in this order:
//!
//! - [`source`] resolves sources to documents.
//! - [`decode`] parses documents into records.
//! - [`merge`] keeps the rows that are new.
//! - [`store`] writes these rows to a temporary store.
//! - [`query`] computes views and statistics with SQL.
//! - [`report`] selects the rows worth showing.
//! - [`render`] formats tables.
//!
//! [`intake`] runs the first three stages on all cores, and [`lake`] stores new rows permanently. [`pipeline`] runs all
//! stages from the sources to the tables and views in a store. `examples/restarts.rs` is a program with this function:
//!
//! ```
//! use std::error::Error;
//!
//! use alloclog::pipeline::{Pipeline, Sources};
//! use alloclog::query;
//! use alloclog::store::Store;
//! use arrow::array::RecordBatch;
//!
//! pub fn restarts(source: &str) -> Result<Vec<RecordBatch>, Box<dyn Error + Send + Sync>> {
//!     let directory = tempfile::tempdir()?;
//!     let store = Store::at(directory.path());
//!     let sources = Sources::parse([source])?;
//!     let views = query::view("restarts").into_iter().collect();
//!     Pipeline { sources, views, ..Pipeline::default() }.run(&store, &())?;
//!     Ok(store.batches("restarts")?.collect::<Result<_, _>>()?)
//! }
//! ```

pub mod cli;
pub mod decode;
pub mod error;
pub mod glob;
pub mod intake;
pub mod lake;
pub mod members;
pub mod merge;
pub mod nomad;
pub mod output;
pub mod pipeline;
pub mod presence;
pub mod query;
pub mod redact;
pub mod render;
pub mod report;
pub mod source;
pub mod store;
pub mod tables;
pub mod time;
