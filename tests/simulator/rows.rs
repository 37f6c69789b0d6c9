//! The complete rows of the stored tables for one document: every column except those that depend on the order of
//! arrival. Like [`Truth`], they are computed from the simulator's own state.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::simulator::cluster::{Allocation, Cluster};
use crate::simulator::moment::civil;
use crate::simulator::render::{Document, Form, Shown};
use crate::simulator::task_history::State;
use crate::simulator::truth::{EventRow, Truth};
use crate::simulator::version::Version;

/// A row as text: its columns and values, in alphabetical order of columns.
pub type Line = String;

/// A row as a line.
pub fn line<'a>(cells: impl IntoIterator<Item = (&'a str, Value)>) -> Line {
    let cells: BTreeMap<&str, Value> = cells.into_iter().collect();
    serde_json::to_string(&cells).unwrap_or_default()
}

/// The rows of a document.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Each event (without attempt), with its derived columns: attempt and message.
    pub events: BTreeMap<EventRow, (Option<i64>, String)>,
    pub states: BTreeSet<Line>,
    pub history: BTreeSet<Line>,
    /// The namespace of each sighting's allocation, by allocation and time.
    pub sightings: BTreeMap<(String, i64), Value>,
    /// The same sightings with exact times, not cut to the hour. Sightings by a stream are left out.
    pub exact_sightings: BTreeSet<(String, i64)>,
    pub nodes: BTreeSet<Line>,
    /// The ledger row. `None` for an empty file. An empty list has a ledger row.
    pub ledger: Option<Ledger>,
}

/// The ledger columns of a document that do not depend on earlier documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub observed_at: Option<i64>,
    pub observed_from: Option<&'static str>,
    pub shape: Option<&'static str>,
    pub namespace: Option<&'static str>,
    pub times_rounded: bool,
    pub allocations: usize,
    pub task_states: usize,
    pub task_events: usize,
    pub unknown_fields: BTreeMap<&'static str, usize>,
}

impl Document {
    /// The rows of the allocations that `keeps` accepts. `rejected` says whether a part of the document cannot be
    /// read.
    pub fn rows(&self, cluster: &Cluster, keeps: &dyn Fn(&Allocation) -> bool, rejected: bool) -> Told {
        let shown_versions = self.marked(cluster);
        let kept: Vec<Shown> =
            shown_versions.iter().filter(|shown| keeps(&cluster.allocations[shown.allocation])).copied().collect();
        let truth = Truth::of(cluster, kept.iter().copied());
        let mut messages = truth.messages();
        let events = truth.events().into_iter().map(|row| {
            let attempt = row.attempt;
            let row = EventRow { attempt: None, ..row };
            let message = messages.remove(&row).unwrap_or_default();
            (row, (attempt, message))
        });
        let observed = self.observed(cluster, &shown_versions);
        let text = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        let holds = !shown_versions.is_empty() || !self.nodes.is_empty();
        let is_empty_list = !rejected && !text.trim_ascii().is_empty();
        // Neither a stream nor a list of nodes lists allocations. The output of `nomad operator snapshot state` does,
        // even if it has nodes and no allocations.
        let lists_allocations = match shown_versions.first() {
            Some(shown) => shown.form != Form::Streamed,
            None if self.nodes.is_empty() => text.trim_ascii().starts_with(b"["),
            None => serde_json::from_slice::<Value>(text).is_ok_and(|dump| dump["Allocs"].is_array()),
        };
        let ledger = Ledger {
            observed_at: observed.map(|(at, _)| at),
            observed_from: observed.map(|(_, from)| from),
            shape: shown_versions.first().map(|shown| shown.form.shape()),
            namespace: self.listing.filter(|_| !rejected && lists_allocations),
            times_rounded: shown_versions.first().is_some_and(|shown| shown.marked),
            allocations: shown_versions.len(),
            task_states: shown_versions.iter().map(|shown| cluster.states(shown).len()).sum(),
            task_events: shown_versions.iter().map(|shown| shown.event_times(cluster).len()).sum(),
            unknown_fields: unknown_fields(cluster, &shown_versions),
        };
        let mut sightings = BTreeMap::new();
        let mut exact_sightings = BTreeSet::new();
        for shown in &kept {
            let (allocation, version) = cluster.shown(shown);
            let observed = observed.map(|(at, _)| at);
            let is_streamed = shown.form == Form::Streamed;
            let at = if is_streamed { Some(shown.time(version.at)) } else { observed };
            let Some(at) = at.filter(|_| !version.is_terminal()) else { continue };
            let cut = if version.client_status == "pending" { 1 } else { 3_600_000_000_000 };
            let row: BTreeMap<String, Value> = serde_json::from_str(&cluster.history_row(shown)).unwrap_or_default();
            let place = (allocation.id.clone(), at - at % cut);
            sightings.entry(place).or_insert_with(|| row["namespace"].clone());
            if !is_streamed {
                exact_sightings.insert((allocation.id.clone(), at));
            }
        }
        Told {
            events: events.collect(),
            states: kept.iter().flat_map(|shown| cluster.state_rows(shown)).collect(),
            history: kept.iter().map(|shown| cluster.history_row(shown)).collect(),
            sightings,
            exact_sightings,
            nodes: self.nodes.iter().map(|(node, _)| cluster.node_row(*node)).collect(),
            ledger: (!self.is_aside && (holds || is_empty_list)).then_some(ledger),
        }
    }

