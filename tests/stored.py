"""Shared by the Python suites: comparable rows of the stored tables, and the program in a clean environment."""

import collections
import functools
import os
import re
import subprocess


def binary():
    """The program, which $ALLOCLOG_BIN names."""
    path = os.environ.get("ALLOCLOG_BIN")
    assert path and os.access(path, os.X_OK), "ALLOCLOG_BIN must name the program; scripts/test sets it"
    return path


@functools.cache
def schema():
    """The columns of each stored table with their types, as `alloclog schema` prints them."""
    printed = subprocess.run([binary(), "schema"], check=True, capture_output=True, text=True).stdout
    tables = {}
    for paragraph in re.split(r"\n(?=\w)", printed):
        name = re.match(r"(\w+) \(stored table\b", paragraph)
        if name:
            tables[name[1]] = re.findall(r"^[* ] (\w+) +(\w+)  ", paragraph.split("\n", 2)[2], re.M)
    return tables


STORED = list(schema())
# Tables that have the same rows in an export of documents and in a lake of the same documents, in any order. A lake
# has less information on absences than a run that reads all documents at once, so tests/lake/test_presence.py compares
# the views that use absences.
OF_DOCUMENTS = [table for table in STORED if table != "absences"]
# Columns that depend on the batch or run in which a row arrived.
OF_ARRIVAL = ["snapshot_id", "ingested_at", "ingested_at_ns"]
# Columns that count the rows which a document showed first.
NEW = {
    "new_allocations": "allocation_history",
    "new_task_states": "task_state_history",
    "new_task_events": "task_events",
}


def counted(table, without=(*OF_ARRIVAL, *NEW)):
    """How often each row occurs in an Arrow table, without the columns in `without`."""
    kept = table.select(sorted(set(table.column_names) - set(without)))
    return collections.Counter(zip(*(column.to_pylist() for column in kept.columns), strict=True))


def environment(scratch, cache):
    """The environment without variables of a cluster, a lake or a bucket."""
    told = ("NOMAD_", "ALLOCLOG_", "AWS_", "GOOGLE_", "AZURE_", "AZURITE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    return kept | {"TMPDIR": str(scratch), "ALLOCLOG_CACHE": str(cache)}
