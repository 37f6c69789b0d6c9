//! The fast reader against serde_json's.
