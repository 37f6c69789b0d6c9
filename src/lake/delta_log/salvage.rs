//! Repair of a damaged Delta log: reads what is readable, compares it with the batches, and rewrites what is missing.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::table::format_of;
use super::{
    Action, Add, CHECKPOINTED, Committed, LastCheckpoint, NewVersion, Storage, Table, TableState, UPGRADE, append,
    check_protocol, checkpoints, definition, entered, info, last_checkpoint, lines, log, read_checkpoint, read_version,
    version_name, version_of, write_checkpoint,
};
use crate::error::Result;
use crate::lake::data_files;
use crate::lake::lean::{Detail, is_same};
use crate::lake::replay::ExpectedTable;

/// The readable part of a log.
#[derive(Debug, Clone, Default)]
pub struct Salvaged {
    /// The state of the table from the readable part.
    pub state: TableState,
    /// Findings on the objects of the log.
    pub wrong: Vec<String>,
    /// Missing or damaged versions, with their readable lines.
    gaps: BTreeMap<i64, Gap>,
    /// Returns true if a reader that starts at version 0 or at the last checkpoint cannot read the log.
    lacks_beginning: bool,
}

#[derive(Debug, Clone, Default)]
struct Gap {
    actions: Vec<Action>,
    is_there: bool,
}

/// Reads a log as far as possible, skipping gaps.
///
/// # Errors
/// When an object can be neither read nor proven missing.
pub fn read(storage: &Storage, table: Table, detail: Detail) -> Result<Salvaged> {
    let apply = |state: &mut TableState, action: Action| {
        state.apply(Action { add: action.add.map(|add| detail.of(add, table)), ..action });
    };
    let mut found = Salvaged { state: TableState::empty(), ..Salvaged::default() };
    let hint = last_checkpoint(storage, table)?;
    let of_hint = hint.as_ref().map(|last| last.version);
    let earlier =
        checkpoints(storage, table)?.into_iter().rev().filter(|version| of_hint.is_none_or(|of| *version < of));
    let earlier: Vec<_> = earlier.map(|version| LastCheckpoint { version, ..LastCheckpoint::default() }).collect();
    for checkpoint in hint.into_iter().chain(earlier) {
        let mut state = TableState::default();
        match read_checkpoint(storage, table, &checkpoint, &CHECKPOINTED, &mut |action| apply(&mut state, action)) {
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
    let names = storage.names_after(&log(table), "")?;
    let versions: Vec<i64> = names.iter().filter_map(|name| version_of(name)).collect();
    let base = found.state.head.version;
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
            found.gaps.insert(version, Gap::default());
            continue;
        };
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let read: Vec<Option<Action>> = lines.map(|line| serde_json::from_slice(line).ok()).collect();
        let is_damaged = read.is_empty() || read.iter().any(Option::is_none);
        let actions: Vec<Action> = read.into_iter().flatten().collect();
        if is_damaged {
            found.wrong.push(format!("lake {storage}: {name} is damaged"));
            found.gaps.insert(version, Gap { actions: actions.clone(), is_there: true });
        }
        actions.into_iter().for_each(|action| apply(&mut found.state, action));
        found.state.head.commit = xxh3_64(&bytes);
    }
    found.state.head.version = last;
    check_protocol(storage, table, found.state.protocol.as_ref())?;
    Ok(found)
}

/// The change of a table by one batch, as its log records it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The files that were added.
    pub added: Vec<Add>,
    /// The paths of the files that were removed.
    pub removed: Vec<String>,
    /// The format that the table was upgraded to.
    pub upgraded_to: Option<u32>,
}

/// The changes of a table by some batches, as its log records them.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    of_batches: BTreeMap<u64, Change>,
    /// The log no longer has the versions of the batches up to this one; `None` if it has no version with a batch.
    unknown_until: Option<u64>,
}

impl Changes {
    /// The change by a batch; `None` if the log no longer records it.
    pub fn of(&self, batch: u64) -> Option<Change> {
        let found = self.of_batches.get(&batch).cloned();
        found.or_else(|| self.unknown_until.is_some_and(|until| batch > until).then(Change::default))
    }
}

/// Looks up the changes of a table by some batches.
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

/// How a log differs from what the batches say.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// Findings, one line each.
    pub wrong: Vec<String>,
    /// Rows added by batches that are in no file of the log; null if unknown.
    pub rows_missing: Option<u64>,
    /// Files missing from the log, as the batches list them.
    pub add: Vec<Add>,
    /// Files that the log must not list.
    pub remove: Vec<Add>,
    /// Files whose hash the log lost, as the batches list them: another engine's checkpoint may omit tags.
    hashed: Vec<Add>,
    /// The batch that the table must have reached.
    pub batch: u64,
    /// Returns true if another engine, or a program of format 1, merged files of the table, or a batch was lost.
    is_mixed: bool,
    /// Set if files that held rows of the table are in neither the log nor the lake; how many rows, or null if unknown.
    pub lost: Option<Option<u64>>,
}

/// Compares a log with the batches; batches up to `finished` must be applied.
pub fn compare(table: Table, salvaged: &Salvaged, expected: &ExpectedTable, finished: u64) -> Differences {
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
    let is_known = |path: &String| expected.files.contains_key(path) || expected.is_gone(path);
    let is_mixed = expected.is_mixed || !there.files.keys().all(is_known);
    found.is_mixed = is_mixed;
    let live: Option<u64> = there.files.values().map(data_files::row_count).sum();
    found.rows_missing = expected.rows.zip(live).map(|(expected, live)| expected.saturating_sub(live));
    for (path, (add, number)) in &expected.files {
        // `None`: the log and the batch agree on the file, so its entry was not kept.
        let Some(add) = add else { continue };
        match there.files.get(path) {
            Some(other) if !is_same(add, other) => {
                found.wrong.push(format!("the log of {name} and batch {number} contradict each other on {path}"));
                found.add.push(add.clone());
            }
            Some(other) if other.hash().is_none() && add.hash().is_some() => found.hashed.push(add.clone()),
            Some(_) => {}
            // Another engine has merged it, if no rows are missing. If their number is unknown, believe a log without
            // damage as far as it has batches.
            None if is_mixed && found.rows_missing == Some(0) => {}
            None if is_mixed
                && found.rows_missing.is_none()
                && salvaged.wrong.is_empty()
                && *number <= there.head.batch => {}
            None if *number > finished => {}
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
    /// Removes from the repair those files that another engine merged and removed. If a missing file's rows are in no other
    /// file, they are lost.
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

    /// The state of the table after the repair.
    pub fn applied(&self, mut state: TableState) -> TableState {
        self.remove.iter().for_each(|add| drop(state.files.remove(&add.path)));
        state.files.extend(self.add.iter().chain(&self.hashed).map(|add| (add.path.clone(), add.clone())));
        state
    }
}

/// Repairs a log: first appends a version that brings the table to its expected state, then creates the missing
/// versions, without which no reader gets there. Returns `false` if another writer was first; the caller reads the log
/// again.
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
        let mut state = there.clone();
        actions.extend(batch.map(|batch| entered(batch, now_ms)));
        actions.into_iter().for_each(|action| state.apply(action));
        (state.head, state.checkpoint) = (head, None);
        write_checkpoint(storage, table, &state, now_ms)?;
    }
    Ok(true)
}
