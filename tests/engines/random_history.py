"""Random small clusters: the whole history of their tasks, and the part that documents at random times show."""

import random

from history import HOUR, History, event, ns

SETUPS = [
    ("Downloading Artifacts", {}), ("Driver", {"message": "Downloading image"}), ("Driver", {"message": "Docker image pull progress: 1/2"}),
    ("Template", {"message": "Missing: x"}), ("Signaling", {}), ("Driver", {}),
]
START_FAILURES = ["Driver Failure", "Failed Artifact Download", "Failed Validation", "Task hook failed"]
RESTART_REASONS = [{"restart_reason": 'healthcheck: check "x" unhealthy'}, {"restart_reason": "User requested running tasks to restart"}, {}]
KILLS = [
    {}, {}, {}, {"fails_task": True, "message": "Template failed: x"}, {"fails_task": True, "message": "Vault: x"},
    {"message": "allocation exceeded max_run_duration"}, {"fails_task": True},
]
WHILE_IT_RUNS = ["Alloc Unhealthy", "Task hook failed", "Task hook message", "Reconnected", "Signaling", "Main Tasks Dead"]


class Task:
    """The history of a task: its events, and the restart counter and the state of the task after each event."""

    def __init__(self, rng, start, with_odds):
        self.events, self.counters, self.states = [], [], []
        self.lost_state = False
        self.restarts, self.clock = 0, start
        self.rng, self.with_odds = rng, with_odds
        self.live()

    def live(self):
        rng = self.rng
        self.append("Received", "pending")
        if rng.random() < 0.1:
            self.append("Killing", "dead")
            return
        if rng.random() < 0.95:
            self.append("Task Setup", "pending")
        for _ in range(rng.randrange(4, 12) if rng.random() < 0.1 else rng.randrange(0, 3)):
            kind, columns = rng.choice(SETUPS)
            self.append(kind, "pending", **columns)
        for _ in range(rng.choice([0, 0, 1, 2, 5, 12])):
            if rng.random() < 0.2:
                self.append(rng.choice(START_FAILURES), "pending")
            else:
                self.run()
            if rng.random() < 0.1:
                break
            self.restarts += 1
            self.append("Restarting", "pending", start_delay_ns=rng.randrange(10**10))
            if self.with_odds and rng.random() < 0.05:
                # The client loses its state, so the restart counter begins at 0 again.
                self.restarts, self.lost_state = 0, True
                self.append("Received", "pending")
        end = rng.random()
        if end < 0.2:
            self.append(rng.choice(START_FAILURES), "pending")
            self.append("Not Restarting", "dead", fails_task=True)
        elif end < 0.4:
            self.run()
            self.append("Not Restarting", "dead", fails_task=True)
        elif end < 0.7:
            if rng.random() < 0.8:
                self.append("Started", "running")
            for _ in range(rng.choice([1, 1, 2])):
                self.append("Killing", "running", **rng.choice(KILLS))
            if rng.random() < 0.9:
                self.append("Terminated", "running", exit_code=rng.choice([0, 143]), signal=0, oom_killed=False)
            if rng.random() < 0.8:
                self.append("Killed", "dead")
        else:
            self.append("Started", "running")
        if rng.random() < 0.1:
            self.append("Killing", self.states[-1])

    def run(self):
        rng = self.rng
        self.append("Started", "running")
        if rng.random() < 0.2:
            self.append(rng.choice(WHILE_IT_RUNS), "running")
        if rng.random() < 0.2:
            self.append("Restart Signaled", "running", **rng.choice(RESTART_REASONS))
        details = rng.choice([None, None, '{"exit_message":"OOM Killed"}', '{"exit_message":"gone"}', '{"exit_message":""}'])
        self.append("Terminated", "pending", exit_code=rng.choice([0, 0, 1, 137]), signal=rng.choice([0, 0, 9]),
                    oom_killed=rng.random() < 0.1, **({"details": details} if details else {}))

    def append(self, kind, state, **columns):
        self.clock += self.rng.choice([0.000000001, 0.5, 3.0, 400.0]) if self.with_odds else self.rng.choice([0.001, 3.0, 400.0])
        stepped = self.clock - 2 if self.with_odds and self.rng.random() < 0.01 else self.clock
        self.events.append(event(kind, stepped, **columns))
        self.counters.append(self.restarts)
        self.states.append(state)


