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
    # A check holds a hash of every file (0.1 KB), and entries for reading the files of one table at a time (0.5 KB):
    # 0.2 KB per file on average. A log entry with its statistics would take 1.6 KB.
    assert (many - few) / files < 800, (few, many)
