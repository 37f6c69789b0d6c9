//! What a token may read, as far as Nomad's ACL API says it.
//!
//! Nomad answers a request for all namespaces with those that the token can read, and does not say which these are. The
//! rules of the token's policies do: those that it names and those of its roles.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::listing::SMALL;
use super::secret::TokenKind;
use super::{Client, Fault};
use crate::time;

/// What `/v1/acl/token/self` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Token {
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

/// A policy by its name, as in `/v1/acl/policies`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
}

/// What `/v1/acl/role/:id` answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    policies: Option<Vec<Named>>,
}

/// What `/v1/acl/policy/:name` answers. Nomad parses the rules since 0.10.2.
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

/// What a policy grants in the namespaces whose names match a pattern. Nomad has put the capabilities of its `policy`
/// among the others.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    name: String,
    capabilities: Option<Vec<String>>,
}

/// What the ACL API says.
enum Said<T> {
    /// This.
    This(T),
    /// The cluster has no access rules.
    NoRules,
    /// Nothing: with what it refused.
    Nothing(Fault),
}

/// Returns true if the token is known to read the allocations of every namespace: there are no access rules, it manages
/// the cluster, or its policies say so.
///
/// # Errors
/// When Nomad cannot be asked. That it denies an answer proves nothing, and is not an error.
pub fn reads_every_namespace(client: &Client, stale: bool, told: &mut dyn FnMut(&Fault)) -> Result<bool, Fault> {
    let api = Api { client, stale };
    let (mut names, roles) = match api.get::<Token>("/v1/acl/token/self", told)? {
        Said::NoRules => return Ok(true),
        // Without access rules Nomad shows a token of this name since 1.10.1; before, it says so.
        Said::This(token) if token.accessor_id == "acls-disabled" || token.r#type == "management" => return Ok(true),
        Said::This(token) => (token.policies.unwrap_or_default(), token.roles.unwrap_or_default()),
        Said::Nothing(_) => match client.token_kind() {
            None => (vec!["anonymous".to_owned()], Vec::new()),
            // Nomad lists the policies of an identity since 1.11.
            Some(TokenKind::Identity) => match api.get::<Vec<Named>>("/v1/acl/policies", told)? {
                Said::NoRules => return Ok(true),
                Said::This(policies) => (policies.into_iter().map(|policy| policy.name).collect(), Vec::new()),
                Said::Nothing(_) => return Ok(false),
            },
            Some(_) => return Ok(false),
        },
    };
    for role in roles {
        let Said::This(role) = api.get::<Role>(&format!("/v1/acl/role/{}", role.id), told)? else { return Ok(false) };
        names.extend(role.policies.unwrap_or_default().into_iter().map(|policy| policy.name));
    }
    let mut rules = Vec::new();
    for name in names {
        match api.get::<Policy>(&format!("/v1/acl/policy/{name}"), told)? {
            Said::This(Policy { rules: Some(of_policy) }) => rules.extend(of_policy.namespaces.unwrap_or_default()),
            // A policy that was deleted grants nothing and denies nothing.
            Said::Nothing(Fault::Status { status: 404, text, .. }) if text.contains("policy not found") => {}
            _ => return Ok(false),
        }
    }
    Ok(grants_all(&rules))
}

/// Returns true if rules grant `read-job` in every namespace. Of the patterns that match a name Nomad takes one: an exact
/// one, else the closest. So there must be one for all, and none that grants less. What several policies say of one
/// pattern adds up, but for `deny`, which overrules it.
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

/// The reason of a refusal, if it is the token itself: it is unknown, or has expired. Nomad says `Permission denied` for
/// that, too.
pub fn explained(client: &Client, stale: bool, fault: Fault) -> Fault {
    let is_denial = matches!(&fault, Fault::Status { status: 401 | 403, .. })
        || matches!(&fault, Fault::Status { status: 500, text, .. } if text.contains("Permission denied"));
    let Some(kind) = client.token_kind().filter(|_| is_denial) else { return fault };
    let api = Api { client, stale };
    let unknown = || Fault::Token("this cluster does not know the token".into());
    match (kind, api.get::<Token>("/v1/acl/token/self", &mut |_| {})) {
        (_, Ok(Said::This(token))) => match token.expired_at() {
            Some(at) => Fault::Token(format!("the token expired at {at}")),
            None => fault,
        },
        (_, Ok(Said::Nothing(Fault::Status { text, .. }))) if text.contains("ACL token expired") => {
            Fault::Token("the token has expired".into())
        }
        // An identity is no ACL token, of which that is asked. Since 1.11 Nomad lists its policies if it is valid.
        (TokenKind::Identity, Ok(_)) => match api.get::<Vec<Named>>("/v1/acl/policies", &mut |_| {}) {
            Ok(Said::Nothing(Fault::Status { status: 403, .. })) => Fault::Token(
                "the workload identity is not accepted: it has expired, or its allocation has ended".into(),
            ),
            _ => fault,
        },
        (TokenKind::Other, Ok(Said::Nothing(_))) => {
            Fault::Token("the token is neither an ACL token (a UUID) nor a workload identity (a JWT)".into())
        }
        // Every token may ask who it is: 404 before Nomad 1.10.1, 403 since.
        (TokenKind::Acl, Ok(Said::Nothing(Fault::Status { status: 403 | 404, text, .. })))
            if text.contains("token not found") || text.contains("Permission denied") =>
        {
            unknown()
        }
        _ => fault,
    }
}

impl Token {
    /// When it expired, as Nomad writes it, if it has. Before Nomad 1.10.1 an expired token may still ask who it is.
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
    /// Asks for one thing.
    fn get<T: DeserializeOwned>(&self, path: &str, told: &mut dyn FnMut(&Fault)) -> Result<Said<T>, Fault> {
        match self.client.ask(path, &[("stale", if self.stale { "true" } else { "" })], told) {
            Ok(answer) => {
                let read = serde_json::from_reader(answer.body.take(SMALL));
                Ok(read.map_or_else(|e| Said::Nothing(Fault::NotNomad(e.to_string())), Said::This))
            }
            Err(Fault::Status { text, .. }) if text.contains("ACL support disabled") => Ok(Said::NoRules),
            Err(fault @ Fault::Status { .. }) if !fault.is_passing() => Ok(Said::Nothing(fault)),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether rules, each a pattern and its capabilities, grant `read-job` everywhere.
    fn grants(rules: &[(&str, &[&str])]) -> bool {
        let rule = |(name, capabilities): &(&str, &[&str])| Rule {
            name: (*name).to_owned(),
            capabilities: Some(capabilities.iter().map(ToString::to_string).collect()),
        };
        grants_all(&rules.iter().map(rule).collect::<Vec<_>>())
    }

    #[test]
    fn a_rule_for_all_grants_all_unless_another_takes_it_back() {
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
