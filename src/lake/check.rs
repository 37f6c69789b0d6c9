//! Checks that every batch, log and data file of a lake exists and is unchanged, and that every row is stored once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::delta_log::salvage::{self, Differences};
use super::delta_log::{Add, FileChange};
use super::finding::Bad;
pub use super::finding::{CheckReport, Finding, Mend, Remedy};
use super::lean::{Detail, FILES_AT_A_TIME, files_after, in_parts, path_key};
use super::{Lake, data_files, labels, repair, trust};
use crate::error::{Error, Result};
use crate::tables::Table;
use logs::{CheckedLogs, Mended};

mod logs;

/// How many row identities are held in memory at a time. Their hash set takes 72 MB.
const ROWS_AT_A_TIME: u64 = 2_000_000;

/// Delay before a missing or damaged object is read a second time.
pub(super) const SECOND_LOOK: Duration = Duration::from_millis(300);

/// Checks a lake, and makes the repairs that `mend` allows.
///
/// A data file counts as lost in two cases: it certainly does not exist, or it was read completely and its length, its
/// hash or its Parquet content is wrong. A file that is missing, or has a wrong length or hash, is read a second time
/// before it counts as lost.
///
/// # Errors
/// When an object can be neither read nor proven missing, or a repair cannot be written. Repairs made before the error
/// persist.
pub fn check(lake: &Lake, mend: Mend, progress: &mut dyn FnMut(&str)) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    let CheckedLogs { differences, can_be_mended, loses_rows, .. } = logs::check(lake, mend, &mut report, progress)?;
    let mut bad = BTreeMap::new();
    for (table, differences) in differences {
        progress(table.name());
        bad.insert(table, check_files(lake, table, &differences, &mut report)?);
    }
    find_misplaced(&mut bad);
    bad.iter().for_each(|(table, bad)| report_files(*table, bad, &mut report));
    match labels::region_conflicts(lake) {
        Ok(twice) => twice.iter().for_each(|twice| report.push(twice.to_string(), Remedy::Nothing)),
        // The damage is already in the report.
        Err(error) if error.is_damaged() => {}
        Err(error) => return Err(error),
    }
    match trust::untrusted(lake) {
        Ok(untrusted) => report.untrusted = untrusted,
        Err(error) if error.is_damaged() => {}
        Err(error) => return Err(error),
    }
    // Drop no file before all files have been read.
    match can_be_mended {
        Mended::Never => report.wrong.iter_mut().for_each(|wrong| wrong.remedy = Remedy::Nothing),
        Mended::WithLoss if mend != Mend::DropDamaged => {
            let mended = report.wrong.iter_mut().filter(|wrong| wrong.remedy == Remedy::Repair);
            mended.for_each(|wrong| wrong.remedy = Remedy::Nothing);
        }
        _ if mend != Mend::Nothing => repair::take_out(lake, &bad, mend, loses_rows)?,
        _ => {}
    }
    Ok(report)
}

/// The content of a data file.
enum FileState {
    /// The bytes, unchanged as far as can be verified.
    Bytes(Bytes),
    /// The file is missing or was changed: the finding, and the hash of the bytes that were read. The hash is `None` if
    /// the file is missing, or if its log entry has no hash.
    Lost(String, Option<String>),
}

/// Reads a file, twice if it is missing or changed.
fn read(lake: &Lake, table: Table, add: &Add) -> Result<FileState> {
    let (mut lost, mut hash) = (String::new(), None);
    for look in 0..2 {
        if look > 0 {
            thread::sleep(SECOND_LOOK);
        }
        let Some(bytes) = lake.storage.get(&add.object(table))? else {
            (lost, hash) = ("is missing".to_owned(), None);
            continue;
        };
        let found = add.hash().map(|_| data_files::hash(&bytes));
        lost = if bytes.len() as i64 != add.size {
            format!("has {} bytes instead of {}", bytes.len(), add.size)
        } else if found.as_deref() != add.hash() {
            "was changed after it was written: its hash differs".to_owned()
        } else {
            return Ok(FileState::Bytes(Bytes::from(bytes)));
        };
        hash = found;
    }
    Ok(FileState::Lost(lost, hash))
}

