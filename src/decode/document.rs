//! Finds the allocations in a document of whatever shape, part by part.
//!
//! A document is a sequence of JSON values: arrays of allocations, single allocations, stream frames, bare events, one
//! large object with `Allocs`, or any mixture. [`Place`] says where in that structure a part begins, so that parts can
//! be read one after the other or, where the place can be guessed, at the same time.

use std::ops::Range;

use super::allocation;
use super::fast::{Cursor, Memory, Unknown};
use super::fields::{AllocationField, WrapperField};
use super::input::{Fault, FaultKind, Input, Read};
use super::record::{Allocation, Node};
use super::reference::Raw;
use super::scan::{Skipper, after_space, value_end};

/// An allocation larger than this is not believed to be one; its bytes are passed over.
pub const LARGEST_ALLOCATION: usize = 256 << 20;

/// Where in a document's structure reading stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The arrays and objects around, outermost first; empty between top-level values.
    around: Vec<Level>,
    /// A value that is being passed over and goes on in the next part.
    skipping: Option<Skipper>,
    /// Syntax is broken; nothing is read until a line begins with one of these bytes.
    lost: Option<Lost>,
}

/// One array or object around the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    is_array: bool,
    /// The key of the object around an array: `Allocs` or `Nodes`.
    key: &'static str,
    next: Next,
}

/// What may come next inside an array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    ValueOrClose,
    Value,
    CommaOrClose,
}

/// How reading finds back after broken syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lost {
    /// Whether a line that begins with `{` will do; after a broken array only `[` does, since the lines that follow
    /// may be its own elements.
    objects_too: bool,
    at_line_start: bool,
}

impl Place {
    /// Between two elements of a top-level array, behind the comma: where a part of a large array most likely begins.
    pub fn inside_array() -> Place {
        Place { around: vec![Level { is_array: true, key: "", next: Next::Value }], ..Place::default() }
    }

    /// The path of the array or object around, without an index.
    fn path(&self) -> String {
        self.around.iter().filter(|l| !l.key.is_empty()).map(|l| format!(".{}", l.key)).collect()
    }
}

/// How to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Validate every byte with serde_json, and read with it.
    pub strict: bool,
}

/// What one part of a document holds.
#[derive(Debug, Default)]
pub struct Part<'a> {
    /// Allocations and nodes in the order of the document.
    pub items: Vec<Item<'a>>,
    /// What could not be read.
    pub faults: Vec<PlacedFault>,
    /// How many elements of the array around the part's beginning it held; paths count from there.
    pub elements: u64,
    /// Values that are neither allocations nor nodes nor wrappers of them.
    pub others: u64,
    /// Whether an array, frame or `Allocs` object was met: the document is made to hold allocations, even if none.
    pub is_listing: bool,
    /// Unknown fields, by place and name.
    pub unknown: Unknown,
    /// How many of the part's bytes are done with; the rest begins the next part.
    pub end: usize,
    /// Where the next part begins.
    pub place: Place,
}

/// One thing found in a document.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its bytes in the part.
    pub bytes: Range<usize>,
    /// What it is.
    pub content: Content<'a>,
}

/// What was found.
#[derive(Debug)]
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
    /// Path of the array around (`""`, `.Allocs`), the element's number since the part began when there is an array.
    pub array: Option<(String, u64)>,
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

/// Reads parts of documents. It learns the order of keys, which changes its speed and never its results.
#[derive(Debug, Default)]
pub struct Reader {
    memory: Memory,
    mode: Mode,
    /// The last object was an allocation, so the next one most likely is.
    expect_allocation: bool,
}

/// What an object is, told by its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Allocation,
    Node,
    Wrapper,
    Dump,
    Other,
}

impl Reader {
    /// A reader that has learnt nothing yet.
    pub fn new(mode: Mode) -> Reader {
        Reader { mode, ..Reader::default() }
    }

