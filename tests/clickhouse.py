"""ClickHouse inside the test process (chdb), on the statements of `alloclog schema --dialect clickhouse`."""

import contextlib
import math
import time

import chdb.session
import pyarrow as pa


class ClickHouse:
    """A new database with the tables and views that the statements create. Returns after every view was computed."""

    def __init__(self, statements, within):
        self.session = chdb.session.Session()
        self.within = within
        self.session.query("CREATE DATABASE alloclog ENGINE = Atomic")
        self.session.query("USE alloclog")
        self.run(statements)

    def run(self, statements):
        # ClickHouse reads only files below its user_files_path. In chdb, this is the working directory.
        with contextlib.chdir(self.within):
            self.session.query(statements)
            self.wait()

    def wait(self, at_most_seconds=120):
        until = time.monotonic() + at_most_seconds
        while True:
            rows = self.rows("SELECT view, last_success_time, exception FROM system.view_refreshes ORDER BY view")
            assert not [row for row in rows if row["exception"]], rows
            if all(row["last_success_time"] for row in rows):
                return
            assert time.monotonic() < until, rows
            time.sleep(0.1)

    def rows(self, query):
        return self.arrow(query).to_pylist()

    def arrow(self, query):
        return pa.ipc.open_stream(pa.py_buffer(self.session.query(query, "ArrowStream").bytes())).read_all()

    def close(self):
        self.session.close()


def differences(expected, answer):
    """The values that differ between two tables, each with its column. Floats may differ by rounding. The order of the
    rows does not matter."""
    assert answer.column_names == expected.column_names
    one, two = (sorted(map(plain, table.to_pylist()), key=order) for table in (expected, answer))
    assert len(one) == len(two), (len(one), len(two))
    return [
        (column, left, right)
        for left, right in zip(one, two)
        for column in left
        if not is_equal(left[column], right[column])
    ]


def plain(row):
    """The row with timestamps without their zone, which is always UTC."""
    return {name: value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value for name, value in row.items()}


def order(row):
    """A sort key with floats last and rounded, so that rounding differences do not change the order."""
    is_float = {name: isinstance(value, float) for name, value in row.items()}
    exact = [(value is None, str(value)) for name, value in row.items() if not is_float[name]]
    return repr(exact), [f"{value:.6g}" for name, value in row.items() if is_float[name]]


def is_equal(left, right):
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return type(left) is type(right) and left == right
