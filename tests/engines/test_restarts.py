"""`restart_log` and `restarts`."""

import pytest

from engines import grouped_by
from history import HOUR, History, event, events, ns, period, time, watched

PATH = "Received, Task Setup, Started"
CAUSES = ["failure", "clean_exit", "oom", "start_failure", "user", "change", "health", "unknown"]


def causes(row):
    return {cause: row["cause_" + cause] for cause in CAUSES if row["cause_" + cause]}


class TestCauses:
    @pytest.mark.parametrize("text, expected", [
        (f"{PATH}, Terminated 1, Restarting", {"failure": 1}),
        (f"{PATH}, Terminated 137/9, Restarting", {"failure": 1}),
        (f"{PATH}, Terminated 0: the driver lost it, Restarting", {"failure": 1}),
        (f"{PATH}, Failed Restoring Task, Restarting", {"failure": 1}),
        (f"{PATH}, Terminated 0, Restarting", {"clean_exit": 1}),
        (f"{PATH}, Terminated 137 oom, Restarting", {"oom": 1}),
        ("Received, Driver Failure, Restarting", {"start_failure": 1}),
        ("Received, Task Setup, Downloading Artifacts, Failed Artifact Download, Restarting", {"start_failure": 1}),
        ("Received, Failed Validation, Restarting", {"start_failure": 1}),
        ("Received, Task Setup, Task hook failed, Restarting", {"start_failure": 1}),
        (f"{PATH}, Restart Signaled: User requested task to restart, Terminated 1, Restarting", {"user": 1}),
        (f"{PATH}, Restart Signaled: User requested restart, Terminated 137 oom, Restarting", {"user": 1}),
        (f"{PATH}, Restart Signaled, Terminated 0, Restarting", {"change": 1}),
        (f"{PATH}, Restart Signaled: healthcheck: check x unhealthy, Terminated 130/2, Restarting", {"health": 1}),
        # a requested restart during the delay, when no process runs that could terminate
        (f"{PATH}, Terminated 1, Restarting, Restart Signaled: User requested all tasks to restart, Restarting", {"failure": 1, "user": 1}),
        # of the events of the same run that can be the cause, the newest counts
        (f"{PATH}, Restart Signaled, Driver Failure, Restarting", {"start_failure": 1}),
        (f"{PATH}, Terminated 1, Restarting, Restarting", {"failure": 1, "unknown": 1}),
        (f"{PATH}, Signaling, Terminated 0/1, Restarting", {"failure": 1}),
        (f"{PATH}, Alloc Unhealthy, Terminated 0, Restarting", {"clean_exit": 1}),
        ("Restarting, Started", {"unknown": 1}),
        # a plugin supervisor writes a second Restarting, before the Terminated
        (f"{PATH}, Restarting, Terminated 1, Restarting", {"unknown": 1, "failure": 1}),
        (f"{PATH}, Terminated 1, Restarting, Started, Terminated 0, Restarting, Driver Failure, Restarting",
         {"failure": 1, "clean_exit": 1, "start_failure": 1}),
    ])
    def test_cause(self, ask_one, text, expected):
        row = ask_one(watched(events(text)), "restarts")
        assert causes(row) == expected
        assert row["restarts_seen"] == sum(expected.values()) == row["restarts"]


