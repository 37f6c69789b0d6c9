"""`coverage_summary`: how much of the history is complete, and which snapshot interval would have prevented losses."""

import pytest

from engines import grouped_by
from history import History, event, events


def looping(start, step):
    """Eighteen events of a task that restarts five times, `step` seconds apart."""
    return events("Received, Task Setup, Started, " + "Terminated 1, Restarting, Started, " * 4 + "Terminated 1, Restarting, Started", start, step)


def test_none(ask):
    assert ask(History(), "coverage_summary") == []


def test_a_whole_history(ask_one):
    history = History()
    history.allocation()
    history.watch(events("Received, Task Setup, Started"))
    row = ask_one(history, "coverage_summary")
    assert (row["tasks"], row["allocations"], row["complete"], row["events"], row["lost_restarts"]) == (1, 1, 1, 3, 0)
    assert (row["without_begin"], row["gaps"], row["vanished_tasks"], row["uncounted_tasks"]) == (0, 0, 0, 0)
    assert row["keep_interval_seconds"] is None


def test_a_full_window_gives_the_required_interval(ask_one):
    # Eighteen events, two seconds apart. Only the last ten are seen. They span eighteen seconds.
    history = History()
    history.allocation()
    shown = looping(0, 2)
    history.state(shown, restarts=5, index=20)
    row = ask_one(history, "coverage_summary")
    seen = sum(e["event_type"] == "Restarting" for e in shown[-10:])
    assert (row["complete"], row["without_begin"], row["restarts"], row["lost_restarts"]) == (0, 1, 5, 5 - seen)
    assert row["keep_interval_seconds"] == pytest.approx(18, rel=1e-12)


def test_the_fastest_window_of_those_that_lost_something_counts(ask_one):
    history = History()
    for alloc, step in (("a", 4), ("b", 3)):
        history.allocation(alloc)
        history.state(looping(0, step), alloc=alloc, restarts=5, index=20)
    # This task has more events per second, but lost none.
    history.allocation("c")
    history.watch(looping(0, 1), alloc="c")
    row = ask_one(history, "coverage_summary")
    assert (row["tasks"], row["allocations"], row["complete"]) == (3, 3, 1)
    assert row["keep_interval_seconds"] == pytest.approx(27, rel=1e-12)


def test_unknown_losses_are_not_counted_as_lost(ask_one):
    history = History()
    history.allocation()
    history.state(events("Received, Started"), restarts=None)
    row = ask_one(history, "coverage_summary")
    assert (row["restarts"], row["lost_restarts"], row["uncounted_tasks"]) == (None, None, 1)


def test_tasks_without_events_are_counted_separately(ask_one):
    history = History()
    history.allocation(client_status="pending")
    history.state([], state="pending")
    row = ask_one(history, "coverage_summary")
    assert (row["tasks"], row["complete"], row["without_events"], row["without_begin"]) == (1, 0, 1, 0)


def test_rows_can_be_grouped_by_other_columns(ask):
    history = History()
    for alloc, job in (("a", "one"), ("b", "two"), ("c", "two")):
        history.allocation(alloc, job_id=job)
        history.watch([event("Received", 0)], alloc=alloc, job_id=job)
    rows = ask(history, "coverage_summary", grouped_by("coverage_summary", "job_id"))
    assert [(row["job_id"], row["tasks"], row["complete"]) for row in rows] == [("one", 1, 1), ("two", 2, 2)]