/// Checks all files of a table, one part of them at a time to limit the memory.
fn check_files(lake: &Lake, table: Table, differences: &Differences, report: &mut CheckReport) -> Result<Bad> {
    let mut bad = Bad::default();
    let mut unverified = 0;
    // If the table has few files, their entries are held in memory. Otherwise the log is read again for the entries of
    // each part.
    let (mut ranges, mut few) = (HashMap::new(), Some(HashMap::new()));
    each_file(lake, table, differences, &mut |change| {
        match (change.path().map(path_key), change) {
            (Some(key), FileChange::Add(add)) => {
                ranges.insert(key, Range::of(table, &add));
                if let Some(few) = &mut few {
                    few.insert(key, Detail::Bare.of(add, table));
                }
            }
            (Some(key), _) => {
                ranges.remove(&key);
                few.iter_mut().for_each(|few| drop(few.remove(&key)));
            }
            (None, _) => (ranges, few) = (HashMap::new(), Some(HashMap::new())),
        }
        few = few.take().filter(|few| few.len() <= FILES_AT_A_TIME);
    })?;
    for some in in_parts(disjoint_groups(ranges), FILES_AT_A_TIME) {
        let mut adds = match few.take() {
            Some(few) => few,
            None => {
                let wanted = some.iter().flatten().copied().collect();
                files_after(|each| each_file(lake, table, differences, each), table, &wanted)?
            }
        };
        for group in some {
            let mut group: Vec<Add> = group.into_iter().filter_map(|key| adds.remove(&key)).collect();
            // Check the files of other programs last. So if such a file and a file of this program have the same row,
            // the row in the other program's file counts as the duplicate, which a repair removes.
            group.sort_by(|a, b| (a.hash().is_none(), &a.path).cmp(&(b.hash().is_none(), &b.path)));
            unverified += check_group(lake, table, &group, &mut bad)?;
        }
    }
    bad.doubled.values_mut().for_each(|rows| rows.sort_unstable());
    if unverified > 0 {
        report.unverified.insert(table, unverified);
    }
    Ok(bad)
}

/// Passes the changes of a table's files to `each`: first the changes in its log, then those that a repair of the log
/// would make.
fn each_file(lake: &Lake, table: Table, differences: &Differences, each: &mut dyn FnMut(FileChange)) -> Result<()> {
    salvage::read_until(&lake.storage, table, i64::MAX, each)?;
    differences.changes().for_each(each);
    Ok(())
}

/// Checks files that may have rows in common. Returns how many of the files without findings have no hash.
fn check_group(lake: &Lake, table: Table, group: &[Add], bad: &mut Bad) -> Result<usize> {
    let rows: u64 = group.iter().map(|add| data_files::row_count(add).unwrap_or(ROWS_AT_A_TIME)).sum();
    let slices = rows.div_ceil(ROWS_AT_A_TIME).max(1);
    for slice in 0..slices {
        let mut met: HashSet<u128> = HashSet::new();
        for add in group {
            if !bad.lost.contains_key(&add.path) && !bad.unclear.contains_key(&add.path) {
                let mut is_first = |id: u128| id % u128::from(slices) != u128::from(slice) || met.insert(id);
                check_file(lake, table, add, &mut is_first, bad)?;
            }
        }
    }
    let is_well = |add: &&Add| !bad.lost.contains_key(&add.path) && !bad.unclear.contains_key(&add.path);
    let unverified = group.iter().filter(|add| add.hash().is_none()).filter(is_well).count();
    let has_findings = |add: &&Add| !is_well(add) || bad.doubled.contains_key(&add.path);
    let found: Vec<Add> = group.iter().filter(has_findings).cloned().collect();
    bad.files.extend(found.into_iter().map(|add| (add.path.clone(), add)));
    Ok(unverified)
}

