//! Spools the documents of a cluster that is followed.

use std::path::Path;
use std::time::Duration;

use super::console::{Console, Verbosity};
use crate::error;
use crate::intake::{Note, Observer};
use crate::pipeline::plural;
use crate::source::spool::{Spool, SpooledDocument};
use crate::source::{self, Found, Input, SourceOptions};

/// How often stream frames are appended to the spool.
pub const APPEND_EVERY: Duration = Duration::from_millis(100);

/// Why receiving ended, other than by cancellation.
pub enum ReceiveEnd {
    /// The cluster can no longer be followed.
    Cluster(String),
    /// The spool cannot be written.
    Spool(error::Error),
}

/// The documents that a command without a lake collected from a cluster.
pub struct Collected {
    spool: Spool,
    documents: Vec<SpooledDocument>,
    /// True if following the cluster ended with an error.
    pub is_cut: bool,
}

/// Spools the cluster's documents in a directory until interrupted. Documents that an earlier run left there come
/// first.
///
/// # Errors
/// When the directory cannot be written.
pub fn collect(inputs: &[Input], directory: &Path, console: &Console) -> anyhow::Result<Collected> {
    let spool = Spool::open(directory)?;
    let before = spool.pending()?.len();
    if before > 0 {
        let line = format!("resuming with {} from {}", plural(before as u64, "document"), directory.display());
        console.print_at(Verbosity::Normal, &line);
    }
    console.done(); // the total is unknown
    let is_cut = match receive(inputs, &spool, console) {
        Ok(()) => false,
        Err(ReceiveEnd::Spool(error)) => return Err(error.into()),
        Err(ReceiveEnd::Cluster(why)) => {
            console.note(Note::Rejected(why));
            true
        }
    };
    spool.seal()?;
    let documents = spool.pending()?;
    Ok(Collected { spool, documents, is_cut })
}

impl Collected {
    /// The documents as inputs.
    pub fn inputs(&self) -> Vec<Input> {
        self.documents.iter().map(SpooledDocument::input).collect()
    }

    /// Removes the documents.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        Ok(self.spool.remove(&self.documents)?)
    }
}

/// Appends the cluster's documents to the spool.
pub fn receive(inputs: &[Input], spool: &Spool, console: &Console) -> Result<(), ReceiveEnd> {
    let mut ended = Ok(());
    source::walk(inputs, &SourceOptions::default(), None, &|bytes| console.read(bytes), &mut |found| {
        match found {
            Found::Document(origin, stream) => match spool.put(&origin, stream) {
                Ok(None) => {}
                Ok(Some(what)) => console.note(Note::Warning(format!("{}: {what}", origin.name))),
                Err(error) => ended = Err(ReceiveEnd::Spool(error)),
            },
            // A cluster sends no logs and no files.
            Found::Log(..) | Found::Known(..) | Found::EndOfFile(..) => {}
            Found::Skipped(origin, why) => console.note(Note::Skipped(format!("{}: {why}", origin.name), true)),
            Found::Warning(origin, what) => console.note(Note::Warning(format!("{}: {what}", origin.name))),
            Found::Recovered(origin, what) => console.note(Note::Recovered(format!("{}: {what}", origin.name))),
            Found::Unreadable(origin, why) => ended = Err(ReceiveEnd::Cluster(format!("{}: {why}", origin.name))),
        }
        ended.is_ok()
    });
    ended
}
