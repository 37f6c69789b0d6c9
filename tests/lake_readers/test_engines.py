"""Other engines read a lake of many ingests, with merges and a checkpoint, and get the rows of an export."""

import re

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pytest
from engines import ENGINES, read
from program import counted
from stored import STORED


def as_expected(read, expected):
    """The table with the column order and types of an export. Engines store strings and timestamps differently."""
    assert sorted(read.column_names) == sorted(expected.column_names)
    return read.select(expected.column_names).cast(expected.schema)


@pytest.mark.parametrize("table", STORED)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_sees_all_rows(past, engine, table):
    expected = past.truth[table]
    assert expected.num_rows > 0
    found = read(engine, past.lake, table)
    for field in found.schema:
        if pa.types.is_timestamp(field.type):
            assert field.type.tz in ("UTC", "Etc/UTC", None), field.name
    assert counted(as_expected(found, expected)) == counted(expected)


KINDS = "string|int64|int32|double|bool|timestamp|date"


def meanings(program, table):
    """The meanings in `alloclog schema`, by column."""
    return dict(re.findall(rf"^[* ] (\w+) +(?:{KINDS}) +(\S.*)$", program.run("schema", table)[0], re.MULTILINE))


@pytest.mark.parametrize("table", STORED)
def test_columns_have_their_meanings(program, past, table):
    schema = deltalake.DeltaTable(past.lake / table).schema()
    assert {field.name: field.metadata["comment"] for field in schema.fields} == meanings(program, table)


@pytest.mark.parametrize("table", STORED)
def test_events_are_partitioned_by_day(past, table):
    metadata = deltalake.DeltaTable(past.lake / table).metadata()
    assert metadata.partition_columns == (["event_date"] if table == "task_events" else [])
    assert metadata.name == table


@pytest.mark.parametrize("table", STORED)
def test_files_that_are_skipped_have_no_matching_rows(past, table):
    """Checks the bounds of columns in the log. delta-rs and Arrow use them to skip files."""
    dataset = deltalake.DeltaTable(past.lake / table).to_pyarrow_dataset()
    truth = past.truth[table]
    for field in truth.schema:
        values = truth[field.name].drop_null()
        if field.name.startswith(("snapshot_id", "ingested_at", "new_")) or not len(values):
            continue
        ends = pc.min_max(values).as_py() if not pa.types.is_boolean(field.type) else {"false": False, "true": True}
        for value in ends.values():
            found = dataset.count_rows(filter=pa.dataset.field(field.name) == pa.scalar(value, field.type))
            assert found == pc.sum(pc.equal(values, pa.scalar(value, field.type))).as_py(), (field.name, value)


def test_an_earlier_version_is_there(program, past, tmp_path):
    """Version 1 of the history tables has the rows of the first document."""
    first = program.export(tmp_path, past.documents[0])
    for table in ("task_events", "allocation_history", "snapshots"):
        read = deltalake.DeltaTable(past.lake / table, version=1).to_pyarrow_table()
        assert counted(as_expected(read, first[table])) == counted(first[table])
