//! The twin of `queries/timeline.sql`: sorts the events of each task, and folds over them. The comments in that file
//! apply here, too.

use std::cmp::Ordering;
use std::collections::HashSet;

use polars::prelude::{
    BooleanChunked, Column, DataFrame, IdxCa, Int32Chunked, Int64Chunked, IntoColumn, StringChunked,
};

use super::ReadColumns;
use super::logged_events::LoggedEvents;
use super::task_numbers::{TaskKeys, TaskNumbers};
use crate::error::Result;

/// The columns of `task_events` that the view reads, besides the key columns.
const EVENTS: [&str; 14] = [
    "attempt",
    "event_at",
    "event_at_ns",
    "event_type",
    "ordinal",
    "fails_task",
    "exit_code",
    "signal",
    "oom_killed",
    "restart_reason",
    "start_delay_ns",
    "message",
    "details",
    "times_rounded",
];

/// The columns of `windows` that the view reads.
const WINDOWS: [&str; 7] = ["window_no", "first_attempt", "first_ns", "begins", "after_gap", "new_life", "lives_mixed"];

/// The rows of the view.
///
/// # Errors
/// When an input cannot be read.
pub fn rows(read: &ReadColumns<'_>, is_sorted: bool) -> Result<DataFrame> {
    let columns = |names: &[&'static str]| [TaskKeys::COLUMNS.as_slice(), names].concat();
    let mut frame = read("task_events", &columns(&EVENTS))?;
    let logged = LoggedEvents::append(read, &EVENTS, &mut frame)?;
    // Use one chunk, because the rows are accessed in the order of the tasks, not in the order of the table.
    frame.rechunk_mut_par();
    let (tasks, task_of_row) = TaskNumbers::of(&frame)?;
    let windows = WindowFacts::of(&read("windows", &columns(&WINDOWS))?, &tasks)?;
    let events = EventColumns::of(&frame, &logged)?;
    let by_task = RowsByTask::new(&task_of_row, tasks.len());
    let mut made = Made::with_capacity(frame.height());
    let order = if is_sorted { tasks.by_key() } else { (0..tasks.len() as u32).collect() };
    let mut scratch = Vec::new();
    for task in order {
        scratch.clear();
        scratch.extend(by_task.rows(task).iter().map(|row| events.get(*row)));
        events.drop_rounded_twins(&mut scratch);
        fold(&events, &windows.of_task(task), &mut scratch, &mut made);
    }
    made.into_frame(&frame, &logged)
}

/// The types of events that have a rank of their own; the order of the variants is the causal order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RankedType {
    Received,
    TaskSetup,
    Other,
    Started,
    RestartSignaled,
    Killing,
    Terminated,
    Killed,
    Restarting,
    NotRestarting,
}

impl RankedType {
    fn parse(text: Option<&str>) -> RankedType {
        match text.unwrap_or_default() {
            "Received" => RankedType::Received,
            "Task Setup" => RankedType::TaskSetup,
            "Started" => RankedType::Started,
            "Restart Signaled" => RankedType::RestartSignaled,
            "Killing" => RankedType::Killing,
            "Terminated" => RankedType::Terminated,
            "Killed" => RankedType::Killed,
            "Restarting" => RankedType::Restarting,
            "Not Restarting" => RankedType::NotRestarting,
            _ => RankedType::Other,
        }
    }
}

/// The part of an event that nearly always decides its place among the events of its task.
#[derive(Debug, Clone, Copy)]
struct Event {
    row: u32,
    kind: RankedType,
    is_rounded: bool,
    attempt: Option<i64>,
    /// The rank of the event in its task: the attempt, the time, and whether other events at that time precede
    /// this one.
    rank: (Option<i64>, Option<i64>, bool),
    ns: Option<i64>,
}

