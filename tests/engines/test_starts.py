"""`starts`: the first start of each task, or why it is unknown."""

import pytest

from history import HOUR, History, event, events, ns, period, time, watched

PATH = "Received, Task Setup, Started"


def phases(row):
    return {name[:-len("_seconds")]: row[name] for name in row if name.endswith("_seconds") and row[name] is not None}


def test_none(ask):
    assert ask(History(), "starts") == []


def test_a_start_and_its_phases(ask_one):
    history = watched([event("Received", 1), event("Task Setup", 3), event("Started", 7.5)], created_at_ns=ns(0.5), deployment_healthy=True,
                      deployment_healthy_at_ns=ns(20))
    row = ask_one(history, "starts")
    assert (row["outcome"], row["basis"]) == ("started", "complete")
    assert (row["created_at"], row["received_at"], row["setup_at"], row["started_at"], row["healthy_at"]) == (
        time(0.5), time(1), time(3), time(7.5), time(20))
    assert (row["started_at_ns"], row["ended_at"]) == (ns(7.5), None)
    assert phases(row) == {"created_to_received": 0.5, "received_to_setup": 2, "setup_to_started": 4.5, "created_to_started": 7, "created_to_healthy": 19.5}


def test_clocks_that_disagree_are_kept(ask_one):
    row = ask_one(watched(events(PATH), created_at_ns=ns(4)), "starts")
    assert phases(row) == {"created_to_received": -4, "received_to_setup": 1, "setup_to_started": 1, "created_to_started": -2}


def test_unhealthy_is_not_healthy(ask_one):
    row = ask_one(watched(events(PATH), deployment_healthy=False, deployment_healthy_at_ns=ns(20)), "starts")
    assert (row["healthy_at"], row["created_to_healthy_seconds"]) == (None, None)


def test_only_the_first_start_counts(ask_one):
    row = ask_one(watched(events(f"{PATH}, Terminated 1, Restarting, Started")), "starts")
    assert row["started_at"] == time(2)


def test_failed_tries_are_part_of_the_setup(ask_one):
    row = ask_one(watched(events("Received, Task Setup, Driver Failure, Restarting, Started")), "starts")
    assert (row["outcome"], row["basis"], row["setup_to_started_seconds"]) == ("started", "complete", 3)


class TestDownloads:
    @pytest.mark.parametrize("shown, artifact, image", [
        ([("Downloading Artifacts", 2), ("Started", 5)], 3, None),
        ([("Downloading Artifacts", 2), ("Driver", 4, "Downloading image"), ("Started", 9)], 2, 5),
        ([("Driver", 2, "Downloading image"), ("Driver", 4, "Docker image pull progress: 1/2"), ("Driver", 6, "Docker image pull progress: 2/2"), ("Started", 9)], None, 7),
        ([("Downloading Artifacts", 2), ("Failed Artifact Download", 3), ("Restarting", 4), ("Downloading Artifacts", 10), ("Started", 15)], 6, None),
        ([("Driver", 2, "something else"), ("Started", 5)], None, None),
        # still in progress
        ([("Downloading Artifacts", 2)], None, None),
        ([("Driver", 2, "Downloading image"), ("Driver", 4, "Docker image pull progress: 1/2")], None, None),
        # after the first start
        ([("Started", 2), ("Downloading Artifacts", 3), ("Driver", 4, "Downloading image"), ("Started", 6)], None, None),
    ])
    def test_each_to_the_next_other_event(self, ask_one, shown, artifact, image):
        shown = [("Received", 0), ("Task Setup", 1)] + shown
        row = ask_one(watched([event(kind, at, **({"message": text[0]} if text else {})) for kind, at, *text in shown]), "starts")
        assert (row["artifact_seconds"], row["image_seconds"]) == (artifact, image)


