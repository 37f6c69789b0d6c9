//! A node as the API shows it.

use crate::simulator::json::{Json, object};
use crate::simulator::node::Node;

/// A node in a list.
pub fn listed(node: &Node) -> Json {
    let driver =
        object([("Detected", true.into()), ("Healthy", true.into()), ("UpdateTime", "2026-11-23T18:27:55.9Z".into())]);
    Json::Map(object([
        ("Address", "127.0.0.1".into()),
        ("ID", (&node.id).into()),
        ("Attributes", Json::Map(object([("os.name", "debian".into())]))),
        ("Datacenter", node.datacenter.into()),
        ("Name", (&node.name).into()),
        ("NodePool", node.pool.into()),
        ("NodeClass", node.class.into()),
        ("Version", node.version.into()),
        ("Drain", false.into()),
        ("SchedulingEligibility", "eligible".into()),
        ("Status", "ready".into()),
        ("StatusDescription", "".into()),
        ("Drivers", Json::Map(object([("docker", Json::Map(driver))]))),
        ("HostVolumes", Json::Map(vec![])),
        ("LastDrain", Json::Null),
        ("CreateIndex", node.create_index.into()),
        ("ModifyIndex", (node.create_index + 5).into()),
    ]))
}

/// A node as an event of the stream contains it. The node's own events are not task events, and its version is an
/// attribute.
pub fn whole(node: &Node) -> Json {
    let event = object([
        ("Message", "Node registered".into()),
        ("Subsystem", "Cluster".into()),
        ("Details", Json::Null),
        ("Timestamp", "2026-11-23T18:27:55Z".into()),
    ]);
    Json::Map(object([
        ("ID", (&node.id).into()),
        ("SecretID", "".into()),
        ("Datacenter", node.datacenter.into()),
        ("Name", (&node.name).into()),
        ("HTTPAddr", "127.0.0.1:4646".into()),
        ("Attributes", Json::Map(object([("os.name", "debian".into()), ("nomad.version", node.version.into())]))),
        ("NodeClass", node.class.into()),
        ("NodePool", node.pool.into()),
        ("DrainStrategy", Json::Null),
        ("SchedulingEligibility", "eligible".into()),
        ("Status", "ready".into()),
        ("StatusDescription", "".into()),
        ("Events", Json::List(vec![Json::Map(event)])),
        ("CreateIndex", node.create_index.into()),
        ("ModifyIndex", (node.create_index + 5).into()),
    ]))
}
