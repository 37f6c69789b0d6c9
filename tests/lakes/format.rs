//! Lakes of older formats, older and newer versions of the program, and columns that are added later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use alloclog::lake::check::{self, Mend};
use alloclog::lake::delta_log::{self, Add};
use alloclog::lake::format::{FORMAT, since};
use alloclog::lake::scan::ScanFilter;
use alloclog::lake::{Lake, ORDER, TableHeads, compact, data_files, remask, vacuum};
use alloclog::tables::Table;
use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use serde::Deserialize;
use serde_json::Value;

use super::{ingested, lake, rows, sample, wrong};

/// A password in texts that format 1 did not mask.
const PASSWORD: &str = "hunter2";

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lakes").join(name)
}

/// The documents in the lakes in `tests/lakes/format-*`, in the order of their ingests (see tests/lakes/README.md).
fn documents() -> Vec<PathBuf> {
    let samples = ["20261123T182801Z.json", "20261123T182831Z.json", "nodes.json", "20261123T183131Z.json"];
    let samples = samples.iter().map(|name| sample("cluster").join(name));
    samples.chain([here("quoting.json"), sample("stream.ndjson.zst")]).collect()
}

/// The documents in the lake of a format. Since format 3, logs are among these documents.
fn documents_of(format: u32) -> Vec<PathBuf> {
    let logs = ["client1.log", "client2.log", "client3.log"].iter().filter(|_| format >= 3);
    documents().into_iter().chain(logs.map(|name| sample("logs").join(name))).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            assert!(fs::copy(entry.path(), to).is_ok())
        }
    }
}

/// A copy of the lake with this format, in a temporary directory.
fn of_format(format: u32) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lake");
    copy(&here(&format!("format-{format}")), &path);
    (directory, path.to_str().unwrap().to_owned())
}

