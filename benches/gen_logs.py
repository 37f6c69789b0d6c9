#!/usr/bin/env python3
"""Writes the log of one busy Nomad client, as hclog writes it, for measurements.

The lines follow a recorded client of Nomad 2.0.5 at level DEBUG. The lines "Task event" report how tasks start, run and
end. Between them are lines about the client's API, heartbeats, plugins and hooks. --events sets how many of a hundred
lines are "Task event". 25 is typical of a client whose tasks restart all the time, and 3 of a client whose tasks mostly
run. With 100, the log has no other lines, although no client writes such a log. The same arguments give the same bytes.
"""

import argparse
import json
import random
from datetime import datetime, timedelta
from pathlib import Path

TASKS = ["web", "api", "worker", "proxy", "batch-import", "log-shipper", "postgres_exporter", "connect-proxy-web"]
EXITS = ["Exit Code: 0", "Exit Code: 1", "Exit Code: 137, Signal: 9",
         'Exit Code: 1, Exit Message: "Docker container exited with non-zero exit code: 1"',
         'Exit Code: 137, Signal: 9, Exit Message: "OOM Killed"']  # fmt: skip
BETWEEN = [
    ("DEBUG", "http", "request complete", 'method=GET path="/v1/node/{id}/allocations?index={n}&stale=false&wait=300000ms" duration={d}ms'),
    ("DEBUG", "http", "request complete", "method=GET path=/v1/metrics duration={d}µs"),
    ("DEBUG", "client", "updated allocations", "index={n} total=31 pulled=2 filtered=29"),
    ("DEBUG", "client", "allocation updates", "added=1 removed=0 updated=1 ignored=29"),
    ("DEBUG", "client", "allocation updates applied", "added=1 removed=0 updated=1 ignored=29 errors=0"),
    ("DEBUG", "client", "state updated", "node_status=ready"),
    ("DEBUG", "client.server_mgr", "new server list", "new_servers=[10.0.0.1:4647,10.0.0.2:4647] old_servers=[]"),
    ("DEBUG", "client.driver_mgr.docker", "container stopped", "container_id={id}"),
    ("INFO", "client.alloc_runner.task_runner", "restarting task", 'alloc_id={id} task=web reason="Restart within policy" delay={d}s'),
    ("DEBUG", "client.alloc_runner.task_runner.task_hook.logmon", "plugin started", "alloc_id={id} task=web path=/usr/bin/nomad pid={n}"),
    ("DEBUG", "client.alloc_runner.task_runner.task_hook.logmon", "waiting for RPC address", "alloc_id={id} task=web plugin=/usr/bin/nomad"),
    ("DEBUG", "client.alloc_runner.task_runner.task_hook.logmon.nomad", "plugin address", "alloc_id={id} task=web @module=logmon address=/tmp/plugin{n} network=unix"),
    ("INFO", "client.driver_mgr.raw_exec.executor", "plugin process exited", "alloc_id={id} driver=raw_exec task_name=web plugin=/usr/bin/nomad id={id}"),
    ("INFO", "client.gc", "marking allocation for GC", "alloc_id={id}"),
    ("DEBUG", "consul.sync", "sync complete", "registered_services=1 deregistered_services=0 registered_checks=1 deregistered_checks=0"),
]  # fmt: skip


class Allocation:
    """An allocation with one task that starts, ends and restarts, and then fails or ends."""

    def __init__(self, rng):
        self.alloc_id = uuid(rng)
        self.task = rng.choice(TASKS)
        self.events = self.history(rng)

    def history(self, rng):
        """The events of the allocation: type, message, and whether the event fails the task."""
        yield "Received", "Task received by client", False
        yield "Task Setup", "Building Task Directory", False
        if rng.random() < 0.3:
            yield "Driver", f"Downloading image registry.example.com/team/{self.task}:1.{rng.randrange(99)}", False
        for _ in range(rng.choice([0, 0, 1, 2, 3, 20])):
            yield "Started", "Task started by client", False
            yield "Terminated", rng.choice(EXITS), False
            yield "Restarting", f"Task restarting in {rng.randrange(1, 30)}.{rng.randrange(10**9):09}s", False
        yield "Started", "Task started by client", False
        if rng.random() < 0.5:
            yield "Killing", "Sent interrupt. Waiting 5s before force killing", False
            yield "Terminated", "Exit Code: 130, Signal: 2", False
            yield "Killed", "Task successfully killed", False
        else:
            yield "Terminated", rng.choice(EXITS), False
            yield "Not Restarting", 'Exceeded allowed attempts 2 in interval 30m0s and mode is "fail"', True


def uuid(rng):
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def quoted(value):
    """A value of a text line: hclog quotes a value with a character outside `-` to `~`, and escapes only quotes."""
    if value and all("-" <= c <= "~" for c in value):
        return value
    return '"' + value.replace('"', '\\"') + '"'


def text_line(at, level, logger, message, fields):
    stamp = at.isoformat(timespec="milliseconds")
    return f"{stamp}Z [{level}]{' ' * (6 - len(level))}{logger}: {message}: {fields}\n"


def event_line(at, allocation, event, as_json):
    event_type, message, fails = event
    logger = "client.alloc_runner.task_runner"
    if as_json:
        line = {"@level": "info", "@message": "Task event", "@module": logger,
                "@timestamp": at.isoformat(timespec="microseconds") + "Z", "alloc_id": allocation.alloc_id,
                "failed": fails, "msg": message, "task": allocation.task, "type": event_type}  # fmt: skip
        return json.dumps(line, separators=(",", ":")) + "\n"
    fields = (f"alloc_id={allocation.alloc_id} task={allocation.task} type={quoted(event_type)} msg={quoted(message)} "
              f"failed={str(fails).lower()}")  # fmt: skip
    return text_line(at, "INFO", logger, "Task event", fields)


def other_line(at, rng, as_json):
    level, logger, message, fields = rng.choice(BETWEEN)
    fields = fields.format(id=uuid(rng), n=rng.randrange(10**6), d=f"{rng.random() * 100:.6f}")
    if not as_json:
        return text_line(at, level, logger, message, fields)
    line = {"@level": level.lower(), "@message": message, "@module": logger,
            "@timestamp": at.isoformat(timespec="microseconds") + "Z", "fields": fields}  # fmt: skip
    return json.dumps(line, separators=(",", ":")) + "\n"


def write(path, megabytes, events, as_json):
    """Writes the log, and returns how many of its lines are "Task event"."""
    rng = random.Random(17)
    at = datetime(2026, 11, 23)
    running = [Allocation(rng) for _ in range(200)]
    written, of_events = 0, 0
    with path.open("w", encoding="utf-8", newline="") as out:
        while written < megabytes * 10**6:
            at += timedelta(microseconds=rng.randrange(20_000))
            if rng.random() * 100 < events:
                which = rng.randrange(len(running))
                event = next(running[which].events, None)
                if event is None:
                    running[which] = Allocation(rng)
                    event = next(running[which].events)
                line = event_line(at, running[which], event, as_json)
                of_events += 1
            else:
                line = other_line(at, rng, as_json)
            written += len(line.encode())
            out.write(line)
    return of_events


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the log to write")
    parser.add_argument("--mb", type=int, default=500, help="its size (default 500)")
    parser.add_argument("--events", type=float, default=25, help='of a hundred lines, how many are "Task event" (default 25)')
    parser.add_argument("--json", action="store_true", help="write JSON lines, as Nomad does with log_json")
    options = parser.parse_args()
    print(write(options.output, options.mb, options.events, options.json))


if __name__ == "__main__":
    main()
