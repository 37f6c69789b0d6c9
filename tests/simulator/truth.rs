//! What can be known from a set of documents. It is computed from the simulator's own state. No function here reads
//! JSON.
//!
//! A document shows versions of allocations, and a version shows a window of at most ten events per task. An event
//! that is in no window cannot be known. An event that is in a window must be found, with the right attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::simulator::cluster::{Allocation, Cluster};
use crate::simulator::event::Event;
use crate::simulator::moment::through_float;
use crate::simulator::render::{Document, Form, Shown};
use crate::simulator::task_history::{RING, TaskHistory};

/// One expected row of `task_events`, without `message` (see [`Truth::messages`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventRow {
    pub alloc_id: String,
    pub task: String,
    pub event_at_ns: i64,
    pub event_type: String,
    pub ordinal: i64,
    /// The attempt; `None` if no document had the counter of the task.
    pub attempt: Option<i64>,
    pub fails_task: bool,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    pub oom_killed: Option<bool>,
    pub restart_reason: Option<String>,
    pub start_delay_ns: Option<i64>,
    pub kill_timeout_ns: Option<i64>,
    pub details: Option<String>,
    pub times_rounded: bool,
    pub namespace: String,
    pub job_id: String,
    pub task_group: String,
    pub node_id: String,
}

/// What is known about one task, and what the program must report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTruth {
    pub events: i64,
    /// The largest counter that is shown; `None` if no window had a counter.
    pub restarts: Option<i64>,
    /// Restarts that the counter includes, but whose events are in no window. `None` without a counter, or if the
    /// windows show that the client lost its state.
    pub lost_restarts: Option<i64>,
    /// Whether the start is in view, and the number of gaps between windows, as the data model defines them.
    pub begins: bool,
    pub gaps: i64,
    /// True if an event up to the last shown version is in no window. Such a task must never be reported as complete,
    /// unless `deceptive`.
    pub missing: bool,
    /// True if a loss of events may be impossible to detect. This is so if an event is in no window, and after it
    /// either the client lost the state of the task, or a full window starts with another `Received`.
    pub deceptive: bool,
    /// True if no event is missing and the windows prove that. Such a task must be reported as complete.
    pub plain: bool,
}

/// The state of a task in the last shown version that contains a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTruth {
    pub modify_index: i64,
    pub state: String,
    pub failed: bool,
    pub restarts: Option<i64>,
    pub last_restart_ns: Option<i64>,
    pub started_ns: Option<i64>,
    /// The end as served, which may be an end that the client fabricated.
    pub finished_ns: Option<i64>,
}

/// A task: the ID of its allocation, and its name.
pub type TaskKey = (String, String);

/// The truth about a set of shown versions.
pub struct Truth<'a> {
    pub cluster: &'a Cluster,
    pub(super) shown: Vec<Shown>,
}

/// A window of one task as one version shows it.
pub(super) struct Window {
    modify_index: i64,
    /// The ModifyTime of the version, as written.
    pub(super) modified_at: i64,
    pub(super) events: Range<usize>,
    /// The counter, and when it last increased; `None` if it is not shown.
    pub(super) restarts: Option<i64>,
    pub(super) last_restart: Option<i64>,
    floats: bool,
    marked: bool,
}

impl Window {
    /// When an event happened, as the document writes it.
    pub(super) fn time(&self, event: &Event) -> i64 {
        if self.floats { through_float(event.time) } else { event.time }
    }
}

impl<'a> Truth<'a> {
    /// The truth about these versions. They may be in any order, and a version may occur several times.
    pub fn of(cluster: &'a Cluster, shown: impl IntoIterator<Item = Shown>) -> Self {
        Self { cluster, shown: shown.into_iter().collect() }
    }

