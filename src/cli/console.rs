//! Progress and messages on stderr while a command runs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen;
use crate::intake::{Note, Observer};
use crate::render::text::one_line;
use crate::source::Input;

/// Verbosity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors and rejected input.
    Quiet,
    /// Also a summary and the number of skipped files.
    Normal,
    /// Everything.
    Verbose,
}

impl Verbosity {
    /// The verbosity that `--quiet` and `--verbose` select.
    pub fn from_flags(quiet: bool, verbose: bool) -> Verbosity {
        match (quiet, verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

/// Stderr, with a progress bar.
pub struct Console {
    verbosity: Verbosity,
    bar: ProgressBar,
    /// For each reason, the first skipped file and the number of skipped files.
    skipped: Mutex<BTreeMap<String, (String, u64)>>,
}

impl Console {
    /// Shows a progress bar over the bytes of these inputs, if stderr is a terminal.
    pub fn new(verbosity: Verbosity, inputs: &[Input]) -> Console {
        let bar = if verbosity > Verbosity::Quiet && stderr().is_terminal() {
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
        Console { verbosity, bar, skipped: Mutex::new(BTreeMap::new()) }
    }

    /// Removes the progress bar.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints one line about the skipped files of directories and archives: the first file with the most frequent
    /// reason, and the number of other files.
    pub fn print_skipped(&self) {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((why, (first, _))) = skipped.iter().max_by_key(|(_, (_, number))| *number) else { return };
        let others = match skipped.values().map(|(_, number)| number).sum::<u64>() - 1 {
            0 => String::new(),
            1 => "; and 1 more file (-v names it)".to_owned(),
            others => format!("; and {others} more files (-v names them)"),
        };
        self.print_at(Verbosity::Normal, &format!("skipped: {first}: {why}{others}"));
    }

    /// Prints a line at this verbosity or a higher one.
    pub fn print_at(&self, verbosity: Verbosity, line: &str) {
        if self.verbosity >= verbosity {
            self.print(line);
        }
    }

    /// Prints a line at every verbosity.
    pub fn print(&self, line: &str) {
        self.bar.suspend(|| write_line("alloclog: ", line));
    }
}

impl Observer for Console {
    fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn note(&self, note: Note) {
        match note {
            Note::Rejected(what) => self.print(&format!("rejected: {what}")),
            Note::Warning(what) => self.print(&format!("warning: {what}")),
            Note::Recovered(what) | Note::Info(what) => self.print_at(Verbosity::Normal, &what),
            Note::Skipped(what, is_named) => {
                if is_named || self.verbosity == Verbosity::Verbose {
                    self.print_at(Verbosity::Normal, &format!("skipped: {what}"));
                } else {
                    let (name, why) = what.rsplit_once(": ").unwrap_or((&what, ""));
                    let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                    skipped.entry(why.to_owned()).or_insert_with(|| (name.to_owned(), 0)).1 += 1;
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

/// Prints a line on stderr, or keeps it while a report uses the terminal as a screen. A write error (closed pipe, full
/// disk) is ignored, so that the work goes on.
pub fn write_line(before: &str, line: &str) {
    let line = format!("{before}{}", one_line(line));
    if !screen::keep(&line) {
        let _ = writeln!(stderr(), "{line}");
    }
}
