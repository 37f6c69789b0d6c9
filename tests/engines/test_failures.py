"""`failures` and its helpers `timeline` and `endings`: every event sequence that Nomad is known to write."""

import pytest

from history import History, event, events, ns, period, time, watched

PATH = "Received, Task Setup, Started"


@pytest.fixture
def classes(ask):
    """Returns the classes of a task's failures, in order; `+` marks a failure after which Nomad gave up."""
    def classes(text, **allocation):
        shown = events(text) if isinstance(text, str) else text
        return [row["class"] + "+" * row["gave_up"] for row in ask(watched(shown, **allocation), "failures")]
    return classes


def test_none(ask):
    assert ask(History(), "failures") == []


def test_one(ask_one):
    told = watched(events(f"{PATH}, Terminated 3/9, Restarting, Started"), job_type="service", node_id="n1")
    row = ask_one(told, "failures")
    assert (row["task"], row["alloc_id"], row["job_type"], row["node_id"]) == ("app", "a", "service", "n1")
    assert (row["attempt"], row["failed_at"], row["failed_at_ns"], row["event_type"]) == (1, time(3), ns(3), "Terminated")
    assert (row["class"], row["exit_code"], row["signal"], row["gave_up"], row["suspected_oom"]) == ("signal", 3, 9, False, True)


def test_all_null(ask):
    told = History()
    told.allocation()
    told.state([event(None, None), event("Terminated", None)])
    assert ask(told, "failures") == []


class TestClasses:
    @pytest.mark.parametrize("end, expected", [
        ("Terminated 0", []),
        ("Terminated 1", ["exit"]),
        ("Terminated -1", ["exit"]),
        ("Terminated 4294967295", ["exit"]),
        ("Terminated 0/15", ["signal"]),
        ("Terminated 137/9", ["signal"]),
        ("Terminated 137 oom", ["oom"]),
        ("Terminated 137: OOM Killed", ["oom"]),
        ("Terminated 0: the driver lost it", ["driver"]),
        ("Terminated 1: boom", ["exit"]),
        ("Terminated", []),
        ("Driver Failure", ["driver"]),
        ("Failed Restoring Task", ["restore"]),
        ("Alloc Unhealthy", []),
        ("Alloc Unhealthy!", []),
        ("Sibling Task Failed", []),
        ("Leader Task Dead", []),
        ("Main Tasks Dead", []),
        ("Disk Resources Exceeded!", ["unknown"]),
        ("Plugin became unhealthy", []),
    ])
    def test_event_that_ends_a_run(self, classes, end, expected):
        assert classes(f"{PATH}, {end}") == expected

    @pytest.mark.parametrize("text, expected", [
        ("Received, Task Setup, Downloading Artifacts, Failed Artifact Download, Restarting", ["artifact"]),
        ("Received, Failed Validation!, Not Restarting!", ["validation+"]),
        ("Received, Setup Failure!: failed to setup alloc", ["hook"]),
        ("Received, Task Setup, Task hook failed, Restarting", ["hook"]),
        ("Received, Task Setup, Killing!: Template failed: kv.block(x)", ["template"]),
        ("Received, Task Setup, Killing!: Vault: failed to renew vault token", ["hook"]),
        ("Received, Task Setup, Killing!: Identity[x]: could not", ["hook"]),
        ("Received, Task Setup, Killing!: for some other reason", ["unknown"]),
        ("Received, Task Setup, Driver: Downloading image, Driver Failure, Not Restarting!", ["driver+"]),
    ])
    def test_event_that_ends_a_setup(self, classes, text, expected):
        assert classes(text) == expected

    def test_a_hook_that_fails_after_the_start_is_not_a_failure(self, classes):
        assert classes(f"{PATH}, Task hook failed, Task hook message") == []

    def test_a_hook_that_fails_before_a_later_start_is(self, classes):
        assert classes(f"{PATH}, Received, Task Setup, Task hook failed") == ["hook"]

    def test_an_exit_message_from_before_nomad_had_details(self, classes):
        assert classes([event("Terminated", 1, exit_code=0, signal=0, details='{"message":"OOM Killed"}')]) == ["oom"]
        assert classes([event("Terminated", 1, exit_code=0, signal=0, details='{"message":"gone"}')]) == ["driver"]
        assert classes([event("Terminated", 1, exit_code=0, signal=0, details='{"exit_code":"0","exit_message":""}')]) == []

    def test_a_quoted_exit_message_in_another_value_is_none(self, classes):
        details = '{"exit_code":"1","exit_message":"x \\\\"exit_message\\\\":\\\\"OOM Killed\\\\""}'
        assert classes([event("Terminated", 1, exit_code=1, signal=0, details=details)]) == ["exit"]

    @pytest.mark.parametrize("end, suspected", [
        ("Terminated 137", True), ("Terminated 137/9", True), ("Terminated 0/9", True), ("Terminated 137 oom", False),
        ("Terminated 1", False), ("Terminated 143/15", False)])
    def test_suspected_out_of_memory(self, ask_one, end, suspected):
        assert ask_one(watched(events(f"{PATH}, {end}")), "failures")["suspected_oom"] is suspected


