"""`kill -9` before every system call that changes a directory entry: all states of a lake that a kill can leave.

strace kills at the N-th call of each kind. A first run without a kill counts the calls. Kills before a write or an
fsync are not tested, because the program writes data to a temporary file first: such a kill leaves the same state as a
kill before the next call that changes a directory entry, plus an unused partial file.
"""

import collections
import concurrent.futures
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

RENAMES = ["rename", "renameat", "renameat2"]
CHANGES = ["mkdir", "linkat", "link", *RENAMES, "unlink", "unlinkat"]
pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


def traced(log, inject=()):
    return ["strace", "-f", "-qq", "-o", log, "-e", f"trace={','.join(CHANGES)}", *inject]


def points(lake, *command):
    """The calls by which a command changes directory entries, each with its number among the calls of the same name."""
    log = lake.root / "trace"
    lake.run(*command, before=traced(log))
    calls = collections.Counter()
    # strace counts the calls of each thread separately.
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE):
        calls[call, thread] += 1
    most = {call: max(n for (other, _), n in calls.items() if other == call) for call, _ in calls}
    assert sum(most.values()) >= 6, calls
    return [(call, n) for call, count in most.items() for n in range(1, count + 1)]


def killed(lake, point, *command):
    """Runs a command and kills it at a point; returns whether it was killed."""
    call, n = point
    inject = ["-e", f"inject={call}:signal=KILL:when={n}"]
    child = lake.start(*command, before=traced(os.devnull, inject))
    child.communicate(timeout=120)
    # Killing a thread kills the process; strace exits with the status of the program.
    assert child.returncode in (0, -signal.SIGKILL), child.returncode
    return child.returncode != 0


def each_point(start, command, after, calls=CHANGES):
    """Kills a command at each of its points, each time on a copy of the lake `start`; `after` checks the result."""

    def one(i, point):
        lake = start.copy(f"{start.root.name}-{i}")
        was_killed = killed(lake, point, *command(lake))
        try:
            after(lake)
        except AssertionError as error:
            raise AssertionError(f"killed at {point}: {error}") from error
        lake.remove()
        return was_killed

    whole = start.copy(f"{start.root.name}-whole")
    all_points = [(call, n) for call, n in points(whole, *command(whole)) if call in calls]
    whole.remove()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        were_killed = list(workers.map(one, range(len(all_points)), all_points))
    # A later run may make fewer calls than the first, for instance because file names are random.
    assert sum(were_killed) >= 0.9 * len(all_points), (sum(were_killed), len(all_points))


def ingest(*documents):
    return lambda lake: ("ingest", "-q", *documents, "--lake", lake.lake)


def test_the_ingest_that_makes_the_lake(lake, growing, truths):
    def after(lake):
        # Until all tables exist, reading the lake is an error.
        if (lake.lake / "snapshots/_delta_log/00000000000000000000.json").exists():
            export = lake.export()
            if any((lake.lake / "_alloclog").glob("batches/*/0*.json")):
                lake.must_be(truths[1])
            else:
                assert all(pq.read_metadata(path).num_rows == 0 for path in export.glob("*.parquet"))
        lake.ingest(growing[0])
        lake.must_be_whole(truths[1])
        lake.must_leave_nothing()

    each_point(lake, ingest(growing[0]), after)


def test_a_later_ingest(lake, growing, truths):
    lake.ingest(*growing[:6])
    is_after = collections.Counter()

    def after(lake):
        is_after[lake.must_be(truths[6], truths[7])] += 1
        lake.ingest(growing[6])
        lake.must_be_whole(truths[7])
        lake.must_leave_nothing()

    each_point(lake, ingest(growing[6]), after)
    # The commit is in the middle of the calls, so some kills come before it and some after it.
    assert min(is_after[0], is_after[1]) > 5, is_after


def test_an_ingest_that_finishes_another_one(lake, growing, truths):
    """An ingest was killed right after its commit. The next ingest finishes the killed one, and is itself killed at
    each of its points."""
    lake.ingest(*growing[:6])
    batches = sum(1 for _ in (lake.lake / "_alloclog/batches").rglob("*.json"))
    for n in range(1, 20):
        half = lake.copy("half")
        assert killed(half, ("linkat", n), *ingest(growing[6])(half))
        if sum(1 for _ in (half.lake / "_alloclog/batches").rglob("*.json")) > batches:
            break
    assert "not yet in every table" in half.check(expect=1)
    half.must_be(truths[7])

    def after(lake):
        lake.must_be(truths[7], truths[8])
        lake.ingest(growing[7])
        lake.must_be_whole(truths[8])

    each_point(half, ingest(growing[7]), after)
    half.remove()


def test_a_checkpoint(lake, growing, truths):
    """Every hundredth version of a table gets a checkpoint, which takes two more renames per table. The test adds empty
    versions, so that an ingest writes the hundredth."""
    lake.ingest(*growing[:6])
    for log in lake.lake.glob("*/_delta_log"):
        last = max(int(path.stem) for path in log.glob("*.json"))
        for version in range(last + 1, 100):
            (log / f"{version:020}.json").write_text('{"commitInfo":{"operation":"NOTHING"}}\n')

    def after(lake):
        lake.must_be(truths[6], truths[7])
        lake.ingest(growing[6])
        lake.ingest(growing[7])
        lake.must_be_whole(truths[8])
        assert len(list(lake.lake.glob("*/_delta_log/*.checkpoint.parquet"))) > 0
        lake.must_leave_nothing()

    each_point(lake, ingest(growing[6]), after, calls=RENAMES)


