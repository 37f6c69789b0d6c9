"""A check finds each kind of damage. After a repair that loses nothing, delta-rs counts as many rows as before."""

import json
import os
import shutil
from pathlib import Path

import deltalake
import pytest
from log_damage import (
    LOG,
    batches,
    changed_metadata,
    changed_path,
    changed_statistics,
    changed_transaction,
    counts,
    data_files,
    edited,
    half_a_line,
    lost_add_line,
    lost_last_versions,
    lost_ledger,
    lost_log,
    lost_remove_lines,
    lost_version,
    name_of,
    versions,
)
from stored import STORED

FAILED = 1


@pytest.fixture(scope="module")
def made(binary, ground, growing):
    """A lake of eight batches, a compaction, two more batches, and checkpoints. Each test works on a copy."""
    from lakedir import LakeDir

    lake = LakeDir(binary, ground / "made-for-damage")
    for document in growing[:8]:
        lake.ingest(document)
    for log in lake.lake.glob("*/_delta_log"):
        last = max(int(path.stem) for path in log.glob("*.json"))
        for version in range(last + 1, 99):
            (log / f"{version:020}.json").write_text('{"commitInfo":{"operation":"NOTHING"}}\n')
    lake.run("lake", "compact", lake.lake)
    for document in growing[8:10]:
        lake.ingest(document)
    return lake


@pytest.fixture
def lake(made, numbers):
    copy = made.copy(f"damaged-{next(numbers)}")
    yield copy
    copy.remove()


@pytest.fixture(scope="module")
def young(binary, ground, growing):
    """A lake of five batches, without a checkpoint."""
    from lakedir import LakeDir

    lake = LakeDir(binary, ground / "made-young")
    for document in growing[:5]:
        lake.ingest(document)
    return lake


@pytest.fixture
def young_lake(young, numbers):
    copy = young.copy(f"young-{next(numbers)}")
    yield copy
    copy.remove()


def test_the_test_lake_has_everything_that_is_damaged(made, truths):
    assert made.check() == ""
    made.must_be(truths[10])
    replaced = [json.loads(path.read_text()).get("replaced", {}) for path in batches(made)]
    assert "task_events" in set().union(*replaced)
    assert (made.lake / LOG / "_last_checkpoint").exists()


# Damage that a repair can undo from the rest of the lake: the function that causes it, and the fixture to damage.


MENDED = {
    "first version": (lost_version("first"), "young"),
    "middle version": (lost_version("middle"), "young"),
    "last version": (lost_version("last"), "young"),
    "last versions": (lost_last_versions, "young"),
    "last versions after a checkpoint": (lost_last_versions, "made"),
    "add line": (lost_add_line, "young"),
    "statistics": (changed_statistics, "young"),
    "transaction": (changed_transaction, "young"),
    "path": (changed_path, "young"),
    "name of a column": (changed_metadata('\\"name\\":\\"alloc_id\\"', '\\"name\\":\\"alloc_ie\\"'), "young"),
    "type of a column": (changed_metadata('event_at_ns\\",\\"nullable\\":true,\\"type\\":\\"long', 'event_at_ns\\",\\"nullable\\":true,\\"type\\":\\"integer'), "young"),
    "partition column": (changed_metadata('"partitionColumns":["event_date"]', '"partitionColumns":[]'), "young"),
    "format": (changed_metadata('"alloclog.format":"3"', '"alloclog.format":"2"'), "young"),
    "half a line": (half_a_line, "young"),
    "log": (lost_log, "young"),
    "log with a checkpoint": (lost_log, "made"),
    "ledger": (lost_ledger, "young"),
}


@pytest.mark.parametrize(("damage", "which"), MENDED.values(), ids=MENDED)
def test_a_damaged_log_is_found_refused_and_rewritten(request, growing, truths, damage, which):
    lake = request.getfixturevalue("young_lake" if which == "young" else "lake")
    documents = 5 if which == "young" else 10
    before = counts(lake)
    word = damage(lake)
    damaged = {name: (lake.lake / name).read_bytes() for name in lake.files()}
    said = lake.check(expect=FAILED)
    assert word in said and "--repair fixes this without losing a row" in said and "--drop-damaged" not in said
    said = lake.check("--repair", "--dry-run", expect=FAILED)
    assert word in said and "would be repaired" in said
    # An ingest that finds no cache must not continue on the damaged log.
    shutil.rmtree(lake.cache)
    shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
    damaged = {name: content for name, content in damaged.items() if "_alloclog/seen" not in name}
    edits = {"does not list", "contradict each other on", "which no batch added"}
    if word not in edits and "metadata" not in word:
        said = lake.ingest(growing[documents], expect=FAILED)
        assert "lake check --repair" in said or "is damaged" in said, said
        assert {name: (lake.lake / name).read_bytes() for name in lake.files()} == damaged
    assert word in lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.must_be(truths[documents])
    lake.ingest(growing[documents])
    lake.must_be_whole(truths[documents + 1])


