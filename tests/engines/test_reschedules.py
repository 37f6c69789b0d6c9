"""`reschedules`: which allocations replaced others, and why."""

import pytest

from history import History, event, events, ns, period, time


def pair(old=None, new=None, old_ended=50, new_started=102, shown=None):
    """Allocation a, and allocation b, which replaces a and was created at 100."""
    history = History()
    history.allocation("a", **({"node_id": "n1", "job_version": 0} | (old or {})))
    history.state(events("Received, Task Setup, Started"), alloc="a", state="dead" if old_ended is not None else "running", finished_at_ns=ns(old_ended))
    history.allocation("b", created_at_ns=ns(100), **({"node_id": "n2", "job_version": 0} | (new or {})))
    history.state(shown or [event("Received", 100.5), event("Task Setup", 101), event("Started", new_started)], alloc="b")
    return history


def test_none(ask):
    assert ask(History(), "reschedules") == []


def test_an_allocation_that_replaces_none(ask):
    assert ask(pair(), "reschedules") == []


def test_one(ask_one):
    history = pair({"desired_description": "alloc was rescheduled because it failed"}, {"previous_allocation": "a"})
    row = ask_one(history, "reschedules")
    assert (row["alloc_id"], row["previous_alloc_id"], row["node_id"], row["previous_node_id"]) == ("b", "a", "n2", "n1")
    assert (row["reason"], row["replaced_at"], row["replaced_at_ns"], row["recovery_seconds"]) == ("rescheduled", time(100), ns(100), 52)


class TestPrevious:
    def test_by_next_allocation_of_the_old_one(self, ask_one):
        assert ask_one(pair({"next_allocation": "b"}), "reschedules")["previous_alloc_id"] == "a"

    def test_the_tracker(self, ask_one):
        row = ask_one(pair(new={"rescheduled_from_alloc_id": "gone", "rescheduled_from_node_id": "n9"}), "reschedules")
        # The reason is unknown: the old allocation failed, or its node was disconnected.
        assert (row["previous_alloc_id"], row["previous_node_id"], row["reason"], row["recovery_seconds"]) == ("gone", "n9", None, 2)

    def test_previous_allocation_wins_over_the_tracker(self, ask_one):
        row = ask_one(pair(new={"previous_allocation": "a", "rescheduled_from_alloc_id": "gone", "rescheduled_from_node_id": "n9"}), "reschedules")
        assert (row["previous_alloc_id"], row["previous_node_id"]) == ("a", "n1")

    def test_one_that_is_not_in_view(self, ask_one):
        row = ask_one(pair(new={"previous_allocation": "gone"}), "reschedules")
        assert (row["previous_alloc_id"], row["previous_node_id"], row["reason"]) == ("gone", None, None)


@pytest.mark.parametrize("old, new, reason", [
    ({"desired_description": "alloc was rescheduled because it failed"}, {}, "rescheduled"),
    ({"desired_description": "alloc is lost since its node is down", "client_status": "complete"}, {}, "lost"),
    ({"desired_description": "alloc is unknown since its node is disconnected"}, {}, "lost"),
    ({"desired_description": "alloc is being migrated"}, {}, "migrated"),
    ({"desired_description": "alloc not needed as node is tainted"}, {}, "migrated"),
    ({"desired_description": "alloc is being updated due to job update"}, {}, "updated"),
    # the allocation was stopped with its job, long after it was replaced
    ({"desired_description": "alloc not needed due to job update"}, {}, None),
    ({"desired_description": "alloc not needed due to job update"}, {"job_version": 1}, None),
    ({"desired_description": "alloc not needed due to job update", "desired_migrate": True}, {}, None),
    ({"desired_description": "Preempted by alloc ID x"}, {}, "preempted"),
    ({"preempted_by": "x", "client_status": "failed"}, {}, "preempted"),
    ({"desired_status": "evict"}, {}, "preempted"),
    ({"client_status": "lost"}, {}, "lost"),
    # the allocation was lost and replaced, and later its client reported a failure
    ({"client_status": "failed"}, {}, None),
    ({"client_status": "failed"}, {"job_version": 1}, None),
    # the allocation was last seen before it was replaced
    ({}, {"rescheduled_from_alloc_id": "a"}, None),
    ({"client_status": "failed"}, {"rescheduled_from_alloc_id": "a"}, "rescheduled"),
    ({"client_status": "unknown"}, {"rescheduled_from_alloc_id": "a"}, "lost"),
    ({"desired_migrate": True}, {}, "migrated"),
    ({}, {"job_version": 1}, "updated"),
    # the allocation came back after it was replaced, and was then updated in place
    ({"job_version": 1}, {"job_version": 0}, None),
    ({}, {}, None),
])
def test_reason(ask_one, old, new, reason):
    assert ask_one(pair(old, {"previous_allocation": "a"} | new), "reschedules")["reason"] == reason


