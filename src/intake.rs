//! The way in: sources are read, decoded and merged, and their new rows handed on as batches.
//!
//! One thread reads and cuts documents into blocks; every core decodes blocks, guessing where in the document's
//! structure each begins. Blocks then take their turn in order of arrival: a wrong guess shows there and is made good
//! by reading the block again, so the result never depends on which core was faster.

mod blocks;
mod closing;
mod document_state;
mod looked;
mod rounding;
mod sequencer;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::decode::document::{Head, Mode, Part, Place, Reader, Seen};
use crate::error::BoxError;
use crate::merge::{self, Columns, Filter, Rows, Versions};
use crate::presence::Shown;
use crate::source::{self, Input};
use crate::tables::sink::Sink;
use blocks::{Block, Step};
use sequencer::Sequencer;
use state::{Delivery, State};

/// How to take sources in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the user says about all documents.
    pub source: source::Options,
    /// What `--region` says.
    pub region: String,
    /// Which allocations' rows are kept.
    pub filter: Filter,
    /// Validate every byte, and stop at the first that is wrong.
    pub strict: bool,
    /// When rows of absences are delivered.
    pub absences: Absences,
}

/// When rows are delivered that say which full listings lack an allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Absences {
    /// At the end of the run, which is all that there is.
    #[default]
    AtTheEnd,
    /// At the end of each document: rows are read while more of them come.
    ByDocument,
    /// Not at all: they depend on rows of a lake, too.
    Left,
}

/// What a run took in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Documents that hold allocations or nodes, or are empty lists of them.
    pub documents: u64,
    /// How many of them hold allocations, or are empty lists that could, by the number of their source.
    pub listings_by_source: BTreeMap<usize, u64>,
    /// The numbers of the sources that hold a stream without an allocation, or an empty file.
    pub quiet_sources: BTreeSet<usize>,
    /// Documents that were met before, byte for byte and of the same time.
    pub repeated_documents: u64,
    /// Files and archive members without allocations.
    pub passed_over: u64,
    /// Decompressed bytes of all documents.
    pub bytes: u64,
    /// Allocations in all documents.
    pub allocations: u64,
    /// Task events in all documents.
    pub task_events: u64,
    /// Rows of `allocation_history` that are new.
    pub new_allocations: u64,
    /// Rows of `task_state_history` that are new.
    pub new_task_states: u64,
    /// Rows of `task_events` that are new.
    pub new_task_events: u64,
    /// Places that could not be read, and sources that could not be opened.
    pub rejected: u64,
    /// Documents whose times went through a float.
    pub rounded_documents: u64,
    /// Fields that Nomad was not known to have, with their number.
    pub unknown_fields: BTreeMap<String, u64>,
    /// What the documents show of allocations, and when; with [`Absences::ByDocument`] that was delivered.
    pub shown: Shown,
}

/// Something worth a word to the user, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Part of the input could not be read; exit code 3, or 1 with `--strict`.
    Rejected(String),
    /// A source holds no allocations. The flag says that it stood on the command line itself.
    PassedOver(String, bool),
    /// Something about a document that makes its numbers less sure.
    Warning(String),
    /// What a warning was about is over.
    Recovered(String),
    /// What was read of a source that holds no documents.
    Info(String),
}

/// What cannot be made good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Writing the rows failed.
    #[error("rows cannot be written")]
    Write(#[source] BoxError),
    /// A thread stopped without a result, which is our fault.
    #[error("reading stopped without a result; this is a bug in alloclog")]
    Stopped,
}

/// Receives progress and messages while a run goes on. `()` ignores them.
pub trait Observer: Sync {
    /// So many bytes of the inputs were read, compressed as they are.
    fn read(&self, _bytes: u64) {}
    /// Something that the user may want to know.
    fn note(&self, _note: Note) {}
    /// The inputs are read; the stage of this name begins.
    fn stage(&self, _name: &str) {}
}

impl Observer for () {}

/// So many steps are under way at most: what one was to remember that lies so far back is known on every core.
const MAX_IN_FLIGHT: usize = 32;

/// Takes the inputs in and delivers every new row.
///
/// # Errors
/// When a batch cannot be delivered. Damaged input is no error: it is noted and counted.
pub fn run(
    inputs: &[Input],
    options: &Options,
    observer: &dyn Observer,
    sink: &mut dyn Sink,
) -> Result<Summary, Error> {
    let cores = thread::available_parallelism().map_or(2, |n| n.get()).min(MAX_IN_FLIGHT);
    let (send, receive) = sync_channel::<Step>(cores);
    let receive = Mutex::new(receive);
    let pool = Mutex::new(Vec::new());
    let sequencer = Sequencer::new(options, observer, sink);
    let versions = Versions::default();
    let has_died = thread::scope(|scope| {
        let reading = scope.spawn(|| blocks::read(inputs, &options.source, &|bytes| observer.read(bytes), &pool, send));
        let workers: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| work(options, &receive, &pool, &sequencer, &versions))).collect();
        let results: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // The reader ends when no worker receives any longer.
        if let Ok(mut receive) = receive.lock() {
            let (_, nothing) = sync_channel(0);
            *receive = nothing;
        }
        let read = reading.join();
        read.is_err() || results.iter().any(Result::is_err)
    });
    if has_died {
        return Err(Error::Stopped);
    }
    sequencer.finish()
}

