//! The lake: one Delta table a stored table, to which ingests add what is new, each exactly once.
//!
//! A Delta transaction makes one table atomic, and an ingest adds to several. So an ingest first writes its files, under
//! names that nobody else uses, and then puts *batch N* with create-if-absent: a small document that names the files
//! of every table. That is the commit. Whoever opens the lake next, the writer itself first, brings each table up to the
//! last batch, one Delta transaction a table and batch, in order, the ledger last; a transaction carries the batch's
//! number, so that none is done twice. Killed anywhere, an ingest has either happened or left files that belong to
//! nothing. There is no lock. `docs/design.md` says more.

pub mod check;
pub mod compact;
pub mod delta;
pub mod files;
pub mod format;
pub mod info;
pub mod ingest;
pub mod labels;
pub mod lost;
pub mod objects;
pub mod read;
pub mod remask;
mod repair;
mod replay;
pub mod seen;
pub mod trust;
pub mod vacuum;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::tables::Table;
use crate::time;
use delta::{Add, Committed, Head, State};
use format::{FORMAT, Upgrade};
use objects::{Created, Objects};

/// What lies in `_alloclog/lake.json`.
const LAKE: &str = "_alloclog/lake.json";
/// In which order a batch enters the tables: the ledger last, which so tells that all of it is in.
pub const ORDER: [Table; 7] = [
    Table::TaskEvents,
    Table::AllocationHistory,
    Table::TaskStateHistory,
    Table::Sightings,
    Table::Absences,
    Table::Nodes,
    Table::Snapshots,
];

/// An object of a lake that was read whole, or is certainly absent, and is not what it should be. Errors without this
/// cause leave open what the lake holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub String);

/// A lake that is there.
#[derive(Debug)]
pub struct Lake {
    /// Where it lies.
    pub objects: Objects,
    /// What tells it from every other lake.
    pub id: String,
    about: About,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct About {
    /// How the lake is laid out; a newer format than ours is refused.
    format: u32,
    id: String,
    created_ms: i64,
}

/// One ingest's files, or a word of a vacuum or a repair to the ingests after it. Put once, never changed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// What tells it from another writer's that wanted the same number.
    pub id: String,
    /// When it was put, by its writer's clock, in milliseconds since the epoch.
    pub written_ms: i64,
    /// The version of alloclog that wrote it.
    pub alloclog_version: String,
    /// The new files of each table, by its name.
    #[serde(default)]
    pub tables: BTreeMap<String, Vec<Add>>,
    /// Objects that a vacuum found to belong to nothing, and is free to remove from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Rows were taken out of the tables, so what was seen before this may not be there any longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows_lost: bool,
    /// By the name of a table, files that take the place of others: of a compaction, or a repair.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, Vec<Replacement>>,
    /// The format that the lake has from here on: every table is upgraded to it where this batch enters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades_to: Option<u32>,
    /// The hash of the batch before this one, see [`files::hash`]; null for the first one, in format 1, and in a batch that
    /// upgrades the lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// By the name of a table, the last batch up to this one that commits to it; a table without one had none since
    /// format 2.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reached: BTreeMap<String, u64>,
}

/// Files of a table that take the place of others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replacement {
    /// The paths of the files that go. Unless all of them are in the table, nothing is replaced.
    pub removed: Vec<String>,
    /// The files that come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Add>,
    /// How many rows that batches had brought go; null when that is not known.
    pub rows_dropped: Option<u64>,
}

impl Batch {
    /// A batch of these files.
    pub fn new(tables: BTreeMap<String, Vec<Add>>) -> Batch {
        Batch {
            id: unique(),
            written_ms: now_ms(),
            alloclog_version: env!("CARGO_PKG_VERSION").to_owned(),
            tables,
            removed: Vec::new(),
            rows_lost: false,
            replaced: BTreeMap::new(),
            upgrades_to: None,
            before: None,
            reached: BTreeMap::new(),
        }
    }

