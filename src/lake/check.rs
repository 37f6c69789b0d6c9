//! Checks a lake: every batch, log and data file exists and is unchanged, and every row is there once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;

use super::delta_log::salvage::{self, Salvaged};
use super::delta_log::{Add, TableState};
use super::finding::Bad;
pub use super::finding::{CheckReport, Finding, Mend, Remedy};
use super::replay::ExpectedTable;
use super::{Batch, Damaged, Lake, ORDER, TableHeads, data_files, labels, now_ms, repair, trust};
use crate::tables::Table;

/// How many row identities are held in memory at a time: a hash set of 72 MB.
const ROWS_AT_A_TIME: u64 = 2_000_000;

/// Delay before a missing or damaged object is read a second time.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// Checks a lake and repairs what `mend` allows.
///
/// A data file counts as lost only if it was read completely and is damaged (length, hash or Parquet), or certainly
/// does not exist; both are checked twice.
///
/// # Errors
/// When an object can be neither read nor proven missing, or a repair cannot be written. Earlier repairs persist.
pub fn check(lake: &Lake, mend: Mend, progress: &mut dyn FnMut(&str)) -> anyhow::Result<CheckReport> {
    let mut report = CheckReport::default();
    let (states, is_stuck) = check_logs(lake, mend, &mut report, progress)?;
    let mut bad = BTreeMap::new();
    for (table, state) in states {
        progress(table.name());
        let found = check_files(lake, table, &state, &mut report)?;
        report_files(table, &state, &found, &mut report);
        bad.insert(table, (state, found));
    }
    match labels::region_conflicts(lake) {
        Ok(twice) => twice.iter().for_each(|twice| report.push(twice.to_string(), Remedy::Nothing)),
        // The damage is already in the report.
        Err(error) if error.is::<Damaged>() => {}
        Err(error) => return Err(error),
    }
    match trust::untrusted(lake) {
        Ok(untrusted) => report.untrusted = untrusted,
        Err(error) if error.is::<Damaged>() => {}
        Err(error) => return Err(error),
    }
    // Drop no file before all of them were read.
    if is_stuck {
        report.wrong.iter_mut().for_each(|wrong| wrong.remedy = Remedy::Nothing);
    } else if mend != Mend::Nothing {
        repair::take_out(lake, &bad, mend)?;
    }
    Ok(report)
}

