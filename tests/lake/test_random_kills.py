"""`kill -9` at random moments: one writer after another, and several at once, with merges and vacuums among them.

$ALLOCLOG_KILLS says how many in all; without it, a few hundred. Thousands, over as many lakes as it takes:

    ALLOCLOG_BIN=target/release/alloclog ALLOCLOG_KILLS=5000 .venv/bin/python -m pytest tests/lake/test_random_kills.py
"""

import os
import random
import subprocess
import threading
import time

import pytest
from lakedir import LakeDir, miscounted

KILLS = int(os.environ.get("ALLOCLOG_KILLS", "300"))
# So many of them to a lake, and how many writers it has at once.
ROUND = 100
WRITERS = [2, 8]


@pytest.fixture(scope="module")
def took(binary, ground, growing):
    """How long an ingest takes here, in seconds."""
    lake = LakeDir(binary, ground / "timed")
    began = time.monotonic()
    for document in growing:
        lake.ingest(document)
    lake.remove()
    return (time.monotonic() - began) / len(growing)


def stopped(lake, after, *command, **options):
    """Starts a command and kills it after so many seconds; whether that came in time. It does not fail otherwise."""
    child = lake.start(*command, **options)
    try:
        _, said = child.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        child.kill()
        _, said = child.communicate()
    assert child.returncode in (0, -9), said.decode()
    return child.returncode == -9


@pytest.mark.parametrize("seed", range(max(1, KILLS // 3 // ROUND)))
def test_one_writer_after_another(lake, growing, truths, took, seed):
    """After each kill the lake reads as before or as after, and the same ingest goes through."""
    chance = random.Random(seed)
    kills = 0
    while kills < min(ROUND, KILLS // 3):
        lake.remove()
        lake.ingest(growing[0])
        for n, document in enumerate(growing[1:], 1):
            for _ in range(chance.randrange(1, 8)):
                command = ["ingest", "-q", document, "--lake", lake.lake]
                if chance.random() < 0.2:
                    command = ["lake", "compact", "-q", lake.lake]
                kills += stopped(lake, chance.uniform(0, 1.2 * took), *command)
            lake.must_be(truths[n], truths[n + 1])
            lake.ingest(document)
        lake.must_be_whole(truths[len(growing)])
        lake.must_leave_nothing()


class Storm:
    """Writers that are killed and restarted at random, on one lake."""

    def __init__(self, lake, documents, took, writers, kills, seed):
        self.lake, self.documents, self.took, self.kills_wanted, self.seed = lake, documents, took, kills, seed
        self.writers = writers
        self.kills = 0
        self.lock = threading.Lock()
        self.failed = []
        # A merge trusts that what it has written is not taken for 12 hours old, and here files age at once.
        self.upkeep = threading.Lock()

    def is_over(self):
        return self.kills >= self.kills_wanted or self.failed

    def watched(self, work, *arguments):
        try:
            while not self.is_over():
                work(*arguments)
        except Exception as error:
            self.failed.append(error)

    def write(self, number, chance):
        # Half of the writers share a machine, and so its cache.
        cache = self.lake.root / f"cache-{number if number % 2 else 0}"
        documents = chance.sample(self.documents, chance.choice([1, 1, 2]))
        after = chance.uniform(0, 1.5 * self.took * min(self.writers, 2 * os.cpu_count()) / os.cpu_count())
        was_killed = stopped(self.lake, after, "ingest", "-q", *documents, "--lake", self.lake.lake, cache=cache)
        with self.lock:
            self.kills += was_killed

    def look_after(self, chance):
        with self.upkeep:
            if chance.random() < 0.5:
                self.kills += stopped(self.lake, chance.uniform(0, 4 * self.took), "lake", "compact", "-q", self.lake.lake)
            else:
                self.lake.age(unfinished=False)
                self.kills += stopped(self.lake, chance.uniform(0, 4 * self.took), "lake", "vacuum", "-q", self.lake.lake)
        time.sleep(self.took)

    def read(self, chance):
        """What a reader sees beside all that is some number of whole batches."""
        export = self.lake.export("beside")
        assert miscounted(export) == {}
        time.sleep(self.took)

    def run(self):
        roles = [(self.write, n) for n in range(self.writers)] + [(self.look_after,), (self.read,)]
        threads = [
            threading.Thread(target=self.watched, args=(*role, random.Random(f"{self.seed} {i}")))
            for i, role in enumerate(roles)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]


@pytest.mark.parametrize("seed", range(max(1, KILLS // 3 // ROUND)))
@pytest.mark.parametrize("writers", WRITERS)
def test_writers_at_once(lake, growing, truths, took, writers, seed):
    lake.ingest(growing[0])
    Storm(lake, growing, took, writers, min(ROUND, KILLS // 3), seed).run()
    for document in growing:
        lake.ingest(document)
    lake.must_be_whole(truths[len(growing)])
    lake.must_leave_nothing()
    lake.must_be_whole(truths[len(growing)])


def test_writers_make_the_lake_together(new_lake, growing, truths):
    for _ in range(max(2, KILLS // 100)):
        lake = new_lake()
        caches = [lake.root / f"cache-{n}" for n in range(8)]
        children = [lake.start("ingest", "-q", *growing[:3], "--lake", lake.lake, cache=cache) for cache in caches]
        for child in children:
            _, said = child.communicate(timeout=120)
            assert child.returncode == 0, said.decode()
        lake.must_be_whole(truths[3])
        lake.must_leave_nothing()
