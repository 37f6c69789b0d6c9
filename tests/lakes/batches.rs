//! Batches: concurrent commits, and the files that a vacuum may remove.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

use alloclog::lake::check::{CheckReport, Mend, Remedy, check};
use alloclog::lake::compact::compact;
use alloclog::lake::format::FORMAT;
use alloclog::lake::scan::ScanFilter;
use alloclog::lake::storage::ObjectInfo;
use alloclog::lake::vacuum;
use alloclog::lake::{Lake, TableHeads, ingest};

use super::{documents, ingested, kept, lake, rows, sample};

/// The objects that a vacuum removes or, in a dry run, would remove.
fn vacuum(lake: &Lake, older_than_ms: i64, dry_run: bool) -> Vec<ObjectInfo> {
    let mut gone = Vec::new();
    vacuum::vacuum(lake, older_than_ms, dry_run, &mut |object| gone.push(object.clone())).unwrap();
    gone
}

/// Makes every object in a lake old enough for a vacuum.
pub fn age(lake: &Lake) {
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 24 * 3_600);
    for object in lake.storage.list("").unwrap() {
        let path = lake.storage.directory().unwrap().join(object.name);
        File::options().append(true).open(path).unwrap().set_times(FileTimes::new().set_modified(long_ago)).unwrap();
    }
}

fn checked(lake: &Lake, mend: Mend) -> CheckReport {
    check(lake, mend, &mut |_| ()).unwrap()
}

#[test]
fn order_and_repetition_do_not_change_the_rows() {
    let documents = documents();
    let (_a, forward) = lake();
    documents.iter().for_each(|document| drop(ingested(&forward, document)));
    let (_b, backward) = lake();
    for document in documents.iter().rev().chain(&documents) {
        ingested(&backward, document);
    }
    let (expected, _) = rows(&forward, &ScanFilter::default());
    assert!(expected.len() > 500, "{} rows", expected.len());
    assert_eq!(rows(&backward, &ScanFilter::default()).0, expected);
    assert_eq!(checked(&backward, Mend::Nothing), CheckReport::default());
}

#[test]
fn a_known_document_adds_no_batch() {
    let (_directory, lake) = lake();
    let document = sample("stream.ndjson.zst");
    assert_eq!(ingested(&lake, &document).batch, Some(1));
    assert_eq!(ingested(&lake, &document).batch, None);
}

#[test]
fn the_loser_of_a_batch_number_writes_only_rows_that_are_still_new() {
    let (_directory, lake) = lake();
    let documents = documents();
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // Both caches are loaded from the same empty lake. Then the rows staged with each cache are committed, one after
    // the other.
    let mut cache = [ingest::load_cache(&lake, None).unwrap(), ingest::load_cache(&lake, None).unwrap()];
    let first = kept(&mut cache[0], &documents[0], directories[0].path());
    let second = kept(&mut cache[1], &documents[0], directories[1].path());
    assert_eq!(ingest::commit(&lake, &mut cache[0], &first).unwrap().batch, Some(1));
    assert_eq!(ingest::commit(&lake, &mut cache[1], &second).unwrap().batch, None);
    assert_eq!(checked(&lake, Mend::Nothing), CheckReport::default());
    let (_other, alone) = super::lake();
    ingested(&alone, &documents[0]);
    assert_eq!(rows(&lake, &ScanFilter::default()).0, rows(&alone, &ScanFilter::default()).0);
}

#[test]
fn a_pending_batch_is_visible_to_readers_and_then_applied() {
    let (_directory, lake) = lake();
    ingested(&lake, &documents()[0]);
    let (expected, _) = rows(&lake, &ScanFilter::default());
    // Restore the state of a lake whose writer was killed right after its commit, when no table had the batch yet.
    let root = lake.storage.directory().unwrap();
    for table in alloclog::lake::ORDER {
        let _ = fs::remove_file(root.join(table.name()).join("_delta_log/00000000000000000001.json"));
    }
    assert_eq!(lake.unfinished().unwrap().len(), 1);
    assert_eq!(rows(&lake, &ScanFilter::default()).0, expected);
    assert_eq!(lake.finish(&mut TableHeads::new()).unwrap(), 1);
    assert!(lake.unfinished().unwrap().is_empty());
    assert_eq!(rows(&lake, &ScanFilter::default()).0, expected);
}

