//! `nodes`: one row is one version of a client node, as shown by a source that lists nodes.

use super::column::{Column, Value, key};
use crate::decode::record::Node;

/// One version of a node.
#[derive(Debug, Clone)]
pub struct NodeRow<'a> {
    /// The region given by `--region`.
    pub region: &'a str,
    /// The node.
    pub node: &'a Node<'a>,
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<Column<NodeRow<'a>>> {
    vec![
        key("region", "region given by `--region`; empty without it", Value::Text(|r| Some(r.region))),
        key("node_id", "client node ID", Value::Text(|r| r.node.id.as_deref())),
        key("node_name", "its name", Value::Text(|r| r.node.name.as_deref())),
        key("node_class", "its class; null for none", Value::Text(|r| r.node.class.as_deref())),
        key("node_pool", "its pool; null before Nomad 1.6", Value::Text(|r| r.node.pool.as_deref())),
        key("datacenter", "its data centre", Value::Text(|r| r.node.datacenter.as_deref())),
        key("status", "initializing, ready, down or disconnected", Value::Text(|r| r.node.status.as_deref())),
        key("eligibility", "eligible or ineligible for placements", Value::Text(|r| r.node.eligibility.as_deref())),
        key("drain", "whether it is being drained", Value::Bool(|r| r.node.drain)),
        key("nomad_version", "version of its Nomad agent", Value::Text(|r| r.node.version.as_deref())),
        key("modify_index", "raft index of this version", Value::Int64(|r| r.node.modify_index)),
    ]
}