    /// Reads `bytes`, which begin at `place`; `is_last` says that the document ends with them. `seen` is asked for each
    /// allocation whose version can be told early; when it knows the version, the allocation is not read.
    pub fn part<'a>(
        &mut self,
        place: Place,
        bytes: &'a [u8],
        is_last: bool,
        seen: Option<&mut dyn FnMut(&Head<'_>) -> Option<u32>>,
    ) -> Part<'a> {
        let part = Part { place, ..Part::default() };
        let mut walk = Walk { reader: self, bytes, is_last, seen, tried: 0, known: 0, part };
        let end = walk.run();
        let mut part = walk.part;
        part.end = end;
        part.unknown = std::mem::take(&mut self.memory.unknown);
        part
    }
}

/// One part on its way through the reader.
struct Walk<'a, 'r, 's> {
    reader: &'r mut Reader,
    bytes: &'a [u8],
    is_last: bool,
    seen: Option<&'s mut dyn FnMut(&Head<'_>) -> Option<u32>>,
    /// How many allocations were looked up in `seen`, and how many of them it knew.
    tried: u32,
    known: u32,
    part: Part<'a>,
}

impl<'a> Walk<'a, '_, '_> {
    /// Goes through the part; the number of bytes done with.
    fn run(&mut self) -> usize {
        let mut at = 0;
        loop {
            if let Some(lost) = self.part.place.lost {
                match self.find_back(lost, at) {
                    Some(found) => at = found,
                    None => return self.bytes.len(),
                }
            }
            if let Some(mut skipper) = self.part.place.skipping {
                let Some(end) = skipper.run(self.bytes, at) else {
                    self.part.place.skipping = Some(skipper);
                    if self.is_last {
                        self.truncated(self.bytes.len());
                    }
                    return self.bytes.len();
                };
                self.part.place.skipping = None;
                at = end;
            }
            at = after_space(self.bytes, at);
            let Some(&byte) = self.bytes.get(at) else {
                if self.is_last && !self.part.place.around.is_empty() {
                    self.truncated(self.bytes.len());
                }
                return self.bytes.len();
            };
            match self.step(byte, at) {
                Ok(next) => at = next,
                Err(fault) if fault.kind == FaultKind::End && !self.is_last => return at,
                Err(fault) if fault.kind == FaultKind::End => {
                    self.truncated(at);
                    return self.bytes.len();
                }
                Err(fault) => at = self.lose(*fault),
            }
        }
    }

    /// Takes one token or one whole value at `at`; where to go on. `End` means that the bytes do not hold it whole.
    fn step(&mut self, byte: u8, at: usize) -> Read<usize> {
        let Some(level) = self.part.place.around.last().copied() else {
            return match byte {
                b'{' => self.object(at, true),
                b'[' => Ok(self.enter(at, true, "")),
                0xEF if self.bytes[at..].starts_with(b"\xEF\xBB\xBF") => Ok(at + 3),
                0x1E => Ok(at + 1), // RFC 7464 puts a record separator before each value
                _ => self.scalar(at),
            };
        };
        let close = if level.is_array { b']' } else { b'}' };
        match (level.next, byte) {
            (Next::ValueOrClose | Next::CommaOrClose, b) if b == close => {
                self.part.place.around.pop();
                self.value_done();
                Ok(at + 1)
            }
            (Next::CommaOrClose, b',') => {
                self.expect(Next::Value);
                Ok(at + 1)
            }
            (Next::CommaOrClose, _) => Err(self.broken(at, "`,` or the closing bracket")),
            (_, b'{') if level.is_array => self.object(at, false),
            (_, b'[') if level.is_array => Ok(self.enter(at, true, "")),
            _ if level.is_array => self.scalar(at),
            _ => self.member(at),
        }
    }

    /// Steps into an array or object at `at`.
    fn enter(&mut self, at: usize, is_array: bool, key: &'static str) -> usize {
        self.part.is_listing |= is_array;
        self.part.place.around.push(Level { is_array, key, next: Next::ValueOrClose });
        at + 1
    }

    fn expect(&mut self, next: Next) {
        if let Some(level) = self.part.place.around.last_mut() {
            level.next = next;
        }
    }

    /// A value of the array or object around is behind us.
    fn value_done(&mut self) {
        if self.part.place.around.last().is_some_and(|l| l.is_array) {
            self.part.elements += 1;
        }
        self.expect(Next::CommaOrClose);
    }

