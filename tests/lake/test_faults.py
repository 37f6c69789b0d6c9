"""A full disk, missing permissions, damage and wrong clocks lose no data. The messages are clear, and name the lake."""

import json
import os
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from lakedir import miscounted

FAILED, NOBODY = 1, 65534
FAKETIME = next(Path("/usr").glob("lib/*/faketime/libfaketime.so.1"), None)


@contextmanager
def mounted(*command, at):
    """Mounts a file system at `at`; skips the test if mounting is not permitted."""
    done = subprocess.run(["mount", *command, at], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"mount is not permitted: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def test_a_disk_that_is_full(lake, growing, truths):
    """With few free pages, an ingest fails before its commit. With more, it fails after its commit, or succeeds."""
    lake.ingest(*growing[:5])
    start = lake.copy("start")
    shutil.rmtree(lake.lake)
    lake.lake.mkdir()
    failed = [0, 0]
    with mounted("-t", "tmpfs", "-o", "size=4m", "none", at=lake.lake):
        for left in [0, 4, 8, 12, *range(15, 21), 96]:
            shutil.copytree(start.lake, lake.lake, dirs_exist_ok=True)
            disk = os.statvfs(lake.lake)
            (lake.lake / "filler").write_bytes(bytes((disk.f_bavail - left) * disk.f_frsize))
            child = lake.start("ingest", growing[5], "--lake", lake.lake)
            stderr = child.communicate()[1].decode()
            (lake.lake / "filler").unlink()
            is_after = lake.must_be(truths[5], truths[6])
            if child.returncode != 0:
                assert child.returncode == FAILED and f"lake {lake.lake}" in stderr and "No space left" in stderr
                failed[is_after] += 1
                lake.ingest(growing[5])
                lake.must_be_whole(truths[6])
                lake.must_leave_nothing()
            for path in lake.lake.iterdir():
                shutil.rmtree(path)
            shutil.rmtree(lake.cache)
    start.remove()
    assert failed[0] > 2 and failed[1] > 0 and child.returncode == 0, failed


def test_files_that_may_not_grow(lake, growing, truths):
    """Like a full disk, but needs no mount: a limit on file sizes makes writes fail."""
    lake.ingest(*growing[:5])

    def limited(size):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        return limit

    for size in (0, 1, 500, 4_000, 8_000):
        stderr = lake.ingest(growing[5], preexec_fn=limited(size), expect=FAILED)
        assert "File too large" in stderr
        lake.must_be(truths[5], truths[6])
    lake.ingest(growing[5])
    lake.must_be_whole(truths[6])
    lake.must_leave_nothing()


def test_a_directory_that_is_read_only(lake, growing, truths):
    lake.ingest(*growing[:5])
    with mounted("--bind", lake.lake, at=lake.lake):
        subprocess.run(["mount", "-o", "remount,bind,ro", lake.lake], check=True)
        stderr = lake.ingest(growing[5], expect=FAILED)
        assert f"lake {lake.lake}" in stderr and "Read-only file system" in stderr
        assert lake.check() == ""
        lake.must_be(truths[5])
        assert "Read-only" in lake.run("lake", "compact", lake.lake, expect=FAILED)
        assert "Read-only" in lake.run("lake", "vacuum", lake.lake, expect=FAILED)
    lake.ingest(growing[5])
    lake.must_be_whole(truths[6])


def let_others_run(lake):
    """Lets another user run the program and reach the lake; skips the test if the program's directory is private."""
    public = Path(lake.binary)
    if not all(path.stat().st_mode & 0o001 for path in [public, *public.parents]):
        pytest.skip("another user cannot run the program in its directory")
    for path in [lake.root, *lake.root.parents]:
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_missing_permissions_of_another_user(lake, growing, truths):
    """With read permission, everything except writing works. Without it, a command reports an error."""
    lake.ingest(*growing[:5])
    let_others_run(lake)
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    lake.environment()
    shutil.chown(lake.root / "scratch", NOBODY)
    cache = lake.root / "scratch/cache"
    stderr = lake.ingest(growing[5], expect=FAILED, cache=cache, **nobody)
    assert f"lake {lake.lake}" in stderr and "Permission denied" in stderr
    assert lake.check(**nobody) == ""
    stderr = lake.run("lake", "compact", lake.lake, expect=FAILED, **nobody)
    assert f"lake {lake.lake}" in stderr and "Permission denied" in stderr
    lake.must_be(truths[5])
    hidden = lake.lake / "task_events/_delta_log"
    hidden.chmod(0o700)
    stderr = lake.run("lake", "info", lake.lake, expect=FAILED, **nobody)
    assert f"lake {lake.lake}" in stderr and "task_events/_delta_log" in stderr and "Permission denied" in stderr
    hidden.chmod(0o755)
    lake.ingest(growing[5])
    lake.must_be_whole(truths[6])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_repair_drops_no_file_that_it_may_not_read(lake, growing, truths):
    """The lake belongs to the user who repairs it, except for one file that only root can read."""
    lake.ingest(*growing[:5])
    let_others_run(lake)
    for path in [lake.lake, *lake.lake.rglob("*")]:
        shutil.chown(path, NOBODY)
    *_, hidden = sorted((lake.lake / "task_events").rglob("*.parquet"))
    shutil.chown(hidden, 0)
    hidden.chmod(0o600)
    lake.environment()
    shutil.chown(lake.root / "scratch", NOBODY)
    before = lake.files()
    for arguments in ([], ["--repair"], ["--repair", "--drop-damaged"]):
        stderr = lake.check(*arguments, expect=FAILED, user=NOBODY, group=NOBODY, extra_groups=[])
        assert "Permission denied" in stderr and hidden.name in stderr and "drop" not in stderr
        assert lake.files() == before
    lake.must_be_whole(truths[5])


def at(offset):
    """The options that start the program with a clock that has this offset."""
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed")
    return {"environment": {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset}}


@pytest.mark.parametrize("cached", [True, False])
def test_a_clock_that_jumps(lake, growing, truth, cached):
    """Every row is stored once, even if clocks are years or an hour slow, years fast, or before 1980."""
    offsets = ["+0", "-2y", "-1h", "+0", "+5y", "+0", "-45y", "-4d", "+4d", "-3d", "+0", "-1s"]
    for document, offset in zip(growing, offsets, strict=True):
        lake.ingest(document, **at(offset))
        lake.ingest(growing[2], **at(offset))
        if not cached:
            shutil.rmtree(lake.cache)
            shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
    lake.run("lake", "compact", lake.lake, **at("-1y"))
    for _ in range(2):
        lake.must_be(truth)
        assert miscounted(lake.root / "export") == {}
        # A check reports documents ingested while the clock was years slow, but no damage.
        assert lake.check() == ""
        stderr = lake.run("lake", "check", lake.lake)
        named = [line for line in stderr.splitlines() if line.endswith("its time is not trusted")]
        for line, document in zip(named, (growing[1], growing[6]), strict=True):
            assert document.name in line, line
        lake.ingest(*growing)


def test_merged_files_are_removed_after_a_week(lake, growing, truth):
    """Files that were merged stay for running readers, no matter how old the files are. A vacuum removes them
    a week after the merge."""
    for document in growing:
        lake.ingest(document)
    other = lake.copy("earlier-merge")
    lake.run("lake", "compact", lake.lake)
    lake.age()
    lake.vacuum()
    _, taken_out = lake.data_files()
    assert len(taken_out) > len(growing) and taken_out <= lake.files()
    other.run("lake", "compact", other.lake, **at("-8d"))
    other.age()
    other.vacuum()
    there, taken_out = other.data_files()
    assert len(taken_out) > len(growing) and not taken_out & other.files() and there <= other.files()
    for lake in (lake, other):
        lake.must_be_whole(truth)
        lake.ingest(*growing)
        lake.must_be_whole(truth)
    other.remove()


COMMANDS = [
    ("export", "-o", "out", "--table", "task_events"),
    ("lake", "info"),
    ("lake", "check"),
    ("lake", "compact"),
    ("lake", "vacuum"),
    ("ingest",),
]


def each_says(lake, document, *words):
    """Asserts that every command on the lake fails, and that its message has these texts and the name of the lake."""
    for command in COMMANDS:
        where = [document, "--lake", lake.lake] if command == ("ingest",) else [lake.lake]
        stderr = lake.run(*command, *where, expect=FAILED, cwd=lake.root)
        assert all(word in stderr for word in [str(lake.lake), *words]), (command, stderr)


def test_a_lake_of_a_newer_format(lake, growing):
    lake.ingest(growing[0])
    about = lake.lake / "_alloclog/lake.json"
    about.write_text(json.dumps(json.loads(about.read_bytes()) | {"format": 99}))
    before = lake.files()
    each_says(lake, growing[1], "format 99", "use a newer one")
    assert lake.files() == before


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"garbage \xff", b"[]"])
def test_a_lake_whose_description_is_damaged(lake, growing, content):
    lake.ingest(growing[0])
    (lake.lake / "_alloclog/lake.json").write_bytes(content)
    before = lake.files()
    each_says(lake, growing[1], "_alloclog/lake.json is damaged")
    assert lake.files() == before


