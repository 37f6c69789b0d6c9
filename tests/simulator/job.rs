//! Jobs, their groups and tasks. The names are deliberately difficult, but Nomad allows them.

use crate::simulator::SECOND;
use crate::simulator::random::Random;
use crate::simulator::runner::Policy;
use crate::simulator::scenario::Scenario;
use crate::simulator::task_history::Hook;

/// When a task of a group runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Before the main tasks, which start when this task has succeeded.
    Prestart,
    /// Together with the main tasks. The task is killed when they are dead.
    Sidecar,
    Main,
    /// A main task whose end also ends the other tasks.
    Leader,
    /// After the main tasks.
    Poststop,
}

impl Role {
    /// Nomad's name for the role.
    pub fn hook(self) -> Option<Hook> {
        match self {
            Self::Prestart => Some(Hook { hook: "prestart", sidecar: false }),
            Self::Sidecar => Some(Hook { hook: "prestart", sidecar: true }),
            Self::Main | Self::Leader => None,
            Self::Poststop => Some(Hook { hook: "poststop", sidecar: false }),
        }
    }
}

/// A task of a group, and its scenario.
#[derive(Debug, Clone)]
pub struct Task {
    pub name: &'static str,
    pub role: Role,
    pub scenario: Scenario,
}

/// A group of a job.
#[derive(Debug, Clone)]
pub struct Group {
    pub name: &'static str,
    pub count: usize,
    pub tasks: Vec<Task>,
    pub policy: Policy,
    pub max_run: Option<i64>,
    pub cpu: i64,
    pub memory: i64,
}

/// A job of one type. Updates increase its version.
#[derive(Debug, Clone)]
pub struct Job {
    pub namespace: &'static str,
    pub id: String,
    pub kind: &'static str,
    pub version: i64,
    pub groups: Vec<Group>,
}

impl Job {
    /// Whether the allocations of the job belong to deployments.
    pub fn deploys(&self) -> bool {
        self.kind == "service"
    }

    /// Whether the job runs to completion.
    pub fn is_batch(&self) -> bool {
        self.kind.ends_with("batch")
    }

    /// Returns the job. If it is a dispatched or periodic child, also returns up to three other children of its parent.
    pub fn instances(self, random: &mut Random) -> Vec<Self> {
        let is_instance = self.id.contains("/dispatch-") || self.id.contains("/periodic-");
        let others = if is_instance { random.below(4) } else { 0 };
        let other = |n: usize| Self { id: format!("{}{n}", self.id), ..self.clone() };
        let others: Vec<Self> = (0..others).map(other).collect();
        std::iter::once(self).chain(others).collect()
    }

    /// A random job, with scenarios drawn by weight.
    pub fn new(number: usize, weights: &[(Scenario, u32)], random: &mut Random) -> Self {
        let kind = *random.pick(&["service", "service", "service", "batch", "batch", "system", "sysbatch"]);
        let name =
            format!("{}-{number}", random.pick(&["web", "weird.job[1]/x", "täsk, \"q\" <b>&amp;", "etl", "=cmd"]));
        let id = match random.below(8) {
            0 if kind == "batch" => format!("{name}/dispatch-1795458709-{:08x}", random.number() as u32),
            1 if kind == "batch" => format!("{name}/periodic-{}", 1_795_458_700 + number),
            _ => name,
        };
        let groups = ["g", "grp.[0]"][..random.between(1, 2) as usize]
            .iter()
            .map(|name| group(name, kind, weights, random))
            .collect();
        let namespace = *random.pick(&["default", "default", "prod", "staging"]);
        Self { namespace, id, kind, version: random.between(0, 7), groups }
    }
}

fn group(name: &'static str, kind: &str, weights: &[(Scenario, u32)], random: &mut Random) -> Group {
    let mut task = |name, role| Task { name, role, scenario: random.weighted(weights) };
    let mut tasks = vec![task("server", Role::Main)];
    let more =
        [("init", Role::Prestart), ("logs \"x\"", Role::Sidecar), ("worker", Role::Main), ("cleanup", Role::Poststop)];
    let more: Vec<_> = more.map(|(name, role)| task(name, role)).into_iter().filter(|_| random.chance(22)).collect();
    tasks.extend(more);
    if tasks.len() > 1 && random.chance(20) {
        tasks[0].role = Role::Leader;
    }
    for task in &mut tasks {
        // Prestart and poststop tasks must end, so that other tasks can run.
        if matches!(task.role, Role::Prestart | Role::Poststop) && random.chance(80) {
            task.scenario = Scenario::Clean;
        }
    }
    let services = !kind.ends_with("batch");
    let policy = Policy {
        attempts: random.between(1, 4) as usize,
        interval: random.between(60, 1800) * SECOND,
        delay: random.seconds(0.5, 15.0),
        patient: random.chance(30),
        services,
    };
    Group {
        name,
        count: random.between(1, 3) as usize,
        tasks,
        policy,
        max_run: random.chance(6).then(|| random.seconds(60.0, 900.0)),
        cpu: random.between(20, 500),
        memory: random.between(16, 1024),
    }
}
