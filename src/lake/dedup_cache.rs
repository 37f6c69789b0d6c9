//! The deduplication cache: the identities of a lake's rows, so that an ingest need not read the lake.
//!
//! It is a cache of the tables, kept on the ingesting machine and copied into the lake. It keeps a horizon per table.
//! Every row newer than the horizon is in the cache. Older rows are in the cache if recent ingests saw them. A row that
//! is neither cached nor newer than the horizon must be looked up in the tables. A lost, damaged or outdated cache is
//! rebuilt from the tables. The cache also holds the Restarts counter of each task, from the task states, and the
//! regions of each allocation, from the allocation versions.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, FixedSizeBinaryBuilder, RecordBatch, UInt8Builder, UInt32Builder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema, UInt8Type, UInt32Type, UInt64Type};
use hashbrown::HashMap;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use xxhash_rust::xxh3::xxh3_128;

use super::delta_log::TableHead;
use crate::error::{Context, Error, Kind, Result};
use crate::presence::Presence;
use crate::tables::{Table, identity};
use crate::time::{self, HOUR};

/// Key of the Parquet metadata entry that describes the cache.
const FORMAT_KEY: &str = "alloclog.seen";
/// Incremented with every change of the file format, and with [`identity::VERSION`]. A cache of another format is
/// rebuilt.
const FORMAT: u32 = 3 + identity::VERSION;
/// Bytes of the checksum at the end of the file.
const CHECKSUM: usize = 16;
/// Bytes of the length before the checksum.
const LENGTH: usize = 8;
/// Rows per page of the file, and per batch in memory.
const PAGE: usize = 64 << 10;

/// The cached content of a lake up to a batch.
#[derive(Debug, Default, Clone)]
pub struct DedupCache {
    /// Metadata of all tables.
    pub header: CacheHeader,
    tables: BTreeMap<Table, KnownRows>,
    counters: ByIdentity<RestartCounter>,
    /// The regions of each allocation, see [`super::labels`].
    labels: ByIdentity<Label>,
    /// When allocations were last shown, within the hours of recent ingests.
    pub presence: Presence,
}

/// A map keyed by 128-bit hashes.
type ByIdentity<V> = HashMap<u128, V, BuildHasherDefault<IdentityHasher>>;

/// Hasher for keys that are already hashes.
#[derive(Debug, Default, Clone, Copy)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
    /// Never called, because only `u128` keys are hashed.
    fn write(&mut self, _: &[u8]) {}
}

/// The metadata of the cache: its position in the lake's history, its last copy, its horizons, and the known regions
/// and input files.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheHeader {
    format: u32,
    /// The last batch whose rows are cached; 0 for none.
    pub batch: u64,
    /// The ID of that batch. It is needed because a lake that was restored to an earlier state may give the number to
    /// another batch.
    pub batch_id: String,
    /// The head of each table's log when it was last read, by table name.
    pub heads: BTreeMap<String, TableHead>,
    /// When the cache was last copied into the lake, in hours since the epoch.
    pub copied_hour: u32,
    /// By table name, the horizon: the hour before which rows may be missing. A table without an entry is cached
    /// completely.
    horizons: BTreeMap<String, u32>,
    /// The names of regions. The index of a region is the number of its bit in `Label::regions`.
    #[serde(default)]
    regions: Vec<String>,
    /// The input files that an ingest read without a fault, by key. The values are the hours in which the documents of
    /// the file show allocations, in nanoseconds since the epoch. A file stays here as long as the cache has the
    /// presence data of all of these hours.
    #[serde(default)]
    files: BTreeMap<String, Vec<i64>>,
}

/// The rows of a table by identity.
#[derive(Debug, Default, Clone)]
struct KnownRows {
    horizon: Option<u32>,
    marks: ByIdentity<Mark>,
}

/// Times of a row, in hours since the epoch.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The hour after the row's time; 0 if unknown.
    created: u32,
    /// When an ingest last saw it.
    touched: u32,
}

