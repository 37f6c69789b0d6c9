//! One allocation in the hour of its last sighting, and new documents that show or lack it.

use std::collections::BTreeSet;

use super::{Document, Extent, Fact, Hour, LastHour, LastShown, LastSighting, StreamedVersion, hour_of};

/// One allocation in the hour of its last sighting, and the documents of that hour, before and after new documents
/// were added.
pub(super) struct HourUpdate<'l> {
    pub(super) alloc_id: &'l str,
    pub(super) namespace: Option<&'l str>,
    pub(super) hour: i64,
    /// When the new documents last show the allocation.
    pub(super) last: LastShown,
    /// The entry of this hour before the new documents.
    pub(super) entry: Option<&'l LastHour>,
    pub(super) before: &'l Hour,
    pub(super) after: &'l Hour,
}

impl HourUpdate<'_> {
    /// Returns the entry updated by the new documents, and adds the rows that record these documents to `facts`.
    pub(super) fn apply(&self, new: &BTreeSet<Document>, exact: bool, facts: &mut Vec<Fact>) -> LastHour {
        let mut entry = self.entry.cloned().unwrap_or_else(|| LastHour { hour: self.hour, ..LastHour::default() });
        let recorded = entry.recorded();
        let in_hour = |at: &i64| *at >= self.hour;
        entry.version = entry.version.max(self.last.streamed.filter(|version| in_hour(&version.at)));
        let now = self.last.any.filter(in_hour);
        let known = match (self.entry.map_or(LastSighting::Nothing, |entry| entry.last(self.before)), now) {
            (LastSighting::Nothing, Some(now)) => LastSighting::Exactly(now),
            (LastSighting::Exactly(at), Some(now)) => LastSighting::Exactly(at.max(now)),
            (LastSighting::Until(until), Some(now)) if now >= until => LastSighting::Exactly(now),
            (known, _) => known,
        };
        let sure = entry.uncut.max(entry.shown);
        let (shown_at, missing) = match known {
            LastSighting::Until(until) => {
                let first = self.missing_after(Some(until), entry.version);
                // If no full listing follows `until`, take the last new full listing that lacks the allocation. After
                // any earlier one, another document may show the allocation again.
                let lacking = || new.iter().rfind(|document| self.lacks(document, now)).map(|d| (d.at, d.index));
                // A document after the recorded listing may have shown the allocation again. Then that listing does
                // not say that the later ones lack it.
                let is_open = recorded.is_some_and(|recorded| recorded < until);
                (None, if is_open { first } else { first.or_else(lacking).filter(|_| recorded.is_none()) })
            }
            LastSighting::Nothing | LastSighting::Exactly(_) => {
                let last = if let LastSighting::Exactly(at) = known { Some(at) } else { None };
                if let Some(live) = self.last.live.filter(|live| recorded.is_some_and(|missing| *live > missing)) {
                    let namespace = self.namespace.unwrap_or("default").into();
                    facts.push(Fact::Sighting { alloc_id: self.alloc_id.into(), namespace, seen_at: live });
                    entry.uncut = entry.uncut.max(Some(live));
                }
                let shown_at = last.or(entry.version.map(|version| version.at));
                let missing = self.missing_after(last.max(entry.missing_since_unknown.map(|at| at - 1)), entry.version);
                let on_record = entry.recorded().zip(entry.missing).map(|(_, at)| (at, entry.missing_index));
                let is_on_record = on_record.is_some_and(|on_record| {
                    let is_better = missing.is_some_and(|missing| is_after(missing, entry.version));
                    sure >= shown_at
                        && Some(on_record.0) >= entry.missing_since_unknown
                        && (is_after(on_record, entry.version) || !is_better)
                });
                (shown_at, missing.filter(|_| !is_on_record))
            }
        };
        if let Some((at, index)) = missing {
            entry.add_absence(shown_at, Some(at), index);
            let alloc_id = self.alloc_id.into();
            facts.push(Fact::Absence { alloc_id, shown_at, missing_at: Some(at), missing_index: index });
        }
        // The views may reject a listing that is not later than the version.
        let is_rejected = missing.is_some_and(|missing| !is_after(missing, entry.version));
        if exact && recorded.is_none() && (missing.is_none() || is_rejected) {
            let on_record = LastHour { version: None, ..entry.clone() }.last(self.after);
            let last_shown = shown_at.max(entry.version.map(|version| version.at));
            let is_open = is_rejected || shown_at.map(LastSighting::Exactly) != Some(on_record);
            if is_open && last_shown.is_some_and(|at| self.is_last_live(at)) {
                entry.add_absence(last_shown, None, None);
                let alloc_id = self.alloc_id.into();
                facts.push(Fact::Absence { alloc_id, shown_at: last_shown, missing_at: None, missing_index: None });
            }
        }
        entry
    }

    /// Returns true if the new documents last show the allocation in a non-terminal status at this time.
    fn is_last_live(&self, at: i64) -> bool {
        self.last.live == Some(at) || self.last.streamed.is_some_and(|version| version.at == at)
    }

    /// The first full listing after a time and, if given, after a version.
    fn missing_after(&self, last: Option<i64>, version: Option<StreamedVersion>) -> Option<(i64, Option<i64>)> {
        let is_later = |(at, _): &(i64, Option<i64>)| last.is_none_or(|last| *at > last);
        let later = || self.after.full.iter().copied().filter(is_later);
        // No listing is later by its index, or by the clocks if an index is missing. But the index may have fallen, and
        // the clocks may differ. So take any later listing; the views decide whether it counts.
        later().find(|listing| is_after(*listing, version)).or_else(|| last.and_then(|_| later().next()))
    }

    /// Returns true if a document is a full listing of this hour that lacks the allocation. `now` is the last time at
    /// which the new documents show the allocation.
    fn lacks(&self, document: &Document, now: Option<i64>) -> bool {
        let is_full = document.extent == Extent::Full && document.lists(self.namespace);
        is_full && hour_of(document.at) == self.hour && now.is_none_or(|now| document.at > now)
    }
}

/// Returns true if a listing is later than a version in a stream: by their indexes, or else by their times.
fn is_after((at, index): (i64, Option<i64>), version: Option<StreamedVersion>) -> bool {
    match (version, index) {
        (None, _) => true,
        (Some(StreamedVersion { index: Some(version), .. }), Some(index)) => index >= version,
        (Some(version), _) => at > version.at,
    }
}