/// The columns of `task_events` that the fold reads, with the rows of `recovered_events` appended.
struct EventColumns<'f> {
    logged: &'f LoggedEvents,
    attempt: &'f Int64Chunked,
    ns: &'f Int64Chunked,
    event_type: &'f StringChunked,
    ordinal: &'f Int32Chunked,
    fails_task: &'f BooleanChunked,
    exit_code: &'f Int64Chunked,
    signal: &'f Int64Chunked,
    oom_killed: &'f BooleanChunked,
    restart_reason: &'f StringChunked,
    start_delay_ns: &'f Int64Chunked,
    message: &'f StringChunked,
    details: &'f StringChunked,
    times_rounded: &'f BooleanChunked,
}

impl<'f> EventColumns<'f> {
    fn of(frame: &'f DataFrame, logged: &'f LoggedEvents) -> Result<EventColumns<'f>> {
        Ok(EventColumns {
            logged,
            attempt: frame.column("attempt")?.i64()?,
            ns: frame.column("event_at_ns")?.i64()?,
            event_type: frame.column("event_type")?.str()?,
            ordinal: frame.column("ordinal")?.i32()?,
            fails_task: frame.column("fails_task")?.bool()?,
            exit_code: frame.column("exit_code")?.i64()?,
            signal: frame.column("signal")?.i64()?,
            oom_killed: frame.column("oom_killed")?.bool()?,
            restart_reason: frame.column("restart_reason")?.str()?,
            start_delay_ns: frame.column("start_delay_ns")?.i64()?,
            message: frame.column("message")?.str()?,
            details: frame.column("details")?.str()?,
            times_rounded: frame.column("times_rounded")?.bool()?,
        })
    }

    fn get(&self, row: u32) -> Event {
        let at = row as usize;
        let (attempt, ns) = (self.attempt.get(at), self.ns.get(at));
        let rank = self.logged.get(row).map_or((attempt, ns, false), |line| line.rank);
        Event {
            row,
            kind: RankedType::parse(self.event_type.get(at)),
            is_rounded: self.times_rounded.get(at) == Some(true),
            attempt,
            rank,
            ns,
        }
    }

    /// Removes each event of a task whose time was rounded by a float, if the task also has the same event with its
    /// exact time. Moves the other rounded events after the exact events.
    fn drop_rounded_twins(&self, events: &mut Vec<Event>) {
        if !events.iter().any(|event| event.is_rounded) {
            return;
        }
        let twin = |event: &Event| Some((self.event_type.get(event.row as usize)?, through_float(event.ns?)));
        let is_exact = |event: &&Event| !event.is_rounded && self.logged.get(event.row).is_none();
        let exact: HashSet<_> = events.iter().filter(is_exact).filter_map(twin).collect();
        events.retain(|event| !event.is_rounded || twin(event).is_none_or(|twin| !exact.contains(&twin)));
        events.sort_by_key(|event| event.is_rounded);
    }

    /// The order of events with the same attempt, time and rank.
    fn compare_ties(&self, one: &Event, other: &Event) -> Ordering {
        let (one, other) = (one.row as usize, other.row as usize);
        // A null number or flag comes first. A null text counts as an empty text.
        let text =
            |values: &'f StringChunked| values.get(one).unwrap_or_default().cmp(values.get(other).unwrap_or_default());
        let number = |values: &Int64Chunked| values.get(one).cmp(&values.get(other));
        let flag = |values: &BooleanChunked| values.get(one).cmp(&values.get(other));
        text(self.event_type)
            .then_with(|| self.ordinal.get(one).cmp(&self.ordinal.get(other)))
            .then_with(|| text(self.details))
            .then_with(|| number(self.exit_code))
            .then_with(|| number(self.signal))
            .then_with(|| number(self.start_delay_ns))
            .then_with(|| flag(self.fails_task))
            .then_with(|| flag(self.oom_killed))
            .then_with(|| text(self.restart_reason))
            .then_with(|| text(self.message))
            .then_with(|| self.attempt.get(one).unwrap_or(0).cmp(&self.attempt.get(other).unwrap_or(0)))
    }
}