class TestGaveUp:
    @pytest.mark.parametrize("text, expected", [
        (f"{PATH}, Terminated 1, Not Restarting!", ["exit+"]),
        (f"{PATH}, Terminated 1, Restarting, Started, Terminated 2, Not Restarting!", ["exit", "exit+"]),
        ("Received, Task Setup, Driver Failure, Not Restarting!", ["driver+"]),
        ("Received, Task Setup, Task hook failed, Driver Failure, Not Restarting!", ["hook", "driver+"]),
        # No event explains the failure. Either the exit was clean and the policy allows no restart, or the event that
        # ended the run was evicted.
        (f"{PATH}, Terminated 0, Not Restarting!", ["unknown+"]),
        (f"{PATH}, Not Restarting!, Not Restarting!", ["unknown+"]),
        # The failure of another run does not explain this one.
        (f"{PATH}, Terminated 1, Restarting, Not Restarting!", ["exit", "unknown+"]),
    ])
    def test_not_restarting(self, classes, text, expected):
        assert classes(text) == expected


class TestKills:
    @pytest.mark.parametrize("text, expected", [
        # stopped
        (f"{PATH}, Killing, Terminated 137/9, Killed", []),
        (f"{PATH}, Waiting for shutdown delay, Killing, Terminated 1, Killed", []),
        (f"{PATH}, Killing, Waiting for shutdown delay, Terminated 1, Killed", []),
        # stopped while the task is not running
        ("Received, Killing", []),
        (f"{PATH}, Terminated 1, Restarting, Killing", ["exit"]),
        # two kills, with Main Tasks Dead before or between them
        (f"{PATH}, Main Tasks Dead, Killing, Killing, Terminated 137/9, Killed", []),
        (f"{PATH}, Killing, Main Tasks Dead, Killing, Terminated 1, Killed", []),
        # stopped during a slow start, which still completes
        (f"{PATH}, Terminated 1, Restarting, Killing, Started, Terminated 70, Killed", ["exit"]),
        # a lost allocation whose client came back, without a Killed event
        (f"{PATH}, Killing, Terminated -1: executor: error waiting on process", []),
        # killed because a sibling task failed, or because the leader task ended
        (f"{PATH}, Sibling Task Failed, Killing, Terminated 143/15, Killed", []),
        ("Received, Sibling Task Failed, Killing", []),
        (f"{PATH}, Leader Task Dead, Killing, Terminated 1, Killed", []),
        # the kill fails the task itself
        (f"{PATH}, Killing!: Template failed: x, Terminated 1, Killed", ["template"]),
        (f"{PATH}, Killing: allocation exceeded max_run_duration, Terminated 143, Killed", ["timeout"]),
        (f"{PATH}, Killing: allocation exceeded max_run_duration, Killing: allocation exceeded max_run_duration, Terminated 143, Killed", ["timeout"]),
        (f"{PATH}, Killing: Sent interrupt, Killing!: Vault: token, Terminated 1", ["hook"]),
        # a start that fails while a kill is under way
        ("Received, Task Setup, Killing, Driver Failure", []),
        ("Received, Task Setup, Killing, Task hook failed, Not Restarting!", []),
        # Nomad before 1.10.3 also kills dead tasks
        (f"{PATH}, Terminated 1, Not Restarting!, Killing", ["exit+"]),
        (f"{PATH}, Killing, Terminated 1, Killed, Killing", []),
        (f"{PATH}, Terminated 1, Not Restarting!, Killing, Restart Signaled: User requested all tasks to restart, Restarting, Started, Terminated 2", ["exit+", "exit"]),
        # the task is set up again after the kill, so its later end is a failure
        (f"{PATH}, Killing, Received, Task Setup, Started, Terminated 1", ["exit"]),
        (f"{PATH}, Killing, Task Setup, Driver Failure", ["driver"]),
    ])
    def test_kill(self, classes, text, expected):
        assert classes(text) == expected

    def test_under_way(self, ask):
        rows = ask(watched(events(f"{PATH}, Killing, Killing, Terminated 1, Killed, Killing")), "timeline")
        rows.sort(key=lambda row: row["event_no"])
        assert [row["kill_under_way"] for row in rows] == [False, False, False, False, True, True, False, False]
        assert [row["is_void"] for row in rows] == [False] * 7 + [True]

    def test_a_stop_of_a_reconnected_allocation(self, classes):
        assert classes(f"{PATH}, Reconnected, Terminated 1", desired_status="stop") == []
        assert classes(f"{PATH}, Reconnected, Terminated 1", desired_status="run") == ["exit"]
        assert classes(f"{PATH}, Reconnected, Alloc Unhealthy, Terminated 1", desired_status="stop") == ["exit"]

    @pytest.mark.parametrize("decision, failure", [("Restarting", "exit"), ("Not Restarting", "exit+")])
    def test_a_task_considered_for_restart_after_a_reconnect_was_not_stopped(self, classes, decision, failure):
        assert classes(f"{PATH}, Reconnected, Terminated 1, {decision}", desired_status="stop") == [failure]

    def test_a_stop_of_a_reconnected_allocation_while_it_starts(self, classes):
        began = f"{PATH}, Terminated 1, Restarting, Reconnected, Started"
        assert classes(f"{began}, Terminated -1: context canceled", desired_status="stop") == ["exit"]
        assert classes(f"{began}, Terminated -1: context canceled", desired_status="run") == ["exit", "exit"]
        # The task may have been stopped long after its failure.
        assert classes(f"{began}, Terminated 1", desired_status="stop") == ["exit", "exit"]
        assert classes(f"{began}, Terminated", desired_status="stop") == ["exit"]


