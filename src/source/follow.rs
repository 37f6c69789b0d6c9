//! A live cluster followed by its event stream, and listed wherever the stream may have missed something.
//!
//! A stream does not say what it has missed: what was dropped while nobody read, what a server forgot with its restart,
//! namespaces that were made after it was opened, allocations that were collected. A listing shows all of that, so one
//! stands at the beginning of every stream, and another after whatever a stream cannot tell.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::cluster::{Ended, Walk, Watching, telling};
use super::{Found, ObservedFrom, Origin};
use crate::nomad::stream::{Events, Sign};
use crate::nomad::{Client, Fault, Namespaces, Stop, Target, Targets};
use crate::time;

/// How many frames wait while a listing is read. Then the server waits, and in the end cuts the stream.
const WAITING: usize = 512;
/// How large a document of frames grows.
const LARGEST: usize = 4 << 20;
/// How many streams there may be: a server allows a client a hundred connections.
const STREAMS: usize = 32;
/// How often is listed when nothing calls for it. The stream does not tell what was collected.
const LIST_EVERY: Duration = Duration::from_secs(600);
/// How long is waited at a time for something to come.
const HEED: Duration = Duration::from_millis(100);

/// What the thread that reads a stream says.
enum Said {
    /// The stream shows something.
    Sign(Sign),
    /// It is over.
    Over(Fault),
}

/// How far a stream has come.
enum State {
    /// It was asked for.
    Asked,
    /// It is permitted.
    Open,
    /// It is over, or never began.
    Over(Fault),
}

/// What is to be done when a round ends.
enum Next {
    /// Open the streams where they were left.
    Again,
    /// Open them with all that the servers remember.
    Anew,
    /// List instead.
    List(Fault),
}

/// Frames that make the next document.
#[derive(Default)]
struct Frames {
    lines: Vec<u8>,
    index: Option<i64>,
    /// When the document before was handed on.
    handed_on: Option<Instant>,
}

/// The newest index that was seen of a namespace.
type Indices = BTreeMap<String, i64>;
/// The namespaces that there were when streams were opened, if they are known.
type Names = Option<Vec<String>>;