def test_lost_remove_lines_are_found_and_rewritten(lake, truths):
    before = counts(lake)
    for path in (lake.lake / LOG).glob("*checkpoint*"):
        path.unlink()
    word = lost_remove_lines(lake)
    assert word in lake.check(expect=FAILED)
    lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.must_be(truths[10])


@pytest.mark.parametrize("are_versions_there", [True, False])
def test_a_lost_checkpoint(lake, growing, truths, are_versions_there):
    """A repair can use the versions before a checkpoint instead of the checkpoint. If these versions are lost, too, the
    repair writes the log from the batches."""
    before = counts(lake)
    (checkpoint,) = (lake.lake / LOG).glob("*.checkpoint.parquet")
    checkpoint.unlink()
    if not are_versions_there:
        for path in versions(lake):
            if int(path.stem) < 100:
                path.unlink()
    said = lake.check(expect=FAILED)
    assert name_of(lake, checkpoint) in said and "--repair fixes this without losing a row" in said
    if are_versions_there:
        lake.must_be(truths[10])
    else:
        shutil.rmtree(lake.cache)
        shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
        assert name_of(lake, checkpoint) in lake.ingest(growing[10], expect=FAILED)
    lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.ingest(growing[10])
    lake.must_be_whole(truths[11])


# Damage that loses rows, unless a backup has the file.


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def overwritten(path):
    """Changes eight bytes in the middle of a column. The file may still be valid Parquet."""
    content = bytearray(path.read_bytes())
    content[60:68] = b"\xff" * 8
    path.write_bytes(content)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


LOST = {"flipped bit": flipped, "eight bytes": overwritten, "truncated file": truncated, "missing file": Path.unlink}


@pytest.mark.parametrize("damage", LOST.values(), ids=LOST)
@pytest.mark.parametrize("is_merged", [True, False], ids=["merged", "small"])
def test_a_damaged_data_file_is_found_and_kept_until_its_removal_is_requested(lake, growing, truths, damage, is_merged):
    there, _ = lake.data_files()
    live = [path for path in data_files(lake) if name_of(lake, path) in there]
    path = max(live, key=lambda path: path.stat().st_size) if is_merged else live[-1]
    backup = lake.root / "backup"
    shutil.copy2(path, backup)
    before = lake.files()
    damage(path)
    said = lake.check(expect=FAILED)
    assert name_of(lake, path) in said and "--repair --drop-damaged drops it" in said
    assert name_of(lake, path) in lake.check("--repair", expect=FAILED)
    assert lake.files() | {name_of(lake, path)} == before
    # A copy of the file from anywhere replaces the damaged one.
    shutil.copy2(backup, path)
    assert lake.check() == ""
    lake.must_be(truths[10])
    damage(path)
    said = lake.check("--repair", "--drop-damaged")
    assert "task_events: 1 file with" in said and "dropped" in said
    assert lake.check() == ""
    lake.ingest(*growing[:10])
    lake.must_be(truths[10])
    assert lake.check() == ""


def test_damaged_bytes_are_neither_read_nor_merged(young_lake):
    """A reader of these bytes would return wrong rows without a message. A merge would give these rows a valid hash."""
    lake = young_lake
    path = data_files(lake)[-1]
    overwritten(path)
    for command in (["export", lake.lake, "-o", "out"], ["lake", "compact", lake.lake]):
        said = lake.run(*command, expect=FAILED, cwd=lake.root)
        assert name_of(lake, path) in said and "its hash differs" in said
    said = lake.check(expect=FAILED)
    assert name_of(lake, path) in said and "--repair --drop-damaged drops it" in said


