//! Progress and messages on stderr while a command runs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::intake::{Note, Observer};
use crate::render::text::one_line;
use crate::source::Input;

/// How many skipped files below a directory or in an archive are named without `-v`.
const NAMED: usize = 3;

/// Verbosity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Errors and rejected input.
    Quiet,
    /// Also a summary and skipped files.
    Usual,
    /// Everything.
    Verbose,
}

impl Loudness {
    /// The verbosity that `--quiet` and `--verbose` select.
    pub fn of(quiet: bool, verbose: bool) -> Loudness {
        match (quiet, verbose) {
            (true, _) => Loudness::Quiet,
            (_, true) => Loudness::Verbose,
            _ => Loudness::Usual,
        }
    }
}

/// Stderr, with a progress bar.
pub struct Console {
    loudness: Loudness,
    bar: ProgressBar,
    /// Skipped files by reason.
    passed_over: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Console {
    /// Shows a progress bar over the bytes of these inputs, if stderr is a terminal.
    pub fn new(loudness: Loudness, inputs: &[Input]) -> Console {
        let bar = if loudness > Loudness::Quiet && stderr().is_terminal() {
            let total = inputs.iter().map(|input| input.size).sum::<Option<u64>>();
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
            let template = match total {
                Some(_) => "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left",
                None => "{spinner} {bytes} {binary_bytes_per_sec}",
            };
            // The templates are constants; a wrong one falls back to the default style.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        } else {
            ProgressBar::hidden()
        };
        Console { loudness, bar, passed_over: Mutex::new(BTreeMap::new()) }
    }

    /// Removes the progress bar.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints the skipped files that were collected, at most three per reason unless verbose.
    pub fn tell_passed_over(&self) {
        let passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        for (why, names) in &*passed_over {
            for name in names.iter().take(NAMED) {
                self.say_if(Loudness::Usual, &format!("skipped: {name}: {why}"));
            }
            if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
                self.say_if(Loudness::Usual, &format!("skipped: {more} more files: {why} (-v lists all)"));
            }
        }
    }

    /// Prints a line at this verbosity or a higher one.
    pub fn say_if(&self, loudness: Loudness, line: &str) {
        if self.loudness >= loudness {
            self.say(line);
        }
    }

    /// Prints a line at every verbosity.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| tell("alloclog: ", line));
    }
}

impl Observer for Console {
    fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn note(&self, note: Note) {
        match note {
            Note::Rejected(what) => self.say(&format!("rejected: {what}")),
            Note::Warning(what) => self.say(&format!("warning: {what}")),
            Note::Recovered(what) | Note::Info(what) => self.say_if(Loudness::Usual, &what),
            Note::PassedOver(what, is_named) => {
                if is_named || self.loudness == Loudness::Verbose {
                    self.say_if(Loudness::Usual, &format!("skipped: {what}"));
                } else {
                    let (name, why) = what.rsplit_once(": ").unwrap_or((&what, ""));
                    let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
                    passed_over.entry(why.to_owned()).or_default().push(name.to_owned());
                }
            }
        }
    }

    fn stage(&self, name: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_length(0);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                self.bar.set_style(style);
            }
            self.bar.set_message(name.to_owned());
        }
    }
}

/// Prints a line on stderr. A write error (closed pipe, full disk) is ignored, so that the work goes on.
pub fn tell(before: &str, line: &str) {
    let _ = writeln!(stderr(), "{before}{}", one_line(line));
}
