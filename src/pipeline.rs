//! From sources to tables and views in a store: the common part of every command that shows data.

mod combine;
pub mod ingest;
mod live;
mod selection;
mod sources;
mod summary;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::{self, BoxError, Kind, Refused, Usage};
use crate::intake::{self, Absences, Note, Observer, Summary};
use crate::lake::{self, Lake};
use crate::merge::Filter;
use crate::query::{self, GroupBy, Method, Period, Plan, View, plan};
use crate::redact::Redactor;
use crate::source;
use crate::store::Store;
use crate::store::segmented::SegmentedWriter;
use crate::tables::Table;
use crate::time;

use combine::Combined;
use live::LiveTables;
pub use selection::Nothing;
pub use sources::{Source, Sources};
pub use summary::{LostRestarts, log_lines, lost_restarts, plural, summary_line};

/// What to read, and what to compute from it.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The sources.
    pub sources: Sources,
    /// Stored tables to keep, besides those that the views read.
    pub tables: BTreeSet<Table>,
    /// Views to compute, besides those that they read.
    pub views: Vec<&'static View>,
    /// The columns by which statistics are grouped.
    pub by: GroupBy,
    /// The period of the statistics. Stored tables are not restricted to it.
    pub period: Period,
    /// How to compute views that have a native twin. Every method gives the same rows.
    pub method: Method,
    /// Selects allocations.
    pub filter: Filter,
    /// Facts that the user states about all documents.
    pub documents: source::SourceOptions,
    /// The region of rows from documents; empty for none.
    pub region: String,
    /// The region whose rows are read from a lake; `None` for all regions.
    pub lake_region: Option<String>,
    /// Length of the period that ends at a lake's newest observation, in nanoseconds; `None` for all time. Only
    /// allocations that were seen in this period are read from the lake. If `period` starts earlier, the lake is read
    /// from that start on.
    pub lake_span: Option<i64>,
    /// With `lake_span`, a start that is used instead of the start of `period` when a lake is read; `None` to use the
    /// start of `period`.
    pub lake_since: Option<time::When>,
    /// Validate every byte of a document, and fail on the first error.
    pub strict: bool,
    /// Replaces names in the rows of the store by pseudonyms; `None` to keep names. Filters apply to the original
    /// names.
    pub redactor: Option<Arc<Redactor>>,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Summary of the documents and lakes that were read.
    pub summary: Summary,
    /// The names of the computed views, including those that only other views read.
    pub views: BTreeSet<&'static str>,
    /// Lost restarts; `None` if no document was read, or `coverage` was not computed.
    pub lost: Option<LostRestarts>,
    /// Why the filter and the period select nothing; `None` if they select something.
    pub nothing: Option<Nothing>,
}

