//! Maps Nomad's JSON to records: the only place that assigns fields, for both readers.

use super::fields::{AllocationField, EventField, TaskStateField};
use super::nested_fields::{
    DeploymentField, InnerField, JobField, RescheduleField, ResourcesField, TrackerField, TransitionField,
};
use super::other_fields::NodeField;
use super::record::{
    AllocatedResources, Allocation, DeploymentStatus, DesiredTransition, Lifecycle, Node, RescheduleEvent, Resources,
    TaskEvent, TaskResources, TaskState,
};
use super::value_reader::{Read, TWICE, ValueReader, key};
use crate::time;
use std::borrow::Cow;
use std::collections::HashSet;

/// How many events of a task Nomad keeps (client/allocrunner/taskrunner, `maxEvents`).
const USUAL_EVENTS: usize = 10;
/// A map with this many names or more is checked for repeated names by hash.
const MANY_NAMES: usize = 32;

/// Reads one allocation: a list stub, a full allocation, or the payload of a stream event.
///
/// # Errors
/// A [`super::value_reader::ReadFault`] at the first invalid value.
pub fn allocation<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Box<Allocation<'a>>> {
    let mut a = Box::<Allocation<'_>>::default();
    let (mut job_type, mut job_version) = (None, None);
    input.object(|input, field| {
        match field {
            AllocationField::Id => a.id = input.text()?,
            AllocationField::EvalId => a.eval_id = input.text()?,
            AllocationField::Name => a.name = input.text()?,
            AllocationField::Namespace => a.namespace = input.text()?,
            AllocationField::NodeId => a.node_id = input.text()?,
            AllocationField::NodeName => a.node_name = input.text()?,
            AllocationField::JobId => a.job_id = input.text()?,
            AllocationField::JobType => a.job_type = input.text()?,
            AllocationField::JobVersion => a.job_version = input.integer()?,
            AllocationField::Job => {
                a.is_full |= input.object(|input, field| {
                    match field {
                        JobField::Type => job_type = input.text()?,
                        JobField::Version => job_version = input.integer()?,
                        JobField::Known => input.skip()?,
                    }
                    Ok(())
                })?;
            }
            AllocationField::TaskGroup => a.task_group = input.text()?,
            AllocationField::DeploymentId => {
                a.deployment_id = input.text()?;
                a.is_full = true;
            }
            AllocationField::DesiredStatus => a.desired_status = input.text()?,
            AllocationField::DesiredDescription => a.desired_description = input.text()?,
            AllocationField::ClientStatus => a.client_status = input.text()?,
            AllocationField::ClientDescription => a.client_description = input.text()?,
            AllocationField::DesiredTransition => a.desired_transition = desired_transition(input)?,
            AllocationField::DeploymentStatus => a.deployment_status = deployment_status(input)?,
            AllocationField::FollowupEvalId => a.followup_eval_id = input.text()?,
            AllocationField::PreviousAllocation => {
                a.previous_allocation = input.text()?;
                a.is_full = true;
            }
            AllocationField::NextAllocation => a.next_allocation = input.text()?,
            AllocationField::RescheduleTracker => a.reschedule_events = reschedule_events(input)?,
            AllocationField::PreemptedByAllocation => a.preempted_by_allocation = input.text()?,
            AllocationField::CreateIndex => a.create_index = input.integer()?,
            AllocationField::ModifyIndex => a.modify_index = input.integer()?,
            AllocationField::CreateTime => a.create_time = nanoseconds(input)?,
            AllocationField::ModifyTime => a.modify_time = nanoseconds(input)?,
            AllocationField::AllocatedResources => a.allocated = allocated_resources(input)?,
            AllocationField::Resources => {
                a.resources = resources(input)?;
                a.is_full = true;
            }
            AllocationField::TaskStates => {
                let mut names = MapKeys::default();
                input.map(|input, task| {
                    names.record(input, &task, a.task_states.iter().map(|s| &s.task))?;
                    a.task_states.push(task_state(input, task)?);
                    Ok(())
                })?;
            }
            AllocationField::Redacted => a.redacted = input.text()?,
            AllocationField::FullOnly => {
                a.is_full = true;
                input.skip()?;
            }
            AllocationField::Known => input.skip()?,
        }
        Ok(())
    })?;
    a.job_type = a.job_type.or(job_type);
    a.job_version = a.job_version.or(job_version);
    Ok(a)
}

