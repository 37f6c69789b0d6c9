"""`coverage`: one test per rule."""

import pytest

from history import HOUR, History, event, events, ns

CRASHES = "Started, Terminated, Restarting"


@pytest.fixture
def history():
    history = History()
    history.allocation()
    return history


def crashing(restarts):
    """All events of a running task with this many restarts: three events, and three more for each restart."""
    return events(", ".join(["Received, Task Setup"] + [CRASHES] * restarts + ["Started"]))


def test_none(ask):
    assert ask(History(), "coverage") == []


def test_one_short_window_is_a_complete_history(ask_one, history):
    history.state(crashing(2), restarts=2)
    row = ask_one(history, "coverage")
    assert (row["events"], row["begins"], row["gaps"], row["restarts"], row["lost_restarts"]) == (9, True, 0, 2, 0)
    assert (row["tail_lost"], row["complete"]) == (False, True)


def test_a_task_without_events(ask_one, history):
    history.state(state="pending")
    row = ask_one(history, "coverage")
    assert (row["events"], row["begins"], row["gaps"], row["restarts"], row["lost_restarts"], row["complete"]) == (
        0, False, 0, 0, 0, False)


def test_all_null(ask_one, history):
    history.add("task_state_history", {"region": "", "namespace": "default", "alloc_id": "a", "task": "app", "placeholder": False})
    row = ask_one(history, "coverage")
    assert (row["events"], row["begins"], row["gaps"], row["restarts"], row["lost_restarts"]) == (0, False, 0, None, None)
    assert (row["tail_lost"], row["complete"]) == (False, False)


def test_an_allocation_with_unknown_tasks_has_no_coverage(ask, history):
    history.state(task=None, state=None, failed=None, restarts=None)
    assert ask(history, "coverage") == []


def test_a_placeholder_has_no_window_and_no_counter(ask_one, history):
    history.state(crashing(1), restarts=1, index=10)
    history.state(index=20, placeholder=True, state=None, restarts=None)
    row = ask_one(history, "coverage")
    assert (row["restarts"], row["lost_restarts"], row["complete"]) == (1, 0, True)


def test_only_a_placeholder(ask_one, history):
    history.state(placeholder=True, state=None, restarts=None)
    row = ask_one(history, "coverage")
    assert (row["begins"], row["restarts"], row["lost_restarts"], row["complete"]) == (False, None, None, False)


def test_one_allocation_id_in_two_regions_is_two_tasks(ask):
    history = History()
    for region, restarts in ("eu", 1), ("us", 4):
        history.allocation(region=region)
        history.state(crashing(restarts), region=region, restarts=restarts)
    assert [(row["region"], row["events"], row["complete"]) for row in ask(history, "coverage")] == [
        ("eu", 6, True), ("us", 10, False)]


