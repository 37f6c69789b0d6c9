//! Deduplication: which rows of a document are new.
//!
//! Two rows with the same identity are the same row. So the set of rows depends neither on the order of documents nor
//! on their repetition. The program holds one hash per row in memory, not the row itself.

mod chunked_vec;
mod interner;
mod row_set;
mod versions;

use std::num::NonZeroI64;

use arrow::error::ArrowError;
use hashbrown::HashSet;

use crate::decode::document::{AllocationPreview, Item, ItemContent};
use crate::decode::record::Allocation;
use crate::glob::Glob;
use crate::tables::column::{self, Column, identity};
use crate::tables::sink;
use crate::tables::{AllocationKey, Shape, Table, allocation_history, nodes, task_events, task_state_history};
use crate::time;
use interner::Interner;
use row_set::RowSet;
use versions::version_key;

pub use versions::{VersionFacts, Versions};

/// Selects allocations: `--namespace`, `--job` and `--prefix`.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this namespace; `None` or `*` for all.
    pub namespace: Option<String>,
    /// Only jobs whose ID matches.
    pub job: Option<Glob>,
    /// Only allocations whose ID starts with these hexadecimal digits; hyphens are ignored.
    pub allocation: Option<String>,
}

impl Filter {
    /// Returns true if the filter may exclude allocations.
    pub fn is_restrictive(&self) -> bool {
        self.needs_listing() || self.allocation.is_some()
    }

    /// Returns true if the job or the namespace of an allocation decides whether the allocation is kept. A log line has
    /// neither, so a listing must show the allocation.
    pub fn needs_listing(&self) -> bool {
        self.job.is_some() || self.namespace.as_deref().is_some_and(|namespace| namespace != "*")
    }

    /// Returns true if the rows of an allocation that no listing shows are kept.
    pub fn keeps_unlisted(&self, alloc_id: &str) -> bool {
        !self.needs_listing() && self.has_prefix(alloc_id)
    }

    /// Returns true if an allocation's ID starts with the digits in `allocation`, or if `allocation` is `None`.
    pub fn has_prefix(&self, alloc_id: &str) -> bool {
        let digits =
            |prefix: &String| alloc_id.bytes().filter(|byte| *byte != b'-').take(prefix.len()).eq(prefix.bytes());
        self.allocation.as_ref().is_none_or(digits)
    }

    /// Returns true if the rows of an allocation with this key are kept.
    pub fn keeps(&self, allocation_key: &AllocationKey<'_>) -> bool {
        let namespace = self.namespace.as_deref().is_none_or(|n| n == "*" || n == allocation_key.namespace);
        let job = || self.job.as_ref().is_none_or(|glob| allocation_key.job_id.is_some_and(|id| glob.is_match(id)));
        namespace && job() && self.has_prefix(allocation_key.alloc_id)
    }
}

/// The columns of the tables that the merge fills, created once.
pub struct Columns<'a> {
    history: Vec<Column<allocation_history::AllocationRow<'a>>>,
    states: Vec<Column<task_state_history::TaskStateRow<'a>>>,
    events: Vec<Column<task_events::TaskEventRow<'a>>>,
    nodes: Vec<Column<nodes::NodeRow<'a>>>,
}

impl Columns<'_> {
    /// Creates all columns.
    pub fn new() -> Self {
        Columns {
            history: allocation_history::columns(),
            states: task_state_history::columns(),
            events: task_events::columns(),
            nodes: nodes::columns(),
        }
    }
}

impl Default for Columns<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Rows and the identities of their keys, in separate vectors because rows are large and should not be moved.
struct Keyed<R> {
    identities: Vec<u128>,
    /// For each row, the index of its version in this part.
    versions: Vec<usize>,
    rows: Vec<R>,
}

impl<R> Default for Keyed<R> {
    fn default() -> Self {
        Keyed { identities: Vec::new(), versions: Vec::new(), rows: Vec::new() }
    }
}

impl<R> Keyed<R> {
    /// Assigns the rows added since the last call to a version, and computes their identities.
    fn assign(&mut self, version: usize, columns: &[Column<R>], buffer: &mut Vec<u8>) {
        self.versions.resize(self.rows.len(), version);
        self.identify(columns, buffer);
    }

