//! Follows a live cluster by its event stream, with listings after possible gaps.
//!
//! A stream does not report what it lacks:
//! - events that the server dropped while the reader was slow, or lost in a restart;
//! - events of namespaces that were created after the stream was opened;
//! - which allocations were garbage-collected.
//!
//! A listing shows all of this, so the cluster is listed at the start of every stream, and after every possible gap.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::poll::{ClusterWalk, EarlyEnd, Watching, fault_reporter};
use super::{Found, ObservedFrom, Origin};
use crate::nomad::stream::{EventStream, StreamItem};
use crate::nomad::{CancelToken, Client, Fault, ListingTarget, Namespaces, Targets};
use crate::time;

/// How many frames are buffered while a listing is read. Beyond that the server waits, and finally closes the stream.
const WAITING: usize = 512;
/// Maximum size of a document of frames.
const LARGEST: usize = 4 << 20;
/// Maximum number of streams, because a server allows a client a hundred connections.
const STREAMS: usize = 32;
/// The interval of the regular listings. The stream does not report which allocations were garbage-collected, but a
/// listing shows this.
const LIST_EVERY: Duration = Duration::from_secs(600);
/// Shortest time between two requests for the list of namespaces.
const MIN_LOOK: Duration = Duration::from_millis(100);

/// A message of a thread that reads a stream.
enum StreamMessage {
    /// An item of the stream.
    Sign(StreamItem),
    /// The stream has ended.
    Over(Fault),
}

/// The state of a stream.
enum StreamState {
    /// Requested.
    Asked,
    /// Permitted.
    Open,
    /// Ended, or refused.
    Over(Fault),
}

/// What to do at the end of a round.
enum RoundEnd {
    /// Open the streams again at their last index.
    Again,
    /// Open the streams again from the oldest event that the servers have.
    Anew,
    /// Poll for a while instead of streaming.
    List(Fault),
}

/// The frames of the next document.
#[derive(Default)]
struct Frames {
    lines: Vec<u8>,
    index: Option<i64>,
    /// When the previous document was delivered.
    handed_on: Option<Instant>,
}

/// The last index that the streams showed for each namespace.
type Indices = BTreeMap<String, i64>;
/// The namespaces that existed when the streams were opened, if known.
type NamespaceList = Option<Vec<String>>;

