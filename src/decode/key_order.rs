//! State that a reader keeps between values: predicted key orders, and the unknown fields so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::field::Field;
use super::fields::{AllocationField, EventField, TaskStateField};
use super::nested_fields::{
    DeploymentField, InnerField, JobField, RescheduleField, ResourcesField, TrackerField, TransitionField,
};
use super::other_fields::{NodeField, WrapperField};

/// Maximum length in bytes of a predicted key, with its white space.
const LONGEST_KEY: usize = 256;
/// Maximum number of predicted keys per kind of object.
const MOST_KEYS: usize = 80;
/// Maximum length of the name of an unknown field.
const LONGEST_NAME: usize = 100;

/// Number of occurrences of each unknown field, by path and name.
pub type Unknown = BTreeMap<String, u64>;

/// The state of a reader.
#[derive(Debug, Default)]
pub struct KeyMemory {
    /// Predictions; they affect speed, never results.
    pub orders: KeyOrders,
    /// Unknown fields in order of occurrence, so that the fields of a rejected object can be removed.
    unknown: Vec<Arc<str>>,
}

impl KeyMemory {
    /// Records an unknown field.
    pub fn note(&mut self, name: Arc<str>) {
        self.unknown.push(name);
    }

    /// How many unknown fields occurred so far.
    pub fn mark(&self) -> usize {
        self.unknown.len()
    }

    /// The unknown fields since `mark`.
    pub fn since(&self, mark: usize) -> &[Arc<str>] {
        self.unknown.get(mark..).unwrap_or_default()
    }

    /// Removes the unknown fields since `mark`.
    pub fn back_to(&mut self, mark: usize) {
        self.unknown.truncate(mark);
    }

    /// Takes the unknown fields, with the count of each.
    pub fn take_unknown(&mut self) -> Unknown {
        let mut counts = Unknown::new();
        for name in self.unknown.drain(..) {
            match counts.get_mut(&*name) {
                Some(count) => *count += 1,
                None => drop(counts.insert(name.to_string(), 1)),
            }
        }
        counts
    }
}

/// The name under which the ledger counts an unknown key of this kind of object.
pub fn unknown_name<F: Field>(key: &str) -> Arc<str> {
    match key.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}{}…", F::PLACE, &key[..end]).into(),
        None => format!("{}{key}", F::PLACE).into(),
    }
}

/// The key orders of every kind of object.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct KeyOrders {
    pub allocation: KeyOrder<AllocationField>,
    pub task_state: KeyOrder<TaskStateField>,
    pub event: KeyOrder<EventField>,
    pub transition: KeyOrder<TransitionField>,
    pub deployment: KeyOrder<DeploymentField>,
    pub tracker: KeyOrder<TrackerField>,
    pub reschedule: KeyOrder<RescheduleField>,
    pub inner: KeyOrder<InnerField>,
    pub job: KeyOrder<JobField>,
    pub resources: KeyOrder<ResourcesField>,
    pub node: KeyOrder<NodeField>,
    pub wrapper: KeyOrder<WrapperField>,
}

/// A kind of object whose keys are predicted.
pub trait Predicted: Field {
    /// The last seen order of this kind's keys.
    fn order(orders: &mut KeyOrders) -> &mut KeyOrder<Self>;
}

/// Defines the field of [`KeyOrders`] for a kind of object.
macro_rules! predicted {
    ($($kind:ident at $order:ident),* $(,)?) => {
        $(impl Predicted for $kind {
            fn order(orders: &mut KeyOrders) -> &mut KeyOrder<Self> {
                &mut orders.$order
            }
        })*
    };
}

predicted! {
    AllocationField at allocation,
    TaskStateField at task_state,
    EventField at event,
    TransitionField at transition,
    DeploymentField at deployment,
    TrackerField at tracker,
    RescheduleField at reschedule,
    InnerField at inner,
    JobField at job,
    ResourcesField at resources,
    NodeField at node,
    WrapperField at wrapper,
}

