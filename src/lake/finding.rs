//! Findings of a check, and their remedies.

use std::collections::BTreeMap;

use super::delta_log::Add;
use crate::tables::Table;

/// The repairs that a check may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// No repair.
    Nothing,
    /// Damage that can be repaired without losing a row.
    WithoutLoss,
    /// All repairs: missing or damaged files are dropped too, and their rows are lost.
    DropDamaged,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The message.
    pub what: String,
    /// Its remedy.
    pub remedy: Remedy,
}

/// The remedy of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A repair that loses no row.
    Repair,
    /// Dropping a data file of this table, with this many rows; null if the table's log lacks the number.
    Drop(Table, Option<u64>),
    /// Continuing without this many rows of this table, because no existing file has them; null if the number is
    /// unknown.
    DropRows(Table, Option<u64>),
    /// Replacing a lost batch that is not in the log of every table. The rows of the batch are lost for each table
    /// whose log lacks the batch.
    DropBatch,
    /// This program has no remedy. A backup or another program may help.
    Nothing,
}

impl Remedy {
    /// Returns true if a check that may make the repairs `mend` applies this remedy.
    pub fn is_in(self, mend: Mend) -> bool {
        match self {
            Remedy::Repair => mend != Mend::Nothing,
            Remedy::Drop(..) | Remedy::DropRows(..) | Remedy::DropBatch => mend == Mend::DropDamaged,
            Remedy::Nothing => false,
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Findings, in order of batches and tables.
    pub wrong: Vec<Finding>,
    /// By table, the number of data files that could not be verified, because they have no hash. Files with findings do
    /// not count.
    pub unverified: BTreeMap<Table, usize>,
    /// Documents whose time is not trusted. This is not damage and needs no repair, because views ignore the times of
    /// these documents, and times derived from them.
    pub untrusted: Vec<String>,
}

impl CheckReport {
    pub(super) fn push(&mut self, what: String, remedy: Remedy) {
        self.wrong.push(Finding { what, remedy });
    }
}

/// Findings on a table's files. The keys of the maps are paths.
#[derive(Default)]
pub(super) struct Bad {
    /// All files with findings.
    pub files: BTreeMap<String, Add>,
    /// The messages on files that are proven to be missing or damaged.
    pub lost: BTreeMap<String, String>,
    /// For each lost file whose object exists but has wrong bytes: the hash of these bytes.
    pub found: BTreeMap<String, String>,
    /// Lost files whose bytes are in the object of another lost file, for example because two files were swapped. The
    /// values are the names of those objects.
    pub misplaced: BTreeMap<String, String>,
    /// The messages on files that this program cannot read, or that contradict the log, but that are not proven to be
    /// damaged.
    pub unclear: BTreeMap<String, String>,
    /// The row numbers, ascending, of rows that are also in another file or earlier in this one.
    pub doubled: BTreeMap<String, Vec<u32>>,
}
