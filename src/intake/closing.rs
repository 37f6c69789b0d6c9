//! The end of a document: its sightings, its absences, and its ledger row.

use super::chunker::End;
use super::document_state::DocumentFacts;
use super::state::{Delivery, MAX_REPORTED, RunState};
use super::{Absences, Note};
use crate::error::Result;
use crate::presence::{self, Extent, LastShown};
use crate::source::{EMPTY, ObservedFrom};
use crate::tables::sink::{DocumentEnd, Rows};
use crate::tables::{Shape, Table, column, sightings, snapshots};
use crate::time::{HOUR, MINUTE};

/// If an event is later than the observation by more than this, in nanoseconds, the client's clock is fast.
const AHEAD: i64 = MINUTE;
/// Sightings per batch. All sightings of a document are created at once, so smaller batches limit the memory.
const SIGHTINGS: usize = 8 << 10;

impl RunState<'_> {
    /// Closes the document: returns its sightings, its absences (if they are delivered by document), and its ledger
    /// row.
    pub(super) fn close(&mut self, end: &End) -> Result<Delivery> {
        let document = std::mem::take(&mut self.document);
        let times_rounded = document.is_rounded();
        let name = document.origin.name.clone();
        let mut facts = document.facts;
        if let Some(problem) = &end.problem {
            facts.rejected += u64::from(!problem.will_retry);
            self.note(problem.note(&name, end.bytes));
        }
        if facts.rejected > MAX_REPORTED {
            let more = facts.rejected - MAX_REPORTED;
            self.note(Note::Warning(format!("{name}: {more} more places could not be read")));
        }
        let is_sound = facts.others == 0 && facts.rejected == 0;
        // Only a single list counts, because Nomad never answers with two lists or with nested lists.
        let is_empty_list = is_sound && facts.lists == 1 && facts.frames == 0;
        let is_quiet_stream = is_sound && facts.lists <= 1 && facts.frames > 0;
        if facts.allocations + facts.nodes == 0 && !is_empty_list && !is_quiet_stream {
            if facts.rejected == 0 {
                let is_empty = facts.others + facts.lists == 0;
                if is_empty {
                    self.summary.quiet_sources.insert(document.origin.source);
                }
                let why = if is_empty { EMPTY } else { "is JSON without allocations" };
                self.note(Note::Skipped(format!("{name}: {why}"), document.origin.is_named));
            }
            return Ok(Delivery::default());
        }
        self.summary.documents += 1;
        // Heartbeats and nodes are not a list of allocations, but an empty list is.
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
        // A client's event time is never used as the time of observation, because one fast clock would shift the newest
        // observation.
        let content = || facts.modified.map(|ns| (ns, ObservedFrom::Content));
        let created = || facts.created.map(|ns| (ns, ObservedFrom::Created));
        let observed = document.origin.observed.or_else(content).or_else(created);
        // A listing with rejected parts is incomplete. A stream is never a full listing.
        let is_full = lists_allocations && facts.rejected == 0 && end.problem.is_none();
        let full_listing = document.origin.full_listing.filter(|_| is_full && !facts.shapes.contains(&Shape::Stream));
        let full_listing = full_listing.and_then(|listed| self.complete_listing(listed));
        let row = snapshots::SnapshotRow {
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
        self.ledger_batches(row, facts)
    }

    /// The namespace that the ledger row reports as listed completely. For a lake, this is at most what the filter
    /// keeps. The lake may also have rows of allocations that the filter excludes, and these allocations must not count
    /// as vanished.
    fn complete_listing(&self, listed: String) -> Option<String> {
        let filter = &self.options.filter;
        if self.options.absences != Absences::Left {
            return Some(listed);
        }
        let wanted = filter.namespace.as_deref().filter(|wanted| *wanted != "*");
        let is_whole = filter.allocation.is_none() && wanted.is_none_or(|wanted| listed == "*" || listed == wanted);
        is_whole.then(|| wanted.map_or(listed, str::to_owned))
    }

    /// The batches that are delivered at the end of a document.
    fn ledger_batches(&mut self, row: snapshots::SnapshotRow, facts: DocumentFacts) -> Result<Delivery> {
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
            let sighting = |(alloc, namespace, seen_at): &(u32, u32, i64)| sightings::SightingRow {
                region,
                alloc_id: merge.alloc_id(*alloc),
                namespace: merge.namespace(*namespace),
                seen_at: *seen_at,
            };
            let rows: Vec<sightings::SightingRow<'_>> = new.iter().map(sighting).collect();
            batches.push(Rows::of(Table::Sightings, Some(row.snapshot_id), &sightings::columns(), &rows)?);
        }
        self.record_shown(&row, &facts);
        if self.options.absences == Absences::ByDocument {
            let shown = self.shown_buffer.take(&self.merge);
            let new = self.presence.add(&self.options.region, &shown);
            batches.extend(presence::batches(&self.options.region, &new)?);
        }
        let identity = column::identity(&snapshots::columns(), &row, &mut Vec::new());
        let is_new = self.merge.document(identity);
        if is_new {
            self.snapshots += 1;
        } else {
            self.summary.repeated_documents += 1;
        }
        Ok(Delivery { rows: batches, end: is_new.then_some(DocumentEnd { identity, row }) })
    }

    /// Records which allocations a document shows, and when. Detects client clocks that are ahead of the document's
    /// time.
    fn record_shown(&mut self, row: &snapshots::SnapshotRow, facts: &DocumentFacts) {
        self.file.has_stream |= !facts.streamed.is_empty();
        for (sight, version) in &facts.streamed {
            let streamed = sight.is_live.then_some(*version);
            self.shown_buffer.add(
                &self.merge,
                sight.alloc,
                sight.namespace,
                LastShown { streamed, ..LastShown::default() },
            );
        }
        let Some(at) = row.observed_at else { return };
        let sights = facts.shown.iter().chain(facts.streamed.iter().map(|(sight, _)| sight));
        let ahead = sights.filter(|sight| sight.newest_event.is_some_and(|event| event > at + AHEAD));
        self.ahead.extend(ahead.map(|sight| sight.alloc));
        for sight in &facts.shown {
            let last = LastShown { live: sight.is_live.then_some(at), any: Some(at), streamed: None };
            self.shown_buffer.add(&self.merge, sight.alloc, sight.namespace, last);
        }
        let shows = !facts.shown.is_empty() || row.is_full_listing;
        if shows {
            self.file.hours.insert(presence::hour_of(at));
            self.shown_buffer.documents.insert(presence::Document {
                at,
                index: row.nomad_index,
                namespace: row.namespace.as_deref().map(Into::into),
                extent: if row.is_full_listing { Extent::Full } else { Extent::Unknown },
            });
        }
    }
}
