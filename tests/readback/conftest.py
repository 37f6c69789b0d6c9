"""Fixtures: the program named by $ALLOCLOG_BIN, and the samples."""

import json
import signal
from pathlib import Path

import pytest
import stored
from program import Program

SAMPLES = Path(__file__).resolve().parents[2] / "samples"

# A shell that runs the tests in the background makes them and their children ignore SIGINT. Undo this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    return Program(stored.binary(), tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def cluster():
    """Six listings of one small cluster and its nodes."""
    return SAMPLES / "cluster"


@pytest.fixture(scope="session")
def listing(cluster):
    """The allocations of the last listing of the cluster."""
    *_, last = sorted(cluster.glob("2*.json"))
    return json.loads(last.read_bytes())
