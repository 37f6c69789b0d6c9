//! Computes `absences`: which full listings lack an allocation that was shown before.
//!
//! `sightings` are truncated to the hour, so that an idle cluster adds one row per allocation and hour. Within the hour
//! of an allocation's last sighting, every full listing shows the allocation unless a row says otherwise. A row of
//! `absences` says that one listing and the later listings of the hour lack the allocation. An exact row of `sightings`
//! says that the allocation is shown again. So the rows determine the exact last sighting, and [`Presence`] can be
//! rebuilt from them. Hours before the last sighting need no rows. Full listings of a later hour need no rows, either:
//! if the allocation has no sighting in that hour, they lack the allocation.

mod hour_update;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, StringArray};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::time::HOUR;
use hour_update::HourUpdate;

pub use rows::{READS, batches};

/// What a document proves about allocations that it does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Extent {
    /// It lists its namespace completely, and the allocations that it lacks are recorded in `absences`.
    Full,
    /// It may be incomplete, or it is a full listing that was ingested by a version of alloclog that recorded no
    /// absences.
    Unknown,
}

/// A document that shows allocations at one time. A piece of an event stream is not such a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Document {
    /// observed_at, in nanoseconds since the epoch.
    pub at: i64,
    /// X-Nomad-Index.
    pub index: Option<i64>,
    /// The namespace that it lists, `*` for all.
    pub namespace: Option<Box<str>>,
    /// Whether it is complete.
    pub extent: Extent,
}

/// A version shown by a stream. Its time is by the server's clock, not by the observer's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamedVersion {
    /// ModifyIndex.
    pub index: Option<i64>,
    /// ModifyTime, in nanoseconds since the epoch.
    pub at: i64,
}

/// When some documents last showed an allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastShown {
    /// When a document last showed it pending, running or unknown, in nanoseconds since the epoch.
    pub live: Option<i64>,
    /// When a document last showed it in any status, in nanoseconds since the epoch.
    pub any: Option<i64>,
    /// The newest non-terminal version in a stream.
    pub streamed: Option<StreamedVersion>,
}

impl LastShown {
    /// Adds the times at which other documents last showed the allocation.
    pub fn add(&mut self, other: LastShown) {
        self.live = self.live.max(other.live);
        self.any = self.any.max(other.any);
        self.streamed = self.streamed.max(other.streamed);
    }

    /// The hour of the last sighting; `None` if only terminal versions were shown.
    fn hour(&self) -> Option<i64> {
        self.live.max(self.streamed.map(|version| version.at)).map(hour_of)
    }
}

/// The allocations that some documents of one region show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownAllocations {
    /// The documents that show allocations or list a namespace, without streams.
    pub documents: BTreeSet<Document>,
    /// The allocations by ID, each with its namespace.
    pub allocations: BTreeMap<Box<str>, (Box<str>, LastShown)>,
}

impl ShownAllocations {
    /// The hours of the documents and of the stream versions.
    fn hours(&self) -> BTreeSet<i64> {
        let documents = self.documents.iter().map(|document| hour_of(document.at));
        documents.chain(self.allocations.values().filter_map(|(_, last)| last.hour())).collect()
    }
}

/// A new row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A row of `absences`.
    #[allow(missing_docs)] // the names are the columns'
    Absence { alloc_id: Box<str>, shown_at: Option<i64>, missing_at: Option<i64>, missing_index: Option<i64> },
    /// A row of `sightings` that follows an absence.
    #[allow(missing_docs)]
    Sighting { alloc_id: Box<str>, namespace: Box<str>, seen_at: i64 },
}

/// The hour of each allocation's last sighting, according to the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    regions: BTreeMap<Box<str>, Region>,
    /// The hours whose rows are all known, each with the hour in which it was last needed. Used only for lakes.
    hours: BTreeMap<i64, u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Region {
    documents: BTreeSet<Document>,
    allocations: BTreeMap<Box<str>, LastHour>,
}

/// An allocation in the hour of its last sighting, according to the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LastHour {
    /// The start of the hour, in nanoseconds since the epoch.
    hour: i64,
    /// The namespace; `None` if no row has one.
    namespace: Option<Box<str>>,
    /// The time of the latest exact sighting.
    uncut: Option<i64>,
    /// The latest shown_at.
    shown: Option<i64>,
    /// The latest missing_at with a shown_at.
    missing: Option<i64>,
    /// The missing_index of that row.
    missing_index: Option<i64>,
    /// The latest missing_at without a shown_at.
    missing_since_unknown: Option<i64>,
    /// The newest version in a stream. Not stored in any row.
    version: Option<StreamedVersion>,
}

