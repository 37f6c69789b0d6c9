"""`attempts`: the outcome of each run of a task."""

import pytest

from history import History, event, events, ns, period, time, watched

PATH = "Received, Task Setup, Started"


@pytest.fixture
def runs(ask):
    """The runs of a task: attempt, outcome, class of failure, exit code, start and end in seconds."""
    def runs(history, texts=None):
        def seconds(value):
            return None if value is None else (value - ns(0)) / 10**9
        return [(row["attempt"], row["outcome"], row["failure_class"], row["exit_code"], seconds(row["started_at_ns"]), seconds(row["ended_at_ns"]))
                for row in ask(history, "attempts", texts)]
    return runs


def test_none(ask):
    assert ask(History(), "attempts") == []


def test_a_task_without_events_has_no_run(ask):
    history = History()
    history.allocation()
    history.state(state="pending")
    assert ask(history, "attempts") == []


def test_each_run_has_a_row(runs):
    history = watched(events(f"{PATH}, Terminated 1, Restarting, Driver Failure, Restarting, Started, Terminated 0, Restarting, Started"))
    assert runs(history) == [
        (1, "failed", "exit", 1, 2, 3), (2, "failed", "driver", None, None, 5), (3, "completed", None, 0, 7, 8), (4, "running", None, None, 10, None)]


def test_an_exit_with_0_after_a_reconnect_may_be_a_stop(runs):
    def outcome(end, desired_status):
        return runs(watched(events(f"{PATH}, Reconnected, {end}"), desired_status=desired_status))[0][1]
    assert (outcome("Terminated 0", "stop"), outcome("Terminated 0", "run")) == ("unknown", "completed")
    assert outcome("Terminated -1", "stop") == "stopped"


def test_timestamps_have_their_ns_columns(ask_one):
    row = ask_one(watched(events(f"{PATH}, Terminated 3/15")), "attempts")
    assert (row["started_at"], row["started_at_ns"], row["ended_at"], row["ended_at_ns"]) == (time(2), ns(2), time(3), ns(3))
    assert (row["exit_code"], row["signal"], row["delay_seconds"]) == (3, 15, None)


def test_delay_is_that_of_the_restart_that_ended_it(ask):
    shown = events(f"{PATH}, Terminated 1") + [event("Restarting", 4, start_delay_ns=17_500_000_000), event("Started", 30)]
    assert [row["delay_seconds"] for row in ask(watched(shown), "attempts")] == [17.5, None]


def test_several_starts_without_a_restart_are_one_run(runs):
    # The agent was restarted and could not reattach to the task.
    history = watched(events(f"{PATH}, Failed Restoring Task, Started"))
    assert runs(history) == [(1, "running", None, None, 2, None)]


def test_lost_runs_have_no_row(runs):
    history = watched(events("Restarting, Started, Terminated 1, Restarting, Started"), restarts=7)
    assert runs(history) == [(6, "unknown", None, None, None, None), (7, "failed", "exit", 1, 1, 2), (8, "running", None, None, 4, None)]


def test_without_a_counter(runs):
    history = History()
    history.allocation()
    history.state(events(f"{PATH}, Terminated 1, Restarting, Started"), restarts=None)
    assert runs(history) == [(None, "failed", "exit", 1, 2, 3), (None, "running", None, None, 5, None)]


@pytest.mark.parametrize("text, expected", [
    (f"{PATH}, Terminated 0", ("completed", None, 0, 2, 3)),
    (f"{PATH}, Terminated 0: lost it", ("failed", "driver", 0, 2, 3)),
    (f"{PATH}, Terminated 1, Not Restarting!", ("failed", "exit", 1, 2, 3)),
    (f"{PATH}, Terminated 0, Not Restarting!", ("failed", "unknown", 0, 2, 3)),
    (f"{PATH}, Killing, Terminated 137/9, Killed", ("stopped", None, 137, 2, 4)),
    (f"{PATH}, Killing!: Template failed: x, Terminated 143, Killed", ("failed", "template", 143, 2, 4)),
    (f"{PATH}, Killing: allocation exceeded max_run_duration, Terminated 143, Killed", ("failed", "timeout", 143, 2, 4)),
    (f"{PATH}, Restart Signaled, Terminated 0, Restarting", ("restart", None, 0, 2, 4)),
    (f"{PATH}, Restart Signaled: User requested restart, Restarting", ("restart", None, None, 2, None)),
    (f"{PATH}, Restart Signaled: healthcheck: x, Terminated 2, Restarting", ("failed", "health", 2, 2, 4)),
    ("Received, Setup Failure!", ("failed", "hook", None, None, 1)),
    ("Received, Task Setup, Task hook failed, Restarting", ("failed", "hook", None, None, 2)),
    (f"{PATH}, Terminated", ("unknown", None, None, 2, 3)),
])
def test_outcome_by_the_last_event_that_ended_it(runs, text, expected):
    assert runs(watched(events(text)))[0][1:] == expected


@pytest.mark.parametrize("client_status, state, expected", [
    ("running", {"state": "running"}, ("running", None)),
    ("running", {"state": "pending"}, ("waiting", None)),
    ("running", {"state": "dead", "finished_at_ns": ns(9)}, ("stopped", 9)),
    ("running", {"state": "dead", "finished_at_ns": ns(9), "failed": True}, ("failed", 9)),
    ("running", {"state": "dead"}, ("stopped", None)),
    ("complete", {"state": "running", "finished_at_ns": ns(9)}, ("stopped", 9)),
    ("complete", {"state": "running"}, ("unknown", None)),
    ("failed", {"state": "running", "finished_at_ns": ns(9)}, ("unknown", None)),
    ("lost", {"state": "running", "finished_at_ns": ns(9)}, ("lost", None)),
    ("lost", {"state": "dead", "finished_at_ns": ns(9)}, ("stopped", 9)),
    ("unknown", {"state": "running"}, ("unknown", None)),
    ("running", {"state": None}, ("unknown", None)),
])
def test_outcome_without_an_event_that_ended_it(runs, client_status, state, expected):
    history = History()
    history.allocation(client_status=client_status)
    history.state(events(PATH), **state)
    [(_, outcome, failure_class, _, _, ended)] = runs(history)
    assert (outcome, ended) == expected and failure_class is None


def test_a_killed_task_that_does_not_run_was_stopped(runs):
    history = History()
    history.allocation()
    history.state(events("Received, Killing"), state="dead", finished_at_ns=ns(3))
    assert runs(history) == [(1, "stopped", None, None, None, 3)]


def test_the_end_of_an_earlier_run_is_unknown(runs):
    # The newest state of the task belongs to a later run than the last event does.
    history = History()
    history.allocation()
    history.state(events(PATH), restarts=0, index=10)
    history.state(state="running", restarts=2, index=20)
    assert runs(history) == [(1, "unknown", None, None, 2, None)]


def test_the_period_cuts_by_start_else_end_else_first_event(runs):
    history = watched(events(f"{PATH}, Terminated 1, Restarting, Driver Failure, Restarting, Started, Terminated 1, Restarting, Task hook message"))
    assert [run[0] for run in runs(history, period(2, 5))] == [1]
    assert [run[0] for run in runs(history, period(5, 8))] == [2, 3]
    assert [run[0] for run in runs(history, period(10, 11))] == [4]
