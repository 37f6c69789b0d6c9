//! The course of one allocation on its client: the order of its tasks, how the end of one task affects the others,
//! and how the allocation ends.

use crate::simulator::SECOND;
use crate::simulator::event::{Class, Event, Meaning};
use crate::simulator::job::{Group, Role};
use crate::simulator::node::{Node, OutageKind};
use crate::simulator::random::Random;
use crate::simulator::runner::{Phase, Runner};
use crate::simulator::scenario::Scenario;
use crate::simulator::task_history::TaskHistory;

/// The time at which a task ends the other tasks, the number of that task, and the event that the others get.
type End = (i64, usize, fn(&str) -> Event);

/// How the client prepares an allocation, before any task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    Usual,
    /// The client never reports one of the tasks. The task is known only from the resources, until the client
    /// fabricates a state of the task at the end.
    TaskMissing,
    /// The allocation could not be prepared: `Setup Failure`.
    SetupFailure,
    /// The client refused the allocation, and fabricated states for all tasks.
    Refused,
    /// The client never received the allocation.
    Unheard,
}

/// A cause from outside that ends an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halt {
    /// A user or a scheduler stopped the allocation.
    Stop,
    MaxRun,
    /// The client stopped the allocation after it was lost.
    Lost,
    /// The client stopped the allocation after it was unknown.
    Reconnected,
    /// The client never reports the allocation again, or the simulation ends.
    Silence,
}

/// The input for the course of an allocation.
pub struct Plan<'a> {
    pub node: &'a Node,
    pub group: &'a Group,
    pub reception: Reception,
    pub received: i64,
    /// When the client receives the order to stop.
    pub stop: Option<i64>,
    /// Whether the servers stop the allocation if it was unknown and its client comes back.
    pub unwanted: bool,
    /// When the deployment marks the allocation unhealthy.
    pub unhealthy: Option<i64>,
    /// When the deployment marks the allocation healthy, if its main tasks run by then.
    pub healthy: Option<i64>,
    pub end: i64,
}

/// The simulated course of an allocation.
pub struct Course {
    pub lives: Vec<TaskHistory>,
    /// When the last task died. `None` if a task is not dead.
    pub dead_at: Option<i64>,
    pub ran_too_long: bool,
    /// When the deployment decided whether the allocation is healthy, and the decision; `None` if it did not decide.
    pub verdict: Option<(i64, bool)>,
}

