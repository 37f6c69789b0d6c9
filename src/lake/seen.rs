//! What a lake is known to hold: the identities of its rows, so that an ingest need not read the lake.
//!
//! It is a cache of the tables, kept on the ingesting machine and copied into the lake, and it knows what it does not
//! know: of each table it holds every row that came about after its horizon, and of older ones those that were met of
//! late. A row that it does not explain and that is not younger than the horizon must be looked up. Lost, damaged or
//! outdated, it is made anew from the tables. With the states of tasks it knows the Restarts counter of each task, and with
//! the versions of allocations the regions under which each allocation is.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::{Array, AsArray, FixedSizeBinaryBuilder, RecordBatch, UInt8Builder, UInt32Builder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema, UInt8Type, UInt32Type, UInt64Type};
use hashbrown::HashMap;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use xxhash_rust::xxh3::xxh3_128;

use super::delta::Head;
use crate::presence::Presence;
use crate::tables::{Table, identity};
use crate::time;

/// Where a file says what it is.
const FORMAT_KEY: &str = "alloclog.seen";
/// Raised with what is written here, and with [`identity::VERSION`]: a cache of another format is rebuilt.
const FORMAT: u32 = 3 + identity::VERSION;
const HOUR_NS: i64 = 3_600_000_000_000;
/// Bytes of the checksum behind the file.
const CHECKSUM: usize = 16;
/// Bytes of a length.
const LENGTH: usize = 8;
/// Rows of a page of the file, and of a batch in memory.
const PAGE: usize = 64 << 10;

/// What is known of a lake up to a batch.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// What holds for all tables.
    pub about: About,
    tables: BTreeMap<Table, Rows>,
    counters: Known<Counter>,
    /// By allocation, see [`super::labels`].
    labels: Known<Label>,
    /// When allocations were last shown, within the hours that ingests were about of late.
    pub presence: Presence,
}

/// What is known, by a hash that nothing else has.
type Known<V> = HashMap<u128, V, BuildHasherDefault<Ready>>;

/// Hashes that are hashes already.
#[derive(Debug, Default, Clone, Copy)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
    /// Nothing else is hashed.
    fn write(&mut self, _: &[u8]) {}
}

/// Up to where it is known, and when it was last copied.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    format: u32,
    /// The last batch whose rows are among those known; 0 for none.
    pub batch: u64,
    /// The ID of that batch: a lake that was put back to an earlier state gives the number to another.
    pub batch_id: String,
    /// How far each table had got, by name.
    pub heads: BTreeMap<String, Head>,
    /// When it was last copied into the lake, in hours since the epoch.
    pub copied_hour: u32,
    /// By table name, the hour up to which rows may be unknown; a table without one is known whole.
    horizons: BTreeMap<String, u32>,
    /// The regions of allocations, by number.
    #[serde(default)]
    regions: Vec<String>,
}

/// A table's rows by their identity.
#[derive(Debug, Default, Clone)]
struct Rows {
    horizon: Option<u32>,
    met: Known<Mark>,
}

/// What is remembered of a row: hours since the epoch.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The hour that begins after it came about; 0 when that is not known.
    came_about: u32,
    /// When it was last met.
    met: u32,
}

/// A row of the file: a row of a table, a task if it has a counter, or an allocation if it has regions.
struct Record {
    table: Table,
    id: u128,
    mark: Mark,
    restarts: Option<u32>,
    regions: Option<u64>,
}

/// What is remembered of an allocation.
#[derive(Debug, Clone, Copy)]
struct Label {
    /// A bit for each region under which it is; the last bit stands for every region from the 64th on.
    regions: u64,
    /// Of its versions, the newest.
    mark: Mark,
}

/// What is remembered of a task.
#[derive(Debug, Clone, Copy)]
struct Counter {
    /// The largest Restarts counter of its states.
    restarts: u32,
    /// When it was last met, in hours since the epoch.
    met: u32,
}

/// The bit of a region by its number.
fn bit(number: usize) -> u64 {
    1 << number.min(63)
}

/// The hour that begins after a moment.
fn hour_after(ns: Option<i64>) -> u32 {
    ns.map_or(0, |ns| u32::try_from(ns.div_euclid(HOUR_NS) + 1).unwrap_or(0))
}

/// The hour that it is by this machine's clock.
pub fn this_hour() -> u32 {
    u32::try_from(time::now() / HOUR_NS).unwrap_or(0)
}

/// For how many hours a row is remembered after it was last met. One of sightings is only met within its hour.
pub fn remembered_hours(table: Table) -> u32 {
    if table == Table::Sightings { 3 } else { 72 }
}

impl Seen {
    /// Of a lake of which only rows after these hours are known.
    pub fn after(horizons: impl IntoIterator<Item = (Table, u32)>) -> Seen {
        let with = |(table, hour)| (table, Rows { horizon: Some(hour), met: HashMap::default() });
        Seen { tables: horizons.into_iter().map(with).collect(), ..Seen::default() }
    }

