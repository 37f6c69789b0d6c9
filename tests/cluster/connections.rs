//! Connections to an agent: credentials, redirects, proxies and TLS.

use std::fs;

use super::agent::{Agent, Over, Reply, pem};
use super::socks::Socks;
use super::{TOKEN, answer};
use crate::sandbox::Sandbox;

#[test]
fn credentials_are_sent_to_their_agent_only_and_never_printed() {
    let (sandbox, other) = (Sandbox::new(), Agent::new(answer));
    let elsewhere = other.address.clone();
    let agent = Agent::new(answer);
    sandbox.file("token", format!("{TOKEN}\n"));
    let auth = ("NOMAD_HTTP_AUTH", "ann:hunter2:x");
    let url = agent.address.replace("http://", "http://bob:hunter3@");
    for (out, variables, arguments) in [
        ("env", vec![auth, ("NOMAD_TOKEN", TOKEN)], vec!["-v", &agent.address]),
        ("file", vec![auth, ("NOMAD_TOKEN", "not-this")], vec!["-v", "--token-file", "token", url.as_str()]),
    ] {
        let ran = sandbox
            .nomad(&variables, &[&["export", "-o", out, "--format", "csv"], &arguments[..]].concat())
            .exits_with(0);
        let mut written: Vec<u8> = sandbox.files(out).into_values().flatten().collect();
        written.extend(ran.out.bytes().chain(ran.err.bytes()));
        let written = String::from_utf8_lossy(&written);
        for secret in [TOKEN, "hunter2", "hunter3", "YW5uOmh1bnRlcjI6eA=="] {
            assert!(!written.contains(secret), "{secret}");
        }
    }
    for request in agent.requests() {
        assert_eq!(
            (request.header("x-nomad-token"), request.header("authorization")),
            (TOKEN, "Basic YW5uOmh1bnRlcjI6eA==")
        );
        assert!(!request.target.contains(TOKEN));
    }
    let there = Agent::new(move |request| {
        Reply::status("307 Temporary Redirect", "").header("Location", &format!("{elsewhere}{}", request.target))
    });
    let ran = sandbox.nomad(&[("NOMAD_TOKEN", TOKEN)], &["report", &there.address]).exits_with(1);
    ran.stderr_has("redirects to").stderr_has(&other.address);
    assert!(other.requests().is_empty());
}

#[test]
fn a_redirect_within_the_agent_is_followed() {
    let agent = Agent::new(|request| match request.path.strip_prefix("/gate") {
        Some(rest) => {
            Reply::status("307 Temporary Redirect", "").header("Location", &request.target.replace(&request.path, rest))
        }
        None => answer(request),
    });
    Sandbox::new()
        .nomad(&[("NOMAD_TOKEN", TOKEN)], &["query", "snapshots", &format!("{}/gate", agent.address)])
        .exits_with(0);
    assert!(agent.asked("/v1/allocations").iter().all(|request| request.header("x-nomad-token") == TOKEN));
}

#[test]
fn a_proxy_is_used_for_other_hosts_only() {
    let (sandbox, proxy, agent) = (Sandbox::new(), Agent::new(answer), Agent::new(answer));
    let variables = [("HTTP_PROXY", proxy.address.as_str())];
    sandbox.nomad(&variables, &["query", "snapshots", &agent.address]).exits_with(0);
    assert!(proxy.requests().is_empty());
    sandbox.nomad(&variables, &["query", "snapshots", "http://nomad.invalid:4646"]).exits_with(0);
    assert!(proxy.requests().iter().all(|request| request.target.starts_with("http://nomad.invalid:4646/v1/")));
    sandbox
        .nomad(&[variables[0], ("NO_PROXY", "nomad.invalid")], &["report", "http://nomad.invalid:4646"])
        .exits_with(1);
}

