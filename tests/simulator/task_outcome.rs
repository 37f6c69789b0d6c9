//! The truth about each task up to its last version in view, derived from the meaning that the simulator gave each
//! event. A version or an event is *in view* if a document shows it.
//!
//! A statistic infers the cause of a restart from the events around a `Restarting`. Here, the cause is stated by the
//! scenario that generated the restart. Only the end of a run without a failure is inferred, since no event states it.

use std::collections::BTreeMap;

use crate::simulator::cluster::Allocation;
use crate::simulator::event::{Cause, Class, Meaning};
use crate::simulator::task_history::{Lived, State, TaskHistory};
use crate::simulator::truth::{TaskKey, Truth, Window};
use crate::simulator::version::Version;

/// One task and its history.
pub struct TaskOutcome<'a> {
    pub allocation: &'a Allocation,
    pub life: &'a TaskHistory,
    /// The last version of the allocation in view, and the state of the task in it.
    pub version: &'a Version,
    pub state: State,
    /// For each event up to that version, whether it is in view.
    pub seen: Vec<bool>,
    /// For each event, whether one window shows both this event and the previous one. This proves that no event
    /// happened in between.
    joined: Vec<bool>,
    /// The versions in view that contain the task's counter, oldest first.
    pub counters: Vec<Counter>,
}

/// What one version in view shows about the restarts of a task.
pub struct Counter {
    /// When the version was written.
    pub at: i64,
    pub restarts: i64,
    last_restart: Option<i64>,
    /// The time of the first event of the version's window, as the document writes it.
    first_event: i64,
}

/// An event that ended a run or a setup with a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The number of the event in the task's history.
    pub event: usize,
    pub class: Class,
    pub gave_up: bool,
}

/// One run of a task, including its setup.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub attempt: i64,
    pub started: Option<i64>,
    pub ended: Option<i64>,
    pub outcome: &'static str,
    /// The class of a failed run, if an event shows it.
    pub class: Option<Class>,
    pub exit: Option<(i64, i64)>,
    pub delay: Option<i64>,
}

impl<'a> Truth<'a> {
    /// The outcome of every task with a window in view.
    pub fn stories(&self) -> BTreeMap<TaskKey, TaskOutcome<'a>> {
        let last = self.latest();
        let cluster = self.cluster;
        let stories = self.windows().into_iter().map(|((number, life), windows)| {
            let allocation = &cluster.allocations[number];
            let life = &allocation.lives[life];
            let end = windows.iter().map(|window| window.events.end).max().unwrap_or_default();
            let mut seen = Self::seen(life, &windows);
            seen.truncate(end);
            let joins =
                |n: usize| n == 0 || windows.iter().any(|w| w.events.contains(&n) && w.events.contains(&(n - 1)));
            let version = &allocation.versions[last[&number]];
            let own = allocation.lives.iter().position(|other| std::ptr::eq(other, life)).unwrap_or_default();
            let step = version.steps.as_ref().and_then(|steps| steps[own]);
            let story = TaskOutcome {
                allocation,
                life,
                version,
                state: step.map(|step| life.steps[step].state.clone()).unwrap_or_default(),
                joined: (0..end).map(joins).collect(),
                seen,
                counters: windows.iter().filter_map(|w| Counter::of(w, life)).collect(),
            };
            ((allocation.id.clone(), life.task.clone()), story)
        });
        stories.collect()
    }
}

impl Counter {
    fn of(window: &Window, life: &TaskHistory) -> Option<Self> {
        Some(Self {
            at: window.modified_at,
            restarts: window.restarts?,
            last_restart: window.last_restart,
            first_event: window.time(&life.events[window.events.start].event),
        })
    }
}

