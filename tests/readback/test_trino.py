"""The statements of `alloclog schema --dialect trino`, run on a real server. Optional: tests/readback/trino.py
describes how to run this test."""

import dataclasses
import datetime
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from clickhouse import is_equal, order, plain

from stored import STORED
from test_dialects import names_of_views, statements
from trino import Trino, is_named

pytestmark = pytest.mark.skipif(not is_named(), reason="TRINO_HOME names no Trino")


@pytest.fixture(scope="module")
def store():
    """The environment variables with which a program reaches the S3 server of tests/lake_s3."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "lake_s3"))
    from server import Server

    server = Server()
    yield server.options()
    server.stop()


@pytest.fixture(scope="module")
def trino(tmp_path_factory, store):
    server = Trino(os.environ["TRINO_HOME"], tmp_path_factory.mktemp("trino"), store)
    yield server
    server.close()


def in_milliseconds(row):
    """Trino rounds a Delta table's timestamps to milliseconds. The `_ns` column of each timestamp is exact."""

    def rounded(value):
        if not hasattr(value, "microsecond"):
            return value
        return value.replace(microsecond=0) + datetime.timedelta(milliseconds=(value.microsecond + 500) // 1000)

    return {name: rounded(value) for name, value in row.items()}


def differences(expected, answer):
    one, two = (sorted(map(in_milliseconds, map(plain, rows)), key=order) for rows in (expected, answer))
    assert len(one) == len(two), (len(one), len(two))
    return [(column, left, right) for left, right in zip(one, two) for column in left
            if not is_equal(left[column], right[column])]


def test_trino_reads_the_tables_and_computes_the_statistics_of_an_export(program, cluster, tmp_path, trino, store):
    program = dataclasses.replace(program, variables=store)
    lake, views = "s3://lakes/nomad", names_of_views(program)
    program.run("ingest", "-q", cluster, "--lake", lake, "--cache", tmp_path / "cache")
    program.run("export", "-q", lake, "-o", tmp_path / "out", "--table", ",".join([*STORED, *sorted(views)]))
    print("Trino", trino.version)
    for statement in texts(statements(program, "trino", lake)):
        trino.query(statement)
    for name in [*STORED, *sorted(views)]:
        expected = pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist()
        assert not differences(expected, trino.query(f"SELECT * FROM {name}")), name
    # After the scheduled statements, the tables contain the changes of the lake.
    program.run("ingest", "-q", cluster.parent / "stream.ndjson.zst", "--lake", lake, "--cache", tmp_path / "cache")
    program.run("export", "-q", lake, "-o", tmp_path / "later", "--table", ",".join(sorted(views)))
    for statement in texts(program.run("schema", "--dialect", "trino", "--refresh").decode()):
        trino.query(statement)
    for name in sorted(views):
        expected = pq.read_table(tmp_path / "later" / f"{name}.parquet").to_pylist()
        assert not differences(expected, trino.query(f"SELECT * FROM {name}")), name


def texts(script):
    """The statements of a script, without comments and without `USE`, because the session already has the schema."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    whole = "\n".join(lines).split(";\n")
    return [text.strip().rstrip(";") for text in whole if text.strip() and not text.strip().startswith("USE ")]
