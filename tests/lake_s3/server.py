"""An S3 server on loopback: moto, behind a single-threaded server.

moto checks whether a key exists and then writes it, so that two threads could both find it missing. This server has
one thread, so conditional puts are atomic. moto implements the rest: keys, listings, ETags, and the status 412.
"""

import datetime
import threading

import boto3
import deltalake
from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from stored import OF_DOCUMENTS
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "lakes"
ACCOUNT = "123456789012"


class Quiet(WSGIRequestHandler):
    def log(self, *ignored):
        pass


class Server:
    """The server, with one bucket. It listens on `address`."""

    def __init__(self):
        assert not settings.TEST_SERVER_MODE, "moto runs in server mode, so it would use another server"
        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, application, threaded=False, request_handler=Quiet)
        self.address = ("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.client().create_bucket(Bucket=BUCKET)

    def client(self):
        """An independent S3 client."""
        return boto3.client(
            "s3",
            endpoint_url="http://{}:{}".format(*self.address),
            aws_access_key_id="reader",
            aws_secret_access_key="reader",
            region_name="us-east-1",
        )

    def names(self, prefix):
        """The keys below a prefix."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def copy(self, prefix, other):
        """Copies a prefix to another one."""
        client = self.client()
        for name in self.names(prefix):
            client.copy_object(Bucket=BUCKET, Key=other + name.removeprefix(prefix), CopySource={"Bucket": BUCKET, "Key": name})

    def remove(self, name):
        self.client().delete_object(Bucket=BUCKET, Key=name)

    def options(self):
        """The options with which delta-rs reads from the server without the proxy."""
        return {
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*self.address),
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "other",
            "AWS_SECRET_ACCESS_KEY": "other",
        }

    def table(self, prefix, name):
        """A table of the lake, opened with delta-rs."""
        return deltalake.DeltaTable(f"s3://{BUCKET}/{prefix}{name}", storage_options=self.options())

    def row_counts(self, prefix):
        """How many rows delta-rs reads from the files of each table."""
        return {name: self.table(prefix, name).to_pyarrow_table().num_rows for name in OF_DOCUMENTS}

    def live_rows(self, prefix):
        """How many rows each table has according to its log. delta-rs counts them even if a file is missing."""
        return {name: self.table(prefix, name).count() for name in OF_DOCUMENTS}

    def age(self, prefix, days):
        """Makes the objects below a prefix older by the server's clock."""
        keys = s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys
        for name in self.names(prefix):
            keys[name].last_modified -= datetime.timedelta(days=days)

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
