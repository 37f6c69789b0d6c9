//! `/v1/allocations`: what to ask for, what an answer can claim, and its pages as one stream.

use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;

use super::pages::{Join, Page};
use super::{Answer, Client, Fault};
use crate::time;

/// The list of all allocations that may be read.
const ALLOCATIONS: &str = "/v1/allocations";
/// How long the server may hold a blocking query; the longest that it allows.
const WAIT: &str = "5m";
/// The same, with the sixteenth that the server adds at most.
const WAIT_AT_MOST: Duration = Duration::from_secs(300 * 17 / 16);
/// How much is read of an answer before it is believed to be a list.
const GLANCE: usize = 4096;
/// Answers that are read whole: names of namespaces, what a token is.
const SMALL: u64 = 16 << 20;

/// What to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The namespace, `*` for all.
    pub namespace: String,
    /// Any server may answer, also one that is behind.
    pub stale: bool,
    /// Only allocations whose ID begins so: hexadecimal digits without hyphens.
    pub prefix: String,
    /// A filter for Nomad to apply; empty for none.
    pub filter: String,
    /// How many allocations a page has at most; 0 for all on one.
    pub per_page: u32,
}

/// A namespace to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, `*` for all.
    pub namespace: String,
    /// Whether its listing shows every allocation in it.
    pub is_full: bool,
    /// Whether it was not asked for by name, so that being denied it is no fault.
    pub is_found: bool,
}

impl Ask {
    /// The namespaces to list, one after the other, so that what is listed in full is known to be.
    ///
    /// Nomad answers for all namespaces with those that the token can read, and does not say which these are. So unless
    /// the token can read all, each is asked for by its name: then an answer shows all of it, or there is none.
    ///
    /// # Errors
    /// When Nomad cannot be asked.
    pub fn targets(&self, client: &Client, told: &mut dyn FnMut(&Fault)) -> Result<Vec<Target>, Fault> {
        let is_full = self.prefix.is_empty() && self.filter.is_empty();
        let one = |is_full| vec![Target { namespace: self.namespace.clone(), is_full, is_found: false }];
        if self.namespace != "*" || !is_full || reads_everything(client, told)? {
            return Ok(one(is_full));
        }
        let found = |namespace| Target { namespace, is_full: true, is_found: true };
        match namespaces(client, told) {
            Ok(names) if !names.is_empty() => Ok(names.into_iter().map(found).collect()),
            Err(Fault::Stopped) => Err(Fault::Stopped),
            _ => Ok(one(false)),
        }
    }

    /// Waits until the allocations have changed since an index, or for some minutes. Returns at once when the index is
    /// that of another time, as after a cluster was restored.
    ///
    /// # Errors
    /// When Nomad cannot be asked.
    pub fn wait(&self, client: &Client, index: i64) -> Result<(), Fault> {
        // An empty cluster is at index 0, with which a query would not wait.
        let index = index.max(1).to_string();
        let query = [
            ("namespace", self.namespace.as_str()),
            ("index", &index),
            ("wait", WAIT),
            ("per_page", "1"),
            ("task_states", "false"),
            ("stale", if self.stale { "true" } else { "" }),
        ];
        client.ask_once(ALLOCATIONS, &query, WAIT_AT_MOST + client.patience()).map(drop)
    }

    fn page(
        &self,
        client: &Client,
        namespace: &str,
        token: &str,
        told: &mut dyn FnMut(&Fault),
    ) -> Result<Answer, Fault> {
        let per_page = if self.per_page > 0 { self.per_page.to_string() } else { String::new() };
        // Nomad takes whole bytes only; what it gives too much is left out by the filter for rows.
        let prefix = &self.prefix[..self.prefix.len() / 2 * 2];
        let query = [
            ("namespace", namespace),
            ("resources", "true"),
            ("task_states", "true"),
            ("stale", if self.stale { "true" } else { "" }),
            ("prefix", prefix),
            ("filter", &self.filter),
            ("per_page", &per_page),
            ("next_token", token),
        ];
        client.ask(ALLOCATIONS, &query, told)
    }
}

/// The list of nodes, which tells their classes and data centres.
///
/// # Errors
/// When Nomad does not give it.
pub fn nodes(client: &Client, stale: bool, told: &mut dyn FnMut(&Fault)) -> Result<Answer, Fault> {
    client.ask("/v1/nodes", &[("stale", if stale { "true" } else { "" })], told).and_then(glanced)
}