/// The rows of a lake, without the columns that format 1 does not have.
fn comparable_rows(lake: &Lake) -> Vec<String> {
    let without_hash = |line: String| {
        let (table, row) = line.split_once(' ').unwrap();
        let mut row: serde_json::Map<String, Value> = serde_json::from_str(row).unwrap();
        let later = ["text_hash", "absences_recorded", if table == "sightings" { "namespace" } else { "" }];
        later.iter().for_each(|name| drop(row.remove(*name)));
        format!("{table} {}", Value::Object(row))
    };
    // If a document had no other time, programs of format 1 took its time from the event times of clients. Rows that
    // depend on such a time are left out.
    let is_dated_otherwise = |line: &String| {
        let is_by_content = line.starts_with("snapshots ") && line.contains(r#""observed_from":"content""#);
        is_by_content || line.starts_with("sightings ")
    };
    let lines = rows(lake, &ScanFilter::default()).0.into_iter().filter(|line| !is_dated_otherwise(line));
    let mut lines: Vec<String> = lines.map(without_hash).collect();
    lines.sort();
    lines
}

/// These rows with the passwords masked, as after a remask.
fn masked(mut lines: Vec<String>) -> Vec<String> {
    for line in &mut lines {
        for user in ["u", "operator"] {
            *line = line.replace(&format!("{user}:{PASSWORD}@"), "***@");
        }
    }
    lines.sort();
    lines
}

/// The rows that the documents produce in a lake of the current format.
fn truth(documents: &[PathBuf]) -> Vec<String> {
    let (_directory, lake) = lake();
    documents.iter().for_each(|document| drop(ingested(&lake, document)));
    comparable_rows(&lake)
}

fn format_of(path: &str) -> u64 {
    let about: Value = serde_json::from_slice(&fs::read(Path::new(path).join("_alloclog/lake.json")).unwrap()).unwrap();
    about["format"].as_u64().unwrap()
}

/// The objects of the lake's batches, oldest first.
fn batches(lake: &Lake) -> Vec<Vec<u8>> {
    let names = lake.storage.list("_alloclog/batches").unwrap().into_iter().map(|object| object.name);
    names.map(|name| lake.storage.need(&name).unwrap()).collect()
}

/// A batch as a program with format 1 parses it.
#[derive(Debug, Deserialize)]
#[allow(dead_code)] // unused fields must still parse
struct BatchOfFormat1 {
    id: String,
    written_ms: i64,
    alloclog_version: String,
    #[serde(default)]
    tables: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    removed: Vec<String>,
    #[serde(default)]
    rows_lost: bool,
}

fn parsed_by_format_1(batch: &[u8]) -> Result<BatchOfFormat1, serde_json::Error> {
    serde_json::from_slice(batch)
}

#[test]
fn lakes_of_older_formats_are_read_and_get_no_row_twice() {
    for format in (1..=FORMAT).filter(|format| here(&format!("format-{format}")).exists()) {
        let expected = truth(&documents_of(format));
        let (_directory, path) = of_format(format);
        assert_eq!(format_of(&path), u64::from(format));
        let read_only = Lake::open(&path).unwrap();
        assert_eq!(masked(comparable_rows(&read_only)), expected, "format {format}, read");
        assert_eq!(wrong(&read_only), [], "format {format}, before the upgrade");
        assert_eq!(format_of(&path), u64::from(format), "a reader does not upgrade the lake");

        let lake = Lake::open_or_create(&path).unwrap();
        assert_eq!(format_of(&path), u64::from(FORMAT));
        assert_eq!(masked(comparable_rows(&lake)), expected, "format {format}, upgraded");
        for document in documents_of(format) {
            let added = ingested(&lake, &document);
            let is_dated_by_name = document.file_name().unwrap().to_string_lossy().starts_with("2026");
            let may_differ = |table: &str| !is_dated_by_name && ["snapshots", "sightings"].contains(&table);
            let new = added.rows.iter().filter(|(table, rows)| **rows > 0 && !may_differ(table)).count();
            assert_eq!(new, 0, "format {format}: {} added {:?}", document.display(), added.rows);
        }
        compact::compact(&lake, &mut |_| ()).unwrap();
        assert_eq!(masked(comparable_rows(&lake)), expected, "format {format}, compacted");
        assert_eq!(wrong(&lake), [], "format {format}, compacted");

        let more = sample("cluster/20261123T183352Z.json");
        assert!(ingested(&lake, &more).batch.is_some());
        assert_eq!(ingested(&lake, &more).batch, None);
        let all: Vec<PathBuf> = documents_of(format).into_iter().chain([more]).collect();
        assert_eq!(masked(comparable_rows(&lake)), truth(&all), "format {format}, after another document");
        assert_eq!(wrong(&lake), [], "format {format}, after another document");
    }
}

#[test]
fn an_upgrade_killed_at_any_step_is_continued() {
    let (_before, before) = of_format(1);
    let (_after, after) = of_format(1);
    let upgraded = Lake::open_or_create(&after).unwrap();
    let expected = comparable_rows(&upgraded);
    // Lists the new objects in the order in which they are written: the batch, the tables, lake.json.
    let is_new =
        |name: &String| fs::read(Path::new(&before).join(name)).ok() != Some(upgraded.storage.need(name).unwrap());
    let written: Vec<String> =
        upgraded.storage.list("").unwrap().into_iter().map(|object| object.name).filter(is_new).collect();
    let place = |name: &String| {
        let of_table = ORDER.iter().position(|table| name.starts_with(&format!("{}/", table.name())));
        if name.contains("/batches/") { 0 } else { of_table.map_or(usize::MAX, |table| table + 1) }
    };
    let mut written = written;
    written.sort_by_key(|name| (place(name), name.clone()));
    // A table that the upgrade creates gets one more version, its first.
    let created = ORDER.into_iter().filter(|table| since(*table) > 1).count();
    assert_eq!(written.len(), ORDER.len() + created + 2, "{written:?}");
    assert_eq!(written.last().map(String::as_str), Some("_alloclog/lake.json"));
    for killed_after in 0..=written.len() {
        let (_directory, path) = of_format(1);
        for name in &written[..killed_after] {
            let to = Path::new(&path).join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(Path::new(&after).join(name), to).unwrap();
        }
        assert_eq!(comparable_rows(&Lake::open(&path).unwrap()), expected, "read, killed after {killed_after}");
        let lake = Lake::open_or_create(&path).unwrap();
        assert_eq!(format_of(&path), u64::from(FORMAT));
        assert_eq!(comparable_rows(&lake), expected, "killed after {killed_after}");
        assert_eq!(wrong(&lake), [], "killed after {killed_after}");
        let upgrades = batches(&lake).iter().filter(|batch| parsed_by_format_1(batch).is_err()).count();
        assert_eq!(upgrades, 1, "killed after {killed_after}");
    }
}

#[test]
fn a_lost_upgrade_is_rebuilt() {
    for format in 1..FORMAT {
        let (_directory, path) = of_format(format);
        let lake = Lake::open_or_create(&path).unwrap();
        assert!(ingested(&lake, &sample("cluster/20261123T183352Z.json")).batch.is_some());
        let expected = comparable_rows(&lake);
        let names = lake.storage.list("_alloclog/batches").unwrap().into_iter().map(|object| object.name);
        let is_upgrade = |name: &String| parsed_by_format_1(&lake.storage.need(name).unwrap()).is_err();
        let upgrades: Vec<String> = names.filter(is_upgrade).collect();
        let [upgrade] = upgrades.as_slice() else { panic!("{upgrades:?}") };
        lake.storage.delete(upgrade).unwrap();
        assert_ne!(wrong(&lake), [], "format {format}");
        check::check(&lake, Mend::WithoutLoss, &mut |_| ()).unwrap();
        assert_eq!(wrong(&lake), [], "format {format}");
        assert_eq!(comparable_rows(&Lake::open(&path).unwrap()), expected, "format {format}");
    }
}

#[test]
fn concurrent_upgrades_happen_once() {
    let (_directory, path) = of_format(1);
    let expected = comparable_rows(&Lake::open(&path).unwrap());
    let documents = documents();
    thread::scope(|scope| {
        for document in &documents {
            let path = &path;
            scope.spawn(move || {
                let lake = Lake::open_or_create(path).unwrap();
                assert_eq!(ingested(&lake, document).batch, None);
            });
        }
    });
    let lake = Lake::open(&path).unwrap();
    assert_eq!(comparable_rows(&lake), expected);
    assert_eq!(wrong(&lake), []);
    assert_eq!(batches(&lake).iter().filter(|batch| parsed_by_format_1(batch).is_err()).count(), 1);
}

#[test]
fn programs_of_format_1_stop_at_the_upgrade() {
    let (_directory, path) = of_format(1);
    let lake = Lake::open(&path).unwrap();
    assert!(batches(&lake).iter().all(|batch| parsed_by_format_1(batch).is_ok()));
    let lake = Lake::open_or_create(&path).unwrap();
    let error = parsed_by_format_1(batches(&lake).last().unwrap()).unwrap_err().to_string();
    assert!(error.contains("the lake now has format 3: use a newer alloclog"), "{error}");
    // A running compaction of format 1 reads no further batch, but checks the protocol before each commit. It supports
    // writer version 2 only.
    for table in ORDER.into_iter().filter(|table| since(*table) == 1) {
        let log = lake.storage.list(&format!("{}/_delta_log", table.name())).unwrap();
        let last = lake.storage.need(&log.last().unwrap().name).unwrap();
        let actions: Vec<Value> = serde_json::Deserializer::from_slice(&last).into_iter().map(Result::unwrap).collect();
        let protocol = actions.iter().find_map(|action| action.get("protocol")).unwrap();
        assert_eq!((&protocol["minReaderVersion"], &protocol["minWriterVersion"]), (&1.into(), &3.into()), "{table:?}");
    }
}

#[test]
fn newer_formats_are_refused_with_a_message() {
    // A newer format in a batch, in a table or in lake.json is refused.
    let (_directory, newer) = lake();
    ingested(&newer, &documents()[1]);
    let root = newer.storage.directory().unwrap().to_owned();
    let number = newer.storage.list("_alloclog/batches").unwrap().len() + 1;
    let batch = root.join(format!("_alloclog/batches/000000000/{number:012}.json"));
    fs::write(&batch, r#"{"needs_format":4,"written_ms":"","batch":{"id":7}}"#).unwrap();
    let error = format!("{:#}", newer.finish(&mut TableHeads::new()).unwrap_err());
    assert!(error.contains("the lake has format 4 from this batch on") && error.contains("use a newer one"), "{error}");
    // A repair does not treat the batch as damaged.
    let repaired = |lake: &Lake| check::check(lake, Mend::DropDamaged, &mut |_| ());
    let before = newer.storage.list("").unwrap();
    let error = format!("{:#}", repaired(&newer).unwrap_err());
    assert!(error.contains("the lake has format 4 from this batch on") && error.contains("use a newer one"), "{error}");
    assert_eq!(newer.storage.list("").unwrap(), before);
    fs::remove_file(&batch).unwrap();

    let ledger = "snapshots";
    let first = root.join(ledger).join("_delta_log/00000000000000000000.json");
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, text.replace(r#""alloclog.format":"3""#, r#""alloclog.format":"4""#)).unwrap();
    let error = format!("{:#}", newer.finish(&mut TableHeads::new()).unwrap_err());
    assert!(error.contains("table snapshots has format 4"), "{error}");
    let before = newer.storage.list("").unwrap();
    let error = format!("{:#}", repaired(&newer).unwrap_err());
    assert!(error.contains("table snapshots has format 4") && error.contains("use a newer one"), "{error}");
    assert_eq!(newer.storage.list("").unwrap(), before);
    // A repair does not replace a damaged lake.json by one with an older format, either.
    let about = root.join("_alloclog/lake.json");
    for damage in ["", r#"{"format":4,"id":"00000000000000000000000000000000","created_ms":0}"#] {
        fs::write(&about, damage).unwrap();
        let error = format!("{:#}", Lake::open_to_repair(root.to_str().unwrap(), false).unwrap_err());
        assert!(error.contains("has format 4") && error.contains("use a newer one"), "{error}");
        assert_eq!(fs::read_to_string(&about).unwrap(), damage);
    }
}

#[test]
fn a_damaged_description_is_rebuilt_with_the_format_of_the_tables() {
    for format in (1..=FORMAT).filter(|format| here(&format!("format-{format}")).exists()) {
        let (_directory, path) = of_format(format);
        let expected = comparable_rows(&Lake::open(&path).unwrap());
        let about = Path::new(&path).join("_alloclog/lake.json");
        fs::write(&about, "damaged").unwrap();
        let error = format!("{:#}", Lake::open_or_create(&path).unwrap_err());
        assert!(error.contains("lake.json is damaged") && error.contains("lake check --repair"), "{error}");
        let (_, finding) = Lake::open_to_repair(&path, true).unwrap();
        assert!(finding.is_some_and(|finding| finding.what.contains("lake.json is damaged")), "format {format}");
        assert_eq!(fs::read_to_string(&about).unwrap(), "damaged", "a dry run");
        let (lake, _) = Lake::open_to_repair(&path, false).unwrap();
        assert_eq!((lake.format(), format_of(&path)), (format, u64::from(format)));
        assert_eq!(wrong(&lake), [], "format {format}");
        assert_eq!(comparable_rows(&lake), expected, "format {format}");
        let lake = Lake::open_or_create(&path).unwrap();
        assert_eq!(comparable_rows(&lake), expected, "format {format}, upgraded");
        assert_eq!(wrong(&lake), [], "format {format}, upgraded");
    }
}

/// The rows of a file, with an additional column as a newer program would write it.
fn widened(batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let field = Arc::new(Field::new("of_a_newer_program", DataType::Int32, true));
    let schema = Schema::new(schema.fields().iter().cloned().chain([field]).collect::<Vec<_>>());
    let column: ArrayRef = Arc::new(Int32Array::from(vec![7; batch.num_rows()]));
    RecordBatch::try_new(Arc::new(schema), batch.columns().iter().cloned().chain([column]).collect()).unwrap()
}

#[test]
fn compaction_keeps_columns_of_newer_programs() {
    let (_directory, lake) = lake();
    documents().iter().for_each(|document| drop(ingested(&lake, document)));
    let expected = comparable_rows(&lake);
    let table = Table::TaskEvents;
    let state = delta_log::state(&lake.storage, table).unwrap();
    let add = state.files.values().next().unwrap();
    let mut batches = Vec::new();
    data_files::read_whole(&lake.storage, table, add, &mut |batch| {
        batches.push(widened(&batch));
        Ok(())
    })
    .unwrap();
    let wide = data_files::concat(table, batches).unwrap();
    let mut writer = data_files::DataFileWriter::new(&lake.storage, table, 0);
    writer.set_columns(&wide.schema());
    writer.add(&wide).unwrap();
    let actions = writer.finish().unwrap().into_iter().map(Add::added).chain([add.removed(0)]).collect();
    let new = delta_log::NewVersion { head: state.head, operation: "WRITE", batch: None, actions };
    delta_log::commit(&lake.storage, table, new, 0).unwrap();

    let before = state.files.len();
    compact::compact(&lake, &mut |_| ()).unwrap();
    let state = delta_log::state(&lake.storage, table).unwrap();
    assert!(state.files.len() < before);
    let mut sevens = 0;
    for add in state.files.values() {
        data_files::read_whole(&lake.storage, table, add, &mut |batch| {
            let column = batch.column_by_name("of_a_newer_program").unwrap();
            let column = column.as_any().downcast_ref::<Int32Array>().unwrap();
            sevens += column.iter().flatten().filter(|n| *n == 7).count();
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(sevens, wide.num_rows());
    assert_eq!(comparable_rows(&lake), expected);
    assert_eq!(wrong(&lake), []);
}

#[test]
fn remasking_changes_texts_but_no_identity() {
    let (_directory, path) = of_format(1);
    let before = Lake::open(&path).unwrap();
    assert!(comparable_rows(&before).iter().any(|line| line.contains(PASSWORD)), "format 1 masked no descriptions");
    let text = |lake: &Lake| -> String {
        let objects = lake.storage.list("").unwrap().into_iter().filter(|object| object.name.ends_with(".json"));
        objects.map(|object| String::from_utf8(lake.storage.need(&object.name).unwrap()).unwrap()).collect()
    };
    assert!(text(&before).contains(PASSWORD), "the batches of format 1 masked no bounds of a file");

    let lake = Lake::open_to_write(&path).unwrap();
    let done = remask::remask(&lake, &mut |_| ()).unwrap();
    assert!(done.files > 0 && done.texts >= 4 && done.batches > 0, "{done:?}");
    assert_eq!(comparable_rows(&lake), truth(&documents()));
    assert_eq!(wrong(&lake), []);
    for document in documents() {
        assert_eq!(ingested(&lake, &document).batch, None, "{}", document.display());
    }
    assert_eq!(
        remask::remask(&lake, &mut |_| ()).unwrap(),
        remask::Remasked::default(),
        "a second remask changes nothing"
    );

    // A week later, a vacuum and a compaction remove the remaining objects.
    super::batches::age(&lake);
    vacuum::vacuum(&lake, 7 * 24 * 3_600_000, false, &mut |_| ()).unwrap();
    compact::compact(&lake, &mut |_| ()).unwrap();
    assert!(!text(&lake).contains(PASSWORD));
    assert_eq!(comparable_rows(&lake), truth(&documents()));
}
