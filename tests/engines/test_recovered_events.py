"""`recovered_events`: which lines of logs report events that no other source shows."""

from history import History, event, events, ns


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


def test_a_line_without_its_event_is_an_event_with_what_is_known_of_its_allocation(ask_one):
    history = History()
    history.allocation()
    history.state(events("Received, Started"), restarts=0)
    logged(history, line("Received", 0.0001), line("Started", 1.0001),
           line("Terminated", 2, exit_code=1, signal=9, oom_killed=True, kill_timeout_ns=None))
    row = ask_one(history, "recovered_events")
    allocation = history.rows["allocation_history"][0]
    for column in ("namespace", "job_id", "task_group", "node_id"):
        assert row[column] == allocation.get(column), column
    assert (row["event_type"], row["logged_at_ns"], row["precision_ns"]) == ("Terminated", ns(2), 1_000_000)
    assert (row["exit_code"], row["signal"], row["oom_killed"], row["fails_task"]) == (1, 9, True, False)


def test_an_allocation_that_no_listing_shows_has_no_job(ask_one):
    row = ask_one(logged(History(), line("Started", 1)), "recovered_events")
    assert (row["namespace"], row["job_id"], row["task_group"], row["alloc_id"]) == (None, None, None, "a")


def test_each_line_and_each_event_pairs_once(ask):
    history = History()
    history.state([event("Signaling", 1.0), event("Signaling", 1.2)], restarts=0)
    logged(history, *[line("Signaling", 1 + n / 10, text_hash=n) for n in range(5)])
    # Five lines, two events: three are left.
    assert len(found(ask, history)) == 3


def test_a_line_follows_its_event(ask):
    history = History()
    history.state([event("Signaling", 10.5)], restarts=0)
    logged(history, line("Signaling", 10.0), line("Signaling", 10.5))
    assert found(ask, history) == [("Signaling", ns(10.0))]


def test_neighbours_more_than_two_seconds_apart_are_not_compared(ask):
    history = History()
    history.state([event("Signaling", 10.0), event("Signaling", 20.0)], restarts=0)
    logged(history, line("Signaling", 12.5), line("Signaling", 20.001))
    assert found(ask, history) == [("Signaling", ns(12.5))]


def test_exit_codes_and_delays_distinguish_events(ask):
    history = History()
    history.state([event("Terminated", 1, exit_code=1, signal=0), event("Restarting", 1.1, start_delay_ns=5)], restarts=1)
    logged(history, line("Terminated", 1, exit_code=2, signal=0), line("Terminated", 1.05, exit_code=1, signal=0),
           line("Restarting", 1.11, start_delay_ns=6), line("Restarting", 1.12, start_delay_ns=5))
    assert found(ask, history) == [("Terminated", ns(1)), ("Restarting", ns(1.11))]


def test_where_a_source_lacks_them_the_type_decides(ask):
    history = History()
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
    history = History()
    history.state(events("Received, Started"), restarts=0)
    logged(history, line("Received", 0.001), line("Started", 1.001), line("Received", 60))
    assert found(ask, history) == []
    # Neither is one that a log knows from before, or one whose task had started.
    assert found(ask, logged(History(), line("Started", 1), line("Received", 60))) == [("Started", ns(1))]
    started = History()
    started.state(restarts=0, started_at_ns=ns(5))
    assert found(ask, logged(started, line("Received", 60))) == []


def test_a_log_whose_times_do_not_fit_recovers_nothing(ask):
    history = History()
    history.state(events("Received, Started, Terminated 1, Restarting, Started", step=10), restarts=1)
    shifted = [line("Received", 5), line("Started", 15), line("Terminated", 25, exit_code=1, signal=0), line("Restarting", 35), line("Started", 45)]
    assert found(ask, logged(history, *shifted)) == []


def test_the_period_selects_by_the_time_of_the_line(ask):
    history = logged(History(), line("Started", 1), line("Killing", 100), line("Killed", 200))
    period = {"period": f"SELECT CAST({ns(50)} AS BIGINT) AS since_ns, CAST({ns(200)} AS BIGINT) AS until_ns"}
    rows = ask(history, "recovered_events", period)
    assert [row["event_type"] for row in rows] == ["Killing"]
