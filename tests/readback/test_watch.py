"""`alloclog report --watch` and `--stream` on a terminal: they redraw one screen at a limited rate, until Ctrl-C."""

import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import struct
import termios
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from program import Program

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
# A complete frame: it starts at the top left, and its last line clears the rest of the screen. Once a second, the
# program draws only the first line; this does not match.
FRAME = re.compile(rb"\x1b\[H((?:(?!\x1b\[H).)*)\x1b\[K\x1b\[J", re.DOTALL)
ROWS, COLUMNS = 20, 90
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


class Watched:
    """`alloclog report` that follows a cluster, on a terminal with ROWS rows and COLUMNS columns."""

    def __init__(self, program, *arguments):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.run = program.start("report", *arguments, "--min-interval", f"{INTERVAL}s", stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.text, self.drawn = b"", []

    def read(self, frames):
        """Reads until this many frames were drawn, or the program has ended."""
        until = time.monotonic() + 120
        while len(self.drawn) < frames and time.monotonic() < until:
            if not select.select([self.ours], [], [], 0.05)[0]:
                continue
            try:
                new = os.read(self.ours, 65536)
            except OSError:  # the program has ended
                return
            if not new:
                return
            self.text += new
            self.drawn += [time.monotonic()] * (len(self.frames()) - len(self.drawn))

    def frames(self):
        """The lines of each frame with a new report. Frames with only a message or the same report are left out."""
        texts = [re.sub(rb"\x1b\[[0-9;]*[mK]", b"", text).decode() for text in FRAME.findall(self.text)]
        frames = [re.split(r"\r+\n", text) for text in texts]
        return [frame for n, frame in enumerate(frames) if len(frame) > 1 and (n == 0 or frame[1:] != frames[n - 1][1:])]

    def end(self, *signals):
        for number in signals:
            self.run.send_signal(number)
        self.read(10_000)
        code = self.run.wait(60)
        os.close(self.ours)
        return code


@pytest.mark.parametrize("way", ["--watch", "--stream"])
def test_a_report_owns_the_screen_until_interrupted(program, agent, way):
    watched = Watched(program, agent, way)
    watched.read(4)
    drawn = list(watched.drawn)
    assert watched.end(signal.SIGINT) == 0

    assert len(drawn) >= 4
    assert all(later - earlier > INTERVAL * 0.8 for earlier, later in zip(drawn, drawn[1:])), drawn
    before, screen = watched.text.split(ENTER)
    screen, after = screen.split(LEAVE)
    for frame in watched.frames():
        assert len(frame) <= ROWS and all(len(line) <= COLUMNS for line in frame), frame
        assert re.fullmatch(r"shown \d+ s ago.*\(Ctrl-C ends\)", frame[0]) and frame[1] == "alloclog report", frame
    # The screen does not scroll: a line feed follows every line except the last.
    assert b"\n" not in FRAME.sub(b"", screen)
    after = re.sub(rb"\x1b\[[0-9;]*[a-zA-Z]", b"", after).decode()
    assert "documents" in before.decode() + after and after.count("\r\nCrash loops\r\n") == 1, "expected a whole report"
    tasks = [int(re.search(r"(\d+) tasks?\b", "".join(frame)).group(1)) for frame in watched.frames()]
    assert tasks == sorted(tasks) and tasks[0] < tasks[-1], tasks
    assert not any(program.scratch.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_the_program_restores_the_terminal(program, agent, tmp_path, number):
    program = Program(program.path, tmp_path)  # SIGQUIT leaves temporary files
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    watched = Watched(program, agent, "--watch")
    watched.read(1)
    if number != signal.SIGQUIT:
        # The first signal stops the program gracefully.
        watched.run.send_signal(number)
    watched.end(number)
    assert watched.text.count(ENTER) == watched.text.count(LEAVE) == 1
    assert watched.text.index(LEAVE) > max(match.end() for match in FRAME.finditer(watched.text))
    assert watched.text.count(b"\x1b[?25l") == watched.text.count(b"\x1b[?25h") == 1


def test_a_stopped_program_gives_the_terminal_back(program, agent):
    watched = Watched(program, agent, "--watch")
    watched.read(1)
    watched.run.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, watched.run.pid, os.WSTOPPED | os.WNOWAIT)
    watched.run.send_signal(signal.SIGCONT)
    watched.read(3)
    assert watched.end(signal.SIGINT) == 0
    assert watched.text.count(LEAVE) == 2 and watched.text.count(ENTER) >= 2


def test_a_file_is_kept_fresh(program, agent, tmp_path):
    file = tmp_path / "report.json"
    run = program.start("report", agent, "--watch", "--min-interval", f"{INTERVAL}s", "--format", "json", "-o", file)
    seen = []
    until = time.monotonic() + 120
    while len(seen) < 3 and time.monotonic() < until:
        time.sleep(0.05)
        if file.exists():
            allocations = json.loads(file.read_text())["input"]["allocations"]  # the file is complete at any time
            seen += [allocations] if allocations not in seen else []
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 0
    assert len(seen) == 3 and seen == sorted(seen), seen
    assert json.loads(file.read_text())["input"]["allocations"] >= seen[-1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
