//! The cluster. It places jobs on nodes over time, and replaces allocations that fail, move or are lost. It
//! garbage-collects finished allocations, and numbers every change.

use crate::simulator::allocation_run::{Plan, Reception};
use crate::simulator::job::Job;
use crate::simulator::node::{Node, Outage, OutageKind};
use crate::simulator::random::Random;
use crate::simulator::scenario::{self, Scenario};
use crate::simulator::task_history::TaskHistory;
use crate::simulator::version::{Decision, Source, Version, versions};
use crate::simulator::{MINUTE, SECOND, START};

/// The configuration of a cluster.
#[derive(Debug, Clone)]
pub struct Config {
    pub nodes: usize,
    pub jobs: usize,
    /// The simulated time, in nanoseconds.
    pub span: i64,
    /// How long the servers keep finished allocations (`eval_gc_threshold`). The garbage collection runs every five
    /// minutes.
    pub kept: i64,
    /// The frequency of each scenario.
    pub weights: Vec<(Scenario, u32)>,
    /// The frequency of rare events, in percent: outages, wrong clocks, refused allocations and the like.
    pub rare: u32,
}

impl Default for Config {
    fn default() -> Self {
        let weights = scenario::ALL.to_vec();
        Self { nodes: 4, jobs: 7, span: 40 * MINUTE, kept: 6 * MINUTE, weights, rare: 12 }
    }
}

impl Config {
    /// A cluster without complications: no clock is set or coarse, no client loses its state, and no node has an
    /// outage. A history without a visible gap must then be complete.
    pub fn plain() -> Self {
        let odd = [Scenario::AgentRestarts, Scenario::StateLost, Scenario::CsiPlugin, Scenario::SlowStart];
        let weights = scenario::ALL.into_iter().filter(|(s, _)| !odd.contains(s)).collect();
        Self { rare: 0, weights, ..Self::default() }
    }
}

/// Why an allocation replaces another: the reasons of the `reschedules` view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacing {
    Rescheduled,
    Migrated,
    Updated,
    Preempted,
    /// The node was down, or was disconnected for too long.
    Lost,
    /// The node was disconnected and may come back. The view gives the reason `lost` here, too, but the allocation is
    /// replaced like a failed one.
    Disconnected,
}

/// An allocation and its whole history.
#[derive(Debug, Clone)]
pub struct Allocation {
    pub id: String,
    pub eval: String,
    pub deployment: String,
    /// The number of the allocation's job, the number of its group in the job, and the number of its node.
    pub job: usize,
    pub group: usize,
    pub node: usize,
    /// The index in the allocation's name.
    pub index: usize,
    pub created: i64,
    pub create_index: i64,
    /// The number of the allocation that it replaces, and the reason.
    pub replaces: Option<(usize, Replacing)>,
    /// Failed and disconnected predecessors, oldest first: the time of the rescheduling, and the number of the
    /// allocation.
    pub tracker: Vec<(i64, usize)>,
    /// The tasks that the client reports. The group may have one more task.
    pub lives: Vec<TaskHistory>,
    pub versions: Vec<Version>,
    /// When the servers garbage-collected the allocation.
    pub collected: Option<i64>,
}

impl Allocation {
    /// The number of the version that the servers serve at a time. `None` before the allocation exists and after it is
    /// collected.
    pub fn version_at(&self, at: i64) -> Option<usize> {
        if self.collected.is_some_and(|gone| gone <= at) {
            return None;
        }
        self.versions.partition_point(|v| v.at <= at).checked_sub(1)
    }
}

/// A simulated cluster with its whole history.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub config: Config,
    pub nodes: Vec<Node>,
    pub jobs: Vec<Job>,
    pub allocations: Vec<Allocation>,
}

impl Cluster {
    /// Simulates a cluster. The same seed and configuration always give the same cluster.
    pub fn simulate(seed: u64, config: Config) -> Self {
        let mut random = Random::new(seed);
        let mut nodes: Vec<Node> =
            (0..config.nodes.max(2)).map(|n| Node::new(n, config.rare / 3, &mut random)).collect();
        let end = START + config.span;
        // The first node never has an outage, so that allocations can always be placed.
        for node in &mut nodes[1..] {
            if random.chance(config.rare) {
                let from = START + random.between(config.span / 8, config.span / 2);
                let noticed = from + random.seconds(10.0, 40.0);
                let back = if random.chance(25) { end + MINUTE } else { noticed + random.seconds(20.0, 600.0) };
                let kind = *random.pick(&[OutageKind::Cut, OutageKind::Frozen, OutageKind::Tolerated]);
                node.outage = Some(Outage { kind, from, noticed, back });
            }
            if random.chance(config.rare / 2) {
                let back = random.chance(70);
                let by = random.seconds(0.5, 2000.0) * if back { -1 } else { 1 };
                node.clock.stepped = Some((START + random.between(0, config.span), by));
            }
        }
        let jobs = (0..config.jobs.max(1)).flat_map(|n| {
            let job = Job::new(n, &config.weights, &mut random);
            job.instances(&mut random)
        });
        let jobs = jobs.collect();
        let mut cluster = Self { config, nodes, jobs, allocations: vec![] };
        for job in 0..cluster.jobs.len() {
            let begun = START + random.between(0, cluster.config.span * 6 / 10);
            for group in 0..cluster.jobs[job].groups.len() {
                for index in 0..cluster.jobs[job].groups[group].count {
                    let at = begun + random.seconds(0.0, 1.0);
                    let job_version = cluster.jobs[job].version;
                    let place = Place { job, job_version, group, index, at, replaces: None, depth: 0 };
                    cluster.place(place, &mut random);
                }
            }
        }
        cluster.number();
        cluster
    }

