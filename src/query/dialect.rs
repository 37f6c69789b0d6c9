//! SQL statements that register a lake's tables and the views over them in another engine.
//!
//! The views are the files of `queries/`, which use only SQL that the engines share. If an engine has another name for
//! a type or a function, the name is replaced. Engines inline views, and cannot plan views that are nested this deeply.
//! So each view becomes a table, created after the tables that it reads; a refresh computes it again.

mod clickhouse;

use super::{VIEWS, View};
use crate::error::{Result, Usage};
use crate::tables::Table;

/// An engine that reads Delta tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB with its delta extension; views are tables, see --refresh
    Duckdb,
    /// Spark with Delta Lake; views are tables, see --refresh
    Spark,
    /// Trino with a Delta Lake catalog; views are tables, see --refresh
    Trino,
    /// ClickHouse; views are tables that it recomputes every hour
    Clickhouse,
    /// BigQuery; views are tables, see --refresh
    Bigquery,
    /// Snowflake; views are tables, see --refresh
    Snowflake,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Dialect; 6] =
        [Dialect::Duckdb, Dialect::Spark, Dialect::Trino, Dialect::Clickhouse, Dialect::Bigquery, Dialect::Snowflake];
}

/// Which statements to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// The statements that create tables and views.
    All,
    /// The statements that recompute the tables that take the place of views.
    Refresh,
}

/// The statements for a lake at `lake`.
///
/// # Errors
/// When a refresh is requested for an engine that needs none, or the header of a view cannot be parsed.
pub fn statements(dialect: Dialect, lake: &str, part: StatementKind) -> Result<String> {
    let lake = lake.trim_end_matches('/').replace('\'', "''");
    let mut text = String::new();
    match part {
        StatementKind::All => {
            text.push_str(preface(dialect));
            text.push_str(&define_place(dialect, &lake));
            for table in Table::ALL {
                text.push_str(&define_table(dialect, table.name(), &lake));
                text.push('\n');
            }
        }
        StatementKind::Refresh if needs_refresh(dialect) => {
            text.push_str("-- Recomputes the statistics, each after those that it reads.\n");
            if dialect == Dialect::Snowflake {
                // Snowflake reads a Delta table in the state of its last REFRESH.
                for table in Table::ALL {
                    text.push_str(&format!("ALTER ICEBERG TABLE {} REFRESH;\n", table.name()));
                }
            }
        }
        StatementKind::Refresh => {
            let word = "--refresh does not apply to clickhouse, which recomputes the statistics itself";
            return Err(Usage(word.into()).into());
        }
    }
    for view in VIEWS {
        text.push('\n');
        text.push_str(&define_view(dialect, view)?);
    }
    Ok(text)
}

/// Returns true if `--refresh` has statements that recompute the tables. ClickHouse recomputes them by itself.
fn needs_refresh(dialect: Dialect) -> bool {
    dialect != Dialect::Clickhouse
}

/// The leading comment and the setup statements. The comment says which tests run the statements, and what the
/// statements need.
fn preface(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Duckdb => {
            "-- DuckDB. The statements are run by alloclog's tests. Each statistic is a table: `alloclog schema --dialect\n\
             -- duckdb --refresh` prints the statements that recompute them.\nINSTALL delta;\nLOAD delta;\n\n"
        }
        Dialect::Spark => {
            "-- Spark SQL with Delta Lake. The views are run by alloclog's tests. Each statistic is a table: `alloclog\n\
             -- schema --dialect spark --refresh` prints the statements that recompute them.\n\n"
        }
        Dialect::Trino => {
            "-- Trino with a Delta Lake catalog named delta (delta.register-table-procedure.enabled=true). NOT RUN by alloclog's\n\
             -- tests unless TRINO_HOME names a server; otherwise only parsed as Trino's SQL.\n\
             --\n\
             -- Trino inlines a view wherever it is named, and fails on deeply nested views\n\
             -- (QUERY_HAS_TOO_MANY_STAGES). So each statistic is a table next to the lake, created after the tables that it\n\
             -- reads. It shows the lake as of its creation. `alloclog schema --dialect trino --refresh` prints the statements\n\
             -- that recompute the statistics, without the setup statements. deploy/cron/alloclog-statistics runs them\n\
             -- hourly.\n\n"
        }
        Dialect::Clickhouse => {
            "-- ClickHouse 26.9. The views are run by alloclog's tests. They need a database whose engine is Atomic or Replicated.\n\
             --\n\
             -- Its planner cannot handle views nested this deep, so each view is a table. ClickHouse computes it when it is\n\
             -- created and then at every full hour, after the tables that it reads. A view is empty until its first\n\
             -- computation, and then shows the lake as of its last computation. If an ingest commits between the\n\
             -- computations of two views, they disagree until the next hour. system.view_refreshes shows the last refresh\n\
             -- and its error. SYSTEM REFRESH VIEW recomputes one view; running these statements again recomputes all.\n\
             --\n\
             -- For an S3 lake add the credentials after the location: DeltaLake('https://...', 'key', 'secret').\n\n"
        }
        Dialect::Bigquery => {
            "-- BigQuery, in a dataset named alloclog, with a BigLake connection: replace PROJECT.REGION.CONNECTION with yours.\n\
             -- NOT RUN by alloclog's tests: only parsed as BigQuery's SQL.\n\
             --\n\
             -- BigQuery limits how deep views nest, so each statistic is a table, created after the tables that it reads.\n\
             -- `alloclog schema --dialect bigquery --refresh` prints the statements that recompute the statistics;\n\
             -- deploy/cron/alloclog-statistics runs them hourly.\n\n"
        }
        Dialect::Snowflake => {
            "-- Snowflake, with an external volume on the lake's location (replace VOLUME) and a catalog integration (replace\n\
             -- DELTA_CATALOG) of CATALOG_SOURCE = OBJECT_STORE, TABLE_FORMAT = DELTA.\n\
             -- NOT RUN by alloclog's tests: only parsed as Snowflake's SQL.\n\
             --\n\
             -- Snowflake plans a view again wherever it is named, so each statistic is a table, created after the tables\n\
             -- that it reads. `alloclog schema --dialect snowflake --refresh` prints the statements that refresh the lake's\n\
             -- tables and recompute the statistics; deploy/cron/alloclog-statistics runs them hourly.\n\n"
        }
    }
}

