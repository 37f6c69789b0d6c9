//! Finds the allocations in a document of whatever shape, part by part.
//!
//! A document is a sequence of JSON values: arrays of allocations, single allocations, stream frames, bare events, one
//! large object with `Allocs`, or any mixture. [`Place`] says where in that structure a part begins, so that parts can
//! be read one after the other or, where the place can be guessed, at the same time.

use std::iter;
use std::ops::Range;

use super::allocation;
use super::fast::Cursor;
use super::fields::{AllocationField, WrapperField};
use super::input::{Fault, FaultKind, Input, QUOTED, Read, not_json};
use super::kind::{Keys, Kind, is_allocation};
use super::memory::{Memory, Unknown};
use super::number;
use super::place::{Level, Lost, Next, Role};
use super::record::{Allocation, Node};
use super::reference::Raw;
use super::scan::{Skipper, after_space, value_end};
use super::syntax;

pub use super::place::Place;

/// An allocation larger than this is not believed to be one; its bytes are passed over.
pub const LARGEST_ALLOCATION: usize = 256 << 20;
/// What does not end within this many bytes is looked at more closely before more bytes are waited for: most likely it
/// is a line whose end is missing, or a dump of a whole cluster.
const LONG: usize = 1 << 20;
/// What does not end within this many bytes may be a line that was cut: that is found out before it is passed over with
/// all that follows it, which would be done again for each such line.
const NEAR: usize = 64 << 10;
/// Arrays and objects are walked into this deep; nobody's allocations lie deeper.
const DEEPEST: usize = 1 << 20;

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

/// Reads parts of documents. It learns the order of keys, which changes its speed and never its results.
#[derive(Debug, Default)]
pub struct Reader {
    memory: Memory,
    mode: Mode,
}

impl Reader {
    /// A reader that has learnt nothing yet.
    pub fn new(mode: Mode) -> Reader {
        Reader { mode, ..Reader::default() }
    }

    /// Reads `bytes`, which begin at `place`; `is_last` says that the document ends with them. `seen` is asked for each
    /// allocation whose version can be told early; when it knows the version, the allocation is not read.
    ///
    /// Where the document was cut into parts shows in nothing but [`Part::elements`]: what a part cannot decide, it
    /// leaves to the next, and nothing is decided by what happens to be at hand.
    pub fn part<'a>(&mut self, place: Place, bytes: &'a [u8], is_last: bool, seen: Option<&mut Seen<'_>>) -> Part<'a> {
        let part = Part { place, ..Part::default() };
        let mut walk = Walk { reader: self, bytes, is_last, seen, tried: 0, known: 0, expect_allocation: true, part };
        let end = walk.run();
        let mut part = walk.part;
        part.end = end;
        part.unknown = self.memory.take_unknown();
        part
    }
}

/// One part on its way through the reader.
struct Walk<'a, 'r, 's, 'f> {
    reader: &'r mut Reader,
    bytes: &'a [u8],
    is_last: bool,
    seen: Option<&'s mut Seen<'f>>,
    /// How many allocations were looked up in `seen`, and how many of them it knew.
    tried: u32,
    known: u32,
    /// The last object was an allocation, so the next one most likely is.
    expect_allocation: bool,
    part: Part<'a>,
}

/// What a look over an object's keys shows.
enum Survey {
    /// What it is, and where it ends.
    Whole(Kind, usize),
    /// A large object that may hold lists.
    Dump,
    /// Too large to be true.
    TooLarge,
}

/// An allocation or node in an event of a stream.
struct Payload {
    range: Range<usize>,
    is_allocation: bool,
    path: String,
}

