//! The namespaces of a cluster, and whether its servers support `*` for all of them.
//!
//! The answer of `/v1/namespaces` depends on the version of Nomad:
//! - before 0.7, which had no namespaces: status 404
//! - 0.7 to 0.12, open source, which had only `default`: status 501
//! - since 1.0, and since 0.7 in Nomad Enterprise: a list
//!
//! The list of allocations supports `*` since 0.12.0. Nomad 0.7 to 0.11 reads `*` as the name of a namespace, and lists
//! nothing.

use std::io::Read;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Client, Fault, SMALL, version};

/// The namespaces of a cluster, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// Nomad before 0.7: a listing shows every allocation, regardless of the requested namespace.
    None,
    /// Open-source Nomad 0.7 to 0.12: only `default`.
    OnlyDefault,
    /// The namespaces that the token may see.
    Listed {
        /// Their names, sorted.
        names: Vec<String>,
        /// True if the servers are known to support `*`.
        has_wildcard: bool,
    },
    /// Nomad refused the request.
    Unknown {
        /// True if the servers are known to support `*`.
        has_wildcard: bool,
    },
}

impl Namespaces {
    /// Requests the namespaces.
    ///
    /// # Errors
    /// When the request fails. A denied request is not an error.
    pub fn ask(client: &Client, stale: bool, on_fault: &mut dyn FnMut(&Fault)) -> Result<Namespaces, Fault> {
        let answer = match client.ask("/v1/namespaces", &[("stale", if stale { "true" } else { "" })], on_fault) {
            Ok(answer) => answer,
            Err(Fault::Status { status: 501, .. }) => return Ok(Namespaces::OnlyDefault),
            Err(fault @ Fault::Status { .. }) if !fault.is_passing() => {
                let version = agent_version(client, on_fault)?;
                // A gateway may answer 404 as well.
                if fault.is_status(404) && version.is_some_and(|version| version < [0, 7, 0]) {
                    return Ok(Namespaces::None);
                }
                return Ok(Namespaces::Unknown { has_wildcard: has_wildcard(version) });
            }
            Err(fault) => return Err(fault),
        };
        let listed: Vec<Map<String, Value>> =
            serde_json::from_reader(answer.body.take(SMALL)).map_err(|e| Fault::NotNomad(e.to_string()))?;
        // Nomad has this field since 1.3, although it may be null.
        let is_new = listed.iter().any(|namespace| namespace.contains_key("Capabilities"));
        let has_wildcard = is_new || has_wildcard(agent_version(client, on_fault)?);
        let names = listed.iter().filter_map(|namespace| namespace.get("Name")?.as_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(Namespaces::Listed { names, has_wildcard })
    }

    /// The names of all namespaces that the token may see, if known.
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Namespaces::Listed { names, .. } => Some(names),
            _ => None,
        }
    }

    /// Refuses a namespace that does not exist. If the token may see no namespace, accepts any name, because Nomad's
    /// own refusal is more precise.
    ///
    /// # Errors
    /// When it is not among the known namespaces.
    pub fn check(&self, wanted: &str) -> Result<(), Fault> {
        let known = match self {
            Namespaces::None | Namespaces::OnlyDefault => vec!["default".to_owned()],
            Namespaces::Listed { names, .. } if !names.is_empty() => names.clone(),
            Namespaces::Listed { .. } | Namespaces::Unknown { .. } => return Ok(()),
        };
        if known.iter().any(|name| name == wanted) {
            return Ok(());
        }
        Err(Fault::NoNamespace { wanted: wanted.to_owned(), known })
    }
}

/// Returns true if the allocation list of a version supports `*` for all namespaces.
fn has_wildcard(version: Option<[u64; 3]>) -> bool {
    version.is_some_and(|version| version >= [0, 12, 0])
}

/// The agent's version; `None` if the token may not read it.
fn agent_version(client: &Client, on_fault: &mut dyn FnMut(&Fault)) -> Result<Option<[u64; 3]>, Fault> {
    #[derive(Deserialize)]
    struct Agent {
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        version: Value,
    }
    let answer = match client.ask("/v1/agent/self", &[], on_fault) {
        Ok(answer) => answer,
        Err(fault @ Fault::Status { .. }) if !fault.is_passing() => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let agent: Option<Agent> = serde_json::from_reader(answer.body.take(SMALL)).ok();
    let version = agent.map(|agent| agent.config.version);
    // Before Nomad 0.6, the version is a string.
    let text = version.as_ref().and_then(|version| version.as_str().or_else(|| version.get("Version")?.as_str()));
    Ok(text.and_then(version::numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let lists_all = |text| has_wildcard(version::numbers(text));
        assert!(!lists_all("0.11.8") && lists_all("0.12.0") && lists_all("v1.10.2+ent"));
        assert!(!lists_all("0.9.7") && !lists_all("") && !has_wildcard(None));
    }

    #[test]
    fn an_unknown_namespace_is_refused() {
        let listed = |names: &[&str]| Namespaces::Listed {
            names: names.iter().map(ToString::to_string).collect(),
            has_wildcard: true,
        };
        assert!(listed(&["default", "prod"]).check("prod").is_ok());
        assert!(listed(&[]).check("prod").is_ok(), "a token that may know of none");
        assert!(Namespaces::OnlyDefault.check("default").is_ok());
        let problem = listed(&["default", "prod"]).check("prdo").unwrap_err().to_string();
        assert_eq!(problem, "there is no namespace \"prdo\"; the known ones are default, prod");
        assert!(Namespaces::OnlyDefault.check("prod").is_err());
    }
}