/// Checks one file; `is_first` returns true for an identity that did not occur before.
fn check_file(
    lake: &Lake,
    table: Table,
    add: &Add,
    is_first: &mut dyn FnMut(u128) -> bool,
    bad: &mut Bad,
) -> Result<()> {
    let name = add.object(table);
    let bytes = match read(lake, table, add)? {
        FileState::Bytes(bytes) => bytes,
        FileState::Lost(why, hash) => {
            bad.found.extend(hash.map(|hash| (add.path.clone(), hash)));
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
        let is_damaged = error.is_damaged() && add.hash().is_none() && !is_foreign(&error);
        let bad = if is_damaged { &mut bad.lost } else { &mut bad.unclear };
        bad.insert(add.path.clone(), format!("{error:#}"));
    } else if data_files::row_count(add).is_some_and(|said| said != u64::from(rows)) {
        bad.unclear.insert(add.path.clone(), format!("{name} has {rows} rows, but the log has another number"));
    } else if !doubled.is_empty() {
        bad.doubled.entry(add.path.clone()).or_default().extend(doubled);
    }
    Ok(())
}

/// The first and the last time of a file's rows; `None` unless every row has a time.
type Times = Option<(i64, i64)>;

/// The day and the times of a file, which decide which files may have rows in common.
struct Range {
    day: Option<i32>,
    times: Times,
}

impl Range {
    fn of(table: Table, add: &Add) -> Range {
        let time = data_files::time_column(table).filter(|time| table.key_columns().iter().any(|key| key == time));
        Range { day: data_files::day(add), times: time.and_then(|time| data_files::bounds_of_all(add, time)) }
    }
}

/// Groups files such that no two groups can have a row in common. In most tables, a row's identity includes its time,
/// which also determines its day. So files of different days (in a table that is partitioned by day) are in different
/// groups, and so are files of one day whose times do not overlap. If the times of a file are unknown, all files of its
/// day are one group. A file is given by its [`path_key`].
fn disjoint_groups(ranges: HashMap<u64, Range>) -> Vec<Vec<u64>> {
    let mut days: BTreeMap<Option<i32>, Vec<(Times, u64)>> = BTreeMap::new();
    ranges.into_iter().for_each(|(key, range)| days.entry(range.day).or_default().push((range.times, key)));
    let mut groups: Vec<Vec<u64>> = Vec::new();
    for mut files in days.into_values() {
        files.sort_unstable();
        if files.iter().any(|(times, _)| times.is_none()) {
            groups.push(files.into_iter().map(|(_, key)| key).collect());
            continue;
        }
        let mut until = None;
        for (times, key) in files {
            let (first, last) = times.unzip();
            match groups.last_mut().filter(|_| until.is_some() && first <= until) {
                Some(group) => group.push(key),
                None => groups.push(vec![key]),
            }
            until = until.max(last);
        }
    }
    groups
}

/// Returns true if a file cannot be read because it uses a feature this program was built without.
fn is_foreign(error: &Error) -> bool {
    // Inspect only the causes: our own message contains the name of the lake, which can be any text.
    error.causes().any(|cause| {
        let text = cause.to_string();
        ["Disabled feature", "NYI", "not yet implemented"].iter().any(|word| text.contains(word))
    })
}

/// Finds lost files whose bytes are stored under the name of another lost file, such as two files that were swapped.
fn find_misplaced(bad: &mut BTreeMap<Table, Bad>) {
    let mut stored: HashMap<String, String> = HashMap::new();
    for (table, bad) in bad.iter() {
        for (path, hash) in &bad.found {
            let stored_as = bad.files.get(path).map(|add| add.object(*table));
            stored.extend(stored_as.map(|stored_as| (hash.clone(), stored_as)));
        }
    }
    for Bad { files, lost, misplaced, .. } in bad.values_mut() {
        lost.retain(|path, _| {
            let stored_as = files.get(path).and_then(Add::hash).and_then(|hash| stored.get(hash));
            misplaced.extend(stored_as.map(|stored_as| (path.clone(), stored_as.clone())));
            stored_as.is_none()
        });
    }
}

/// Adds the findings on a table's files to the report.
fn report_files(table: Table, bad: &Bad, report: &mut CheckReport) {
    bad.unclear.values().for_each(|what| report.push(what.clone(), Remedy::Nothing));
    for (path, what) in &bad.lost {
        let rows = bad.files.get(path).and_then(data_files::row_count);
        report.push(what.clone(), Remedy::Drop(table, rows));
    }
    for (path, stored_as) in &bad.misplaced {
        let what = format!(
            "{}/{path} is missing or has the bytes of another file; its own bytes are in {stored_as}",
            table.name()
        );
        report.push(what, Remedy::Repair);
    }
    for (path, rows) in &bad.doubled {
        let what = format!("{}/{path} has {} duplicate rows", table.name(), rows.len());
        report.push(what, Remedy::Repair);
    }
}
