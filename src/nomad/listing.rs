//! `/v1/allocations`: what to list, what a listing proves, and its pages as one stream.

use std::io::{self, Read};
use std::time::Duration;

use super::namespaces::Namespaces;
use super::pages::{Join, PageKind, Tokens};
use super::{Answer, Client, Fault, access};
use crate::time;

/// The path of the allocation listing.
const ALLOCATIONS: &str = "/v1/allocations";
/// How long the server may hold a blocking query. This is the maximum that the server allows.
const WAIT: &str = "5m";
/// [`WAIT`] plus the jitter of up to a sixteenth that the server adds.
const WAIT_AT_MOST: Duration = Duration::from_secs(300 * 17 / 16);
/// How many bytes of an answer are inspected to verify that it is a list.
const GLANCE: usize = 4096;
/// An invalid filter. Nomad refuses it with status 400 since 1.3, and ignores it before.
const NO_FILTER: &str = "(";

/// What to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The namespace, `*` for all.
    pub namespace: String,
    /// Accept an answer of any server, even a stale one.
    pub stale: bool,
    /// Only allocations whose ID starts with this: hexadecimal digits without hyphens.
    pub prefix: String,
    /// A filter that Nomad evaluates; empty for none.
    pub filter: String,
    /// Maximum allocations per page; 0 for one page.
    pub per_page: u32,
}

/// A single listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingTarget {
    /// The namespace to list, `*` for all.
    pub namespace: String,
    /// The namespace that the listing covers completely, `*` for all; `None` if it may be incomplete.
    pub full_listing: Option<String>,
    /// True if the user did not name the namespace, so that a refusal is not a fault.
    pub is_discovered: bool,
    /// True if an empty listing proves that there are no allocations.
    pub may_be_empty: bool,
}

/// The listings to fetch, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The listings.
    pub list: Vec<ListingTarget>,
    /// The namespaces that the token may see; `None` if irrelevant or unknown.
    pub names: Option<Vec<String>>,
    /// The namespace whose blocking query reports every change; `None` if no single query reports every change.
    pub wait_in: Option<String>,
}

impl Ask {
    /// Determines which listings to fetch, and which of them are complete.
    ///
    /// If all namespaces are requested, Nomad lists those that the token can read, and does not name them. So in
    /// general, each namespace is listed by its name, and every answer is either complete or a refusal. One listing of
    /// `*` is requested instead if two conditions hold:
    /// - The servers support `*`.
    /// - The token is known to read every namespace, or a prefix or filter makes every listing partial anyway.
    ///
    /// # Errors
    /// When a request fails.
    pub fn targets(&self, client: &Client, on_fault: &mut dyn FnMut(&Fault)) -> Result<Targets, Fault> {
        let is_part = !self.prefix.is_empty() || !self.filter.is_empty();
        // A stale server lacks recent changes, so an allocation missing from its listing may exist.
        let one = |namespace: &str, of: &str, is_sure: bool, names: Option<&[String]>| Targets {
            list: vec![ListingTarget {
                namespace: namespace.to_owned(),
                full_listing: (is_sure && !is_part && !self.stale).then(|| of.to_owned()),
                is_discovered: false,
                may_be_empty: is_sure || is_part,
            }],
            names: names.map(<[String]>::to_vec),
            wait_in: Some(namespace.to_owned()),
        };
        if self.namespace != "*" {
            return Ok(one(&self.namespace, &self.namespace, true, None));
        }
        let namespaces = Namespaces::ask(client, self.stale, on_fault)?;
        let (names, has_wildcard) = match &namespaces {
            Namespaces::None => return Ok(one("*", "*", true, None)),
            Namespaces::OnlyDefault => return Ok(one("default", "*", true, None)),
            Namespaces::Unknown { .. } => (&[][..], false),
            Namespaces::Listed { names, has_wildcard } => (&names[..], *has_wildcard),
        };
        if has_wildcard && (is_part || access::reads_every_namespace(client, self.stale, on_fault)?) {
            return Ok(one("*", "*", true, Some(names)));
        }
        if names.is_empty() {
            return Ok(one("*", "*", false, namespaces.names()));
        }
        let found = |name: &String| ListingTarget {
            namespace: name.clone(),
            full_listing: (!is_part && !self.stale).then(|| name.clone()),
            is_discovered: true,
            may_be_empty: true,
        };
        let wait_in = match names {
            [name] => Some(name.clone()),
            _ => has_wildcard.then(|| "*".to_owned()),
        };
        Ok(Targets { list: names.iter().map(found).collect(), names: Some(names.to_vec()), wait_in })
    }

