"""The program as these tests run it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

TABLES = [
    "task_events", "allocation_history", "task_state_history", "sightings", "snapshots", "nodes",
    "allocations", "task_states", "coverage",
]  # fmt: skip


@dataclass
class Program:
    """The program, its temporary files kept in a directory of their own."""

    path: str
    scratch: Path

    def command(self, *arguments):
        return [self.path, *map(str, arguments)]

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NOMAD_")}
        return kept | {"TMPDIR": str(self.scratch)}

    def start(self, *arguments, **options):
        """Starts it; its output is kept from the test's."""
        streams = {name: options.pop(name, subprocess.DEVNULL) for name in ("stdin", "stdout", "stderr")}
        return subprocess.Popen(self.command(*arguments), env=self.environment(), **streams, **options)

    def run(self, *arguments, expect=0, **options):
        """Runs it to its end and returns what it wrote to standard output."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, timeout=120, env=self.environment(), **options
        )
        assert done.returncode == expect, done.stderr.decode()
        return done.stdout

    def export(self, *arguments, tables=TABLES, **options):
        return self.run("export", "-q", *arguments, "--table", ",".join(tables), **options)
