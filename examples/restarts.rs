//! Prints how often the tasks in a directory of snapshots restarted, one JSON object per task.
//!
//! Run it with `cargo run --release --features examples --example restarts -- samples/cluster`.

use std::error::Error;
use std::io;

use alloclog::pipeline::{Pipeline, Sources};
use alloclog::query;
use alloclog::render;
use alloclog::store::Store;
use arrow::array::RecordBatch;

pub fn restarts(source: &str) -> Result<Vec<RecordBatch>, Box<dyn Error + Send + Sync>> {
    let directory = tempfile::tempdir()?;
    let store = Store::at(directory.path());
    let sources = Sources::parse([source])?;
    let views = query::view("restarts").into_iter().collect();
    Pipeline { sources, views, ..Pipeline::default() }.run(&store, &())?;
    Ok(store.batches("restarts")?.collect::<Result<_, _>>()?)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let source = std::env::args().nth(1).ok_or("usage: restarts SOURCE")?;
    Ok(render::json::write_lines(io::stdout(), restarts(&source)?.into_iter().map(Ok))?)
}
