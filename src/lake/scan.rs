//! A lake as a source: reads the wanted rows of its stored tables, from the files that may contain them.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;

use super::delta_log::Add;
use super::{Lake, data_files};
use crate::error::Result;
use crate::merge::Filter;
use crate::tables::{AllocationKey, Table};
use crate::time::{DAY, HOUR, When};

/// How far back a report reads by default.
pub const DEFAULT_SPAN: i64 = 7 * DAY;

/// Which rows of a lake to read.
#[derive(Debug, Clone, Default)]
pub struct ScanFilter {
    /// Only rows of this region.
    pub region: Option<String>,
    /// Only allocations that match.
    pub filter: Filter,
    /// Length of the period that ends at the newest observation in the lake, in nanoseconds; `None` for all time. An
    /// allocation is selected, with all of its rows, if it was seen, changed or had an event in the period.
    pub span: Option<i64>,
    /// An earlier start of that period, if given; ignored if `span` is `None` or the period starts earlier anyway.
    pub since: Option<When>,
}

/// Summary of the rows read from a lake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// Rows by table name.
    pub rows: BTreeMap<&'static str, u64>,
    /// The number of data files that were read, and of all data files.
    pub files: (usize, usize),
    /// The newest observation, in nanoseconds since the epoch.
    pub newest: Option<i64>,
    /// The start of the selected time, in nanoseconds since the epoch; `None` for all.
    pub since: Option<i64>,
}

/// Receives the rows.
pub type Deliver<'d> = dyn FnMut(Table, RecordBatch) -> Result<()> + 'd;

type TableFiles = BTreeMap<Table, Vec<Add>>;

fn files_of(files: &TableFiles, table: Table) -> &[Add] {
    files.get(&table).map_or(&[], Vec::as_slice)
}

/// The selected allocations.
struct SelectedAllocations {
    /// `None` for all.
    allocations: Option<HashSet<Box<str>>>,
    /// A lower bound of the times of their rows, in nanoseconds since the epoch.
    floor: i64,
}

/// Reads the wanted rows of these tables and delivers them, the ledger last.
///
/// # Errors
/// When the lake cannot be read, or a batch cannot be delivered.
pub fn rows(lake: &Lake, tables: &[Table], wanted: &ScanFilter, deliver: &mut Deliver<'_>) -> Result<ScanSummary> {
    let in_tables = lake.files()?;
    let mut found =
        ScanSummary { newest: newest(lake, files_of(&in_tables, Table::Snapshots))?, ..ScanSummary::default() };
    let before = |span: i64| found.newest.map(|newest| newest.saturating_sub(span));
    let asked = match wanted.since {
        None => None,
        Some(When::At(ns)) => Some(ns),
        Some(When::Before(span)) => before(span),
    };
    found.since = wanted.span.and_then(before).map(|usual| asked.map_or(usual, |asked| asked.min(usual)));
    let since = found.since;
    let selected = select_allocations(lake, &in_tables, wanted, found.since)?;
    for table in super::ORDER.into_iter().filter(|table| tables.contains(table)) {
        let mut all = files_of(&in_tables, table).to_vec();
        all.sort_by(|a, b| (a.modification_time, &a.path).cmp(&(b.modification_time, &b.path)));
        found.files.1 += all.len();
        let rows = found.rows.entry(table.name()).or_default();
        let floor = match table {
            Table::Snapshots => found.since.unwrap_or(i64::MIN),
            Table::Nodes => i64::MIN,
            Table::LogEvents => selected.floor.min(since.unwrap_or(i64::MIN)),
            _ => selected.floor,
        };
        for file in all.iter().filter(|file| data_files::may_hold(table, file, floor, i64::MAX, true)) {
            found.files.0 += 1;
            data_files::read(&lake.storage, table, file, None, &mut |batch| {
                let batch = filter_record_batch(&batch, &keeps(table, &batch, wanted, &selected, floor, since))?;
                *rows += batch.num_rows() as u64;
                if batch.num_rows() == 0 { Ok(()) } else { deliver(table, batch) }
            })?;
        }
    }
    Ok(found)
}

/// The allocations in a lake that a filter selects.
///
/// # Errors
/// When the lake cannot be read.
pub(super) fn selected_allocations(lake: &Lake, filter: &Filter) -> Result<HashSet<Box<str>>> {
    let wanted = ScanFilter { filter: filter.clone(), ..ScanFilter::default() };
    Ok(select_allocations(lake, &lake.files()?, &wanted, None)?.allocations.unwrap_or_default())
}

fn text<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
}

