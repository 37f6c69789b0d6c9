//! A stand-in for a cluster that replays a recorded event stream, accelerated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::agent::{Ending, Reply, Request};

/// The interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(300);

/// A fault of the stream before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is closed within the frame's line.
    Cut,
    /// TCP is reset.
    Reset,
    /// Nothing is sent any more.
    Silence,
    /// The server reports a slow reader and drops events.
    Dropped,
}

/// A cluster that changes like a recorded one.
pub struct Replay {
    frames: Vec<Frame>,
    pace: Pace,
    /// How many frames the server remembers.
    remembered: usize,
    /// Faults, by the number of the frame.
    troubles: Mutex<Vec<(usize, Trouble)>>,
    opened: Mutex<Vec<Opened>>,
    /// The number of the stream opened last, and how many frames it has sent.
    played: Mutex<(usize, usize)>,
    /// Whether the agent is unavailable.
    away: AtomicBool,
    /// A listing has the allocations of this many last frames. Older allocations were garbage-collected.
    listed: usize,
}

/// When the frames of a replay happen.
enum Pace {
    /// At their times, accelerated, from the first request on.
    Timed { began: Mutex<Option<Instant>>, speed: u32 },
    /// A fixed number of frames at each step. `happened` counts the frames that have happened.
    Stepwise { step: usize, happened: AtomicUsize },
}

/// A stream that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its namespace.
    pub namespace: String,
    /// Its start index.
    pub from: Option<i64>,
}

/// The events of one index.
struct Frame {
    index: i64,
    /// Its time, relative to the first frame.
    after: Duration,
    events: Vec<Event>,
}

struct Event {
    namespace: String,
    id: String,
    text: Box<RawValue>,
    allocation: Box<RawValue>,
}

impl Replay {
    /// Replays a recording in the time `within`.
    pub fn new(recording: &Path, within: Duration, remembered: usize, troubles: &[(usize, Trouble)]) -> Arc<Replay> {
        let frames = frames(&read(recording));
        let life = frames.last().expect("frames").after;
        let speed = (life.as_millis() / within.as_millis()).try_into().expect("a factor");
        Replay::of(frames, Pace::Timed { began: Mutex::default(), speed }, remembered, usize::MAX, troubles)
    }

    /// Replays a recording several times, each time later and with other allocation IDs. A replay happens at each
    /// [`Replay::step`], the first one at once. Allocations of three replays ago are garbage-collected. In every second
    /// replay the server drops events once, so that a reader requests a listing.
    pub fn stepwise(recording: &Path, times: u64, apart: Duration) -> Arc<Replay> {
        let text = read(recording);
        let once = frames(&text);
        let (step, last) = (once.len(), once[once.len() - 1].index);
        let mut all = Vec::new();
        for number in 0..times {
            let mut later = frames(shifted(&text, number, apart).as_bytes());
            for frame in &mut later {
                frame.index += number as i64 * last;
                frame.after += apart * number as u32;
            }
            all.extend(later);
        }
        let drops: Vec<(usize, Trouble)> = (1..all.len()).step_by(2 * step).map(|at| (at, Trouble::Dropped)).collect();
        Replay::of(all, Pace::Stepwise { step, happened: step.into() }, usize::MAX, 3 * step, &drops)
    }

    /// Lets the next step happen.
    pub fn step(&self) {
        if let Pace::Stepwise { step, happened } = &self.pace {
            happened.fetch_add(*step, Ordering::SeqCst);
        }
    }

