//! `alloclog ingest`: adds new rows from the sources to a lake.

mod args;
mod follow;

use std::time::Instant;

use super::console::{Console, Verbosity};
use super::exit::Exit;
use super::gather::with_end;
use super::{cluster, signals, spooling};
use crate::error::Usage;
use crate::intake::Observer;
use crate::lake::ingest::Ledger;

pub use args::Args;

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let follow_flag = args.source.follow_flag();
    if let Some(flag) = follow_flag.filter(|_| args.source.strict) {
        let word = format!("--strict cannot be used with {flag}, which commits before it has read everything");
        return Err(Usage(word).into());
    }
    let frames_every = follow_flag.map_or(args.source.min_interval, |_| spooling::APPEND_EVERY);
    let sources = args.source.sources(frames_every)?;
    if let Some(lake) = sources.lakes().first() {
        return Err(Usage(format!("{lake} is a lake; ingest reads documents")).into());
    }
    args.refuse_metrics_over(&sources)?;
    let inputs = sources.inputs();
    let console = Console::new(args.source.verbosity(), inputs);
    signals::listen()?;
    if follow_flag.is_some() {
        cluster::announce(inputs, &console);
        return follow::run(args, inputs, &console);
    }
    // Open the lake before the work, so that an unwritable one fails early.
    let mut opened = args.open()?;
    cluster::announce(inputs, &console);
    let staged = args.stage(&mut opened, inputs, Ledger::All, &console);
    console.done();
    console.print_skipped();
    let staged = staged?;
    let summary = &staged.summary;
    sources.check(summary, args.source.strict, true).map_err(|error| with_end(error, "nothing was ingested"))?;
    console.stage("adding to the lake");
    let added = opened.commit(&staged)?;
    if let Some(word) = opened.save_cache() {
        console.print_at(Verbosity::Normal, &format!("warning: {word}"));
    }
    console.done();
    args::tell(&opened.lake, summary, &added, Verbosity::Normal, &console);
    args.write_metrics(&opened.lake, summary, &added, started.elapsed())?;
    Ok(if summary.rejected > 0 { Exit::Rejected } else { Exit::Done })
}
