//! The document whose blocks are being taken: where reading stands in it, and what its row in the ledger will say.

use std::io::{Read, Seek, SeekFrom, Write};
use std::num::NonZeroI64;

use arrow::array::RecordBatch;
use tempfile::SpooledTempFile;

use super::blocks::{Block, End};
use super::turn::State;
use super::{Absences, Note};
use crate::decode::document::{LARGEST_ALLOCATION, Mode, Part, Place, PlacedFault, Reader};
use crate::decode::fast::Unknown;
use crate::merge::{self, Columns, New, Rows, Versions};
use crate::presence::{self, Extent, Last, Version};
use crate::source::{EMPTY, ObservedFrom, Origin};
use crate::tables::{Shape, Table, column, mask, sightings, snapshots};
use crate::time::{HOUR, MINUTE};

/// A document with fewer event times is not called rounded: they may end in noughts by chance.
const TELLING_TIMES: u64 = 4;
/// Faults of one document that are told one by one.
const TOLD_FAULTS: u64 = 20;
/// How much of a document whose times look rounded is kept in memory until the rest shows whether they are.
const HELD_IN_MEMORY: usize = 32 << 20;
/// An event so long after the observation shows that a client's clock is ahead, in nanoseconds.
const AHEAD: i64 = MINUTE;
/// Sightings of a batch: those of a document are made at once, and few of them need little memory.
const SIGHTINGS: usize = 8 << 10;

/// The document that is open.
#[derive(Default)]
pub struct Open {
    /// Where the next block begins.
    pub place: Place,
    /// The end of the last block that was not done with.
    pub leftover: Vec<u8>,
    /// How long that must be before reading it is tried again.
    wanted: usize,
    origin: Origin,
    /// Bytes, lines and array elements before the next block.
    offset: u64,
    lines: u64,
    elements: u64,
    rounding: Rounding,
    facts: Facts,
}

/// Whether a document's times went through a float.
#[derive(Default)]
enum Rounding {
    /// An event time showed that they did not, or the end that they did.
    Known(bool),
    /// There was no event time yet.
    #[default]
    Open,
    /// All event times so far look as if they did; their parts wait for the answer.
    Held(Box<Held>),
}

/// Parts of a document that wait until it is known whether its times went through a float.
struct Held {
    /// How many event times there were.
    times: u64,
    /// Whether any of them is finer than a microsecond. Whole microseconds tell nothing: a float prints them as they
    /// are, and the clocks of some clients give no others.
    any_fine: bool,
    bytes: SpooledTempFile,
    parts: Vec<(Place, usize)>,
}

/// What the ledger will say.
#[derive(Default)]
struct Facts {
    allocations: u64,
    task_states: u64,
    task_events: u64,
    nodes: u64,
    others: u64,
    rejected: u64,
    lists: u64,
    dumps: u64,
    frames: u64,
    shapes: Vec<Shape>,
    /// The newest ModifyTime and CreateTime.
    modified: Option<i64>,
    created: Option<i64>,
    unknown: Unknown,
    new: New,
    /// What it shows of allocations, streams aside: their sightings wait for observed_at.
    shown: Vec<Sight>,
    /// What it shows of them as a stream, with the version's time.
    streamed: Vec<(Sight, Version)>,
}

/// An allocation as a document shows it.
struct Sight {
    alloc: u32,
    namespace: u32,
    /// Whether it was not terminal.
    is_live: bool,
    is_pending: bool,
    newest_event: Option<i64>,
}

