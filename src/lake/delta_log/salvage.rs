//! Repair of a damaged Delta log: reads the readable parts, compares them with the batches, and rewrites the missing
//! versions.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::table::{corrected, format_of};
use super::{
    Action, Add, CHECKPOINTED, CheckpointWriter, Committed, FileChange, LastCheckpoint, NewVersion, Storage, Table,
    TableState, UPGRADE, append, check_protocol, checkpoints, definition, entered, info, known_columns,
    last_checkpoint, lines, log, read_checkpoint, read_version, version_name, version_of,
};
use crate::error::Result;
use crate::lake::data_files;
use crate::lake::lean::{Detail, FileDigests, is_same, path_key};
use crate::lake::replay::{ExpectedTable, Held};

/// The readable part of a log.
#[derive(Debug, Clone, Default)]
pub struct Salvaged {
    /// The state of the table according to the readable part. It contains only the files that [`Salvaged::hold`] added.
    pub state: TableState,
    /// All files of the table.
    pub files: FileDigests,
    /// Findings on the objects of the log.
    pub wrong: Vec<String>,
    /// Missing or damaged versions, with their readable lines.
    gaps: BTreeMap<i64, VersionGap>,
    /// Files that the log lists, although no batch added them and they do not exist.
    strays: Vec<Add>,
    /// True if a reader that starts at version 0 or at the last checkpoint cannot read the log.
    lacks_beginning: bool,
}

#[derive(Debug, Clone, Default)]
struct VersionGap {
    actions: Vec<Action>,
    is_there: bool,
}

/// Reads a log as far as possible, skipping gaps.
///
/// # Errors
/// When an object can be neither read nor proven missing.
pub fn read(storage: &Storage, table: Table) -> Result<Salvaged> {
    let mut files = FileDigests::default();
    let found = read_until(storage, table, i64::MAX, &mut |change| files.take(&change))?;
    Ok(Salvaged { files, ..found })
}

/// As [`read`], but up to a version, and passes the changes of files to `files`.
///
/// # Errors
/// As [`read`].
pub fn read_until(storage: &Storage, table: Table, until: i64, files: &mut dyn FnMut(FileChange)) -> Result<Salvaged> {
    let mut found = Salvaged { state: TableState::empty(), ..Salvaged::default() };
    let hint = last_checkpoint(storage, table)?.filter(|hint| hint.version <= until);
    let before = hint.as_ref().map_or(until.saturating_add(1), |last| last.version);
    let earlier = checkpoints(storage, table)?.into_iter().rev().filter(|version| *version < before);
    let earlier: Vec<_> = earlier.map(|version| LastCheckpoint { version, ..LastCheckpoint::default() }).collect();
    for checkpoint in hint.into_iter().chain(earlier) {
        let mut state = TableState::default();
        files(FileChange::Restart);
        match read_checkpoint(storage, table, &checkpoint, &CHECKPOINTED, &mut |action| state.apply(action, files)) {
            Ok(()) => {
                checkpoint.note_in(&mut state);
                found.state = state;
                break;
            }
            Err(error) if error.is_damaged() => {
                found.wrong.push(format!("{error:#}"));
                found.lacks_beginning = true;
            }
            Err(error) => return Err(error),
        }
    }
    let base = found.state.head.version;
    if base < 0 {
        files(FileChange::Restart);
    }
    let names = storage.names_after(&log(table), "")?;
    let versions: Vec<i64> =
        names.iter().filter_map(|name| version_of(name)).filter(|version| *version <= until).collect();
    let Some(last) = versions.last().copied().filter(|last| *last > base) else {
        if base < 0 {
            found.wrong.push(format!("lake {storage}: the log of {} is missing", table.name()));
        }
        return Ok(found);
    };
    let first = if base >= 0 { base + 1 } else { versions.first().copied().unwrap_or_default() };
    if base < 0 && first > 0 {
        found.wrong.push(format!("lake {storage}: {} is missing, and there is no checkpoint", version_name(table, 0)));
        found.lacks_beginning = true;
    }
    for version in first..=last {
        let name = version_name(table, version);
        let Some(bytes) = storage.get(&name)? else {
            found.wrong.push(format!("lake {storage}: {name} is missing"));
            found.gaps.insert(version, VersionGap::default());
            continue;
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let read: Vec<Option<Action>> = lines.map(|line| serde_json::from_slice(line).ok()).collect();
        let is_damaged = read.is_empty() || read.iter().any(Option::is_none);
        let actions: Vec<Action> = read.into_iter().flatten().collect();
        if is_damaged {
            found.wrong.push(format!("lake {storage}: {name} is damaged"));
            found.gaps.insert(version, VersionGap { actions: actions.clone(), is_there: true });
        }
        actions.into_iter().for_each(|action| found.state.apply(action, files));
        found.state.head.commit = xxh3_64(&bytes);
    }
    found.state.head.version = last;
    check_protocol(storage, table, found.state.protocol.as_ref())?;
    if let Some(meta_data) = &found.state.meta_data {
        found.state.head.columns = known_columns(storage, table, meta_data)?;
    }
    Ok(found)
}

impl Salvaged {
    /// Reads the log again, and adds the entries of the files with these keys to the state, with this detail.
    ///
    /// # Errors
    /// As [`read`].
    pub fn hold(&mut self, storage: &Storage, table: Table, keys: &HashSet<u64>, detail: Detail) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut held = TableState::default();
        read_until(storage, table, self.state.head.version, &mut |change| match change {
            FileChange::Add(add) if keys.contains(&path_key(&add.path)) => {
                held.take(FileChange::Add(detail.of(add, table)));
            }
            FileChange::Remove(remove) if keys.contains(&path_key(&remove.path)) => {
                held.take(FileChange::Remove(remove));
            }
            FileChange::Add(_) | FileChange::Remove(_) => {}
            FileChange::Restart => held.take(FileChange::Restart),
        })?;
        self.state.files = held.files;
        Ok(())
    }

    /// Removes strays from the state. A stray is a file that the log lists with a hash, but that no batch added and
    /// that does not exist. Only this program writes hashes, so the line of a stray was edited. Returns true if there
    /// are strays. Checks only the files that [`Salvaged::hold`] added.
    ///
    /// # Errors
    /// When an object can be neither found nor proven missing.
    pub fn set_strays_aside(&mut self, storage: &Storage, table: Table, expected: &ExpectedTable) -> Result<bool> {
        let is_unknown = |add: &&Add| add.hash().is_some() && !expected.is_known(path_key(&add.path));
        let unknown: Vec<Add> = self.state.files.values().filter(is_unknown).cloned().collect();
        for add in unknown {
            if !storage.has(&add.object(table))? {
                self.state.files.remove(&add.path);
                self.files.remove(&add.path);
                self.strays.push(add);
            }
        }
        Ok(!self.strays.is_empty())
    }
}

