//! One task event as a Nomad client appends it, and its meaning. Documents do not contain the meaning.
//!
//! Texts and the keys of `Details` follow nomad/structs/structs.go (`TaskEvent` and its setters,
//! `PopulateEventDisplayMessage`) and recordings of Nomad 2.0.5.

use std::collections::BTreeMap;

/// Why a task failed to run or to be set up: the classes of the `failures` view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Oom,
    Health,
    Signal,
    Exit,
    Driver,
    Artifact,
    Validation,
    Template,
    Hook,
    Restore,
    Timeout,
    Unknown,
}

/// The cause of a restart: the `cause_` columns of the `restarts` view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Failure,
    CleanExit,
    Oom,
    StartFailure,
    User,
    Change,
    Health,
    Unknown,
}

/// The meaning of an event for its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Meaning {
    /// Not counted by any statistic.
    #[default]
    Note,
    /// The event ended an attempt or a setup with a failure.
    Failure(Class),
    /// The cause of the restart that this `Restarting` announces.
    Restart(Cause),
}

/// An event with all its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    pub kind: &'static str,
    /// The time in nanoseconds since the epoch, by the client's clock.
    pub time: i64,
    pub display: String,
    pub message: String,
    /// `None` is written as `null`, as by clients before 0.7.1 and in some driver events.
    pub details: Option<BTreeMap<&'static str, String>>,
    pub fails_task: bool,
    pub restart_reason: String,
    pub exit_code: i64,
    pub signal: i64,
    pub kill_timeout: i64,
    pub start_delay: i64,
    /// The non-empty legacy text fields, by Nomad's name: `DriverError`, `FailedSibling` and so on.
    pub texts: BTreeMap<&'static str, String>,
    pub meaning: Meaning,
}

impl Event {
    /// An event without details, with a display message only.
    pub fn new(kind: &'static str, display: &str) -> Self {
        Self { kind, display: display.into(), details: Some(BTreeMap::new()), ..Self::default() }
    }

    fn detail(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.details.get_or_insert_default().insert(key, value.into());
        self
    }

    /// Sets a legacy text field and the same key in `Details`.
    fn text(mut self, field: &'static str, key: &'static str, value: &str) -> Self {
        self.texts.insert(field, value.into());
        self.detail(key, value)
    }

    fn fails_task(mut self) -> Self {
        self.fails_task = true;
        self.detail("fails_task", "true")
    }

    fn reason(mut self, reason: &str) -> Self {
        self.restart_reason = reason.into();
        self.detail("restart_reason", reason)
    }

    /// Returns the event with a meaning.
    pub fn meaning(mut self, meaning: Meaning) -> Self {
        self.meaning = meaning;
        self
    }

    /// Returns the event with a failure as its meaning.
    pub fn failure(self, class: Class) -> Self {
        self.meaning(Meaning::Failure(class))
    }

    pub fn received() -> Self {
        Self::new("Received", "Task received by client")
    }

    /// An event whose text is also in `Message` and in the details (`SetMessage`).
    pub fn spoken(kind: &'static str, message: &str) -> Self {
        Self { message: message.into(), ..Self::new(kind, message).detail("message", message) }
    }

    pub fn task_setup() -> Self {
        Self::spoken("Task Setup", "Building Task Directory")
    }

    pub fn downloading_artifacts() -> Self {
        Self::new("Downloading Artifacts", "Client is downloading artifacts")
    }

    pub fn template(missing: &str) -> Self {
        Self::new("Template", &format!("Missing: {missing}"))
    }

    /// An event of the docker driver. Its `Details` do not contain `DriverMessage`: they hold the annotations of the
    /// driver, or are `null`.
    pub fn driver(message: &str, image: Option<&str>) -> Self {
        let mut event = Self::new("Driver", message);
        event.texts.insert("DriverMessage", message.into());
        match image {
            Some(image) => event.detail("image", image),
            None => Self { details: None, ..event },
        }
    }

    pub fn started() -> Self {
        Self::new("Started", "Task started by client")
    }

    /// The end of a process. `exit_message` is the driver's exit message.
    pub fn terminated(exit_code: i64, signal: i64, oom_killed: bool, exit_message: &str) -> Self {
        let mut display = format!("Exit Code: {exit_code}");
        if signal != 0 {
            display += &format!(", Signal: {signal}");
        }
        if !exit_message.is_empty() {
            display += &format!(", Exit Message: {}", go_quoted(exit_message));
        }
        let mut event = Self::new("Terminated", &display)
            .detail("exit_code", exit_code.to_string())
            .detail("signal", signal.to_string())
            .detail("oom_killed", oom_killed.to_string());
        if !exit_message.is_empty() {
            event = event.detail("exit_message", exit_message);
        }
        Self { exit_code, signal, message: exit_message.into(), ..event }
    }

