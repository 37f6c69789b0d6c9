//! The same allocations from other sources. For each version, a source must give the same rows as a list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use alloclog::intake::IntakeOptions;
use alloclog::tables::Table;

use super::documents::{self, Document};
use super::expected::{EventKey, Expected};
use super::snapshots::{key_of, snapshots, truth};
use super::{recording, unpacked};
use crate::support::{Row, Taken, take};

/// States by allocation, ModifyIndex and task.
type States = BTreeMap<(String, i64, String), Row>;

fn states(taken: &Taken) -> States {
    let text = |row: &Row, name: &str| row[name].as_str().map(str::to_owned);
    taken
        .table(Table::TaskStateHistory)
        .iter()
        .filter_map(|row| {
            let key = (text(row, "alloc_id")?, row["modify_index"].as_i64()?, text(row, "task")?);
            let mut row = row.clone();
            // These columns may differ: only a listing with resources shows the hooks, and `snapshot_id` names the
            // first document.
            for name in ["lifecycle_hook", "sidecar", "snapshot_id"] {
                row.remove(name);
            }
            Some((key, row))
        })
        .collect()
}

fn events(taken: &Taken) -> BTreeMap<EventKey, &Row> {
    taken.table(Table::TaskEvents).iter().map(|row| (key_of(row), row)).collect()
}

/// The rows of the lists in the recording: the snapshots, and the lists that were recorded with the reads.
fn listed(recording: &Path) -> &'static Taken {
    static LISTED: OnceLock<Taken> = OnceLock::new();
    LISTED.get_or_init(|| {
        let read = unpacked(recording, "read.tar.zst").join("read");
        let mut paths = snapshots(recording);
        paths.extend(["mid", "end"].map(|when| read.join(when).join("list.json")));
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        take(&paths, &IntakeOptions::default())
    })
}

/// The task states and events that a source has in common with the lists.
#[derive(Debug, PartialEq, Eq)]
struct Common {
    states: usize,
    events: usize,
}

/// Reads a source, and checks that the rows it has in common with the lists are equal.
fn check(lists: &Taken, recording: &Path, source: &Path) -> Common {
    let taken = take(&[source], &IntakeOptions::default());
    assert_eq!(taken.summary.rejected, 0, "{:#?}", taken.notes);
    let (listed, given) = (states(lists), states(&taken));
    let mut common = Common { states: 0, events: 0 };
    for (key, row) in &given {
        let Some(same) = listed.get(key) else { continue };
        assert_eq!(row, same, "{}", source.display());
        common.states += usize::from(!row["state"].is_null());
    }
    let (listed, truth) = (events(lists), truth(recording));
    for (key, row) in events(&taken) {
        assert_eq!(row["attempt"].as_i64(), truth.attempts.get(&key).copied(), "{row:?}");
        let Some(same) = listed.get(&key) else { continue };
        assert_eq!(row, *same, "{}", source.display());
        common.events += 1;
    }
    common
}

#[test]
fn every_source_gives_the_rows_of_the_list() {
    let Some(recording) = recording() else { return };
    let lists = listed(&recording);
    let read = unpacked(&recording, "read.tar.zst").join("read");
    let common = |source: &Path| check(lists, &recording, source);
    for (source, states, events) in [
        (recording.join("stream.ndjson.zst"), 2904, 9922),
        (recording.join("debug.tar.gz"), 562, 3186),
        (recording.join("snapshot-state.json.zst"), 257, 1693),
        (read.join("mid/allocation"), 34, 194),
        (read.join("end/allocation"), 50, 369),
        (read.join("mid/node-allocations"), 333, 1866),
        (read.join("end/node-allocations"), 267, 1762),
        (read.join("mid/job-allocations"), 231, 1112),
        (read.join("end/job-allocations"), 210, 1393),
        (read.join("mid/deployment-allocations"), 31, 266),
        (read.join("end/deployment-allocations"), 11, 144),
        (read.join("mid/eval-allocations"), 27, 206),
        (read.join("end/eval-allocations"), 9, 88),
        (read.join("mid/cli"), 331, 1871),
        (read.join("end/cli"), 260, 1765),
    ] {
        assert_eq!(common(&source), Common { states, events }, "{}", source.display());
    }
}

#[test]
fn the_pages_of_a_list_give_the_rows_of_the_list() {
    let Some(recording) = recording() else { return };
    let lists = listed(&recording);
    let pages = recording.join("http-samples/pages-per_page-7.tar.zst");
    let taken = take(&[&pages], &IntakeOptions::default());
    // Two files with the request and the headers are stored next to each page. They are skipped.
    assert_eq!((taken.summary.documents, taken.summary.skipped, taken.summary.rejected), (41, 82, 0));
    let documents = documents::of(&pages).into_iter().filter(|d| d.name.ends_with(".json"));
    Expected::of(&documents.collect::<Vec<Document>>()).check(&taken);
    assert_eq!(check(lists, &recording, &pages), Common { states: 351, events: 2150 });
}
