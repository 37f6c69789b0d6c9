//! How a live cluster is reached and what it is asked for: flags, and Nomad's own environment beneath them.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::console::{Console, Loudness};
use super::interrupt;
use crate::error::Usage;
use crate::nomad::client::Tls;
use crate::nomad::{Address, Ask, Client, Connection, Secret, Stop, address};
use crate::source::{Cluster, Input, Place, Source};
use crate::time;

/// What Nomad's environment says, and these flags over it. A token is taken from NOMAD_TOKEN or a file only: what stands
/// on a command line is seen by all.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Live cluster")]
pub struct Args {
    /// The agent to ask: http://…, https://… or unix:///… [NOMAD_ADDR, NOMAD_UNIX_ADDR; http://127.0.0.1:4646]
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// A file that holds the ACL token or workload identity [NOMAD_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust the authorities in this PEM file instead of the system's [NOMAD_CACERT]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Trust the authorities in the PEM files of this directory [NOMAD_CAPATH]
    #[arg(long, value_name = "DIR")]
    ca_path: Option<PathBuf>,
    /// Our certificate, PEM [NOMAD_CLIENT_CERT]
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The key of our certificate, PEM [NOMAD_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// The name that the agent's certificate is for, such as server.global.nomad; no proxy is used then
    /// [NOMAD_TLS_SERVER_NAME]
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Believe any certificate [NOMAD_SKIP_VERIFY]
    #[arg(long)]
    tls_skip_verify: bool,
    /// Let any server answer, also one that is behind or sees no leader
    #[arg(long)]
    stale: bool,
    /// Only allocations for which this holds, in Nomad's filter language (Nomad 1.3 and later), such as
    /// 'ClientStatus == "failed"'
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    filter: String,
    /// How many allocations Nomad sends at a time; 0 for all at once
    #[arg(long, value_name = "N", default_value_t = 5000)]
    per_page: u32,
    /// How long the agent may be silent. It makes the whole of an answer before it sends its first byte, and gives an
    /// event stream a heartbeat every 30s
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "60s")]
    timeout: Duration,
}

impl Args {
    /// Whether only a part of the allocations is asked for in Nomad's filter language.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_empty()
    }

    /// The flag that was given and means nothing without a live cluster.
    pub fn idle_flag(&self) -> Option<&'static str> {
        let given = [
            ("--address", self.address.is_some()),
            ("--token-file", self.token_file.is_some()),
            ("--stale", self.stale),
            ("--filter", self.is_filtered()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// The agent that is meant where no SOURCE names one.
    ///
    /// # Errors
    /// When what names it is no address.
    pub fn usual_address(&self) -> anyhow::Result<Address> {
        let flag = self.address.clone().map(|text| ("--address", text));
        let named = flag
            .or_else(|| Some(("NOMAD_ADDR", variable("NOMAD_ADDR")?)))
            .or_else(|| Some(("NOMAD_UNIX_ADDR", variable("NOMAD_UNIX_ADDR")?)))
            .unwrap_or(("", address::USUAL.to_owned()));
        let (from, text) = named;
        Ok(Address::parse(&text).map_err(|problem| Usage(format!("{from}: {problem}")))?)
    }

    /// The cluster at an address; nothing is sent yet. Ends early when the program is told to stop, if `gently`.
    ///
    /// # Errors
    /// When a file cannot be read, or the settings do not fit together.
    pub fn cluster(&self, address: Address, region: &str, ask: Ask, gently: bool) -> anyhow::Result<Cluster> {
        let stop = Stop::default();
        if gently {
            interrupt::stop_gently(stop.clone());
        }
        let connection = Connection {
            address,
            token: self.token()?,
            basic: basic(),
            region: region.to_owned(),
            tls: self.tls(),
            patience: self.timeout,
        };
        Ok(Cluster { client: Client::new(&connection, stop)?, ask, watching: None })
    }

    /// What to ask for. `namespace` and `prefix` are what the flags say; without the first, NOMAD_NAMESPACE or all.
    ///
    /// # Errors
    /// When the prefix is that of no ID.
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
        let text =
            fs::read_to_string(file).with_context(|| format!("--token-file {} cannot be read", file.display()))?;
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

/// An ID's beginning as Nomad's index knows it: hexadecimal digits without hyphens.
///
/// # Errors
/// When no ID begins so.
pub fn prefix(text: &str) -> Result<String, String> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    let is_one = digits.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(digits).ok_or_else(|| "no ID begins so: it takes hexadecimal digits and hyphens".into())
}

/// A span of time such as 30s or 10m.
///
/// # Errors
/// When it is none, or not a positive one.
pub fn span(text: &str) -> Result<Duration, String> {
    time::span(text)
        .map(|ns| Duration::from_nanos(ns.unsigned_abs()))
        .ok_or_else(|| "is no span of time, such as 30s or 10m".into())
}

/// A variable of the environment that says something.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// NOMAD_HTTP_AUTH: a user, or a user and a password behind the first colon.
fn basic() -> Option<(String, Secret)> {
    let text = variable("NOMAD_HTTP_AUTH")?;
    let (user, password) = text.split_once(':').unwrap_or((&text, ""));
    Some((user.to_owned(), Secret::new(password)))
}

/// What Go's ParseBool takes for true; Nomad ignores what it does not understand.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&text)
}

/// Puts a cluster where sources are.
pub fn source(cluster: Cluster) -> Source {
    Source::Cluster(Arc::new(cluster))
}

/// Says which clusters are asked, and for what.
pub fn announce(inputs: &[Input], console: &Console) {
    for input in inputs {
        if let Place::Cluster(cluster) = &input.place {
            let line = format!("asking {}, namespace {}", input.name, cluster.ask.namespace);
            console.say_if(Loudness::Usual, &line);
        }
    }
}
