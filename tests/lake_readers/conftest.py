"""Fixtures: the program named by $ALLOCLOG_BIN, and a lake with a history."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyspark
import pyspark.errors
import pyspark.sql
import pytest
import stored
from program import Program

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
# The newest Delta Lake for the Spark of requirements.txt. Spark fetches it from Maven Central, or from the repository
# that $DEFAULT_ARTIFACT_REPOSITORY names, and keeps it in ~/.ivy2*.
DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
# Dependencies of Delta Lake that are not fetched. They are part of Spark, or only catalogs need them.
NOT_NEEDED = ["org.*", "com.*", "commons-*", "io.airlift", "io.unitycatalog", "jakarta.*", "javax.*"]


@dataclass
class Past:
    """A lake, its documents in order, and its tables.

    The tables come from an export of the documents. Only the table `absences` comes from an export of the lake, because
    it is less precise in a lake.
    """

    lake: Path
    documents: list
    truth: dict


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return Program(stored.binary(), tmp_path_factory.mktemp("scratch"))


def parts(directory):
    """More than a hundred documents: the listings of the cluster in parts of one or two allocations."""
    made = []
    for listing in sorted((SAMPLES / "cluster").glob("2*.json")):
        allocations = json.loads(listing.read_bytes())
        for size in (1, 2):
            for first in range(0, len(allocations), size):
                path = directory / f"{listing.stem}-{size}-{first:03}.json"
                path.write_text(json.dumps(allocations[first : first + size]))
                made.append(path)
    return made


@pytest.fixture(scope="session")
def past(program, tmp_path_factory):
    """A lake whose ledger has more than a hundred versions, and therefore a checkpoint. Some files were merged before
    the checkpoint."""
    directory = tmp_path_factory.mktemp("past")
    lake = directory / "lake"
    others = ["cluster/nodes.json", "snapshot-state.json.zst", "stream.ndjson.zst", "nomad-0.6/allocations.json"]
    # Of all these documents, only the listings of this bundle are full listings.
    others.append("debug/nomad-debug-2026-11-23-183148Z.tar.gz")
    documents = parts(directory) + [SAMPLES / name for name in others]
    assert len(documents) > 100
    for document in documents[:60]:
        program.ingest(lake, document)
    _, stderr = program.run("lake", "compact", lake)
    assert " 0 files merged" not in stderr
    for document in documents[60:]:
        program.ingest(lake, document)
    assert (lake / "snapshots/_delta_log/_last_checkpoint").exists()
    truth = program.export(directory / "export", *documents)
    truth["absences"] = program.export(directory / "of-lake", lake)["absences"]
    return Past(lake, documents, truth)


@pytest.fixture(scope="session")
def spark():
    assert shutil.which("java"), "Spark needs a Java runtime"
    settings = {
        "spark.jars.packages": DELTA,
        "spark.jars.excludes": ",".join(f"{group}:*" for group in NOT_NEEDED),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # These tables are small: code generation and adaptive replanning would take longer than the queries.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.shuffle.partitions": "1",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
    }
    builder = pyspark.sql.SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except pyspark.errors.PySparkRuntimeError as error:
        # Spark's Java process fails at start if a package cannot be downloaded.
        pytest.skip(f"Delta Lake for Spark ({DELTA}) is not available: {error}")
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