    /// Whether a row is known; if it is, it has been met now.
    pub fn meet(&mut self, table: Table, row: u128, now: u32) -> bool {
        let mark = self.tables.get_mut(&table).and_then(|rows| rows.met.get_mut(&row));
        mark.map(|mark| mark.met = now).is_some()
    }

    /// Whether a row that is not known cannot be in the lake, by when it came about.
    pub fn would_know(&self, table: Table, ns: Option<i64>) -> bool {
        let horizon = self.tables.get(&table).and_then(|rows| rows.horizon);
        horizon.is_none_or(|horizon| hour_after(ns) > horizon)
    }

    /// Adds a row.
    pub fn add(&mut self, table: Table, row: u128, ns: Option<i64>, now: u32) {
        let mark = Mark { came_about: hour_after(ns), met: now };
        self.tables.entry(table).or_default().met.insert(row, mark);
    }

    /// The largest Restarts counter of a task; `None` when none is known.
    pub fn restarts(&self, task: u128) -> Option<u32> {
        self.counters.get(&task).map(|counter| counter.restarts)
    }

    /// Adds a Restarts counter of a task, whose state has been met now.
    pub fn count(&mut self, task: u128, restarts: u32, now: u32) {
        let counter = self.counters.entry(task).or_insert(Counter { restarts, met: now });
        counter.restarts = counter.restarts.max(restarts);
        counter.met = counter.met.max(now);
    }

    /// Notes that an allocation is under a region, by a version of it that came about then.
    pub fn label(&mut self, allocation: u128, region: &str, ns: Option<i64>, now: u32) {
        let number = self.region(region).unwrap_or_else(|| {
            self.about.regions.push(region.to_owned());
            self.about.regions.len() - 1
        });
        let mark = Mark { came_about: hour_after(ns), met: now };
        let label = self.labels.entry(allocation).or_insert(Label { regions: 0, mark });
        label.regions |= bit(number);
        label.mark.came_about = label.mark.came_about.max(mark.came_about);
        label.mark.met = label.mark.met.max(now);
    }

    /// Notes that a version of an allocation was met now.
    pub fn meet_allocation(&mut self, allocation: u128, now: u32) {
        if let Some(label) = self.labels.get_mut(&allocation) {
            label.mark.met = now;
        }
    }

    /// The regions under which an allocation is; none when that is not known.
    pub fn regions(&self, allocation: u128) -> impl Iterator<Item = &str> {
        let regions = self.labels.get(&allocation).map_or(0, |label| label.regions);
        let all = self.about.regions.iter().enumerate();
        all.filter(move |(number, _)| regions & bit(*number) != 0).map(|(_, region)| region.as_str())
    }

    fn region(&self, region: &str) -> Option<usize> {
        self.about.regions.iter().position(|other| other == region)
    }

    /// Forgets what came about long ago and was not met of late.
    pub fn forget(&mut self, now: u32) {
        for (table, rows) in &mut self.tables {
            let until = now.saturating_sub(remembered_hours(*table));
            let mut newest = None;
            rows.met.retain(|_, mark| {
                let stays = mark.came_about > until || mark.met > until;
                if !stays {
                    newest = newest.max(Some(mark.came_about));
                }
                stays
            });
            rows.horizon = rows.horizon.max(newest);
        }
        self.presence.forget(now.saturating_sub(remembered_hours(Table::Sightings)));
        let until = now.saturating_sub(remembered_hours(Table::TaskStateHistory));
        self.counters.retain(|_, counter| counter.met > until);
        let until = now.saturating_sub(remembered_hours(Table::AllocationHistory));
        // As long as the version itself: an allocation that is not remembered is then new, or older than the horizon.
        self.labels.retain(|_, label| label.mark.came_about > until || label.mark.met > until);
    }