    /// Computes missing identities.
    fn identify(&mut self, columns: &[Column<R>], buffer: &mut Vec<u8>) {
        let added = &self.rows[self.identities.len()..];
        self.identities.extend(added.iter().map(|row| identity(columns, row, buffer)));
    }

    /// Applies `mark` to every row, and then keeps the rows for whose version and identity `is_new` returns true.
    fn keep_new(&mut self, mut is_new: impl FnMut(usize, u128) -> bool, mut mark: impl FnMut(&mut R)) {
        let mut keys = std::mem::take(&mut self.versions).into_iter().zip(std::mem::take(&mut self.identities));
        let kept = &mut self.identities;
        self.rows.retain_mut(|row| {
            mark(row);
            let identity = keys.next().filter(|(version, identity)| is_new(*version, *identity));
            kept.extend(identity.map(|(_, identity)| identity));
            identity.is_some()
        });
    }
}

/// The rows of a part of a document, before deduplication.
#[derive(Default)]
pub struct PartRows<'a> {
    /// One entry per allocation, in document order.
    pub versions: Vec<ShownVersion<'a>>,
    history: Keyed<allocation_history::AllocationRow<'a>>,
    states: Keyed<task_state_history::TaskStateRow<'a>>,
    events: Keyed<task_events::TaskEventRow<'a>>,
    nodes: Keyed<nodes::NodeRow<'a>>,
}

/// An allocation as shown by one document.
pub struct ShownVersion<'a> {
    shown: ShownAs<'a>,
    /// The facts for the merge, the ledger and the sightings.
    pub facts: VersionFacts,
}

/// How a version was read from a document.
enum ShownAs<'a> {
    /// It was parsed: the allocation, its namespace, and the key of the version. The key is `None` if the version may
    /// not be skipped when it is listed again.
    Read(&'a str, &'a str, Option<u128>),
    /// It was skipped: the number of the known version.
    Seen(u32),
}

/// Builds the rows of the items in a part of a document. An allocation without a namespace gets `namespace`.
pub fn rows<'a>(
    items: &'a [Item<'a>],
    region: &'a str,
    namespace: &'a str,
    filter: &Filter,
    columns: &Columns<'a>,
) -> PartRows<'a> {
    let mut made = PartRows::default();
    let mut buffer = Vec::with_capacity(512);
    for item in items {
        let version = made.versions.len();
        let (a, is_streamed) = match &item.content {
            ItemContent::Allocation(a) => (a, false),
            ItemContent::Streamed(a) => (a, true),
            ItemContent::Seen(number) => {
                made.versions.push(ShownVersion { shown: ShownAs::Seen(*number), facts: VersionFacts::default() });
                continue;
            }
            ItemContent::Node(node) => {
                made.nodes.rows.push(nodes::NodeRow { region, node });
                made.nodes.assign(version, &columns.nodes, &mut buffer);
                continue;
            }
        };
        let Some(allocation_key) = AllocationKey::from_allocation(region, namespace, a) else { continue };
        let shape = match (is_streamed, a.is_full) {
            (true, _) => Shape::Stream,
            (false, true) => Shape::Full,
            (false, false) => Shape::Stub,
        };
        let times = || a.task_states.iter().flat_map(|s| &s.events).filter_map(|e| e.time.and_then(time::positive));
        let keeps = filter.keeps(&allocation_key);
        let positive = |ns: i64| NonZeroI64::new(ns).filter(|ns| ns.get() > 0);
        let facts = VersionFacts {
            alloc: 0,
            namespace: 0,
            shape,
            // An allocation that the filter excludes has no sightings either.
            is_live: keeps && !matches!(a.client_status.as_deref(), Some("complete" | "failed" | "lost")),
            is_pending: a.client_status.as_deref() == Some("pending"),
            modified: a.modify_time.and_then(time::positive).and_then(positive),
            created: a.create_time.and_then(time::positive).and_then(positive),
            modify_index: a.modify_index.and_then(positive),
            newest_event: times().max().and_then(positive),
            redacted: a.redaction_key(),
            task_states: a.task_states.len() as u32,
            task_events: a.task_states.iter().map(|s| s.events.len() as u32).sum(),
            event_times: times().count() as u32,
            any_exact: !times().all(time::looks_like_float),
            any_fine: times().any(|ns| ns % 1_000 != 0),
        };
        let version_key = match (a.modify_index, a.modify_time) {
            (Some(modify_index), Some(modify_time)) if may_skip_next_time(item, a) => {
                Some(version_key(&AllocationPreview {
                    id: allocation_key.alloc_id,
                    modify_index,
                    modify_time,
                    is_full: a.is_full,
                    len: item.bytes.len(),
                }))
            }
            _ => None,
        };
        made.versions.push(ShownVersion {
            shown: ShownAs::Read(allocation_key.alloc_id, allocation_key.namespace, version_key),
            facts,
        });
        if !keeps {
            continue;
        }
        made.history.rows.push(allocation_history::row(allocation_key, a, shape));
        made.history.assign(version, &columns.history, &mut buffer);
        task_state_history::rows(allocation_key, a, &mut made.states.rows);
        made.states.assign(version, &columns.states, &mut buffer);
        for state in &a.task_states {
            task_events::rows(allocation_key, state, &mut made.events.rows);
            made.events.assign(version, &columns.events, &mut buffer);
        }
    }
    made
}

