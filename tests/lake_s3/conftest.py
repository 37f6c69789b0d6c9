"""Fixtures: the program named by $ALLOCLOG_BIN, an S3 server behind a proxy, and the samples."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import stored
from documents import parts
from program import Program
from proxy import Proxy
from server import BUCKET, Server

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture(scope="session")
def listings():
    """Six listings of one small cluster, in order."""
    return sorted((SAMPLES / "cluster").glob("2*.json"))


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def one_proxy(server):
    proxy = Proxy(server.address)
    yield proxy
    proxy.stop()


@pytest.fixture
def proxy(one_proxy):
    """The proxy, which forwards requests unchanged unless a test sets a rule."""
    one_proxy.reset()
    yield one_proxy
    one_proxy.reset()


@pytest.fixture(scope="session")
def lakes():
    return (f"s3://{BUCKET}/lake-{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def binary():
    return stored.binary()


@pytest.fixture
def program(binary, proxy, lakes, tmp_path):
    """The program with the URL of a lake that does not exist yet."""
    return Program(binary, tmp_path, proxy.url, next(lakes))


@pytest.fixture(scope="session")
def small(binary, one_proxy, lakes, listings, tmp_path_factory):
    """A lake of small files that tests copy, with its documents and their export."""
    directory = tmp_path_factory.mktemp("small")
    program = Program(binary, directory, one_proxy.url, next(lakes))
    documents = parts(listings[1], directory, size=1, step=1)
    assert len(documents) >= 8, "a compaction merges only eight or more small files"
    for document in documents:
        program.ingest(document)
    return SimpleNamespace(prefix=program.prefix, documents=documents, truth=program.exported(*documents))


@pytest.fixture
def small_files(program, server, small):
    """Makes the program's lake a copy of the lake `small`."""
    server.copy(small.prefix, program.prefix)
    return small


@pytest.fixture(scope="session")
def truth(binary, listings, tmp_path_factory):
    """For each n, the export of the first n listings."""
    program = Program(binary, tmp_path_factory.mktemp("truth"), "", "")
    return {n: program.exported(*listings[:n]) for n in range(1, len(listings) + 1)}