class TestRestartSignals:
    @pytest.mark.parametrize("text, expected", [
        (f"{PATH}, Restart Signaled: healthcheck: check unhealthy, Terminated 143/15, Restarting", ["health"]),
        (f"{PATH}, Restart Signaled: healthcheck: check unhealthy, Terminated 0, Restarting", ["health"]),
        (f"{PATH}, Restart Signaled: healthcheck: check unhealthy, Terminated 137 oom, Restarting", ["oom"]),
        (f"{PATH}, Restart Signaled: User requested task to restart, Terminated 1, Restarting", []),
        (f"{PATH}, Restart Signaled, Terminated 137/9, Restarting", []),
        # only the first Terminated after a request belongs to the request
        (f"{PATH}, Restart Signaled, Terminated 1, Started, Terminated 2, Restarting", ["exit"]),
        # the last request counts
        (f"{PATH}, Restart Signaled: healthcheck: x, Restart Signaled, Terminated 1, Restarting", []),
        # a request in another run does not count
        (f"{PATH}, Restart Signaled, Restarting, Started, Terminated 1, Restarting", ["exit"]),
        # a signal is not a restart
        (f"{PATH}, Signaling, Terminated 0/1, Restarting", ["signal"]),
    ])
    def test_restart_signal(self, classes, text, expected):
        assert classes(text) == expected


