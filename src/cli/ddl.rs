//! Statements that make a lake's tables, and the views over them, known to another engine.
//!
//! The views are the files of `queries/`, which keep to what engines share. Where one spells a type or a function
//! otherwise, it is written its way.

mod clickhouse;

use clap::ValueEnum;

use crate::query::{VIEWS, View};
use crate::tables::Table;

/// An engine that reads Delta tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// DuckDB with its delta extension.
    Duckdb,
    /// Spark with Delta Lake.
    Spark,
    /// Trino with a Delta Lake catalog.
    Trino,
    /// ClickHouse; the views are tables that it computes anew every hour.
    Clickhouse,
    /// BigQuery.
    Bigquery,
    /// Snowflake.
    Snowflake,
}

/// The statements, for a lake at `lake`.
///
/// # Errors
/// When a view's file has not the form that tests hold it to.
pub fn statements(dialect: Dialect, lake: &str) -> anyhow::Result<String> {
    let lake = lake.trim_end_matches('/').replace('\'', "''");
    let mut text = preface(dialect).to_owned();
    for table in Table::ALL {
        text.push_str(&define_table(dialect, table.name(), &lake));
        text.push('\n');
    }
    for view in &VIEWS {
        text.push('\n');
        text.push_str(&define_view(dialect, view)?);
    }
    Ok(text)
}

/// What comes first: what has been run, and what must be there.
fn preface(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Duckdb => "-- DuckDB. The views are run by alloclog's tests.\nINSTALL delta;\nLOAD delta;\n\n",
        Dialect::Spark => "-- Spark SQL with Delta Lake. The views are run by alloclog's tests.\n\n",
        Dialect::Trino => {
            "-- Trino with a Delta Lake catalog named delta (delta.register-table-procedure.enabled=true) and a schema named\n\
             -- alloclog. NOT RUN by alloclog's tests: only parsed as Trino's SQL. Views that Trino cannot keep in a Delta\n\
             -- catalog belong in another one; name the tables in full there.\n\n"
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
             -- NOT RUN by alloclog's tests: only parsed as BigQuery's SQL.\n\n"
        }
        Dialect::Snowflake => {
            "-- Snowflake, with an external volume (put yours for VOLUME) on the lake's place and a catalog integration (put\n\
             -- yours for DELTA_CATALOG) of CATALOG_SOURCE = OBJECT_STORE, TABLE_FORMAT = DELTA.\n\
             -- NOT RUN by alloclog's tests: only parsed as Snowflake's SQL.\n\n"
        }
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
    Ok(format!("CREATE OR REPLACE VIEW {dataset}{} AS\n{};\n", view.name, sql.trim_end_matches(';')))
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
