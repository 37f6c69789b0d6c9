#!/usr/bin/env python3
"""Adds batches with one row per table to a lake, as `ingest --stream` writes them if it commits every minute. Use this
script to test `lake check` and `lake compact` on large lakes.

usage: benches/gen_batches.py LAKE --batches 20000                  never compacted
       benches/gen_batches.py LAKE --batches 525600 --days          a year, compacted after each 1,440 batches; only
                                                                    merged files, of one row each, are written

The lake is a directory that one ingest created from a document with an allocation that has an event.
"""

import argparse
import io
import json
import pathlib
import struct
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
    """The first row of a table as a file, and the `add` of this file, with placeholders for what differs between files.

    A placeholder has the length of the value that replaces it, so the bytes of an uncompressed Parquet file stay valid.
    """

    NAME, ALLOCATION = "n" * 32, "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
    NS, MICROS, SNAPSHOT = 1_111_222_333_444_555_666, 1_222_333_444_555_666, 1_333_444_555_666
    SIZE, HASH = 777_888_999, "h" * 32

    def __init__(self, lake, table, add):
        self.directory = lake / table / (add["path"].rsplit("/", 1)[0] if "/" in add["path"] else "")
        time = TABLES[table]
        row = pq.read_table(lake / table / add["path"], partitioning=None).slice(0, 1)
        stats = json.loads(add["stats"])
        nulls = {name: row[name].null_count for name in stats["nullCount"] if name in row.column_names}
        values = dict(stats["minValues"])
        changes = {f"{time}_ns": self.NS, "alloc_id": self.ALLOCATION, "snapshot_id": self.SNAPSHOT}
        values.update((name, value) for name, value in changes.items() if name in values)
        for name, value in (changes | {time: self.MICROS}).items():
            if name in row.column_names:
                i = row.column_names.index(name)
                row = row.set_column(i, row.schema.field(i), pa.array([value], row.schema.field(i).type))
        file = io.BytesIO()
        pq.write_table(row, file, compression="none", use_dictionary=False)
        self.content = file.getvalue()
        stats = {"maxValues": values, "minValues": values, "nullCount": nulls, "numRecords": 1}
        tags = {"alloclog.xxh3": self.HASH, "alloclog.decoded": "1000"}
        name = f"part-{self.NAME}.zstd.parquet"
        path = f"{add['path'].rsplit('/', 1)[0]}/{name}" if "/" in add["path"] else name
        self.add = json.dumps(add | {"path": path, "size": self.SIZE, "stats": json.dumps(stats), "tags": tags})

    def file(self, n, is_written):
        """The path of a file with a distinct row, and its `add` as JSON. Writes the file if `is_written`."""
        ns = 1_735_689_600_000_000_000 + (n % (1 << 40)) * MINUTE
        name, allocation = uuid.UUID(int=n).hex, str(uuid.UUID(int=n))
        size, hash = 9_999, "0" * 32
        if is_written:
            content = self.content.replace(self.ALLOCATION.encode(), allocation.encode())
            for placeholder, value in ((self.NS, ns), (self.MICROS, ns // 1_000), (self.SNAPSHOT, n)):
                content = content.replace(struct.pack("<q", placeholder), struct.pack("<q", value))
            (self.directory / f"part-{name}.zstd.parquet").write_bytes(content)
            size, hash = len(content), xxhash.xxh3_128_hexdigest(content)
        add = self.add.replace(self.NAME, name).replace(self.ALLOCATION, allocation).replace(self.HASH, hash)
        for placeholder, value in ((self.NS, ns), (self.SNAPSHOT, n), (self.SIZE, size)):
            add = add.replace(str(placeholder), str(value))
        return path_of(add), add


def path_of(add):
    """The path in an `add`, in the JSON that `json.dumps` wrote."""
    return add.split('"path": "', 1)[1].split('"', 1)[0]


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
        """Adds a batch. `tables` has the JSON of the new files by table, and `replaced` that of the replacements."""
        nonlocal number, hash
        number += 1
        reached.update(dict.fromkeys([*tables, *replaced, "snapshots"], number))
        parts = (f'"{field}": {{{", ".join(f"{json.dumps(name)}: [{text}]" for name, text in of_tables.items())}}}'
                 for field, of_tables in (("tables", tables), ("replaced", replaced)))  # fmt: skip
        about = {"id": f"{number}", "written_ms": 0, "alloclog_version": "0.1.0", "before": hash, "reached": reached}
        content = f"{json.dumps(about)[:-1]}, {', '.join(parts)}}}".encode()
        hash = xxhash.xxh3_128_hexdigest(content)
        path = lake / f"_alloclog/batches/{number // 1000:09}/{number:012}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def commit(name, add):
        logs[name] += 1
        line = json.dumps({"txn": {"appId": "alloclog", "version": number}})
        content = f'{line}\n{{"add": {add}}}\n'
        (lake / name / f"_delta_log/{logs[name]:020}.json").write_text(content)

    for n in range(1, arguments.batches + 1):
        adds = {name: template.file(n, not arguments.days) for name, template in templates.items()}
        put({name: add for name, (_, add) in adds.items()}, {})
        for name, (path, add) in adds.items():
            live[name].append(path)
            if not arguments.days:
                commit(name, add)
        if arguments.days and n % A_DAY == 0:
            merged = {name: template.file((1 << 40) + n, True)[1] for name, template in templates.items()}
            put({}, {name: f'{{"removed": {json.dumps(live[name])}, "added": [{merged[name]}], "rows_dropped": 0}}'
                     for name in TABLES})  # fmt: skip
            live = {name: [] for name in TABLES}
            for name in TABLES:
                commit(name, merged[name])
    if arguments.days and any(live.values()):
        raise SystemExit(f"--batches must be a multiple of {A_DAY} with --days")


main()
