//! `allocation_history`: one row is one version of an allocation as one kind of source showed it.

use std::borrow::Cow;

use super::column::{Column, Value, derived, key};
use super::identity::text_hash;
use super::{AllocationKey, Shape, mask};
use crate::decode::record::Allocation;
use crate::time;

/// One version of an allocation.
#[derive(Debug, Clone)]
pub struct AllocationRow<'a> {
    /// The allocation.
    pub allocation: AllocationKey<'a>,
    /// The kind of source that showed it.
    pub shape: Shape,
    /// The first document that showed this version; the merge sets it.
    pub snapshot_id: i64,
    a: &'a Allocation<'a>,
    desired_description: Option<Cow<'a, str>>,
    client_description: Option<Cow<'a, str>>,
    text_hash: i32,
    alloc_index: Option<i64>,
    cpu_shares: Option<i64>,
    memory_mb: Option<i64>,
    memory_max_mb: Option<i64>,
    disk_mb: Option<i64>,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<AllocationRow<'a>>> {
    vec![
        key("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.allocation.region))),
        key(
            "namespace",
            "Nomad namespace; if the source does not show it, the namespace that was listed, or `default` if that is not known",
            Value::Text(|r| Some(r.allocation.namespace)),
        ),
        key("job_id", "job ID; null where a source lacks it", Value::Text(|r| r.allocation.job_id)),
        key("task_group", "task group; null where a source lacks it", Value::Text(|r| r.allocation.task_group)),
        key("alloc_id", "allocation ID", Value::Text(|r| Some(r.allocation.alloc_id))),
        key(
            "shape",
            "kind of source: `stub` (list), `full` (read, node list, raft snapshot) or `stream`; each kind lacks fields that the other kinds have",
            Value::Text(|r| Some(r.shape.name())),
        ),
        key("name", "`<job>.<group>[<index>]`", Value::Text(|r| r.a.name.as_deref())),
        key("alloc_index", "the index in name; null when the name has none", Value::Int64(|r| r.alloc_index)),
        key(
            "job_type",
            "service, batch, system or sysbatch; null in streams and before Nomad 0.9",
            Value::Text(|r| r.a.job_type.as_deref()),
        ),
        key(
            "job_version",
            "version of the job; also rises on an in-place update, which restarts no task; null in streams",
            Value::Int64(|r| r.a.job_version),
        ),
        key("eval_id", "evaluation that placed it", Value::Text(|r| r.a.eval_id.as_deref())),
        key(
            "deployment_id",
            "deployment it belongs to; null for none and in stubs",
            Value::Text(|r| r.a.deployment_id.as_deref()),
        ),
        key("node_id", "client node ID", Value::Text(|r| r.allocation.node_id)),
        key("node_name", "client node name; null before Nomad 0.9.2", Value::Text(|r| r.a.node_name.as_deref())),
        key("desired_status", "run, stop or evict", Value::Text(|r| r.a.desired_status.as_deref())),
        derived(
            "desired_description",
            "the servers' reason for desired_status; secrets masked; null without a reason",
            Value::Text(|r| r.desired_description.as_deref()),
        ),
        key(
            "client_status",
            "pending, running, complete, failed, lost or unknown; none of them is final",
            Value::Text(|r| r.a.client_status.as_deref()),
        ),
        derived(
            "client_description",
            "the client's description of client_status; secrets masked",
            Value::Text(|r| r.client_description.as_deref()),
        ),
        key(
            "text_hash",
            "16-bit hash that represents desired_description and client_description in the row's identity, so that masking does not change the identity; null in rows that alloclog wrote to a lake of format 1",
            Value::Int32(|r| Some(r.text_hash)),
        ),
        key(
            "desired_migrate",
            "DesiredTransition.Migrate: true if the allocation was drained or stopped; null when not set",
            Value::Bool(|r| r.a.desired_transition.migrate),
        ),
        key(
            "desired_reschedule",
            "DesiredTransition.Reschedule; null when not set",
            Value::Bool(|r| r.a.desired_transition.reschedule),
        ),
        key(
            "desired_force_reschedule",
            "DesiredTransition.ForceReschedule; null when not set",
            Value::Bool(|r| r.a.desired_transition.force_reschedule),
        ),
        key(
            "desired_no_shutdown_delay",
            "DesiredTransition.NoShutdownDelay; null when not set",
            Value::Bool(|r| r.a.desired_transition.no_shutdown_delay),
        ),
        key(
            "desired_migrate_disable_placement",
            "DesiredTransition.MigrateDisablePlacement; null when not set",
            Value::Bool(|r| r.a.desired_transition.migrate_disable_placement),
        ),
        key(
            "deployment_healthy",
            "whether the deployment found the allocation healthy; null while undecided or without a deployment",
            Value::Bool(|r| r.a.deployment_status.healthy),
        ),
        key(
            "deployment_healthy_at",
            "when deployment_healthy was decided, by the client's clock",
            Value::Moment(|r| r.a.deployment_status.timestamp),
        ),
        key(
            "canary",
            "whether it is a canary; null without a deployment",
            Value::Bool(|r| r.a.deployment_status.canary),
        ),
        key(
            "previous_allocation",
            "allocation that this one replaces; null for none and in stubs",
            Value::Text(|r| r.a.previous_allocation.as_deref()),
        ),
        key(
            "next_allocation",
            "allocation that replaces this one; null for none and in stubs before Nomad 1.6",
            Value::Text(|r| r.a.next_allocation.as_deref()),
        ),
        key(
            "followup_eval_id",
            "evaluation of a delayed reschedule; null for none",
            Value::Text(|r| r.a.followup_eval_id.as_deref()),
        ),
        key(
            "preempted_by",
            "allocation that preempted it; null for none",
            Value::Text(|r| r.a.preempted_by_allocation.as_deref()),
        ),
        key(
            "reschedule_attempts",
            "number of entries in the reschedule tracker, which keeps only recent entries; null without a tracker",
            Value::Int64(|r| r.a.reschedule_events.as_ref().map(|e| e.len() as i64)),
        ),
        key(
            "rescheduled_from_alloc_id",
            "previous allocation by the tracker's last entry",
            Value::Text(|r| r.last_reschedule()?.prev_alloc_id.as_deref()),
        ),
        key(
            "rescheduled_from_node_id",
            "previous node by the tracker's last entry",
            Value::Text(|r| r.last_reschedule()?.prev_node_id.as_deref()),
        ),
        key(
            "rescheduled_at",
            "time of the tracker's last entry, by the server's clock",
            Value::Moment(|r| r.last_reschedule()?.reschedule_time.and_then(time::positive)),
        ),
        key(
            "created_at",
            "CreateTime, by the server's clock",
            Value::Moment(|r| r.a.create_time.and_then(time::positive)),
        ),
        key(
            "modified_at",
            "ModifyTime, by the server's clock; null before Nomad 0.7.1",
            Value::Moment(|r| r.modified_at()),
        ),
        key("create_index", "raft index of its creation", Value::Int64(|r| r.a.create_index)),
        key("modify_index", "raft index of this version", Value::Int64(|r| r.a.modify_index)),
        key("cpu_shares", "CPU of all its tasks in MHz; null when not listed", Value::Int64(|r| r.cpu_shares)),
        key("memory_mb", "memory of all its tasks in MiB; null when not listed", Value::Int64(|r| r.memory_mb)),
        key(
            "memory_max_mb",
            "sum of the memory_max of its tasks in MiB; null if no task has one, or when not listed",
            Value::Int64(|r| r.memory_max_mb),
        ),
        key("disk_mb", "ephemeral disk in MiB; null when not listed", Value::Int64(|r| r.disk_mb)),
        derived("snapshot_id", "the document that showed this version first", Value::Int64(|r| Some(r.snapshot_id))),
    ]
}

