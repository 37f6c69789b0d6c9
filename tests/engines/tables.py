"""The stored tables: their columns as the program documents them, and Arrow tables from plain rows.

As in the stored tables, a timestamp has two columns: `x_at` in microseconds, and `x_at_ns` in exact nanoseconds. `x_at`
has no time zone here, because the views expect timestamps without a zone. Test rows give only `x_at_ns`, from which
`x_at` is computed.
"""

import datetime

import pyarrow as pa
import stored as program

STORED = program.schema()

ARROW = {
    "string": pa.string(), "int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}


def schema(table):
    """The Arrow fields of a stored table, including the `x_at_ns` columns."""
    return pa.schema([pa.field(name, ARROW[kind]) for name, kind in STORED[table]])


def moment(ns):
    """The naive UTC datetime of `x_at`, truncated to microseconds."""
    if ns is None:
        return None
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=ns // 1000)


def stored(rows):
    """All stored tables, from rows as dicts. Missing columns become null; an unknown column is an error."""
    return {table: from_rows(table, rows.get(table, [])) for table in STORED}


def from_rows(table, rows):
    columns = schema(table)
    moments = [name for name, kind in STORED[table] if kind == "timestamp"]
    filled = []
    for row in rows:
        unknown = set(row) - set(columns.names)
        assert not unknown, f"{table} has no {unknown}"
        filled.append(row | {name: moment(row.get(name + "_ns")) for name in moments})
    return pa.Table.from_pylist(filled, schema=columns)
