#!/usr/bin/env python3
"""Adds sightings of a stable cluster to a lake: one file per hour, as hourly ingests of an older version left them.

usage: benches/gen_sightings.py LAKE --allocs 14000 --days 90      30 million rows in 2,160 files

The lake is a directory that an ingest created. The files have no hash and are in no batch.
"""

import argparse
import json
import pathlib
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

HOUR = 3_600_000_000_000
A_COMMIT = 120


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", type=pathlib.Path)
    parser.add_argument("--allocs", type=int, default=14_000)
    parser.add_argument("--days", type=int, default=90)
    arguments = parser.parse_args()
    table = arguments.lake / "sightings"
    ids = pa.array(str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))) for n in range(arguments.allocs))
    regions = pa.array([""] * arguments.allocs)
    version = max(int(path.stem) for path in (table / "_delta_log").glob("*.json"))
    adds = []
    for hour in range(arguments.days * 24):
        # From 2025-01-01 on.
        ns = 1_735_689_600_000_000_000 + hour * HOUR
        moment = pa.array([ns // 1000] * arguments.allocs, pa.timestamp("us", "UTC"))
        columns = {"region": regions, "alloc_id": ids, "seen_at": moment, "seen_at_ns": pa.array([ns] * arguments.allocs)}
        name = f"part-{uuid.uuid4().hex}.zstd.parquet"
        pq.write_table(pa.table(columns), table / name, compression="zstd")
        bounds = {"seen_at_ns": ns}
        stats = {"numRecords": arguments.allocs, "minValues": bounds, "maxValues": bounds, "nullCount": {"seen_at_ns": 0}}
        add = {"path": name, "partitionValues": {}, "size": (table / name).stat().st_size, "modificationTime": ns // 10**6}
        adds.append({"add": add | {"dataChange": True, "stats": json.dumps(stats)}})
    for first in range(0, len(adds), A_COMMIT):
        version += 1
        lines = "".join(json.dumps(add) + "\n" for add in adds[first : first + A_COMMIT])
        (table / f"_delta_log/{version:020}.json").write_text(lines)


main()
