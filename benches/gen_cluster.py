#!/usr/bin/env python3
"""Writes allocation listings of a simulated Nomad cluster, as its HTTP API would serve them.

Every snapshot shows the last ten events of each task up to its time, so that consecutive snapshots overlap and a
crash loop loses events between them. 150,000 allocations make about 940 MB per snapshot. The order of events and
fields, and their texts, follow recordings of real agents. Maps (TaskStates, Details) have a random order each time,
as Nomad's maps do. The same options give the same bytes.
"""

import argparse
import datetime
import random
import uuid
from pathlib import Path

import orjson

SECOND = 10**9
BEGINNING = 1_790_000_000 * SECOND
END = BEGINNING + 7 * 86_400 * SECOND  # allocations are created over a week; the last snapshot is taken at its end
EVENTS_KEPT = 10  # client/allocrunner/taskrunner/task_runner.go: maxEvents

# An event of a list stub: Nomad writes every field, even if it is empty.
EMPTY_EVENT = {
    "Type": "", "Time": 0, "Message": "", "DisplayMessage": "", "Details": {}, "FailsTask": False, "RestartReason": "",
    "SetupError": "", "DriverError": "", "ExitCode": 0, "Signal": 0, "KillTimeout": 0, "KillError": "",
    "KillReason": "", "StartDelay": 0, "DownloadError": "", "ValidationError": "", "DiskLimit": 0, "FailedSibling": "",
    "VaultError": "", "TaskSignalReason": "", "TaskSignal": "", "DriverMessage": "", "GenericSource": "",
}  # fmt: skip

# The part of a full allocation's Job that does not identify the job.
REST_OF_JOB = {
    "Region": "global",
    "Priority": 50,
    "Datacenters": ["dc1"],
    "Meta": {"owner": 'team "x" <ops@example.com>'},
    "TaskGroups": [
        {
            "Name": "g",
            "Count": 3,
            "Tasks": [
                {
                    "Name": "server",
                    "Driver": "docker",
                    "Env": {f"K{i}": "v" * 30 for i in range(40)},
                    "Templates": [{"EmbeddedTmpl": '{{ key "a/b" }}\n' * 20}],
                }
            ],
        }
    ],
}

CLIENT_DESCRIPTIONS = {
    "failed": "Failed tasks",
    "running": "Tasks are running",
    "pending": "No tasks have started",
    "complete": "All tasks have completed",
}


