"""The program as these tests run it, and what an export of it gives."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import stored
from stored import STORED

# What a document was the first to show is the same when documents come in the same order.
counted = functools.partial(stored.counted, without=stored.OF_ARRIVAL)


@dataclass
class Program:
    path: str
    scratch: Path

    def run(self, *arguments, expect=0):
        """Runs it to its end and returns what it wrote to standard output and to standard error."""
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
