//! Compares runs of batch jobs and replacements of allocations with the truth.

use std::collections::{BTreeMap, BTreeSet};

use alloclog::query::Row;
use anyhow::{Context, ensure};

use super::{Judge, tell};
use crate::simulator::{Class, Replacing, TaskOutcome};

/// A run of a job: its namespace, its ID and its version.
type RunKey<'a> = (&'a str, &'a str, i64);

impl Judge<'_> {
    pub(super) fn job_runs(&mut self) -> anyhow::Result<()> {
        let latest = self.truth.latest();
        let followed = self.truth.followers().into_iter().filter_map(|n| self.cluster.allocations[n].replaces);
        let followed: BTreeSet<usize> = followed.map(|(before, _)| before).collect();
        let mut runs: BTreeMap<RunKey<'_>, Vec<(usize, usize)>> = BTreeMap::new();
        for (number, version) in &latest {
            let allocation = &self.cluster.allocations[*number];
            let job = &self.cluster.jobs[allocation.job];
            if job.is_batch() {
                let run = (job.namespace, job.id.as_str(), allocation.versions[*version].job_version);
                runs.entry(run).or_default().push((*number, *version));
            }
        }
        let rows = self.answers.rows("job_runs")?;
        let coverage = self.truth.tasks();
        ensure!(rows.len() == runs.len(), "{} runs, not {}", rows.len(), runs.len());
        let mut counts = vec![];
        for row in &rows {
            let named = |name: &str| row.text(name).unwrap_or_default();
            let run = (named("namespace"), named("job_id"), row.int("job_version").unwrap_or(-1));
            let allocations = runs.get(&run).with_context(|| format!("no such run: {row:?}"))?;
            let replaced = |(number, version): &(usize, usize)| {
                !self.cluster.allocations[*number].versions[*version].next.is_empty() || followed.contains(number)
            };
            let mut deciding: Vec<_> = allocations.iter().filter(|one| !replaced(one)).collect();
            if deciding.is_empty() {
                deciding = allocations.iter().collect();
            }
            let verdicts: BTreeSet<&str> = deciding.iter().map(|(n, v)| self.verdict(*n, *v)).collect();
            let order = ["running", "failed", "lost", "stopped"];
            let mut outcome = order.into_iter().find(|one| verdicts.contains(one)).unwrap_or("complete");
            // If no exit with 0 is in view and events are lost, a lost event may be such an exit.
            let hides = || deciding.iter().any(|(n, v)| self.may_hide_an_exit(*n, *v));
            if named("outcome") == "unknown" && ["stopped", "complete"].contains(&outcome) && hides() {
                outcome = "unknown";
            }
            ensure!(named("outcome") == outcome, "not {outcome}: {row:?}\n{}", self.told_of(&deciding));
            let created = allocations.iter().map(|(n, _)| self.cluster.allocations[*n].created).min();
            ensure!(row.int("created_at_ns") == created, "not created at {created:?}: {row:?}");
            let ends = allocations.iter().flat_map(|(n, v)| self.ends(*n, *v)).max();
            let ends = ends.filter(|_| ["complete", "failed", "stopped"].contains(&outcome));
            // Nomad may show only a fabricated end of a task.
            let is_made_up = |(n, v): &(usize, usize)| self.cluster.allocations[*n].versions[*v].made_up.is_some();
            let told_end = row.int("finished_at_ns");
            let hides_end = told_end.is_none() && allocations.iter().any(is_made_up);
            ensure!(told_end == ends || hides_end, "not finished at {ends:?}: {row:?}");
            let ends = told_end;
            let took = ends.zip(created).map(|(end, start)| (end - start) as f64 / 1e9);
            let claimed = row.number("duration_seconds");
            let near = claimed.zip(took).is_some_and(|(a, b)| (a - b).abs() < 1e-6);
            ensure!(near || claimed.is_none() && took.is_none(), "the duration is not {took:?} s: {row:?}");
            ensure!(
                row.int("allocations") == Some(allocations.len() as i64),
                "the number of allocations is wrong: {row:?}"
            );
            let most = |number: usize| {
                let id = &self.cluster.allocations[number].id;
                let own = self.states.iter().filter(|((alloc_id, _), _)| alloc_id == id);
                own.filter_map(|(_, state)| state.restarts).max().unwrap_or_default()
            };
            let attempts: i64 = allocations.iter().map(|(number, _)| 1 + most(*number)).sum();
            let ids: BTreeSet<&str> =
                allocations.iter().map(|(n, _)| self.cluster.allocations[*n].id.as_str()).collect();
            let is_uncounted = coverage.iter().any(|((id, _), task)| {
                ids.contains(id.as_str()) && task.restarts.is_some() && task.lost_restarts.is_none()
            });
            let attempts = Some(attempts).filter(|_| !is_uncounted);
            ensure!(row.int("attempts") == attempts, "not {attempts:?} attempts: {row:?}");
            counts.push(format!("job run {outcome}"));
        }
        counts.into_iter().for_each(|what| self.count(what));
        Ok(())
    }

    /// The outcome of an allocation for the run of its job.
    fn verdict(&self, number: usize, version: usize) -> &'static str {
        let allocation = &self.cluster.allocations[number];
        let version = &allocation.versions[version];
        let stories = || self.stories.iter().filter(|((id, _), _)| *id == allocation.id).map(|(_, story)| story);
        let timed_out = || stories().flat_map(TaskOutcome::failures).any(|failure| failure.class == Class::Timeout);
        // An exit with 0 before a restart does not complete the task, and only main tasks count.
        let ended_well = || {
            let is_main =
                |story: &&TaskOutcome<'_>| !self.hooks.contains(&(allocation.id.clone(), story.life.task.clone()));
            stories().filter(is_main).any(|story| {
                let mut last_run = story.events().iter().rev().take_while(|lived| lived.event.kind != "Restarting");
                let end = last_run.find(|lived| lived.event.kind == "Terminated");
                end.is_some_and(|end| (end.event.exit_code, end.event.signal) == (0, 0))
            })
        };
        let known = version.steps.iter().flatten().filter(|step| step.is_some()).count();
        let made_up =
            version.made_up.is_some() && known < self.cluster.jobs[allocation.job].groups[allocation.group].tasks.len();
        let all_dead = || stories().count() > 0 && !made_up && stories().all(|story| story.state.state == "dead");
        match version.client_status {
            "failed" => "failed",
            "complete" if timed_out() => "failed",
            "complete" if version.desired_status != "run" && !ended_well() => "stopped",
            "complete" => "complete",
            "lost" if all_dead() => {
                if stories().any(|story| story.state.failed) {
                    "failed"
                } else {
                    "complete"
                }
            }
            "lost" => "lost",
            _ => "running",
        }
    }

    /// The history of some allocations, for messages.
    fn told_of(&self, allocations: &[&(usize, usize)]) -> String {
        let mut claimed = String::new();
        for (number, version) in allocations {
            let id = &self.cluster.allocations[*number].id;
            claimed.push_str(&format!("{id}: {}\n", self.verdict(*number, *version)));
            for ((_, task), story) in self.stories.iter().filter(|((alloc_id, _), _)| alloc_id == id) {
                claimed.push_str(&format!("{task}, {}:\n{}\n", story.state.state, tell(story)));
            }
        }
        claimed
    }

    /// Returns true if an exit may be out of view. The allocation must be complete and told to stop. In addition, no
    /// task has a window in view, or the client fabricated an end, or one of the tasks is not dead, lacks events of its
    /// last run, or has events that do not suffice to judge it.
    fn may_hide_an_exit(&self, number: usize, version: usize) -> bool {
        let allocation = &self.cluster.allocations[number];
        let version = &allocation.versions[version];
        let stories = || self.stories.iter().filter(|((id, _), _)| *id == allocation.id).map(|(_, story)| story);
        version.client_status == "complete"
            && version.desired_status != "run"
            && (stories().count() == 0
                || version.made_up.is_some()
                || stories().any(|story| {
                    let last_run = story.events().iter().zip(&story.seen).rev();
                    let mut last_run = last_run.take_while(|(lived, _)| lived.event.kind != "Restarting");
                    story.state.state != "dead" || !story.is_clear() || last_run.any(|(_, is_seen)| !is_seen)
                }))
    }

    /// When the tasks of an allocation ended.
    fn ends(&self, number: usize, version: usize) -> Vec<i64> {
        let allocation = &self.cluster.allocations[number];
        let over = ["complete", "failed"].contains(&allocation.versions[version].client_status);
        let own = self.states.iter().filter(|((id, _), state)| *id == allocation.id && (over || state.state == "dead"));
        own.filter_map(|(_, state)| state.finished_ns).collect()
    }

    pub(super) fn job_run_summary(&mut self) -> anyhow::Result<()> {
        let mut parents: BTreeMap<[String; 2], Vec<Row>> = BTreeMap::new();
        for row in self.answers.rows("job_runs")? {
            let [space, job, parent] =
                ["namespace", "job_id", "parent_job_id"].map(|name| row.text(name).unwrap_or_default().to_owned());
            let at = job.find("/dispatch-").or_else(|| job.find("/periodic-"));
            let cut = at.map_or(job.as_str(), |at| &job[..at]);
            ensure!(cut == parent, "not a child of {parent}: {row:?}");
            parents.entry([space, parent]).or_default().push(row);
        }
        let rows = self.answers.rows("job_run_summary")?;
        ensure!(rows.len() == parents.len(), "{} parents, not {}", rows.len(), parents.len());
        for row in &rows {
            let own =
                &parents[&["namespace", "parent_job_id"].map(|name| row.text(name).unwrap_or_default().to_owned())];
            let ended = |outcome: &str| own.iter().filter(|run| run.text("outcome") == Some(outcome)).count() as i64;
            ensure!(row.int("runs") == Some(own.len() as i64), "not {} runs: {row:?}", own.len());
            let outcomes = ["complete", "failed", "stopped", "lost", "running", "unknown"];
            for outcome in outcomes {
                ensure!(row.int(outcome) == Some(ended(outcome)), "not {} {outcome}: {row:?}", ended(outcome));
            }
            let all: i64 = outcomes[..4].iter().map(|outcome| ended(outcome)).sum();
            let rate = (all > 0).then(|| ended("complete") as f64 / all as f64);
            ensure!(row.number("success_rate") == rate, "the success rate is not {rate:?}: {row:?}");
            let mut took: Vec<f64> = own.iter().filter_map(|run| run.number("duration_seconds")).collect();
            took.sort_by(f64::total_cmp);
            ensure!(row.int("samples") == Some(took.len() as i64), "the number of samples is wrong: {row:?}");
            for (name, share) in [("p50_seconds", 50), ("p95_seconds", 95), ("max_seconds", 100)] {
                let rank = (took.len() * share).div_ceil(100).max(1);
                ensure!(row.number(name) == took.get(rank - 1).copied(), "{name}: {row:?} {took:?}");
            }
            self.count(if own.len() > 1 { "parents of several runs" } else { "parents of one run" });
        }
        Ok(())
    }

    pub(super) fn reschedules(&mut self) -> anyhow::Result<()> {
        let latest = self.truth.latest();
        let by_id: BTreeMap<&str, usize> =
            self.cluster.allocations.iter().enumerate().map(|(n, allocation)| (allocation.id.as_str(), n)).collect();
        let mut expected: BTreeSet<usize> = self.truth.followers();
        let named = latest.iter().map(|(n, v)| self.cluster.allocations[*n].versions[*v].next.as_str());
        expected.extend(named.filter_map(|next| by_id.get(next)).filter(|next| latest.contains_key(next)));
        let starts = self.by_task("starts")?;
        let mut counts = vec![];
        for row in self.answers.rows("reschedules")? {
            let number = by_id[row.text("alloc_id").unwrap_or_default()];
            ensure!(expected.remove(&number), "not a replacement, or reported twice: {row:?}");
            let allocation = &self.cluster.allocations[number];
            let (before, why) = allocation.replaces.context("the allocation replaces no other one")?;
            let previous = &self.cluster.allocations[before];
            ensure!(row.text("previous_alloc_id") == Some(&previous.id), "the previous allocation is wrong: {row:?}");
            ensure!(row.int("replaced_at_ns") == Some(allocation.created), "replaced_at_ns is wrong: {row:?}");
            let seen = latest.get(&before).map(|seen| &previous.versions[*seen]);
            let followed = seen.is_some_and(|seen| !seen.next.is_empty());
            // If an allocation was disconnected before it was replaced, or was lost after that, its versions do not
            // always show the reason.
            let (reason, truth) = (row.text("reason"), reason_name(why));
            let says = |word| seen.is_some_and(|seen| seen.desired_description.contains(word));
            let is_away = truth == "lost" || says("lost") || says("disconnected");
            ensure!(
                reason == Some(truth) || !followed || is_away && reason.is_none(),
                "not {truth}: {row:?}\n{:?}",
                previous.versions.last()
            );
            counts.push(format!("replaced: {}", reason.unwrap_or("for an unknown reason")));
            let own = || starts.iter().filter(|((id, _), _)| *id == allocation.id).flat_map(|(_, rows)| rows);
            let unknown = own().any(|start| start.text("outcome") == Some("unknown"));
            let first = own().filter_map(|start| start.int("started_at_ns")).min().filter(|_| !unknown);
            let end = latest.get(&before).and_then(|version| self.ends(before, *version).into_iter().max());
            let from = end.map_or(allocation.created, |end| end.min(allocation.created));
            let truth = first.map(|first| (first - from) as f64 / 1e9);
            let claimed = row.number("recovery_seconds");
            let near = claimed.zip(truth).is_some_and(|(a, b)| (a - b).abs() < 1e-6);
            ensure!(near || claimed.is_none() && truth.is_none(), "the recovery did not take {truth:?} s: {row:?}");
        }
        ensure!(expected.is_empty(), "replacements are missing: {expected:?}");
        counts.into_iter().for_each(|what| self.count(what));
        Ok(())
    }
}

fn reason_name(why: Replacing) -> &'static str {
    match why {
        Replacing::Rescheduled => "rescheduled",
        Replacing::Migrated => "migrated",
        Replacing::Updated => "updated",
        Replacing::Preempted => "preempted",
        Replacing::Lost | Replacing::Disconnected => "lost",
    }
}
