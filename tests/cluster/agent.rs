//! A stand-in for a Nomad agent. It answers requests as a test defines, over TCP, TLS or a Unix socket, and can break
//! connections.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The target of the request line.
    pub target: String,
    /// The target without the query.
    pub path: String,
    /// The decoded query.
    pub query: BTreeMap<String, String>,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// A parameter; empty if missing.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A function that writes an endless body.
type Play = dyn Fn(&mut dyn Write) -> io::Result<Ending> + Send + Sync;

/// How the agent ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The connection is closed normally.
    Closed,
    /// TCP is reset.
    Reset,
}

/// The answer to a request.
#[derive(Clone)]
pub struct Reply {
    status: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// After how many bytes of the body the connection breaks; `None` for never.
    cut: Option<usize>,
    /// The pause before each piece of the body.
    pause: Duration,
    /// How long the connection stalls at the cut.
    stall: Duration,
    /// Whether TCP is reset at the cut.
    resets: bool,
    /// Whether the connection is closed without an answer.
    hangs_up: bool,
    /// Writes an endless body, if set.
    play: Option<Arc<Play>>,
}

impl Reply {
    pub fn status(status: &str, text: &str) -> Reply {
        let headers = vec![("Content-Type".into(), "text/plain; charset=utf-8".into())];
        let (status, body) = (status.to_owned(), text.as_bytes().to_vec());
        Reply {
            status,
            headers,
            body,
            cut: None,
            pause: Duration::ZERO,
            stall: Duration::ZERO,
            resets: false,
            hangs_up: false,
            play: None,
        }
    }

    /// An answer with a list, with Nomad's headers.
    pub fn list(index: i64, body: impl Into<Vec<u8>>) -> Reply {
        let mut reply = Reply::status("200 OK", "");
        reply.body = body.into();
        reply.headers = vec![("Content-Type".into(), "application/json".into())];
        reply.header("X-Nomad-Index", &index.to_string()).header("X-Nomad-Knownleader", "true")
    }

