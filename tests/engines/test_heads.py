"""Rules that every query file follows."""

import re

import pyarrow as pa
import pytest

import engines
import tables
from history import History

FIRST = ["region", "namespace", "job_id", "task_group", "task"]
ABOUT_A_TASK = ["job_type", "job_version", "node_id", "node_name", "node_class", "datacenter"]
names = pytest.mark.parametrize("name", list(engines.VIEWS))


@names
def test_header_has_name_question_and_row(name):
    view = engines.VIEWS[name]
    assert re.fullmatch(rf" {name}: [A-Z].*\?", view.head[0]), view.head[0]
    assert view.head[1] == "" and view.head[2].startswith(" One row is ")
    assert all(len(line) <= 120 for line in view.text.split("\n"))
    assert not view.sql.rstrip().endswith(";") and "\t" not in view.text


@names
def test_header_says_if_rows_are_groups(name):
    view = engines.VIEWS[name]
    is_grouped = re.search(rf"GROUP BY {engines.GROUP}\b", view.body) is not None
    assert (" Grouped: yes" in view.head) == is_grouped


@names
def test_header_has_the_columns_and_types_of_every_engine(name, engine):
    empty = engines.run(engine, tables.stored({}), [name])[name]
    assert_columns(name, empty)


def assert_columns(name, answer):
    view = engines.VIEWS[name]
    assert answer.column_names == list(view.columns)
    wrong = {column: str(answer.schema.field(column).type) for column, kind in view.columns.items()
             if answer.schema.field(column).type not in engines.KINDS[kind]}
    assert not wrong


def unknown_values():
    """One row in each of five tables, with null in every nullable column."""
    history = History()
    history.add("allocation_history", {"region": "", "namespace": "default", "alloc_id": "a", "shape": "stub"})
    history.add("task_state_history", {"region": "", "namespace": "default", "alloc_id": "a", "task": "app", "placeholder": False})
    history.add("task_events", {"region": "", "namespace": "default", "alloc_id": "a", "task": "app", "ordinal": 0,
                                "times_rounded": False})
    history.add("nodes", {"region": ""})
    history.add("snapshots", {"region": "", "is_full_listing": True, "namespace": "*"})
    return history


def test_types_are_the_same_when_all_values_are_null(engine):
    history = unknown_values()
    for name, answer in engines.run(engine, history.tables(), engines.VIEWS).items():
        assert_columns(name, answer)


@names
def test_reads_only_stored_tables_and_other_views(name):
    view = engines.VIEWS[name]
    assert view.sources - set(view.ctes) <= set(tables.STORED) | set(engines.VIEWS)
    assert engines.order()


@names
def test_no_cte_is_named_like_a_table(name):
    # polars would read the table instead of the CTE, and report no error.
    ctes = engines.VIEWS[name].ctes
    assert not set(ctes) & (set(tables.STORED) | set(engines.VIEWS))
    assert len(ctes) == len(set(ctes))


@names
def test_no_join_condition_contains_a_constant(name):
    # In such a condition, polars ignores the qualifier of a column, and first looks for the column on the left side.
    for condition in re.findall(r"\bON\b(.*?)(?=\n\s*(?:LEFT|JOIN|CROSS|WHERE|GROUP|ORDER|UNION|\))|\n\)|\Z)", engines.VIEWS[name].body, re.S):
        for term in condition.split(" AND "):
            assert re.fullmatch(r"\s*(\w+\.\w+)\s*=\s*(\w+\.\w+)\s*", term), term


@names
def test_a_table_star_is_used_with_one_join_at_most(name):
    # With two joins, ClickHouse names a column `a.x` instead of `x` if another table also has a column `x`.
    for select in engines.VIEWS[name].body.split("SELECT"):
        assert not re.search(r"\b\w+\.\*", select) or len(re.findall(r"\bJOIN\b", select)) < 2, select


@names
def test_nothing_is_divided_by_a_constant(name):
    # polars divides a single row exactly, but multiplies several rows by the reciprocal. So the last digit would depend
    # on how polars splits the work. Only a division of nanoseconds by 1000 is allowed, because its result is rounded to
    # whole microseconds.
    body = engines.VIEWS[name].body
    divided = re.findall(r"(\S+) AS DOUBLE\) / (\d+)", body)
    assert len(divided) == len(re.findall(r"/ \d", body))
    assert all(number.endswith("CAST(1") or divisor == "1000" for number, divisor in divided)


@names
def test_seconds_are_rounded_to_nanoseconds(name):
    # Without rounding, 15 s would be 15.000000000000002, which is more than 15.
    body = engines.VIEWS[name].body
    made = body.count("(CAST(1 AS DOUBLE) / 1000000000)")
    assert made == len(re.findall(r"\* \(CAST\(1 AS DOUBLE\) / 1000000000\), 9\)(?: END)?\s+AS \w+_seconds\b", body))


@names
def test_no_view_has_a_column_of_the_period(name):
    assert name == "period" or not {"since_ns", "until_ns"} & set(engines.VIEWS[name].columns)


@names
def test_a_timestamp_has_its_ns_column(name):
    columns = engines.VIEWS[name].columns
    moments = [column for column, kind in columns.items() if kind == "timestamp"]
    assert all(columns.get(column + "_ns") == "int64" for column in moments)


@pytest.mark.parametrize("name", ["allocations", "task_states", "coverage", "attempts", "starts", "failures", "crash_loops",
                                  "reschedules"])
def test_a_view_of_tasks_can_be_grouped_by_every_task_column(name):
    columns = list(engines.VIEWS[name].columns)
    assert columns[:4] == FIRST[:4] and set(ABOUT_A_TASK) <= set(columns)
