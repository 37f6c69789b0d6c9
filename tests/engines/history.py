"""Small histories in a compact notation, converted to rows of the stored tables.

Times are seconds after 22:00 UTC on 14 November 2023.
"""

import json
import re

import tables

T0 = 1_699_999_200
HOUR = 3600
TERMINAL = ("complete", "failed", "lost")


def ns(seconds):
    return None if seconds is None else T0 * 10**9 + round(seconds * 10**9)


def time(seconds):
    return tables.moment(ns(seconds))


def through_float(value):
    """A time in nanoseconds, rounded as by a tool that reads a float64 and writes its shortest decimal form."""
    text = repr(float(value))
    digits, _, exponent = text.partition("e+")
    whole, _, fraction = digits.partition(".")
    return int((whole + fraction).ljust(int(exponent) + 1, "0")) if exponent else int(float(text))


def event(kind, seconds, **columns):
    """One event of a task: its type, its time, and further columns of `task_events`."""
    return {"event_type": kind, "event_at_ns": ns(seconds)} | columns


EVENT = re.compile(r"(?P<kind>[A-Z][A-Za-z ]*?)(?: (?P<exit>-?\d+)(?:/(?P<signal>\d+))?)?(?P<oom> oom)?(?P<fails>!)?(?:: (?P<text>.*))?")


def events(text, start=0.0, step=1.0):
    """The events of a text, `step` seconds apart: `Received, Task Setup, Started, Terminated 1, Not Restarting!`.

    `Terminated 137/9` has an exit code and a signal. `Terminated 137 oom` is marked as out of memory. `!` marks an
    event that fails its task. The text after a colon is the reason of a Restart Signaled or a Restarting, the exit
    message of a Terminated, or the message of any other event."""
    made = []
    for number, part in enumerate(re.split(r", (?=[A-Z])", text)):
        parsed = EVENT.fullmatch(part)
        columns = {"fails_task": True} if parsed["fails"] else {}
        if parsed["exit"]:
            columns |= {"exit_code": int(parsed["exit"]), "signal": int(parsed["signal"] or 0), "oom_killed": bool(parsed["oom"])}
        if parsed["text"] and parsed["kind"] in ("Restart Signaled", "Restarting"):
            columns |= {"restart_reason": parsed["text"]}
        elif parsed["text"] and parsed["kind"] == "Terminated":
            columns |= {"details": json.dumps({"exit_code": parsed["exit"], "exit_message": parsed["text"]}, separators=(",", ":"))}
        elif parsed["text"]:
            columns |= {"message": parsed["text"]}
        made.append(event(parsed["kind"], start + step * number, **columns))
    return made


class History:
    """The content of some documents, as rows of the stored tables."""

    def __init__(self):
        self.rows = {table: [] for table in tables.STORED}
        self.event_keys = set()

    def add(self, table, row):
        """Adds a row of a stored table, unless the table already has it."""
        if row not in self.rows[table]:
            self.rows[table].append(row)

    def listing(self, seconds, namespace="*", full=True, region="", index=None, **columns):
        """Adds a document to the ledger. The rows of the document in other tables are added separately."""
        self.add("snapshots", {
            "region": region, "content_hash": f"{len(self.rows['snapshots']):032x}", "observed_at_ns": ns(seconds),
            "is_full_listing": full, "namespace": namespace, "snapshot_id": len(self.rows["snapshots"]) + 1,
            "source": "made by hand", "times_rounded": False, "nomad_index": index, "absences_recorded": True,
        } | columns)

    def sighting(self, seconds, alloc="a", region=""):
        self.add("sightings", {"region": region, "alloc_id": alloc, "seen_at_ns": ns(seconds)})

    def absence(self, shown, missing, alloc="a", region="", index=None):
        """Adds an absence: when the last document showed an allocation, and when a later listing lacked it."""
        self.add("absences", {
            "region": region, "alloc_id": alloc, "shown_at_ns": ns(shown), "missing_at_ns": ns(missing), "missing_index": index,
        })

    def allocation(self, alloc="a", index=10, **columns):
        """Adds a version of an allocation. By default, the allocation is running, and was created and last modified
        at 0."""
        row = {
            "region": "", "namespace": "default", "job_id": "shop", "task_group": "web", "alloc_id": alloc,
            "shape": "stub", "client_status": "running", "desired_status": "run", "created_at_ns": ns(0),
            "modified_at_ns": ns(0), "modify_index": index,
        } | columns
        self.add("allocation_history", row)

    def state(self, shown=(), task="app", alloc="a", index=10, restarts=0, times_rounded=False, window=None, **columns):
        """Adds a state of a task with its window of events. `shown` is every event of the task up to this state. The
        window has the last ten of them, or the last `window`. An event that is already stored keeps its attempt."""
        seen = list(shown)[-(window or 10):]
        attempts, after = [], 0
        for e in reversed(seen):
            after += e["event_type"] == "Restarting"
            attempts.insert(0, None if restarts is None else restarts + 1 - after)
        place = {key: columns.get(key, default) for key, default in
                 (("region", ""), ("namespace", "default"), ("job_id", "shop"), ("task_group", "web"))}
        rounded = through_float if times_rounded else (lambda value: value)
        row = place | {
            "task": task, "alloc_id": alloc, "modify_index": index, "modified_at_ns": ns(0), "placeholder": False,
            "state": "running", "failed": False, "restarts": restarts,
        }
        if seen:
            row |= {
                "window_events": len(seen), "window_restarting": after, "window_first_type": seen[0]["event_type"],
                "window_first_attempt": attempts[0], "window_first_ns": rounded(seen[0]["event_at_ns"]),
                "window_last_attempt": attempts[-1], "window_last_ns": rounded(seen[-1]["event_at_ns"]),
            }
        self.add("task_state_history", row | columns)
        equals = []
        for e, attempt in zip(seen, attempts):
            e = e | {"event_at_ns": rounded(e["event_at_ns"])}
            ordinal = equals.count(e)
            equals.append(e)
            key = (place["region"], alloc, task, times_rounded, ordinal, tuple(sorted(e.items())))
            if key not in self.event_keys:
                self.event_keys.add(key)
                self.rows["task_events"].append(place | {
                    "task": task, "alloc_id": alloc, "attempt": attempt, "ordinal": ordinal, "times_rounded": times_rounded,
                } | e)

    def watch(self, shown, restarts=None, **columns):
        """Adds a state of a task after its first ten events, and a state after each later event. So every event is
        seen. A task with fewer than ten events gets one state, after its last event. `restarts` is the final counter,
        which is needed only if the task restarted before the first event of `shown`."""
        counts = [sum(e["event_type"] == "Restarting" for e in shown[:last]) for last in range(len(shown) + 1)]
        before = 0 if restarts is None else restarts - counts[-1]
        for last in range(min(len(shown), 10), len(shown) + 1):
            self.state(shown[:last], restarts=before + counts[last], index=last, **columns)

    def tables(self):
        return tables.stored(self.rows)


def watched(shown, restarts=None, **allocation):
    """A history of one task, in which every event of the task is seen."""
    history = History()
    history.allocation(**allocation)
    history.watch(shown, restarts)
    return history


def period(since, until):
    """The SQL of the view `period` from `since` to `until`, as the program writes it for `--since` and `--until`."""
    return {"period": f"SELECT CAST({ns(since)} AS BIGINT) AS since_ns, CAST({ns(until)} AS BIGINT) AS until_ns"}
