//! A live cluster: its listings as documents, once or repeatedly.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::outage::{Outage, PAUSE};
use super::{Found, ObservedFrom, Origin, Visit, WillRetry};
use crate::nomad::listing::{self, Listing};
use crate::nomad::{Ask, CancelToken, Client, Fault, ListingTarget, Targets, access};
use crate::time;

/// How many times a listing is requested if it breaks.
const TRIES: u32 = 3;
/// How often the nodes are listed while the cluster is followed. The fields of nodes that alloclog stores seldom
/// change.
const NODES_EVERY: Duration = Duration::from_secs(600);

/// A live cluster, and what to list.
#[derive(Debug)]
pub struct Cluster {
    /// The HTTP client.
    pub client: Client,
    /// What to list.
    pub ask: Ask,
    /// How to follow the cluster; `None` to list it once.
    pub watching: Option<Watching>,
}

/// How to follow a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watching {
    /// Minimum time between two listings.
    pub min_interval: Duration,
    /// Minimum time between two documents of stream frames.
    pub frames_every: Duration,
    /// True for the event stream, with listings after gaps; false for listings only.
    pub by_stream: bool,
}

/// Why a walk ended early.
pub(super) enum EarlyEnd {
    /// The consumer wants no more documents.
    Unwanted,
    /// The request failed.
    Fault(Fault),
}

impl From<Fault> for EarlyEnd {
    fn from(fault: Fault) -> EarlyEnd {
        EarlyEnd::Fault(fault)
    }
}

impl Cluster {
    /// Produces the documents of the cluster until there are no more, or it is cancelled.
    pub(super) fn walk(&self, origin: &Origin, read: &(dyn Fn(u64) + Sync), visit: &mut Visit<'_>) -> bool {
        let mut walk = ClusterWalk {
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
            Ok(()) | Err(EarlyEnd::Fault(Fault::Stopped)) => true,
            Err(EarlyEnd::Unwanted) => false,
            Err(EarlyEnd::Fault(fault)) => {
                let fault = access::explain_refusal(&self.client, self.ask.stale, fault);
                visit(Found::Unreadable(origin.clone(), fault.to_string()))
            }
        }
    }
}

/// A walk over the documents of a cluster.
pub(super) struct ClusterWalk<'w, 'v> {
    pub(super) cluster: &'w Cluster,
    pub(super) origin: &'w Origin,
    /// Called with the number of bytes read.
    pub(super) read: &'w (dyn Fn(u64) + Sync),
    pub(super) visit: &'w mut Visit<'v>,
    /// When the last listing started.
    pub(super) listed_at: Option<Instant>,
    nodes_at: Option<Instant>,
    pub(super) outage: Outage,
    /// Whether the servers are known to support the namespace and filter.
    is_checked: bool,
    /// Namespaces whose denial was reported.
    denied: BTreeSet<String>,
    /// Why the cluster is polled instead of streamed, if that was reported.
    pub(super) instead: Option<String>,
}

/// The result of a round of listings.
pub(super) struct Listed {
    /// Nomad's index of the listings; later changes are not included.
    index: Option<i64>,
    /// For each namespace, whether the token may read it.
    pub(super) is_readable: Vec<bool>,
    /// Whether all listings were complete.
    pub(super) is_whole: bool,
}

/// The result of one listing.
enum ListingOutcome {
    /// It was delivered. The value is Nomad's index of the listing.
    Shown(Option<i64>),
    /// It broke on every attempt.
    Broken,
    /// The token may not read it.
    Denied(Fault),
}

impl ClusterWalk<'_, '_> {
    pub(super) fn stop(&self) -> &CancelToken {
        self.cluster.client.stop()
    }