impl Open {
    /// A document of which nothing was read.
    pub fn new(origin: Origin) -> Open {
        let rounding = match origin.observed {
            // What we asked for ourselves went through nothing.
            Some((_, ObservedFrom::Fetched)) => Rounding::Known(false),
            _ => Rounding::Open,
        };
        Open { origin, rounding, ..Open::default() }
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
    pub fn go_on(&mut self, bytes: &[u8], part: &Part<'_>) {
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
    fn describe(&self, bytes: &[u8], fault: &PlacedFault) -> String {
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

impl State<'_> {
    /// Tells the faults of a part.
    pub(super) fn report(&mut self, bytes: &[u8], part: &Part<'_>) {
        for fault in &part.faults {
            self.document.facts.rejected += 1;
            if self.document.facts.rejected <= TOLD_FAULTS {
                let line = self.document.describe(bytes, fault);
                self.note(Note::Rejected(line));
            } else {
                self.summary.rejected += 1;
            }
        }
    }

    /// Counts what a part holds, whether it is new or not.
    pub(super) fn count(&mut self, part: &Part<'_>, rows: &Rows<'_>) {
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
            facts.task_states += u64::from(v.task_states);
            facts.task_events += u64::from(v.task_events);
            let number = |value: Option<NonZeroI64>| value.map(NonZeroI64::get);
            facts.modified = facts.modified.max(number(v.modified));
            facts.created = facts.created.max(number(v.created));
            if !facts.shapes.contains(&v.shape) {
                facts.shapes.push(v.shape);
            }
            let sight = Sight {
                alloc: v.alloc,
                namespace: v.namespace,
                is_live: v.is_live,
                is_pending: v.is_pending,
                newest_event: number(v.newest_event),
            };
            if v.shape == Shape::Stream {
                let written = number(v.modified).or(number(v.created));
                let version = |at| Version { index: number(v.modify_index), at };
                facts.streamed.extend(written.map(|at| (sight, version(at))));
            } else {
                facts.shown.push(sight);
            }
        }
    }

    /// Settles whether the document's times went through a float, as far as this part shows it. Returns the rows of
    /// earlier parts that waited for the answer; if it is still open, this part waits too.
    pub(super) fn settle(
        &mut self,
        block: &Block,
        bytes: &[u8],
        part: &Part<'_>,
        rows: &Rows<'_>,
        versions: &Versions,
    ) -> anyhow::Result<Vec<(Table, RecordBatch)>> {
        let held = match std::mem::take(&mut self.document.rounding) {
            Rounding::Known(known) => {
                self.document.rounding = Rounding::Known(known);
                return Ok(Vec::new());
            }
            Rounding::Open => None,
            Rounding::Held(held) => Some(held),
        };
        let facts = || rows.versions.iter().map(|v| v.facts);
        let (times, any_fine) = held.as_ref().map_or((0, false), |held| (held.times, held.any_fine));
        let times = times + facts().map(|f| u64::from(f.event_times)).sum::<u64>();
        let any_fine = any_fine || facts().any(|f| f.any_fine);
        let exact = facts().any(|f| f.any_exact);
        if exact || block.end.is_some() {
            let rounded = !exact && any_fine && times >= TELLING_TIMES;
            self.document.rounding = Rounding::Known(rounded);
            if rounded {
                self.summary.rounded_documents += 1;
                let name = &self.document.origin.name;
                self.note(Note::Warning(format!(
                    "{name}: its times went through a float (an old jq, a script) and are rounded: its events are \
                     kept apart from exact ones, and no task with one of them counts as complete"
                )));
            }
            return held.map_or(Ok(Vec::new()), |held| self.release(*held, versions));
        }
        if times == 0 {
            return Ok(Vec::new());
        }
        let mut held = held.unwrap_or_else(|| {
            let bytes = SpooledTempFile::new(HELD_IN_MEMORY);
            Box::new(Held { times: 0, any_fine: false, bytes, parts: Vec::new() })
        });
        (held.times, held.any_fine) = (times, any_fine);
        held.bytes.write_all(&bytes[..part.end])?;
        held.parts.push((self.document.place.clone(), part.end));
        self.document.rounding = Rounding::Held(held);
        Ok(Vec::new())
    }

    /// The new rows of the parts that waited. Their faults were told and their contents counted when they came.
    fn release(&mut self, mut held: Held, versions: &Versions) -> anyhow::Result<Vec<(Table, RecordBatch)>> {
        let options = self.options;
        let namespace = self.document.origin.listed_namespace().to_owned();
        let mut reader = Reader::new(Mode { strict: options.strict });
        let mut batches = Vec::new();
        held.bytes.seek(SeekFrom::Start(0))?;
        for (place, len) in held.parts {
            let mut bytes = vec![0; len];
            held.bytes.read_exact(&mut bytes)?;
            let part = reader.part(place, &bytes, false, None);
            let columns = Columns::new();
            let mut rows = merge::rows(&part.items, &options.region, &namespace, &options.filter, &columns);
            self.merge.number(&mut rows, versions);
            self.keep_new(&mut rows, &columns, versions);
            batches.extend(merge::batches(&rows, &columns)?);
        }
        Ok(batches)
    }

    /// Closes the document: its sightings, and its row in the ledger.
    pub(super) fn close(&mut self, end: &End) -> anyhow::Result<Vec<(Table, RecordBatch)>> {
        let document = std::mem::take(&mut self.document);
        let times_rounded = document.is_rounded();
        let name = document.origin.name.clone();
        let mut facts = document.facts;
        if let Some(problem) = &end.problem {
            let what = format!("{name}: byte {}: {}: what came before is kept", end.bytes, problem.what);
            facts.rejected += u64::from(!problem.is_made_good);
            self.note(if problem.is_made_good { Note::Warning(what) } else { Note::Rejected(what) });
        }
        if facts.rejected > TOLD_FAULTS {
            let more = facts.rejected - TOLD_FAULTS;
            self.note(Note::Warning(format!("{name}: {more} more places could not be read")));
        }
        let is_sound = facts.others == 0 && facts.rejected == 0;
        // One list: two behind or within each other are no answer of Nomad's.
        let is_empty_list = is_sound && facts.lists == 1 && facts.frames == 0;
        let is_quiet_stream = is_sound && facts.lists <= 1 && facts.frames > 0;
        if facts.allocations + facts.nodes == 0 && !is_empty_list && !is_quiet_stream {
            if facts.rejected == 0 {
                let is_empty = facts.others + facts.lists == 0;
                if is_empty {
                    self.summary.quiet_sources.insert(document.origin.source);
                }
                let why = if is_empty { EMPTY } else { "is JSON without allocations" };
                self.note(Note::PassedOver(format!("{name}: {why}"), document.origin.is_named));
            }
            return Ok(Vec::new());
        }
        self.summary.documents += 1;
        // Heartbeats and nodes are no answer to which allocations there are; an empty list is.
        let lists_allocations = facts.allocations > 0 || (is_empty_list && (facts.nodes == 0 || facts.dumps == 1));
        if is_quiet_stream && facts.allocations == 0 {
            self.summary.quiet_sources.insert(document.origin.source);
        }
        if lists_allocations {
            *self.summary.listings_by_source.entry(document.origin.source).or_default() += 1;
        }
        self.summary.bytes += end.bytes;
        self.summary.allocations += facts.allocations;
        self.summary.task_events += facts.task_events;
        for (field, times) in &facts.unknown {
            *self.summary.unknown_fields.entry(field.clone()).or_default() += times;
        }
        // Never a client's event time: one clock that is ahead would move the newest observation.
        let content = || facts.modified.map(|ns| (ns, ObservedFrom::Content));
        let created = || facts.created.map(|ns| (ns, ObservedFrom::Created));
        let observed = document.origin.observed.or_else(content).or_else(created);
        // A listing of which something could not be read does not show all there is, nor does a stream.
        let is_full = lists_allocations && facts.rejected == 0 && end.problem.is_none();
        let full_listing = document.origin.full_listing.filter(|_| is_full && !facts.shapes.contains(&Shape::Stream));
        let full_listing = full_listing.and_then(|listed| self.kept_listing(listed));
        let row = snapshots::Row {
            region: self.options.region.clone(),
            content_hash: format!("{:032x}", end.content_hash),
            observed_at: observed.map(|(ns, _)| ns),
            observed_from: observed.map(|(_, from)| from.name()),
            is_full_listing: full_listing.is_some(),
            snapshot_id: self.snapshots + 1,
            source: name,
            shape: match facts.shapes.as_slice() {
                [] => None,
                [shape] => Some(shape.name()),
                _ => Some("mixed"),
            },
            namespace: full_listing.or(document.origin.namespace),
            nomad_index: document.origin.nomad_index,
            times_rounded,
            bytes: end.bytes as i64,
            allocations: facts.allocations as i64,
            task_states: facts.task_states as i64,
            task_events: facts.task_events as i64,
            rejected: facts.rejected as i64,
            unknown_fields: (!facts.unknown.is_empty()).then(|| serde_json::to_string(&facts.unknown)).transpose()?,
            new_allocations: facts.new.allocations as i64,
            new_task_states: facts.new.task_states as i64,
            new_task_events: facts.new.task_events as i64,
            ingested_at: None,
        };
        self.ledger(row, facts)
    }

    /// The namespace of which the rows of a full listing are kept whole. A lake also has rows of those that a filter leaves
    /// out, and they must not be taken for vanished.
    fn kept_listing(&self, listed: String) -> Option<String> {
        let filter = &self.options.filter;
        if self.options.absences != Absences::Left {
            return Some(listed);
        }
        let wanted = filter.namespace.as_deref().filter(|wanted| *wanted != "*");
        let is_whole = filter.allocation.is_none() && wanted.is_none_or(|wanted| listed == "*" || listed == wanted);
        is_whole.then(|| wanted.map_or(listed, str::to_owned))
    }

    /// The batches that a document's end adds.
    fn ledger(&mut self, row: snapshots::Row, facts: Facts) -> anyhow::Result<Vec<(Table, RecordBatch)>> {
        let cut = |at: i64, is_pending: bool| if is_pending { at } else { at - at % HOUR };
        let streamed = facts.streamed.iter().map(|(sight, version)| (sight, version.at));
        let listed = |at: i64| facts.shown.iter().map(move |sight| (sight, at));
        let live = streamed.chain(row.observed_at.into_iter().flat_map(listed)).filter(|(sight, _)| sight.is_live);
        let mut seen = live.map(|(sight, at)| (sight.alloc, sight.namespace, cut(at, sight.is_pending)));
        let mut batches = Vec::new();
        loop {
            let new = seen.by_ref().filter(|(alloc, _, at)| self.merge.sighting(*alloc, *at));
            let new: Vec<(u32, u32, i64)> = new.take(SIGHTINGS).collect();
            if new.is_empty() {
                break;
            }
            let (region, merge) = (&self.options.region, &self.merge);
            let sighting = |(alloc, namespace, seen_at): &(u32, u32, i64)| sightings::Row {
                region,
                alloc_id: merge.alloc_id(*alloc),
                namespace: merge.namespace(*namespace),
                seen_at: *seen_at,
            };
            let rows: Vec<sightings::Row<'_>> = new.iter().map(sighting).collect();
            let columns = sightings::columns();
            batches.push((Table::Sightings, column::batch(&columns, Table::Sightings.schema(), rows.iter())?));
        }
        self.look(&row, &facts);
        if self.options.absences == Absences::ByDocument {
            let shown = self.looked.take(&self.merge);
            let new = self.presence.add(&self.options.region, &shown, false);
            batches.extend(presence::batches(&self.options.region, &new)?);
        }
        let columns = snapshots::columns();
        let identity = column::identity(&columns, &row, &mut Vec::new());
        if self.merge.document(identity) {
            self.snapshots += 1;
            batches.push((Table::Snapshots, column::batch(&columns, Table::Snapshots.schema(), [row].iter())?));
        } else {
            self.summary.repeated_documents += 1;
        }
        Ok(batches)
    }

    /// Remembers what a document shows and when, and looks for client clocks that are ahead of it.
    fn look(&mut self, row: &snapshots::Row, facts: &Facts) {
        for (sight, version) in &facts.streamed {
            let streamed = sight.is_live.then_some(*version);
            self.looked.add(&self.merge, sight.alloc, sight.namespace, Last { streamed, ..Last::default() });
        }
        let Some(at) = row.observed_at else { return };
        let sights = facts.shown.iter().chain(facts.streamed.iter().map(|(sight, _)| sight));
        let ahead = sights.filter(|sight| sight.newest_event.is_some_and(|event| event > at + AHEAD));
        self.ahead.extend(ahead.map(|sight| sight.alloc));
        for sight in &facts.shown {
            let last = Last { live: sight.is_live.then_some(at), any: Some(at), streamed: None };
            self.looked.add(&self.merge, sight.alloc, sight.namespace, last);
        }
        let shows = !facts.shown.is_empty() || row.is_full_listing;
        if shows {
            self.looked.documents.insert(presence::Document {
                at,
                index: row.nomad_index,
                namespace: row.namespace.as_deref().map(Into::into),
                extent: if row.is_full_listing { Extent::Full } else { Extent::Unknown },
            });
        }
    }
}
