"""The procedures for recovery in docs/operations.md have the described effect."""

import shutil

import pytest


def listings(cluster):
    return sorted(cluster.glob("2*.json"))


def ingest(program, lake, cache, sources, expect=0):
    program.run("ingest", "-q", "--lake", lake, "--cache", cache, *sources, expect=expect)


def events(program, source):
    query = "SELECT COUNT(*) AS n FROM task_events"
    return int(program.run("query", "-q", query, source, "--format", "csv").split()[1])


def is_whole(program, lake):
    program.run("lake", "check", "-q", lake)


@pytest.fixture
def lake(program, cluster, tmp_path):
    """A lake with all listings except the last, and its cache."""
    for listing in listings(cluster)[:-1]:
        ingest(program, tmp_path / "lake", tmp_path / "cache", [listing])
    return tmp_path / "lake"


@pytest.fixture
def whole(program, cluster):
    return events(program, cluster)


def test_a_restored_lake_gets_rows_that_sources_still_show(program, cluster, lake, whole, tmp_path):
    shutil.copytree(lake, tmp_path / "backup")
    before = events(program, lake)
    ingest(program, lake, tmp_path / "cache", listings(cluster))
    assert events(program, lake) == whole > before
    shutil.rmtree(lake)
    shutil.copytree(tmp_path / "backup", lake)
    # The cache has rows that the lake lost.
    ingest(program, lake, tmp_path / "cache", listings(cluster))
    assert events(program, lake) == whole
    is_whole(program, lake)


def test_a_lost_cache_duplicates_nothing(program, cluster, lake, whole, tmp_path):
    shutil.rmtree(tmp_path / "cache")
    ingest(program, lake, tmp_path / "cache", listings(cluster))
    assert events(program, lake) == whole
    is_whole(program, lake)


def test_rows_dropped_by_a_repair_are_added_again(program, cluster, lake, whole, tmp_path):
    ingest(program, lake, tmp_path / "cache", listings(cluster))
    largest = max(lake.glob("task_events/**/*.parquet"), key=lambda file: file.stat().st_size)
    largest.unlink()
    program.run("lake", "check", "-q", lake, expect=1)
    program.run("lake", "check", "-q", "--repair", lake, expect=1)
    program.run("lake", "check", "-q", "--repair", "--drop-damaged", lake)
    assert events(program, lake) < whole
    ingest(program, lake, tmp_path / "cache", listings(cluster))
    assert events(program, lake) == whole
    is_whole(program, lake)


def test_a_damaged_batch_is_found(program, lake):
    (lake / "_alloclog/batches/000000000/000000000001.json").write_text("{")
    program.run("lake", "check", "-q", lake, expect=1)
