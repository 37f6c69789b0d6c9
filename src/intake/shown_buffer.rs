//! What documents show of allocations, and when.

use std::collections::BTreeSet;

use crate::merge::Merge;
use crate::presence::{Document, LastShown, ShownAllocations};

/// What documents show, with allocations by their numbers in [`Merge`].
#[derive(Debug, Default)]
pub struct ShownBuffer {
    /// The documents, without streams.
    pub documents: BTreeSet<Document>,
    /// By the number of the allocation; `None` if no document showed it.
    allocations: Vec<Option<(u32, LastShown)>>,
}

impl ShownBuffer {
    /// Adds an allocation shown by a document, by numbers. A source without namespaces says `default`; any other name
    /// wins.
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

    /// Takes all of it, by name.
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
