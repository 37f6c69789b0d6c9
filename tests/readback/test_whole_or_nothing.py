"""An export appears completely or not at all, in whatever way it ends."""

import json
import random
import resource
import signal
import subprocess
import time
import uuid

import pytest
from program import TABLES

ALL = ",".join(TABLES)
KILLS = 40


@pytest.fixture(scope="session")
def large(listing, tmp_path_factory):
    """A listing large enough to be killed while it is processed: the sample's allocations, repeated with other IDs."""
    bodies = [(allocation["ID"], json.dumps(allocation)) for allocation in listing]
    chance = random.Random(1)
    path = tmp_path_factory.mktemp("large") / "20261123T184012Z.json"
    with path.open("w") as file:
        file.write("[")
        for copy in range(600):
            for i, (name, body) in enumerate(bodies):
                other = str(uuid.UUID(int=chance.getrandbits(128), version=4))
                file.write(("," if copy or i else "") + body.replace(name, other))
        file.write("]")
    return path


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def take(out, files):
    """Asserts that an export consists of these files, and removes the export."""
    assert content(out) == files
    for path in out.iterdir():
        path.unlink()
    out.rmdir()


@pytest.fixture(scope="session")
def whole(program, large, tmp_path_factory):
    """The files of an uninterrupted export, and how many seconds the export took."""
    out = tmp_path_factory.mktemp("whole") / "out"
    began = time.monotonic()
    program.export(large, "-o", out)
    took = time.monotonic() - began
    return content(out), took


def stopped(program, arguments, how, took, seed):
    """Stops exports at random times, often at the start and near the end; returns the exit codes."""
    chance = random.Random(seed)
    for i in range(KILLS):
        spans = [(0, took), (0, min(0.05, took)), (0.8 * took, 1.2 * took)]
        after = chance.uniform(*spans[i % len(spans)])
        began = time.monotonic()
        child = program.start("export", "-q", *arguments, "--table", ALL)
        try:
            child.wait(timeout=after)
            # The machine may be busy, so the fastest run determines the latest time to stop an export.
            took = min(took, time.monotonic() - began)
        except subprocess.TimeoutExpired:
            child.send_signal(how)
        code = child.wait(timeout=60)
        assert code in (0, -how)
        yield code


def test_a_killed_export_leaves_nothing_under_its_name(program, large, whole, tmp_path):
    files, took = whole
    out = tmp_path / "out"
    killed = 0
    for code in stopped(program, [large, "-o", out], signal.SIGKILL, took, seed=2):
        killed += code != 0
        if code == 0 or out.exists():
            take(out, files)
    assert killed > KILLS / 2
    # A stopped export leaves only hidden files, and the next export removes them.
    assert all(path.name.startswith(".out.") for path in tmp_path.iterdir())
    program.export(large, "-o", out)
    assert content(out) == files
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not any(program.scratch.iterdir())


def test_a_killed_replacement_leaves_the_old_or_the_new_export(program, cluster, large, whole, tmp_path):
    files, took = whole
    out = tmp_path / "out"
    program.export(cluster, "-o", out)
    earlier = content(out)
    for _ in stopped(program, [large, "-o", out, "--force"], signal.SIGKILL, took, seed=3):
        found = content(out)
        assert found in (earlier, files)
        if found == files:
            program.export(cluster, "-o", out, "--force")
    program.export(cluster, "-o", out, "--force")
    assert content(out) == earlier
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_export_leaves_no_files(program, large, whole, tmp_path, how):
    files, took = whole
    out = tmp_path / "out"
    interrupted = 0
    for code in stopped(program, [large, "-o", out], how, took, seed=4):
        interrupted += code != 0
        if code == 0 or out.exists():
            take(out, files)
        assert not any(tmp_path.iterdir())
        assert not any(program.scratch.iterdir())
    assert interrupted > KILLS / 2


def test_an_interrupted_export_to_standard_output_leaves_no_temporary_files(program, large):
    for moment in (0.02, 0.1, 0.2):
        child = program.start("export", "-q", large, "-o", "-", "--table", "task_events")
        time.sleep(moment)
        child.terminate()
        assert child.wait(timeout=60) in (0, -signal.SIGTERM)
        assert not any(program.scratch.iterdir())


def test_an_export_does_not_disturb_a_running_one(program, large, whole, tmp_path):
    files, _ = whole
    children = [program.start("export", "-q", large, "-o", tmp_path / f"out{i}", "--table", ALL) for i in range(3)]
    children.append(program.start("export", "-q", large, "-o", tmp_path / "out0", "--table", ALL))
    codes = [child.wait(timeout=120) for child in children]
    # Two exports had the same target. The later export found the target in use, or checked only after the first export
    # had finished.
    assert codes[1:3] == [0, 0] and 0 in (codes[0], codes[3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out0", "out1", "out2"]
    assert all(content(path) == files for path in tmp_path.iterdir())


@pytest.mark.parametrize("place", ["a file", "below a file", "where nothing can be made"])
def test_an_unwritable_target_fails_before_the_work(program, tmp_path, place):
    file = tmp_path / "file"
    file.write_text("mine")
    out = {"a file": file, "below a file": file / "out", "where nothing can be made": "/proc/out"}[place]
    # Stdin is empty and never closed, so reading it would block forever.
    child = program.start("export", "-", "-o", out, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert child.wait(timeout=10) == 1
    finally:
        child.kill()
        _, stderr = child.communicate()
    assert str(out) in stderr.decode()
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_existing_files_are_not_replaced_without_force(program, cluster, tmp_path):
    out = tmp_path / "out"
    program.export(cluster, "-o", out)
    files = content(out)
    program.export(cluster, "-o", out, "--format", "csv", expect=1)
    assert content(out) == files
    (out / "notes.txt").write_text("mine")
    program.export(cluster, "-o", out, "--force", expect=1)
    assert content(out) == files | {"notes.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_is_full_halfway_leaves_nothing(program, large, tmp_path):
    def full():
        # Writes past the limit fail as on a full disk. The signal SIGXFSZ would end the program, so it is ignored.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    program.export(large, "-o", tmp_path / "out", expect=1, preexec_fn=full)
    assert not any(tmp_path.iterdir())


def test_standard_output_that_cannot_be_written_is_a_failure(program, cluster):
    with open("/dev/full", "wb") as full:
        child = program.start("export", "-q", cluster, "-o", "-", "--table", "task_events", stdout=full)
        assert child.wait(timeout=60) == 1


def test_a_closed_pipe_on_stdout_is_not_a_failure(program, large):
    child = program.start("export", "-q", large, "-o", "-", "--table", "task_events", stdout=subprocess.PIPE)
    child.stdout.read(1)
    child.stdout.close()
    assert child.wait(timeout=60) == 0
