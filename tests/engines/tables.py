"""The stored tables: their columns, and Arrow tables from plain rows.

A timestamp is two columns, as in the stored tables: `x_at` in microseconds without a zone (as engines must
register it) and the exact `x_at_ns`. Rows give only `x_at_ns`; `x_at` is computed from it.
"""

import datetime

import pyarrow as pa

MOMENT = "moment"
KEY = [("region", "text"), ("namespace", "text"), ("job_id", "text"), ("task_group", "text")]

STORED = {
    "task_events": KEY + [
        ("task", "text"), ("alloc_id", "text"), ("node_id", "text"), ("attempt", "int64"), ("event_at", MOMENT),
        ("event_type", "text"), ("ordinal", "int32"), ("fails_task", "bool"), ("exit_code", "int64"),
        ("signal", "int64"), ("oom_killed", "bool"), ("restart_reason", "text"), ("start_delay_ns", "int64"),
        ("kill_timeout_ns", "int64"), ("times_rounded", "bool"), ("message", "text"), ("details", "text"),
        ("text_hash", "int32"), ("event_date", "date"),
    ],
    "allocation_history": KEY + [
        ("alloc_id", "text"), ("shape", "text"), ("name", "text"), ("alloc_index", "int64"), ("job_type", "text"),
        ("job_version", "int64"), ("eval_id", "text"), ("deployment_id", "text"), ("node_id", "text"),
        ("node_name", "text"), ("desired_status", "text"), ("desired_description", "text"), ("client_status", "text"),
        ("client_description", "text"), ("text_hash", "int32"), ("desired_migrate", "bool"), ("desired_reschedule", "bool"),
        ("desired_force_reschedule", "bool"), ("desired_no_shutdown_delay", "bool"),
        ("desired_migrate_disable_placement", "bool"), ("deployment_healthy", "bool"),
        ("deployment_healthy_at", MOMENT), ("canary", "bool"), ("previous_allocation", "text"),
        ("next_allocation", "text"), ("followup_eval_id", "text"), ("preempted_by", "text"),
        ("reschedule_attempts", "int64"), ("rescheduled_from_alloc_id", "text"), ("rescheduled_from_node_id", "text"),
        ("rescheduled_at", MOMENT), ("created_at", MOMENT), ("modified_at", MOMENT), ("create_index", "int64"),
        ("modify_index", "int64"), ("cpu_shares", "int64"), ("memory_mb", "int64"), ("memory_max_mb", "int64"),
        ("disk_mb", "int64"), ("snapshot_id", "int64"),
    ],
    "task_state_history": KEY + [
        ("task", "text"), ("alloc_id", "text"), ("node_id", "text"), ("modify_index", "int64"), ("modified_at", MOMENT),
        ("state", "text"), ("placeholder", "bool"), ("failed", "bool"), ("restarts", "int64"),
        ("last_restart_at", MOMENT), ("started_at", MOMENT), ("finished_at", MOMENT), ("lifecycle_hook", "text"),
        ("sidecar", "bool"), ("window_events", "int64"), ("window_restarting", "int64"), ("window_first_type", "text"),
        ("window_first_attempt", "int64"), ("window_first_ns", "int64"), ("window_last_attempt", "int64"),
        ("window_last_ns", "int64"), ("snapshot_id", "int64"),
    ],
    "sightings": [("region", "text"), ("alloc_id", "text"), ("seen_at", MOMENT), ("namespace", "text")],
    "absences": [
        ("region", "text"), ("alloc_id", "text"), ("shown_at", MOMENT), ("missing_at", MOMENT), ("missing_index", "int64"),
    ],
    "snapshots": [
        ("region", "text"), ("content_hash", "text"), ("observed_at", MOMENT), ("observed_from", "text"),
        ("is_full_listing", "bool"), ("snapshot_id", "int64"), ("source", "text"), ("shape", "text"),
        ("namespace", "text"), ("nomad_index", "int64"), ("times_rounded", "bool"), ("bytes", "int64"),
        ("allocations", "int64"), ("task_states", "int64"), ("task_events", "int64"), ("rejected", "int64"),
        ("unknown_fields", "text"), ("new_allocations", "int64"), ("new_task_states", "int64"),
        ("new_task_events", "int64"), ("absences_recorded", "bool"), ("ingested_at", MOMENT), ("alloclog_version", "text"),
    ],
    "nodes": [
        ("region", "text"), ("node_id", "text"), ("node_name", "text"), ("node_class", "text"), ("node_pool", "text"),
        ("datacenter", "text"), ("status", "text"), ("eligibility", "text"), ("drain", "bool"),
        ("nomad_version", "text"), ("modify_index", "int64"),
    ],
}

ARROW = {
    "text": pa.string(), "int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(), "date": pa.date32(),
    MOMENT: pa.timestamp("us"),
}


def schema(table):
    """The Arrow fields of a stored table, including the `x_at_ns` columns."""
    fields = []
    for name, kind in STORED[table]:
        fields.append(pa.field(name, ARROW[kind]))
        if kind == MOMENT:
            fields.append(pa.field(name + "_ns", pa.int64()))
    return pa.schema(fields)


def moment(ns):
    """The naive UTC datetime of `x_at`, truncated to microseconds."""
    if ns is None:
        return None
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=ns // 1000)


def stored(rows):
    """All stored tables, from rows as dicts; missing columns are null, unknown ones an error."""
    return {table: from_rows(table, rows.get(table, [])) for table in STORED}


def from_rows(table, rows):
    columns = schema(table)
    moments = [name for name, kind in STORED[table] if kind == MOMENT]
    filled = []
    for row in rows:
        unknown = set(row) - set(columns.names)
        assert not unknown, f"{table} has no {unknown}"
        filled.append(row | {name: moment(row.get(name + "_ns")) for name in moments})
    return pa.Table.from_pylist(filled, schema=columns)
