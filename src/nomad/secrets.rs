//! Removes secrets from a full allocation: mainly from its job, where users put them.

use serde_json::value::RawValue;

use crate::members::Members;

/// An object with raw values.
type RawFields<'a> = Members<String, &'a RawValue>;

/// Parts of a job that may contain secrets. A driver's Config may contain a registry password.
const IN_JOB: [&str; 7] = ["Config", "ConsulToken", "Env", "Payload", "Secrets", "Templates", "VaultToken"];
/// Before Nomad 2.0, this field has a token for each task.
const IDENTITIES: &str = "SignedIdentities";

/// Removes secrets from a full allocation; the other values keep their bytes.
///
/// # Errors
/// When it is not a JSON object.
pub fn removed(allocation: &[u8]) -> serde_json::Result<String> {
    let fields: RawFields<'_> = serde_json::from_slice(allocation)?;
    let kept = fields.0.into_iter().filter(|(name, _)| name != IDENTITIES);
    object(kept, |name, value| if name == "Job" { from_job(value) } else { Ok(value.get().to_owned()) })
}

/// Removes possible secrets from a part of a job.
fn from_job(value: &RawValue) -> serde_json::Result<String> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: RawFields<'_> = serde_json::from_str(text)?;
            object(fields.0.into_iter().filter(|(name, _)| !IN_JOB.contains(&name.as_str())), |_, value| {
                from_job(value)
            })
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text)?;
            let elements = elements.into_iter().map(from_job).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("[{}]", elements.join(",")))
        }
        _ => Ok(text.to_owned()),
    }
}

fn object<'a>(
    fields: impl Iterator<Item = (String, &'a RawValue)>,
    value: impl Fn(&str, &RawValue) -> serde_json::Result<String>,
) -> serde_json::Result<String> {
    let written = fields.map(|(name, of)| Ok(format!("{}:{}", serde_json::to_string(&name)?, value(&name, of)?)));
    Ok(format!("{{{}}}", written.collect::<serde_json::Result<Vec<_>>>()?.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_and_everything_else_is_unchanged() {
        let full = r#"{"ID":"a","SignedIdentities":{"t":"ey"},"Job":{"ID":"j","Payload":"cA==","TaskGroups":[{"Tasks":[{"Name":"Env",
            "Config":{"auth":{"password":"x"}},"Env":{"K":"v"},"Templates":[{"EmbeddedTmpl":"y"}],"KillTimeout":5e9}]}]},
            "TaskStates":{"Env":{"Events":[{"Time":1795458551898620217,"Details":{"Config":"\u003c"}}]}}}"#;
        let kept = r#"{"ID":"a","Job":{"ID":"j","TaskGroups":[{"Tasks":[{"Name":"Env","KillTimeout":5e9}]}]},"TaskStates":{"Env":{"Events":[{"Time":1795458551898620217,"Details":{"Config":"\u003c"}}]}}}"#;
        assert_eq!(removed(full.as_bytes()).unwrap(), kept);
        assert!(removed(b"[]").is_err());
    }
}
