//! The keys of nodes, and of the objects that wrap allocations.

use super::field::Field;

/// Keys of a client node (nomad/structs/structs.go, `Node`, `NodeListStub`). Other keys do not count as unknown.
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

    fn from_name(name: &str) -> Option<Self> {
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
}

/// Keys of the objects that wrap allocations: stream frames, their events, payloads, and a debug bundle's error
/// lines.
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

    fn from_name(name: &str) -> Option<Self> {
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
}