class TestBasis:
    LONG = f"{PATH}, Signaling, Signaling, Signaling, Signaling, Signaling, Signaling, Signaling, Signaling, Signaling"

    def seen(self, ask_one, shown, **columns):
        history = History()
        history.allocation()
        history.state(shown, **columns)
        row = ask_one(history, "starts")
        return row["outcome"], row["basis"]

    def test_the_beginning_is_evicted_but_a_start_of_the_first_run_is_in_view(self, ask_one):
        history = History()
        history.allocation()
        history.state(events(self.LONG))
        row = ask_one(history, "starts")
        assert (row["outcome"], row["basis"], row["started_at"]) == ("started", "attempt", time(2))
        assert (row["received_at"], row["setup_at"], row["setup_to_started_seconds"]) == (None, None, None)

    def test_the_first_start_is_evicted(self, ask_one):
        assert self.seen(ask_one, events(self.LONG), window=9 + 1, started_at_ns=ns(2)) == ("started", "attempt")
        assert self.seen(ask_one, events(self.LONG + ", Signaling, Signaling"), started_at_ns=ns(2)) == ("unknown", None)

    def test_a_start_of_a_later_run_is_not_the_first(self, ask_one):
        assert self.seen(ask_one, events("Restarting, Started, Terminated 1, Restarting, Started, Signaling, Signaling, Signaling, Signaling, Signaling"), restarts=4) == ("unknown", None)

    def gap(self, ask_one, attempt):
        """A window with Received, then a gap, then a window that begins with the start of this attempt."""
        history = History()
        history.allocation()
        history.state(events("Received"), index=10)
        history.state(events("Started" + ", Signaling" * 9, start=100), restarts=attempt - 1, index=20)
        row = ask_one(history, "starts")
        return row["outcome"], row["basis"]

    def test_a_gap_before_the_first_start_in_view(self, ask_one):
        assert self.gap(ask_one, attempt=1) == ("started", "attempt")
        assert self.gap(ask_one, attempt=3) == ("unknown", None)

    def test_a_gap_after_the_first_start_does_not_matter(self, ask_one):
        history = History()
        history.allocation()
        history.state(events(f"{PATH}, Terminated 1, Restarting, Started"), restarts=1, index=10)
        history.state(events("Started" + ", Signaling" * 9, start=100), restarts=5, index=20)
        row = ask_one(history, "starts")
        assert (row["outcome"], row["basis"], row["started_at"]) == ("started", "complete", time(2))

    def test_a_late_run_with_a_complete_history(self, ask_one):
        assert self.seen(ask_one, events("Received, Task Setup, Driver Failure, Restarting, Driver Failure, Restarting, Started"), restarts=2) == ("started", "complete")

    def test_without_a_counter(self, ask_one):
        assert self.seen(ask_one, events(PATH), restarts=None) == ("started", "complete")
        assert self.seen(ask_one, events(self.LONG), restarts=None) == ("unknown", None)