    /// Refuses a namespace that does not exist, because Nomad would list it as an empty namespace.
    ///
    /// # Errors
    /// When it does not exist, or the request fails.
    pub fn check_namespace(&self, client: &Client, on_fault: &mut dyn FnMut(&Fault)) -> Result<(), Fault> {
        if self.namespace == "*" {
            Ok(())
        } else {
            Namespaces::ask(client, self.stale, on_fault)?.check(&self.namespace)
        }
    }

    /// Refuses a filter that the servers do not support, because they would list everything. Returns true if the
    /// servers support filters, or no filter is given. Returns false if this is unknown, because the servers listed no
    /// allocation to filter.
    ///
    /// # Errors
    /// When the servers do not support filters, or the request fails.
    pub fn check_filter(
        &self,
        client: &Client,
        targets: &Targets,
        on_fault: &mut dyn FnMut(&Fault),
    ) -> Result<bool, Fault> {
        if self.filter.is_empty() {
            return Ok(true);
        }
        for target in &targets.list {
            let query = [
                ("namespace", target.namespace.as_str()),
                ("per_page", "1"),
                ("task_states", "false"),
                ("filter", NO_FILTER),
                ("stale", if self.stale { "true" } else { "" }),
            ];
            match client.ask(ALLOCATIONS, &query, on_fault) {
                Err(Fault::Status { status: 400, .. }) => return Ok(true),
                Err(fault) if target.is_discovered && fault.is_status(403) => {}
                Err(fault) => return Err(fault),
                Ok(answer) => match check_is_list(answer)? {
                    (_, true) => {}
                    (_, false) => return Err(Fault::NoFilter),
                },
            }
        }
        Ok(false)
    }

    /// Waits until the allocations of a namespace have changed since an index, or for some minutes. Returns at once if
    /// the index is invalid, for example after a restore of the cluster.
    ///
    /// # Errors
    /// When the request fails.
    pub fn wait(&self, client: &Client, namespace: &str, index: i64) -> Result<(), Fault> {
        // An empty cluster has index 0, and a query with index 0 does not block.
        let index = index.max(1).to_string();
        let query = [
            ("namespace", namespace),
            ("index", &index),
            ("wait", WAIT),
            ("per_page", "1"),
            ("task_states", "false"),
            ("stale", if self.stale { "true" } else { "" }),
        ];
        client.ask_once(ALLOCATIONS, &query, WAIT_AT_MOST + client.timeout()).map(drop)
    }

    fn page(
        &self,
        client: &Client,
        namespace: &str,
        token: &str,
        on_fault: &mut dyn FnMut(&Fault),
    ) -> Result<Answer, Fault> {
        let per_page = if self.per_page > 0 { self.per_page.to_string() } else { String::new() };
        // Nomad matches only whole bytes of an ID, so leave out an odd last digit. The filter of rows removes the
        // allocations that do not match the whole prefix.
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
        client.ask(ALLOCATIONS, &query, on_fault)
    }
}

/// Requests the list of nodes, with their classes and datacenters.
///
/// # Errors
/// When the request fails.
pub fn nodes(client: &Client, stale: bool, on_fault: &mut dyn FnMut(&Fault)) -> Result<Answer, Fault> {
    let answer = client.ask("/v1/nodes", &[("stale", if stale { "true" } else { "" })], on_fault)?;
    Ok(check_is_list(answer)?.0)
}

