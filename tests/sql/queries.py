"""The queries in corpus/, and the results from the program and from DuckDB."""

import datetime
import decimal
import json
import math
import pathlib
import re
import subprocess

CORPUS = pathlib.Path(__file__).parent / "corpus"


def corpus():
    """(file, question, query) of every query."""
    for path in sorted(CORPUS.glob("*.sql")):
        question = None
        for line in path.read_text().splitlines():
            if line.startswith("-- "):
                question = line[3:]
            else:
                assert line.endswith(";"), f"{path.name}: {line}"
                yield path.stem, question, line.removesuffix(";")


def ask(program, sql, *sources):
    """(rows, standard error); rows is None if the program refuses the query. A row is a list of its values in order."""
    # The rows are JSON objects. Their keys are unique, because the program renames duplicate columns.
    ran = subprocess.run(
        [program, "query", sql, *map(str, sources), "--format", "json", "-q"], capture_output=True, text=True
    )
    if ran.returncode == 0:
        rows = json.loads(ran.stdout, object_pairs_hook=lambda pairs: [plain(value) for _, value in pairs])
        return rows, ran.stderr
    assert ran.returncode == 2, f"exit code {ran.returncode}\n{sql}\n{ran.stderr}"
    assert not ran.stdout
    return None, ran.stderr


def advised(stderr):
    """The query that a refusal recommends."""
    found = re.search(r"a query that runs: (.*)$", stderr, re.MULTILINE)
    return found and found[1]


def ask_duckdb(db, sql):
    """The rows that DuckDB answers. NOW becomes the newest observation, as in the program."""
    newest = db.sql("SELECT MAX(observed_at) FROM snapshots").fetchall()[0][0].isoformat()
    sql = re.sub(r"\b(NOW\(\)|CURRENT_TIMESTAMP)", f"TIMESTAMPTZ '{newest}'", sql)
    sql = sql.replace("CURRENT_DATE", f"DATE '{newest[:10]}'")
    return [[plain(value) for value in row] for row in db.sql(sql).fetchall()]


MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def plain(value):
    """A value in a comparable form: numbers as numbers, timestamps in UTC."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return datetime.datetime.fromisoformat(value).replace(tzinfo=None)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # not representable in JSON
    return value


def same(one, other):
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
        return numbers and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


def key(row):
    """A sort key for the rows of both programs. Nulls come first, and numbers are rounded to six digits."""
    number = lambda value: float(f"{value:.6g}") if isinstance(value, float) else value
    return [(value is not None, str(type(value)) if not isinstance(value, (int, float)) else "n", str(number(value)))
            for value in row]


def equal(ours, theirs, ordered):
    """Returns true if two results have the same rows, in the same order if the query has one."""
    if not ordered:
        ours, theirs = sorted(ours, key=key), sorted(theirs, key=key)
    return len(ours) == len(theirs) and all(
        len(one) == len(other) and all(map(same, one, other)) for one, other in zip(ours, theirs)
    )
