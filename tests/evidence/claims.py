"""Compares the claims that views compute from some listings with the truth.

A claim has two maps from a key to a value: the claimed values and the true ones. A value that is null or "unknown"
claims nothing. The truth about a task ends at the last version of the task that one of the listings shows.
"""

import collections
import copy
import json

import definitions
from definitions import TERMINAL

VIEWS = ["windows", "coverage", "failures", "attempts", "starts", "restarts", "restart_log", "job_runs", "reschedules", "crash_loops", "start_phases"]
CAUSES = ["failure", "clean_exit", "oom", "start_failure", "user", "change", "health", "unknown"]
PHASES = {"artifact": "artifact_ns", "image": "image_ns"}


def instant(text):
    """A time of a task state in nanoseconds; None for the texts with which Nomad writes "never"."""
    if text in (None, "", "0001-01-01T00:00:00Z"):
        return None
    import datetime

    stem, _, rest = text.partition(".")
    digits = "".join(c for c in rest.split("Z")[0].split("+")[0].split("-")[0]) if rest else ""
    zone = "+00:00" if text.endswith("Z") else text[-6:]
    whole = datetime.datetime.fromisoformat(stem.rstrip("Z")[:19] + zone)
    return int(whole.timestamp()) * 10**9 + int(digits.ljust(9, "0")[:9] or 0)


class Known:
    """The truth about the tasks that some listings show."""

    def __init__(self, truth, shown):
        self.truth, self.shown = truth, shown
        self.seen = {alloc: index for alloc, index in shown.index.items() if alloc in truth.versions}
        self.allocations = {alloc: truth.version(alloc, index) for alloc, index in self.seen.items()}
        self.allocations = {alloc: version for alloc, version in self.allocations.items() if version}
        self.walks, self.states = {}, {}
        for alloc, version in self.allocations.items():
            is_stopped = version.get("DesiredStatus") in ("stop", "evict")
            for task, state in truth.tasks(alloc, self.seen[alloc]).items():
                self.states[alloc, task] = state
                events = truth.events(alloc, task, self.seen[alloc])
                # A life of which the listings show no event cannot be detected, see docs/semantics.md.
                visible = {event.life for event in events if event.identity in shown.events.get((alloc, task), ())}
                events = [event for event in events if event.life in visible or len(visible) == 0]
                self.walks[alloc, task] = definitions.Lives(events, is_stopped)

    def without(self, hidden):
        """The same truth without the jobs to which the hidden allocations belong."""
        jobs = {self.allocations[alloc].get("JobID") for alloc in hidden}
        kept = copy.copy(self)
        kept.allocations = {alloc: v for alloc, v in self.allocations.items() if v.get("JobID") not in jobs}
        kept.walks = {key: walk for key, walk in self.walks.items() if key[0] in kept.allocations}
        kept.states = {key: state for key, state in self.states.items() if key[0] in kept.allocations}
        return kept

    def status(self, alloc):
        return self.allocations[alloc].get("ClientStatus")

    def ended(self, alloc, task):
        state = self.states[alloc, task]
        if state["State"] == "":
            return None
        if state["State"] == "dead" or self.status(alloc) in ("complete", "failed"):
            return instant(state.get("FinishedAt"))
        return None

    def ever_starts(self, alloc, task):
        return any(e.type == "Started" for e in self.truth.events(alloc, task, 2**62))


def compared(known, views):
    """A dict from the name of a claim to a pair: the claimed values and the true ones."""
    rows = {name: [row for row in table.to_pylist() if row.get("alloc_id") is None or row["alloc_id"] in known.allocations]
            for name, table in views.items()}
    # If no window shows that a client lost its state, the loss cannot be detected, see docs/semantics.md.
    shows = {(row["alloc_id"], row["task"]) for row in rows["windows"] if row["new_life"] or row["lives_mixed"]}
    hidden = {key for key, lives in known.walks.items() if len(lives.walks) > 1} - shows
    known = known.without({alloc for alloc, _ in hidden})
    jobs = {version.get("JobID") for version in known.allocations.values()}
    rows = {name: [row for row in own if row.get("alloc_id") is None and row.get("job_id") in jobs or row.get("alloc_id") in known.allocations]
            for name, own in rows.items()}
    found = {}
    for of in (of_coverage, of_failures, of_attempts, of_starts, of_restart_log, of_restarts, of_job_runs, of_reschedules, of_crash_loops):
        found |= of(known, rows)
    return found


