//! A live cluster: its listings as documents, once or for as long as one watches.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::outage::{Outage, PAUSE};
use super::{AskedAgain, Found, ObservedFrom, Origin, Visit};
use crate::nomad::listing::{self, Listing};
use crate::nomad::{Ask, Client, Fault, Stop, Target, Targets, access};
use crate::time;

/// How often a listing is asked for when it breaks off.
const TRIES: u32 = 3;
/// How often the nodes are listed while watching: what is wanted of them changes seldom.
const NODES_EVERY: Duration = Duration::from_secs(600);

/// A live cluster, and what to ask it for.
#[derive(Debug)]
pub struct Cluster {
    /// What asks.
    pub client: Client,
    /// What for.
    pub ask: Ask,
    /// Whether to go on, and how.
    pub watching: Option<Watching>,
}

/// How a cluster is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watching {
    /// The time between two listings at least.
    pub min_interval: Duration,
    /// The time between two documents from the event stream at least.
    pub frames_every: Duration,
    /// By the event stream, healed by listings, and not by listings alone.
    pub by_stream: bool,
}

/// Why a walk has ended early.
pub(super) enum Ended {
    /// Nobody wants more.
    Unwanted,
    /// The cluster does not answer.
    Fault(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Fault(fault)
    }
}

impl Cluster {
    /// Walks through what the cluster shows until there is no more, or we are told to stop.
    pub(super) fn walk(&self, origin: &Origin, read: &(dyn Fn(u64) + Sync), visit: &mut Visit<'_>) -> bool {
        let mut walk = Walk {
            cluster: self,
            origin,
            read,
            visit,
            listed_at: None,
            nodes_at: None,
            outage: Outage::default(),
            is_checked: false,
            denied: BTreeSet::new(),
            instead: None,
        };
        let ended = match self.watching {
            Some(watching) if watching.by_stream => walk.follow(watching),
            _ => walk.list_until(None),
        };
        match ended {
            Ok(()) | Err(Ended::Fault(Fault::Stopped)) => true,
            Err(Ended::Unwanted) => false,
            Err(Ended::Fault(fault)) => {
                let fault = access::explained(&self.client, self.ask.stale, fault);
                visit(Found::Unreadable(origin.clone(), fault.to_string()))
            }
        }
    }
}

/// A walk through what a cluster shows.
pub(super) struct Walk<'w, 'v> {
    pub(super) cluster: &'w Cluster,
    pub(super) origin: &'w Origin,
    /// Told of the bytes that were read.
    pub(super) read: &'w (dyn Fn(u64) + Sync),
    pub(super) visit: &'w mut Visit<'v>,
    /// When the last listing was begun.
    pub(super) listed_at: Option<Instant>,
    nodes_at: Option<Instant>,
    pub(super) outage: Outage,
    /// Whether the servers are known to understand what they are asked for.
    is_checked: bool,
    /// Namespaces of which it was said that the token may not read them.
    denied: BTreeSet<String>,
    /// Why listings take the place of streams, if that was said.
    pub(super) instead: Option<String>,
}

/// What came of a round of listings.
pub(super) struct Listed {
    /// The index from which on changes are not in them.
    index: Option<i64>,
    /// For each namespace whether the token may read it.
    pub(super) is_readable: Vec<bool>,
    /// Whether none of the listings broke off.
    pub(super) is_whole: bool,
}

/// What came of one listing.
enum Look {
    /// It was shown; with its index.
    Shown(Option<i64>),
    /// It broke off each time.
    Broken,
    /// The token may not read it.
    Denied(Fault),
}

impl Walk<'_, '_> {
    pub(super) fn stop(&self) -> &Stop {
        self.cluster.client.stop()
    }

    /// Lists with every change if we are watching, once otherwise; no longer than until a moment, if there is one.
    pub(super) fn list_until(&mut self, end: Option<Instant>) -> Result<(), Ended> {
        loop {
            if let (Some(watching), Some(at)) = (self.cluster.watching, self.listed_at) {
                self.stop().sleep(watching.min_interval.saturating_sub(at.elapsed()));
            }
            if self.stop().is_set() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
            let looked = self.look();
            if self.cluster.watching.is_none() {
                return looked.map(drop);
            }
            looked.or_else(|ended| self.endure(ended))?;
        }
    }