    /// A member of a large top-level object: its `Allocs` and `Nodes` are walked into, the rest is passed over.
    fn member(&mut self, at: usize) -> Read<usize> {
        let mut cursor = Cursor::new(self.bytes, at, &mut self.reader.memory);
        let name = cursor.key()?;
        let value = cursor.at();
        let is_array = self.bytes.get(value) == Some(&b'[');
        match (&*name, self.bytes.get(value)) {
            (_, None) => Err(self.short(at)),
            ("Allocs", _) if is_array => Ok(self.walk_into(value, "Allocs")),
            ("Nodes", _) if is_array => Ok(self.walk_into(value, "Nodes")),
            (_, Some(b'{' | b'[')) if !self.reader.mode.strict => {
                self.value_done();
                self.part.place.skipping = Some(Skipper::default());
                Ok(value)
            }
            _ => {
                let end = value_end(self.bytes, value).ok_or_else(|| self.short(at))?;
                self.checked(value..end)?;
                self.value_done();
                Ok(end)
            }
        }
    }

    fn walk_into(&mut self, at: usize, key: &'static str) -> usize {
        self.value_done();
        self.part.elements = 0;
        self.enter(at, true, key)
    }

    /// A number, word or text where an allocation could stand.
    fn scalar(&mut self, at: usize) -> Read<usize> {
        let end = match value_end(self.bytes, at) {
            Some(end) if end > at => end,
            Some(_) => return Err(self.broken(at, "a value")),
            None if self.is_last && self.bytes[at] != b'"' => self.bytes.len(),
            None => return Err(self.short(at)),
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&self.bytes[at..end]).is_err() {
            return Err(self.broken(at, "a value"));
        }
        self.part.others += 1;
        self.value_done();
        Ok(end)
    }

    /// An object where an allocation, or something that holds some, can stand.
    fn object(&mut self, at: usize, is_top: bool) -> Read<usize> {
        if self.reader.expect_allocation
            && !self.reader.mode.strict
            && let Some(end) = self.predicted_allocation(at)?
        {
            self.value_done();
            return Ok(end);
        }
        let (kind, end) = match self.kind_of(at) {
            Ok(found) => found,
            Err(fault) if fault.kind == FaultKind::End => return self.unfinished(at, is_top, fault),
            Err(fault) => return Err(fault),
        };
        self.reader.expect_allocation = kind == Kind::Allocation;
        if kind == Kind::Dump && is_top {
            return Ok(self.enter(at, false, ""));
        }
        self.checked(at..end)?;
        match kind {
            Kind::Allocation => self.allocation(at..end, false, ""),
            Kind::Node => self.node(at..end, ""),
            Kind::Wrapper => self.wrapper(at..end)?,
            Kind::Dump | Kind::Other => self.part.others += 1,
        }
        self.value_done();
        Ok(end)
    }

    /// An object that goes on behind the bytes at hand. Most are read again with more bytes; one that cannot be an
    /// allocation is walked into, and one that is too large to be true is passed over.
    fn unfinished(&mut self, at: usize, is_top: bool, fault: Box<Fault>) -> Read<usize> {
        let mut cursor = Cursor::new(self.bytes, at, &mut self.reader.memory);
        let mut keys = Keys::default();
        // The fault at the end is known; what counts is the keys before it.
        let _ = cursor.map(|input, name| {
            keys.meet(&name);
            input.skip()
        });
        if is_top && (keys.allocs || (!keys.any_of_ours() && !self.is_last)) {
            return Ok(self.enter(at, false, ""));
        }
        if self.bytes.len() - at > LARGEST_ALLOCATION {
            self.reject(at, String::new(), "is larger than 256 MiB, which no allocation is: passed over".into());
            self.value_done();
            self.part.place.skipping = Some(Skipper::default());
            return Ok(at);
        }
        Err(fault)
    }