def rotated(*paths):
    """Moves each file to the name of the next one."""
    contents = [path.read_bytes() for path in paths]
    for path, content in zip([*paths[1:], paths[0]], contents, strict=True):
        path.write_bytes(content)


@pytest.mark.parametrize(
    "tables",
    [["sightings", "task_state_history"], ["task_events", "snapshots", "task_events"]],
    ids=["two", "three"],
)
def test_swapped_files_of_two_tables_are_found_and_repaired(lake, growing, truths, tables):
    there, _ = lake.data_files()
    live = {table: [path for path in data_files(lake, table) if name_of(lake, path) in there] for table in set(tables)}
    swapped = [live[table].pop() for table in tables]
    before = counts(lake)
    rotated(*swapped)
    damaged = lake.files()
    said = lake.check(expect=FAILED)
    assert all(name_of(lake, path) in said for path in swapped)
    assert said.count("--repair fixes this without losing a row") == len(tables) and "drop" not in said
    assert lake.files() == damaged
    lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.must_be(truths[10])
    lake.ingest(growing[10])
    lake.must_be_whole(truths[11])
    lake.must_leave_nothing()


def test_a_file_under_the_name_of_another_one_repairs_only_itself(lake, truths):
    """A file was renamed to the name of another one. Its own bytes still exist; those of the other file are lost."""
    there, _ = lake.data_files()
    one, other = [path for path in data_files(lake, "task_state_history") if name_of(lake, path) in there][-2:]
    other.rename(one)
    said = lake.check("--repair", expect=FAILED)
    (kept,) = [line for line in said.splitlines() if "has the bytes of another file" in line]
    (lost,) = [line for line in said.splitlines() if "--drop-damaged drops it" in line]
    assert name_of(lake, other) in kept and "(repaired)" in kept and name_of(lake, one) in lost
    assert name_of(lake, other) not in lake.check(expect=FAILED)


def test_a_missing_or_changed_batch_is_found_and_rebuilt_from_the_logs(lake, growing, truths):
    numbers = range(1, len(batches(lake)) + 1)
    # Among these are the batch of an ingest, the batches of the compaction, and the last batch.
    for number in (1, 8, 9, 10, numbers[-1]):
        path = batches(lake)[number - 1]
        whole = path.read_bytes()
        for damaged in (None, whole[:-20], whole.replace(b'"numRecords', b'"numrecords').replace(b'"written_ms":1', b'"written_ms":2')):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            if damaged is None or damaged == whole[:-20]:
                word = f"{number:012}.json is {'missing' if damaged is None else 'damaged'}"
            elif number == numbers[-1]:
                continue  # No later batch records the hash of the last batch.
            else:
                word = f"batch {number} was changed: batch {number + 1} records another hash of it"
            said = lake.check(expect=FAILED)
            assert word in said and "--repair fixes this without losing a row" in said, said
            before = lake.files()
            assert word in lake.check("--repair", "--dry-run", expect=FAILED)
            assert lake.files() == before
            assert word in lake.check("--repair")
            assert lake.check() == "", word
        path.write_bytes(whole)
    assert lake.check() == ""
    lake.must_be(truths[10])