def put(found, claim, claimed, truth):
    found[claim] = ({k: v for k, v in claimed.items() if v is not None}, {k: v for k, v in truth.items() if v is not None})


def of_coverage(known, rows):
    found = {}
    claimed = {(r["alloc_id"], r["task"]): r for r in rows["coverage"]}
    whole = {key: {e.identity for e in lives.events} <= known.shown.events.get(key, set()) for key, lives in known.walks.items()}
    put(found, "coverage.complete", {k: True for k, r in claimed.items() if r["complete"]}, {k: True for k, is_whole in whole.items() if is_whole})
    lost = {key: sum(e.type == "Restarting" and e.identity not in known.shown.events.get(key, ()) for e in lives.events)
            for key, lives in known.walks.items()}
    several = {key for key, lives in known.walks.items() if len(lives.walks) > 1}
    told = {k: max(r["lost_restarts"], lost[k]) if k in several and r["lost_restarts"] is not None else r["lost_restarts"]
            for k, r in claimed.items()}
    put(found, "coverage.lost_restarts", told, lost)
    first = {key: lives.events[0].identity in known.shown.events.get(key, ()) for key, lives in known.walks.items() if lives.events}
    put(found, "coverage.begins", {k: True for k, r in claimed.items() if r["begins"]}, {k: True for k, is_first in first.items() if is_first})
    return found


def uncounted(known, rows):
    """The tasks for which the views claim no exact number of restarts. If a client lost its state and no window shows
    this, more restarts may have been lost than the views can detect, see docs/semantics.md."""
    several = {key for key, lives in known.walks.items() if len(lives.walks) > 1}
    return several | {(r["alloc_id"], r["task"]) for r in rows["coverage"] if r["lost_restarts"] is None}


def of_failures(known, rows):
    found, truth = {}, {}
    for (alloc, task), walk in known.walks.items():
        for ending in walk.endings:
            if ending.outcome == "failed":
                truth[alloc, task, ending.event.ns, ending.event.type] = ending
    claimed = {(r["alloc_id"], r["task"], r["failed_at_ns"], r["event_type"]): r for r in rows["failures"]}
    put(found, "failures", {k: True for k in claimed}, {k: True for k in truth})
    for name in ("class", "gave_up", "suspected_oom", "exit_code", "attempt"):
        def told(row):
            return row[name] if row["class"] != "unknown" or name not in ("class", "suspected_oom") else None

        def true(ending):
            event = ending.event
            suspected = ending.cause in ("signal", "exit") and (event.exit_code == 137 or event.signal == 9)
            return {"class": None if ending.cause == "unknown" else ending.cause, "gave_up": ending.gave_up,
                    "suspected_oom": None if ending.cause == "unknown" else suspected,
                    "exit_code": event.exit_code, "attempt": event.attempt}[name]

        put(found, f"failures.{name}", {k: told(r) for k, r in claimed.items()}, {k: true(e) for k, e in truth.items()})
    return found


