//! Compares the batches with the Delta logs, and repairs both.

use std::collections::{BTreeMap, HashSet};

use super::{CheckReport, Mend, Remedy};
use crate::error::{Context, Error, Kind, Result};
use crate::lake::delta_log::salvage::{self, Differences, Salvaged};
use crate::lake::lean::Detail;
use crate::lake::replay::{Against, ExpectedTable};
use crate::lake::{Batch, Lake, ORDER, TableHeads, batch_name, now_ms, stand_in};
use crate::tables::Table;

/// Whether the logs and batches can be repaired. If they cannot be repaired, nothing else is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mended {
    WithoutLoss,
    WithLoss,
    Never,
}

impl Mended {
    fn by(remedy: Remedy) -> Mended {
        match remedy {
            Remedy::Repair => Mended::WithoutLoss,
            Remedy::Drop(..) | Remedy::DropRows(..) | Remedy::DropBatch => Mended::WithLoss,
            Remedy::Nothing => Mended::Never,
        }
    }

    /// Returns true if a check that may make the repairs `mend` makes this repair.
    fn is_in(self, mend: Mend) -> bool {
        match self {
            Mended::WithoutLoss => mend != Mend::Nothing,
            Mended::WithLoss => mend == Mend::DropDamaged,
            Mended::Never => false,
        }
    }
}

/// The differences between the logs and the batches.
pub(super) struct CheckedLogs {
    /// What a repair would change in each table; empty after the repair.
    pub differences: BTreeMap<Table, Differences>,
    pub can_be_mended: Mended,
    /// True if a log or a batch needs a repair.
    is_damaged: bool,
    /// True if the repair loses rows, and no batch records this loss yet.
    pub loses_rows: bool,
}

/// Compares batches and logs, and repairs them if `mend` allows every repair that they need.
pub(super) fn check(
    lake: &Lake,
    mend: Mend,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(&str),
) -> Result<CheckedLogs> {
    let logs = compare(lake, Mend::Nothing, Detail::Lean, report, progress)?;
    if !logs.is_damaged || !logs.can_be_mended.is_in(mend) {
        return Ok(logs);
    }
    drop(logs);
    report.wrong.clear();
    compare(lake, mend, Detail::Full, report, progress)
}

fn compare(
    lake: &Lake,
    mend: Mend,
    detail: Detail,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(&str),
) -> Result<CheckedLogs> {
    // Read the ledger before the other logs, because a batch is applied to the ledger last. Read the logs before the
    // batches, because a batch is created before a log records it.
    let mut logs = BTreeMap::new();
    for table in ORDER.into_iter().rev() {
        progress(&format!("the log of {}", table.name()));
        if !lake.is_to_come(table)? {
            logs.insert(table, salvage::read(&lake.storage, table)?);
        }
    }
    let reached = |salvaged: &Salvaged| salvaged.state.head.batch;
    let last = logs.values().map(reached).max().unwrap_or_default();
    let finished = logs.get(&Table::Snapshots).filter(|ledger| ledger.wrong.is_empty()).map_or(last, reached);
    progress("batches");
    let mut held = (BTreeMap::new(), detail);
    let mut batches = Batches::read(lake, (finished, last), &BTreeMap::new(), &logs, &held)?;
    let (mut stand_ins, mut refused) = (BTreeMap::new(), Vec::new());
    let lost = std::mem::take(&mut batches.lost);
    if !lost.is_empty() && logs.values().all(|log| log.wrong.is_empty()) {
        let numbers = lost.iter().map(|(number, (_, hash))| (*number, hash.clone())).collect();
        (stand_ins, refused) = stand_in::build(lake, &numbers, &batches.expected)?;
        batches = Batches::read(lake, (finished, last), &stand_ins, &logs, &held)?;
    }
    let has_all = lost.len() == stand_ins.len();
    for (table, salvaged) in &mut logs {
        let Some(expected) = batches.expected.get_mut(table) else { continue };
        expected.is_incomplete = !has_all;
        let (mut of_batches, of_log) = salvage::suspects(salvaged, expected, finished);
        salvaged.hold(&lake.storage, *table, &of_log, detail)?;
        if salvaged.set_strays_aside(&lake.storage, *table, expected)? {
            // Without the strays, the log may list only files that batches added. Then no other engine merged files,
            // and files that only batches list are suspects, too.
            let (more, of_log) = salvage::suspects(salvaged, expected, finished);
            salvaged.hold(&lake.storage, *table, &of_log, detail)?;
            of_batches = more;
        }
        held.0.insert(*table, of_batches);
    }
    if held.0.values().any(|keys| !keys.is_empty()) {
        batches = Batches::read(lake, (finished, last), &stand_ins, &logs, &held)?;
    }
    let mut can_be_mended = Mended::WithoutLoss;
    let mut push = |what: String, remedy: Remedy| {
        can_be_mended = can_be_mended.max(Mended::by(remedy));
        report.push(what, remedy);
    };
    for (number, (what, _)) in &lost {
        let remedy = match stand_ins.contains_key(number) {
            false => Remedy::Nothing,
            true if *number > finished => Remedy::DropBatch,
            true => Remedy::Repair,
        };
        push(what.clone(), remedy);
    }
    refused.into_iter().for_each(|what| push(what, Remedy::Nothing));
    let by_batches = if has_all { Remedy::Repair } else { Remedy::Nothing };
    if batches.unfinished > 0 {
        let what = format!("{} of the last batches not yet in every table", batches.unfinished);
        push(what, by_batches);
    }
    let (mut all, mut to_mend, mut loses_rows) = (BTreeMap::new(), Vec::new(), false);
    for (table, salvaged) in logs {
        let mut of_batches = batches.expected.remove(&table).unwrap_or_default();
        of_batches.is_incomplete = !has_all;
        let mut differences = salvage::compare(table, lake.format(), &salvaged, &of_batches, finished);
        differences.leave_out_what_is_gone(&lake.storage, table, &salvaged.state)?;
        // A log is repaired only if every batch is known.
        salvaged.wrong.iter().chain(&differences.wrong).for_each(|what| push(what.clone(), by_batches));
        if let Some(rows) = differences.lost {
            let rows_text = rows.map_or("an unknown number of rows".to_owned(), |rows| format!("{rows} rows"));
            let what = format!(
                "{}: files that its log must name are missing, and with them {rows_text} that no other file has",
                table.name()
            );
            push(what, if has_all { Remedy::DropRows(table, rows) } else { Remedy::Nothing });
            loses_rows = true;
        }
        if !salvaged.wrong.is_empty() || !differences.wrong.is_empty() {
            to_mend.push((table, salvaged));
        }
        all.insert(table, differences);
    }
    let is_damaged = !stand_ins.is_empty() || !to_mend.is_empty() || batches.unfinished > 0;
    if can_be_mended.is_in(mend) && is_damaged {
        let numbers = lost.into_iter().map(|(number, (_, hash))| (number, hash)).collect();
        stand_in::put(lake, &numbers, &stand_ins)?;
        for (table, salvaged) in &to_mend {
            if !salvage::mend(&lake.storage, *table, lake.format(), salvaged, &all[table], now_ms())? {
                return Err(Error::conflict(format!(
                    "lake {}: {} changed during the repair; try again",
                    lake.storage,
                    table.name()
                )));
            }
        }
        lake.finish(&mut TableHeads::new())?;
        all.values_mut().for_each(|differences| *differences = Differences::default());
    }
    Ok(CheckedLogs { differences: all, can_be_mended, is_damaged, loses_rows })
}

