"""Faults of networks and stores: the program commits the same rows, or reports a clear error and changes nothing."""

import os
import signal
import threading
import time

import pytest
from program import SECRET, TOKEN
from proxy import at, says, straight


def is_put(request):
    return request.method == "PUT"


def is_anything(request):
    return True


def is_batch(request):
    return is_put(request) and "/batches/" in request.path


def is_commit(request):
    return is_put(request) and "/_delta_log/" in request.path


def fails(status, code):
    return lambda request, forward: says(status, code)


def reset_before(request, forward):
    return None


def reset_after(request, forward):
    """Forwards the request, and loses the answer."""
    forward(request)
    return None


def fails_after(request, forward):
    forward(request)
    return says(500, "InternalError")


def once_each(wanted, act):
    """A rule that acts on the first of several identical requests."""
    acted_on = set()

    def rule(request, forward):
        key = (request.method, request.path)
        if not wanted(request) or key in acted_on:
            return forward(request)
        acted_on.add(key)
        return act(request, forward)

    rule.acted_on = acted_on
    return rule


@pytest.mark.parametrize(
    ("wanted", "act"),
    [
        (is_anything, fails(500, "InternalError")),
        (is_put, fails(503, "SlowDown")),
        (is_put, reset_before),
        (is_anything, reset_after),
        (is_put, fails_after),
    ],
    ids=["500", "503", "reset before", "reset after", "500 after"],
)
def test_a_request_that_fails_once_is_retried(program, proxy, listings, truth, wanted, act):
    """Fails each request the first time, also puts. If the first put created the object, the retry gets 412."""
    proxy.rule = once_each(wanted, act)
    program.ingest(listings[0])
    program.ingest(listings[1])
    assert sum(method == "PUT" for method, _ in proxy.rule.acted_on) > 20
    proxy.rule = straight
    program.holds(truth[2])


def test_a_lost_answer_loses_no_batch(program, proxy, server, listings, truth):
    """The batch and each commit are written, but the answer is lost; the retry gets 412."""
    program.ingest(listings[0])
    proxy.reset()
    answers = []

    def lost(request, forward):
        answer = forward(request)
        answers.append((request.path, answer.status))
        return None if answer.status == 200 else answer

    proxy.rule = lambda request, forward: lost(request, forward) if request.is_conditional else forward(request)
    _, stderr = program.ingest(listings[1])
    assert "batch 2:" in stderr
    paths = [path for path, _ in answers]
    assert sum("/batches/" in path for path in paths) == 2
    assert [status for _, status in answers] == [200, 412] * (len(answers) // 2)
    assert len(answers) >= 12
    proxy.reset()
    program.holds(truth[2])
    assert server.row_counts(program.prefix) == {name: rows.total() for name, rows in truth[2].items()}


@pytest.mark.parametrize("wanted", [is_put, is_batch, is_commit], ids=["file", "batch", "commit"])
def test_a_store_that_denies_access_is_reported_and_the_lake_is_whole(program, proxy, listings, truth, wanted):
    program.ingest(listings[0])
    program.ingest(listings[1])
    proxy.rule = at([1], wanted, fails(403, "AccessDenied"))
    _, stderr = program.ingest(listings[2], expect=1)
    assert "403" in stderr and "AccessDenied" in stderr and f"lake {program.lake}" in stderr
    proxy.reset()
    # A batch that was written is committed, and the next ingest applies it to every table.
    is_there = wanted is is_commit
    if not is_there:
        program.holds(truth[2])
    assert program.exported(program.lake) == truth[3 if is_there else 2]
    program.ingest(listings[2])
    program.holds(truth[3])


def test_a_writer_suspended_during_a_vacuum_writes_again(program, proxy, server, listings, truth):
    """The writer is suspended right before it puts its batch. A vacuum removes the old files of this writer,
    which are unreferenced. Then the writer resumes."""
    program.ingest(listings[0])
    program.ingest(listings[1])
    stopped, wake = threading.Event(), threading.Event()
    sleeper = []

    def sleep(request, forward):
        os.kill(sleeper[0].pid, signal.SIGSTOP)
        stopped.set()
        assert wake.wait(60)
        return forward(request)

    proxy.rule = at([1], is_batch, sleep)
    sleeper.append(program.start("ingest", listings[2], "--lake", program.lake))
    try:
        assert stopped.wait(60)
        files = {name for name in server.names(program.prefix) if name.endswith(".zstd.parquet")}
        server.age(program.prefix, days=9)
        _, stderr = program.run("lake", "vacuum", program.lake)
        gone = files - set(server.names(program.prefix))
        assert len(gone) > 3 and f"{len(gone)} files removed" in stderr
    finally:
        sleeper[0].send_signal(signal.SIGCONT)
        wake.set()
    _, stderr = program.end(sleeper[0])
    # The vacuum has the number 3.
    assert "batch 4:" in stderr
    program.holds(truth[3])
    assert server.row_counts(program.prefix) == {name: rows.total() for name, rows in truth[3].items()}


def is_data(request):
    return request.method == "GET" and request.path.endswith(".zstd.parquet")


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (503, "SlowDown")])
def test_a_repair_drops_no_file_that_it_could_not_read(program, proxy, server, listings, status, code):
    """Temporary denials and overload of the store are not damage."""
    for listing in listings[:3]:
        program.ingest(listing)
    before, names = server.row_counts(program.prefix), server.names(program.prefix)
    assert before["task_events"] > 50
    proxy.rule = lambda request, forward: says(status, code) if is_data(request) else forward(request)
    _, stderr = program.run("lake", "check", "--repair", "--drop-damaged", program.lake, expect=1)
    assert str(status) in stderr and "repaired" not in stderr and "dropped" not in stderr
    proxy.reset()
    assert server.row_counts(program.prefix) == before and server.names(program.prefix) == names
    _, stderr = program.run("lake", "check", program.lake)
    assert "is whole" in stderr