/// A record of the cache file. A record with a counter stands for a task, a record with regions stands for an
/// allocation, and any other record stands for a row of a table.
struct Record {
    table: Table,
    id: u128,
    mark: Mark,
    restarts: Option<u32>,
    regions: Option<u64>,
}

/// The cached data of an allocation.
#[derive(Debug, Clone, Copy)]
struct Label {
    /// A bit per region of the allocation; the last bit covers every region from the 64th on.
    regions: u64,
    /// The times of its newest version.
    mark: Mark,
}

/// The cached data of a task.
#[derive(Debug, Clone, Copy)]
struct RestartCounter {
    /// The largest Restarts counter of its states.
    restarts: u32,
    /// When an ingest last saw it, in hours since the epoch.
    touched: u32,
}

/// The key of an input file as text, for the metadata, because JSON numbers of 128 bits are not portable.
fn file_name(key: u128) -> String {
    format!("{key:032x}")
}

/// The bit of a region by its number.
fn bit(number: usize) -> u64 {
    1 << number.min(63)
}

/// The first full hour after a time.
fn hour_after(ns: Option<i64>) -> u32 {
    ns.map_or(0, |ns| u32::try_from(ns.div_euclid(HOUR) + 1).unwrap_or(0))
}

/// The current hour by this machine's clock.
pub fn this_hour() -> u32 {
    u32::try_from(time::now() / HOUR).unwrap_or(0)
}

/// For how many hours a row stays cached after an ingest last saw it. Sightings recur only within their hour.
pub fn remembered_hours(table: Table) -> u32 {
    if table == Table::Sightings { 3 } else { 72 }
}

impl DedupCache {
    /// An empty cache that covers rows after these hours.
    pub fn after(horizons: impl IntoIterator<Item = (Table, u32)>) -> DedupCache {
        let with = |(table, hour)| (table, KnownRows { horizon: Some(hour), marks: HashMap::default() });
        DedupCache { tables: horizons.into_iter().map(with).collect(), ..DedupCache::default() }
    }

    /// Returns true if a row is cached, and marks it as seen now.
    pub fn touch(&mut self, table: Table, row: u128, now: u32) -> bool {
        let mark = self.tables.get_mut(&table).and_then(|rows| rows.marks.get_mut(&row));
        mark.map(|mark| mark.touched = now).is_some()
    }

    /// Returns true if an uncached row with this time cannot be in the lake, because it is newer than the horizon.
    pub fn covers(&self, table: Table, ns: Option<i64>) -> bool {
        let horizon = self.tables.get(&table).and_then(|rows| rows.horizon);
        horizon.is_none_or(|horizon| hour_after(ns) > horizon)
    }

    /// Adds a row.
    pub fn add(&mut self, table: Table, row: u128, ns: Option<i64>, now: u32) {
        let mark = Mark { created: hour_after(ns), touched: now };
        self.tables.entry(table).or_default().marks.insert(row, mark);
    }

    /// The largest known Restarts counter of a task; `None` if unknown.
    pub fn restarts(&self, task: u128) -> Option<u32> {
        self.counters.get(&task).map(|counter| counter.restarts)
    }

    /// Adds a Restarts counter of a task, seen now.
    pub fn count(&mut self, task: u128, restarts: u32, now: u32) {
        let counter = self.counters.entry(task).or_insert(RestartCounter { restarts, touched: now });
        counter.restarts = counter.restarts.max(restarts);
        counter.touched = counter.touched.max(now);
    }

    /// Records a region of an allocation; `ns` is the time of the version that has the region.
    pub fn label(&mut self, allocation: u128, region: &str, ns: Option<i64>, now: u32) {
        let number = self.region(region).unwrap_or_else(|| {
            self.header.regions.push(region.to_owned());
            self.header.regions.len() - 1
        });
        let mark = Mark { created: hour_after(ns), touched: now };
        let label = self.labels.entry(allocation).or_insert(Label { regions: 0, mark });
        label.regions |= bit(number);
        label.mark.created = label.mark.created.max(mark.created);
        label.mark.touched = label.mark.touched.max(now);
    }

