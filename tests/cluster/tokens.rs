//! What a token may read according to Nomad. If it may read everything, there is one listing and one stream. If that is
//! uncertain, each namespace is listed separately. If Nomad refuses a request, the program reports the reason.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::agent::{Agent, Ending, Reply, Request};
use super::versions::going_on;
use super::{TOKEN, answer, aside, listing, namespaces};
use crate::sandbox::{Sandbox, allocation};

/// The answer of Nomad 2.0.5 without ACLs to every token.
const RULES_OFF: &str = r#"{"AccessorID":"acls-disabled","SecretID":"","Name":"ACLs disabled token","Type":"client","Policies":null,"Roles":null,"Global":false,"Hash":null,"CreateTime":"0001-01-01T00:00:00Z","ExpirationTime":null,"ExpirationTTL":"","CreateIndex":0,"ModifyIndex":0}"#;

/// A workload identity without a valid signature.
const IDENTITY: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2lnbmF0dXJl";

/// A client token with these policies, and one role.
fn token(policies: &[&str], role: &str) -> String {
    format!(
        r#"{{"AccessorID":"9c2f2cf5","SecretID":"{TOKEN}","Name":"alloclog","Type":"client","Policies":{policies:?},"Roles":[{{"ID":"{role}","Name":"r"}}],"Global":false,"ExpirationTime":null}}"#
    )
}

