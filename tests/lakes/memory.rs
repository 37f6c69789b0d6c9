//! The deduplication cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloclog::lake::dedup_cache::{DedupCache, remembered_hours};
use alloclog::lake::ingest;
use alloclog::lake::lost_restarts::IngestLosses;
use alloclog::lake::scan::ScanFilter;
use alloclog::tables::Table;
use serde_json::Value;

use super::{documents, ingested, kept, lake, rows};

const HOUR_NS: i64 = 3_600_000_000_000;

/// An identity that looks random, as a hash does.
fn identity(row: u128) -> u128 {
    row.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

#[test]
fn the_cache_survives_saving_and_loading() {
    let mut cache = DedupCache::after([(Table::TaskEvents, 10)]);
    cache.header.batch = 7;
    cache.header.batch_id = "x".into();
    for row in 0..200_000u128 {
        cache.add(Table::TaskEvents, identity(row), Some(20 * HOUR_NS), 20);
    }
    cache.add(Table::Nodes, 5, None, 20);
    cache.count(5, 3, 20);
    let mut read = DedupCache::from_bytes(cache.to_bytes().unwrap()).unwrap();
    assert_eq!((read.header.batch, read.header.batch_id.as_str()), (7, "x"));
    assert!((0..200_000u128).all(|row| read.touch(Table::TaskEvents, identity(row), 21)));
    assert!(read.touch(Table::Nodes, 5, 21) && !read.touch(Table::Nodes, 6, 21));
    assert_eq!((read.restarts(5), read.restarts(6)), (Some(3), None));
    assert!(!read.covers(Table::TaskEvents, Some(9 * HOUR_NS)));
    assert!(!read.covers(Table::TaskEvents, None));
    assert!(read.covers(Table::TaskEvents, Some(10 * HOUR_NS)));
    assert!(read.covers(Table::Sightings, None), "the cache has every row of a table without a horizon");
}

#[test]
fn a_damaged_cache_is_an_error() {
    let bytes = DedupCache::default().to_bytes().unwrap();
    assert!(DedupCache::from_bytes(bytes[..bytes.len() - 1].to_vec()).is_err());
    assert!(DedupCache::from_bytes(Vec::new()).is_err());
}

#[test]
fn old_rows_not_seen_recently_are_dropped_and_the_horizon_moves() {
    let table = Table::TaskEvents;
    let hours = remembered_hours(table);
    let mut cache = DedupCache::default();
    cache.add(table, 1, Some(HOUR_NS), 2); // old, and not seen again
    cache.add(table, 2, Some(HOUR_NS), 2); // old, and seen again
    cache.add(table, 3, Some(i64::from(hours) * HOUR_NS), 2); // recent, though last seen long ago
    assert!(cache.touch(table, 2, hours + 5));
    cache.count(4, 7, 2);
    cache.count(4, 6, 3);
    cache.forget(hours);
    assert_eq!(cache.restarts(4), Some(7), "the largest counter, even if a smaller one follows");
    assert!(cache.touch(table, 1, hours), "no row is dropped before its time");
    cache.forget(2 * hours + 1);
    assert!(!cache.touch(table, 1, 3 * hours));
    assert_eq!(cache.restarts(4), None);
    assert!(cache.touch(table, 2, hours + 5));
    assert!(!cache.covers(table, Some(HOUR_NS)));
    assert!(cache.covers(table, Some(3 * HOUR_NS * i64::from(hours))));
}

/// The listings of one cluster in chronological order. The other documents are left out, because they show events that
/// the listings lost.
fn snapshots() -> impl Iterator<Item = PathBuf> {
    documents().into_iter().filter(|document| document.parent().is_some_and(|parent| parent.ends_with("cluster")))
}

/// The lost restarts of all tasks of a lake.
fn lost_in_all(lake: &alloclog::lake::Lake) -> i64 {
    let mut tasks: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for line in rows(lake, &ScanFilter::default()).0 {
        let (table, row) = line.split_once(' ').unwrap();
        let row: Value = serde_json::from_str(row).unwrap();
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let (counter, events) = tasks.entry((text("alloc_id"), text("task"))).or_default();
        match table {
            "task_events" => *events += i64::from(text("event_type") == "Restarting"),
            "task_state_history" => *counter = (*counter).max(row["restarts"].as_i64().unwrap_or_default()),
            _ => {}
        }
    }
    tasks.values().map(|(counter, events)| counter - events).sum()
}

#[test]
fn each_ingest_reports_the_restarts_lost_since_the_previous_one() {
    let (_directory, lake) = lake();
    let mut cache = ingest::load_cache(&lake, None).unwrap();
    let mut lost = Vec::new();
    for document in snapshots() {
        let directory = tempfile::tempdir().unwrap();
        let kept = kept(&mut cache, &document, directory.path());
        let added = ingest::commit(&lake, &mut cache, &kept).unwrap();
        assert_eq!(added.lost.uncounted_tasks, 0);
        lost.push(added.lost.restarts as i64);
    }
    assert!(lost.iter().filter(|lost| **lost > 0).count() > 2, "{lost:?}");
    assert_eq!(lost.iter().sum::<i64>(), lost_in_all(&lake));
}

#[test]
fn tasks_no_longer_cached_are_uncounted_instead_of_miscounted() {
    let (_directory, counted) = lake();
    let mut lost = IngestLosses::default();
    for document in snapshots() {
        // From the tables, the cache loads only the rows of the last days; the documents are older.
        let added = ingested(&counted, &document).lost;
        lost.restarts += added.restarts;
        lost.uncounted_tasks += added.uncounted_tasks;
    }
    let all = lost_in_all(&counted);
    assert!(lost.restarts as i64 == all || lost.uncounted_tasks > 0 && (lost.restarts as i64) < all, "{lost:?} {all}");
}
