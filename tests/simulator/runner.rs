//! How a client handles one task, step by step: set up, start, wait, restart, kill.
//!
//! The sequences of events follow Nomad's sources and recordings. A scenario combines the sequences.

use crate::simulator::SECOND;
use crate::simulator::event::{Cause, Class, Event};
use crate::simulator::node::Node;
use crate::simulator::random::Random;
use crate::simulator::task_history::TaskHistory;

/// `None` if the task is dead or its script was interrupted: by a stop, by a failed sibling, or by the end of the
/// simulation.
pub type Going = Option<()>;

/// The phase of a task when it is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Received, being set up, or waiting between two runs.
    Down,
    Running,
    Dead,
}

/// How a group restarts its tasks (`RestartPolicy`).
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub attempts: usize,
    pub interval: i64,
    pub delay: i64,
    /// Whether the client waits for the next interval instead of giving up (mode `delay`).
    pub patient: bool,
    /// Whether the client also restarts the task after success, as for services and sidecars.
    pub services: bool,
}

/// One task on its node.
#[derive(Debug, Clone)]
pub struct Runner<'a> {
    pub node: &'a Node,
    pub policy: Policy,
    pub life: TaskHistory,
    pub random: Random,
    /// The time by the servers' clock.
    pub now: i64,
    /// When an interruption from outside occurs.
    pub until: i64,
    pub phase: Phase,
    /// Events from outside at times known in advance, earliest first.
    pub planned: Vec<(i64, Event)>,
    /// The times of restarts within the current interval, as the client counts them.
    spent: Vec<i64>,
}

impl<'a> Runner<'a> {
    /// A task that is about to be received.
    pub fn new(node: &'a Node, policy: Policy, life: TaskHistory, random: Random, now: i64, until: i64) -> Self {
        Self { node, policy, life, random, now, until, phase: Phase::Down, planned: vec![], spent: vec![] }
    }

    /// Advances the time.
    pub fn wait(&mut self, low: f64, high: f64) -> Going {
        let span = self.random.seconds(low, high);
        self.wait_for(span)
    }

    fn wait_for(&mut self, span: i64) -> Going {
        let then = (self.now + span).min(self.until).max(self.now);
        self.hear_until(then);
        self.now = then;
        (then < self.until).then_some(())
    }

    /// Records the planned events up to `then`.
    pub fn hear_until(&mut self, then: i64) {
        while self.planned.first().is_some_and(|(at, _)| *at <= then) {
            let (at, event) = self.planned.remove(0);
            self.now = self.now.max(at);
            self.emit(event);
        }
    }

    /// Runs until interrupted.
    pub fn stay(&mut self) -> Going {
        self.wait_for(i64::MAX / 4)
    }

    pub fn emit(&mut self, event: Event) {
        self.life.emit(self.now, &self.node.clock, event);
    }

    fn change(&mut self, to: &'static str, event: Option<Event>) {
        self.life.change(self.now, &self.node.clock, to, event);
    }

    /// The task no longer runs, and no event shows its end.
    pub fn lose_hold(&mut self) {
        self.change("pending", None);
        self.phase = Phase::Down;
    }

    /// The allocation could not be prepared.
    pub fn fail_setup(&mut self, event: Event) {
        self.blink();
        self.change("dead", Some(event));
        self.phase = Phase::Dead;
    }

    /// Waits for a short time between two events of one action. Nothing interrupts this wait.
    fn blink(&mut self) {
        self.now += self.random.seconds(0.000_02, 0.004);
    }

    pub fn receive(&mut self) {
        self.change("pending", Some(Event::received()));
    }

    pub fn set_up(&mut self) -> Going {
        self.wait(0.002, 0.4)?;
        self.emit(Event::task_setup());
        self.wait(0.001, 0.5)
    }

    pub fn start(&mut self) -> Going {
        self.change("running", Some(Event::started()));
        self.phase = Phase::Running;
        self.wait(0.000_1, 0.001)
    }

    /// The process ends.
    pub fn terminate(&mut self, event: Event) {
        self.emit(event);
        self.phase = Phase::Down;
        self.blink();
    }

    /// The task is dead without an event, as after success of a batch task.
    pub fn finish(&mut self) -> Going {
        self.change("dead", None);
        self.phase = Phase::Dead;
        None
    }

    /// The client does not restart the task again. The event `Not Restarting` fails the task.
    pub fn give_up(&mut self, reason: &str) -> Going {
        self.give_up_as(Event::not_restarting(reason))
    }

    /// Like `give_up`, for a given event. If no failure precedes the event, the caller gives it the meaning of a
    /// failure of unknown class.
    pub fn give_up_as(&mut self, event: Event) -> Going {
        self.change("dead", Some(event));
        self.phase = Phase::Dead;
        None
    }

