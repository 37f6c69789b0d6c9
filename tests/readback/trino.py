"""Runs Trino: a single-node server in a temporary directory. The lakes are on an S3 server, because the statements of
`--refresh` replace Delta tables, which Trino cannot do in a file system.

TRINO_HOME names an unpacked server. JAVA_HOME, or java in PATH, names a JDK. Trino 476 needs 24 or later:

    mvn org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact=io.trino:trino-server:476:tar.gz -DoutputDirectory=.
    tar -xzf trino-server-476.tar.gz
    TRINO_HOME=$PWD/trino-server-476 JAVA_HOME=/usr/lib/jvm/... ALLOCLOG_BIN=... .venv/bin/python -m pytest -q tests/readback/test_trino.py
"""

import datetime
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request


class Trino:
    def __init__(self, home, directory, store):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        etc = directory / "etc"
        (etc / "catalog").mkdir(parents=True)
        (etc / "node.properties").write_text("node.environment=test\nnode.internal-address=127.0.0.1\nnode.bind-ip=127.0.0.1\n"
                                             f"node.data-dir={directory}/data\n")
        (etc / "jvm.config").write_text("-server\n-Xmx3G\n-XX:+UseG1GC\n-Djdk.attach.allowAttachSelf=true\n"
                                        "--enable-native-access=ALL-UNNAMED\n--sun-misc-unsafe-memory-access=allow\n")
        (etc / "config.properties").write_text(
            "coordinator=true\nnode-scheduler.include-coordinator=true\ncatalog.management=static\n"
            f"http-server.http.port={self.port}\ndiscovery.uri=http://127.0.0.1:{self.port}\nplugin.dir={directory}/plugin\n"
            "query.max-memory-per-node=1GB\n")
        # Load only the plugin for Delta Lake. The other 50 plugins take two thirds of the start-up time.
        (directory / "plugin").mkdir()
        (directory / "plugin" / "delta-lake").symlink_to(f"{home}/plugin/delta-lake")
        (etc / "log.properties").write_text("io.trino=WARN\n")
        (etc / "catalog" / "delta.properties").write_text(
            "connector.name=delta_lake\nhive.metastore=file\n"
            f"hive.metastore.catalog.dir=file://{directory}/metastore\nhive.metastore.disable-location-checks=true\n"
            "delta.register-table-procedure.enabled=true\nfs.hadoop.enabled=true\nfs.native-s3.enabled=true\n"
            f"s3.endpoint={store['AWS_ENDPOINT_URL']}\ns3.region={store['AWS_REGION']}\ns3.path-style-access=true\n"
            f"s3.aws-access-key={store['AWS_ACCESS_KEY_ID']}\ns3.aws-secret-key={store['AWS_SECRET_ACCESS_KEY']}\n")
        self.log = open(directory / "server.log", "wb")
        self.server = subprocess.Popen([f"{home}/bin/launcher", "run", f"--etc-dir={etc}"], stdout=self.log, stderr=self.log)
        until = time.monotonic() + 600
        while not self.is_up():
            if self.server.poll() is not None or time.monotonic() > until:
                self.close()
                raise AssertionError((directory / "server.log").read_text()[-4000:])
            time.sleep(1)

    def is_up(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/info") as answer:
                info = json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return False
        self.version = info["nodeVersion"]["version"]
        if info["starting"]:
            return False
        try:
            return bool(self.query("SELECT 1 FROM system.runtime.nodes"))
        except (AssertionError, urllib.error.URLError):
            return False

    def query(self, sql):
        """The rows of a statement, as dictionaries of Python values."""
        headers = {"X-Trino-User": "test", "X-Trino-Catalog": "delta", "X-Trino-Schema": "alloclog", "X-Trino-Time-Zone": "UTC"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/statement", sql.encode(), headers)
        columns, rows = [], []
        while True:
            with urllib.request.urlopen(request) as answer:
                page = json.load(answer)
            assert "error" not in page, "\n".join([*causes(page["error"]["failureInfo"]), sql[:500]])
            columns = page.get("columns") or columns
            rows.extend(page.get("data") or [])
            if "nextUri" not in page:
                break
            request = urllib.request.Request(page["nextUri"], headers=headers)
        names = [column["name"] for column in columns]
        kinds = [column["type"] for column in columns]
        return [{name: value_of(kind, cell) for name, kind, cell in zip(names, kinds, row)} for row in rows]

    def close(self):
        self.server.terminate()
        self.server.wait(60)
        self.log.close()


def value_of(kind, cell):
    if cell is None or not isinstance(cell, str):
        return cell
    if kind.startswith("timestamp"):
        return datetime.datetime.fromisoformat(cell.removesuffix(" UTC"))
    if kind == "date":
        return datetime.date.fromisoformat(cell)
    return float(cell) if kind == "double" else cell  # NaN and Infinity are texts


def causes(failure):
    while failure:
        yield f"{failure['type']}: {failure.get('message')}"
        failure = failure.get("cause")


def is_named():
    return bool(os.environ.get("TRINO_HOME"))
