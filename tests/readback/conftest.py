"""What the tests here share: the program, and where its samples are. $ALLOCLOG_BIN names the program."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TABLES = [
    "task_events", "allocation_history", "task_state_history", "sightings", "snapshots", "nodes",
    "allocations", "task_states", "coverage",
]  # fmt: skip

# A shell that starts tests in the background lets them ignore SIGINT, and their children too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    path = os.environ.get("ALLOCLOG_BIN")
    assert path and os.access(path, os.X_OK), "ALLOCLOG_BIN must name the program; scripts/test sets it"
    return Program(path, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def cluster():
    """Six listings of one small cluster and its nodes."""
    return SAMPLES / "cluster"


@pytest.fixture(scope="session")
def listing(cluster):
    """The allocations of the last listing of the cluster."""
    *_, last = sorted(cluster.glob("2*.json"))
    return json.loads(last.read_bytes())
