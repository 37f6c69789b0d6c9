"""`start_phases`: the duration of each part of a first start."""

import pytest

from history import History, event, ns, period


def history(starts):
    """Tasks with the times in seconds at which each was received, set up and started; None if it was not."""
    history = History()
    for number, (received, setup, started) in enumerate(starts):
        alloc = f"a{number:03}"
        history.allocation(alloc, client_status="running" if started else "pending")
        moments = [("Received", received), ("Task Setup", setup), ("Started", started)]
        shown = [event(kind, seconds) for kind, seconds in moments if seconds is not None]
        history.state(shown, alloc=alloc, state="running" if started else "pending", started_at_ns=ns(started))
    return history


@pytest.fixture
def phases(ask):
    return lambda history, texts=None: {row["phase"]: row for row in ask(history, "start_phases", texts)}


def test_none(phases):
    assert phases(History()) == {}


def test_one(phases):
    rows = phases(history([(1, 3, 7)]))
    assert set(rows) == {"created_to_received", "received_to_setup", "setup_to_started"}
    assert {name: (row["samples"], row["p50_seconds"], row["p95_seconds"], row["max_seconds"]) for name, row in rows.items()} == {
        "created_to_received": (1, 1, 1, 1), "received_to_setup": (1, 2, 2, 2), "setup_to_started": (1, 4, 4, 4)}


def test_quantiles_are_nearest_ranks(phases):
    row = phases(history([(1, 2, 2 + n) for n in range(1, 41)]))["setup_to_started"]
    assert (row["samples"], row["p50_seconds"], row["p95_seconds"], row["max_seconds"]) == (40, 20, 38, 40)


def test_a_phase_counts_also_of_tasks_that_have_not_started(phases):
    rows = phases(history([(1, 2, None), (1, None, None), (2, 5, 6)]))
    assert [rows[name]["samples"] for name in ("created_to_received", "received_to_setup", "setup_to_started")] == [3, 2, 1]


def test_a_client_clock_behind_the_servers_gives_a_negative_phase(phases):
    assert phases(history([(-2, 1, 2)]))["created_to_received"]["p50_seconds"] == -2


def test_phases_of_artifact_image_and_health(phases):
    history = History()
    history.allocation(deployment_healthy=True, deployment_healthy_at_ns=ns(30))
    shown = [event("Received", 1), event("Task Setup", 2), event("Downloading Artifacts", 3), event("Driver", 5, message="Downloading image"),
             event("Started", 9)]
    history.state(shown, started_at_ns=ns(9))
    rows = phases(history)
    assert rows["artifact"]["p50_seconds"] == 2
    assert rows["created_to_healthy"]["p50_seconds"] == 30


def test_the_period_cuts_by_creation(phases):
    assert phases(history([(1, 2, 3)]), period(1, 100)) == {}
