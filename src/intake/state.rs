//! The state of the worker whose turn it is: the open document, and the known rows.

use std::collections::BTreeSet;
use std::num::NonZeroI64;

use hashbrown::HashSet;

use super::chunker::Block;
use super::document_state::{OpenDocument, ShownAllocation};
use super::log_state::Logs;
use super::shown_buffer::ShownBuffer;
use super::{IntakeOptions, Note, Observer, ReadFile, Summary};
use crate::decode::document::ParsedPart;
use crate::error::Result;
use crate::merge::{Columns, Merge, PartRows, Versions};
use crate::presence::{Presence, StreamedVersion};
use crate::source::Origin;
use crate::tables::sink::{self, DocumentEnd};
use crate::tables::{Shape, mask};

/// Maximum number of faults of one document that are reported individually.
pub(super) const MAX_REPORTED: u64 = 20;

/// The state of the worker whose turn it is.
pub struct RunState<'r> {
    /// The number of the current step.
    pub(super) number: u64,
    /// The open document.
    pub document: OpenDocument,
    pub(super) merge: Merge,
    /// The open log, and rows of logs that wait for a listing.
    pub(super) logs: Logs,
    pub(super) summary: Summary,
    pub(super) options: &'r IntakeOptions,
    pub(super) observer: &'r dyn Observer,
    /// Number of documents with a ledger row so far.
    pub(super) snapshots: i64,
    /// Which allocations documents show, and when: in the whole run, or since absences were last delivered.
    pub(super) shown_buffer: ShownBuffer,
    /// The presence of allocations according to the delivered rows; used if absences are delivered by document.
    pub(super) presence: Presence,
    /// Allocations with events later than the document that shows them.
    pub(super) ahead: HashSet<u32>,
    /// The open file.
    pub(super) file: OpenFile,
}

/// What was found so far in the open file.
#[derive(Default)]
pub struct OpenFile {
    /// The number of unreadable places in all input before this file.
    rejected_before: u64,
    /// The hours in which its documents show allocations, in nanoseconds since the epoch.
    pub(super) hours: BTreeSet<i64>,
    /// Whether it shows allocations as a stream.
    pub(super) has_stream: bool,
}

/// The output of a step.
#[derive(Debug, Default)]
pub struct Delivery {
    /// New rows, in order.
    pub rows: Vec<sink::Rows>,
    /// The end of the document that the rows come from.
    pub end: Option<DocumentEnd>,
}

/// The new rows of a block, and the rows that are delivered at the end of its document.
pub struct BlockRows<'a> {
    /// The number reserved for the document's ledger row. Some documents get no row.
    pub document: i64,
    /// Rows that were held until rounding was decided.
    pub before: Vec<sink::Rows>,
    /// The block's own rows.
    pub rows: PartRows<'a>,
    /// The document's sightings and absences.
    pub after: Vec<sink::Rows>,
    /// The end of the document, if it gets a ledger row.
    pub end: Option<DocumentEnd>,
}

impl<'r> RunState<'r> {
    /// The state at the start of a run.
    pub fn new(options: &'r IntakeOptions, observer: &'r dyn Observer) -> RunState<'r> {
        RunState {
            number: 0,
            document: OpenDocument::default(),
            merge: Merge::new(&options.filter),
            logs: Logs::default(),
            summary: Summary::default(),
            options,
            observer,
            snapshots: 0,
            shown_buffer: ShownBuffer::default(),
            presence: Presence::default(),
            ahead: HashSet::default(),
            file: OpenFile::default(),
        }
    }
}

