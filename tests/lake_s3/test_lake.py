"""A lake in a bucket, with one writer and with several."""

import json
import re
import time

import pytest
from documents import on_another_day, parts
from proxy import at


def reports(program, *inputs):
    return [json.loads(program.run("report", "--format", "json", *sources)[0]) for sources in inputs]


def nulls(some, all, name=""):
    """The names of the values of `all` that are null in `some`. Asserts that all other values are equal."""
    if isinstance(all, dict):
        assert some.keys() == all.keys()
        return [null for key in all for null in nulls(some[key], all[key], key)]
    if isinstance(all, list):
        assert len(some) == len(all)
        return [null for one, other in zip(some, all, strict=True) for null in nulls(one, other, name)]
    assert some in (None, all), (name, some, all)
    return [] if some == all else [name]


def test_a_lake_in_a_bucket(program, listings, truth):
    for listing in listings:
        program.ingest(listing)
    _, stderr = program.ingest(*listings)
    assert "nothing new" in stderr
    program.holds(truth[6])

    info = json.loads(program.run("lake", "info", program.lake, "--format", "json")[0])
    assert (info["batches"], info["unfinished"]) == (6, 0)
    counts = {name: rows.total() for name, rows in truth[6].items()}
    # No document here is a full listing, so there are no absences.
    assert {table["table"]: table["rows"] for table in info["tables"]} == {"absences": 0, "log_events": 0} | counts

    of_lake, of_sources = reports(program, [program.lake], listings)
    assert of_lake["input"]["task_events"] == counts["task_events"]
    # A lake does not know which partial document showed a running allocation last.
    unknown = nulls(of_lake, of_sources)
    assert unknown and set(unknown) <= {"task_days", "restarts_per_task_day"}, unknown
    full = f"{program.lake}-of-full-listings"
    program.run("ingest", *listings, "--full-listing", "--lake", full)
    of_lake, of_sources = reports(program, [full], [*listings, "--full-listing"])
    assert of_lake == of_sources
    counted = program.run("query", "SELECT count(*) AS n FROM task_events", program.lake, "--format", "csv")[0]
    assert counted.split() == ["n", str(counts["task_events"])]


@pytest.mark.parametrize("writers", [2, 8])
def test_concurrent_writers_add_each_row_once(program, proxy, listings, tmp_path, writers):
    """The writers create the lake, their documents overlap, and answers to puts are delayed."""
    documents = [document for listing in listings[1:4] for document in parts(listing, tmp_path, size=4, step=2)]
    shares = [documents[number::writers] for number in range(writers)]

    def slow(request, forward):
        time.sleep(0.05 if request.is_conditional else 0)
        return forward(request)

    proxy.rule = slow
    started = [program.start("ingest", *share, "--lake", program.lake) for share in shares]
    for process in started:
        program.end(process)
    lost = [request for request in proxy.requests if request.is_conditional and "/batches/" in request.path]
    assert len(lost) > writers, "no two writers tried to create the same batch"
    program.holds(program.exported(*documents))


def test_a_compaction_skips_files_merged_by_others(program, proxy, server, small_files):
    """delta-rs merges the same files right before the program commits its merge."""

    def merge_first(request, forward):
        merged = server.table(program.prefix, "task_events").optimize.compact()
        assert merged["numFilesRemoved"] >= 8
        return forward(request)

    proxy.rule = at([1], lambda request: request.is_conditional and "/task_events/_delta_log/" in request.path, merge_first)
    _, stderr = program.run("lake", "compact", program.lake)
    assert "1 group skipped, already merged by another process" in stderr
    # The compaction removes the file that it merged. The small files and the merged file of delta-rs stay.
    names = [name for name in server.names(f"{program.prefix}task_events/") if name.endswith(".parquet")]
    info = json.loads(program.run("lake", "info", program.lake, "--format", "json")[0])
    (events,) = (table for table in info["tables"] if table["table"] == "task_events")
    assert events["files"] == 1 and len(names) == len(small_files.documents) + 1
    program.holds(small_files.truth, word="are unverified: task_events 1")


def test_filters_spare_requests(program, proxy, listings, tmp_path):
    """In a lake of three distant days, the program reads only the files that a filter needs."""
    # No document has a time after now, because such a time would not be trusted.
    for days in (-20, -10, 0):
        program.ingest(on_another_day(listings[4], tmp_path, days))

    def asked(*filters):
        """The days of the task events in the result, the days of the files read, and the number of requests."""
        proxy.reset()
        out, _ = program.run("query", "task_events", program.lake, "--format", "ndjson", *filters)
        assert all(request.method in ("GET", "HEAD") for request in proxy.requests)
        files = {request.path for request in proxy.requests if "/task_events/event_date" in request.path}
        of_files = {re.search(r"event_date(?:%3D|=)([^/]+)/", path)[1] for path in files}
        return {json.loads(line)["event_date"] for line in out.splitlines()}, of_files, len(proxy.requests)

    first, second, third = "2026-11-03", "2026-11-13", "2026-11-23"
    every = ["--since", "2026-11-01T00:00:00Z"]
    in_all, of_all, requests = asked(*every)
    assert in_all == of_all == {first, second, third}
    # By default, the program reads one week.
    in_week, of_week, fewer = asked()
    assert in_week == of_week == {third}
    assert fewer < requests
    # The program searches all three days for allocations of the job, and then reads only the rows of these allocations.
    in_job, _, fewer = asked(*every, "--job", "00*")
    assert in_job == {third}
    assert fewer < requests
    assert asked("--job", "nobody's")[0] == set()