class TestBegins:
    def test_nine_events_include_the_beginning(self, ask_one, history):
        history.state(crashing(2), restarts=2)
        assert ask_one(history, "coverage")["begins"]

    def test_ten_events_may_not(self, ask_one, history):
        history.state(crashing(3), restarts=3)
        row = ask_one(history, "coverage")
        assert (row["events"], row["begins"], row["lost_restarts"], row["complete"]) == (10, False, 0, False)

    def test_more_than_ten_are_a_full_window_too(self, ask_one, history):
        history.state(crashing(4), restarts=4, window=11)
        assert not ask_one(history, "coverage")["begins"]

    def test_a_full_window_with_received_and_all_restarts(self, ask_one, history):
        history.state(events("Received, Task Setup, Downloading Artifacts, Driver, Started, Terminated, Restarting, Started, Terminated, Restarting"),
                      restarts=2)
        row = ask_one(history, "coverage")
        assert (row["events"], row["begins"], row["complete"]) == (10, True, True)

    def test_a_full_window_with_a_later_received(self, ask_one, history):
        # The window has fewer restarts than the counter. So its Received is not the first one, and events are lost.
        history.state(events("Received, Task Setup, Downloading Artifacts, Driver, Started, Terminated, Restarting, Started, Terminated, Restarting"),
                      restarts=3)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["lost_restarts"], row["complete"]) == (False, 1, False)

    def test_a_full_window_with_received_and_no_counter(self, ask_one, history):
        history.state(events("Received, Task Setup, Driver, Driver, Driver, Driver, Driver, Driver, Driver, Started"), restarts=None)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["complete"]) == (False, False)

    def test_one_window_with_the_beginning_is_enough(self, ask_one, history):
        history.state(crashing(1), restarts=1, index=10)
        history.state(crashing(4), restarts=4, index=20)
        row = ask_one(history, "coverage")
        assert (row["events"], row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (15, True, 0, 0, True)


class TestGaps:
    def test_windows_that_overlap_join(self, ask_one, history):
        history.state(crashing(2), restarts=2, index=10)
        history.state(crashing(5), restarts=5, index=20)  # its first event is the last event of the first window
        row = ask_one(history, "coverage")
        assert (row["events"], row["gaps"], row["lost_restarts"], row["complete"]) == (18, 0, 0, True)

    def test_windows_that_only_touch_do_not_join(self, ask_one, history):
        history.state(crashing(2)[:8], restarts=2, index=10)
        history.state(crashing(5), restarts=5, index=20)
        row = ask_one(history, "coverage")
        assert (row["events"], row["gaps"], row["lost_restarts"], row["complete"]) == (18, 1, 0, False)

    def test_a_gap_without_a_lost_restart(self, ask_one, history):
        shown = events("Received, Task Setup, Started") + events(", ".join(["Signaling"] * 12), start=10)
        history.state(shown[:3], index=10)
        history.state(shown, index=20)
        row = ask_one(history, "coverage")
        assert (row["events"], row["gaps"], row["lost_restarts"], row["complete"]) == (13, 1, 0, False)

    def test_each_gap_counts(self, ask_one, history):
        for index, restarts in (10, 1), (20, 6), (30, 11), (40, 12):
            history.state(crashing(restarts), restarts=restarts, index=index)
        row = ask_one(history, "coverage")
        # The windows show the restarts of attempts 1, 4 to 6 and 9 to 12.
        assert (row["gaps"], row["restarts"], row["lost_restarts"], row["complete"]) == (2, 12, 4, False)

    def test_a_late_input_closes_a_gap(self, ask_one, history):
        history.state(crashing(1), restarts=1, index=10)
        history.state(crashing(7), restarts=7, index=30)
        assert ask_one(history, "coverage")["lost_restarts"] == 3
        history.state(crashing(3), restarts=3, index=20)
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["lost_restarts"], row["complete"]) == (1, 1, False)
        history.state(crashing(4), restarts=4, index=25)
        assert ask_one(history, "coverage")["complete"]

    def test_windows_are_ordered_by_modify_index_not_by_arrival(self, ask_one, history):
        history.state(crashing(5), restarts=5, index=20, snapshot_id=1)
        history.state(crashing(2), restarts=2, index=10, snapshot_id=2)
        assert ask_one(history, "coverage")["complete"]

    def test_a_window_that_is_not_full_joins_the_previous_one(self, ask_one, history):
        history.state(crashing(1), restarts=1, index=10, window=2)
        history.state(crashing(2), restarts=2, index=20)
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["complete"]) == (0, True)

    def test_attempts_take_precedence_over_a_clock_that_stepped_back(self, ask_one, history):
        # The clock was set back between two disjoint windows. By time alone, the view would join them.
        shown = crashing(2) + [event(e["event_type"], number - 100) for number, e in enumerate(events(", ".join(["Terminated, Restarting, Started"] * 6)))]
        history.state(shown[:9], restarts=2, index=10)
        history.state(shown, restarts=8, index=20)
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["lost_restarts"], row["complete"]) == (1, 3, False)

    def test_two_rows_of_one_version_are_one_window(self, ask_one, history):
        history.state(crashing(4), restarts=4)
        history.state(crashing(4), restarts=4, lifecycle_hook="prestart")
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["events"]) == (0, 10)


class TestWithoutAttempts:
    """Nomad before 0.6 has no counter, and some scripts remove the counter."""

    def test_windows_join_by_time(self, ask_one, history):
        history.state(crashing(2), restarts=None, index=10)
        history.state(crashing(5), restarts=None, index=20)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["restarts"], row["lost_restarts"], row["complete"]) == (True, 0, None, None, False)

    def test_windows_that_were_never_full_are_the_whole_history(self, ask_one, history):
        history.state(crashing(1), restarts=None, index=10)
        history.state(crashing(2), restarts=None, index=20)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["restarts"], row["lost_restarts"], row["complete"]) == (True, 0, None, None, True)

    def test_a_window_that_was_full_may_have_lost_events(self, ask_one, history):
        history.state(crashing(2) + events("Signaling", start=50), restarts=None)
        assert not ask_one(history, "coverage")["complete"]

    def test_windows_do_not_join_by_time(self, ask_one, history):
        history.state(crashing(1), restarts=None, index=10)
        history.state(crashing(5), restarts=None, index=20)
        assert ask_one(history, "coverage")["gaps"] == 1

    @pytest.mark.parametrize("first, second", [(4, None), (None, 4)])
    def test_full_windows_with_and_without_attempts_never_join(self, ask_one, history, first, second):
        history.state(crashing(4), restarts=first, index=10)
        history.state(crashing(4), restarts=second, index=20)
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["lost_restarts"], row["complete"]) == (1, 1, False)

    @pytest.mark.parametrize("first, second", [(2, None), (None, 2)])
    def test_a_window_that_is_not_full_joins_nevertheless(self, ask_one, history, first, second):
        history.state(crashing(2), restarts=first, index=10)
        history.state(crashing(2), restarts=second, index=20)
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["lost_restarts"], row["complete"]) == (0, 0, True)


