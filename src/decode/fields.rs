//! The keys of Nomad's objects: which are read, which are known and passed over, which are unknown.
//!
//! A key that stands in neither list is counted and named in the ledger, so that a field of a coming Nomad is noticed.

use super::memory::{Order, Orders};

/// The keys of one kind of object.
pub trait Field: Copy + PartialEq + 'static {
    /// Where objects of this kind stand in an allocation, for messages and for the ledger; ends with a dot or is empty.
    const PLACE: &'static str;
    /// The field of that name; `None` for a name that Nomad is not known to use.
    fn of(name: &str) -> Option<Self>;
    /// The bit that remembers that the field was read; `None` for a field that is known but not kept.
    fn bit(self) -> Option<u64>;
    /// The order in which this kind's keys were last met.
    fn order(orders: &mut Orders) -> &mut Order<Self>;
}

/// Keys of an allocation (nomad/structs/alloc.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AllocationField {
    Id,
    EvalId,
    Name,
    Namespace,
    NodeId,
    NodeName,
    JobId,
    JobType,
    JobVersion,
    Job,
    TaskGroup,
    DeploymentId,
    DesiredStatus,
    DesiredDescription,
    ClientStatus,
    ClientDescription,
    DesiredTransition,
    DeploymentStatus,
    FollowupEvalId,
    PreviousAllocation,
    NextAllocation,
    RescheduleTracker,
    PreemptedByAllocation,
    CreateIndex,
    ModifyIndex,
    CreateTime,
    ModifyTime,
    AllocatedResources,
    Resources,
    TaskStates,
    /// Only full allocations have it, and nothing of it is kept.
    FullOnly,
    Known,
}

impl Field for AllocationField {
    const PLACE: &'static str = "";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ID" => Self::Id,
            "EvalID" => Self::EvalId,
            "Name" => Self::Name,
            "Namespace" => Self::Namespace,
            "NodeID" => Self::NodeId,
            "NodeName" => Self::NodeName,
            "JobID" => Self::JobId,
            "JobType" => Self::JobType,
            "JobVersion" => Self::JobVersion,
            "Job" => Self::Job,
            "TaskGroup" => Self::TaskGroup,
            "DeploymentID" => Self::DeploymentId,
            "DesiredStatus" => Self::DesiredStatus,
            "DesiredDescription" => Self::DesiredDescription,
            "ClientStatus" => Self::ClientStatus,
            "ClientDescription" => Self::ClientDescription,
            "DesiredTransition" => Self::DesiredTransition,
            "DeploymentStatus" => Self::DeploymentStatus,
            "FollowupEvalID" => Self::FollowupEvalId,
            "PreviousAllocation" => Self::PreviousAllocation,
            "NextAllocation" => Self::NextAllocation,
            "RescheduleTracker" => Self::RescheduleTracker,
            "PreemptedByAllocation" => Self::PreemptedByAllocation,
            "CreateIndex" => Self::CreateIndex,
            "ModifyIndex" => Self::ModifyIndex,
            "CreateTime" => Self::CreateTime,
            "ModifyTime" => Self::ModifyTime,
            "AllocatedResources" => Self::AllocatedResources,
            "Resources" => Self::Resources,
            "TaskStates" => Self::TaskStates,
            "AllocModifyIndex" | "AllocStates" | "Metrics" | "NetworkStatus" | "Services" | "SharedResources"
            | "SignedIdentities" | "SigningKeyID" | "TaskResources" => Self::FullOnly,
            "PreemptedAllocations" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (!matches!(self, Self::Known | Self::FullOnly)).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.allocation
    }
}

/// Keys of a task state (nomad/structs/structs.go, `TaskState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TaskStateField {
    State,
    Failed,
    Restarts,
    LastRestart,
    StartedAt,
    FinishedAt,
    Events,
    Known,
}