def rfc3339(ns):
    """A time as Go writes it: without zeros at the end of the fraction. Returns None for 0 and for None."""
    if not ns:
        return None
    whole = datetime.datetime.fromtimestamp(ns // SECOND, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{ns % SECOND:09d}".rstrip("0")
    return whole + ("." + fraction if fraction else "") + "Z"


class Cluster:
    """Jobs, nodes, and the allocations on the nodes. All random numbers come from one generator, in a fixed order."""

    def __init__(self, allocs, seed):
        self.chance = random.Random(seed)
        self.allocs = allocs
        self.nodes = [(self.uuid(), f"node-{i:04d}") for i in range(max(10, allocs // 40))]
        self.jobs = [self.job(i) for i in range(max(5, allocs // 200))]
        # A few jobs loop until the last snapshot and beyond.
        for job in self.chance.sample(self.jobs, max(1, len(self.jobs) // 50)):
            job.update(fails=1.0, gives_up=0.0, loops=True, type="service")

    def uuid(self):
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def job(self, number):
        chance = self.chance
        return {
            "id": f"svc-{number:05d}",
            "namespace": chance.choice(["default", "default", "prod", "staging", "ml"]),
            "type": chance.choice(["service", "service", "service", "batch", "system"]),
            "group": chance.choice(["web", "cache", "api", "g"]),
            "tasks": chance.sample(
                ["server", "worker", "envoy", "logger", "migrate", "redis", "agent"], chance.choice([1, 1, 2, 2, 3])
            ),
            "fails": chance.choice([0.01, 0.05, 0.2, 0.6, 0.95]),  # the probability that a run ends in a failure
            "gives_up": 0.06,  # the probability that a failure is the last one
            "loops": False,
            "pull_seconds": chance.choice([0.2, 2, 8, 30]),
            "version": chance.randint(0, 40),
        }

    def allocation(self, number):
        """One allocation with all events of its tasks."""
        job, node = self.chance.choice(self.jobs), self.chance.choice(self.nodes)
        created = BEGINNING + int(number * (END - BEGINNING) / self.allocs) + self.chance.randrange(SECOND)
        if job["loops"]:
            created = END - self.chance.randrange(7200 * SECOND)
        return {
            "id": self.uuid(),
            "eval_id": self.uuid(),
            "job": job,
            "node": node,
            "index": self.chance.randrange(20),
            "created": created,
            "number": number,
            "tasks": {task: self.life(job, created + 4_000_000) for task in job["tasks"]},
        }

    def life(self, job, now):
        """All events of a task until it runs or ends for good. Each event comes with the task's state after it, whether
        the task has failed, and its restarts."""
        chance = self.chance
        life, restarts, failed = [], 0, False

        def happens(kind, display, state, details=None, **fields):
            event = EMPTY_EVENT | {"Type": kind, "Time": now, "DisplayMessage": display, "Details": details or {}}
            life.append((event | fields, state, failed, restarts))

        def passes(mean_seconds):
            return int(chance.expovariate(1 / mean_seconds) * 1e9) + 1

        happens("Received", "Task received by client", "pending")
        now += passes(0.02)
        building = "Building Task Directory"
        happens("Task Setup", building, "pending", {"message": building}, Message=building)
        now += passes(0.5)
        if chance.random() < 0.3:
            happens("Downloading Artifacts", "Client is downloading artifacts", "pending")
            now += passes(3)
        if chance.random() < 0.6:
            image = {"image": f"registry.internal/{job['id']}:{job['version']}"}
            happens("Driver", "Downloading image", "pending", image, DriverMessage="Downloading image")
            now += passes(job["pull_seconds"])
        while True:
            happens("Started", "Task started by client", "running")
            if now > END or chance.random() > job["fails"] or restarts > 400:
                if job["type"] == "batch":
                    now += passes(60)
                    happens("Terminated", "Exit Code: 0", "dead", {"exit_code": "0", "signal": "0", "oom_killed": "false"})
                return life
            now += passes(40)
            code = chance.choice([1, 1, 2, 137, 139, 143])
            oom = code == 137 and chance.random() < 0.5
            signal = 9 if code == 137 else 0
            details = {"exit_code": str(code), "signal": str(signal), "oom_killed": "true" if oom else "false"}
            display = f"Exit Code: {code}"
            if oom:
                details["exit_message"] = "OOM Killed"
                display += ', Exit Message: "OOM Killed"'
            happens(
                "Terminated", display, "dead", details, ExitCode=code, Signal=signal, Message="OOM Killed" if oom else ""
            )
            now += chance.randrange(20_000, 900_000)
            if chance.random() < job["gives_up"]:
                reason = 'Exceeded allowed attempts 2 in interval 30m0s and mode is "fail"'
                failed = True
                details = {"restart_reason": reason, "fails_task": "true"}
                happens("Not Restarting", reason, "dead", details, RestartReason=reason, FailsTask=True)
                return life
            reason, delay = "Restart within policy", int((15 + chance.random() * 3.75) * 1e9)
            restarts += 1
            display = f"Task restarting in {delay / 1e9:.9f}s"
            details = {"restart_reason": reason, "start_delay": str(delay)}
            happens("Restarting", display, "pending", details, RestartReason=reason, StartDelay=delay)
            now += delay

    def shown(self, allocation, now, full):
        """The JSON of an allocation as served at a time: an entry of a list, or the full object."""
        job, (node_id, node_name) = allocation["job"], allocation["node"]
        states, events, newest, any_failed, live = {}, 0, allocation["created"], False, False
        tasks = list(allocation["tasks"])
        self.chance.shuffle(tasks)
        for task in tasks:
            life = [step for step in allocation["tasks"][task] if step[0]["Time"] <= now]
            events += len(life)
            if life:
                newest = max(newest, life[-1][0]["Time"])
            states[task] = self.task_state(life)
            any_failed |= states[task]["Failed"]
            live |= states[task]["State"] != "dead"
        if any_failed:
            status = "failed"
        elif live:
            status = "running" if events else "pending"
        else:
            status = "complete"
        deployment = {"Healthy": status == "running", "Timestamp": rfc3339(newest), "Canary": False, "ModifyIndex": 1000 + events}
        entry = {
            "ID": allocation["id"],
            "EvalID": allocation["eval_id"],
            "Name": f"{job['id']}.{job['group']}[{allocation['index']}]",
            "Namespace": job["namespace"],
            "NodeID": node_id,
            "NodeName": node_name,
            "JobID": job["id"],
            "JobType": job["type"],
            "JobVersion": job["version"],
            "TaskGroup": job["group"],
            "AllocatedResources": None,
            "DesiredStatus": "stop" if any_failed else "run",
            "DesiredDescription": "",
            "ClientStatus": status,
            "ClientDescription": CLIENT_DESCRIPTIONS[status],
            "DesiredTransition": {"Migrate": None, "Reschedule": None, "ForceReschedule": None, "NoShutdownDelay": None},
            "TaskStates": states if events else None,
            "DeploymentStatus": deployment if job["type"] == "service" else None,
            "FollowupEvalID": "",
            "NextAllocation": "",
            "RescheduleTracker": None,
            "PreemptedAllocations": None,
            "PreemptedByAllocation": "",
            "CreateIndex": 100 + allocation["number"],
            "ModifyIndex": 101 + allocation["number"] + events,
            "CreateTime": allocation["created"],
            "ModifyTime": newest,
        }
        if full:
            del entry["JobType"], entry["JobVersion"]
            what = {key: job[key] for key in ("type", "version", "namespace")}
            entry["Job"] = {"ID": job["id"], "Name": job["id"]} | {k.title(): v for k, v in what.items()} | REST_OF_JOB
            score = {"NodeID": node_id, "NormScore": 0.4312, "Scores": {"binpack": 0.4312}}
            entry["Metrics"] = {"NodesEvaluated": 12, "ScoreMetaData": [score], "AllocationTime": 43210}
            entry["Resources"] = {"CPU": 500, "MemoryMB": 256, "DiskMB": 300}
        return entry

    def task_state(self, life):
        """The state of a task after these events, with the events that Nomad still keeps."""
        if not life:
            return {
                "State": "pending", "Failed": False, "Restarts": 0, "LastRestart": None, "StartedAt": None,
                "FinishedAt": None, "Events": [],
            }  # fmt: skip
        last, state, failed, restarts = life[-1]

        def newest(kind):
            return rfc3339(max((event["Time"] for event, *_ in life if event["Type"] == kind), default=0))

        return {
            "State": state,
            "Failed": failed,
            "Restarts": restarts,
            "LastRestart": newest("Restarting"),
            "StartedAt": newest("Started"),
            "FinishedAt": rfc3339(last["Time"]) if state == "dead" else None,
            "Events": [self.shuffled_details(event) for event, *_ in life[-EVENTS_KEPT:]],
        }

    def shuffled_details(self, event):
        details = event["Details"]
        if len(details) < 2:
            return event
        keys = list(details)
        self.chance.shuffle(keys)
        return event | {"Details": {key: details[key] for key in keys}}


def write(arguments):
    """Writes every snapshot, one allocation at a time, so that memory does not grow with the cluster."""
    option = orjson.OPT_INDENT_2 if arguments.shape == "pretty" else 0
    if arguments.keys == "sorted":
        option |= orjson.OPT_SORT_KEYS
    lines = arguments.shape == "ndjson"
    cluster = Cluster(arguments.allocs, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    interval = int(arguments.interval * 1e9)
    moments = [END - interval * k for k in reversed(range(arguments.snapshots))]
    files = []
    for moment in moments:
        stamp = datetime.datetime.fromtimestamp(moment // SECOND, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        path = arguments.out / f"{stamp}.{'ndjson' if lines else 'json'}"
        files.append(path.open("wb", buffering=1 << 20))
    written = [0] * len(files)
    for number in range(arguments.allocs):
        allocation = cluster.allocation(number)
        for k, (file, moment) in enumerate(zip(files, moments)):
            if allocation["created"] > moment:
                continue
            body = orjson.dumps(cluster.shown(allocation, moment, arguments.full), option=option)
            file.write(body + b"\n" if lines else (b"," if written[k] else b"[") + body)
            written[k] += 1
    for file, entries in zip(files, written):
        if not lines:
            file.write(b"]" if entries else b"[]")
        file.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="directory for the snapshots, one file each, named by its time")
    parser.add_argument("--allocs", type=int, default=1000, help="allocations in the cluster")
    parser.add_argument("--snapshots", type=int, default=1)
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between snapshots")
    parser.add_argument("--shape", choices=["array", "ndjson", "pretty"], default="array")
    parser.add_argument("--keys", choices=["declared", "sorted"], default="declared", help="order of an object's keys")
    parser.add_argument(
        "--full", action="store_true", help="full allocations, with Job, Resources and Metrics, as /v1/node/:id/allocations serves them"
    )
    parser.add_argument("--seed", type=int, default=7)
    write(parser.parse_args())


if __name__ == "__main__":
    main()
