//! Compares each row of each statistic with the truth. The values must be equal if all events are in view; otherwise
//! they may also be unknown.

mod jobs;

use std::collections::{BTreeMap, BTreeSet};

use alloclog::query::Row;
use anyhow::{Context, ensure};

use crate::simulator::{Cause, Class, Cluster, StateTruth, TaskKey, TaskOutcome, Truth};
use crate::view_store::ViewStore;

const HOUR: i64 = 3_600_000_000_000;

/// How often each situation was judged. A situation that never occurred was not tested.
pub type Tally = BTreeMap<String, usize>;

/// A cluster, the part of it in view, and the program's statistics.
pub struct Judge<'a> {
    cluster: &'a Cluster,
    truth: &'a Truth<'a>,
    answers: &'a ViewStore,
    stories: BTreeMap<TaskKey, TaskOutcome<'a>>,
    states: BTreeMap<TaskKey, StateTruth>,
    /// The tasks known to have a lifecycle hook, by allocation and name.
    hooks: BTreeSet<(String, String)>,
    pub tally: Tally,
}

impl<'a> Judge<'a> {
    pub fn new(truth: &'a Truth<'a>, answers: &'a ViewStore) -> anyhow::Result<Self> {
        let (stories, states) = (truth.stories(), truth.states());
        let hooks = answers.rows("task_states")?.into_iter().filter(|row| row.text("lifecycle_hook").is_some());
        let hooks = hooks.filter_map(|row| Some((row.text("alloc_id")?.to_owned(), row.text("task")?.to_owned())));
        Ok(Self {
            cluster: truth.cluster,
            truth,
            answers,
            stories,
            states,
            hooks: hooks.collect(),
            tally: Tally::new(),
        })
    }

