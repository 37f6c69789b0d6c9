//! The sentences of a timeline, for every format.

use serde_json::Value;

use super::{AllocationStory, Gap, GapKind, TaskStory, Timeline};
use crate::query::Row;
use crate::report::layout::short;
use crate::report::show::{class, count, counted, moment, span};

/// The title: the allocation or job that the timeline is about.
pub fn title(timeline: &Timeline) -> String {
    let target = &timeline.target;
    let job = target.job_id.as_deref().unwrap_or("unknown");
    let region = if target.region.is_empty() { String::new() } else { format!(" in region {}", target.region) };
    match &target.alloc_id {
        Some(id) => format!("Allocation {id} of job {job} in namespace {}{region}", target.namespace),
        None => format!("Job {job} in namespace {}{region}", target.namespace),
    }
}

/// When the newest document was observed, and how much could not be read.
pub fn as_of(timeline: &Timeline) -> Vec<String> {
    let mut lines = vec![match &timeline.last_observed_at {
        Value::Null => "The time of the newest observation is unknown.".to_owned(),
        newest => format!("As of {} UTC. Times are UTC. Times of events are by the client's clock.", moment(newest)),
    }];
    if timeline.rejected > 0 {
        let parts = counted(timeline.rejected as i64, "part");
        lines.push(format!("{parts} of the input could not be read; events may be missing here."));
    }
    lines
}

/// A short text for an allocation: its short ID, group and node.
pub fn summary(allocation: &Row) -> String {
    let id = short(allocation.text("alloc_id").unwrap_or("unknown"));
    let group = allocation.text("task_group").unwrap_or("unknown");
    format!("{id} of group {group} on {}", node(allocation))
}

/// The node of a row.
pub fn node(row: &Row) -> String {
    match (row.text("node_name"), row.text("node_id")) {
        (Some(name), _) => format!("node {name}"),
        (None, Some(id)) => format!("node {}", short(id)),
        (None, None) => "an unknown node".to_owned(),
    }
}

/// Facts about an allocation.
pub fn allocation(story: &AllocationStory) -> Vec<String> {
    let row = &story.allocation;
    let version = row.int("job_version").map_or("unknown".to_owned(), |version| version.to_string());
    let name = row.text("name").unwrap_or("unknown");
    let mut lines = vec![format!("Name {name}, job version {version}, created {}.", moment(row.get("created_at")))];
    if let Some(deployment) = row.text("deployment_id") {
        let health = match row.get("deployment_healthy") {
            Value::Bool(true) => "healthy",
            Value::Bool(false) => "unhealthy",
            _ => "health not decided",
        };
        let canary = if *row.get("canary") == Value::Bool(true) { ", a canary" } else { "" };
        lines.push(format!("Deployment {}: {health}{canary}.", short(deployment)));
    }
    match &story.previous {
        Some(previous) => lines.push(format!("Replaces {}.", neighbour(previous))),
        None => lines.push("Replaces no known allocation.".to_owned()),
    }
    lines.extend(story.next.iter().map(|next| format!("Replaced by {}.", neighbour(next))));
    if let Some(by) = row.text("preempted_by") {
        lines.push(format!("Preempted by {by}."));
    }
    lines
}

fn neighbour(row: &Row) -> String {
    let id = row.text("alloc_id").unwrap_or("unknown");
    let reason = row.text("reason").map_or("reason unknown".to_owned(), |reason| format!("reason: {reason}"));
    let when = match row.get("replaced_at") {
        Value::Null => String::new(),
        at => format!(" at {}", moment(at)),
    };
    let recovery =
        row.number("recovery_seconds").map_or(String::new(), |s| format!(", the work ran again after {}", span(s)));
    format!("{id} on {}{when}, {reason}{recovery}", node(row))
}

/// Describes what changed in one version of an allocation since the version before.
pub fn change(row: &Row, before: Option<&Row>) -> String {
    let differs = |column: &str| before.is_none_or(|before| before.get(column) != row.get(column));
    let known = |column: &'static str| row.text(column).filter(|_| differs(column));
    let mut parts = Vec::new();
    let mut status = |what: &str, status: &'static str, description: &'static str| {
        if !differs(status) && !differs(description) {
            return;
        }
        if let Some(word) = row.text(status) {
            let why = row.text(description).map_or(String::new(), |why| format!(" ({why})"));
            parts.push(format!("{what} {word}{why}"));
        }
    };
    status("client status", "client_status", "client_description");
    status("desired", "desired_status", "desired_description");
    if let Some(version) = row.int("job_version").filter(|_| differs("job_version")) {
        parts.push(format!("job version {version}"));
    }
    parts.extend(known("deployment_id").map(|id| format!("deployment {}", short(id))));
    if differs("deployment_healthy") {
        match row.get("deployment_healthy") {
            Value::Bool(true) => parts.push("healthy by its deployment".to_owned()),
            Value::Bool(false) => parts.push("unhealthy by its deployment".to_owned()),
            _ => {}
        }
    }
    parts.join("; ")
}

