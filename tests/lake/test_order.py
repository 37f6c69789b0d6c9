"""A lake equals one export of all sources: in any order, with repetitions, and with any state of the cache."""

import random
import shutil

import pytest
from lakedir import LakeDir


@pytest.fixture(scope="module")
def recorded_truth(binary, ground, recorded):
    return LakeDir(binary, ground / "recorded-truth").export("truth", recorded)


def test_one_document_after_another(lake, recorded, recorded_truth):
    for document in recorded:
        lake.ingest(document)
    lake.must_be_whole(recorded_truth)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_repeated_and_overlapping(lake, recorded, recorded_truth, seed):
    """Ingests every document at least once, in any order, often several at once. Half of the ingests find no cache."""
    chance = random.Random(seed)
    left = set(recorded)
    while left:
        documents = chance.sample(recorded, chance.choice([1, 1, 2, 3]))
        lake.ingest(*documents)
        left -= set(documents)
        if chance.random() < 0.5:
            shutil.rmtree(lake.cache)
        if chance.random() < 0.2:
            shutil.rmtree(lake.lake / "_alloclog/seen", ignore_errors=True)
    lake.must_be_whole(recorded_truth)


def test_an_older_snapshot_arrives_late(lake, growing, truth):
    for document in [*growing[1:], growing[0]]:
        lake.ingest(document)
    lake.must_be_whole(truth)


def test_all_at_once_and_again(lake, growing, truth):
    lake.ingest(*growing)
    batches = lake.files()
    assert "nothing new" in lake.ingest(*growing)
    assert "nothing new" in lake.ingest(*reversed(growing))
    assert lake.files() == batches
    lake.must_be_whole(truth)


def seen_by(lake):
    (path,) = lake.cache.rglob("seen.parquet")
    return path


def truncated(lake, path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(lake, path):
    path.write_bytes(b"")


def garbage(lake, path):
    path.write_bytes(random.Random(7).randbytes(path.stat().st_size))


def missing(lake, path):
    path.unlink()


def unreadable(lake, path):
    path.unlink()
    path.mkdir()


DAMAGES = [truncated, emptied, garbage, missing, unreadable]


@pytest.mark.parametrize("copies", ["with the copies in the lake", "without them"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_cache_is_lost(lake, growing, truth, damage, copies):
    lake.ingest(*growing[:6])
    damage(lake, seen_by(lake))
    if copies == "without them":
        shutil.rmtree(lake.lake / "_alloclog/seen")
    for document in (growing[5], *growing[6:], growing[2]):
        lake.ingest(document)
    lake.must_be_whole(truth)


@pytest.mark.parametrize("where", ["on the machine", "in the lake"])
def test_a_bit_of_the_cache_flips(lake, growing, truths, where):
    """A changed byte in the cache must neither add nor hide rows."""
    lake.ingest(*growing[:4])
    before = lake.copy("flipped")
    (copy,) = (lake.lake / "_alloclog/seen").iterdir()
    size = seen_by(lake).stat().st_size
    chance = random.Random(3)
    for _ in range(12):
        other = before.copy("flipped-once")
        path = seen_by(other)
        if where == "in the lake":
            path.unlink()
            path = other.lake / copy.relative_to(lake.lake)
        content = bytearray(path.read_bytes())
        content[chance.randrange(size)] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        other.ingest(*growing[:5])
        other.must_be(truths[5])
        assert other.check() == ""
        other.remove()
    before.remove()


def test_the_cache_is_old(lake, growing, truth):
    lake.ingest(*growing[:3])
    old = seen_by(lake).read_bytes()
    lake.ingest(*growing[3:8])
    seen_by(lake).write_bytes(old)
    lake.ingest(*growing[6:])
    lake.must_be_whole(truth)


def test_the_cache_belongs_to_another_lake(lake, new_lake, growing, truth):
    other = new_lake()
    for document in growing:
        other.ingest(document)
    for document in growing[:6]:
        lake.ingest(document)
    seen_by(lake).write_bytes(seen_by(other).read_bytes())
    lake.ingest(*growing)
    lake.must_be_whole(truth)


def test_the_lake_is_restored_to_an_earlier_state(lake, growing, truth):
    """The cache has rows that the lake no longer has."""
    lake.ingest(*growing[:4])
    earlier = lake.copy("earlier")
    for document in growing[4:8]:
        lake.ingest(document)
    shutil.rmtree(lake.lake)
    shutil.copytree(earlier.lake, lake.lake)
    earlier.remove()
    for document in growing[4:]:
        lake.ingest(document)
    lake.must_be_whole(truth)


@pytest.mark.parametrize("others", [1, 3, 6])
def test_the_lake_is_restored_and_others_write_to_it_first(lake, growing, truth, others):
    """The restored lake gets batches and versions whose numbers are in the cache, but with other content."""
    for document in growing[:4]:
        lake.ingest(document)
    earlier = lake.copy("earlier")
    for document in growing[4:7]:
        lake.ingest(document)
    shutil.rmtree(lake.lake)
    shutil.copytree(earlier.lake, lake.lake)
    for document in growing[5 : 5 + others]:
        lake.ingest(document, cache=earlier.cache)
    earlier.remove()
    for document in growing:
        lake.ingest(document)
    lake.must_be_whole(truth)


def test_the_lake_is_restored_to_before_a_compaction(lake, growing, truth):
    """The cache has a batch and versions of tables. The restored lake has another batch and other versions with the
    same numbers."""
    for document in growing[:9]:
        lake.ingest(document)
    earlier = lake.copy("earlier")
    lake.run("lake", "compact", lake.lake)
    lake.ingest(growing[0])  # This adds nothing new, but the cache records the heads of the tables.
    shutil.rmtree(lake.lake)
    shutil.copytree(earlier.lake, lake.lake)
    lake.ingest(growing[9], cache=earlier.cache)
    lake.run("lake", "compact", lake.lake)
    earlier.remove()
    for document in growing:
        lake.ingest(document)
    lake.must_be_whole(truth)