    /// Marks an allocation as seen now.
    pub fn touch_allocation(&mut self, allocation: u128, now: u32) {
        if let Some(label) = self.labels.get_mut(&allocation) {
            label.mark.touched = now;
        }
    }

    /// The known regions of an allocation; empty if unknown.
    pub fn regions(&self, allocation: u128) -> impl Iterator<Item = &str> {
        let regions = self.labels.get(&allocation).map_or(0, |label| label.regions);
        let all = self.header.regions.iter().enumerate();
        all.filter(move |(number, _)| regions & bit(*number) != 0).map(|(_, region)| region.as_str())
    }

    /// The keys of the input files that need not be read again: the lake has all of their rows, and the cache has the
    /// presence data of all of their hours.
    pub fn files(&self) -> impl Iterator<Item = u128> {
        let known = self.header.files.iter().filter(|(_, hours)| self.presence.knows(hours));
        known.filter_map(|(key, _)| u128::from_str_radix(key, 16).ok())
    }

    /// Adds an input file whose rows are all in the lake.
    pub fn add_file(&mut self, key: u128, hours: Vec<i64>) {
        self.header.files.insert(file_name(key), hours);
    }

    /// Marks an input file as seen now.
    pub fn touch_file(&mut self, key: u128, now: u32) {
        if let Some(hours) = self.header.files.get(&file_name(key)) {
            self.presence.keep(hours, now);
        }
    }

    fn region(&self, region: &str) -> Option<usize> {
        self.header.regions.iter().position(|other| other == region)
    }

    /// Drops old rows that recent ingests did not see.
    pub fn forget(&mut self, now: u32) {
        for (table, rows) in &mut self.tables {
            let until = now.saturating_sub(remembered_hours(*table));
            let mut newest = None;
            rows.marks.retain(|_, mark| {
                let stays = mark.created > until || mark.touched > until;
                if !stays {
                    newest = newest.max(Some(mark.created));
                }
                stays
            });
            rows.horizon = rows.horizon.max(newest);
        }
        self.presence.forget(now.saturating_sub(remembered_hours(Table::Sightings)));
        let presence = &self.presence;
        self.header.files.retain(|_, hours| presence.knows(hours));
        let until = now.saturating_sub(remembered_hours(Table::TaskStateHistory));
        self.counters.retain(|_, counter| counter.touched > until);
        let until = now.saturating_sub(remembered_hours(Table::AllocationHistory));
        // Keep a label as long as a row of the allocation's newest version would be kept. So an allocation without a
        // label is new, or older than the horizon.
        self.labels.retain(|_, label| label.mark.created > until || label.mark.touched > until);
    }

