"""Spark with Delta Lake reads the lake and merges its files. The program reads the resulting tables, or refuses them.

The tests of all engines share one lake, so each test that writes uses a copy.
"""

import json
import shutil

import pytest
from program import counted
from stored import OF_DOCUMENTS, STORED
from test_engines import as_expected, meanings


@pytest.fixture
def lake(past, tmp_path):
    """A copy of the lake, which a test may change."""
    return shutil.copytree(past.lake, tmp_path / "lake")


def of_spark(spark, lake, table):
    return spark.read.format("delta").load(str(lake / table))


def versions(lake, table, ending):
    """The versions of a table with a log file of this extension."""
    return {int(path.name.split(".")[0]) for path in (lake / table / "_delta_log").glob(f"*{ending}")}


def test_spark_sees_all_rows_and_column_comments(spark, program, past):
    for table in STORED:
        frame = of_spark(spark, past.lake, table)
        assert {field.name: field.metadata["comment"] for field in frame.schema.fields} == meanings(program, table)
        moments = {field.dataType.typeName() for field in frame.schema.fields if field.name.endswith("_at")}
        assert moments <= {"timestamp"}
        assert counted(as_expected(frame.toArrow(), past.truth[table])) == counted(past.truth[table]), table


def test_spark_skips_no_file_with_matching_rows(spark, past):
    events = past.truth["task_events"].to_pylist()
    frame = of_spark(spark, past.lake, "task_events")
    last = max(event["event_at"] for event in events)
    asked = {
        "event_at = timestamp_micros(%d)" % round(last.timestamp() * 10**6): lambda event: event["event_at"] == last,
        "event_date = '2017-05-25'": lambda event: event["event_date"].year == 2017,
        "job_id = 'crash-delay'": lambda event: event["job_id"] == "crash-delay",
    }
    for condition, is_meant in asked.items():
        found = frame.where(condition)
        assert found.count() == sum(map(is_meant, events)) > 0, condition
    day = frame.where("event_date = '2017-05-25'").inputFiles()
    assert day and all("event_date=2017-05-25" in path for path in day)


def test_spark_reads_an_earlier_version(spark, program, past, tmp_path):
    first = program.export(tmp_path, past.documents[0])["task_events"]
    read = spark.read.format("delta").option("versionAsOf", 1).load(str(past.lake / "task_events")).toArrow()
    assert counted(as_expected(read, first)) == counted(first)


def test_spark_merges_files_and_the_lake_stays_usable(spark, program, past, lake, tmp_path):
    """The number of Spark's merge is a multiple of ten, so Spark also writes a checkpoint. The program reads both."""
    # Each ingest adds one version to the ledger. Spark's merge is the version after the last ingest.
    documents = list(past.documents)
    number = 0
    while (max(versions(lake, "snapshots", ".json")) + 1) % 10:
        number += 1
        again = tmp_path / f"202611{number:02}T000000Z.json"
        again.write_bytes(past.documents[0].read_bytes())
        program.ingest(lake, again)
        documents.append(again)
    tenth = max(versions(lake, "snapshots", ".json")) + 1
    unmerged = shutil.copytree(lake, tmp_path / "unmerged")
    for table in ("task_events", "allocation_history", "snapshots"):
        spark.sql(f"OPTIMIZE delta.`{lake / table}`")
    assert tenth in versions(lake, "snapshots", ".checkpoint.parquet")
    assert json.loads((lake / "snapshots/_delta_log/_last_checkpoint").read_text())["version"] == tenth

    truth = program.export(tmp_path / "truth", *documents)
    # Files of another engine have no hash.
    stderr = program.run("lake", "check", lake)[1]
    assert "are unverified" in stderr and "task_events 1, allocation_history 1, snapshots 1" in stderr
    found = program.export(tmp_path / "found", lake)
    for table in OF_DOCUMENTS:
        assert counted(found[table]) == counted(truth[table]), table
    assert counted(found["absences"]) == counted(past.truth["absences"])

    # Without a cache, rows are looked up in the files that Spark wrote.
    shutil.rmtree(program.scratch / "cache")
    shutil.rmtree(lake / "_alloclog/seen", ignore_errors=True)
    assert "nothing new" in program.ingest(lake, *documents)[1]
    new = tmp_path / "20261127T120000Z.json"
    new.write_bytes(past.documents[30].read_bytes())
    # A lake that Spark did not merge gives the same report. (A report of the documents themselves cannot be compared,
    # because it may show more precisely when an allocation was last seen.)
    for one in (lake, unmerged):
        shutil.rmtree(program.scratch / "cache")
        shutil.rmtree(one / "_alloclog/seen", ignore_errors=True)
        program.ingest(one, new)
    # By default, a report reads only the last days of a lake.
    report = ["report", "--format", "json", "--since", "2000-01-01T00:00:00Z"]
    of_merged, of_unmerged = (json.loads(program.run(*report, one)[0]) for one in (lake, unmerged))
    assert of_merged["input"]["task_events"] > 50
    assert of_merged == of_unmerged
    program.run("lake", "compact", lake)
    assert "are unverified" in program.run("lake", "check", lake)[1]


def test_a_table_of_a_newer_protocol_is_refused(spark, program, past, lake, tmp_path):
    path = lake / "task_events"
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    new = tmp_path / "20261127T120000Z.json"
    new.write_text(past.documents[30].read_text().replace('"ID": "', '"ID": "00'))
    assert new.read_bytes() != past.documents[30].read_bytes()

    def files():
        return sorted(name for name in lake.rglob("*") if not name.is_dir() and "clock" not in name.parts)

    before = files()
    for command in (["report", lake], ["lake", "info", lake], ["lake", "compact", lake], ["ingest", new, "--lake", lake]):
        _, stderr = program.run(*command, expect=1)
        assert "task_events" in stderr and "deletionVectors" in stderr, stderr
    _, stderr = program.run("lake", "check", "--repair", lake, expect=1)
    assert "deletionVectors" in stderr
    # No command created a batch, because no batch could be applied to all tables.
    assert [name for name in files() if name not in before and name.suffix == ".json"] == []
