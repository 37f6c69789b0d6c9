"""No claim that views compute from some listings contradicts the complete history.

The program exports random listings of a recording, and every view is computed from them. Each claim is compared with
the truth, which definitions.py computes in Python from the event stream, or from a poll that missed nothing. The truth
about a task ends at the last version that the listings show. Prints precision and recall for each claim (`pytest -s`).
`ALLOCLOG_BIN` names the program. The longer form, 40 subsets of each recording, takes some minutes:

    ALLOCLOG_SUBSETS=40 ALLOCLOG_BIN=target/release/alloclog .venv/bin/python -m pytest -s tests/evidence
"""

import datetime
import os
import pathlib
import random
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "engines"))

import claims
import engines
import made_up
import recording
import tables
from test_binary import BINARY, find, read

SUBSETS = int(os.environ.get("ALLOCLOG_SUBSETS", 3))
SAMPLES = engines.ROOT / "samples"
SHARED = engines.ROOT.parent / "shared" / "recordings"

pytestmark = pytest.mark.skipif(not BINARY, reason="ALLOCLOG_BIN does not name the program")


def subsets(documents, count):
    """Random subsets of the listings, small and large. They are the same in every run."""
    for seed in range(count):
        chance = random.Random(seed)
        size = min(len(documents), chance.choice([1, 2, 3, 5, 8, 13, len(documents) // 2 or 1]))
        yield sorted(chance.sample(documents, size))


def stored(documents, directory):
    """The stored tables that the program fills from some listings."""
    sources = []
    for name, body in documents:
        path = directory / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        sources.append(path)
    command = [pathlib.Path(BINARY).resolve(), "export", *sources, "-o", directory / "out", "--table", ",".join(tables.STORED), "-q"]
    subprocess.run(command, check=True)
    return {name: read(find(directory / "out", name)) for name in tables.STORED}


def judge(truth, chosen, tmp_path):
    """Asserts that no claim from these listings is false, and returns the totals."""
    totals = {}
    for number, documents in enumerate(chosen):
        directory = tmp_path / str(number)
        answers = engines.run("duckdb", stored(documents, directory), claims.VIEWS)
        found = claims.compared(claims.Known(truth, recording.Seen(documents)), answers)
        false = claims.score(found, totals)
        assert not false, (len(false), false[:5])
    for claim, (claimed, right, possible) in sorted(totals.items()):
        print(f"{claim:32} {claimed:7} claimed, precision {right / claimed if claimed else 1:.4f}, "
              f"recall {right / possible if possible else 1:.4f} of {possible}")
    return totals


RECORDED = {
    "nomad-0.6": lambda: recording.polled(SHARED / "nomad-0.6" / "poll.ndjson.zst"),
    "nomad-0.9": lambda: recording.polled(SHARED / "nomad-0.9" / "poll.ndjson.zst"),
    "nomad-2.0": lambda: recording.streamed(SHARED / "nomad-2.0" / "stream.ndjson.zst"),
}


@pytest.mark.parametrize("name", list(RECORDED))
@pytest.mark.skipif(not SHARED.exists(), reason="the recordings are not at hand")
def test_no_claim_from_a_recording_contradicts_its_stream(name, tmp_path):
    truth = recording.Truth(RECORDED[name]())
    totals = judge(truth, subsets(recording.snapshots(SHARED / name / "snaps.tar.zst"), SUBSETS), tmp_path)
    assert totals["starts.outcome"][0] > 100 and totals["failures.class"][0] > 100


def test_no_claim_from_the_sample_cluster_contradicts_its_stream(tmp_path):
    truth = recording.Truth(recording.streamed(SAMPLES / "stream.ndjson.zst"))
    documents = sorted((path.name, path.read_bytes()) for path in (SAMPLES / "cluster").glob("2*.json"))
    totals = judge(truth, [documents] + [documents[first::2] for first in (0, 1)], tmp_path)
    assert totals["failures.class"][1] > 10


def test_no_claim_from_the_sample_of_an_old_agent_contradicts_its_poll(tmp_path):
    truth = recording.Truth(recording.polled(pathlib.Path(__file__).with_name("nomad-0.6-poll.ndjson.zst")))
    documents = sorted((path.name, path.read_bytes()) for path in (SAMPLES / "nomad-0.6" / "agent").glob("*.json"))
    totals = judge(truth, [documents] + [documents[first::2] for first in (0, 1)], tmp_path)
    assert totals["failures.class"][1] > 20 and totals["coverage.complete"][1] > 10


def named(at):
    return datetime.datetime.fromtimestamp(at // 10**9, datetime.UTC).strftime("%Y%m%dT%H%M%SZ.json")


@pytest.mark.parametrize("seed", range(2, 2 + SUBSETS))
def test_lost_client_states_and_evicted_health_checks_cause_no_false_claim(seed, tmp_path):
    made = made_up.Recording(seed)
    documents = [(named(at), body) for at, body in made.documents()]
    totals = judge(recording.Truth(made.versions), subsets(documents, 4), tmp_path)
    assert totals["failures.class"][1] > 20