impl TaskOutcome<'_> {
    /// The events of the task up to its last version in view.
    pub fn events(&self) -> &[Lived] {
        &self.life.events[..self.seen.len()]
    }

    /// Whether the events suffice to judge the task. They do if the client never lost the task's state, and the times
    /// of the client's clock keep the events in order.
    pub fn is_clear(&self) -> bool {
        let known_at = self.events().iter().filter(|lived| lived.event.kind != "Driver");
        let place = |lived: &Lived| (lived.attempt, lived.event.time, rank(lived.event.kind));
        self.life.judged && self.events().iter().all(|lived| lived.epoch == 0) && known_at.is_sorted_by_key(place)
    }

    /// Whether all events of the task are in view, each next to the previous one.
    pub fn is_whole(&self) -> bool {
        self.seen.iter().chain(&self.joined).all(|is| *is)
    }

    /// Whether the previous event is in view next to this one, or this event is the first.
    pub fn joins(&self, event: usize) -> bool {
        self.joined[event]
    }

    /// The failures of the task.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures: Vec<Failure> = vec![];
        for (number, lived) in self.events().iter().enumerate() {
            let attempt = |other: usize| self.life.events[other].attempt;
            let last = failures.last_mut().filter(|failure| attempt(failure.event) == lived.attempt);
            match (lived.event.meaning, last) {
                // One kill may be recorded as two events.
                (Meaning::Failure(_), Some(last)) if lived.event.kind == "Killing" && last.class == class_of(lived) => {
                }
                (Meaning::Failure(class), _) => {
                    failures.push(Failure { event: number, class, gave_up: lived.event.kind == "Not Restarting" });
                }
                (_, Some(last)) if lived.event.kind == "Not Restarting" => last.gave_up = true,
                _ => {}
            }
        }
        failures
    }

    /// The restarts of the task in order: the number of the event, and the cause.
    pub fn restarts(&self) -> Vec<(usize, Cause)> {
        let events = self.events().iter().enumerate();
        let restarts = events.filter_map(|(number, lived)| match lived.event.meaning {
            Meaning::Restart(cause) => Some((number, cause)),
            _ => None,
        });
        restarts.collect()
    }

    /// The time of each restart. It is the time of its event if the event is in view, otherwise it is the latest
    /// possible time.
    pub fn restart_times(&self) -> Vec<i64> {
        let times = self.restarts().into_iter().zip(1..).filter_map(|((event, _), number)| {
            let time = self.seen[event].then(|| self.life.events[event].event.time);
            time.or_else(|| self.known_by(number))
        });
        times.collect()
    }

    /// The latest possible time of a restart whose event is not in view. The first version in view that
    /// counts the restart gives these bounds, and the result is the earliest of them:
    ///
    /// - the time of the version;
    /// - the time of its last restart;
    /// - the time of the first event of its window, which comes after the restart.
    ///
    /// The last two are times of the client's clock. Each of them is used only if it is between the previous version in
    /// view, which counts fewer restarts, and this version. If there is no previous version, it must be between the
    /// creation of the allocation and this version.
    fn known_by(&self, number: i64) -> Option<i64> {
        let first = self.counters.iter().position(|counter| counter.restarts >= number)?;
        let counter = &self.counters[first];
        let fewer = first.checked_sub(1).map_or(self.allocation.created, |before| self.counters[before].at);
        let known_at = counter.last_restart.into_iter().chain([counter.first_event]);
        let known = known_at.filter(|at| (fewer..=counter.at).contains(at)).min();
        Some(known.unwrap_or(counter.at))
    }

    /// The runs of the task that have at least one event.
    pub fn runs(&self) -> Vec<Run> {
        let failures = self.failures();
        let mut runs = vec![];
        let mut first = 0;
        for events in self.events().chunk_by(|a, b| a.attempt == b.attempt) {
            let own = first..first + events.len();
            let failure = failures.iter().rfind(|failure| own.contains(&failure.event));
            runs.push(self.run(events, failure.map(|failure| (failure.event - first, failure.class))));
            first = own.end;
        }
        runs
    }

    /// The run that consists of these events. One of them may be its failure.
    fn run(&self, events: &[Lived], failure: Option<(usize, Class)>) -> Run {
        let last = |kind: &str| events.iter().rposition(|lived| lived.event.kind == kind);
        let starts = |lived: &&Lived| lived.event.kind == "Started";
        let end = last("Terminated").filter(|end| last("Started").is_none_or(|start| start < *end));
        // Only a kill before the end counts: before Nomad 1.10.3, a kill was also recorded after the end.
        let is_killed = end.is_some_and(|end| events[..end].iter().any(|lived| lived.event.kind == "Killing"));
        let end = end.map(|end| &events[end].event);
        let signal = last("Restart Signaled").map(|signal| events[signal].event.restart_reason.as_str());
        let restarting = &events[events.len() - 1];
        let cause = match restarting.event.meaning {
            Meaning::Restart(cause) => Some(cause),
            _ => None,
        };
        let is_latest = restarting.attempt == self.state.restarts + 1;
        let (dead, lost) = (self.state.state == "dead", self.version.client_status == "lost");
        let (outcome, ended) = match (failure, cause, end) {
            (Some((event, _)), ..) => ("failed", Some(end.unwrap_or(&events[event].event).time)),
            (None, Some(Cause::User | Cause::Change), end) => ("restart", end.map(|end| end.time)),
            (None, Some(_), end) => ("completed", end.map(|end| end.time)),
            (None, None, Some(end)) if is_killed => ("stopped", Some(end.time)),
            (None, None, Some(end)) if signal.is_some() => ("restart", Some(end.time)),
            (None, None, Some(end)) if (end.exit_code, end.signal) == (0, 0) => ("completed", Some(end.time)),
            (None, None, Some(end)) => ("stopped", Some(end.time)),
            (None, None, None) if !is_latest => ("unknown", None),
            (None, None, None) if dead => {
                (if self.state.failed { "failed" } else { "stopped" }, self.state.finished_at)
            }
            (None, None, None) if lost => ("lost", None),
            // In an allocation with such a status, the task may still run or run later. So the end of this run is
            // unknown.
            (None, None, None) if ["unknown", "failed", "complete"].contains(&self.version.client_status) => {
                ("unknown", None)
            }
            (None, None, None) if self.state.state == "running" => ("running", None),
            (None, None, None) => ("waiting", None),
        };
        Run {
            attempt: restarting.attempt,
            started: events.iter().find(starts).map(|lived| lived.event.time),
            ended,
            outcome,
            class: failure.map(|(_, class)| class),
            exit: end.map(|end| (end.exit_code, end.signal)),
            delay: cause.map(|_| restarting.event.start_delay),
        }
    }

    /// When the task started for the first time.
    pub fn first_start(&self) -> Option<i64> {
        self.first("Started").map(|event| self.life.events[event].event.time)
    }

    /// The number of the task's first event of a kind.
    pub fn first(&self, kind: &str) -> Option<usize> {
        self.events().iter().position(|lived| lived.event.kind == kind)
    }

    /// The outcome of the task's first start: `started`, or why it did not start.
    pub fn start_outcome(&self) -> &'static str {
        let over = self.state.state == "dead" || self.version.is_terminal();
        match (self.first_start(), over) {
            (Some(_), _) => "started",
            (None, true) if self.state.failed => "failed_before_start",
            (None, true) => "stopped_before_start",
            (None, false) => "waiting",
        }
    }

    /// Returns the times of the restarts in view whose events have a time at or after `at`. If `trusted`, it omits the
    /// restarts that are already counted by a version in view that is not later than `at`.
    pub fn seen_since(&self, at: i64, trusted: bool) -> Vec<i64> {
        let old = self.counters.iter().filter(|counter| trusted && counter.at <= at);
        let counted = old.map(|counter| counter.restarts).max().unwrap_or_default();
        let restarts = self.restarts().into_iter().zip(1..);
        let new = restarts.filter(|((event, _), number)| self.seen[*event] && *number > counted);
        new.map(|((event, _), _)| self.life.events[event].event.time).filter(|time| *time >= at).collect()
    }

    /// Counts the restarts out of view that happened since `at`, in two ways. The first number uses the servers' clock.
    /// It counts the restarts after the last version of the allocation that is not later than `at`, whether that
    /// version is in view or not. The second number omits each of these restarts whose event, or any later event, has a
    /// time before `at` by the client's clock.
    pub fn unseen_since(&self, at: i64) -> [i64; 2] {
        let number = self.allocation.lives.iter().position(|life| std::ptr::eq(life, self.life)).unwrap_or_default();
        let before = self.allocation.versions.iter().rfind(|version| version.at <= at);
        let step = before.and_then(|version| version.steps.as_ref()?[number]);
        let counted = step.map_or(0, |step| self.life.steps[step].state.restarts);
        let unseen = self.restarts().into_iter().zip(1..).filter(|((event, _), _)| !self.seen[*event]);
        let new: Vec<usize> = unseen.filter(|(_, number)| *number > counted).map(|((event, _), _)| event).collect();
        let is_after = |event: &&usize| self.events()[**event..].iter().all(|lived| lived.event.time >= at);
        [new.len() as i64, new.iter().filter(is_after).count() as i64]
    }
}

fn class_of(lived: &Lived) -> Class {
    match lived.event.meaning {
        Meaning::Failure(class) => class,
        _ => Class::Unknown,
    }
}

/// The rank of an event type among events with the same time: causes come before effects.
fn rank(kind: &str) -> u8 {
    let kinds = ["Received", "Task Setup", "", "Started", "Restart Signaled", "Killing", "Terminated", "Killed"];
    let after = ["Restarting", "Not Restarting"];
    let place = kinds.iter().chain(&after).position(|known| *known == kind);
    place.unwrap_or(2) as u8
}
