#!/usr/bin/env python3
"""Measures what a lake costs while nothing happens: a thousand running allocations are listed every 30 s, and each
listing is ingested.

    benches/idle_cluster.py --alloclog target/release/alloclog [--listings 240]

Repeat --alloclog to compare programs: they run in turn. Prints the processor time per ingest, and the rows and bytes of
each table after a compaction.
"""

import argparse
import copy
import datetime
import json
import pathlib
import resource
import statistics
import subprocess
import tempfile
import uuid

SAMPLE = pathlib.Path(__file__).resolve().parents[1] / "samples" / "cluster" / "20261123T184012Z.json"
START = datetime.datetime(2026, 11, 24, 0, 0, 5)


def listing(number):
    """Copies of one running allocation that has never restarted."""
    def is_idle(raw):
        states = (raw["TaskStates"] or {}).values()
        return raw["ClientStatus"] == "running" and states and not any(state["Restarts"] for state in states)

    idle = next(raw for raw in json.loads(SAMPLE.read_text()) if is_idle(raw))
    copies = []
    for n in range(number):
        raw = copy.deepcopy(idle)
        raw |= {"ID": str(uuid.UUID(int=(1 << 120) + n * 7919)), "JobID": f"job{n % 50}", "Name": f"job{n % 50}.g[{n}]"}
        raw |= {"CreateIndex": raw["CreateIndex"] + n, "ModifyIndex": raw["ModifyIndex"] + n}
        copies.append(raw)
    return json.dumps(copies)


def processor_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alloclog", action="append", required=True)
    parser.add_argument("--allocs", type=int, default=1000)
    parser.add_argument("--listings", type=int, default=240)
    args = parser.parse_args()
    body = listing(args.allocs)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        took = [[] for _ in args.alloclog]
        for n in range(args.listings):
            at = START + datetime.timedelta(seconds=30 * n)
            path = directory / at.strftime("%Y%m%dT%H%M%SZ.json")
            path.write_text(body)
            for which, program in enumerate(args.alloclog):
                lake, cache = directory / f"lake{which}", directory / f"cache{which}"
                took[which].append(processor_seconds(
                    [program, "ingest", path, "--full-listing", "--lake", lake, "--cache", cache, "-q"]))
            path.unlink()
        for which, program in enumerate(args.alloclog):
            lake = directory / f"lake{which}"
            subprocess.run([program, "lake", "compact", lake], check=True, capture_output=True)
            info = subprocess.run([program, "lake", "info", lake, "--format", "json"], check=True, capture_output=True)
            print(f"{program}: {statistics.median(took[which]):.3f} processor seconds per ingest (median)")
            for table in json.loads(info.stdout)["tables"]:
                print(f"  {table['table']:20} {table['rows']:8} rows {table['bytes']:8} bytes")


main()
