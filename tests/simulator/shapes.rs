//! The objects of Nomad's API: a version of an allocation as a list stub, a full allocation, or an event's payload.
//!
//! The fields have the order of nomad/structs (server) and api (Go client), as in recordings.

use crate::simulator::cluster::{Allocation, Cluster};
use crate::simulator::event::Event;
use crate::simulator::job::Job;
use crate::simulator::json::{Json, object};
use crate::simulator::moment::{rfc3339, through_float};
use crate::simulator::node::Node;
use crate::simulator::random::Random;
use crate::simulator::style::{Encoder, Never, Style};
use crate::simulator::task_history::{Hook, TaskHistory};
use crate::simulator::version::Version;

/// Builds the objects of one document.
pub struct Shaper<'a> {
    cluster: &'a Cluster,
    style: &'a Style,
    random: Random,
}

impl<'a> Shaper<'a> {
    pub fn new(cluster: &'a Cluster, style: &'a Style) -> Self {
        Self { cluster, style, random: Random::new(style.shuffle) }
    }

    fn client(&self) -> bool {
        self.style.encoder == Encoder::GoClient
    }

    fn moment(&self, ns: Option<i64>, zone: i32) -> Json {
        match (ns, self.style.never) {
            (Some(ns), _) => rfc3339(ns, zone).into(),
            (None, Never::YearOne) => "0001-01-01T00:00:00Z".into(),
            (None, _) => Json::Null,
        }
    }

    fn nanoseconds(&self, ns: i64) -> Json {
        if self.style.floats { Json::Number(through_float(ns).to_string()) } else { Json::Int(ns) }
    }

    /// A map, in random order.
    fn map(&mut self, mut pairs: Vec<(String, Json)>) -> Json {
        self.random.shuffle(&mut pairs);
        Json::Map(pairs)
    }

    /// Sorts the keys if the style requires it.
    pub fn finish(&self, object: Vec<(String, Json)>) -> Json {
        let object = Json::Map(object);
        if self.style.sorted { object.sorted() } else { object }
    }

    /// The stub of `GET /v1/allocations`.
    pub fn stub(&mut self, a: &Allocation, v: &Version) -> Json {
        let (job, node) = (&self.cluster.jobs[a.job], &self.cluster.nodes[a.node]);
        let resources = if self.style.resources { self.resources(a) } else { Json::Null };
        let mut stub = object([
            ("ID", (&a.id).into()),
            ("EvalID", (&a.eval).into()),
            ("Name", name(a, job).into()),
            ("Namespace", job.namespace.into()),
            ("NodeID", (&node.id).into()),
            ("NodeName", (&node.name).into()),
            ("JobID", (&job.id).into()),
            ("JobType", job.kind.into()),
            ("JobVersion", v.job_version.into()),
            ("TaskGroup", job.groups[a.group].name.into()),
            ("AllocatedResources", resources),
            ("DesiredStatus", v.desired_status.into()),
            ("DesiredDescription", (&v.desired_description).into()),
            ("ClientStatus", v.client_status.into()),
            ("ClientDescription", v.client_description.into()),
            ("DesiredTransition", transition(v)),
            ("TaskStates", self.task_states(a, v)),
            ("DeploymentStatus", self.health(a, v)),
            ("FollowupEvalID", (&v.followup_eval).into()),
            ("NextAllocation", (&v.next).into()),
            ("RescheduleTracker", self.tracker(a)),
            ("PreemptedAllocations", Json::Null),
            ("PreemptedByAllocation", (&v.preempted_by).into()),
            ("CreateIndex", a.create_index.into()),
            ("ModifyIndex", v.index.into()),
            ("CreateTime", self.nanoseconds(a.created)),
            ("ModifyTime", self.nanoseconds(v.at)),
        ]);
        if self.client() {
            stub.retain(|(key, value)| {
                key != "DesiredTransition" && (key != "AllocatedResources" || !value.is_empty())
            });
        }
        self.finish(self.future(stub))
    }

    /// Adds fields of a future Nomad to an allocation.
    fn future(&self, mut object: Vec<(String, Json)>) -> Vec<(String, Json)> {
        if self.style.future {
            let field = Json::Map(vec![("TaskStates".into(), Json::Int(1))]);
            object.insert(object.len() / 2, ("Future".into(), field));
        }
        object
    }