/// Returns true if an allocation may be skipped when it is listed again. That is not the case for:
/// - An allocation with unknown fields, because it must be parsed to count them.
/// - The payload of a stream event, because the same JSON outside of a stream event would give a row of another
///   shape.
/// - An allocation without a namespace, because it gets the namespace of the document.
/// - An allocation whose modification time a float64 represents exactly, because its version looks the same in a
///   document with rounded times.
fn may_skip_next_time(item: &Item<'_>, a: &Allocation<'_>) -> bool {
    let is_streamed = matches!(item.content, ItemContent::Streamed(_));
    !item.has_unknown && !is_streamed && a.namespace.is_some() && !a.modify_time.is_some_and(time::looks_like_float)
}

/// The known rows: one hash each.
#[derive(Debug, Default)]
pub struct Merge {
    /// Rows of allocations.
    rows: RowSet,
    nodes: HashSet<u128>,
    documents: HashSet<u128>,
    sightings: HashSet<(u32, i64)>,
    allocations: Interner,
    namespaces: Interner,
    /// The allocations that the filter keeps; `None` if the filter needs no listing to decide about log lines.
    kept: Option<HashSet<u32>>,
}

/// How many rows of a part were new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct New {
    pub allocations: u64,
    pub task_states: u64,
    pub task_events: u64,
}

impl Merge {
    /// The state before the first row. If the filter needs a listing, the state also records which allocations the
    /// filter keeps.
    pub fn new(filter: &Filter) -> Merge {
        Merge { kept: filter.needs_listing().then(HashSet::new), ..Merge::default() }
    }

    /// Returns true if a listing shows the allocation and the filter keeps it. Always false for a filter that needs no
    /// listing.
    pub fn is_kept(&mut self, alloc_id: &str) -> bool {
        let number = self.allocations.number(alloc_id);
        self.kept.as_ref().is_some_and(|kept| kept.contains(&number))
    }

    /// Returns true if a row of `log_events` is new.
    pub fn log_event(&mut self, alloc_id: &str, identity: u128) -> bool {
        let number = self.allocations.number(alloc_id);
        self.rows.is_new(number, identity as u64 ^ Table::LogEvents as u64)
    }

    /// Assigns allocation numbers to the parsed versions of a part, and fills in the facts of the skipped versions.
    pub fn number(&mut self, rows: &mut PartRows<'_>, versions: &Versions) {
        for version in &mut rows.versions {
            match version.shown {
                ShownAs::Seen(number) => version.facts = versions.facts(number).unwrap_or_default(),
                ShownAs::Read(alloc_id, namespace, _) => {
                    version.facts.alloc = self.allocations.number(alloc_id);
                    version.facts.namespace = self.namespaces.number(namespace);
                }
            }
        }
    }