    /// A batch from the bytes of its object.
    ///
    /// # Errors
    /// When these are not a batch, or one of a format that this program does not know.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Batch> {
        match serde_json::from_slice::<Upgrade>(bytes) {
            Ok(upgrade) if upgrade.needs_format <= FORMAT => Ok(upgrade.batch),
            _ => format::refuse_newer(bytes).and_then(|()| Ok(serde_json::from_slice::<Batch>(bytes)?)),
        }
    }

    /// Its new files of a table.
    pub fn files(&self, table: Table) -> &[Add] {
        self.tables.get(table.name()).map_or(&[], Vec::as_slice)
    }

    /// What it replaces in a table.
    pub fn replacements(&self, table: Table) -> &[Replacement] {
        self.replaced.get(table.name()).map_or(&[], Vec::as_slice)
    }

    /// Returns true if it is a commit of a table. Each is one of the ledger, even where it adds nothing.
    pub fn commits_to(&self, table: Table) -> bool {
        let changes_files = || !self.files(table).is_empty() || !self.replacements(table).is_empty();
        table == Table::Snapshots || self.upgrades_to.is_some() || changes_files()
    }
}

/// How far each table has got, as last seen.
pub type Heads = BTreeMap<String, Head>;

/// Whether a SOURCE is a lake: a place in a bucket, or a directory that holds one.
pub fn is_meant(text: &str) -> bool {
    let directory = text.strip_prefix("file://");
    objects::is_bucket(text) || directory.is_some() || Path::new(text).join(LAKE).is_file()
}

/// Where batch N lies: a thousand to a directory.
fn batch_name(number: u64) -> String {
    format!("_alloclog/batches/{:09}/{number:012}.json", number / 1_000)
}

impl Lake {
    /// Opens a lake to read it.
    ///
    /// # Errors
    /// When there is none, or it is of a newer format.
    pub fn open(text: &str) -> anyhow::Result<Lake> {
        let objects = Objects::at(text)?;
        let about = objects.get(LAKE)?.with_context(|| format!("{text}: there is no lake ({LAKE} is missing)"))?;
        Lake::of(objects, &about)
    }

    /// Opens a lake that is there to write to it, and upgrades it if its format is an older one.
    ///
    /// # Errors
    /// As [`Lake::open`], and when the lake cannot be written.
    pub fn open_to_write(text: &str) -> anyhow::Result<Lake> {
        let lake = Lake::open(text)?;
        lake.upgrade()?;
        Ok(lake)
    }

    /// Opens a lake to write to it, makes it if it is not there, and upgrades it if its format is an older one. Safe when
    /// two begin at once.
    ///
    /// # Errors
    /// When the place cannot be written, cannot create an object only if it is absent, or holds a newer format.
    pub fn open_or_create(text: &str) -> anyhow::Result<Lake> {
        let objects = Objects::at(text)?;
        let about = match objects.get(LAKE)? {
            Some(about) => about,
            None => {
                refuse_tables_without_lake(&objects)?;
                let about = About { format: FORMAT, id: unique(), created_ms: now_ms() };
                let about = serde_json::to_vec_pretty(&about)?;
                match objects.create(LAKE, about.clone())? {
                    Created::Ours => about,
                    Created::Taken(theirs) => theirs,
                }
            }
        };
        let lake = Lake::of(objects, &about)?;
        // The ledger is made last: where it is, all tables are, and the place has been tried.
        if !delta::exists(&lake.objects, Table::Snapshots)? {
            if !lake.objects.list("_alloclog/batches")?.is_empty() {
                bail!(Damaged(format!(
                    "lake {}: the log of {} is missing, though there are batches; run `alloclog lake check --repair`",
                    lake.objects,
                    Table::Snapshots.name()
                )));
            }
            objects::probe(&lake.objects, LAKE, about)?;
            let format = lake.about.format;
            let mut tables = ORDER.into_iter().filter(|table| format::since(*table) <= format);
            tables.try_for_each(|table| delta::create_table(&lake.objects, table, format, now_ms()))?;
        }
        lake.upgrade()?;
        Ok(lake)
    }

    fn of(objects: Objects, about: &[u8]) -> anyhow::Result<Lake> {
        let about: About =
            serde_json::from_slice(about).with_context(|| format!("lake {objects}: {LAKE} is damaged"))?;
        if about.format > FORMAT {
            bail!(
                "lake {objects} has format {}; this version of alloclog knows {FORMAT}: use a newer one",
                about.format
            );
        }
        Ok(Lake { objects, id: about.id.clone(), about })
    }

    /// The format that `lake.json` named when the lake was opened.
    pub fn format(&self) -> u32 {
        self.about.format
    }

