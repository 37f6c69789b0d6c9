"""Runs the program and reads its exports."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import stored
from stored import STORED

# Also compares the columns that count the rows which a document showed first. They are equal only if documents arrive
# in the same order.
counted = functools.partial(stored.counted, without=stored.OF_ARRIVAL)


@dataclass
class Program:
    path: str
    scratch: Path

    def run(self, *arguments, expect=0):
        """Runs the program to its end. Returns its standard output and its standard error."""
        done = subprocess.run(
            [self.path, *map(str, arguments)],
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env=stored.environment(self.scratch, self.scratch / "cache"),
        )
        assert done.returncode == expect, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    def ingest(self, lake, *sources, expect=0):
        return self.run("ingest", *sources, "--lake", lake, expect=expect)

    def export(self, directory, *sources):
        """Every stored table of these sources, by name."""
        self.run("export", "-q", *sources, "--table", ",".join(STORED), "-o", directory, "--force")
        return {name: pq.read_table(directory / f"{name}.parquet") for name in STORED}