def of_attempts(known, rows):
    found, truth = {}, {}
    for (alloc, task), walk in known.walks.items():
        for life in walk.walks:
            runs = definitions.attempts(life, known.states[alloc, task], known.status(alloc), known.ended(alloc, task))
            for attempt, run in runs.items():
                # If a task has several lives or no counter, its runs are identified by their start.
                if len(walk.walks) == 1:
                    truth[alloc, task, attempt] = run
                if run["started_at_ns"]:
                    truth[alloc, task, "from", run["started_at_ns"]] = run
    several = {key for key, walk in known.walks.items() if len(walk.walks) > 1}
    claimed = {}
    for row in rows["attempts"]:
        key = (row["alloc_id"], row["task"])
        if key not in several and row["attempt"] is not None:
            claimed[*key, row["attempt"]] = row
        elif row["started_at_ns"] is not None:
            claimed[*key, "from", row["started_at_ns"]] = row
    truth = {key: run for key, run in truth.items() if "from" not in key or key in claimed or key[:2] in several}
    put(found, "attempts", {k: True for k in claimed}, {k: True for k in truth})
    for name in ("outcome", "failure_class", "started_at_ns", "ended_at_ns", "exit_code", "signal", "delay_ns"):
        def told(row):
            if name == "delay_ns":
                return None if row["delay_seconds"] is None else round(row["delay_seconds"] * 10**9)
            return None if row[name] == "unknown" else row[name]

        put(found, f"attempts.{name}", {k: told(r) for k, r in claimed.items()},
            {k: None if run[name] == "unknown" else run[name] for k, run in truth.items()})
    return found