/// The number of an attempt and its outcome.
pub fn attempt_title(row: &Row) -> String {
    let number = match (row.int("attempt"), row.int("run")) {
        (Some(attempt), _) => format!("attempt {attempt}"),
        (None, Some(run)) => format!("run {run} in view, attempt unknown"),
        (None, None) => "attempt unknown".to_owned(),
    };
    let outcome = row.text("outcome").unwrap_or("unknown");
    let code = row.int("exit_code").filter(|code| *code != 0);
    let how = match (outcome, row.text("failure_class")) {
        ("failed", class_name) => format!("failed, {}", class(class_name.or(Some("class unknown")), code)),
        ("unknown", _) => "outcome unknown".to_owned(),
        (outcome, _) => code.map_or(outcome.to_owned(), |code| format!("{outcome}, exit {code}")),
    };
    format!("{number}: {how}")
}

/// An attempt, with its duration and the wait after it.
pub fn attempt(row: &Row) -> String {
    let ran = row.int("started_at_ns").zip(row.int("ended_at_ns")).map(|(from, until)| (until - from) as f64 / 1e9);
    let ran = ran.map_or(String::new(), |seconds| format!(", ran {}", span(seconds)));
    let wait = row.number("delay_seconds").map_or(String::new(), |s| format!(", next start after {}", span(s)));
    format!("{}{ran}{wait}", attempt_title(row))
}

/// Describes what is missing in a gap.
pub fn gap(gap: &Gap) -> String {
    // Times have milliseconds, because a gap may be short.
    let time =
        |at: &Option<String>| at.as_ref().map(|at| at.get(..23).unwrap_or(at).trim_end_matches('Z').replace('T', " "));
    let lies = match (time(&gap.not_before_at), time(&gap.until_at)) {
        (Some(from), Some(until)) => format!(" between {from} and {until}"),
        (Some(from), None) => format!(" after {from}"),
        (None, Some(until)) => format!(" before {until}"),
        (None, None) => ", time unknown".to_owned(),
    };
    let restarts = match gap.lost_restarts {
        None => "the number of restarts in it is unknown".to_owned(),
        Some(0) => "no restart is lost in it".to_owned(),
        Some(n) => format!("the events of {} are lost in it", counted(n, "restart")),
    };
    match gap.kind {
        GapKind::Beginning => {
            format!("the beginning ({}) is not in view; {restarts}", lies.trim_start_matches([',', ' ']))
        }
        GapKind::Gap => format!("gap: events may be missing{lies}; {restarts}"),
        GapKind::NewLife => format!("the client lost its state and began the task anew{lies}; events may be missing"),
        GapKind::Restarts => {
            let n = gap.lost_restarts.map_or("an unknown number of restarts".to_owned(), |n| counted(n, "restart"));
            format!("lost: the events of {n}{lies}")
        }
        GapKind::End => format!("the allocation vanished{lies}; later events may be missing"),
    }
}

/// The state of a task, and its counts.
pub fn task(task: &TaskStory) -> String {
    let state = task.state.as_ref().and_then(|row| row.text("state")).unwrap_or("state unknown");
    let hook = task.state.as_ref().and_then(|row| row.text("lifecycle_hook"));
    let hook = hook.map_or(String::new(), |hook| format!(" ({hook})"));
    let counted_restarts = task.coverage.as_ref().and_then(|row| row.int("restarts"));
    let restarts = counted_restarts.map_or("restarts unknown".to_owned(), |n| counted(n, "restart"));
    let events = counted(task.events.len() as i64, "event");
    format!("{state}{hook}, {restarts}, {events} in view")
}

/// What is known of the cause: the totals, then for each allocation the facts about its tasks and its own end.
pub fn conclusion(timeline: &Timeline) -> Vec<String> {
    let mut lines = totals(timeline);
    let is_one = timeline.allocations.len() == 1;
    for story in &timeline.allocations {
        let id = short(story.allocation.text("alloc_id").unwrap_or("unknown"));
        for task in &story.tasks {
            let name = task.task.as_deref().unwrap_or("unknown");
            let name = if is_one { format!("Task {name}") } else { format!("{id}, task {name}") };
            lines.extend(task_facts(task).into_iter().map(|fact| format!("{name}: {fact}")));
        }
        lines.extend(allocation_end(story).map(|fact| if is_one { fact } else { format!("{id}: {fact}") }));
    }
    lines
}