/// The time of an allocation's last sighting, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastSighting {
    /// No document showed the allocation; only a stream showed it.
    Nothing,
    /// The exact time.
    Exactly(i64),
    /// Unknown, but not after this time.
    Until(i64),
}

/// The documents of one hour that could show the allocations of one namespace.
#[derive(Debug, Default)]
struct Hour {
    /// The time and the index of each full listing that records absences, in order.
    full: Vec<(i64, Option<i64>)>,
    /// The time of the last document that may be incomplete.
    last_unknown: Option<i64>,
}

/// The start of the hour of a time, in nanoseconds since the epoch.
pub fn hour_of(at: i64) -> i64 {
    at - at % HOUR
}

impl Document {
    fn lists(&self, namespace: Option<&str>) -> bool {
        match (self.namespace.as_deref(), namespace) {
            (Some("*"), _) => true,
            (Some(listed), Some(namespace)) => listed == namespace,
            _ => false,
        }
    }

    fn may_show(&self, namespace: Option<&str>) -> bool {
        self.namespace.is_none() || namespace.is_none() || self.lists(namespace)
    }
}

impl Hour {
    fn from_documents(documents: &BTreeSet<Document>, hour: i64, namespace: Option<&str>) -> Hour {
        let first = |at| Document { at, index: None, namespace: None, extent: Extent::Full };
        let mut of = Hour::default();
        for document in documents.range(first(hour)..first(hour + HOUR)) {
            if document.extent == Extent::Full && document.lists(namespace) {
                of.full.push((document.at, document.index));
            } else if document.may_show(namespace) && (document.extent == Extent::Unknown || namespace.is_none()) {
                of.last_unknown = of.last_unknown.max(Some(document.at));
            }
        }
        of
    }
}

impl LastHour {
    /// The latest missing_at without a later sighting.
    fn recorded(&self) -> Option<i64> {
        self.missing.max(self.missing_since_unknown).filter(|missing| self.uncut.is_none_or(|uncut| uncut < *missing))
    }

    /// The last sighting, according to the rows and to the documents of its hour.
    fn last(&self, documents: &Hour) -> LastSighting {
        let sure = self.uncut.max(self.shown);
        if let Some(missing) = self.recorded() {
            return match sure {
                Some(sure) if self.missing >= self.missing_since_unknown => LastSighting::Exactly(sure),
                _ => LastSighting::Until(documents.last_unknown.max(Some(missing)).unwrap_or(missing)),
            };
        }
        let base = sure.max(documents.full.last().map(|(at, _)| *at));
        match (base, documents.last_unknown) {
            (base, Some(unknown)) if base.is_none_or(|base| base < unknown) => LastSighting::Until(unknown),
            (Some(base), _) => LastSighting::Exactly(base),
            (None, _) => LastSighting::Nothing,
        }
    }

    /// Adds a row of `absences`.
    fn add_absence(&mut self, shown_at: Option<i64>, missing_at: Option<i64>, missing_index: Option<i64>) {
        self.shown = self.shown.max(shown_at);
        if shown_at.is_none() {
            self.missing_since_unknown = self.missing_since_unknown.max(missing_at);
        } else if missing_at >= self.missing {
            (self.missing, self.missing_index) = (missing_at, missing_index);
        }
    }
}

impl Region {
    /// The entry of an allocation in an hour; `None` if the allocation has an entry in a later hour.
    fn entry(&mut self, alloc_id: &str, hour: i64) -> Option<&mut LastHour> {
        if !self.allocations.contains_key(alloc_id) {
            self.allocations.insert(alloc_id.into(), LastHour { hour, ..LastHour::default() });
        }
        let entry = self.allocations.get_mut(alloc_id)?;
        if entry.hour < hour {
            let namespace = entry.namespace.take();
            *entry = LastHour { hour, namespace, ..LastHour::default() };
        }
        (entry.hour == hour).then_some(entry)
    }
}

/// The documents of each hour that could show the allocations of a namespace, before and after new documents were
/// added.
struct HoursByNamespace<'d> {
    before: &'d BTreeSet<Document>,
    after: &'d BTreeSet<Document>,
    known: HashMap<HourAndNamespace, (Hour, Hour)>,
}

type HourAndNamespace = (i64, Option<Box<str>>);

impl HoursByNamespace<'_> {
    fn get(&mut self, hour: i64, namespace: Option<&str>) -> &(Hour, Hour) {
        self.known.entry((hour, namespace.map(Box::from))).or_insert_with(|| {
            let of = |documents| Hour::from_documents(documents, hour, namespace);
            (of(self.before), of(self.after))
        })
    }
}

