//! Views with a native twin give the same rows as their SQL on simulated clusters. All views give the same numbers
//! with pseudonyms as with names.

use alloclog::pipeline;

use super::snapshot_schedule::cases;
use super::{directory, for_all, packed};
use crate::redaction::check_views;
use crate::view_store::ViewStore;

#[test]
fn twins_of_views_agree_with_their_sql() {
    for_all(8, cases(6), |case| {
        let cluster = case.cluster();
        let snapshots = case.documents(&cluster);
        let directory = directory()?;
        let sources = packed::write(&snapshots, directory.path(), &mut case.random());
        let paths: Vec<_> = sources.iter().map(|source| source.path.as_path()).collect();
        match ViewStore::of(&paths) {
            // Some snapshots come before the first allocation.
            Err(error) if matches!(error.downcast_ref(), Some(pipeline::Error::NoAllocations(_))) => Ok(()),
            read => read?.check_twins(),
        }
    });
}

#[test]
fn views_of_redacted_documents_have_the_same_numbers() {
    for_all(8, cases(6), |case| {
        let cluster = case.cluster();
        let snapshots = case.documents(&cluster);
        let directory = directory()?;
        let sources = packed::write(&snapshots, directory.path(), &mut case.random());
        let paths: Vec<_> = sources.iter().map(|source| source.path.as_path()).collect();
        match check_views(&paths) {
            Err(error) if matches!(error.downcast_ref(), Some(pipeline::Error::NoAllocations(_))) => Ok(()),
            checked => checked,
        }
    });
}
