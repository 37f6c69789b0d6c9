//! What the layout of a `nomad operator debug` bundle tells of its files.
//!
//! `interval/NNNN/allocations.json` (before Nomad 1.5 `nomad/NNNN/…`) is a listing, `nodes.json` beside it lists the
//! nodes, `cluster/cli-flags.json` names the namespace; everything else there holds no allocations.
//! (command/operator_debug.go.)

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// The namespaces that the bundles' `cli-flags.json` name, by the place of the bundle: its path, in an archive behind
/// the archive's name.
#[derive(Debug, Default)]
pub struct Flags {
    /// `None` where they cannot be read.
    namespaces: HashMap<String, Option<String>>,
    missed: HashSet<String>,
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
    /// Remembers the namespace that a bundle's `cli-flags.json` names: `default` where it names none. Where two that
    /// cannot be told apart name different ones, none of them counts.
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

    /// Remembers that a bundle has no `cli-flags.json`, as those of old versions. It names no namespace either.
    pub fn learn_absence(&mut self, bundle: &str) {
        self.namespaces.entry(bundle.to_owned()).or_insert_with(|| Some("default".to_owned()));
    }

    /// Remembers what another walk has learned.
    pub fn learn_all(&mut self, other: Flags) {
        self.namespaces.extend(other.namespaces);
    }

    /// The namespace that a bundle lists; `None` as long as its flags have not been seen, or if they cannot be read.
    pub fn namespace(&self, bundle: &str) -> Option<String> {
        self.namespaces.get(bundle).cloned().flatten()
    }

    /// Whether a bundle's flags are missed for the first time.
    pub fn miss(&mut self, bundle: &str) -> bool {
        self.missed.insert(bundle.to_owned())
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
    fn a_bundle_covers_default_unless_its_flags_say_otherwise_or_were_not_seen() {
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