/// A policy with these namespace rules.
fn policy(rules: &[(&str, &str)]) -> String {
    let rule = |(name, capabilities): &(&str, &str)| {
        let capabilities: Vec<&str> = capabilities.split(' ').filter(|text| !text.is_empty()).collect();
        format!(r#"{{"Name":"{name}","Policy":"","Capabilities":{capabilities:?},"Variables":null}}"#)
    };
    let rules: Vec<String> = rules.iter().map(rule).collect();
    format!(
        r#"{{"Name":"p","Rules":"…","RulesJSON":{{"Namespaces":[{}],"NodePools":null,"Node":{{"Policy":"read"}}}},"JobACL":null}}"#,
        rules.join(",")
    )
}

/// A stream that stays open.
fn quiet() -> Reply {
    Reply::stream(|out| {
        loop {
            out.write_all(b"{}\n")?;
            std::thread::sleep(Duration::from_millis(300));
        }
    })
}

/// A cluster with 121 namespaces and these answers of the ACL API.
fn cluster(acl: &[(&str, String)]) -> Agent {
    let acl: BTreeMap<String, String> =
        acl.iter().map(|(path, text)| (format!("/v1/acl/{path}"), text.clone())).collect();
    let names: Vec<String> = (0..120).map(|n| format!("team-{n}")).chain(["default".to_owned()]).collect();
    Agent::new(move |request| match (request.path.as_str(), request.parameter("namespace")) {
        (path, _) if acl.contains_key(path) => Reply::list(1, acl[path].clone()),
        (path, _) if path.starts_with("/v1/acl/") => Reply::status("404 Not Found", "ACL token not found"),
        ("/v1/namespaces", _) => namespaces(&names),
        ("/v1/allocations", "*" | "default") => Reply::list(5, listing()),
        ("/v1/allocations", _) => Reply::list(5, "[]"),
        ("/v1/event/stream", _) => quiet(),
        _ => aside(request),
    })
}

/// Checks that the program requests one listing of all namespaces, and that `fetch` writes one array.
fn is_one(agent: &Agent, token: &[(&str, &str)]) {
    let sandbox = Sandbox::new();
    sandbox.nomad(token, &["export", &agent.address, "-o", "out"]).exits_with(0);
    let row = sandbox.ledger("out").remove(0);
    assert_eq!((&row["namespace"], &row["is_full_listing"]), (&"*".into(), &true.into()));
    assert_eq!(agent.asked("/v1/allocations").len(), 1);
    sandbox.nomad(token, &["fetch", &agent.address, "-o", "x.json"]).exits_with(0);
    assert_eq!(std::fs::read_to_string(sandbox.path("x.json")).expect("a file"), listing());
}

#[test]
fn without_acls_there_is_one_listing_and_one_stream() {
    let agent = cluster(&[("token/self", RULES_OFF.to_owned())]);
    is_one(&agent, &[]);
    let sandbox = Sandbox::new();
    let ran = going_on(&sandbox, &agent, &["--stream"], |request| request.path == "/v1/namespaces", 8).exits_with(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    let streams = agent.asked("/v1/event/stream");
    assert_eq!((streams.len(), streams[0].parameter("namespace")), (1, "*"));
}

#[test]
fn a_token_whose_policies_grant_everything_has_one_listing() {
    let role = |policies: &str| format!(r#"{{"ID":"r1","Name":"r","Policies":[{policies}]}}"#);
    let all = policy(&[("*", "list-jobs read-job"), ("team-1", "read-job submit-job")]);
    for acl in [
        vec![("token/self", token(&["all"], "r1")), ("role/r1", role("")), ("policy/all", all.clone())],
        vec![("token/self", token(&[], "r1")), ("role/r1", role(r#"{"Name":"all"}"#)), ("policy/all", all.clone())],
    ] {
        is_one(&cluster(&acl), &[("NOMAD_TOKEN", TOKEN)]);
    }
    // A workload identity is not an ACL token; Nomad lists its policies since 1.11.
    let identity = [("policies", r#"[{"Name":"all","JobACL":null}]"#.to_owned()), ("policy/all", all.clone())];
    is_one(&cluster(&identity), &[("NOMAD_TOKEN", IDENTITY)]);
    is_one(&cluster(&[("policy/anonymous", all)]), &[]);
}

#[test]
fn with_uncertain_permissions_each_namespace_is_listed() {
    let all = || policy(&[("*", "read-job")]);
    let role = r#"{"ID":"r1","Name":"r","Policies":[{"Name":"less"}]}"#.to_owned();
    let less = |rules| {
        let token = token(&["all"], "r1");
        vec![("token/self", token), ("role/r1", role.clone()), ("policy/all", all()), ("policy/less", policy(rules))]
    };
    let text_only = r#"{"Name":"all","Rules":"namespace \"*\" { policy = \"read\" }","RulesJSON":null}"#.to_owned();
    for (acl, token) in [
        (less(&[("team-1", "list-jobs")]), TOKEN),
        (less(&[("team-*", "deny")]), TOKEN),
        (less(&[("*", "deny")]), TOKEN),
        // If a policy or role cannot be read, the permissions of the token are uncertain.
        (vec![("token/self", token(&["all"], "r1")), ("policy/all", all())], TOKEN),
        (
            vec![("token/self", r#"{"Type":"client","Policies":["all","hidden"]}"#.to_owned()), ("policy/all", all())],
            TOKEN,
        ),
        (vec![("token/self", r#"{"Type":"client","Policies":["all"]}"#.to_owned()), ("policy/all", text_only)], TOKEN),
        (vec![], IDENTITY),
    ] {
        let (sandbox, agent) = (Sandbox::new(), cluster(&acl));
        sandbox.nomad(&[("NOMAD_TOKEN", token)], &["export", &agent.address, "-o", "out"]).exits_with(0);
        assert_eq!(agent.asked("/v1/allocations").len(), 121, "{acl:?}");
        let ledger = sandbox.ledger("out");
        assert!(
            ledger.iter().take(121).all(|row| row["is_full_listing"] == true && row["namespace"] != "*"),
            "{acl:?}"
        );
    }
}

#[test]
fn without_a_leader_only_stale_requests_are_answered() {
    let leaderless = |request: &Request| match request.parameter("stale") {
        "true" => match request.path.as_str() {
            "/v1/acl/token/self" => Reply::list(1, r#"{"Type":"client","Policies":["all"]}"#),
            "/v1/acl/policy/all" => Reply::list(1, policy(&[("*", "read-job")])),
            _ => answer(request),
        },
        _ => Reply::status("500 Internal Server Error", "No cluster leader"),
    };
    let (sandbox, agent) = (Sandbox::new(), Agent::new(leaderless));
    let began = Instant::now();
    let ran =
        sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &["export", &agent.address, "-o", "out", "--stale"]).exits_with(0);
    assert!(!ran.err.contains("warning") && began.elapsed() < Duration::from_secs(3), "{}", ran.err);
    // A server without a leader may be stale: an allocation missing there may exist.
    assert_eq!(sandbox.ledger("out")[0]["is_full_listing"], false);
    sandbox
        .nomad(&[("NOMAD_TOKEN", TOKEN)], &["export", &agent.address, "-o", "one", "--stale", "--namespace", "prod"])
        .exits_with(0);
    sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &["report", &agent.address]).exits_with(1).stderr_has("--stale");
}

#[test]
fn a_token_that_may_only_list_jobs_ends_and_names_the_policy() {
    // A denied stream of Nomad 2.0.5: status 200, no data, then the end, sometimes a reset.
    for ending in [Ending::Closed, Ending::Reset] {
        let agent = Agent::new(move |request| match request.path.as_str() {
            "/v1/acl/token/self" => Reply::list(1, r#"{"Type":"client","Policies":["p"]}"#),
            "/v1/acl/policy/p" => Reply::list(1, policy(&[("default", "list-jobs"), ("prod", "list-jobs")])),
            "/v1/namespaces" => namespaces(&["default", "prod"]),
            "/v1/allocations" => Reply::recorded("acl-list-listjobs-prod-star.txt"),
            "/v1/event/stream" => Reply::stream(move |_| Ok(ending)),
            _ => aside(request),
        });
        let sandbox = Sandbox::new();
        for way in [&[][..], &["--watch"], &["--stream"]] {
            let run = [&["export", &agent.address, "-o", "out"], way].concat();
            let ran = sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &run).exits_with(1);
            ran.stderr_has("its policy needs namespace \"*\" { capabilities = [\"read-job\"] }");
        }
        assert!(agent.requests().len() < 40, "{}", agent.requests().len());
        assert!(sandbox.names().is_empty());
    }
}

#[test]
fn a_denied_stream_of_one_namespace_does_not_end_the_others() {
    let agent = Agent::new(|request| match (request.path.as_str(), request.parameter("namespace")) {
        ("/v1/acl/token/self", _) => Reply::list(1, r#"{"Type":"client","Policies":[]}"#),
        ("/v1/namespaces", _) => namespaces(&["default", "jobs-only"]),
        ("/v1/allocations", "default") => Reply::list(5, format!("[{}]", allocation("a", "default", "j"))),
        ("/v1/allocations", _) => Reply::recorded("acl-list-listjobs-prod-star.txt"),
        ("/v1/event/stream", "default") => quiet(),
        ("/v1/event/stream", _) => Reply::stream(|_| Ok(Ending::Reset)),
        _ => aside(request),
    });
    let sandbox = Sandbox::new();
    let ran = going_on(&sandbox, &agent, &["--stream"], |request| request.path == "/v1/namespaces", 12).exits_with(0);
    assert_eq!(agent.asked("/v1/event/stream").len(), 2);
    assert_eq!(ran.err.matches("namespace jobs-only: the token may not read").count(), 1, "{}", ran.err);
}

#[test]
fn an_unknown_or_expired_token_is_reported_as_such() {
    let denied = || Reply::recorded("acl-list-bad-token.txt");
    let expired = r#"{"AccessorID":"x","Type":"client","Policies":["p"],"ExpirationTime":"2026-11-23T18:30:48.5Z"}"#;
    type Case<'c> = (&'c str, &'c str, Reply, &'c str);
    let cases: [Case<'_>; 7] = [
        // The first reply is that of Nomad before 1.10.1. The second is that of later versions.
        (TOKEN, "self", Reply::status("404 Not Found", "ACL token not found"), "this cluster does not know the token"),
        (TOKEN, "self", denied(), "this cluster does not know the token"),
        (TOKEN, "self", Reply::list(1, expired), "the token expired at 2026-11-23T18:30:48.5Z"),
        (
            TOKEN,
            "self",
            Reply::status("500 Internal Server Error", "rpc error: ACL token expired"),
            "the token has expired",
        ),
        ("garbage", "self", Reply::status("500 Internal Server Error", "x"), "neither an ACL token"),
        (IDENTITY, "identity", denied(), "the workload identity is not accepted"),
        // Before Nomad 1.3, the answer to the listing has this message.
        (TOKEN, "list", Reply::status("403 Forbidden", "ACL token not found"), "this cluster does not know the token"),
    ];
    for (token, place, reply, words) in cases {
        let of_list = if place == "list" { reply.clone() } else { denied() };
        let agent = Agent::new(move |request| match (request.path.as_str(), place) {
            ("/v1/acl/token/self", "identity") => Reply::status("404 Not Found", "ACL token not found"),
            ("/v1/acl/policies", "identity") | ("/v1/acl/token/self", "self") => reply.clone(),
            ("/v1/allocations", _) => of_list.clone(),
            ("/v1/namespaces", _) => denied(),
            ("/v1/event/stream", _) => Reply::stream(|_| Ok(Ending::Closed)),
            _ => Reply::recorded("acl-nodes-anonymous.txt"),
        });
        let sandbox = Sandbox::new();
        for arguments in [&[][..], &["--namespace", "prod"], &["--watch"], &["--stream"]] {
            let run = [&["export", &agent.address, "-o", "x"], arguments].concat();
            let ran = sandbox.nomad(&[("NOMAD_TOKEN", token)], &run).exits_with(1).stderr_has(words);
            assert!(!ran.err.contains(token), "{}", ran.err);
        }
    }
}
