//! The lake: one Delta table per stored table. Ingests append new rows, each row exactly once.
//!
//! A Delta transaction is atomic for one table, but an ingest writes several tables. So an ingest first writes its
//! files under unique names. Then it creates *batch N* with create-if-absent. A batch is a small JSON document that
//! lists the new files of every table, and its creation is the commit. Then the writer applies the batches in order,
//! with one Delta transaction per table and batch. Each batch is applied to the ledger last. If the writer was killed,
//! the next writer applies its batch. The transaction records the batch number, so no batch is applied twice. An ingest
//! killed at any point has either committed or left only unreferenced files. No lock is needed. See `docs/design.md`.

mod batch;
mod cache;
pub mod check;
pub mod compact;
pub mod data_files;
pub mod dedup_cache;
pub mod delta_log;
mod finding;
pub mod format;
pub mod info;
pub mod ingest;
pub mod labels;
mod lake_file;
mod layout;
mod lean;
pub mod lost_restarts;
mod redaction;
pub mod remask;
mod repair;
mod replay;
pub mod scan;
mod staged;
mod stand_in;
pub mod storage;
pub mod trust;
pub mod vacuum;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::error::{Context, Error, Kind, Result};
use crate::tables::Table;
use crate::time;
use batch::batch_name;
pub use batch::{Batch, Rebuilt, Replacement};
use delta_log::{Add, Committed, NewVersion, TableHead, TableState};
use finding::{Finding, Remedy};
use lake_file::{LAKE, LakeFile};
use storage::{Created, Storage};

/// Order in which a batch is applied to the tables. The ledger is last, so if the ledger has a batch, all tables have
/// it.
pub const ORDER: [Table; 8] = [
    Table::TaskEvents,
    Table::AllocationHistory,
    Table::TaskStateHistory,
    Table::Sightings,
    Table::Absences,
    Table::Nodes,
    Table::LogEvents,
    Table::Snapshots,
];

/// An open lake.
#[derive(Debug)]
pub struct Lake {
    /// Its object storage.
    pub storage: Storage,
    /// Its unique ID.
    pub id: String,
    about: LakeFile,
}

/// The head of each table's log when it was last read, by table name.
pub type TableHeads = BTreeMap<String, TableHead>;

/// Returns true if a SOURCE is a lake: a bucket URL, a `file://` URL, or the path of a directory that contains a lake.
pub fn is_lake(text: &str) -> bool {
    let directory = text.strip_prefix("file://");
    storage::is_bucket(text) || directory.is_some() || Path::new(text).join(LAKE).is_file()
}

impl Lake {
    /// Opens a lake for reading.
    ///
    /// # Errors
    /// When it does not exist, its description is damaged, or it has a newer format.
    pub fn open(text: &str) -> Result<Lake> {
        let storage = Storage::at(text)?;
        let about = lake_file::read(&storage)?;
        Ok(Lake::of(storage, about.ok_or_else(|| not_a_lake(text))?))
    }

    /// Opens a lake to repair it. If `lake.json` is missing or damaged, rebuilds it from the tables, and also returns a
    /// finding that reports the damage. With `is_dry_run`, the rebuilt `lake.json` is not written.
    ///
    /// If batches were lost together with `lake.json`, only a check with repairs rebuilds the batches. Until then, an
    /// ingest refuses the lake.
    ///
    /// # Errors
    /// As [`Lake::open`], and when the lake cannot be written.
    pub fn open_to_repair(text: &str, is_dry_run: bool) -> Result<(Lake, Option<Finding>)> {
        let storage = Storage::at(text)?;
        let read = lake_file::read_to_repair(&storage, is_dry_run)?;
        let (about, finding) = read.ok_or_else(|| not_a_lake(text))?;
        Ok((Lake::of(storage, about), finding))
    }

    /// Opens an existing lake for writing, and upgrades an older format.
    ///
    /// # Errors
    /// As [`Lake::open`], and when the lake cannot be written.
    pub fn open_to_write(text: &str) -> Result<Lake> {
        let lake = Lake::open(text)?;
        lake.upgrade()?;
        Ok(lake)
    }

    /// Opens a lake for writing, creates it if it does not exist, and upgrades an older format. Safe to run
    /// concurrently.
    ///
    /// # Errors
    /// When the storage cannot be written, does not support create-if-absent, or holds a newer format.
    pub fn open_or_create(text: &str) -> Result<Lake> {
        let storage = Storage::at(text)?;
        let about = match lake_file::read(&storage)? {
            Some(about) => about,
            None => {
                let about = LakeFile::new();
                match storage.create(LAKE, about.bytes()?)? {
                    Created::Ours => about,
                    Created::Taken(theirs) => LakeFile::parse(&storage, &theirs)?,
                }
            }
        };
        let lake = Lake::of(storage, about);
        // The ledger is created last. So if it exists, all tables exist, and the storage has been probed.
        if !delta_log::exists(&lake.storage, Table::Snapshots)? {
            if !lake.storage.list("_alloclog/batches")?.is_empty() {
                return Err(Error::damaged(format!(
                    "lake {}: the log of {} is missing, but there are batches; run `alloclog lake check --repair`",
                    lake.storage,
                    Table::Snapshots.name()
                )));
            }
            storage::probe(&lake.storage, LAKE, lake.about.bytes()?)?;
            let format = lake.about.format;
            let mut tables = ORDER.into_iter().filter(|table| format::since(*table) <= format);
            tables.try_for_each(|table| delta_log::create_table(&lake.storage, table, format, now_ms()))?;
        }
        lake.upgrade()?;
        Ok(lake)
    }

