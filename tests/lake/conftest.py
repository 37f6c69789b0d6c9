"""Fixtures: lakes in temporary directories, documents, and the truth about them."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import stored
from lakedir import LakeDir
from snapshots import Cluster

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def binary():
    return stored.binary()


@pytest.fixture(scope="session")
def ground():
    """A directory for lakes. It is in memory if there is room, because the tests do not depend on a disk."""
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 1 << 30
    with tempfile.TemporaryDirectory(prefix="alloclog-test-", dir=MEMORY if has_room else None) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def numbers():
    return itertools.count(1)


@pytest.fixture
def new_lake(binary, ground, numbers):
    """Reserves directories for lakes, and removes them afterwards."""
    made = []

    def new_lake():
        made.append(LakeDir(binary, ground / f"{next(numbers)}"))
        return made[-1]

    yield new_lake
    for lake in made:
        lake.remove()


@pytest.fixture
def lake(new_lake):
    return new_lake()


@pytest.fixture(scope="session")
def recorded():
    """Overlapping documents of real clusters: listings by time, then a snapshot state, a stream and an allocation."""
    listings = sorted((SAMPLES / "cluster").glob("2*.json"))
    return [*listings, SAMPLES / "snapshot-state.json.zst", SAMPLES / "stream.ndjson.zst", SAMPLES / "allocation.json"]


@pytest.fixture(scope="session")
def growing(ground):
    """Twelve listings of a small cluster, ten minutes apart."""
    cluster = Cluster(seed=1, alive=12, start=1_795_600_000)
    return cluster.listings(ground / "growing", count=12, apart=600, restarts=6, ends=1)


@pytest.fixture(scope="session")
def truths(binary, ground, growing):
    """For each n, the export of the first n listings of `growing`."""
    home = LakeDir(binary, ground / "truth")
    return {n: home.export(str(n), growing[:n]) for n in range(1, len(growing) + 1)}


@pytest.fixture(scope="session")
def truth(truths):
    """The export of all listings of `growing`."""
    return truths[max(truths)]
