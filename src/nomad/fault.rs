//! Faults of requests to an agent, by kind, each with the next step for the user.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use rustls::{AlertDescription, CertificateError};

use super::Address;

/// A request without a usable answer. No message contains a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing listens at the address.
    #[error("connection refused: no Nomad agent listens at {0}; NOMAD_ADDR or --address names another")]
    Refused(String),
    /// The socket does not exist.
    #[error("there is no socket at {0}; a task has one as $NOMAD_SECRETS_DIR/api.sock, since Nomad 1.5")]
    NoSocket(String),
    /// Access to the socket is denied.
    #[error("{0} may not be opened by this user")]
    SocketDenied(String),
    /// The host name cannot be resolved.
    #[error("the host of {0} is not known to DNS")]
    UnknownHost(String),
    /// A proxy refused the connection.
    #[error("the proxy for {0} refuses: see HTTP_PROXY, HTTPS_PROXY and NO_PROXY")]
    Proxy(String),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// A timeout.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// An answer with another status than 200.
    #[error("{}", refusal(*.status, .text, *.has_token, .namespace))]
    Status {
        /// The HTTP status.
        status: u16,
        /// Its body, at most a few lines.
        text: String,
        /// True if a token was sent.
        has_token: bool,
        /// The requested namespace.
        namespace: Option<String>,
    },
    /// The requested namespace does not exist, or is hidden from the token.
    #[error("there is no namespace \"{wanted}\"; {}", choice(.known))]
    NoNamespace {
        /// The requested namespace.
        wanted: String,
        /// The namespaces that the token may see, sorted.
        known: Vec<String>,
    },
    /// The token itself was refused.
    #[error("{0}; NOMAD_TOKEN or --token-file gives another")]
    Token(String),
    /// The servers do not support filters and list everything.
    #[error("the servers ignore --filter, which Nomad knows since 1.3; --job, --namespace and --prefix work with all")]
    NoFilter,
    /// The servers list nothing for `*`. This does not prove that there are no allocations: the token may see no
    /// namespace, or Nomad may be older than 0.12 and read `*` as a name.
    #[error(
        "nothing is listed for all namespaces; perhaps the token can read none: its policy needs namespace \"*\" \
         {{ capabilities = [\"read-job\"] }}, or --namespace must name one that the token can read"
    )]
    NothingListed,
    /// The agent has no event streams.
    #[error("the agent has no event stream, which Nomad has since 1.0")]
    NoStream,
    /// The agent has no endpoint for stored logs.
    #[error(
        "the agent has no /v1/agent/monitor/export, which Nomad has since 1.10.4; copy the logs from the clients' disks"
    )]
    NoLogs,
    /// A denial because the policy lacks a rule that is not about namespaces.
    #[error("forbidden ({text}): {} may not {what}; its policy needs {rule}", token_text(*.has_token))]
    Denied {
        /// The answer's body.
        text: String,
        /// True if a token was sent.
        has_token: bool,
        /// What is denied.
        what: &'static str,
        /// The missing rule.
        rule: &'static str,
    },
    /// The event stream sends no heartbeat; Nomad denies a stream this way since 1.11.2.
    #[error(
        "the event stream sends not even a heartbeat: the token's policy needs namespace \"{0}\" {{ capabilities = \
         [\"read-job\"] }}, and proxies in between must not buffer"
    )]
    NoHeartbeat(String),
    /// The event stream ended, with this message or none.
    #[error("the event stream ended{0}")]
    Ended(String),
    /// A redirect to another host.
    #[error("redirects to {0}, and credentials are not sent to another host: if that is the agent, give its address")]
    Redirected(String),
    /// The answer is not from Nomad.
    #[error("the answer is not Nomad's: {0}")]
    NotNomad(String),
    /// The request was cancelled.
    #[error("stopped")]
    Stopped,
}

impl Fault {
    /// Returns true if a retry may help soon: leader election, broken connection, too many connections.
    pub fn is_passing(&self) -> bool {
        match self {
            Fault::Broken(_) | Fault::Ended(_) => true,
            Fault::Status { text, .. } if token_problem(text).is_some() => false,
            Fault::Status { status: 429 | 502..=504, .. } => true,
            Fault::Status { status: 500, text, .. } => is_without_leader(text) || text.contains("rpc error"),
            _ => false,
        }
    }

    /// Returns true if a retry may help later: the agent may be starting, or the network down.
    pub fn may_pass(&self) -> bool {
        if matches!(self, Fault::Status { text, .. } if token_problem(text).is_some()) {
            return false;
        }
        self.is_passing()
            || matches!(
                self,
                Fault::Timeout(_) | Fault::Refused(_) | Fault::NoSocket(_) | Fault::UnknownHost(_) | Fault::Proxy(_)
            )
            || matches!(self, Fault::Status { status: 500.., .. })
    }

    /// Returns true if it is an answer with this status.
    pub fn is_status(&self, wanted: u16) -> bool {
        matches!(self, Fault::Status { status, .. } if *status == wanted)
    }

    /// The fault of an error while reading a body.
    pub(super) fn from_body_error(error: io::Error) -> Fault {
        error.downcast().unwrap_or_else(|error| Fault::Broken(error.to_string()))
    }

