"""The same text on Spark. Slow and large, so it runs where pyspark and a Java are installed, and is skipped elsewhere:

    pip install pyspark==4.3.0
"""

import shutil

import pyarrow.parquet as pq
import pytest

import engines
from random_history import Cluster
from test_random import rows

pyspark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="there is no Java to run Spark")

KINDS = {"string": "string", "bigint": "int64", "int": "int32", "double": "double", "boolean": "bool", "timestamp_ntz": "timestamp", "date": "date"}


@pytest.fixture(scope="module")
def spark():
    session = (pyspark_sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
               .config("spark.sql.shuffle.partitions", "1").config("spark.sql.session.timeZone", "UTC").getOrCreate())
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.mark.parametrize("seed", [101, 107])
def test_spark_gives_the_same_columns_types_and_rows(spark, tmp_path, seed):
    stored = Cluster(seed, most=60).shown()[0].tables()
    expected = engines.run("duckdb", stored, engines.VIEWS)
    for name, table in stored.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
        spark.read.parquet(str(tmp_path / f"{name}.parquet")).createOrReplaceTempView(name)
    for name in engines.order():
        frame = spark.sql(engines.VIEWS[name].sql)
        assert {field.name: KINDS[field.dataType.simpleString()] for field in frame.schema.fields} == engines.VIEWS[name].columns
        frame.write.parquet(str(tmp_path / name))
        spark.read.parquet(str(tmp_path / name)).createOrReplaceTempView(name)
        assert rows(pq.read_table(tmp_path / name)) == rows(expected[name]), name
