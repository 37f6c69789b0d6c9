"""Runs the program."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from stored import STORED, environment

TABLES = [*STORED, "allocations", "task_states", "coverage"]


@dataclass
class Program:
    """The program, with a separate directory for temporary files."""

    path: str
    scratch: Path
    variables: dict = field(default_factory=dict)

    def command(self, *arguments):
        return [self.path, *map(str, arguments)]

    def environment(self):
        return environment(self.scratch, self.scratch / "cache") | self.variables

    def start(self, *arguments, **options):
        """Starts the program and captures its output."""
        streams = {name: options.pop(name, subprocess.DEVNULL) for name in ("stdin", "stdout", "stderr")}
        return subprocess.Popen(self.command(*arguments), env=self.environment(), **streams, **options)

    def run(self, *arguments, expect=0, **options):
        """Runs the program and returns its stdout."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, timeout=120, env=self.environment(), **options
        )
        assert done.returncode == expect, done.stderr.decode()
        return done.stdout

    def export(self, *arguments, tables=TABLES, **options):
        return self.run("export", "-q", *arguments, "--table", ",".join(tables), **options)
