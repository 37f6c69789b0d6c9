#!/usr/bin/env python3
"""Flattens a listing of allocations with DuckDB: one Parquet row per task event, without deduplication.

usage: duckdb_flatten.py DOCUMENT OUT.parquet

Prints the number of rows and the seconds of the statement, without the start of Python and DuckDB.
"""

import json
import sys
import time

import duckdb

source, out = sys.argv[1:]

EVENT = """STRUCT("Type" VARCHAR, "Time" BIGINT, DisplayMessage VARCHAR, Details MAP(VARCHAR, VARCHAR), Message VARCHAR,
    FailsTask BOOLEAN, RestartReason VARCHAR, SetupError VARCHAR, DriverError VARCHAR, DriverMessage VARCHAR,
    ExitCode BIGINT, Signal BIGINT, KillReason VARCHAR, KillTimeout BIGINT, KillError VARCHAR, StartDelay BIGINT,
    DownloadError VARCHAR, ValidationError VARCHAR, DiskLimit BIGINT, FailedSibling VARCHAR, VaultError VARCHAR,
    TaskSignalReason VARCHAR, TaskSignal VARCHAR, GenericSource VARCHAR)"""
STATES = f"""MAP(VARCHAR, STRUCT("State" VARCHAR, Failed BOOLEAN, Restarts BIGINT, LastRestart VARCHAR,
    StartedAt VARCHAR, FinishedAt VARCHAR, Events {EVENT}[]))"""
TEXTS = "ID EvalID Name Namespace NodeID NodeName JobID JobType TaskGroup DesiredStatus ClientStatus".split()
NUMBERS = "JobVersion CreateIndex ModifyIndex CreateTime ModifyTime".split()
TYPES = {name: "VARCHAR" for name in TEXTS} | {name: "BIGINT" for name in NUMBERS} | {"TaskStates": STATES}
columns = ", ".join(f"{name}: '{kind}'" for name, kind in TYPES.items())

connection = duckdb.connect()  # as many threads as there are cores
connection.execute("SET preserve_insertion_order = false")
began = time.perf_counter()
connection.execute(f"""
    COPY (
        WITH allocations AS (
            SELECT * FROM read_json('{source}', columns = {{{columns}}}, maximum_object_size = 67108864)
        ),
        tasks AS (
            SELECT allocations.* EXCLUDE (TaskStates), unnest(map_entries(TaskStates)) AS entry FROM allocations
        ),
        events AS (
            SELECT tasks.* EXCLUDE (entry), entry.key AS task, entry.value.Restarts AS restarts,
                entry.value.State AS state, unnest(entry.value.Events) AS event
            FROM tasks
        )
        SELECT events.* EXCLUDE (event), event.* FROM events
    ) TO '{out}' (FORMAT PARQUET, COMPRESSION ZSTD)
""")
seconds = time.perf_counter() - began
(rows,) = connection.execute(f"SELECT count(*) FROM '{out}'").fetchone()
print(json.dumps({"rows": rows, "seconds": seconds}))