/// A listing as it arrives. An error of the stream means that it broke off.
pub struct Listing<'c> {
    client: &'c Client,
    ask: &'c Ask,
    namespace: &'c str,
    /// When it began to arrive, in nanoseconds since the epoch.
    pub observed_at: i64,
    /// Nomad's index then.
    pub index: Option<i64>,
    body: Box<dyn Read + Send>,
    next_token: Option<String>,
    /// What joins its pages, if there is more than one.
    join: Option<Join>,
    ready: io::Cursor<Vec<u8>>,
    is_done: bool,
}

impl<'c> Listing<'c> {
    /// Asks for the listing of a namespace.
    ///
    /// # Errors
    /// When Nomad does not give it.
    pub fn open(
        client: &'c Client,
        ask: &'c Ask,
        namespace: &'c str,
        told: &mut dyn FnMut(&Fault),
    ) -> Result<Listing<'c>, Fault> {
        let answer = ask.page(client, namespace, "", told)?;
        let observed_at = time::now();
        let Answer { index, next_token, body } = glanced(answer)?;
        let join = next_token.is_some().then(Join::default);
        let ready = io::Cursor::new(Vec::new());
        Ok(Listing { client, ask, namespace, observed_at, index, body, next_token, join, ready, is_done: false })
    }

    /// Moves on to the next page, or to the end.
    fn turn(&mut self, join: &mut Join) -> io::Result<Vec<u8>> {
        let broke = |what| Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        match (join.page_end(), self.next_token.take()) {
            (Page::Broken, _) => broke("a page of the listing is not whole"),
            // Nomad has no word for a token that it does not understand: it shows an empty page, as if that were the
            // end. The same shows when all that was left has just been collected; asking again tells.
            (Page::Empty, None) => broke("a page of the listing is empty, so its end is not sure"),
            (_, None) => {
                self.is_done = true;
                Ok(join.end().to_vec())
            }
            (_, Some(token)) => {
                let page = self.ask.page(self.client, self.namespace, &token, &mut |_| {}).and_then(glanced);
                let page = page.map_err(io::Error::other)?;
                (self.body, self.next_token) = (page.body, page.next_token);
                Ok(Vec::new())
            }
        }
    }
}

impl Read for Listing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut join) = self.join.take() else { return self.body.read(buffer) };
        let filled = (|| {
            while self.ready.position() == self.ready.get_ref().len() as u64 && !self.is_done {
                let mut out = Vec::new();
                match self.body.read(buffer)? {
                    0 => out = self.turn(&mut join)?,
                    n => join.piece(&buffer[..n], &mut out),
                }
                self.ready = io::Cursor::new(out);
            }
            self.ready.read(buffer)
        })();
        self.join = Some(join);
        filled
    }
}

/// Whether the token can read every namespace: it manages the cluster, or there are no access rules at all.
fn reads_everything(client: &Client, told: &mut dyn FnMut(&Fault)) -> Result<bool, Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Token {
        r#type: String,
    }
    match client.ask("/v1/acl/token/self", &[], told) {
        Ok(answer) => {
            let token: Result<Token, _> = serde_json::from_reader(answer.body.take(SMALL));
            Ok(token.is_ok_and(|token| token.r#type == "management"))
        }
        // Nomad before 0.7 has no access rules, and no such path.
        Err(Fault::Status { text, .. }) if text.contains("ACL support disabled") => Ok(true),
        Err(Fault::Status { status: 404, text, .. }) if text.is_empty() || text.contains("page not found") => Ok(true),
        Err(Fault::Status { .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The names of the namespaces that there are, as far as the token may know of them, sorted.
///
/// # Errors
/// When Nomad does not give them.
pub fn namespaces(client: &Client, told: &mut dyn FnMut(&Fault)) -> Result<Vec<String>, Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Namespace {
        name: String,
    }
    let answer = client.ask("/v1/namespaces", &[], told)?;
    let namespaces: Result<Vec<Namespace>, _> = serde_json::from_reader(answer.body.take(SMALL));
    let mut names: Vec<String> =
        namespaces.map_err(|e| Fault::NotNomad(e.to_string()))?.into_iter().map(|n| n.name).collect();
    names.sort();
    Ok(names)
}

/// An answer whose beginning was looked at: it is a list. A gateway may answer with a page for people.
fn glanced(answer: Answer) -> Result<Answer, Fault> {
    let Answer { index, next_token, mut body } = answer;
    let mut head = vec![0; GLANCE];
    let mut len = 0;
    while head[..len].trim_ascii_start().is_empty() && len < GLANCE {
        match body.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Fault::Broken(e.to_string())),
        }
    }
    head.truncate(len);
    if head.trim_ascii_start().first() != Some(&b'[') {
        return Err(Fault::NotNomad("it is no list".into()));
    }
    Ok(Answer { index, next_token, body: Box::new(io::Cursor::new(head).chain(body)) })
}