/// A listing that is streamed. An error of the stream means that the listing is incomplete.
pub struct Listing<'c> {
    client: &'c Client,
    ask: &'c Ask,
    namespace: &'c str,
    /// When its first byte arrived, in nanoseconds since the epoch.
    pub observed_at: i64,
    /// Nomad's index at that time.
    pub index: Option<i64>,
    body: Box<dyn Read + Send>,
    next_token: Option<String>,
    tokens: Tokens,
    /// Joins its pages, if there is more than one.
    join: Option<Join>,
    ready: io::Cursor<Vec<u8>>,
    is_done: bool,
}

impl<'c> Listing<'c> {
    /// Requests a listing.
    ///
    /// # Errors
    /// When the request fails.
    pub fn open(
        client: &'c Client,
        ask: &'c Ask,
        target: &'c ListingTarget,
        on_fault: &mut dyn FnMut(&Fault),
    ) -> Result<Listing<'c>, Fault> {
        let namespace = target.namespace.as_str();
        let answer = ask.page(client, namespace, "", on_fault)?;
        let observed_at = time::now();
        let (Answer { index, next_token, body }, is_empty) = check_is_list(answer)?;
        if is_empty && !target.may_be_empty {
            return Err(Fault::NothingListed);
        }
        let join = next_token.is_some().then(Join::default);
        let ready = io::Cursor::new(Vec::new());
        let tokens = Tokens::default();
        Ok(Listing {
            client,
            ask,
            namespace,
            observed_at,
            index,
            body,
            next_token,
            tokens,
            join,
            ready,
            is_done: false,
        })
    }

    /// Requests the next page, or ends the listing.
    fn turn(&mut self, join: &mut Join) -> io::Result<Vec<u8>> {
        let broke = |what| Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        match (join.page_end(), self.next_token.take()) {
            (PageKind::Broken, _) => broke("a page of the listing is not whole"),
            // Nomad reports no error for a page token that it cannot parse: it returns an empty page, as at the end.
            // The same happens if the last allocations were just collected. A retry distinguishes the two cases.
            (PageKind::Empty, None) => broke("a page of the listing is empty, so the listing may be incomplete"),
            (_, None) => {
                self.is_done = true;
                Ok(join.end().to_vec())
            }
            (_, Some(token)) if self.tokens.is_repeated(&token) => {
                broke("the token for the next page of the listing is repeated")
            }
            (_, Some(token)) => {
                let page = self.ask.page(self.client, self.namespace, &token, &mut |_| {}).and_then(check_is_list);
                let (page, _) = page.map_err(io::Error::other)?;
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

/// Inspects the start of an answer. Returns the answer, and true if it is an empty list. Refuses an answer that is not
/// a list, such as an HTML page of a gateway.
fn check_is_list(answer: Answer) -> Result<(Answer, bool), Fault> {
    let Answer { index, next_token, mut body } = answer;
    let mut head = vec![0u8; GLANCE];
    let mut len = 0;
    let second = loop {
        let mut visible = head[..len].iter().filter(|byte| !byte.is_ascii_whitespace());
        match (visible.next(), visible.next()) {
            (Some(b'['), Some(second)) => break Some(*second),
            (Some(b'['), None) | (None, _) if len < GLANCE => {}
            (Some(b'['), None) => break None,
            _ => return Err(Fault::NotNomad("it is not a list".into())),
        }
        match body.read(&mut head[len..]) {
            Ok(0) if head[..len].trim_ascii_start().is_empty() => {
                return Err(Fault::NotNomad("it is not a list".into()));
            }
            Ok(0) => break None,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Fault::Broken(e.to_string())),
        }
    };
    head.truncate(len);
    let answer = Answer { index, next_token, body: Box::new(io::Cursor::new(head).chain(body)) };
    Ok((answer, second == Some(b']')))
}