impl<'a> Walk<'a, '_, '_, '_> {
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
                Err(fault) if fault.kind == FaultKind::End && self.is_last => {
                    let Some(next) = self.cut_lines(at, self.bytes.len()) else {
                        self.truncated(at);
                        return self.bytes.len();
                    };
                    at = next;
                }
                Err(fault) if self.needs_more(at, &fault) => return at,
                Err(fault) => at = self.lose(at, *fault),
            }
        }
    }

    /// Whether a fault of the value at `at` can be judged, and told, only with more bytes.
    fn needs_more(&self, at: usize, fault: &Fault) -> bool {
        let is_short = fault.kind == FaultKind::End || self.bytes.len() - fault.at < QUOTED;
        is_short && !self.is_last && self.bytes.len() - at <= LARGEST_ALLOCATION
    }

    /// Takes one token or one whole value at `at`; where to go on. `End` means that the bytes do not hold it whole.
    fn step(&mut self, byte: u8, at: usize) -> Read<usize> {
        let Some(level) = self.part.place.around.last().copied() else {
            return match byte {
                b'{' => self.object(at, true),
                b'[' => self.enter(at, Role::List, ""),
                0xEF if self.bytes[at..].starts_with(b"\xEF\xBB\xBF") => Ok(at + 3),
                0x1E => Ok(at + 1), // RFC 7464 puts a record separator before each value
                _ => self.scalar(at),
            };
        };
        let close = if level.is_array { b']' } else { b'}' };
        match (level.next, byte) {
            (Next::ValueOrClose | Next::CommaOrClose, b) if b == close => {
                self.part.place.around.pop();
                self.part.others += u64::from(level.role == Role::Dump);
                self.value_done();
                Ok(at + 1)
            }
            (Next::CommaOrClose, b',') => {
                self.expect(Next::Value);
                Ok(at + 1)
            }
            (Next::CommaOrClose, _) => Err(self.broken(at, "`,` or the closing bracket")),
            _ if !level.is_array => self.member(at),
            _ if level.role == Role::PassedOver => self.pass_over(at),
            (_, b'{') => self.object(at, false),
            (_, b'[') => self.enter(at, Role::List, ""),
            _ => self.scalar(at),
        }
    }

    /// Steps into the array or object at `at`; once it is closed, it is done with as a value of what is around it.
    fn enter(&mut self, at: usize, role: Role, key: &'static str) -> Read<usize> {
        let around = &mut self.part.place.around;
        if around.len() >= DEEPEST {
            let what = format!("is nested in more than {DEEPEST} arrays and objects");
            return Err(Box::new(Fault { kind: FaultKind::Syntax, at, path: String::new(), what }));
        }
        if role == Role::List {
            self.part.lists += u64::from(key != "Nodes");
            self.part.dumps += u64::from(key == "Allocs");
            if around.iter().all(|level| level.role != Role::List) {
                self.part.elements = 0;
                self.part.list_began = true;
            }
        }
        around.push(Level { role, is_array: self.bytes[at] == b'[', key, next: Next::ValueOrClose });
        Ok(at + 1)
    }

    fn expect(&mut self, next: Next) {
        if let Some(level) = self.part.place.around.last_mut() {
            level.next = next;
        }
    }

    /// A value of the array or object around is behind us.
    fn value_done(&mut self) {
        if self.part.place.around.last().is_some_and(|level| level.role == Role::List)
            && self.part.place.list().is_some()
        {
            self.part.elements += 1;
        }
        self.expect(Next::CommaOrClose);
    }

    /// A member of an object that is walked through: its `Allocs` and `Nodes` are walked into, the rest passed over.
    fn member(&mut self, at: usize) -> Read<usize> {
        let mut cursor = Cursor::new(self.bytes, at, &mut self.reader.memory);
        let name = cursor.any_key()?;
        let value = cursor.at();
        let level = self.part.place.around.last_mut();
        let dump = level.filter(|level| level.role != Role::PassedOver && self.bytes.get(value) == Some(&b'['));
        let list = match (dump, name.as_deref()) {
            (Some(dump), Some("Allocs")) => Some((dump, "Allocs")),
            (Some(dump), Some("Nodes")) => Some((dump, "Nodes")),
            _ => None,
        };
        let Some((dump, key)) = list else {
            let end = self.pass_over(value)?;
            if name.is_none()
                && let Some(key_end) = value_end(self.bytes, at)
            {
                self.check(at..key_end);
            }
            return Ok(end);
        };
        dump.role = Role::DumpWithList;
        self.enter(value, Role::List, key)
    }

    /// A value of which nothing is kept, inside an array or object that is walked through.
    fn pass_over(&mut self, at: usize) -> Read<usize> {
        let opens = matches!(self.bytes.get(at), Some(b'{' | b'['));
        if opens && !self.reader.mode.strict {
            self.value_done();
            self.part.place.skipping = Some(Skipper::default());
            return Ok(at);
        }
        if opens {
            // Piece by piece, so that its length does not matter.
            return self.enter(at, Role::PassedOver, "");
        }
        let end = value_end(self.bytes, at).ok_or_else(|| self.short(at))?;
        if end == at {
            return Err(self.broken(at, "a value"));
        }
        self.check(at..end);
        self.value_done();
        Ok(end)
    }

    /// A number, word or text where an allocation could stand.
    fn scalar(&mut self, at: usize) -> Read<usize> {
        let is_text = self.bytes[at] == b'"';
        let end = match value_end(self.bytes, at) {
            None if !is_text && self.is_last => self.bytes.len(),
            None if is_text || self.bytes.len() - at <= LONG => return Err(self.short(at)),
            None => at,
            Some(end) => end,
        };
        let whole = &self.bytes[at..end];
        let is_sound = match whole {
            [b'"', ..] => syntax::first_fault(whole, 0, false).is_none(),
            b"null" | b"true" | b"false" => true,
            _ => whole.len() <= LONG && number::is_number(whole),
        };
        if !is_sound {
            return Err(self.broken(at, "a value"));
        }
        self.check(at..end);
        self.part.others += 1;
        self.value_done();
        Ok(end)
    }

    /// An object where an allocation, or something that holds some, can stand.
    fn object(&mut self, at: usize, is_top: bool) -> Read<usize> {
        if self.expect_allocation
            && !self.reader.mode.strict
            && let Some(end) = self.predicted_allocation(at)
        {
            self.value_done();
            return Ok(end);
        }
        let (kind, end) = match self.survey(at, is_top)? {
            Survey::Whole(kind, end) => (kind, end),
            Survey::Dump => return self.enter(at, Role::Dump, ""),
            Survey::TooLarge => {
                self.reject(at, String::new(), "is larger than 256 MiB, which no allocation is: passed over".into());
                self.value_done();
                self.part.place.skipping = Some(Skipper::default());
                return Ok(at);
            }
        };
        self.expect_allocation = kind == Kind::Allocation;
        match kind {
            Kind::Allocation => self.allocation(at..end, false, ""),
            Kind::Node => self.node(at..end, ""),
            Kind::Wrapper => self.wrapper(at..end),
            Kind::Other => {
                self.check(at..end);
                self.part.others += 1;
            }
        }
        self.value_done();
        Ok(end)
    }

    /// Looks over the keys of the object at `at`: what it is, and where it ends.
    fn survey(&mut self, at: usize, is_top: bool) -> Read<Survey> {
        let near = self.bytes.len().min(at + NEAR);
        let mut keys = Keys::default();
        let mut found = self.keys(&self.bytes[..near], at, is_top, &mut keys);
        if near < self.bytes.len() && found.is_err() {
            if self.line_follows(at, near)
                && let Some(fault) = syntax::first_fault(&self.bytes[..self.bytes.len().min(at + LONG)], at, true)
            {
                return Err(fault);
            }
            keys = Keys::default();
            found = self.keys(self.bytes, at, is_top, &mut keys);
        }
        let ends = found.as_ref().is_err_and(|fault| fault.kind == FaultKind::End);
        // How far looking had to go; whoever looks at the document in other parts comes as far.
        let far = match &found {
            Ok(Survey::Whole(_, end)) => *end,
            Ok(_) => keys.next,
            Err(_) if ends => self.bytes.len(),
            Err(fault) => fault.at,
        };
        // Where a line was cut, the lines behind it are passed over as parts of its value, in or out of step with their
        // quotes: what fails in the end is not where it broke.
        let fails_later = found.is_err() && !ends && memchr::memchr(b'\n', &self.bytes[at..far]).is_some();
        if far - at > LONG || fails_later || (ends && self.is_last) {
            let some = &self.bytes[..self.bytes.len().min(at + LONG)];
            if let Some(fault) = syntax::first_fault(some, at, true) {
                return Err(fault);
            }
        }
        match found {
            Ok(Survey::Whole(_, end)) if end - at > LARGEST_ALLOCATION => Ok(Survey::TooLarge),
            Err(_) if ends && is_top && keys.next - at > LONG && !keys.any_of_ours() => Ok(Survey::Dump),
            Err(_) if ends && far - at > LARGEST_ALLOCATION => Ok(Survey::TooLarge),
            found => found,
        }
    }

    /// Whether the line behind that of the value at `at` begins with a bracket, as it does where lines are values.
    fn line_follows(&self, at: usize, near: usize) -> bool {
        let next = memchr::memchr(b'\n', &self.bytes[at..near]).map(|n| after_space(self.bytes, at + n));
        next.is_some_and(|next| next < near && self.bytes[next - 1] == b'\n' && matches!(self.bytes[next], b'{' | b'['))
    }

    /// Meets the keys of the object at `at` until it is known what it is.
    fn keys(&mut self, bytes: &[u8], at: usize, is_top: bool, keys: &mut Keys) -> Read<Survey> {
        let mut cursor = Cursor::new(bytes, at, &mut self.reader.memory);
        keys.next = cursor.at() + 1;
        let mut goes_on = cursor.open(b'{', b'}', "an object")? == Some(true);
        while goes_on {
            keys.next = cursor.at();
            if is_top && keys.next - at > LONG && !keys.any_of_ours() {
                return Ok(Survey::Dump);
            }
            let name = cursor.any_key()?;
            keys.meet(name.as_deref().unwrap_or_default(), cursor.peek());
            if is_top && keys.allocs && !keys.any_of_ours() {
                return Ok(Survey::Dump);
            }
            // The next key stands behind the value, wherever that ends.
            keys.next = bytes.len();
            cursor.skip()?;
            goes_on = cursor.separator(b'}')?;
        }
        Ok(Survey::Whole(keys.kind(), cursor.at()))
    }

    /// Reads the object at `at` as the allocation it most likely is; `None` when it is not one after all, or is damaged
    /// or cut: a survey will say.
    fn predicted_allocation(&mut self, at: usize) -> Option<usize> {
        if let Some((number, end)) = self.seen_version(at) {
            self.part.items.push(Item { bytes: at..end, content: Content::Seen(number), has_unknown: false });
            return Some(end);
        }
        let memory = &mut self.reader.memory;
        let mark = memory.mark();
        let mut cursor = Cursor::checking(self.bytes, at, memory);
        let read = allocation::allocation(&mut cursor);
        let end = cursor.at();
        // Of what is long, or has `Allocs`, a survey might think differently.
        if let Ok(a) = read
            && is_allocation(&a)
            && end - at <= LONG
            && !memory.since(mark).iter().any(|name| **name == *"Allocs")
        {
            let has_unknown = !memory.since(mark).is_empty();
            self.part.items.push(Item { bytes: at..end, content: Content::Allocation(a), has_unknown });
            return Some(end);
        }
        memory.back_to(mark);
        None
    }

    /// Asks whether this version of an allocation was seen; its number and where it ends.
    fn seen_version(&mut self, at: usize) -> Option<(u32, usize)> {
        let seen = self.seen.as_mut()?;
        // Looking ahead costs a walk over the bytes; where nothing is known it is given up for this part.
        if self.tried >= 64 && self.known * 8 < self.tried {
            return None;
        }
        let memory = &mut self.reader.memory;
        let mark = memory.mark();
        let mut cursor = Cursor::new(self.bytes, at, memory);
        let (mut id, mut index, mut time, mut is_full) = (None, None, None, false);
        let walked = cursor.object(|input, field| {
            match field {
                AllocationField::Id => id = input.text()?,
                AllocationField::ModifyIndex => index = input.integer()?,
                AllocationField::ModifyTime => time = input.integer()?,
                AllocationField::FullOnly
                | AllocationField::DeploymentId
                | AllocationField::Job
                | AllocationField::PreviousAllocation
                | AllocationField::Resources => {
                    is_full = true;
                    input.skip()?;
                }
                _ => input.skip()?,
            }
            Ok(())
        });
        let end = cursor.at();
        memory.back_to(mark);
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
            self.part.items.push(Item { bytes: range, content: Content::Seen(number), has_unknown: false });
            return;
        }
        let mark = self.reader.memory.mark();
        let read = self.read(range.clone(), |i| allocation::allocation(i), |i| allocation::allocation(i));
        match read {
            Ok(a) if a.id.is_some() => {
                let content = if streamed { Content::Streamed(a) } else { Content::Allocation(a) };
                let has_unknown = !self.reader.memory.since(mark).is_empty();
                self.part.items.push(Item { bytes: range, content, has_unknown });
            }
            Ok(_) => {
                self.reader.memory.back_to(mark);
                let what = "is missing: rejected, since the allocation cannot be told apart";
                self.reject(range.start, format!("{path}.ID"), what.into());
            }
            Err(fault) => {
                self.reader.memory.back_to(mark);
                let what = format!("{}: this allocation is rejected", fault.what);
                self.reject(fault.at, format!("{path}{}", fault.path), what);
            }
        }
    }

    fn node(&mut self, range: Range<usize>, path: &str) {
        match self.read(range.clone(), |i| allocation::node(i), |i| allocation::node(i)) {
            Ok(n) if n.id.is_some() => {
                let content = Content::Node(Box::new(n));
                self.part.items.push(Item { bytes: range, content, has_unknown: false });
            }
            Ok(_) => {
                let what = "is missing: rejected, since the node cannot be told apart";
                self.reject(range.start, format!("{path}.ID"), what.into());
            }
            Err(fault) => {
                let what = format!("{}: this node is rejected", fault.what);
                self.reject(fault.at, format!("{path}{}", fault.path), what);
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
        fast(&mut Cursor::checking(slice, 0, &mut self.reader.memory)).map_err(shift)
    }

    /// A stream frame, a bare event, or a line in which a debug bundle says what it could not get.
    fn wrapper(&mut self, range: Range<usize>) {
        let is_heartbeat = self.bytes[after_space(self.bytes, range.start + 1)] == b'}';
        if is_heartbeat && !self.part.place.around.is_empty() {
            self.part.others += 1; // in a list, `{}` is an allocation without anything
        } else {
            self.part.frames += 1;
        }
        // The parts of a frame are checked as they are read.
        if self.reader.mode.strict && !self.check(range.clone()) {
            return;
        }
        let faults_before = self.part.faults.len();
        let (mut payloads, mut faults, mut error) = (Vec::new(), Vec::new(), None);
        let mut cursor = Cursor::checking(&self.bytes[..range.end], range.start, &mut self.reader.memory);
        let walked = cursor.object(|input, field| {
            match field {
                WrapperField::Events => {
                    input.array(|input, index| {
                        let (start, before) = (input.at(), payloads.len());
                        let path = format!(".Events[{index}]");
                        let read = input.object(|input, field| payload(input, field, &path, &mut payloads));
                        if let Err(fault) = read {
                            // This event is rejected, those around it are not.
                            payloads.truncate(before);
                            faults.push(fault.inside(&path));
                            input.leave(start)?;
                        }
                        Ok(())
                    })?;
                }
                WrapperField::Error => error = input.text()?,
                other => payload(input, other, "", &mut payloads)?,
            }
            Ok(())
        });
        faults.extend(walked.err());
        for Payload { range, is_allocation, path } in payloads {
            if is_allocation { self.allocation(range, true, &path) } else { self.node(range, &path) }
        }
        for fault in faults {
            self.reject(fault.at, fault.path, format!("{}: this event is rejected", fault.what));
        }
        if let Some(error) = error {
            let said: String = error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
            self.reject(range.start, String::new(), format!("stands for an answer that failed: {said}"));
        }
        self.part.faults[faults_before..].sort_by_key(|fault| fault.at);
    }

    /// Checks every byte of a value of which nothing is kept; `false` when it is refused.
    fn check(&mut self, range: Range<usize>) -> bool {
        let checked = self.read(range, |cursor| cursor.check_all(), |_| Ok(()));
        checked.map_err(|fault| self.reject(fault.at, fault.path, fault.what)).is_ok()
    }

    fn short(&self, at: usize) -> Box<Fault> {
        Box::new(Fault { kind: FaultKind::End, at, path: String::new(), what: "ends before it is whole".into() })
    }

    fn broken(&self, at: usize, wanted: &str) -> Box<Fault> {
        let what = not_json(self.bytes, at, wanted);
        Box::new(Fault { kind: FaultKind::Syntax, at, path: String::new(), what })
    }

    fn reject(&mut self, at: usize, path: String, what: String) {
        let array = self.part.place.list().map(|list| (list.to_owned(), self.part.elements));
        self.part.faults.push(PlacedFault { at, array, list_began: self.part.list_began, path, what });
    }

    /// The document ends inside a value or array.
    fn truncated(&mut self, at: usize) {
        let what = "is where the document ends, before it is whole: what came before is kept";
        self.reject(at, String::new(), what.into());
        self.part.place = Place::default();
    }

    /// Gives up the value at `from`, and the arrays and objects around it, because of broken syntax; where to go on
    /// looking.
    fn lose(&mut self, from: usize, fault: Fault) -> usize {
        if fault.kind == FaultKind::Syntax
            && let Some(next) = self.cut_lines(from, fault.at)
        {
            return next;
        }
        // What stands in brackets and is no list at all, as lines of a log begin, spoils its line only.
        let is_remark =
            matches!(self.part.place.around.as_slice(), [Level { is_array: true, next: Next::ValueOrClose, .. }])
                && !matches!(self.bytes.get(from), Some(b'{' | b'['));
        let in_array = self.in_array() && !is_remark;
        let rest = if in_array {
            "the rest of this array is not read"
        } else {
            "reading goes on at the next line that begins a value"
        };
        let what = if fault.kind == FaultKind::End { "is larger than 256 MiB" } else { &fault.what };
        self.reject(fault.at, fault.path, format!("{what}: {rest}"));
        // Where the end of a line is missing, it breaks on the next one, which may be whole.
        let line = memchr::memrchr(b'\n', &self.bytes[from..fault.at]).map(|end| from + end + 1);
        let lost = Lost { objects_too: !in_array, at_line_start: line.is_some() };
        self.part.place = Place { lost: Some(lost), ..Place::default() };
        line.unwrap_or(fault.at)
    }

    fn in_array(&self) -> bool {
        self.part.place.around.iter().any(|level| level.is_array)
    }

    /// Where the value at `from` broke at `to`, or the document ended there, only because its line was cut, so that the
    /// lines behind it were taken for parts of it: tells the lines that were cut, and gives the first that was not.
    ///
    /// A document of lines is told from one of values that span lines by the lines themselves: each from the second on
    /// begins with a bracket, with no space before it, and the first that is whole holds one value, of a kind that we
    /// look for, and nothing behind it, no comma either.
    fn cut_lines(&mut self, from: usize, to: usize) -> Option<usize> {
        let objects_too = !self.in_array();
        let bytes = self.bytes;
        let begins_value = |at: usize| match bytes.get(at) {
            Some(b'[') => true,
            Some(b'{') => objects_too,
            _ => false,
        };
        let line_end = |at: usize| memchr::memchr(b'\n', &bytes[at..to]).map(|n| at + n);
        let mut at = line_end(from)? + 1;
        let is_end = to == bytes.len();
        let begins_line = is_end || bytes[to - 1] == b'\n' && begins_value(to);
        if !begins_line {
            return None;
        }
        let first = from..at - 1;
        let mut others: Vec<Range<usize>> = Vec::new();
        let next = loop {
            if at >= to {
                break to;
            }
            let end = line_end(at).unwrap_or(to);
            if after_space(bytes, at) < end {
                if !begins_value(at) {
                    return None;
                }
                match value_end(&bytes[..end], at) {
                    None => others.push(at..end),
                    Some(value_end) if after_space(bytes, value_end) >= end && self.is_wanted(at) => break at,
                    Some(_) => return None,
                }
            }
            at = end + 1;
        };
        if is_end && next == to {
            return None;
        }
        for line in iter::once(first).chain(others) {
            let path = syntax::path_to(bytes, line.start, line.end);
            let what = "is not JSON: the line ends before it is whole: reading goes on at the next line";
            self.reject(line.end, path, what.into());
            self.part.place = Place::default();
        }
        Some(next)
    }

    /// Whether a whole array or object is of a kind that we look for.
    fn is_wanted(&mut self, at: usize) -> bool {
        if self.bytes[at] == b'[' {
            return true;
        }
        match self.keys(self.bytes, at, true, &mut Keys::default()) {
            Ok(Survey::Whole(kind, _)) => kind != Kind::Other,
            Ok(Survey::Dump) => true,
            Ok(Survey::TooLarge) | Err(_) => false,
        }
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
fn payload(input: &mut Cursor<'_, '_>, field: WrapperField, path: &str, payloads: &mut Vec<Payload>) -> Read<()> {
    if field != WrapperField::Payload {
        return input.skip();
    }
    input.object(|input, field| {
        let (is_allocation, name) = match field {
            WrapperField::Allocation => (true, "Allocation"),
            WrapperField::Node => (false, "Node"),
            _ => return input.skip(),
        };
        let start = input.at();
        let is_null = input.null()?;
        if !is_null {
            input.pass()?;
        }
        if !is_null {
            payloads.push(Payload { range: start..input.at(), is_allocation, path: format!("{path}.Payload.{name}") });
        }
        Ok(())
    })?;
    Ok(())
}