impl Field for TaskStateField {
    const PLACE: &'static str = "TaskStates.*.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "State" => Self::State,
            "Failed" => Self::Failed,
            "Restarts" => Self::Restarts,
            "LastRestart" => Self::LastRestart,
            "StartedAt" => Self::StartedAt,
            "FinishedAt" => Self::FinishedAt,
            "Events" => Self::Events,
            "Paused" | "TaskHandle" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.task_state
    }
}

/// Keys of a task event (nomad/structs/structs.go, `TaskEvent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EventField {
    Type,
    Time,
    Message,
    DisplayMessage,
    Details,
    FailsTask,
    RestartReason,
    ExitCode,
    Signal,
    StartDelay,
    KillTimeout,
    DiskLimit,
    SetupError,
    DriverError,
    DriverMessage,
    KillError,
    KillReason,
    DownloadError,
    ValidationError,
    FailedSibling,
    VaultError,
    TaskSignal,
    TaskSignalReason,
    GenericSource,
    Known,
}

impl EventField {
    /// The key under which `Details` holds what this old field says (structs.go, `TaskEvent.SetX`).
    pub fn details_key(self) -> Option<&'static str> {
        Some(match self {
            Self::SetupError => "setup_error",
            Self::DriverError => "driver_error",
            Self::DriverMessage => "driver_message",
            Self::KillError => "kill_error",
            Self::KillReason => "kill_reason",
            Self::DownloadError => "download_error",
            Self::ValidationError => "validation_error",
            Self::FailedSibling => "failed_sibling",
            Self::VaultError => "vault_renewal_error",
            Self::TaskSignal => "task_signal",
            Self::TaskSignalReason => "task_signal_reason",
            Self::GenericSource => "generic_source",
            _ => return None,
        })
    }
}

impl Field for EventField {
    const PLACE: &'static str = "TaskStates.*.Events.*.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Type" => Self::Type,
            "Time" => Self::Time,
            "Message" => Self::Message,
            "DisplayMessage" => Self::DisplayMessage,
            "Details" => Self::Details,
            "FailsTask" => Self::FailsTask,
            "RestartReason" => Self::RestartReason,
            "ExitCode" => Self::ExitCode,
            "Signal" => Self::Signal,
            "StartDelay" => Self::StartDelay,
            "KillTimeout" => Self::KillTimeout,
            "DiskLimit" => Self::DiskLimit,
            "SetupError" => Self::SetupError,
            "DriverError" => Self::DriverError,
            "DriverMessage" => Self::DriverMessage,
            "KillError" => Self::KillError,
            "KillReason" => Self::KillReason,
            "DownloadError" => Self::DownloadError,
            "ValidationError" => Self::ValidationError,
            "FailedSibling" => Self::FailedSibling,
            "VaultError" => Self::VaultError,
            "TaskSignal" => Self::TaskSignal,
            "TaskSignalReason" => Self::TaskSignalReason,
            "GenericSource" => Self::GenericSource,
            "DiskSize" => Self::Known, // only in the API client's struct, where it is always 0
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.event
    }
}

/// Keys of `DesiredTransition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransitionField {
    Migrate,
    Reschedule,
    ForceReschedule,
    NoShutdownDelay,
    MigrateDisablePlacement,
}

impl Field for TransitionField {
    const PLACE: &'static str = "DesiredTransition.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Migrate" => Self::Migrate,
            "Reschedule" => Self::Reschedule,
            "ForceReschedule" => Self::ForceReschedule,
            "NoShutdownDelay" => Self::NoShutdownDelay,
            "MigrateDisablePlacement" => Self::MigrateDisablePlacement,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        Some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.transition
    }
}

/// Keys of `DeploymentStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DeploymentField {
    Healthy,
    Timestamp,
    Canary,
    Known,
}

impl Field for DeploymentField {
    const PLACE: &'static str = "DeploymentStatus.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Healthy" => Self::Healthy,
            "Timestamp" => Self::Timestamp,
            "Canary" => Self::Canary,
            "ModifyIndex" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.deployment
    }
}

/// Keys of `RescheduleTracker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TrackerField {
    Events,
    Known,
}