/// The restarts and failures of all tasks.
fn totals(timeline: &Timeline) -> Vec<String> {
    let tasks = || timeline.allocations.iter().flat_map(|story| &story.tasks);
    let covered = || tasks().filter_map(|task| task.coverage.as_ref());
    let sum = |column: &str| covered().filter_map(|row| row.int(column)).sum::<i64>();
    let unknown = covered().filter(|row| row.get("lost_restarts").is_null()).count() as i64;
    let mut lines = Vec::new();
    let seen: i64 = timeline.restart_causes.iter().filter_map(|row| row.int("restarts")).sum();
    let lost = sum("lost_restarts");
    if seen == 0 && lost == 0 {
        lines.push("No restart is known.".to_owned());
    } else {
        let causes = timeline.restart_causes.iter().map(|row| {
            let cause = row.text("cause").unwrap_or("unknown").replace('_', " ");
            format!(
                "{} {}",
                count(row.int("restarts")),
                if cause == "unknown" { "of unknown cause".to_owned() } else { cause }
            )
        });
        let causes = causes.collect::<Vec<_>>().join(", ");
        let causes = if causes.is_empty() { String::new() } else { format!(" ({causes})") };
        lines.push(format!("{} seen{causes}.", counted(seen, "restart")));
        if lost > 0 {
            lines.push(format!("{} lost: counted by Nomad, cause unknown.", counted(lost, "restart")));
        }
    }
    if unknown > 0 {
        lines.push(format!("For {} the number of lost restarts is unknown.", counted(unknown, "task")));
    }
    let failures = timeline.failure_classes.iter().map(|row| {
        let what = class(row.text("class"), row.int("exit_code"));
        let suspected = row.int("suspected_oom").filter(|n| *n > 0);
        let suspected =
            suspected.map_or(String::new(), |n| format!(" ({} suspected to be out of memory)", count(Some(n))));
        format!("{} {what}{suspected}", count(row.int("failures")))
    });
    let failures = failures.collect::<Vec<_>>().join(", ");
    lines.push(if failures.is_empty() {
        "No failure is in view.".to_owned()
    } else {
        format!("Failures: {failures}.")
    });
    let (all, complete) =
        (covered().count(), covered().filter(|row| *row.get("complete") == Value::Bool(true)).count());
    if complete < all {
        let tasks = counted((all - complete) as i64, "task");
        lines.push(format!("The history of {tasks} is not complete, so there may be other causes."));
    }
    lines
}

fn task_facts(task: &TaskStory) -> Vec<String> {
    let mut facts = Vec::new();
    if task.lives_mixed {
        facts.push(
            "the client lost its state and the events of several lives are mixed; attempts are unknown.".to_owned(),
        );
    }
    if let Some(row) = &task.crash_loop {
        let state = if *row.get("is_over") == Value::Bool(true) { "was in a crash loop" } else { "is in a crash loop" };
        let every = row.number("period_seconds").map_or(String::new(), |s| format!(", one every {}", span(s)));
        let restarts = counted(row.int("restarts_last_hour").unwrap_or(0), "restart");
        facts.push(format!("{state}: at least {restarts} in the hour before the newest observation{every}."));
    }
    if let Some(row) = &task.last_failure {
        let what = class(row.text("class"), row.int("exit_code"));
        let suspected =
            if *row.get("suspected_oom") == Value::Bool(true) { "; it may have run out of memory" } else { "" };
        let gave_up = if *row.get("gave_up") == Value::Bool(true) { "; it was not restarted after that" } else { "" };
        let message = row.text("message").map_or(String::new(), |message| format!(": {message}"));
        facts.push(format!(
            "last failure in view at {}, {what}{suspected}{gave_up}{message}",
            moment(row.get("failed_at"))
        ));
    }
    match task.start.as_ref().and_then(|row| row.text("outcome")) {
        Some("waiting") => facts.push("it has not started.".to_owned()),
        Some("failed_before_start") => facts.push("it failed before its first start.".to_owned()),
        Some("stopped_before_start") => facts.push("it was stopped before its first start.".to_owned()),
        _ => {}
    }
    facts
}

fn allocation_end(story: &AllocationStory) -> Option<String> {
    let row = &story.allocation;
    let described = |column: &str| row.text(column).map_or(String::new(), |why| format!(" ({why})"));
    let status = row.text("client_status").unwrap_or("unknown");
    let desired = row.text("desired_status").unwrap_or("unknown");
    let client = format!("client status {status}{}", described("client_description"));
    let is_wanted = desired == "run" && row.get("desired_description").is_null();
    match status {
        "running" | "pending" | "complete" if is_wanted => None,
        _ => Some(format!("{client}, desired {desired}{}.", described("desired_description"))),
    }
}