/// One core's work: takes blocks until there are none left.
fn work(
    options: &Options,
    receive: &Mutex<Receiver<Step>>,
    pool: &Mutex<Vec<Vec<u8>>>,
    sequencer: &Sequencer<'_>,
    versions: &Versions,
) {
    let mut reader = Reader::new(Mode { strict: options.strict });
    // If this thread dies of a bug, the others must not wait for its turn.
    let _guard = sequencer.guard();
    loop {
        let step = match receive.lock().map(|receive| receive.recv()) {
            Ok(Ok(step)) => step,
            _ => return,
        };
        let goes_on = match step {
            Step::Block(block) => {
                let goes_on = take_block(options, &mut reader, &block, sequencer, versions);
                if let Ok(mut pool) = pool.lock() {
                    pool.push(block.buffer);
                }
                goes_on
            }
            Step::Other { number, note, quiet_source } => sequencer.wait(number).is_some_and(|mut turn| {
                turn.note(note);
                turn.summary.quiet_sources.extend(quiet_source);
                sequencer.pass(turn) && sequencer.deliver(number, Ok(Delivery::default()))
            }),
        };
        if !goes_on {
            return;
        }
    }
}

/// Decodes a block where it most likely begins, waits for its turn, and merges it; `false` when the run is over.
fn take_block(
    options: &Options,
    reader: &mut Reader,
    block: &Block,
    sequencer: &Sequencer<'_>,
    versions: &Versions,
) -> bool {
    let bytes = block.bytes();
    {
        let part = decode(options, reader, block, &block.guess, bytes, versions);
        let columns = Columns::new();
        let rows =
            merge::rows(&part.items, &options.region, block.origin.listed_namespace(), &options.filter, &columns);
        let Some(mut turn) = sequencer.wait(block.number) else { return false };
        if block.is_first {
            turn.begin(&block.origin);
        }
        if turn.document.place == block.guess && turn.document.leftover.is_empty() {
            return merge_part(turn, sequencer, block, bytes, &part, rows, &columns, versions);
        }
    }
    // The block begins elsewhere than was guessed, or within an allocation of which the block before it holds half.
    // No other block has its turn before this one has passed it on.
    let Some(mut turn) = sequencer.wait(block.number) else { return false };
    if block.end.is_none() && turn.document.waits_for_more(bytes) {
        return sequencer.pass(turn) && sequencer.deliver(block.number, Ok(Delivery::default()));
    }
    let mut joined = std::mem::take(&mut turn.document.leftover);
    joined.extend_from_slice(bytes);
    let place = turn.document.place.clone();
    let part = decode(options, reader, block, &place, &joined, versions);
    let columns = Columns::new();
    let rows = merge::rows(&part.items, &options.region, block.origin.listed_namespace(), &options.filter, &columns);
    merge_part(turn, sequencer, block, &joined, &part, rows, &columns, versions)
}

fn decode<'a>(
    options: &Options,
    reader: &mut Reader,
    block: &Block,
    place: &Place,
    bytes: &'a [u8],
    versions: &Versions,
) -> Part<'a> {
    let known = block.number.checked_sub(MAX_IN_FLIGHT as u64).map_or(0, |step| versions.known_after(step));
    let mut seen = |head: &Head<'_>| versions.number(head, known);
    // Within the first document nothing was seen before; in strict mode every byte is read all the same.
    let may_be_seen = block.may_be_seen && known > 0 && !options.strict;
    let seen: Option<&mut Seen<'_>> = if may_be_seen { Some(&mut seen) } else { None };
    // What breaks off and is asked for again misses nothing at its end.
    let is_last =
        block.end.as_ref().is_some_and(|end| end.problem.as_ref().is_none_or(|problem| !problem.is_made_good));
    reader.part(place.clone(), bytes, is_last, seen)
}

/// Merges a part in its turn, and delivers its new rows once the turn has gone on.
#[allow(clippy::too_many_arguments)] // one step of the line, with all that it works on
fn merge_part<'a, 'r>(
    mut turn: MutexGuard<'_, State<'r>>,
    sequencer: &Sequencer<'r>,
    block: &Block,
    bytes: &[u8],
    part: &Part<'a>,
    rows: Rows<'a>,
    columns: &Columns<'a>,
    versions: &Versions,
) -> bool {
    let taken = turn.take(block, bytes, part, rows, columns, versions);
    if !sequencer.pass(turn) {
        return false;
    }
    let rows = taken.and_then(|taken| {
        let mut rows = taken.before;
        rows.extend(merge::batches(taken.rows, columns, taken.document)?);
        rows.extend(taken.after);
        Ok(Delivery { rows, end: taken.end })
    });
    sequencer.deliver(block.number, rows)
}
