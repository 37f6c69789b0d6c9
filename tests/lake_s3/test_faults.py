"""Networks and stores that fail: every fault ends in the same lake, or in a clear word and the lake as it was."""

import os
import signal
import threading

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
    """What was asked for is done, and nobody hears of it."""
    forward(request)
    return None


def fails_after(request, forward):
    forward(request)
    return says(500, "InternalError")


def once_each(wanted, act):
    """A rule that acts on the first of the same requests."""
    met = set()

    def rule(request, forward):
        key = (request.method, request.path)
        if not wanted(request) or key in met:
            return forward(request)
        met.add(key)
        return act(request, forward)

    rule.met = met
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
def test_what_fails_once_is_asked_again(program, proxy, listings, truth, wanted, act):
    """The first time of each request; so each put's, too, whose repetition finds what the first left (412)."""
    proxy.rule = once_each(wanted, act)
    program.ingest(listings[0])
    program.ingest(listings[1])
    assert sum(method == "PUT" for method, _ in proxy.rule.met) > 20
    proxy.rule = straight
    program.holds(truth[2])


def test_a_lost_answer_is_no_lost_batch(program, proxy, listings, truth):
    """The batch and each commit are put; the answer is lost; asked again, the server says 412."""
    program.ingest(listings[0])
    proxy.reset()
    said = []

    def lost(request, forward):
        answer = forward(request)
        said.append((request.path, answer.status))
        return None if answer.status == 200 else answer

    proxy.rule = lambda request, forward: lost(request, forward) if request.is_conditional else forward(request)
    _, told = program.ingest(listings[1])
    assert "batch 2:" in told
    paths = [path for path, _ in said]
    assert sum("/batches/" in path for path in paths) == 2
    assert [status for _, status in said] == [200, 412] * (len(said) // 2)
    assert len(said) >= 12
    proxy.reset()
    program.holds(truth[2])


@pytest.mark.parametrize("wanted", [is_put, is_batch, is_commit], ids=["file", "batch", "commit"])
def test_a_store_that_forbids_is_said_and_the_lake_is_whole(program, proxy, listings, truth, wanted):
    program.ingest(listings[0])
    program.ingest(listings[1])
    proxy.rule = at([1], wanted, fails(403, "AccessDenied"))
    _, told = program.ingest(listings[2], expect=1)
    assert "403" in told and "AccessDenied" in told and f"lake {program.lake}" in told
    proxy.reset()
    # A batch that is there has happened; the next ingest brings it to every table.
    is_there = wanted is is_commit
    if not is_there:
        program.holds(truth[2])
    assert program.exported(program.lake) == truth[3 if is_there else 2]
    program.ingest(listings[2])
    program.holds(truth[3])


def test_a_writer_that_slept_past_a_vacuum_writes_anew(program, proxy, server, listings, truth):
    """It is stopped right before its batch is put; its files are old, and belong to nothing, and go; it goes on."""
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
        _, told = program.run("lake", "vacuum", program.lake)
        gone = files - set(server.names(program.prefix))
        assert len(gone) > 3 and f"{len(gone)} files removed" in told
    finally:
        sleeper[0].send_signal(signal.SIGCONT)
        wake.set()
    _, told = program.end(sleeper[0])
    # The vacuum took the number 3.
    assert "batch 4:" in told
    program.holds(truth[3])


def test_a_store_that_ignores_the_condition_is_refused(program, proxy, server, listings):
    def ignore(request, forward):
        request.headers = {name: value for name, value in request.headers.items() if name.lower() != "if-none-match"}
        return forward(request)

    proxy.rule = ignore
    _, told = program.ingest(listings[1], expect=1)
    assert "ignores If-None-Match" in told and "two writers" in told
    # Also when it is tried again.
    _, told = program.ingest(listings[1], expect=1)
    assert "ignores If-None-Match" in told
    assert not [name for name in server.names(program.prefix) if name.endswith(".parquet")]


def test_credentials_are_not_told(program, proxy, listings):
    """Program.end looks for the marks in all that is written; here something goes wrong, and much is said."""
    program.variables["AWS_SESSION_TOKEN"] = TOKEN
    proxy.rule = fails(403, "SignatureDoesNotMatch")
    for command in (["ingest", "-v", listings[1], "--lake"], ["report", "-v"], ["lake", "info"], ["lake", "check"]):
        _, told = program.run(*command, program.lake, expect=1)
        assert "403" in told and "SignatureDoesNotMatch" in told and program.lake in told
        assert "Bearer" not in told and "Signature=" not in told
    assert any(SECRET not in str(request.headers) and TOKEN in str(request.headers) for request in proxy.requests)
