//! Runs the views of `queries/` on embedded polars over the Parquet files of a store. Also answers users' queries
//! over the stored tables and the views.
//!
//! The views are portable SQL, and run on polars' SQL front end. That front end deviates from the SQL standard in some
//! cases, so users' queries are planned by the module `sql` instead.
//!
//! A view that is difficult or slow in SQL can have a native twin, which computes the same rows faster (`native`).
//!
//! A view that other views read is computed once, before them, because polars would otherwise recompute it for each of
//! them. Its rows are written to the store. If the rows are few, and the view is not itself a result, they are kept in
//! memory instead.

mod condition;
pub mod dialect;
mod doc_header;
mod group_by;
mod logs;
mod native;
pub mod plan;
pub mod question;
mod rows;
mod scheduler;
mod short_form;
mod sql;
mod view_cache;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use polars::prelude::{
    DataFrame, DataType, Engine, IntoLazy, LazyFrame, ParquetCompression, ParquetWriter, ScanArgsParquet,
    StatisticsOptions, col,
};
use polars::sql::{SQLContext, extract_table_identifiers};

use crate::error::{Context, Refused, Result};
use crate::store::Store;
use crate::tables::Table;
use crate::tables::column::Described;
use crate::time::{self, When};
pub use condition::Condition;
pub use doc_header::DocHeader;
pub use group_by::GroupBy;
use logs::WithoutLogs;
pub(crate) use logs::is_of_logs;
pub use native::Method;
pub use plan::Plan;
pub use question::Question;
pub use rows::Row;
pub use short_form::ShortForm;
use view_cache::ViewCache;

/// A file of `queries/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The name of the view in SQL, and the stem of its file name.
    pub name: &'static str,
    /// The text of the file: a header comment (see [`DocHeader`]), and one SELECT.
    pub sql: &'static str,
    /// The stored tables and views that the SELECT reads, sorted.
    pub reads: &'static [&'static str],
    /// The sorted names of at least all columns that its expressions name. A column whose name is not in this list does
    /// not affect its rows.
    columns: &'static [&'static str],
}

/// All files of `queries/`, each after the files that it reads. `build.rs` generates the list.
pub const VIEWS: &[View] = include!(concat!(env!("OUT_DIR"), "/views.rs"));

/// The condition under which the time of a document in `snapshots` is trusted. In a lake, that time may be at most an
/// hour after the document was ingested.
pub const TRUSTED: &str = "(ingested_at_ns IS NULL OR observed_at_ns <= ingested_at_ns + 3600000000000)";

/// How many views are computed at the same time. The engine uses all cores for most of a view, but only one core to
/// plan it, so a second view uses the idle cores. More than two views at the same time would need more memory.
const AT_A_TIME: usize = 2;

/// The view with this name.
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

impl View {
    /// Parses the header comment of the view.
    ///
    /// # Errors
    /// When the header does not have the form of [`DocHeader`]; tests check that every view has it.
    pub fn head(&self) -> Result<DocHeader> {
        DocHeader::parse(self.sql).with_context(|| format!("queries/{}.sql", self.name))
    }

    /// Returns true if the header of the view says `Grouped: yes`: each of its rows is a group by the columns of
    /// `--by`.
    pub fn is_grouped(&self) -> bool {
        doc_header::says(self.sql, "Grouped: yes")
    }

    /// Returns true if the header of the view says `Exported: yes`: `export` writes it unless `--table` names other
    /// tables.
    pub fn is_exported(&self) -> bool {
        doc_header::says(self.sql, "Exported: yes")
    }

    /// The columns of the view. If the view is grouped, its group columns are those of `by`.
    ///
    /// # Errors
    /// As [`View::head`].
    pub fn columns(&self, by: &GroupBy) -> Result<Vec<Described>> {
        let usual = self.head()?.columns;
        if self.is_grouped() { by.describe(usual) } else { Ok(usual) }
    }
}

/// The period of the statistics, as given by the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// `--since`, inclusive.
    pub since: Option<When>,
    /// `--until`, exclusive.
    pub until: Option<When>,
}

impl Period {
    /// Returns true if one end of the period is relative to the newest observation.
    fn is_relative(self) -> bool {
        [self.since, self.until].iter().any(|when| matches!(when, Some(When::Before(_))))
    }