/// A time after conversion to a float64 and back.
fn through_float(ns: i64) -> i64 {
    ns as f64 as i64
}

/// The rows of each task, in the order of the table.
struct RowsByTask {
    rows: Vec<u32>,
    /// For each task, the index in `rows` where its rows begin; then the number of all rows.
    starts: Vec<usize>,
}

impl RowsByTask {
    fn new(task_of_row: &[u32], tasks: usize) -> RowsByTask {
        let mut starts = vec![0; tasks + 1];
        task_of_row.iter().for_each(|task| starts[*task as usize + 1] += 1);
        for task in 0..tasks {
            starts[task + 1] += starts[task];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; task_of_row.len()];
        for (row, task) in task_of_row.iter().enumerate() {
            let slot = &mut next[*task as usize];
            rows[*slot] = row as u32;
            *slot += 1;
        }
        RowsByTask { rows, starts }
    }

    fn rows(&self, task: u32) -> &[u32] {
        &self.rows[self.starts[task as usize]..self.starts[task as usize + 1]]
    }
}

/// Facts from the windows of all tasks.
struct WindowFacts {
    /// Whether the windows of a task show a new life or mixed lives, by task number.
    is_fallen: Vec<bool>,
    /// Whether the windows of a task show mixed lives, by task number.
    is_mixed: Vec<bool>,
    /// Task, attempt and time of the first event after each gap, sorted.
    gap_heads: Vec<(u32, i64, i64)>,
}

/// Facts from the windows of one task.
struct TaskFacts<'w> {
    is_fallen: bool,
    is_mixed: bool,
    gap_heads: &'w [(u32, i64, i64)],
}

impl WindowFacts {
    fn of(windows: &DataFrame, tasks: &TaskNumbers<'_>) -> Result<WindowFacts> {
        let keys = TaskKeys::of(windows)?;
        let (number, first_attempt) = (windows.column("window_no")?.i64()?, windows.column("first_attempt")?.i64()?);
        let (first_ns, begins) = (windows.column("first_ns")?.i64()?, windows.column("begins")?.bool()?);
        let (after_gap, new_life) = (windows.column("after_gap")?.bool()?, windows.column("new_life")?.bool()?);
        let lives_mixed = windows.column("lives_mixed")?.bool()?;
        let mut facts = WindowFacts {
            is_fallen: vec![false; tasks.len()],
            is_mixed: vec![false; tasks.len()],
            gap_heads: Vec::new(),
        };
        for row in 0..windows.height() {
            let is = |values: &BooleanChunked| values.get(row) == Some(true);
            let is_gap = is(after_gap) || (number.get(row) == Some(1) && begins.get(row) == Some(false));
            let (is_mixed, is_new) = (is(lives_mixed), is(new_life));
            if !is_gap && !is_mixed && !is_new {
                continue;
            }
            let Some(task) = tasks.find(keys.get(row)) else { continue };
            facts.is_fallen[task as usize] |= is_new || is_mixed;
            facts.is_mixed[task as usize] |= is_mixed;
            if is_gap {
                let (attempt, ns) = (first_attempt.get(row).unwrap_or(0), first_ns.get(row).unwrap_or(0));
                facts.gap_heads.push((task, attempt, ns));
            }
        }
        facts.gap_heads.sort_unstable();
        Ok(facts)
    }

    fn of_task(&self, task: u32) -> TaskFacts<'_> {
        let start = self.gap_heads.partition_point(|head| head.0 < task);
        let gap_heads = &self.gap_heads[start..];
        let end = gap_heads.partition_point(|head| head.0 == task);
        TaskFacts {
            is_fallen: self.is_fallen[task as usize],
            is_mixed: self.is_mixed[task as usize],
            gap_heads: &gap_heads[..end],
        }
    }
}

