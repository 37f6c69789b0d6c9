//! The keys of the objects inside an allocation.

use super::field::Field;

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

    fn from_name(name: &str) -> Option<Self> {
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

    fn from_name(name: &str) -> Option<Self> {
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

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "Events" => Self::Events,
            "LastReschedule" => Self::Known,
            _ => return None,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
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

    fn from_name(name: &str) -> Option<Self> {
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
}

/// Keys inside `AllocatedResources`. Only a few of them are read; the others do not count as unknown.
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

    fn from_name(name: &str) -> Option<Self> {
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
}

/// Keys of the embedded `Job`. Two of them are read; the others do not count as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JobField {
    Type,
    Version,
    Known,
}

impl Field for JobField {
    const PLACE: &'static str = "Job.";

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "Type" => Self::Type,
            "Version" => Self::Version,
            _ => Self::Known,
        })
    }

    fn bit(self) -> Option<u64> {
        (self != Self::Known).then_some(1 << self as u64)
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

    fn from_name(name: &str) -> Option<Self> {
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
}