    /// A batch; `None` when there is none of that number.
    ///
    /// # Errors
    /// When it cannot be read, or moves the lake to a format that this program does not know, and [`Damaged`] when it is no
    /// batch.
    pub fn batch(&self, number: u64) -> anyhow::Result<Option<Batch>> {
        Ok(self.hashed_batch(number)?.map(|(batch, _)| batch))
    }

    /// A batch, and the hash of its bytes.
    fn hashed_batch(&self, number: u64) -> anyhow::Result<Option<(Batch, String)>> {
        let name = batch_name(number);
        let Some(bytes) = self.objects.get(&name)? else { return Ok(None) };
        format::refuse_newer(&bytes).with_context(|| format!("lake {}: {name}", self.objects))?;
        let damaged = || Damaged(format!("lake {}: {name} is damaged", self.objects));
        Ok(Some((Batch::parse(&bytes).with_context(damaged)?, files::hash(&bytes))))
    }

    /// The batch of a number that the ledger has.
    fn old_batch(&self, number: u64) -> anyhow::Result<(Batch, String)> {
        let missing = || {
            let name = batch_name(number);
            Damaged(format!("lake {}: {name} is missing: run `alloclog lake check`", self.objects))
        };
        self.hashed_batch(number)?.ok_or_else(|| missing().into())
    }

    /// Puts a batch under its number, which commits it; `false` when another batch has that number. It says which batch it
    /// follows.
    ///
    /// # Errors
    /// When the lake cannot be written. Then the batch may have been put, or be put later: the next ingest finishes it if
    /// it was.
    pub fn put_batch(&self, number: u64, batch: &Batch) -> anyhow::Result<bool> {
        let mut batch = batch.clone();
        if number > 1 {
            let (last, hash) = self.old_batch(number - 1)?;
            // A chain begins with an upgrade: what was written before may be masked anew.
            (batch.before, batch.reached) = (Some(hash).filter(|_| batch.upgrades_to.is_none()), last.reached);
        }
        let commits = ORDER.into_iter().filter(|table| batch.commits_to(*table));
        let reached: Vec<_> = commits.map(|table| (table.name().to_owned(), number)).collect();
        batch.reached.extend(reached);
        let bytes = match batch.upgrades_to {
            Some(_) => serde_json::to_vec(&Upgrade::new(batch)),
            None => serde_json::to_vec(&batch),
        };
        Ok(self.objects.create(&batch_name(number), bytes?)? == Created::Ours)
    }

    /// Looks whether the tables have the last commits that batches made to them: a log that lost its last versions looks
    /// like an earlier one, and a new version would go into the gap. The tables must be at batch `number`.
    ///
    /// # Errors
    /// When the lake cannot be read, and [`Damaged`] when a table lacks commits.
    pub fn look_for_gaps(&self, number: u64, heads: &mut Heads) -> anyhow::Result<()> {
        if number == 0 {
            return Ok(());
        }
        let (batch, _) = self.old_batch(number)?;
        for table in ORDER {
            let reached = batch.reached.get(table.name()).copied().unwrap_or_default();
            let head = self.head(table, heads)?;
            if head.batch < reached {
                bail!(self.has_gap(table, head.batch, reached));
            }
        }
        Ok(())
    }

    fn has_gap(&self, table: Table, batch: u64, reached: u64) -> Damaged {
        let (objects, name) = (&self.objects, table.name());
        Damaged(format!(
            "lake {objects}: the log of {name} ends with batch {batch}, though batch {reached} was added to it: versions of it \
             are missing; run `alloclog lake check --repair`"
        ))
    }

