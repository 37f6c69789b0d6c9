//! Classifies an object in a document by its keys.

use super::record::Allocation;

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Allocation,
    Node,
    /// A stream frame, an event without a frame, or an error line of a debug bundle.
    Wrapper,
    Other,
}

/// The keys that classify objects.
#[derive(Debug, Default)]
pub(super) struct Keys {
    id: bool,
    task_states: bool,
    client_status: bool,
    node_id: bool,
    task_group: bool,
    node: bool,
    datacenter: bool,
    status: bool,
    events: bool,
    payload: bool,
    error: bool,
    /// An array `Allocs`, written by `nomad operator snapshot state`.
    pub allocs: bool,
    count: u32,
    /// The keys that start before this position are recorded.
    pub next: usize,
}

impl Keys {
    /// Records a key and the first byte of its value.
    pub fn record(&mut self, name: &str, value: Option<u8>) {
        self.count += 1;
        match name {
            "ID" => self.id = true,
            "TaskStates" => self.task_states = true,
            "ClientStatus" => self.client_status = true,
            "NodeID" => self.node_id = true,
            "TaskGroup" => self.task_group = true,
            "NodeClass" | "SchedulingEligibility" => self.node = true,
            "Datacenter" => self.datacenter = true,
            "Status" => self.status = true,
            "Events" => self.events |= matches!(value, Some(b'[' | b'n')),
            "Payload" => self.payload |= matches!(value, Some(b'{' | b'n')),
            "Error" => self.error |= value == Some(b'"'),
            "Allocs" => self.allocs |= value == Some(b'['),
            _ => {}
        }
    }

    /// Returns true if the object cannot be a dump of a cluster, because it has a key of an allocation, a node or a
    /// wrapper.
    pub fn any_of_ours(&self) -> bool {
        self.id
            || self.task_states
            || self.client_status
            || self.node_id
            || self.task_group
            || self.events
            || self.payload
    }

    /// The kind of the object, once all its keys are known.
    pub fn kind(&self) -> ObjectKind {
        if self.task_states || self.client_status || (self.id && self.node_id && self.task_group) {
            ObjectKind::Allocation
        } else if self.id && (self.node || (self.datacenter && self.status)) {
            ObjectKind::Node
        } else if ((self.payload || self.events) && !self.id) || self.count == 0 || (self.error && self.count == 1) {
            ObjectKind::Wrapper
        } else {
            ObjectKind::Other
        }
    }
}

/// Returns true if the keys of a record that was read as an allocation are those of an allocation.
pub(super) fn is_allocation(a: &Allocation<'_>) -> bool {
    a.id.is_some()
        && (!a.task_states.is_empty() || a.client_status.is_some() || (a.node_id.is_some() && a.task_group.is_some()))
}