class TestLostLater:
    """The description of the old allocation says that it was lost. The tracker of the new one names the old one."""

    LOST = {"desired_description": "alloc is lost since its node is down", "client_status": "lost"}
    TRACKED = {"previous_allocation": "a", "rescheduled_from_alloc_id": "a"}

    def reason(self, ask_one, new=TRACKED, **columns):
        history = History()
        history.allocation("a", node_id="n1", **self.LOST)
        if columns:
            history.state(events("Received, Task Setup, Started"), alloc="a", state="dead", **columns)
        history.allocation("b", node_id="n2", created_at_ns=ns(100), **new)
        return ask_one(history, "reschedules")["reason"]

    def test_one_that_failed_was_rescheduled_before(self, ask_one):
        assert self.reason(ask_one, failed=True) == "rescheduled"

    def test_one_that_did_not_fail_was_replaced_while_its_node_was_disconnected(self, ask_one):
        assert self.reason(ask_one, failed=False) == "lost"

    def test_without_tasks_the_reason_is_unknown(self, ask_one):
        assert self.reason(ask_one) is None

    @pytest.mark.parametrize("old, new, reason", [
        ({"next_allocation": "b", "job_version": 2}, {"job_version": 2}, "lost"),
        ({"next_allocation": "b", "job_version": 1}, {"job_version": 2}, None),
        ({"next_allocation": "b", "job_version": 2, "desired_migrate": True}, {"job_version": 2}, None),
        ({"next_allocation": "b"}, {}, None),
        ({"job_version": 2}, {"job_version": 2}, None),
    ])
    def test_a_later_report_means_that_it_was_lost_without_another_reason(self, ask_one, old, new, reason):
        history = History()
        history.allocation("a", node_id="n1", modified_at_ns=ns(200), **self.LOST, **old)
        history.allocation("b", node_id="n2", created_at_ns=ns(100), previous_allocation="a", **new)
        assert ask_one(history, "reschedules")["reason"] == reason

    def test_a_replacement_without_a_tracker_was_placed_when_it_was_lost(self, ask_one):
        assert self.reason(ask_one, new={"previous_allocation": "a"}, failed=True) == "lost"

    @pytest.mark.parametrize("old", [{"desired_migrate": True}, {"job_version": 0}, {"desired_description": None, "desired_migrate": True}])
    def test_one_that_may_have_been_replaced_before_gives_no_reason(self, ask_one, old):
        new = {"previous_allocation": "a", "job_version": 1}
        assert ask_one(pair(self.LOST | {"job_version": 1} | old, new), "reschedules")["reason"] is None


class TestDisconnected:
    """The tracker shows that the allocation was replaced while its node was disconnected. Later the node came back."""

    def reason(self, ask_one, **old):
        history = History()
        history.allocation("a", **({"next_allocation": "b", "client_status": "running", "desired_status": "run"} | old))
        history.state(events("Received, Task Setup, Started"), alloc="a", failed=False)
        history.allocation("b", created_at_ns=ns(100), previous_allocation="a", rescheduled_from_alloc_id="a")
        return ask_one(history, "reschedules")["reason"]

    def test_it_keeps_running(self, ask_one):
        assert self.reason(ask_one) == "lost"

    def test_it_is_no_longer_needed(self, ask_one):
        why = "alloc not needed due to disconnected client reconnect"
        assert self.reason(ask_one, desired_status="stop", desired_description=why) == "lost"

    @pytest.mark.parametrize("ended, reason", [(50, "rescheduled"), (150, None)])
    def test_it_failed_when_it_was_back(self, ask_one, ended, reason):
        history = pair({"client_status": "failed"}, {"previous_allocation": "a", "rescheduled_from_alloc_id": "a"}, old_ended=ended)
        assert ask_one(history, "reschedules")["reason"] == reason

    def test_one_last_seen_before_its_replacement_gives_no_reason(self, ask_one):
        assert self.reason(ask_one, next_allocation=None) is None


class TestRecovery:
    def recovery(self, ask_one, **columns):
        return ask_one(pair(new={"previous_allocation": "a"}, **columns), "reschedules")["recovery_seconds"]

    def test_from_the_end_of_the_old_one(self, ask_one):
        assert self.recovery(ask_one) == 52

    def test_from_its_own_creation_when_the_old_one_ended_later(self, ask_one):
        assert self.recovery(ask_one, old_ended=500) == 2

    def test_from_its_own_creation_when_the_old_end_is_unknown(self, ask_one):
        assert self.recovery(ask_one, old_ended=None) == 2

    def test_none_before_a_start(self, ask_one):
        assert self.recovery(ask_one, shown=[event("Received", 100)]) is None

    def test_the_first_of_its_tasks_counts(self, ask_one):
        history = pair(new={"previous_allocation": "a"})
        history.state([event("Received", 100.5), event("Task Setup", 100.75), event("Started", 101)], task="init", alloc="b")
        assert ask_one(history, "reschedules")["recovery_seconds"] == 51

    def test_none_when_a_first_start_is_not_in_view(self, ask_one):
        history = pair(new={"previous_allocation": "a"})
        history.state(events("Terminated 1, Restarting, Started" + ", Signaling" * 7, start=200), task="init", alloc="b", restarts=5)
        assert ask_one(history, "reschedules")["recovery_seconds"] is None


def test_the_period_cuts_by_replacement(ask):
    history = pair(new={"previous_allocation": "a"})
    assert len(ask(history, "reschedules", period(100, 101))) == 1
    assert ask(history, "reschedules", period(0, 100)) == []