/// The change that one batch made to a table, as the table's log records it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The files that were added.
    pub added: Vec<Add>,
    /// The paths of the files that were removed.
    pub removed: Vec<String>,
    /// The format that the table was upgraded to.
    pub upgraded_to: Option<u32>,
}

/// The changes that some batches made to a table, as the table's log records them.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    of_batches: BTreeMap<u64, Change>,
    /// Number of the last batch whose version the log may no longer have. If a later batch changed the table, the log
    /// has the version of that batch. `None` if the log has no version with a batch after its last gap.
    unknown_until: Option<u64>,
}

impl Changes {
    /// The change that a batch made; `None` if the log no longer records it.
    pub fn of(&self, batch: u64) -> Option<Change> {
        let found = self.of_batches.get(&batch).cloned();
        found.or_else(|| self.unknown_until.is_some_and(|until| batch > until).then(Change::default))
    }
}

/// Looks up the changes that some batches made to a table.
///
/// # Errors
/// When the log cannot be read.
pub fn changes(storage: &Storage, table: Table, batches: &BTreeSet<u64>) -> Result<Changes> {
    let mut found = Changes::default();
    let mut last = -1;
    for name in storage.names_after(&log(table), "")? {
        let Some(version) = version_of(&name) else { continue };
        let Some((actions, _)) = read_version(storage, table, version)? else { continue };
        if version == 0 {
            found.unknown_until = Some(0);
        } else if version != last + 1 {
            found.unknown_until = None;
        }
        last = version;
        let Some(batch) = actions.iter().find_map(Action::batch) else { continue };
        found.unknown_until.get_or_insert(batch.saturating_sub(1));
        if !batches.contains(&batch) {
            continue;
        }
        let is_upgrade = actions.iter().any(|action| {
            let operation = action.commit_info.as_ref().map(|info| &info["operation"]);
            operation.is_some_and(|operation| operation == UPGRADE)
        });
        let change = found.of_batches.entry(batch).or_default();
        for action in actions {
            let format = action.meta_data.as_ref().filter(|_| is_upgrade).map(format_of);
            change.upgraded_to = format.or(change.upgraded_to);
            change.added.extend(action.add);
            change.removed.extend(action.remove.map(|remove| remove.path));
        }
    }
    Ok(found)
}

