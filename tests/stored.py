"""What the suites in Python share: the stored tables by what their rows say, and the program in surroundings of its own."""

import collections
import os

STORED = ["task_events", "allocation_history", "task_state_history", "sightings", "absences", "snapshots", "nodes"]
# Those that are the same in an export of documents and in a lake of them, however they came. Of an absence a lake knows less
# than a run that sees all documents at once; what both make of it, tests/lake/test_presence.py compares.
OF_DOCUMENTS = [table for table in STORED if table != "absences"]
# What tells in which batch or run a row arrived.
OF_ARRIVAL = ["snapshot_id", "ingested_at", "ingested_at_ns"]
# What of a table each document was the first to show.
NEW = {
    "new_allocations": "allocation_history",
    "new_task_states": "task_state_history",
    "new_task_events": "task_events",
}


def counted(table, without=(*OF_ARRIVAL, *NEW)):
    """The rows of an Arrow table by what they say, with how often each is there."""
    kept = table.select(sorted(set(table.column_names) - set(without)))
    return collections.Counter(zip(*(column.to_pylist() for column in kept.columns), strict=True))


def binary():
    """The program, which $ALLOCLOG_BIN names."""
    path = os.environ.get("ALLOCLOG_BIN")
    assert path and os.access(path, os.X_OK), "ALLOCLOG_BIN must name the program; scripts/test sets it"
    return path


def environment(scratch, cache):
    """The environment without what would tell the program of a cluster, a lake or a bucket."""
    told = ("NOMAD_", "ALLOCLOG_", "AWS_", "GOOGLE_", "AZURE_", "AZURITE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    return kept | {"TMPDIR": str(scratch), "ALLOCLOG_CACHE": str(cache)}
