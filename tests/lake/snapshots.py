"""A small cluster over time, and its listings at regular intervals.

Allocations are created. Their tasks restart, and keep their last ten events. An allocation that ended or was stopped
stays listed for a while, and is then garbage-collected. The same seed gives the same bytes.
"""

import datetime
import json
import random
import uuid

KEPT = 10
TERMINAL = ("complete", "failed")


def stamp(ns):
    return datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


def rfc3339(ns):
    moment = datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


class Cluster:
    """A cluster that keeps `alive` allocations alive, and begins at `start`, in seconds since the epoch."""

    def __init__(self, seed, alive, start):
        self.chance = random.Random(seed)
        self.now = start * 10**9
        self.index = 1000
        self.alive = alive
        self.allocations = []
        self.kept_for = 6 * 3600 * 10**9
        self.grow()

    def moment(self):
        """Advances the clock by less than a second, and returns the new time."""
        self.now += self.chance.randrange(10**6, 10**9)
        return self.now

    def identity(self):
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def event(self, allocation, kind, **details):
        state = allocation["TaskStates"]["server"]
        event = {"Type": kind, "Time": self.moment(), "DisplayMessage": f"Task {kind.lower()}", "Details": {}}
        state["Events"] = [*state["Events"], event | details][-KEPT:]

    def changed(self, allocation):
        self.index += 1
        allocation["ModifyIndex"], allocation["ModifyTime"] = self.index, self.moment()

    def grow(self):
        while sum(a["ClientStatus"] not in TERMINAL for a in self.allocations) < self.alive:
            number = len(self.allocations)
            job = f"job-{self.chance.randrange(max(1, self.alive // 4))}"
            self.index += 1
            now = self.moment()
            allocation = {
                "ID": self.identity(), "EvalID": self.identity(), "Name": f"{job}.web[{number}]",
                "Namespace": "default", "NodeID": f"node-{self.chance.randrange(5)}", "JobID": job,
                "JobType": "service", "JobVersion": 0, "TaskGroup": "web", "DesiredStatus": "run",
                "ClientStatus": "running", "CreateIndex": self.index, "ModifyIndex": self.index,
                "CreateTime": now, "ModifyTime": now,
                "TaskStates": {
                    "server": {
                        "State": "running", "Failed": False, "Restarts": 0, "StartedAt": rfc3339(now), "Events": [],
                    }
                },
            }  # fmt: skip
            self.allocations.append(allocation)
            for kind in ("Received", "Task Setup", "Started"):
                self.event(allocation, kind)
            self.changed(allocation)

    def restart(self, allocation):
        state = allocation["TaskStates"]["server"]
        code = self.chance.choice([1, 2, 137])
        details = {"exit_code": str(code), "oom_killed": str(code == 137).lower(), "signal": "0"}
        self.event(allocation, "Terminated", ExitCode=code, Details=details)
        self.event(allocation, "Restarting", RestartReason="Restart within policy", StartDelay=10**9)
        self.event(allocation, "Started")
        state["Restarts"] += 1
        state["LastRestart"] = state["StartedAt"] = rfc3339(self.now)
        self.changed(allocation)

    def end(self, allocation):
        state = allocation["TaskStates"]["server"]
        self.event(allocation, "Terminated", ExitCode=0, Details={"exit_code": "0", "signal": "0"})
        state |= {"State": "dead", "FinishedAt": rfc3339(self.now)}
        allocation["ClientStatus"] = "complete"
        self.changed(allocation)

    def pass_time(self, seconds, restarts, ends):
        """Advances the clock by `seconds`, and spreads the restarts and ends over this time."""
        until = self.now + seconds * 10**9
        steps = [self.restart] * restarts + [self.end] * ends
        self.chance.shuffle(steps)
        for i, step in enumerate(steps):
            self.now = max(self.now, until - seconds * 10**9 * (len(steps) - i) // (len(steps) + 1))
            living = [a for a in self.allocations if a["ClientStatus"] not in TERMINAL]
            step(self.chance.choice(living))
        self.now = max(self.now, until)
        self.grow()
        forgotten = self.now - self.kept_for
        self.allocations = [
            a for a in self.allocations if a["ClientStatus"] not in TERMINAL or a["ModifyTime"] > forgotten
        ]

    def listings(self, directory, count, apart, restarts, ends):
        """Writes this many listings, `apart` seconds apart, with restarts and ends in between; returns their paths."""
        directory.mkdir()
        written = []
        for _ in range(count):
            written.append(self.write(directory))
            self.pass_time(apart, restarts, ends)
        return written

    def write(self, directory):
        """Writes a listing of the present state. The name of the file is the time."""
        self.now = (self.now // 10**9 + 1) * 10**9
        path = directory / f"{stamp(self.now)}.json"
        path.write_text(json.dumps(self.allocations))
        return path
