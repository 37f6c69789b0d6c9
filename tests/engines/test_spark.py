"""The same SQL on Spark. scripts/setup installs Spark and the Java that it needs."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark.sql
import pytest

import engines
import tables
from history import History, events, watched
from random_history import Cluster
from test_binary import exported, find, read  # noqa: F401
from test_random import rows

KINDS = {"string": "string", "bigint": "int64", "int": "int32", "double": "double", "boolean": "bool", "timestamp_ntz": "timestamp", "date": "date"}


@pytest.fixture(scope="module")
def spark():
    assert shutil.which("java"), "Spark needs a Java runtime"
    builder = pyspark.sql.SparkSession.builder.master("local[2]")
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        # These tables are small: code generation and adaptive replanning would take longer than the queries.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.parquet.compression.codec": "uncompressed",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def edges():
    """Small histories that were checked by hand, in one history. Each is one allocation of a job of its own."""
    told = {
        "whole": "Received, Task Setup, Started, Terminated 0",
        "fails": "Received, Task Setup, Started, Terminated 1, Not Restarting!",
        "oom": "Received, Task Setup, Started, Terminated 137 oom, Restarting, Started",
        "health": "Received, Started, Restart Signaled: healthcheck: check x unhealthy, Terminated 130, Restarting, Started",
        "never": "Received, Task Setup, Driver Failure!, Not Restarting!",
        "loops": "Received, Started, " + "Terminated 1, Restarting, Started, " * 6 + "Terminated 1",
    }
    history = History()
    for name, text in told.items():
        history.allocation(name, job_id=name, job_type="batch" if name in ("whole", "fails") else "service")
        history.watch(events(text), alloc=name, job_id=name)
    history.allocation("pending", job_id="pending", client_status="pending", created_at_ns=None)
    history.add("task_state_history", {"region": "", "namespace": "default", "job_id": "pending", "task_group": "web", "alloc_id": "pending", "placeholder": False})
    history.listing(100)
    return history.tables()


@pytest.fixture(scope="module", params=["nothing", "one task", "edges", "random", "samples"])
def stored(request):
    match request.param:
        case "nothing":
            return History().tables()
        case "one task":
            return watched(events("Received, Task Setup, Started")).tables()
        case "edges":
            return edges()
        case "random":
            return Cluster(101, most=60).shown()[0].tables()
        case "samples":
            directory = request.getfixturevalue("exported")
            return {name: read(find(directory, name)) for name in tables.STORED}


def test_spark_gives_the_same_columns_types_and_rows(spark, stored, tmp_path):
    expected = engines.run("duckdb", stored, engines.VIEWS)
    for name, table in stored.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
        spark.read.parquet(str(tmp_path / f"{name}.parquet")).createOrReplaceTempView(name)
    for name in engines.order():
        frame = spark.sql(engines.VIEWS[name].sql)
        assert {field.name: KINDS[field.dataType.simpleString()] for field in frame.schema.fields} == engines.VIEWS[name].columns
        frame.coalesce(1).write.parquet(str(tmp_path / name))
        spark.read.parquet(str(tmp_path / name)).createOrReplaceTempView(name)
        answer = pa.table(pq.read_table(tmp_path / name))
        one, two = rows(answer), rows(expected[name])
        assert len(one) == len(two), name
        differ = [found for found in map(engines.differences, one, two) if found]
        assert not differ, (name, differ)
