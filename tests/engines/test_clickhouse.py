"""The statistics on ClickHouse, with the statements of `alloclog schema --dialect clickhouse`. `ALLOCLOG_BIN` names
the program."""

import pathlib
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engines
import tables
from clickhouse import ClickHouse, differences
from history import History
from random_history import Cluster
from test_binary import BINARY
from test_heads import unknown_values
from test_spark import edges

pytestmark = pytest.mark.skipif(not BINARY, reason="ALLOCLOG_BIN does not name the program")

SEEDS = [(seed, 3) for seed in range(8)] + [(seed, 60) for seed in range(100, 110)]


def together(histories):
    """Several histories as one. Each gets its own regions, because no view joins or counts across regions."""
    parts = {name: [] for name in tables.STORED}
    for label, stored in histories.items():
        for name, table in stored.items():
            at = table.schema.get_field_index("region")
            regions = [None if region is None else f"{label}/{region}" for region in table["region"].to_pylist()]
            parts[name].append(table.set_column(at, "region", pa.array(regions, pa.string())))
    return {name: pa.concat_tables(parts[name]) for name in parts}


def of_lake(table):
    """The table with timestamps in UTC, as in a lake. The Arrow tables of the other engines have no zone."""
    for number, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pa.timestamp("us", "UTC")))
    return table


@pytest.fixture(scope="module", params=["nothing", "histories"])
def stored(request):
    if request.param == "nothing":
        return History().tables()
    histories = {f"random {seed}": Cluster(seed, most=most).shown()[0].tables() for seed, most in SEEDS}
    return together(histories | {"edges": edges(), "unknown": unknown_values().tables()})


def test_clickhouse_gives_the_same_columns_types_and_rows(stored, tmp_path):
    done = subprocess.run(
        [pathlib.Path(BINARY).resolve(), "schema", "--dialect", "clickhouse", "--lake", "LAKE"],
        check=True, capture_output=True, text=True)
    text = done.stdout
    for name, table in stored.items():
        pq.write_table(of_lake(table), tmp_path / f"{name}.parquet")
        lake = f"DeltaLakeLocal('LAKE/{name}')"
        assert text.count(lake) == 1
        text = text.replace(lake, f"Memory AS SELECT * FROM file('{tmp_path}/{name}.parquet')")
    expected = engines.run("polars", stored, engines.VIEWS)
    clickhouse = ClickHouse(text, tmp_path)
    for name, view in engines.VIEWS.items():
        types = {row["name"]: row["type"] for row in clickhouse.rows(f"DESCRIBE TABLE {name}")}
        assert types == {column: f"Nullable({TYPES[kind]})" for column, kind in view.columns.items()}
        assert not differences(expected[name], clickhouse.arrow(f"SELECT * FROM {name}")), name
    clickhouse.close()


TYPES = {
    "string": "String", "int64": "Int64", "int32": "Int32", "double": "Float64", "bool": "Bool",
    "timestamp": "DateTime64(6, 'UTC')", "date": "Date32",
}
