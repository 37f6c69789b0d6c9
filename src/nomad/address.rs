//! The address of an agent.

use std::fmt;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::Secret;
use crate::error::Usage;

/// The default address of the `nomad` command.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:4646";

/// The schemes of an address.
const SCHEMES: [&str; 3] = ["http://", "https://", "unix://"];

/// The address of an agent. A password in it is stored separately, so that printing the address does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    socket: Option<PathBuf>,
    basic: Option<(String, Secret)>,
}

impl Address {
    /// Returns true if a text starts with the scheme of an address.
    pub fn has_scheme(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme)))
    }

    /// Parses an address: `http://…`, `https://…`, or `unix://` and the path of a socket.
    ///
    /// # Errors
    /// When the text is not an address. The message does not repeat the text, which may contain a password.
    pub fn parse(text: &str) -> Result<Address, Usage> {
        if !Address::has_scheme(text) {
            return Err("an address begins with http://, https:// or unix://".into());
        }
        let unix = SCHEMES[2].len();
        if text[..unix].eq_ignore_ascii_case(SCHEMES[2]) {
            let path = Path::new(&text[unix..]);
            if !path.is_absolute() {
                return Err("unix:// takes the absolute path of a socket".into());
            }
            // Only used as the Host header.
            let url = Url::parse("http://localhost").map_err(|e| e.to_string())?;
            return Ok(Address { url, socket: Some(path.to_owned()), basic: None });
        }
        let mut url = Url::parse(text).map_err(|e| format!("invalid address: {e}"))?;
        if url.query().is_some() || url.fragment().is_some() || url.path().split('/').any(|part| part == "v1") {
            return Err("give the address of the agent only, without /v1/… and a query".into());
        }
        let basic = (!url.username().is_empty() || url.password().is_some()).then(|| {
            (percent_decoded(url.username()), Secret::new(percent_decoded(url.password().unwrap_or_default())))
        });
        // These calls fail only for a URL without a host, and an http URL always has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Address { url, socket: None, basic })
    }

    /// The URL of an API path at this address.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// The path of the socket, if it is a unix:// address.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// User and password from the address.
    pub(super) fn basic(&self) -> Option<&(String, Secret)> {
        self.basic.as_ref()
    }

    /// Returns true if it uses TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns true if it is on this machine, where no proxy is used.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        self.socket.is_some()
            || host == "localhost"
            || literal.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix://{}", path.display()),
            None => f.write_str(self.url.as_str().trim_end_matches('/')),
        }
    }
}

/// Decodes percent-encoding.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = Address::parse("https://ann:p%40ss@nomad.example:4646/").unwrap();
        assert_eq!(address.to_string(), "https://nomad.example:4646");
        assert_eq!(address.basic(), Some(&("ann".to_owned(), Secret::new("p@ss"))));
        let address = Address::parse("https://%+a:%4@nomad.example").unwrap();
        assert_eq!(address.basic(), Some(&("%+a".to_owned(), Secret::new("%4"))));
        assert!(!format!("{address:?}").contains("ss@") && !format!("{address:?}").contains("p@ss"));
        let problem = Address::parse("http://ann:hunter2@host:port").unwrap_err();
        assert!(!problem.0.contains("hunter2"), "{problem}");
    }

    #[test]
    fn paths_follow_the_prefix_of_a_gateway() {
        let url = |text: &str| Address::parse(text).unwrap().url("/v1/nodes").to_string();
        assert_eq!(url("http://[::1]:4646"), "http://[::1]:4646/v1/nodes");
        assert_eq!(url("http://host/nomad/"), "http://host/nomad/v1/nodes");
        assert_eq!(url("unix:///secrets/api.sock"), "http://localhost/v1/nodes");
    }

    #[test]
    fn invalid_agent_addresses_are_refused() {
        for text in ["nomad.example:4646", "http://", "unix://api.sock", "http://h/v1/allocations", "http://h?token=x"]
        {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(!Address::has_scheme("dumps/http:/x") && Address::has_scheme("HTTP://x"));
    }

    #[test]
    fn loopback_has_no_proxy() {
        for (text, is) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("unix:///a", true),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_loopback(), is, "{text}");
        }
    }
}
