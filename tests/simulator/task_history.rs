//! The history of one task: every event, and the state of the task after each step. Unlike Nomad, it keeps more than
//! ten events.
//!
//! The state follows client/allocrunner/taskrunner/task_runner.go (`updateStateImpl`, `appendEvent`): `Restarts` counts
//! appended `Restarting` events, `Failed` is never reset, `FinishedAt` is never cleared.

use crate::simulator::event::Event;
use crate::simulator::node::Clock;

/// How many events a client keeps for a task (`defaultMaxEvents`).
pub const RING: usize = 10;

/// The task's position in the starting order of its group (`Lifecycle` in the job). A main task has no hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    pub hook: &'static str,
    pub sidecar: bool,
}

/// A task's state as the client reports it; times by the client's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub state: &'static str,
    pub failed: bool,
    pub restarts: i64,
    pub last_restart: Option<i64>,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
}

impl Default for State {
    fn default() -> Self {
        Self { state: "pending", failed: false, restarts: 0, last_restart: None, started_at: None, finished_at: None }
    }
}

/// An event of a task's history, with its position.
#[derive(Debug, Clone)]
pub struct Lived {
    pub event: Event,
    /// The number of the run that the event belongs to: 1 + the restarts counted before the event.
    pub attempt: i64,
    /// How often the client had lost the whole state of the task before this event.
    pub epoch: usize,
}

/// The state of the task after a change.
#[derive(Debug, Clone)]
pub struct Step {
    /// When the change happened, by the servers' clock.
    pub at: i64,
    /// How many events had been appended by then.
    pub events: usize,
    /// The first event of the current epoch. The client forgot the earlier events.
    pub forgotten: usize,
    pub state: State,
}

impl Step {
    /// The events of the task that Nomad serves after this step.
    pub fn window(&self) -> std::ops::Range<usize> {
        self.forgotten.max(self.events.saturating_sub(RING))..self.events
    }
}

/// A task and its history.
#[derive(Debug, Clone)]
pub struct TaskHistory {
    pub task: String,
    pub hook: Option<Hook>,
    pub events: Vec<Lived>,
    /// Empty for a task that the client never reported.
    pub steps: Vec<Step>,
    /// Whether causes, failures and outcomes of the task follow the definitions of the statistics. Some rare
    /// histories test only that events are recorded.
    pub judged: bool,
    epoch: usize,
}

impl TaskHistory {
    pub fn new(task: &str, hook: Option<Hook>) -> Self {
        Self { task: task.into(), hook, events: vec![], steps: vec![], judged: true, epoch: 0 }
    }

    /// The state at the end.
    pub fn state(&self) -> State {
        self.steps.last().map(|step| step.state.clone()).unwrap_or_default()
    }

    /// Appends an event that leaves the state unchanged, except for the event's own effects.
    pub fn emit(&mut self, at: i64, clock: &Clock, event: Event) {
        let state = self.state().state;
        self.change(at, clock, state, Some(event));
    }

    /// Moves the task to a state, with the associated event.
    pub fn change(&mut self, at: i64, clock: &Clock, to: &'static str, event: Option<Event>) {
        let mut state = self.state();
        if let Some(mut event) = event {
            if event.time == 0 {
                event.time = clock.read(at);
            }
            self.events.push(Lived { attempt: state.restarts + 1, epoch: self.epoch, event: event.clone() });
            state.failed |= event.fails_task;
            if event.kind == "Restarting" {
                state.restarts += 1;
                state.last_restart = Some(event.time);
            }
        }
        // The client sets these times a few microseconds after the event.
        if to == "running" && state.state != "running" {
            state.started_at = Some(clock.read(at + 5_017));
        }
        if to == "dead" && state.state != "dead" && state.finished_at.is_none() {
            state.finished_at = Some(clock.read(at + 7_131));
        }
        state.state = to;
        let forgotten = self.steps.last().map_or(0, |step| step.forgotten);
        self.steps.push(Step { at, events: self.events.len(), forgotten, state });
    }

    /// The client lost its disk, so the task starts over without its history.
    pub fn forget(&mut self, at: i64) {
        self.epoch += 1;
        self.steps.push(Step { at, events: self.events.len(), forgotten: self.events.len(), state: State::default() });
    }

    /// The number of the last step not after `at`; `None` before the first.
    pub fn step_at(&self, at: i64) -> Option<usize> {
        self.steps.partition_point(|step| step.at <= at).checked_sub(1)
    }
}
