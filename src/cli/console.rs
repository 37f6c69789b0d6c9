//! What is said on standard error while a command works: progress, and what is worth a word.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::intake::Note;
use crate::render::text::one_line;
use crate::source::Input;

/// Files below a directory or in an archive that are passed over are named up to this many, unless `-v` asks for all.
const NAMED: usize = 3;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Errors and what was rejected.
    Quiet,
    /// Also a summary and what was passed over.
    Usual,
    /// Everything.
    Verbose,
}

impl Loudness {
    /// What `--quiet` and `--verbose` ask for.
    pub fn of(quiet: bool, verbose: bool) -> Loudness {
        match (quiet, verbose) {
            (true, _) => Loudness::Quiet,
            (_, true) => Loudness::Verbose,
            _ => Loudness::Usual,
        }
    }
}

/// Standard error.
pub struct Console {
    loudness: Loudness,
    bar: ProgressBar,
    /// Files that were passed over, by the reason.
    passed_over: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Console {
    /// Shows progress over these inputs, on a terminal.
    pub fn new(loudness: Loudness, inputs: &[Input]) -> Console {
        let bar = if loudness > Loudness::Quiet && stderr().is_terminal() {
            let total = inputs.iter().map(|input| input.size).sum::<Option<u64>>();
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
            let template = match total {
                Some(_) => "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left",
                None => "{spinner} {bytes} {binary_bytes_per_sec}",
            };
            // The templates are ours; a wrong one would show the default style.
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

    /// Bytes were read.
    pub fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// The reading is done; what goes on has this name.
    pub fn stage(&self, name: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_length(0);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                self.bar.set_style(style);
            }
            self.bar.set_message(name.to_owned());
        }
    }

    /// Takes the progress bar away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Says what is worth a word.
    pub fn note(&self, note: Note) {
        match note {
            Note::Rejected(what) => self.say(&format!("rejected: {what}")),
            Note::Warning(what) => self.say(&format!("warning: {what}")),
            Note::Recovered(what) => self.say_if(Loudness::Usual, &what),
            Note::PassedOver(what, is_named) => {
                if is_named || self.loudness == Loudness::Verbose {
                    self.say_if(Loudness::Usual, &format!("passed over: {what}"));
                } else {
                    let (name, why) = what.rsplit_once(": ").unwrap_or((&what, ""));
                    let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
                    passed_over.entry(why.to_owned()).or_default().push(name.to_owned());
                }
            }
        }
    }

    /// Names the files that were passed over without a line of their own.
    pub fn tell_passed_over(&self) {
        let passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        for (why, names) in &*passed_over {
            for name in names.iter().take(NAMED) {
                self.say_if(Loudness::Usual, &format!("passed over: {name}: {why}"));
            }
            if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
                self.say_if(Loudness::Usual, &format!("passed over: {more} more files: {why} (-v names all)"));
            }
        }
    }

    /// Says a line unless quiet was asked for.
    pub fn say_if(&self, loudness: Loudness, line: &str) {
        if self.loudness >= loudness {
            self.say(line);
        }
    }

    /// Says a line, whatever was asked for.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| tell("alloclog: ", line));
    }
}

/// Says a line on standard error. Where nobody can hear it (a pipe that was closed, a full disk), the work goes on.
pub fn tell(before: &str, line: &str) {
    let _ = writeln!(stderr(), "{before}{}", one_line(line));
}
