//! How a live cluster is reached and queried: flags, with Nomad's environment variables as defaults.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::console::{Console, Verbosity};
use super::signals;
use crate::error::Usage;
use crate::nomad::client::Tls;
use crate::nomad::{Address, Ask, CancelToken, Client, Connection, Secret, address};
use crate::source::{Cluster, DocumentSource, Input, Location};
use crate::time;

/// Connection settings: flags first, then Nomad's environment. The token comes only from NOMAD_TOKEN or a file, because
/// every user of the machine can read a command line.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Live cluster")]
pub struct Args {
    /// Agent to query [NOMAD_ADDR, NOMAD_UNIX_ADDR]
    ///
    /// An http://, https:// or unix:/// address; by default http://127.0.0.1:4646.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// Read the ACL token or workload identity from FILE [NOMAD_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust only the authorities in this PEM file [NOMAD_CACERT]
    ///
    /// Replaces the system's certificate authorities.
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Trust only the authorities in the PEM files of DIR [NOMAD_CAPATH]
    #[arg(long, value_name = "DIR")]
    ca_path: Option<PathBuf>,
    /// Client certificate, PEM [NOMAD_CLIENT_CERT]
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM [NOMAD_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Expect this name in the certificate [NOMAD_TLS_SERVER_NAME]
    ///
    /// For example server.global.nomad. With this flag, requests use no proxy.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Do not verify the agent's certificate [NOMAD_SKIP_VERIFY]
    #[arg(long)]
    tls_skip_verify: bool,
    /// Accept answers from any server, even a stale or leaderless one
    #[arg(long)]
    stale: bool,
    /// List only allocations that match this Nomad filter expression
    ///
    /// Nomad 1.3 and later; for example 'ClientStatus == "failed"'.
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    filter: String,
    /// Allocations per page of a listing; 0 for one page
    #[arg(long, value_name = "N", default_value_t = 5000)]
    per_page: u32,
    /// Fail a request after this long without data from the agent
    ///
    /// Nomad builds a whole answer before it sends the first byte. In an event stream, it sends a heartbeat every 30s.
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "60s")]
    timeout: Duration,
}

impl Args {
    /// Returns true if `--filter` restricts the listing.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_empty()
    }

    /// The first of `--address`, `--token-file`, `--stale` and `--filter` that is given. Without a live cluster, it has
    /// no effect.
    pub fn unused_live_flag(&self) -> Option<&'static str> {
        let given = [
            ("--address", self.address.is_some()),
            ("--token-file", self.token_file.is_some()),
            ("--stale", self.stale),
            ("--filter", self.is_filtered()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// The agent to use when no SOURCE names one.
    ///
    /// # Errors
    /// When the text of the flag or variable is not an address.
    pub fn default_address(&self) -> anyhow::Result<Address> {
        let flag = self.address.clone().map(|text| ("--address", text));
        let named = flag
            .or_else(|| Some(("NOMAD_ADDR", variable("NOMAD_ADDR")?)))
            .or_else(|| Some(("NOMAD_UNIX_ADDR", variable("NOMAD_UNIX_ADDR")?)))
            .unwrap_or(("", address::DEFAULT_ADDRESS.to_owned()));
        let (from, text) = named;
        Ok(Address::parse(&text).map_err(|problem| Usage(format!("{from}: {problem}")))?)
    }

    /// The cluster at an address; sends nothing yet. With `graceful`, requests stop early when the program is
    /// interrupted.
    ///
    /// # Errors
    /// When a file cannot be read, or the settings contradict each other.
    pub fn cluster(&self, address: Address, region: &str, ask: Ask, graceful: bool) -> anyhow::Result<Cluster> {
        let stop = CancelToken::default();
        if graceful {
            signals::stop_gracefully(stop.clone());
        }
        let connection = Connection {
            address,
            token: self.token()?,
            basic: basic(),
            region: region.to_owned(),
            tls: self.tls(),
            timeout: self.timeout,
        };
        Ok(Cluster { client: Client::new(&connection, stop)?, ask, watching: None })
    }

    /// What to list. `namespace` and `prefix` come from the flags. Without `namespace`, the namespace in
    /// NOMAD_NAMESPACE is listed or, if that is not set, all namespaces.
    pub fn ask(&self, namespace: Option<&str>, prefix: &str) -> Ask {
        Ask {
            namespace: namespace
                .map(str::to_owned)
                .or_else(|| variable("NOMAD_NAMESPACE"))
                .unwrap_or_else(|| "*".into()),
            stale: self.stale,
            prefix: prefix.to_owned(),
            filter: self.filter.clone(),
            per_page: self.per_page,
        }
    }

    fn token(&self) -> anyhow::Result<Option<Secret>> {
        let Some(file) = &self.token_file else { return Ok(variable("NOMAD_TOKEN").map(Secret::new)) };
        let text = fs::read_to_string(file).with_context(|| format!("cannot read --token-file {}", file.display()))?;
        let text = text.trim();
        if text.is_empty() {
            bail!("--token-file {} holds no token", file.display());
        }
        Ok(Some(Secret::new(text)))
    }

    fn tls(&self) -> Tls {
        let file = |flag: &Option<PathBuf>, name| flag.clone().or_else(|| variable(name).map(PathBuf::from));
        let skips = variable("NOMAD_SKIP_VERIFY").is_some_and(|text| is_true(&text));
        Tls {
            ca_cert: file(&self.ca_cert, "NOMAD_CACERT"),
            ca_path: file(&self.ca_path, "NOMAD_CAPATH"),
            client_cert: file(&self.client_cert, "NOMAD_CLIENT_CERT"),
            client_key: file(&self.client_key, "NOMAD_CLIENT_KEY"),
            server_name: self.tls_server_name.clone().or_else(|| variable("NOMAD_TLS_SERVER_NAME")),
            skip_verify: self.tls_skip_verify || skips,
        }
    }
}

/// Parses an ID prefix into the form of Nomad's index: hexadecimal digits without hyphens.
///
/// # Errors
/// When no ID can start with the text.
pub fn prefix(text: &str) -> Result<String, String> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    let is_one = digits.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(digits).ok_or_else(|| "no ID starts with this: an ID has hexadecimal digits and hyphens".into())
}

/// Parses a duration such as 30s or 10m.
///
/// # Errors
/// When the text is not a positive duration.
pub fn span(text: &str) -> Result<Duration, String> {
    time::span(text)
        .map(|ns| Duration::from_nanos(ns.unsigned_abs()))
        .ok_or_else(|| "is not a duration such as 30s or 10m".into())
}

/// An environment variable; `None` if unset or empty.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// NOMAD_HTTP_AUTH: a user, or a user and a password separated by the first colon.
fn basic() -> Option<(String, Secret)> {
    let text = variable("NOMAD_HTTP_AUTH")?;
    let (user, password) = text.split_once(':').unwrap_or((&text, ""));
    Some((user.to_owned(), Secret::new(password)))
}

/// Returns true for the texts that Go's ParseBool reads as true; Nomad ignores any other text.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&text)
}

/// Wraps a cluster as a source.
pub fn source(cluster: Cluster) -> DocumentSource {
    DocumentSource::Cluster(Arc::new(cluster))
}

/// Prints which clusters are queried, and for which namespace.
pub fn announce(inputs: &[Input], console: &Console) {
    for input in inputs {
        if let Location::Cluster(cluster) = &input.location {
            let line = format!("asking {}, namespace {}", input.name, cluster.ask.namespace);
            console.print_at(Verbosity::Normal, &line);
        }
    }
}