impl<'w> ClusterWalk<'w, '_> {
    /// Follows the cluster until cancelled.
    pub(super) fn follow(&mut self, watching: Watching) -> Result<(), EarlyEnd> {
        thread::scope(|scope| {
            let (mut seen, mut names) = (Indices::new(), NamespaceList::None);
            let ended = loop {
                let round = self.round(scope, watching, &mut seen, &mut names);
                if let Err(ended) = round.or_else(|ended| self.wait_out(ended)) {
                    break Err(ended);
                }
                if self.stop().is_cancelled() {
                    break Ok(());
                }
            };
            // Cancel the threads that still read.
            self.stop().cancel();
            ended
        })
    }

    /// Opens the streams, lists, and delivers frames, until a stream ends or other streams are needed.
    fn round<'s, 'e>(
        &mut self,
        scope: &'s Scope<'s, 'e>,
        watching: Watching,
        seen: &mut Indices,
        names: &mut NamespaceList,
    ) -> Result<(), EarlyEnd>
    where
        'w: 's,
        'w: 'e,
    {
        // Wait as long as between two polls, so that a stream that always ends at once costs no more than polling.
        self.stop().sleep(self.may_list_at(watching).saturating_duration_since(Instant::now()));
        let targets = self.targets()?;
        // The previous streams have no events of namespaces that were created later. So if the namespaces have
        // changed, start from the oldest events.
        if mem::replace(names, targets.names.clone()) != targets.names {
            seen.clear();
        }
        if targets.list.len() > STREAMS {
            return self.list_instead(&format!("{} namespaces would need a stream each", targets.list.len()));
        }
        let said = open(scope, &self.cluster.client, &targets.list, seen);
        let mut frames = Frames::default();
        let next = self.listen(watching, &targets, &said, &mut frames, seen);
        if !matches!(next, Err(EarlyEnd::Unwanted)) {
            for (number, said) in drain(&said, self.stop()) {
                if let StreamMessage::Sign(sign) = said {
                    frames.add(sign, &targets.list[number], seen);
                }
            }
            self.emit_frames(&mut frames)?;
        }
        drop(said);
        match next? {
            RoundEnd::Again => Ok(()),
            RoundEnd::Anew => {
                seen.clear();
                Ok(())
            }
            RoundEnd::List(why) => self.list_instead(&why.to_string()),
        }
    }

    /// Lists, and delivers the frames of the streams; returns what to do next.
    fn listen(
        &mut self,
        watching: Watching,
        targets: &Targets,
        said: &Receiver<(usize, StreamMessage)>,
        frames: &mut Frames,
        seen: &mut Indices,
    ) -> Result<RoundEnd, EarlyEnd> {
        let mut states: Vec<StreamState> = targets.list.iter().map(|_| StreamState::Asked).collect();
        // For each stream, whether its namespace could be listed; `None` before the first listing.
        let mut is_readable: Option<Vec<bool>> = None;
        let mut list_at = Instant::now();
        let look_every = watching.min_interval.max(MIN_LOOK);
        let mut look_at = Instant::now() + look_every;
        while !self.stop().is_cancelled() {
            let is_asked = states.iter().any(|state| matches!(state, StreamState::Asked));
            let may_list_at = if is_asked { look_at } else { list_at };
            let until = look_at.min(may_list_at).min(frames.due_at(watching.frames_every).unwrap_or(look_at));
            // A cancellation wakes this wait, too, because it ends the streams, and the end of a stream is a message.
            match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((number, StreamMessage::Sign(sign))) => {
                    states[number] = StreamState::Open;
                    if frames.add(sign, &targets.list[number], seen) {
                        list_at = list_at.min(self.may_list_at(watching));
                    }
                }
                // The stream was cancelled by this program, so this is not a fault of the stream.
                Ok((_, StreamMessage::Over(Fault::Stopped))) => break,
                Ok((number, StreamMessage::Over(fault))) => {
                    let may_read = is_readable.as_ref().is_none_or(|is_readable| is_readable[number]);
                    if may_read && !is_refusal(&fault) && self.outage.begin(&fault, Instant::now()) {
                        self.warn(format!("{fault}; reopening it, and listing what it may have missed"));
                    }
                    states[number] = StreamState::Over(fault);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Every stream has ended, so no message arrives. Sleep instead of waiting for one.
                Err(RecvTimeoutError::Disconnected) => {
                    self.stop().sleep(until.saturating_duration_since(Instant::now()));
                }
            }
            let is_asked = states.iter().any(|state| matches!(state, StreamState::Asked));
            if !is_asked && Instant::now() >= list_at && !self.stop().is_cancelled() {
                if is_readable.is_some() && targets.names.is_none() && self.cluster.ask.namespace == "*" {
                    // The existing namespaces are not known by name. Namespaces that were created since the last stream
                    // was opened are only in a new stream.
                    return Ok(RoundEnd::Again);
                }
                let listed = self.list(targets)?;
                list_at = Instant::now() + LIST_EVERY;
                if let Some(fault) = refused(&states, &listed.is_readable) {
                    return Ok(RoundEnd::List(fault.clone()));
                }
                if listed.is_whole && !is_broken(&states, &listed.is_readable) {
                    self.instead = None;
                    self.recovered();
                }
                is_readable = Some(listed.is_readable);
            }
            if is_readable.as_ref().is_some_and(|is_readable| is_broken(&states, is_readable)) {
                return Ok(RoundEnd::Again);
            }
            if frames.due_at(watching.frames_every).is_some_and(|at| Instant::now() >= at) {
                self.emit_frames(frames)?;
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + look_every;
                let there = self.namespaces()?;
                if there.is_some() && is_readable.is_some() {
                    self.recovered();
                }
                if there.is_some() && there != targets.names {
                    // A stream includes only the namespaces that existed when it was opened, so open new streams.
                    return Ok(RoundEnd::Anew);
                }
            }
        }
        Ok(RoundEnd::Again)
    }

    /// When the next listing may start.
    fn may_list_at(&self, watching: Watching) -> Instant {
        self.listed_at.map_or_else(Instant::now, |at| at + watching.min_interval)
    }

    /// Polls for a while, because no stream is possible.
    fn list_instead(&mut self, why: &str) -> Result<(), EarlyEnd> {
        // The streams are tried again every few minutes, but the reason is reported once.
        if self.instead.as_deref() != Some(why) {
            self.instead = Some(why.to_owned());
            self.warn(format!("{why}; listing after every change instead, as --watch does"));
        }
        self.list_until(Some(Instant::now() + LIST_EVERY))
    }

    /// The existing namespaces, if relevant and visible to the token.
    fn namespaces(&mut self) -> Result<Option<Vec<String>>, EarlyEnd> {
        if self.cluster.ask.namespace != "*" {
            return Ok(None);
        }
        let mut on_fault = fault_reporter(self.origin, self.visit, &mut self.outage);
        match Namespaces::ask(&self.cluster.client, self.cluster.ask.stale, &mut on_fault) {
            Ok(namespaces) => Ok(namespaces.names().map(<[String]>::to_vec)),
            Err(Fault::Stopped) => Err(Fault::Stopped.into()),
            Err(_) => Ok(None),
        }
    }

    /// Delivers the buffered frames as a document.
    fn emit_frames(&mut self, frames: &mut Frames) -> Result<(), EarlyEnd> {
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
        if (self.visit)(Found::Document(origin, &mut Cursor::new(lines))) { Ok(()) } else { Err(EarlyEnd::Unwanted) }
    }
}