class TestLostRestarts:
    def test_lost_are_the_counter_minus_the_events_seen(self, ask_one, history):
        history.state(crashing(9), restarts=9)
        row = ask_one(history, "coverage")
        assert (row["restarts"], row["lost_restarts"]) == (9, 6)

    def test_the_largest_counter_is_used_even_if_it_is_not_the_last(self, ask_one, history):
        history.state(crashing(2), restarts=2, index=10)
        history.state(restarts=5, index=20)  # a state without its events
        history.state(index=30, restarts=None, state=None, failed=None)
        row = ask_one(history, "coverage")
        assert (row["restarts"], row["lost_restarts"], row["complete"]) == (5, 3, False)

    def test_null_when_a_counter_falls(self, ask_one, history):
        history.state(crashing(3), restarts=3, index=10)
        history.state(events("Received, Started", start=100), restarts=0, index=20)
        row = ask_one(history, "coverage")
        assert (row["restarts"], row["lost_restarts"], row["complete"]) == (3, None, False)

    def test_null_when_a_counter_falls_and_rises_again(self, ask_one, history):
        history.state(crashing(2), restarts=2, index=10)
        history.state(events("Received, Started", start=100), restarts=0, index=20)
        history.state(events(f"Received, {CRASHES}, {CRASHES}, {CRASHES}", start=100), restarts=3, index=30)
        assert ask_one(history, "coverage")["lost_restarts"] is None

    def test_null_when_more_are_seen_than_counted(self, ask_one, history):
        # Between two snapshots, the client lost its state, and the counter then rose to its old value again.
        history.state(crashing(2), restarts=2, index=10)
        history.state(events(f"Received, {CRASHES}, {CRASHES}", start=100), restarts=2, index=20)
        row = ask_one(history, "coverage")
        assert (row["restarts"], row["lost_restarts"], row["complete"]) == (2, None, False)

    def test_a_plugin_supervisor_adds_two_and_the_counter_counts_two(self, ask_one, history):
        history.state(events("Received, Task Setup, Started, Restarting, Terminated, Restarting, Started"), restarts=2)
        row = ask_one(history, "coverage")
        assert (row["lost_restarts"], row["complete"]) == (0, True)


class TestARestartOfTheAgent:
    def test_a_second_received_loses_nothing_where_windows_join(self, ask_one, history):
        history.state(events("Received, Task Setup, Started, Received, Task Setup, Started"))
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (True, 0, 0, True)

    def test_full_windows_that_join_lose_nothing_either(self, ask_one, history):
        history.watch(events(f"Received, Task Setup, Started, Received, Task Setup, {CRASHES}, {CRASHES}, {CRASHES}, Started"))
        assert ask_one(history, "coverage")["complete"]

    def test_where_windows_do_not_join_something_may_be_lost(self, ask_one, history):
        shown = events(f"Received, Task Setup, Started, Received, Task Setup, {CRASHES}, {CRASHES}, {CRASHES}, Started")
        history.state(shown[:3], index=10)
        history.state(shown, restarts=3, index=20)
        row = ask_one(history, "coverage")
        assert (row["gaps"], row["complete"]) == (1, False)


class TestTailLost:
    def test_a_full_listing_in_a_later_hour_lacks_its_allocation(self, ask_one, history):
        history.state(crashing(2), restarts=2)
        history.sighting(0)
        history.listing(HOUR)
        row = ask_one(history, "coverage")
        assert (row["tail_lost"], row["lost_restarts"], row["complete"]) == (True, 0, False)

    def test_not_in_the_same_hour(self, ask_one, history):
        history.state(crashing(2), restarts=2)
        history.sighting(0)
        history.listing(HOUR - 1)
        row = ask_one(history, "coverage")
        assert (row["tail_lost"], row["complete"]) == (False, True)

    def test_not_when_it_was_seen_to_end(self, ask_one, history):
        history.allocation(index=20, client_status="failed")
        history.state(crashing(2), restarts=2)
        history.sighting(0)
        history.listing(9 * HOUR)
        row = ask_one(history, "coverage")
        assert (row["tail_lost"], row["complete"]) == (False, True)


