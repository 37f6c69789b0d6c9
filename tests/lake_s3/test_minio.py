"""A lake on MinIO, a real S3 server. $MINIO_BIN names the program of MinIO. Without this variable, the tests are
skipped.

docs/operations.md names the version of MinIO that passed these tests.

    GOBIN=$PWD/.venv go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
    MINIO_BIN=$PWD/.venv/minio ALLOCLOG_BIN=... .venv/bin/python -m pytest -q tests/lake_s3/test_minio.py
"""

import os
import socket
import subprocess
import time

import boto3
import botocore.exceptions
import deltalake
import pytest
from documents import parts
from killer import Killer
from program import AWS, SECRET
from proxy import Proxy, straight
from racing import exactly_one_wins
from server import BUCKET
from stored import OF_DOCUMENTS

MINIO = os.environ.get("MINIO_BIN", "")
pytestmark = pytest.mark.skipif(not os.access(MINIO, os.X_OK), reason="MINIO_BIN does not name MinIO's minio")


class Minio:
    """A server with one bucket and a data directory; it can be killed and restarted."""

    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        self.start()
        self.client().create_bucket(Bucket=BUCKET)

    def start(self):
        environment = os.environ | {"MINIO_ROOT_USER": AWS["AWS_ACCESS_KEY_ID"], "MINIO_ROOT_PASSWORD": SECRET}
        listen = "{}:{}".format(*self.address)
        self.process = subprocess.Popen(
            [MINIO, "server", "--quiet", "--address", listen, self.directory],
            env=environment | {"MINIO_BROWSER": "off"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(300):
            try:
                self.client().list_buckets()
                return
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                time.sleep(0.1)
        raise AssertionError("MinIO does not answer")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url="http://{}:{}".format(*self.address),
            aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=boto3.session.Config(retries={"total_max_attempts": 1}),
        )

    def row_counts(self, lake):
        """How many rows delta-rs reads from each table."""
        options = AWS | {"AWS_ENDPOINT_URL": "http://{}:{}".format(*self.address), "AWS_ALLOW_HTTP": "true"}
        tables = {name: deltalake.DeltaTable(f"{lake}/{name}", storage_options=options) for name in OF_DOCUMENTS}
        return {name: table.to_pyarrow_table().num_rows for name, table in tables.items()}


@pytest.fixture(scope="module")
def minio(tmp_path_factory):
    server = Minio(tmp_path_factory.mktemp("minio"))
    yield server
    server.kill()


@pytest.fixture
def proxy(minio):
    """Replaces the proxy that forwards to moto."""
    proxy = Proxy(minio.address)
    yield proxy
    proxy.stop()


def counts(truth):
    return {name: rows.total() for name, rows in truth.items()}


def test_of_eight_racing_conditional_puts_exactly_one_wins(minio):
    client = minio.client()

    def put(_, key, body):
        try:
            answer = client.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*")
            return answer["ResponseMetadata"]["HTTPStatusCode"]
        except botocore.exceptions.ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    exactly_one_wins(put, lambda key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read(), won=200, lost=412)


def test_a_lake_on_minio(program, minio, listings, tmp_path):
    documents = [*listings, *parts(listings[4], tmp_path, size=4, step=2)]
    started = [program.start("ingest", *documents[n::4], "--lake", program.lake) for n in range(4)]
    for process in started:
        program.end(process)
    for document in parts(listings[5], tmp_path, size=1, step=1):
        program.ingest(document)
        documents.append(document)
    truth = program.exported(*documents)
    program.holds(truth)
    program.run("lake", "compact", program.lake)
    program.run("lake", "vacuum", program.lake)
    program.holds(truth)
    assert minio.row_counts(program.lake) == counts(truth)


def test_killed_at_every_third_change(program, proxy, minio, listings, truth):
    program.ingest(listings[0])
    number, was_killed = 1, True
    while was_killed:
        proxy.rule = Killer(number)
        was_killed = proxy.rule.kills(program, "ingest", listings[1], "--lake", program.lake)
        number += 3
    proxy.rule = straight
    program.ingest(listings[1])
    program.holds(truth[2])
    assert number > 4 and minio.row_counts(program.lake) == counts(truth[2])


def test_the_server_is_killed_amid_ingests(program, minio, listings, truth):
    """The server is killed a little later each time. Committed batches stay, and the other documents can be
    ingested again."""
    program.ingest(listings[0])
    for n in range(1, 6):
        process = program.start("ingest", listings[n], "--lake", program.lake)
        time.sleep(0.15 * n)
        minio.kill()
        minio.start()
        _, errors = process.communicate(timeout=300)
        if process.returncode != 0:
            assert any(word in errors for word in (b"nothing was committed", b"committed")), errors
        program.ingest(listings[n])
        program.holds(truth[n + 1])
    assert minio.row_counts(program.lake) == counts(truth[6])


def test_the_server_is_killed_amid_repairs(program, minio, listings, truth):
    """A version of a log is lost. The server is killed during each repair of the log, a little later each time."""
    for listing in listings[:6]:
        program.ingest(listing)
    for n in range(1, 6):
        minio.client().delete_object(Bucket=BUCKET, Key=f"{program.prefix}task_events/_delta_log/{n:020}.json")
        process = program.start("lake", "check", "--repair", program.lake)
        time.sleep(0.1 * n)
        minio.kill()
        minio.start()
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0 or b"lake s3://" in errors, errors
        program.run("lake", "check", "--repair", program.lake)
        program.holds(truth[6])
    assert minio.row_counts(program.lake) == counts(truth[6])
