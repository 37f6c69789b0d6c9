#!/usr/bin/env python3
"""Flattens a listing of allocations with ClickHouse (chdb): one Parquet row per task event, without deduplication.

usage: clickhouse_flatten.py DOCUMENT OUT.parquet

Prints the number of rows and the seconds of the statement, without the start of Python and ClickHouse.
"""

import json
import os
import sys
import time

import chdb

source, out = sys.argv[1:]

EVENT = [
    "Type String", "Time Int64", "DisplayMessage String", "Details Map(String, String)", "Message String",
    "FailsTask Bool", "RestartReason String", "SetupError String", "DriverError String", "DriverMessage String",
    "ExitCode Int64", "Signal Int64", "KillReason String", "KillTimeout Int64", "KillError String",
    "StartDelay Int64", "DownloadError String", "ValidationError String", "DiskLimit Int64", "FailedSibling String",
    "VaultError String", "TaskSignalReason String", "TaskSignal String", "GenericSource String",
]  # fmt: skip
STATE = f"""Tuple(State String, Failed Bool, Restarts Int64, LastRestart Nullable(String), StartedAt Nullable(String),
    FinishedAt Nullable(String), Events Array(Tuple({", ".join(EVENT)})))"""
ALLOCATION = [
    "ID String", "EvalID String", "Name String", "Namespace String", "NodeID String", "NodeName String",
    "JobID String", "JobType String", "JobVersion Int64", "TaskGroup String", "DesiredStatus String",
    "ClientStatus String", "CreateIndex Int64", "ModifyIndex Int64", "CreateTime Int64", "ModifyTime Int64",
]  # fmt: skip


def name(column):
    return column.split()[0]


fields = ", ".join(f"event.{i} AS {name(field)}" for i, field in enumerate(EVENT, 1))
began = time.perf_counter()
chdb.query(f"""
    SELECT {", ".join(map(name, ALLOCATION))}, task, state.1 AS State, state.3 AS Restarts, {fields}
    FROM file('{source}', 'JSONEachRow', '{", ".join(ALLOCATION)}, TaskStates Map(String, {STATE})')
    ARRAY JOIN mapKeys(TaskStates) AS task, mapValues(TaskStates) AS state
    ARRAY JOIN state.7 AS event
    INTO OUTFILE '{out}' TRUNCATE FORMAT Parquet
    SETTINGS input_format_skip_unknown_fields = 1, output_format_parquet_compression_method = 'zstd',
        max_threads = {os.cpu_count()}
""")
seconds = time.perf_counter() - began
rows = int(str(chdb.query(f"SELECT count() FROM file('{out}', Parquet)")))
print(json.dumps({"rows": rows, "seconds": seconds}))