class TestNeverComplete:
    def test_a_client_that_starts_the_task_over_with_equal_counters(self, ask_one, history):
        history.state(events("Received, Task Setup, Started"), index=10)
        history.state(events("Received, Task Setup, Started", start=100), index=20)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (True, 1, None, False)

    def test_a_client_that_starts_the_task_over_with_a_larger_counter(self, ask_one, history):
        history.state(crashing(4), restarts=4, index=10)
        history.state(events(f"Received, {', '.join([CRASHES] * 6)}", start=100), restarts=6, index=20)
        row = ask_one(history, "coverage")
        # The second window starts with attempt 4. By attempts alone, the view would join it to the first window.
        assert (row["gaps"], row["lost_restarts"], row["complete"]) == (1, None, False)

    def test_two_runners_that_write_in_turn(self, ask_one, ask, history):
        first, second = crashing(6), events(f"Received, {CRASHES}", start=16.5)
        history.state(first[:19], restarts=6, index=10)
        history.state(second, restarts=1, index=20)
        history.state(first, restarts=6, index=30)
        assert all(row["lives_mixed"] for row in ask(history, "windows"))
        row = ask_one(history, "coverage")
        assert (row["begins"], row["lost_restarts"], row["complete"]) == (False, None, False)
        assert ask_one(history, "starts")["outcome"] == "unknown"
        assert ask(history, "attempts") == []
        assert {row["class"] for row in ask(history, "failures")} <= {"unknown"}

    def test_a_clock_that_stepped_back_in_a_window(self, ask_one, history):
        history.state([event("Received", 5), event("Task Setup", 6), event("Started", 2)])
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (True, 0, 0, False)

    def test_a_stored_event_that_is_not_in_the_window_around_it(self, ask_one, history):
        # The client lost its state, so the second window lacks an event of the first window.
        history.state([event("Received", 1), event("Task Setup", 5)], index=10)
        history.state([event("Task Setup", 4), event("Started", 6)], index=20)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (False, 1, None, False)

    def test_an_event_without_a_time(self, ask_one, history):
        history.state([event("Received", 1), event("Task Setup", None), event("Started", 2)])
        row = ask_one(history, "coverage")
        assert (row["events"], row["complete"]) == (3, False)

    def test_a_window_that_ends_with_an_event_without_a_time(self, ask_one, history):
        history.state([event("Received", 1), event("Started", None)])
        assert not ask_one(history, "coverage")["complete"]

    def test_rounded_times(self, ask_one, history):
        history.state(crashing(2), restarts=2, times_rounded=True)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (True, 0, 0, False)

    def test_exact_and_rounded_times_side_by_side(self, ask_one, history):
        # Each event is stored twice, 57 ns apart. Restarts and gaps are nevertheless counted once.
        shown = [e | {"event_at_ns": e["event_at_ns"] + 57} for e in crashing(7)]
        history.state(shown[:9], restarts=2, index=10)
        history.state(shown[:18], restarts=5, index=20, times_rounded=True)
        history.state(shown, restarts=7, index=30)
        row = ask_one(history, "coverage")
        assert (row["begins"], row["gaps"], row["lost_restarts"], row["complete"]) == (True, 0, 0, False)
        assert row["events"] == 29

    def test_equal_times_do_not_make_it_incomplete(self, ask_one, history):
        history.state([event("Received", 1), event("Task Setup", 1), event("Driver", 1), event("Driver", 1), event("Started", 1)])
        row = ask_one(history, "coverage")
        assert (row["events"], row["complete"]) == (5, True)


class TestWindows:
    def lost_before(self, ask, history):
        rows = ask(history, "windows")
        return [row["lost_before"] for row in sorted(rows, key=lambda row: row["window_no"])]

    def test_restarts_lost_before_each_window_sum_to_all_that_were_lost(self, ask, ask_one, history):
        for index, restarts in (10, 1), (20, 6), (30, 11), (40, 12):
            history.state(crashing(restarts), restarts=restarts, index=index)
        assert self.lost_before(ask, history) == [0, 2, 2, 0]
        assert ask_one(history, "coverage")["lost_restarts"] == 4

    def test_a_restart_that_another_window_shows_is_not_lost(self, ask, history):
        history.state(crashing(6), restarts=6, index=20)
        history.state(crashing(7), restarts=7, index=30)
        assert self.lost_before(ask, history) == [3, 0]

    def test_none_without_a_counter(self, ask, history):
        history.state(crashing(2), restarts=None)
        assert self.lost_before(ask, history) == [None]

    def test_none_where_the_counter_falls(self, ask, history):
        history.state(crashing(5), restarts=5, index=10)
        history.state(events("Received", start=100), restarts=0, index=20)
        assert self.lost_before(ask, history) == [2, None]