/// The keys of a map whose keys are data, such as task names.
#[derive(Default)]
struct MapKeys<'a> {
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> MapKeys<'a> {
    /// Records a name before the value of its entry is read. A few names are compared one by one, many names by hash.
    ///
    /// # Errors
    /// When the name is repeated.
    #[inline]
    #[allow(clippy::ptr_arg)] // most names are borrowed and stored unchanged
    fn record<'k, I: ValueReader<'a>>(
        &mut self,
        input: &I,
        name: &Cow<'a, str>,
        mut known: impl ExactSizeIterator<Item = &'k Cow<'a, str>>,
    ) -> Read<()>
    where
        'a: 'k,
    {
        let is_new = if known.len() < MANY_NAMES {
            known.all(|other| other != name)
        } else {
            self.many.get_or_insert_with(|| known.cloned().collect()).insert(name.clone())
        };
        if is_new { Ok(()) } else { Err(input.fault(input.position(), TWICE)) }
    }
}

fn task_state<'a, I: ValueReader<'a>>(input: &mut I, task: Cow<'a, str>) -> Read<TaskState<'a>> {
    let mut s = TaskState { task, ..TaskState::default() };
    input.object(|input, field| {
        match field {
            TaskStateField::State => s.state = input.raw_text()?,
            TaskStateField::Failed => s.failed = input.boolean()?,
            TaskStateField::Restarts => s.restarts = restarts(input)?,
            TaskStateField::LastRestart => s.last_restart = moment(input)?,
            TaskStateField::StartedAt => s.started_at = moment(input)?,
            TaskStateField::FinishedAt => s.finished_at = moment(input)?,
            TaskStateField::Events => {
                input.array(|input, index| {
                    if index == 0 {
                        s.events.reserve(USUAL_EVENTS);
                    }
                    // Filled in place, because a `TaskEvent` is large.
                    s.events.push(TaskEvent::default());
                    s.events.last_mut().map_or(Ok(()), |e| event(input, e))
                })?;
            }
            TaskStateField::Known => input.skip()?,
        }
        Ok(())
    })?;
    Ok(s)
}

fn event<'a, I: ValueReader<'a>>(input: &mut I, e: &mut TaskEvent<'a>) -> Read<()> {
    let position = input.position();
    let is_object = input.object(|input, field| {
        match field {
            EventField::Type => e.kind = input.text()?,
            EventField::Time => e.time = nanoseconds(input)?,
            EventField::Message => e.message = input.text()?,
            EventField::DisplayMessage => e.display_message = input.text()?,
            EventField::Details => {
                let mut names = MapKeys::default();
                input.map(|input, name| {
                    names.record(input, &name, e.details.iter().map(|(other, _)| other))?;
                    let value = input.raw_text()?.unwrap_or_default();
                    e.details.push((name, value));
                    Ok(())
                })?;
            }
            EventField::FailsTask => e.fails_task = input.boolean()?,
            EventField::RestartReason => e.restart_reason = input.text()?,
            EventField::ExitCode => e.exit_code = input.integer()?,
            EventField::Signal => e.signal = input.integer()?,
            EventField::StartDelay => e.start_delay = input.integer()?,
            EventField::KillTimeout => e.kill_timeout = input.integer()?,
            EventField::DiskLimit => e.disk_limit = input.integer()?,
            EventField::Known => input.skip()?,
            legacy => {
                if let Some(text) = input.text()?
                    && let Some(name) = legacy.details_key()
                {
                    e.legacy.push((name, text));
                }
            }
        }
        Ok(())
    })?;
    if is_object { Ok(()) } else { Err(input.fault(position, "is null, not an event")) }
}

/// Reads a restart counter of at most `u32::MAX`. Even a task that restarts every second would need more than a century
/// to exceed it.
fn restarts<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Option<i64>> {
    let position = input.position();
    let restarts = input.integer()?;
    match restarts.filter(|n| u32::try_from(*n).is_err()) {
        None => Ok(restarts),
        Some(_) => Err(input.fault(position, "is not a possible number of restarts")),
    }
}

/// A time in nanoseconds since the epoch, as a number.
fn nanoseconds<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Option<i64>> {
    let position = input.position();
    input.integer()?.map(time::check_range).transpose().map_err(|e| input.fault(position, e.to_string()))
}

/// An RFC 3339 time in nanoseconds since the epoch; `None` for Nomad's encodings of "never".
fn moment<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Option<i64>> {
    let position = input.position();
    match input.text()? {
        None => Ok(None),
        Some(text) => time::rfc3339(&text).map_err(|e| input.fault(position, e.to_string())),
    }
}

fn desired_transition<'a, I: ValueReader<'a>>(input: &mut I) -> Read<DesiredTransition> {
    let mut t = DesiredTransition::default();
    input.object(|input, field| {
        match field {
            TransitionField::Migrate => t.migrate = input.boolean()?,
            TransitionField::Reschedule => t.reschedule = input.boolean()?,
            TransitionField::ForceReschedule => t.force_reschedule = input.boolean()?,
            TransitionField::NoShutdownDelay => t.no_shutdown_delay = input.boolean()?,
            TransitionField::MigrateDisablePlacement => t.migrate_disable_placement = input.boolean()?,
        }
        Ok(())
    })?;
    Ok(t)
}

fn deployment_status<'a, I: ValueReader<'a>>(input: &mut I) -> Read<DeploymentStatus> {
    let mut d = DeploymentStatus::default();
    input.object(|input, field| {
        match field {
            DeploymentField::Healthy => d.healthy = input.boolean()?,
            DeploymentField::Timestamp => d.timestamp = moment(input)?,
            DeploymentField::Canary => d.canary = input.boolean()?,
            DeploymentField::Known => input.skip()?,
        }
        Ok(())
    })?;
    Ok(d)
}

fn reschedule_events<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Option<Vec<RescheduleEvent<'a>>>> {
    let mut events = Vec::new();
    let is_object = input.object(|input, field| {
        match field {
            TrackerField::Known => input.skip()?,
            TrackerField::Events => {
                input.array(|input, _| {
                    let mut r = RescheduleEvent::default();
                    input.object(|input, field| {
                        match field {
                            RescheduleField::RescheduleTime => r.reschedule_time = nanoseconds(input)?,
                            RescheduleField::PrevAllocId => r.prev_alloc_id = input.text()?,
                            RescheduleField::PrevNodeId => r.prev_node_id = input.text()?,
                            RescheduleField::Known => input.skip()?,
                        }
                        Ok(())
                    })?;
                    events.push(r);
                    Ok(())
                })?;
            }
        }
        Ok(())
    })?;
    Ok(is_object.then_some(events))
}