    /// The fault of a failed request.
    pub(super) fn from_request_error(error: &reqwest::Error, address: &Address) -> Fault {
        let address_text = address.to_string();
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                if let Some(tls) = tls_error(io) {
                    return Fault::Tls(tls_cause(tls, &address_text));
                }
                match (io.kind(), address.socket()) {
                    (io::ErrorKind::NotFound, Some(_)) => return Fault::NoSocket(address_text),
                    (io::ErrorKind::PermissionDenied, Some(_)) => return Fault::SocketDenied(address_text),
                    (io::ErrorKind::ConnectionRefused, _) => return Fault::Refused(address_text),
                    _ => {}
                }
            }
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Fault::Tls(tls_cause(tls, &address_text));
            }
            let text = error.to_string();
            if text == "dns error" {
                return Fault::UnknownHost(address_text);
            }
            if text.contains("handshake eof") {
                return Fault::Tls(format!(
                    "{address_text} ends the handshake: it may not speak TLS; its address then begins with http://"
                ));
            }
            if ["tunnel", "proxy", "SOCKS"].iter().any(|word| text.contains(word)) {
                return Fault::Proxy(address_text);
            }
            cause = error.source();
        }
        if error.is_timeout() {
            return Fault::Timeout(super::CONNECT);
        }
        Fault::Broken(break_cause(error))
    }

    /// The fault of an answer's status.
    pub(super) fn status(status: StatusCode, text: &str, has_token: bool, namespace: Option<String>) -> Fault {
        let text = text.trim().chars().take(300).collect();
        Fault::Status { status: status.as_u16(), text, has_token, namespace }
    }
}

/// The problem of the token, if Nomad's message names one.
pub(super) fn token_problem(text: &str) -> Option<&'static str> {
    match () {
        () if text.contains("ACL token not found") => Some("this cluster does not know the token"),
        () if text.contains("ACL token expired") => Some("the token has expired"),
        () => None,
    }
}

/// Describes how a connection broke. Known kinds get a message of alloclog, because a library's message may quote its
/// documentation.
pub(super) fn break_cause(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::UnexpectedEof) => return "the other side closed it".into(),
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe) => {
                return "the other side reset it".into();
            }
            _ => {}
        }
        // Skip reqwest's own message, which only repeats the URL.
        if !error.is::<reqwest::Error>() {
            text = error.to_string();
        }
        cause = error.source();
    }
    let text = text.split(": http").next().unwrap_or_default();
    if text.is_empty() { "unknown cause".into() } else { text.to_owned() }
}

/// Lists the namespaces to choose from.
fn choice(known: &[String]) -> String {
    const NAMED: usize = 20;
    let more = known.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the known ones are {}{more}", known[..known.len().min(NAMED)].join(", "))
}

fn is_without_leader(text: &str) -> bool {
    text.contains("No cluster leader") || text.contains("Not ready to serve consistent reads")
}

/// Names the token of a request, as the subject of `may not`.
fn token_text(has_token: bool) -> &'static str {
    if has_token { "the token" } else { "no token was sent (NOMAD_TOKEN, --token-file), and anonymous" }
}

/// Explains a refusal by Nomad, with the next step. Nomad's error bodies are plain text.
fn refusal(status: u16, text: &str, has_token: bool, namespace: &Option<String>) -> String {
    let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
    let namespace = namespace.as_deref().unwrap_or("*");
    let token = token_text(has_token);
    match status {
        400 if text.contains("HTTP request to an HTTPS server") => {
            "the agent speaks TLS: its address begins with https://".to_owned()
        }
        400 => format!("Nomad does not understand the request{said}"),
        401 => format!(
            "unauthorized{said}: {}",
            match has_token {
                true => "the token is not accepted",
                false => "a token is needed: NOMAD_TOKEN or --token-file; in a task, identity { env = true } sets it",
            }
        ),
        _ if token_problem(text).is_some() => {
            format!("forbidden{said}: {}", token_problem(text).unwrap_or_default())
        }
        // Before 1.11.2 a denied event stream has status 500.
        403 | 500 if status == 403 || text.contains("Permission denied") => format!(
            "forbidden{said}: {token} may not read there; its policy needs namespace \"{namespace}\" {{ capabilities = [\"read-job\"] }}"
        ),
        404 if text.starts_with("alloc") => text.to_owned(),
        404 => format!("not found{said}: that is not a Nomad agent, or it is too old"),
        429 => {
            format!("too many connections from here{said}: the agent's limits.http_max_conns_per_client allows no more")
        }
        500 if is_without_leader(text) => {
            format!("{text}: the servers are electing a leader; --stale accepts an answer from any server")
        }
        500 if text.contains("No path to region") => {
            format!("{text}: --region or NOMAD_REGION names a region that the cluster does not know")
        }
        500 if text.contains("authenticating") => format!("{text}: the token is not accepted"),
        _ => format!("status {status}{said}"),
    }
}

/// The TLS error inside nested I/O errors, whose `source` skips the inner error.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner.downcast_ref()?))
}

/// Explains a failed handshake, with the next step.
fn tls_cause(error: &rustls::Error, address_text: &str) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the agent's certificate is signed by an authority that is not known here: --ca-cert or NOMAD_CACERT names its file".into()
        }
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!("the agent's certificate is not for the host name of {address_text}: --tls-server-name gives its name, such as server.global.nomad")
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the agent's certificate has expired".into()
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the agent's certificate is not valid yet: is the clock right?".into()
        }
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "the agent asks for a client certificate: --client-cert and --client-key name its files".into()
        }
        AlertReceived(alert @ (AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown)) => format!("the agent refuses our client certificate: {alert:?}"),
        InvalidMessage(_) => format!("the server at {address_text} does not speak TLS: its address may begin with http://"),
        other => other.to_string(),
    }
}
