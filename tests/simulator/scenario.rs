//! The scenarios of a task, each as a short script.

use crate::simulator::SECOND;
use crate::simulator::event::{Cause, Class, Event};
use crate::simulator::random::Random;
use crate::simulator::runner::{Going, Phase, Runner};

/// The scenarios. `Config::weights` sets their frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The task starts and runs; a batch task succeeds.
    Clean,
    /// The task starts slowly: artifacts, a template that is not rendered yet, a slow image pull.
    SlowStart,
    /// Fails a few times and recovers.
    Recovers,
    /// Fails until the policy gives up.
    GivesUp,
    /// Fails repeatedly, faster than snapshots are taken.
    CrashLoop,
    /// Killed repeatedly because it used too much memory; some drivers omit this reason.
    OutOfMemory,
    /// The driver cannot start the task, sometimes or always.
    DriverFailure,
    /// The artifacts of the task cannot be downloaded.
    ArtifactFailure,
    /// A hook fails.
    HookFailure,
    /// The configuration of the task is wrong.
    Validation,
    /// A template or Vault kills the task.
    HookKill,
    /// Restarted by users.
    UserRestarts,
    /// Restarted by templates and identities.
    ChangeRestarts,
    /// Restarted by a health check.
    HealthRestarts,
    /// Receives signals; one of the signals ends it.
    Signals,
    /// Exits with success, and is restarted because it is a service. If the policy allows no restarts, the client
    /// gives up at once.
    CleanExits,
    /// The agent is restarted and loses the task, so one run follows another without a `Restarting` between them.
    AgentRestarts,
    /// The client loses its disk, and with it the state of the task.
    StateLost,
    /// A CSI plugin: two `Restarting` events per restart.
    CsiPlugin,
    /// Has many events and few restarts. Nevertheless its first events are dropped from Nomad's window.
    Talkative,
}

/// Every scenario with its default weight.
pub const ALL: [(Scenario, u32); 20] = [
    (Scenario::Clean, 22),
    (Scenario::SlowStart, 10),
    (Scenario::Recovers, 8),
    (Scenario::GivesUp, 8),
    (Scenario::CrashLoop, 8),
    (Scenario::OutOfMemory, 5),
    (Scenario::DriverFailure, 4),
    (Scenario::ArtifactFailure, 4),
    (Scenario::HookFailure, 3),
    (Scenario::Validation, 2),
    (Scenario::HookKill, 3),
    (Scenario::UserRestarts, 3),
    (Scenario::ChangeRestarts, 4),
    (Scenario::HealthRestarts, 4),
    (Scenario::Signals, 3),
    (Scenario::CleanExits, 3),
    (Scenario::AgentRestarts, 2),
    (Scenario::StateLost, 1),
    (Scenario::CsiPlugin, 1),
    (Scenario::Talkative, 3),
];

/// Exit messages that once caused errors: quotes, newlines, formulas, control characters, other scripts.
const EXIT_MESSAGES: [&str; 8] = [
    "",
    "",
    "first line\nsecond, \"quoted\"\r\n\tthird",
    "=SUM(1+1)*cmd|' /C calc'!A0",
    "<html> & ünïcode \u{1F980} \u{2028} \u{202e}gnol",
    "back\\slash \u{7f} \u{1} bell\u{7}",
    "]}{[\"Allocs\":",
    "context deadline exceeded",
];