    /// Lists once, and then, if we are watching, waits for a change.
    fn look(&mut self) -> Result<(), Ended> {
        let targets = self.targets()?;
        let listed = self.list(&targets)?;
        if listed.is_whole {
            self.recovered();
        }
        let Cluster { client, ask, watching } = self.cluster;
        match (watching, targets.wait_in) {
            (Some(_), Some(namespace)) => match ask.wait(client, &namespace, listed.index.unwrap_or(0)) {
                // Nomad 0.12 lets a token ask for all only if it reads all; those that it reads have just been listed.
                Err(fault) if fault.is_status(403) && targets.list.len() > 1 => Ok(()),
                waited => Ok(waited?),
            },
            // No single query waits for all namespaces, so the next look comes when it may.
            _ => Ok(()),
        }
    }

    /// Waits a while if the cluster cannot be asked and that may pass.
    pub(super) fn endure(&mut self, ended: Ended) -> Result<(), Ended> {
        match ended {
            Ended::Fault(fault) if fault.may_pass() => {
                if self.outage.begin(&fault, Instant::now()) {
                    self.tell(format!("{fault}; retrying until it answers"));
                }
                let pause = self.outage.pause();
                self.stop().sleep(pause);
                Ok(())
            }
            ended => Err(ended),
        }
    }

    /// Says something that loses nothing.
    pub(super) fn tell(&mut self, what: String) {
        (self.visit)(Found::Told(self.origin.clone(), what));
    }

    /// Takes note that the cluster answers, and says so if it was said that it does not.
    pub(super) fn recovered(&mut self) {
        if let Some(time) = self.outage.end(Instant::now()) {
            let what = format!("answers again after {} s", time.as_secs_f64().ceil());
            (self.visit)(Found::Recovered(self.origin.clone(), what));
        }
    }

    /// What to list.
    pub(super) fn targets(&mut self) -> Result<Targets, Ended> {
        let Cluster { client, ask, .. } = self.cluster;
        let mut told = telling(self.origin, self.visit, &mut self.outage);
        if !self.is_checked {
            ask.check_namespace(client, &mut told)?;
        }
        let targets = ask.targets(client, &mut told)?;
        if !self.is_checked {
            self.is_checked = ask.check_filter(client, &targets, &mut told)?;
        }
        Ok(targets)
    }

    /// Shows every listing once, and the nodes if they have not been shown for a while.
    pub(super) fn list(&mut self, targets: &Targets) -> Result<Listed, Ended> {
        let began = Instant::now();
        self.listed_at = Some(began);
        let mut listed = Listed { index: None, is_readable: Vec::new(), is_whole: true };
        let mut denial = None;
        for target in &targets.list {
            let look = self.list_one(target)?;
            listed.is_readable.push(!matches!(look, Look::Denied(_)));
            match look {
                Look::Shown(index) => listed.index = listed.index.or(index),
                Look::Broken => listed.is_whole = false,
                Look::Denied(fault) => denial = Some(fault),
            }
        }
        if let (Some(fault), false) = (denial, listed.is_readable.contains(&true)) {
            return Err(of_all(fault).into());
        }
        if self.nodes_at.is_none_or(|at| at.elapsed() >= NODES_EVERY) {
            self.list_nodes()?;
            self.nodes_at = Some(began);
        }
        Ok(listed)
    }