    /// The row of the view `period`, as SQL. Relative ends count back from `newest`.
    fn sql(self, newest: Option<i64>) -> String {
        let (since, until) = self.bounds(newest);
        format!("SELECT CAST({since} AS BIGINT) AS since_ns, CAST({until} AS BIGINT) AS until_ns")
    }

    /// The first nanosecond of the period, and the first nanosecond after it.
    fn bounds(self, newest: Option<i64>) -> (i64, i64) {
        let moment = |when: Option<When>, open: i64| match when {
            None => open,
            Some(When::At(ns)) => ns,
            Some(When::Before(span)) => newest.map_or(open, |newest| newest.saturating_sub(span)),
        };
        (moment(self.since, 0), moment(self.until, i64::MAX))
    }
}

/// Computes views, each after the views that it reads, and writes the requested views to the store. Relative ends of
/// the period count back from the newest trusted observed_at in the store's `snapshots`. Every `method` gives the same
/// rows.
///
/// # Errors
/// When the engine rejects a view, or the store cannot be read or written.
pub fn run(store: &Store, plans: &[Plan], period: Period, method: Method) -> Result<()> {
    let kept = ViewCache::for_plans(plans);
    let has_logs = method == Method::Sql || has_rows(store, Table::LogEvents)?;
    scheduler::run(plans, AT_A_TIME, |plan| {
        compute(store, &kept, plan, period, method, has_logs)
            .with_context(|| format!("cannot compute view {}", plan.view.name))
    })
}

/// Computes one view, and writes it or keeps it in memory. If no logs were read, the rows of the views of logs come
/// from the module `logs`, without being computed.
fn compute(store: &Store, kept: &ViewCache, plan: &Plan, period: Period, method: Method, has_logs: bool) -> Result<()> {
    let name = plan.view.name;
    let twin = native::twin(name).filter(|_| method == Method::Native);
    let rows = match (logs::without_logs(name).filter(|_| !has_logs), twin) {
        _ if name == "period" => period_frame(store, period)?,
        (Some(WithoutLogs::Empty), _) => logs::empty(plan)?,
        (Some(WithoutLogs::SameAs(other)), _) if !plan.is_wanted => rows_of(store, kept, other)?.collect()?,
        (None, Some(twin)) => {
            let rows = twin(&|table, columns| columns_of(store, kept, table, columns), plan.is_wanted)?;
            let columns = plan.view.columns(&GroupBy::default())?;
            rows.select(columns.into_iter().map(|column| column.name).filter(|name| plan.keeps(name)))?
        }
        _ => view_frame(store, kept, plan)?,
    };
    kept.computed(plan);
    kept.keep(name, rows).map_or(Ok(()), |mut rows| put(store, name, &mut rows))
}

/// Answers a user's query from the tables and views in the store, and writes the result to the store as `name`. In
/// the query, NOW is the newest trusted observation in the store's `snapshots`.
///
/// # Errors
/// When the query is not supported, or a value cannot be computed. The error contains the reason, and a query that
/// runs.
pub fn answer(store: &Store, question: &Question, name: &str) -> Result<()> {
    let names = question.tables.iter().map(|table| table.name()).chain(question.views.iter().map(|view| view.name));
    let tables = named(store, names)?;
    let now = newest(store)?.map(|ns| ns.div_euclid(1000));
    let answered = sql::answer(&question.query, tables.clone(), now);
    put(store, name, &mut answered.map_err(|refused| with_query_that_runs(refused, &tables, now))?)
}

/// Maximum number of mistakes in one query that are corrected to find a query that runs.
const MISTAKES: usize = 8;

/// Replaces the query that a refusal recommends by a query that runs. In the recommended query, only the first mistake
/// is corrected, so it may contain other mistakes.
fn with_query_that_runs(mut refused: Refused, tables: &BTreeMap<String, LazyFrame>, now: Option<i64>) -> Refused {
    for _ in 0..MISTAKES {
        let Some(Ok(query)) = refused.query().map(question::parse) else { break };
        match sql::answer(&query, tables.clone(), now) {
            Ok(_) => break,
            Err(next) => {
                let Some(sql) = next.query().map(str::to_owned) else { break };
                refused = refused.with_other_query(sql);
            }
        }
    }
    refused
}

