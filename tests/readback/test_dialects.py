"""`alloclog schema --dialect`: the statements are run on DuckDB and ClickHouse, and parsed for the other engines. The
tests in tests/engines run the ClickHouse statements on more rows, and the views on Spark."""

import duckdb
import pyarrow.parquet as pq
import pytest
import sqlglot

from clickhouse import ClickHouse, differences
from stored import STORED


def statements(program, dialect, lake="s3://bucket/lake"):
    return program.run("schema", "--dialect", dialect, "--lake", lake).decode()


def names_of_views(program):
    views = {line.split(":")[0] for line in program.run("query", "--list").decode().splitlines() if line[:1].isalpha()}
    return views - {"Stored tables can be queried, too. `alloclog schema NAME` explains every column."}


def test_the_views_give_the_numbers_of_an_export_on_duckdb(program, cluster, tmp_path):
    program.run("export", "-q", cluster, "-o", tmp_path / "views", "--table", "coverage,restarts,failures,start_latency")
    program.export(cluster, "-o", tmp_path / "stored", tables=STORED)
    text = statements(program, "duckdb", "LAKE")
    # The delta extension needs a download. So use the tables of an export, which have the same rows.
    for table in STORED:
        delta = f"delta_scan('LAKE/{table}')"
        assert text.count(delta) == 1
        text = text.replace(delta, f"'{tmp_path}/stored/{table}.parquet'")
    text = text.replace("INSTALL delta;\nLOAD delta;\n", "")
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(text)
    for view in ("coverage", "restarts", "failures", "start_latency"):
        # Compute each view once, because DuckDB expands a view wherever it is named.
        engine.execute(f"CREATE TABLE answer_{view} AS SELECT * FROM {view}")
        ours, theirs = f"SELECT * FROM '{tmp_path}/views/{view}.parquet'", f"SELECT * FROM answer_{view}"
        assert engine.execute(f"SELECT COUNT(*) FROM answer_{view}").fetchall()[0][0] > 0
        for left, right in ((ours, theirs), (theirs, ours)):
            assert engine.execute(f"{left} EXCEPT ALL {right}").fetchall() == []


def test_the_views_give_the_numbers_of_an_export_on_clickhouse(program, cluster, tmp_path):
    views = names_of_views(program)
    lake = tmp_path / "lake"
    program.run("ingest", cluster, "--lake", lake, "--cache", tmp_path / "cache")
    # Export the lake instead of the documents, because a lake may not know when an allocation was last shown.
    program.run("export", "-q", lake, "-o", tmp_path / "views", "--table", ",".join(views))
    clickhouse = ClickHouse(statements(program, "clickhouse", lake), tmp_path)
    for view in views:
        ours = pq.read_table(tmp_path / "views" / f"{view}.parquet")
        assert not differences(ours, clickhouse.arrow(f"SELECT * FROM {view}")), view
    # Session settings for nulls and names do not change the results, and the statements can be run again.
    other = "join_use_nulls = 0, prefer_column_name_to_alias = 0, cast_keep_nullable = 0, transform_null_in = 1"
    clickhouse.run(f"SET {other};\n" + statements(program, "clickhouse", lake))
    for view in views:
        ours = pq.read_table(tmp_path / "views" / f"{view}.parquet")
        assert not differences(ours, clickhouse.arrow(f"SELECT * FROM {view} SETTINGS {other}")), view
    clickhouse.close()


@pytest.mark.parametrize("dialect", ["duckdb", "spark", "trino", "bigquery", "snowflake"])
def test_every_view_is_defined_in_the_engines_own_sql(program, dialect):
    views = names_of_views(program)
    parsed = [statement for statement in sqlglot.parse(statements(program, dialect), read=dialect) if statement]
    created = {s.find(sqlglot.exp.Table).name for s in parsed if isinstance(s, sqlglot.exp.Create)}
    assert views <= created
    for table in STORED:
        assert f"/{table}'" in statements(program, dialect) or dialect == "snowflake"


@pytest.mark.parametrize("dialect", ["trino", "bigquery", "snowflake"])
def test_statistics_that_are_tables_are_made_after_those_that_they_read(program, dialect):
    views, whole = names_of_views(program), statements(program, dialect)
    refresh = program.run("schema", "--dialect", dialect, "--refresh").decode()
    made = []
    for statement in sqlglot.parse(refresh, read=dialect):
        if not isinstance(statement, sqlglot.exp.Create):
            continue
        assert statement.kind == "TABLE" and statement.args["replace"], statement.sql()
        name, *read = [table.name for table in statement.find_all(sqlglot.exp.Table)]
        assert set(read) & views <= set(made), name
        made.append(name)
    assert set(made) == views and len(made) == len(views)
    # The full script contains each scheduled statement.
    for statement in refresh.split("\n\n")[1:]:
        assert statement.strip() in whole


def test_only_statistics_that_are_tables_are_refreshed(program):
    program.run("schema", "--dialect", "clickhouse", "--refresh", expect=2)
    for dialect in ("duckdb", "spark"):
        refresh = program.run("schema", "--dialect", dialect, "--refresh").decode()
        assert refresh.count("CREATE OR REPLACE TABLE") == len(names_of_views(program)) and " VIEW " not in refresh


def test_untested_dialects_say_so(program):
    for dialect in ("trino", "bigquery", "snowflake"):
        assert "NOT RUN" in statements(program, dialect)
    for dialect in ("duckdb", "spark", "clickhouse"):
        assert "NOT RUN" not in statements(program, dialect)


def test_bigquery_names_the_dataset_of_every_table(program):
    for statement in sqlglot.parse(statements(program, "bigquery"), read="bigquery"):
        if not isinstance(statement, sqlglot.exp.Create) or statement.this.name in STORED:
            continue
        own = {cte.alias for cte in statement.find_all(sqlglot.exp.CTE)}
        for table in statement.find_all(sqlglot.exp.Table):
            assert table.db == "alloclog" or table.name in own, table.sql()


def test_no_unqualified_column_has_the_name_of_a_joined_table(program):
    # BigQuery would read such a name as the whole row of the table.
    for statement in sqlglot.parse(statements(program, "bigquery"), read="bigquery"):
        for select in statement.find_all(sqlglot.exp.Select) if statement else ():
            tables = {source.alias_or_name for source in select.find_all(sqlglot.exp.Table)
                      if source.find_ancestor(sqlglot.exp.Select) is select}
            bare = {column.name for column in select.find_all(sqlglot.exp.Column)
                    if not column.table and column.find_ancestor(sqlglot.exp.Select) is select}
            assert not tables & bare, select.sql()