fn allocated_resources<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Option<AllocatedResources<'a>>> {
    let mut r = AllocatedResources::default();
    let is_object = input.object(|input, field| {
        match field {
            InnerField::Tasks => {
                let mut names = MapKeys::default();
                input.map(|input, task| {
                    names.record(input, &task, r.tasks.iter().map(|t| &t.task))?;
                    let mut t = TaskResources { task, ..TaskResources::default() };
                    task_resources(input, &mut t)?;
                    r.tasks.push(t);
                    Ok(())
                })?;
            }
            InnerField::TaskLifecycles => {
                let (mut names, mut tasks) = (MapKeys::default(), Vec::new());
                input.map(|input, task| {
                    names.record(input, &task, tasks.iter())?;
                    tasks.push(task.clone());
                    let mut l = Lifecycle { task, ..Lifecycle::default() };
                    let is_object = input.object(|input, field| {
                        match field {
                            InnerField::Hook => l.hook = input.text()?,
                            InnerField::Sidecar => l.sidecar = input.boolean()?,
                            _ => input.skip()?,
                        }
                        Ok(())
                    })?;
                    r.lifecycles.extend(is_object.then_some(l));
                    Ok(())
                })?;
            }
            InnerField::Shared => {
                input.object(|input, field| {
                    match field {
                        InnerField::DiskMb => r.disk_mb = input.integer()?,
                        _ => input.skip()?,
                    }
                    Ok(())
                })?;
            }
            _ => input.skip()?,
        }
        Ok(())
    })?;
    Ok(is_object.then_some(r))
}

