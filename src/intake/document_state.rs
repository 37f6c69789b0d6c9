//! The document whose blocks are being taken: where reading stands in it, and what its row in the ledger will say.

use tempfile::SpooledTempFile;

use crate::decode::document::{LARGEST_ALLOCATION, Part, Place, PlacedFault};
use crate::decode::key_order::Unknown;
use crate::merge::New;
use crate::presence::Version;
use crate::source::{ObservedFrom, Origin};
use crate::tables::{Shape, mask};

/// The document that is open.
#[derive(Default)]
pub struct OpenDocument {
    /// Where the next block begins.
    pub place: Place,
    /// The end of the last block that was not done with.
    pub leftover: Vec<u8>,
    /// How long that must be before reading it is tried again.
    pub wanted: usize,
    pub origin: Origin,
    /// Bytes, lines and array elements before the next block.
    pub offset: u64,
    pub lines: u64,
    pub elements: u64,
    pub rounding: Rounding,
    pub facts: Facts,
}

/// Whether a document's times went through a float.
#[derive(Default)]
pub enum Rounding {
    /// An event time showed that they did not, or the end that they did.
    Known(bool),
    /// There was no event time yet.
    #[default]
    Open,
    /// All event times so far look as if they did; their parts wait for the answer.
    Held(Box<Held>),
}

/// Parts of a document that wait until it is known whether its times went through a float.
pub struct Held {
    /// How many event times there were.
    pub times: u64,
    /// Whether any of them is finer than a microsecond. Whole microseconds tell nothing: a float prints them as they
    /// are, and the clocks of some clients give no others.
    pub any_fine: bool,
    pub bytes: SpooledTempFile,
    pub parts: Vec<(Place, usize)>,
}

/// What the ledger will say.
#[derive(Default)]
pub struct Facts {
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
    /// The newest ModifyTime and CreateTime.
    pub modified: Option<i64>,
    pub created: Option<i64>,
    pub unknown: Unknown,
    pub new: New,
    /// What it shows of allocations, streams aside: their sightings wait for observed_at.
    pub shown: Vec<Sight>,
    /// What it shows of them as a stream, with the version's time.
    pub streamed: Vec<(Sight, Version)>,
}

/// An allocation as a document shows it.
pub struct Sight {
    pub alloc: u32,
    pub namespace: u32,
    /// Whether it was not terminal.
    pub is_live: bool,
    pub is_pending: bool,
    pub newest_event: Option<i64>,
}

impl OpenDocument {
    /// A document of which nothing was read.
    pub fn new(origin: Origin) -> OpenDocument {
        let rounding = match origin.observed {
            // What we asked for ourselves went through nothing.
            Some((_, ObservedFrom::Fetched)) => Rounding::Known(false),
            _ => Rounding::Open,
        };
        OpenDocument { origin, rounding, ..OpenDocument::default() }
    }

    /// Whether the part at hand has to wait.
    pub fn is_held(&self) -> bool {
        matches!(self.rounding, Rounding::Held(..))
    }

    /// Whether its times went through a float, as far as is known.
    pub fn is_rounded(&self) -> bool {
        matches!(self.rounding, Rounding::Known(true))
    }

    /// Counts rows that it was the first to show.
    pub fn count_new(&mut self, new: New) {
        self.facts.new.allocations += new.allocations;
        self.facts.new.task_states += new.task_states;
        self.facts.new.task_events += new.task_events;
    }

    /// Moves on behind a part.
    pub fn advance(&mut self, bytes: &[u8], part: &Part<'_>) {
        self.offset += part.end as u64;
        self.lines += memchr::memchr_iter(b'\n', &bytes[..part.end]).count() as u64;
        self.elements += part.elements;
        self.place.clone_from(&part.place);
        // A value that was not whole is tried again at twice its length, so that reading it costs time in proportion to it.
        self.wanted = if part.end == 0 { (2 * bytes.len()).min(LARGEST_ALLOCATION + 1) } else { 0 };
        self.leftover = bytes[part.end..].to_vec();
    }

    /// Adds a block to the bytes that are not done with, if all of them are too few to try reading again.
    pub fn waits_for_more(&mut self, bytes: &[u8]) -> bool {
        let waits = !self.leftover.is_empty() && self.leftover.len() + bytes.len() < self.wanted;
        if waits {
            self.leftover.extend_from_slice(bytes);
        }
        waits
    }

    /// A fault as a line for the user: file, byte offset, line, path, what is wrong.
    pub fn describe(&self, bytes: &[u8], fault: &PlacedFault) -> String {
        let at = fault.at.min(bytes.len());
        let line = self.lines + memchr::memchr_iter(b'\n', &bytes[..at]).count() as u64 + 1;
        let path = match &fault.array {
            Some((array, element)) => format!("{array}[{}]{}", self.elements + element, fault.path),
            None => fault.path.clone(),
        };
        let subject = if path.is_empty() { "the value".to_owned() } else { path };
        // What is wrong may be quoted, and a key may hold anything.
        let what = format!("{subject} {}", fault.what);
        format!("{}: byte {}, line {line}: {}", self.origin.name, self.offset + at as u64, mask::text(&what))
    }
}
