"""The memory of `lake check` on a lake of many files. docs/operations.md has the long form."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GENERATOR = Path(__file__).resolve().parents[2] / "benches/gen_batches.py"
FEW, MANY = 200, 1_800


@pytest.fixture(scope="module")
def lakes(binary, ground):
    """A lake with few batches, and one with many; each batch has a file in each of five tables."""
    document = Path(__file__).resolve().parents[2] / "samples/allocation.json"
    found = []
    for batches in (FEW, MANY):
        lake = ground / f"of-{batches}-batches"
        subprocess.run([binary, "ingest", "-q", document, "--lake", lake, "--cache", ground / "memory.cache"], check=True)
        subprocess.run([sys.executable, GENERATOR, lake, "--batches", str(batches)], check=True)
        found.append(lake)
    yield found
    for lake in found:
        shutil.rmtree(lake)


def peak(binary, *arguments):
    """The peak memory of a run in bytes."""
    child = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stderr = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, stderr
    return usage.ru_maxrss * 1024


def test_memory_hardly_follows_the_number_of_files(binary, lakes):
    few, many = (peak(binary, "lake", "check", "-q", lake) for lake in lakes)
    files = (MANY - FEW) * 5
    # Hashes take 0.1 KB a file, and what reading needs half a kilobyte for each file of one table: 0.2 KB on average.
    # With its statistics, a file of a log took 1.6 KB.
    assert (many - few) / files < 800, (few, many)
