//! Statements that make a lake's tables, and the views over them, known to another engine.
//!
//! The views are the files of `queries/`, which keep to what engines share. Where one spells a type or a function
//! otherwise, it is written its way. An engine that puts the text of a view into every place that names it cannot plan
//! views as deep as these, so there each is a table, made after those that it reads and made anew to refresh it.

mod clickhouse;

use clap::ValueEnum;

use crate::error::Usage;
use crate::query::{VIEWS, View};
use crate::tables::Table;

/// An engine that reads Delta tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// DuckDB with its delta extension.
    Duckdb,
    /// Spark with Delta Lake.
    Spark,
    /// Trino with a Delta Lake catalog; the views are tables, refreshed by --refresh.
    Trino,
    /// ClickHouse; the views are tables that it computes anew every hour.
    Clickhouse,
    /// BigQuery; the views are tables, refreshed by --refresh.
    Bigquery,
    /// Snowflake; the views are tables, refreshed by --refresh.
    Snowflake,
}

/// Which statements are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those that make the tables and the views known.
    All,
    /// Those that compute anew the views that are tables.
    Refresh,
}

/// The statements, for a lake at `lake`.
///
/// # Errors
/// When only those that refresh are wanted and the engine needs none, or a view's file has not the form that tests hold
/// it to.
pub fn statements(dialect: Dialect, lake: &str, part: Part) -> anyhow::Result<String> {
    let lake = lake.trim_end_matches('/').replace('\'', "''");
    let mut text = String::new();
    match part {
        Part::All => {
            text.push_str(preface(dialect));
            text.push_str(&define_place(dialect, &lake));
            for table in Table::ALL {
                text.push_str(&define_table(dialect, table.name(), &lake));
                text.push('\n');
            }
        }
        Part::Refresh if materialises(dialect) => {
            text.push_str("-- Computes the statistics anew, each after those that it reads.\n");
            if dialect == Dialect::Snowflake {
                // Snowflake reads a Delta table as it was when it was last told to look.
                for table in Table::ALL {
                    text.push_str(&format!("ALTER ICEBERG TABLE {} REFRESH;\n", table.name()));
                }
            }
        }
        Part::Refresh => {
            let word = "--refresh is for engines where the statistics are tables: trino, bigquery and snowflake";
            return Err(Usage(word.into()).into());
        }
    }
    for view in &VIEWS {
        text.push('\n');
        text.push_str(&define_view(dialect, view)?);
    }
    Ok(text)
}

/// Whether the views are tables that nothing refreshes by itself.
fn materialises(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Trino | Dialect::Bigquery | Dialect::Snowflake)
}

/// What comes first: what has been run, and what must be there.
fn preface(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Duckdb => "-- DuckDB. The views are run by alloclog's tests.\nINSTALL delta;\nLOAD delta;\n\n",
        Dialect::Spark => "-- Spark SQL with Delta Lake. The views are run by alloclog's tests.\n\n",
        Dialect::Trino => {
            "-- Trino with a Delta Lake catalog named delta (delta.register-table-procedure.enabled=true). NOT RUN by alloclog's\n\
             -- tests but where TRINO_HOME names a server: else only parsed as Trino's SQL.\n\
             --\n\
             -- Trino puts the text of a view into every place that names it, and fails on the deeper ones\n\
             -- (QUERY_HAS_TOO_MANY_STAGES). So each statistic is a table, beside the lake and not in it, made after those that it\n\
             -- reads; its numbers are as old as that. `alloclog schema --dialect trino --refresh` prints the statements that make\n\
             -- the statistics anew, without the first ones, which are run once. deploy/cron/alloclog-statistics runs them hourly.\n\n"
        }
        Dialect::Clickhouse => {
            "-- ClickHouse 26.9. The views are run by alloclog's tests. They need a database whose engine is Atomic or Replicated.\n\
             --\n\
             -- As plain views they would be too much for its planner, so each is a table that ClickHouse computes when it is\n\
             -- made and then at every full hour, after those that it reads. Until it was computed it is empty; its numbers are\n\
             -- as old as that, and with an ingest between them two views disagree until the next hour.\n\
             -- system.view_refreshes says when that was, and what failed. SYSTEM REFRESH VIEW computes one view alone; these\n\
             -- statements, run again, all of them.\n\
             --\n\
             -- For an S3 lake put the credentials behind the location: DeltaLake('https://...', 'key', 'secret').\n\n"
        }
        Dialect::Bigquery => {
            "-- BigQuery, in a dataset named alloclog, with a BigLake connection: put yours for PROJECT.REGION.CONNECTION.\n\
             -- NOT RUN by alloclog's tests: only parsed as BigQuery's SQL.\n\
             --\n\
             -- BigQuery limits how deep views nest, so each statistic is a table, made after those that it reads. `alloclog schema\n\
             -- --dialect bigquery --refresh` prints the statements that make the statistics anew; deploy/cron/alloclog-statistics\n\
             -- runs them hourly.\n\n"
        }
        Dialect::Snowflake => {
            "-- Snowflake, with an external volume (put yours for VOLUME) on the lake's place and a catalog integration (put\n\
             -- yours for DELTA_CATALOG) of CATALOG_SOURCE = OBJECT_STORE, TABLE_FORMAT = DELTA.\n\
             -- NOT RUN by alloclog's tests: only parsed as Snowflake's SQL.\n\
             --\n\
             -- Views as deep as these are planned anew wherever they are named, so each statistic is a table, made after those\n\
             -- that it reads. `alloclog schema --dialect snowflake --refresh` prints the statements that refresh the tables of the\n\
             -- lake and make the statistics anew; deploy/cron/alloclog-statistics runs them hourly.\n\n"
        }
    }
}

/// The statements that make the schema in which tables are known, where it needs a place.
fn define_place(dialect: Dialect, lake: &str) -> String {
    match dialect {
        Dialect::Trino => format!(
            "CREATE SCHEMA IF NOT EXISTS delta.alloclog WITH (location = '{lake}-statistics');\nUSE delta.alloclog;\n"
        ),
        _ => String::new(),
    }
}

/// The statement that makes a table known.
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

/// The statement that makes a view known.
fn define_view(dialect: Dialect, view: &'static View) -> anyhow::Result<String> {
    let dataset = match dialect {
        Dialect::Clickhouse => return clickhouse::define(view),
        Dialect::Bigquery => "alloclog.",
        Dialect::Duckdb | Dialect::Spark | Dialect::Trino | Dialect::Snowflake => "",
    };
    let sql = spell(dialect, view.sql.trim_end());
    let kind = if materialises(dialect) { "TABLE" } else { "VIEW" };
    Ok(format!("CREATE OR REPLACE {kind} {dataset}{} AS\n{};\n", view.name, sql.trim_end_matches(';')))
}

/// A view's text as an engine spells it.
fn spell(dialect: Dialect, sql: &str) -> String {
    if dialect != Dialect::Bigquery {
        return sql.to_owned();
    }
    let mut text = sql.replace("AS DOUBLE)", "AS FLOAT64)").replace("AS VARCHAR(10))", "AS STRING)");
    for part in ["dispatch", "periodic"] {
        let split = format!("SPLIT(job_id, '/{part}-')[SAFE_OFFSET(0)]");
        text = text.replace(&format!("SPLIT_PART(job_id, '/{part}-', 1)"), &split);
    }
    // A view must say in which dataset a table is.
    let names = Table::ALL.iter().map(|table| table.name()).chain(VIEWS.iter().map(|view| view.name));
    names.fold(text, |text, name| in_dataset(&text, name))
}

/// The text with a table's name in full wherever rows are taken from it.
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
