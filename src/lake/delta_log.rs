//! The Delta log of one table, as far as a lake needs it: reading, appending, checkpointing.
//!
//! The log is written with reader version 1 and writer version 2 of the protocol, which every Delta reader supports.
//! Logs that other writers wrote with these versions can be read. A table upgraded from lake format 1 has writer
//! version 3, see [`TableState::upgrade`]. A table that another engine moved to a newer protocol is refused. Source of
//! every rule: the Delta Transaction Log Protocol (delta-io/delta, PROTOCOL.md).

mod action;
mod checkpoint;
mod names;
pub mod salvage;
mod state;
mod table;
mod texts;

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::storage::{Created, Storage};
use crate::error::{Context, Error, Result};
use crate::tables::Table;
use action::{entered, info, lines};
use checkpoint::{CheckpointWriter, LastCheckpoint, base, checkpoints, last_checkpoint, read_checkpoint};
use names::{log, version_name, version_of};
use table::{check_protocol, definition, known_columns, missing_fields};

pub use action::{Action, Add, DECODED_TAG, HASH_TAG, Remove, UPGRADE};
pub use state::{FileChange, KEPT_MS, TableHead, TableState};
pub use table::fingerprint;
pub use texts::Texts;

/// The columns of a checkpoint that make up a state.
const CHECKPOINTED: [&str; 5] = ["protocol", "metaData", "txn", "add", "remove"];

/// Maximum number of files whose changes are held in memory for a checkpoint, up to 8 KB each. If a table has more
/// files, the log is read a second time while the checkpoint is written.
const HELD_CHANGES: usize = 5_000;

/// Versions between two checkpoints.
const CHECKPOINT_EVERY: i64 = 100;

/// The result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Committed; the new head.
    Done(TableHead),
    /// Another writer committed this version first; read the log again.
    Conflict,
}

/// A hash that represents the path of a file, because a path takes 100 bytes.
pub fn path_key(path: &str) -> u64 {
    xxh3_64(path.as_bytes())
}

/// Returns true if the table exists.
///
/// # Errors
/// When the lake cannot be read.
pub fn exists(storage: &Storage, table: Table) -> Result<bool> {
    Ok(storage.has(&version_name(table, 0))? || last_checkpoint(storage, table)?.is_some())
}

/// Returns true if the log still has the version of `head`, with the same commit.
///
/// # Errors
/// When the lake cannot be read.
pub fn is_there(storage: &Storage, table: Table, head: TableHead) -> Result<bool> {
    let bytes = storage.get(&version_name(table, head.version))?;
    Ok(bytes.is_some_and(|bytes| xxh3_64(&bytes) == head.commit))
}

/// Creates an empty table in this lake format, unless the table exists.
///
/// # Errors
/// When the lake cannot be written.
pub fn create_table(storage: &Storage, table: Table, format: u32, now_ms: i64) -> Result<()> {
    if exists(storage, table)? {
        return Ok(());
    }
    let mut actions = vec![info("CREATE TABLE", now_ms)];
    actions.extend(definition(table, format, now_ms));
    storage.create(&version_name(table, 0), lines(&actions)?).map(drop)
}

/// The head of a table, starting from a known earlier head.
///
/// # Errors
/// When the log cannot be read, has a gap, or requires an unsupported protocol.
pub fn head(storage: &Storage, table: Table, known: Option<TableHead>) -> Result<TableHead> {
    let last = last_checkpoint(storage, table)?;
    // Versions older than a checkpoint may have been removed. So a known head that is older than the checkpoint is
    // ignored: if the version after that head is missing, the log may still go on.
    let known = known.filter(|known| last.as_ref().is_none_or(|last| known.version >= last.version));
    let (mut head, mut protocol, mut meta_data) = match (known, last) {
        (Some(known), _) => (known, None, None),
        (None, last) => {
            let state = base(storage, table, last, &["protocol", "metaData", "txn"], &mut |_| {})?;
            (state.head, state.protocol, state.meta_data)
        }
    };
    let is_known = known.is_some();
    let mut next = read_version(storage, table, head.version + 1)?;
    while let Some((actions, commit)) = next {
        head.version += 1;
        head.commit = commit;
        for action in actions {
            head.batch = action.batch().unwrap_or(head.batch);
            protocol = action.protocol.or(protocol);
            meta_data = action.meta_data.or(meta_data);
        }
        next = read_version(storage, table, head.version + 1)?;
        if next.is_none() && !is_known {
            next = after_the_last(storage, table, head.version)?;
        }
    }
    if head.version < 0 {
        return Err(no_log(storage, table));
    }
    check_protocol(storage, table, protocol.as_ref())?;
    if let Some(meta_data) = meta_data {
        head.columns = known_columns(storage, table, &meta_data)?;
    }
    Ok(head)
}

