//! Colours and width of text on a terminal.

use ::console::Term;
use clap::ValueEnum;

use crate::report::NARROWEST;

/// Line width where stdout is not a terminal, unless COLUMNS is set.
const WIDTH: usize = 100;

/// Maximum line width. In wider tables, a person loses track of the row.
const WIDEST: usize = 240;

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

/// The line width of a text: the width of the terminal, else COLUMNS, else 100, clamped to `NARROWEST` and `WIDEST`.
pub fn width(is_terminal: bool) -> usize {
    let columns = if is_terminal {
        Some(usize::from(Term::stdout().size().1))
    } else {
        std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok())
    };
    columns.unwrap_or(WIDTH).clamp(NARROWEST, WIDEST)
}
