"""`crash_loops`: which tasks keep restarting."""

import pytest

from history import HOUR, History, event, events, ns, time

NOW = 5 * HOUR


@pytest.fixture
def history():
    """A region whose newest observation is at five hours, and an allocation that was created at 0."""
    history = History()
    history.allocation()
    history.listing(NOW)
    history.listing(2 * HOUR)
    return history


def state(history, ago, restarts, shown=(), **columns):
    """Adds a version that was written `ago` seconds before the newest observation, with this counter."""
    history.state(shown, index=10 + int(NOW - ago), modified_at_ns=ns(NOW - ago), restarts=restarts, **columns)


def restarting(*agos):
    return [event("Restarting", NOW - ago) for ago in agos]


def restarts_last_hour(ask, history):
    rows = ask(history, "crash_loops")
    assert len(rows) <= 1
    return rows[0]["restarts_last_hour"] if rows else None


def test_none(ask):
    assert ask(History(), "crash_loops") == []


def test_one(ask_one, history):
    shown = [event("Received", NOW - 3000), event("Started", NOW - 2900)]
    for ago in 2000, 1500, 800, 200:
        shown += [event("Terminated", NOW - ago - 1, exit_code=7, signal=0), event("Restarting", NOW - ago)]
    state(history, 3000, 0, shown[:1])
    state(history, 100, 4, shown, state="pending")
    row = ask_one(history, "crash_loops")
    assert (row["task"], row["alloc_id"], row["restarts_last_hour"], row["state"]) == ("app", "a", 4, "pending")
    assert (row["since_at"], row["since_at_ns"], row["period_seconds"]) == (time(NOW - 2000), ns(NOW - 2000), 600)
    assert (row["last_restart_at"], row["last_restart_at_ns"]) == (time(NOW - 200), ns(NOW - 200))
    assert (row["last_class"], row["last_exit_code"]) == ("exit", 7)


@pytest.mark.parametrize("restarts, found", [(2, None), (3, 3)])
def test_three_make_a_loop(ask, history, restarts, found):
    state(history, HOUR, 5)
    state(history, 10, 5 + restarts)
    assert restarts_last_hour(ask, history) == found


def test_lost_events_do_not_hide_them(ask_one, history):
    state(history, HOUR - 100, 5)
    state(history, 10, 45)
    row = ask_one(history, "crash_loops")
    assert (row["restarts_last_hour"], row["restarts_at_most"]) == (40, 45)
    assert (row["period_seconds"], row["since_at"], row["seen_since_at"], row["last_class"]) == (None, None, None, None)


def test_the_time_of_a_rise_since_an_older_version_is_unknown(ask, history):
    """Daily snapshots: five restarts since yesterday, the last of them ten hours ago."""
    state(history, 24 * HOUR, 5)
    state(history, 10, 10, last_restart_at_ns=ns(NOW - 10 * HOUR))
    assert restarts_last_hour(ask, history) is None


def test_only_the_last_restart_is_known_to_be_in_the_hour(ask, history):
    state(history, 24 * HOUR, 5)
    state(history, 10, 10, last_restart_at_ns=ns(NOW - 600))
    assert restarts_last_hour(ask, history) is None


def test_lost_restarts_without_a_date_are_between_the_creation_and_the_newest_observation(ask_one):
    """The versions that Nomad before 0.7.1 writes have no time of modification."""
    for created, surely in (NOW - 600, 40), (NOW - 2 * HOUR, 3):
        history = History()
        history.allocation(created_at_ns=ns(created), modified_at_ns=None)
        history.listing(NOW)
        shown = restarting(30, 20, 10)
        history.state(shown, restarts=40, modified_at_ns=None)
        row = ask_one(history, "crash_loops")
        assert (row["restarts_last_hour"], row["restarts_at_most"]) == (surely, 40)
        assert (row["since_at"], row["seen_since_at"]) == (None, time(NOW - 30))


def test_seen_since_is_the_first_seen_restart_if_the_beginning_is_lost(ask_one):
    history = History()
    history.allocation(created_at_ns=ns(NOW - 3000))
    history.listing(NOW)
    state(history, 10, 270, restarting(60, 50, 40))
    row = ask_one(history, "crash_loops")
    assert (row["restarts_last_hour"], row["restarts_at_most"], row["since_at"]) == (270, 270, None)
    assert (row["seen_since_at"], row["seen_since_at_ns"]) == (time(NOW - 60), ns(NOW - 60))


