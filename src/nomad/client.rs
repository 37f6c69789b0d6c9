//! HTTP requests to an agent; bodies are streamed.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Identity, Response, StatusCode, Url, redirect};
use tokio::runtime::Runtime;

use super::secret::TokenKind;
use super::{Address, CONNECT, CancelToken, Fault, Secret, fault};
use crate::error::{Context, Error, Result, bail};

/// How long an idle connection is reused. Servers may close idle ones earlier.
const IDLE: Duration = Duration::from_secs(5);
/// How many times a request is tried in all, if its faults are transient.
const TRIES: u32 = 5;
/// Pause before the first retry; it doubles with each further retry.
const PAUSE: Duration = Duration::from_millis(250);
/// How many redirects are followed.
const REDIRECTS: usize = 5;
/// How many bytes of an error's body are read.
const ERROR_TEXT: u64 = 4096;

const TOKEN: HeaderName = HeaderName::from_static("x-nomad-token");

/// Address, credentials and TLS settings: from Nomad's environment, overridden by flags.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The agent.
    pub address: Address,
    /// An ACL token or a workload identity.
    pub token: Option<Secret>,
    /// User and password for a gateway with HTTP basic authentication.
    pub basic: Option<(String, Secret)>,
    /// The region to query; empty for the agent's own.
    pub region: String,
    /// Certificates.
    pub tls: Tls,
    /// How long the agent may be silent. The agent builds the whole answer before it sends the first byte.
    pub timeout: Duration,
}

/// TLS settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate authorities to trust instead of those of the system.
    pub ca_cert: Option<PathBuf>,
    /// Directory of such PEM files.
    pub ca_path: Option<PathBuf>,
    /// Client certificate, a PEM file.
    pub client_cert: Option<PathBuf>,
    /// Key of the client certificate, a PEM file.
    pub client_key: Option<PathBuf>,
    /// The host name in the agent's certificate, if it differs from the host name in the address.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub skip_verify: bool,
}

/// A client of one agent.
pub struct Client {
    address: Address,
    base: HeaderMap,
    basic: Option<(String, Secret)>,
    token: Option<Secret>,
    server_name: Option<String>,
    region: String,
    timeout: Duration,
    http: reqwest::Client,
    runtime: Arc<Runtime>,
    stop: CancelToken,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

/// An agent's answer.
pub struct Answer {
    /// X-Nomad-Index.
    pub index: Option<i64>,
    /// X-Nomad-NextToken; set if there is another page.
    pub next_token: Option<String>,
    /// The decompressed body, streamed.
    pub body: Box<dyn Read + Send>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({:?}, {:?})", self.index, self.next_token)
    }
}

/// Query parameters.
pub type Query<'q> = [(&'q str, &'q str)];

impl Client {
    /// Creates a client; sends nothing yet. Every wait ends soon after `stop` is set.
    ///
    /// # Errors
    /// When a certificate file cannot be read, or the settings contradict each other.
    pub fn new(connection: &Connection, stop: CancelToken) -> Result<Client> {
        let address = connection.address.clone();
        let server_name = connection.tls.server_name.clone().filter(|_| address.is_tls());
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("alloclog/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none()) // `get` follows redirects, so that credentials stay with their host
            .http1_only()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tls_built_in_root_certs(false);
        if address.is_tls() {
            builder = with_tls(builder, &connection.tls)?;
        }
        if let Some(path) = address.socket() {
            builder = builder.unix_socket(path);
        }
        if address.is_loopback() || server_name.is_some() {
            builder = builder.no_proxy();
        }
        let mut base = HeaderMap::new();
        if let Some(name) = &server_name {
            // Connect to the address but verify the certificate against this name, as Nomad's own client does.
            let url = address.url("");
            let host = url.host_str().unwrap_or_default().to_owned();
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            base.insert(
                HOST,
                HeaderValue::from_str(&format!("{host}{port}")).map_err(|error| Error::new(error.to_string()))?,
            );
            if name.parse::<std::net::IpAddr>().is_ok() {
                bail!("--tls-server-name must be a name, not an IP address");
            }
            builder = builder.dns_resolver(Arc::new(FixedHostResolver(host)));
        }
        if let Some(token) = &connection.token {
            let token = HeaderValue::from_str(token.reveal());
            let mut token =
                token.map_err(|_| Error::new("the token contains characters that are invalid in a token"))?;
            token.set_sensitive(true);
            base.insert(TOKEN, token);
        }
        Ok(Client {
            token: connection.token.clone(),
            base,
            basic: connection.basic.clone().or(address.basic().cloned()),
            server_name,
            region: connection.region.clone(),
            timeout: connection.timeout,
            http: builder
                .build()
                .map_err(|e| Error::new(format!("cannot create an HTTP client: {}", innermost(&e))))?,
            runtime: Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build()?),
            address,
            stop,
        })
    }