    /// Lists the cluster: after every change if the cluster is followed, otherwise once. Ends at the time `end`, if
    /// given.
    pub(super) fn list_until(&mut self, end: Option<Instant>) -> Result<(), EarlyEnd> {
        loop {
            if let (Some(watching), Some(at)) = (self.cluster.watching, self.listed_at) {
                self.stop().sleep(watching.min_interval.saturating_sub(at.elapsed()));
            }
            if self.stop().is_cancelled() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
            let looked = self.list_and_wait();
            if self.cluster.watching.is_none() {
                return looked.map(drop);
            }
            looked.or_else(|ended| self.wait_out(ended))?;
        }
    }

    /// Lists once. If the cluster is followed, then waits for a change.
    fn list_and_wait(&mut self) -> Result<(), EarlyEnd> {
        let targets = self.targets()?;
        let listed = self.list(&targets)?;
        if listed.is_whole {
            self.recovered();
        }
        let Cluster { client, ask, watching } = self.cluster;
        match (watching, targets.wait_in) {
            (Some(_), Some(namespace)) => match ask.wait(client, &namespace, listed.index.unwrap_or(0)) {
                // Nomad 0.12 denies `*` to a token that cannot read all namespaces. The namespaces that the token can
                // read were just listed.
                Err(fault) if fault.is_status(403) && targets.list.len() > 1 => Ok(()),
                waited => Ok(waited?),
            },
            // No single query waits for all namespaces, so list again after the minimum interval.
            _ => Ok(()),
        }
    }

    /// After a transient fault, waits before the next attempt.
    pub(super) fn wait_out(&mut self, ended: EarlyEnd) -> Result<(), EarlyEnd> {
        match ended {
            EarlyEnd::Fault(fault) if fault.may_pass() => {
                if self.outage.begin(&fault, Instant::now()) {
                    self.warn(format!("{fault}; retrying until it answers"));
                }
                let pause = self.outage.pause();
                self.stop().sleep(pause);
                Ok(())
            }
            ended => Err(ended),
        }
    }

    /// Emits a warning.
    pub(super) fn warn(&mut self, what: String) {
        (self.visit)(Found::Warning(self.origin.clone(), what));
    }

    /// Records that the cluster answers, and reports it if the outage was reported.
    pub(super) fn recovered(&mut self) {
        if let Some(time) = self.outage.end(Instant::now()) {
            let what = format!("answers again after {} s", time.as_secs_f64().ceil());
            (self.visit)(Found::Recovered(self.origin.clone(), what));
        }
    }

    /// The listings to request.
    pub(super) fn targets(&mut self) -> Result<Targets, EarlyEnd> {
        let Cluster { client, ask, .. } = self.cluster;
        let mut on_fault = fault_reporter(self.origin, self.visit, &mut self.outage);
        if !self.is_checked {
            ask.check_namespace(client, &mut on_fault)?;
        }
        let targets = ask.targets(client, &mut on_fault)?;
        if !self.is_checked {
            self.is_checked = ask.check_filter(client, &targets, &mut on_fault)?;
        }
        Ok(targets)
    }

    /// Delivers every listing once, and the nodes if they are due.
    pub(super) fn list(&mut self, targets: &Targets) -> Result<Listed, EarlyEnd> {
        let began = Instant::now();
        self.listed_at = Some(began);
        let mut listed = Listed { index: None, is_readable: Vec::new(), is_whole: true };
        let mut denial = None;
        for target in &targets.list {
            let look = self.list_one(target)?;
            listed.is_readable.push(!matches!(look, ListingOutcome::Denied(_)));
            match look {
                ListingOutcome::Shown(index) => listed.index = listed.index.or(index),
                ListingOutcome::Broken => listed.is_whole = false,
                ListingOutcome::Denied(fault) => denial = Some(fault),
            }
        }
        if let (Some(fault), false) = (denial, listed.is_readable.contains(&true)) {
            return Err(widen_refusal(fault).into());
        }
        if self.nodes_at.is_none_or(|at| at.elapsed() >= NODES_EVERY) {
            self.list_nodes()?;
            self.nodes_at = Some(began);
        }
        Ok(listed)
    }

