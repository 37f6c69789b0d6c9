"""When allocations were last seen, whether they vanished, and coverage: a lake gives the same values as one export of
all documents, or null. This holds for any order, any split into ingests, and any state of the cache."""

import random
import shutil

import pyarrow.parquet as pq
import pytest

COLUMNS = {
    "allocations": ["alloc_id", "vanished", "last_seen_at_ns"],
    "coverage": ["alloc_id", "task", "tail_lost", "complete"],
    "restarts": ["namespace", "job_id", "task_group", "task", "task_days", "restarts_per_task_day"],
    "start_latency": ["namespace", "job_id", "task_group", "task", "measure", "p50_seconds", "p95_seconds"],
}


def views(lake, name, sources, *flags):
    out = lake.root / name
    shutil.rmtree(out, ignore_errors=True)
    lake.run("export", "-q", *sources, *flags, "-o", out, "--table", ",".join(COLUMNS))
    return {view: rows(out / f"{view}.parquet", columns) for view, columns in COLUMNS.items()}


def rows(path, columns):
    table = pq.read_table(path, columns=columns)
    return sorted(zip(*(table[column].to_pylist() for column in columns), strict=True), key=lambda row: list(map(str, row[:-2])))


@pytest.fixture
def listings(recorded):
    """Six listings of one cluster."""
    return [path for path in recorded if path.name.startswith("2")]


def compare(found, truth):
    """Asserts that the known values equal the truth, and returns the number of unknown values."""
    unknown = 0
    for view, rows in truth.items():
        assert len(found[view]) == len(rows)
        for row, true in zip(found[view], rows, strict=True):
            keys = len(row) - 2
            assert row[:keys] == true[:keys]
            for value, expected in zip(row[keys:], true[keys:], strict=True):
                if view == "coverage" and value is False and expected is True:
                    unknown += 1  # `complete` is never null: false means that it is not known
                elif value is None:
                    unknown += expected is not None
                else:
                    assert value == expected, (view, row, true)
    return unknown


@pytest.mark.parametrize("seed", range(4))
def test_full_listings(lake, listings, seed):
    truth = views(lake, "truth", listings, "--full-listing")
    chance = random.Random(seed)
    left = list(listings) + chance.sample(listings, 2)
    if seed:
        chance.shuffle(left)
    while left:
        some = left[:chance.choice([1, 1, 2])]
        left = left[len(some):]
        lake.ingest(*some, "--full-listing")
        if chance.random() < 0.5:
            shutil.rmtree(lake.cache)
        if chance.random() < 0.3:
            shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
    assert compare(views(lake, "views", [lake.lake], "--since", "3650d"), truth) == 0


def test_partial_documents_leave_presence_unknown_never_wrong(lake, listings):
    truth = views(lake, "truth", listings)
    for listing in reversed(listings):
        lake.ingest(listing)
        shutil.rmtree(lake.cache)
    assert compare(views(lake, "views", [lake.lake], "--since", "3650d"), truth) > 0
