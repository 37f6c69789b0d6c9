"""`event_counts`: which events are counted, and when a count is null."""

from history import History, event, events, ns


def test_none_for_a_task_without_events(ask):
    history = History()
    history.allocation()
    history.state(restarts=0)
    assert ask(history, "event_counts") == []


def test_counts_events_by_kind_and_attempts_that_have_one(ask_one):
    history = History()
    # There were attempts 1 to 3. All events of attempt 2 were evicted.
    history.state(events("Received, Task Setup, Started, Terminated, Restarting"), restarts=1)
    history.state(events("Received, Started", start=100.5), restarts=2, index=20)
    assert ask_one(history, "event_counts") == {
        "region": "", "alloc_id": "a", "task": "app", "events": 7, "restarting": 1, "received": 2, "attempts_seen": 2,
        "earliest_ns": ns(0), "latest_ns": ns(101.5), "has_rounded": False,
    }


def test_unknown_attempt_and_missing_time(ask_one):
    history = History()
    history.state([event("Started", 1)], restarts=None)
    history.add("task_events", history.rows["task_events"][0] | {"event_type": None, "event_at_ns": None, "times_rounded": True})
    row = ask_one(history, "event_counts")
    assert (row["events"], row["attempts_seen"], row["has_rounded"]) == (2, 0, True)
    assert (row["earliest_ns"], row["latest_ns"]) == (0, ns(1))


def test_tasks_are_counted_apart(ask):
    history = History()
    for alloc, task in ("a", "app"), ("a", "side"), ("b", "app"):
        history.state(events("Received, Started"), task=task, alloc=alloc)
    assert sorted((row["alloc_id"], row["task"], row["events"]) for row in ask(history, "event_counts")) == [
        ("a", "app", 2), ("a", "side", 2), ("b", "app", 2)]