class TestNoStart:
    def row(self, ask_one, text, allocation=None, **state):
        history = History()
        history.allocation(**({"client_status": "pending", "modified_at_ns": ns(50)} | (allocation or {})))
        history.state(events(text) if text else [], **({"state": "pending"} | state))
        history.sighting(40)
        return ask_one(history, "starts")

    def test_waiting(self, ask_one):
        row = self.row(ask_one, "Received, Task Setup, Driver: Downloading image")
        assert (row["outcome"], row["basis"], row["started_at"], row["ended_at"], row["last_seen_at"]) == ("waiting", None, None, None, time(50))
        assert phases(row) == {"created_to_received": 0, "received_to_setup": 1}

    def test_waiting_when_only_its_name_is_known(self, ask_one):
        assert self.row(ask_one, "", state=None, failed=None, restarts=None)["outcome"] == "waiting"

    def test_waiting_in_an_unknown_allocation(self, ask_one):
        assert self.row(ask_one, "Received", {"client_status": "unknown"})["outcome"] == "waiting"

    def test_failed(self, ask_one):
        row = self.row(ask_one, "Received, Task Setup, Driver Failure, Not Restarting!", {"client_status": "failed"}, state="dead", failed=True, finished_at_ns=ns(4))
        assert (row["outcome"], row["ended_at"]) == ("failed_before_start", time(4))

    def test_failed_wins_over_a_stop(self, ask_one):
        row = self.row(ask_one, "Received, Killing!: Template failed: x", {"desired_status": "stop"}, state="dead", failed=True)
        assert (row["outcome"], row["ended_at"]) == ("failed_before_start", time(50))

    def test_failed_though_its_beginning_is_evicted(self, ask_one):
        text = ", ".join(["Driver Failure, Restarting"] * 6 + ["Driver Failure", "Not Restarting!"])
        assert self.row(ask_one, text, {"client_status": "failed"}, state="dead", failed=True, restarts=9)["outcome"] == "failed_before_start"

    @pytest.mark.parametrize("text, allocation, state, ended", [
        ("Received, Killing", {"client_status": "complete"}, {"state": "dead", "finished_at_ns": ns(7)}, 1),
        ("Received, Sibling Task Failed", {"client_status": "failed"}, {"state": "dead", "finished_at_ns": ns(7)}, 7),
        ("Received", {"client_status": "running"}, {"state": "dead"}, 50),
        ("Received", {"client_status": "lost"}, {"state": "dead", "finished_at_ns": ns(7)}, 7),
    ])
    def test_stopped_at_its_killing_else_its_end_else_the_last_change(self, ask_one, text, allocation, state, ended):
        row = self.row(ask_one, text, allocation, **state)
        assert (row["outcome"], row["ended_at"]) == ("stopped_before_start", time(ended))

    @pytest.mark.parametrize("text, state", [
        ("Terminated 1, Restarting", {"restarts": 3}),   # the task ran, but no event shows its start
        ("Received", {"started_at_ns": ns(2)}),          # a state shows a start
        ("", {"state": "running", "restarts": None}),    # no events, no times
    ])
    def test_unknown(self, ask_one, text, state):
        row = self.row(ask_one, text, {"client_status": "running"}, **state)
        assert (row["outcome"], row["basis"], row["started_at"]) == ("unknown", None, None)

    def test_a_placeholder_may_hide_a_task_that_ran(self, ask_one):
        row = self.row(ask_one, "", {"client_status": "complete"}, state=None, placeholder=True, restarts=None, finished_at_ns=ns(7))
        assert (row["outcome"], row["ended_at"]) == ("unknown", None)

    def test_a_task_of_a_lost_allocation_may_start_until_its_client_is_back(self, ask_one):
        row = self.row(ask_one, "Received", {"client_status": "lost"}, state="pending")
        assert (row["outcome"], row["ended_at"]) == ("unknown", None)

    def test_a_received_that_is_not_the_first_event_is_from_an_agent_restart(self, ask_one):
        row = self.row(ask_one, "Signaling, Received, Task Setup, Started" + ", Signaling" * 6, {})
        assert (row["outcome"], row["received_at"], row["setup_at"]) == ("unknown", None, None)

    def test_a_start_shown_only_by_an_older_state(self, ask_one):
        history = History()
        history.allocation()
        history.state(index=10, state="running", started_at_ns=ns(2))
        history.state(events("Received"), index=20, state="pending")
        assert ask_one(history, "starts")["outcome"] == "unknown"


class TestAllocationsWithoutKnownTasks:
    @pytest.mark.parametrize("statuses, outcome", [
        (["pending"], "waiting"),
        (["pending", "complete"], "stopped_before_start"),
        (["pending", "lost"], "unknown"),
        (["pending", "failed"], "stopped_before_start"),
        (["pending", "running"], "unknown"),
        (["pending", "running", "complete"], "unknown"),
        (["complete"], "unknown"),
        (["running"], "unknown"),
    ])
    def test_it_counts_as_one_task(self, ask_one, statuses, outcome):
        history = History()
        for index, status in enumerate(statuses):
            history.allocation(index=index, client_status=status, modified_at_ns=ns(10 + index))
            history.state(task=None, index=index, state=None, failed=None, restarts=None)
        row = ask_one(history, "starts")
        assert (row["task"], row["outcome"]) == (None, outcome)
        assert row["ended_at"] == (time(11) if outcome == "stopped_before_start" else None)


def test_the_period_cuts_by_creation(ask):
    history = History()
    for alloc, created in ("a", 10), ("b", 20), ("c", 30):
        history.allocation(alloc, created_at_ns=ns(created))
        history.state(events(PATH), alloc=alloc)
    assert [row["alloc_id"] for row in ask(history, "starts", period(20, 30))] == ["b"]


def test_one_allocation_id_in_two_regions(ask):
    history = History()
    history.allocation(region="eu")
    history.state(events(PATH), region="eu")
    history.allocation(region="us", client_status="pending")
    history.state(events("Received"), region="us", state="pending")
    assert [(row["region"], row["outcome"]) for row in ask(history, "starts")] == [("eu", "started"), ("us", "waiting")]
