//! Runs the views of `queries/` on embedded polars, over the Parquet files of a store, and answers users' queries over both.
//!
//! The views are SQL that any engine runs, and go through the engine's own SQL; a user's query is planned by `sql`, which
//! knows where the engine's SQL answers otherwise than the standard.
//!
//! A view that others need is computed before they read it and written to the store, or kept in memory if it is small and
//! nobody asked for it: polars would compute it anew each time.

mod by;
mod condition;
mod head;
mod kept;
pub mod plan;
pub mod question;
mod rows;
mod sql;
mod together;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use polars::prelude::{
    DataFrame, DataType, Engine, IntoLazy, LazyFrame, ParquetCompression, ParquetWriter, ScanArgsParquet,
    StatisticsOptions, col,
};
use polars::sql::{SQLContext, extract_table_identifiers};

use crate::error::Refused;
use crate::store::Store;
use crate::tables::Table;
use crate::tables::column::Described;
use crate::time::{self, When};
pub use by::By;
pub use condition::Condition;
pub use head::Head;
use kept::Kept;
pub use plan::Plan;
pub use question::Question;
pub use rows::Row;

/// One file of `queries/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its name in SQL, and its file's stem.
    pub name: &'static str,
    /// The file: a head that says what it means (see [`Head`]), and one SELECT.
    pub sql: &'static str,
}

/// All views, each behind those that it needs.
pub const VIEWS: [View; 23] = [
    View { name: "period", sql: include_str!("../queries/period.sql") },
    View { name: "observations", sql: include_str!("../queries/observations.sql") },
    View { name: "last_listing", sql: include_str!("../queries/last_listing.sql") },
    View { name: "event_counts", sql: include_str!("../queries/event_counts.sql") },
    View { name: "allocations", sql: include_str!("../queries/allocations.sql") },
    View { name: "windows", sql: include_str!("../queries/windows.sql") },
    View { name: "task_states", sql: include_str!("../queries/task_states.sql") },
    View { name: "coverage", sql: include_str!("../queries/coverage.sql") },
    View { name: "coverage_summary", sql: include_str!("../queries/coverage_summary.sql") },
    View { name: "timeline", sql: include_str!("../queries/timeline.sql") },
    View { name: "starts", sql: include_str!("../queries/starts.sql") },
    View { name: "endings", sql: include_str!("../queries/endings.sql") },
    View { name: "restart_log", sql: include_str!("../queries/restart_log.sql") },
    View { name: "attempts", sql: include_str!("../queries/attempts.sql") },
    View { name: "failures", sql: include_str!("../queries/failures.sql") },
    View { name: "restarts", sql: include_str!("../queries/restarts.sql") },
    View { name: "failure_summary", sql: include_str!("../queries/failure_summary.sql") },
    View { name: "start_latency", sql: include_str!("../queries/start_latency.sql") },
    View { name: "start_phases", sql: include_str!("../queries/start_phases.sql") },
    View { name: "crash_loops", sql: include_str!("../queries/crash_loops.sql") },
    View { name: "job_runs", sql: include_str!("../queries/job_runs.sql") },
    View { name: "job_run_summary", sql: include_str!("../queries/job_run_summary.sql") },
    View { name: "reschedules", sql: include_str!("../queries/reschedules.sql") },
];

/// The condition under which the time of a document in `snapshots` is trusted: in a lake it may not be later than its
/// ingest by more than an hour.
pub const TRUSTED: &str = "(ingested_at_ns IS NULL OR observed_at_ns <= ingested_at_ns + 3600000000000)";

/// So many views are computed at a time. The engine uses all cores for much of a view, but not for all of it, and plans
/// on one; more views than that would need memory for more.
const AT_A_TIME: usize = 2;

/// The statistics whose rows are groups, which `--by` names.
pub const GROUPED: [&str; 5] = ["coverage_summary", "restarts", "failure_summary", "start_latency", "start_phases"];

/// The view of that name.
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

impl View {
    /// What the file says of itself.
    ///
    /// # Errors
    /// When its head has not the form that [`Head`] describes, which tests rule out.
    pub fn head(&self) -> anyhow::Result<Head> {
        Head::parse(self.sql).with_context(|| format!("queries/{}.sql", self.name))
    }

    /// Whether its rows are groups, which `--by` names.
    pub fn is_grouped(&self) -> bool {
        GROUPED.contains(&self.name)
    }

    /// Its columns, when groups are these.
    ///
    /// # Errors
    /// As [`View::head`].
    pub fn columns(&self, by: &By) -> anyhow::Result<Vec<Described>> {
        let usual = self.head()?.columns;
        if self.is_grouped() { by.describe(usual) } else { Ok(usual) }
    }
}

/// The time that statistics look at, as the user names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// `--since`, inclusive.
    pub since: Option<When>,
    /// `--until`, exclusive.
    pub until: Option<When>,
}

