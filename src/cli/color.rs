//! Colours and width of text on a terminal.

use ::console::Term;
use clap::ValueEnum;

/// Line width where stdout is not a terminal.
pub const WIDTH: usize = 100;

/// Minimum line width: narrower tables are unreadable.
const NARROWEST: usize = 60;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Only on a terminal
    Auto,
    Always,
    Never,
}

impl Color {
    /// Returns true if a text gets colours.
    pub fn is_used(self, is_terminal: bool) -> bool {
        let is_plain = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !is_plain(),
        }
    }
}

/// The line width of a text, at most `widest`.
pub fn width(is_terminal: bool, widest: usize) -> usize {
    let columns = is_terminal.then(|| usize::from(Term::stdout().size().1));
    columns.map_or(WIDTH, |columns| columns.clamp(NARROWEST, widest))
}