    /// The truth about the versions in these documents.
    pub fn of_documents<'d>(cluster: &'a Cluster, documents: impl IntoIterator<Item = &'d Document>) -> Self {
        Self::of(cluster, documents.into_iter().flat_map(|document| document.marked(cluster)))
    }

    /// Every event that is in a window, as a row. The program must find exactly these events.
    pub fn events(&self) -> BTreeSet<EventRow> {
        let mut rows: BTreeMap<EventRow, Option<i64>> = BTreeMap::new();
        self.each_event(|row, _| {
            let attempt = row.attempt;
            let known = rows.entry(EventRow { attempt: None, ..row }).or_default();
            *known = known.or(attempt);
        });
        rows.into_iter().map(|(row, attempt)| EventRow { attempt, ..row }).collect()
    }

    /// The message of each event. The key is the event as a row without attempt.
    pub fn messages(&self) -> BTreeMap<EventRow, String> {
        let mut messages = BTreeMap::new();
        self.each_event(|row, event| {
            messages.insert(EventRow { attempt: None, ..row }, event.display.clone());
        });
        messages
    }

    fn each_event(&self, mut each: impl FnMut(EventRow, &Event)) {
        for ((number, life), windows) in self.windows() {
            let allocation = &self.cluster.allocations[number];
            for window in windows {
                let mut equal: BTreeMap<EventRow, i64> = BTreeMap::new();
                for lived in &allocation.lives[life].events[window.events.clone()] {
                    let mut row = self.row(allocation, &allocation.lives[life].task, &lived.event, &window);
                    let ordinal = equal.entry(row.clone()).or_default();
                    row.ordinal = *ordinal;
                    *ordinal += 1;
                    row.attempt = window.restarts.map(|_| lived.attempt);
                    each(row, &lived.event);
                }
            }
        }
    }

    fn row(&self, allocation: &Allocation, task: &str, event: &Event, window: &Window) -> EventRow {
        let job = &self.cluster.jobs[allocation.job];
        let details = event.details.clone().unwrap_or_default();
        let terminated = event.kind == "Terminated";
        EventRow {
            alloc_id: allocation.id.clone(),
            task: task.into(),
            event_at_ns: window.time(event),
            event_type: event.kind.into(),
            ordinal: 0,
            attempt: None,
            fails_task: event.fails_task,
            exit_code: terminated.then_some(event.exit_code),
            signal: terminated.then_some(event.signal),
            oom_killed: details.get("oom_killed").filter(|_| terminated).map(|text| text == "true"),
            restart_reason: Some(event.restart_reason.clone()).filter(|reason| !reason.is_empty()),
            start_delay_ns: (event.kind == "Restarting").then_some(event.start_delay),
            kill_timeout_ns: Some(event.kill_timeout).filter(|ns| *ns != 0),
            details: canonical_details(event),
            times_rounded: window.marked,
            namespace: job.namespace.into(),
            job_id: job.id.clone(),
            task_group: job.groups[allocation.group].name.into(),
            node_id: self.cluster.nodes[allocation.node].id.clone(),
        }
    }

    /// The coverage of every task with a shown window.
    pub fn tasks(&self) -> BTreeMap<TaskKey, TaskTruth> {
        let rows = self.events();
        let mut counts: BTreeMap<TaskKey, i64> = BTreeMap::new();
        for row in &rows {
            *counts.entry((row.alloc_id.clone(), row.task.clone())).or_default() += 1;
        }
        let tasks = self.windows().into_iter().map(|((number, life), windows)| {
            let allocation = &self.cluster.allocations[number];
            let life = &allocation.lives[life];
            let key = (allocation.id.clone(), life.task.clone());
            let events = counts.get(&key).copied().unwrap_or_default();
            (key, coverage(life, &windows, events))
        });
        tasks.collect()
    }

    /// The last shown version of each allocation, by the number of the allocation.
    pub fn latest(&self) -> BTreeMap<usize, usize> {
        let mut latest: BTreeMap<usize, usize> = BTreeMap::new();
        for shown in &self.shown {
            let version = latest.entry(shown.allocation).or_default();
            *version = shown.version.max(*version);
        }
        latest
    }

    /// The allocations that replace another one, if a document shows this. A document does so if it has more than the
    /// stub of the allocation, or if the stub has a tracker that names the replaced allocation.
    pub fn followers(&self) -> BTreeSet<usize> {
        let tells = |shown: &&Shown| {
            let allocation = &self.cluster.allocations[shown.allocation];
            let tracked = allocation.tracker.last().map(|(_, before)| *before);
            allocation.replaces.is_some_and(|(before, _)| shown.form != Form::Stub || tracked == Some(before))
        };
        self.shown.iter().filter(tells).map(|shown| shown.allocation).collect()
    }

    /// The latest shown state of every task. Placeholders do not count.
    pub fn states(&self) -> BTreeMap<TaskKey, StateTruth> {
        let mut states: BTreeMap<TaskKey, StateTruth> = BTreeMap::new();
        for shown in self.shown.iter().filter(|shown| shown.tasks) {
            let allocation = &self.cluster.allocations[shown.allocation];
            let version = &allocation.versions[shown.version];
            for (life, step) in allocation.lives.iter().zip(version.steps.iter().flatten()) {
                let Some(step) = step else { continue };
                let state = &life.steps[*step].state;
                let counted = |value| if shown.counters { value } else { None };
                let truth = StateTruth {
                    modify_index: version.index,
                    state: state.state.into(),
                    failed: state.failed,
                    restarts: counted(Some(state.restarts)),
                    last_restart_ns: counted(state.last_restart),
                    started_ns: state.started_at,
                    finished_ns: state.finished_at.or(version.made_up),
                };
                let known = states.entry((allocation.id.clone(), life.task.clone())).or_insert_with(|| truth.clone());
                if known.modify_index < truth.modify_index {
                    *known = truth;
                } else if known.modify_index == truth.modify_index {
                    // A document may lack fields that another document has.
                    known.restarts = known.restarts.or(truth.restarts);
                    known.last_restart_ns = known.last_restart_ns.or(truth.last_restart_ns);
                }
            }
        }
        states
    }

    /// The shown windows of each task, in the order of versions. The key is the number of the allocation and of the
    /// task.
    pub(super) fn windows(&self) -> BTreeMap<(usize, usize), Vec<Window>> {
        let mut windows: BTreeMap<(usize, usize), Vec<Window>> = BTreeMap::new();
        for shown in self.shown.iter().filter(|shown| shown.tasks) {
            let allocation = &self.cluster.allocations[shown.allocation];
            let version = &allocation.versions[shown.version];
            for (number, life) in allocation.lives.iter().enumerate() {
                let Some(step) = version.steps.as_ref().and_then(|steps| steps[number]) else { continue };
                let step = &life.steps[step];
                windows.entry((shown.allocation, number)).or_default().push(Window {
                    modify_index: version.index,
                    modified_at: if shown.floats { through_float(version.at) } else { version.at },
                    events: step.window(),
                    restarts: shown.counters.then_some(step.state.restarts),
                    last_restart: step.state.last_restart.filter(|_| shown.counters),
                    floats: shown.floats,
                    marked: shown.marked,
                });
            }
        }
        for windows in windows.values_mut() {
            windows.retain(|window| !window.events.is_empty());
            // Drop repeated windows. After a clock was set back, there would seem to be a gap even between two copies
            // of one window.
            let place = |window: &Window| (window.modify_index, window.modified_at, window.restarts.is_some());
            windows.sort_by_key(|window| (place(window), window.floats, window.marked));
            windows.dedup_by_key(|window| (place(window), window.floats, window.marked));
        }
        windows.retain(|_, windows| !windows.is_empty());
        windows
    }

    /// For each event of a task, whether it is in a window.
    pub(super) fn seen(life: &TaskHistory, windows: &[Window]) -> Vec<bool> {
        let mut seen = vec![false; life.events.len()];
        for window in windows {
            seen[window.events.clone()].fill(true);
        }
        seen
    }
}

