"""Conditional creation of objects in Azure Blob Storage, tested against Azurite.

$AZURITE_BIN is the path of the program azurite-blob; scripts/test installs Azurite.
"""

import json
import os
import re
import subprocess

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient
from documents import parts
from racing import exactly_one_wins

AZURITE = os.environ.get("AZURITE_BIN", "")
CONTAINER = "lakes"
# Any base64 key. The program must not print it.
ACCOUNT, KEY = "account", "bWFya2VyLW9mLXRoZS1hY2NvdW50LWtleQ=="

pytestmark = pytest.mark.skipif(not os.access(AZURITE, os.X_OK), reason="AZURITE_BIN does not name Azurite's azurite-blob")


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    """The address of Azurite, which stores everything in memory."""
    flags = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]
    process = subprocess.Popen(
        [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0", *flags],
        cwd=tmp_path_factory.mktemp("azurite"),
        env=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        output = ""
        while not (listens := re.search(r"listen\S* (?:at|on) (?:http://)?(127\.0\.0\.1:\d+)", output)):
            line = process.stdout.readline()
            assert line, f"Azurite does not start: {output}"
            output += line
        yield f"http://{listens[1]}"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def container(azurite):
    """An independent Azure client."""
    with ContainerClient(f"{azurite}/{ACCOUNT}", CONTAINER, credential=KEY) as client:
        client.create_container()
        yield client


def test_of_eight_racing_conditional_puts_exactly_one_wins(container):
    def put(_, key, body):
        try:
            container.upload_blob(key, body, overwrite=False)
            return 201
        except ResourceExistsError as error:
            return error.status_code

    exactly_one_wins(put, lambda key: container.download_blob(key).readall(), won=201, lost=409)


def test_a_lake_in_azure(program, azurite, container, listings, tmp_path):
    program.lake = f"az://{CONTAINER}/lake"
    program.variables |= {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": azurite,
    }
    documents = [*listings, *parts(listings[4], tmp_path, size=4, step=2)]
    for writers in (documents[::2], documents[1::2]), (documents, documents):
        started = [program.start("ingest", *share, "--lake", program.lake) for share in writers]
        for process in started:
            assert KEY not in "".join(program.end(process))
    truth = program.exported(*documents)
    program.holds(truth)

    for document in parts(listings[5], tmp_path, size=1, step=1):
        program.ingest(document)
        documents.append(document)
    truth = program.exported(*documents)
    _, stderr = program.run("lake", "compact", program.lake)
    assert "merged" in stderr
    program.holds(truth)
    info = json.loads(program.run("lake", "info", program.lake, "--format", "json")[0])
    counts = {table["table"]: table["rows"] for table in info["tables"]}
    # No document here is a full listing, so there are no absences.
    assert counts == {"absences": 0, "log_events": 0} | {name: rows.total() for name, rows in truth.items()}
    counted = program.run("query", "SELECT count(*) AS n FROM task_events", program.lake, "--format", "csv")[0]
    assert counted.split() == ["n", str(truth["task_events"].total())]
    program.run("lake", "vacuum", program.lake)
    program.holds(truth)
    names = list(container.list_blob_names(name_starts_with="lake/"))
    assert any("/_alloclog/batches/" in name for name in names) and len(names) > 20