fn task_resources<'a, I: ValueReader<'a>>(input: &mut I, t: &mut TaskResources<'a>) -> Read<()> {
    input.object(|input, field| {
        match field {
            InnerField::Cpu => {
                input.object(|input, field| {
                    match field {
                        InnerField::CpuShares => t.cpu_shares = input.integer()?,
                        _ => input.skip()?,
                    }
                    Ok(())
                })?;
            }
            InnerField::Memory => {
                input.object(|input, field| {
                    match field {
                        InnerField::MemoryMb => t.memory_mb = input.integer()?,
                        InnerField::MemoryMaxMb => t.memory_max_mb = input.integer()?,
                        _ => input.skip()?,
                    }
                    Ok(())
                })?;
            }
            _ => input.skip()?,
        }
        Ok(())
    })?;
    Ok(())
}

fn resources<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Option<Resources>> {
    let mut r = Resources::default();
    let is_object = input.object(|input, field| {
        match field {
            ResourcesField::Cpu => r.cpu = input.integer()?,
            ResourcesField::MemoryMb => r.memory_mb = input.integer()?,
            ResourcesField::MemoryMaxMb => r.memory_max_mb = input.integer()?,
            ResourcesField::DiskMb => r.disk_mb = input.integer()?,
            ResourcesField::Known => input.skip()?,
        }
        Ok(())
    })?;
    Ok(is_object.then_some(r))
}

/// Reads one client node: an entry of a node list, or a full node.
///
/// # Errors
/// A [`super::value_reader::ReadFault`] at the first invalid value.
pub fn node<'a, I: ValueReader<'a>>(input: &mut I) -> Read<Node<'a>> {
    let mut n = Node::default();
    let (mut has_strategy, mut attribute_version) = (None, None);
    input.object(|input, field| {
        match field {
            NodeField::Id => n.id = input.text()?,
            NodeField::Name => n.name = input.text()?,
            NodeField::Class => n.class = input.text()?,
            NodeField::Pool => n.pool = input.text()?,
            NodeField::Datacenter => n.datacenter = input.text()?,
            NodeField::Status => n.status = input.text()?,
            NodeField::Eligibility => n.eligibility = input.text()?,
            NodeField::Drain => n.drain = input.boolean()?,
            NodeField::DrainStrategy => {
                let is_null = input.null()?;
                if !is_null {
                    input.skip()?;
                }
                has_strategy = Some(!is_null);
            }
            NodeField::Version => n.version = input.text()?,
            NodeField::Attributes => {
                let mut was_met = false;
                input.map(|input, name| {
                    if name != "nomad.version" {
                        return input.skip();
                    }
                    if std::mem::replace(&mut was_met, true) {
                        return Err(input.fault(input.position(), TWICE));
                    }
                    attribute_version = input.text()?;
                    Ok(())
                })?;
            }
            NodeField::ModifyIndex => n.modify_index = input.integer()?,
            NodeField::Known => input.skip()?,
        }
        Ok(())
    })?;
    n.drain = n.drain.or(has_strategy);
    n.version = n.version.or(attribute_version);
    Ok(n)
}

/// The path of a task in an allocation.
pub fn task_path(task: &str) -> String {
    format!(".TaskStates{}", key(task))
}