fn no_log(storage: &Storage, table: Table) -> Error {
    let name = table.name();
    Error::damaged(format!(
        "lake {storage}: {name} is not a Delta table, its log is missing: run `alloclog lake check --repair`"
    ))
}

/// The full state of a table at its newest version.
///
/// # Errors
/// As [`head`].
pub fn state(storage: &Storage, table: Table) -> Result<TableState> {
    state_of(storage, table, &|_| true)
}

/// As [`state`], but keeps only the present and removed files for whose path `is_wanted` returns true.
///
/// # Errors
/// As [`head`].
pub fn state_of(storage: &Storage, table: Table, is_wanted: &dyn Fn(&str) -> bool) -> Result<TableState> {
    let mut files = TableState::default();
    let state = read(storage, table, &mut |change| {
        if change.path().is_none_or(is_wanted) {
            files.take(change);
        }
    })?;
    Ok(TableState { files: files.files, removed: files.removed, ..state })
}

/// Reads the log of a table up to its newest version. Passes the changes of its files to `files`; the returned state
/// has no files.
///
/// # Errors
/// As [`head`].
pub fn read(storage: &Storage, table: Table, files: &mut dyn FnMut(FileChange)) -> Result<TableState> {
    read_from(storage, table, last_checkpoint(storage, table)?, None, files)
}

/// As [`read`], but starts at the checkpoint `last`, and ends at the version `until`.
fn read_from(
    storage: &Storage,
    table: Table,
    last: Option<LastCheckpoint>,
    until: Option<i64>,
    files: &mut dyn FnMut(FileChange),
) -> Result<TableState> {
    let mut state = base(storage, table, last, &CHECKPOINTED, files)?;
    let is_end = |version: i64| until.is_some_and(|until| version >= until);
    let mut next =
        if is_end(state.head.version) { None } else { read_version(storage, table, state.head.version + 1)? };
    while let Some((actions, commit)) = next {
        state.head.version += 1;
        state.head.commit = commit;
        actions.into_iter().for_each(|action| state.apply(action, files));
        if is_end(state.head.version) {
            break;
        }
        next = read_version(storage, table, state.head.version + 1)?;
        if next.is_none() {
            next = after_the_last(storage, table, state.head.version)?;
        }
    }
    if state.head.version < 0 {
        return Err(no_log(storage, table));
    }
    check_protocol(storage, table, state.protocol.as_ref())?;
    if let Some(meta_data) = &state.meta_data {
        state.head.columns = known_columns(storage, table, meta_data)?;
    }
    Ok(state)
}

/// A version to be added to a table's log.
pub struct NewVersion<'v> {
    /// The version is added after this one.
    pub head: TableHead,
    /// The name of the operation in Delta's `commitInfo`.
    pub operation: &'v str,
    /// The batch that it applies; `None` if it belongs to no batch.
    pub batch: Option<u64>,
    /// The changes that it makes.
    pub actions: Vec<Action>,
}

/// Commits a version, and writes a checkpoint every `CHECKPOINT_EVERY` versions.
///
/// # Errors
/// When the lake cannot be written.
pub fn commit(storage: &Storage, table: Table, new: NewVersion<'_>, now_ms: i64) -> Result<Committed> {
    let done = append(storage, table, new, now_ms)?;
    if let Committed::Done(head) = done
        && head.version % CHECKPOINT_EVERY == 0
    {
        checkpoint(storage, table, now_ms)?;
    }
    Ok(done)
}

/// Commits a version, without a checkpoint.
fn append(storage: &Storage, table: Table, new: NewVersion<'_>, now_ms: i64) -> Result<Committed> {
    let NewVersion { head, operation, batch, actions } = new;
    let version = head.version + 1;
    let mut all = vec![info(operation, now_ms)];
    all.extend(batch.map(|batch| entered(batch, now_ms)));
    all.extend(actions);
    let columns = match all.iter().find_map(|action| action.meta_data.as_ref()) {
        Some(meta_data) if missing_fields(table, meta_data).is_empty() => fingerprint(table),
        Some(_) => 0,
        None => head.columns,
    };
    let bytes = lines(&all)?;
    let name = version_name(table, version);
    if storage.create(&name, bytes.clone())? != Created::Ours {
        return Ok(Committed::Conflict);
    }
    Ok(Committed::Done(TableHead { version, batch: batch.unwrap_or(head.batch), commit: xxh3_64(&bytes), columns }))
}