/// The rows of a result for which a condition is true, and the number of rows for which it is unknown because of a
/// null.
///
/// # Errors
/// When the condition is not supported.
pub fn matching_rows(store: &Store, result: &str, condition: &Condition) -> Result<(Vec<Row>, usize)> {
    let ask = |text: &str| -> Result<DataFrame> {
        let query = question::parse(text)?;
        let found = sql::answer(&query, named(store, [result].into_iter())?, None);
        Ok(found.map_err(|refused| Refused::because(format!("--fail-if '{}': {}", condition.text, refused.problem)))?)
    };
    let met = rows::from_frame(&ask(&format!("SELECT * FROM {result} WHERE {}", condition.sql))?)?;
    let unknown = ask(&format!("SELECT * FROM {result} WHERE ({}) IS NULL", condition.sql))?;
    Ok((met, unknown.height()))
}

/// Runs a query over one result in the store, and writes its rows to the store as `name`.
///
/// # Errors
/// When the query is not supported.
pub fn derive(store: &Store, result: &str, sql: &str, name: &str) -> Result<()> {
    put(store, name, &mut sql::answer(&question::parse(sql)?, named(store, [result].into_iter())?, None)?)
}

/// The rows that a query over the tables and views in the store returns.
///
/// # Errors
/// When the engine rejects the query, or a value has a type that [`Row`] does not support.
pub fn select(store: &Store, sql: &str) -> Result<Vec<Row>> {
    rows::from_frame(&frame(store, sql)?)
}

/// Writes a frame to the store.
fn put(store: &Store, name: &str, frame: &mut DataFrame) -> Result<()> {
    let file = File::create(store.path(name))?;
    // Uncompressed, because the file is read once or twice and then removed.
    let writer = ParquetWriter::new(file).with_compression(ParquetCompression::Uncompressed);
    writer.with_statistics(StatisticsOptions::empty()).finish(frame)?;
    Ok(())
}

fn period_frame(store: &Store, period: Period) -> Result<DataFrame> {
    let newest = newest(store)?;
    if period.is_relative() {
        check_newest(store, newest)?;
    }
    frame(store, &period.sql(newest))
}

/// Refuses to count back from the newest observation if only a lower bound of its time is known (see
/// `queries/observations.sql`).
fn check_newest(store: &Store, newest: Option<i64>) -> Result<()> {
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
    let problem = "a duration in --since or --until counts back from the newest observation, but only a lower bound of its time is \
                   known, because Nomad before 0.7.1 lists no ModifyTime: say when the documents were observed \
                   (--observed-at, or a UTC time in the file's name), or give times";
    Err(Refused::because(problem.to_owned()).into())
}

/// Explains why the store has no observation in a period. `None` if the store has an observation in the period. Also
/// `None` if it has allocations without an observation time, because these may have been observed in the period.
///
/// # Errors
/// When the store cannot be read.
pub fn observed_nothing(store: &Store, period: Period) -> Result<Option<String>> {
    let newest = newest(store)?;
    let (since, until) = period.bounds(newest);
    if since >= until {
        return Ok(Some("the period is empty: --since is not before --until".to_owned()));
    }
    if store.files(Table::Snapshots.name())?.is_empty() {
        return Ok(None);
    }
    // A document without an observation time and without allocations (a list of nodes, an empty list) counts as an
    // observation only if the period has no bounds.
    let least = if period.since.is_none() && period.until.is_none() { 0 } else { 1 };
    // The end is included here, because an observation at the end of a period shows what happened before it.
    let sql = format!(
        "SELECT COUNT(*) AS n FROM snapshots WHERE (observed_at_ns IS NULL AND allocations >= {least}) OR \
         (observed_at_ns >= {since} AND observed_at_ns <= {until} AND {TRUSTED})"
    );
    let found = select(store, &sql)?.first().and_then(|row| row.int("n")).unwrap_or(0);
    if found > 0 {
        return Ok(None);
    }
    Ok(Some(match newest {
        None => "there is no observation".to_owned(),
        Some(newest) => {
            format!("no observation is in the period; the newest is at {}", time::to_rfc3339_seconds(newest))
        }
    }))
}

/// The newest trusted observation in the store's `snapshots`, in nanoseconds since the epoch.
fn newest(store: &Store) -> Result<Option<i64>> {
    if store.files(Table::Snapshots.name())?.is_empty() {
        return Ok(None);
    }
    let newest = frame(store, &format!("SELECT MAX(observed_at_ns) AS newest FROM snapshots WHERE {TRUSTED}"))?;
    Ok(newest.column("newest")?.i64()?.get(0))
}

