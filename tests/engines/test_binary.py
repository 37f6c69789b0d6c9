"""The files that the program writes, read by other engines. `ALLOCLOG_BIN` names the program."""

import os
import pathlib
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engines
import tables
from test_heads import assert_columns
from test_random import rows

BINARY = os.environ.get("ALLOCLOG_BIN")
SAMPLES = engines.ROOT / "samples"

pytestmark = pytest.mark.skipif(not BINARY, reason="ALLOCLOG_BIN does not name the program")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A Parquet export of `samples/`: all stored tables and all views."""
    out = tmp_path_factory.mktemp("exported") / "tables"
    wanted = ",".join([*tables.STORED, *engines.VIEWS])
    subprocess.run([pathlib.Path(BINARY).resolve(), "export", SAMPLES, "-o", out, "--table", wanted], check=True)
    return out


def read(path):
    """A Parquet file, or a directory of such files, as a table that engines can register: with naive UTC timestamps and
    plain strings."""
    table = pq.read_table(path, partitioning=None)
    for number, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_timestamp(kind):
            assert kind == pa.timestamp("us", "UTC"), f"{path}: {field.name}"
            kind = pa.timestamp("us")
        if kind != field.type:
            table = table.set_column(number, field.name, table.column(number).cast(kind))
    return table


def find(directory, name):
    file = directory / f"{name}.parquet"
    return file if file.exists() else directory / name


@pytest.fixture(scope="module")
def stored(exported):
    return {name: read(find(exported, name)) for name in tables.STORED}


@pytest.mark.parametrize("name", list(tables.STORED))
def test_stored_tables_have_the_columns_that_the_queries_read(stored, name):
    expected = tables.schema(name)
    assert stored[name].column_names == expected.names
    assert [field.type for field in stored[name].schema] == [field.type for field in expected]


@pytest.mark.parametrize("name", list(engines.VIEWS))
def test_every_engine_gives_the_same_result_as_the_program(stored, exported, name):
    answers = {engine: engines.run(engine, stored, [name])[name] for engine in engines.ENGINES}
    answers["alloclog"] = read(find(exported, name))
    first, *others = answers
    assert_columns(name, answers[first])
    for other in others:
        one, two = rows(answers[first]), rows(answers[other])
        assert len(one) == len(two), (name, first, other)
        for left, right in zip(one, two):
            differ = engines.differences(left, right)
            assert not differ, (name, first, other, differ)