impl Period {
    /// Whether one of its ends counts back from the newest observation.
    fn is_relative(self) -> bool {
        [self.since, self.until].iter().any(|when| matches!(when, Some(When::Before(_))))
    }

    /// The row of the view `period`, as SQL; `newest` is the newest observation, from which spans count.
    fn sql(self, newest: Option<i64>) -> String {
        let (since, until) = self.bounds(newest);
        format!("SELECT CAST({since} AS BIGINT) AS since_ns, CAST({until} AS BIGINT) AS until_ns")
    }

    /// Its first nanosecond, and the first after it.
    fn bounds(self, newest: Option<i64>) -> (i64, i64) {
        let moment = |when: Option<When>, open: i64| match when {
            None => open,
            Some(When::At(ns)) => ns,
            Some(When::Before(span)) => newest.map_or(open, |newest| newest.saturating_sub(span)),
        };
        (moment(self.since, 0), moment(self.until, i64::MAX))
    }
}

/// Computes views, each after those of them that it reads, and puts those that were asked for into the store. Spans of the
/// period count from the newest trusted observed_at in the store's `snapshots`.
///
/// # Errors
/// When the engine refuses a view, or the store cannot be read or written.
pub fn run(store: &Store, plans: &[Plan], period: Period) -> anyhow::Result<()> {
    let kept = Kept::of(plans);
    together::run(plans, AT_A_TIME, |plan| {
        compute(store, &kept, plan, period).with_context(|| format!("view {} cannot be computed", plan.view.name))
    })
}

/// Computes one view, and puts or keeps it.
fn compute(store: &Store, kept: &Kept, plan: &Plan, period: Period) -> anyhow::Result<()> {
    let name = plan.view.name;
    let rows = if name == "period" { period_frame(store, period)? } else { view_frame(store, kept, plan)? };
    kept.computed(plan);
    kept.keep(name, rows).map_or(Ok(()), |mut rows| put(store, name, &mut rows))
}

/// Answers a user's question from the tables and views in the store, and puts the answer there under this name. NOW is the
/// newest trusted observation in the store's `snapshots`.
///
/// # Errors
/// When the question asks for what is not supported, or a value cannot be computed: why, and a query that runs.
pub fn ask(store: &Store, question: &Question, name: &str) -> anyhow::Result<()> {
    let names = question.tables.iter().map(|table| table.name()).chain(question.views.iter().map(|view| view.name));
    let tables = named(store, names)?;
    let now = newest(store)?.map(|ns| ns.div_euclid(1000));
    put(store, name, &mut sql::answer(&question.query, tables, now)?)
}

/// The rows of a result that meet a condition, and how many do not because a value is null.
///
/// # Errors
/// When the condition asks for what is not supported.
pub fn met(store: &Store, result: &str, condition: &Condition) -> anyhow::Result<(Vec<Row>, usize)> {
    let ask = |text: &str| -> anyhow::Result<DataFrame> {
        let query = question::parse(text)?;
        let found = sql::answer(&query, named(store, [result].into_iter())?, None);
        Ok(found.map_err(|refused| Refused::because(format!("--fail-if '{}': {}", condition.text, refused.problem)))?)
    };
    let met = rows::of(&ask(&format!("SELECT * FROM {result} WHERE {}", condition.sql))?)?;
    let unknown = ask(&format!("SELECT * FROM {result} WHERE ({}) IS NULL", condition.sql))?;
    Ok((met, unknown.height()))
}

/// The rows that a query gives over the tables and views in the store.
///
/// # Errors
/// When the engine refuses it, or a value has no form in a [`Row`].
pub fn select(store: &Store, sql: &str) -> anyhow::Result<Vec<Row>> {
    rows::of(&frame(store, sql)?)
}

/// Puts a frame into the store.
fn put(store: &Store, name: &str, frame: &mut DataFrame) -> anyhow::Result<()> {
    let file = File::create(store.path(name))?;
    // Read once or twice and then gone: not worth compressing.
    let writer = ParquetWriter::new(file).with_compression(ParquetCompression::Uncompressed);
    writer.with_statistics(StatisticsOptions::empty()).finish(frame)?;
    Ok(())
}

fn period_frame(store: &Store, period: Period) -> anyhow::Result<DataFrame> {
    let newest = newest(store)?;
    if period.is_relative() {
        check_newest(store, newest)?;
    }
    frame(store, &period.sql(newest))
}

/// Refuses to count back from the newest observation where that is only a lower bound, as `queries/observations.sql` says.
fn check_newest(store: &Store, newest: Option<i64>) -> anyhow::Result<()> {
    if newest.is_none() {
        return Ok(());
    }
    let sql = format!(
        "SELECT MAX(observed_at_ns) AS newest FROM snapshots \
         WHERE {TRUSTED} AND COALESCE(observed_from, '') <> 'created'"
    );
    if frame(store, &sql)?.column("newest")?.i64()?.get(0) >= newest {
        return Ok(());
    }
    let problem = "a span of --since or --until counts back from the newest observation, and of that only a lower bound is \
                   known, since Nomad before 0.7.1 lists no ModifyTime: say when the documents were observed \
                   (--observed-at, or a UTC time in the file's name), or give times";
    Err(Refused::because(problem.to_owned()).into())
}