impl Scenario {
    /// Runs the scenario from the setup of the task until the task is interrupted or dead.
    pub fn play(self, r: &mut Runner) -> Going {
        r.set_up()?;
        match self {
            Self::Clean => {}
            Self::SlowStart => slow_start(r)?,
            Self::Recovers => {
                for _ in 0..r.random.between(1, 4) {
                    let end = failing(&mut r.random);
                    r.crash(0.1, 60.0, end)?;
                    r.restart(Cause::Failure)?;
                }
            }
            Self::GivesUp => loop {
                let end = failing(&mut r.random);
                r.crash(0.01, 20.0, end)?;
                r.policy.patient = false;
                r.policy.attempts = r.policy.attempts.min(4);
                r.restart(Cause::Failure)?;
            },
            Self::CrashLoop => {
                (r.policy.attempts, r.policy.delay) = (r.random.below(40) + 3, r.random.seconds(0.2, 8.0));
                r.policy.patient = true;
                r.policy.interval = 300 * SECOND;
                loop {
                    let end = failing(&mut r.random);
                    r.crash(0.001, 15.0, end)?;
                    r.restart(Cause::Failure)?;
                }
            }
            Self::OutOfMemory => loop {
                let exit_message = if r.random.chance(60) { "OOM Killed" } else { "" };
                let flag = exit_message.is_empty() || r.random.chance(70);
                r.crash(1.0, 200.0, Event::terminated(137, 0, flag, exit_message).failure(Class::Oom))?;
                r.restart(Cause::Oom)?;
            },
            Self::DriverFailure => {
                for _ in 0..r.random.between(1, 6) {
                    r.emit(Event::driver_failure(
                        "image not found: registry.example/app:1.0 <manifest unknown>\n\tat line 2",
                    ));
                    r.wait(0.000_1, 0.01)?;
                    if r.random.chance(20) {
                        return r.give_up("Error was unrecoverable");
                    }
                    r.restart(Cause::StartFailure)?;
                }
            }
            Self::ArtifactFailure => {
                for _ in 0..r.random.between(1, 7) {
                    r.emit(Event::downloading_artifacts());
                    r.wait(0.1, 10.0)?;
                    r.emit(Event::failed_download("failed to download artifact \"x,%22y%22.tgz\": exit status 1"));
                    r.wait(0.000_1, 0.01)?;
                    r.restart(Cause::StartFailure)?;
                }
                r.emit(Event::downloading_artifacts());
                r.wait(0.1, 3.0)?;
            }
            Self::HookFailure => {
                for _ in 0..r.random.between(1, 4) {
                    r.emit(
                        Event::spoken("Task hook failed", "csi_hook: failed: volume not found").failure(Class::Hook),
                    );
                    r.wait(0.000_1, 0.01)?;
                    r.restart(Cause::StartFailure)?;
                }
            }
            Self::Validation => {
                r.emit(Event::failed_validation(
                    "2 errors occurred:\n\t* failed to parse config: \n\t* Unknown variable\n\n",
                ));
                r.wait(0.000_1, 0.01)?;
                return r.give_up("Error was unrecoverable");
            }
            Self::HookKill => return hook_kill(r),
            Self::UserRestarts => {
                for _ in 0..r.random.between(1, 6) {
                    asked(r, Event::restart_signaled("User requested running tasks to restart"), Cause::User)?;
                }
            }
            Self::ChangeRestarts => {
                for _ in 0..r.random.between(1, 6) {
                    let reason = *r
                        .random
                        .pick(&["Template with change_mode restart re-rendered", "Vault: new Vault token acquired"]);
                    asked(r, Event::change_signaled(reason), Cause::Change)?;
                }
            }
            Self::HealthRestarts => loop {
                r.start()?;
                r.wait(5.0, 90.0)?;
                r.emit(Event::restart_signaled("healthcheck: check \"tcp \\\"alive\\\"\" unhealthy"));
                r.wait(0.001, 0.01)?;
                let (code, signal) = *r.random.pick(&[(0, 0), (143, 0), (137, 9)]);
                r.terminate(Event::terminated(code, signal, false, "").failure(Class::Health));
                r.restart(Cause::Health)?;
            },
            Self::Signals => {
                r.start()?;
                for _ in 0..r.random.between(1, 4) {
                    r.wait(1.0, 100.0)?;
                    let by_user = r.random.chance(50);
                    r.emit(if by_user {
                        Event::signaling("SIGUSR1")
                    } else {
                        Event::template_signal("user defined signal 1")
                    });
                }
                r.wait(0.001, 0.05)?;
                r.terminate(Event::terminated(0, 10, false, "").failure(Class::Signal));
                r.restart(Cause::Failure)?;
            }
            Self::CleanExits => {
                if r.random.chance(30) {
                    r.policy.attempts = 0;
                }
                while r.policy.services {
                    r.crash(0.5, 50.0, Event::terminated(0, 0, false, ""))?;
                    r.restart(Cause::CleanExit)?;
                }
            }
            Self::AgentRestarts => agent_restarts(r)?,
            Self::StateLost => {
                let restarts = r.random.between(0, 3);
                for _ in 0..restarts {
                    let end = failing(&mut r.random);
                    r.crash(0.1, 30.0, end)?;
                    r.restart(Cause::Failure)?;
                }
                r.start()?;
                chatter(r, 14)?;
                r.wait(1.0, 100.0)?;
                r.forget();
                r.receive();
                r.set_up()?;
            }
            Self::CsiPlugin => csi(r)?,
            Self::Talkative => {
                r.start()?;
                chatter(r, 25)?;
                return r.stay();
            }
        }
        well(r)
    }
}

/// Runs normally. A service runs without end, and other tasks run until they succeed.
fn well(r: &mut Runner) -> Going {
    if r.phase != Phase::Running {
        r.start()?;
    }
    if r.policy.services {
        return r.stay();
    }
    r.wait(0.5, 300.0)?;
    r.terminate(Event::terminated(0, 0, false, ""));
    r.finish()
}

/// A failed end of a run: an exit code, a signal, or a driver failure.
fn failing(random: &mut Random) -> Event {
    let exit_message = *random.pick(&EXIT_MESSAGES);
    match random.below(10) {
        0 | 1 => Event::terminated(137, 9, false, exit_message).failure(Class::Signal),
        2 => Event::terminated(0, 11, false, "").failure(Class::Signal),
        3 => Event::terminated(3_221_225_477, 0, false, exit_message).failure(Class::Exit),
        4 => Event::terminated(0, 0, false, "plugin is shut down").failure(Class::Driver),
        _ => Event::terminated(random.between(1, 255), 0, false, exit_message).failure(Class::Exit),
    }
}

