"""The views of `queries/`, and the engines that run them."""

import math
import pathlib
import re

import duckdb
import polars
import pyarrow as pa

from tables import STORED

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUERIES = ROOT / "queries"

KINDS = {
    "string": [pa.string(), pa.large_string(), pa.string_view()],
    "int64": [pa.int64()],
    "int32": [pa.int32()],
    "double": [pa.float64()],
    "bool": [pa.bool_()],
    "timestamp": [pa.timestamp("us")],
    "date": [pa.date32()],
}


class View:
    """A query file: its header, the columns of the header, and its SQL."""

    def __init__(self, path):
        self.name = path.stem
        self.text = path.read_text()
        head, self.sql = self.text.split("\n\n", 1)
        self.head = [line[2:] for line in head.split("\n")]
        at = self.head.index(" Columns:")
        self.columns = {}
        for line in self.head[at + 1:]:
            column = re.fullmatch(r"   (\w+) +(\w+) +(\S.*)", line)
            if column:
                name, kind, _ = column.groups()
                assert kind in KINDS and name not in self.columns, f"{self.name}: {line}"
                self.columns[name] = kind
            else:
                assert re.fullmatch(r" {8,}\S.*", line), f"{self.name}: {line}"
        self.body = re.sub(r"--.*", "", self.sql)
        self.sources = set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", self.body))
        self.ctes = re.findall(r"(?:WITH|,)\s+(\w+)\s+AS\s+\(", self.body)


VIEWS = {view.name: view for view in (View(path) for path in sorted(QUERIES.glob("*.sql")))}


def order():
    """The views in an order in which each view comes after the views that it reads."""
    placed = []
    rest = dict(VIEWS)
    while rest:
        ready = [name for name, view in rest.items() if not (view.sources - set(view.ctes)) & set(rest)]
        assert ready, f"these views read each other: {sorted(rest)}"
        placed += ready
        for name in ready:
            del rest[name]
    return placed


def needed(wanted):
    """The views in `wanted` and all views that they read, in the order of `order()`."""
    found = set()
    search = list(wanted)
    while search:
        name = search.pop()
        if name in VIEWS and name not in found:
            found.add(name)
            search += VIEWS[name].sources
    return [name for name in order() if name in found]


def run_duckdb(stored, wanted, texts):
    # The tables of the tests are too small to gain from threads.
    with duckdb.connect(config={"threads": 1}) as db:
        for name, table in stored.items():
            db.register("given_" + name, table)
            db.execute(f"CREATE TABLE {name} AS SELECT * FROM given_{name}")
        answers = {}
        for name in needed(wanted):
            db.execute(f"CREATE TABLE {name} AS {texts.get(name, VIEWS[name].sql)}")
            if name in wanted:
                answers[name] = db.sql(f"FROM {name}").to_arrow_table()
        return answers


def run_polars(stored, wanted, texts):
    tables = polars.SQLContext()
    for name, table in stored.items():
        tables.register(name, polars.from_arrow(table))
    answers = {}
    for name in needed(wanted):
        frame = tables.execute(texts.get(name, VIEWS[name].sql), eager=True)
        tables.register(name, frame)
        if name in wanted:
            answers[name] = frame.to_arrow()
    return answers


GROUP = "region, namespace, job_id, task_group, task"


def grouped_by(view, columns):
    """The SQL of a statistic with other group columns, replaced as the program does for `--by`."""
    assert GROUP in VIEWS[view].sql
    return {view: VIEWS[view].sql.replace(GROUP, columns)}


def differences(one, other):
    """The columns in which two rows differ. Doubles may differ in their last digits."""
    return {column: (one[column], other[column]) for column in one if not is_same(one[column], other[column])}


def is_same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return one == other


ENGINES = {"duckdb": run_duckdb, "polars": run_polars}


def run(engine, stored, wanted, texts=None):
    """The results of some views as Arrow tables. `texts` replaces the SQL of views, as `--since` and `--by` do."""
    assert set(stored) == set(STORED)
    return ENGINES[engine](stored, list(wanted), texts or {})