    /// Brings every table up to the last batch, and gives its number.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub fn finish(&self, heads: &mut Heads) -> anyhow::Result<u64> {
        let mut number = self.head(Table::Snapshots, heads)?.batch;
        while let Some(batch) = self.batch(number + 1)? {
            number += 1;
            for table in ORDER {
                self.enter(table, number, &batch, heads)?;
            }
        }
        Ok(number)
    }

    /// Commits a batch to a table, and upgrades the table where the batch says so, unless that was done.
    fn enter(&self, table: Table, number: u64, batch: &Batch, heads: &mut Heads) -> anyhow::Result<()> {
        if !batch.commits_to(table) {
            return Ok(());
        }
        if let Some(format) = batch.upgrades_to.filter(|format| format::since(table) == *format) {
            delta::create_table(&self.objects, table, format, now_ms())?;
        }
        loop {
            let head = self.head(table, heads)?;
            if head.batch >= number {
                return Ok(());
            }
            let (head, operation, actions) = if batch.upgrades_to.is_some() {
                let state = delta::state(&self.objects, table)?;
                if state.head.batch >= number {
                    continue;
                }
                (state.head, "UPGRADE", state.upgrade(table))
            } else if batch.replacements(table).is_empty() {
                (head, "WRITE", batch.files(table).iter().cloned().map(Add::added).collect())
            } else {
                let state = delta::state(&self.objects, table)?;
                if state.head.batch >= number {
                    continue;
                }
                let is_merge = |replacement: &Replacement| replacement.added.iter().any(|add| !add.data_change);
                let operation = if batch.replacements(table).iter().all(is_merge) { "OPTIMIZE" } else { "REPAIR" };
                (state.head, operation, replay::actions(batch, table, &state.files, now_ms()))
            };
            let done = delta::commit(&self.objects, table, head, operation, Some(number), actions, now_ms())?;
            if let Committed::Done(head) = done {
                heads.insert(table.name().to_owned(), head);
                return Ok(());
            }
        }
    }

    fn head(&self, table: Table, heads: &mut Heads) -> anyhow::Result<Head> {
        if self.is_to_come(table)? {
            return Ok(Head::default());
        }
        let head = delta::head(&self.objects, table, heads.get(table.name()).copied())?;
        heads.insert(table.name().to_owned(), head);
        Ok(head)
    }

    /// A table, whole, at its newest version; without files where an upgrade has yet to create it.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn state(&self, table: Table) -> anyhow::Result<State> {
        if self.is_to_come(table)? { Ok(State::default()) } else { delta::state(&self.objects, table) }
    }

    /// Returns true if the table came with a later format than the lake's, and no upgrade has created it yet.
    fn is_to_come(&self, table: Table) -> anyhow::Result<bool> {
        Ok(self.about.format < format::since(table) && !delta::exists(&self.objects, table)?)
    }

    /// The files of every table, those of batches that are not in it yet with them: all tables at the same batch, though
    /// others may be adding to them meanwhile.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn files(&self) -> anyhow::Result<BTreeMap<Table, Vec<Add>>> {
        // A batch is put before any table has it. So whatever a table turns out to have is listed below.
        let in_all = delta::head(&self.objects, Table::Snapshots, None)?.batch;
        let mut states = BTreeMap::new();
        for table in ORDER {
            states.insert(table, self.state(table)?);
        }
        let last = if in_all > 0 { self.batch(in_all)? } else { None };
        for (name, reached) in last.iter().flat_map(|batch| &batch.reached) {
            let state = states.iter().find(|(table, _)| table.name() == name);
            if let Some((table, state)) = state.filter(|(_, state)| state.head.batch < *reached) {
                bail!(self.has_gap(*table, state.head.batch, *reached));
            }
        }
        let batches = self.batches_after(in_all)?;
        let with_missing = |(table, state): (Table, State)| {
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
    pub fn unfinished(&self) -> anyhow::Result<Vec<(u64, Batch)>> {
        self.batches_after(delta::head(&self.objects, Table::Snapshots, None)?.batch)
    }

    fn batches_after(&self, mut number: u64) -> anyhow::Result<Vec<(u64, Batch)>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.batch(number + 1)? {
            number += 1;
            batches.push((number, batch));
        }
        Ok(batches)
    }
}

/// Refuses to make a lake where its tables are already: the directory that says what they hold was lost, and a new one
/// would not know it.
fn refuse_tables_without_lake(objects: &Objects) -> anyhow::Result<()> {
    for table in ORDER {
        if delta::exists(objects, table)? {
            bail!(Damaged(format!(
                "lake {objects}: {LAKE} is missing, but there is a table {}: put back _alloclog from a backup, or use \
                 another place",
                table.name()
            )));
        }
    }
    Ok(())
}

/// This machine's clock, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    time::now() / 1_000_000
}

/// A name that nobody else uses: 128 random bits, 32 hex digits.
pub fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The same as Delta writes it.
fn unique_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
