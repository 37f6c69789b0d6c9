"""Kills the program at a chosen change of the store."""

import signal
import threading


def changes(request):
    return request.method in ("PUT", "POST", "DELETE")


class Killer:
    """A rule that kills the program right before its n-th changing request is forwarded.

    For the store, this equals a kill right after the previous changing request, whether or not the program received
    the answer to that request.
    """

    def __init__(self, number):
        self.number = number
        self.changes = []
        self.lock = threading.Lock()
        self.is_started = threading.Event()

    def __call__(self, request, forward):
        if not changes(request):
            return forward(request)
        with self.lock:
            self.changes.append(request)
            is_meant = len(self.changes) == self.number
        if not is_meant:
            return forward(request)
        assert self.is_started.wait(60)
        self.process.kill()
        self.process.wait()
        return None

    def kills(self, program, *arguments):
        """Runs the program. Returns true if it was killed, and false if it finished."""
        self.process = program.start(*arguments)
        self.is_started.set()
        self.process.communicate(timeout=120)
        assert self.process.returncode in (0, -signal.SIGKILL)
        return self.process.returncode != 0