    /// The observation time, and its source: the user, or else the time in the name, or else the newest ModifyTime.
    fn observed(&self, cluster: &Cluster, shown_versions: &[Shown]) -> Option<(i64, &'static str)> {
        if let Some(at) = self.flag {
            return Some((at, "flag"));
        }
        if self.is_named {
            return Some((self.at - self.at % 1_000_000_000, "name"));
        }
        Some((shown_versions.iter().map(|shown| shown.time(cluster.shown(shown).1.at)).max()?, "content"))
    }
}

/// How often each field of a future Nomad is shown.
fn unknown_fields(cluster: &Cluster, shown_versions: &[Shown]) -> BTreeMap<&'static str, usize> {
    let future: Vec<&Shown> = shown_versions.iter().filter(|shown| shown.future).collect();
    let events: usize = future.iter().map(|shown| shown.event_times(cluster).len()).sum();
    let fields = [("Future", future.len()), ("TaskStates.*.Events.*.Outlook", events)];
    fields.into_iter().filter(|(_, times)| *times > 0).collect()
}

impl Form {
    /// The `shape` column.
    pub fn shape(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::Full | Self::Payload => "full",
            Self::Streamed => "stream",
        }
    }
}

impl EventRow {
    /// The complete row of `task_events`.
    pub fn line(&self, attempt: Option<i64>, message: Option<&str>) -> Line {
        let (year, month, day) = civil(self.event_at_ns.div_euclid(86_400_000_000_000));
        let mut cells = vec![
            ("namespace", json!(self.namespace)),
            ("job_id", json!(self.job_id)),
            ("task_group", json!(self.task_group)),
            ("task", json!(self.task)),
            ("alloc_id", json!(self.alloc_id)),
            ("node_id", json!(self.node_id)),
            ("event_at_ns", json!(self.event_at_ns)),
            ("event_type", json!(self.event_type)),
            ("ordinal", json!(self.ordinal)),
            ("fails_task", json!(self.fails_task)),
            ("exit_code", json!(self.exit_code)),
            ("signal", json!(self.signal)),
            ("oom_killed", json!(self.oom_killed)),
            ("restart_reason", json!(self.restart_reason)),
            ("start_delay_ns", json!(self.start_delay_ns)),
            ("kill_timeout_ns", json!(self.kill_timeout_ns)),
            ("times_rounded", json!(self.times_rounded)),
            ("details", json!(self.details)),
            ("event_date", json!(format!("{year:04}-{month:02}-{day:02}"))),
            ("attempt", json!(attempt)),
        ];
        cells.extend(message.map(|message| ("message", json!(message))));
        line(cells)
    }
}

/// The state of a task in an allocation's version.
struct ShownState<'a> {
    task: &'a str,
    /// The number of the task's history in `lives`, and the number of its step. `None` for a fabricated state of a task
    /// that never ran.
    step: Option<(usize, usize)>,
}

impl Cluster {
    fn shown(&self, shown: &Shown) -> (&Allocation, &Version) {
        let allocation = &self.allocations[shown.allocation];
        (allocation, &allocation.versions[shown.version])
    }