#[test]
fn a_socks_proxy_resolves_names() {
    let (sandbox, agent) = (Sandbox::new(), Agent::new(answer));
    let socks = Socks::to(Some(agent.address.replace("http://", "")));
    let closed = Socks::to(None);
    let snapshots = ["query", "snapshots", "http://nomad.invalid:4646"];
    sandbox.nomad(&[("HTTP_PROXY", &socks.address)], &snapshots).exits_with(0);
    assert!(!agent.asked("/v1/allocations").is_empty());
    assert!(socks.asked().iter().all(|asked| asked == "nomad.invalid:4646"));
    sandbox
        .nomad(&[("HTTP_PROXY", &closed.address)], &snapshots)
        .exits_with(1)
        .stderr_has("the proxy for http://nomad.invalid:4646");
    assert!(!closed.asked().is_empty());
}

#[test]
fn tls_trusts_the_given_authorities_and_explains_failures() {
    let sandbox = Sandbox::new();
    let (agent, strict) = (Agent::over(&Over::Tls(false), answer), Agent::over(&Over::Tls(true), answer));
    let file = |name: &str| pem(name).to_string_lossy().into_owned();
    let (ca, client, key) = (file("ca.pem"), file("client.pem"), file("client.key.pem"));
    fs::create_dir(sandbox.path("authorities")).expect("a directory");
    fs::copy(&ca, sandbox.path("authorities/ca.pem")).expect("a file");
    let localhost = agent.address.replace("127.0.0.1", "localhost");
    let strict = strict.address.replace("127.0.0.1", "localhost");
    // The program may first try another address of localhost than the one on which the agent listens.
    sandbox.nomad(&[], &["report", &localhost]).exits_with(1).stderr_has("not known here").stderr_has("NOMAD_CACERT");
    sandbox.nomad(&[], &["query", "snapshots", &localhost, "--ca-cert", &ca]).exits_with(0);
    sandbox.nomad(&[("NOMAD_CACERT", &ca)], &["query", "snapshots", &localhost]).exits_with(0);
    sandbox.nomad(&[("NOMAD_CAPATH", "authorities")], &["query", "snapshots", &localhost]).exits_with(0);
    sandbox.nomad(&[("NOMAD_SKIP_VERIFY", "true")], &["query", "snapshots", &agent.address]).exits_with(0);
    sandbox.nomad(&[("NOMAD_SKIP_VERIFY", "no")], &["report", &agent.address]).exits_with(1);
    let ran = sandbox.nomad(&[], &["report", &agent.address, "--ca-cert", &ca]).exits_with(1);
    ran.stderr_has("the agent's certificate is not for the host name").stderr_has("--tls-server-name");
    let named = ["query", "snapshots", &agent.address, "--ca-cert", &ca, "--tls-server-name", "server.global.nomad"];
    sandbox.nomad(&[], &named).exits_with(0);
    let host = agent.requests().pop().expect("a request").header("host").to_owned();
    assert!(agent.address.ends_with(&host), "{host}");

    sandbox
        .nomad(&[("NOMAD_CACERT", &ca)], &["report", &strict])
        .exits_with(1)
        .stderr_has("client certificate")
        .stderr_has("--client-cert");
    let both = [("NOMAD_CACERT", ca.as_str()), ("NOMAD_CLIENT_CERT", &client), ("NOMAD_CLIENT_KEY", &key)];
    sandbox.nomad(&both, &["query", "snapshots", &strict]).exits_with(0);
    sandbox.nomad(&both[..2], &["report", &strict]).exits_with(1).stderr_has("--client-key");
    sandbox
        .nomad(&[("NOMAD_CACERT", "gone.pem")], &["report", &strict])
        .exits_with(1)
        .stderr_has("cannot read gone.pem");
    sandbox.nomad(&[("NOMAD_CACERT", &key)], &["report", &strict]).exits_with(1).stderr_has("client.key.pem");
    sandbox.nomad(&[], &["report", &agent.address.replace("https", "http")]).exits_with(1);
    let plain = Agent::new(answer).address.replace("http", "https");
    sandbox.nomad(&[], &["report", &plain]).exits_with(1).stderr_has("may not speak TLS");
}
