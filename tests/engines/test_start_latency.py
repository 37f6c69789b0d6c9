"""`start_latency`: Kaplan-Meier quantiles, compared with values computed by hand and by lifelines."""

import random

import pytest
from lifelines import KaplanMeierFitter

from history import History, event, ns, period

QUANTILES = {"p50_seconds": 0.5, "p90_seconds": 0.9, "p95_seconds": 0.95, "p99_seconds": 0.99}


def history(tasks):
    """A history of tasks, each with an outcome, and the seconds from its creation and setup until the outcome."""
    history = History()
    for number, (outcome, seconds) in enumerate(tasks):
        alloc = f"a{number:04}"
        status = {"started": "running", "waiting": "pending", "failed": "failed", "stopped": "complete", "unknown": "running"}[outcome]
        ended = outcome in ("failed", "stopped")
        history.allocation(alloc, client_status=status, modified_at_ns=ns(seconds if outcome == "waiting" else 0))
        shown = [event("Received", 0), event("Task Setup", 0)]
        shown += [event("Started", seconds)] if outcome == "started" else [event("Killing", seconds)] if outcome == "stopped" else []
        history.state(shown, alloc=alloc, state="dead" if ended else "running" if outcome == "started" else "pending", failed=outcome == "failed",
                      started_at_ns=ns(seconds) if outcome in ("started", "unknown") else None)
    return history


def quantiles(row):
    return [row[name] for name in QUANTILES]


@pytest.fixture
def measure(ask):
    def measure(tasks, name="created_to_started"):
        rows = {row["measure"]: row for row in ask(history(tasks), "start_latency")}
        return rows[name]
    return measure


def test_none(ask):
    assert ask(History(), "start_latency") == []


def test_one(measure):
    row = measure([("started", 4)])
    assert (row["tasks"], row["started"], row["min_seconds"], row["max_seconds"]) == (1, 1, 4, 4)
    assert quantiles(row) == [4, 4, 4, 4]


def test_without_censoring_a_quantile_is_the_nearest_rank(measure):
    row = measure([("started", n) for n in range(1, 101)])
    assert quantiles(row) == [50, 90, 95, 99]
    assert quantiles(measure([("started", n) for n in range(1, 21)])) == [10, 18, 19, 20]


def test_none_has_started(measure):
    row = measure([("waiting", 5), ("failed", 6), ("stopped", 7), ("unknown", 8)])
    assert (row["tasks"], row["started"], row["waiting"], row["failed_before_start"], row["stopped_before_start"], row["unknown"]) == (4, 0, 1, 1, 1, 1)
    assert quantiles(row) + [row["min_seconds"], row["max_seconds"]] == [None] * 6


def test_waiting_tasks_count_until_they_were_last_seen(measure):
    # At 10 s, one of the three tasks that are still observed starts. At 30 s, the only one that is left starts.
    row = measure([("started", 10), ("waiting", 20), ("started", 30), ("waiting", 5)])
    assert quantiles(row) == [30, 30, 30, 30]
    assert quantiles(measure([("started", 10), ("waiting", 20), ("waiting", 30)])) == [None] * 4


@pytest.mark.parametrize("starts, expected", [
    # It is unknown how long task w waited. So w may still have waited when another task started at 2000 s.
    ([10, 2000], [None] * 4),
    ([10] * 9 + [2000], [10, None, None, None]),
    # Nine of ten tasks started while task w was certainly still waiting.
    ([10] * 9, [10, 10, None, None]),
])
def test_a_quantile_that_depends_on_how_long_one_waited_is_not_known(ask, starts, expected):
    told = history([("started", seconds) for seconds in starts])
    told.allocation("w")
    told.state([event("Received", 0), event("Task Setup", 0)], alloc="w", state="pending")
    told.sighting(0, alloc="w")
    told.listing(600)
    told.listing(1800, full=False)
    rows = {row["measure"]: row for row in ask(told, "start_latency")}
    for row in rows.values():
        assert (row["waiting"], row["waits_unsure"], row["max_seconds"]) == (1, 1, max(starts))
        assert quantiles(row) == expected


def test_tasks_that_failed_stay_at_risk(measure):
    assert quantiles(measure([("started", 1), ("failed", 0)])) == [1, None, None, None]
    assert quantiles(measure([("started", 1), ("started", 2), ("failed", 0)])) == [2, None, None, None]


def test_starts_come_before_censorings_at_the_same_time(measure):
    assert quantiles(measure([("started", 10), ("stopped", 10)])) == [10, None, None, None]


def test_a_wait_is_never_below_zero_but_a_start_may_be(measure):
    row = measure([("waiting", -5), ("started", -1)])
    assert quantiles(row) == [None] * 4 or row["min_seconds"] == -1
    # One of two tasks starts at -1 s, and the other one is censored at 0 s. So half of the tasks have started at -1 s.
    assert row["p50_seconds"] == -1


def test_unknown_ones_are_counted_and_not_guessed(measure):
    row = measure([("started", 10), ("unknown", 1)])
    assert (row["tasks"], row["unknown"], quantiles(row)) == (2, 1, [10, 10, 10, 10])


def test_tasks_without_a_setup_are_excluded_from_its_measure(ask):
    told = history([("started", 10)])
    told.allocation("b", client_status="pending", modified_at_ns=ns(100))
    told.state([event("Received", 0)], alloc="b", state="pending")
    rows = {row["measure"]: row for row in ask(told, "start_latency")}
    assert quantiles(rows["setup_to_started"]) == [10] * 4
    assert quantiles(rows["created_to_started"]) == [10, None, None, None]
    assert (rows["setup_to_started"]["tasks"], rows["setup_to_started"]["waiting"]) == (2, 1)


def test_an_allocation_without_known_tasks_counts(ask):
    told = History()
    told.allocation(client_status="pending", modified_at_ns=ns(9))
    told.state(task=None, state=None, failed=None, restarts=None)
    created, setup = ask(told, "start_latency")
    assert (created["task"], created["measure"], created["tasks"], created["waiting"]) == (None, "created_to_started", 1, 1)
    assert (setup["measure"], setup["tasks"], setup["waiting"]) == ("setup_to_started", 1, 1)


def test_the_period_cuts_by_creation(ask):
    assert ask(history([("started", 10)]), "start_latency", period(1, 100)) == []


@pytest.mark.parametrize("seed", range(12))
def test_against_lifelines(measure, seed):
    rng = random.Random(seed)
    number = rng.choice([1, 2, 5, 20, 80])
    outcomes = rng.choice([["started"], ["started", "waiting"], ["started", "started", "waiting", "stopped", "failed", "unknown"]])
    tasks = [(rng.choice(outcomes), rng.choice([rng.randrange(0, 12), rng.random() * 100])) for _ in range(number)]
    at_risk = [task for task in tasks if task[0] != "unknown"]
    row = measure(tasks)
    if not at_risk:
        assert quantiles(row) == [None] * 4
        return
    fitter = KaplanMeierFitter()
    fitter.fit([10**6 if outcome == "failed" else max(seconds, 0) for outcome, seconds in at_risk],
               [outcome == "started" for outcome, _ in at_risk])
    curve = fitter.survival_function_["KM_estimate"]
    for name, p in QUANTILES.items():
        reached = [at for at, waiting in curve.items() if 1 - waiting >= p - 1e-9]
        expected = min(reached) if reached else None
        assert row[name] == (None if expected is None else pytest.approx(expected, abs=1e-8)), name
