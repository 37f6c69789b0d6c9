"""Google's precondition for creating an object, against a minimal fake server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest


class Handler(BaseHTTPRequestHandler):
    """The part of the XML API that creating a lake needs: PUT with x-goog-if-generation-match, GET, HEAD, and empty listings."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=()):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = unquote(self.path.split("?")[0])
        condition = self.headers.get("x-goog-if-generation-match")
        with self.server.lock:
            self.server.puts.append((name, condition))
            if condition == "0" and self.server.is_strict and name in self.server.objects:
                return self.answer(412)
            self.server.objects[name] = body
        self.answer(200, headers=[("ETag", '"1"'), ("x-goog-generation", "1")])

    def do_GET(self):
        name = unquote(self.path.split("?")[0])
        if "list-type=2" in self.path:
            return self.answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        if name not in self.server.objects:
            return self.answer(404)
        told = [("ETag", '"1"'), ("Last-Modified", "Wed, 25 Nov 2026 12:00:00 GMT"), ("x-goog-generation", "1")]
        self.answer(200, self.server.objects[name], told)

    do_HEAD = do_GET

    def log_message(self, *ignored):
        pass


@pytest.fixture(params=[True, False], ids=["strict", "careless"])
def google(request):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.objects, server.puts, server.lock, server.is_strict = {}, [], threading.Lock(), request.param
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_bucket_of_google_is_asked_for_generation_0(program, google, listings, tmp_path):
    """The service account key sets the endpoint and disables OAuth."""
    key = {"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": True}
    account = tmp_path / "account.json"
    account.write_text(json.dumps(key | {"gcs_base_url": f"http://127.0.0.1:{google.server_port}"}))
    program.variables["GOOGLE_SERVICE_ACCOUNT"] = str(account)
    program.lake = "gs://bucket/lake"
    _, told = program.ingest(listings[1], expect=0 if google.is_strict else 1)
    conditional = [name for name, condition in google.puts if condition == "0"]
    assert "/bucket/lake/_alloclog/lake.json" in conditional
    if not google.is_strict:
        assert "two writers" in told
        return
    assert "batch 1:" in told
    # The batch, and every version of every table.
    committed = [name for name, _ in google.puts if "/batches/" in name or name.endswith("0.json") or name.endswith("1.json")]
    assert len(committed) > 10 and set(committed) <= set(conditional)
    _, told = program.ingest(listings[1])
    assert "nothing new" in told
