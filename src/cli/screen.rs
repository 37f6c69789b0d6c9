//! The terminal as one screen that is redrawn, for `report --watch`.
//!
//! It uses the alternate screen, so that the scrollback does not grow, and shows the top of the text. The first line of
//! the screen says how old the text is. The terminal is restored on every way out: at the end, on an error, and by a
//! signal. Messages are printed when the terminal is restored; until then, the first line shows the newest message.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use ::console::{Term, measure_text_width, truncate_str};
use anyhow::Context;
use signal_hook::consts::{SIGCONT, SIGQUIT, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::broken_pipe;
use crate::render::text::one_line;

/// Enters the alternate screen and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";

/// Shows the cursor and leaves the alternate screen.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The maximum number of messages that are kept until the terminal is restored.
const MESSAGES: usize = 100;

/// The state of the screen; `None` while the terminal is not used as a screen.
static SCREEN: Mutex<Option<State>> = Mutex::new(None);

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    drawn_at: Option<Instant>,
    messages: VecDeque<String>,
    /// The newest message since the text was drawn.
    news: Option<String>,
}

/// The terminal as a screen, until dropped.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// When signal handlers cannot be installed, or the terminal cannot be written.
    pub fn enter() -> anyhow::Result<Screen> {
        static HANDLERS: Once = Once::new();
        let mut signals =
            Signals::new([SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH]).context("cannot install signal handlers")?;
        *state() = Some(State::default());
        let screen = Screen(());
        write(ENTER)?;
        HANDLERS.call_once(|| {
            thread::spawn(move || signals.forever().for_each(handle));
            thread::spawn(|| {
                loop {
                    thread::sleep(Duration::from_secs(1));
                    draw_age();
                }
            });
        });
        Ok(screen)
    }

    /// Shows a text from its top.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&self, text: &str) -> anyhow::Result<()> {
        let mut state = state();
        if let Some(state) = state.as_mut() {
            state.lines = text.lines().map(str::to_owned).collect();
            state.drawn_at = Some(Instant::now());
            state.news = None;
            write(&frame(state, Term::stdout().size()))?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Restores the terminal if it is used as a screen, and prints the messages that were kept.
fn leave() {
    restore(&mut state());
}

/// Like `leave`, for a signal that ends the program. A thread that waits for a stopped terminal may hold the lock of
/// the screen. In this case, the function gives up after half a second, and does not restore the terminal.
pub fn leave_for_signal() {
    for _ in 0..50 {
        match SCREEN.try_lock() {
            Ok(mut state) => return restore(&mut state),
            Err(TryLockError::Poisoned(poisoned)) => return restore(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn restore(state: &mut Option<State>) {
    let Some(state) = state.take() else { return };
    // Nothing can be done if the terminal is gone.
    let _ = write(LEAVE);
    for message in state.messages {
        let _ = writeln!(stderr(), "{message}");
    }
}

/// Keeps a message for later if the terminal is used as a screen; otherwise returns false, and the caller prints the
/// message.
pub fn keep(message: &str) -> bool {
    let mut state = state();
    let Some(state) = state.as_mut().filter(|_| stderr().is_terminal()) else { return false };
    if state.messages.len() == MESSAGES {
        state.messages.pop_front();
    }
    state.messages.push_back(message.to_owned());
    state.news = Some(message.to_owned());
    let _ = write(&frame(state, Term::stdout().size()));
    true
}

fn handle(signal: i32) {
    if signal == SIGQUIT {
        leave_for_signal();
        let _ = emulate_default_handler(signal);
        return;
    }
    // Locked until the end, so that nothing is drawn while the program is stopped.
    let state = state();
    if signal == SIGTSTP {
        let _ = state.as_ref().map(|_| write(LEAVE));
        let _ = emulate_default_handler(signal);
    }
    let enter = if signal == SIGWINCH { "" } else { ENTER };
    let _ = state.as_ref().map(|state| write(&format!("{enter}{}", frame(state, Term::stdout().size()))));
}

/// Draws the first line again, because it shows the age of the text.
fn draw_age() {
    let state = state();
    if let Some(state) = state.as_ref() {
        let (_, columns) = Term::stdout().size();
        let _ = write(&format!("\x1b[H{}\x1b[K", first_line(state, usize::from(columns))));
    }
}

/// The content of the screen: the first line, and as much of the text as fits.
fn frame(state: &State, (rows, columns): (u16, u16)) -> String {
    let columns = usize::from(columns);
    let shown = state.lines.iter().take(usize::from(rows).saturating_sub(1));
    let lines = std::iter::once(first_line(state, columns))
        .chain(shown.map(|line| truncate_str(line, columns, "…").into_owned()))
        .collect::<Vec<_>>();
    // Each line replaces the old one, so that the screen does not flicker.
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

/// The first line: the age of the text, the newest message since it was drawn, and the key that ends the program.
fn first_line(state: &State, columns: usize) -> String {
    let age = match state.drawn_at.map(|at| at.elapsed().as_secs()) {
        None => "waiting for the first listing".to_owned(),
        Some(seconds @ 0..120) => format!("shown {seconds} s ago"),
        Some(seconds) => format!("shown {} min ago", seconds / 60),
    };
    let news = state.news.as_ref().map(|message| format!("; {}", one_line(message))).unwrap_or_default();
    let end = " (Ctrl-C ends)";
    let room = columns.saturating_sub(measure_text_width(end));
    format!("{}{end}", truncate_str(&format!("{age}{news}"), room, "…"))
}

fn state() -> MutexGuard<'static, Option<State>> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(broken_pipe::mark_reader_closed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(frame: &str) -> Vec<String> {
        frame
            .replace("\x1b[H", "")
            .replace("\x1b[K", "")
            .replace("\x1b[J", "")
            .split("\r\n")
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_frame_is_the_top_of_the_text_and_never_larger_than_the_screen() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n} {}", "作".repeat(n))).collect();
        let state = State { lines, drawn_at: Some(Instant::now()), ..State::default() };
        for (rows, columns) in [(1, 20), (10, 40), (24, 80), (200, 240)] {
            let shown = text_of(&frame(&state, (rows, columns)));
            assert_eq!(shown.len(), usize::from(rows).min(101));
            assert!(shown.iter().all(|line| measure_text_width(line) <= usize::from(columns)), "{shown:?}");
        }
        assert_eq!(text_of(&frame(&state, (3, 40))), ["shown 0 s ago (Ctrl-C ends)", "line 0 ", "line 1 作"]);
    }

    #[test]
    fn the_first_line_shows_the_age_and_the_newest_message() {
        let mut state = State::default();
        assert_eq!(first_line(&state, 80), "waiting for the first listing (Ctrl-C ends)");
        state.drawn_at = Instant::now().checked_sub(Duration::from_secs(200));
        state.news = Some("alloclog: answers\x1b[2J again".into());
        assert_eq!(first_line(&state, 80), "shown 3 min ago; alloclog: answers\\u{1b}[2J again (Ctrl-C ends)");
        assert!(measure_text_width(&first_line(&state, 30)) <= 30);
    }
}