    /// The end of the simulation.
    pub fn end(&self) -> i64 {
        START + self.config.span
    }

    /// Places an allocation, and the allocations that replace it.
    fn place(&mut self, place: Place, random: &mut Random) {
        let end = self.end();
        if place.at + SECOND >= end || place.depth > 3 {
            return;
        }
        let away = |node: &Node| node.outage.is_some_and(|o| (o.from - MINUTE..o.back + MINUTE).contains(&place.at));
        let ready: Vec<usize> = (0..self.nodes.len()).filter(|n| !away(&self.nodes[*n])).collect();
        let node_number = *random.pick(&ready);
        let (node, job) = (&self.nodes[node_number], &self.jobs[place.job]);
        let mut random = random.fork();
        let stop = self.stop(&place, &mut random).filter(|(at, _)| *at < end);
        let received = place.at + random.seconds(0.02, 0.4);
        let deploys = job.deploys() && random.chance(80);
        let unhealthy = (deploys && random.chance(15)).then(|| received + random.seconds(30.0, 300.0));
        let plan = Plan {
            node,
            group: &job.groups[place.group],
            reception: self.reception(&mut random),
            received,
            stop: stop.as_ref().map(|(at, _)| at + random.seconds(0.01, 0.3)),
            unwanted: random.chance(50),
            unhealthy,
            healthy: deploys.then(|| received + random.seconds(10.0, 30.0)),
            end,
        };
        let course = plan.play(&mut random);
        let number = self.allocations.len();
        let mut decisions = vec![];
        let mut replaced = None;
        if let Some((at, stop)) = stop {
            decisions.extend(stop.decisions(at, &mut random));
            replaced = stop.replacing().map(|why| (at, why));
        }
        if random.chance(10) {
            decisions.push((place.at + random.seconds(5.0, 900.0), Decision::Updated));
        }
        let failed = course
            .dead_at
            .filter(|_| course.lives.iter().any(|l| l.state().failed) || course.lives[0].steps.is_empty());
        if let (Some(at), None, true) = (failed, &replaced, job.kind == "service" || job.kind == "batch") {
            let seen = node.heard(at, true) + random.seconds(0.05, 0.5);
            let again = seen + random.seconds(0.5, 60.0);
            decisions.push((seen, Decision::Followup(random.uuid())));
            if random.chance(80) {
                // The servers do not stop a terminal allocation again.
                decisions.retain(|(at, decision)| !matches!(decision, Decision::Stop(_)) || *at < again);
                decisions.push((again, Decision::Stop("alloc was rescheduled because it failed")));
                replaced = Some((again, Replacing::Rescheduled));
            }
        }
        if let Some(outage) = node.outage.filter(|o| o.from > place.at) {
            let dead = |at: i64| course.dead_at.is_some_and(|dead| node.heard(dead, true) < at);
            match outage.kind {
                // An outage does not affect an allocation that ended before. Only Nomad 1.8 marks such an allocation as
                // lost.
                _ if dead(outage.noticed) && node.version != "1.8.4" => {}
                OutageKind::Tolerated if dead(outage.noticed) => {}
                OutageKind::Tolerated => {
                    decisions.push((outage.noticed, Decision::Unknown));
                    if plan.unwanted {
                        let why = "alloc not needed due to disconnected client reconnect";
                        decisions.push((outage.back + SECOND / 4, Decision::Stop(why)));
                    }
                    replaced = replaced.or(Some((outage.noticed, Replacing::Disconnected)));
                }
                _ => {
                    decisions.push((outage.noticed, Decision::Lost));
                    replaced = replaced.or(Some((outage.noticed, Replacing::Lost)));
                }
            }
        }
        let next = replaced.filter(|(at, _)| at + SECOND < end && place.depth < 3);
        let id = random.uuid();
        self.allocations.push(Allocation {
            id,
            eval: random.uuid(),
            deployment: if deploys { random.uuid() } else { String::new() },
            job: place.job,
            group: place.group,
            node: node_number,
            index: place.index,
            created: place.at,
            create_index: 0,
            replaces: place.replaces,
            tracker: self.tracker(&place),
            lives: vec![],
            versions: vec![],
            collected: None,
        });
        if let Some((at, why)) = next {
            let follower = self.allocations.len();
            let replaces = Some((number, why));
            // A replaced allocation is no longer updated in place, because its replacement has a newer version.
            decisions.retain(|(updated, decision)| !matches!(decision, Decision::Updated) || *updated < at);
            let updates = decisions.iter().filter(|(_, decision)| matches!(decision, Decision::Updated)).count() as i64;
            let job_version = place.job_version + updates + i64::from(why == Replacing::Updated);
            self.place(Place { at, job_version, replaces, depth: place.depth + 1, ..place }, &mut random);
            decisions.push((at, Decision::Replaced(self.allocations[follower].id.clone())));
        }
        let versions =
            versions(place.at, place.job_version, &course, (node_number, &self.nodes[node_number]), decisions);
        let allocation = &mut self.allocations[number];
        (allocation.versions, allocation.lives) = (versions, course.lives);
        self.collect(number);
    }