def test_dead_tasks_come_last(ask):
    history = History()
    history.listing(NOW)
    for alloc, now in ("a", "dead"), ("b", "running"):
        history.allocation(alloc, created_at_ns=ns(NOW - 1000))
        state(history, 10, 5, alloc=alloc, state=now)
    rows = ask(history, "crash_loops")
    assert [(row["alloc_id"], row["is_over"]) for row in rows] == [("b", False), ("a", True)]


def test_lost_restarts_in_between_shorten_the_period(ask_one, history):
    state(history, HOUR - 1, 5)
    state(history, 1000, 6, restarting(1000))
    state(history, 100, 15, restarting(100))
    row = ask_one(history, "crash_loops")
    assert (row["restarts_last_hour"], row["period_seconds"]) == (10, 100)


class TestBaseline:
    def test_largest_counter_of_versions_an_hour_ago_or_more(self, ask, history):
        state(history, 3 * HOUR, 2)
        state(history, HOUR, 6)
        state(history, HOUR - 1, 8)
        state(history, 10, 10)
        assert restarts_last_hour(ask, history) == 4

    def test_a_version_between(self, ask, history):
        state(history, HOUR + 1, 2)
        state(history, HOUR - 1, 8)
        state(history, 10, 11)
        assert restarts_last_hour(ask, history) == 3

    def test_zero_for_one_created_since(self, ask):
        history = History()
        history.allocation(created_at_ns=ns(NOW - HOUR))
        history.listing(NOW)
        state(history, 10, 6)
        assert restarts_last_hour(ask, history) == 6

    def test_else_the_first_counter_minus_its_restarts_within_the_hour(self, ask, history):
        # The first version counts 12 restarts, two of them within the hour. The next version counts 15.
        state(history, 1000, 12, restarting(HOUR + 500, 2000, 1500))
        state(history, 10, 15, restarting(30, 20, 10))
        assert restarts_last_hour(ask, history) == 5

    def test_an_old_task_seen_once(self, ask, history):
        state(history, 10, 100, restarting(HOUR + 1, 300, 200))
        assert restarts_last_hour(ask, history) is None
        state(history, 5, 101, restarting(4))
        assert restarts_last_hour(ask, history) == 3


    def test_a_clock_that_is_ahead_makes_no_old_restart_new(self, ask, history):
        shown = restarting(HOUR - 50, HOUR - 100, HOUR - 200)
        state(history, HOUR + 30, 3, shown)
        state(history, 10, 3, shown)
        assert restarts_last_hour(ask, history) is None
        state(history, 5, 6, shown + restarting(300, 200, 100))
        assert restarts_last_hour(ask, history) == 3


class TestWithoutTrust:
    def test_without_a_counter_the_events_of_the_hour_count(self, ask, history):
        state(history, 10, None, restarting(HOUR + 1, HOUR, 300, 200, 100))
        assert restarts_last_hour(ask, history) == 4

    def test_of_a_client_that_lost_its_state_too(self, ask, history):
        state(history, 2 * HOUR, 50, restarting(2 * HOUR))
        state(history, 10, 3, [event("Received", NOW - 400)] + restarting(300, 200, 100))
        assert restarts_last_hour(ask, history) == 3


def test_the_hour_is_that_of_the_region(ask):
    history = History()
    for region, now in ("eu", NOW), ("us", 9 * HOUR):
        history.allocation(region=region)
        history.listing(now, region=region)
        history.state(index=10, modified_at_ns=ns(NOW - HOUR), restarts=0, region=region)
        history.state(index=20, modified_at_ns=ns(NOW - 60), restarts=5, region=region)
    assert [(row["region"], row["restarts_last_hour"]) for row in ask(history, "crash_loops")] == [("eu", 5)]


def test_last_failure_may_be_older_than_the_hour(ask_one, history):
    state(history, 2 * HOUR, 1, [event("Terminated", NOW - 2 * HOUR, exit_code=9, signal=0), event("Restarting", NOW - 2 * HOUR + 1)])
    state(history, 10, 5, restarting(40, 30, 20, 10))
    row = ask_one(history, "crash_loops")
    assert (row["last_class"], row["last_exit_code"]) == ("exit", 9)
