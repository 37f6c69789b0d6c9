"""Runs the program with a lake on the server behind the proxy."""

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import stored
from server import BUCKET
from stored import OF_DOCUMENTS, counted

SECRET = "marker-of-the-secret-key"
TOKEN = "marker-of-the-session-token"
AWS = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


@dataclass
class Program:
    """The program, with its local files in a separate directory."""

    path: str
    scratch: Path
    endpoint: str
    lake: str
    variables: dict = field(default_factory=dict)

    @property
    def prefix(self):
        """The prefix of the lake in the bucket."""
        return self.lake.removeprefix(f"s3://{BUCKET}/") + "/"

    def environment(self):
        kept = stored.environment(self.scratch, self.scratch / "cache")
        return kept | AWS | {"AWS_ENDPOINT_URL": self.endpoint} | self.variables

    def start(self, *arguments):
        command = [self.path, *map(str, arguments)]
        return subprocess.Popen(
            command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def end(self, process, expect=0):
        """Waits for the end of a process, and returns what it wrote to standard output and standard error."""
        out, errors = (text.decode() for text in process.communicate(timeout=120))
        assert process.returncode == expect, errors
        assert SECRET not in out + errors and TOKEN not in out + errors
        return out, errors

    def run(self, *arguments, expect=0):
        return self.end(self.start(*arguments), expect)

    def ingest(self, *sources, expect=0):
        return self.run("ingest", *sources, "--lake", self.lake, expect=expect)

    def exported(self, *sources):
        """How often each row occurs in each table of an export of the sources."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            self.run("export", "-q", *sources, "--table", ",".join(OF_DOCUMENTS), "-o", directory)
            return {name: counted(pq.read_table(Path(directory) / f"{name}.parquet")) for name in OF_DOCUMENTS}

    def holds(self, truth, word="is whole"):
        """Asserts that a check succeeds with this message, and that the lake has these rows."""
        _, stderr = self.run("lake", "check", self.lake)
        assert word in stderr
        found = self.exported(self.lake)
        for name in OF_DOCUMENTS:
            assert found[name] == truth[name], name
