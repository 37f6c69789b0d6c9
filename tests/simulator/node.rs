//! Client nodes: their clocks, their report times, and their outages.

use crate::simulator::SECOND;
use crate::simulator::random::Random;

/// A client's wall clock relative to the servers'.
#[derive(Debug, Clone)]
pub struct Clock {
    /// How far the clock is ahead of the servers' clock, in nanoseconds.
    pub skew: i64,
    /// A step of the clock by NTP: when it happens, and by how much.
    pub stepped: Option<(i64, i64)>,
    /// The clock's resolution in nanoseconds: Windows clocks may advance in steps of 15.6 ms.
    pub tick: i64,
    /// The client's offset from UTC in minutes. The client writes some times in this zone.
    pub zone: i32,
}

impl Clock {
    /// The time on the client's clock when the servers' clock shows `at`.
    pub fn read(&self, at: i64) -> i64 {
        let stepped = self.stepped.map_or(0, |(when, by)| if at >= when { by } else { 0 });
        let shown = at + self.skew + stepped;
        shown - shown % self.tick
    }
}

/// What happens to the allocations of a node while the servers do not receive its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageKind {
    /// The network is cut: tasks continue, but the servers receive no reports and mark the allocations lost.
    Cut,
    /// The machine is suspended: tasks do nothing until it resumes.
    Frozen,
    /// The network is cut, but the groups tolerate this: the allocations are unknown until the client reconnects.
    Tolerated,
}

/// A time in which the servers do not receive a node's reports.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub kind: OutageKind,
    pub from: i64,
    /// When the servers mark the node down.
    pub noticed: i64,
    /// When the node is back. If it never is, a time after the end of the simulation.
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
    /// Reports are sent at multiples of an interval, plus this offset.
    phase: i64,
    /// How long a report takes to reach the servers.
    latency: i64,
    pub create_index: i64,
}

impl Node {
    /// A node with a slightly wrong clock. `rare` is the frequency of unusual clocks, in percent.
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

    /// Whether a kill is also recorded on tasks that are already dead, as before Nomad 1.10.3.
    pub fn kills_the_dead(&self) -> bool {
        self.version == "1.8.4"
    }

    /// When the servers receive a change made at `at`. Clients collect status changes for 200 ms and other changes
    /// for a second (client.go, `allocSync`). They report nothing while disconnected.
    pub fn heard(&self, at: i64, urgent: bool) -> i64 {
        let every = if urgent { SECOND / 5 } else { SECOND };
        let tick = |at: i64| (at - self.phase).div_euclid(every) * every + every + self.phase + self.latency;
        match self.outage {
            Some(outage) if (outage.from..outage.back).contains(&tick(at)) => tick(outage.back),
            _ => tick(at),
        }
    }
}