    /// The address of the agent.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The kind of token that it sends; `None` without a token.
    pub fn token_kind(&self) -> Option<TokenKind> {
        self.token.as_ref().map(Secret::kind)
    }

    /// The cancellation flag.
    pub fn stop(&self) -> &CancelToken {
        &self.stop
    }

    /// How long the agent may be silent.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request, and retries transient faults. Calls `on_fault` with each fault before a retry.
    ///
    /// # Errors
    /// The last fault.
    pub fn ask(&self, path: &str, query: &Query<'_>, on_fault: &mut dyn FnMut(&Fault)) -> Result<Answer, Fault> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.ask_once(path, query, self.timeout) {
                Err(fault) if fault.is_passing() => {
                    on_fault(&fault);
                    self.stop.sleep(pause);
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.ask_once(path, query, self.timeout)
    }

    /// Sends a request once. Waits for the answer no longer than `timeout`.
    ///
    /// # Errors
    /// When there is no answer with status 200.
    pub fn ask_once(&self, path: &str, query: &Query<'_>, timeout: Duration) -> Result<Answer, Fault> {
        // Accept only gzip, because Nomad's deflate is incompatible with other implementations.
        self.get(path, query, HeaderValue::from_static("gzip"), timeout)
    }

    /// Sends a request for an endless body. Waits for its first byte no longer than `timeout`.
    ///
    /// # Errors
    /// When there is no answer with status 200.
    pub fn ask_for_stream(&self, path: &str, query: &Query<'_>, timeout: Duration) -> Result<Answer, Fault> {
        // Request no compression, because Nomad's compressor holds back the start of the body until its buffer is full.
        self.get(path, query, HeaderValue::from_static("identity"), timeout)
    }

    fn get(&self, path: &str, query: &Query<'_>, coding: HeaderValue, timeout: Duration) -> Result<Answer, Fault> {
        let mut url = self.address.url(path);
        if let Some(name) = &self.server_name {
            // Fails only for an invalid host name, which no certificate can have.
            url.set_host(Some(name)).map_err(|e| Fault::Tls(format!("--tls-server-name: {e}")))?;
        }
        url.query_pairs_mut().extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        if !self.region.is_empty() {
            url.query_pairs_mut().append_pair("region", &self.region);
        }
        for _ in 0..=REDIRECTS {
            let response = self.send(url.clone(), coding.clone(), timeout)?;
            if !response.status().is_redirection() {
                return self.answer(response, query, timeout);
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to
                .and_then(|to| url.join(to).ok())
                .ok_or_else(|| Fault::NotNomad("it redirects without a valid location".into()))?;
            if !is_same_place(&url, &to) {
                return Err(Fault::Redirected(to.origin().ascii_serialization()));
            }
            if to.path().ends_with("/ui/") {
                // Nomad 0.7 to 0.10 redirects unknown paths to the UI.
                return Err(Fault::status(StatusCode::NOT_FOUND, "", self.token.is_some(), None));
            }
            url = to;
        }
        Err(Fault::NotNomad("too many redirects".into()))
    }

    fn send(&self, url: Url, coding: HeaderValue, timeout: Duration) -> Result<Response, Fault> {
        let mut request = self.http.get(url).headers(self.base.clone()).header(ACCEPT_ENCODING, coding);
        if let Some((user, password)) = &self.basic {
            request = request.basic_auth(user, Some(password.reveal()));
        }
        let sent = wait(&self.runtime, &self.stop, timeout, request.send());
        sent?.map_err(|e| Fault::from_request_error(&e, &self.address))
    }

    fn answer(&self, response: Response, query: &Query<'_>, timeout: Duration) -> Result<Answer, Fault> {
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let index = header("x-nomad-index").and_then(|index| index.parse().ok());
        let next_token = header("x-nomad-nexttoken").filter(|token| !token.is_empty());
        let is_gzip = header(CONTENT_ENCODING.as_str()).is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let raw = Body {
            response,
            chunk: Vec::new(),
            at: 0,
            timeout,
            later_timeout: self.timeout,
            runtime: Arc::clone(&self.runtime),
            stop: self.stop.clone(),
        };
        let body: Box<dyn Read + Send> = if is_gzip { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        if status.as_u16() == 200 {
            return Ok(Answer { index, next_token, body });
        }
        let mut text = Vec::new();
        // If the body breaks, a part of the text is enough for the message.
        let _ = body.take(ERROR_TEXT).read_to_end(&mut text);
        let namespace = query.iter().find(|(name, _)| *name == "namespace").map(|(_, value)| (*value).to_owned());
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if let Some(token) = self.token.as_ref().map(Secret::reveal).filter(|token| !token.is_empty()) {
            // Nomad does not repeat the token, but a gateway may.
            text = text.replace(token, "***");
        }
        Err(Fault::status(status, &text, self.token.is_some(), namespace))
    }
}

/// A body that is streamed.
struct Body {
    response: Response,
    chunk: Vec<u8>,
    at: usize,
    /// How long the next chunk may take.
    timeout: Duration,
    /// How long later chunks may take.
    later_timeout: Duration,
    runtime: Arc<Runtime>,
    stop: CancelToken,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let chunk = wait(&self.runtime, &self.stop, self.timeout, self.response.chunk());
            let chunk = chunk.map_err(io::Error::other)?;
            self.timeout = self.later_timeout;
            match chunk {
                Ok(Some(chunk)) => (self.chunk, self.at) = (chunk.into(), 0),
                Ok(None) => return Ok(0),
                Err(e) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, fault::break_cause(&e))),
            }
        }
        let n = buffer.len().min(self.chunk.len() - self.at);
        buffer[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Waits for a future, up to a timeout and until cancelled.
fn wait<T>(
    runtime: &Runtime,
    stop: &CancelToken,
    timeout: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    let done = runtime.block_on(async { tokio::time::timeout(timeout, stop.unless_set(work)).await });
    done.map_err(|_| Fault::Timeout(timeout))?.ok_or(Fault::Stopped)
}

/// Resolves every name to one host (for `--tls-server-name`).
struct FixedHostResolver(String);

impl reqwest::dns::Resolve for FixedHostResolver {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let host = self.0.trim_start_matches('[').trim_end_matches(']').to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

fn with_tls(mut builder: reqwest::ClientBuilder, tls: &Tls) -> Result<reqwest::ClientBuilder> {
    builder = builder.danger_accept_invalid_certs(tls.skip_verify);
    let mut files: Vec<PathBuf> = tls.ca_cert.iter().cloned().collect();
    if let Some(directory) = &tls.ca_path {
        let cannot = || format!("cannot read the certificates in {}", directory.display());
        let mut found = fs::read_dir(directory)
            .with_context(cannot)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
            .with_context(cannot)?;
        found.retain(|path| path.is_file());
        found.sort();
        files.extend(found);
    }
    if tls.ca_cert.is_none() && tls.ca_path.is_none() {
        builder = builder.tls_built_in_root_certs(true);
    }
    for file in &files {
        let certificates = Certificate::from_pem_bundle(&pem(file)?).map_err(|e| not_pem(file, &e))?;
        // A directory may contain other files, but a named file must contain certificates.
        if certificates.is_empty() && tls.ca_cert.as_ref() == Some(file) {
            bail!("{} holds no certificate", file.display());
        }
        builder =
            certificates.into_iter().fold(builder, |builder, certificate| builder.add_root_certificate(certificate));
    }
    match (&tls.client_cert, &tls.client_key) {
        (None, None) => Ok(builder),
        (Some(certificate), Some(key)) => {
            let mut both = pem(certificate)?;
            both.push(b'\n');
            both.extend(pem(key)?);
            Ok(builder.identity(Identity::from_pem(&both).map_err(|e| not_pem(certificate, &e))?))
        }
        (Some(_), None) => bail!("a client certificate needs its key: --client-key or NOMAD_CLIENT_KEY"),
        (None, Some(_)) => bail!("a client key needs its certificate: --client-cert or NOMAD_CLIENT_CERT"),
    }
}

fn pem(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn not_pem(file: &Path, error: &reqwest::Error) -> Error {
    Error::new(format!("{} is not PEM of the right kind: {}", file.display(), innermost(error)))
}

/// The message of the innermost cause; the outer ones only say that something failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Returns true if credentials may follow a redirect: same host, and not from TLS to plain HTTP.
fn is_same_place(from: &Url, to: &Url) -> bool {
    let same_host = from.host_str() == to.host_str();
    same_host && (from.origin() == to.origin() || (from.scheme() == "http" && to.scheme() == "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_with_their_host() {
        let url = |text: &str| Url::parse(text).unwrap();
        let here = url("http://a:4646/v1/allocations");
        for (to, may) in [
            ("http://a:4646/ui", true),
            ("https://a/v1/allocations", true),
            ("http://b:4646/v1/allocations", false),
            ("http://a:1/v1/allocations", false),
        ] {
            assert_eq!(is_same_place(&here, &url(to)), may, "{to}");
        }
        assert!(!is_same_place(&url("https://a/"), &url("http://a/")));
    }
}
