"""`kill -9` at random times: one writer after another, and several concurrently, with compactions and vacuums.

The number of kills is set in tests/storm.py.
"""

import random
import time

import pytest
from lakedir import LakeDir, miscounted
from storm import KILLS, KILLS_OF_TEST, SEEDS, WRITERS, Storm, was_killed


@pytest.fixture(scope="module")
def took(binary, ground, growing):
    """The duration of an ingest on this machine, in seconds."""
    lake = LakeDir(binary, ground / "timed")
    began = time.monotonic()
    for document in growing:
        lake.ingest(document)
    lake.remove()
    return (time.monotonic() - began) / len(growing)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_writer_after_another(lake, growing, truths, took, seed):
    """After each kill, the lake has the rows from before or after the killed ingest. The same ingest then succeeds."""
    chance = random.Random(seed)
    kills = 0
    while kills < KILLS_OF_TEST:
        lake.remove()
        lake.ingest(growing[0])
        for n, document in enumerate(growing[1:], 1):
            for _ in range(chance.randrange(1, 8)):
                command = ["ingest", "-q", document, "--lake", lake.lake]
                if chance.random() < 0.2:
                    command = ["lake", "compact", "-q", lake.lake]
                kills += was_killed(lake.start(*command), chance.uniform(0, 1.2 * took))
            lake.must_be(truths[n], truths[n + 1])
            lake.ingest(document)
        lake.must_be_whole(truths[len(growing)])
        lake.must_leave_nothing()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("writers", WRITERS)
def test_writers_at_once(lake, growing, truth, took, writers, seed):
    def start(machine, *arguments):
        return lake.start(*arguments, cache=lake.root / f"cache-{machine}")

    def look_after(chance):
        command = chance.choice(["compact", "vacuum"])
        if command == "vacuum":
            # No compaction is running now, so files may be aged. A running compaction would need its new files to be
            # younger than 12 hours.
            lake.age(unfinished=False)
        storm.killed(lake.start("lake", command, "-q", lake.lake), chance.uniform(0, 4 * took))
        time.sleep(took)

    def read(_):
        """Asserts that a concurrent reader sees complete batches only."""
        assert miscounted(lake.export("beside")) == {}
        time.sleep(took)

    kills = rounds = 0
    while kills < KILLS_OF_TEST:
        rounds += 1
        lake.remove()
        lake.ingest(growing[0])
        storm = Storm(start, lake.lake, growing, writers, f"{seed} {rounds}", within=1.5 * took)
        kills += storm.run(look_after, read)
        print(f"{kills} kills in {rounds} lakes")
        # The lake has the rows of all successful ingests. The next ingest finishes the batch of a killed ingest.
        lake.must_be(truth)
        lake.ingest(*growing)
        lake.must_be_whole(truth)
        lake.must_leave_nothing()
        lake.must_be_whole(truth)


def test_writers_make_the_lake_together(new_lake, growing, truths):
    for _ in range(max(2, KILLS // 100)):
        lake = new_lake()
        caches = [lake.root / f"cache-{n}" for n in range(8)]
        children = [lake.start("ingest", "-q", *growing[:3], "--lake", lake.lake, cache=cache) for cache in caches]
        for child in children:
            _, stderr = child.communicate(timeout=120)
            assert child.returncode == 0, stderr.decode()
        lake.must_be_whole(truths[3])
        lake.must_leave_nothing()