impl<'w> Walk<'w, '_> {
    /// Follows the cluster until we are told to stop.
    pub(super) fn follow(&mut self, watching: Watching) -> Result<(), Ended> {
        thread::scope(|scope| {
            let (mut seen, mut names) = (Indices::new(), Names::None);
            let ended = loop {
                let round = self.round(scope, watching, &mut seen, &mut names);
                if let Err(ended) = round.or_else(|ended| self.endure(ended)) {
                    break Err(ended);
                }
                if self.stop().is_set() {
                    break Ok(());
                }
            };
            // The threads that still read hear of it, too.
            self.stop().set();
            ended
        })
    }

    /// Opens the streams, lists, and hands on what they show, until one of them ends or others are wanted.
    fn round<'s, 'e>(
        &mut self,
        scope: &'s Scope<'s, 'e>,
        watching: Watching,
        seen: &mut Indices,
        names: &mut Names,
    ) -> Result<(), Ended>
    where
        'w: 's,
        'w: 'e,
    {
        // A stream that does not last leaves what listing alone would show, and costs no more.
        self.stop().sleep(self.may_list_at(watching).saturating_duration_since(Instant::now()));
        let targets = self.targets()?;
        // The stream before did not carry a namespace that has come since, whatever index it had reached.
        if mem::replace(names, targets.names.clone()) != targets.names {
            seen.clear();
        }
        if targets.list.len() > STREAMS {
            return self.list_instead(&format!("{} namespaces would need a stream each", targets.list.len()));
        }
        let said = open(scope, &self.cluster.client, &targets.list, seen);
        let mut frames = Frames::default();
        let next = self.listen(watching, &targets, &said, &mut frames, seen);
        if !matches!(next, Err(Ended::Unwanted)) {
            for (number, said) in rest(&said, self.stop()) {
                if let Said::Sign(sign) = said {
                    frames.add(sign, &targets.list[number], seen);
                }
            }
            self.hand_on(&mut frames)?;
        }
        drop(said);
        match next? {
            Next::Again => Ok(()),
            Next::Anew => {
                seen.clear();
                Ok(())
            }
            Next::List(why) => self.list_instead(&why.to_string()),
        }
    }

    /// Lists, and hands on what the streams show: what is to be done when that ends.
    fn listen(
        &mut self,
        watching: Watching,
        targets: &Targets,
        said: &Receiver<(usize, Said)>,
        frames: &mut Frames,
        seen: &mut Indices,
    ) -> Result<Next, Ended> {
        let mut states: Vec<State> = targets.list.iter().map(|_| State::Asked).collect();
        // For each stream whether a listing shows its namespace; nothing before there was one.
        let mut is_readable: Option<Vec<bool>> = None;
        let mut list_at = Instant::now();
        let mut look_at = Instant::now() + watching.min_interval;
        while !self.stop().is_set() {
            match said.recv_timeout(HEED) {
                Ok((number, Said::Sign(sign))) => {
                    states[number] = State::Open;
                    if frames.add(sign, &targets.list[number], seen) {
                        list_at = list_at.min(self.may_list_at(watching));
                    }
                }
                // We are told to stop ourselves, which is no trouble of the stream.
                Ok((_, Said::Over(Fault::Stopped))) => break,
                Ok((number, Said::Over(fault))) => {
                    let may_read = is_readable.as_ref().is_none_or(|is_readable| is_readable[number]);
                    if may_read && !is_refusal(&fault) && self.outage.begin(&fault, Instant::now()) {
                        self.tell(format!("{fault}; opening it again, and listing what it may have missed"));
                    }
                    states[number] = State::Over(fault);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Every stream is over, so nothing comes that wakes us.
                Err(RecvTimeoutError::Disconnected) => self.stop().sleep(HEED),
            }
            let is_asked = states.iter().any(|state| matches!(state, State::Asked));
            if !is_asked && Instant::now() >= list_at && !self.stop().is_set() {
                if is_readable.is_some() && targets.names.is_none() && self.cluster.ask.namespace == "*" {
                    // Which namespaces there are by now only another stream tells.
                    return Ok(Next::Again);
                }
                let listed = self.list(targets)?;
                list_at = Instant::now() + LIST_EVERY;
                if let Some(fault) = refused(&states, &listed.is_readable) {
                    return Ok(Next::List(fault.clone()));
                }
                if listed.is_whole && !is_broken(&states, &listed.is_readable) {
                    self.instead = None;
                    self.recovered();
                }
                is_readable = Some(listed.is_readable);
            }
            if is_readable.as_ref().is_some_and(|is_readable| is_broken(&states, is_readable)) {
                return Ok(Next::Again);
            }
            if frames.are_due(watching.frames_every) {
                self.hand_on(frames)?;
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + watching.min_interval;
                let there = self.namespaces()?;
                if there.is_some() && is_readable.is_some() {
                    self.recovered();
                }
                if there.is_some() && there != targets.names {
                    // A stream carries the namespaces that there were when it was opened.
                    return Ok(Next::Anew);
                }
            }
        }
        Ok(Next::Again)
    }

    /// When the next listing may be begun.
    fn may_list_at(&self, watching: Watching) -> Instant {
        self.listed_at.map_or_else(Instant::now, |at| at + watching.min_interval)
    }

    /// Lists with every change for a while, since there can be no stream.
    fn list_instead(&mut self, why: &str) -> Result<(), Ended> {
        // It is tried again every few minutes, and said once.
        if self.instead.as_deref() != Some(why) {
            self.instead = Some(why.to_owned());
            self.tell(format!("{why}; listing with every change instead, as --watch does"));
        }
        self.list_until(Some(Instant::now() + LIST_EVERY))
    }

    /// The namespaces that there are, if they count and the token may know of them.
    fn namespaces(&mut self) -> Result<Option<Vec<String>>, Ended> {
        if self.cluster.ask.namespace != "*" {
            return Ok(None);
        }
        let mut told = telling(self.origin, self.visit, &mut self.outage);
        match Namespaces::ask(&self.cluster.client, self.cluster.ask.stale, &mut told) {
            Ok(namespaces) => Ok(namespaces.names().map(<[String]>::to_vec)),
            Err(Fault::Stopped) => Err(Fault::Stopped.into()),
            Err(_) => Ok(None),
        }
    }

    /// Shows the frames that have come as a document.
    fn hand_on(&mut self, frames: &mut Frames) -> Result<(), Ended> {
        if frames.lines.is_empty() {
            return Ok(());
        }
        frames.handed_on = Some(Instant::now());
        let origin = Origin {
            name: format!("{}/v1/event/stream", self.origin.name),
            observed: self.origin.observed.or(Some((time::now(), ObservedFrom::Fetched))),
            namespace: Some(self.cluster.ask.namespace.clone()),
            full_listing: None,
            nomad_index: frames.index.take(),
            is_stream: true,
            ..self.origin.clone()
        };
        let lines = mem::take(&mut frames.lines);
        (self.read)(lines.len() as u64);
        if (self.visit)(Found::Document(origin, &mut Cursor::new(lines))) { Ok(()) } else { Err(Ended::Unwanted) }
    }
}