/// The actions of a version and the hash of its bytes; `None` if the version does not exist yet.
fn read_version(storage: &Storage, table: Table, version: i64) -> Result<Option<(Vec<Action>, u64)>> {
    let name = version_name(table, version);
    let Some(bytes) = storage.get(&name)? else { return Ok(None) };
    let actions = serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>();
    let actions = actions.or_damaged(|| format!("lake {storage}: {name} is damaged"))?;
    Ok(Some((actions, xxh3_64(&bytes))))
}

/// Reads the version after the last one found, in case it was just written.
///
/// # Errors
/// When the log cannot be read, and [`Kind::Damaged`](crate::error::Kind::Damaged) when it has later versions but not
/// this one.
fn after_the_last(storage: &Storage, table: Table, last: i64) -> Result<Option<(Vec<Action>, u64)>> {
    let later = storage.names_after(&log(table), &version_name(table, last))?;
    if !later.iter().any(|name| version_of(name).is_some()) {
        return Ok(None);
    }
    let next = read_version(storage, table, last + 1)?;
    if next.is_none() {
        return Err(Error::damaged(format!(
            "lake {storage}: {} is missing, but later versions exist; run `alloclog lake check --repair`",
            version_name(table, last + 1)
        )));
    }
    Ok(next)
}

/// Writes a checkpoint, so that older versions can be removed after [`KEPT_MS`].
///
/// # Errors
/// When the lake cannot be read or written.
pub fn checkpoint(storage: &Storage, table: Table, now_ms: i64) -> Result<()> {
    let last = last_checkpoint(storage, table)?;
    // Changes are numbered. `lasting` has the number of the last change of each file; `held` has the changes
    // themselves, unless there are too many.
    let (mut number, mut lasting): (u64, HashMap<u64, u64>) = (0, HashMap::new());
    let mut held = Some(TableState::default());
    let state = read_from(storage, table, last.clone(), None, &mut |change| {
        match change.path().map(path_key) {
            None => (number, lasting, held) = (0, HashMap::new(), Some(TableState::default())),
            Some(key) => {
                number += 1;
                lasting.insert(key, number);
            }
        }
        held.iter_mut().for_each(|held| held.take(change.clone()));
        held = held.take().filter(|_| lasting.len() <= HELD_CHANGES);
    })?;
    let begin = || -> Result<CheckpointWriter> {
        let mut writer = CheckpointWriter::new(now_ms)?;
        state.actions().try_for_each(|action| writer.add(action))?;
        Ok(writer)
    };
    let mut writer = begin();
    let add = |writer: &mut Result<CheckpointWriter>, change| {
        if let Ok(adding) = writer
            && let Err(error) = adding.add_file(change)
        {
            *writer = Err(error);
        }
    };
    if let Some(held) = held {
        let added = held.files.into_values().map(FileChange::Add);
        added.chain(held.removed.into_values().map(FileChange::Remove)).for_each(|change| add(&mut writer, change));
    } else {
        let until = Some(state.head.version);
        read_from(storage, table, last, until, &mut |change| match change.path().map(path_key) {
            None => (number, writer) = (0, begin()),
            Some(key) => {
                number += 1;
                if lasting.get(&key) == Some(&number) {
                    add(&mut writer, change);
                }
            }
        })?;
    }
    writer?.finish(storage, table, state.head.version)
}

/// Removes the files of versions before the last checkpoint if they are older than [`KEPT_MS`] by the store's clock.
/// Returns how many files were removed.
///
/// # Errors
/// When the log cannot be read, or an object cannot be removed.
pub fn clean_log(storage: &Storage, table: Table, now_ms: i64) -> Result<usize> {
    let Some(last) = last_checkpoint(storage, table)? else { return Ok(0) };
    let mut gone = 0;
    for object in storage.list(&log(table))? {
        let file = object.name.rsplit('/').next().unwrap_or_default();
        let version = file.split('.').next().and_then(|digits| digits.parse::<i64>().ok());
        if version.is_some_and(|version| version < last.version) && object.written_ms < now_ms - KEPT_MS {
            storage.delete(&object.name)?;
            gone += 1;
        }
    }
    Ok(gone)
}