def of_starts(known, rows):
    found, truth = {}, {}
    for (alloc, task), walk in known.walks.items():
        start = definitions.start(walk.events, known.states[alloc, task], known.status(alloc))
        if start["outcome"] in ("failed_before_start", "stopped_before_start") and known.ever_starts(alloc, task):
            start["outcome"] = "unknown"
        truth[alloc, task] = start
    for alloc in known.allocations:
        if not any(key[0] == alloc for key in known.states):
            truth[alloc, None] = {"outcome": {"pending": "waiting"}.get(known.status(alloc), "unknown")} | dict.fromkeys(
                ("started_at_ns", "received_at_ns", "setup_at_ns", "artifact_ns", "image_ns"))
            later = any(task for version in known.truth.versions[alloc] for task in version.states)
            if known.status(alloc) in TERMINAL and not later:
                truth[alloc, None]["outcome"] = "stopped_before_start"
    claimed = {}
    for row in rows["starts"]:
        key = (row["alloc_id"], row["task"])
        # The resources of an allocation in a listing may name a task that has no state yet.
        if key not in truth and (row["alloc_id"], None) in truth:
            truth[key] = truth[row["alloc_id"], None]
        claimed[key] = row
    truth = {key: start for key, start in truth.items() if key in claimed or key[1] is not None}
    for name in ("outcome", "started_at_ns", "received_at_ns", "setup_at_ns", "artifact_ns", "image_ns"):
        def told(row):
            if name in PHASES.values():
                seconds = row[name.replace("_ns", "_seconds")]
                return None if seconds is None else round(seconds * 10**9)
            return None if row[name] == "unknown" else row[name]

        put(found, f"starts.{name}", {k: told(r) for k, r in claimed.items()},
            {k: None if s[name] == "unknown" else s[name] for k, s in truth.items()})
    for phase, name in PHASES.items():
        values = collections.defaultdict(list)
        for key, row in claimed.items():
            if row[phase + "_seconds"] is not None and key in truth:
                values[row["namespace"], row["job_id"], row["task_group"], row["task"]].append(truth[key][name])
        told, true = {}, {}
        for row in rows["start_phases"]:
            if row["phase"] == phase:
                key = (row["namespace"], row["job_id"], row["task_group"], row["task"])
                if key in values:
                    own = sorted(v for v in values[key] if v is not None)
                    told[key] = (row["samples"], *(round(row[c] * 10**9) for c in ("p50_seconds", "p95_seconds", "max_seconds")))
                    true[key] = (len(own), *(own[-(-len(own) * share // 100) - 1] if own else None for share in (50, 95, 100)))
        put(found, f"start_phases.{phase}", told, true)
    return found


def of_restart_log(known, rows):
    found, truth, numbers = {}, {}, {}
    for (alloc, task), walk in known.walks.items():
        truth |= {(alloc, task, event.attempt, event.ns): cause for event, cause in walk.restarts}
        numbers[alloc, task] = len(walk.restarts)
    attempts = {key[:2] + key[3:]: key[2] for key in truth}
    seen = {}
    for row in rows["restart_log"]:
        if row["is_seen"]:
            key = (row["alloc_id"], row["task"], row["restarted_at_ns"])
            attempt = attempts.get(key) if row["attempt"] is None else row["attempt"]
            seen[*key[:2], attempt, key[2]] = row["cause"]
    put(found, "restart_log", dict.fromkeys(seen, True), dict.fromkeys(truth, True))
    put(found, "restart_log.cause", {k: None if v == "unknown" else v for k, v in seen.items()},
        {k: None if v == "unknown" else v for k, v in truth.items()})
    told = collections.Counter()
    for row in rows["restart_log"]:
        told[row["alloc_id"], row["task"]] += row["number"]
    for key in uncounted(known, rows) & set(told):
        # Here the views claim only a lower bound.
        told[key] = max(told[key], numbers.get(key, 0))
    put(found, "restart_log.number", dict(told), {k: n for k, n in numbers.items() if n})
    return found


def of_restarts(known, rows):
    """For a group, the views claim the count of each cause as a lower bound, and the sum of the counters exactly."""
    found, truth, counts = {}, collections.Counter(), collections.Counter()
    for (alloc, task), walk in known.walks.items():
        group = (known.allocations[alloc].get("JobID"), known.allocations[alloc].get("TaskGroup"), task)
        counts[group] += len(walk.restarts)
        for _, cause in walk.restarts:
            truth[*group, cause] += 1
    claimed = {(r["job_id"], r["task_group"], r["task"]): r for r in rows["restarts"]}
    unsure = {(known.allocations[alloc].get("JobID"), known.allocations[alloc].get("TaskGroup"), task)
              for alloc, task in uncounted(known, rows) if alloc in known.allocations}
    number = lambda k, r: max(r["restarts"], counts[k]) if k in unsure and r["restarts"] is not None else r["restarts"]
    put(found, "restarts.restarts", {k: number(k, r) for k, r in claimed.items() if k in counts}, counts)
    for cause in CAUSES:
        told = {k: r[f"cause_{cause}"] for k, r in claimed.items() if k in counts}
        ones = {(*k, n): True for k, count in told.items() for n in range(count)} if cause != "unknown" else {}
        true = {(*k[:-1], n): True for k, count in truth.items() if k[-1] == cause for n in range(count)} if cause != "unknown" else {}
        put(found, f"restarts.cause_{cause}", ones, true)
    put(found, "restarts.not_fewer_than_seen", {k: r["restarts"] >= r["restarts_seen"] for k, r in claimed.items() if r["restarts"] is not None},
        dict.fromkeys(claimed, True))
    return found


def of_job_runs(known, rows):
    found, verdicts, ends = {}, collections.defaultdict(list), collections.defaultdict(list)
    followed = {v.get("PreviousAllocation") for v in known.allocations.values()} | {a for a, v in known.allocations.items() if v.get("NextAllocation")}
    for v in known.allocations.values():
        events = (v.get("RescheduleTracker") or {}).get("Events") or []
        followed |= {event["PrevAllocID"] for event in events[-1:]}
    for alloc, version in known.allocations.items():
        walks = {task: walk for (a, task), walk in known.walks.items() if a == alloc}
        status, stopped = known.status(alloc), version.get("DesiredStatus") in ("stop", "evict")
        job, number = version.get("JobID"), version.raw.get("JobVersion", (version.raw.get("Job") or {}).get("Version"))
        states = [known.states[alloc, task] for task in walks]
        walks = {task: walk.walks[-1] for task, walk in walks.items()}
        if status == "failed" or status == "complete" and any(e.cause == "timeout" for w in walks.values() for e in w.endings):
            verdict = "failed"
        elif status == "complete" and stopped and not any(ended_well(w) for w in walks.values()):
            verdict = "stopped"
        elif status == "lost" and states and all(s["State"] == "dead" for s in states):
            verdict = "failed" if any(s.get("Failed") for s in states) else "complete"
        else:
            verdict = status if status in ("complete", "lost") else "running"
        verdicts[job].append((alloc in followed, verdict, number))
        ends[job] += [end for end in (known.ended(alloc, task) for task in walks) if end is not None]
    outcome = {}
    for job, own in verdicts.items():
        # A recorded stream lacks the job version, so a job with several versions is left out.
        told = [r for r in rows["job_runs"] if r["job_id"] == job]
        if len(told) == 1:
            if any(known.states[key]["State"] == "" for key in known.states if known.allocations[key[0]].get("JobID") == job):
                ends[job] = []
            deciding = {verdict for is_followed, verdict, _ in own if not is_followed} or {verdict for _, verdict, _ in own}
            outcome[job] = next((o for o in ("running", "failed", "lost", "stopped") if o in deciding), "complete")
    claimed = {r["job_id"]: r for r in rows["job_runs"] if r["job_id"] in outcome}
    put(found, "job_runs.outcome", {k: None if r["outcome"] == "unknown" else r["outcome"] for k, r in claimed.items()}, outcome)
    put(found, "job_runs.finished_at_ns", {k: r["finished_at_ns"] for k, r in claimed.items()},
        {k: max(ends[k], default=None) for k, o in outcome.items() if o in ("complete", "failed", "stopped")})
    return found


def ended_well(walk):
    last = []
    for event in reversed(walk.events):
        if event.type == "Restarting":
            break
        last.append(event)
    end = next((event for event in last if event.type == "Terminated"), None)
    return end is not None and end.exit_code == 0 and not end.signal


def of_reschedules(known, rows):
    found, truth = {}, {}
    claimed = {}
    for row in rows["reschedules"]:
        old, new = row["previous_alloc_id"], row["alloc_id"]
        if old not in known.truth.versions:
            continue
        claimed[new] = row["reason"]
        created = known.allocations[new].raw["CreateIndex"]
        later = [v for v in known.truth.versions[old] if v.index >= created] or known.truth.versions[old][-1:]
        at_least = [v for v in known.truth.versions[old] if v.index <= created]
        preempted = any(v.get("PreemptedByAllocation") or v.get("DesiredStatus") == "evict" for v in known.truth.versions[old])
        truth[new] = "preempted" if preempted else definitions.reason((at_least[-1] if at_least and at_least[-1].index == created else later[0]).raw, known.allocations[new].raw)
    put(found, "reschedules.reason", claimed, truth)
    return found


def of_crash_loops(known, rows):
    found, truth, classes = {}, {}, {}
    for key, walk in known.walks.items():
        if len(walk.restarts) >= 3:
            truth[key] = len(walk.restarts)
        failed = [ending for ending in walk.endings if ending.outcome == "failed" and ending.event.identity in known.shown.events[key]]
        if failed and len(walk.restarts) >= 3:
            classes[key] = None if failed[-1].cause == "unknown" else failed[-1].cause
    claimed = {(r["alloc_id"], r["task"]): r for r in rows["crash_loops"]}
    number = {k: r["restarts_last_hour"] for k, r in claimed.items()}
    for key in uncounted(known, rows) & set(number):
        number[key] = max(number[key], truth.get(key, 0))
    put(found, "crash_loops.restarts_last_hour", number, truth)
    # An upper bound claims that there were not more restarts.
    most = {k: r["restarts_at_most"] for k, r in claimed.items()}
    put(found, "crash_loops.restarts_at_most", {k: m if m is None else min(m, truth.get(k, 0)) for k, m in most.items()}, truth)
    put(found, "crash_loops.last_class", {k: None if r["last_class"] == "unknown" else r["last_class"] for k, r in claimed.items()}, classes)
    return found


def score(found, totals):
    """Counts the claims, the true claims among them, and the claims that would have been possible."""
    false = []
    for claim, (claimed, truth) in found.items():
        total = totals.setdefault(claim, [0, 0, 0])
        total[0] += len(claimed)
        total[1] += sum(truth.get(key) == value for key, value in claimed.items())
        total[2] += len(truth)
        false += [(claim, key, value, truth.get(key)) for key, value in claimed.items() if truth.get(key) != value]
    return false