    /// What the object at `at` is, and where it ends.
    fn kind_of(&mut self, at: usize) -> Read<(Kind, usize)> {
        let mut cursor = Cursor::new(self.bytes, at, &mut self.reader.memory);
        let mut keys = Keys::default();
        let walked = cursor.map(|input, name| {
            keys.meet(&name);
            input.skip()
        });
        match walked {
            Ok(_) => Ok((keys.kind(), cursor.at())),
            // Whatever is wrong inside, the structure may still tell where the object ends.
            Err(fault) if fault.kind == FaultKind::Value => {
                let end = value_end(self.bytes, at).ok_or_else(|| self.short(at))?;
                Ok((keys.kind(), end))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Reads the object at `at` as the allocation it most likely is; `None` when it is not one after all.
    fn predicted_allocation(&mut self, at: usize) -> Read<Option<usize>> {
        if let Some((number, end)) = self.seen_version(at) {
            self.part.items.push(Item { bytes: at..end, content: Content::Seen(number) });
            return Ok(Some(end));
        }
        let mut cursor = Cursor::new(self.bytes, at, &mut self.reader.memory);
        let before = cursor.unknown_so_far();
        match allocation::allocation(&mut cursor) {
            Ok(a) if is_allocation(&a) => {
                let end = cursor.at();
                self.part.items.push(Item { bytes: at..end, content: Content::Allocation(Box::new(a)) });
                Ok(Some(end))
            }
            Err(fault) if fault.kind == FaultKind::End && value_end(self.bytes, at).is_none() => Err(fault),
            // It is something else, or it is damaged: the slow road will say.
            _ => {
                self.reader.memory.unknown = before;
                Ok(None)
            }
        }
    }

    /// Asks whether this version of an allocation was seen; its number and where it ends.
    fn seen_version(&mut self, at: usize) -> Option<(u32, usize)> {
        let seen = self.seen.as_mut()?;
        // Looking ahead costs a walk over the bytes; where nothing is known it is given up for this part.
        if self.tried >= 64 && self.known * 8 < self.tried {
            return None;
        }
        let mut memory = Memory { orders: std::mem::take(&mut self.reader.memory.orders), ..Memory::default() };
        let mut cursor = Cursor::new(self.bytes, at, &mut memory);
        let (mut id, mut index, mut time, mut is_full) = (None, None, None, false);
        let walked = cursor.object(|input, field| {
            match field {
                AllocationField::Id => id = input.text()?,
                AllocationField::ModifyIndex => index = input.integer()?,
                AllocationField::ModifyTime => time = input.integer()?,
                AllocationField::FullOnly | AllocationField::DeploymentId | AllocationField::PreviousAllocation => {
                    is_full = true;
                    input.skip()?;
                }
                AllocationField::Job | AllocationField::Resources => {
                    is_full = true;
                    input.skip()?;
                }
                _ => input.skip()?,
            }
            Ok(())
        });
        let end = cursor.at();
        self.reader.memory.orders = memory.orders;
        self.tried += 1;
        walked.ok()?;
        let id = id?;
        let head = Head { id: &id, modify_index: index?, modify_time: time?, is_full, len: end - at };
        let number = seen(&head)?;
        self.known += 1;
        Some((number, end))
    }

    /// Reads the allocation in `range`, or says why it is rejected.
    fn allocation(&mut self, range: Range<usize>, streamed: bool, path: &str) {
        if !streamed
            && let Some((number, end)) = self.seen_version(range.start)
            && end == range.end
        {
            self.part.items.push(Item { bytes: range, content: Content::Seen(number) });
            return;
        }
        let before = self.reader.memory.unknown.clone();
        match self.read(range.clone(), |i| allocation::allocation(i), |i| allocation::allocation(i)) {
            Ok(a) if a.id.is_none() => {
                self.reader.memory.unknown = before;
                self.reject(
                    range.start,
                    format!("{path}.ID"),
                    "is missing: rejected, since it cannot be told apart".into(),
                );
            }
            Ok(a) => {
                let content = if streamed { Content::Streamed(Box::new(a)) } else { Content::Allocation(Box::new(a)) };
                self.part.items.push(Item { bytes: range, content });
            }
            Err(fault) => {
                self.reader.memory.unknown = before;
                self.reject(
                    fault.at,
                    format!("{path}{}", fault.path),
                    format!("{}: this allocation is rejected", fault.what),
                );
            }
        }
    }

    fn node(&mut self, range: Range<usize>, path: &str) {
        match self.read(range.clone(), |i| allocation::node(i), |i| allocation::node(i)) {
            Ok(n) => self.part.items.push(Item { bytes: range, content: Content::Node(Box::new(n)) }),
            Err(fault) => {
                self.reject(
                    fault.at,
                    format!("{path}{}", fault.path),
                    format!("{}: this node is rejected", fault.what),
                );
            }
        }
    }

    /// Reads the value in `range` with the reader of this mode.
    fn read<T>(
        &mut self,
        range: Range<usize>,
        fast: impl FnOnce(&mut Cursor<'a, '_>) -> Read<T>,
        reference: impl FnOnce(&mut Raw<'a, '_>) -> Read<T>,
    ) -> Read<T> {
        let slice = &self.bytes[range.clone()];
        let shift = |mut fault: Box<Fault>| {
            fault.at += range.start;
            fault
        };
        if self.reader.mode.strict {
            return Raw::new(slice, &mut self.reader.memory).and_then(|mut raw| reference(&mut raw)).map_err(shift);
        }
        fast(&mut Cursor::new(slice, 0, &mut self.reader.memory)).map_err(shift)
    }

    /// A stream frame, a bare event, or a line in which a debug bundle says what it could not get.
    fn wrapper(&mut self, range: Range<usize>) -> Read<()> {
        self.part.is_listing = true;
        let mut payloads = Vec::new();
        let mut error = None;
        let mut memory = Memory::default();
        let mut cursor = Cursor::new(&self.bytes[..range.end], range.start, &mut memory);
        cursor.object(|input, field| {
            match field {
                WrapperField::Events => {
                    input.array(|input, index| {
                        let path = format!(".Events[{index}]");
                        input.object(|input, field| payload(input, field, &path, &mut payloads))?;
                        Ok(())
                    })?;
                }
                WrapperField::Error => error = Some(input.raw_text()?.unwrap_or_default().into_owned()),
                other => payload(input, other, "", &mut payloads)?,
            }
            Ok(())
        })?;
        for (range, is_allocation, path) in payloads {
            if is_allocation { self.allocation(range, true, &path) } else { self.node(range, &path) }
        }
        if let Some(error) = error {
            let said: String = error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
            self.reject(range.start, String::new(), format!("stands for an answer that failed: {said}"));
        }
        Ok(())
    }

    /// In strict mode, checks every byte of a value.
    fn checked(&mut self, range: Range<usize>) -> Read<()> {
        if !self.reader.mode.strict {
            return Ok(());
        }
        let shift = |mut fault: Box<Fault>| {
            fault.at += range.start;
            fault.kind = FaultKind::Syntax;
            fault
        };
        Raw::new(&self.bytes[range.clone()], &mut self.reader.memory).map(|_| ()).map_err(shift)
    }

    fn short(&self, at: usize) -> Box<Fault> {
        Box::new(Fault { kind: FaultKind::End, at, path: String::new(), what: "ends before it is whole".into() })
    }

    fn broken(&self, at: usize, wanted: &str) -> Box<Fault> {
        let found: String =
            String::from_utf8_lossy(&self.bytes[at..self.bytes.len().min(at + 48)]).chars().take(12).collect();
        let what = format!("is not JSON: found {found:?} instead of {wanted}");
        Box::new(Fault { kind: FaultKind::Syntax, at, path: String::new(), what })
    }

    /// The array and index at which a fault of the present element stands.
    fn array_place(&self) -> Option<(String, u64)> {
        let inside = self.part.place.around.iter().any(|l| l.is_array);
        inside.then(|| (self.part.place.path(), self.part.elements))
    }

    fn reject(&mut self, at: usize, path: String, what: String) {
        self.part.faults.push(PlacedFault { at, array: self.array_place(), path, what });
    }

    /// The document ends inside a value or array.
    fn truncated(&mut self, at: usize) {
        let what = "is where the document ends, before it is whole: what came before is kept".into();
        self.part.faults.push(PlacedFault { at, array: self.array_place(), path: String::new(), what });
        self.part.place = Place::default();
    }

    /// Gives up the value, array or object in which syntax broke; where to go on looking.
    fn lose(&mut self, fault: Fault) -> usize {
        let in_array = self.part.place.around.iter().any(|l| l.is_array);
        let rest = if in_array {
            "the rest of this array is not read"
        } else {
            "reading goes on at the next line that begins a value"
        };
        let what = format!("{}: {rest}", fault.what);
        self.part.faults.push(PlacedFault { at: fault.at, array: self.array_place(), path: fault.path, what });
        self.part.place =
            Place { lost: Some(Lost { objects_too: !in_array, at_line_start: false }), ..Place::default() };
        fault.at
    }

    /// After broken syntax: the next line that begins with a bracket.
    fn find_back(&mut self, mut lost: Lost, mut at: usize) -> Option<usize> {
        loop {
            if lost.at_line_start {
                match self.bytes.get(at) {
                    None => break,
                    Some(b'[') => {}
                    Some(b'{') if lost.objects_too => {}
                    Some(_) => {
                        lost.at_line_start = false;
                        continue;
                    }
                }
                self.part.place.lost = None;
                return Some(at);
            }
            let Some(line_end) = memchr::memchr(b'\n', self.bytes.get(at..).unwrap_or_default()) else { break };
            at += line_end + 1;
            lost.at_line_start = true;
        }
        self.part.place.lost = Some(lost);
        None
    }
}

/// Notes where a payload's allocation or node stands.
fn payload<'a>(
    input: &mut Cursor<'a, '_>,
    field: WrapperField,
    path: &str,
    payloads: &mut Vec<(Range<usize>, bool, String)>,
) -> Read<()> {
    if field != WrapperField::Payload {
        return input.skip();
    }
    input.object(|input, field| {
        let start = input.at();
        let is_null = input.null()?;
        if !is_null {
            input.skip()?;
        }
        match field {
            _ if is_null => {}
            WrapperField::Allocation => payloads.push((start..input.at(), true, format!("{path}.Payload.Allocation"))),
            WrapperField::Node => payloads.push((start..input.at(), false, format!("{path}.Payload.Node"))),
            _ => {}
        }
        Ok(())
    })?;
    Ok(())
}

/// Whether a record that was read as an allocation is one.
fn is_allocation(a: &Allocation<'_>) -> bool {
    a.id.is_some()
        && (!a.task_states.is_empty() || a.client_status.is_some() || (a.node_id.is_some() && a.task_group.is_some()))
}

/// The keys by which objects are told apart.
#[derive(Debug, Default)]
struct Keys {
    id: bool,
    task_states: bool,
    client_status: bool,
    node_id: bool,
    task_group: bool,
    node: bool,
    datacenter: bool,
    status: bool,
    events: bool,
    payload: bool,
    error: bool,
    allocs: bool,
    count: u32,
}

impl Keys {
    fn meet(&mut self, name: &str) {
        self.count += 1;
        match name {
            "ID" => self.id = true,
            "TaskStates" => self.task_states = true,
            "ClientStatus" => self.client_status = true,
            "NodeID" => self.node_id = true,
            "TaskGroup" => self.task_group = true,
            "NodeClass" | "SchedulingEligibility" => self.node = true,
            "Datacenter" => self.datacenter = true,
            "Status" => self.status = true,
            "Events" => self.events = true,
            "Payload" => self.payload = true,
            "Error" => self.error = true,
            "Allocs" => self.allocs = true,
            _ => {}
        }
    }

    fn any_of_ours(&self) -> bool {
        self.id
            || self.task_states
            || self.client_status
            || self.node_id
            || self.task_group
            || self.events
            || self.payload
    }

    fn kind(&self) -> Kind {
        if self.task_states || self.client_status || (self.id && self.node_id && self.task_group) {
            Kind::Allocation
        } else if self.id && (self.node || (self.datacenter && self.status)) {
            Kind::Node
        } else if self.payload || (self.events && !self.id) || self.count == 0 || (self.error && self.count == 1) {
            Kind::Wrapper
        } else if self.allocs && !self.id {
            Kind::Dump
        } else {
            Kind::Other
        }
    }
}
