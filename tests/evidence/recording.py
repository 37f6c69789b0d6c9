"""Recordings of real agents: occasional listings, and the complete history.

A snapshot is one listing. The truth is the event stream, or a poll so frequent that nothing was lost between its
listings. Stream and poll are converted to versions of allocations. The events of a task are merged from the windows of
its versions.
"""

import io
import json
import tarfile

import pyarrow as pa


def open_zstd(path):
    return pa.input_stream(str(path), compression="zstd")


def lines(path):
    yield from io.TextIOWrapper(open_zstd(path), encoding="utf-8")


def streamed(path):
    """The allocations of an event stream, in order."""
    for line in lines(path):
        for event in json.loads(line).get("Events") or []:
            if event["Topic"] == "Allocation":
                yield event["Payload"]["Allocation"]


def polled(path):
    """The allocations of a recorded series of listings, in order."""
    for line in lines(path):
        yield from json.loads(line).get("allocs") or []


def snapshots(path):
    """The listings of a recording as (name, bytes), by time."""
    with open_zstd(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        found = [(entry.name.rsplit("/", 1)[-1], archive.extractfile(entry).read())
                 for entry in archive if entry.name.endswith(".json")]
    return sorted(found)


class Event:
    """One event of a task, parsed from the format of any Nomad version."""

    def __init__(self, raw):
        details = raw.get("Details") or {}
        self.type, self.ns = raw["Type"], raw["Time"]
        self.identity = (self.ns, self.type)
        terminated = self.type == "Terminated"
        self.exit_code = raw.get("ExitCode") if terminated else None
        self.signal = raw.get("Signal") if terminated else None
        self.exit_message = (details.get("exit_message") or raw.get("Message") or "") if terminated else ""
        self.oom = terminated and (details.get("oom_killed") == "true" or self.exit_message == "OOM Killed")
        self.fails = bool(raw.get("FailsTask")) or details.get("fails_task") == "true"
        self.reason = raw.get("RestartReason") or details.get("restart_reason") or ""
        self.delay = raw.get("StartDelay") if self.type == "Restarting" else None
        self.message = raw.get("DisplayMessage") or raw.get("Message") or raw.get("KillReason") or ""
        # A synthetic event has the number of its life. A recorded task has one life.
        self.life = raw.get("Life", 1)
        self.attempt = None


class Version:
    """An allocation at one raft index."""

    def __init__(self, raw):
        self.raw, self.index = raw, raw["ModifyIndex"]
        self.modified = raw.get("ModifyTime") or None
        self.states = raw.get("TaskStates") or {}

    def get(self, name, default=None):
        return self.raw.get(name) or default


class Truth:
    """The complete history of the allocations in a recording."""

    def __init__(self, allocations):
        self.versions = {}
        for raw in allocations:
            known = self.versions.setdefault(raw["ID"], {})
            if raw["ModifyIndex"] not in known:
                known[raw["ModifyIndex"]] = Version(raw)
        self.versions = {alloc: [known[index] for index in sorted(known)] for alloc, known in self.versions.items()}

    def version(self, alloc, index):
        """The newest version of an allocation at or before a raft index."""
        past = [version for version in self.versions[alloc] if version.index <= index]
        return past[-1] if past else None

    def events(self, alloc, task, index):
        """All events of a task, from the first one to the last one at a raft index."""
        found, known = [], set()
        for version in self.versions[alloc]:
            shown = [Event(raw) for raw in (version.states.get(task) or {}).get("Events") or []]
            if version.index > index or not shown:
                continue
            new = [event for event in shown if event.identity not in known]
            has_life = any(event.life == shown[0].life for event in found)
            assert not has_life or len(shown) < 10 or len(new) < len(shown), f"the truth has a gap: {alloc} {task}"
            found += new
            known.update(event.identity for event in new)
        attempts = {}
        for event in found:
            event.attempt = attempts.setdefault(event.life, 1)
            attempts[event.life] += event.type == "Restarting"
        return found

    def tasks(self, alloc, index):
        """The tasks of an allocation that exist at a raft index, each with its newest state."""
        states = {}
        for version in self.versions[alloc]:
            if version.index <= index:
                states.update(version.states)
        return states


class Seen:
    """The content of some listings: the largest raft index of each allocation, and the events of each task."""

    def __init__(self, documents):
        self.index, self.events = {}, {}
        for _, body in documents:
            for raw in json.loads(body):
                alloc = raw["ID"]
                self.index[alloc] = max(self.index.get(alloc, 0), raw["ModifyIndex"])
                for task, state in (raw.get("TaskStates") or {}).items():
                    own = self.events.setdefault((alloc, task), set())
                    own.update((event["Time"], event["Type"]) for event in state["Events"] or [])
