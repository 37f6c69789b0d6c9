//! Reads the allocations and nodes found by the splitter, including those in stream events.

use std::ops::Range;

use super::allocation;
use super::classify::is_allocation;
use super::fast::Cursor;
use super::fields::AllocationField;
use super::other_fields::WrapperField;
use super::part::{AllocationPreview, Item, ItemContent};
use super::skip::after_space;
use super::strict::Raw;
use super::value_reader::{Read, ReadFault, ValueReader};
use super::walk::{LONG, PartWalk};

/// An allocation or node in an event of a stream.
struct Payload {
    range: Range<usize>,
    is_allocation: bool,
    path: String,
}

impl<'a> PartWalk<'a, '_, '_, '_> {
    /// Reads the object at `at` as an allocation, which is its most likely kind. Returns `None` if the object is of
    /// another kind, damaged or truncated; [`PartWalk::survey`] then finds out which.
    pub(super) fn predicted_allocation(&mut self, at: usize) -> Option<usize> {
        if let Some((number, end)) = self.seen_version(at) {
            self.part.items.push(Item { bytes: at..end, content: ItemContent::Seen(number), has_unknown: false });
            return Some(end);
        }
        let memory = &mut *self.memory;
        let mark = memory.mark();
        let mut cursor = Cursor::trying(self.bytes, at, memory);
        let read = allocation::allocation(&mut cursor);
        let end = cursor.at();
        // The survey may classify a long object, or an object with `Allocs`, as something else, so leave these to the
        // survey.
        if let Ok(a) = read
            && is_allocation(&a)
            && end - at <= LONG
            && !memory.since(mark).iter().any(|name| **name == *"Allocs")
        {
            let has_unknown = !memory.since(mark).is_empty();
            self.part.items.push(Item { bytes: at..end, content: ItemContent::Allocation(a), has_unknown });
            return Some(end);
        }
        memory.back_to(mark);
        None
    }

    /// Looks up the version of an allocation; returns the number of the version and the end of the allocation.
    pub(super) fn seen_version(&mut self, at: usize) -> Option<(u32, usize)> {
        let seen = self.seen.as_mut()?;
        // The lookup scans the bytes. Stop looking up if few of the versions in this part were known.
        if self.tried >= 64 && self.known * 8 < self.tried {
            return None;
        }
        let memory = &mut *self.memory;
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
        let head = AllocationPreview { id: &id, modify_index: index?, modify_time: time?, is_full, len: end - at };
        let number = seen(&head)?;
        self.known += 1;
        Some((number, end))
    }

    /// Reads the allocation in `range`, or rejects it with a reason.
    pub(super) fn allocation(&mut self, range: Range<usize>, streamed: bool, path: &str) {
        if !streamed
            && let Some((number, end)) = self.seen_version(range.start)
            && end == range.end
        {
            self.part.items.push(Item { bytes: range, content: ItemContent::Seen(number), has_unknown: false });
            return;
        }
        let mark = self.memory.mark();
        let read = self.read(range.clone(), |i| allocation::allocation(i), |i| allocation::allocation(i));
        match read {
            Ok(a) if a.id.is_some() => {
                let content = if streamed { ItemContent::Streamed(a) } else { ItemContent::Allocation(a) };
                let has_unknown = !self.memory.since(mark).is_empty();
                self.part.items.push(Item { bytes: range, content, has_unknown });
            }
            Ok(_) => {
                self.memory.back_to(mark);
                let what = "is missing: rejected, since the allocation cannot be identified";
                self.reject(range.start, format!("{path}.ID"), what.into());
            }
            Err(fault) => {
                self.memory.back_to(mark);
                let what = format!("{}: this allocation is rejected", fault.what);
                self.reject(fault.at, format!("{path}{}", fault.path), what);
            }
        }
    }

    pub(super) fn node(&mut self, range: Range<usize>, path: &str) {
        match self.read(range.clone(), |i| allocation::node(i), |i| allocation::node(i)) {
            Ok(n) if n.id.is_some() => {
                let content = ItemContent::Node(Box::new(n));
                self.part.items.push(Item { bytes: range, content, has_unknown: false });
            }
            Ok(_) => {
                let what = "is missing: rejected, since the node cannot be identified";
                self.reject(range.start, format!("{path}.ID"), what.into());
            }
            Err(fault) => {
                let what = format!("{}: this node is rejected", fault.what);
                self.reject(fault.at, format!("{path}{}", fault.path), what);
            }
        }
    }

    /// Reads the value in `range` with the fast or the strict reader, according to the mode.
    pub(super) fn read<T>(
        &mut self,
        range: Range<usize>,
        fast: impl FnOnce(&mut Cursor<'a, '_>) -> Read<T>,
        reference: impl FnOnce(&mut Raw<'a, '_>) -> Read<T>,
    ) -> Read<T> {
        let slice = &self.bytes[range.clone()];
        let shift = |mut fault: Box<ReadFault>| {
            fault.at += range.start;
            fault
        };
        if self.strict {
            return Raw::new(slice, self.memory).and_then(|mut raw| reference(&mut raw)).map_err(shift);
        }
        fast(&mut Cursor::checking(slice, 0, self.memory)).map_err(shift)
    }

    /// Reads a stream frame, a bare event, or an error line of a debug bundle.
    pub(super) fn wrapper(&mut self, range: Range<usize>) {
        let is_heartbeat = self.bytes[after_space(self.bytes, range.start + 1)] == b'}';
        if is_heartbeat && !self.part.position.around.is_empty() {
            self.part.others += 1; // in a list, `{}` is an allocation without fields
        } else {
            self.part.frames += 1;
        }
        // The fast reader validates the parts of a frame as it reads them.
        if self.strict && !self.check(range.clone()) {
            return;
        }
        let faults_before = self.part.faults.len();
        let (mut payloads, mut faults, mut error) = (Vec::new(), Vec::new(), None);
        let mut cursor = Cursor::checking(&self.bytes[..range.end], range.start, self.memory);
        let walked = cursor.object(|input, field| {
            match field {
                WrapperField::Events => {
                    input.array(|input, index| {
                        let (start, before) = (input.at(), payloads.len());
                        let path = format!(".Events[{index}]");
                        let read = input.object(|input, field| payload(input, field, &path, &mut payloads));
                        if let Err(fault) = read {
                            // Reject this event only.
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
            self.reject(range.start, String::new(), format!("is the error of a failed request: {said}"));
        }
        self.part.faults[faults_before..].sort_by_key(|fault| fault.at);
    }

    /// Validates every byte of an ignored value; `false` if it is invalid.
    pub(super) fn check(&mut self, range: Range<usize>) -> bool {
        let checked = self.read(range, |cursor| cursor.check_all(), |_| Ok(()));
        checked.map_err(|fault| self.reject(fault.at, fault.path, fault.what)).is_ok()
    }
}

/// Records the range of a payload's allocation or node.
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
