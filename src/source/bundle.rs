//! What the layout of a `nomad operator debug` bundle tells of its files.
//!
//! `interval/NNNN/allocations.json` (before Nomad 1.5 `nomad/NNNN/…`) is a listing, `nodes.json` beside it lists the
//! nodes, `cluster/cli-flags.json` names the namespace; everything else there holds no allocations.
//! (command/operator_debug.go.)

use std::collections::HashMap;

/// The namespaces that the bundles' `cli-flags.json` name, by the path of the bundle.
#[derive(Debug, Default)]
pub struct Flags {
    namespaces: HashMap<String, String>,
}

/// What a path means inside a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `interval/NNNN/allocations.json` of the bundle at this path.
    Allocations(String),
    /// `cluster/cli-flags.json` of the bundle at this path.
    CliFlags(String),
    /// A file that is passed over, and why.
    PassedOver(&'static str),
    /// Anything: its content tells.
    Other,
}

/// What a path with `/` between its parts means inside a bundle.
pub fn role(path: &str) -> Role {
    let parts: Vec<&str> = path.split('/').collect();
    let root = |below: usize| parts[..parts.len() - below].join("/");
    match parts.as_slice() {
        [.., "interval" | "nomad", capture, file] if is_capture(capture) => match *file {
            "allocations.json" => Role::Allocations(root(3)),
            "nodes.json" => Role::Other,
            _ => Role::PassedOver("a part of the debug bundle without allocations"),
        },
        [.., "cluster", "cli-flags.json"] => Role::CliFlags(root(2)),
        [.., "cluster", "eventstream.json"] => Role::PassedOver(
            "the debug bundle's event stream went through floats, so its times are rounded; allocations.json beside it is exact",
        ),
        _ => Role::Other,
    }
}

/// Captures are numbered with four digits.
fn is_capture(part: &str) -> bool {
    part.len() == 4 && part.bytes().all(|b| b.is_ascii_digit())
}

impl Flags {
    /// Remembers the namespace that a bundle's `cli-flags.json` names.
    pub fn learn(&mut self, root: String, cli_flags: &[u8]) {
        let Ok(flags) = serde_json::from_slice::<serde_json::Value>(cli_flags) else { return };
        if let Some(namespace) = flags.pointer("/Actual/namespace/Value").and_then(|v| v.as_str()) {
            self.namespaces.insert(root, namespace.to_owned());
        }
    }

    /// The namespace that the bundle at `root` lists: `default`, unless its flags name another.
    pub fn namespace(&self, root: &str) -> String {
        self.namespaces.get(root).map_or("default", |n| n.as_str()).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_both_layouts() {
        for (path, expected) in [
            ("b/interval/0003/allocations.json", Role::Allocations("b".into())),
            ("nomad/0000/allocations.json", Role::Allocations(String::new())),
            ("x/b/nomad/0000/nodes.json", Role::Other),
            ("b/cluster/cli-flags.json", Role::CliFlags("b".into())),
            ("b/cluster/nodes.json", Role::Other),
            ("interval/3/allocations.json", Role::Other),
            ("allocations.json", Role::Other),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
        assert!(matches!(role("b/cluster/eventstream.json"), Role::PassedOver(_)));
        assert!(matches!(role("b/interval/0000/jobs.json"), Role::PassedOver(_)));
    }

    #[test]
    fn a_bundle_covers_default_unless_its_flags_say_otherwise() {
        let mut flags = Flags::default();
        flags.learn("a".into(), br#"{"Actual":{"namespace":{"Name":"namespace","Value":"*"}},"Formal":{}}"#);
        flags.learn("b".into(), br#"{"Actual":{},"Formal":{"namespace":{"Value":"x"}}}"#);
        assert_eq!(flags.namespace("a"), "*");
        assert_eq!(flags.namespace("b"), "default");
        assert_eq!(flags.namespace("c"), "default");
    }
}
