"""`recovered_events`: which log lines report events that no other source shows, and how views use these events."""

from history import History, event, events, ns, watched


def line(kind, seconds, form="text", **columns):
    """One line of a log about the task `app` of allocation `a`."""
    precision = 1_000 if form.startswith("json") else 1_000_000
    at = ns(seconds)
    return {"region": "", "alloc_id": "a", "task": "app", "logged_at_ns": at - at % precision, "precision_ns": precision,
            "form": form, "event_type": kind, "ordinal": 0, "fails_task": False, "text_hash": 1, "message": kind} | columns


def logged(history, *lines):
    for row in lines:
        history.add("log_events", row)
    return history


def found(ask, history):
    return [(row["event_type"], row["logged_at_ns"]) for row in ask(history, "recovered_events")]


def lines_of(shown, form="json"):
    """The log lines of some events, each logged a tenth of a millisecond after its event."""
    columns = ("exit_code", "signal", "start_delay_ns", "restart_reason", "fails_task")
    return [line(e["event_type"], (e["event_at_ns"] - ns(0)) / 10**9 + 0.0001, form,
                 **{name: e[name] for name in columns if name in e}) for e in shown]


def listed():
    history = History()
    history.allocation()
    return history


# Twelve events: three runs that end by themselves, and the start of a fourth. A window has the last ten events.
LOOP = events("Received, Task Setup, Started, Terminated 1, Restarting, Started, Terminated 2, Restarting, Started, "
              "Terminated 3, Restarting, Started")
# Eight runs, of which seven ended. In `two_windows`, one window shows the first run, and the other the last runs.
LONG = events("Received, Task Setup, Started, Terminated 1, Restarting, " + ", ".join(
    f"Started, Terminated {n}, Restarting" for n in range(2, 8)) + ", Started")


def two_windows():
    history = listed()
    history.state(LONG[:5], restarts=1, index=10)
    history.state(LONG, restarts=7, index=20)
    return history


def test_a_line_without_its_event_is_an_event_with_the_columns_of_its_allocation(ask_one):
    history = listed()
    history.state(events("Received, Started"), restarts=0)
    logged(history, line("Received", 0.0001), line("Started", 1.0001),
           line("Terminated", 2, exit_code=1, signal=9, oom_killed=True, kill_timeout_ns=None))
    row = ask_one(history, "recovered_events")
    allocation = history.rows["allocation_history"][0]
    for column in ("namespace", "job_id", "task_group", "node_id"):
        assert row[column] == allocation.get(column), column
    assert (row["event_type"], row["logged_at_ns"], row["precision_ns"]) == ("Terminated", ns(2), 1_000_000)
    assert (row["exit_code"], row["signal"], row["oom_killed"], row["fails_task"]) == (1, 9, True, False)
    assert (row["is_listed"], row["attempt"], row["after_gap"], row["in_open_gap"]) == (True, None, False, True)


def test_an_allocation_that_no_listing_shows_has_no_job(ask_one, ask):
    history = logged(History(), line("Started", 1))
    row = ask_one(history, "recovered_events")
    assert (row["namespace"], row["job_id"], row["task_group"], row["alloc_id"]) == (None, None, None, "a")
    assert (row["is_listed"], row["attempt"]) == (False, None)
    assert ask(history, "timeline") == []


def test_each_line_and_each_event_pairs_once(ask):
    history = listed()
    history.state([event("Signaling", 1.0), event("Signaling", 1.2)], restarts=0)
    logged(history, *[line("Signaling", 1 + n / 10, text_hash=n) for n in range(5)])
    # Two of the five lines report the events of the window. The window contradicts the line in between. Two remain.
    assert found(ask, history) == [("Signaling", ns(1.3)), ("Signaling", ns(1.4))]