impl Frames {
    /// Adds what a stream shows; whether its index went back, as when a cluster was restored.
    fn add(&mut self, sign: Sign, target: &Target, seen: &mut Indices) -> bool {
        let Sign::Frame { index, line } = sign else { return false };
        self.lines.extend_from_slice(&line);
        self.index = self.index.max(Some(index));
        seen.insert(target.namespace.clone(), index).is_some_and(|before| index < before)
    }

    fn are_due(&self, every: Duration) -> bool {
        !self.lines.is_empty() && (self.lines.len() >= LARGEST || self.handed_on.is_none_or(|at| at.elapsed() >= every))
    }
}

/// Opens a stream for each namespace, where the one before was left.
fn open<'s>(
    scope: &'s Scope<'s, '_>,
    client: &'s Client,
    targets: &[Target],
    seen: &Indices,
) -> Receiver<(usize, Said)> {
    let (say, said) = sync_channel(WAITING);
    for (number, target) in targets.iter().enumerate() {
        let (say, namespace, from) = (say.clone(), target.namespace.clone(), seen.get(&target.namespace).copied());
        scope.spawn(move || read(client, &namespace, from, number, &say));
    }
    said
}

/// Reads a stream to its end, or until nobody listens any longer.
fn read(client: &Client, namespace: &str, from: Option<i64>, number: usize, say: &SyncSender<(usize, Said)>) {
    let read = || {
        let mut events = Events::open(client, namespace, from)?;
        loop {
            // A busy stream never waits, and so does not hear that it has to stop.
            if say.send((number, Said::Sign(events.wait()?))).is_err() || client.stop().is_set() {
                return Ok(());
            }
        }
    };
    if let Err(fault) = read() {
        // If nobody listens, nobody misses it.
        let _ = say.send((number, Said::Over(fault)));
    }
}

/// What has come and was not looked at. Once we are told to stop, all that comes: the threads then end by themselves.
fn rest(said: &Receiver<(usize, Said)>, stop: &Stop) -> Vec<(usize, Said)> {
    if stop.is_set() { said.iter().collect() } else { said.try_iter().collect() }
}

/// Whether there is no use in asking for a stream again soon.
fn is_refusal(fault: &Fault) -> bool {
    matches!(fault, Fault::Mute(_) | Fault::NoStream | Fault::NotNomad(_) | Fault::Status { .. }) && !fault.is_passing()
}

/// Returns true if the stream of a namespace that can be read has ended and may be opened again.
fn is_broken(states: &[State], is_readable: &[bool]) -> bool {
    let is_over = |state: &State| matches!(state, State::Over(fault) if !is_refusal(fault));
    states.iter().zip(is_readable).any(|(state, is_readable)| *is_readable && is_over(state))
}

/// Why a namespace that can be listed is refused a stream, or none gets one.
fn refused<'s>(states: &'s [State], is_readable: &[bool]) -> Option<&'s Fault> {
    let is_any_open = states.iter().any(|state| matches!(state, State::Open));
    states.iter().zip(is_readable).find_map(|(state, is_readable)| match state {
        State::Over(fault) if is_refusal(fault) && (*is_readable || !is_any_open) => Some(fault),
        _ => None,
    })
}
