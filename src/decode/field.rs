//! The keys of a kind of object, by name.

/// The keys of one kind of object.
pub trait Field: Copy + PartialEq + 'static {
    /// The path of this kind of object in an allocation, for messages and the ledger; ends with a dot or is empty.
    const PLACE: &'static str;
    /// The field with this name; `None` for an unknown name.
    fn from_name(name: &str) -> Option<Self>;
    /// The bit that marks the field as read; `None` for a known field that is ignored.
    fn bit(self) -> Option<u64>;
}