class TestCounts:
    def test_none(self, ask):
        assert ask(History(), "restarts") == []

    def test_one_task_that_was_never_restarted(self, ask_one):
        row = ask_one(watched(events(PATH)), "restarts")
        assert (row["allocations"], row["tasks"], row["restarts"], row["restarts_seen"], row["lost_restarts"]) == (1, 1, 0, 0, 0)
        assert (row["uncounted_tasks"], causes(row), row["last_restart_at"]) == (0, {}, None)

    def test_an_allocation_without_known_tasks_is_left_out(self, ask):
        history = History()
        history.allocation(client_status="pending")
        history.state(task=None, state=None, failed=None, restarts=None)
        assert ask(history, "restarts") == []

    def test_lost_restarts_count(self, ask_one):
        history = History()
        history.allocation()
        history.state(events("Started, Terminated 1, Restarting, Started"), restarts=7, modified_at_ns=ns(50))
        row = ask_one(history, "restarts")
        assert (row["restarts"], row["restarts_seen"], row["lost_restarts"], causes(row)) == (7, 1, 6, {"failure": 1})
        assert (row["last_restart_at"], row["last_restart_at_ns"]) == (time(2), ns(2))

    def test_tasks_are_summed_over_allocations(self, ask_one):
        history = History()
        for alloc, restarts in ("a", 2), ("b", 3):
            history.allocation(alloc)
            history.watch(events(", ".join([PATH] + ["Terminated 1, Restarting, Started"] * restarts)), alloc=alloc)
        row = ask_one(history, "restarts")
        assert (row["allocations"], row["tasks"], row["restarts"], row["cause_failure"]) == (2, 2, 5, 5)

    def test_one_allocation_id_in_two_regions(self, ask):
        history = History()
        for region in "eu", "us":
            history.allocation(region=region)
            history.watch(events(f"{PATH}, Terminated 1, Restarting"), region=region)
        rows = ask(history, "restarts", grouped_by("restarts", "job_id"))
        assert [(row["job_id"], row["allocations"], row["tasks"], row["restarts"]) for row in rows] == [("shop", 2, 2, 2)]

    def test_a_counter_without_a_window_counts(self, ask_one):
        history = History()
        history.allocation()
        history.state(restarts=4, index=10, modified_at_ns=ns(40))
        history.state(restarts=5, index=20, modified_at_ns=ns(50))
        row = ask_one(history, "restarts")
        assert (row["restarts"], row["restarts_seen"], row["lost_restarts"], row["last_restart_at"]) == (5, 0, 5, time(50))

    def test_a_client_that_lost_its_state_leaves_its_task_uncounted(self, ask_one):
        history = History()
        history.allocation()
        history.state(events(f"{PATH}, Terminated 1, Restarting, Started, Terminated 1, Restarting"), restarts=2, index=10)
        history.state(events("Received, Started, Terminated 1, Restarting", start=100), restarts=1, index=20)
        row = ask_one(history, "restarts")
        assert (row["restarts"], row["restarts_seen"], row["lost_restarts"], row["uncounted_tasks"]) == (3, 3, None, 1)
        assert causes(row) == {"failure": 3}

    def test_uncounted_tasks_beside_counted_ones(self, ask_one):
        history = History()
        history.allocation("a")
        history.state(events(PATH), restarts=None, alloc="a")
        history.allocation("b")
        history.state(events("Restarting, Started"), restarts=3, alloc="b")
        row = ask_one(history, "restarts")
        assert (row["restarts"], row["lost_restarts"], row["uncounted_tasks"], row["tasks"]) == (3, 2, 1, 2)

    def test_without_any_counter_the_number_is_unknown(self, ask_one):
        history = History()
        history.allocation()
        history.state(events(f"{PATH}, Terminated 1, Restarting"), restarts=None)
        row = ask_one(history, "restarts")
        assert (row["restarts"], row["lost_restarts"], row["uncounted_tasks"]) == (None, None, 1)
        assert (row["restarts_seen"], causes(row), row["restarts_per_task_day"]) == (1, {"failure": 1}, None)