/// Compares batches and logs. Returns the tables as they are, or as a repair left them; and true if repair is
/// impossible because a log is damaged and the batches are incomplete.
fn check_logs(
    lake: &Lake,
    mend: Mend,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<(BTreeMap<Table, TableState>, bool)> {
    // Read the ledger before the other logs, because batches reach it last; read logs before batches, because a batch
    // exists before any log has it.
    let mut logs = BTreeMap::new();
    for table in ORDER.into_iter().rev() {
        progress(&format!("the log of {}", table.name()));
        if !lake.is_to_come(table)? {
            logs.insert(table, salvage::read(&lake.storage, table)?);
        }
    }
    let reached = |salvaged: &Salvaged| salvaged.state.head.batch;
    let ledger = logs.get(&Table::Snapshots);
    let finished = match ledger.filter(|ledger| ledger.wrong.is_empty()) {
        Some(ledger) => reached(ledger),
        None => logs.values().map(reached).max().unwrap_or_default(),
    };
    progress("batches");
    let (mut expected, unfinished) = check_batches(lake, finished, report)?;
    let is_incomplete = expected.values().any(|expected| expected.is_incomplete);
    let finishing = if is_incomplete { Remedy::Nothing } else { Remedy::Repair };
    if unfinished > 0 {
        let what = format!("{unfinished} of the last batches not yet in every table");
        report.push(what, finishing);
    }
    let mut states = BTreeMap::new();
    let (mut is_mended, mut is_stuck) = (false, false);
    for (table, salvaged) in logs {
        let of_batches = expected.remove(&table).unwrap_or_default();
        let differences = salvage::compare(table, &salvaged.state, &of_batches, finished);
        let wrong = salvaged.wrong.iter().chain(&differences.wrong);
        let before = report.wrong.len();
        // A log is rewritten only from a complete set of batches.
        let remedy = if of_batches.is_incomplete { Remedy::Nothing } else { Remedy::Repair };
        report.wrong.extend(wrong.map(|what| Finding { what: what.clone(), remedy }));
        is_stuck |= report.wrong.len() > before && remedy == Remedy::Nothing;
        if report.wrong.len() > before && remedy.is_in(mend) {
            if !salvage::mend(&lake.storage, table, lake.format(), &salvaged, &differences, now_ms())? {
                bail!("lake {}: {} changed during the repair; try again", lake.storage, table.name());
            }
            is_mended = true;
        }
        states.insert(table, differences.applied(&salvaged.state));
    }
    if (is_mended || unfinished > 0) && !is_stuck && finishing.is_in(mend) {
        lake.finish(&mut TableHeads::new())?;
        for (table, state) in &mut states {
            *state = lake.state(*table)?;
        }
    }
    Ok((states, is_stuck))
}

/// Reads all batches and checks that their numbers have no gap and each has the hash its successor records. Returns the
/// expected state of each table, and how many batches come after `finished`, the last one in every table.
fn check_batches(
    lake: &Lake,
    finished: u64,
    report: &mut CheckReport,
) -> anyhow::Result<(BTreeMap<Table, ExpectedTable>, usize)> {
    let mut expected: BTreeMap<Table, ExpectedTable> = ORDER.map(|table| (table, ExpectedTable::new())).into();
    let (mut number, mut last, mut is_chained) = (0, None, false);
    let mut each = |bytes: Option<Vec<u8>>, report: &mut CheckReport| {
        number += 1;
        let name = super::batch_name(number);
        let hash = bytes.as_deref().map(data_files::hash);
        let batch: Option<Batch> = bytes.as_deref().and_then(|bytes| Batch::parse(bytes).ok());
        let Some(batch) = batch else {
            let what = if bytes.is_some() { "damaged" } else { "missing" };
            report.push(format!("lake {}: {name} is {what}", lake.storage), Remedy::Nothing);
            expected.values_mut().for_each(|expected| expected.is_incomplete = true);
            last = hash;
            return;
        };
        if (batch.before.is_some() || is_chained) && last.is_some() && batch.before != last {
            let what = format!("batch {} was changed: batch {number} records another hash of it", number - 1);
            report.push(what, Remedy::Nothing);
            expected.values_mut().for_each(|expected| expected.is_incomplete = true);
        }
        is_chained |= batch.before.is_some();
        last = hash;
        for (table, expected) in &mut expected {
            expected.apply(*table, number, &batch, number <= finished);
        }
    };
    lake.storage.get_all((1..=finished).map(super::batch_name), &mut |bytes| {
        each(bytes, report);
        Ok(())
    })?;
    let mut unfinished = 0;
    while let Some(bytes) = lake.storage.get(&super::batch_name(finished + unfinished + 1))? {
        each(Some(bytes), report);
        unfinished += 1;
    }
    Ok((expected, usize::try_from(unfinished)?))
}

/// The content of a data file.
enum FileState {
    /// The bytes, unchanged as far as can be verified.
    Bytes(Bytes),
    /// The file is missing or was changed.
    Lost(String),
}

/// Reads a file, twice if it is missing or changed.
fn read(lake: &Lake, table: Table, add: &Add) -> anyhow::Result<FileState> {
    let mut lost = String::new();
    for look in 0..2 {
        if look > 0 {
            thread::sleep(SECOND_LOOK);
        }
        lost = match lake.storage.get(&add.object(table))? {
            None => "is missing".to_owned(),
            Some(bytes) if bytes.len() as i64 != add.size => {
                format!("has {} bytes instead of {}", bytes.len(), add.size)
            }
            Some(bytes) if add.hash().is_some_and(|hash| hash != data_files::hash(&bytes)) => {
                "was changed after it was written: its hash differs".to_owned()
            }
            Some(bytes) => return Ok(FileState::Bytes(Bytes::from(bytes))),
        };
    }
    Ok(FileState::Lost(lost))
}

/// Checks all files of a table.
fn check_files(lake: &Lake, table: Table, state: &TableState, report: &mut CheckReport) -> anyhow::Result<Bad> {
    let mut bad = Bad::default();
    for group in disjoint_groups(table, state) {
        let rows: u64 = group.iter().map(|add| data_files::row_count(add).unwrap_or(ROWS_AT_A_TIME)).sum();
        let slices = rows.div_ceil(ROWS_AT_A_TIME).max(1);
        for slice in 0..slices {
            let mut met: HashSet<u128> = HashSet::new();
            for add in &group {
                if !bad.lost.contains_key(&add.path) && !bad.unclear.contains_key(&add.path) {
                    let mut is_first = |id: u128| id % u128::from(slices) != u128::from(slice) || met.insert(id);
                    check_file(lake, table, add, &mut is_first, &mut bad)?;
                }
            }
        }
    }
    bad.doubled.values_mut().for_each(|rows| rows.sort_unstable());
    let is_well = |add: &&Add| !bad.lost.contains_key(&add.path) && !bad.unclear.contains_key(&add.path);
    let unverified = state.files.values().filter(|add| add.hash().is_none()).filter(is_well).count();
    if unverified > 0 {
        report.unverified.insert(table, unverified);
    }
    Ok(bad)
}

/// Checks one file; `is_first` returns true for an identity that did not occur before.
fn check_file(
    lake: &Lake,
    table: Table,
    add: &Add,
    is_first: &mut dyn FnMut(u128) -> bool,
    bad: &mut Bad,
) -> anyhow::Result<()> {
    let name = add.object(table);
    let bytes = match read(lake, table, add)? {
        FileState::Bytes(bytes) => bytes,
        FileState::Lost(why) => {
            bad.lost.insert(add.path.clone(), format!("{name} {why}"));
            return Ok(());
        }
    };
    let keys = table.key_columns();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (mut rows, mut doubled) = (0u32, Vec::new());
    let read = data_files::decode(&lake.storage, table, add, bytes, Some(&keys), &mut |batch| {
        for id in table.identities(&batch)? {
            if !is_first(id) {
                doubled.push(rows);
            }
            rows += 1;
        }
        Ok(())
    });
    if let Err(error) = read {
        // A file with the right hash, or one that uses a feature this program was built without, is not damaged.
        let is_damaged = error.is::<Damaged>() && add.hash().is_none() && !is_foreign(&error);
        let bad = if is_damaged { &mut bad.lost } else { &mut bad.unclear };
        bad.insert(add.path.clone(), format!("{error:#}"));
    } else if data_files::row_count(add).is_some_and(|said| said != u64::from(rows)) {
        bad.unclear.insert(add.path.clone(), format!("{name} has {rows} rows, but the log has another number"));
    } else if !doubled.is_empty() {
        bad.doubled.entry(add.path.clone()).or_default().extend(doubled);
    }
    Ok(())
}

/// Groups of files such that no two groups can share a row: files of one day if the table is partitioned by day, and
/// within a day files whose times overlap, because a row's identity includes its day and its time.
fn disjoint_groups(table: Table, state: &TableState) -> Vec<Vec<&Add>> {
    let time = data_files::time_column(table).filter(|time| table.key_columns().iter().any(|key| key == time));
    let mut days: BTreeMap<Option<i32>, Vec<&Add>> = BTreeMap::new();
    state.files.values().for_each(|add| days.entry(data_files::day(add)).or_default().push(add));
    let mut groups = Vec::new();
    for adds in days.into_values() {
        let times: HashMap<&str, (i64, i64)> = time
            .map(|time| {
                adds.iter().filter_map(|add| Some((add.path.as_str(), data_files::bounds_of_all(add, time)?))).collect()
            })
            .unwrap_or_default();
        if times.len() < adds.len() {
            groups.push(adds);
            continue;
        }
        let mut adds: Vec<_> = adds.into_iter().map(|add| (times[add.path.as_str()], add)).collect();
        adds.sort_by_key(|((first, last), add)| (*first, *last, &add.path));
        let mut until = None;
        for ((first, last), add) in adds {
            match groups.last_mut().filter(|_| until.is_some_and(|until| first <= until)) {
                Some(group) => group.push(add),
                None => groups.push(vec![add]),
            }
            until = until.max(Some(last));
        }
    }
    // Of duplicate rows, the one written by another program is removed.
    groups.iter_mut().for_each(|group| group.sort_by_key(|add| (add.hash().is_none(), &add.path)));
    groups
}

/// Returns true if a file cannot be read because it uses a feature this program was built without.
fn is_foreign(error: &anyhow::Error) -> bool {
    // Skip the first cause: it is our message, which contains the name of the lake.
    error.chain().skip(1).any(|cause| {
        let text = cause.to_string();
        ["Disabled feature", "NYI", "not yet implemented"].iter().any(|word| text.contains(word))
    })
}

/// Adds the findings on a table's files to the report.
fn report_files(table: Table, state: &TableState, bad: &Bad, report: &mut CheckReport) {
    bad.unclear.values().for_each(|what| report.push(what.clone(), Remedy::Nothing));
    for (path, what) in &bad.lost {
        let rows = state.files.get(path).and_then(data_files::row_count);
        report.push(what.clone(), Remedy::Drop(table, rows));
    }
    for (path, rows) in &bad.doubled {
        let what = format!("{}/{path} has {} duplicate rows", table.name(), rows.len());
        report.push(what, Remedy::Repair);
    }
}
