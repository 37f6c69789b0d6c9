#!/usr/bin/env python3
"""Runs the named views, and the views that they read, with DuckDB over stored tables. Keeps each view as a table.

usage: duckdb_statistics.py STORED QUERIES OUT VIEW,...

STORED has the stored tables as Parquet; the named views are written to OUT as Parquet. Prints their row
counts and the total time in seconds, without the start of Python and DuckDB.
"""

import json
import re
import sys
import time
from pathlib import Path

import duckdb

stored, queries, out, wanted = sys.argv[1:]

connection = duckdb.connect()  # as many threads as there are cores
connection.execute("SET TimeZone = 'UTC'")
connection.execute("SET preserve_insertion_order = false")
began, processor = time.perf_counter(), time.process_time()
for path in Path(stored).glob("*.parquet"):
    columns = connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
    # The views expect timestamps without a zone, in UTC.
    naive = [f"CAST({name} AS TIMESTAMP) AS {name}" for name, kind, *_ in columns if kind == "TIMESTAMP WITH TIME ZONE"]
    replaced = f"REPLACE ({', '.join(naive)})" if naive else ""
    connection.execute(f"CREATE VIEW {path.stem} AS SELECT * {replaced} FROM '{path}'")

texts = {path.stem: path.read_text() for path in sorted(Path(queries).glob("*.sql"))}
reads = {name: set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", text)) & set(texts) - {name} for name, text in texts.items()}
needed = wanted.split(",")
for name in needed:
    needed += reads[name] - set(needed)
reads = {name: reads[name] for name in needed}
while reads:
    for name in [name for name, others in reads.items() if not others & set(reads)]:
        connection.execute(f"CREATE TABLE {name} AS {texts[name]}")
        del reads[name]
rows = {}
for name in wanted.split(","):
    connection.execute(f"COPY {name} TO '{out}/{name}.parquet' (FORMAT PARQUET, COMPRESSION ZSTD)")
    (rows[name],) = connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()
seconds, processor = time.perf_counter() - began, time.process_time() - processor
print(json.dumps({"rows": rows, "seconds": seconds, "processor": processor}))
