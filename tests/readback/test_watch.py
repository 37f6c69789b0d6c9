"""`alloclog report --watch` and `--stream` on a terminal: refreshed in place at a limited rate, until Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CLEARED = re.compile(rb"\x1b\[2J")
INTERVAL = 0.7


@pytest.fixture
def agent(listing):
    """A stand-in for a Nomad agent whose cluster grows by one allocation with every listing."""
    shown = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path, _, query = self.path.partition("?")
            if path == "/v1/event/stream":
                return self.stream()
            status, body = 404, b""
            if path == "/v1/acl/token/self":
                status, body = 400, b"ACL support disabled"
            elif path == "/v1/namespaces":
                status, body = 200, b'[{"Name":"default"}]'
            elif path == "/v1/allocations" and "index=" in query:
                time.sleep(0.05)
                status, body = 200, b"[]"
            elif path == "/v1/allocations":
                shown.append(time.monotonic())
                status, body = 200, json.dumps(listing[: len(shown)]).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Nomad-Index", "7")
            self.end_headers()
            self.wfile.write(body)

        def stream(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}\n")
            for index, allocation in enumerate(listing, start=8):
                event = {"Topic": "Allocation", "Payload": {"Allocation": allocation}}
                self.wfile.write(json.dumps({"Index": index, "Events": [event]}).encode() + b"\n")
                self.wfile.flush()
                time.sleep(0.2)
            self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("way", ["--watch", "--stream"])
def test_a_report_is_refreshed_in_place_until_interrupted(program, agent, way):
    ours, theirs = pty.openpty()
    run = program.start("report", agent, way, "--min-interval", f"{INTERVAL}s", stdout=theirs)
    os.close(theirs)
    screen, cleared = b"", []

    def read(refreshes):
        """Reads until the screen was cleared this many times, or the program has ended."""
        nonlocal screen
        until = time.monotonic() + 120
        while len(cleared) < refreshes and time.monotonic() < until:
            if not select.select([ours], [], [], 0.05)[0]:
                continue
            try:
                new = os.read(ours, 65536)
            except OSError:  # the program has ended
                return
            if not new:
                return
            cleared.extend(time.monotonic() for _ in CLEARED.findall(new))
            screen += new

    read(4)
    refreshed = list(cleared)
    run.send_signal(signal.SIGINT)
    read(1000)
    assert run.wait(60) == 0
    os.close(ours)

    assert len(refreshed) >= 4
    assert all(later - earlier > INTERVAL * 0.9 for earlier, later in zip(refreshed, refreshed[1:])), refreshed
    screens = CLEARED.split(screen)[1:]
    assert len(screens) == len(cleared) > len(refreshed), "it shows all once more at its end"
    tasks = [int(re.search(rb"(\d+) tasks?\b", text).group(1)) for text in screens]
    assert tasks == sorted(tasks) and tasks[0] < tasks[-1], tasks
    assert not any(program.scratch.iterdir())