    /// The whole allocation. Without its job, it is the payload of an event.
    pub fn full(&mut self, a: &Allocation, v: &Version, with_job: bool, empties: bool) -> Json {
        let (job, node) = (&self.cluster.jobs[a.job], &self.cluster.nodes[a.node]);
        let group = &job.groups[a.group];
        let previous = a.replaces.map(|(before, _)| self.cluster.allocations[before].id.as_str());
        let transition = if v.migrate || empties { transition(v) } else { Json::Null };
        let contacts = v.contacts.iter().map(|(status, at)| {
            Json::Map(object([("Field", Json::Int(0)), ("Value", (*status).into()), ("Time", rfc3339(*at, 0).into())]))
        });
        let contacts = Json::List(contacts.collect());
        let mut full = object([
            ("ID", (&a.id).into()),
            ("Namespace", job.namespace.into()),
            ("EvalID", (&a.eval).into()),
            ("Name", name(a, job).into()),
            ("NodeID", (&node.id).into()),
            ("NodeName", (&node.name).into()),
            ("JobID", (&job.id).into()),
            ("Job", if with_job { embedded_job(job, v, self.style.padding) } else { Json::Null }),
            ("TaskGroup", group.name.into()),
            ("Resources", legacy(group.cpu, group.memory, 300)),
            ("SharedResources", legacy(0, 0, 300)),
            ("TaskResources", Json::Map(object([("server", legacy(group.cpu, group.memory, 0))]))),
            ("AllocatedResources", self.resources(a)),
            ("Metrics", metrics(node)),
            ("DesiredStatus", v.desired_status.into()),
            ("DesiredDescription", (&v.desired_description).into()),
            ("DesiredTransition", transition),
            ("ClientStatus", v.client_status.into()),
            ("ClientDescription", v.client_description.into()),
            ("TaskStates", self.task_states(a, v)),
            ("AllocStates", contacts),
            ("PreviousAllocation", previous.unwrap_or_default().into()),
            ("NextAllocation", (&v.next).into()),
            ("DeploymentID", (&a.deployment).into()),
            ("DeploymentStatus", self.health(a, v)),
            ("RescheduleTracker", self.tracker(a)),
            (
                "NetworkStatus",
                Json::Map(object([("InterfaceName", "".into()), ("Address", "".into()), ("DNS", Json::Null)])),
            ),
            ("FollowupEvalID", (&v.followup_eval).into()),
            ("PreemptedAllocations", Json::Null),
            ("PreemptedByAllocation", (&v.preempted_by).into()),
            ("SigningKeyID", "4d745c85-003f-904b-e1b8-3d49864ced02".into()),
            ("CreateIndex", a.create_index.into()),
            ("ModifyIndex", v.index.into()),
            ("AllocModifyIndex", v.plan_index.into()),
            ("CreateTime", self.nanoseconds(a.created)),
            ("ModifyTime", self.nanoseconds(v.at)),
        ]);
        if self.client() {
            full.retain(|(key, _)| !["AllocStates", "SharedResources", "SigningKeyID"].contains(&key.as_str()));
            full.push(("Services".into(), Json::Null));
        }
        if !empties {
            full.retain(|(_, value)| !value.is_empty());
        }
        full.retain(|(key, _)| with_job || key != "Job");
        self.finish(self.future(full))
    }

    fn task_states(&mut self, a: &Allocation, v: &Version) -> Json {
        let (Some(steps), true) = (&v.steps, self.style.task_states) else { return Json::Null };
        let zone = self.cluster.nodes[a.node].clock.zone;
        let mut states: Vec<(String, Json)> = vec![];
        for (life, step) in a.lives.iter().zip(steps) {
            if let Some(step) = step {
                states.push((life.task.clone(), self.task_state(life, *step, v, zone)));
            }
        }
        if v.made_up.is_some() {
            for task in &self.cluster.jobs[a.job].groups[a.group].tasks {
                if !states.iter().any(|(name, _)| name == task.name) {
                    let never = self.moment(None, 0);
                    let finished = self.moment(v.made_up, zone);
                    let times = [Json::Int(0), never.clone(), never, finished, Json::Null];
                    states.push((task.name.to_owned(), self.state_object("", false, times)));
                }
            }
        }
        self.map(states)
    }

    fn task_state(&mut self, life: &TaskHistory, step: usize, v: &Version, zone: i32) -> Json {
        let step = &life.steps[step];
        let events = life.events[step.window()].iter().map(|lived| self.event(&lived.event)).collect();
        let state = &step.state;
        // A client that fabricates an end for a task without one writes its own time, in its own zone.
        let finished = match state.finished_at {
            None => self.moment(v.made_up, zone),
            some => self.moment(some, 0),
        };
        let times = [
            Json::Int(state.restarts),
            self.moment(state.last_restart, zone),
            self.moment(state.started_at, 0),
            finished,
            Json::List(events),
        ];
        self.state_object(state.state, state.failed, times)
    }

