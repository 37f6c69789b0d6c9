//! The open document: the position in its structure, and its future ledger row.

use tempfile::SpooledTempFile;

use crate::decode::document::{LARGEST_ALLOCATION, ParsedPart, PlacedFault, Position};
use crate::decode::key_order::Unknown;
use crate::merge::New;
use crate::presence::StreamedVersion;
use crate::source::{ObservedFrom, Origin};
use crate::tables::{Shape, mask};

/// The open document.
#[derive(Default)]
pub struct OpenDocument {
    /// The position of the next block.
    pub position: Position,
    /// The unprocessed end of the last block.
    pub leftover: Vec<u8>,
    /// The length in bytes that `leftover` must reach before it is parsed again.
    pub wanted: usize,
    pub origin: Origin,
    /// Bytes before the next block.
    pub offset: u64,
    /// Lines before the next block.
    pub lines: u64,
    /// Array elements before the next block.
    pub elements: u64,
    pub rounding: Rounding,
    pub facts: DocumentFacts,
}

/// Whether the times of a document passed through a floating-point number.
#[derive(Default)]
pub enum Rounding {
    /// True if the times are rounded. This was decided by an exact event time, or at the end of the document.
    Known(bool),
    /// No event time was read so far.
    #[default]
    Open,
    /// All event times so far look rounded; the parts are held until this is decided.
    Held(Box<HeldParts>),
}

/// Parts of a document that are held until rounding is decided.
pub struct HeldParts {
    /// Number of event times.
    pub times: u64,
    /// Whether any of the times is finer than a microsecond. Whole microseconds prove nothing, because a float prints
    /// them unchanged and the clocks of some clients have no finer unit.
    pub any_fine: bool,
    pub bytes: SpooledTempFile,
    pub parts: Vec<(Position, usize)>,
}

/// The data of the ledger row.
#[derive(Default)]
pub struct DocumentFacts {
    pub allocations: u64,
    pub task_states: u64,
    pub task_events: u64,
    pub nodes: u64,
    pub others: u64,
    pub rejected: u64,
    pub lists: u64,
    pub dumps: u64,
    pub frames: u64,
    pub shapes: Vec<Shape>,
    /// The newest ModifyTime.
    pub modified: Option<i64>,
    /// The newest CreateTime.
    pub created: Option<i64>,
    pub unknown: Unknown,
    pub new: New,
    /// The allocations that the document shows, without those in stream events. Their sightings are created at the end
    /// of the document, because they need `observed_at`.
    pub shown: Vec<ShownAllocation>,
    /// The allocations in stream events of the document, with the time of the version.
    pub streamed: Vec<(ShownAllocation, StreamedVersion)>,
}

/// An allocation as shown by a document.
pub struct ShownAllocation {
    pub alloc: u32,
    pub namespace: u32,
    /// Whether the allocation was not terminal.
    pub is_live: bool,
    pub is_pending: bool,
    pub newest_event: Option<i64>,
}

impl OpenDocument {
    /// A document before its first part is read.
    pub fn new(origin: Origin) -> OpenDocument {
        let rounding = match origin.observed {
            // The times in answers to the program's own requests are never rounded.
            Some((_, ObservedFrom::Fetched)) => Rounding::Known(false),
            _ => Rounding::Open,
        };
        OpenDocument { origin, rounding, ..OpenDocument::default() }
    }

    /// Returns true if the current part must be held.
    pub fn is_held(&self) -> bool {
        matches!(self.rounding, Rounding::Held(..))
    }

    /// Returns true if the times of the document are known to be rounded.
    pub fn is_rounded(&self) -> bool {
        matches!(self.rounding, Rounding::Known(true))
    }

    /// Counts the rows that this document showed first.
    pub fn count_new(&mut self, new: New) {
        self.facts.new.allocations += new.allocations;
        self.facts.new.task_states += new.task_states;
        self.facts.new.task_events += new.task_events;
    }

    /// Advances past a part.
    pub fn advance(&mut self, bytes: &[u8], part: &ParsedPart<'_>) {
        self.offset += part.end as u64;
        self.lines += memchr::memchr_iter(b'\n', &bytes[..part.end]).count() as u64;
        self.elements += part.elements;
        self.position.clone_from(&part.position);
        // An incomplete value is parsed again at twice its length, so that the total time is linear.
        self.wanted = if part.end == 0 { (2 * bytes.len()).min(LARGEST_ALLOCATION + 1) } else { 0 };
        self.leftover = bytes[part.end..].to_vec();
    }

    /// Adds a block to the unprocessed bytes. Returns true if there are still too few bytes to parse again.
    pub fn waits_for_more(&mut self, bytes: &[u8]) -> bool {
        let waits = !self.leftover.is_empty() && self.leftover.len() + bytes.len() < self.wanted;
        if waits {
            self.leftover.extend_from_slice(bytes);
        }
        waits
    }

    /// Formats a fault for the user: file, byte offset, line, path, problem.
    pub fn describe(&self, bytes: &[u8], fault: &PlacedFault) -> String {
        let at = fault.at.min(bytes.len());
        let line = self.lines + memchr::memchr_iter(b'\n', &bytes[..at]).count() as u64 + 1;
        let path = match &fault.array {
            Some((array, element)) => format!("{array}[{}]{}", self.elements + element, fault.path),
            None => fault.path.clone(),
        };
        let subject = if path.is_empty() { "the value".to_owned() } else { path };
        // The problem may quote input, and a key may contain anything, so secrets in it are masked.
        let what = format!("{subject} {}", fault.what);
        format!("{}: byte {}, line {line}: {}", self.origin.name, self.offset + at as u64, mask::text(&what))
    }
}
