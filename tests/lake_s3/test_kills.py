"""After a kill at any point, the next ingest finishes the work, and each row is stored once."""

import json

from killer import Killer
from proxy import straight
from storm import STEP


def test_an_ingest_may_be_killed_at_any_change_that_it_makes(program, proxy, lakes, listings, truth):
    """Kills an ingest at its changes, from the first, which creates the lake, to the last, which saves the cache.
    tests/storm.py selects the changes."""
    number, was_killed = 1 - STEP, True
    while was_killed:
        number += STEP
        program.lake = next(lakes)
        proxy.rule = Killer(number)
        was_killed = proxy.rule.kills(program, "ingest", *listings[:2], "--lake", program.lake)
        proxy.rule = straight
        program.ingest(*listings[:2])
        program.holds(truth[2])
    # The changes: lake.json, the probe for overwriting, eight tables, five files, the batch, five commits, the cache.
    assert number > 20


def killed_again_and_again(program, proxy, step, *arguments):
    """Runs the program until it finishes. Kills each run `step` changes later than before. Yields the kills so far."""
    times, was_killed = -1, True
    while was_killed:
        times += 1
        proxy.rule = Killer(1 + step * times)
        was_killed = proxy.rule.kills(program, *arguments)
        proxy.rule = straight
        yield times


def test_a_repeatedly_killed_ingest_makes_progress(program, proxy, listings, truth):
    """Each run is killed one change later than the last. A run finishes or abandons the work of killed runs, but does
    not repeat it."""
    program.ingest(listings[0])
    *_, times = killed_again_and_again(program, proxy, 1, "ingest", listings[1], "--lake", program.lake)
    assert times > 5
    program.holds(truth[2])


def test_upkeep_may_be_killed_at_every_change_that_it_makes(program, proxy, server, listings, small_files):
    """Kills a compaction and a vacuum. Readers see the same rows before, between and after the runs."""
    truth = small_files.truth
    table = f"{program.prefix}task_events/event_date"

    for times in killed_again_and_again(program, proxy, 3, "lake", "compact", program.lake):
        assert program.exported(program.lake) == truth
    assert times > 1
    program.holds(truth)
    small = server.names(table)
    assert len(small) > len(small_files.documents)
    info = json.loads(program.run("lake", "info", program.lake, "--format", "json")[0])
    assert {info["files"] for info in info["tables"] if info["rows"] > 8} == {1}

    # Removed files and leftovers of killed runs stay for the retention time.
    vacuum = ["lake", "vacuum", program.lake, "--older-than", "24h"]
    assert program.run(*vacuum, "--dry-run")[0] == ""
    server.age(program.prefix, days=9)
    listed = program.run(*vacuum, "--dry-run")[0].split()
    assert listed and not any("_delta_log" in name or "/batches/" in name for name in listed)
    for times in killed_again_and_again(program, proxy, 3, *vacuum):
        assert program.exported(program.lake) == truth
    assert times > 1
    # The next ingest finishes the batch of the vacuum, if a kill left it unfinished.
    program.ingest(listings[2])
    program.holds(program.exported(*small_files.documents, listings[2]))
