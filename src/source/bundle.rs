//! The layout of a `nomad operator debug` bundle (command/operator_debug.go).
//!
//! - `interval/NNNN/allocations.json`, or `nomad/NNNN/allocations.json` before Nomad 1.5, is a listing.
//! - `nodes.json` next to the listing lists the nodes.
//! - `cluster/cli-flags.json` has the namespace of the listings.
//!
//! All other files have no allocations.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The namespaces in the bundles' `cli-flags.json`, by the path of the bundle. Inside an archive, the archive's name
/// precedes the path.
#[derive(Debug, Default)]
pub struct Flags {
    /// `None` if the flags of the bundle cannot be read.
    namespaces: HashMap<String, Option<String>>,
    missed: HashSet<String>,
}

/// The role of a path inside a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRole {
    /// `interval/NNNN/allocations.json` of the bundle at this path.
    Allocations(String),
    /// `cluster/cli-flags.json` of the bundle at this path.
    CliFlags(String),
    /// A file that is skipped, and why.
    Skipped(&'static str),
    /// Any other file: its content decides.
    Other,
}

/// The role of a path with `/` separators inside a bundle.
pub fn role(path: &str) -> PathRole {
    let parts: Vec<&str> = path.split('/').collect();
    let root = |below: usize| parts[..parts.len() - below].join("/");
    match parts.as_slice() {
        [.., "interval" | "nomad", capture, file] if is_capture(capture) => match *file {
            "allocations.json" => PathRole::Allocations(root(3)),
            "nodes.json" => PathRole::Other,
            _ => PathRole::Skipped("a part of the debug bundle without allocations"),
        },
        [.., "cluster", "cli-flags.json"] => PathRole::CliFlags(root(2)),
        [.., "cluster", "eventstream.json"] => PathRole::Skipped(
            "the debug bundle's event stream went through floats, so its times are rounded; allocations.json beside it is exact",
        ),
        _ => PathRole::Other,
    }
}

/// The path of the flags of an unpacked bundle.
pub fn flags_path(bundle: &str) -> PathBuf {
    Path::new(bundle).join("cluster/cli-flags.json")
}

/// The ID of the client node in the path of its logs, `client/ID/monitor.log`, inside a bundle; `None` elsewhere.
pub fn client_node(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/').skip(1);
    let (node, client) = (parts.next()?, parts.next()?);
    let is_id = node.len() == 36 && node.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (is_id && (client == "client" || client.ends_with(":client"))).then_some(node)
}

/// Captures are numbered with four digits.
fn is_capture(part: &str) -> bool {
    part.len() == 4 && part.bytes().all(|b| b.is_ascii_digit())
}

impl Flags {
    /// Records the namespace in a bundle's `cli-flags.json`; `default` if it has none. If two bundles with the same key
    /// differ, the namespace is unknown.
    pub fn learn(&mut self, bundle: String, cli_flags: &[u8]) {
        let flags = serde_json::from_slice::<serde_json::Map<String, Value>>(cli_flags).ok();
        let namespace =
            flags.and_then(|flags| match flags.get("Actual").and_then(|actual| actual.pointer("/namespace/Value")) {
                None | Some(Value::Null) => Some("default".to_owned()),
                Some(Value::String(name)) if name.is_empty() => Some("default".to_owned()),
                Some(Value::String(name)) => Some(name.clone()),
                Some(_) => None,
            });
        let known = self.namespaces.entry(bundle).or_insert_with(|| namespace.clone());
        if *known != namespace {
            *known = None;
        }
    }

    /// Records that a bundle has no `cli-flags.json`, like bundles of old versions. Its namespace is `default`.
    pub fn learn_absence(&mut self, bundle: &str) {
        self.namespaces.entry(bundle.to_owned()).or_insert_with(|| Some("default".to_owned()));
    }

    /// Adds the namespaces that another walk recorded.
    pub fn learn_all(&mut self, other: Flags) {
        self.namespaces.extend(other.namespaces);
    }

    /// The namespace that a bundle lists; `None` if its flags have not been read yet, or cannot be read.
    pub fn namespace(&self, bundle: &str) -> Option<String> {
        self.namespaces.get(bundle).cloned().flatten()
    }

    /// Returns true the first time that a bundle's flags are missing.
    pub fn is_first_miss(&mut self, bundle: &str) -> bool {
        self.missed.insert(bundle.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_both_layouts() {
        for (path, expected) in [
            ("b/interval/0003/allocations.json", PathRole::Allocations("b".into())),
            ("nomad/0000/allocations.json", PathRole::Allocations(String::new())),
            ("x/b/nomad/0000/nodes.json", PathRole::Other),
            ("b/cluster/cli-flags.json", PathRole::CliFlags("b".into())),
            ("b/cluster/nodes.json", PathRole::Other),
            ("interval/3/allocations.json", PathRole::Other),
            ("allocations.json", PathRole::Other),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
        assert!(matches!(role("b/cluster/eventstream.json"), PathRole::Skipped(_)));
        assert!(matches!(role("b/interval/0000/jobs.json"), PathRole::Skipped(_)));
    }

    #[test]
    fn the_path_of_a_log_in_a_bundle_names_its_node() {
        let node = "20d373dc-dee0-55ce-c110-bb7f4f813e14";
        for root in ["b.tar.gz:b/client", "client", "b.zip:client"] {
            assert_eq!(client_node(&format!("{root}/{node}/monitor.log")), Some(node), "{root}");
        }
        for path in ["monitor.log", "b/server/x/monitor.log", "b/client/server1.global/monitor.log"] {
            assert_eq!(client_node(path), None, "{path}");
        }
    }

    #[test]
    fn a_bundle_covers_default_unless_its_flags_name_another_namespace_or_are_missing() {
        let mut flags = Flags::default();
        flags.learn("a".into(), br#"{"Actual":{"namespace":{"Name":"namespace","Value":"*"}},"Formal":{}}"#);
        flags.learn("b".into(), br#"{"Actual":{},"Formal":{"namespace":{"Value":"x"}}}"#);
        flags.learn("cut".into(), br#"{"Actual":{"names"#);
        flags.learn("odd".into(), br#"{"Actual":{"namespace":{"Value":7}}}"#);
        flags.learn("twice".into(), br#"{"Actual":{}}"#);
        flags.learn("twice".into(), br#"{"Actual":{}}"#);
        assert_eq!(flags.namespace("twice").as_deref(), Some("default"));
        flags.learn("twice".into(), br#"{"Actual":{"namespace":{"Value":"*"}}}"#);
        flags.learn("twice".into(), br#"{"Actual":{"namespace":{"Value":"*"}}}"#);
        assert_eq!((flags.namespace("odd"), flags.namespace("twice")), (None, None));
        assert_eq!(flags.namespace("b").as_deref(), Some("default"));
        flags.learn_absence("a");
        flags.learn_absence("old");
        flags.learn_absence("cut");
        assert_eq!(flags.namespace("a").as_deref(), Some("*"));
        assert_eq!(flags.namespace("old").as_deref(), Some("default"));
        assert_eq!(flags.namespace("cut"), None);
        assert_eq!(flags.namespace("never seen"), None);
    }
}