    /// Shows the listing of a namespace, more than once if it breaks off.
    fn list_one(&mut self, target: &Target) -> Result<Look, Ended> {
        let Cluster { client, ask, .. } = self.cluster;
        let origin = self.origin;
        for tries_left in (0..TRIES).rev() {
            let opened = Listing::open(client, ask, target, &mut telling(origin, self.visit, &mut self.outage));
            let mut listing = match opened {
                Ok(listing) => listing,
                Err(fault) if target.is_found && fault.is_status(403) => {
                    let why = format!("namespace {}: the token may not read allocations there", target.namespace);
                    let goes_on = !self.denied.insert(target.namespace.clone())
                        || (self.visit)(Found::PassedOver(origin.clone(), why));
                    return if goes_on { Ok(Look::Denied(fault)) } else { Err(Ended::Unwanted) };
                }
                Err(fault) => return Err(fault.into()),
            };
            let index = listing.index;
            let of_listing = Origin {
                observed: origin.observed.or(Some((listing.observed_at, ObservedFrom::Fetched))),
                namespace: Some(target.namespace.clone()),
                full_listing: target.full_listing.clone(),
                nomad_index: index,
                ..origin.clone()
            };
            let is_made_good = tries_left > 0;
            let mut stream =
                Breakable { inner: &mut listing, read: self.read, is_made_good, stop: client.stop(), broke: None };
            if !(self.visit)(Found::Document(of_listing, &mut stream)) {
                return Err(Ended::Unwanted);
            }
            let Some(broke) = stream.broke.take() else { return Ok(Look::Shown(index)) };
            // Whoever reads the document has said it.
            self.outage.begin(&Fault::Broken(broke), Instant::now());
            client.stop().sleep(PAUSE);
            if client.stop().is_set() {
                return Err(Fault::Stopped.into());
            }
        }
        Ok(Look::Broken)
    }

    /// Shows the list of nodes. Without it all but classes and data centres is known.
    fn list_nodes(&mut self) -> Result<(), Ended> {
        let Cluster { client, ask, .. } = self.cluster;
        let origin = self.origin;
        let answer = listing::nodes(client, ask.stale, &mut telling(origin, self.visit, &mut self.outage));
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(Fault::Stopped) => return Err(Fault::Stopped.into()),
            Err(fault) => {
                let what = match fault {
                    fault if fault.is_status(403) => "the token's policies lack node { policy = \"read\" }".to_owned(),
                    fault => fault.to_string(),
                };
                self.tell(format!("nodes are not listed, so classes and data centres are not known: {what}"));
                return Ok(());
            }
        };
        let of_nodes = Origin {
            name: format!("{}/v1/nodes", origin.name),
            observed: origin.observed.or(Some((time::now(), ObservedFrom::Fetched))),
            full_listing: None,
            nomad_index: answer.index,
            is_nodes: true,
            ..origin.clone()
        };
        let mut stream = Breakable {
            inner: &mut answer.body,
            read: self.read,
            is_made_good: false,
            stop: client.stop(),
            broke: None,
        };
        if (self.visit)(Found::Document(of_nodes, &mut stream)) { Ok(()) } else { Err(Ended::Unwanted) }
    }
}

/// Tells of the first fault of an outage; what failed is about to be tried again.
pub(super) fn telling<'t>(
    origin: &'t Origin,
    visit: &'t mut Visit<'_>,
    outage: &'t mut Outage,
) -> impl FnMut(&Fault) + 't {
    |fault| {
        if outage.begin(fault, Instant::now()) {
            visit(Found::Told(origin.clone(), format!("{fault}; retrying")));
        }
    }
}

/// The refusal of every namespace, which were asked for one by one: the policy that is needed names all.
fn of_all(fault: Fault) -> Fault {
    match fault {
        Fault::Status { status, text, has_token, .. } => {
            Fault::Status { status, text, has_token, namespace: Some("*".into()) }
        }
        fault => fault,
    }
}

/// A stream that may break off and be asked for again.
struct Breakable<'b> {
    inner: &'b mut dyn Read,
    read: &'b (dyn Fn(u64) + Sync),
    /// Whether it is asked for again if it breaks off.
    is_made_good: bool,
    stop: &'b Stop,
    /// Why it broke off, if it did.
    broke: Option<String>,
}

impl Read for Breakable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(n) => {
                (self.read)(n as u64);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                self.broke = Some(e.to_string());
                if self.stop.is_set() {
                    return Err(io::Error::other(AskedAgain("stopped".into())));
                }
                Err(if self.is_made_good { io::Error::other(AskedAgain(format!("{e}; retrying"))) } else { e })
            }
        }
    }
}