/// The rows that record which allocations the documents of a run show or lack, for tables that get no further rows.
/// Unlike [`Presence::add`], this function also returns the exact last sightings that the other rows do not determine,
/// and keeps no state.
pub fn rows_at_the_end(shown: &ShownAllocations) -> Vec<Fact> {
    let before = BTreeSet::new();
    let mut hours = HoursByNamespace { before: &before, after: &shown.documents, known: HashMap::new() };
    let mut facts = Vec::new();
    for (alloc_id, (namespace, last)) in &shown.allocations {
        let Some(hour) = last.hour() else { continue };
        let (before, after) = hours.get(hour, Some(namespace));
        let namespace = Some(&**namespace);
        let update = HourUpdate { alloc_id, namespace, hour, last: *last, entry: None, before, after };
        update.apply(&shown.documents, true, &mut facts);
    }
    facts
}

impl Presence {
    /// Adds the allocations that documents of a region show, and returns the rows that record which they show or lack.
    pub fn add(&mut self, region: &str, shown: &ShownAllocations) -> Vec<Fact> {
        let region = self.regions.entry(region.into()).or_default();
        let before = region.documents.clone();
        region.documents.extend(shown.documents.iter().cloned());
        let hours: BTreeSet<i64> = shown.documents.iter().map(|document| hour_of(document.at)).collect();
        let lacking = region.allocations.iter().filter(|(_, entry)| hours.contains(&entry.hour));
        let lacking: BTreeSet<Box<str>> =
            lacking.map(|(id, _)| id.clone()).filter(|id| !shown.allocations.contains_key(id)).collect();
        let named = shown.allocations.iter().map(|(id, (namespace, last))| (id, Some(namespace), *last));
        let lacking = lacking.iter().map(|id| (id, None, LastShown::default()));
        let mut facts = Vec::new();
        let mut hours = HoursByNamespace { before: &before, after: &region.documents, known: HashMap::new() };
        for (alloc_id, namespace, last) in named.chain(lacking) {
            let entry = region.allocations.get(alloc_id);
            let Some(hour) = entry.map(|entry| entry.hour).max(last.hour()) else { continue };
            let earlier = entry.and_then(|entry| entry.namespace.as_ref());
            // A source without namespaces gives the name `default`. Any other name takes precedence over it.
            let namespace = namespace.filter(|name| earlier.is_none() || &***name != "default").or(earlier).cloned();
            let (before, after) = hours.get(hour, namespace.as_deref());
            let entry = entry.filter(|entry| entry.hour == hour);
            let look = HourUpdate { alloc_id, namespace: namespace.as_deref(), hour, last, entry, before, after };
            let settled = look.apply(&shown.documents, false, &mut facts);
            region.allocations.insert(alloc_id.clone(), LastHour { namespace, ..settled });
        }
        facts
    }

    /// Those hours of these documents and stream versions whose rows are not known, in nanoseconds since the epoch.
    pub fn unknown_hours(&self, shown: &ShownAllocations) -> BTreeSet<i64> {
        shown.hours().into_iter().filter(|hour| !self.hours.contains_key(hour)).collect()
    }

    /// Records that all rows of the hours of these documents and stream versions are known, and that the hours are
    /// needed at `now`, in hours since the epoch.
    pub fn mark_needed(&mut self, shown: &ShownAllocations, now: u32) {
        self.hours.extend(shown.hours().into_iter().map(|hour| (hour, now)));
    }

    /// Returns true if the rows of these hours are known.
    pub fn knows(&self, hours: &[i64]) -> bool {
        hours.iter().all(|hour| self.hours.contains_key(hour))
    }

    /// Records that these hours, whose rows are known, are needed at `now`, in hours since the epoch.
    pub fn keep(&mut self, hours: &[i64], now: u32) {
        self.hours.extend(hours.iter().map(|hour| (*hour, now)));
    }

    /// Drops the hours that were last needed before an hour.
    pub fn forget(&mut self, before: u32) {
        self.hours.retain(|_, needed| *needed >= before);
        let hours = &self.hours;
        for region in self.regions.values_mut() {
            region.documents.retain(|document| hours.contains_key(&hour_of(document.at)));
            region.allocations.retain(|_, entry| hours.contains_key(&entry.hour));
        }
    }

    fn region(&mut self, regions: &StringArray, row: usize) -> &mut Region {
        let name = if regions.is_valid(row) { regions.value(row) } else { "" };
        if !self.regions.contains_key(name) {
            self.regions.insert(name.into(), Region::default());
        }
        self.regions.entry(name.into()).or_default()
    }
}
