//! `/v1/agent/monitor/export`: the log that each client of a cluster has on its disk or in its journal.

use std::io::Read;

use serde::Deserialize;

use super::{Client, Fault, access, listing, version};

/// The path of an agent's stored log.
const EXPORT: &str = "/v1/agent/monitor/export";
/// The first version that has [`EXPORT`].
const SINCE: [u64; 3] = [1, 10, 4];
/// The systemd unit whose journal is requested from a client that has no `log_file`.
const UNIT: &str = "nomad";
/// Maximum size of a list of nodes.
const NODES: u64 = 1 << 30;

/// A client node of a cluster, as `/v1/nodes` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClientNode {
    /// Node ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    #[serde(default)]
    pub name: String,
    /// Version of its agent, such as `1.10.4+ent`; empty if not known.
    #[serde(default)]
    pub version: String,
    /// `initializing`, `ready`, `down` or `disconnected`.
    #[serde(default)]
    pub status: String,
}

impl ClientNode {
    /// Why its log cannot be requested; `None` if it can.
    pub fn refusal(&self) -> Option<String> {
        let is_id = self.id.len() == 36 && self.id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        match (&*self.status, version::numbers(&self.version)) {
            _ if !is_id => Some("its ID is not a Nomad ID".into()),
            ("down" | "disconnected", _) => Some(format!("the client is {}; copy the log from its disk", self.status)),
            (_, Some(version)) if version < SINCE => Some(format!(
                "the client runs Nomad {}, and logs can be requested since 1.10.4; copy the log from its disk",
                self.version
            )),
            _ => None,
        }
    }
}

/// Lists the clients of the cluster, in the order of their IDs.
///
/// # Errors
/// When the request fails.
pub fn clients(client: &Client, stale: bool, on_fault: &mut dyn FnMut(&Fault)) -> Result<Vec<ClientNode>, Fault> {
    let answer = listing::nodes(client, stale, on_fault);
    let answer = answer.map_err(|fault| denied(client, fault, "list nodes", "node { policy = \"read\" }"))?;
    let nodes: Result<Vec<ClientNode>, _> = serde_json::from_reader(answer.body.take(NODES));
    let mut nodes = nodes.map_err(|error| Fault::NotNomad(error.to_string()))?;
    nodes.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(nodes)
}

/// Requests the active log file of a client or, if it has none, three days of the journal of its unit `nomad`. The
/// answer is plain text without a length, so an answer that breaks off looks complete.
///
/// # Errors
/// When the request fails.
pub fn export(client: &Client, node: &str, on_fault: &mut dyn FnMut(&Fault)) -> Result<Box<dyn Read + Send>, Fault> {
    let query = |place| [("node_id", node), ("plain", "true"), place];
    let mut answer = client.ask(EXPORT, &query(("on_disk", "true")), on_fault);
    if matches!(&answer, Err(Fault::Status { status: 400, text, .. }) if text.contains("log file")) {
        answer = client.ask(EXPORT, &query(("service_name", UNIT)), on_fault);
    }
    match answer {
        Ok(answer) => Ok(answer.body),
        Err(Fault::Status { status: 404 | 405 | 501, .. }) => Err(Fault::NoLogs),
        Err(fault) => Err(denied(client, fault, "read logs", "agent { policy = \"read\" }")),
    }
}

/// Replaces a refusal by its reason: the token is unknown, or its policy lacks a rule.
fn denied(client: &Client, fault: Fault, what: &'static str, rule: &'static str) -> Fault {
    match access::explain_refusal(client, false, fault) {
        Fault::Status { status: 403, text, has_token, .. } => Fault::Denied { text, has_token, what, rule },
        fault => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(status: &str, version: &str) -> ClientNode {
        ClientNode {
            id: "20d373dc-dee0-55ce-c110-bb7f4f813e14".into(),
            name: "client3".into(),
            version: version.into(),
            status: status.into(),
        }
    }

    #[test]
    fn only_logs_of_clients_that_can_answer_are_requested() {
        for version in ["1.10.4", "1.10.4+ent", "1.11.0-beta.1", "2.0.5", "v2.1.0-dev", "", "unknown", "2.0"] {
            assert_eq!(node("ready", version).refusal(), None, "{version}");
        }
        for version in ["1.10.3", "1.9.7+ent", "0.12.0", "1.10.3-rc.1"] {
            assert!(node("ready", version).refusal().unwrap().contains("since 1.10.4"), "{version}");
        }
        for status in ["down", "disconnected"] {
            assert!(node(status, "2.0.5").refusal().unwrap().contains(status));
        }
        let elsewhere = ClientNode { id: "../../../../../../../../../../etc/x.log".into(), ..node("ready", "2.0.5") };
        assert!(elsewhere.refusal().unwrap().contains("ID"));
    }
}
