"""Other engines, each as a function that returns a table of a lake as Arrow."""

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
    """ClickHouse (chdb). It reads only files below its user_files_path, which is the working directory."""
    with contextlib.chdir(lake):
        answer = chdb.query(f"SELECT * FROM deltaLakeLocal('{lake / table}')", "ArrowStream")
    return pa.ipc.open_stream(pa.py_buffer(answer.bytes())).read_all()


def by_duckdb(lake, table):
    """DuckDB over the files that delta-rs lists."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.register("of_lake", deltalake.DeltaTable(lake / table).to_pyarrow_dataset())
        return database.sql("FROM of_lake").to_arrow_table()


def by_duckdb_alone(lake, table):
    """DuckDB with its Delta extension, which must be installed. The extension is not downloaded."""
    with duckdb.connect() as database:
        database.execute("LOAD delta")
        database.execute("SET TimeZone = 'UTC'")
        return database.sql(f"FROM delta_scan('{lake / table}')").to_arrow_table()


@functools.cache
def duckdb_has_delta():
    """Returns true if DuckDB's Delta extension can be loaded; takes seconds."""
    try:
        duckdb.connect().execute("LOAD delta")
    except duckdb.Error:
        return False
    return True


def read(engine, lake, table):
    """A table of a lake, read by an engine; skips the test if the engine lacks its extension."""
    if engine == "DuckDB alone" and not duckdb_has_delta():
        pytest.skip("DuckDB's extension for Delta is not installed here")
    return ENGINES[engine](lake, table)


ENGINES = {
    "delta-rs": by_delta_rs,
    "ClickHouse": by_clickhouse,
    "DuckDB": by_duckdb,
    "DuckDB alone": by_duckdb_alone,
}
