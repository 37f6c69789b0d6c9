//! `/v1/allocations`: what to ask for, what an answer can claim, and its pages as one stream.

use std::io::{self, Read};
use std::time::Duration;

use super::namespaces::Namespaces;
use super::pages::{Join, Page, Tokens};
use super::{Answer, Client, Fault, access};
use crate::time;

/// The list of all allocations that may be read.
const ALLOCATIONS: &str = "/v1/allocations";
/// How long the server may hold a blocking query; the longest that it allows.
const WAIT: &str = "5m";
/// The same, with the sixteenth that the server adds at most.
const WAIT_AT_MOST: Duration = Duration::from_secs(300 * 17 / 16);
/// How much is read of an answer before it is believed to be a list.
const GLANCE: usize = 4096;
/// At most how much of an answer is read that is read whole: names of namespaces, what a token is.
pub(super) const SMALL: u64 = 16 << 20;
/// A filter that no server can read. Nomad refuses it with status 400 since 1.3, and before ignores it.
const NO_FILTER: &str = "(";

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

/// A listing to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The namespace to ask for, `*` for all.
    pub namespace: String,
    /// The namespace of which the listing shows every allocation, `*` for all; `None` when it may not show every one.
    pub full_listing: Option<String>,
    /// Returns true if the user did not name it, so that a refusal is not a fault.
    pub is_found: bool,
    /// Returns true if a listing without allocations says that there are none.
    pub may_be_empty: bool,
}

/// The listings to ask for, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// They.
    pub list: Vec<Target>,
    /// The namespaces that there are, as far as the token may know of them; `None` when they do not count or are not
    /// known.
    pub names: Option<Vec<String>>,
    /// The namespace in which a blocking query shows any change; `None` when no single one does.
    pub wait_in: Option<String>,
}

impl Ask {
    /// What to list so that a listing that is called full is known to be.
    ///
    /// Nomad answers for all namespaces with those that the token can read, and does not say which these are. So unless
    /// the token is known to read every namespace, each is asked for by its name: then an answer shows all of it, or is
    /// a refusal. The same holds for servers that do not take `*` for all.
    ///
    /// # Errors
    /// When Nomad cannot be asked.
    pub fn targets(&self, client: &Client, told: &mut dyn FnMut(&Fault)) -> Result<Targets, Fault> {
        let is_part = !self.prefix.is_empty() || !self.filter.is_empty();
        // A server that is behind lacks what is new: what its listing does not show may well be there.
        let one = |namespace: &str, of: &str, is_sure: bool, names: Option<&[String]>| Targets {
            list: vec![Target {
                namespace: namespace.to_owned(),
                full_listing: (is_sure && !is_part && !self.stale).then(|| of.to_owned()),
                is_found: false,
                may_be_empty: is_sure || is_part,
            }],
            names: names.map(<[String]>::to_vec),
            wait_in: Some(namespace.to_owned()),
        };
        if self.namespace != "*" {
            return Ok(one(&self.namespace, &self.namespace, true, None));
        }
        let namespaces = Namespaces::ask(client, self.stale, told)?;
        let (names, has_wildcard) = match &namespaces {
            Namespaces::None => return Ok(one("*", "*", true, None)),
            Namespaces::OnlyDefault => return Ok(one("default", "*", true, None)),
            Namespaces::Unknown { .. } => (&[][..], false),
            Namespaces::Listed { names, has_wildcard } => (&names[..], *has_wildcard),
        };
        if has_wildcard && (is_part || access::reads_every_namespace(client, self.stale, told)?) {
            return Ok(one("*", "*", true, Some(names)));
        }
        if names.is_empty() {
            return Ok(one("*", "*", false, namespaces.names()));
        }
        let found = |name: &String| Target {
            namespace: name.clone(),
            full_listing: (!is_part && !self.stale).then(|| name.clone()),
            is_found: true,
            may_be_empty: true,
        };
        let wait_in = match names {
            [name] => Some(name.clone()),
            _ => has_wildcard.then(|| "*".to_owned()),
        };
        Ok(Targets { list: names.iter().map(found).collect(), names: Some(names.to_vec()), wait_in })
    }

    /// Refuses a namespace that does not exist, which Nomad shows as an empty one.
    ///
    /// # Errors
    /// When it does not exist, or Nomad cannot be asked.
    pub fn check_namespace(&self, client: &Client, told: &mut dyn FnMut(&Fault)) -> Result<(), Fault> {
        if self.namespace == "*" { Ok(()) } else { Namespaces::ask(client, self.stale, told)?.check(&self.namespace) }
    }

    /// Refuses a filter that the servers do not know: they would list everything. Returns true if they know it, or there
    /// is none; false if there was nothing that a filter could leave out.
    ///
    /// # Errors
    /// When they do not know it, or Nomad cannot be asked.
    pub fn check_filter(
        &self,
        client: &Client,
        targets: &Targets,
        told: &mut dyn FnMut(&Fault),
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
            match client.ask(ALLOCATIONS, &query, told) {
                Err(Fault::Status { status: 400, .. }) => return Ok(true),
                Err(fault) if target.is_found && fault.is_status(403) => {}
                Err(fault) => return Err(fault),
                Ok(answer) => match glanced(answer)? {
                    (_, true) => {}
                    (_, false) => return Err(Fault::NoFilter),
                },
            }
        }
        Ok(false)
    }

    /// Waits until the allocations of a namespace have changed since an index, or for some minutes. Returns at once when
    /// the index is that of another time, as after a cluster was restored.
    ///
    /// # Errors
    /// When Nomad cannot be asked.
    pub fn wait(&self, client: &Client, namespace: &str, index: i64) -> Result<(), Fault> {
        // An empty cluster is at index 0, with which a query would not wait.
        let index = index.max(1).to_string();
        let query = [
            ("namespace", namespace),
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
    let answer = client.ask("/v1/nodes", &[("stale", if stale { "true" } else { "" })], told)?;
    Ok(glanced(answer)?.0)
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
    tokens: Tokens,
    /// What joins its pages, if there is more than one.
    join: Option<Join>,
    ready: io::Cursor<Vec<u8>>,
    is_done: bool,
}

impl<'c> Listing<'c> {
    /// Asks for a listing.
    ///
    /// # Errors
    /// When Nomad does not give it.
    pub fn open(
        client: &'c Client,
        ask: &'c Ask,
        target: &'c Target,
        told: &mut dyn FnMut(&Fault),
    ) -> Result<Listing<'c>, Fault> {
        let namespace = target.namespace.as_str();
        let answer = ask.page(client, namespace, "", told)?;
        let observed_at = time::now();
        let (Answer { index, next_token, body }, is_empty) = glanced(answer)?;
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
            (_, Some(token)) if self.tokens.is_repeated(&token) => {
                broke("the token for the next page of the listing is one that came before")
            }
            (_, Some(token)) => {
                let page = self.ask.page(self.client, self.namespace, &token, &mut |_| {}).and_then(glanced);
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

/// Looks at the beginning of an answer: returns it, and true if it is a list without elements. It must be a list; a
/// gateway may answer with a page for people.
fn glanced(answer: Answer) -> Result<(Answer, bool), Fault> {
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
