//! Which namespaces a token may read, according to Nomad's ACL API.
//!
//! If all namespaces are requested, Nomad lists only the allocations of namespaces that the token can read. The answer
//! does not name these namespaces, but the policies of the token and of its roles do.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::secret::TokenKind;
use super::{Client, Fault, SMALL};
use crate::time;

/// The answer of `/v1/acl/token/self`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TokenInfo {
    #[serde(rename = "AccessorID")]
    accessor_id: String,
    r#type: String,
    policies: Option<Vec<String>>,
    roles: Option<Vec<Link>>,
    expiration_time: Option<String>,
}

/// A role of a token.
#[derive(Debug, Deserialize)]
struct Link {
    #[serde(rename = "ID")]
    id: String,
}

/// A policy name, from `/v1/acl/policies`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

/// The answer of `/v1/acl/role/:id`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AclRole {
    policies: Option<Vec<Named>>,
}

/// The answer of `/v1/acl/policy/:name`. Nomad parses the rules since 0.10.2.
#[derive(Debug, Deserialize)]
struct Policy {
    #[serde(rename = "RulesJSON")]
    rules: Option<Rules>,
}

/// The rules of a policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rules {
    namespaces: Option<Vec<Rule>>,
}

/// The capabilities that a policy grants in the namespaces whose names match a pattern. The capabilities include those
/// that the rule's `policy` implies, because Nomad has merged them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    name: String,
    capabilities: Option<Vec<String>>,
}

/// An answer of the ACL API.
enum AclAnswer<T> {
    /// The value.
    This(T),
    /// The cluster has no access rules.
    NoRules,
    /// A refusal.
    Nothing(Fault),
}

/// Returns true if the token is known to read the allocations of every namespace: ACLs are disabled, it is a management
/// token, or its policies grant it.
///
/// # Errors
/// When the request fails. A denied request proves nothing, and is not an error.
pub fn reads_every_namespace(client: &Client, stale: bool, on_fault: &mut dyn FnMut(&Fault)) -> Result<bool, Fault> {
    let api = Api { client, stale };
    let (mut names, roles) = match api.get::<TokenInfo>("/v1/acl/token/self", on_fault)? {
        AclAnswer::NoRules => return Ok(true),
        // With ACLs disabled, Nomad since 1.10.1 returns a token with this accessor ID; earlier versions answer with an
        // error.
        AclAnswer::This(token) if token.accessor_id == "acls-disabled" || token.r#type == "management" => {
            return Ok(true);
        }
        AclAnswer::This(token) => (token.policies.unwrap_or_default(), token.roles.unwrap_or_default()),
        AclAnswer::Nothing(_) => match client.token_kind() {
            None => (vec!["anonymous".to_owned()], Vec::new()),
            // Nomad lists the policies of a workload identity since 1.11.
            Some(TokenKind::Identity) => match api.get::<Vec<Named>>("/v1/acl/policies", on_fault)? {
                AclAnswer::NoRules => return Ok(true),
                AclAnswer::This(policies) => (policies.into_iter().map(|policy| policy.name).collect(), Vec::new()),
                AclAnswer::Nothing(_) => return Ok(false),
            },
            Some(_) => return Ok(false),
        },
    };
    for role in roles {
        let AclAnswer::This(role) = api.get::<AclRole>(&format!("/v1/acl/role/{}", role.id), on_fault)? else {
            return Ok(false);
        };
        names.extend(role.policies.unwrap_or_default().into_iter().map(|policy| policy.name));
    }
    let mut rules = Vec::new();
    for name in names {
        match api.get::<Policy>(&format!("/v1/acl/policy/{name}"), on_fault)? {
            AclAnswer::This(Policy { rules: Some(of_policy) }) => {
                rules.extend(of_policy.namespaces.unwrap_or_default())
            }
            // A policy that was deleted neither grants nor denies anything.
            AclAnswer::Nothing(Fault::Status { status: 404, text, .. }) if text.contains("policy not found") => {}
            _ => return Ok(false),
        }
    }
    Ok(grants_all(&rules))
}

/// Returns true if rules grant `read-job` in every namespace. For a namespace, Nomad uses one pattern: the exact name,
/// else the closest match. So the pattern `*` must grant `read-job`, and every other pattern must grant it, too. The
/// capabilities of several policies for one pattern add up, except `deny`, which overrules the others.
fn grants_all(rules: &[Rule]) -> bool {
    let mut by_pattern: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for rule in rules {
        let has = |wanted: &str| rule.capabilities.iter().flatten().any(|capability| capability == wanted);
        let (reads, denies) = by_pattern.entry(&rule.name).or_default();
        *reads |= has("read-job");
        *denies |= has("deny");
    }
    by_pattern.contains_key("*") && by_pattern.values().all(|(reads, denies)| *reads && !*denies)
}