    /// Delivers the listing of a namespace, with retries if it breaks.
    fn list_one(&mut self, target: &ListingTarget) -> Result<ListingOutcome, EarlyEnd> {
        let Cluster { client, ask, .. } = self.cluster;
        let origin = self.origin;
        for tries_left in (0..TRIES).rev() {
            let opened = Listing::open(client, ask, target, &mut fault_reporter(origin, self.visit, &mut self.outage));
            let mut listing = match opened {
                Ok(listing) => listing,
                Err(fault) if target.is_discovered && fault.is_status(403) => {
                    let why = format!("namespace {}: the token may not read allocations there", target.namespace);
                    let goes_on = !self.denied.insert(target.namespace.clone())
                        || (self.visit)(Found::Skipped(origin.clone(), why));
                    return if goes_on { Ok(ListingOutcome::Denied(fault)) } else { Err(EarlyEnd::Unwanted) };
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
            let will_retry = tries_left > 0;
            let mut stream =
                Breakable { inner: &mut listing, read: self.read, will_retry, stop: client.stop(), broke: None };
            if !(self.visit)(Found::Document(of_listing, &mut stream)) {
                return Err(EarlyEnd::Unwanted);
            }
            let Some(broke) = stream.broke.take() else { return Ok(ListingOutcome::Shown(index)) };
            // The reader of the document has reported the fault.
            self.outage.begin(&Fault::Broken(broke), Instant::now());
            client.stop().sleep(PAUSE);
            if client.stop().is_cancelled() {
                return Err(Fault::Stopped.into());
            }
        }
        Ok(ListingOutcome::Broken)
    }

    /// Delivers the list of nodes. Without this list, only the classes and datacenters of nodes are unknown.
    fn list_nodes(&mut self) -> Result<(), EarlyEnd> {
        let Cluster { client, ask, .. } = self.cluster;
        let origin = self.origin;
        let answer = listing::nodes(client, ask.stale, &mut fault_reporter(origin, self.visit, &mut self.outage));
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(Fault::Stopped) => return Err(Fault::Stopped.into()),
            Err(fault) => {
                let what = match fault {
                    fault if fault.is_status(403) => "the token's policies lack node { policy = \"read\" }".to_owned(),
                    fault => fault.to_string(),
                };
                self.warn(format!("nodes cannot be listed, so classes and datacenters are unknown: {what}"));
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
        let mut stream =
            Breakable { inner: &mut answer.body, read: self.read, will_retry: false, stop: client.stop(), broke: None };
        if (self.visit)(Found::Document(of_nodes, &mut stream)) { Ok(()) } else { Err(EarlyEnd::Unwanted) }
    }
}

/// Returns a callback that reports the first fault of an outage before a retry.
pub(super) fn fault_reporter<'t>(
    origin: &'t Origin,
    visit: &'t mut Visit<'_>,
    outage: &'t mut Outage,
) -> impl FnMut(&Fault) + 't {
    |fault| {
        if outage.begin(fault, Instant::now()) {
            visit(Found::Warning(origin.clone(), format!("{fault}; retrying")));
        }
    }
}

/// Changes the denial of one namespace to a denial of `*`, if the token may not read any namespace. The message of
/// the new fault asks for a policy for all namespaces.
fn widen_refusal(fault: Fault) -> Fault {
    match fault {
        Fault::Status { status, text, has_token, .. } => {
            Fault::Status { status, text, has_token, namespace: Some("*".into()) }
        }
        fault => fault,
    }
}

/// A stream that may break and be requested again.
struct Breakable<'b> {
    inner: &'b mut dyn Read,
    read: &'b (dyn Fn(u64) + Sync),
    /// Whether it is requested again if it breaks.
    will_retry: bool,
    stop: &'b CancelToken,
    /// Why it broke, if it did.
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
                if self.stop.is_cancelled() {
                    return Err(io::Error::other(WillRetry("stopped".into())));
                }
                Err(if self.will_retry { io::Error::other(WillRetry(format!("{e}; retrying"))) } else { e })
            }
        }
    }
}
