"""The program's tables as Parquet, and DuckDB over them."""

import os
import pathlib
import subprocess

import duckdb
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples" / "cluster"


@pytest.fixture(scope="session")
def program():
    path = os.environ.get("ALLOCLOG_BIN")
    if not path:
        pytest.skip("ALLOCLOG_BIN does not name the program")
    return str(pathlib.Path(path).resolve())


@pytest.fixture(scope="session")
def names(program):
    """The names of all tables and views."""
    listed = subprocess.run([program, "query", "no-such-table"], capture_output=True, text=True)
    line = next(line for line in listed.stderr.splitlines() if "tables and views: " in line)
    return line.split("tables and views: ")[1].split(", ")


@pytest.fixture(scope="session")
def exported(program, names, tmp_path_factory):
    """A directory with every table of the samples."""
    out = tmp_path_factory.mktemp("exported") / "tables"
    subprocess.run([program, "export", SAMPLES, "-o", out, "--table", ",".join(names), "-q"], check=True)
    return out


@pytest.fixture(scope="session")
def database(exported, names):
    db = duckdb.connect(config={"threads": 1})
    db.execute("SET TimeZone = 'UTC'")
    for name in names:
        db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{exported}/{name}.parquet')")
    return db
