//! The versions of an allocation on the servers. Each client report or scheduler decision that changes the allocation
//! creates a version.

use crate::simulator::allocation_run::Course;
use crate::simulator::node::Node;

/// The author of a version. It determines the `Type` of the event in the stream, and which versions share a Raft
/// index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A report of the node with this number.
    Client(usize),
    /// A scheduler's plan.
    Plan,
    /// A request of an operator or a drainer.
    Desire,
}

/// The deployment's decision about an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub healthy: bool,
    /// The time of the decision, by the client's clock.
    pub at: i64,
}

/// The values that the servers store for an allocation from one time until the next version. Fields that never change
/// are in `Allocation`.
#[derive(Debug, Clone)]
pub struct Version {
    /// The time of the version by the servers' clock. It is also the version's ModifyTime.
    pub at: i64,
    pub source: Source,
    /// The Raft index. Like the next two fields, it is assigned when the whole cluster is known.
    pub index: i64,
    pub plan_index: i64,
    pub health_index: i64,
    pub desired_status: &'static str,
    pub desired_description: String,
    pub client_status: &'static str,
    pub client_description: &'static str,
    pub migrate: bool,
    pub job_version: i64,
    pub health: Option<Health>,
    pub followup_eval: String,
    pub next: String,
    pub preempted_by: String,
    /// When the client was lost, and when it came back (`AllocStates`).
    pub contacts: Vec<(&'static str, i64)>,
    /// For each task, the last step that the client has reported. `None` before the client's first report.
    pub steps: Option<Vec<Option<usize>>>,
    /// The end that the client fabricated for tasks without an end (`FinishedAt`, by the client's clock).
    pub made_up: Option<i64>,
}

impl Version {
    /// The version that a plan creates.
    pub fn created(at: i64, job_version: i64) -> Self {
        Self {
            at,
            source: Source::Plan,
            index: 0,
            plan_index: 0,
            health_index: 0,
            desired_status: "run",
            desired_description: String::new(),
            client_status: "pending",
            client_description: "",
            migrate: false,
            job_version,
            health: None,
            followup_eval: String::new(),
            next: String::new(),
            preempted_by: String::new(),
            contacts: vec![],
            steps: None,
            made_up: None,
        }
    }

    /// Whether no task of the allocation will run again, according to the client status
    /// (`Allocation.ClientTerminalStatus`).
    pub fn is_terminal(&self) -> bool {
        matches!(self.client_status, "complete" | "failed" | "lost")
    }
}

/// A server's decision on an allocation.
#[derive(Debug, Clone)]
pub enum Decision {
    /// A request to migrate; a plan follows it.
    Migrate,
    Stop(&'static str),
    Evict(String),
    Lost,
    Unknown,
    Replaced(String),
    Followup(String),
    Updated,
}

impl Decision {
    fn apply(&self, version: &mut Version) {
        version.source = Source::Plan;
        match self {
            Self::Migrate => (version.migrate, version.source) = (true, Source::Desire),
            Self::Stop(why) => (version.desired_status, version.desired_description) = ("stop", (*why).into()),
            Self::Evict(by) => {
                version.desired_status = "evict";
                version.desired_description = format!("Preempted by alloc ID {by}");
                version.preempted_by = by.clone();
            }
            Self::Lost => {
                (version.desired_status, version.client_status) = ("stop", "lost");
                version.desired_description = "alloc is lost since its node is down".into();
            }
            Self::Unknown => {
                (version.client_status, version.client_description) =
                    ("unknown", "alloc is unknown since its node is disconnected");
                version.contacts.push(("unknown", version.at));
            }
            Self::Replaced(by) => version.next = by.clone(),
            Self::Followup(eval) => version.followup_eval = eval.clone(),
            Self::Updated => version.job_version += 1,
        }
    }
}

/// A client's report to the servers: when it arrives, and what it contains.
struct Report {
    at: i64,
    covers: i64,
}

/// All versions of an allocation, oldest first. `decisions` are those of the servers, in any order.
pub fn versions(
    created: i64,
    job_version: i64,
    course: &Course,
    node: (usize, &Node),
    mut decisions: Vec<(i64, Decision)>,
) -> Vec<Version> {
    decisions.sort_by_key(|(at, _)| *at);
    let mut reports = reports(course, node.1).into_iter().peekable();
    let mut decisions = decisions.into_iter().peekable();
    let mut versions = vec![Version::created(created, job_version)];
    loop {
        let mut version = versions[versions.len() - 1].clone();
        let next = [reports.peek().map(|r| r.at), decisions.peek().map(|(at, _)| *at)].into_iter().flatten().min();
        let Some(at) = next else { return versions };
        version.at = at;
        if reports.peek().is_some_and(|r| r.at == at)
            && let Some(report) = reports.next()
        {
            tell(&mut version, course, report.covers, node);
        } else if let Some((_, decision)) = decisions.next() {
            decision.apply(&mut version);
        }
        // Two changes at the same time are one version.
        if versions[versions.len() - 1].at == at {
            versions.pop();
        }
        versions.push(version);
    }
}

/// The client status of an allocation (alloc_runner.go, `getClientStatus`).
fn status(course: &Course, at: i64) -> (&'static str, &'static str) {
    let states: Vec<_> = course.lives.iter().filter_map(|life| Some(&life.steps[life.step_at(at)?].state)).collect();
    if states.is_empty() && course.dead_at.is_some() {
        return ("failed", "Unable to add allocation due to error: failed to parse constraint <\"x\">");
    }
    if states.iter().any(|s| s.state == "dead" && s.failed) {
        ("failed", "Failed tasks")
    } else if states.iter().any(|s| s.state == "running") {
        ("running", "Tasks are running")
    } else if states.iter().any(|s| s.state == "pending") {
        ("pending", "No tasks have started")
    } else if course.ran_too_long {
        ("complete", "allocation exceeded max_run_duration")
    } else {
        ("complete", "All tasks have completed")
    }
}

fn tell(version: &mut Version, course: &Course, covers: i64, node: (usize, &Node)) {
    version.source = Source::Client(node.0);
    let before = version.client_status;
    (version.client_status, version.client_description) = status(course, covers);
    if before == "unknown" {
        version.contacts.push((version.client_status, version.at));
    }
    if let Some((at, healthy)) = course.verdict.filter(|(at, _)| *at <= covers) {
        version.health = Some(Health { healthy, at: node.1.clock.read(at) });
    }
    version.steps = Some(course.lives.iter().map(|life| life.step_at(covers)).collect());
    if version.is_terminal() && version.made_up.is_none() {
        version.made_up = Some(node.1.clock.read(covers));
    }
}

/// When the servers receive which state. The client sends a status change sooner than other changes, together with all
/// changes before it.
fn reports(course: &Course, node: &Node) -> Vec<Report> {
    let mut changes: Vec<i64> = course.lives.iter().flat_map(|life| life.steps.iter().map(|step| step.at)).collect();
    changes.extend(course.verdict.map(|(at, _)| at));
    changes.extend(course.dead_at);
    changes.sort_unstable();
    changes.dedup();
    let heard = |at: i64| node.heard(at, status(course, at - 1) != status(course, at));
    let mut reports: Vec<Report> = vec![];
    let mut i = 0;
    while i < changes.len() {
        let mut due = heard(changes[i]);
        let mut last = i;
        while changes.get(last + 1).is_some_and(|at| *at < due - 30_000_000) {
            last += 1;
            due = due.min(heard(changes[last]));
        }
        reports.push(Report { at: due, covers: changes[last] });
        i = last + 1;
    }
    reports
}