def test_a_repair_drops_missing_files_only_on_request(program, server, listings, truth):
    for listing in listings[:3]:
        program.ingest(listing)
    before = server.row_counts(program.prefix)
    lost = max(name for name in server.names(program.prefix + "task_events/") if name.endswith(".zstd.parquet"))
    server.remove(lost)
    for arguments in ([], ["--repair"], ["--repair", "--drop-damaged", "--dry-run"]):
        _, stderr = program.run("lake", "check", *arguments, program.lake, expect=1)
        assert "is missing" in stderr and "task_events: 1 file with " in stderr
        assert server.live_rows(program.prefix) == before
    program.run("lake", "check", "--repair", "--drop-damaged", program.lake)
    after = server.row_counts(program.prefix)
    assert after.pop("task_events") < before.pop("task_events")
    assert after == before
    program.ingest(*listings[:3])
    program.holds(truth[3])


def held_put(delay, refusals):
    """The first put of a batch is delayed, as by a network: it arrives after `delay` seconds. Until then, the store
    answers 409 to further attempts, but at most `refusals` times. S3 does so while another put of this key runs."""
    state = {"first": None, "refused": 0, "landed": threading.Event()}

    def land(request, forward):
        time.sleep(delay)
        assert forward(request).status == 200
        state["landed"].set()

    def rule(request, forward):
        if not is_batch(request):
            return forward(request)
        if state["first"] is None:
            state["first"] = request
            threading.Thread(target=land, args=(request, forward)).start()
            return None
        if not state["landed"].is_set() and state["refused"] < refusals:
            state["refused"] += 1
            return says(409, "ConditionalRequestConflict")
        return forward(request)

    return rule, state


def test_a_delayed_put_refused_with_409_is_not_another_batch(program, proxy, server, listings, truth):
    program.ingest(listings[0])
    program.ingest(listings[1])
    proxy.rule, state = held_put(delay=1.5, refusals=100)
    _, stderr = program.ingest(listings[2])
    assert state["refused"] > 1 and "batch 3:" in stderr
    proxy.reset()
    program.holds(truth[3])
    assert server.row_counts(program.prefix) == {name: rows.total() for name, rows in truth[3].items()}


def test_a_put_that_arrives_after_its_writer_gave_up_loses_no_file(program, proxy, server, listings, truth):
    """The error says that the batch may have been committed, and the files of the batch stay."""
    program.ingest(listings[0])
    program.ingest(listings[1])
    proxy.rule, state = held_put(delay=15, refusals=10**6)
    _, stderr = program.ingest(listings[2], expect=1)
    assert "batch 3 may have been committed" in stderr and not state["landed"].is_set()
    assert state["landed"].wait(30)
    proxy.reset()
    # The rows of the late batch are already in the lake, so they are not added again.
    _, stderr = program.ingest(listings[2])
    assert "nothing new" in stderr
    program.holds(truth[3])
    assert server.row_counts(program.prefix) == {name: rows.total() for name, rows in truth[3].items()}


def test_a_failure_before_the_put_says_that_nothing_was_committed(program, proxy, listings, truth):
    program.ingest(listings[0])
    proxy.rule = at([1], is_put, fails(403, "AccessDenied"))
    _, stderr = program.ingest(listings[1], expect=1)
    assert "nothing was committed" in stderr
    proxy.rule = at([1], is_commit, fails(403, "AccessDenied"))
    _, stderr = program.ingest(listings[1], expect=1)
    assert "batch 2 was committed" in stderr
    proxy.reset()
    program.ingest(listings[1])
    program.holds(truth[2])


def test_a_store_that_ignores_the_condition_is_refused(program, proxy, server, listings):
    def ignore(request, forward):
        request.headers = {name: value for name, value in request.headers.items() if name.lower() != "if-none-match"}
        return forward(request)

    proxy.rule = ignore
    _, stderr = program.ingest(listings[1], expect=1)
    assert "ignores If-None-Match" in stderr and "two writers" in stderr
    # A second ingest refuses the store, too.
    _, stderr = program.ingest(listings[1], expect=1)
    assert "ignores If-None-Match" in stderr
    assert not [name for name in server.names(program.prefix) if name.endswith(".parquet")]


def test_credentials_are_not_printed(program, proxy, listings):
    """Program.end searches all output for the credentials. Here a fault makes the program print many messages."""
    program.variables["AWS_SESSION_TOKEN"] = TOKEN
    proxy.rule = fails(403, "SignatureDoesNotMatch")
    for command in (["ingest", "-v", listings[1], "--lake"], ["report", "-v"], ["lake", "info"], ["lake", "check"]):
        _, stderr = program.run(*command, program.lake, expect=1)
        assert "403" in stderr and "SignatureDoesNotMatch" in stderr and program.lake in stderr
        assert "Bearer" not in stderr and "Signature=" not in stderr
    assert any(SECRET not in str(request.headers) and TOKEN in str(request.headers) for request in proxy.requests)
