//! The fields read from an allocation, as Nomad wrote them: records that borrow from the input.
//!
//! Fields have Nomad's names. `None` means that the document has no value: the key is missing or `null`, or a text is
//! empty, because Nomad writes `""` for no value. The reader does not interpret the values; the tables do.

use std::borrow::Cow;
use std::num::NonZeroU64;

/// Text of a document, borrowed unless it has escapes.
pub type Text<'a> = Option<Cow<'a, str>>;

/// One allocation, from a list stub, a full allocation or an event-stream payload
/// (Nomad's `AllocListStub` and `Allocation`, nomad/structs/alloc.go).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are Nomad's own
pub struct Allocation<'a> {
    pub id: Text<'a>,
    pub eval_id: Text<'a>,
    pub name: Text<'a>,
    pub namespace: Text<'a>,
    pub node_id: Text<'a>,
    pub node_name: Text<'a>,
    pub job_id: Text<'a>,
    /// The stub's `JobType`, or the type of the embedded job.
    pub job_type: Text<'a>,
    /// The stub's `JobVersion`, or the version of the embedded job.
    pub job_version: Option<i64>,
    pub task_group: Text<'a>,
    pub deployment_id: Text<'a>,
    pub desired_status: Text<'a>,
    pub desired_description: Text<'a>,
    pub client_status: Text<'a>,
    pub client_description: Text<'a>,
    pub desired_transition: DesiredTransition,
    pub deployment_status: DeploymentStatus,
    pub followup_eval_id: Text<'a>,
    pub previous_allocation: Text<'a>,
    pub next_allocation: Text<'a>,
    /// `RescheduleTracker.Events`; `None` without a tracker.
    pub reschedule_events: Option<Vec<RescheduleEvent<'a>>>,
    pub preempted_by_allocation: Text<'a>,
    pub create_index: Option<i64>,
    pub modify_index: Option<i64>,
    /// Nanoseconds since the epoch, as written (0 is not converted to `None` here).
    pub create_time: Option<i64>,
    /// Nanoseconds since the epoch, as written (0 is not converted to `None` here).
    pub modify_time: Option<i64>,
    /// `AllocatedResources`; `None` if the document lacks them.
    pub allocated: Option<AllocatedResources<'a>>,
    /// The legacy `Resources` of full allocations before Nomad 0.9.
    pub resources: Option<Resources>,
    /// The tasks in the order of the document; empty when `TaskStates` is absent, `null` or `{}`.
    pub task_states: Vec<TaskState<'a>>,
    /// Name of the key of the pseudonyms, if `fetch --redact` wrote the allocation.
    pub redacted: Text<'a>,
    /// Whether it has a key that only full allocations have.
    pub is_full: bool,
}

impl Allocation<'_> {
    /// The key that `redacted` names with 16 hexadecimal digits, as a number; `None` without a key. All names of
    /// another form count as one further key.
    pub fn redaction_key(&self) -> Option<NonZeroU64> {
        let key = |name: &str| u64::from_str_radix(name, 16).ok().and_then(NonZeroU64::new);
        self.redacted.as_deref().map(|name| key(name).unwrap_or(NonZeroU64::MAX))
    }
}

/// `DesiredTransition`: what the servers want the client to do besides reaching the desired status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DesiredTransition {
    pub migrate: Option<bool>,
    pub reschedule: Option<bool>,
    pub force_reschedule: Option<bool>,
    pub no_shutdown_delay: Option<bool>,
    pub migrate_disable_placement: Option<bool>,
}

/// `DeploymentStatus`: the allocation's health in its deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DeploymentStatus {
    pub healthy: Option<bool>,
    /// Nanoseconds since the epoch.
    pub timestamp: Option<i64>,
    pub canary: Option<bool>,
}

/// One entry of `RescheduleTracker.Events`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RescheduleEvent<'a> {
    /// Nanoseconds since the epoch, server clock.
    pub reschedule_time: Option<i64>,
    pub prev_alloc_id: Text<'a>,
    pub prev_node_id: Text<'a>,
}

/// `AllocatedResources`: per task and for the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AllocatedResources<'a> {
    pub tasks: Vec<TaskResources<'a>>,
    /// `TaskLifecycles`: only the tasks that have a hook.
    pub lifecycles: Vec<Lifecycle<'a>>,
    pub disk_mb: Option<i64>,
}

/// One task of `AllocatedResources.Tasks`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TaskResources<'a> {
    pub task: Cow<'a, str>,
    pub cpu_shares: Option<i64>,
    pub memory_mb: Option<i64>,
    pub memory_max_mb: Option<i64>,
}

/// One task of `AllocatedResources.TaskLifecycles`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Lifecycle<'a> {
    pub task: Cow<'a, str>,
    pub hook: Text<'a>,
    pub sidecar: Option<bool>,
}

/// The legacy `Resources` of a full allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Resources {
    pub cpu: Option<i64>,
    pub memory_mb: Option<i64>,
    pub memory_max_mb: Option<i64>,
    pub disk_mb: Option<i64>,
}

/// One task of `TaskStates` (nomad/structs/structs.go, `TaskState`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TaskState<'a> {
    pub task: Cow<'a, str>,
    /// As written; `Some("")` is Nomad's placeholder for a task that never ran.
    pub state: Option<Cow<'a, str>>,
    pub failed: Option<bool>,
    pub restarts: Option<i64>,
    /// Nanoseconds since the epoch.
    pub last_restart: Option<i64>,
    /// Nanoseconds since the epoch.
    pub started_at: Option<i64>,
    /// Nanoseconds since the epoch.
    pub finished_at: Option<i64>,
    /// Oldest first; at most ten from Nomad itself.
    pub events: Vec<TaskEvent<'a>>,
}

/// One entry of a task's `Events` (nomad/structs/structs.go, `TaskEvent`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TaskEvent<'a> {
    pub kind: Text<'a>,
    /// `Time`: nanoseconds since the epoch by the client's clock.
    pub time: Option<i64>,
    pub message: Text<'a>,
    pub display_message: Text<'a>,
    /// The `Details` map in the order of the document.
    pub details: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub fails_task: Option<bool>,
    pub restart_reason: Text<'a>,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    /// Nanoseconds.
    pub start_delay: Option<i64>,
    /// Nanoseconds.
    pub kill_timeout: Option<i64>,
    pub disk_limit: Option<i64>,
    /// Non-empty legacy fields, by their key in `Details`.
    pub legacy: Vec<(&'static str, Cow<'a, str>)>,
}

/// One client node, from a node list or a stream's node event (nomad/structs/structs.go, `Node`, `NodeListStub`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Node<'a> {
    pub id: Text<'a>,
    pub name: Text<'a>,
    pub class: Text<'a>,
    pub pool: Text<'a>,
    pub datacenter: Text<'a>,
    pub status: Text<'a>,
    pub eligibility: Text<'a>,
    /// `Drain` of a list, or whether a full node has a `DrainStrategy`.
    pub drain: Option<bool>,
    pub version: Text<'a>,
    pub modify_index: Option<i64>,
}
