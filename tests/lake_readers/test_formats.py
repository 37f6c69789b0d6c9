"""Other engines read lakes of every format, before and after an upgrade, and get the rows of an export."""

import collections
import json
import shutil
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest
import stored
from engines import ENGINES, read
from stored import OF_DOCUMENTS, STORED

LAKES = Path(__file__).resolve().parents[1] / "lakes"
SAMPLES = LAKES.parents[1] / "samples"
FORMATS = sorted(LAKES.glob("format-*"))
# See tests/lakes/README.md.
DOCUMENTS = [
    *(SAMPLES / "cluster" / name for name in ("20261123T182801Z.json", "20261123T182831Z.json", "nodes.json", "20261123T183131Z.json")),
    LAKES / "quoting.json",
    SAMPLES / "stream.ndjson.zst",
]
# Only lakes of format 3 and later have logs.
LOGS = SAMPLES / "logs"
# Columns that rows of format 1 lack, or that depend on how a document arrived. `comparable_rows` also leaves out the
# namespace of sightings, which format 1 lacks.
NOT_COMPARED = {"text_hash", "absences_recorded", *stored.OF_ARRIVAL, *stored.NEW, "source"}


def masked(value):
    """The value as the current rules mask it. Format 1 stored the password of quoting.json unmasked in some columns."""
    if isinstance(value, str):
        return value.replace("u:hunter2@", "***@").replace("operator:hunter2@", "***@")
    return value


def comparable_rows(table, columns):
    """How often each row occurs in an Arrow table, without the columns that are not compared."""
    columns = set(columns) - NOT_COMPARED
    columns = sorted(columns - {"namespace"} if "seen_at_ns" in columns else columns)
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return collections.Counter(tuple(map(masked, row)) for row in rows)


@pytest.fixture(scope="module")
def truth(program, tmp_path_factory):
    return program.export(tmp_path_factory.mktemp("truth"), *DOCUMENTS, LOGS)


@pytest.fixture(scope="module", params=FORMATS, ids=lambda path: path.name)
def written(request, tmp_path_factory):
    """A lake as a program of its format left it."""
    lake = tmp_path_factory.mktemp("written") / "lake"
    shutil.copytree(request.param, lake)
    return lake


@pytest.fixture(scope="module")
def upgraded(program, written, tmp_path_factory):
    """The same lake after the current program ingested the same documents again, and the logs."""
    lake = tmp_path_factory.mktemp("upgraded") / "lake"
    shutil.copytree(written, lake)
    for document in DOCUMENTS:
        assert "nothing new" in program.ingest(lake, document)[1]
    has_logs = (written / "log_events").exists()
    assert ("nothing new" in program.ingest(lake, LOGS)[1]) == has_logs
    return lake


def normal(table, like):
    """The table with the types of an export. Engines store strings and timestamps differently."""
    columns = [name for name in like.column_names if name in table.column_names]
    return table.select(columns).cast(pa.schema([like.schema.field(name) for name in columns]))


@pytest.mark.parametrize("table", OF_DOCUMENTS)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_sees_the_rows_as_they_were_written(written, truth, engine, table):
    if not (written / table).exists():
        pytest.skip("the table came with a later format")
    found = normal(read(engine, written, table), truth[table])
    assert comparable_rows(found, found.column_names) == comparable_rows(truth[table], found.column_names)


@pytest.mark.parametrize("table", OF_DOCUMENTS)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_sees_the_rows_and_the_new_columns_after_the_upgrade(upgraded, truth, engine, table):
    found = read(engine, upgraded, table)
    assert sorted(found.column_names) == sorted(truth[table].column_names)
    found = normal(found, truth[table])
    assert comparable_rows(found, found.column_names) == comparable_rows(truth[table], found.column_names)


def test_new_rows_next_to_old_ones(program, upgraded, tmp_path, truth):
    """Rows added after the upgrade have values in the new columns, and older rows have null. A compaction keeps
    both."""
    lake = tmp_path / "lake"
    shutil.copytree(upgraded, lake)
    more = SAMPLES / "cluster/20261123T183352Z.json"
    program.ingest(lake, more)
    expected = program.export(tmp_path / "truth", *DOCUMENTS, more)
    for _ in range(2):
        for table in ("task_events", "allocation_history"):
            found = normal(deltalake.DeltaTable(lake / table).to_pyarrow_table(), expected[table])
            assert comparable_rows(found, found.column_names) == comparable_rows(expected[table], found.column_names)
            hashes = collections.Counter(zip(found["alloc_id"].to_pylist(), found["text_hash"].to_pylist(), strict=True))
            told = collections.Counter(
                zip(expected[table]["alloc_id"].to_pylist(), expected[table]["text_hash"].to_pylist(), strict=True)
            )
            assert all(hash is None or told[key] >= n for key, n in hashes.items() for hash in key[1:])
            assert found["text_hash"].null_count < found.num_rows
        program.run("lake", "compact", lake)
    assert program.run("lake", "check", "-q", lake)[1] == ""


def test_delta_rs_compacts_an_upgraded_lake(program, upgraded, tmp_path, truth):
    """As after Spark's OPTIMIZE, a check finds no damage, and an ingest adds no duplicates."""
    lake = tmp_path / "lake"
    shutil.copytree(upgraded, lake)
    program.ingest(lake, SAMPLES / "cluster/20261123T183352Z.json")
    for table in STORED:
        deltalake.DeltaTable(lake / table).optimize.compact()
    assert program.run("lake", "check", "-q", lake)[1] == ""
    for document in [*DOCUMENTS, SAMPLES / "cluster/20261123T183352Z.json"]:
        assert "nothing new" in program.ingest(lake, document)[1]


def test_a_fixture_has_the_format_in_its_name():
    assert [path.name for path in FORMATS] == [f"format-{n}" for n in range(1, len(FORMATS) + 1)]
    for n, path in enumerate(FORMATS, start=1):
        assert json.loads((path / "_alloclog/lake.json").read_text())["format"] == n
