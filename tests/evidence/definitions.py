"""The definitions of the statistics for a task whose events are all known, written from docs/semantics.md and the heads
of `queries/`. This module shares no code with the SQL, and does not use windows."""

SETUP_CLASSES = {"Driver Failure": "driver", "Failed Artifact Download": "artifact", "Failed Validation": "validation",
                 "Setup Failure": "hook", "Failed Restoring Task": "restore"}
NEVER_FAILURES = {"Alloc Unhealthy", "Sibling Task Failed", "Sibling task failed", "Leader Task Dead", "Main Tasks Dead"}
START_FAILURES = {"driver", "artifact", "template", "hook", "validation"}
TERMINAL = {"complete", "failed", "lost"}


class Ending:
    """An event that ended a run or a setup."""

    def __init__(self, event, outcome, cause=None, signal=None):
        self.event, self.outcome, self.cause, self.signal, self.gave_up = event, outcome, cause, signal, False


def kill_class(event):
    """The class of the failure that a Killing reports; None if it only stops the task."""
    text = event.message.lower()
    if event.fails:
        if text.startswith(("template", "consul-template")):
            return "template"
        if text.startswith(("vault", "identity")):
            return "hook"
    if text.startswith("allocation exceeded max_run_duration"):
        return "timeout"
    return "unknown" if event.fails else None


def signal_meaning(event):
    if event.reason.startswith("healthcheck"):
        return "health"
    return "user" if event.reason.startswith("User requested") else "change"


def own_class(event, signalled):
    """The class of the failure that an unrequested Terminated reports; None if the task succeeded."""
    if event.oom:
        return "oom"
    if signalled == "health":
        return "health"
    if event.signal:
        return "signal"
    if event.exit_code:
        return "exit"
    return "driver" if event.exit_message else None


class Walk:
    """One pass over all events of a task."""

    def __init__(self, events, is_stopped):
        self.events, self.is_stopped, self.endings = events, is_stopped, []
        self.killing = self.kill_failed = self.started = self.dead = False
        self.signalled = None
        self.restarts = []
        for number, event in enumerate(events):
            self.step(number, event)
        self.settle()

    def step(self, number, event):
        kind = event.type
        if kind in ("Received", "Task Setup"):
            self.killing = self.kill_failed = False
        if kind == "Restart Signaled":
            self.signalled = signal_meaning(event)
        elif kind == "Killing":
            self.kill(event)
        elif kind == "Terminated":
            self.terminated(number, event)
        elif kind == "Restarting":
            self.restarts.append((event, self.cause(event.attempt)))
        elif kind not in NEVER_FAILURES and not self.killing:
            self.other(event)
        if kind in ("Received", "Task Setup", "Started", "Restarting"):
            self.dead = False
            self.started = kind == "Started"
        if kind in ("Not Restarting", "Killed"):
            self.dead = True
        if kind == "Restarting":
            self.signalled = None

    def kill(self, event):
        if self.dead:
            return
        cause = kill_class(event)
        if cause and not self.kill_failed:
            self.endings.append(Ending(event, "failed", cause))
            self.kill_failed = True
        self.killing = True

    def is_stop_after_reconnecting(self, number, event):
        before = [e.type for e in self.events[:number]]
        after = self.events[number + 1].type if number + 1 < len(self.events) else ""
        if not self.is_stopped or after in ("Restarting", "Not Restarting"):
            return False
        return before[-1:] == ["Reconnected"] or before[-2:] == ["Reconnected", "Started"] and event.exit_code == -1

    def terminated(self, number, event):
        signalled, self.signalled = self.signalled, None
        if self.killing:
            outcome, cause = "stopped", None
        elif signalled in ("user", "change"):
            outcome, cause = "restart", None
        elif self.is_stop_after_reconnecting(number, event):
            outcome, cause = ("unknown" if event.exit_code == 0 else "stopped"), None
        else:
            cause = own_class(event, signalled)
            outcome = "failed" if cause else "completed"
        self.endings.append(Ending(event, outcome, cause, signalled))
        self.killing = self.kill_failed = False

    def other(self, event):
        cause = SETUP_CLASSES.get(event.type)
        if event.type == "Task hook failed":
            cause = None if self.started else "hook"
        if event.type == "Not Restarting":
            if any(e.outcome == "failed" and e.event.attempt == event.attempt for e in self.endings):
                return
            cause = "unknown"
        elif cause is None and event.fails:
            cause = "unknown"
        if cause:
            self.endings.append(Ending(event, "failed", cause))

    def cause(self, attempt):
        """The cause of a restart, by the newest event before it that ended the run or requested the restart."""
        if self.signalled:
            return self.signalled
        own = [ending for ending in self.endings if ending.event.attempt == attempt]
        if not own:
            return "unknown"
        last = own[-1]
        if last.signal:
            return last.signal
        if last.cause == "oom":
            return "oom"
        if last.cause in START_FAILURES and last.event.type != "Terminated":
            return "start_failure"
        if last.cause:
            return "failure"
        return "clean_exit" if last.event.type == "Terminated" and last.event.exit_code == 0 and not last.event.signal else "unknown"

    def settle(self):
        """Sets `gave_up` of each failure: true if the next failure or Not Restarting of its run is a Not Restarting."""
        place = {id(event): number for number, event in enumerate(self.events)}
        notes = {id(e.event) for e in self.endings if e.outcome == "failed"} | {id(e) for e in self.events if e.type == "Not Restarting"}
        for ending in self.endings:
            if ending.outcome == "failed":
                later = [e for e in self.events[place[id(ending.event)] + 1:] if id(e) in notes and e.attempt == ending.event.attempt]
                ending.gave_up = ending.event.type == "Not Restarting" or bool(later) and later[0].type == "Not Restarting"


