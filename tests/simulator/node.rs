//! Client nodes: their clocks, their report times, and their outages.

use crate::simulator::SECOND;
use crate::simulator::random::Random;

/// A client's wall clock relative to the servers'.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Ahead of the servers by this many nanoseconds.
    pub skew: i64,
    /// An additional step at that time (by NTP).
    pub stepped: Option<(i64, i64)>,
    /// The clock's resolution in nanoseconds: Windows clocks may advance in steps of 15.6 ms.
    pub tick: i64,
    /// The client's offset from UTC in minutes. Some of its times are written in its zone.
    pub zone: i32,
}

impl Clock {
    /// The client's time when it is `at` on the servers' clock.
    pub fn read(&self, at: i64) -> i64 {
        let stepped = self.stepped.map_or(0, |(when, by)| if at >= when { by } else { 0 });
        let shown = at + self.skew + stepped;
        shown - shown % self.tick
    }
}

/// What happens to a node's allocations while the servers do not receive its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageKind {
    /// The network is cut: tasks continue without reports. The servers mark the allocations lost.
    Cut,
    /// The machine is suspended: nothing happens until it resumes.
    Frozen,
    /// The network is cut, and the groups tolerate it: the allocations are unknown until the client reconnects.
    Tolerated,
}

/// A time in which the servers do not receive a node's reports.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub kind: OutageKind,
    pub from: i64,
    /// When the servers mark the node down.
    pub noticed: i64,
    /// When it is back; a time after the end of the simulation if it never is.
    pub back: i64,
}

/// A client node.
#[derive(Debug, Clone)]
pub struct Node {
    pub id: String,
    pub name: String,
    pub class: &'static str,
    pub pool: &'static str,
    pub datacenter: &'static str,
    pub version: &'static str,
    pub clock: Clock,
    pub outage: Option<Outage>,
    /// Reports are sent at multiples of their interval, plus this offset.
    phase: i64,
    /// The latency of its reports.
    latency: i64,
    pub create_index: i64,
}

impl Node {
    /// A node with a slightly wrong clock. `rare` is the frequency of rarer kinds of clock, in percent.
    pub fn new(number: usize, rare: u32, random: &mut Random) -> Self {
        let clock = Clock {
            skew: random.seconds(-3.0, 3.0),
            stepped: None,
            tick: if random.chance(rare) { 15_625_000 } else { 1 },
            zone: *random.pick(&[0, 0, 60, 330, -480]),
        };
        Self {
            id: random.uuid(),
            name: format!("client{number}"),
            class: random.pick::<&str>(&["", "small", "big"]),
            pool: random.pick::<&str>(&["default", "default", "batch"]),
            datacenter: random.pick::<&str>(&["dc1", "dc2"]),
            version: random.pick::<&str>(&["2.0.5", "2.0.5", "1.8.4"]),
            clock,
            outage: None,
            phase: random.seconds(0.0, 0.2),
            latency: random.seconds(0.001, 0.03),
            create_index: number as i64 + 7,
        }
    }

    /// Before 1.10.3 a kill was also recorded on tasks that were already dead.
    pub fn kills_the_dead(&self) -> bool {
        self.version == "1.8.4"
    }

    /// When the servers receive a change made at `at`: clients batch status changes for 200 ms, other changes for a
    /// second (client.go, `allocSync`), and report nothing while disconnected.
    pub fn heard(&self, at: i64, urgent: bool) -> i64 {
        let every = if urgent { SECOND / 5 } else { SECOND };
        let tick = |at: i64| (at - self.phase).div_euclid(every) * every + every + self.phase + self.latency;
        match self.outage {
            Some(outage) if (outage.from..outage.back).contains(&tick(at)) => tick(outage.back),
            _ => tick(at),
        }
    }
}
