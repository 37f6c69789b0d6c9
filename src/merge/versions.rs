//! The known versions of allocations. If a document lists a known version again, the allocation need not be parsed.

use std::num::{NonZeroI64, NonZeroU64};
use std::sync::RwLock;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

use super::chunked_vec::ChunkedVec;
use crate::decode::document::AllocationPreview;
use crate::tables::Shape;

/// The facts that are kept about a version of an allocation.
#[derive(Debug, Clone, Copy, Default)]
pub struct VersionFacts {
    /// The allocation's number in [`Merge`](super::Merge).
    pub alloc: u32,
    /// The kind of source that showed the version.
    pub shape: Shape,
    /// True if its client status was not terminal.
    pub is_live: bool,
    /// True if the client had not started the allocation.
    pub is_pending: bool,
    /// The number of its namespace in [`Merge`](super::Merge).
    pub namespace: u32,
    /// ModifyTime, by the server's clock, in nanoseconds since the epoch.
    pub modified: Option<NonZeroI64>,
    /// CreateTime, by the server's clock, in nanoseconds since the epoch.
    pub created: Option<NonZeroI64>,
    /// ModifyIndex.
    pub modify_index: Option<NonZeroI64>,
    /// The newest time of its events, by the client's clock, in nanoseconds since the epoch.
    pub newest_event: Option<NonZeroI64>,
    /// The key with which the allocation's names were replaced by pseudonyms; `None` for original names.
    pub redacted: Option<NonZeroU64>,
    /// How many task states it has.
    pub task_states: u32,
    /// How many task events it has.
    pub task_events: u32,
    /// How many of its event times are known.
    pub event_times: u32,
    /// True if at least one of its event times cannot have passed through a float64.
    pub any_exact: bool,
    /// True if at least one of its event times is finer than a microsecond. A coarse clock cannot produce such a time.
    pub any_fine: bool,
}

/// The key of a version of an allocation. Within one region, versions with equal keys have the same JSON.
pub(super) fn version_key(head: &AllocationPreview<'_>) -> u128 {
    let mut bytes = Vec::with_capacity(head.id.len() + 25);
    bytes.extend_from_slice(head.id.as_bytes());
    bytes.extend_from_slice(&head.modify_index.to_le_bytes());
    bytes.extend_from_slice(&head.modify_time.to_le_bytes());
    bytes.extend_from_slice(&(head.len as u64).to_le_bytes());
    bytes.push(u8::from(head.is_full));
    xxh3_128(&bytes)
}

/// The known versions. All cores share this set, so that every core can skip the versions in it.
///
/// Two documents may show one version differently, because one of them was damaged or edited. Which of the two is
/// parsed must not depend on thread timing. So a lookup sees only the versions that were added up to a given step of
/// the run. That step is certainly finished.
#[derive(Debug, Default)]
pub struct Versions {
    known: RwLock<VersionTable>,
}

/// Versions with their keys and facts by number, and numbers by key.
#[derive(Debug, Default)]
struct VersionTable {
    versions: ChunkedVec<(u128, VersionFacts)>,
    numbers: HashTable<u32>,
    /// The steps that added versions, in order, each with the number of versions that were known after it.
    steps: Vec<(u64, u32)>,
}

impl VersionTable {
    fn number(&self, key: u128) -> Option<u32> {
        self.numbers.find(key as u64, |number| key_of(&self.versions, *number) == key).copied()
    }

    fn add(&mut self, key: u128, facts: VersionFacts) {
        if self.number(key).is_none() {
            let VersionTable { versions, numbers, .. } = self;
            let number = versions.push((key, facts));
            numbers.insert_unique(key as u64, number, |number| key_of(versions, *number) as u64);
        }
    }
}

fn key_of(versions: &ChunkedVec<(u128, VersionFacts)>, number: u32) -> u128 {
    versions.get(number).map_or(0, |(key, _)| *key)
}

impl Versions {
    /// How many versions were known after a step.
    pub fn known_after(&self, step: u64) -> u32 {
        let Ok(known) = self.known.read() else { return 0 };
        let steps = known.steps.partition_point(|(other, _)| *other <= step);
        known.steps[..steps].last().map_or(0, |(_, versions)| *versions)
    }

    /// The number of a version, if it is among the first `first` versions.
    pub fn number(&self, head: &AllocationPreview<'_>, first: u32) -> Option<u32> {
        self.known.read().ok()?.number(version_key(head)).filter(|number| *number < first)
    }

    /// The facts of a version.
    pub fn facts(&self, number: u32) -> Option<VersionFacts> {
        self.known.read().ok()?.versions.get(number).map(|(_, facts)| *facts)
    }

    pub(super) fn add(&self, versions: impl Iterator<Item = (u128, VersionFacts)>, step: u64) {
        let Ok(mut known) = self.known.write() else { return };
        versions.for_each(|(key, facts)| known.add(key, facts));
        let count = known.versions.len();
        if known.steps.last().is_none_or(|(_, before)| *before < count) {
            known.steps.push((step, count));
        }
    }
}
