//! What a kind of object is to a reader: its keys, by name.

/// The keys of one kind of object.
pub trait Field: Copy + PartialEq + 'static {
    /// Where objects of this kind stand in an allocation, for messages and for the ledger; ends with a dot or is empty.
    const PLACE: &'static str;
    /// The field of that name; `None` for a name that Nomad is not known to use.
    fn of(name: &str) -> Option<Self>;
    /// The bit that remembers that the field was read; `None` for a field that is known but not kept.
    fn bit(self) -> Option<u64>;
}