/// Why a run failed. The store may be partially filled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid source, filter or option.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// A view that cannot be computed with these options.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// With [`Pipeline::strict`], part of a document was rejected; the notes say which.
    #[error("input was rejected and --strict is set")]
    Rejected,
    /// No document has allocations, or no document of this source has any. The text is the name of the source.
    #[error("{0}: no allocations found")]
    NoAllocations(String),
    /// No document has allocations, but logs have lines of task events. The texts are the name of the source and the
    /// number of lines (`84 lines`). The lines name no job, so the views have no rows.
    #[error(
        "{0}: no allocations found, only {1} of logs; read a listing of their allocations, too, or query recovered_events"
    )]
    OnlyLogs(String, String),
    /// A lake cannot be read or written.
    #[error(transparent)]
    Lake(error::Error),
    /// The documents could not be read.
    #[error(transparent)]
    Intake(#[from] intake::Error),
    /// The store cannot be written or read.
    #[error(transparent)]
    Store(error::Error),
    /// A view cannot be computed.
    #[error(transparent)]
    Query(error::Error),
    /// The caller's `show` failed.
    #[error("cannot show the tables")]
    Show(#[source] BoxError),
    /// A thread panicked.
    #[error("a thread of the pipeline panicked; this is a bug in alloclog")]
    Died,
}

impl Error {
    /// Wraps an error of another module. A usage error stays a usage error, and a refusal stays a refusal. Any other
    /// error is wrapped with `kind`.
    fn of(kind: fn(error::Error) -> Error) -> impl Fn(error::Error) -> Error {
        move |error| match (error.kind(), error.refused()) {
            (Kind::Usage, _) => Error::Usage(Usage(format!("{error:#}"))),
            (_, Some(refused)) => {
                Error::Refused(Refused { problem: format!("{error:#}"), advice: refused.advice.clone() })
            }
            _ => kind(error),
        }
    }
}

/// Called with the store and the totals so far, while more documents arrive.
pub type Show<'s> = dyn FnMut(&Store, &Summary) -> Result<(), BoxError> + Send + 's;

/// The tables to fill and the views to compute.
struct Work {
    tables: BTreeSet<Table>,
    views: Vec<Plan>,
}

impl Pipeline {
    /// Reads the sources into the store, lakes first, and computes the views.
    ///
    /// # Errors
    /// When a lake cannot be read, no source has allocations, the store cannot be written, a view cannot be computed,
    /// or input is rejected and `strict` is set. Damage in documents is not an error: it is reported and counted.
    pub fn run(&self, store: &Store, observer: &dyn Observer) -> Result<Outcome, Error> {
        let work = self.work()?;
        let lakes = self.open_lakes()?;
        let summary = self.take_in(store, &work, &lakes, observer)?;
        self.finish(store, &work, &lakes, summary, observer)
    }

    /// Like [`Pipeline::run`], for a cluster that is followed. Recomputes the views and calls `show` after a document
    /// ends, at most once per `min_interval`. At the end, recomputes the views once more.
    ///
    /// # Errors
    /// As [`Pipeline::run`], and when `show` fails.
    pub fn run_live(
        &self,
        store: &Store,
        observer: &dyn Observer,
        min_interval: Duration,
        show: &mut Show<'_>,
    ) -> Result<Outcome, Error> {
        let work = self.work()?;
        let counting = CountRejected { observer, rejected: AtomicU64::new(0) };
        let live = LiveTables::new(SegmentedWriter::new(store, work.tables.clone()), self.redactor.clone());
        let options = self.intake_options(Absences::ByDocument);
        let mut refresh = |documents: u64| {
            query::run(store, &work.views, self.period, self.method).map_err(Error::of(Error::Query))?;
            let rejected = counting.rejected.load(Ordering::Relaxed);
            show(store, &Summary { documents, rejected, ..Summary::default() }).map_err(Error::Show)
        };
        let (taken, refreshed) = thread::scope(|scope| {
            let refreshing = scope.spawn(|| live.refresh(min_interval, &mut refresh));
            let taken = intake::run(self.sources.inputs(), &options, &counting, &mut &live);
            live.end();
            (taken, refreshing.join())
        });
        // An error of the refresh loop causes later errors, so report it first.
        refreshed.map_err(|_| Error::Died)??;
        live.finish().map_err(Error::of(Error::Store))?;
        self.finish(store, &work, &[], taken?, observer)
    }

    fn work(&self) -> Result<Work, Error> {
        let mut views = plan::needed(&self.views, &self.by);
        // Keep these two views if they are computed. The summary prints the number of lost restarts (`coverage`), and a
        // report shows the events of allocations that no listing shows (`recovered_events`).
        let is_kept = |plan: &&mut Plan| ["coverage", "recovered_events"].contains(&plan.view.name);
        views.iter_mut().filter(is_kept).for_each(Plan::want);
        let mut tables = plan::tables(&views);
        tables.extend(&self.tables);
        tables.insert(Table::Snapshots); // durations count back from the newest observation in it
        if self.counts_allocations() {
            tables.insert(Table::AllocationHistory); // needed to decide whether the filter matches anything
        }
        Ok(Work { tables, views })
    }

    fn open_lakes(&self) -> Result<Vec<Lake>, Error> {
        let open = |text: &String| Lake::open(text).map_err(Error::of(Error::Lake));
        self.sources.lakes().iter().map(open).collect()
    }

    fn intake_options(&self, absences: Absences) -> intake::IntakeOptions {
        intake::IntakeOptions {
            source: self.documents.clone(),
            region: self.region.clone(),
            filter: self.filter.clone(),
            strict: self.strict,
            absences,
            known_files: None,
        }
    }

    /// Reads lakes and documents into the store's tables.
    fn take_in(&self, store: &Store, work: &Work, lakes: &[Lake], observer: &dyn Observer) -> Result<Summary, Error> {
        let inputs = self.sources.inputs();
        let writer = store.writer(work.tables.iter().copied()).map_err(Error::of(Error::Store))?;
        let mut combined = Combined::new(writer, self.redactor.clone(), lakes.len(), inputs.len());
        if self.filter.needs_listing() && !inputs.is_empty() {
            combined.note_selected();
        }
        let mut documents_of_lakes = 0;
        let wanted: Vec<Table> = work.tables.iter().copied().collect();
        let selection = self.selection(self.lake_span);
        for lake in lakes {
            let mut deliver = |table, batch| combined.add_of_lake(table, batch);
            let found = lake::scan::rows(lake, &wanted, &selection, &mut deliver).map_err(Error::of(Error::Lake))?;
            documents_of_lakes += found.rows.get(Table::Snapshots.name()).copied().unwrap_or_default();
            observer.note(Note::Info(lake_line(lake, &found)));
        }
        let taken = if inputs.is_empty() {
            Ok(Summary::default())
        } else {
            intake::run(inputs, &self.intake_options(combined.absences()), observer, &mut combined)
        };
        // An error of the writer causes later errors, so report it first.
        let shown = taken.as_ref().ok().map(|summary| &summary.shown);
        combined.finish(&self.region, shown).map_err(Error::of(Error::Store))?;
        let mut summary = taken?;
        summary.documents += documents_of_lakes;
        Ok(summary)
    }

    /// Computes the views over the rows that were read.
    fn finish(
        &self,
        store: &Store,
        work: &Work,
        lakes: &[Lake],
        summary: Summary,
        observer: &dyn Observer,
    ) -> Result<Outcome, Error> {
        let wants_logs =
            self.tables.contains(&Table::LogEvents) || self.views.iter().any(|view| query::is_of_logs(view.name));
        self.sources.check(&summary, self.strict, wants_logs)?;
        if !work.views.is_empty() {
            observer.stage("computing views");
            query::run(store, &work.views, self.period, self.method).map_err(Error::of(Error::Query))?;
        }
        let views: BTreeSet<&'static str> = work.views.iter().map(|plan| plan.view.name).collect();
        let counts_lost = !self.sources.inputs().is_empty() && views.contains("coverage");
        let lost = counts_lost.then(|| lost_restarts(store)).transpose()?;
        let nothing = self.selects_nothing(store, lakes)?;
        Ok(Outcome { summary, views, lost, nothing })
    }
}

/// Forwards all calls, and counts the notes about rejected input.
struct CountRejected<'o> {
    observer: &'o dyn Observer,
    rejected: AtomicU64,
}

impl Observer for CountRejected<'_> {
    fn read(&self, bytes: u64) {
        self.observer.read(bytes);
    }

    fn note(&self, note: Note) {
        self.rejected.fetch_add(u64::from(matches!(note, Note::Rejected(_))), Ordering::Relaxed);
        self.observer.note(note);
    }
}

/// A one-line summary of the rows that were read from a lake.
fn lake_line(lake: &Lake, found: &lake::scan::ScanSummary) -> String {
    let events = found.rows.get(Table::TaskEvents.name()).copied().unwrap_or_default();
    let since = found
        .since
        .map_or("all of it".to_owned(), |ns| format!("allocations seen since {}", time::to_rfc3339_seconds(ns)));
    format!(
        "lake {}: {since}: {}, from {} of {}",
        lake.storage,
        plural(events, "task event"),
        found.files.0,
        plural(found.files.1 as u64, "file"),
    )
}