impl TaskFacts<'_> {
    fn is_gap_head(&self, event: &Event) -> bool {
        let (attempt, ns) = (event.attempt.unwrap_or(0), event.ns.unwrap_or(0));
        self.gap_heads.binary_search_by_key(&(attempt, ns), |head| (head.1, head.2)).is_ok()
    }
}

/// What is known about the start of a run after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    NotYet,
    Started,
    /// The earlier events of the run are lost.
    Lost,
}

/// Sorts the events of a task, and adds their rows.
fn fold(columns: &EventColumns<'_>, facts: &TaskFacts<'_>, events: &mut [Event], made: &mut Made) {
    let has_attempts = !facts.is_fallen && events.iter().all(|event| event.rank.0.is_some());
    let rank_of = |event: &Event| {
        let (attempt, ns, is_late) = event.rank;
        (attempt.filter(|_| has_attempts).unwrap_or(0), ns.unwrap_or(0), is_late, event.kind)
    };
    events.sort_by(|one, other| rank_of(one).cmp(&rank_of(other)).then_with(|| columns.compare_ties(one, other)));
    let (mut is_dead, mut kill_under_way, mut start) = (false, false, Start::NotYet);
    let (mut restarts, mut gaps) = (0, 0);
    let mut has_begun = false;
    let mut signals = Signals::default();
    for (event, number) in events.iter().zip(1..) {
        let kind = event.kind;
        let line = columns.logged.get(event.row);
        let is_gap_head = line.map_or_else(|| facts.is_gap_head(event), |line| line.after_gap);
        let reason = || columns.restart_reason.get(event.row as usize).unwrap_or_default();
        match kind {
            RankedType::NotRestarting | RankedType::Killed => is_dead = true,
            RankedType::Received | RankedType::TaskSetup | RankedType::Started | RankedType::Restarting => {
                is_dead = false
            }
            _ => {}
        }
        let is_void = kind == RankedType::Killing && is_dead;
        gaps += i64::from(is_gap_head && number > 1);
        let run = match line {
            _ if facts.is_mixed => None,
            Some(line) if line.is_torn => None,
            Some(line) if event.attempt.is_none() => line.rank.0.filter(|_| has_attempts).map(|attempt| -attempt),
            _ => Some(event.attempt.filter(|_| has_attempts).unwrap_or(1 + restarts + gaps)),
        };
        restarts += i64::from(kind == RankedType::Restarting);
        let was_under_way = kill_under_way;
        match kind {
            RankedType::Killing if !is_void => kill_under_way = true,
            RankedType::Terminated | RankedType::Received | RankedType::TaskSetup => kill_under_way = false,
            _ => {}
        }
        let signal_before = run.and_then(|run| signals.of(run));
        let signal = match kind {
            RankedType::Terminated => None,
            RankedType::RestartSignaled if reason().starts_with("healthcheck") => Some("health"),
            RankedType::RestartSignaled if reason().starts_with("User requested") => Some("user"),
            RankedType::RestartSignaled => Some("change"),
            _ => signal_before,
        };
        if let Some(run) = run {
            signals.set(run, signal);
        }
        match kind {
            RankedType::Started => start = Start::Started,
            RankedType::Received | RankedType::TaskSetup | RankedType::Restarting => start = Start::NotYet,
            _ if is_gap_head => start = Start::Lost,
            _ => {}
        }
        match kind {
            RankedType::Started => has_begun = true,
            _ if kind == RankedType::Restarting || is_gap_head => has_begun = false,
            _ => {}
        }
        let is_terminated = kind == RankedType::Terminated;
        let is_start_lost = start == Start::Lost || (line.is_some_and(|line| line.in_open_gap) && !has_begun);
        let shown_signal = if is_terminated { signal_before } else { signal };
        made.rows.push(event.row);
        made.details.push(is_terminated.then_some(event.row));
        made.event_no.push(number);
        made.attempt.push(event.attempt.filter(|_| !facts.is_fallen));
        made.run.push(run);
        made.kill_under_way.push(was_under_way);
        made.is_void.push(is_void);
        made.restart_signal.push(shown_signal.filter(|_| run.is_some()));
        made.is_started.push((run.is_some() && start != Start::Lost).then_some(start == Start::Started));
        let is_blind = is_terminated && is_start_lost && signal_before.is_none();
        made.is_blind.push(is_blind || run.is_none());
        made.is_asked.push(kind == RankedType::Restarting && reason().is_empty() && line.is_none());
    }
}

