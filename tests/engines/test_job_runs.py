"""`job_runs` and `job_run_summary`."""

import pytest

from history import History, event, events, ns, period, time

DONE = "Received, Task Setup, Started, Terminated 0"
FAILED = "Received, Task Setup, Started, Terminated 1, Not Restarting!"
STOPPED = "Received, Task Setup, Started, Killing, Terminated 143, Killed"


def run(history, alloc="a", text=DONE, job="etl", status="complete", created=0, finished=60, restarts=0, **columns):
    """Adds an allocation of a batch job, with a task that ended at `finished`."""
    place = {"job_id": job} | {key: columns.pop(key) for key in ("region", "namespace") if key in columns}
    state = columns.pop("state", "dead" if finished is not None else "running")
    history.allocation(alloc, client_status=status, created_at_ns=ns(created), **({"job_type": "batch", "job_version": 0} | place | columns))
    history.state(events(text, start=created), alloc=alloc, state=state, failed="!" in text, finished_at_ns=ns(finished), restarts=restarts, **place)


@pytest.fixture
def outcome(ask_one):
    """Returns the outcome of the only run in a history."""
    return lambda history: ask_one(history, "job_runs")["outcome"]


def test_none(ask):
    assert ask(History(), "job_runs") == []
    assert ask(History(), "job_run_summary") == []


def test_one(ask_one):
    history = History()
    run(history, created=10, finished=72.5, job_version=3)
    row = ask_one(history, "job_runs")
    assert (row["job_id"], row["parent_job_id"], row["job_type"], row["job_version"], row["outcome"]) == ("etl", "etl", "batch", 3, "complete")
    assert (row["created_at"], row["finished_at"], row["finished_at_ns"], row["duration_seconds"]) == (time(10), time(72.5), ns(72.5), 62.5)
    assert (row["allocations"], row["attempts"]) == (1, 1)


def test_a_placeholder_hides_the_end_of_its_task(ask_one):
    history = History()
    run(history, finished=72.5)
    history.state(task="log", placeholder=True, state=None, failed=None, restarts=None, finished_at_ns=ns(60), job_id="etl")
    row = ask_one(history, "job_runs")
    assert (row["outcome"], row["finished_at"], row["duration_seconds"]) == ("complete", None, None)


def test_attempts_are_unknown_where_a_counter_fell(ask_one):
    history = History()
    run(history, text="Received, Started, Terminated 1, Restarting, Started, Terminated 0", restarts=1)
    history.state(events("Received, Started", start=100), index=20, restarts=0, job_id="etl")
    assert ask_one(history, "job_runs")["attempts"] is None


class TestWhichJobs:
    @pytest.mark.parametrize("job_type, job, parent", [
        ("batch", "etl", "etl"),
        ("sysbatch", "etl", "etl"),
        ("service", "etl", None),
        (None, "etl", None),
        ("batch", "etl/dispatch-1700000000-abc", "etl"),
        (None, "etl/periodic-1700000000", "etl"),
        ("service", "a/b/periodic-1700000000", "a/b"),
        ("batch", "/periodic-1", "/periodic-1"),
    ])
    def test_batch_like_jobs_and_instances(self, ask, job_type, job, parent):
        history = History()
        run(history, job=job, job_type=job_type)
        assert [row["parent_job_id"] for row in ask(history, "job_runs")] == ([parent] if parent else [])

    def test_each_version_is_a_run(self, ask):
        history = History()
        run(history, "a", job_version=0)
        run(history, "b", job_version=1, status="failed", text=FAILED)
        assert [(row["job_version"], row["outcome"]) for row in ask(history, "job_runs")] == [(0, "complete"), (1, "failed")]

    def test_each_region_and_namespace(self, ask):
        history = History()
        run(history, "a", region="eu")
        run(history, "a", region="us")
        run(history, "b", region="us", namespace="prod")
        assert [(row["region"], row["namespace"]) for row in ask(history, "job_runs")] == [("eu", "default"), ("us", "default"), ("us", "prod")]