/// The result of a query over the store's tables and the views computed so far.
fn frame(store: &Store, sql: &str) -> Result<DataFrame> {
    let tables = extract_table_identifiers(sql, false, true)?;
    Ok(context(store, tables.iter().map(String::as_str))?.execute(sql)?.collect()?)
}

/// The rows of a view. Its steps are computed in order; the result of a step is dropped after its last use.
fn view_frame(store: &Store, kept: &ViewCache, plan: &Plan) -> Result<DataFrame> {
    let mut context = context(store, plan.view.reads.iter().copied())?;
    for name in plan.view.reads {
        kept.rows(name).into_iter().for_each(|rows| context.register(name, rows.lazy()));
    }
    let mut rows = DataFrame::empty();
    for step in plan.steps()? {
        // The streaming engine groups by text in half the time and memory. It does not run the other steps, because it
        // lacks some joins, and crashes on them instead of returning an error.
        let engine = if step.only_groups { Engine::Streaming } else { Engine::InMemory };
        let is_final = step.name == plan.view.name;
        let mut frame = context.execute(&step.sql)?;
        if let Some(columns) = if is_final { plan.kept_columns.as_ref() } else { Some(&plan.columns) } {
            frame = narrow(frame, columns)?;
        }
        rows = frame.collect_with_engine(engine)?.unwrap_single();
        step.last_use_of.iter().for_each(|name| context.unregister(name));
        context.register(&step.name, rows.clone().lazy());
    }
    Ok(rows)
}

/// Keeps only these columns of a step. `SELECT *` would carry the other columns from step to step.
fn narrow(mut frame: LazyFrame, columns: &BTreeSet<&str>) -> Result<LazyFrame> {
    let schema = frame.collect_schema()?;
    let named: Vec<_> = schema.iter_names().filter(|name| columns.contains(name.as_str())).cloned().collect();
    // If the step has none of these columns, later steps only count its rows. It then keeps all columns.
    let all_or_none = named.is_empty() || named.len() == schema.len();
    Ok(if all_or_none { frame } else { frame.select(named.into_iter().map(col).collect::<Vec<_>>()) })
}

/// The named columns of a stored table, or of a view that is already computed.
fn columns_of(store: &Store, kept: &ViewCache, name: &str, columns: &[&str]) -> Result<DataFrame> {
    let columns: Vec<_> = columns.iter().map(|name| col(*name)).collect();
    Ok(rows_of(store, kept, name)?.select(columns).collect()?)
}

/// The rows of a stored table, or of a view that is already computed.
fn rows_of(store: &Store, kept: &ViewCache, name: &str) -> Result<LazyFrame> {
    match kept.rows(name) {
        Some(rows) => Ok(rows.lazy()),
        None => named(store, [name].into_iter())?.remove(name).with_context(|| format!("{name} is not computed")),
    }
}

/// Returns true if a stored table has rows.
fn has_rows(store: &Store, table: Table) -> Result<bool> {
    let Some(rows) = named(store, [table.name()].into_iter())?.remove(table.name()) else { return Ok(false) };
    Ok(rows.limit(1).collect()?.height() > 0)
}

/// An SQL context with the named tables and views. Leaves out names that are not in the store.
fn context<'n>(store: &Store, names: impl Iterator<Item = &'n str>) -> Result<SQLContext> {
    let context = SQLContext::new();
    // A name that is not in the store is a common table expression of the query.
    for (name, table) in named(store, names)? {
        context.register(&name, table);
    }
    Ok(context)
}

/// The named tables and views. Leaves out names that are not in the store.
fn named<'n>(store: &Store, names: impl Iterator<Item = &'n str>) -> Result<BTreeMap<String, LazyFrame>> {
    let mut tables = BTreeMap::new();
    for name in names {
        let files = store.files(name)?;
        if !files.is_empty() {
            tables.insert(name.to_owned(), scan(&files)?);
        }
    }
    Ok(tables)
}

/// Scans the files of a table, with timestamps as naive UTC, so that no engine handles time zones. Uses one scan for
/// all files, because with several scans the engine counts rows in a type that this build of polars does not support.
fn scan(files: &[PathBuf]) -> Result<LazyFrame> {
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
