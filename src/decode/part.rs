//! What one part of a document holds.

use std::ops::Range;

use super::key_order::Unknown;
use super::place::Place;
use super::record::{Allocation, Node};

/// An allocation larger than this is not believed to be one; its bytes are passed over.
pub const LARGEST_ALLOCATION: usize = 256 << 20;

/// How to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Validate every byte with serde_json, and read with it.
    pub strict: bool,
}

/// Tells whether a version of an allocation was seen, and by which number.
pub type Seen<'f> = dyn FnMut(&Head<'_>) -> Option<u32> + 'f;

/// What one part of a document holds.
#[derive(Debug, Default)]
pub struct Part<'a> {
    /// Allocations and nodes in the order of the document.
    pub items: Vec<Item<'a>>,
    /// What could not be read.
    pub faults: Vec<PlacedFault>,
    /// How many elements of the outermost list at the part's end were read: since that list began, if it began in
    /// this part, else since the part began.
    pub elements: u64,
    /// Whether a list began in this part.
    pub list_began: bool,
    /// Values that are neither allocations nor nodes nor wrappers of them.
    pub others: u64,
    /// Lists that may hold allocations: arrays, within each other too, and `Allocs` of a dump.
    pub lists: u64,
    /// Those of them that are the `Allocs` of a dump.
    pub dumps: u64,
    /// Frames and events of a stream, and its heartbeats where they are no elements of a list.
    pub frames: u64,
    /// Unknown fields, by place and name.
    pub unknown: Unknown,
    /// How many of the part's bytes are done with; the rest begins the next part.
    pub end: usize,
    /// Where the next part begins.
    pub place: Place,
}

/// One thing found in a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its bytes in the part.
    pub bytes: Range<usize>,
    /// What it is.
    pub content: Content<'a>,
    /// Whether it has fields that Nomad is not known to have.
    pub has_unknown: bool,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An allocation from a list or a read.
    Allocation(Box<Allocation<'a>>),
    /// An allocation from an event stream.
    Streamed(Box<Allocation<'a>>),
    /// An allocation that the caller has already seen in this version, by the number the caller gave it.
    Seen(u32),
    /// A client node.
    Node(Box<Node<'a>>),
}

/// A fault with its place in the part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFault {
    /// Byte offset in the part.
    pub at: usize,
    /// Path of the list around (`""`, `.Allocs`) and the element's number as in [`Part::elements`]; `None` outside of
    /// lists, and in a list inside another one.
    pub array: Option<(String, u64)>,
    /// Whether that list began in this part, so that the element's number is its true one.
    pub list_began: bool,
    /// Path inside the element.
    pub path: String,
    /// What is wrong and what follows from it.
    pub what: String,
}

/// What an allocation shows of itself before it is read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head<'a> {
    /// `ID` as written, without escapes.
    pub id: &'a str,
    /// `ModifyIndex`.
    pub modify_index: i64,
    /// `ModifyTime`.
    pub modify_time: i64,
    /// Whether it is a full allocation.
    pub is_full: bool,
    /// Bytes of its JSON.
    pub len: usize,
}