class TestOutcome:
    @pytest.mark.parametrize("columns, expected", [
        ({}, "complete"),
        ({"status": "failed", "text": FAILED}, "failed"),
        ({"status": "running", "finished": None, "text": "Received, Task Setup, Started"}, "running"),
        ({"status": "pending", "finished": None, "text": "Received"}, "running"),
        ({"status": "unknown", "finished": None, "text": "Received, Task Setup, Started"}, "running"),
        # the allocation was drained or stopped
        ({"text": STOPPED, "desired_status": "stop"}, "stopped"),
        ({"text": "Received, Killing", "desired_status": "stop"}, "stopped"),
        # the run was stopped after it had completed, or its tasks were killed without a request to stop it
        ({"desired_status": "stop"}, "complete"),
        ({"text": STOPPED, "desired_status": "run"}, "complete"),
        # the allocation was lost, but its tasks had ended
        ({"status": "lost", "desired_status": "stop"}, "complete"),
        ({"status": "lost", "text": FAILED}, "failed"),
        ({"status": "lost", "finished": None}, "lost"),
        ({"text": "Received, Task Setup, Started, Killing: allocation exceeded max_run_duration, Terminated 143, Killed"}, "failed"),
    ])
    def test_of_one_allocation(self, outcome, columns, expected):
        history = History()
        run(history, **columns)
        assert outcome(history) == expected

    def test_a_lost_allocation_with_one_task_that_is_not_dead(self, outcome):
        history = History()
        run(history, status="lost")
        history.state(events("Received, Task Setup, Started"), task="log", job_id="etl")
        assert outcome(history) == "lost"

    def test_an_allocation_that_vanished(self, outcome):
        history = History()
        run(history, status="running", finished=None, text="Received, Task Setup, Started")
        history.sighting(0)
        history.listing(9000)
        assert outcome(history) == "unknown"

    @pytest.mark.parametrize("others, expected", [
        (["complete", "running"], "running"),
        (["failed", "running"], "running"),
        (["complete", "failed"], "failed"),
        (["complete", "lost"], "lost"),
        (["lost", "failed"], "failed"),
        (["complete", "complete"], "complete"),
    ])
    def test_of_several_allocations(self, outcome, others, expected):
        history = History()
        for number, status in enumerate(others):
            ended = status in ("complete", "failed")
            run(history, f"a{number}", status=status, finished=60 if ended else None, text={"complete": DONE, "failed": FAILED}.get(status, "Received, Task Setup, Started"))
        assert outcome(history) == expected

    @pytest.mark.parametrize("first, second", [
        ({"next_allocation": "b"}, {}),
        ({}, {"previous_allocation": "a"}),
        ({}, {"rescheduled_from_alloc_id": "a"}),
    ])
    def test_a_replaced_allocation_does_not_decide(self, ask_one, first, second):
        history = History()
        run(history, "a", status="failed", text=FAILED, restarts=2, finished=50, **first)
        run(history, "b", created=100, finished=130, **second)
        row = ask_one(history, "job_runs")
        assert (row["outcome"], row["allocations"], row["attempts"], row["duration_seconds"]) == ("complete", 2, 4, 130)

    def test_when_all_were_replaced_all_decide(self, ask):
        history = History()
        run(history, "a", status="failed", text=FAILED, next_allocation="b", job_version=0)
        run(history, "b", job_version=1)
        assert [row["outcome"] for row in ask(history, "job_runs")] == ["failed", "complete"]


class TestEnd:
    def test_the_last_task_ends_the_run(self, ask_one):
        history = History()
        run(history, "a", created=10, finished=60)
        run(history, "b", created=20, finished=90)
        row = ask_one(history, "job_runs")
        assert (row["created_at"], row["finished_at"], row["duration_seconds"]) == (time(10), time(90), 80)

    @pytest.mark.parametrize("status", ["running", "lost"])
    def test_none_while_it_runs_or_when_lost(self, ask_one, status):
        history = History()
        run(history, "a", finished=60)
        run(history, "b", status=status, finished=None, text="Received, Task Setup, Started")
        row = ask_one(history, "job_runs")
        assert (row["finished_at"], row["duration_seconds"]) == (None, None)

    def test_not_in_view(self, ask_one):
        history = History()
        history.allocation(job_type="batch", client_status="complete")
        history.state(task=None, state=None, failed=None, restarts=None)
        row = ask_one(history, "job_runs")
        assert (row["outcome"], row["finished_at"], row["attempts"]) == ("complete", None, 1)

    def test_the_period_cuts_by_creation(self, ask):
        history = History()
        for number in range(3):
            run(history, f"a{number}", job=f"etl/periodic-{number}", created=number * 100, finished=1000)
        assert [row["job_id"] for row in ask(history, "job_runs", period(100, 200))] == ["etl/periodic-1"]


class TestSummary:
    def test_counts_and_quantiles(self, ask_one):
        history = History()
        for number in range(1, 21):
            run(history, f"a{number}", job=f"etl/periodic-{number}", created=0, finished=number)
        run(history, "b", job="etl/dispatch-1", status="failed", text=FAILED, finished=100)
        run(history, "c", job="etl/dispatch-2", status="running", finished=None, text="Received")
        run(history, "d", job="etl/dispatch-3", status="lost", finished=None, text="Received, Task Setup, Started")
        run(history, "e", job="etl/dispatch-4", text=STOPPED, desired_status="stop", finished=50)
        row = ask_one(history, "job_run_summary")
        assert (row["parent_job_id"], row["runs"], row["complete"], row["failed"], row["stopped"], row["lost"], row["running"], row["unknown"]) == (
            "etl", 24, 20, 1, 1, 1, 1, 0)
        assert (row["success_rate"], row["samples"]) == (20 / 23, 22)
        assert (row["p50_seconds"], row["p95_seconds"], row["max_seconds"]) == (11, 50, 100)
        assert (row["last_success_at"], row["last_success_at_ns"]) == (time(20), ns(20))

    def test_nothing_has_ended(self, ask_one):
        history = History()
        run(history, status="running", finished=None, text="Received")
        row = ask_one(history, "job_run_summary")
        assert (row["runs"], row["running"], row["success_rate"], row["samples"]) == (1, 1, None, 0)
        assert (row["p50_seconds"], row["p95_seconds"], row["max_seconds"], row["last_success_at"]) == (None, None, None, None)

    @pytest.mark.parametrize("number, p50, p95", [(1, 1, 1), (2, 1, 2), (3, 2, 3), (20, 10, 19), (100, 50, 95)])
    def test_quantiles_are_nearest_rank_ones(self, ask_one, number, p50, p95):
        history = History()
        for n in range(1, number + 1):
            run(history, f"a{n}", job=f"etl/periodic-{n}", finished=n)
        row = ask_one(history, "job_run_summary")
        assert (row["p50_seconds"], row["p95_seconds"]) == (p50, p95)


@pytest.mark.parametrize("parent", ["etl", "t\u00e4sk \u65e5\u672c", "a/b"])
@pytest.mark.parametrize("child", ["/dispatch-1795458709-87aa4ea8", "/periodic-1795458700"])
def test_the_parent_is_the_prefix_in_any_script(ask_one, parent, child):
    history = History()
    run(history, job=parent + child)
    assert ask_one(history, "job_runs")["parent_job_id"] == parent
