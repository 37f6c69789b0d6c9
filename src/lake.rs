//! The lake: one Delta table a stored table, to which ingests add what is new, each exactly once.
//!
//! A Delta transaction makes one table atomic, and an ingest adds to several. So an ingest first writes its files, under
//! names that nobody else uses, and then puts *batch N* with create-if-absent: a small document that names the files
//! of every table. That is the commit. Whoever opens the lake next, the writer itself first, brings each table up to the
//! last batch, one Delta transaction a table and batch, in order, the ledger last; a transaction carries the batch's
//! number, so that none is done twice. Killed anywhere, an ingest has either happened or left files that belong to
//! nothing. There is no lock. `docs/design.md` says more.

pub mod delta;
pub mod files;
pub mod ingest;
pub mod lost;
pub mod objects;
pub mod read;
pub mod seen;
pub mod upkeep;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::tables::Table;
use crate::time;
use delta::{Add, Committed, Head, State};
use objects::Objects;

/// What lies in `_alloclog/lake.json`.
const LAKE: &str = "_alloclog/lake.json";
/// The version of how a lake is laid out; a newer one is refused.
const FORMAT: u32 = 1;
/// In which order a batch enters the tables: the ledger last, which so tells that all of it is in.
pub const ORDER: [Table; 6] = [
    Table::TaskEvents,
    Table::AllocationHistory,
    Table::TaskStateHistory,
    Table::Sightings,
    Table::Nodes,
    Table::Snapshots,
];

/// A lake that is there.
#[derive(Debug)]
pub struct Lake {
    /// Where it lies.
    pub objects: Objects,
    /// What tells it from every other lake.
    pub id: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct About {
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
        }
    }

    /// Its files of a table.
    pub fn files(&self, table: Table) -> &[Add] {
        self.tables.get(table.name()).map_or(&[], Vec::as_slice)
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

    /// Opens a lake to write to it, and makes it if it is not there. Safe when two begin at once.
    ///
    /// # Errors
    /// When the place cannot be written, cannot create an object only if it is absent, or holds a newer format.
    pub fn open_or_create(text: &str) -> anyhow::Result<Lake> {
        let objects = Objects::at(text)?;
        let about = match objects.get(LAKE)? {
            Some(about) => about,
            None => {
                let about = About { format: FORMAT, id: unique(), created_ms: now_ms() };
                objects.create(LAKE, serde_json::to_vec_pretty(&about)?)?;
                objects.need(LAKE)?
            }
        };
        let lake = Lake::of(objects, &about)?;
        // The ledger is made last: where it is, all tables are, and the place has been tried.
        if !delta::exists(&lake.objects, Table::Snapshots)? {
            objects::probe(&lake.objects, LAKE, about)?;
            ORDER.into_iter().try_for_each(|table| delta::create_table(&lake.objects, table, now_ms()))?;
        }
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
        Ok(Lake { objects, id: about.id })
    }

    /// A batch; `None` when there is none of that number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn batch(&self, number: u64) -> anyhow::Result<Option<Batch>> {
        let name = batch_name(number);
        let Some(bytes) = self.objects.get(&name)? else { return Ok(None) };
        let batch = serde_json::from_slice(&bytes);
        batch.map(Some).with_context(|| format!("lake {}: {name} is damaged", self.objects))
    }

    /// Puts a batch under its number, which commits it; `false` when another has that number.
    ///
    /// # Errors
    /// When the lake cannot be written. Then it is not known whether the batch was put: look, or let the next ingest
    /// look, which finishes it if it was.
    pub fn put_batch(&self, number: u64, batch: &Batch) -> anyhow::Result<bool> {
        if self.objects.create(&batch_name(number), serde_json::to_vec(batch)?)? {
            return Ok(true);
        }
        // The answer to a put that succeeded can be lost, and its repetition finds what it left.
        Ok(self.batch(number)?.is_some_and(|there| there.id == batch.id))
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

    /// Adds a batch's files to a table, unless they are there.
    fn enter(&self, table: Table, number: u64, batch: &Batch, heads: &mut Heads) -> anyhow::Result<()> {
        let files = batch.files(table);
        if files.is_empty() && table != Table::Snapshots {
            return Ok(());
        }
        loop {
            let head = self.head(table, heads)?;
            if head.batch >= number {
                return Ok(());
            }
            let actions = files.iter().cloned().map(Add::added).collect();
            let done = delta::commit(&self.objects, table, head, "WRITE", Some(number), actions, now_ms())?;
            if let Committed::Done(head) = done {
                heads.insert(table.name().to_owned(), head);
                return Ok(());
            }
        }
    }

    fn head(&self, table: Table, heads: &mut Heads) -> anyhow::Result<Head> {
        let head = delta::head(&self.objects, table, heads.get(table.name()).copied())?;
        heads.insert(table.name().to_owned(), head);
        Ok(head)
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
            states.insert(table, delta::state(&self.objects, table)?);
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
