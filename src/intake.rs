//! The intake: reads, decodes and deduplicates sources, and delivers new rows as batches.
//!
//! One thread reads documents and splits them into blocks. All cores decode blocks, each from a guessed position in
//! the document's structure. Blocks are then committed in order of arrival. A wrong guess is detected at that point,
//! and the block is decoded again, so the result does not depend on thread timing.

mod chunker;
mod closing;
mod document_state;
mod log_state;
mod logs;
mod rounding;
mod sequencer;
mod shown_buffer;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::decode::document::{AllocationPreview, Mode, ParsedPart, Position, Reader, Seen};
use crate::error;
use crate::merge::{self, Columns, Filter, PartRows, Versions};
use crate::presence::ShownAllocations;
use crate::source::{self, Input, KnownFiles};
use crate::tables::sink::Sink;
use chunker::{Block, Step};
use sequencer::Sequencer;
use state::{Delivery, RunState};

/// Options of the intake.
#[derive(Debug, Clone, Default)]
pub struct IntakeOptions {
    /// What the user states about all documents.
    pub source: source::SourceOptions,
    /// The region given by `--region`.
    pub region: String,
    /// Selects the allocations to keep.
    pub filter: Filter,
    /// Validate every byte, and stop at the first error.
    pub strict: bool,
    /// When absences are delivered.
    pub absences: Absences,
    /// Files that need not be read. If it is `None`, all files are read, and [`Summary::read_files`] stays empty.
    pub known_files: Option<KnownFiles>,
}

/// When rows of `absences` are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Absences {
    /// At the end of the run, for complete input.
    #[default]
    AtTheEnd,
    /// At the end of each document, for rows that are read while further rows arrive.
    ByDocument,
    /// Never. For a lake, the caller computes them, because they also depend on the rows of the lake.
    Left,
}

/// The totals of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Documents with allocations or nodes, or with an empty list of them.
    pub documents: u64,
    /// How many of these documents have allocations or an empty list, by the number of their source.
    pub listings_by_source: BTreeMap<usize, u64>,
    /// The numbers of the sources that are an empty file or contain a stream without allocations.
    pub quiet_sources: BTreeSet<usize>,
    /// The keys of the files that were not read, because they are in [`IntakeOptions::known_files`].
    pub known_files: Vec<u128>,
    /// Files with allocations that were read without a fault.
    pub read_files: Vec<ReadFile>,
    /// Repeated documents: the same bytes with the same time.
    pub repeated_documents: u64,
    /// Files and archive members without allocations.
    pub skipped: u64,
    /// Decompressed bytes of all documents.
    pub bytes: u64,
    /// Logs of agents that contain lines of task events.
    pub logs: u64,
    /// The numbers of the sources with such logs.
    pub log_sources: BTreeSet<usize>,
    /// Lines of task events in all logs.
    pub log_lines: u64,
    /// New rows of `log_events`.
    pub new_log_events: u64,
    /// Rows of `log_events` that were left out. If the filter selects by job or namespace, a row is kept only if a
    /// listing or a lake shows its allocation and the filter selects this allocation.
    pub unlisted_log_events: u64,
    /// Allocations in all documents.
    pub allocations: u64,
    /// Task events in all documents.
    pub task_events: u64,
    /// New rows of `allocation_history`.
    pub new_allocations: u64,
    /// New rows of `task_state_history`.
    pub new_task_states: u64,
    /// New rows of `task_events`.
    pub new_task_events: u64,
    /// Parts of documents that could not be read, and sources that could not be opened.
    pub rejected: u64,
    /// Documents with times rounded by a float.
    pub rounded_documents: u64,
    /// Unknown fields, with their counts.
    pub unknown_fields: BTreeMap<String, u64>,
    /// The keys with which `fetch --redact` replaced the names of allocations; contains `None` if names were not
    /// replaced.
    pub redaction: BTreeSet<Option<NonZeroU64>>,
    /// Which allocations the documents show, and when. With [`Absences::ByDocument`], it has only what was shown since
    /// the last delivery. With [`Absences::AtTheEnd`], it is empty.
    pub shown: ShownAllocations,
}

/// A file that was read completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Its key in [`KnownFiles`].
    pub key: u128,
    /// The hours in which its documents show allocations, in nanoseconds since the epoch, in order.
    pub hours: Vec<i64>,
}

/// A message for the user, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Part of the input could not be read; exit code 3, or 1 with `--strict`.
    Rejected(String),
    /// A source without allocations. The flag is true if it was named on the command line.
    Skipped(String, bool),
    /// A warning about a document's reliability.
    Warning(String),
    /// The condition of an earlier warning has ended.
    Recovered(String),
    /// Information about a source without documents.
    Info(String),
}

/// An error that ends a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Writing the rows failed.
    #[error("cannot write rows")]
    Write(#[source] error::Error),
    /// A thread stopped without a result because of a bug.
    #[error("reading stopped without a result; this is a bug in alloclog")]
    Stopped,
}

/// Receives progress and messages during a run. `()` ignores them.
pub trait Observer: Sync {
    /// Called with a number of bytes read from the inputs, before decompression.
    fn read(&self, _bytes: u64) {}
    /// Called with a message for the user.
    fn note(&self, _note: Note) {}
    /// Called after all inputs were read, when the named stage starts.
    fn stage(&self, _name: &str) {}
}

impl Observer for () {}