@pytest.mark.parametrize("which", ["the last", "the last three", "all"])
def test_lost_batches_stop_an_ingest_until_a_repair(lake, growing, truths, which):
    before = counts(lake)
    for path in {"the last": batches(lake)[-1:], "the last three": batches(lake)[-3:], "all": batches(lake)}[which]:
        path.unlink()
    said = lake.ingest(growing[10], expect=FAILED)
    assert "is missing" in said and "lake check --repair" in said and "nothing was committed" in said
    lake.must_be(truths[10])
    lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.ingest(*growing[:11])
    lake.must_be_whole(truths[11])
    # If a log loses versions later, a repair restores them from the rebuilt batches.
    lost_last_versions(lake)
    lake.check("--repair")
    lake.must_be_whole(truths[11])


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{")], ids=["missing", "damaged"])
@pytest.mark.parametrize("reached", [0, 3])
def test_a_lost_batch_that_some_tables_lack_is_replaced_only_on_request(young_lake, growing, truths, damage, reached):
    """A writer is killed after it has committed a batch and applied it to `reached` tables. Then the batch is lost."""
    lake = young_lake
    lake.ingest(growing[5])
    lake.must_be_whole(truths[6])
    order = ["task_events", "allocation_history", "task_state_history", "sightings", "absences", "nodes", "log_events", "snapshots"]
    lost = batches(lake)[-1]
    of_table = json.loads(lost.read_text())["reached"]
    for table in [table for table in order if of_table.get(table) == of_table["snapshots"]][reached:]:
        versions(lake, table)[-1].unlink()
    damage(lost)
    if reached == 0 and not lost.exists():
        # Nothing in the lake refers to the batch, so the lake is in the same state as before the batch.
        assert lake.check() == ""
        lake.must_be(truths[5])
        return
    shutil.rmtree(lake.cache)
    shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
    before = lake.files()
    said = lake.ingest(growing[5], expect=FAILED)
    assert name_of(lake, lost) in said and "lake check --repair" in said
    said = lake.check("--repair", expect=FAILED)
    assert name_of(lake, lost) in said and "--repair --drop-damaged replaces it" in said
    assert lake.files() == before
    lake.check("--repair", "--drop-damaged")
    assert lake.check() == ""
    lake.ingest(*growing[:6])
    lake.must_be(truths[6])
    assert lake.check() == ""


@pytest.mark.parametrize("lost", ["lake.json", "batches", ""], ids=["lake.json", "batches", "all of it"])
def test_tables_without_their_lake_are_not_taken_for_a_new_one(lake, growing, truths, lost):
    path = lake.lake / "_alloclog" / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    before, rows = lake.files(), counts(lake)
    said = lake.ingest(growing[10], expect=FAILED)
    assert "is missing" in said and "lake check --repair" in said
    assert lake.files() == before
    assert "is missing" in lake.check(expect=FAILED)
    # A dry run prints what a repair would do, and exits with the code of a check that leaves damage.
    said = lake.check("--repair", "--dry-run", expect=FAILED)
    for name in [lost] if lost else ["lake.json", "batches"]:
        (line, *_) = [line for line in said.splitlines() if f"_alloclog/{name}" in line]
        assert line.endswith("(would be repaired)"), said
    assert lake.files() == before
    said = lake.check("--repair")
    assert said.count("(repaired)") == len(said.splitlines()) > 0, said
    assert lake.check() == ""
    assert counts(lake) == rows
    lake.ingest(*growing[:11])
    lake.must_be_whole(truths[11])


DESCRIPTIONS = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:4] + bytes([content[4] ^ 1]) + content[5:],
    "flipped-in-the-id": lambda content: content.replace(b'"id": "', b'"id": "\x7f', 1),
    "zeros": lambda content: bytes(len(content)),
    "other-json": lambda content: b"[1, 2]",
    "a-newer-format": lambda content: json.dumps(json.loads(content) | {"format": 99}).encode(),
    "no-format": lambda content: json.dumps(json.loads(content) | {"format": 0}).encode(),
}