def test_a_line_follows_its_event(ask):
    history = listed()
    history.state([event("Signaling", n) for n in range(12)], restarts=0)
    logged(history, *[line("Signaling", n + 0.0005) for n in range(2, 12)], line("Signaling", 1.5))
    assert found(ask, history) == [("Signaling", ns(1.5))]


def test_events_without_lines_take_no_line_of_a_later_event(ask):
    """A log that begins in the middle of a fast loop: the first events of the window have no line."""
    history = listed()
    history.state([event("Signaling", n * 0.6) for n in range(10)], restarts=0)
    logged(history, *[line("Signaling", n * 0.6 + 0.0005) for n in range(5, 15)])
    assert found(ask, history) == [("Signaling", ns(n * 0.6)) for n in range(10, 15)]


def test_lines_before_the_beginning_show_an_earlier_life(ask, ask_one):
    history = listed()
    history.state([event("Received", 100), event("Started", 101)], restarts=0)
    logged(history, line("Received", 1), line("Started", 2), line("Received", 100.0005), line("Started", 101.0005))
    assert found(ask, history) == [("Received", ns(1)), ("Started", ns(2))]
    row = ask_one(history, "coverage")
    assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (False, 1, None, False)


def test_lines_that_are_late_in_a_fast_loop_are_not_lines_of_the_next_event(ask):
    history = listed()
    history.state([event("Signaling", n * 0.45) for n in range(6)], restarts=0)
    logged(history, *[line("Signaling", n * 0.45 + 0.5) for n in range(6)])
    assert found(ask, history) == []


def test_lines_before_the_beginning_without_received_may_come_from_a_clock_that_was_set_back(ask, ask_one):
    history = listed()
    history.state([event("Received", 100), event("Started", 101)], restarts=0)
    logged(history, line("Received", 100.0005), line("Started", 101.0005), line("Terminated", 40, exit_code=1, signal=0))
    assert found(ask, history) == []
    row = ask_one(history, "coverage")
    assert (row["begins"], row["lost_restarts"], row["complete"]) == (True, 0, True)


def test_exit_codes_and_delays_distinguish_events(ask):
    history = listed()
    shown = [event("Terminated", 1, exit_code=1, signal=0), event("Restarting", 1.1, start_delay_ns=5)]
    history.state(shown, restarts=1)
    logged(history, line("Terminated", 1.001, exit_code=1, signal=0), line("Restarting", 1.101, start_delay_ns=5),
           line("Terminated", 1.2, exit_code=2, signal=0), line("Restarting", 1.3, start_delay_ns=6))
    assert found(ask, history) == [("Terminated", ns(1.2)), ("Restarting", ns(1.3))]


def test_without_exit_codes_and_delays_the_type_decides(ask):
    history = listed()
    history.state([event("Terminated", 1), event("Restarting", 1.1)], restarts=1)
    logged(history, line("Terminated", 1.001, exit_code=2, signal=0), line("Restarting", 1.101, start_delay_ns=6))
    assert found(ask, history) == []


def test_lines_of_several_loggers_are_one_event(ask):
    history = History()
    logged(history, line("Started", 1.0004, "json"), line("Started", 1.0014), line("Started", 1.0020, "text+location"),
           line("Signaling", 5.0004), line("Signaling", 5.0006, "text+location"), line("Signaling", 5.3, "text+location"))
    assert found(ask, history) == [("Started", ns(1.0004)), ("Signaling", ns(5)), ("Signaling", ns(5.3))]


def test_equal_lines_of_one_form_within_5_ms_count_once_unless_one_log_has_both(ask):
    history = History()
    logged(history, line("Killing", 1), line("Killing", 1.003), line("Killing", 2), line("Killing", 2, ordinal=1))
    assert found(ask, history) == [("Killing", ns(1)), ("Killing", ns(2)), ("Killing", ns(2))]