impl Field for TrackerField {
    const PLACE: &'static str = "RescheduleTracker.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Events" => Self::Events,
            "LastReschedule" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.tracker
    }
}

/// Keys of an entry of `RescheduleTracker.Events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RescheduleField {
    RescheduleTime,
    PrevAllocId,
    PrevNodeId,
    Known,
}

impl Field for RescheduleField {
    const PLACE: &'static str = "RescheduleTracker.Events.*.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "RescheduleTime" => Self::RescheduleTime,
            "PrevAllocID" => Self::PrevAllocId,
            "PrevNodeID" => Self::PrevNodeId,
            "Delay" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.reschedule
    }
}

/// Keys inside `AllocatedResources`, of whose objects only a few values are read; the rest is not counted as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum InnerField {
    Tasks,
    TaskLifecycles,
    Shared,
    Cpu,
    Memory,
    CpuShares,
    MemoryMb,
    MemoryMaxMb,
    DiskMb,
    Hook,
    Sidecar,
    Known,
}

impl Field for InnerField {
    const PLACE: &'static str = "AllocatedResources.*.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Tasks" => Self::Tasks,
            "TaskLifecycles" => Self::TaskLifecycles,
            "Shared" => Self::Shared,
            "Cpu" => Self::Cpu,
            "Memory" => Self::Memory,
            "CpuShares" => Self::CpuShares,
            "MemoryMB" => Self::MemoryMb,
            "MemoryMaxMB" => Self::MemoryMaxMb,
            "DiskMB" => Self::DiskMb,
            "Hook" => Self::Hook,
            "Sidecar" => Self::Sidecar,
            _ => Self::Known,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.inner
    }
}

/// Keys of the embedded `Job`, of which two are read; the rest is not counted as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JobField {
    Type,
    Version,
    Known,
}

impl Field for JobField {
    const PLACE: &'static str = "Job.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Type" => Self::Type,
            "Version" => Self::Version,
            _ => Self::Known,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.job
    }
}

/// Keys of the legacy `Resources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ResourcesField {
    Cpu,
    MemoryMb,
    MemoryMaxMb,
    DiskMb,
    Known,
}

impl Field for ResourcesField {
    const PLACE: &'static str = "Resources.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "CPU" => Self::Cpu,
            "MemoryMB" => Self::MemoryMb,
            "MemoryMaxMB" => Self::MemoryMaxMb,
            "DiskMB" => Self::DiskMb,
            _ => Self::Known,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.resources
    }
}

/// Keys of a client node (nomad/structs/structs.go, `Node`, `NodeListStub`); the rest is not counted as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NodeField {
    Id,
    Name,
    Class,
    Pool,
    Datacenter,
    Status,
    Eligibility,
    Drain,
    DrainStrategy,
    Version,
    Attributes,
    ModifyIndex,
    Known,
}

impl Field for NodeField {
    const PLACE: &'static str = "Node.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ID" => Self::Id,
            "Name" => Self::Name,
            "NodeClass" => Self::Class,
            "NodePool" => Self::Pool,
            "Datacenter" => Self::Datacenter,
            "Status" => Self::Status,
            "SchedulingEligibility" => Self::Eligibility,
            "Drain" => Self::Drain,
            "DrainStrategy" => Self::DrainStrategy,
            "Version" => Self::Version,
            "Attributes" => Self::Attributes,
            "ModifyIndex" => Self::ModifyIndex,
            _ => Self::Known,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.node
    }
}

/// Keys of what allocations come wrapped in: stream frames, their events, payloads, and a debug bundle's error lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WrapperField {
    Events,
    Payload,
    Allocation,
    Node,
    Error,
    Known,
}

impl Field for WrapperField {
    const PLACE: &'static str = "Event.";

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Events" => Self::Events,
            "Payload" => Self::Payload,
            "Allocation" => Self::Allocation,
            "Node" => Self::Node,
            "Error" => Self::Error,
            _ => Self::Known,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
    }

    fn order(orders: &mut Orders) -> &mut Order<Self> {
        &mut orders.wrapper
    }
}