def test_a_batch_that_is_damaged(lake, growing, truths):
    """If the last batch is damaged and no table has it yet, every command fails. A check finds older damage."""
    for document in growing[:3]:
        lake.ingest(document)
    name = "_alloclog/batches/000000000/000000000004.json"
    (lake.lake / name).write_bytes(b'{"id": "half of')
    each_says(lake, growing[3], f"{name} is damaged")
    (lake.lake / name).unlink()
    lake.must_be_whole(truths[3])
    old = name.replace("04.json", "02.json")
    (lake.lake / old).write_bytes(b'{"id": "half of')
    assert old in lake.check(expect=FAILED)
    lake.must_be(truths[3])
    lake.ingest(growing[3])
    lake.must_be(truths[4])
    (lake.lake / old).unlink()
    assert old in lake.check(expect=FAILED)


def test_a_version_of_a_log_that_is_damaged(lake, growing):
    lake.ingest(growing[0])
    name = "task_events/_delta_log/00000000000000000001.json"
    (lake.lake / name).write_bytes((lake.lake / name).read_bytes()[:-20])
    # Remove the caches: with a cache, an ingest would not read the damaged version.
    shutil.rmtree(lake.cache)
    shutil.rmtree(lake.lake / "_alloclog/seen")
    each_says(lake, growing[1], f"{name} is damaged")