    fn of(storage: Storage, about: LakeFile) -> Lake {
        Lake { storage, id: about.id.clone(), about }
    }

    /// The format in `lake.json` when the lake was opened.
    pub fn format(&self) -> u32 {
        self.about.format
    }

    /// Reads a batch; `None` if it does not exist.
    ///
    /// # Errors
    /// When the batch cannot be read, or upgrades the lake to an unknown format; [`Kind::Damaged`] when the object is
    /// not a batch.
    pub fn batch(&self, number: u64) -> Result<Option<Batch>> {
        Ok(self.hashed_batch(number)?.map(|(batch, _)| batch))
    }

    /// Reads a batch and hashes its bytes.
    fn hashed_batch(&self, number: u64) -> Result<Option<(Batch, String)>> {
        let name = batch_name(number);
        let Some(bytes) = self.storage.get(&name)? else { return Ok(None) };
        format::refuse_newer(&bytes).with_context(|| format!("lake {}: {name}", self.storage))?;
        let damaged = || format!("lake {}: {name} is damaged: run `alloclog lake check --repair`", self.storage);
        let batch = Batch::parse(&bytes).or_damaged(damaged)?;
        let hash = batch.hash(&bytes);
        Ok(Some((batch, hash)))
    }

    /// Reads and hashes a batch that must exist, because a table already has it or a later one.
    fn old_batch(&self, number: u64) -> Result<(Batch, String)> {
        let missing = || {
            let name = batch_name(number);
            Error::damaged(format!("lake {}: {name} is missing: run `alloclog lake check --repair`", self.storage))
        };
        self.hashed_batch(number)?.ok_or_else(missing)
    }

    /// Creates a batch under its number, which commits it; returns `false` if the number is taken. Records the hash of
    /// the previous batch.
    ///
    /// # Errors
    /// When the lake cannot be written. Then the batch may exist, or may appear later; in both cases the next ingest
    /// applies it.
    pub fn put_batch(&self, number: u64, batch: &Batch) -> Result<bool> {
        let mut batch = batch.clone();
        if number > 1 {
            let (last, hash) = self.old_batch(number - 1)?;
            let is_chained = batch.is_chained(&last);
            (batch.before, batch.reached) = (Some(hash).filter(|_| is_chained), last.reached);
        }
        batch.note_commits(number);
        let bytes = format::batch_bytes(batch)?;
        Ok(self.storage.create(&batch_name(number), bytes)? == Created::Ours)
    }

    /// Checks that each table has the commit of the last batch that changed it. A log that lost its last versions looks
    /// like a shorter, intact log. A new version would then take the number of a lost version, and hide the loss.
    ///
    /// If a table has a later batch than `number`, also checks that batch `number + 1` exists. If that batch was lost
    /// after it was applied to the table, the table would ignore a new batch with the same number.
    ///
    /// # Errors
    /// When the lake cannot be read, and [`Kind::Damaged`] when a table lacks commits.
    pub fn look_for_gaps(&self, number: u64, heads: &mut TableHeads) -> Result<()> {
        let last = if number == 0 { BTreeMap::new() } else { self.old_batch(number)?.0.reached };
        for table in ORDER {
            let reached = last.get(table.name()).copied().unwrap_or_default();
            let head = self.head(table, heads)?;
            if head.batch < reached {
                return Err(self.has_gap(table, head.batch, reached));
            }
            if head.batch > number {
                // Another writer may have created the next batch meanwhile. So the next batch is not an error, but it
                // must exist.
                self.old_batch(number + 1)?;
            }
        }
        Ok(())
    }

    fn has_gap(&self, table: Table, batch: u64, reached: u64) -> Error {
        let (storage, name) = (&self.storage, table.name());
        Error::damaged(format!(
            "lake {storage}: the log of {name} ends with batch {batch}, though batch {reached} was added to it: versions of it \
             are missing; run `alloclog lake check --repair`"
        ))
    }

