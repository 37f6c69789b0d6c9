//! What an object in a document is, told by its keys.

use super::record::Allocation;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Allocation,
    Node,
    /// A stream frame, a bare event, or a line in which a debug bundle says what it could not get.
    Wrapper,
    Other,
}

/// The keys by which objects are told apart.
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
    /// An array `Allocs`: what `nomad operator snapshot state` writes.
    pub allocs: bool,
    count: u32,
    /// Every key that begins before this place was met.
    pub next: usize,
}

impl Keys {
    /// Takes note of a key and the first byte of its value.
    pub fn meet(&mut self, name: &str, value: Option<u8>) {
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

    /// Whether one of the keys shows that this is no dump of many things.
    pub fn any_of_ours(&self) -> bool {
        self.id
            || self.task_states
            || self.client_status
            || self.node_id
            || self.task_group
            || self.events
            || self.payload
    }

    /// What the object is once all its keys are known.
    pub fn kind(&self) -> Kind {
        if self.task_states || self.client_status || (self.id && self.node_id && self.task_group) {
            Kind::Allocation
        } else if self.id && (self.node || (self.datacenter && self.status)) {
            Kind::Node
        } else if ((self.payload || self.events) && !self.id) || self.count == 0 || (self.error && self.count == 1) {
            Kind::Wrapper
        } else {
            Kind::Other
        }
    }
}

/// Whether a record that was read as an allocation is one: its keys would say so too.
pub(super) fn is_allocation(a: &Allocation<'_>) -> bool {
    a.id.is_some()
        && (!a.task_states.is_empty() || a.client_status.is_some() || (a.node_id.is_some() && a.task_group.is_some()))
}