fn slow_start(r: &mut Runner) -> Going {
    if r.random.chance(60) {
        r.emit(Event::downloading_artifacts());
        r.wait(0.1, 30.0)?;
    }
    for _ in 0..r.random.below(3) {
        r.emit(Event::template("nomad.var.block(nomad/jobs/tmpl@prod.global)"));
        r.wait(3.0, 20.0)?;
    }
    r.emit(Event::driver("Downloading image", Some("registry.example/app:1.0")));
    let pulls = r.random.below(14);
    for pull in 0..pulls {
        r.wait(1.0, 60.0)?;
        let mut event = Event::driver(&format!("Docker image pull progress: {pull} of {pulls} layers"), None);
        // Driver events are sent separately. Sometimes such an event has an earlier time than the one before it, or
        // is recorded twice.
        event.time = r.node.clock.read(r.now) - if r.random.chance(10) { r.random.seconds(0.5, 5.0) } else { 0 };
        r.emit(event.clone());
        if r.random.chance(10) {
            r.emit(event);
        }
    }
    r.wait(0.1, 5.0)
}

/// Events of a task that keeps running.
fn chatter(r: &mut Runner, most: usize) -> Going {
    for _ in 0..r.random.below(most) {
        r.wait(0.5, 40.0)?;
        let event = match r.random.below(5) {
            0 => Event::signaling("SIGHUP"),
            1 => Event::template_signal("hangup"),
            2 => Event::new(
                "Task hook message",
                "Template successfully ran script /bin/sh with arguments: [-c exit 0]. Exit code: 0",
            ),
            // A hook that fails after the start does not fail the task.
            3 => Event::spoken("Task hook failed", "poststart hook \"api\" failed: context deadline exceeded"),
            _ => Event::new("Some Event Of 2030", "an event type that nobody has met"),
        };
        r.emit(event);
    }
    Some(())
}

/// A requested restart.
fn asked(r: &mut Runner, signal: Event, cause: Cause) -> Going {
    r.start()?;
    r.wait(1.0, 120.0)?;
    r.emit(signal);
    r.wait(0.001, 0.01)?;
    let (code, signal) = *r.random.pick(&[(0, 0), (143, 0), (137, 9), (1, 0)]);
    r.terminate(Event::terminated(code, signal, false, ""));
    r.restart_at_once(cause)
}

fn hook_kill(r: &mut Runner) -> Going {
    let (display, class) = *r.random.pick(&[
        (
            "Template failed: kv.block(app/config): Get \"http://127.0.0.1:1/v1/kv?stale=&wait=300000ms\": refused",
            Class::Template,
        ),
        ("Vault: failed to renew vault token: permission denied", Class::Hook),
    ]);
    if r.random.chance(60) {
        r.start()?;
        r.wait(0.5, 30.0)?;
    }
    r.kill(None, Event::killing_for(display).failure(class));
    None
}

/// The agent was restarted. In the first two cases, the agent could not reattach to the task.
fn agent_restarts(r: &mut Runner) -> Going {
    r.life.judged = false;
    for _ in 0..r.random.between(1, 2) {
        r.start()?;
        chatter(r, 6)?;
        r.wait(1.0, 200.0)?;
        match r.random.below(3) {
            0 => {
                r.receive();
                r.lose_hold();
                r.set_up()?;
            }
            1 => {
                r.emit(
                    Event::new(
                        "Failed Restoring Task",
                        "failed to restore task; will not run until server is contacted",
                    )
                    .failure(Class::Restore),
                );
                r.lose_hold();
                r.wait(0.01, 3.0)?;
            }
            // `Received` is recorded although the agent reattached to the task.
            _ => {
                r.emit(Event::received());
                r.lose_hold();
            }
        }
    }
    chatter(r, 12)
}

/// A CSI plugin's supervisor records an additional `Restarting`, without details, before the usual one.
fn csi(r: &mut Runner) -> Going {
    r.life.judged = false;
    for _ in 0..r.random.between(1, 4) {
        r.start()?;
        r.wait(1.0, 60.0)?;
        r.emit(Event::spoken("Plugin became unhealthy", "plugin health check failed"));
        r.emit(Event {
            details: Some(Default::default()),
            ..Event::new("Restarting", "CSI plugin did not become healthy before timeout")
        });
        r.terminate(Event::terminated(143, 0, false, ""));
        r.restart_at_once(Cause::Unknown)?;
    }
    r.start()?;
    r.emit(Event::spoken("Plugin became healthy", "plugin is healthy"));
    Some(())
}
