//! Which allocations documents show, and when.

use std::collections::BTreeSet;

use crate::merge::Merge;
use crate::presence::{Document, LastShown, ShownAllocations};

/// The allocations that documents show, by their numbers in [`Merge`].
#[derive(Debug, Default)]
pub struct ShownBuffer {
    /// The documents, except streams.
    pub documents: BTreeSet<Document>,
    /// The namespace and the last time shown, by the number of the allocation; `None` if no document showed it.
    allocations: Vec<Option<(u32, LastShown)>>,
}

impl ShownBuffer {
    /// Adds an allocation that a document shows. `alloc` and `namespace` are numbers of `merge`. A source without
    /// namespaces reports `default`, so any other name replaces `default`.
    pub fn add(&mut self, merge: &Merge, alloc: u32, namespace: u32, last: LastShown) {
        let index = alloc as usize;
        if self.allocations.len() <= index {
            self.allocations.resize(index + 1, None);
        }
        let (known, sum) = self.allocations[index].get_or_insert((namespace, LastShown::default()));
        if *known != namespace && merge.namespace(*known) == "default" {
            *known = namespace;
        }
        sum.add(last);
    }

    /// Takes all entries, with numbers replaced by names.
    pub fn take(&mut self, merge: &Merge) -> ShownAllocations {
        let ShownBuffer { documents, allocations } = std::mem::take(self);
        let numbered = (0u32..).zip(allocations);
        let named = numbered.filter_map(|(alloc, known)| {
            let (namespace, last) = known?;
            Some((merge.alloc_id(alloc).into(), (merge.namespace(namespace).into(), last)))
        });
        ShownAllocations { documents, allocations: named.collect() }
    }
}