    fn state_object(&self, state: &str, failed: bool, rest: [Json; 5]) -> Json {
        let [restarts, last_restart, started, finished, events] = rest;
        let mut object = object([
            ("State", state.into()),
            ("Failed", failed.into()),
            ("Restarts", restarts),
            ("LastRestart", last_restart),
            ("StartedAt", started),
            ("FinishedAt", finished),
            ("Events", events),
            ("Paused", "".into()),
        ]);
        let absent = self.style.never == Never::Absent;
        object.retain(|(key, value)| match key.as_str() {
            "Paused" => !self.client(),
            "Restarts" => self.style.counters,
            "LastRestart" => self.style.counters && !(absent && value.is_empty()),
            "StartedAt" | "FinishedAt" => !(absent && value.is_empty()),
            _ => true,
        });
        Json::Map(object)
    }

    fn event(&mut self, e: &Event) -> Json {
        let details = e.details.as_ref().map(|map| map.iter().map(|(k, v)| ((*k).to_owned(), v.into())).collect());
        let details = details.map(|pairs| self.map(pairs));
        let text = |field: &str| Json::from(e.texts.get(field).map_or("", String::as_str));
        let value = |field: &str| match field {
            "Type" => e.kind.into(),
            "Time" => self.nanoseconds(e.time),
            "Message" => (&e.message).into(),
            "DisplayMessage" => (&e.display).into(),
            "Details" => details.clone().into(),
            "FailsTask" => e.fails_task.into(),
            "RestartReason" => (&e.restart_reason).into(),
            "ExitCode" => e.exit_code.into(),
            "Signal" => e.signal.into(),
            "KillTimeout" => e.kill_timeout.into(),
            "StartDelay" => e.start_delay.into(),
            "DiskLimit" | "DiskSize" => Json::Int(0),
            field => text(field),
        };
        let order: &[&str] = if self.client() { &CLIENT_EVENT } else { &SERVER_EVENT };
        let mut event: Vec<(String, Json)> = order.iter().map(|field| ((*field).to_owned(), value(field))).collect();
        if self.style.future {
            event.push(("Outlook".into(), "dim".into()));
        }
        Json::Map(event)
    }

    fn health(&self, a: &Allocation, v: &Version) -> Json {
        let Some(health) = &v.health else { return Json::Null };
        let zone = self.cluster.nodes[a.node].clock.zone;
        Json::Map(object([
            ("Healthy", health.healthy.into()),
            ("Timestamp", self.moment(Some(health.at), zone)),
            ("Canary", false.into()),
            ("ModifyIndex", v.health_index.into()),
        ]))
    }

    fn tracker(&self, a: &Allocation) -> Json {
        if a.tracker.is_empty() {
            return Json::Null;
        }
        let events = a.tracker.iter().map(|(at, before)| {
            let before = &self.cluster.allocations[*before];
            let mut event = object([
                ("RescheduleTime", self.nanoseconds(*at)),
                ("PrevAllocID", (&before.id).into()),
                ("PrevNodeID", (&self.cluster.nodes[before.node].id).into()),
                ("Delay", Json::Int(5_000_000_000)),
            ]);
            event.retain(|(key, _)| !self.client() || key != "Delay");
            Json::Map(event)
        });
        Json::Map(object([("Events", Json::List(events.collect())), ("LastReschedule", "ok".into())]))
    }

    fn resources(&mut self, a: &Allocation) -> Json {
        let group = &self.cluster.jobs[a.job].groups[a.group];
        let client = self.client();
        let tasks = group.tasks.iter().map(|task| {
            let mut cpu = object([("CpuShares", group.cpu.into()), ("ReservedCores", Json::Null)]);
            cpu.retain(|(key, _)| !client || key != "ReservedCores");
            let memory = object([("MemoryMB", group.memory.into()), ("MemoryMaxMB", Json::Int(0))]);
            let (cpu, memory) = (Json::Map(cpu), Json::Map(memory));
            let task_resources = [("Cpu", cpu), ("Memory", memory), ("Networks", Json::Null), ("Devices", Json::Null)];
            (task.name.to_owned(), Json::Map(object(task_resources)))
        });
        let hook = |hook: Hook| Json::Map(object([("Hook", hook.hook.into()), ("Sidecar", hook.sidecar.into())]));
        let hooks = group.tasks.iter().map(|task| (task.name.to_owned(), task.role.hook().map(hook).into()));
        let (tasks, hooks) = (tasks.collect(), hooks.collect());
        let shared = object([("Networks", Json::Null), ("DiskMB", Json::Int(300)), ("Ports", Json::Null)]);
        let mut all =
            object([("Tasks", self.map(tasks)), ("TaskLifecycles", self.map(hooks)), ("Shared", Json::Map(shared))]);
        all.retain(|(key, _)| !client || key != "TaskLifecycles");
        Json::Map(all)
    }
}