/// The `details` column: Nomad's map, with missing legacy fields added under Nomad's keys, as compact JSON.
fn canonical_details(event: &Event) -> Option<String> {
    let mut details = event.details.clone().unwrap_or_default();
    for (field, text) in &event.texts {
        let key = match *field {
            "SetupError" => "setup_error",
            "DriverError" => "driver_error",
            "DriverMessage" => "driver_message",
            "DownloadError" => "download_error",
            "ValidationError" => "validation_error",
            "FailedSibling" => "failed_sibling",
            "TaskSignal" => "task_signal",
            "KillReason" => "kill_reason",
            _ => continue,
        };
        details.entry(key).or_insert_with(|| text.clone());
    }
    let text = serde_json::to_string(&details).unwrap_or_default();
    (!details.is_empty()).then_some(text)
}

fn coverage(life: &TaskHistory, windows: &[Window], events: i64) -> TaskTruth {
    let lived = |n: usize| &life.events[n];
    let place = |n: usize| (lived(n).attempt, lived(n).event.time);
    let restarting =
        |range: &mut dyn Iterator<Item = usize>| range.filter(|n| lived(*n).event.kind == "Restarting").count() as i64;
    let seen = Truth::seen(life, windows);
    let in_view = || (0..seen.len()).filter(|n| seen[*n]);
    let last = windows.iter().map(|w| w.events.end).max().unwrap_or_default();

    let full = |w: &Window| w.events.len() >= RING;
    let heads = |w: &Window| {
        let received = lived(w.events.start).event.kind == "Received";
        !full(w) || received && w.restarts == Some(restarting(&mut w.events.clone()))
    };
    // Without a counter, only the time is compared.
    let attempt = |w: &Window, n: usize| w.restarts.map_or(0, |_| lived(n).attempt);
    let first = |w: &Window| (attempt(w, w.events.start), lived(w.events.start).event.time);
    let end = |w: &Window| (attempt(w, w.events.end - 1), lived(w.events.end - 1).event.time);
    let counters: Vec<i64> = windows.iter().filter_map(|w| w.restarts).collect();
    // Whether exactly the events of a window are in view from its first to its last place.
    let can_place = windows.iter().all(|w| w.restarts.is_some());
    let is_exact = |w: &Window| {
        let places = first(w)..=end(w);
        in_view().filter(|n| places.contains(&(lived(*n).attempt, lived(*n).event.time))).count() == w.events.len()
    };
    let (mut gaps, mut new_lives, mut is_mixed) = (0, 0, false);
    let mut new_life_from: Option<i64> = None;
    let mut shows_new_life = vec![false; windows.len()];
    for (number, pair) in windows.windows(2).enumerate() {
        let (before, w) = (&pair[0], &pair[1]);
        let most = windows[..=number].iter().filter_map(|w| w.restarts).max();
        let is_new_life = w.restarts.is_some() && w.restarts < most
            || !full(w) && first(w).0 < 2 && first(w).1 > first(before).1
            || w.restarts.is_some()
                && first(w).0 < end(before).0
                && first(w).1 > end(before).1
                && !(before.restarts.is_some() && first(w) == first(before))
                && !(can_place && is_exact(before) && first(w) >= first(before));
        let is_alike = before.restarts.is_some() == w.restarts.is_some();
        let is_gap = is_new_life || if is_alike { first(w) > end(before) } else { full(w) };
        shows_new_life[number + 1] = is_new_life;
        if is_new_life {
            new_lives += 1;
            new_life_from = new_life_from.max(Some(first(w).1));
        }
        gaps += i64::from(is_gap);
        is_mixed |= new_life_from > Some(first(w).1) || is_gap && first(w).1 < end(before).1;
    }
    let is_rounded = windows.iter().any(|w| w.marked);
    let more_than_counted = counters.iter().max().is_some_and(|most| restarting(&mut in_view()) > *most);
    is_mixed |= windows.len() > 1 && new_lives == 0 && !is_rounded && more_than_counted;
    let mut first_ones = windows.iter().zip(&shows_new_life).take_while(|(w, _)| heads(w) || w.restarts.is_none());
    let begins = first_ones.any(|(w, is_new)| heads(w) && !is_new) && !is_mixed;

    let restarts = counters.iter().max().copied();
    let lost = restarts.map(|most| most - restarting(&mut in_view()));
    let missing = seen[..last].iter().any(|seen| !seen);

    let epoch = |n: usize| lived(n).epoch;
    let forgot_unseen =
        windows.iter().any(|w| epoch(w.events.start) > 0) && (0..last).any(|n| !seen[n] && epoch(n) < epoch(last - 1));
    let later_received = windows.iter().any(|w| {
        let first = w.events.start;
        full(w) && first > 0 && lived(first).event.kind == "Received" && (0..first).any(|n| !seen[n])
    });
    // If a clock was set back between two attempts, the second attempt looks like a new life. So times must not
    // decrease from one attempt to the next, either.
    let time = |n: usize| lived(n).event.time;
    let in_order = (1..last).all(|n| place(n - 1) < place(n) && time(n - 1) <= time(n));
    let proven = windows.windows(2).all(|pair| !full(&pair[1]) || pair[1].events.start < pair[0].events.end);
    let received = in_view().filter(|n| lived(*n).event.kind == "Received").count();
    let plain = !missing
        && in_order
        && proven
        && begins
        && received == 1
        && epoch(last - 1) == 0
        && windows.iter().all(|w| w.restarts.is_some() && !w.floats);
    TaskTruth {
        events,
        restarts,
        lost_restarts: lost.filter(|lost| new_lives == 0 && *lost >= 0),
        begins,
        gaps,
        missing,
        deceptive: forgot_unseen || later_received,
        plain,
    }
}