    /// The cache file: Parquet, followed by compressed JSON of the presence data, its length, and a checksum.
    ///
    /// # Errors
    /// Only through a bug.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut header = self.header.clone();
        header.format = FORMAT;
        let horizon = |(table, rows): (&Table, &KnownRows)| Some((table.name().to_owned(), rows.horizon?));
        header.horizons = self.tables.iter().filter_map(horizon).collect();
        let schema = Arc::new(Schema::new_with_metadata(
            vec![
                Field::new("table", DataType::UInt8, false),
                Field::new("row", DataType::FixedSizeBinary(16), false),
                Field::new("came_about", DataType::UInt32, false),
                Field::new("met", DataType::UInt32, false),
                // Tasks only.
                Field::new("restarts", DataType::UInt32, true),
                // Allocations only.
                Field::new("regions", DataType::UInt64, true),
            ],
            std::collections::HashMap::from([(FORMAT_KEY.to_owned(), serde_json::to_string(&header)?)]),
        ));
        // Identities are random, so compression saves nothing on them. It saves space on the small columns.
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties))?;
        let mut all = self.records();
        loop {
            let (mut tables, mut ids) = (UInt8Builder::new(), FixedSizeBinaryBuilder::new(16));
            let (mut created, mut touched) = (UInt32Builder::new(), UInt32Builder::new());
            let (mut restarts, mut regions) = (UInt32Builder::new(), UInt64Builder::new());
            for record in all.by_ref().take(PAGE) {
                tables
                    .append_value(Table::ALL.iter().position(|table| *table == record.table).unwrap_or_default() as u8);
                ids.append_value(record.id.to_le_bytes())?;
                created.append_value(record.mark.created);
                touched.append_value(record.mark.touched);
                restarts.append_option(record.restarts);
                regions.append_option(record.regions);
            }
            let columns: Vec<Arc<dyn Array>> = vec![
                Arc::new(tables.finish()),
                Arc::new(ids.finish()),
                Arc::new(created.finish()),
                Arc::new(touched.finish()),
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
        // Without a checksum, a flipped bit in an identity would make a known row look new.
        let checksum = xxh3_128(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// All records: rows, tasks and allocations.
    fn records(&self) -> impl Iterator<Item = Record> {
        let of_rows = self.tables.iter().flat_map(|(table, rows)| {
            rows.marks.iter().map(|(id, mark)| Record {
                table: *table,
                id: *id,
                mark: *mark,
                restarts: None,
                regions: None,
            })
        });
        let of_task = |(id, counter): (&u128, &RestartCounter)| Record {
            table: Table::TaskStateHistory,
            id: *id,
            mark: Mark { created: 0, touched: counter.touched },
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

    /// Parses a cache file.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<DedupCache> {
        let rest = bytes.len().checked_sub(CHECKSUM).context("it is truncated")?;
        let checksum = bytes.split_off(rest);
        if xxh3_128(&bytes).to_le_bytes().as_slice() != checksum.as_slice() {
            return Err(Error::damaged("it is damaged"));
        }
        let rest = bytes.len().checked_sub(LENGTH).context("it is truncated")?;
        let length = u64::from_le_bytes(bytes.split_off(rest).as_slice().try_into()?);
        let rest = bytes.len().checked_sub(usize::try_from(length)?).context("it is truncated")?;
        let presence = zstd::decode_all(bytes.split_off(rest).as_slice())?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))?;
        let header = builder.schema().metadata().get(FORMAT_KEY).context("it has no format")?;
        let header: CacheHeader = serde_json::from_str(header)?;
        if header.format != FORMAT {
            return Err(Error::of(Kind::Unsupported, format!("it is of format {}", header.format)));
        }
        let mut tables: BTreeMap<Table, KnownRows> = BTreeMap::new();
        let (mut counters, mut labels) = (ByIdentity::default(), ByIdentity::default());
        for (name, horizon) in &header.horizons {
            let table = Table::ALL.into_iter().find(|table| table.name() == name);
            tables.entry(table.context("it names an unknown table")?).or_default().horizon = Some(*horizon);
        }
        for batch in builder.with_batch_size(PAGE).build()? {
            let batch = batch?;
            let numbers = batch.column(0).as_primitive::<UInt8Type>();
            let ids = batch.column(1).as_fixed_size_binary();
            let created = batch.column(2).as_primitive::<UInt32Type>();
            let touched = batch.column(3).as_primitive::<UInt32Type>();
            let restarts = batch.column(4).as_primitive::<UInt32Type>();
            let regions = batch.column(5).as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                let table = Table::ALL.get(usize::from(numbers.value(row))).context("it names an unknown table")?;
                let mark = Mark { created: created.value(row), touched: touched.value(row) };
                let id = u128::from_le_bytes(ids.value(row).try_into()?);
                if restarts.is_valid(row) {
                    counters.insert(id, RestartCounter { restarts: restarts.value(row), touched: mark.touched });
                } else if regions.is_valid(row) {
                    labels.insert(id, Label { regions: regions.value(row), mark });
                } else {
                    tables.entry(*table).or_default().marks.insert(id, mark);
                }
            }
        }
        let presence = serde_json::from_slice(&presence)?;
        Ok(DedupCache { header, tables, counters, labels, presence })
    }
}