/// The keys of one kind of object in the order last seen.
#[derive(Debug)]
pub struct KeyOrder<F> {
    keys: Vec<Key<F>>,
}

/// One key as written, from the first byte after `{` or `,` to the first byte of the value, including white space.
#[derive(Debug)]
pub struct Key<F> {
    written: Box<[u8]>,
    /// The first 32 bytes of the key as integers, and a mask of the used bits, so that a comparison needs no loop.
    head: [u128; 2],
    mask: [u128; 2],
    field: Result<F, Arc<str>>,
    bit: u64,
}

impl<F> Default for KeyOrder<F> {
    fn default() -> Self {
        KeyOrder { keys: Vec::new() }
    }
}

impl<F: Field> KeyOrder<F> {
    /// The key at `slot`, if `rest` starts with it.
    #[inline]
    pub fn predicted(&self, slot: usize, rest: &[u8]) -> Option<&Key<F>> {
        self.keys.get(slot).filter(|key| key.begins(rest))
    }

    /// Finds any key that `rest` starts with, and its slot. Tries the keys after `slot` first, because some objects
    /// omit keys.
    pub fn found(&self, slot: usize, rest: &[u8]) -> Option<(usize, &Key<F>)> {
        let behind = (slot..self.keys.len()).chain(0..slot.min(self.keys.len()));
        behind.map(|i| (i, &self.keys[i])).find(|(_, key)| key.begins(rest))
    }

    /// Stores a key at `slot`; returns the next slot.
    pub fn learn(&mut self, slot: usize, written: &[u8], field: Result<F, Arc<str>>) -> usize {
        // A document with arbitrary keys must not make this memory grow without bound.
        if written.len() > LONGEST_KEY || self.keys.len() >= MOST_KEYS {
            return slot;
        }
        let slot = slot.min(self.keys.len());
        self.keys.insert(slot, Key::new(written, field));
        slot + 1
    }
}

impl<F: Field> Key<F> {
    fn new(written: &[u8], field: Result<F, Arc<str>>) -> Key<F> {
        let (mut head, mut mask) = ([0; 32], [0; 32]);
        for (i, byte) in written.iter().take(32).enumerate() {
            head[i] = *byte;
            mask[i] = 0xFF;
        }
        let bit = field.as_ref().ok().and_then(|field| field.bit()).unwrap_or(0);
        Key { written: written.into(), head: halves(&head), mask: halves(&mask), field, bit }
    }

    /// Returns true if `rest` starts with this key and a value follows directly. With additional white space, the
    /// reader uses the slow path.
    #[inline]
    fn begins(&self, rest: &[u8]) -> bool {
        let len = self.written.len();
        if rest.get(len).is_none_or(|byte| *byte <= b' ') {
            return false;
        }
        let Some(next) = rest.first_chunk::<32>() else { return rest.starts_with(&self.written) };
        let next = halves(next);
        (next[0] ^ self.head[0]) & self.mask[0] == 0
            && (len <= 16 || (next[1] ^ self.head[1]) & self.mask[1] == 0)
            && (len <= 32 || rest[32..].starts_with(&self.written[32..]))
    }

    /// Bytes from the start of the key to the value.
    #[inline]
    pub fn width(&self) -> usize {
        self.written.len()
    }

    /// The field, or the name under which it is counted as unknown.
    #[inline]
    pub fn field(&self) -> Result<F, &Arc<str>> {
        self.field.as_ref().copied()
    }

    /// The field's bit; 0 for a field that may be repeated.
    #[inline]
    pub fn bit(&self) -> u64 {
        self.bit
    }
}

#[inline]
fn halves(bytes: &[u8; 32]) -> [u128; 2] {
    let (sixteens, _) = bytes.as_chunks::<16>();
    [u128::from_le_bytes(sixteens[0]), u128::from_le_bytes(sixteens[1])]
}