    /// The states in `TaskStates`.
    fn states(&self, shown: &Shown) -> Vec<ShownState<'_>> {
        let (allocation, version) = self.shown(shown);
        let mut states = vec![];
        let (Some(steps), true) = (&version.steps, shown.tasks) else { return states };
        for (number, (life, step)) in allocation.lives.iter().zip(steps).enumerate() {
            if let Some(step) = step {
                states.push(ShownState { task: &life.task, step: Some((number, *step)) });
            }
        }
        if version.made_up.is_some() {
            for task in &self.jobs[allocation.job].groups[allocation.group].tasks {
                if !states.iter().any(|state| state.task == task.name) {
                    states.push(ShownState { task: task.name, step: None });
                }
            }
        }
        states
    }

    /// The rows of `task_state_history`.
    fn state_rows(&self, shown: &Shown) -> Vec<Line> {
        let (allocation, version) = self.shown(shown);
        let group = &self.jobs[allocation.job].groups[allocation.group];
        let states = self.states(shown);
        let mut rows: Vec<Line> = states
            .iter()
            .map(|state| match state.step {
                Some((life, step)) => self.state_row(shown, state.task, &lived_state(allocation, shown, life, step)),
                None => {
                    let made_up = [
                        ("placeholder", json!(true)),
                        ("failed", json!(false)),
                        ("finished_at_ns", json!(version.made_up)),
                    ];
                    self.state_row(shown, state.task, &made_up)
                }
            })
            .collect();
        for task in group.tasks.iter().filter(|_| shown.resources) {
            if !states.iter().any(|state| state.task == task.name) {
                rows.push(self.state_row(shown, task.name, &[]));
            }
        }
        if rows.is_empty() {
            rows.push(self.state_row(shown, "", &[("task", Value::Null)]));
        }
        rows
    }

    /// A row of `task_state_history`; columns that are not given are null.
    fn state_row(&self, shown: &Shown, task: &str, given: &[(&'static str, Value)]) -> Line {
        let (allocation, version) = self.shown(shown);
        let job = &self.jobs[allocation.job];
        let group = &job.groups[allocation.group];
        let role = group.tasks.iter().find(|t| t.name == task).map(|t| t.role);
        let hook = role.filter(|_| shown.hooks).and_then(|role| role.hook());
        let nulls = STATE_COLUMNS.map(|name| (name, Value::Null));
        let placed = [
            ("namespace", json!(job.namespace)),
            ("job_id", json!(job.id)),
            ("task_group", json!(group.name)),
            ("task", json!(task)),
            ("alloc_id", json!(allocation.id)),
            ("node_id", json!(self.nodes[allocation.node].id)),
            ("modify_index", json!(version.index)),
            ("modified_at_ns", json!(shown.time(version.at))),
            ("placeholder", json!(false)),
            ("lifecycle_hook", json!(hook.map(|hook| hook.hook))),
            ("sidecar", json!(hook.map(|hook| hook.sidecar))),
        ];
        line(nulls.into_iter().chain(placed).chain(given.iter().cloned()))
    }

    /// The row of `allocation_history`.
    fn history_row(&self, shown: &Shown) -> Line {
        let (a, v) = self.shown(shown);
        let (job, node) = (&self.jobs[a.job], &self.nodes[a.node]);
        let group = &job.groups[a.group];
        let tasks = group.tasks.len() as i64;
        let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        // Values of fields that only full allocations (`whole`), jobs (`of_job`) or resources (`listed`) contain.
        let whole = |value: Value| if shown.form == Form::Stub { Value::Null } else { value };
        let of_job = |value: Value| if matches!(shown.form, Form::Stub | Form::Full) { value } else { Value::Null };
        let listed = |value: i64| if shown.resources { json!(value) } else { Value::Null };
        let previous = a.replaces.map_or("", |(before, _)| &self.allocations[before].id);
        let last = a.tracker.last().map(|(at, before)| (*at, &self.allocations[*before]));
        line([
            ("namespace", json!(job.namespace)),
            ("job_id", json!(job.id)),
            ("task_group", json!(group.name)),
            ("alloc_id", json!(a.id)),
            ("shape", json!(shown.form.shape())),
            ("name", json!(format!("{}.{}[{}]", job.id, group.name, a.index))),
            ("alloc_index", json!(a.index)),
            ("job_type", of_job(json!(job.kind))),
            ("job_version", of_job(json!(v.job_version))),
            ("eval_id", json!(a.eval)),
            ("deployment_id", whole(text(&a.deployment))),
            ("node_id", json!(node.id)),
            ("node_name", json!(node.name)),
            ("desired_status", json!(v.desired_status)),
            ("desired_description", text(&v.desired_description)),
            ("client_status", json!(v.client_status)),
            ("client_description", text(v.client_description)),
            ("desired_migrate", json!((v.migrate && shown.transition).then_some(true))),
            ("desired_reschedule", Value::Null),
            ("desired_force_reschedule", Value::Null),
            ("desired_no_shutdown_delay", Value::Null),
            ("desired_migrate_disable_placement", Value::Null),
            ("deployment_healthy", json!(v.health.as_ref().map(|health| health.healthy))),
            ("deployment_healthy_at_ns", json!(v.health.as_ref().map(|health| health.at))),
            ("canary", json!(v.health.as_ref().map(|_| false))),
            ("previous_allocation", whole(text(previous))),
            ("next_allocation", text(&v.next)),
            ("followup_eval_id", text(&v.followup_eval)),
            ("preempted_by", text(&v.preempted_by)),
            ("reschedule_attempts", json!(last.map(|_| a.tracker.len()))),
            ("rescheduled_from_alloc_id", json!(last.map(|(_, before)| &before.id))),
            ("rescheduled_from_node_id", json!(last.map(|(_, before)| &self.nodes[before.node].id))),
            ("rescheduled_at_ns", json!(last.map(|(at, _)| shown.time(at)))),
            ("created_at_ns", json!(shown.time(a.created))),
            ("modified_at_ns", json!(shown.time(v.at))),
            ("create_index", json!(a.create_index)),
            ("modify_index", json!(v.index)),
            ("cpu_shares", listed(tasks * group.cpu)),
            ("memory_mb", listed(tasks * group.memory)),
            ("memory_max_mb", Value::Null),
            ("disk_mb", listed(300)),
        ])
    }

    /// The row of `nodes`.
    fn node_row(&self, number: usize) -> Line {
        let node = &self.nodes[number];
        let class = if node.class.is_empty() { Value::Null } else { json!(node.class) };
        line([
            ("node_id", json!(node.id)),
            ("node_name", json!(node.name)),
            ("node_class", class),
            ("node_pool", json!(node.pool)),
            ("datacenter", json!(node.datacenter)),
            ("status", json!("ready")),
            ("eligibility", json!("eligible")),
            ("drain", json!(false)),
            ("nomad_version", json!(node.version)),
            ("modify_index", json!(node.create_index + 5)),
        ])
    }
}

/// The columns of `task_state_history` that are null for a task without a state.
const STATE_COLUMNS: [&str; 13] = [
    "state",
    "failed",
    "restarts",
    "last_restart_at_ns",
    "started_at_ns",
    "finished_at_ns",
    "window_events",
    "window_restarting",
    "window_first_type",
    "window_first_attempt",
    "window_first_ns",
    "window_last_attempt",
    "window_last_ns",
];

/// The columns that a task's state fills.
fn lived_state(allocation: &Allocation, shown: &Shown, life: usize, step: usize) -> Vec<(&'static str, Value)> {
    let life = &allocation.lives[life];
    let step = &life.steps[step];
    let State { state, failed, restarts, last_restart, started_at, finished_at } = &step.state;
    let made_up = allocation.versions[shown.version].made_up;
    let counted = |value: Value| if shown.counters { value } else { Value::Null };
    let mut cells = vec![
        ("state", json!(state)),
        ("failed", json!(failed)),
        ("restarts", counted(json!(restarts))),
        ("last_restart_at_ns", counted(json!(last_restart))),
        ("started_at_ns", json!(started_at)),
        ("finished_at_ns", json!(finished_at.or(made_up))),
    ];
    let window = &life.events[step.window()];
    if let (Some(first), Some(last)) = (window.first(), window.last()) {
        let restarting = window.iter().filter(|lived| lived.event.kind == "Restarting").count();
        cells.extend([
            ("window_events", json!(window.len())),
            ("window_restarting", json!(restarting)),
            ("window_first_type", json!(first.event.kind)),
            ("window_first_attempt", counted(json!(first.attempt))),
            ("window_first_ns", json!(shown.time(first.event.time))),
            ("window_last_attempt", counted(json!(last.attempt))),
            ("window_last_ns", json!(shown.time(last.event.time))),
        ]);
    }
    cells
}
