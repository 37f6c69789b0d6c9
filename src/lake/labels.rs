//! The label of an allocation: the region under which a lake has it.
//!
//! A region is the text of `--region` or NOMAD_REGION. Two ingests may label one cluster differently; then every
//! allocation would be stored twice. An ingest therefore refuses versions of an allocation that the lake has under
//! another region.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use arrow::array::{AsArray, RecordBatch, StringArray};

use super::dedup_cache::DedupCache;
use super::delta_log::{self, FileChange};
use super::lean::{self, FILES_AT_A_TIME, path_key};
use super::lost_restarts::allocations;
use super::staged::{StagedRows, Version};
use super::{Lake, data_files, dedup_cache};
use crate::error::{Context, Result, bail};
use crate::store::parquet;
use crate::tables::Table;

fn text<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.with_context(|| format!("rows without {name}"))
}

/// The allocation and the region of each row.
///
/// # Errors
/// When a column is missing.
pub fn allocation_regions(batch: &RecordBatch) -> Result<Vec<(u128, &str)>> {
    let regions = text(batch, "region")?;
    Ok(allocations(batch)?.into_iter().enumerate().map(|(row, id)| (id, regions.value(row))).collect())
}

/// Adds the region of an ingest's allocations to the cache.
pub fn note(cache: &mut DedupCache, staged: &StagedRows, now: u32) {
    for (version, (_, time)) in staged.versions.iter().zip(staged.keys(Table::AllocationHistory)) {
        cache.label(version.allocation, &staged.region, time, now);
    }
}