    /// Records the versions of a part under `step`, so that these versions are skipped when they occur again. Must not
    /// be called for a document whose times passed through a float64, because its events differ from those of an exact
    /// document.
    pub fn record_versions(&self, rows: &PartRows<'_>, versions: &Versions, step: u64) {
        let read = rows.versions.iter().filter_map(|v| match v.shown {
            ShownAs::Read(_, _, Some(key)) if v.facts.event_times == 0 || v.facts.any_exact => Some((key, v.facts)),
            _ => None,
        });
        versions.add(read, step);
    }

    /// Frees the memory of the known rows, once no further rows will arrive.
    pub fn forget_rows(&mut self) {
        self.rows = RowSet::default();
        self.sightings = HashSet::new();
    }

    /// The ID of an allocation.
    pub fn alloc_id(&self, number: u32) -> &str {
        self.allocations.name(number)
    }

    /// The name of a namespace.
    pub fn namespace(&self, number: u32) -> &str {
        self.namespaces.name(number)
    }

    /// Keeps only the new rows in `rows`, and sets the number of the document in them.
    pub fn keep_new<'a>(
        &mut self,
        rows: &mut PartRows<'a>,
        columns: &Columns<'a>,
        snapshot_id: i64,
        times_rounded: bool,
    ) -> New {
        if times_rounded {
            rows.events.rows.iter_mut().for_each(|row| row.times_rounded = true);
            rows.events.identities.clear();
            rows.events.identify(&columns.events, &mut Vec::new());
        }
        let versions = &rows.versions;
        if let Some(kept) = &mut self.kept {
            kept.extend(rows.history.versions.iter().map(|version| versions[*version].facts.alloc));
        }
        // The hash includes the table, because rows of different tables differ even if their keys are equal.
        let mut is_new = |table: Table, version: usize, identity: u128| {
            self.rows.is_new(versions[version].facts.alloc, identity as u64 ^ table as u64)
        };
        let (history, states, events) = (Table::AllocationHistory, Table::TaskStateHistory, Table::TaskEvents);
        rows.history.keep_new(|version, id| is_new(history, version, id), |row| row.snapshot_id = snapshot_id);
        rows.states.keep_new(|version, id| is_new(states, version, id), |row| row.snapshot_id = snapshot_id);
        rows.events.keep_new(|version, id| is_new(events, version, id), |_| ());
        rows.nodes.keep_new(|_, id| self.nodes.insert(id), |_| ());
        New {
            allocations: rows.history.rows.len() as u64,
            task_states: rows.states.rows.len() as u64,
            task_events: rows.events.rows.len() as u64,
        }
    }

    /// Returns true if a sighting is new.
    pub fn sighting(&mut self, alloc: u32, seen_at: i64) -> bool {
        self.sightings.insert((alloc, seen_at))
    }

    /// Returns true if a document is new, by the hash of its identity.
    pub fn document(&mut self, identity: u128) -> bool {
        self.documents.insert(identity)
    }
}

/// Returns batches of a document that contain the rows kept by [`Merge::keep_new`]. Leaves out empty batches.
///
/// # Errors
/// Only because of a bug: if a schema and its columns disagree.
pub fn batches<'a>(rows: PartRows<'a>, columns: &Columns<'a>, document: i64) -> Result<Vec<sink::Rows>, ArrowError> {
    let batches = [
        batch(Table::TaskEvents, &columns.events, rows.events, document)?,
        batch(Table::AllocationHistory, &columns.history, rows.history, document)?,
        batch(Table::TaskStateHistory, &columns.states, rows.states, document)?,
        batch(Table::Nodes, &columns.nodes, rows.nodes, document)?,
    ];
    Ok(batches.into_iter().filter(|rows| !rows.identities.is_empty()).collect())
}

fn batch<R>(table: Table, columns: &[Column<R>], new: Keyed<R>, document: i64) -> Result<sink::Rows, ArrowError> {
    let batch = column::batch(columns, table.schema(), new.rows.iter())?;
    Ok(sink::Rows { table, document: Some(document), batch, identities: new.identities })
}