def test_a_restored_allocation_is_not_received_again(ask):
    history = listed()
    history.state(events("Received, Started"), restarts=0)
    logged(history, line("Received", 0.001), line("Started", 1.001), line("Received", 60))
    assert found(ask, history) == []
    # A Received is also ignored if a log has earlier lines of the allocation, or if a state says that the task started.
    assert found(ask, logged(History(), line("Started", 1), line("Received", 60))) == [("Started", ns(1))]
    started = History()
    started.state(restarts=0, started_at_ns=ns(5))
    assert found(ask, logged(started, line("Received", 60))) == []


def test_a_log_whose_times_do_not_fit_recovers_nothing(ask):
    for shift in (5, -0.5, 86_400):
        history = two_windows()
        logged(history, *[row | {"logged_at_ns": row["logged_at_ns"] + round(shift * 10**9)} for row in lines_of(LONG)])
        assert found(ask, history) == [], shift
        assert [row["lost_restarts"] for row in ask(history, "coverage")] == [3]


def test_windows_contradict_a_line_within_them(ask):
    history = listed()
    history.state(LOOP[:8], restarts=2)
    logged(history, *lines_of(LOOP[:8]), line("Signaling", 3.5, "json"), line("Signaling", 20, "json"))
    assert found(ask, history) == [("Signaling", ns(20))]


def test_a_log_closes_a_gap_and_finds_its_restarts(ask_one, ask):
    history = logged(two_windows(), *lines_of(LONG))
    row = ask_one(history, "coverage")
    assert (row["gaps"], row["restarts"], row["lost_restarts"], row["begins"]) == (0, 7, 0, True)
    assert row["events"] == len(LONG) and row["log_events"] == len(LONG) - 15
    # The counter proves that no Restarting is missing. Lines of other types may be missing.
    assert row["complete"] is False
    timeline = ask(history, "timeline")
    assert [e["event_type"] for e in timeline] == [e["event_type"] for e in LONG]
    assert [e["attempt"] for e in timeline] == [e["run"] for e in timeline] == [1] * 5 + [
        n for n in range(2, 8) for _ in range(3)] + [8]
    assert {e["origin"] for e in timeline[:5] + timeline[-10:]} == {"api"}
    assert {e["origin"] for e in timeline[5:-10]} == {"log"}
    assert [row["exit_code"] for row in ask(history, "failures")] == list(range(1, 8))
    assert {(row["class"], row["event_type"]) for row in ask(history, "failures")} == {("exit", "Terminated")}
    restarts = ask(history, "restart_log")
    assert [(row["is_seen"], row["cause"]) for row in restarts] == [(True, "failure")] * 7
    assert [row["origin"] for row in restarts] == ["api"] + ["log"] * 3 + ["api"] * 3
    assert [row["attempt"] for row in ask(history, "attempts")] == list(range(1, 9))
    assert [row["attempts_seen"] for row in ask(history, "task_states")] == [8]


def test_a_log_shows_the_beginning(ask_one, ask):
    history = listed()
    history.state(LOOP, restarts=3)
    without = ask_one(history, "coverage")
    assert (without["begins"], without["lost_restarts"], without["gaps"]) == (False, 0, 0)
    logged(history, *lines_of(LOOP, "text"))
    row = ask_one(history, "coverage")
    assert (row["begins"], row["lost_restarts"], row["gaps"], row["complete"]) == (True, 0, 0, False)
    start = ask_one(history, "starts")
    assert (start["outcome"], start["basis"], start["received_at_ns"]) == ("started", "complete", ns(0))


def test_lines_that_are_missing_in_the_middle_of_a_log_leave_runs_unknown(ask_one, ask):
    lines = lines_of(LONG)
    history = logged(two_windows(), *lines[:7], *lines[10:])
    row = ask_one(history, "coverage")
    assert (row["gaps"], row["restarts"], row["lost_restarts"], row["complete"]) == (1, 7, 1, False)
    recovered = ask(history, "recovered_events")
    assert {(row["attempt"], row["is_torn"]) for row in recovered} == {(None, True)}
    assert {row["run"] for row in ask(history, "timeline") if row["origin"] == "log"} == {None}
    assert [row["attempt"] for row in ask(history, "attempts")] == [1, 5, 6, 7, 8]
    causes = [row["cause"] for row in ask(history, "restart_log") if row["origin"] == "log"]
    assert causes == ["unknown", "unknown"]
    assert sum(row["number"] for row in ask(history, "restart_log")) == 7