/// The order of an event's fields in nomad/structs.
pub const SERVER_EVENT: [&str; 24] = [
    "Type",
    "Time",
    "Message",
    "DisplayMessage",
    "Details",
    "FailsTask",
    "RestartReason",
    "SetupError",
    "DriverError",
    "ExitCode",
    "Signal",
    "KillTimeout",
    "KillError",
    "KillReason",
    "StartDelay",
    "DownloadError",
    "ValidationError",
    "DiskLimit",
    "FailedSibling",
    "VaultError",
    "TaskSignalReason",
    "TaskSignal",
    "DriverMessage",
    "GenericSource",
];

/// The order of the fields in the Go client's api package, which has one more field.
const CLIENT_EVENT: [&str; 25] = [
    "Type",
    "Time",
    "DisplayMessage",
    "Details",
    "Message",
    "FailsTask",
    "RestartReason",
    "SetupError",
    "DriverError",
    "DriverMessage",
    "ExitCode",
    "Signal",
    "KillReason",
    "KillTimeout",
    "KillError",
    "StartDelay",
    "DownloadError",
    "ValidationError",
    "DiskLimit",
    "DiskSize",
    "FailedSibling",
    "VaultError",
    "TaskSignalReason",
    "TaskSignal",
    "GenericSource",
];

fn name(a: &Allocation, job: &Job) -> String {
    format!("{}.{}[{}]", job.id, job.groups[a.group].name, a.index)
}

fn transition(v: &Version) -> Json {
    Json::Map(object([
        ("Migrate", v.migrate.then_some(true).into()),
        ("Reschedule", Json::Null),
        ("ForceReschedule", Json::Null),
        ("NoShutdownDelay", Json::Null),
        ("MigrateDisablePlacement", Json::Null),
    ]))
}

/// The resources as in Nomad before 0.9. Every full allocation still contains them.
fn legacy(cpu: i64, memory: i64, disk: i64) -> Json {
    Json::Map(object([
        ("CPU", cpu.into()),
        ("MemoryMB", memory.into()),
        ("DiskMB", disk.into()),
        ("Networks", Json::Null),
    ]))
}

fn metrics(node: &Node) -> Json {
    let scores = object([
        ("binpack", Json::Number("0.0272880148022345".into())),
        ("job-anti-affinity", Json::Number("-5.2e-1".into())),
    ]);
    let node = object([
        ("NodeID", (&node.id).into()),
        ("Scores", Json::Map(scores)),
        ("NormScore", Json::Number("0.0".into())),
    ]);
    Json::Map(object([
        ("NodesEvaluated", Json::Int(2)),
        ("NodesAvailable", Json::Map(object([("dc1", Json::Int(2))]))),
        ("ScoreMetaData", Json::List(vec![Json::Map(node)])),
        ("AllocationTime", Json::Int(45_318)),
    ]))
}

/// The job at the time of the placement. Its texts imitate fields of an allocation.
fn embedded_job(job: &Job, v: &Version, padding: usize) -> Json {
    let template = "{{ key \"a/b\" }} {\"ID\":\"none\",\"TaskStates\":{\"x\":{\"Restarts\":9}}}]}]";
    let env =
        object([("ID", "not an allocation".into()), ("TaskStates", template.into()), ("PASSWORD", "hunter2".into())]);
    let task =
        object([("Name", "server".into()), ("Driver", "docker".into()), ("Env", Json::Map(env)), ("Meta", Json::Null)]);
    // A list whose elements begin like allocations. If a block begins in this list, the program guesses a wrong start
    // of the next allocation.
    let decoy =
        || Json::Map(object([("ID", "decoy".into()), ("TaskStates", Json::Map(vec![])), ("Text", template.into())]));
    let decoys = Json::List((0..padding / 128).map(|_| decoy()).collect());
    let group = object([("Name", "g".into()), ("Count", Json::Int(3)), ("Tasks", Json::List(vec![Json::Map(task)]))]);
    Json::Map(object([
        ("Stop", false.into()),
        ("Region", "global".into()),
        ("Namespace", job.namespace.into()),
        ("ID", (&job.id).into()),
        ("ParentID", "".into()),
        ("Name", (&job.id).into()),
        ("Type", job.kind.into()),
        ("Priority", Json::Int(50)),
        ("TaskGroups", Json::List(vec![Json::Map(group)])),
        ("Meta", Json::Map(object([("owner", "team \"x\" <ops@example.com>".into())]))),
        ("Decoys", decoys),
        ("Version", v.job_version.into()),
        ("CreateIndex", Json::Int(11)),
        ("ModifyIndex", Json::Int(12)),
        ("JobModifyIndex", Json::Int(11)),
    ]))
}