    fn of(
        frames: Vec<Frame>,
        pace: Pace,
        remembered: usize,
        listed: usize,
        troubles: &[(usize, Trouble)],
    ) -> Arc<Replay> {
        Arc::new(Replay {
            frames,
            pace,
            remembered,
            troubles: Mutex::new(troubles.to_vec()),
            opened: Mutex::default(),
            played: Mutex::default(),
            away: AtomicBool::default(),
            listed,
        })
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Waits for the end of the replay, and for the readers to catch up.
    pub fn wait(&self) {
        while self.now() < self.frames.len() {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_secs(2));
    }

    /// Makes the agent unavailable or available; the replay continues.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    /// Waits for the end of the replay, and until the last stream has sent it.
    pub fn wait_for_stream(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while *self.played.lock().expect("no thread has died") != (self.opened().len(), self.frames.len()) {
            assert!(Instant::now() < until, "no reader follows the stream");
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_secs(2));
    }

    /// The streams that were opened.
    pub fn opened(&self) -> Vec<Opened> {
        self.opened.lock().expect("no thread has died").clone()
    }

    /// The number of faults that have not occurred yet.
    pub fn troubles_left(&self) -> usize {
        self.troubles.lock().expect("no thread has died").len()
    }

    /// How many frames have happened.
    fn now(&self) -> usize {
        match &self.pace {
            Pace::Timed { began, speed } => {
                let began = *began.lock().expect("no thread has died").get_or_insert_with(Instant::now);
                self.frames.partition_point(|frame| frame.after <= began.elapsed() * *speed)
            }
            Pace::Stepwise { happened, .. } => happened.load(Ordering::SeqCst),
        }
    }

    fn index(&self) -> i64 {
        self.frames[..self.now()].last().map_or(0, |frame| frame.index)
    }

    /// The existing namespaces.
    fn namespaces(&self) -> BTreeSet<String> {
        let events = self.frames[..self.now()].iter().flat_map(|frame| &frame.events);
        events.map(|event| event.namespace.clone()).chain(["default".to_owned()]).collect()
    }

    /// The present allocations.
    fn list(&self, namespace: &str) -> Reply {
        let (now, index) = (self.now(), self.index());
        let mut allocations = BTreeMap::new();
        for event in self.frames[now.saturating_sub(self.listed)..now].iter().flat_map(|frame| &frame.events) {
            if namespace == "*" || namespace == event.namespace {
                allocations.insert(&event.id, event.allocation.get());
            }
        }
        let texts: Vec<&str> = allocations.into_values().collect();
        Reply::list(index, format!("[{}]", texts.join(",")))
    }

    /// The answer to a request, without ACL checks.
    pub fn answer(self: &Arc<Replay>, request: &Request) -> Reply {
        if self.is_away() {
            return Reply::hang_up();
        }
        match request.path.as_str() {
            "/v1/allocations" => {
                let after: i64 = request.parameter("index").parse().unwrap_or(-1);
                let began = Instant::now();
                while self.index() <= after && began.elapsed() < Duration::from_secs(1) {
                    thread::sleep(Duration::from_millis(5));
                }
                self.list(request.parameter("namespace"))
            }
            "/v1/namespaces" => {
                let names: Vec<String> = self.namespaces().into_iter().collect();
                super::namespaces(&names)
            }
            "/v1/event/stream" => self.stream(request),
            _ => super::aside(request),
        }
    }

    fn stream(self: &Arc<Replay>, request: &Request) -> Reply {
        assert_eq!((request.parameter("topic"), request.header("accept-encoding")), ("Allocation", "identity"));
        let namespace = request.parameter("namespace").to_owned();
        let from: Option<i64> = request.parameter("index").parse().ok();
        let mut opened = self.opened.lock().expect("no thread has died");
        opened.push(Opened { namespace: namespace.clone(), from });
        let number = opened.len();
        drop(opened);
        let replay = Arc::clone(self);
        Reply::stream(move |out| replay.play(number, &namespace, from, out))
    }

    fn play(&self, number: usize, namespace: &str, from: Option<i64>, out: &mut dyn Write) -> io::Result<Ending> {
        // The namespaces of a stream are fixed when it is opened.
        let carried = if namespace == "*" { self.namespaces() } else { [namespace.to_owned()].into() };
        let now = self.now();
        let oldest = now.saturating_sub(self.remembered);
        let wanted = self.frames.partition_point(|frame| from.is_some_and(|from| frame.index < from));
        let mut next = wanted.clamp(oldest, now.saturating_sub(1).max(oldest));
        out.write_all(b"{}\n")?;
        let mut beat = Instant::now();
        loop {
            if self.is_away() {
                return Ok(Ending::Reset);
            }
            for frame in &self.frames[next..self.now().max(next)] {
                let line = frame.line(&carried);
                if !line.is_empty() {
                    match self.trouble(next) {
                        None => out.write_all(line.as_bytes())?,
                        Some(Trouble::Cut) => {
                            out.write_all(&line.as_bytes()[..line.len() / 2])?;
                            return Ok(Ending::Closed);
                        }
                        Some(Trouble::Reset) => return Ok(Ending::Reset),
                        Some(Trouble::Dropped) => {
                            out.write_all(b"event dropped from buffer\n")?;
                            return Ok(Ending::Closed);
                        }
                        Some(Trouble::Silence) => {
                            thread::sleep(Duration::from_secs(4));
                            return Ok(Ending::Closed);
                        }
                    }
                }
                next += 1;
            }
            let mut played = self.played.lock().expect("no thread has died");
            if played.0 <= number {
                *played = (number, next);
            }
            drop(played);
            if beat.elapsed() > HEARTBEAT {
                beat = Instant::now();
                out.write_all(b"{}\n")?;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Removes and returns the fault of a frame.
    fn trouble(&self, number: usize) -> Option<Trouble> {
        let mut troubles = self.troubles.lock().expect("no thread has died");
        let at = troubles.iter().position(|(from, _)| number >= *from)?;
        Some(troubles.remove(at).1)
    }
}

impl Frame {
    /// The line of a frame, restricted to these namespaces; empty if nothing is left.
    fn line(&self, carried: &BTreeSet<String>) -> String {
        let events = self.events.iter().filter(|event| carried.contains(&event.namespace));
        let texts: Vec<&str> = events.map(|event| event.text.get()).collect();
        if texts.is_empty() {
            return String::new();
        }
        format!("{{\"Index\":{},\"Events\":[{}]}}\n", self.index, texts.join(","))
    }
}

fn read(recording: &Path) -> Vec<u8> {
    zstd::decode_all(&*fs::read(recording).expect("a recording")).expect("zstd")
}

/// A recording shifted by a number of replays. All times are later, and all IDs are different.
fn shifted(text: &[u8], number: u64, life: Duration) -> String {
    let text = std::str::from_utf8(text).expect("UTF-8");
    let is_id = |word: &str| word.len() == 36 && [8, 13, 18, 23].iter().all(|at| word.as_bytes()[*at] == b'-');
    let is_time = |word: &str| word.len() == 19 && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(rest.len());
        let word = &rest[..end];
        if is_id(word) {
            let last = u64::from_str_radix(&word[32..], 16).expect("hexadecimal digits");
            out.push_str(&format!("{}{:04x}", &word[..32], (last + number) & 0xffff));
        } else if is_time(word) {
            let time: u64 = word.parse().expect("digits");
            out.push_str(&(time + number * life.as_nanos() as u64).to_string());
        } else {
            out.push_str(word);
        }
        rest = &rest[end..];
    }
    out + rest
}

/// The frames of a recorded stream that have allocation events.
fn frames(text: &[u8]) -> Vec<Frame> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Line {
        index: Option<i64>,
        #[serde(default)]
        events: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Recorded {
        topic: String,
        #[serde(default)]
        payload: Option<Payload>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Payload {
        allocation: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Allocation {
        #[serde(rename = "ID")]
        id: String,
        namespace: String,
        modify_time: u64,
    }
    let mut frames: Vec<Frame> = Vec::new();
    let (mut first, mut newest) = (None, 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Line = serde_json::from_slice(line).expect("a frame");
        let mut events = Vec::new();
        for text in line.events {
            let recorded: Recorded = serde_json::from_str(text.get()).expect("an event");
            let allocation = recorded.payload.and_then(|payload| payload.allocation);
            let Some(allocation) = allocation.filter(|_| recorded.topic == "Allocation") else { continue };
            let known: Allocation = serde_json::from_str(allocation.get()).expect("an allocation");
            newest = known.modify_time.max(newest);
            events.push(Event { namespace: known.namespace, id: known.id, text, allocation });
        }
        if let (Some(index), false) = (line.index, events.is_empty()) {
            let after = Duration::from_nanos(newest - *first.get_or_insert(newest));
            frames.push(Frame { index, after, events });
        }
    }
    frames
}