def removed(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def overwritten(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("table", ["task_events", "allocation_history", "sightings", "snapshots"])
@pytest.mark.parametrize("damage", [removed, cut, overwritten])
def test_a_data_file_that_is_gone(lake, growing, truths, damage, table):
    """A check reports the file, and a repair drops it. Its rows are added again from sources that still show them."""
    for document in growing[:3]:
        lake.ingest(document)
    *_, path = sorted((lake.lake / table).rglob("*.parquet"), key=lambda path: path.stat().st_mtime)
    name = str(path.relative_to(lake.lake))
    damage(path)
    assert name in lake.check(expect=FAILED)
    stderr = lake.run("export", lake.lake, "-o", "out", "--table", table, cwd=lake.root, expect=FAILED)
    assert name in stderr and str(lake.lake) in stderr
    before = lake.files()
    for arguments in (["--repair"], ["--repair", "--drop-damaged", "--dry-run"]):
        stderr = lake.check(*arguments, expect=FAILED)
        assert name in stderr and f"{table}: 1 file with" in stderr
        assert lake.files() == before
    assert name in lake.check("--repair", "--drop-damaged")
    assert lake.check() == ""
    lake.ingest(*growing[:3])
    lake.must_be(truths[3])
    assert lake.check() == ""


def test_rows_that_are_there_twice(lake, growing, truths):
    """Only a fault, such as a file that was copied back into a table, can cause duplicate rows."""
    for document in growing[:3]:
        lake.ingest(document)
    log = lake.lake / "allocation_history/_delta_log"
    last = max(int(path.stem) for path in log.glob("*.json"))
    actions = map(json.loads, (log / f"{last:020}.json").read_text().splitlines())
    add = next(action for action in actions if "add" in action)
    path = add["add"]["path"]
    add["add"]["path"] = f"copy-of-{path}"
    shutil.copy(log.parent / path, log.parent / f"copy-of-{path}")
    (log / f"{last + 1:020}.json").write_text(json.dumps(add) + "\n")
    assert "duplicate rows" in lake.check(expect=FAILED)
    lake.check("--repair")
    lake.must_be_whole(truths[3])