@pytest.mark.parametrize("damage", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_damaged_description_is_rebuilt_from_the_tables(lake, growing, truths, damage):
    path = lake.lake / "_alloclog/lake.json"
    content = path.read_bytes()
    path.write_bytes(damage(content))
    rows, before = counts(lake), {name: (lake.lake / name).read_bytes() for name in lake.files()}

    def is_unchanged():
        return before == {name: (lake.lake / name).read_bytes() for name in lake.files()}

    commands = [("ingest", growing[10], "--lake"), ("report",), ("lake", "info"), ("lake", "check")]
    for said in [lake.run(*command, lake.lake, expect=FAILED) for command in commands]:
        assert "_alloclog/lake.json" in said and "lake check --repair" in said
    said = lake.check("--repair", "--dry-run", expect=FAILED)
    assert "_alloclog/lake.json" in said and said.endswith("(would be repaired)\n")
    assert is_unchanged()
    said = lake.check("--repair")
    assert "_alloclog/lake.json" in said and said.endswith("(repaired)\n")
    was, rebuilt = (json.loads(each) for each in (content, path.read_bytes()))
    assert rebuilt["format"] == was["format"] and rebuilt.keys() == was.keys()
    assert lake.check() == "" and counts(lake) == rows
    lake.ingest(*growing[:11])
    lake.must_be_whole(truths[11])


def test_a_damaged_description_without_tables_is_not_rebuilt(lake):
    """Without the logs of the tables, nothing else shows the format of the lake."""
    for table in STORED:
        shutil.rmtree(lake.lake / table / "_delta_log")
    path = lake.lake / "_alloclog/lake.json"
    path.write_bytes(b"{")
    before = lake.files()
    said = lake.check("--repair", "--drop-damaged", expect=FAILED)
    assert "_alloclog/lake.json is damaged" in said and "no log of a table says the format" in said
    assert lake.files() == before and path.read_bytes() == b"{"


@pytest.mark.parametrize("is_description_lost", [True, False])
def test_a_damaged_description_and_a_damaged_log(lake, truths, is_description_lost):
    """A repair takes the format from the other logs, and then rebuilds the damaged log from the batches."""
    path = lake.lake / "_alloclog/lake.json"
    path.unlink() if is_description_lost else path.write_bytes(b"")
    shutil.rmtree(lake.lake / "task_events/_delta_log")
    rows = len(data_files(lake))
    lake.check("--repair")
    assert lake.check() == "" and len(data_files(lake)) == rows
    lake.must_be_whole(truths[10])


def test_a_vacuum_removes_no_file_that_a_damaged_log_does_not_name(young_lake, truths):
    lake = young_lake
    lost_add_line(lake)
    lake.age()
    before = lake.files()
    assert "lake check --repair" in lake.vacuum(expect=FAILED)
    assert lake.files() == before
    lake.check("--repair")
    lake.vacuum()
    lake.must_be_whole(truths[5])


def test_another_engines_files_are_unverified_and_its_merges_no_damage(lake, truths):
    deltalake.DeltaTable(str(lake.lake / "task_events")).optimize.compact()
    before = counts(lake)
    said = lake.run("lake", "check", lake.lake)
    assert "unverified" in said and "task_events" in said
    lake.must_be(truths[10])
    # If a version is lost after this, a repair restores it, and every row is stored once.
    lost_last_versions(lake)
    assert "the log of task_events" in lake.check(expect=FAILED)
    lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.must_be(truths[10])


def merged_and_removed(lake, table="task_events"):
    """Another engine merges the files of a table, and removes the files that it merged."""
    path = str(lake.lake / table)
    deltalake.DeltaTable(path).optimize.compact()
    deltalake.DeltaTable(path).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


def test_a_log_of_files_that_another_engine_merged_and_removed(lake, growing, truths):
    """A repair must not list files that were merged and no longer exist."""
    merged_and_removed(lake)
    lake.ingest(growing[10])
    lake.must_be(truths[11])
    before = counts(lake)
    # Remove the version of the last ingest, whose file still exists.
    versions(lake)[-1].unlink()
    said = lake.check(expect=FAILED)
    assert "the log of task_events" in said and "drop" not in said
    lake.check("--repair")
    assert lake.check() == ""
    assert counts(lake) == before
    lake.must_be(truths[11])


def test_rows_that_only_another_engines_lost_files_have_are_dropped_only_on_request(lake, growing, truths):
    """The log loses the versions of an ingest and of a later merge. The file of the ingest was removed, and no log
    lists the merged file."""
    merged_and_removed(lake)
    of_merge = len(versions(lake))
    lake.ingest(growing[10])
    merged_and_removed(lake)
    for path in versions(lake)[of_merge:]:
        path.unlink()
    before = lake.files()
    said = lake.check("--repair", expect=FAILED)
    assert "that no other file has" in said and "--repair --drop-damaged continues without them" in said
    assert lake.files() == before
    shutil.rmtree(lake.cache)
    shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
    assert "lake check --repair" in lake.ingest(growing[10], expect=FAILED)
    lake.check("--repair", "--drop-damaged")
    assert lake.check() == ""
    lake.ingest(*growing[:11])
    lake.must_be(truths[11])
    assert lake.check() == ""


def test_a_partition_directory_that_is_a_link_stays(lake, ground, truths):
    *_, partition = sorted((lake.lake / "task_events").glob("event_date=*"))
    elsewhere = lake.root / "elsewhere"
    shutil.move(partition, elsewhere)
    partition.symlink_to(elsewhere)
    (elsewhere / "orphan.parquet").write_bytes(b"")
    os.utime(elsewhere / "orphan.parquet", (0, 0))
    (partition / "loop").symlink_to(lake.lake)
    lake.age()
    assert lake.check() == ""
    said = lake.vacuum()
    assert partition.is_symlink() and not (elsewhere / "orphan.parquet").exists(), said
    lake.must_be_whole(truths[10])