/// Why no observation in the store lies in a period; `None` when one does, or one is not dated.
///
/// # Errors
/// When the store cannot be read.
pub fn observed_nothing(store: &Store, period: Period) -> anyhow::Result<Option<String>> {
    let newest = newest(store)?;
    let (since, until) = period.bounds(newest);
    if since >= until {
        return Ok(Some("the period is empty: --since is not before --until".to_owned()));
    }
    if store.files(Table::Snapshots.name())?.is_empty() {
        return Ok(None);
    }
    // An observation at the end of a period shows what came before it.
    let sql = format!(
        "SELECT COUNT(*) AS n FROM snapshots WHERE observed_at_ns IS NULL OR (observed_at_ns >= {since} AND \
         observed_at_ns <= {until} AND {TRUSTED})"
    );
    let found = select(store, &sql)?.first().and_then(|row| row.int("n")).unwrap_or(0);
    if found > 0 {
        return Ok(None);
    }
    Ok(Some(match newest {
        None => "nothing was observed at any time".to_owned(),
        Some(newest) => {
            format!("nothing that was read was observed in the period; newest is {}", time::to_rfc3339_seconds(newest))
        }
    }))
}

/// The newest trusted observation in the store's `snapshots`, in nanoseconds since the epoch.
fn newest(store: &Store) -> anyhow::Result<Option<i64>> {
    if store.files(Table::Snapshots.name())?.is_empty() {
        return Ok(None);
    }
    let newest = frame(store, &format!("SELECT MAX(observed_at_ns) AS newest FROM snapshots WHERE {TRUSTED}"))?;
    Ok(newest.column("newest")?.i64()?.get(0))
}

/// What a query gives over the store's tables and the views that are there already.
fn frame(store: &Store, sql: &str) -> anyhow::Result<DataFrame> {
    Ok(context(store, extract_table_identifiers(sql, false, true)?.iter())?.execute(sql)?.collect()?)
}

/// The rows of a view, its steps computed one after the other; a step is let go when no other needs it.
fn view_frame(store: &Store, kept: &Kept, plan: &Plan) -> anyhow::Result<DataFrame> {
    let mut context = context(store, plan.reads.iter())?;
    for name in &plan.reads {
        kept.rows(name).into_iter().for_each(|rows| context.register(name, rows.lazy()));
    }
    let mut rows = DataFrame::empty();
    for step in &plan.steps {
        // The streaming engine groups by text in half the time and memory. It does not know every join that others
        // need, and falls over instead of saying so.
        let engine = if step.only_groups { Engine::Streaming } else { Engine::InMemory };
        rows = context.execute(&step.sql)?.collect_with_engine(engine)?.unwrap_single();
        step.last_use_of.iter().for_each(|name| context.unregister(name));
        context.register(&step.name, rows.clone().lazy());
    }
    Ok(rows)
}

/// These tables and views, as far as they are in the store.
fn context<'n>(store: &Store, names: impl Iterator<Item = &'n String>) -> anyhow::Result<SQLContext> {
    let context = SQLContext::new();
    // What is not in the store is one of a query's own common table expressions.
    for (name, table) in named(store, names.map(String::as_str))? {
        context.register(&name, table);
    }
    Ok(context)
}

/// The rows of these tables and views, as far as they are in the store.
fn named<'n>(store: &Store, names: impl Iterator<Item = &'n str>) -> anyhow::Result<BTreeMap<String, LazyFrame>> {
    let mut tables = BTreeMap::new();
    for name in names {
        let files = store.files(name)?;
        if !files.is_empty() {
            tables.insert(name.to_owned(), scan(&files)?);
        }
    }
    Ok(tables)
}

/// The files of a table, its moments as naive UTC: no engine is asked about time zones. One scan of all files, since over
/// several the engine counts rows in a type that this build lacks.
fn scan(files: &[PathBuf]) -> anyhow::Result<LazyFrame> {
    let paths = files.iter().map(|path| path.to_string_lossy().as_ref().into()).collect();
    let mut frame = LazyFrame::scan_parquet_files(paths, ScanArgsParquet::default())?;
    let schema = frame.collect_schema()?;
    let naive = schema.iter().filter_map(|(name, kind)| match kind {
        DataType::Datetime(unit, Some(_)) => Some(col(name.clone()).cast(DataType::Datetime(*unit, None))),
        _ => None,
    });
    let naive: Vec<_> = naive.collect();
    Ok(if naive.is_empty() { frame } else { frame.with_columns(naive) })
}