class TestTimeline:
    def order(self, ask, told):
        return [row["event_type"] for row in sorted(ask(told, "timeline"), key=lambda row: row["event_no"])]

    def test_events_with_equal_times_are_ordered_by_cause(self, ask):
        kinds = ["Received", "Task Setup", "Alloc Unhealthy", "Driver", "Started", "Restart Signaled", "Killing", "Terminated", "Killed",
                 "Not Restarting"]
        told = watched([event(kind, 1) for kind in reversed(kinds)])
        assert self.order(ask, told) == kinds

    def test_attempts_take_precedence_over_times(self, ask):
        told = watched([event("Received", 5), event("Started", 6), event("Restarting", 7), event("Started", 2)])
        assert self.order(ask, told) == ["Received", "Started", "Restarting", "Started"]

    def test_without_a_counter_time_alone_orders(self, ask):
        told = History()
        told.allocation()
        told.state(events(f"{PATH}, Terminated 1, Restarting, Started"), restarts=None)
        rows = sorted(ask(told, "timeline"), key=lambda row: row["event_no"])
        assert [row["attempt"] for row in rows] == [None] * 6
        assert [row["run"] for row in rows] == [1, 1, 1, 1, 1, 2]

    def test_an_exact_event_takes_precedence_over_a_rounded_one(self, ask):
        told = History()
        told.allocation()
        shown = [e | {"event_at_ns": e["event_at_ns"] + 57} for e in events(f"{PATH}, Terminated 1")]
        told.state(shown, index=10)
        told.state(shown + [event("Restarting", 9)], index=20, restarts=1, times_rounded=True)
        assert self.order(ask, told) == ["Received", "Task Setup", "Started", "Terminated", "Restarting"]
        assert len(ask(told, "failures")) == 1


class TestPeriod:
    def test_since_is_inclusive_and_until_exclusive(self, ask):
        told = watched(events(f"{PATH}, Terminated 1, Restarting, Started, Terminated 2, Restarting, Started, Terminated 3"))
        assert [row["exit_code"] for row in ask(told, "failures", period(6, 9))] == [2]

    def test_events_outside_the_period_still_explain(self, ask):
        told = watched(events(f"{PATH}, Killing, Terminated 1"))
        assert ask(told, "failures", period(4, 9)) == []


class TestSummary:
    @pytest.fixture
    def told(self):
        told = History()
        for alloc, task, ends in ("a", "app", [1, 1, 2]), ("b", "app", [2]), ("b", "log", [1]):
            told.allocation(alloc)
            told.watch(events(", ".join([PATH] + [f"Terminated {end}, Restarting, Started" for end in ends])), task=task, alloc=alloc)
        return told

    def test_none(self, ask):
        assert ask(History(), "failure_summary") == []

    def test_counts(self, ask, told):
        app, log = ask(told, "failure_summary")
        assert (app["task"], app["class"], app["failures"], app["tasks"], app["allocations"]) == ("app", "exit", 4, 2, 2)
        assert (log["task"], log["failures"], log["tasks"], log["allocations"]) == ("log", 1, 1, 1)
        assert (app["first_at"], app["first_at_ns"], app["last_at"]) == (time(3), ns(3), time(9))

    def test_most_frequent_exit_code_or_the_smallest_of_equally_frequent_ones(self, ask, told):
        app, log = ask(told, "failure_summary")
        assert (app["exit_code"], log["exit_code"]) == (1, 1)  # the codes 1 and 2 occur twice each

    def test_exit_code_and_message_are_those_of_one_pair(self, ask_one):
        codes = [(1, "a"), (1, "b"), (1, "c"), (3, "d"), (3, "d")]
        shown = [event("Terminated", n, exit_code=code, signal=0, message=message) for n, (code, message) in enumerate(codes)]
        row = ask_one(watched([event("Received", -2), event("Started", -1)] + shown), "failure_summary")
        assert (row["exit_code"], row["message"], row["pair_share"]) == (3, "d", 0.4)

    def test_a_pair_may_have_no_message(self, ask_one):
        shown = [event("Driver Failure", n, message=message) for n, message in enumerate([None, None, None, "b", "a", "b"])]
        assert ask_one(watched(shown), "failure_summary")["message"] is None
        assert ask_one(watched(shown[3:]), "failure_summary")["message"] == "b"
        assert ask_one(watched(shown[:3]), "failure_summary")["message"] is None

    def test_null_keys_are_a_group_too(self, ask_one):
        told = History()
        told.allocation(job_id=None, task_group=None)
        told.state(events(f"{PATH}, Terminated 1, Restarting, Started, Terminated 1"), restarts=1, job_id=None, task_group=None)
        row = ask_one(told, "failure_summary")
        assert (row["job_id"], row["task_group"], row["failures"], row["exit_code"]) == (None, None, 2, 1)