/// Maximum number of steps in flight. So when a step is decoded, all steps that are at least this many before it are
/// complete, and every core knows their versions.
const MAX_IN_FLIGHT: usize = 32;

/// Reads the inputs and delivers every new row.
///
/// # Errors
/// When a batch cannot be delivered. Damaged input is not an error: it is reported and counted.
pub fn run(
    inputs: &[Input],
    options: &IntakeOptions,
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
        let reading = scope.spawn(|| {
            let known = options.known_files.as_ref();
            chunker::read(inputs, &options.source, known, &|bytes| observer.read(bytes), &pool, send);
        });
        let workers: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| work(options, &receive, &pool, &sequencer, &versions))).collect();
        let results: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // Drop the receiver, so that the reader ends if all workers ended early.
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

/// One worker thread: takes blocks until no blocks are left.
fn work(
    options: &IntakeOptions,
    receive: &Mutex<Receiver<Step>>,
    pool: &Mutex<Vec<Vec<u8>>>,
    sequencer: &Sequencer<'_>,
    versions: &Versions,
) {
    let mut reader = Reader::new(Mode { strict: options.strict });
    // With this guard, the other threads do not wait for the turn of this thread if it panics.
    let _guard = sequencer.guard();
    loop {
        let step = match receive.lock().map(|receive| receive.recv()) {
            Ok(Ok(step)) => step,
            _ => return,
        };
        let goes_on = match step {
            Step::File { number, key, known_in } => sequencer.wait_for_turn(number).is_some_and(|mut turn| {
                match known_in {
                    Some(source) => turn.skip_known_file(key, source),
                    None => turn.end_file(key),
                }
                sequencer.pass_turn(turn) && sequencer.deliver(number, Ok(Delivery::default()))
            }),
            Step::Block(block) => {
                let goes_on = process_block(options, &mut reader, &block, sequencer, versions);
                if let Ok(mut pool) = pool.lock() {
                    pool.push(block.buffer);
                }
                goes_on
            }
            Step::Log(block) => {
                let goes_on = logs::process_block(options, &block, sequencer);
                if let Ok(mut pool) = pool.lock() {
                    pool.push(block.buffer);
                }
                goes_on
            }
            Step::Other { number, note, quiet_source } => sequencer.wait_for_turn(number).is_some_and(|mut turn| {
                turn.note(note);
                turn.summary.quiet_sources.extend(quiet_source);
                sequencer.pass_turn(turn) && sequencer.deliver(number, Ok(Delivery::default()))
            }),
        };
        if !goes_on {
            return;
        }
    }
}

/// Decodes a block from its guessed position, waits for its turn, and merges it; `false` when the run is over.
fn process_block(
    options: &IntakeOptions,
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
        let Some(mut turn) = sequencer.wait_for_turn(block.number) else { return false };
        if block.is_first {
            turn.begin(&block.origin);
        }
        if turn.document.position == block.guess && turn.document.leftover.is_empty() {
            return merge_part(turn, sequencer, block, bytes, &part, rows, &columns, versions);
        }
    }
    // The guess was wrong, or the block starts within an allocation. Decode the block again in its turn; later blocks
    // wait until it is done.
    let Some(mut turn) = sequencer.wait_for_turn(block.number) else { return false };
    if block.end.is_none() && turn.document.waits_for_more(bytes) {
        return sequencer.pass_turn(turn) && sequencer.deliver(block.number, Ok(Delivery::default()));
    }
    let mut joined = std::mem::take(&mut turn.document.leftover);
    joined.extend_from_slice(bytes);
    let position = turn.document.position.clone();
    let part = decode(options, reader, block, &position, &joined, versions);
    let columns = Columns::new();
    let rows = merge::rows(&part.items, &options.region, block.origin.listed_namespace(), &options.filter, &columns);
    merge_part(turn, sequencer, block, &joined, &part, rows, &columns, versions)
}

fn decode<'a>(
    options: &IntakeOptions,
    reader: &mut Reader,
    block: &Block,
    position: &Position,
    bytes: &'a [u8],
    versions: &Versions,
) -> ParsedPart<'a> {
    let known = block.number.checked_sub(MAX_IN_FLIGHT as u64).map_or(0, |step| versions.known_after(step));
    let mut seen = |head: &AllocationPreview<'_>| versions.number(head, known);
    // While the first document is read, no version is known. Strict mode reads every byte in any case, so it skips no
    // version.
    let may_be_seen = block.may_be_seen && known > 0 && !options.strict;
    let seen: Option<&mut Seen<'_>> = if may_be_seen { Some(&mut seen) } else { None };
    // A stream that broke off and will be requested again is not a truncated document.
    let is_last = block.end.as_ref().is_some_and(|end| end.problem.as_ref().is_none_or(|problem| !problem.will_retry));
    reader.part(position.clone(), bytes, is_last, seen)
}

/// Merges a part in its turn, and delivers its new rows after passing on the turn.
#[allow(clippy::too_many_arguments)] // one step with all of its inputs
fn merge_part<'a, 'r>(
    mut turn: MutexGuard<'_, RunState<'r>>,
    sequencer: &Sequencer<'r>,
    block: &Block,
    bytes: &[u8],
    part: &ParsedPart<'a>,
    rows: PartRows<'a>,
    columns: &Columns<'a>,
    versions: &Versions,
) -> bool {
    let taken = turn.take_part(block, bytes, part, rows, columns, versions);
    if !sequencer.pass_turn(turn) {
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