class TestPeriod:
    def lost(self):
        """Three restarts: one seen at 1000 s, and two lost before 2900 s. A version of 3000 s counts all three."""
        history = History()
        history.allocation(created_at_ns=ns(0))
        history.state(events(f"{PATH}, Terminated 1", step=1) + [event("Restarting", 1000)], restarts=1, index=10, modified_at_ns=ns(1001))
        history.state(events("Started", start=2900), restarts=3, index=20, modified_at_ns=ns(3000))
        history.sighting(0)
        history.listing(3500)
        return history

    @pytest.mark.parametrize("since, until, restarts, seen, lost", [
        (0, 9000, 3, 1, 2),
        (0, 1000, 0, 0, 0),
        (0, 1001, 1, 1, 0),
        (1000, 2900, 1, 1, 0),
        (1000, 3000, 3, 1, 2),
        (1001, 3001, 2, 0, 2),
        (3001, 9000, 0, 0, 0),
    ])
    def test_each_restart_falls_on_its_date(self, ask_one, since, until, restarts, seen, lost):
        row = ask_one(self.lost(), "restarts", period(since, until))
        assert (row["restarts"], row["restarts_seen"], row["lost_restarts"]) == (restarts, seen, lost)

    def test_task_days_are_those_within(self, ask_one):
        row = ask_one(self.lost(), "restarts", period(-100, 900))
        assert row["task_days"] == pytest.approx(900 / 86400)
        row = ask_one(self.lost(), "restarts", period(500, 9999))
        assert row["task_days"] == pytest.approx(3000 / 86400)

    @pytest.mark.parametrize("seconds, rate", [(3599, None), (3600, 72), (7200, 36)])
    def test_a_rate_needs_an_hour(self, ask_one, seconds, rate):
        history = self.lost()
        history.listing(seconds)
        history.sighting(seconds)
        assert ask_one(history, "restarts")["restarts_per_task_day"] == (rate and pytest.approx(rate))

    def test_a_task_that_lived_outside_is_left_out(self, ask):
        assert ask(self.lost(), "restarts", period(3501, 9999)) == []
        assert ask(self.lost(), "restarts", period(-100, 0)) == []

    def test_a_restart_without_a_date_counts_before_any_period(self, ask_one):
        history = History()
        history.allocation()
        history.state(events("Started", start=5), restarts=2, modified_at_ns=None)
        assert ask_one(history, "restarts")["restarts"] == 2


class TestTaskDays:
    def days(self, ask_one, **state):
        allocation = state.pop("allocation", {})
        history = History()
        history.allocation(**allocation)
        history.state(events(PATH), **state)
        history.sighting(10 * HOUR)
        return ask_one(history, "restarts")["task_days"] * 86400

    def test_until_its_end(self, ask_one):
        assert self.days(ask_one, state="dead", finished_at_ns=ns(60)) == pytest.approx(60)

    def test_until_it_was_last_seen(self, ask_one):
        assert self.days(ask_one) == pytest.approx(10 * HOUR)

    def test_an_end_before_another_start_does_not_count(self, ask_one):
        assert self.days(ask_one, state="running", finished_at_ns=ns(60)) == pytest.approx(10 * HOUR)

    def partial(self):
        """A service, and a partial document half an hour after its creation, which may or may not show the service."""
        history = History()
        history.allocation()
        history.state(events(PATH), restarts=3)
        history.sighting(0)
        history.listing(1800, full=False)
        return history

    def test_not_known_where_the_last_sighting_is_not(self, ask_one):
        row = ask_one(self.partial(), "restarts")
        assert (row["restarts"], row["task_days"], row["restarts_per_task_day"]) == (3, None, None)

    def test_known_of_a_period_that_ends_before_the_last_sure_sighting(self, ask_one):
        history = self.partial()
        history.listing(600)
        assert ask_one(history, "restarts", period(0, 600))["task_days"] == pytest.approx(600 / 86400)
        assert ask_one(history, "restarts", period(0, 601))["task_days"] is None

    def test_a_task_that_may_live_in_the_period_is_counted_in(self, ask_one):
        row = ask_one(self.partial(), "restarts", period(900, 9999))
        assert (row["tasks"], row["restarts"], row["task_days"]) == (1, 0, None)

    def test_not_known_where_one_of_several_is_not(self, ask_one):
        history = self.partial()
        history.allocation("b", client_status="complete")
        history.state(events(PATH), alloc="b", state="dead", finished_at_ns=ns(60))
        assert ask_one(history, "restarts")["task_days"] is None

    def test_not_known_without_a_creation(self, ask_one):
        assert ask_one(watched(events(PATH), created_at_ns=None), "restarts")["task_days"] is None

    def test_clocks_that_disagree_give_no_negative_time(self, ask_one):
        assert self.days(ask_one, state="dead", finished_at_ns=ns(-5)) == 0

    def test_centuries_do_not_overflow(self, ask_one):
        history = History()
        for number in range(400):
            history.allocation(f"a{number}", created_at_ns=ns(-365 * 86400))
            history.state(events(PATH), alloc=f"a{number}", state="dead", finished_at_ns=ns(0))
        assert ask_one(history, "restarts")["task_days"] == 400 * 365


