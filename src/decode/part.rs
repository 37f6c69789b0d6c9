//! The content of one part of a document.

use std::ops::Range;

use super::key_order::Unknown;
use super::position::Position;
use super::record::{Allocation, Node};

/// Maximum size of an allocation in bytes; a larger object is skipped.
pub const LARGEST_ALLOCATION: usize = 256 << 20;

/// Reader mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Validate and read every value with serde_json.
    pub strict: bool,
}

/// Looks up the version of an allocation; returns the number of the version if it is known.
pub type Seen<'f> = dyn FnMut(&AllocationPreview<'_>) -> Option<u32> + 'f;

/// The content of one part of a document.
#[derive(Debug, Default)]
pub struct ParsedPart<'a> {
    /// Allocations and nodes in the order of the document.
    pub items: Vec<Item<'a>>,
    /// Faults in this part.
    pub faults: Vec<PlacedFault>,
    /// How many elements of the outermost open list were read. They are counted from the start of the list if it starts
    /// in this part, otherwise from the start of the part.
    pub elements: u64,
    /// Whether a list starts in this part.
    pub list_began: bool,
    /// Values that are not allocations or nodes, and do not wrap any.
    pub others: u64,
    /// Lists that may contain allocations: arrays, including nested ones, and each `Allocs` of a dump.
    pub lists: u64,
    /// How many of these lists are the `Allocs` of a dump.
    pub dumps: u64,
    /// The number of frames and events of a stream, plus its heartbeats that are not elements of a list.
    pub frames: u64,
    /// Unknown fields, by path and name.
    pub unknown: Unknown,
    /// How many of the part's bytes were processed; the rest starts the next part.
    pub end: usize,
    /// The position of the next part.
    pub position: Position,
}

/// An item found in a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The byte range of the item in the part.
    pub bytes: Range<usize>,
    /// Its content.
    pub content: ItemContent<'a>,
    /// Whether the item has unknown fields.
    pub has_unknown: bool,
}

/// The content of an item.
#[derive(Debug, PartialEq, Eq)]
pub enum ItemContent<'a> {
    /// An allocation from a list or a read.
    Allocation(Box<Allocation<'a>>),
    /// An allocation from an event stream.
    Streamed(Box<Allocation<'a>>),
    /// A version of an allocation that the caller already knows: the caller's number of the version.
    Seen(u32),
    /// A client node.
    Node(Box<Node<'a>>),
}

/// A fault with its position in the part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFault {
    /// Byte offset in the part.
    pub at: usize,
    /// Path of the enclosing list (`""`, `.Allocs` or `.Nodes`), and the element's number as in
    /// [`ParsedPart::elements`]. `None` outside of lists, and in nested lists.
    pub array: Option<(String, u64)>,
    /// Whether that list starts in this part, so that the element's number is absolute.
    pub list_began: bool,
    /// Path inside the element.
    pub path: String,
    /// The problem and its consequence.
    pub what: String,
}

/// The fields of an allocation that identify its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllocationPreview<'a> {
    /// `ID` as written, without escapes.
    pub id: &'a str,
    /// `ModifyIndex`.
    pub modify_index: i64,
    /// `ModifyTime`.
    pub modify_time: i64,
    /// Whether it is a full allocation.
    pub is_full: bool,
    /// Length of the allocation's JSON in bytes.
    pub len: usize,
}
