//! Regions of allocations in a lake.

use std::path::{Path, PathBuf};

use alloclog::intake::{self, IntakeOptions};
use alloclog::lake::Lake;
use alloclog::lake::ingest::{self, CommitSummary, Ledger, NewRows};
use alloclog::lake::labels;
use alloclog::lake::scan::ScanFilter;
use alloclog::source::{self, DocumentSource};

use super::{lake, rows, sample, wrong};

/// Ingests a document with a region as label. Uses the local cache if given, otherwise only the tables.
fn under(lake: &Lake, document: &Path, region: &str, local: Option<&Path>) -> anyhow::Result<CommitSummary> {
    let mut cache = ingest::load_cache(lake, local)?;
    let directory = tempfile::tempdir().unwrap();
    let mut new = NewRows::new(&mut cache, directory.path(), Ledger::All, region)?;
    let inputs = source::list(&[DocumentSource::parse(document.to_str().unwrap())]).unwrap();
    let options = IntakeOptions { region: region.to_owned(), ..IntakeOptions::default() };
    intake::run(&inputs, &options, &(), &mut new)?;
    let kept = new.finish()?;
    let added = ingest::commit(lake, &mut cache, &kept)?;
    assert_eq!(ingest::save_cache(lake, &mut cache, local), None);
    Ok(added)
}

fn listings() -> Vec<PathBuf> {
    ["182831", "183131", "183352"].map(|time| sample("cluster").join(format!("20261123T{time}Z.json"))).into()
}

#[test]
fn another_region_for_a_known_allocation_is_refused_and_nothing_is_written() {
    let listings = listings();
    for remembers in [true, false] {
        for (first, other) in [("", "global"), ("global", ""), ("eu", "us")] {
            let (directory, lake) = lake();
            let cache = directory.path().join("cache/seen.parquet");
            std::fs::create_dir_all(cache.parent().unwrap()).unwrap();
            let local = remembers.then_some(cache.as_path());
            assert_eq!(under(&lake, &listings[0], first, local).unwrap().batch, Some(1));
            if !remembers {
                // Remove the copy of the cache in the lake, too, so that only the tables are left.
                std::fs::remove_dir_all(lake.storage.directory().unwrap().join("_alloclog/seen")).unwrap();
            }
            let names = |lake: &Lake| lake.storage.list("").unwrap().into_iter().map(|o| o.name).collect::<Vec<_>>();
            let before = (names(&lake), rows(&lake, &ScanFilter::default()).0);
            // Ingest the same listing again, and a later one with other versions of its allocations.
            for listing in &listings[..2] {
                let error = format!("{:#}", under(&lake, listing, other, local).unwrap_err());
                assert!(error.contains(&format!("under region {first:?}")), "{error}");
                assert!(error.contains(&format!("--region {first:?}")), "{error}");
                assert_eq!((names(&lake), rows(&lake, &ScanFilter::default()).0), before);
            }
            assert_eq!(under(&lake, &listings[1], first, local).unwrap().batch, Some(2));
            assert_eq!(labels::region_conflicts(&lake).unwrap(), []);
        }
    }
}

#[test]
fn a_lake_holds_clusters_with_different_regions() {
    let (_directory, lake) = lake();
    under(&lake, &listings()[0], "eu", None).unwrap();
    under(&lake, &sample("nomad-0.6/allocations.json"), "us", None).unwrap();
    under(&lake, &listings()[1], "eu", None).unwrap();
    assert_eq!(labels::region_conflicts(&lake).unwrap(), []);
    assert_eq!(wrong(&lake), []);
}

#[test]
fn check_reports_allocations_with_two_regions() {
    // Programs of format 1 could produce such a lake. Here, the files of one lake are added to another lake of the same
    // cluster.
    let (_directory, lake) = lake();
    under(&lake, &listings()[0], "", None).unwrap();
    let (_other, of_other) = super::lake();
    under(&of_other, &listings()[0], "global", None).unwrap();
    let state = of_other.state(alloclog::tables::Table::AllocationHistory).unwrap();
    let table = alloclog::tables::Table::AllocationHistory;
    for add in state.files.values() {
        lake.storage.put(&add.object(table), of_other.storage.need(&add.object(table)).unwrap()).unwrap();
        let head = alloclog::lake::delta_log::head(&lake.storage, table, None).unwrap();
        let added = vec![add.clone().added()];
        let new = alloclog::lake::delta_log::NewVersion { head, operation: "WRITE", batch: None, actions: added };
        alloclog::lake::delta_log::commit(&lake.storage, table, new, 0).unwrap();
    }
    let twice = labels::region_conflicts(&lake).unwrap();
    assert_eq!(twice.len(), 1);
    assert_eq!(twice[0].regions, ["", "global"].map(str::to_owned).into());
    assert_eq!(twice[0].allocations, 9);
    let wrong = super::wrong(&lake);
    assert!(
        wrong.iter().any(|wrong| wrong.what.contains(&twice[0].example) && wrong.what.contains("\"global\"")),
        "{wrong:?}"
    );
}
