"""`kill -9` at random times while two or eight writers use a bucket; tests/storm.py sets the number of kills."""

import math
import time
from dataclasses import replace

import pytest
from documents import parts
from killer import Killer
from proxy import straight
from storm import KILLS_OF_TEST, SEEDS, WRITERS, Storm

# An ingest takes longer here than in a directory, so there are fewer kills.
WANTED = math.ceil(KILLS_OF_TEST / 5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("writers", WRITERS)
def test_writers_at_once(program, proxy, server, lakes, listings, tmp_path, writers, seed):
    """The writers create the lake, and their documents overlap. Concurrent compactions are killed, too."""
    documents = [document for listing in listings[3:5] for document in parts(listing, tmp_path, size=6, step=4)]
    truth = program.exported(*documents)

    def start(machine, *arguments):
        of_machine = {"ALLOCLOG_CACHE": str(tmp_path / f"cache-{rounds}-{machine}")}
        return replace(program, variables=of_machine).start(*arguments)

    def merge(chance):
        # The lake exists once a document was ingested.
        if len(storm.due) < len(documents):
            storm.killed(program.start("lake", "compact", "-q", program.lake), chance.uniform(0, storm.within))
        time.sleep(0.2)

    kills = rounds = 0
    while kills < WANTED:
        rounds += 1
        program.lake = next(lakes)
        proxy.reset()
        storm = Storm(start, program.lake, documents, writers, f"{seed} {rounds}", within=1)
        kills += storm.run(merge)
        print(f"{kills} kills in {rounds} lakes")
        # The lake has the rows of all successful ingests. The next ingest finishes the work of the last killed ingest.
        assert program.exported(program.lake) == truth
        program.ingest(*documents)
        program.holds(truth)
        # Ensure that one ingest is killed after it put a file and before it puts its batch.
        proxy.rule = Killer(2)
        assert proxy.rule.kills(program, "ingest", listings[5], "--lake", program.lake)
        proxy.rule = straight
        # Leftovers of killed writers are unreferenced, so a vacuum can remove them.
        server.age(program.prefix, days=9)
        vacuum = ["lake", "vacuum", program.lake]
        assert program.run(*vacuum, "--dry-run")[0].split()
        program.run(*vacuum)
        assert not program.run(*vacuum, "--dry-run")[0].split()
        program.holds(truth)