impl Frames {
    /// Adds an item of a stream; returns true if its index went back, for example after the cluster was restored.
    fn add(&mut self, sign: StreamItem, target: &ListingTarget, seen: &mut Indices) -> bool {
        let StreamItem::Frame { index, line } = sign else { return false };
        self.lines.extend_from_slice(&line);
        self.index = self.index.max(Some(index));
        seen.insert(target.namespace.clone(), index).is_some_and(|before| index < before)
    }

    /// When the frames are due to be delivered; `None` if there are none.
    fn due_at(&self, every: Duration) -> Option<Instant> {
        let at = self.handed_on.filter(|_| self.lines.len() < LARGEST).map(|at| at + every);
        (!self.lines.is_empty()).then(|| at.unwrap_or_else(Instant::now))
    }
}

/// Opens a stream for each namespace, at its last index.
fn open<'s>(
    scope: &'s Scope<'s, '_>,
    client: &'s Client,
    targets: &[ListingTarget],
    seen: &Indices,
) -> Receiver<(usize, StreamMessage)> {
    let (say, said) = sync_channel(WAITING);
    for (number, target) in targets.iter().enumerate() {
        let (say, namespace, from) = (say.clone(), target.namespace.clone(), seen.get(&target.namespace).copied());
        scope.spawn(move || read(client, &namespace, from, number, &say));
    }
    said
}

/// Reads a stream to its end, or until the receiver is gone.
fn read(client: &Client, namespace: &str, from: Option<i64>, number: usize, say: &SyncSender<(usize, StreamMessage)>) {
    let read = || {
        let mut events = EventStream::open(client, namespace, from)?;
        loop {
            // A busy stream never blocks, so check for cancellation here.
            if say.send((number, StreamMessage::Sign(events.wait()?))).is_err() || client.stop().is_cancelled() {
                return Ok(());
            }
        }
    };
    if let Err(fault) = read() {
        // Ignore the error if the receiver is gone.
        let _ = say.send((number, StreamMessage::Over(fault)));
    }
}

/// The remaining messages. After cancellation, waits for all of them, because the threads then end by themselves.
fn drain(said: &Receiver<(usize, StreamMessage)>, stop: &CancelToken) -> Vec<(usize, StreamMessage)> {
    if stop.is_cancelled() { said.iter().collect() } else { said.try_iter().collect() }
}

/// Returns true if requesting the stream again soon is pointless.
fn is_refusal(fault: &Fault) -> bool {
    matches!(fault, Fault::NoHeartbeat(_) | Fault::NoStream | Fault::NotNomad(_) | Fault::Status { .. })
        && !fault.is_passing()
}

/// Returns true if the stream of a readable namespace has ended and may be opened again.
fn is_broken(states: &[StreamState], is_readable: &[bool]) -> bool {
    let is_over = |state: &StreamState| matches!(state, StreamState::Over(fault) if !is_refusal(fault));
    states.iter().zip(is_readable).any(|(state, is_readable)| *is_readable && is_over(state))
}

/// The refusal of a stream whose namespace can be listed; if no stream is open, the refusal of any stream.
fn refused<'s>(states: &'s [StreamState], is_readable: &[bool]) -> Option<&'s Fault> {
    let is_any_open = states.iter().any(|state| matches!(state, StreamState::Open));
    states.iter().zip(is_readable).find_map(|(state, is_readable)| match state {
        StreamState::Over(fault) if is_refusal(fault) && (*is_readable || !is_any_open) => Some(fault),
        _ => None,
    })
}
