"""Engines that are not ours, each as a function that gives a table of a lake, whole, as Arrow."""

import contextlib
import functools

import chdb
import deltalake
import duckdb
import pyarrow as pa
import pytest


def by_delta_rs(lake, table):
    return deltalake.DeltaTable(lake / table).to_pyarrow_table()


def by_clickhouse(lake, table):
    """ClickHouse reads what lies below its user_files_path; within another program, that is the working directory."""
    with contextlib.chdir(lake):
        answer = chdb.query(f"SELECT * FROM deltaLakeLocal('{lake / table}')", "ArrowStream")
    return pa.ipc.open_stream(pa.py_buffer(answer.bytes())).read_all()


def by_duckdb(lake, table):
    """DuckDB over the files that delta-rs names."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.register("of_lake", deltalake.DeltaTable(lake / table).to_pyarrow_dataset())
        return database.sql("FROM of_lake").to_arrow_table()


def by_duckdb_alone(lake, table):
    """DuckDB with its extension for Delta, which it takes from where it is installed, and fetches from nowhere."""
    with duckdb.connect() as database:
        database.execute("LOAD delta")
        database.execute("SET TimeZone = 'UTC'")
        return database.sql(f"FROM delta_scan('{lake / table}')").to_arrow_table()


@functools.cache
def duckdb_has_delta():
    """Returns true if DuckDB's extension for Delta can be loaded here; to find out takes seconds."""
    try:
        duckdb.connect().execute("LOAD delta")
    except duckdb.Error:
        return False
    return True


def read(engine, lake, table):
    """A table of a lake as an engine reads it; skips the test where the engine lacks its extension."""
    if engine == "DuckDB alone" and not duckdb_has_delta():
        pytest.skip("DuckDB's extension for Delta is not installed here")
    return ENGINES[engine](lake, table)


ENGINES = {
    "delta-rs": by_delta_rs,
    "ClickHouse": by_clickhouse,
    "DuckDB": by_duckdb,
    "DuckDB alone": by_duckdb_alone,
}