    /// Applies the restart policy after a failed attempt, or after success of a service (restarts.go).
    pub fn restart(&mut self, cause: Cause) -> Going {
        let Policy { attempts, interval, delay, patient, .. } = self.policy;
        // After a clean exit, no other event explains the failure.
        let not_restarting = |reason: &str| match cause {
            Cause::CleanExit => Event::not_restarting(reason).failure(Class::Unknown),
            _ => Event::not_restarting(reason),
        };
        if attempts == 0 {
            return self.give_up_as(not_restarting("Policy allows no restarts"));
        }
        let now = self.now;
        if self.spent.first().is_some_and(|first| first + interval < now) {
            self.spent.clear();
        }
        self.spent.push(now);
        let (wait, reason) = if self.spent.len() <= attempts {
            (delay + self.random.between(0, delay / 4), "Restart within policy")
        } else if patient {
            ((self.spent[0] + interval - now).max(1), "Exceeded allowed attempts, applying a delay")
        } else {
            let span = crate::simulator::event::go_duration(interval);
            let reason = format!("Exceeded allowed attempts {attempts} in interval {span} and mode is \"fail\"");
            return self.give_up_as(not_restarting(&reason));
        };
        self.change("pending", Some(Event::restarting(wait, reason, cause)));
        self.phase = Phase::Down;
        self.wait_for(wait)
    }

    /// A requested restart. It happens immediately, and the policy does not count it.
    pub fn restart_at_once(&mut self, cause: Cause) -> Going {
        self.change("pending", Some(Event::restarting(0, "", cause)));
        self.phase = Phase::Down;
        self.wait(0.01, 0.3)
    }

    /// A run that ends with this event.
    pub fn crash(&mut self, low: f64, high: f64, event: Event) -> Going {
        self.start()?;
        self.wait(low, high)?;
        self.terminate(event);
        Some(())
    }

    /// Kills the task for a cause outside of it. `why` is the event with the reason, if there is one.
    pub fn kill(&mut self, why: Option<Event>, killing: Event) {
        self.blink();
        if self.phase == Phase::Dead {
            if self.node.kills_the_dead() {
                self.emit(killing);
            }
            return;
        }
        if let Some(why) = why {
            self.emit(why);
            self.blink();
        }
        let delayed = self.phase == Phase::Running && self.random.chance(15);
        let first = self.random.chance(50);
        if delayed && first {
            self.emit(Event::new(
                "Waiting for shutdown delay",
                "Waiting for shutdown_delay of 3s before killing the task.",
            ));
        }
        self.emit(killing.clone());
        if delayed && !first {
            self.blink();
            self.emit(Event::new("Skipping shutdown delay", "Skipping shutdown_delay of 3s before killing the task."));
        }
        if self.random.chance(10) {
            self.blink();
            self.emit(killing);
        }
        // A start in progress is not cancelled, so `Started` follows `Killing`.
        let starting = self.phase == Phase::Down && self.life.steps.len() > 2 && self.random.chance(25);
        if starting {
            self.now += self.random.seconds(0.05, 1.0);
            self.change("running", Some(Event::started()));
        }
        if self.phase == Phase::Running || starting {
            self.now += self.random.seconds(0.01, 3.0);
            let (code, signal) = *self.random.pick(&[(0, 0), (70, 0), (143, 0), (137, 9), (1, 0), (0, 15)]);
            self.emit(Event::terminated(code, signal, false, ""));
            self.blink();
            self.change("dead", Some(Event::killed()));
        } else {
            self.change("dead", None);
        }
        self.phase = Phase::Dead;
    }

    /// The end of a task whose allocation was lost or unknown. When the client came back, the servers stopped the task,
    /// and the handle of the driver was gone. With `announced` there is a `Killing` event. There is never a `Killed`
    /// event.
    pub fn end_of_the_lost(&mut self, announced: bool) {
        if self.phase == Phase::Dead {
            return;
        }
        self.blink();
        if announced {
            self.emit(Event::killing(5 * SECOND));
        }
        if self.phase == Phase::Running {
            self.now += self.random.seconds(0.01, 2.0);
            let exit_message = "executor: error waiting on process: rpc error: code = Canceled desc = context canceled";
            self.emit(Event::terminated(-1, 0, false, exit_message));
            self.blink();
        }
        self.change("dead", None);
        self.phase = Phase::Dead;
    }

    /// The client forgot the task and starts over.
    pub fn forget(&mut self) {
        self.life.forget(self.now);
        self.life.judged = false;
        self.spent.clear();
        self.phase = Phase::Down;
    }
}