class TestDatesOfLostRestarts:
    """A lost restart has the earliest of three times: the time of the version that counts it, the last restart of that
    version, and the first event of a later attempt."""

    DAY = 86400

    def lost(self, ask, history):
        rows = [row for row in ask(history, "restart_log") if not row["is_seen"]]
        assert [row["restarted_at"] for row in rows] == [time((row["restarted_at_ns"] - ns(0)) / 10**9) for row in rows]
        return [((row["restarted_at_ns"] - ns(0)) / 10**9, row["number"]) for row in rows]

    def test_a_version_written_long_after_is_ignored(self, ask):
        history = History()
        history.allocation(created_at_ns=ns(-90 * self.DAY))
        old = events("Started, Terminated 1, Restarting, Started", start=-89 * self.DAY)
        history.state(old, restarts=20, last_restart_at_ns=ns(-89 * self.DAY + 2), modified_at_ns=ns(0))
        assert self.lost(ask, history) == [(-89 * self.DAY, 19)]

    def test_the_last_restart_counts_without_a_window(self, ask):
        history = History()
        history.allocation(created_at_ns=ns(-self.DAY))
        history.state(restarts=20, last_restart_at_ns=ns(-3600), modified_at_ns=ns(0))
        assert self.lost(ask, history) == [(-3600, 20)]

    @pytest.mark.parametrize("client", [-7000, 500])
    def test_a_client_time_outside_the_two_versions_does_not_count(self, ask, client):
        history = History()
        history.allocation(created_at_ns=ns(-self.DAY))
        history.state(restarts=1, index=10, modified_at_ns=ns(-6000), last_restart_at_ns=ns(-6001))
        history.state(restarts=4, index=20, modified_at_ns=ns(0), last_restart_at_ns=ns(client))
        assert self.lost(ask, history) == [(-6001, 1), (0, 3)]

    def test_those_of_a_new_allocation_happened_after_its_creation(self, ask):
        history = History()
        history.allocation(created_at_ns=ns(-100))
        history.state(restarts=4, modified_at_ns=ns(0), last_restart_at_ns=ns(-200))
        assert self.lost(ask, history) == [(0, 4)]
        (row,) = ask(history, "restart_log")
        assert row["not_before_ns"] == ns(-100)


class TestLog:
    def test_numbers_sum_to_the_counter(self, ask):
        history = History()
        history.allocation()
        crashes = ", ".join([PATH] + ["Terminated 1, Restarting, Started"] * 12)
        shown = events(crashes)
        for index, restarts in (10, 1), (20, 6), (30, 12):
            history.state(shown[:3 + 3 * restarts], restarts=restarts, index=index, modified_at_ns=ns(index))
        rows = ask(history, "restart_log")
        assert sum(row["number"] for row in rows) == 12
        assert sorted(row["attempt"] for row in rows if row["is_seen"]) == [1, 4, 5, 6, 10, 11, 12]
        assert [(row["restarted_at"], row["number"], row["cause"]) for row in sorted(rows, key=lambda row: row["restarted_at"]) if not row["is_seen"]] == [
            (time(11), 2, None), (time(29), 3, None)]


class TestCausesThatAreLost:
    """Nomad keeps ten events. If the first is a Terminated, the cause of its restart is known only for an OOM kill."""
    ON = ", Started, Terminated 1, Restarting: Restart within policy, Started, Terminated 1, Restarting: Restart within policy, Started, Signaling"

    @pytest.mark.parametrize("lost, end, unknown", [
        ("Restart Signaled: User requested restart", "Terminated 143, Restarting", 1),
        ("Restart Signaled: healthcheck: check x unhealthy", "Terminated 143, Restarting: Restart within policy", 1),
        ("Signaling", "Terminated 0, Restarting: Restart within policy", 1),
        ("Signaling", "Terminated 137 oom, Restarting: Restart within policy", 0),
    ])
    def test_they_are_unknown_unless_oom_killed(self, ask_one, lost, end, unknown):
        history = History()
        history.allocation()
        history.state(events(f"{PATH}, {lost}, {end}{self.ON}"), restarts=3)
        row = ask_one(history, "restarts")
        assert causes(row) == {"failure": 2} | ({"unknown": 1} if unknown else {"oom": 1})
