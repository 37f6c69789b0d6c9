"""A lake in a directory as these tests use it, and what two exports have to agree in."""

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
    """The rows of each table of an export, with how often each is there."""
    return {table: counted(pq.read_table(export / f"{table}.parquet")) for table in OF_DOCUMENTS}


def difference(export, truth):
    """The tables in which an export differs from the truth, with the rows that are too many and those that lack."""
    differ = {}
    for table, found in rows(export).items():
        expected = truth_rows(truth)[table]
        if found != expected:
            differ[table] = (found - expected).total(), (expected - found).total()
    return differ


def miscounted(export):
    """The columns of the ledger whose sum is not the number of rows that the table has: rows of half a batch."""
    wrong = {}
    ledger = pq.read_table(export / "snapshots.parquet")
    for column, table in NEW.items():
        said, there = sum(ledger[column].to_pylist()), pq.read_metadata(export / f"{table}.parquet").num_rows
        if said != there:
            wrong[column] = (said, there)
    return wrong


@dataclass
class LakeDir:
    """A lake, the cache of one machine that writes to it, and room for exports, below one directory."""

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
        """Starts the program; `before` is a command that runs it."""
        command = [*map(str, before), self.binary, *map(str, arguments)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        environment = self.environment(cache) | options.pop("environment", {})
        return subprocess.Popen(command, env=environment, **(streams | options))

    def run(self, *arguments, expect=0, **options):
        """Runs the program to its end, and gives what it said."""
        child = self.start(*arguments, **options)
        try:
            _, said = child.communicate(timeout=120)
        finally:
            child.kill()
        assert child.returncode == expect, f"exit code {child.returncode}: {said.decode()}"
        return said.decode()

    def ingest(self, *documents, **options):
        return self.run("ingest", *documents, "--lake", self.lake, **options)

    def export(self, name="export", sources=None, **options):
        """Exports the lake, or other sources, to a directory that it gives."""
        out = self.root / name
        shutil.rmtree(out, ignore_errors=True)
        self.run("export", "-q", *(sources or [self.lake]), "-o", out, "--table", ",".join(STORED), **options)
        return out

    def check(self, *arguments, **options):
        return self.run("lake", "check", "-q", self.lake, *arguments, **options)

    def info(self):
        """What the lake holds by its own word: its tables by name."""
        command = [self.binary, "lake", "info", self.lake, "--format", "json"]
        told = subprocess.run(command, check=True, capture_output=True, env=self.environment())
        return {table["table"]: table for table in json.loads(told.stdout)["tables"]}

    def must_be(self, *truths):
        """The lake reads as one of these exports."""
        export = self.export()
        found = [difference(export, truth) for truth in truths]
        assert {} in found, found
        return found.index({})

    def must_be_whole(self, truth):
        """The lake reads as this export, nothing of it is wrong, and its ledger has counted every row once."""
        self.must_be(truth)
        assert miscounted(self.root / "export") == {}
        assert self.check() == ""

    def copy(self, name):
        """The same lake and cache elsewhere."""
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
        """The data files of the tables by the logs alone: those that are in a table, and those that were taken out."""
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
        """Files that nothing needs: what killed writers leave."""
        there, taken_out = self.data_files()
        assert there <= self.files()
        rest = self.files() - there - taken_out

        def is_ours(name):
            file = name.rsplit("/", 1)[-1]
            places = ("_alloclog/lake.json", "_alloclog/batches/", "_alloclog/seen/")
            return not file.startswith(".") and ("/_delta_log/" in name or name.startswith(places))

        return {name for name in rest if not is_ours(name)}

    def age(self, seconds=8 * DAY, unfinished=True):
        """Lets every file have been written so much earlier."""
        for path in self.lake.rglob("*"):
            if unfinished or not path.name.startswith("."):
                try:
                    stat = path.stat()
                    os.utime(path, (stat.st_atime - seconds, stat.st_mtime - seconds))
                except FileNotFoundError:
                    pass  # It went while we looked.

    def vacuum(self, **options):
        return self.run("lake", "vacuum", self.lake, **options)

    def must_leave_nothing(self):
        """A vacuum, a week later, removes all that killed writers left."""
        self.age()
        self.vacuum()
        assert self.left_over() == set()
