"""A proxy between the program and a server. The proxy simulates faults of networks and stores.

A rule is a function of a request and of `forward`, which forwards the request and returns the server's answer. It
returns the answer for the program, or None to reset the connection.
"""

import http.client
import itertools
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def is_conditional(self):
        return any(name.lower() == "if-none-match" for name in self.headers)


@dataclass
class Answer:
    status: int
    headers: list
    body: bytes


def says(status, code):
    """An error answer in S3's format."""
    body = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
    return Answer(status, [("Content-Type", "application/xml")], body)


def straight(request, forward):
    """The default rule: forwards unchanged."""
    return forward(request)


def at(numbers, wanted, act):
    """A rule that numbers the wanted requests from 1, and acts on those with the given numbers."""
    count = itertools.count(1)

    def rule(request, forward):
        return act(request, forward) if wanted(request) and next(count) in numbers else forward(request)

    return rule


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is two writes: head and body. The second must not wait until the first is acknowledged (Nagle).
    disable_nagle_algorithm = True

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender was killed. Stores ignore incomplete requests.
            self.close_connection = True
            return
        request = Request(self.command, self.path, dict(self.headers.items()), body)
        with self.server.lock:
            self.server.requests.append(request)
        answer = self.server.rule(request, self.server.forward)
        if answer is None:
            self.reset()
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        # The answer to HEAD names the length of the body, but the body is not sent.
        told = [value for name, value in answer.headers if name.lower() == "content-length"]
        self.send_header("Content-Length", told[0] if told and self.command == "HEAD" else str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, *ignored):
        pass


class Proxy(ThreadingHTTPServer):
    """Listens on loopback and forwards to `address` according to `rule`; `requests` has all requests in order."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = address
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.reset()
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def reset(self):
        self.rule = straight
        self.requests = []

    def forward(self, request):
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def handle_error(self, *ignored):
        """Ignores errors of connections whose program was killed."""

    def stop(self):
        self.shutdown()
        self._thread.join()
        self.server_close()