impl Plan<'_> {
    /// Simulates the course.
    pub fn play(&self, random: &mut Random) -> Course {
        let (halt, until, resumes) = self.halt();
        let services = self.group.policy.services;
        let mut runners: Vec<Runner> = self
            .group
            .tasks
            .iter()
            .enumerate()
            .map(|(i, task)| {
                let mut policy = self.group.policy;
                policy.services = services && task.role != Role::Prestart && task.role != Role::Poststop
                    || task.role == Role::Sidecar;
                let life = TaskHistory::new(task.name, task.role.hook());
                let received = self.received + i as i64 * 31_007;
                let mut runner = Runner::new(self.node, policy, life, random.fork(), received, until.max(received + 1));
                runner.planned = self.planned();
                runner
            })
            .collect();
        if self.reception == Reception::TaskMissing && runners.len() > 1 {
            runners.pop();
        }
        if matches!(self.reception, Reception::Refused | Reception::Unheard) {
            let lives = runners.into_iter().map(|r| r.life).collect();
            let dead_at = (self.reception == Reception::Refused).then_some(self.received);
            return Course { lives, dead_at, ran_too_long: false, verdict: None };
        }
        runners.iter_mut().for_each(Runner::receive);
        let prepared = self.received + random.seconds(0.001, 0.8);
        if self.reception == Reception::SetupFailure {
            let error = "failed to setup alloc: pre-run hook \"network\" failed: bridge \"nomad\" <missing>";
            let event = if random.chance(50) { Event::setup_failure(error) } else { Event::old_setup_failure(error) };
            runners.iter_mut().for_each(|r| r.fail_setup(event.clone()));
        } else {
            if prepared < until {
                self.tasks(&mut runners, prepared);
            }
            self.bring_down(&mut runners, halt, resumes);
        }
        let mut dead_at = ended(&runners);
        for runner in &mut runners {
            // Events from outside also reach dead tasks, until all tasks of the allocation are dead.
            runner.hear_until(dead_at.unwrap_or(until).min(self.end));
        }
        if let Some(at) = dead_at {
            self.after(&mut runners, at);
            let last = runners.iter().filter_map(|r| r.life.steps.last()).map(|step| step.at).max();
            dead_at = last.filter(|_| runners.iter().all(|r| r.phase == Phase::Dead));
        }
        let too_long = |r: &Runner| r.life.events.iter().any(|e| e.event.meaning == Meaning::Failure(Class::Timeout));
        let ran_too_long = runners.iter().any(too_long);
        let verdict = self.verdict(&runners, dead_at);
        Course { lives: runners.into_iter().map(|r| r.life).collect(), dead_at, ran_too_long, verdict }
    }

    /// The decision of the deployment.
    fn verdict(&self, runners: &[Runner], dead_at: Option<i64>) -> Option<(i64, bool)> {
        let lives = |at: i64| dead_at.is_none_or(|dead| at < dead);
        let runs = |at: i64| {
            let mut mains = runners.iter().filter(|r| r.life.hook.is_none());
            mains.all(|r| r.life.step_at(at).is_some_and(|step| r.life.steps[step].state.state == "running"))
        };
        let unhealthy = self.unhealthy.filter(|at| lives(*at)).map(|at| (at, false));
        unhealthy.or_else(|| self.healthy.filter(|at| lives(*at) && runs(*at)).map(|at| (at, true)))
    }

    /// The events from outside that reach every task.
    fn planned(&self) -> Vec<(i64, Event)> {
        let unhealthy = || Event::spoken("Alloc Unhealthy", "Task not running by healthy_deadline of 5m0s");
        let mut planned: Vec<_> = self.unhealthy.map(|at| (at, unhealthy())).into_iter().collect();
        if let Some(outage) = self.node.outage
            && outage.kind == OutageKind::Tolerated
            && outage.back < self.end
            && outage.from > self.received
        {
            planned.push((outage.back, Event::new("Reconnected", "Client reconnected")));
        }
        planned.sort_by_key(|(at, _)| *at);
        planned
    }

    /// The first interruption from outside, its time, and the time at which the client reacts.
    fn halt(&self) -> (Halt, i64, i64) {
        let mut halts = vec![(Halt::Silence, self.end, self.end)];
        halts.extend(self.stop.map(|at| (Halt::Stop, at, at)));
        halts.extend(self.group.max_run.map(|span| (Halt::MaxRun, self.received + span, self.received + span)));
        if let Some(outage) = self.node.outage
            && outage.from > self.received
        {
            let known_at = outage.back + SECOND / 3;
            let back = outage.back < self.end;
            halts.extend(match outage.kind {
                _ if !back => Some((Halt::Silence, outage.from, self.end)),
                OutageKind::Cut => Some((Halt::Lost, known_at, known_at)),
                OutageKind::Frozen => Some((Halt::Lost, outage.from, known_at)),
                OutageKind::Tolerated if self.unwanted => Some((Halt::Reconnected, known_at, known_at)),
                OutageKind::Tolerated => None,
            });
            // While the node is away, it does not receive an order to stop. Once the allocation is lost, the order is
            // irrelevant.
            halts.retain(|(halt, at, _)| *halt != Halt::Stop || *at < outage.from || back && *at > outage.back);
        }
        halts.into_iter().min_by_key(|(_, at, _)| *at).unwrap_or((Halt::Silence, self.end, self.end))
    }

    fn role(&self, number: usize) -> Role {
        self.group.tasks[number].role
    }

    fn scenario(&self, number: usize) -> Scenario {
        self.group.tasks[number].scenario
    }

    /// Simulates the tasks up to and including the main tasks.
    fn tasks(&self, runners: &mut [Runner], prepared: i64) {
        let mut ready = prepared;
        for number in 0..runners.len() {
            let runner = &mut runners[number];
            if self.role(number) == Role::Prestart {
                runner.now = ready;
                self.scenario(number).play(runner);
                ready = runner.now + SECOND / 90;
                if runner.phase != Phase::Dead {
                    return;
                }
                if runner.life.state().failed {
                    let name = runner.life.task.clone();
                    self.put_down(runners, ready, &name, Event::sibling_failed);
                    return;
                }
            }
        }
        let plays = |role| matches!(role, Role::Main | Role::Leader | Role::Sidecar);
        let before: Vec<Runner> = runners.to_vec();
        for number in (0..runners.len()).filter(|n| plays(self.role(*n))) {
            runners[number].now = ready;
            self.scenario(number).play(&mut runners[number]);
        }
        let Some((at, first, why)) = self.ends_others(runners) else { return };
        let name = runners[first].life.task.clone();
        for number in (0..runners.len()).filter(|n| plays(self.role(*n)) && *n != first) {
            if runners[number].phase != Phase::Dead || runners[number].now > at {
                // Simulate the task again, only up to `at`, to discard its later events.
                let mut again = before[number].clone();
                (again.now, again.until) = (ready, at);
                self.scenario(number).play(&mut again);
                runners[number] = again;
            }
        }
        self.put_down(runners, at, &name, why);
    }

    /// The task whose end also ends the others, the time of that end, and the event that the others get.
    fn ends_others(&self, runners: &[Runner]) -> Option<End> {
        let dead = |n: &usize| runners[*n].phase == Phase::Dead;
        let mut ends: Vec<End> = vec![];
        for number in (0..runners.len()).filter(dead) {
            if runners[number].life.state().failed {
                ends.push((runners[number].now + 1, number, Event::sibling_failed));
            } else if self.role(number) == Role::Leader {
                ends.push((runners[number].now + 1, number, |_| {
                    Event::new("Leader Task Dead", "Leader Task in Group dead")
                }));
            }
        }
        let mains = || (0..runners.len()).filter(|n| matches!(self.role(*n), Role::Main | Role::Leader));
        if mains().all(|n| dead(&n))
            && let Some(last) = mains().max_by_key(|n| runners[*n].now)
        {
            ends.push((runners[last].now + 1, last, |_| Event::new("Main Tasks Dead", "Main tasks in the group died")));
        }
        ends.into_iter().min_by_key(|(at, number, _)| (*at, *number))
    }

    /// Kills all tasks except poststop tasks and the task `name`, which is the cause.
    fn put_down(&self, runners: &mut [Runner], at: i64, name: &str, why: fn(&str) -> Event) {
        for (number, runner) in runners.iter_mut().enumerate() {
            if self.role(number) != Role::Poststop && runner.life.task != name {
                runner.now = runner.now.max(at);
                runner.kill(Some(why(name)), Event::killing(5 * SECOND));
            }
        }
    }

    /// Ends all tasks that are not dead, for a cause outside of the allocation.
    fn bring_down(&self, runners: &mut [Runner], halt: Halt, resumes: i64) {
        let out_of_time = || {
            let event = Event { display: "allocation exceeded max_run_duration".into(), ..Event::killing(5 * SECOND) };
            event.failure(Class::Timeout)
        };
        if runners.iter().enumerate().all(|(n, r)| r.phase == Phase::Dead || self.role(n) == Role::Poststop) {
            return;
        }
        for (number, runner) in runners.iter_mut().enumerate() {
            if self.role(number) == Role::Poststop && halt != Halt::Lost && halt != Halt::Reconnected {
                continue;
            }
            if halt != Halt::Silence {
                runner.now = runner.now.max(resumes);
            }
            match halt {
                Halt::Stop => runner.kill(None, Event::killing(30 * SECOND)),
                Halt::MaxRun if runner.phase == Phase::Dead => {}
                Halt::MaxRun => runner.kill(None, out_of_time()),
                Halt::Lost => runner.end_of_the_lost(true),
                Halt::Reconnected => runner.end_of_the_lost(false),
                Halt::Silence => {}
            }
        }
    }

    /// Simulates the poststop tasks after all other tasks are dead.
    fn after(&self, runners: &mut [Runner], at: i64) {
        for (number, runner) in runners.iter_mut().enumerate() {
            if self.role(number) == Role::Poststop && runner.phase != Phase::Dead {
                runner.now = runner.now.max(at + SECOND / 50);
                runner.until = self.end;
                Scenario::Clean.play(runner);
            }
        }
    }
}

/// When the last task died. Poststop tasks count only after they have run.
fn ended(runners: &[Runner]) -> Option<i64> {
    let waits = |r: &&Runner| {
        r.life.hook.is_some_and(|h| h.hook == "poststop") && r.phase == Phase::Down && r.life.events.len() == 1
    };
    let mut rest = runners.iter().filter(|r| !waits(r)).peekable();
    rest.peek()?;
    rest.map(|r| (r.phase == Phase::Dead).then(|| r.life.steps.last().map_or(r.now, |step| step.at)))
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()
}
