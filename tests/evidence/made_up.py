"""Synthetic recordings of behaviour that the recorded agents did not show, in the JSON that Nomad serves.

Every event has the number of the life to which it belongs, and a listing shows the last ten events of a life. So the
truth is known even if a client lost its state, or if two runners of one allocation write alternately.
"""

import json
import random

START = 1_800_000_000
SECOND = 10**9


class Recording:
    def __init__(self, seed, allocations=30, span=600, listings=12):
        self.rng = random.Random(seed)
        self.versions, self.index = [], 100
        for number in range(allocations):
            Allocation(self, number, span)
        self.versions.sort(key=lambda version: (version["ModifyTime"], version["ID"]))
        for version in self.versions:
            self.index += 1
            version["ModifyIndex"] = self.index
        self.listings = sorted(self.rng.uniform(5, span * 1.3) for _ in range(listings))

    def documents(self):
        """The listings of the recording, as (time in nanoseconds, bytes)."""
        for seconds in self.listings:
            at = round((START + seconds) * SECOND)
            shown = {}
            for version in self.versions:
                if version["ModifyTime"] <= at:
                    shown[version["ID"]] = version
            if shown:
                yield at, json.dumps([clean(version) for version in shown.values()]).encode()


def clean(version):
    """A version as Nomad would serve it: without the numbers of lives."""
    states = {}
    for task, state in (version["TaskStates"] or {}).items():
        events = [{k: v for k, v in event.items() if k != "Life"} for event in state["Events"] or []]
        states[task] = state | {"Events": events or None}
    return version | {"TaskStates": states or None}


def time_text(ns):
    import datetime

    whole, rest = divmod(ns, SECOND)
    return f"{datetime.datetime.fromtimestamp(whole, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class Life:
    """The state of a task in one runner on its client."""

    def __init__(self, number, start):
        self.number, self.clock, self.events = number, start, []
        self.restarts, self.failed, self.state = 0, False, "pending"
        self.started = self.finished = None

    def add(self, rng, kind, wait=1.0, **columns):
        self.clock += wait * rng.uniform(0.5, 1.5)
        ns = round((START + self.clock) * SECOND) + rng.randrange(1000)
        event = {
            "Type": kind, "Time": ns, "Message": "", "DisplayMessage": columns.pop("message", ""), "Details": {}, "FailsTask": False,
            "RestartReason": "", "StartDelay": 0, "ExitCode": 0, "Signal": 0, "Life": self.number,
        } | columns
        if kind == "Terminated":
            event["Details"] = {"exit_code": str(event["ExitCode"]), "oom_killed": "true" if event.pop("oom", False) else "false"}
        self.events.append(event)
        self.restarts += kind == "Restarting"
        self.failed |= event["FailsTask"]
        if kind == "Started":
            self.state, self.started = "running", ns
        elif kind in ("Restarting", "Task Setup", "Received"):
            self.state = "pending"
        elif kind in ("Not Restarting", "Killed"):
            self.state, self.finished = "dead", ns
        return ns

    def shown(self):
        text = lambda ns: None if ns is None else time_text(ns)
        restarting = [e["Time"] for e in self.events if e["Type"] == "Restarting"]
        return {
            "State": self.state, "Failed": self.failed, "Restarts": self.restarts, "LastRestart": text(restarting[-1] if restarting else None),
            "StartedAt": text(self.started), "FinishedAt": text(self.finished), "Events": [dict(e) for e in self.events[-10:]],
        }