class TestWhatWasLostBefore:
    """Nomad keeps ten events. The event that explains the end of a task may be older than these ten."""
    ON = ", Started, Terminated 1, Restarting: Restart within policy, Started, Terminated 1, Restarting: Restart within policy, Started"

    @pytest.fixture
    def classes_of_ten(self, ask):
        """Returns the classes of a task's failures if only its last ten events were seen."""
        def classes(text):
            history = History()
            history.allocation()
            shown = events(text)
            history.state(shown, restarts=sum(e["event_type"] == "Restarting" for e in shown), modified_at_ns=ns(99))
            return [row["class"] for row in ask(history, "failures")]
        return classes

    def test_a_requested_restart_is_not_a_failure_though_its_signal_is_lost(self, classes_of_ten):
        text = f"{PATH}, Restart Signaled: User requested, Terminated 143, Restarting{self.ON}, Signaling"
        assert classes_of_ten(text) == ["exit", "exit"]

    def test_a_restart_within_the_policy_may_come_from_a_health_check(self, classes_of_ten):
        text = f"{PATH}, Terminated 143, Restarting: Restart within policy{self.ON}, Signaling"
        assert classes_of_ten(text) == ["unknown", "exit", "exit"]

    def test_it_keeps_its_exit_code_and_is_not_a_suspected_oom(self, ask):
        history = History()
        history.allocation()
        history.state(events(f"{PATH}, Restart Signaled: healthcheck: x, Alloc Unhealthy, Terminated 137/9, Restarting: x{self.ON}"), restarts=3)
        row = ask(history, "failures")[0]
        assert (row["class"], row["exit_code"], row["signal"], row["suspected_oom"]) == ("unknown", 137, 9, False)

    def test_an_oom_kill_is_known(self, classes_of_ten):
        text = f"{PATH}, Terminated 137 oom, Restarting: Restart within policy{self.ON}, Signaling"
        assert classes_of_ten(text) == ["oom", "exit", "exit"]

    @pytest.mark.parametrize("message, kind", [
        ("consul-template: x", "template"), ("Template: x", "template"), ("vault: x", "hook"), ("Vault: x", "hook"), ("other: x", "unknown")])
    def test_old_spellings(self, classes_of_ten, message, kind):
        assert classes_of_ten(f"{PATH}, Killing!: {message}, Terminated 0, Killed") == [kind]

    def test_a_hook_after_a_lost_start_is_not_a_failure(self, classes_of_ten):
        text = f"{PATH}, Signaling, Task hook failed" + ", Signaling" * 9
        assert classes_of_ten(text) == []

    def test_a_hook_that_restarted_the_task_is_a_failure(self, classes_of_ten):
        text = f"{PATH}, Terminated 1, Restarting, Task hook failed, Restarting, Started" + ", Signaling" * 7
        assert classes_of_ten(text) == ["hook"]