class Lives:
    """All lives of a task, each processed separately."""

    def __init__(self, events, is_stopped):
        self.events = sorted(events, key=lambda event: event.ns) if len({e.life for e in events}) > 1 else events
        lives = {}
        for event in events:
            lives.setdefault(event.life, []).append(event)
        self.walks = [Walk(own, is_stopped) for own in lives.values()] or [Walk([], is_stopped)]
        self.endings = sorted((e for walk in self.walks for e in walk.endings), key=lambda ending: ending.event.ns)
        self.restarts = [restart for walk in self.walks for restart in walk.restarts]


def attempts(walk, state, client_status, ended_at):
    """The runs of a task: a dict from the attempt to the outcome, class, times, exit code and delay of the run."""
    runs = {}
    last = walk.events[-1].attempt if walk.events else 1
    if walk.events and walk.events[-1].type == "Restarting":
        last += 1
    for attempt in sorted({event.attempt for event in walk.events}):
        own = [event for event in walk.events if event.attempt == attempt]
        starts = [event for event in own if event.type == "Started"]
        restarting = [event for event in own if event.type == "Restarting"]
        place = {id(event): number for number, event in enumerate(own)}
        after = place[id(starts[-1])] if starts else -1
        endings = [e for e in walk.endings if e.event.attempt == attempt]
        recent = [e for e in endings if place[id(e.event)] > after]
        outcome = cause = ended = exit_code = signal = None
        if recent:
            outcome = recent[-1].outcome
            if outcome == "stopped" and any(e.event.type == "Killing" for e in endings):
                outcome = "failed"
            failed = [e for e in endings if e.outcome == "failed"]
            cause = failed[-1].cause if outcome == "failed" and failed else None
            ended = recent[-1].event.ns
            exits = [e for e in recent if e.event.type == "Terminated"]
            if exits:
                ended, exit_code, signal = exits[-1].event.ns, exits[-1].event.exit_code, exits[-1].event.signal
        elif restarting and signalled_in(own) in ("user", "change"):
            outcome = "restart"
        elif attempt != last or state["State"] == "":
            outcome = "unknown"
        elif state["State"] == "dead" or ended_at and client_status != "failed":
            outcome, ended = ("failed" if state.get("Failed") else "stopped"), ended_at
        elif client_status == "lost":
            outcome = "lost"
        elif client_status in ("unknown", "complete", "failed"):
            outcome = "unknown"
        else:
            outcome = {"running": "running", "pending": "waiting"}.get(state["State"], "unknown")
        runs[attempt] = {
            "outcome": outcome, "failure_class": cause, "started_at_ns": starts[0].ns if starts else None,
            "ended_at_ns": ended, "exit_code": exit_code, "signal": signal,
            "delay_ns": max((e.delay for e in restarting), default=None),
        }
    return runs


def signalled_in(events):
    meaning = None
    for event in events:
        if event.type == "Restart Signaled":
            meaning = signal_meaning(event)
        elif event.type == "Terminated":
            meaning = None
    return meaning


def start(events, state, client_status):
    """The first start of a task and the phases before it."""
    first = next((number for number, event in enumerate(events) if event.type == "Started"), None)
    before = events[:len(events) if first is None else first]
    after = events[:len(events) if first is None else first + 1]
    moment = lambda kind: next((event.ns for event in before if event.type == kind), None)
    artifact = [follower.ns - event.ns for event, follower in zip(before, after[1:]) if event.type == "Downloading Artifacts"]
    image = None
    for number, event in enumerate(before):
        if event.type == "Driver" and event.message.startswith("Downloading"):
            later = next((e.ns for e in events[number + 1:] if e.type != "Driver"), None)
            image = None if later is None else later - event.ns
            break
    if first is not None:
        outcome = "started"
    elif any(event.type == "Terminated" for event in events) or state.get("StartedAt") not in (None, "0001-01-01T00:00:00Z"):
        outcome = "unknown"
    elif state["State"] == "dead" or client_status in TERMINAL:
        outcome = "failed_before_start" if state.get("Failed") else "stopped_before_start"
    else:
        outcome = "waiting"
    return {
        "outcome": outcome, "started_at_ns": None if first is None else events[first].ns,
        "received_at_ns": moment("Received"), "setup_at_ns": moment("Task Setup"),
        "artifact_ns": sum(artifact) if artifact else None, "image_ns": image,
    }


def reason(old, new):
    """Why an allocation was replaced, derived from its state at the time of the replacement."""
    text = old.get("DesiredDescription", "")
    if old.get("PreemptedByAllocation") or old.get("DesiredStatus") == "evict":
        return "preempted"
    for words, meaning in (("rescheduled because it failed", "rescheduled"), ("lost since its node is down", "lost"),
                           ("unknown since its node is disconnected", "lost"), ("disconnected client reconnect", "lost"),
                           ("being migrated", "migrated"), ("node is tainted", "migrated"), ("being updated", "updated")):
        if words in text:
            return meaning
    if old.get("ClientStatus") in ("lost", "unknown"):
        return "lost"
    if old.get("ClientStatus") == "failed":
        return "rescheduled"
    if (old.get("DesiredTransition") or {}).get("Migrate"):
        return "migrated"
    return None