    /// `Restarting` after `delay` nanoseconds. A requested restart has an empty reason.
    pub fn restarting(delay: i64, reason: &str, cause: Cause) -> Self {
        let event = Self::new("Restarting", &format!("Task restarting in {}", go_duration(delay)));
        let event = event.detail("start_delay", delay.to_string()).reason(reason);
        Self { start_delay: delay, ..event }.meaning(Meaning::Restart(cause))
    }

    pub fn not_restarting(reason: &str) -> Self {
        Self::new("Not Restarting", reason).reason(reason).fails_task()
    }

    pub fn restart_signaled(reason: &str) -> Self {
        Self::new("Restart Signaled", reason).reason(reason)
    }

    /// A restart that a template, Vault or an identity requested. Only the display message says which of them.
    pub fn change_signaled(display: &str) -> Self {
        Self::new("Restart Signaled", display)
    }

    pub fn killing(timeout: i64) -> Self {
        let text = go_duration(timeout);
        let event = Self::new("Killing", &format!("Sent interrupt. Waiting {text} before force killing"));
        Self { kill_timeout: timeout, ..event.detail("kill_timeout", text) }
    }

    /// A kill that a task hook requested. It fails the task.
    pub fn killing_for(display: &str) -> Self {
        Self::new("Killing", display).fails_task()
    }

    pub fn killed() -> Self {
        Self::new("Killed", "Task successfully killed")
    }

    pub fn driver_failure(error: &str) -> Self {
        Self::new("Driver Failure", error).text("DriverError", "driver_error", error).failure(Class::Driver)
    }

    pub fn failed_download(error: &str) -> Self {
        let event = Self::new("Failed Artifact Download", error);
        event.text("DownloadError", "download_error", error).failure(Class::Artifact)
    }

    pub fn failed_validation(error: &str) -> Self {
        let event = Self::new("Failed Validation", error);
        event.text("ValidationError", "validation_error", error).failure(Class::Validation)
    }

    /// The allocation could not be prepared (network, volumes), so all its tasks fail.
    pub fn setup_failure(error: &str) -> Self {
        let event = Self::new("Setup Failure", error).text("KillReason", "kill_reason", "Failed Restoring Task");
        event.fails_task().failure(Class::Hook)
    }

    /// `Setup Failure` of a client before 0.9, with legacy fields and without details. The server adds the display
    /// message.
    pub fn old_setup_failure(error: &str) -> Self {
        let texts = BTreeMap::from([("SetupError", error.to_owned())]);
        let event = Self { details: None, texts, ..Self::new("Setup Failure", error) };
        Self { fails_task: true, ..event }.failure(Class::Hook)
    }

    pub fn sibling_failed(sibling: &str) -> Self {
        Self::new("Sibling Task Failed", &format!("Task's sibling {} failed", go_quoted(sibling))).text(
            "FailedSibling",
            "failed_sibling",
            sibling,
        )
    }

    /// The event of `nomad alloc signal`.
    pub fn signaling(signal: &str) -> Self {
        Self::new("Signaling", "Task being sent a signal").detail("signal", signal)
    }

    /// A signal that a template sends.
    pub fn template_signal(signal: &str) -> Self {
        Self::new("Signaling", "Template re-rendered").text("TaskSignal", "task_signal", signal)
    }
}

/// Go's `%q`, for the characters that occur in the simulator's texts.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            c if (c as u32) < 0x20 => quoted += &format!("\\x{:02x}", c as u32),
            '\u{2028}' | '\u{202e}' => quoted += &format!("\\u{:04x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Go's `time.Duration.String`: `0s`, `450ms`, `15.2s`, `1m30s`, `2h0m0s`.
pub fn go_duration(ns: i64) -> String {
    let decimal = |whole: i64, rest: i64, digits: usize, unit: &str| {
        let fraction = format!("{rest:0digits$}");
        match fraction.trim_end_matches('0') {
            "" => format!("{whole}{unit}"),
            fraction => format!("{whole}.{fraction}{unit}"),
        }
    };
    match ns {
        0 => "0s".into(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => decimal(ns / 1_000, ns % 1_000, 3, "µs"),
        1_000_000..1_000_000_000 => decimal(ns / 1_000_000, ns % 1_000_000, 6, "ms"),
        _ => {
            let (minutes, rest) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let seconds = decimal(rest / 1_000_000_000, rest % 1_000_000_000, 9, "s");
            match minutes {
                0 => seconds,
                1..60 => format!("{minutes}m{seconds}"),
                _ => format!("{}h{}m{seconds}", minutes / 60, minutes % 60),
            }
        }
    }
}