    fn reception(&self, random: &mut Random) -> Reception {
        if !random.chance(self.config.rare / 2) {
            return Reception::Usual;
        }
        *random.pick(&[Reception::TaskMissing, Reception::SetupFailure, Reception::Refused, Reception::Unheard])
    }

    /// The failed and disconnected predecessors of an allocation, as in its tracker.
    fn tracker(&self, place: &Place) -> Vec<(i64, usize)> {
        let Some((before, why)) = place.replaces else { return vec![] };
        // Only an allocation that replaces another one for one of these two reasons has a tracker.
        if !matches!(why, Replacing::Rescheduled | Replacing::Disconnected) {
            return vec![];
        }
        let mut tracker = self.allocations[before].tracker.clone();
        tracker.push((place.at - 11_083_117, before));
        tracker
    }

    /// When and why the servers stop the allocation; `None` if they do not.
    fn stop(&self, place: &Place, random: &mut Random) -> Option<(i64, Stop)> {
        let at = place.at + random.seconds(1.0, self.config.span as f64 / SECOND as f64 / 2.0);
        let by = random.uuid();
        let job = &self.jobs[place.job];
        let stop = match random.below(20) {
            0..3 if job.deploys() => Stop::Update,
            3 | 4 if !job.kind.starts_with("sys") => Stop::Drain,
            5 => Stop::Preemption(by),
            6..9 => Stop::Job,
            9 => Stop::User,
            _ => return None,
        };
        Some((at, stop))
    }

    /// Sets the time at which the servers garbage-collect an allocation. It is the first garbage collection after the
    /// allocation has been terminal for `eval_gc_threshold`.
    fn collect(&mut self, number: usize) {
        let kept = self.config.kept;
        let allocation = &mut self.allocations[number];
        for i in 0..allocation.versions.len() {
            let version = &allocation.versions[i];
            let until = allocation.versions.get(i + 1).map_or(i64::MAX, |next| next.at);
            let round = (version.at + kept - START) / (5 * MINUTE) * 5 * MINUTE + 5 * MINUTE + START;
            if version.is_terminal() && round < until {
                allocation.versions.truncate(i + 1);
                allocation.collected = Some(round);
                return;
            }
        }
    }

    /// Assigns Raft indexes: the changes of one plan or one report of a node share an index.
    fn number(&mut self) {
        let changes = self.allocations.iter().flat_map(|a| a.versions.iter().map(|v| (v.at, v.source)));
        let mut changes: Vec<(i64, Source)> = changes.collect();
        changes.sort_unstable();
        changes.dedup();
        for allocation in &mut self.allocations {
            let (mut plan, mut health) = (0, (None, 0));
            for version in &mut allocation.versions {
                let place = changes.partition_point(|c| *c < (version.at, version.source));
                version.index = 20 + place as i64;
                if !matches!(version.source, Source::Client(_)) {
                    plan = version.index;
                }
                if version.health != health.0 {
                    health = (version.health.clone(), version.index);
                }
                (version.plan_index, version.health_index) = (plan, health.1);
            }
            allocation.create_index = allocation.versions[0].index;
        }
    }
}

/// An allocation that is to be placed.
#[derive(Clone)]
struct Place {
    job: usize,
    job_version: i64,
    group: usize,
    index: usize,
    at: i64,
    replaces: Option<(usize, Replacing)>,
    depth: usize,
}

/// The reason for stopping an allocation.
enum Stop {
    Job,
    Update,
    Drain,
    User,
    Preemption(String),
}

impl Stop {
    fn decisions(&self, at: i64, random: &mut Random) -> Vec<(i64, Decision)> {
        let before = at - random.seconds(0.02, 0.5);
        match self {
            Self::Job => vec![(at, Decision::Stop("alloc not needed due to job update"))],
            Self::Update => vec![(at, Decision::Stop("alloc is being updated due to job update"))],
            Self::Drain => vec![(before, Decision::Migrate), (at, Decision::Stop("alloc is being migrated"))],
            Self::User => vec![(before, Decision::Migrate), (at, Decision::Stop("alloc is being migrated"))],
            Self::Preemption(by) => vec![(at, Decision::Evict(by.clone()))],
        }
    }

    fn replacing(&self) -> Option<Replacing> {
        match self {
            Self::Job => None,
            Self::Update => Some(Replacing::Updated),
            Self::Drain | Self::User => Some(Replacing::Migrated),
            Self::Preemption(_) => Some(Replacing::Preempted),
        }
    }
}