/// Looks up the regions of allocations that the cache does not cover.
///
/// # Errors
/// When the lake cannot be read.
pub fn look_up(lake: &Lake, cache: &mut DedupCache, staged: &StagedRows) -> Result<()> {
    let now = dedup_cache::this_hour();
    let mut unsure: HashSet<u128> = HashSet::new();
    let mut first = i64::MAX;
    for Version { allocation, created } in &staged.versions {
        // All versions of an allocation are later than its creation.
        if cache.regions(*allocation).next().is_none() && !cache.covers(Table::AllocationHistory, *created) {
            unsure.insert(*allocation);
            first = first.min(created.unwrap_or(i64::MIN));
        }
    }
    if unsure.is_empty() {
        return Ok(());
    }
    for file in lake.state(Table::AllocationHistory)?.files.into_values() {
        let may_hold = data_files::may_hold(Table::AllocationHistory, &file, first, i64::MAX, true);
        // A file in which every row has the region of the ingest cannot show another region for an allocation.
        let is_theirs = data_files::only_text(&file, "region").is_some_and(|region| region == staged.region);
        if !may_hold || is_theirs {
            continue;
        }
        let columns = ["region", "alloc_id", "modified_at_ns"];
        data_files::read(&lake.storage, Table::AllocationHistory, &file, Some(&columns), &mut |batch| {
            let times = data_files::times(Table::AllocationHistory, &batch);
            for ((allocation, region), time) in allocation_regions(&batch)?.into_iter().zip(times) {
                if unsure.contains(&allocation) {
                    cache.label(allocation, region, time, now);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Refuses versions of allocations that the lake has under another region.
///
/// # Errors
/// When there is such a version, or the rows of the ingest cannot be read.
pub fn check(lake: &Lake, cache: &DedupCache, staged: &StagedRows) -> Result<()> {
    let region = &staged.region;
    for (row, version) in staged.versions.iter().enumerate() {
        let known: Vec<&str> = cache.regions(version.allocation).collect();
        let Some(first) = known.first().filter(|_| !known.contains(&region.as_str())) else { continue };
        bail!(
            "lake {} has allocation {} under region {first:?}, and this run labels it {region:?}. \
             Say --region {first:?}, or correct NOMAD_REGION",
            lake.storage,
            alloc_id(staged, row)?
        );
    }
    Ok(())
}

/// The allocation's ID in a staged row of `allocation_history`.
fn alloc_id(staged: &StagedRows, mut row: usize) -> Result<String> {
    for batch in parquet::read(&staged.store.path(Table::AllocationHistory.name()))? {
        let batch = batch?;
        match row.checked_sub(batch.num_rows()) {
            None => return Ok(text(&batch, "alloc_id")?.value(row).to_owned()),
            Some(rest) => row = rest,
        }
    }
    bail!("staged rows are missing")
}

/// Allocations that a lake has under several regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionConflict {
    /// The regions.
    pub regions: BTreeSet<String>,
    /// How many allocations the lake has under all of these regions.
    pub allocations: usize,
    /// The ID of one of these allocations.
    pub example: String,
}

impl fmt::Display for RegionConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions: Vec<String> = self.regions.iter().map(|region| format!("{region:?}")).collect();
        let (regions, allocations) = (regions.join(" and "), self.allocations);
        write!(
            f,
            "allocation_history has {allocations} allocations under the regions {regions}, such as {}",
            self.example
        )?;
        f.write_str(
            ": ingests used several regions for one cluster, and reports count these allocations once per region",
        )
    }
}

/// How many allocations are compared at a time.
const ALLOCATIONS_AT_A_TIME: usize = 2_000_000;

/// Finds allocations that a lake has under several regions.
///
/// # Errors
/// When the lake cannot be read.
pub fn region_conflicts(lake: &Lake) -> Result<Vec<RegionConflict>> {
    let table = Table::AllocationHistory;
    let mut names: BTreeSet<Rc<str>> = BTreeSet::new();
    let mut regions: HashMap<u64, Option<Rc<str>>> = HashMap::new();
    delta_log::read(&lake.storage, table, &mut |change| match (change.path().map(path_key), change) {
        (Some(key), FileChange::Add(add)) => {
            let region = data_files::only_text(&add, "region").map(|region| {
                let name = names.get(region.as_str()).cloned().unwrap_or_else(|| region.into());
                names.insert(name.clone());
                name
            });
            regions.insert(key, region);
        }
        (Some(key), _) => drop(regions.remove(&key)),
        (None, _) => regions.clear(),
    })?;
    let distinct: BTreeSet<&Option<Rc<str>>> = regions.values().collect();
    if distinct.len() <= 1 && !distinct.contains(&None) {
        return Ok(Vec::new());
    }
    let files: Vec<u64> = regions.into_keys().collect();
    let mut parts = 1;
    loop {
        match conflicts_by_parts(lake, &files, parts)? {
            Some(found) => return Ok(found.into_values().collect()),
            None => parts *= 2,
        }
    }
}

/// Finds the conflicts, keyed by their regions. Compares one part of the allocations at a time; in a part, the hashes
/// of the IDs have the same remainder modulo `parts`. Returns `None` if a part has too many allocations. The files are
/// given by their [`path_key`].
fn conflicts_by_parts(
    lake: &Lake,
    files: &[u64],
    parts: u128,
) -> Result<Option<BTreeMap<BTreeSet<String>, RegionConflict>>> {
    let mut found: BTreeMap<BTreeSet<String>, RegionConflict> = BTreeMap::new();
    for part in 0..parts {
        let mut first: HashMap<u128, u32> = HashMap::new();
        let mut names: Vec<String> = Vec::new();
        let mut several: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for some in files.chunks(FILES_AT_A_TIME) {
            for file in lean::files(&lake.storage, Table::AllocationHistory, &some.iter().copied().collect())?.values()
            {
                let columns = ["region", "alloc_id"];
                data_files::read(&lake.storage, Table::AllocationHistory, file, Some(&columns), &mut |batch| {
                    let ids = text(&batch, "alloc_id")?;
                    for (row, (allocation, region)) in allocation_regions(&batch)?.into_iter().enumerate() {
                        if allocation % parts != part {
                            continue;
                        }
                        let known = names.iter().position(|name| name == region);
                        let number = known.unwrap_or_else(|| {
                            names.push(region.to_owned());
                            names.len() - 1
                        }) as u32;
                        let first = *first.entry(allocation).or_insert(number);
                        if first != number {
                            several.entry(ids.value(row).to_owned()).or_default().extend([first, number]);
                        }
                    }
                    Ok(())
                })?;
                if first.len() > ALLOCATIONS_AT_A_TIME {
                    return Ok(None);
                }
            }
        }
        for (example, numbers) in several {
            let regions: BTreeSet<String> = numbers.iter().map(|number| names[*number as usize].clone()).collect();
            let conflict = found.entry(regions.clone()).or_insert(RegionConflict {
                regions,
                allocations: 0,
                example: example.clone(),
            });
            conflict.allocations += 1;
            conflict.example = conflict.example.clone().min(example);
        }
    }
    Ok(Some(found))
}
