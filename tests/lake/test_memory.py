"""The memory of maintenance on a lake of many files. docs/operations.md has the long forms."""

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


# A small process starts the program, because the kernel counts the memory of the process that starts it, too.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*command):
    """The peak memory of a run in bytes."""
    measured = subprocess.run([sys.executable, "-I", "-S", "-c", MEASURE, *command], capture_output=True, text=True)
    assert measured.returncode == 0, measured.stderr
    return int(measured.stdout) * 1024


def test_memory_hardly_follows_the_number_of_files(binary, lakes):
    few, many = (peak(binary, "lake", "check", "-q", lake) for lake in lakes)
    files = (MANY - FEW) * 5
    # A check holds a hash of every file (0.1 KB). For the files of one table at a time, it also holds what it needs to
    # read them (0.5 KB). The average is 0.2 KB per file. A log entry with its statistics would take 1.6 KB.
    assert (many - few) / files < 800, (few, many)


def test_memory_of_a_compaction_hardly_follows_the_number_of_files(binary, lakes):
    few, many = (peak(binary, "lake", "compact", "-q", lake) for lake in lakes)
    # A compaction takes one table at a time. Until it has replaced 10,000 files, it keeps half a kilobyte for each file
    # that it merges, and each line of a batch and of a log in several forms. In total, that is 6 KB per file. Full
    # statistics, and record batches of one row, would take 26 KB per file.
    assert (many - few) / (MANY - FEW) < 12_000, (few, many)