    /// The file that holds it: Parquet, behind it compressed JSON of what is known of presence, its length, and a checksum.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut about = self.about.clone();
        about.format = FORMAT;
        let horizon = |(table, rows): (&Table, &Rows)| Some((table.name().to_owned(), rows.horizon?));
        about.horizons = self.tables.iter().filter_map(horizon).collect();
        let schema = Arc::new(Schema::new_with_metadata(
            vec![
                Field::new("table", DataType::UInt8, false),
                Field::new("row", DataType::FixedSizeBinary(16), false),
                Field::new("came_about", DataType::UInt32, false),
                Field::new("met", DataType::UInt32, false),
                // Of a task; of a row there is none.
                Field::new("restarts", DataType::UInt32, true),
                // Of an allocation.
                Field::new("regions", DataType::UInt64, true),
            ],
            std::collections::HashMap::from([(FORMAT_KEY.to_owned(), serde_json::to_string(&about)?)]),
        ));
        // Identities are as good as random: only the small columns get smaller.
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties))?;
        let mut all = self.records();
        loop {
            let (mut tables, mut ids) = (UInt8Builder::new(), FixedSizeBinaryBuilder::new(16));
            let (mut came_about, mut met) = (UInt32Builder::new(), UInt32Builder::new());
            let (mut restarts, mut regions) = (UInt32Builder::new(), UInt64Builder::new());
            for record in all.by_ref().take(PAGE) {
                tables
                    .append_value(Table::ALL.iter().position(|table| *table == record.table).unwrap_or_default() as u8);
                ids.append_value(record.id.to_le_bytes())?;
                came_about.append_value(record.mark.came_about);
                met.append_value(record.mark.met);
                restarts.append_option(record.restarts);
                regions.append_option(record.regions);
            }
            let columns: Vec<Arc<dyn Array>> = vec![
                Arc::new(tables.finish()),
                Arc::new(ids.finish()),
                Arc::new(came_about.finish()),
                Arc::new(met.finish()),
                Arc::new(restarts.finish()),
                Arc::new(regions.finish()),
            ];
            let batch = RecordBatch::try_new(schema.clone(), columns)?;
            if batch.num_rows() == 0 {
                break;
            }
            writer.write(&batch)?;
        }
        writer.close()?;
        let presence = zstd::encode_all(serde_json::to_vec(&self.presence)?.as_slice(), 1)?;
        bytes.extend_from_slice(&presence);
        bytes.extend_from_slice(&(presence.len() as u64).to_le_bytes());
        // A flipped bit in an identity would make a known row a new one.
        let checksum = xxh3_128(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// All that is known: rows, tasks and allocations.
    fn records(&self) -> impl Iterator<Item = Record> {
        let of_rows = self.tables.iter().flat_map(|(table, rows)| {
            rows.met.iter().map(|(id, mark)| Record {
                table: *table,
                id: *id,
                mark: *mark,
                restarts: None,
                regions: None,
            })
        });
        let of_task = |(id, counter): (&u128, &Counter)| Record {
            table: Table::TaskStateHistory,
            id: *id,
            mark: Mark { came_about: 0, met: counter.met },
            restarts: Some(counter.restarts),
            regions: None,
        };
        let of_allocation = |(id, label): (&u128, &Label)| Record {
            table: Table::AllocationHistory,
            id: *id,
            mark: label.mark,
            restarts: None,
            regions: Some(label.regions),
        };
        of_rows.chain(self.counters.iter().map(of_task)).chain(self.labels.iter().map(of_allocation))
    }

    /// What a file holds.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn from_bytes(mut bytes: Vec<u8>) -> anyhow::Result<Seen> {
        let rest = bytes.len().checked_sub(CHECKSUM).context("it breaks off")?;
        let checksum = bytes.split_off(rest);
        ensure!(xxh3_128(&bytes).to_le_bytes().as_slice() == checksum.as_slice(), "it is damaged");
        let rest = bytes.len().checked_sub(LENGTH).context("it breaks off")?;
        let length = u64::from_le_bytes(bytes.split_off(rest).as_slice().try_into()?);
        let rest = bytes.len().checked_sub(usize::try_from(length)?).context("it breaks off")?;
        let presence = zstd::decode_all(bytes.split_off(rest).as_slice())?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?;
        let about = builder.schema().metadata().get(FORMAT_KEY).context("it does not say what it is")?;
        let about: About = serde_json::from_str(about)?;
        ensure!(about.format == FORMAT, "it is of format {}", about.format);
        let mut tables: BTreeMap<Table, Rows> = BTreeMap::new();
        let (mut counters, mut labels) = (Known::default(), Known::default());
        for (name, horizon) in &about.horizons {
            let table = Table::ALL.into_iter().find(|table| table.name() == name);
            tables.entry(table.context("it names an unknown table")?).or_default().horizon = Some(*horizon);
        }
        for batch in builder.with_batch_size(PAGE).build()? {
            let batch = batch?;
            let numbers = batch.column(0).as_primitive::<UInt8Type>();
            let ids = batch.column(1).as_fixed_size_binary();
            let came_about = batch.column(2).as_primitive::<UInt32Type>();
            let met = batch.column(3).as_primitive::<UInt32Type>();
            let restarts = batch.column(4).as_primitive::<UInt32Type>();
            let regions = batch.column(5).as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                let table = Table::ALL.get(usize::from(numbers.value(row))).context("it names an unknown table")?;
                let mark = Mark { came_about: came_about.value(row), met: met.value(row) };
                let id = u128::from_le_bytes(ids.value(row).try_into()?);
                if restarts.is_valid(row) {
                    counters.insert(id, Counter { restarts: restarts.value(row), met: mark.met });
                } else if regions.is_valid(row) {
                    labels.insert(id, Label { regions: regions.value(row), mark });
                } else {
                    tables.entry(*table).or_default().met.insert(id, mark);
                }
            }
        }
        let presence = serde_json::from_slice(&presence)?;
        Ok(Seen { about, tables, counters, labels, presence })
    }
}
