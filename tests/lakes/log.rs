//! The Delta log of a table.

use alloclog::lake::delta_log::{self, Add, Committed, TableHead};
use alloclog::lake::format::FORMAT;
use alloclog::lake::storage::Storage;
use alloclog::tables::Table;

const TABLE: Table = Table::Sightings;

fn table() -> (tempfile::TempDir, Storage) {
    let directory = tempfile::tempdir().unwrap();
    let objects = Storage::at(directory.path().to_str().unwrap()).unwrap();
    delta_log::create_table(&objects, TABLE, FORMAT, 1).unwrap();
    (directory, objects)
}

fn add(name: &str) -> Add {
    let stats = r#"{"numRecords":1,"minValues":{"seen_at_ns":5},"maxValues":{"seen_at_ns":9},"nullCount":{}}"#;
    Add { path: name.to_owned(), size: 1, modification_time: 7, stats: Some(stats.to_owned()), ..Add::default() }
}

fn commit(objects: &Storage, head: TableHead, batch: u64, name: &str) -> Committed {
    let new = delta_log::NewVersion { head, operation: "WRITE", batch: Some(batch), actions: vec![add(name).added()] };
    delta_log::commit(objects, TABLE, new, 1).unwrap()
}

#[test]
fn the_second_commit_of_a_version_conflicts() {
    let (_directory, objects) = table();
    let head = delta_log::head(&objects, TABLE, None).unwrap();
    assert_eq!((head.version, head.batch), (0, 0));
    assert!(matches!(commit(&objects, head, 1, "a"), Committed::Done(TableHead { version: 1, batch: 1, .. })));
    assert_eq!(commit(&objects, head, 1, "b"), Committed::Conflict);
    let state = delta_log::state(&objects, TABLE).unwrap();
    assert_eq!((state.head.version, state.head.batch), (1, 1));
    assert_eq!(state.files.into_values().collect::<Vec<_>>(), [add("a")]);
}

#[test]
fn a_checkpoint_equals_the_versions_before_it() {
    let (directory, objects) = table();
    for n in 0..250 {
        let head = delta_log::head(&objects, TABLE, None).unwrap();
        assert_ne!(commit(&objects, head, n + 1, &format!("{n}")), Committed::Conflict);
    }
    let before = delta_log::state(&objects, TABLE).unwrap();
    assert_eq!((before.head.version, before.head.batch, before.checkpoint), (250, 250, Some(200)));
    assert_eq!(before.files.len(), 250);
    assert_eq!(before.files["3"], add("3"));
    // The versions before the checkpoint are not needed. A head from before the checkpoint is not a valid starting
    // point.
    for version in 0..200 {
        std::fs::remove_file(directory.path().join(format!("sightings/_delta_log/{version:020}.json"))).unwrap();
    }
    let after = delta_log::state(&objects, TABLE).unwrap();
    assert_eq!((after.head, &after.files), (before.head, &before.files));
    let known = TableHead { version: 50, batch: 50, ..TableHead::default() };
    assert_eq!(delta_log::head(&objects, TABLE, Some(known)).unwrap(), before.head);
}

#[test]
fn a_checkpoint_is_found_without_its_hint() {
    let (directory, objects) = table();
    for n in 0..100 {
        let head = delta_log::head(&objects, TABLE, None).unwrap();
        commit(&objects, head, n + 1, &format!("{n}"));
    }
    let log = directory.path().join("sightings/_delta_log");
    std::fs::write(log.join("_last_checkpoint"), "").unwrap();
    for version in 0..100 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let state = delta_log::state(&objects, TABLE).unwrap();
    assert_eq!((state.head.version, state.files.len()), (100, 100));
}

#[test]
fn an_unknown_protocol_is_refused() {
    let (directory, objects) = table();
    let upgrade = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    std::fs::write(directory.path().join("sightings/_delta_log/00000000000000000001.json"), upgrade).unwrap();
    for error in [delta_log::head(&objects, TABLE, None).unwrap_err(), delta_log::state(&objects, TABLE).unwrap_err()] {
        assert!(format!("{error:#}").contains("deletionVectors"), "{error:#}");
    }
}