/// The reason of the latest Restart Signaled of each run. Nearly all events belong to the run of the event before them.
#[derive(Default)]
struct Signals {
    latest: Option<(i64, Option<&'static str>)>,
    earlier: Vec<(i64, Option<&'static str>)>,
}

impl Signals {
    fn of(&self, run: i64) -> Option<&'static str> {
        let is_of_run = |of: &&(i64, Option<&'static str>)| of.0 == run;
        self.latest.iter().chain(self.earlier.iter().rev()).find(is_of_run).and_then(|(_, signal)| *signal)
    }

    fn set(&mut self, run: i64, signal: Option<&'static str>) {
        if let Some(before) = self.latest.replace((run, signal)).filter(|before| before.0 != run && before.1.is_some())
        {
            self.earlier.push(before);
        }
    }
}

/// The computed columns.
struct Made {
    /// The row of `task_events` that each row shows.
    rows: Vec<u32>,
    /// The row of `task_events` whose `details` each row shows; `None` if the row shows none.
    details: Vec<Option<u32>>,
    event_no: Vec<i64>,
    attempt: Vec<Option<i64>>,
    run: Vec<Option<i64>>,
    kill_under_way: Vec<bool>,
    is_void: Vec<bool>,
    restart_signal: Vec<Option<&'static str>>,
    is_started: Vec<Option<bool>>,
    is_blind: Vec<bool>,
    is_asked: Vec<bool>,
}

impl Made {
    fn with_capacity(rows: usize) -> Made {
        Made {
            rows: Vec::with_capacity(rows),
            details: Vec::with_capacity(rows),
            event_no: Vec::with_capacity(rows),
            attempt: Vec::with_capacity(rows),
            run: Vec::with_capacity(rows),
            kill_under_way: Vec::with_capacity(rows),
            is_void: Vec::with_capacity(rows),
            restart_signal: Vec::with_capacity(rows),
            is_started: Vec::with_capacity(rows),
            is_blind: Vec::with_capacity(rows),
            is_asked: Vec::with_capacity(rows),
        }
    }

    /// The rows of the view, from the rows of `task_events` and `recovered_events`.
    fn into_frame(self, events: &DataFrame, logged: &LoggedEvents) -> Result<DataFrame> {
        let origin: StringChunked =
            self.rows.iter().map(|row| Some(if logged.get(*row).is_some() { "log" } else { "api" })).collect();
        let rows = IdxCa::from_vec("row".into(), self.rows);
        let details = events.column("details")?.take(&IdxCa::from_iter(self.details))?;
        let shown = [
            "region",
            "alloc_id",
            "task",
            "event_at",
            "event_at_ns",
            "event_type",
            "fails_task",
            "exit_code",
            "signal",
            "oom_killed",
            "start_delay_ns",
            "message",
        ];
        let mut frame = events.select(shown)?.take(&rows)?;
        frame.hstack_mut(&[
            details,
            Column::new("event_no".into(), self.event_no),
            Column::new("attempt".into(), self.attempt),
            Column::new("run".into(), self.run),
            origin.with_name("origin".into()).into_column(),
            Column::new("kill_under_way".into(), self.kill_under_way),
            Column::new("is_void".into(), self.is_void),
            Column::new("restart_signal".into(), self.restart_signal),
            Column::new("is_started".into(), self.is_started),
            Column::new("is_blind".into(), self.is_blind),
            Column::new("is_asked".into(), self.is_asked),
        ])?;
        Ok(frame)
    }
}