/// The content of all batches.
#[derive(Default)]
struct Batches {
    expected: BTreeMap<Table, ExpectedTable>,
    /// Number of batches after the last batch that is in every table.
    unfinished: u64,
    /// The lost batches by number. A lost batch is missing, is damaged, or has another hash than the next batch
    /// records. Each entry has the finding, and the hash that the next batch records: `None` without a readable next
    /// batch, and `Some(None)` if the next batch records no hash.
    lost: BTreeMap<u64, (String, Option<Option<String>>)>,
}

impl Batches {
    /// Reads all batches. `finished` is the number of the last batch that every table has, and `last` is the number of
    /// the last batch that any table has. Later batches are read, too. `stand_ins` replace lost batches.
    fn read(
        lake: &Lake,
        (finished, last): (u64, u64),
        stand_ins: &BTreeMap<u64, Batch>,
        logs: &BTreeMap<Table, Salvaged>,
        (held, detail): &(BTreeMap<Table, HashSet<u64>>, Detail),
    ) -> Result<Batches> {
        let (no_log, none) = (Salvaged::default(), HashSet::new());
        let expected = ORDER.map(|table| (table, ExpectedTable::new())).into();
        let mut batches = Batches { expected, ..Batches::default() };
        let (mut number, mut hash, mut is_chained) = (0, None, false);
        let mut each = |batches: &mut Batches, bytes: Option<Vec<u8>>| {
            number += 1;
            let stand_in = stand_ins.get(&number);
            let read = match bytes.as_deref().filter(|_| stand_in.is_none()).map(Batch::parse) {
                // A batch of a newer format is not damaged.
                Some(Err(error)) if error.kind() == Kind::Unsupported => {
                    return Err(error).with_context(|| format!("lake {}: {}", lake.storage, batch_name(number)));
                }
                Some(read) => read.ok(),
                None => None,
            };
            if let Some((before, bytes)) = read.as_ref().zip(bytes.as_deref()) {
                let followed = before.before.clone();
                if let Some((_, of_next)) = batches.lost.get_mut(&(number - 1)) {
                    *of_next = Some(followed.clone());
                } else if (followed.is_some() || is_chained) && hash.is_some() && followed != hash {
                    let what = format!("batch {} was changed: batch {number} records another hash of it", number - 1);
                    batches.lost.insert(number - 1, (what, Some(followed.clone())));
                }
                is_chained |= followed.is_some();
                hash = Some(before.hash(bytes));
            } else {
                hash = None;
                if stand_in.is_none() {
                    let what = if bytes.is_some() { "damaged" } else { "missing" };
                    let what = format!("lake {}: {} is {what}", lake.storage, batch_name(number));
                    batches.lost.insert(number, (what, None));
                }
            }
            for (table, expected) in &mut batches.expected {
                if let Some(batch) = stand_in.or(read.as_ref()) {
                    let log = &logs.get(table).unwrap_or(&no_log).files;
                    let against = Against { log, held: (held.get(table).unwrap_or(&none), *detail) };
                    expected.apply(*table, number, batch, number <= finished, against);
                }
            }
            batches.unfinished += u64::from(number > finished);
            Ok(())
        };
        lake.storage.get_all((1..=last).map(batch_name), &mut |bytes| each(&mut batches, bytes))?;
        let mut next = last + 1;
        while let Some(bytes) = lake.storage.get(&batch_name(next))? {
            each(&mut batches, Some(bytes))?;
            next += 1;
        }
        Ok(batches)
    }
}
