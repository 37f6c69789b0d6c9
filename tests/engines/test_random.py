"""Random small histories: every engine gives the same tables, and they agree with the history."""

import pytest

import engines
from random_history import Cluster


def rows(answer):
    """The rows of a table as sorted text."""
    return sorted(answer.to_pylist(), key=repr)


@pytest.mark.parametrize("seed, most", [(seed, 3) for seed in range(8)] + [(seed, 60) for seed in range(100, 110)])
def test_engines_agree(seed, most):
    history, _ = Cluster(seed, most=most).shown()
    first, second = (engines.run(engine, history.tables(), engines.VIEWS) for engine in engines.ENGINES)
    for name in engines.VIEWS:
        ordered = "ORDER BY" in engines.VIEWS[name].body.rsplit("FROM", 1)[-1]
        one, other = ((first[name].to_pylist(), second[name].to_pylist()) if ordered else (rows(first[name]), rows(second[name])))
        assert len(one) == len(other), name
        for left, right in zip(one, other):
            differ = engines.differences(left, right)
            assert not differ, (name, differ)


@pytest.mark.parametrize("seed", range(1000, 1040))
def test_coverage_is_true(seed):
    cluster = Cluster(seed, with_odds=False)
    history, reach = cluster.shown()
    for row in engines.run("duckdb", history.tables(), ["coverage"])["coverage"].to_pylist():
        key = (row["region"], row["alloc_id"], row["task"])
        happened = cluster.allocations[key[:2]][2][key[2]].events[:reach[key]]
        stored = [e for e in history.rows["task_events"] if (e["region"], e["alloc_id"], e["task"]) == key]
        restarts = sum(e["event_type"] == "Restarting" for e in happened)
        seen = sum(e["event_type"] == "Restarting" for e in stored)
        assert row["events"] == len(stored) <= len(happened)
        assert (row["restarts"], row["lost_restarts"]) == (restarts, restarts - seen)
        if row["complete"]:
            assert len(stored) == len(happened)
        if len(stored) == len(happened) and row["gaps"] == 0 and row["tail_lost"] is False and row["begins"]:
            assert row["complete"]


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_a_client_that_loses_its_state_never_makes_an_incomplete_history_complete(seed):
    cluster = Cluster(seed, with_odds=True)
    history, reach = cluster.shown()
    for row in engines.run("duckdb", history.tables(), ["coverage"])["coverage"].to_pylist():
        key = (row["region"], row["alloc_id"], row["task"])
        task = cluster.allocations[key[:2]][2][key[2]]
        stored = [e for e in history.rows["task_events"] if (e["region"], e["alloc_id"], e["task"]) == key]
        # A loss before the first snapshot cannot be detected.
        if row["complete"] and not task.lost_state:
            assert len(stored) == reach[key]


@pytest.mark.parametrize("seed", range(3000, 3006))
def test_order_of_rows_does_not_matter(seed, engine):
    history, _ = Cluster(seed, most=30).shown()
    first = engines.run(engine, history.tables(), engines.VIEWS)
    for table in history.rows.values():
        table.reverse()
    second = engines.run(engine, history.tables(), engines.VIEWS)
    for name in engines.VIEWS:
        assert rows(first[name]) == rows(second[name]), name