/// How a log differs from the batches.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// Findings, one line each.
    pub wrong: Vec<String>,
    /// How many rows that batches added are in no file of the log; null if unknown.
    pub rows_missing: Option<u64>,
    /// Files missing from the log. The entries are those of the batches.
    pub add: Vec<Add>,
    /// Files that the log must not list.
    pub remove: Vec<Add>,
    /// Files whose hash the log lost, because another engine's checkpoint may omit tags. The entries are those of the
    /// batches.
    hashed: Vec<Add>,
    /// The batch that the table must have reached.
    pub batch: u64,
    /// True if another engine, or a program of format 1, merged files of the table, or if a batch was lost.
    is_mixed: bool,
    /// Set if files with rows of the table are in neither the log nor the lake. The inner value is the number of these
    /// rows; null if unknown.
    pub lost: Option<Option<u64>>,
    /// The corrected metadata of the table, if it was edited.
    meta_data: Option<Value>,
}

/// Returns true if another engine, or a program of format 1, merged files of the table.
fn is_mixed(salvaged: &Salvaged, expected: &ExpectedTable) -> bool {
    expected.is_mixed || !salvaged.files.keys().all(|key| expected.is_known(key))
}

/// How many rows that batches added are in no file of the log; null if unknown.
fn rows_missing(salvaged: &Salvaged, expected: &ExpectedTable) -> Option<u64> {
    expected.rows.zip(salvaged.files.rows()).map(|(expected, live)| expected.saturating_sub(live))
}

/// Returns a function that takes the number of a batch, and returns true if the log may lack a file that this batch
/// added.
fn may_lack<'s>(salvaged: &'s Salvaged, expected: &ExpectedTable, finished: u64) -> impl Fn(u64) -> bool + use<'s> {
    let (is_mixed, rows_missing) = (is_mixed(salvaged, expected), rows_missing(salvaged, expected));
    move |number| {
        // Another engine may have merged the file. In this case no row is missing. If the number of missing rows is
        // unknown, only an undamaged log proves a merge, and only for the batches in that log.
        let is_merged = is_mixed
            && rows_missing.map_or(salvaged.wrong.is_empty() && number <= salvaged.state.head.batch, |rows| rows == 0);
        is_merged || number > finished
    }
}

/// The files whose complete entries [`compare`] needs, by [`path_key`]: first the files whose entries in the batches
/// are needed, then those whose entries in the log are needed.
pub fn suspects(salvaged: &Salvaged, expected: &ExpectedTable, finished: u64) -> (HashSet<u64>, HashSet<u64>) {
    if expected.is_incomplete {
        return Default::default();
    }
    let may_lack = may_lack(salvaged, expected, finished);
    let differ = expected.files.iter().filter(|(_, (held, _))| !matches!(held, Held::Same));
    let of_batches: HashSet<u64> = differ
        .filter(|(key, (_, number))| salvaged.files.contains(**key) || !may_lack(*number))
        .map(|(key, _)| *key)
        .collect();
    let foreign = salvaged.files.keys().filter(|key| !expected.files.contains_key(key));
    let of_log = foreign.chain(of_batches.iter().copied()).collect();
    (of_batches, of_log)
}

/// Compares the log of a table with the batches. `format` is the format of the lake. The log must have every batch up
/// to `finished`. Both `salvaged` and `expected` must contain the complete entries of the [`suspects`].
pub fn compare(table: Table, format: u32, salvaged: &Salvaged, expected: &ExpectedTable, finished: u64) -> Differences {
    let there = &salvaged.state;
    let mut found = Differences { batch: expected.batch.max(there.head.batch), ..Differences::default() };
    let name = table.name();
    if expected.is_incomplete {
        return found;
    }
    if there.head.batch < expected.batch {
        let (has, of_batches) = (there.head.batch, expected.batch);
        found.wrong.push(format!("the log of {name} ends with batch {has}, but batch {of_batches} was added to it"));
    }
    if let Some((what, corrected)) = there.meta_data.as_ref().and_then(|meta_data| corrected(table, format, meta_data))
    {
        found.wrong.push(format!("the metadata in the log of {name} was changed: {what}"));
        found.meta_data = Some(corrected);
    }
    for add in &salvaged.strays {
        found
            .wrong
            .push(format!("the log of {name} lists {}, which no batch added and which does not exist", add.path));
        found.remove.push(add.clone());
    }
    let is_mixed = is_mixed(salvaged, expected);
    found.is_mixed = is_mixed;
    found.rows_missing = rows_missing(salvaged, expected);
    let may_lack = may_lack(salvaged, expected, finished);
    let held = expected.files.values().filter_map(|(held, number)| match held {
        Held::Whole(add) => Some((&add.path, (add.as_ref(), number))),
        Held::Same | Held::Differs => None,
    });
    for (path, (add, number)) in held.collect::<BTreeMap<_, _>>() {
        match there.files.get(path) {
            Some(other) if !is_same(add, other) => {
                found.wrong.push(format!("the log of {name} and batch {number} contradict each other on {path}"));
                found.add.push(add.clone());
            }
            Some(other) if other.hash().is_none() && add.hash().is_some() => found.hashed.push(add.clone()),
            Some(_) => {}
            None if may_lack(*number) => {}
            None => {
                if !is_mixed {
                    found.wrong.push(format!("the log of {name} does not list {path} of batch {number}"));
                }
                found.add.push(add.clone());
            }
        }
    }
    if is_mixed {
        if let Some(rows) = found.rows_missing.filter(|rows| *rows > 0) {
            found.wrong.push(format!("the files in the log of {name} have {rows} rows fewer than the batches added"));
        }
        return found;
    }
    for add in there.files.values().filter(|add| expected.is_gone(&add.path)) {
        found.wrong.push(format!("the log of {name} lists {}, which a batch replaced", add.path));
        found.remove.push(add.clone());
    }
    found
}

