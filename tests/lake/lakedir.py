"""A lake in a directory, and the comparison of exports."""

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq
from stored import NEW, OF_DOCUMENTS, STORED, counted, environment

DAY = 24 * 3600


@functools.cache
def truth_rows(export):
    return rows(export)


def rows(export):
    """How often each row occurs in each table of an export."""
    return {table: counted(pq.read_table(export / f"{table}.parquet")) for table in OF_DOCUMENTS}


def difference(export, truth):
    """The tables in which an export differs from the truth, each with its numbers of surplus and of missing rows."""
    differ = {}
    for table, found in rows(export).items():
        expected = truth_rows(truth)[table]
        if found != expected:
            differ[table] = (found - expected).total(), (expected - found).total()
    return differ


def miscounted(export):
    """The columns of the ledger whose sum is not the number of rows of their table, as after a partly applied batch."""
    wrong = {}
    ledger = pq.read_table(export / "snapshots.parquet")
    for column, table in NEW.items():
        counted, stored = sum(ledger[column].to_pylist()), pq.read_metadata(export / f"{table}.parquet").num_rows
        if counted != stored:
            wrong[column] = (counted, stored)
    return wrong


@dataclass
class LakeDir:
    """A lake, the cache of one writing machine, and exports, below one directory."""

    binary: str
    root: Path

    @property
    def lake(self):
        return self.root / "lake"

    @property
    def cache(self):
        return self.root / "cache"

    def environment(self, cache=None):
        scratch = self.root / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        return environment(scratch, cache or self.cache)

    def start(self, *arguments, cache=None, before=(), **options):
        """Starts the program; `before` is a command that runs it, such as strace with its arguments."""
        command = [*map(str, before), self.binary, *map(str, arguments)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        environment = self.environment(cache) | options.pop("environment", {})
        return subprocess.Popen(command, env=environment, **(streams | options))

    def run(self, *arguments, expect=0, **options):
        """Runs the program and returns its stderr."""
        child = self.start(*arguments, **options)
        try:
            _, stderr = child.communicate(timeout=120)
        finally:
            child.kill()
        assert child.returncode == expect, f"exit code {child.returncode}: {stderr.decode()}"
        return stderr.decode()

    def ingest(self, *documents, **options):
        return self.run("ingest", *documents, "--lake", self.lake, **options)

    def export(self, name="export", sources=None, **options):
        """Exports the lake, or other sources, and returns the directory."""
        out = self.root / name
        shutil.rmtree(out, ignore_errors=True)
        self.run("export", "-q", *(sources or [self.lake]), "-o", out, "--table", ",".join(STORED), **options)
        return out

    def check(self, *arguments, **options):
        return self.run("lake", "check", "-q", self.lake, *arguments, **options)

    def info(self):
        """The output of `lake info`: the tables by name."""
        command = [self.binary, "lake", "info", self.lake, "--format", "json"]
        told = subprocess.run(command, check=True, capture_output=True, env=self.environment())
        return {table["table"]: table for table in json.loads(told.stdout)["tables"]}

    def must_be(self, *truths):
        """Asserts that an export of the lake equals one of the truths. Returns the index of this truth."""
        export = self.export()
        found = [difference(export, truth) for truth in truths]
        assert {} in found, found
        return found.index({})

    def must_be_whole(self, truth):
        """Asserts that an export of the lake equals the truth, a check finds nothing, and the ledger
        counts every row once."""
        self.must_be(truth)
        assert miscounted(self.root / "export") == {}
        assert self.check() == ""

    def copy(self, name):
        """A copy of the lake and the cache."""
        other = LakeDir(self.binary, self.root.parent / name)
        shutil.rmtree(other.root, ignore_errors=True)
        for part in ("lake", "cache"):
            if (self.root / part).exists():
                shutil.copytree(self.root / part, other.root / part)
        return other

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def files(self):
        """The files of the lake, by their names within it."""
        return {str(path.relative_to(self.lake)) for path in self.lake.rglob("*") if path.is_file()}

    def data_files(self):
        """The data files according to the logs of the tables: the current files, and the removed files."""
        there, taken_out = set(), set()
        for table in STORED:
            for version in sorted((self.lake / table / "_delta_log").glob("*.json")):
                for action in map(json.loads, version.read_text().splitlines()):
                    if "add" in action:
                        there.add(f"{table}/{unquote(action['add']['path'])}")
                    if "remove" in action:
                        taken_out.add(f"{table}/{unquote(action['remove']['path'])}")
        return there - taken_out, taken_out

    def left_over(self):
        """Unreferenced files, as left by killed writers."""
        there, taken_out = self.data_files()
        assert there <= self.files()
        rest = self.files() - there - taken_out

        def is_ours(name):
            file = name.rsplit("/", 1)[-1]
            places = ("_alloclog/lake.json", "_alloclog/redaction.json", "_alloclog/batches/", "_alloclog/seen/")
            return not file.startswith(".") and ("/_delta_log/" in name or name.startswith(places))

        return {name for name in rest if not is_ours(name)}

    def age(self, seconds=8 * DAY, unfinished=True):
        """Makes every file older by `seconds`. If not `unfinished`, leaves out hidden files."""
        for path in self.lake.rglob("*"):
            if unfinished or not path.name.startswith("."):
                try:
                    stat = path.stat()
                    os.utime(path, (stat.st_atime - seconds, stat.st_mtime - seconds))
                except FileNotFoundError:
                    pass  # Removed meanwhile.

    def vacuum(self, **options):
        return self.run("lake", "vacuum", self.lake, **options)

    def must_leave_nothing(self):
        """Asserts that a vacuum, eight days later, removes all leftovers of killed writers."""
        self.age()
        self.vacuum()
        assert self.left_over() == set()
