//! The keys of Nomad's objects. The program reads some of these keys, and ignores the others.
//!
//! A key that is not known here is counted in the ledger, so that new fields of Nomad are noticed.

use super::field::Field;

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
    /// A field that alloclog adds, not Nomad: the name of the secret key with which `fetch --redact` replaced names.
    Redacted,
    /// A field that is ignored, and that only full allocations have.
    FullOnly,
    Known,
}

impl Field for AllocationField {
    const PLACE: &'static str = "";

    fn from_name(name: &str) -> Option<Self> {
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
            "AlloclogRedacted" => Self::Redacted,
            "AllocModifyIndex" | "AllocStates" | "Metrics" | "NetworkStatus" | "Services" | "SharedResources"
            | "SignedIdentities" | "SigningKeyID" | "TaskResources" => Self::FullOnly,
            "PreemptedAllocations" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (!matches!(self, Self::Known | Self::FullOnly)).then_some(1 << self as u64)
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

    fn from_name(name: &str) -> Option<Self> {
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
    /// The key of `Details` with the meaning of this legacy field (structs.go, `TaskEvent.SetX`).
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

    fn from_name(name: &str) -> Option<Self> {
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
}
