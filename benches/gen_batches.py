#!/usr/bin/env python3
"""Adds batches of one row a table to a lake, as a feed that commits every minute leaves them: for `lake check` and
`lake compact` on large lakes.

usage: benches/gen_batches.py LAKE --batches 20000                  never compacted
       benches/gen_batches.py LAKE --batches 525600 --days          a year, each 1,440 batches compacted; only merged
                                                                    files, of one row each, are written

The lake is a directory that one ingest has made, of a document that shows an allocation with an event.
"""

import argparse
import json
import pathlib
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

MINUTE = 60_000_000_000
A_DAY = 1_440
TABLES = {
    "task_events": "event_at",
    "allocation_history": "modified_at",
    "task_state_history": "modified_at",
    "sightings": "seen_at",
    "snapshots": "observed_at",
}


class Template:
    """The first row of a table, and the `add` of the file that holds it."""

    def __init__(self, lake, table, add):
        self.directory, self.table, self.time = lake / table, table, TABLES[table]
        self.add = add
        path = self.directory / add["path"]
        self.row = pq.read_table(path, partitioning=None).slice(0, 1)
        stats = json.loads(add["stats"])
        self.nulls = {name: self.row[name].null_count for name in stats["nullCount"] if name in self.row.column_names}
        self.values = {name: stats["minValues"][name] for name in stats["minValues"]}

    def file(self, n, is_written):
        """The `add` of a file with a row of its own."""
        ns = 1_735_689_600_000_000_000 + (n % (1 << 40)) * MINUTE
        changes = {f"{self.time}_ns": ns, "alloc_id": str(uuid.UUID(int=n)), "snapshot_id": n}
        row, values = self.row, dict(self.values)
        for name, value in changes.items():
            if name in values:
                values[name] = value
        if is_written:
            for name, value in (changes | {self.time: ns // 1_000}).items():
                if name in row.column_names:
                    i = row.column_names.index(name)
                    row = row.set_column(i, row.schema.field(i), pa.array([value], row.schema.field(i).type))
        name = f"part-{uuid.UUID(int=n).hex}.zstd.parquet"
        if "/" in self.add["path"]:
            name = f"{self.add['path'].rsplit('/', 1)[0]}/{name}"
        size, hash = 9_999, "0" * 32
        if is_written:
            pq.write_table(row, self.directory / name, compression="zstd")
            content = (self.directory / name).read_bytes()
            size, hash = len(content), xxhash.xxh3_128_hexdigest(content)
        stats = {"maxValues": values, "minValues": values, "nullCount": self.nulls, "numRecords": 1}
        tags = {"alloclog.xxh3": hash, "alloclog.decoded": "1000"}
        return self.add | {"path": name, "size": size, "stats": json.dumps(stats), "tags": tags}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", type=pathlib.Path)
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--days", action="store_true", help="compacted after each 1,440 batches")
    arguments = parser.parse_args()
    lake = arguments.lake
    *_, first = sorted((lake / "_alloclog/batches").rglob("*.json"))
    start = json.loads(first.read_bytes())
    number, hash, reached = int(first.stem), xxhash.xxh3_128_hexdigest(first.read_bytes()), start["reached"]
    templates = {name: Template(lake, name, start["tables"][name][0]) for name in TABLES}
    logs = {name: max(int(path.stem) for path in (lake / name / "_delta_log").glob("*.json")) for name in TABLES}
    live = {name: [] for name in TABLES}

    def put(tables, replaced):
        nonlocal number, hash
        number += 1
        reached.update(dict.fromkeys([*tables, *replaced, "snapshots"], number))
        batch = {"id": f"{number}", "written_ms": 0, "alloclog_version": "0.1.0", "tables": tables, "replaced": replaced}
        content = json.dumps(batch | {"before": hash, "reached": reached}).encode()
        hash = xxhash.xxh3_128_hexdigest(content)
        path = lake / f"_alloclog/batches/{number // 1000:09}/{number:012}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def commit(name, actions):
        logs[name] += 1
        lines = [{"txn": {"appId": "alloclog", "version": number}}, *actions]
        content = "".join(json.dumps(line) + "\n" for line in lines)
        (lake / name / f"_delta_log/{logs[name]:020}.json").write_text(content)

    for n in range(1, arguments.batches + 1):
        adds = {name: template.file(n, not arguments.days) for name, template in templates.items()}
        put({name: [add] for name, add in adds.items()}, {})
        for name, add in adds.items():
            live[name].append(add)
            if not arguments.days:
                commit(name, [{"add": add}])
        if arguments.days and n % A_DAY == 0:
            merged = {name: template.file((1 << 40) + n, True) for name, template in templates.items()}
            gone = {name: [add["path"] for add in adds] for name, adds in live.items()}
            put({}, {name: [{"removed": gone[name], "added": [merged[name]], "rows_dropped": 0}] for name in TABLES})
            live = {name: [] for name in TABLES}
            for name in TABLES:
                commit(name, [{"add": merged[name]}])
    if arguments.days and any(live.values()):
        raise SystemExit(f"--batches must be a multiple of {A_DAY} with --days")


main()
