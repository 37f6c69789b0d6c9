"""Which files a compaction merges, and how a compaction fails."""

import collections
import datetime
import json

import pytest
from lakedir import LakeDir
from snapshots import Cluster

FAILED, WRONG_USAGE = 1, 2


def live(lake, table):
    """The `add` actions of the current files of a table, from its log."""
    files = {}
    for version in sorted((lake.lake / table / "_delta_log").glob("*.json")):
        for action in map(json.loads, version.read_text().splitlines()):
            if "add" in action:
                files[action["add"]["path"]] = action["add"]
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
    return list(files.values())


def day(ns):
    return datetime.datetime.fromtimestamp(ns / 1e9, datetime.UTC).date()


@pytest.fixture(scope="module")
def days(binary, ground):
    """A lake of four days that ended long ago, with a listing every six hours, and the export of the listings."""
    cluster = Cluster(seed=3, alive=6, start=1_795_003_200)
    listings = cluster.listings(ground / "days", count=16, apart=6 * 3600, restarts=2, ends=1)
    lake = LakeDir(binary, ground / "lake-of-days")
    for listing in listings:
        lake.ingest(listing)
    return lake, lake.export("truth", listings)


def test_sightings_are_merged_within_a_day_and_sorted(days):
    lake, truth = days
    assert len(live(lake, "sightings")) == 16
    lake.run("lake", "compact", lake.lake)
    spans = collections.Counter()
    for add in live(lake, "sightings"):
        stats = json.loads(add["stats"])
        first, last = (day(stats[bound]["seen_at_ns"]) for bound in ("minValues", "maxValues"))
        assert first == last
        spans[first] += 1
        assert set(add["tags"]) == {"alloclog.xxh3", "alloclog.decoded"}
    assert set(spans.values()) == {1} and 4 <= len(spans) <= 5
    lake.must_be_whole(truth)
    # A second compaction finds no files to merge.
    assert " 0 files merged" in lake.run("lake", "compact", lake.lake)


def test_the_files_of_a_compaction_are_in_a_batch(days):
    lake, truth = days
    lake.run("lake", "compact", lake.lake)
    replaced = collections.Counter()
    for path in sorted((lake.lake / "_alloclog/batches").rglob("*.json")):
        for table, replacements in json.loads(path.read_text()).get("replaced", {}).items():
            for replacement in replacements:
                assert len(replacement["removed"]) > 1 and all("tags" in add for add in replacement["added"])
                replaced[table] += len(replacement["added"])
    assert replaced["sightings"] >= 4 and replaced["task_events"] >= 1


def test_a_table_that_cannot_be_merged_does_not_stop_the_others(lake, growing, truth):
    for document in growing:
        lake.ingest(document)
    before = len(live(lake, "allocation_history"))
    path = lake.lake / "task_events" / live(lake, "task_events")[0]["path"]
    content = path.read_bytes()
    path.write_bytes(content[:100])
    stderr = lake.run("lake", "compact", lake.lake, expect=FAILED)
    assert "task_events: lake" in stderr and path.name in stderr
    assert len(live(lake, "allocation_history")) < before
    path.write_bytes(content)
    lake.run("lake", "compact", lake.lake)
    lake.must_be_whole(truth)


def test_unusual_lake_urls_work_or_are_refused(lake, growing, truths):
    root = lake.root / "a dir"
    root.mkdir(parents=True)
    place = f"{root}/lake"
    lake.ingest(growing[0])
    spellings = [f"file://{place}".replace(" ", "%20"), f"file://localhost{place}".replace(" ", "%20"), f"{root}//lake/"]
    for spelling in spellings:
        lake.run("ingest", growing[0], "--lake", spelling)
        assert [path.name for path in root.iterdir()] == ["lake"]
        stderr = lake.run("lake", "check", spelling)
        assert f"lake {place} is whole" in stderr
    assert len(list((root / "lake/_alloclog/batches").rglob("*.json"))) == 1
    for wrong in ("file://host/x", "file://x", "file:x", f"file://{place}?x", "s3://bucket//x", "s3://bucket/x#y", "s3://bucket/x?y"):
        stderr = lake.run("ingest", growing[0], "--lake", wrong, expect=WRONG_USAGE, cwd=lake.root)
        assert wrong in stderr or "URL" in stderr
    assert sorted(path.name for path in lake.root.iterdir() if path.name in ("host", "x", "file:")) == []
