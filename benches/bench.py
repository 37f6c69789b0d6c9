#!/usr/bin/env python3
"""Measures alloclog and compares it with programs that only flatten the JSON into rows.

Prints Markdown for docs/performance.md.

Programs take turns, so that a slow moment of the machine affects all of them. The best round counts for time, the worst
for memory. The time of alloclog is that of the whole process. The time of the other programs is that of their statement
alone, without the start of Python. Documents are in the page cache. Run it on an otherwise idle machine, and compare
only ratios within one run. A bar is the limit that a measured value must keep. The bars are for the default sizes,
because with small documents the start of a process takes most of the time.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
PARTS = ["flatten", "memory", "views", "statistics", "overlap", "ingest", "logs", "help"]
VIEWS = "allocations,task_states,coverage"  # the views of the bar "the three views"
EVENTS = [3, 25, 100]  # how many of a hundred lines of a log report an event


@dataclass
class Run:
    """One run of a process, or several runs: their least times and their largest memory."""

    seconds: float
    peak: int  # largest resident memory in bytes
    processor: float | None = None  # processor seconds of all cores; on a busy machine, they vary less than `seconds`
    rows: int | None = None  # task events written


def process(command):
    """Runs a command and returns its time and memory, and its output."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        for stream in (stdout, stderr):
            stream.seek(0)
        if child.returncode != 0:
            sys.exit(f"{shlex.join(map(str, command))} failed with {child.returncode}:\n{stderr.read().decode()}")
        run = Run(seconds, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
        return run, stdout.read().decode()


def best(runs):
    processors = [run.processor for run in runs if run.processor is not None]
    least = min(processors, default=None)
    return Run(min(run.seconds for run in runs), max(run.peak for run in runs), least, runs[0].rows)


class Bench:
    """The options, the directory of the documents, and the bars measured so far."""

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.out = directory / "out"
        self.bars = []  # what, bar, measured, whether it holds
        self.stored = self.tables("stored table")

    def say(self, what):
        print(f"bench: {what}", file=sys.stderr, flush=True)

    def data(self, name, allocs, *more):
        """The directory with the documents of a simulated cluster; writes them if no earlier run did."""
        target = self.directory / f"{name}-{allocs}"
        if not target.exists():
            self.say(f"writing {target}")
            unfinished = target.with_name(target.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            process([sys.executable, BENCHES / "gen_cluster.py", unfinished, "--allocs", str(allocs), *more])
            unfinished.rename(target)
        return target

    def document(self, name, allocs, *more):
        (document,) = self.data(name, allocs, *more).iterdir()
        return document

    def warm(self, paths):
        """Reads documents once, so that no measurement includes reading from the disk."""
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass

    def tables(self, mark):
        """The names of the tables whose line in `alloclog schema` has this mark, joined by commas."""
        _, schema = process([self.options.alloclog, "schema"])
        heads = re.findall(r"^(\w+) \((.*)\)$", schema, re.MULTILINE)
        return ",".join(name for name, marks in heads if mark in marks.split(", "))

    def export(self, source, tables=None, rows=None):
        """Exports tables, by default all stored ones, as Parquet. Removes the files. Adds the row counts to `rows`."""
        tables = tables or self.stored
        shutil.rmtree(self.out, ignore_errors=True)
        run, _ = process([self.options.alloclog, "export", "-q", source, "-o", self.out, "--table", tables])
        if "task_events" in tables:
            events = self.out / "task_events.parquet"
            count = f"import pyarrow.parquet as pq; print(pq.read_metadata({str(events)!r}).num_rows)"
            run.rows = int(subprocess.check_output([sys.executable, "-c", count]))
        if rows is not None:
            manifest = json.loads((self.out / "_export.json").read_text())
            rows.update((file["table"], file["rows"]) for file in manifest["files"])
        shutil.rmtree(self.out)
        return run

    def peer(self, name, source):
        """One run of a program that only flattens."""
        self.out.mkdir()
        run, said = process([sys.executable, BENCHES / "peers" / f"{name}_flatten.py", source, self.out / "out.parquet"])
        shutil.rmtree(self.out)
        said = json.loads(said)
        return Run(said["seconds"], run.peak, rows=said["rows"])

    def rounds(self, contenders):
        """For each contender, the least times and the largest memory of all rounds. The contenders take turns."""
        runs = {name: [] for name in contenders}
        for number in range(self.options.rounds):
            for name, contender in contenders.items():
                run = contender()
                runs[name].append(run)
                self.say(f"round {number + 1}: {name} {run.seconds:.3f} s, {megabytes(run.peak)} MB")
        return {name: best(runs) for name, runs in runs.items()}

    def bar(self, what, bar, measured, holds):
        self.bars.append([what, bar, measured, "yes" if holds else "**no**"])

    def flatten(self):
        allocs = self.options.allocs
        rows = []
        for shape in ("array", "ndjson"):
            document = self.document(shape, allocs, "--shape", shape)
            self.warm([document])
            size = document.stat().st_size
            results = self.rounds(
                {
                    "alloclog": lambda: self.export(document),
                    "DuckDB": lambda: self.peer("duckdb", document),
                    "ClickHouse": lambda: self.peer("clickhouse", document),
                }
            )
            if len({run.rows for run in results.values()}) != 1:
                sys.exit(f"not all wrote the same number of events: { {n: r.rows for n, r in results.items()} }")
            ours = results["alloclog"]
            for name, run in results.items():
                ratio = "" if run is ours else f"{run.seconds / ours.seconds:.2f}"
                what = f"{shape}, {megabytes(size)} MB, {run.rows:,} events" if run is ours else ""
                rate = f"{size / run.seconds / 1e6:,.0f}"
                rows.append([what, name, f"{run.seconds:.2f}", rate, megabytes(run.peak), ratio])
            ratio = min(run.seconds for run in results.values() if run is not ours) / ours.seconds
            self.bar(f"{shape}: faster than the fastest other", "at least 1.5 times", f"{ratio:.2f} times", ratio >= 1.5)
            self.bar(f"{shape}: peak memory", "at most 400 MB", f"{megabytes(ours.peak)} MB", ours.peak <= 400e6)
        print("\n## One document to Parquet\n")
        print("alloclog merges and writes five tables; the others write only the events, and merge nothing.\n")
        table(["document", "program", "seconds", "MB/s", "peak MB", "times alloclog's seconds"], rows)

    def memory(self):
        rows, peaks = [], []
        for allocs in (self.options.allocs, 2 * self.options.allocs):
            document = self.document("array", allocs)
            self.warm([document])
            run = self.rounds({"alloclog": lambda: self.export(document)})["alloclog"]
            peaks.append(run.peak)
            size = document.stat().st_size
            rows.append([f"{allocs:,}", megabytes(size), f"{run.seconds:.2f}", megabytes(run.peak)])
        ratio = peaks[1] / peaks[0]
        self.bar("peak memory for a document twice as large", "at most 1.3 times", f"{ratio:.2f} times", ratio <= 1.3)
        print("\n## A document twice as large\n")
        table(["allocations", "MB", "seconds", "peak MB"], rows)

    def views(self):
        document = self.document("array", self.options.allocs)
        self.warm([document])
        results = self.rounds(
            {
                "stored tables": lambda: self.export(document),
                "stored tables and views": lambda: self.export(document, f"{self.stored},{VIEWS}"),
            }
        )
        without, with_views = results.values()
        ratio = with_views.seconds / without.seconds
        self.bar("the three views", "at most as much again", f"{ratio - 1:.2f} times as much", ratio <= 2)
        print("\n## The views\n")
        took(results)

    def statistics(self):
        """Compares all statistics with DuckDB, which runs queries/ over the same stored tables. Both write Parquet."""
        document = self.document("array", self.options.allocs)
        self.warm([document])
        tables = self.stored
        exported = self.tables("exported by default").split(",")
        statistics = ",".join(name for name in exported if name not in tables.split(","))
        with tempfile.TemporaryDirectory(dir=self.directory) as kept:
            stored = Path(kept) / "stored"
            process([self.options.alloclog, "export", "-q", document, "-o", stored, "--table", tables])
            rows = {}

            def duckdb():
                self.out.mkdir()
                script = BENCHES / "peers" / "duckdb_statistics.py"
                run, said = process([sys.executable, script, stored, BENCHES.parent / "queries", self.out, statistics])
                shutil.rmtree(self.out)
                said = json.loads(said)
                wrong = {name: (count, rows[name]) for name, count in said["rows"].items() if count != rows[name]}
                if wrong:
                    sys.exit(f"not the same number of rows, DuckDB's and ours: {wrong}")
                return Run(said["seconds"], run.peak, said["processor"])

            results = self.rounds(
                {
                    "stored tables": lambda: self.export(document, tables),
                    "stored tables and statistics": lambda: self.export(document, f"{tables},{statistics}", rows),
                    "DuckDB: statistics": duckdb,
                }
            )
        without, all_of_it, theirs = results.values()
        ours = all_of_it.seconds - without.seconds
        ratio = ours / theirs.seconds
        what = "all statistics, against DuckDB over the stored tables"
        self.bar(what, "at most 1.5 times its time", f"{ratio:.2f} times: {ours:.2f} s", ratio <= 1.5)
        peak = all_of_it.peak
        self.bar("all statistics: peak memory", "at most 2,000 MB", f"{megabytes(peak)} MB", peak <= 2e9)
        print("\n## All statistics\n")
        took(results)

    def overlap(self):
        allocs, snapshots = self.options.snapshot_allocs, self.options.snapshots
        directory = self.data(f"{snapshots}-snapshots", allocs, "--snapshots", str(snapshots), "--interval", "30")
        documents = sorted(directory.iterdir())
        large = self.document("array", self.options.allocs)
        self.warm([*documents, large])
        sources = {
            f"{snapshots} snapshots of {allocs:,} allocations": (directory, documents),
            "one of them alone": (documents[-1], documents[-1:]),
            f"one document of {self.options.allocs:,} allocations": (large, [large]),
        }
        results = self.rounds({name: lambda s=source: self.export(s) for name, (source, _) in sources.items()})
        rows, rates = [], []
        for name, run in results.items():
            size = sum(document.stat().st_size for document in sources[name][1])
            rates.append(size / run.seconds)
            rate = f"{rates[-1] / 1e6:,.0f}"
            rows.append([name, megabytes(size), f"{run.rows:,}", f"{run.seconds:.2f}", rate, megabytes(run.peak)])
        # Compares with the faster of the two single documents. In the small one, the start of the process counts more.
        ratio = rates[0] / max(rates[1:])
        self.bar("overlapping snapshots: bytes a second", "at least 3 times a single one's", f"{ratio:.2f} times", ratio >= 3)
        print("\n## Overlapping snapshots, 30 s apart\n")
        table(["documents", "MB", "events", "seconds", "MB/s", "peak MB"], rows)

    def ingest(self):
        """Compares two ingests of a listing with its export, and a report of the lake with a report of the listing."""
        document = self.document("array", self.options.allocs)
        self.warm([document])
        directory = self.directory / "ingest"
        lake, cache = directory / "lake", directory / "cache"

        def run(*arguments):
            return process([self.options.alloclog, *arguments, "-q"])[0]

        def again():
            return run("ingest", document, "--lake", lake, "--cache", cache)

        def first():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            return again()

        contenders = {
            "stored tables of a listing": lambda: self.export(document),
            "first ingest of it": first,
            "the same ingested again": again,
            "report of the listing": lambda: run("report", document),
            "report of the lake": lambda: run("report", lake),
        }
        results = self.rounds(contenders)
        shutil.rmtree(directory)
        stored, once, twice, of_listing, of_lake = results.values()
        for what, one, other, most in [
            ("first ingest, against the stored tables", once, stored, 1.5),
            ("the same ingested again, against the stored tables", twice, stored, 0.4),
            ("report of a lake, against one of its listing", of_lake, of_listing, 0.8),
        ]:
            ratio = one.seconds / other.seconds
            self.bar(what, f"at most {most} times its time", f"{ratio:.2f} times", ratio <= most)
        print(f"\n## A lake of {self.options.allocs:,} allocations\n")
        took(results)

    def log(self, size, events):
        """A log with this share of events, and the number of its events; writes the log if no earlier run did."""
        path = self.directory / f"log-{size}-{events}.log"
        number = path.with_suffix(".events")
        if not number.exists():
            self.say(f"writing {path}")
            generate = [sys.executable, BENCHES / "gen_logs.py", path, "--mb", str(size), "--events", str(events)]
            number.write_text(process(generate)[1])
        return path, int(number.read_text())

    def logs(self):
        """Compares reading logs of a client to `log_events` with reading the JSON of a listing to its stored tables."""
        document = self.document("array", self.options.allocs)
        texts = {events: self.log(self.options.log_mb, events) for events in EVENTS}
        twice, _ = self.log(2 * self.options.log_mb, EVENTS[1])
        self.warm([document, twice, *(path for path, _ in texts.values())])
        contenders = {
            f"log, {events} of 100 lines are events": lambda path=path: self.export(path, "log_events")
            for events, (path, _) in texts.items()
        }
        contenders["the second, twice as large"] = lambda: self.export(twice, "log_events")
        contenders["JSON: all stored tables"] = lambda: self.export(document)
        results = self.rounds(contenders)
        paths = [*(path for path, _ in texts.values()), twice, document]
        rows, rates = [], []
        for (name, run), path in zip(results.items(), paths, strict=True):
            size = path.stat().st_size
            rates.append(size / run.processor)
            cost = [f"{run.seconds:.2f}", f"{run.processor:.2f}", f"{rates[-1] / 1e6:,.0f}"]
            rows.append([name, megabytes(size), *cost, megabytes(run.peak)])
        few, some, only, double, _ = results.values()
        what = f"log with {EVENTS[0]} events in 100 lines"
        self.bar(what, "at least 500 MB a processor second", f"{rates[0] / 1e6:,.0f} MB", rates[0] >= 500e6)
        ratio = double.peak / some.peak
        self.bar("peak memory for a log twice as large", "at most 1.3 times", f"{ratio:.2f} times", ratio <= 1.3)
        more_events = texts[EVENTS[2]][1] - texts[EVENTS[0]][1]
        each = (only.processor - few.processor) / more_events * 1e6
        print("\n## Logs of a client\n")
        table(["read", "MB", "seconds", "processor seconds", "MB a processor second", "peak MB"], rows)
        print(f"\nAn event costs {each:.2f} µs more than as many bytes of other lines.")

    def help(self):
        runs = [process([self.options.alloclog, "--help"])[0].seconds for _ in range(max(20, self.options.rounds))]
        fastest, median = min(runs) * 1000, sorted(runs)[len(runs) // 2] * 1000
        self.bar("`alloclog --help`", "under 20 ms", f"{fastest:.1f} ms (median {median:.1f} ms)", fastest < 20)


def megabytes(number):
    return f"{number / 1e6:,.0f}"


def took(results):
    """Prints the time and memory of each contender, as Markdown."""
    rows = [[name, f"{run.seconds:.2f}", f"{run.processor:.2f}", megabytes(run.peak)] for name, run in results.items()]
    table(["written", "seconds", "processor seconds", "peak MB"], rows)


def table(head, rows):
    """Prints a Markdown table; columns of numbers are aligned to the right."""
    print("| " + " | ".join(head) + " |")
    numeric = [all(row[i][:1].isdigit() or not row[i] for row in rows) for i in range(len(head))]
    print("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def heading(options):
    """Prints the date, the command and the versions, so that a reader can repeat the measurement."""
    version = process([options.alloclog, "--version"])[1].strip()
    duckdb, clickhouse = (importlib.metadata.version(name) for name in ("duckdb", "chdb"))
    command = shlex.join(["scripts/bench", *options.said])
    print(
        f"`{command}` on {datetime.date.today()}, {os.cpu_count()} cores; {version}, DuckDB {duckdb}, "
        f"ClickHouse (chdb) {clickhouse}; best of {options.rounds}."
    )


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="measure only this; may be repeated (default: all parts)"
    )
    parser.add_argument("--allocs", type=int, default=150_000, help="allocations of the large document (default 150000)")
    parser.add_argument("--snapshots", type=int, default=20, help="overlapping snapshots (default 20)")
    parser.add_argument("--snapshot-allocs", type=int, default=20_000, help="allocations of each (default 20000)")
    parser.add_argument("--log-mb", type=int, default=500, help="size of a log in MB (default 500)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program runs (default 5)")
    parser.add_argument(
        "--data", type=Path, help="directory for the documents (about 11 GB), which stay there for the next run "
        "(default: a temporary one)"
    )  # fmt: skip
    parser.add_argument("--alloclog", type=Path, required=True, help=argparse.SUPPRESS)  # scripts/bench gives it
    options = parser.parse_args()
    options.said = [word for word in sys.argv[1:] if not word.startswith("--alloclog=")]
    return options


def main():
    options = parse()
    with contextlib.ExitStack() as stack:
        if options.data:
            options.data.mkdir(parents=True, exist_ok=True)
            directory = options.data
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alloclog-bench-")))
        bench = Bench(options, directory)
        heading(options)
        for part in options.part or PARTS:
            bench.say(part)
            getattr(bench, part)()
        print("\n## Bars\n")
        table(["what", "bar", "measured", "holds"], bench.bars)
    return 0 if all(bar[-1] == "yes" for bar in bench.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