class Allocation:
    def __init__(self, recording, number, span):
        self.rng, self.recording, self.span = recording.rng, recording, span
        rng = self.rng
        self.kind = rng.choice(["checked", "checked", "crashing", "artifact", "image", "restarted agent", "lost state", "two runners",
                                "placeholder", "lost", "template", "killed", "batch"])
        self.id = f"{rng.getrandbits(128):032x}"
        self.id = "-".join([self.id[:8], self.id[8:12], self.id[12:16], self.id[16:20], self.id[20:]])
        self.created = rng.uniform(0, span / 2)
        self.job, self.number = f"{self.kind.replace(' ', '-')}-{number % 4}", number
        self.status, self.desired, self.text = "pending", "run", ""
        self.version({})
        self.live()

    def version(self, states, after=None):
        at = self.created if after is None else after
        self.recording.versions.append({
            "ID": self.id, "Name": f"{self.job}.g[0]", "Namespace": "default", "NodeID": "n1", "NodeName": "one", "JobID": self.job,
            "JobType": "batch" if self.kind in ("batch", "placeholder", "killed") else "service", "JobVersion": 0, "TaskGroup": "g",
            "DesiredStatus": self.desired, "DesiredDescription": self.text, "ClientStatus": self.status, "ClientDescription": "",
            "TaskStates": {task: dict(state) for task, state in states.items()}, "CreateIndex": 10 + self.number, "ModifyIndex": 0,
            "CreateTime": round((START + self.created) * SECOND), "ModifyTime": round((START + at) * SECOND),
        })

    def add(self, life, kind, wait=1.0, **columns):
        life.add(self.rng, kind, wait, **columns)
        self.show(life)

    def show(self, life):
        self.status = "running" if life.state == "running" else self.status if life.state == "dead" else "pending"
        self.version({"app": life.shown()}, life.clock + 0.001)

    def end(self, life, status, desired="run"):
        self.status, self.desired = status, desired
        self.version({"app": life.shown()}, life.clock + 0.5)

    def begin(self, number=1, start=None):
        life = Life(number, self.created if start is None else start)
        self.add(life, "Received", 0.2)
        self.add(life, "Task Setup", 0.2)
        return life

    def restart(self, life, reason="Restart within policy"):
        self.add(life, "Restarting", 0.01, RestartReason=reason, StartDelay=self.rng.randrange(1, 10**10))

    def crash(self, life, code):
        self.run(life)
        if self.rng.random() < 0.2:
            self.add(life, "Alloc Unhealthy", 1)
        self.add(life, "Terminated", 2, ExitCode=code, Signal=9 if code == 137 else 0, oom=code == 137 and self.rng.random() < 0.3)

    def run(self, life):
        if life.state != "running":
            self.add(life, "Started", 2)

    def unhealthy(self, life, code):
        self.run(life)
        self.add(life, "Restart Signaled", 3, RestartReason='healthcheck: check "x" unhealthy')
        if self.rng.random() < 0.3:
            self.add(life, "Alloc Unhealthy", 0.1)
        self.add(life, "Terminated", 0.3, ExitCode=code, Signal=9 if code == 137 else 0)

    def asked(self, life):
        self.run(life)
        self.add(life, "Restart Signaled", 3, RestartReason=self.rng.choice(
            ["User requested task to restart", "", "Template: template with change_mode restart re-rendered", "vault: new Vault token acquired"]))
        self.add(life, "Terminated", 0.3, ExitCode=self.rng.choice([0, 1, 137]))
        self.restart(life, "")

    def runs(self, life, most, checked):
        """Adds at most `most` runs, each followed by a restart."""
        rng = self.rng
        own = rng.choice([1, 1, 2, 137])
        for _ in range(rng.randrange(most + 1)):
            chance = rng.random()
            if chance < (0.5 if checked else 0.0):
                self.unhealthy(life, rng.choice([0, own, 130, 137]))
                self.restart(life)
            elif chance < 0.6:
                self.asked(life)
            else:
                self.crash(life, own)
                self.restart(life)

    def live(self):
        rng = self.rng
        if self.kind in ("checked", "crashing"):
            life = self.begin()
            self.runs(life, 20, self.kind == "checked")
            if rng.random() < 0.5:
                self.crash(life, 1)
                self.add(life, "Not Restarting", 0.01, FailsTask=True, RestartReason="Policy allows no restarts")
                self.end(life, "failed")
            else:
                self.run(life)
        elif self.kind in ("artifact", "image"):
            self.set_up(self.begin())
        elif self.kind == "restarted agent":
            life = self.begin()
            # Without an earlier restart, the second Received would be indistinguishable from the first.
            self.crash(life, 1)
            self.restart(life)
            self.runs(life, 3, False)
            self.run(life)
            for kind in ("Received", "Task Setup", "Started"):
                self.add(life, kind, 3)
            self.runs(life, 6, False)
        elif self.kind == "lost state":
            first = self.begin()
            self.runs(first, 8, rng.random() < 0.5)
            second = self.begin(2, first.clock + rng.uniform(5, 100))
            self.runs(second, 8, rng.random() < 0.5)
        elif self.kind == "two runners":
            self.two_runners()
        elif self.kind == "placeholder":
            self.placeholder()
        elif self.kind == "lost":
            self.lost()
        elif self.kind == "template":
            life = self.begin()
            self.runs(life, 3, False)
            if rng.random() < 0.7:
                self.add(life, "Started", 1)
            text = rng.choice(["Template failed: x", "consul-template: x", "vault: failed to renew Vault token: x", "Vault: failed to derive token: x"])
            self.add(life, "Killing", 2, FailsTask=True, message=text)
            if life.state == "running":
                self.add(life, "Terminated", 0.2, ExitCode=rng.choice([0, 137]))
                self.add(life, "Killed", 0.1)
            else:
                life.state, life.finished = "dead", life.events[-1]["Time"]
            self.end(life, "failed")
        else:
            self.finish()

    def set_up(self, life):
        rng = self.rng
        for _ in range(rng.randrange(6)):
            self.add(life, "Downloading Artifacts", 1)
            self.add(life, "Failed Artifact Download", 3)
            self.restart(life)
        if self.kind == "image":
            self.add(life, "Driver", 1, message="Downloading image")
            for _ in range(rng.randrange(12)):
                self.add(life, "Driver", 5, message="Docker image pull progress: 1/2")
        self.add(life, "Downloading Artifacts", 1)
        if rng.random() < 0.8:
            self.add(life, "Started", 5)
            self.runs(life, 4, False)

    def two_runners(self):
        first = self.begin()
        self.runs(first, 6, False)
        second = self.begin(2, first.clock + 5)
        for _ in range(self.rng.randrange(1, 10)):
            life = min(first, second, key=lambda life: life.clock)
            self.crash(life, life.number)
            self.restart(life)

    def placeholder(self):
        life = self.begin()
        if self.rng.random() < 0.7:
            self.runs(life, 3, False)
            self.add(life, "Started", 1)
            life.clock += self.rng.uniform(1, 60)
        # The client lost the state of the task. Nomad then shows a placeholder with an invented end.
        made_up = {"State": "", "Failed": False, "Restarts": 0, "LastRestart": None, "StartedAt": None,
                   "FinishedAt": time_text(round((START + life.clock + 1) * SECOND)), "Events": None}
        self.status = self.rng.choice(["failed", "complete"])
        self.version({"app": made_up}, life.clock + 2)

    def lost(self):
        rng = self.rng
        life = Life(1, self.created)
        if rng.random() < 0.5:
            life.add(rng, "Received", 0.2)
            life.add(rng, "Task Setup", 0.2)
            self.version({"app": life.shown()}, life.clock + 0.001)
        states = {"app": life.shown()} if life.events else {}
        self.status, self.desired, self.text = "lost", "stop", "alloc is lost since its node is down"
        self.version(states, self.created + 30)
        for kind in [] if life.events else ["Received", "Task Setup"]:
            life.add(rng, kind, 0.2)
        life.add(rng, "Started", 3)
        life.add(rng, "Killing", 60)
        life.add(rng, "Terminated", 1, ExitCode=0)
        life.add(rng, "Killed", 0.1)
        if rng.random() < 0.7:
            self.status = "complete"
            self.version({"app": life.shown()}, life.clock + 1)

    def finish(self):
        life = self.begin()
        self.runs(life, 4, False)
        self.add(life, "Started", 1)
        if self.kind == "killed":
            self.add(life, "Killing", 5)
            self.add(life, "Terminated", 1, ExitCode=self.rng.choice([0, 130]))
            self.add(life, "Killed", 0.1)
            self.end(life, "complete", "stop")
        else:
            self.add(life, "Terminated", 5)
            life.state, life.finished = "dead", life.events[-1]["Time"]
            self.end(life, "complete")
