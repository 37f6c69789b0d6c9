//! A live cluster: its listings as documents, once or for as long as one watches.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::{AskedAgain, Found, ObservedFrom, Origin, Visit};
use crate::nomad::listing::{self, Listing};
use crate::nomad::{Ask, Client, Fault, Stop, Target};
use crate::time;

/// How often a listing is asked for when it breaks off.
const TRIES: u32 = 3;
/// The pause before it is asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause while watching, when the cluster cannot be asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
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
}

/// Why a round of listings has ended early.
enum Ended {
    /// Nobody wants more.
    Unwanted,
    /// The cluster does not answer.
    Fault(Fault),
}

impl Cluster {
    /// Walks through the listings until there are no more, or we are told to stop.
    pub(super) fn walk(&self, origin: &Origin, read: &(dyn Fn(u64) + Sync), visit: &mut Visit<'_>) -> bool {
        let mut outage = Outage::default();
        let mut nodes_at: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let with_nodes = nodes_at.is_none_or(|at| at.elapsed() >= NODES_EVERY);
            let ended = self.list(origin, with_nodes, read, visit).and_then(|index| {
                if with_nodes {
                    nodes_at = Some(began);
                }
                let Some(watching) = self.watching else { return Ok(None) };
                outage = Outage::default();
                self.ask.wait(&self.client, index.unwrap_or(0)).map_err(Ended::Fault)?;
                Ok(Some(watching))
            });
            match ended {
                Ok(None) | Err(Ended::Fault(Fault::Stopped)) => return true,
                Ok(Some(watching)) => self.stop().sleep(watching.min_interval.saturating_sub(began.elapsed())),
                Err(Ended::Unwanted) => return false,
                Err(Ended::Fault(fault)) if self.watching.is_some() && fault.may_pass() => {
                    if outage.is_news(&fault) {
                        visit(Found::Told(origin.clone(), format!("{fault}; asking again until it answers")));
                    }
                    self.stop().sleep(outage.pause());
                }
                Err(Ended::Fault(fault)) => return visit(Found::Unreadable(origin.clone(), fault.to_string())),
            }
            if self.stop().is_set() {
                return true;
            }
        }
    }

    fn stop(&self) -> &Stop {
        self.client.stop()
    }

    /// Shows every listing once; the index from which on changes are not in them.
    fn list(
        &self,
        origin: &Origin,
        with_nodes: bool,
        read: &(dyn Fn(u64) + Sync),
        visit: &mut Visit<'_>,
    ) -> Result<Option<i64>, Ended> {
        let targets = self.ask.targets(&self.client, &mut telling(origin, visit)).map_err(Ended::Fault)?;
        let mut first_index = None;
        for target in &targets {
            let index = self.list_one(target, origin, read, visit)?;
            first_index = first_index.or(index);
        }
        if with_nodes {
            self.list_nodes(origin, read, visit)?;
        }
        Ok(first_index)
    }

    /// Shows the listing of a namespace, more than once if it breaks off.
    fn list_one(
        &self,
        target: &Target,
        origin: &Origin,
        read: &(dyn Fn(u64) + Sync),
        visit: &mut Visit<'_>,
    ) -> Result<Option<i64>, Ended> {
        for tries_left in (0..TRIES).rev() {
            let opened = Listing::open(&self.client, &self.ask, &target.namespace, &mut telling(origin, visit));
            let mut listing = match opened {
                Ok(listing) => listing,
                Err(fault) if target.is_found && fault.is_status(403) => {
                    let why = format!("namespace {}: the token may not read allocations there", target.namespace);
                    return if visit(Found::PassedOver(origin.clone(), why)) { Ok(None) } else { Err(Ended::Unwanted) };
                }
                Err(fault) => return Err(Ended::Fault(fault)),
            };
            let index = listing.index;
            let of_listing = Origin {
                observed: origin.observed.or(Some((listing.observed_at, ObservedFrom::Fetched))),
                namespace: Some(target.namespace.clone()),
                full_listing: target.is_full.then(|| target.namespace.clone()),
                nomad_index: index,
                ..origin.clone()
            };
            let mut stream =
                Breakable { inner: &mut listing, read, is_made_good: tries_left > 0, stop: self.stop(), broke: false };
            if !visit(Found::Document(of_listing, &mut stream)) {
                return Err(Ended::Unwanted);
            }
            if !stream.broke {
                return Ok(index);
            }
            self.stop().sleep(PAUSE);
            if self.stop().is_set() {
                return Err(Ended::Fault(Fault::Stopped));
            }
        }
        Ok(None)
    }

    /// Shows the list of nodes. Without it all but classes and data centres is known.
    fn list_nodes(&self, origin: &Origin, read: &(dyn Fn(u64) + Sync), visit: &mut Visit<'_>) -> Result<(), Ended> {
        let answer = listing::nodes(&self.client, self.ask.stale, &mut telling(origin, visit));
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(Fault::Stopped) => return Err(Ended::Fault(Fault::Stopped)),
            Err(fault) => {
                let what = match fault {
                    fault if fault.is_status(403) => "the token's policies lack node { policy = \"read\" }".to_owned(),
                    fault => fault.to_string(),
                };
                let what = format!("nodes are not listed, so classes and data centres are not known: {what}");
                visit(Found::Told(origin.clone(), what));
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
            Breakable { inner: &mut answer.body, read, is_made_good: false, stop: self.stop(), broke: false };
        if visit(Found::Document(of_nodes, &mut stream)) { Ok(()) } else { Err(Ended::Unwanted) }
    }
}

/// Tells of every fault that is about to be tried again.
fn telling<'t>(origin: &'t Origin, visit: &'t mut Visit<'_>) -> impl FnMut(&Fault) + 't {
    |fault| {
        visit(Found::Told(origin.clone(), format!("{fault}; asking again")));
    }
}

/// A stream that may break off and be asked for again.
struct Breakable<'b> {
    inner: &'b mut dyn Read,
    read: &'b (dyn Fn(u64) + Sync),
    /// Whether it is asked for again if it breaks off.
    is_made_good: bool,
    stop: &'b Stop,
    broke: bool,
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
                self.broke = true;
                if self.stop.is_set() {
                    return Err(io::Error::other(AskedAgain("stopped".into())));
                }
                Err(if self.is_made_good { io::Error::other(AskedAgain(format!("{e}; asking again"))) } else { e })
            }
        }
    }
}

/// While the cluster does not answer: what was said of it, and how long to wait.
#[derive(Default)]
struct Outage {
    said: Option<Fault>,
    pause: Option<Duration>,
}

impl Outage {
    /// Whether the fault is another than the one before.
    fn is_news(&mut self, fault: &Fault) -> bool {
        self.said.replace(fault.clone()).as_ref() != Some(fault)
    }

    /// The next pause, twice as long as the one before.
    fn pause(&mut self) -> Duration {
        let pause = self.pause.map_or(PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        pause
    }
}
