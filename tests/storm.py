"""`kill -9` at random times, for lakes in directories and in buckets: concurrent writers, and the number of kills.

$ALLOCLOG_KILLS sets the minimum number of kills in tests/lake; the default is 300. In tests/lake_s3, it is about a
seventh of this number. For thousands of kills:

    ALLOCLOG_BIN=target/release/alloclog ALLOCLOG_KILLS=5000 .venv/bin/python -m pytest tests/lake/test_random_kills.py
    ALLOCLOG_BIN=target/release/alloclog ALLOCLOG_KILLS=5000 .venv/bin/python -m pytest tests/lake_s3/test_random_kills.py

tests/lake_s3/test_kills.py kills an ingest at every third change that it makes to the bucket, and at every change if
$ALLOCLOG_KILLS is at least 1000:

    ALLOCLOG_BIN=target/release/alloclog ALLOCLOG_KILLS=1000 .venv/bin/python -m pytest tests/lake_s3/test_kills.py
"""

import math
import os
import random
import signal
import subprocess
import threading

KILLS = int(os.environ.get("ALLOCLOG_KILLS", "300"))
STEP = 1 if KILLS >= 1000 else 3
# Numbers of concurrent writers. A third of the kills is for each of them, and a third is for sequential writers.
WRITERS = [2, 8]
KILLS_OF_TEST = min(100, math.ceil(KILLS / 3))
SEEDS = range(math.ceil(KILLS / 3 / KILLS_OF_TEST))


def was_killed(child, after):
    """Kills a program after some seconds; returns whether it was still running. Otherwise asserts that it succeeded."""
    try:
        _, stderr = child.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        child.kill()
        _, stderr = child.communicate()
    assert child.returncode in (0, -signal.SIGKILL), stderr.decode()
    return child.returncode != 0


class Storm:
    """Writers on one lake that are killed and restarted at random, until all documents are ingested.

    `start(machine, *arguments)` starts the program on one of several machines with separate caches. An ingest is killed
    after a random time of at most `within` seconds. The storm adjusts this limit.
    """

    def __init__(self, start, lake, documents, writers, seed, within):
        self.start, self.lake, self.documents, self.writers, self.seed = start, lake, documents, writers, seed
        self.due = list(documents)
        self.within = within
        self.kills = 0
        self.lock = threading.Lock()
        self.failed = []

    def killed(self, child, after):
        """Like `was_killed`; also counts the kills."""
        killed = was_killed(child, after)
        with self.lock:
            self.kills += killed
        return killed

    def write(self, number, chance):
        # Writers may choose the same document at the same time.
        with self.lock:
            documents = chance.sample(self.due, min(len(self.due), chance.choice([1, 1, 2])))
            after = chance.uniform(0, self.within)
            assert self.kills < 100 * len(self.documents), "the writers make no progress"
        if not documents:
            return
        # Half of the writers share a machine.
        machine = number if number % 2 else 0
        killed = self.killed(self.start(machine, "ingest", "-q", *documents, "--lake", self.lake), after)
        with self.lock:
            # Adjusts the limit so that four of five ingests are killed, independently of the speed and load of the
            # machine. Kills then happen at all stages of an ingest, and rarely in an ingest without new rows.
            self.within *= 1.1 if killed else 1.1**-4
            if not killed:
                self.due = [document for document in self.due if document not in documents]

    def repeated(self, work, *arguments):
        try:
            while self.due and not self.failed:
                work(*arguments)
        except Exception as error:
            self.failed.append(error)

    def run(self, *others):
        """Runs the storm, and concurrently repeats the functions `others`; returns the number of kills."""
        roles = [(self.write, number) for number in range(self.writers)] + [(work,) for work in others]
        threads = [
            threading.Thread(target=self.repeated, args=(*role, random.Random(f"{self.seed} {self.writers} {i}")))
            for i, role in enumerate(roles)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            self.failed[0].add_note(f"seed {self.seed}, {self.writers} writers, {self.kills} kills, {len(self.due)} documents due")
            raise self.failed[0]
        return self.kills
