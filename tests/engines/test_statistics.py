"""Rules for every statistic: a user can group it by any column of a task, and no rows are lost."""

import re
from collections import Counter

import pytest

import engines
from engines import GROUP, grouped_by
from random_history import Cluster

# The statistics whose rows are groups, as their heads say. Each has the list of its other key columns.
STATISTICS = {
    view.name: re.findall(rf"ORDER BY {GROUP}((?:, \w+)*) NULLS LAST\s*$", view.body)[0].split(", ")[1:]
    for view in engines.VIEWS.values() if " Grouped: yes" in view.head
}
KEY = GROUP.split(", ")
# The columns of a statistic that are counts. The sum of a count over all groups is the same for every grouping.
COUNTS = {
    "restarts": ["tasks", "restarts", "restarts_seen", "lost_restarts", "uncounted_tasks", "cause_failure"],
    "failure_summary": ["failures", "tasks", "gave_up"],
    "start_latency": ["tasks", "started", "waiting", "unknown"],
    "coverage_summary": ["tasks", "complete", "events", "gaps", "restarts", "lost_restarts", "without_begin"],
    "start_phases": ["samples"],
}


@pytest.mark.parametrize("name", list(STATISTICS))
def test_a_statistic_begins_with_its_group(name):
    assert list(engines.VIEWS[name].columns)[:len(KEY) + len(STATISTICS[name])] == KEY + STATISTICS[name]


@pytest.mark.parametrize("name", list(STATISTICS))
def test_a_statistic_joins_and_filters_by_nothing_of_its_group(name):
    # A group column may occur only in the list that `--by` replaces. A join or a filter that names it would be wrong.
    rest = engines.VIEWS[name].body.replace(GROUP, "")
    for mention in re.findall(r"[\w.]*\b(?:namespace|job_id|task_group)\b", rest):
        raise AssertionError(f"{name} names {mention}")


@pytest.mark.parametrize("columns", ["job_id", "node_id, node_class", "job_type, job_version, datacenter", "namespace, job_id, task_group"])
@pytest.mark.parametrize("name", list(STATISTICS))
def test_any_group_counts_the_same_in_all(name, columns, engine):
    tables = Cluster(7, most=40).shown()[0].tables()
    usual = engines.run(engine, tables, [name])[name].to_pylist()
    grouped = engines.run(engine, tables, [name], grouped_by(name, columns))[name]
    assert grouped.column_names[:len(columns.split(", "))] == columns.split(", ")
    assert usual
    for column in COUNTS.get(name, []):
        assert sum(row[column] or 0 for row in usual) == sum(row[column] or 0 for row in grouped.to_pylist()), column
    keys = [tuple(row[key] for key in columns.split(", ") + STATISTICS[name]) for row in grouped.to_pylist()]
    assert len(keys) == len(set(keys))


def test_restarts_are_the_sum_of_the_counters(engine):
    tables = Cluster(11, most=40).shown()[0].tables()
    answers = engines.run(engine, tables, ["coverage", "restarts", "restart_log"])
    seen = Counter((row["alloc_id"], row["task"]) for row in answers["restart_log"].to_pylist() if row["is_seen"])
    # A client that lost its state counts from 0 again, so more restarts may be seen than the counter shows.
    counted = sum(max(row["restarts"], seen[row["alloc_id"], row["task"]])
                  for row in answers["coverage"].to_pylist() if row["restarts"] is not None)
    assert sum(row["restarts"] or 0 for row in answers["restarts"].to_pylist()) == counted > 0


def test_causes_sum_to_the_restarts_seen(engine):
    for row in engines.run(engine, Cluster(11, most=40).shown()[0].tables(), ["restarts"])["restarts"].to_pylist():
        assert sum(value for column, value in row.items() if column.startswith("cause_")) == row["restarts_seen"]