    /// Judges everything, and reports each statistic that is wrong.
    pub fn all(&mut self) -> anyhow::Result<()> {
        let judged = [
            ("restart_log", self.restart_log()),
            ("restarts", self.restarts()),
            ("failures", self.failures()),
            ("failure_summary", self.failure_summary()),
            ("attempts", self.attempts()),
            ("starts", self.starts()),
            ("crash_loops", self.crash_loops()),
            ("job_runs", self.job_runs()),
            ("job_run_summary", self.job_run_summary()),
            ("reschedules", self.reschedules()),
        ];
        let wrong = judged.into_iter().filter_map(|(name, judged)| Some(format!("{name}: {:#}", judged.err()?)));
        let wrong: Vec<String> = wrong.collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        Ok(())
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    /// The rows of each task.
    fn by_task(&self, view: &str) -> anyhow::Result<BTreeMap<TaskKey, Vec<Row>>> {
        let mut tasks: BTreeMap<TaskKey, Vec<Row>> = BTreeMap::new();
        for row in self.answers.rows(view)? {
            tasks.entry(key(&row)).or_default().push(row);
        }
        Ok(tasks)
    }

    /// The tasks whose events suffice to judge them.
    fn clear(&self) -> Vec<TaskKey> {
        self.stories.iter().filter(|(_, story)| story.is_clear()).map(|(key, _)| key.clone()).collect()
    }

    fn restart_log(&mut self) -> anyhow::Result<()> {
        let rows = self.by_task("restart_log")?;
        for key in self.clear() {
            let story = &self.stories[&key];
            let own = rows.get(&key).map_or(&[][..], Vec::as_slice);
            let number: i64 = own.iter().filter_map(|row| row.int("number")).sum();
            ensure!(number == story.state.restarts, "{number} restarts, not {}: {key:?}", story.state.restarts);
            let seen = own.iter().filter(|row| row.get("is_seen") == true);
            let claimed: BTreeMap<i64, &str> =
                seen.filter_map(|row| Some((row.int("restarted_at_ns")?, row.text("cause")?))).collect();
            let restarts = story.restarts().into_iter().filter(|(event, _)| story.seen[*event]);
            let truth: BTreeMap<i64, (usize, Cause)> =
                restarts.map(|(event, cause)| (story.life.events[event].event.time, (event, cause))).collect();
            ensure!(claimed.keys().eq(truth.keys()), "the wrong restarts: {key:?}");
            let mut counts = vec![];
            for (at, cause) in claimed {
                let (event, truth) = truth[&at];
                let explained = is_explained(story, event);
                ensure!(
                    cause == cause_name(truth) || cause == "unknown" && !explained,
                    "{cause}, not {truth:?}: {key:?} at {at}\n{}",
                    tell(story)
                );
                counts.push(format!("cause {cause}"));
            }
            let mut times: Vec<i64> = own
                .iter()
                .flat_map(|row| {
                    let times = row.int("number").unwrap_or_default() as usize;
                    std::iter::repeat_n(row.int("restarted_at_ns").unwrap_or_default(), times)
                })
                .collect();
            times.sort_unstable();
            let mut truth = story.restart_times();
            truth.sort_unstable();
            ensure!(times == truth, "restarts are dated {times:?}, not {truth:?}: {key:?}");
            counts.into_iter().for_each(|what| self.count(what));
        }
        Ok(())
    }

    fn restarts(&mut self) -> anyhow::Result<()> {
        let coverage = self.truth.tasks();
        let mut truths: BTreeMap<Vec<String>, [i64; 5]> = BTreeMap::new();
        for row in self.answers.rows("task_states")?.iter().filter(|row| row.text("task").is_some()) {
            let [tasks, restarts, seen, lost, uncounted] = truths.entry(group(row)).or_default();
            *tasks += 1;
            let Some(story) = self.stories.get(&key(row)) else {
                *uncounted += 1;
                continue;
            };
            let counted = story.counters.iter().map(|counter| counter.restarts).max().unwrap_or_default();
            let events = story.events().iter().zip(&story.seen);
            let shown = events.filter(|(lived, seen)| **seen && lived.event.kind == "Restarting").count() as i64;
            *seen += shown;
            if !story.counters.is_empty() {
                *restarts += counted.max(shown);
            }
            match coverage[&key(row)].lost_restarts {
                Some(missing) => *lost += missing,
                None => *uncounted += 1,
            }
        }
        let rows = self.answers.rows("restarts")?;
        ensure!(rows.len() == truths.len(), "{} groups, not {}", rows.len(), truths.len());
        for row in &rows {
            let truth = truths[&group(row)];
            let names = ["tasks", "restarts", "restarts_seen", "lost_restarts", "uncounted_tasks"];
            let claimed = names.map(|name| row.int(name).unwrap_or_default());
            ensure!(claimed == truth, "{claimed:?}, not {truth:?}: {row:?}");
            ensure!(CAUSES.iter().filter_map(|(_, name)| row.int(&format!("cause_{name}"))).sum::<i64>() == truth[2]);
            ensure!(truth[4] > 0 || truth[2] + truth[3] == truth[1], "seen and lost restarts do not add up: {row:?}");
            self.count("groups of restarts");
        }
        let groups: Vec<(Vec<String>, Vec<&TaskOutcome<'_>>)> = self.groups_of_stories()?;
        let mut counts = 0;
        for (group_key, stories) in groups {
            let is_whole = stories.iter().all(|story| story.is_clear() && story.is_whole());
            let Some(row) = rows.iter().find(|row| group(row) == group_key).filter(|_| is_whole) else { continue };
            for (cause, name) in CAUSES {
                let truth = stories.iter().flat_map(|story| story.restarts()).filter(|(_, one)| *one == cause).count();
                ensure!(row.int(&format!("cause_{name}")) == Some(truth as i64), "{truth} for {name}: {row:?}");
            }
            counts += 1;
        }
        (0..counts).for_each(|_| self.count("groups with all causes in view"));
        Ok(())
    }

    /// The outcomes of the tasks in each group.
    fn groups_of_stories(&self) -> anyhow::Result<Vec<(Vec<String>, Vec<&TaskOutcome<'a>>)>> {
        let mut groups: BTreeMap<Vec<String>, Vec<&TaskOutcome<'a>>> = BTreeMap::new();
        for row in self.answers.rows("task_states")? {
            if let Some(story) = self.stories.get(&key(&row)) {
                groups.entry(group(&row)).or_default().push(story);
            }
        }
        Ok(groups.into_iter().collect())
    }

    fn failures(&mut self) -> anyhow::Result<()> {
        let rows = self.by_task("failures")?;
        for key in self.clear() {
            let story = &self.stories[&key];
            let truths = story.failures();
            let time = |event: usize| (story.life.events[event].event.time, story.life.events[event].event.kind);
            let own = rows.get(&key).map_or(&[][..], Vec::as_slice);
            let mut claimed: BTreeMap<(i64, &str), &Row> = BTreeMap::new();
            for row in own {
                let at = row.int("failed_at_ns").context("a time")?;
                claimed.insert((at, row.text("event_type").unwrap_or_default()), row);
            }
            ensure!(claimed.len() == own.len(), "a failure occurs twice: {key:?}");
            let mut counts = vec![];
            for failure in truths.iter().filter(|failure| story.seen[failure.event]) {
                let lived = &story.life.events[failure.event];
                let Some(row) = claimed.remove(&time(failure.event)) else {
                    // If the event with the reason is lost, an exit with 0 after a failed health check looks clean.
                    let hidden = failure.class == Class::Health && !story.joins(failure.event);
                    ensure!(hidden, "{failure:?} is missing: {key:?}\n{}", tell(story));
                    counts.push("health failures that hide".into());
                    continue;
                };
                let class = row.text("class").unwrap_or_default();
                // The event before the failure may be out of view, and it may have been a failed health check.
                let hides =
                    lived.event.kind == "Terminated" && !is_explained(story, failure.event) && class == "unknown";
                ensure!(
                    class == class_name(failure.class) || hides,
                    "{class}, not {failure:?}: {key:?}\n{}",
                    tell(story)
                );
                ensure!(row.int("attempt") == Some(lived.attempt), "{failure:?} has the wrong attempt: {row:?}");
                let gave_up = row.get("gave_up") == true;
                ensure!(gave_up == failure.gave_up || !story.is_whole() && !gave_up, "gave_up is wrong: {row:?}");
                let (code, signal) = (lived.event.exit_code, lived.event.signal);
                let suspected = matches!(class, "exit" | "signal") && (code == 137 || signal == 9);
                ensure!((row.get("suspected_oom") == true) == suspected, "suspected_oom is wrong: {row:?}");
                let exit = (lived.event.kind == "Terminated").then_some((code, signal));
                ensure!(
                    row.int("exit_code").zip(row.int("signal")) == exit,
                    "the exit code or signal is wrong: {row:?}"
                );
                counts.push(format!("class {class}"));
            }
            ensure!(claimed.is_empty(), "these are not failures: {claimed:?}: {key:?}\n{}", tell(story));
            counts.into_iter().for_each(|what: String| self.count(what));
        }
        Ok(())
    }

    fn failure_summary(&mut self) -> anyhow::Result<()> {
        let mut groups: BTreeMap<(Vec<String>, String), Vec<Row>> = BTreeMap::new();
        for row in self.answers.rows("failures")? {
            groups.entry((group(&row), row.text("class").unwrap_or_default().into())).or_default().push(row);
        }
        let rows = self.answers.rows("failure_summary")?;
        ensure!(rows.len() == groups.len(), "{} groups, not {}", rows.len(), groups.len());
        for row in &rows {
            let own = &groups[&(group(row), row.text("class").unwrap_or_default().into())];
            let flagged = |name: &str| own.iter().filter(|row| row.get(name) == true).count() as i64;
            let times = || own.iter().filter_map(|row| row.int("failed_at_ns"));
            let ids: BTreeSet<_> = own.iter().map(|row| row.text("alloc_id")).collect();
            let tasks: BTreeSet<_> = own.iter().map(key).collect();
            let pairs = own.iter().map(|row| (row.int("exit_code"), row.text("message")));
            let ((code, message), times_shown) = commonest(pairs).context("a pair")?;
            let truth = [
                ("failures", Some(own.len() as i64)),
                ("tasks", Some(tasks.len() as i64)),
                ("allocations", Some(ids.len() as i64)),
                ("gave_up", Some(flagged("gave_up"))),
                ("suspected_oom", Some(flagged("suspected_oom"))),
                ("first_at_ns", times().min()),
                ("last_at_ns", times().max()),
                ("exit_code", code),
            ];
            for (name, truth) in truth {
                ensure!(row.int(name) == truth, "{name} is not {truth:?}: {row:?}");
            }
            ensure!(row.text("message") == message, "the message is not {message:?}: {row:?}");
            let share = times_shown as f64 / own.len() as f64;
            ensure!(row.number("pair_share") == Some(share), "pair_share is not {share}: {row:?}");
            self.count("groups of failures");
        }
        Ok(())
    }

    fn attempts(&mut self) -> anyhow::Result<()> {
        let rows = self.by_task("attempts")?;
        for key in self.clear() {
            let story = &self.stories[&key];
            let own = rows.get(&key).context("no row")?;
            let attempts: BTreeSet<_> = own.iter().map(|row| row.int("attempt")).collect();
            let shown = story.events().iter().zip(&story.seen).filter(|(_, seen)| **seen);
            let truth: BTreeSet<_> = shown.map(|(lived, _)| Some(lived.attempt)).collect();
            ensure!(attempts == truth && own.len() == truth.len(), "wrong attempts: {key:?} {attempts:?}");
            let mut counts = vec![];
            for run in story.runs() {
                let Some(row) = own.iter().find(|row| row.int("attempt") == Some(run.attempt)) else { continue };
                let what = || format!("{run:?}\n{row:?}\n{}", tell(story));
                let own_events = || (0..story.seen.len()).filter(|n| story.life.events[*n].attempt == run.attempt);
                // A task that exits with 0 after its client came back may have been stopped.
                let is_reconnected = own_events().any(|event| story.life.events[event].event.kind == "Reconnected");
                let is_whole = own_events().all(|event| story.seen[event] && story.joins(event));
                let outcome = row.text("outcome").unwrap_or_default();
                let may_be_unknown = !is_whole || is_reconnected;
                ensure!(outcome == run.outcome || may_be_unknown && outcome == "unknown", "outcome: {}", what());
                counts.push(format!("run {outcome}"));
                let delay = row.number("delay_seconds").map(|seconds| (seconds * 1e9).round() as i64);
                let claimed = [row.int("started_at_ns"), row.int("ended_at_ns"), delay];
                let exit = row.int("exit_code").zip(row.int("signal"));
                for (claimed, truth) in claimed.into_iter().zip([run.started, run.ended, run.delay]) {
                    ensure!(claimed == truth || !is_whole && claimed.is_none(), "time: {}", what());
                }
                ensure!(exit == run.exit || !is_whole && exit.is_none(), "exit: {}", what());
                let class = row.text("failure_class");
                let truth = run.class.map(class_name);
                let hides = !is_whole && truth.is_some() && class == Some("unknown");
                ensure!(class == truth || !is_whole && class.is_none() || hides, "class: {}", what());
            }
            counts.into_iter().for_each(|what| self.count(what));
        }
        Ok(())
    }

    fn starts(&mut self) -> anyhow::Result<()> {
        let rows = self.answers.rows("starts")?;
        ensure!(rows.len() == self.answers.rows("task_states")?.len(), "there must be one row per task");
        for row in &rows {
            let Some(story) = self.stories.get(&key(row)).filter(|story| story.is_clear()) else { continue };
            let what = || format!("{row:?}\n{}", tell(story));
            let (outcome, basis) = (row.text("outcome").unwrap_or_default(), row.text("basis"));
            let truth = story.start_outcome();
            // While an allocation is lost, its client may still start tasks, and Nomad makes up the ends of tasks.
            let may_start = story.version.client_status == "lost" && story.state.state != "dead";
            let may_be_unknown = !story.is_whole() || may_start || story.version.made_up.is_some();
            ensure!(outcome == truth || outcome == "unknown" && may_be_unknown, "not {truth}: {}", what());
            ensure!(
                !story.is_whole() || truth != "started" || basis == Some("complete"),
                "the basis is wrong: {}",
                what()
            );
            ensure!(row.int("created_at_ns") == Some(story.allocation.created), "the creation is wrong: {}", what());
            if outcome == "started" {
                ensure!(row.int("started_at_ns") == story.first_start(), "the start is wrong: {}", what());
            }
            let start = story.first("Started").unwrap_or(usize::MAX);
            for (name, kind) in [("received_at_ns", "Received"), ("setup_at_ns", "Task Setup")] {
                let truth = story.first(kind).filter(|event| *event < start);
                let truth = truth.map(|event| story.life.events[event].event.time);
                let claimed = row.int(name);
                ensure!(claimed == truth || claimed.is_none() && !story.is_whole(), "not {truth:?}: {}", what());
            }
            if outcome == "stopped_before_start" && story.is_whole() {
                let killing = story.first("Killing").map(|event| story.life.events[event].event.time);
                let ended = self.states[&key(row)].finished_ns.filter(|_| {
                    story.state.state == "dead" || ["complete", "failed"].contains(&story.version.client_status)
                });
                let truth = killing.or(ended).unwrap_or(story.version.at);
                ensure!(row.int("ended_at_ns") == Some(truth), "the end is not {truth}: {}", what());
            }
            let counted = format!("start {outcome} {}", basis.unwrap_or_default());
            self.count(counted);
        }
        Ok(())
    }

    fn crash_loops(&mut self) -> anyhow::Result<()> {
        let hour_ago = self.answers.newest()? - HOUR;
        let rows = self.by_task("crash_loops")?;
        let coverage = self.truth.tasks();
        for key in self.clear() {
            let story = &self.stories[&key];
            let claimed = rows.get(&key).and_then(|rows| rows[0].int("restarts_last_hour"));
            let most = rows.get(&key).and_then(|rows| rows[0].int("restarts_at_most"));
            // If more restarts are seen than counted, or no counter is in view, only events count.
            let is_counted = coverage[&key].lost_restarts.is_some();
            let mut recent = story.seen_since(hour_ago, is_counted);
            let seen = recent.len() as i64;
            let [by_versions, by_both] = if is_counted { story.unseen_since(hour_ago) } else { [0; 2] };
            let what =
                || format!("{claimed:?} to {most:?}, {seen} seen and {by_versions} not: {key:?}\n{}", tell(story));
            let is_new = story.allocation.created >= hour_ago;
            if is_new || by_versions == 0 {
                ensure!(claimed == Some(seen + by_versions).filter(|n| *n >= 3), "{}", what());
            } else {
                ensure!((seen..=seen + by_versions).contains(&claimed.unwrap_or(seen.min(2))), "{}", what());
            }
            if claimed.is_some() {
                ensure!(most.is_some() == is_counted, "{}", what());
                ensure!(most.is_none_or(|most| most >= seen + by_both && Some(most) >= claimed), "{}", what());
            }
            let age = if is_new { "of the hour" } else { "of an older task" };
            self.count(format!("{} {age}", if claimed.is_some() { "loops" } else { "no loops" }));
            let story = &self.stories[&key];
            let Some(row) = rows.get(&key).map(|rows| &rows[0]).filter(|_| story.is_whole()) else { continue };
            // The first and the last restart are determined by the client's clock, which may have been set back in
            // between.
            recent.sort_unstable();
            ensure!(row.int("since_at_ns") == recent.first().copied(), "since_at_ns is wrong: {row:?}");
            let period = recent.first().zip(recent.last()).filter(|_| recent.len() > 1);
            let period = period.map(|(first, last)| (last - first) as f64 / 1e9 / (recent.len() - 1) as f64);
            let claimed = row.number("period_seconds");
            let near = claimed.zip(period).is_some_and(|(a, b)| (a - b).abs() < 1e-6);
            ensure!(near || claimed.is_none() && period.is_none(), "the period is not {period:?} s: {row:?}");
            let failures = story.failures();
            let last = failures.last().map(|failure| class_name(failure.class));
            ensure!(row.text("last_class") == last, "last_class is not {last:?}: {row:?}");
            ensure!(row.text("state") == Some(story.state.state), "the state is wrong: {row:?}");
        }
        Ok(())
    }
}

/// Returns true if all events that explain an event are in view. These are the events since the last start, restart
/// or signal to restart before it.
fn is_explained(story: &TaskOutcome<'_>, event: usize) -> bool {
    let tells = |n: &usize| matches!(story.life.events[*n].event.kind, "Started" | "Restart Signaled" | "Restarting");
    let from = (0..event).rev().find(tells).unwrap_or_default();
    (from..event).all(|n| story.seen[n] && story.joins(n + 1))
}

const CAUSES: [(Cause, &str); 8] = [
    (Cause::Failure, "failure"),
    (Cause::CleanExit, "clean_exit"),
    (Cause::Oom, "oom"),
    (Cause::StartFailure, "start_failure"),
    (Cause::User, "user"),
    (Cause::Change, "change"),
    (Cause::Health, "health"),
    (Cause::Unknown, "unknown"),
];

fn cause_name(cause: Cause) -> &'static str {
    CAUSES.iter().find(|(one, _)| *one == cause).map_or("unknown", |(_, name)| name)
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Oom => "oom",
        Class::Health => "health",
        Class::Signal => "signal",
        Class::Exit => "exit",
        Class::Driver => "driver",
        Class::Artifact => "artifact",
        Class::Validation => "validation",
        Class::Template => "template",
        Class::Hook => "hook",
        Class::Restore => "restore",
        Class::Timeout => "timeout",
        Class::Unknown => "unknown",
    }
}

/// The most frequent value and its count. If several values are equally frequent, the smallest of them.
fn commonest<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut times: BTreeMap<T, usize> = BTreeMap::new();
    values.for_each(|value| *times.entry(value).or_default() += 1);
    let most = times.values().max().copied()?;
    times.into_iter().find(|(_, n)| *n == most)
}

fn key(row: &Row) -> TaskKey {
    let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
    (text("alloc_id"), text("task"))
}

/// The default group of a row.
pub fn group(row: &Row) -> Vec<String> {
    ["region", "namespace", "job_id", "task_group", "task"].map(|name| row.get(name).to_string()).to_vec()
}

/// Formats the outcome of a task event by event, with the events out of view in brackets.
fn tell(story: &TaskOutcome<'_>) -> String {
    let line = |(lived, seen): (&crate::simulator::Lived, &bool)| {
        let e = &lived.event;
        let text = format!("{} {} {} {:?} {}", lived.attempt, e.time, e.kind, e.meaning, e.display);
        if *seen { text } else { format!("[{text}]") }
    };
    let lines: Vec<String> = story.events().iter().zip(&story.seen).map(line).collect();
    format!("{}\n{:?} {}", lines.join("\n"), story.state, story.version.client_status)
}