impl Differences {
    /// Removes from the repair the files that no longer exist because another engine merged them. If the rows of such a
    /// file are in no other file, counts them as lost.
    ///
    /// # Errors
    /// When an object can be neither found nor proven missing.
    pub fn leave_out_what_is_gone(&mut self, storage: &Storage, table: Table, there: &TableState) -> Result<()> {
        if !self.is_mixed {
            return Ok(());
        }
        let (mut kept, mut rows, mut is_any_gone) = (Vec::new(), Some(0), false);
        for add in std::mem::take(&mut self.add) {
            if there.files.contains_key(&add.path) {
                kept.push(add);
            } else if storage.has(&add.object(table))? {
                rows = rows.zip(data_files::row_count(&add)).map(|(rows, more)| rows + more);
                kept.push(add);
            } else {
                is_any_gone = true;
            }
        }
        self.add = kept;
        self.lost = match self.rows_missing.zip(rows) {
            Some((missing, found)) => Some(missing.saturating_sub(found)).filter(|lost| *lost > 0).map(Some),
            None => is_any_gone.then_some(None),
        };
        Ok(())
    }

    /// The changes that the repair makes to the table's files.
    pub fn changes(&self) -> impl Iterator<Item = FileChange> {
        let removed = self.remove.iter().filter_map(|add| add.removed(0).remove).map(FileChange::Remove);
        removed.chain(self.add.iter().chain(&self.hashed).cloned().map(FileChange::Add))
    }
}

/// Repairs a log. First appends a version that changes the table to its expected state. Then creates the missing
/// versions, because a reader reaches the appended version only through them. Returns `false` if another writer
/// appended a version first; then the caller must read the log again.
///
/// # Errors
/// When the lake cannot be written.
pub fn mend(
    storage: &Storage,
    table: Table,
    format: u32,
    salvaged: &Salvaged,
    differences: &Differences,
    now_ms: i64,
) -> Result<bool> {
    let there = &salvaged.state;
    let mut actions = Vec::new();
    if there.protocol.is_none() || there.meta_data.is_none() {
        actions.extend(definition(table, format, now_ms));
    }
    let meta_data = differences.meta_data.clone();
    actions.extend(meta_data.map(|meta_data| Action { meta_data: Some(meta_data), ..Action::default() }));
    actions.extend(differences.remove.iter().map(|add| add.removed(now_ms)));
    actions.extend(differences.add.iter().cloned().map(Add::added));
    let batch = Some(differences.batch).filter(|batch| *batch > 0);
    let new = NewVersion { head: there.head, operation: "REPAIR", batch, actions: actions.clone() };
    let Committed::Done(head) = append(storage, table, new, now_ms)? else {
        return Ok(false);
    };
    for (version, gap) in &salvaged.gaps {
        let mut actions = gap.actions.clone();
        if actions.is_empty() {
            actions.push(info("REPAIR", now_ms));
        }
        let (name, bytes) = (version_name(table, *version), lines(&actions)?);
        if gap.is_there { storage.put(&name, bytes)? } else { drop(storage.create(&name, bytes)?) }
    }
    if salvaged.lacks_beginning {
        let (mut files, mut state) = (TableState::default(), there.clone());
        read_until(storage, table, there.head.version, &mut |change| files.take(change))?;
        actions.extend(batch.map(|batch| entered(batch, now_ms)));
        actions.into_iter().for_each(|action| state.apply(action, &mut |change| files.take(change)));
        let mut writer = CheckpointWriter::new(now_ms)?;
        state.actions().try_for_each(|action| writer.add(action))?;
        let added = files.files.into_values().map(FileChange::Add);
        let mut all = added.chain(files.removed.into_values().map(FileChange::Remove));
        all.try_for_each(|change| writer.add_file(change))?;
        writer.finish(storage, table, head.version)?;
    }
    Ok(true)
}