def test_a_log_that_begins_in_a_gap_shows_failures_without_the_number_of_their_run(ask_one, ask):
    lines = lines_of(LONG)
    history = logged(two_windows(), *lines[8:])
    row = ask_one(history, "coverage")
    assert (row["gaps"], row["lost_restarts"]) == (1, 1)
    failures = [(row["attempt"], row["exit_code"], row["class"]) for row in ask(history, "failures")]
    assert failures == [(None, 3, "exit"), (None, 4, "exit"), (1, 1, "exit"), (5, 5, "exit"), (6, 6, "exit"), (7, 7, "exit")] \
        or sorted(failures, key=lambda f: f[1]) == [
            (1, 1, "exit"), (None, 3, "exit"), (None, 4, "exit"), (5, 5, "exit"), (6, 6, "exit"), (7, 7, "exit")]
    assert [row["attempt"] for row in ask(history, "attempts")] == [1, 5, 6, 7, 8]


def test_more_restarts_than_the_counter_says_refute_the_lines_of_a_gap(ask_one, ask):
    more = [line("Restarting", 11.5, "json", text_hash=2)]
    history = logged(two_windows(), *lines_of(LONG), *more)
    row = ask_one(history, "coverage")
    assert (row["gaps"], row["lost_restarts"], row["log_events"], row["complete"]) == (1, 3, 0, False)
    assert found(ask, history) == []


def test_restarts_after_the_last_window_are_not_yet_counted(ask_one, ask):
    history = watched(LOOP, restarts=3)
    assert ask_one(history, "coverage")["complete"] is True
    later = events("Terminated 4, Restarting, Started", start=20)
    logged(history, *lines_of(LOOP), *lines_of(later))
    row = ask_one(history, "coverage")
    assert (row["restarts"], row["lost_restarts"], row["log_events"], row["complete"]) == (3, 0, 3, True)
    assert sum(row["number"] for row in ask(history, "restart_log")) == 4
    # The log may lack all lines of a further restart, so the attempt of these lines is unknown.
    assert [row["attempt"] for row in ask(history, "timeline")[-3:]] == [None] * 3
    assert [row["attempt"] for row in ask(history, "attempts")] == [1, 2, 3, 4]


def test_a_log_does_not_say_whether_memory_ran_out(ask):
    shown = events("Received, Task Setup, Started, Terminated 137, Restarting, Started, Terminated 137/9, Restarting, "
                   "Started")
    history = listed()
    history.state(shown[:3], restarts=0)
    logged(history, *lines_of(shown))
    failures = ask(history, "failures")
    assert [(row["class"], row["suspected_oom"]) for row in failures] == [("unknown", True), ("signal", True)]
    assert [row["cause"] for row in ask(history, "restart_log")] == ["unknown", "failure"]
    # Docker reports in the exit message that memory ran out.
    for row in history.rows["log_events"]:
        if row["event_type"] == "Terminated":
            row["oom_killed"] = True
    assert {row["class"] for row in ask(history, "failures")} == {"oom"}


def test_a_log_never_changes_the_newest_observation(ask):
    history = listed()
    history.listing(30)
    history.state(LOOP[:3], restarts=0)
    later = events(", ".join(["Terminated 1, Restarting, Started"] * 4), start=40)
    logged(history, *lines_of(LOOP[:3]), *lines_of(later))
    assert [row["observed_at_ns"] for row in ask(history, "observations")] == [ns(30)]
    assert len(ask(history, "restart_log")) == 4
    assert ask(history, "crash_loops") == []