def test_a_merge_of_files(lake, growing, truth):
    for document in growing:
        lake.ingest(document)

    def after(lake):
        lake.must_be(truth)
        lake.run("lake", "compact", lake.lake)
        lake.must_be_whole(truth)
        lake.must_leave_nothing()

    each_point(lake, lambda lake: ("lake", "compact", lake.lake), after)


def test_a_vacuum(lake, growing, truths):
    lake.ingest(*growing[:6])
    for point in (("renameat", 1), ("renameat", 3), ("linkat", 1), ("linkat", 2)):
        killed(lake, point, *ingest(growing[6])(lake))
    lake.age()
    idle = lake.left_over()
    assert len([name for name in idle if name.endswith(".parquet")]) > 2

    def after(lake):
        lake.must_be(truths[7])
        lake.ingest(growing[7])
        lake.must_be_whole(truths[8])
        lake.must_leave_nothing()

    each_point(lake, lambda lake: ("lake", "vacuum", lake.lake), after)


def test_a_repair(lake, growing, truths):
    for document in growing[:6]:
        lake.ingest(document)
    *_, lost = sorted((lake.lake / "task_events").rglob("*.parquet"), key=lambda path: path.stat().st_mtime)
    lost.unlink()

    def after(lake):
        lake.check("--repair", "--drop-damaged")
        assert lake.check() == ""
        lake.ingest(*growing[:6])
        lake.must_be(truths[6])
        assert lake.check() == ""
        lake.must_leave_nothing()

    each_point(lake, lambda lake: ("lake", "check", "--repair", "--drop-damaged", lake.lake), after)


def test_a_repair_of_a_log(lake, growing, truths):
    """Repairs two logs that each lack a middle version and the last version. No reader sees half of a repair."""
    for document in growing[:6]:
        lake.ingest(document)
    for table in ("task_events", "allocation_history"):
        versions = sorted((lake.lake / table / "_delta_log").glob("*.json"))
        versions[3].unlink()
        versions[-1].unlink()
    assert "--repair fixes this" in lake.check(expect=1)

    def after(lake):
        child = lake.start("export", "-q", lake.lake, "-o", lake.root / "read", "--table", "task_events")
        stderr = child.communicate(timeout=120)[1].decode()
        if child.returncode == 0:
            lake.must_be(truths[6])
        else:
            assert "run `alloclog lake check --repair`" in stderr
        lake.check("--repair")
        lake.ingest(growing[6])
        lake.must_be_whole(truths[7])
        lake.must_leave_nothing()

    each_point(lake, lambda lake: ("lake", "check", "--repair", lake.lake), after)


def test_a_repair_of_swapped_files_and_lost_batches(lake, growing, truths):
    for document in growing[:6]:
        lake.ingest(document)
    one, other = (max((lake.lake / table).rglob("*.zstd.parquet")) for table in ("sightings", "task_state_history"))
    spare = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(spare)
    batches = sorted((lake.lake / "_alloclog/batches").rglob("*.json"))
    for path in (batches[2], batches[-1]):
        path.unlink()
    assert lake.check(expect=1).count("--repair fixes this") == 4

    def after(lake):
        lake.check("--repair")
        lake.must_be(truths[6])
        lake.ingest(growing[6])
        lake.must_be_whole(truths[7])
        lake.must_leave_nothing()

    each_point(lake, lambda lake: ("lake", "check", "--repair", lake.lake), after)


def test_an_upgrade(new_lake):
    """An ingest of documents that a lake of format 1 already has upgrades the lake. See tests/lakes/README.md."""
    tests = Path(__file__).resolve().parents[1]
    documents = [tests / "lakes/quoting.json", tests.parent / "samples/cluster/20261123T182831Z.json"]
    old, upgraded = new_lake(), new_lake()
    for lake in (old, upgraded):
        shutil.copytree(tests / "lakes/format-1", lake.lake)
    assert "nothing new" in upgraded.ingest(*documents)
    truth = upgraded.export()

    def after(lake):
        lake.must_be(truth)
        assert "nothing new" in lake.ingest(*documents)
        lake.must_be(truth)
        assert lake.check() == ""
        assert json.loads((lake.lake / "_alloclog/lake.json").read_text())["format"] > 1
        lake.must_leave_nothing()

    each_point(old, ingest(*documents), after)


def test_leftovers_on_the_machine_are_removed(lake, growing, truths):
    """The first ingest a day later removes the staged rows and the partial caches of killed ingests."""
    lake.ingest(*growing[:6])
    (cache,) = lake.cache.iterdir()
    other = lake.copy("other")
    for point in [*points(other, *ingest(growing[6])(other))[::7], ("linkat", 1)]:
        killed(lake, point, *ingest(growing[6])(lake))
    other.remove()
    left = [path for path in cache.iterdir() if path.name != "seen.parquet"]
    assert len(left) > 1
    lake.ingest(growing[6])
    assert set(left) <= set(cache.iterdir())
    for path in left:
        os.utime(path, (0, 0))
    lake.ingest(growing[6])
    assert [path.name for path in cache.iterdir()] == ["seen.parquet"]
    assert list((lake.root / "scratch").iterdir()) == []
    lake.must_be_whole(truths[7])
