"""`task_states`: the latest state of a task."""

import pytest

from history import History, events, ns, time


@pytest.fixture
def history():
    history = History()
    history.allocation()
    return history


def test_none(ask):
    assert ask(History(), "task_states") == []


def test_one(ask_one, history):
    history.state(events("Received, Task Setup, Started"), started_at_ns=ns(2))
    history.sighting(60)
    row = ask_one(history, "task_states")
    assert (row["task"], row["state"], row["failed"], row["restarts"]) == ("app", "running", False, 0)
    assert (row["started_at"], row["started_at_ns"], row["finished_at"]) == (time(2), ns(2), None)
    assert (row["attempts_seen"], row["client_status"], row["last_seen_at"]) == (1, "running", time(60))


def test_all_null(ask_one, history):
    history.add("task_state_history", {"region": "", "namespace": "default", "alloc_id": "a", "task": "app", "placeholder": False})
    row = ask_one(history, "task_states")
    assert (row["task"], row["state"], row["failed"], row["restarts"], row["attempts_seen"]) == ("app", None, None, None, 0)


def test_latest_is_by_modify_index(ask_one, history):
    history.state(index=30, state="dead", failed=True, finished_at_ns=ns(9))
    history.state(index=10, state="pending")
    history.state(index=20, state="running")
    row = ask_one(history, "task_states")
    assert (row["state"], row["failed"], row["finished_at"], row["modify_index"]) == ("dead", True, time(9), 30)


def test_among_rows_of_one_version_a_value_wins_over_null(ask_one, history):
    history.state(restarts=None, lifecycle_hook="prestart", sidecar=True)
    history.state(restarts=4, last_restart_at_ns=ns(3))
    row = ask_one(history, "task_states")
    assert (row["restarts"], row["last_restart_at"], row["lifecycle_hook"], row["sidecar"]) == (4, time(3), "prestart", True)


def test_a_reused_index_is_ordered_by_modified_at(ask_one, history):
    history.state(modified_at_ns=ns(5), state="dead", failed=True)
    history.state(modified_at_ns=ns(9), state="pending", failed=False)
    row = ask_one(history, "task_states")
    assert (row["state"], row["failed"]) == ("pending", False)


def test_a_placeholder_is_never_the_latest_state(ask_one, history):
    history.state(index=10, state="running", restarts=2)
    history.state(index=20, state=None, restarts=None, placeholder=True, finished_at_ns=ns(9))
    row = ask_one(history, "task_states")
    assert (row["state"], row["restarts"], row["finished_at"], row["modify_index"]) == ("running", 2, None, 10)


def test_only_a_placeholder(ask_one, history):
    history.state(state=None, restarts=None, placeholder=True, finished_at_ns=ns(9))
    row = ask_one(history, "task_states")
    assert (row["task"], row["state"], row["failed"], row["finished_at"], row["ended_at"]) == ("app", None, None, None, None)


def test_a_listing_without_states_does_not_hide_the_last_state(ask_one, history):
    history.state(index=10, state="running")
    history.state(index=20, state=None, failed=None, restarts=None, lifecycle_hook="poststart")
    row = ask_one(history, "task_states")
    assert (row["state"], row["modify_index"], row["lifecycle_hook"]) == ("running", 10, "poststart")


def test_an_allocation_with_unknown_tasks_has_a_row_without_task(ask_one, history):
    history.state(task=None, state=None, failed=None, restarts=None)
    row = ask_one(history, "task_states")
    assert (row["alloc_id"], row["task"], row["state"], row["attempts_seen"]) == ("a", None, None, 0)


def test_the_row_without_task_disappears_once_the_tasks_are_known(ask, history):
    history.state(index=10, task=None, state=None, failed=None, restarts=None)
    history.state(index=20, task="app")
    history.state(index=20, task="log")
    assert [row["task"] for row in ask(history, "task_states")] == ["app", "log"]


def test_group_comes_from_the_allocation(ask_one):
    history = History()
    history.allocation(job_type="service", job_version=3, node_id="n1", node_name="alpha")
    history.state(job_id=None, task_group=None)
    history.add("nodes", {"region": "", "node_id": "n1", "node_class": "big", "datacenter": "dc1", "modify_index": 1})
    row = ask_one(history, "task_states")
    assert (row["job_id"], row["task_group"], row["job_type"], row["job_version"]) == ("shop", "web", "service", 3)
    assert (row["node_id"], row["node_name"], row["node_class"], row["datacenter"]) == ("n1", "alpha", "big", "dc1")


def test_one_allocation_id_in_two_regions(ask):
    history = History()
    for region, restarts in ("eu", 1), ("us", 2):
        history.allocation(region=region)
        history.state(events("Received"), region=region, restarts=restarts)
    assert [(row["region"], row["restarts"], row["attempts_seen"]) for row in ask(history, "task_states")] == [
        ("eu", 1, 1), ("us", 2, 1)]


class TestAttemptsSeen:
    def test_runs_with_an_event_in_view(self, ask_one, history):
        shown = events("Received, Started, Terminated, Restarting, Started, Terminated, Restarting, Started")
        history.state(shown, restarts=2)
        assert ask_one(history, "task_states")["attempts_seen"] == 3

    def test_lost_runs_are_not_seen(self, ask_one, history):
        history.state(events("Started, Terminated, Restarting, Started"), restarts=7)
        assert ask_one(history, "task_states")["attempts_seen"] == 2

    def test_unknown_without_a_counter(self, ask_one, history):
        history.state(events("Received, Started"), restarts=None)
        assert ask_one(history, "task_states")["attempts_seen"] is None


class TestEnd:
    """finished_at is the end of a task only if the task is dead, or if its allocation is complete or failed."""

    @pytest.mark.parametrize("status, state, ended", [
        ("running", "dead", True),
        ("running", "running", False),  # the task ended once and was started again
        ("running", "pending", False),
        ("complete", "dead", True),
        ("complete", "running", True),
        ("failed", "pending", True),
        ("lost", "running", False),
        ("lost", "dead", True),
        ("unknown", "running", False),
        ("unknown", "dead", True),
    ])
    def test_end(self, ask_one, status, state, ended):
        history = History()
        history.allocation(client_status=status)
        history.state(state=state, started_at_ns=ns(5), finished_at_ns=ns(4))
        row = ask_one(history, "task_states")
        assert row["finished_at"] == time(4)
        assert (row["ended_at"], row["ended_at_ns"]) == ((time(4), ns(4)) if ended else (None, None))