impl RunState<'_> {
    /// Reports a message, and counts it.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Rejected(_) => self.summary.rejected += 1,
            Note::Skipped(..) => self.summary.skipped += 1,
            Note::Warning(_) | Note::Recovered(_) | Note::Info(_) => {}
        }
        self.observer.note(note);
    }

    /// Counts a file that is not read, because its rows are known.
    pub fn skip_known_file(&mut self, key: u128, source: usize) {
        self.summary.known_files.push(key);
        self.summary.listings_by_source.entry(source).or_default();
    }

    /// Ends a file. Keeps its key if it was read without a fault and shows allocations. A recording of a stream is
    /// always read again, because no row of the lake stores when the stream last showed an allocation.
    pub fn end_file(&mut self, key: u128) {
        let rejected = self.summary.rejected;
        let next = OpenFile { rejected_before: rejected, ..OpenFile::default() };
        let file = std::mem::replace(&mut self.file, next);
        if rejected == file.rejected_before && !file.has_stream && !file.hours.is_empty() {
            self.summary.read_files.push(ReadFile { key, hours: file.hours.into_iter().collect() });
        }
    }

    /// Warns about fast client clocks, once per run.
    pub(super) fn warn_of_clocks(&self) {
        let n = self.ahead.len();
        if n > 0 {
            let (allocations, show) = if n == 1 { ("allocation", "shows") } else { ("allocations", "show") };
            self.observer.note(Note::Warning(format!(
                "{n} {allocations} {show} task events more than a minute after the observation: a client's clock is ahead, \
                 or the time of the document is wrong"
            )));
        }
    }

    /// Opens the document whose first block follows.
    pub fn begin(&mut self, origin: &Origin) {
        self.document = OpenDocument::new(origin.clone());
    }

    /// Merges a part: reports its faults, keeps its new rows, and closes the document at its end.
    ///
    /// # Errors
    /// When held rows cannot be read again.
    pub fn take_part<'a>(
        &mut self,
        block: &Block,
        bytes: &[u8],
        part: &ParsedPart<'a>,
        mut rows: PartRows<'a>,
        columns: &Columns<'a>,
        versions: &Versions,
    ) -> Result<BlockRows<'a>> {
        let document = self.snapshots + 1;
        self.merge.number(&mut rows, versions);
        self.report_faults(bytes, part);
        self.count(part, &rows);
        let before = self.decide_rounding(block, bytes, part, &rows, versions)?;
        if self.document.is_held() {
            rows = PartRows::default();
        } else {
            self.keep_new(&mut rows, columns, versions);
        }
        self.document.advance(bytes, part);
        let Delivery { rows: after, end } = match &block.end {
            Some(end) => self.close(end)?,
            None => Delivery::default(),
        };
        Ok(BlockRows { document, before, rows, after, end })
    }

    /// Keeps the new rows, and counts them.
    pub(super) fn keep_new<'a>(&mut self, rows: &mut PartRows<'a>, columns: &Columns<'a>, versions: &Versions) {
        let snapshot_id = self.snapshots + 1;
        let rounded = self.document.is_rounded();
        let new = self.merge.keep_new(rows, columns, snapshot_id, rounded);
        if !rounded {
            self.merge.record_versions(rows, versions, self.number);
        }
        self.document.count_new(new);
        self.summary.new_allocations += new.allocations;
        self.summary.new_task_states += new.task_states;
        self.summary.new_task_events += new.task_events;
    }

    /// Reports the faults of a part.
    pub(super) fn report_faults(&mut self, bytes: &[u8], part: &ParsedPart<'_>) {
        for fault in &part.faults {
            self.document.facts.rejected += 1;
            if self.document.facts.rejected <= MAX_REPORTED {
                let line = self.document.describe(bytes, fault);
                self.note(Note::Rejected(line));
            } else {
                self.summary.rejected += 1;
            }
        }
    }

    /// Counts the content of a part, whether its rows are new or not.
    pub(super) fn count(&mut self, part: &ParsedPart<'_>, rows: &PartRows<'_>) {
        let facts = &mut self.document.facts;
        facts.others += part.others;
        facts.lists += part.lists;
        facts.dumps += part.dumps;
        facts.frames += part.frames;
        facts.nodes += (part.items.len() - rows.versions.len()) as u64;
        facts.allocations += rows.versions.len() as u64;
        for (name, times) in &part.unknown {
            *facts.unknown.entry(mask::text(name).into_owned()).or_default() += times;
        }
        for version in &rows.versions {
            let v = version.facts;
            self.summary.redaction.insert(v.redacted);
            facts.task_states += u64::from(v.task_states);
            facts.task_events += u64::from(v.task_events);
            let number = |value: Option<NonZeroI64>| value.map(NonZeroI64::get);
            facts.modified = facts.modified.max(number(v.modified));
            facts.created = facts.created.max(number(v.created));
            if !facts.shapes.contains(&v.shape) {
                facts.shapes.push(v.shape);
            }
            let sight = ShownAllocation {
                alloc: v.alloc,
                namespace: v.namespace,
                is_live: v.is_live,
                is_pending: v.is_pending,
                newest_event: number(v.newest_event),
            };
            if v.shape == Shape::Stream {
                let written = number(v.modified).or(number(v.created));
                let version = |at| StreamedVersion { index: number(v.modify_index), at };
                facts.streamed.extend(written.map(|at| (sight, version(at))));
            } else {
                facts.shown.push(sight);
            }
        }
    }
}