#[test]
fn a_vacuum_removes_unreferenced_files_and_a_suspended_writer_starts_over() {
    let (_directory, lake) = lake();
    ingested(&lake, &documents()[0]);
    let (expected, _) = rows(&lake, &ScanFilter::default());
    let root = lake.storage.directory().unwrap().to_owned();
    let orphan = root.join("task_events/event_date=2026-11-23/part-0.zstd.parquet");
    let unfinished = root.join("_alloclog/batches/000000000/.alloclog-x");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "").unwrap();
    fs::write(&unfinished, "").unwrap();
    age(&lake);
    let day = 24 * 3_600_000;
    let would = vacuum(&lake, day, true);
    assert_eq!(would.len(), 2, "{would:?}");
    assert!(orphan.exists());

    // A writer reads the lake and is suspended. Then it finds that the vacuum has taken its batch number.
    let mut cache = ingest::load_cache(&lake, None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kept = kept(&mut cache, &documents()[1], directory.path());
    assert_eq!(vacuum(&lake, day, false), would);
    assert!(!orphan.exists() && !unfinished.exists());
    assert_eq!(rows(&lake, &ScanFilter::default()).0, expected);
    assert_eq!(ingest::commit(&lake, &mut cache, &kept).unwrap().batch, Some(3));
    assert_eq!(checked(&lake, Mend::Nothing), CheckReport::default());
}

#[test]
fn compaction_merges_small_files_and_keeps_the_rows() {
    let (_directory, lake) = lake();
    documents().iter().for_each(|document| drop(ingested(&lake, document)));
    let (expected, before) = rows(&lake, &ScanFilter::default());
    let done = compact(&lake, &mut |_| ()).unwrap();
    let (after, files) = rows(&lake, &ScanFilter::default());
    assert_eq!(after, expected);
    assert!(done.merged > done.into && files.files.1 < before.files.1, "{done:?}");
    assert_eq!(checked(&lake, Mend::Nothing), CheckReport::default());
    // The merged files stay for a while, because readers may still use them. A vacuum counts this time from the
    // compaction, however old the files are.
    age(&lake);
    assert_eq!(vacuum(&lake, 24 * 3_600_000, true), []);
}

#[test]
fn damage_is_reported_and_repaired() {
    let (_directory, lake) = lake();
    documents().iter().for_each(|document| drop(ingested(&lake, document)));
    let (expected, _) = rows(&lake, &ScanFilter::default());
    let mut cache = ingest::load_cache(&lake, None).unwrap();
    assert!(ingest::save_cache(&lake, &mut cache, None).is_none());
    let root = lake.storage.directory().unwrap();
    let history = lake.storage.list("allocation_history/part").unwrap();
    assert!(history.is_empty(), "a prefix is a directory");
    let file = lake.storage.list("allocation_history").unwrap().into_iter().find(|o| o.name.ends_with("parquet"));
    let name = file.unwrap().name;
    fs::write(root.join(&name), "no Parquet").unwrap();
    let found = checked(&lake, Mend::Nothing);
    assert!(found.wrong.len() == 1 && found.wrong[0].what.contains(&name), "{found:?}");
    assert!(matches!(found.wrong[0].remedy, Remedy::Drop(_, Some(rows)) if rows > 0), "{found:?}");
    // A repair that must not lose rows changes nothing.
    let before = lake.storage.list("").unwrap();
    assert_eq!(checked(&lake, Mend::WithoutLoss), found);
    assert_eq!(lake.storage.list("").unwrap(), before);
    assert_eq!(checked(&lake, Mend::DropDamaged), found);
    assert_eq!(checked(&lake, Mend::Nothing), CheckReport::default());
    // The cache still has the dropped rows. Nevertheless, an ingest adds these rows again when a source shows them.
    assert!(rows(&lake, &ScanFilter::default()).0.len() < expected.len());
    documents().iter().for_each(|document| drop(ingested(&lake, document)));
    assert_eq!(rows(&lake, &ScanFilter::default()).0, expected);
}

#[test]
fn a_lake_of_a_newer_format_is_refused() {
    let (_directory, lake) = lake();
    let path = lake.storage.directory().unwrap().join("_alloclog/lake.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace(&format!("\"format\": {FORMAT}"), &format!("\"format\": {}", FORMAT + 1));
    fs::write(&path, text).unwrap();
    let error = Lake::open(lake.storage.directory().unwrap().to_str().unwrap()).unwrap_err();
    assert!(format!("{error:#}").contains(&format!("format {}", FORMAT + 1)), "{error:#}");
}

#[test]
fn only_files_that_may_have_wanted_rows_are_read() {
    let (_directory, lake) = lake();
    ingested(&lake, &sample("nomad-0.6"));
    documents().iter().for_each(|document| drop(ingested(&lake, document)));
    let (_, all) = rows(&lake, &ScanFilter::default());
    let week = ScanFilter { span: Some(alloclog::lake::scan::DEFAULT_SPAN), ..ScanFilter::default() };
    let (lines, some) = rows(&lake, &week);
    assert!(some.files.0 < all.files.0, "{some:?} {all:?}");
    assert!(!lines.iter().any(|line| line.contains("\"event_date\":\"2017")));
    assert!(lines.iter().any(|line| line.contains("\"event_date\":\"2026")));
}