/// Replaces a refusal by its reason, if the token itself is unknown or expired. Nomad answers `Permission denied` in
/// these cases, too.
pub fn explain_refusal(client: &Client, stale: bool, fault: Fault) -> Fault {
    let is_denial = matches!(&fault, Fault::Status { status: 401 | 403, .. })
        || matches!(&fault, Fault::Status { status: 500, text, .. } if text.contains("Permission denied"));
    let Some(kind) = client.token_kind().filter(|_| is_denial) else { return fault };
    let api = Api { client, stale };
    let unknown = || Fault::Token("this cluster does not know the token".into());
    match (kind, api.get::<TokenInfo>("/v1/acl/token/self", &mut |_| {})) {
        (_, Ok(AclAnswer::This(token))) => match token.expired_at() {
            Some(at) => Fault::Token(format!("the token expired at {at}")),
            None => fault,
        },
        (_, Ok(AclAnswer::Nothing(Fault::Status { text, .. }))) if text.contains("ACL token expired") => {
            Fault::Token("the token has expired".into())
        }
        // A workload identity is not an ACL token, so the request above fails. Since 1.11, Nomad lists the policies of
        // a valid workload identity.
        (TokenKind::Identity, Ok(_)) => match api.get::<Vec<Named>>("/v1/acl/policies", &mut |_| {}) {
            Ok(AclAnswer::Nothing(Fault::Status { status: 403, .. })) => Fault::Token(
                "the workload identity is not accepted: it has expired, or its allocation has ended".into(),
            ),
            _ => fault,
        },
        (TokenKind::Other, Ok(AclAnswer::Nothing(_))) => {
            Fault::Token("the token is neither an ACL token (a UUID) nor a workload identity (a JWT)".into())
        }
        // Any token may read itself; an unknown one gets 404 before Nomad 1.10.1, 403 since.
        (TokenKind::Acl, Ok(AclAnswer::Nothing(Fault::Status { status: 403 | 404, text, .. })))
            if text.contains("token not found") || text.contains("Permission denied") =>
        {
            unknown()
        }
        _ => fault,
    }
}

impl TokenInfo {
    /// When the token expired, as Nomad writes it; `None` if it has not. Before Nomad 1.10.1 an expired token may still
    /// read itself.
    fn expired_at(&self) -> Option<&str> {
        let text = self.expiration_time.as_deref()?;
        let at = time::rfc3339(text).ok()??;
        (at < time::now()).then_some(text)
    }
}

/// The ACL API of a cluster.
struct Api<'c> {
    client: &'c Client,
    stale: bool,
}

impl Api<'_> {
    /// Requests one object.
    fn get<T: DeserializeOwned>(&self, path: &str, on_fault: &mut dyn FnMut(&Fault)) -> Result<AclAnswer<T>, Fault> {
        match self.client.ask(path, &[("stale", if self.stale { "true" } else { "" })], on_fault) {
            Ok(answer) => {
                let read = serde_json::from_reader(answer.body.take(SMALL));
                Ok(read.map_or_else(|e| AclAnswer::Nothing(Fault::NotNomad(e.to_string())), AclAnswer::This))
            }
            Err(Fault::Status { text, .. }) if text.contains("ACL support disabled") => Ok(AclAnswer::NoRules),
            Err(fault @ Fault::Status { .. }) if !fault.is_passing() => Ok(AclAnswer::Nothing(fault)),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns true if rules, each a pattern and its capabilities, grant `read-job` everywhere.
    fn grants(rules: &[(&str, &[&str])]) -> bool {
        let rule = |(name, capabilities): &(&str, &[&str])| Rule {
            name: (*name).to_owned(),
            capabilities: Some(capabilities.iter().map(ToString::to_string).collect()),
        };
        grants_all(&rules.iter().map(rule).collect::<Vec<_>>())
    }

    #[test]
    fn a_wildcard_rule_grants_everything_unless_another_rule_denies_it() {
        assert!(grants(&[("*", &["list-jobs", "read-job"])]));
        assert!(grants(&[("*", &["read-job"]), ("prod", &["read-job", "submit-job"])]));
        assert!(grants(&[("*", &["list-jobs"]), ("*", &["read-job"])]), "one pattern in two policies adds up");
        assert!(!grants(&[]));
        assert!(!grants(&[("prod", &["read-job"]), ("default", &["read-job"])]), "there may be others");
        assert!(!grants(&[("*", &["list-jobs"])]));
        assert!(!grants(&[("*", &["read-job"]), ("prod", &["list-jobs"])]), "the exact name counts");
        assert!(!grants(&[("*", &["read-job"]), ("team-*", &[])]), "the closer pattern counts");
        assert!(!grants(&[("*", &["read-job"]), ("*", &["deny"])]));
        assert!(!grants(&[("*", &["read-job"]), ("secret", &["deny"])]));
    }
}