/// Builds the row of an allocation.
pub fn row<'a>(allocation: AllocationKey<'a>, a: &'a Allocation<'a>, shape: Shape) -> AllocationRow<'a> {
    let tasks = a.allocated.as_ref().map(|r| r.tasks.as_slice());
    let sum = |value: fn(&crate::decode::record::TaskResources<'_>) -> Option<i64>| {
        tasks?.iter().filter_map(value).reduce(i64::saturating_add)
    };
    let legacy = a.resources.filter(|_| a.allocated.is_none());
    let texts = [a.desired_description.as_deref(), a.client_description.as_deref()];
    AllocationRow {
        allocation,
        shape,
        snapshot_id: 0,
        a,
        text_hash: text_hash(texts.map(|text| text.map(mask::credentials)).each_ref().map(Option::as_deref)),
        desired_description: texts[0].map(mask::text),
        client_description: texts[1].map(mask::text),
        alloc_index: alloc_index(a),
        cpu_shares: sum(|t| t.cpu_shares).or(legacy.and_then(|r| r.cpu)),
        memory_mb: sum(|t| t.memory_mb).or(legacy.and_then(|r| r.memory_mb)),
        memory_max_mb: sum(|t| t.memory_max_mb.filter(|mb| *mb > 0))
            .or(legacy.and_then(|r| r.memory_max_mb).filter(|mb| *mb > 0)),
        disk_mb: a.allocated.as_ref().and_then(|r| r.disk_mb).or(legacy.and_then(|r| r.disk_mb)),
    }
}

/// Reads the index from an allocation's name. Job and group names may contain dots and brackets, so their lengths
/// show where the index begins (nomad/structs/alloc.go, `AllocIndexFromName`).
fn alloc_index(a: &Allocation<'_>) -> Option<i64> {
    let rest = a.name.as_deref()?.strip_prefix(a.job_id.as_deref()?)?.strip_prefix('.')?;
    rest.strip_prefix(a.task_group.as_deref()?)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl AllocationRow<'_> {
    fn last_reschedule(&self) -> Option<&crate::decode::record::RescheduleEvent<'_>> {
        self.a.reschedule_events.as_ref()?.last()
    }

    /// ModifyTime in nanoseconds since the epoch.
    pub fn modified_at(&self) -> Option<i64> {
        self.a.modify_time.and_then(time::positive)
    }
}
