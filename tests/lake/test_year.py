"""A short simulated year; benches/lake_year is the long form, which measures seconds."""

import statistics

import pytest
import year


@pytest.mark.skipif(year.FAKETIME is None, reason="libfaketime is not installed")
def test_an_ingest_costs_no_more_as_the_lake_grows(lake, ground):
    documents = ground / "year"
    costs = year.live(
        lake, documents=150, alive=20, every=4 * 3600, upkeep_every=12, restarts=12, ends=2, keep=documents
    )
    truth = lake.export("truth", sorted(documents.iterdir()))
    lake.must_be_whole(truth)
    # Compare bytes read instead of seconds, because seconds depend on the load of the machine.
    early, late = (statistics.median(cost.read for cost in part) for part in (costs[40:70], costs[120:150]))
    assert late <= 1.2 * early, (early, late)
    # Batches are kept forever, one per ingest; all other files are removed in time.
    others = [cost.files - number for number, cost in enumerate(costs, 1)]
    assert max(others[110:]) <= 1.2 * max(others[50:110]), others
    # A table has one file for an old day, and at most seven for each of the last few days.
    lake.run("lake", "compact", "-q", lake.lake)
    files = {name: table["files"] for name, table in lake.info().items()}
    days = sum(1 for _ in (lake.lake / "task_events").glob("event_date=*"))
    of_days = [files.pop("task_events"), files.pop("sightings")]
    assert days > 20 and max(of_days) <= days + 4 * 7, (days, of_days)
    assert all(count < 8 for count in files.values()), files