fn value(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

/// For each row of a batch, true if it is wanted.
fn keeps(
    table: Table,
    batch: &RecordBatch,
    wanted: &ScanFilter,
    selected: &SelectedAllocations,
    floor: i64,
    since: Option<i64>,
) -> BooleanArray {
    let regions = text(batch, "region");
    let allocations = text(batch, "alloc_id");
    let times = data_files::times(table, batch);
    (0..batch.num_rows())
        .map(|row| {
            let in_region = wanted.region.as_deref().is_none_or(|region| value(regions, row) == Some(region));
            let is_chosen = match (&selected.allocations, allocations) {
                (Some(selected), Some(_)) => value(allocations, row).is_some_and(|id| {
                    // A log may have events of allocations that no listing showed.
                    let is_recent = times[row].is_some_and(|time| time >= since.unwrap_or(i64::MIN));
                    let is_unlisted = || table == Table::LogEvents && is_recent && wanted.filter.keeps_unlisted(id);
                    selected.contains(id) || is_unlisted()
                }),
                // The rows of the ledger have no allocation, so they are selected by their time.
                (_, None) if table == Table::Snapshots => times[row].is_none_or(|time| time >= floor),
                _ => true,
            };
            Some(in_region && is_chosen)
        })
        .collect()
}

/// The newest trusted observation in the ledger. An observation is trusted if it is at most an hour later than the
/// ingest of its document.
fn newest(lake: &Lake, ledger: &[Add]) -> Result<Option<i64>> {
    let mut newest = None;
    for file in ledger {
        let ingested = data_files::bounds(file, "ingested_at_ns").map(|(first, _)| first);
        match data_files::bounds(file, "observed_at_ns") {
            Some((_, last)) if ingested.is_some_and(|ingested| last <= ingested + HOUR) => {
                newest = newest.max(Some(last));
            }
            _ => {
                let columns = ["observed_at_ns", "ingested_at_ns"];
                data_files::read(&lake.storage, Table::Snapshots, file, Some(&columns), &mut |batch| {
                    let ingested = batch.column_by_name("ingested_at_ns").map(|c| c.as_primitive::<Int64Type>());
                    for (row, observed) in data_files::times(Table::Snapshots, &batch).into_iter().enumerate() {
                        let ingested = ingested.filter(|c| c.is_valid(row)).map(|c| c.value(row));
                        let is_trusted = |observed: &i64| ingested.is_none_or(|at| *observed <= at + HOUR);
                        newest = newest.max(observed.filter(is_trusted));
                    }
                    Ok(())
                })?;
            }
        }
    }
    Ok(newest)
}

/// Selects allocations, and finds a time before all of their rows.
fn select_allocations(
    lake: &Lake,
    in_tables: &TableFiles,
    wanted: &ScanFilter,
    since: Option<i64>,
) -> Result<SelectedAllocations> {
    if since.is_none() && !wanted.filter.is_restrictive() {
        return Ok(SelectedAllocations { allocations: None, floor: i64::MIN });
    }
    // The allocations that have a row at or after `since`.
    let mut recent: HashSet<Box<str>> = HashSet::new();
    if let Some(since) = since {
        for table in [Table::Sightings, Table::AllocationHistory, Table::TaskStateHistory, Table::TaskEvents] {
            // The time of a sighting is cut to the hour.
            let since = if table == Table::Sightings { since.saturating_sub(HOUR) } else { since };
            let columns: Vec<&str> = ["alloc_id"].into_iter().chain(data_files::time_column(table)).collect();
            for file in files_of(in_tables, table) {
                if !data_files::may_hold(table, file, since, i64::MAX, false) {
                    continue;
                }
                data_files::read(&lake.storage, table, file, Some(&columns), &mut |batch| {
                    let ids = text(&batch, "alloc_id");
                    for (row, time) in data_files::times(table, &batch).into_iter().enumerate() {
                        match value(ids, row).filter(|_| time.is_some_and(|time| time >= since)) {
                            Some(id) if !recent.contains(id) => drop(recent.insert(id.into())),
                            _ => {}
                        }
                    }
                    Ok(())
                })?;
            }
        }
    }
    // Read the newest files first. Once every allocation has been found, stop at the first file whose rows are all
    // older than these allocations.
    let mut history = files_of(in_tables, Table::AllocationHistory).to_vec();
    let last = |file: &Add| data_files::bounds(file, "modified_at_ns").map_or(i64::MAX, |(_, last)| last);
    history.sort_by_cached_key(|file| std::cmp::Reverse(last(file)));
    let mut selected = SelectedAllocations { allocations: Some(HashSet::new()), floor: i64::MAX };
    let mut missing: HashSet<Box<str>> = recent.clone();
    for file in &history {
        if since.is_some() && missing.is_empty() && last(file) < selected.floor {
            break;
        }
        let columns = ["region", "namespace", "job_id", "alloc_id", "created_at_ns"];
        data_files::read(&lake.storage, Table::AllocationHistory, file, Some(&columns), &mut |batch| {
            let column = |name| text(&batch, name);
            let (namespaces, jobs, ids) = (column("namespace"), column("job_id"), column("alloc_id"));
            let created = batch.column_by_name("created_at_ns").map(|column| column.as_primitive::<Int64Type>());
            for row in 0..batch.num_rows() {
                let Some(id) = value(ids, row).filter(|id| since.is_none() || recent.contains(*id)) else { continue };
                missing.remove(id);
                let allocation_key = AllocationKey {
                    region: "",
                    namespace: value(namespaces, row).unwrap_or("default"),
                    job_id: value(jobs, row),
                    task_group: None,
                    alloc_id: id,
                    node_id: None,
                };
                if !wanted.filter.keeps(&allocation_key) {
                    continue;
                }
                let created = created.filter(|created| created.is_valid(row)).map(|created| created.value(row));
                // Subtract a day, because a client's clock may lag behind the server's clock.
                selected.floor = selected.floor.min(created.map_or(i64::MIN, |ns| ns.saturating_sub(DAY)));
                if let Some(allocations) = selected.allocations.as_mut().filter(|allocations| !allocations.contains(id))
                {
                    allocations.insert(id.into());
                }
            }
            Ok(())
        })?;
    }
    Ok(selected)
}