/// The statement that creates the schema of the statistics, if the engine needs one.
fn define_place(dialect: Dialect, lake: &str) -> String {
    match dialect {
        Dialect::Trino => format!(
            "CREATE SCHEMA IF NOT EXISTS delta.alloclog WITH (location = '{lake}-statistics');\nUSE delta.alloclog;\n"
        ),
        _ => String::new(),
    }
}

/// The statement that registers a table.
fn define_table(dialect: Dialect, table: &str, lake: &str) -> String {
    let is_local = !lake.contains("://");
    match dialect {
        Dialect::Duckdb => format!("CREATE OR REPLACE VIEW {table} AS SELECT * FROM delta_scan('{lake}/{table}');"),
        Dialect::Spark => format!("CREATE TABLE IF NOT EXISTS {table} USING DELTA LOCATION '{lake}/{table}';"),
        Dialect::Trino => format!(
            "CALL delta.system.register_table(schema_name => 'alloclog', table_name => '{table}', \
             table_location => '{lake}/{table}');"
        ),
        Dialect::Clickhouse => {
            let engine = if is_local { "DeltaLakeLocal" } else { "DeltaLake" };
            format!("CREATE TABLE IF NOT EXISTS {table} ENGINE = {engine}('{lake}/{table}');")
        }
        Dialect::Bigquery => format!(
            "CREATE OR REPLACE EXTERNAL TABLE alloclog.{table} WITH CONNECTION `PROJECT.REGION.CONNECTION` \
             OPTIONS (format = 'DELTA_LAKE', uris = ['{lake}/{table}']);"
        ),
        Dialect::Snowflake => format!(
            "CREATE OR REPLACE ICEBERG TABLE {table} CATALOG = 'DELTA_CATALOG' EXTERNAL_VOLUME = 'VOLUME' \
             BASE_LOCATION = '{table}';"
        ),
    }
}

/// The statement that creates a view, as a table.
fn define_view(dialect: Dialect, view: &'static View) -> Result<String> {
    let dataset = match dialect {
        Dialect::Clickhouse => return clickhouse::define(view),
        Dialect::Bigquery => "alloclog.",
        Dialect::Duckdb | Dialect::Spark | Dialect::Trino | Dialect::Snowflake => "",
    };
    let sql = spell(dialect, view.sql.trim_end());
    let format = if dialect == Dialect::Spark { " USING DELTA" } else { "" };
    Ok(format!("CREATE OR REPLACE TABLE {dataset}{}{format} AS\n{};\n", view.name, sql.trim_end_matches(';')))
}

/// A view's SQL, translated to the dialect of an engine.
fn spell(dialect: Dialect, sql: &str) -> String {
    if dialect != Dialect::Bigquery {
        return sql.to_owned();
    }
    let mut text = sql.replace("AS DOUBLE)", "AS FLOAT64)").replace("AS VARCHAR(10))", "AS STRING)");
    for part in ["dispatch", "periodic"] {
        let split = format!("SPLIT(job_id, '/{part}-')[SAFE_OFFSET(0)]");
        text = text.replace(&format!("SPLIT_PART(job_id, '/{part}-', 1)"), &split);
    }
    // A view must qualify every table with its dataset.
    let names = Table::ALL.iter().map(|table| table.name()).chain(VIEWS.iter().map(|view| view.name));
    names.fold(text, |text, name| in_dataset(&text, name))
}

/// Qualifies a table name wherever it follows FROM or JOIN.
fn in_dataset(sql: &str, name: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let takes_from = before.ends_with("FROM ") || before.ends_with("JOIN ");
        let is_whole = !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        text.push_str(before);
        text.push_str(if takes_from && is_whole { "alloclog." } else { "" });
        text.push_str(name);
        rest = after;
    }
    text + rest
}