    /// A recorded answer, from a file in tests/cluster/recorded.
    pub fn recorded(name: &str) -> Reply {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/recorded").join(name);
        let text = fs::read_to_string(path).expect("a recorded exchange");
        let answer = text.split_once("HTTP/1").expect("an answer").1;
        let answer = answer.replace('\r', "");
        let (head, body) = answer.split_once("\n\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().expect("a status").split_once(' ').expect("a status").1;
        let mut reply = Reply::status(status, "");
        reply.headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let length = reply.headers.iter().find(|(name, _)| name == "Content-Length").and_then(|(_, n)| n.parse().ok());
        let length: usize = length.unwrap_or(body.find("\n\n").unwrap_or(body.len()));
        reply.body = body.as_bytes()[..length].to_vec();
        reply.headers.retain(|(name, _)| name != "Content-Length");
        reply
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn gzip(mut self) -> Reply {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(&self.body).expect("memory");
        self.body = coder.finish().expect("memory");
        self.header("Content-Encoding", "gzip")
    }

    pub fn cut(mut self, bytes: usize) -> Reply {
        self.cut = Some(bytes);
        self
    }

    /// Resets the connection after this many bytes of the body.
    pub fn reset(mut self, bytes: usize) -> Reply {
        self.resets = true;
        self.cut(bytes)
    }

    /// Stalls for this time after this many bytes of the body, then closes the connection.
    pub fn stall(mut self, bytes: usize, time: Duration) -> Reply {
        self.stall = time;
        self.cut(bytes)
    }

    /// An event stream as sent by Nomad since 1.11.2, on a hijacked connection.
    pub fn stream(play: impl Fn(&mut dyn Write) -> io::Result<Ending> + Send + Sync + 'static) -> Reply {
        let reply = Reply { play: Some(Arc::new(play)), ..Reply::status("200 OK", "") };
        reply.header("Cache-Control", "no-cache").header("Connection", "close")
    }

    pub fn slow(mut self, pause: Duration) -> Reply {
        self.pause = pause;
        self
    }

    pub fn hang_up() -> Reply {
        Reply { hangs_up: true, ..Reply::status("", "") }
    }

    /// Writes the answer. Returns how the connection ends, or `None` if the connection stays open.
    fn write(&self, out: &mut dyn Write) -> io::Result<Option<Ending>> {
        if self.hangs_up {
            return Ok(Some(Ending::Closed));
        }
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        self.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        if let Some(play) = &self.play {
            out.write_all(format!("{head}\r\n").as_bytes())?;
            return play(out).map(Some);
        }
        out.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
        for piece in self.body[..self.cut.unwrap_or(self.body.len())].chunks(8000) {
            thread::sleep(self.pause);
            write!(out, "{:x}\r\n", piece.len())?;
            out.write_all(piece)?;
            out.write_all(b"\r\n")?;
            out.flush()?;
        }
        if self.cut.is_some() {
            thread::sleep(self.stall);
            return Ok(Some(if self.resets { Ending::Reset } else { Ending::Closed }));
        }
        out.write_all(b"0\r\n\r\n")?;
        out.flush()?;
        Ok(None)
    }
}

/// The transport of an agent.
pub enum Over<'p> {
    Tcp,
    Ipv6,
    Socket(&'p Path),
    /// TLS. If the flag is true, the agent requires a client certificate.
    Tls(bool),
}

/// An agent that runs until the test ends.
pub struct Agent {
    /// Its address.
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

impl Agent {
    /// An agent over TCP.
    pub fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Agent {
        Agent::over(&Over::Tcp, answer)
    }

    pub fn over(over: &Over<'_>, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Agent {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let serving = Serving { requests: Arc::clone(&requests), answer };
        let address = match over {
            Over::Socket(path) => {
                let listener = UnixListener::bind(path).expect("a socket");
                thread::spawn(move || {
                    listener.incoming().flatten().for_each(|stream| serving.begin(Plain::Unix(stream), None))
                });
                format!("unix://{}", path.display())
            }
            _ => {
                let host = if matches!(over, Over::Ipv6) { "[::1]" } else { "127.0.0.1" };
                let listener = TcpListener::bind(format!("{host}:0")).expect("a port");
                let port = listener.local_addr().expect("an address").port();
                let tls = if let Over::Tls(asks) = over { Some(tls(*asks)) } else { None };
                let scheme = if tls.is_some() { "https" } else { "http" };
                thread::spawn(move || {
                    listener.incoming().flatten().for_each(|stream| serving.begin(Plain::Tcp(stream), tls.clone()))
                });
                format!("{scheme}://{host}:{port}")
            }
        };
        Agent { address, requests }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no thread has died").clone()
    }

    /// The requests for a path so far.
    pub fn asked(&self, path: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path == path).collect()
    }
}

#[derive(Clone)]
struct Serving {
    requests: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Answer>,
}

enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Serving {
    fn begin(&self, stream: Plain, tls: Option<Arc<ServerConfig>>) {
        let serving = self.clone();
        // Errors are ignored, because some tests break connections on purpose.
        thread::spawn(move || match (stream, tls) {
            (Plain::Unix(stream), _) => serving.serve(stream).map(drop),
            (Plain::Tcp(stream), None) => {
                let socket = stream.try_clone().expect("a socket");
                if serving.serve(stream)? == Ending::Reset {
                    // With a linger time of zero, closing the last handle of the socket resets the connection.
                    tokio::net::TcpSocket::from_std_stream(socket).set_zero_linger()?;
                }
                Ok(())
            }
            (Plain::Tcp(stream), Some(config)) => {
                let connection = ServerConnection::new(config).expect("a configuration");
                serving.serve(StreamOwned::new(connection, stream)).map(drop)
            }
        });
    }

    fn serve(&self, stream: impl Read + Write) -> io::Result<Ending> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(Ending::Closed);
            }
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
            let url = reqwest::Url::parse("http://agent").and_then(|base| base.join(&target)).expect("a target");
            let query = url.query_pairs().into_owned().collect();
            let request = Request { target, path: url.path().to_owned(), query, headers };
            self.requests.lock().expect("no thread has died").push(request.clone());
            if let Some(ending) = (self.answer)(&request).write(stream.get_mut())? {
                return Ok(ending);
            }
        }
    }
}

/// A file of tests/cluster/tls.
pub fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/tls").join(name)
}

fn tls(asks_for_certificate: bool) -> Arc<ServerConfig> {
    let certificate = |name: &str| CertificateDer::from_pem_file(pem(name)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(pem("server.key.pem")).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("protocols");
    let builder = if asks_for_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    Arc::new(builder.with_single_cert(vec![certificate("server.pem")], key).expect("a certificate with its key"))
}
