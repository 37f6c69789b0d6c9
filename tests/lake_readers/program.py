"""The program as these tests run it, and what an export of it gives."""

import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

STORED = ["task_events", "allocation_history", "task_state_history", "sightings", "snapshots", "nodes"]
# What tells how rows arrived, and in which batch, not what they say.
OF_ARRIVAL = ["snapshot_id", "ingested_at", "ingested_at_ns", "new_task_events", "new_allocation_versions", "new_task_states"]


def counted(table):
    """The rows of an Arrow table by what they say, with how often each is there."""
    kept = sorted(set(table.column_names) - set(OF_ARRIVAL))
    return Counter(tuple(row.values()) for row in table.select(kept).to_pylist())


@dataclass
class Program:
    path: str
    scratch: Path

    def run(self, *arguments, expect=0):
        """Runs it to its end and returns what it wrote to standard output and to standard error."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NOMAD_", "ALLOCLOG_"))}
        done = subprocess.run(
            [self.path, *map(str, arguments)],
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env=kept | {"TMPDIR": str(self.scratch), "ALLOCLOG_CACHE": str(self.scratch / "cache")},
        )
        assert done.returncode == expect, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    def ingest(self, lake, *sources, expect=0):
        return self.run("ingest", *sources, "--lake", lake, expect=expect)

    def export(self, directory, *sources):
        """Every stored table of these sources, by name."""
        self.run("export", "-q", *sources, "--table", ",".join(STORED), "-o", directory, "--force")
        return {name: pq.read_table(directory / f"{name}.parquet") for name in STORED}