    /// Applies all pending batches to every table and returns the number of the last batch.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn finish(&self, heads: &mut TableHeads) -> Result<u64> {
        let mut number = self.head(Table::Snapshots, heads)?.batch;
        while let Some(batch) = self.batch(number + 1)? {
            number += 1;
            for table in ORDER {
                self.enter(table, number, &batch, heads)?;
            }
        }
        Ok(number)
    }

    /// Applies a batch to a table, unless the table already has it. A batch that upgrades the lake upgrades the table.
    fn enter(&self, table: Table, number: u64, batch: &Batch, heads: &mut TableHeads) -> Result<()> {
        if !batch.commits_to(table) {
            return Ok(());
        }
        // The tables of the first format were created with the lake.
        if let Some(format) = batch.upgrades_to.filter(|_| format::since(table) > 1) {
            delta_log::create_table(&self.storage, table, format, now_ms())?;
        }
        loop {
            let head = self.head(table, heads)?;
            if head.batch >= number {
                return Ok(());
            }
            let only_adds = batch.upgrades_to.is_none() && batch.replacements(table).is_empty();
            let (head, operation, actions) = if only_adds {
                (head, "WRITE", batch.files(table).iter().cloned().map(Add::added).collect())
            } else {
                // An upgrade needs no file entries, and a replacement needs only the entries of the files that it
                // removes.
                let removed = batch.replacements(table).iter().flat_map(|replacement| &replacement.removed);
                let named: HashSet<&str> = removed.map(String::as_str).collect();
                let state = lean::state_of(&self.storage, table, &|path| named.contains(path))?;
                if state.head.batch >= number {
                    continue;
                }
                if batch.upgrades_to.is_some() {
                    (state.head, delta_log::UPGRADE, state.upgrade(table))
                } else {
                    let is_merge = |replacement: &Replacement| replacement.added.iter().any(|add| !add.data_change);
                    let operation = if batch.replacements(table).iter().all(is_merge) { "OPTIMIZE" } else { "REPAIR" };
                    (state.head, operation, replay::actions(batch, table, &state.files, now_ms()))
                }
            };
            let new = NewVersion { head, operation, batch: Some(number), actions };
            let done = delta_log::commit(&self.storage, table, new, now_ms())?;
            if let Committed::Done(head) = done {
                heads.insert(table.name().to_owned(), head);
                return Ok(());
            }
        }
    }

    fn head(&self, table: Table, heads: &mut TableHeads) -> Result<TableHead> {
        if self.is_to_come(table)? {
            return Ok(TableHead::default());
        }
        let head = delta_log::head(&self.storage, table, heads.get(table.name()).copied())?;
        heads.insert(table.name().to_owned(), head);
        Ok(head)
    }

    /// Reads the state of a table at its newest version. The state has no files if the table does not exist yet because
    /// an upgrade will create it.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn state(&self, table: Table) -> Result<TableState> {
        if self.is_to_come(table)? { Ok(TableState::default()) } else { delta_log::state(&self.storage, table) }
    }

    /// Returns true if the table was introduced after the lake's format and is not created yet.
    fn is_to_come(&self, table: Table) -> Result<bool> {
        Ok(self.about.format < format::since(table) && !delta_log::exists(&self.storage, table)?)
    }

    /// The files of every table, including the files that pending batches add. So the files of all tables are those of
    /// the same batches, even while other writers commit. Replacements of pending batches are not applied.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn files(&self) -> Result<BTreeMap<Table, Vec<Add>>> {
        // A batch is created before it is applied to a table, so the batches read below include every batch that a
        // table has.
        let in_all = delta_log::head(&self.storage, Table::Snapshots, None)?.batch;
        let mut states = BTreeMap::new();
        for table in ORDER {
            states.insert(table, self.state(table)?);
        }
        let last = if in_all > 0 { self.batch(in_all)? } else { None };
        for (name, reached) in last.iter().flat_map(|batch| &batch.reached) {
            let state = states.iter().find(|(table, _)| table.name() == name);
            if let Some((table, state)) = state.filter(|(_, state)| state.head.batch < *reached) {
                return Err(self.has_gap(*table, state.head.batch, *reached));
            }
        }
        let batches = self.batches_after(in_all)?;
        let reached = states.values().map(|state| state.head.batch).max().unwrap_or_default();
        let last = batches.last().map_or(in_all, |(number, _)| *number);
        if reached > last {
            self.old_batch(last + 1)?;
        }
        let with_missing = |(table, state): (Table, TableState)| {
            let missing = batches.iter().filter(|(number, _)| *number > state.head.batch);
            let missing: Vec<Add> = missing.flat_map(|(_, batch)| batch.files(table)).cloned().collect();
            (table, state.files.into_values().chain(missing).collect())
        };
        Ok(states.into_iter().map(with_missing).collect())
    }

    /// The batches that are not yet in every table.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn unfinished(&self) -> Result<Vec<(u64, Batch)>> {
        self.batches_after(delta_log::head(&self.storage, Table::Snapshots, None)?.batch)
    }

    fn batches_after(&self, mut number: u64) -> Result<Vec<(u64, Batch)>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.batch(number + 1)? {
            number += 1;
            batches.push((number, batch));
        }
        Ok(batches)
    }
}

fn not_a_lake(text: &str) -> Error {
    Error::of(Kind::NotFound, format!("{text}: not a lake ({LAKE} is missing)"))
}

/// This machine's clock, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    time::now() / 1_000_000
}

/// A unique name: 128 random bits as 32 hex digits.
pub fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A random UUID in the notation that Delta uses.
fn unique_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