class Cluster:
    """Some allocations and their tasks."""

    def __init__(self, seed, with_odds=True, most=6):
        self.rng = rng = random.Random(seed)
        self.with_odds = with_odds
        self.allocations = {}
        for number in range(rng.randrange(1, most)):
            created = rng.randrange(0, 3 * HOUR)
            place = {
                "region": rng.choice(["", "eu"]), "namespace": rng.choice(["default", "prod"]),
                "job_id": rng.choice(["shop", "bank", "nightly/periodic-1"]), "task_group": rng.choice(["web", "db"]),
            }
            tasks = {name: Task(rng, created, with_odds) for name in ["app", "log"][:rng.randrange(0, 3)]}
            alloc = f"a{number if rng.random() < 0.9 else 0}"
            if (place["region"], alloc) not in self.allocations:
                self.allocations[place["region"], alloc] = (place, created, tasks)

    def shown(self):
        """Returns the content of documents at random times as a history, and for each task the number of its events up
        to the last document that shows it."""
        rng, history, reach = self.rng, History(), {}
        for moment in sorted(rng.randrange(0, 6 * HOUR) for _ in range(rng.randrange(1, 8))):
            odd = rng.random() if self.with_odds else 1
            full = rng.random() < 0.7
            namespace = rng.choice(["*", "*", "default"])
            history.listing(moment, namespace=namespace, full=full, region=rng.choice(["", "eu"]))
            for (region, alloc), (place, created, tasks) in self.allocations.items():
                if created > moment or rng.random() < 0.1:
                    continue
                self.show(history, moment, alloc, place, created, tasks, odd, reach)
        for number in range(3):
            history.add("nodes", {"region": rng.choice(["", "eu"]), "node_id": f"n{number % 2}", "node_class": rng.choice(["big", None]),
                                  "datacenter": rng.choice(["dc1", "dc2"]), "modify_index": number // 2})
        for rows in history.rows.values():
            rng.shuffle(rows)
        return history, reach

    def show(self, history, moment, alloc, place, created, tasks, odd, reach):
        rng, number = self.rng, int(alloc[1:])
        rounded = odd < 0.1
        counters = not 0.1 <= odd < 0.2
        shape = rng.choice(["stub", "full", "stream"])
        past = {name: sum((e["event_at_ns"] - ns(0)) / 10**9 <= moment for e in task.events) for name, task in tasks.items()}
        ends = [task.states[past[name] - 1] == "dead" for name, task in tasks.items() if past[name]]
        status = "pending" if not ends else "complete" if all(ends) else "running"
        if self.with_odds and rng.random() < 0.05:
            status = rng.choice(["lost", "unknown", "failed"])
        # Nomad writes a new version only when a task changes, so the number of events determines the index.
        index = 10 + sum(past.values())
        modified = max([e["event_at_ns"] for name, task in tasks.items() for e in task.events[:past[name]]], default=ns(created))
        common = {"modified_at_ns": modified}
        history.allocation(
            alloc, index=index, shape=shape, client_status=status, created_at_ns=ns(created), **common, **place,
            job_type=None if shape == "stream" else "service" if place["job_id"] != "nightly/periodic-1" else "batch",
            job_version=None if shape == "stream" else index // 7, node_id=rng.choice(["n0", None]),
            desired_status=rng.choice(["run", "run", "stop"]), desired_migrate=rng.choice([True, None]),
            deployment_healthy=rng.choice([True, False, None]), deployment_healthy_at_ns=rng.choice([None, modified]),
            previous_allocation=None if shape == "stub" or number % 3 else f"a{number - 1}",
            next_allocation=None if number % 4 else f"a{number + 1}")
        if status not in ("complete", "failed", "lost"):
            history.sighting(moment if status == "pending" else moment - moment % HOUR, alloc, place["region"])
        if not any(past.values()):
            history.state(task=None, alloc=alloc, index=index, state=None, failed=None, restarts=None, **common, **place)
            return
        for name, task in tasks.items():
            if not past[name]:
                continue
            last = past[name] - 1
            started = [e["event_at_ns"] for e in task.events[:past[name]] if e["event_type"] == "Started"]
            dead = task.states[last] == "dead"
            history.state(
                task.events[:past[name]], task=name, alloc=alloc, index=index, times_rounded=rounded,
                restarts=task.counters[last] if counters else None, state=task.states[last],
                failed=any(e.get("fails_task") for e in task.events[:past[name]]),
                started_at_ns=started[-1] if started else None, finished_at_ns=task.events[last]["event_at_ns"] if dead else None,
                lifecycle_hook=rng.choice([None, "prestart"]), **common, **place)
            key = (place["region"], alloc, name)
            reach[key] = max(reach.get(key, 0), past[name])
