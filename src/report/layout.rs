//! Text layout: folding, truncation, and bars.

use console::measure_text_width;

/// The width of a bar, in columns of text.
const BAR: usize = 8;

/// Wraps a line at spaces to a width.
pub fn fold(line: &str, width: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = line.to_owned();
    while measure_text_width(&rest) > width {
        let end = rest.char_indices().nth(width + 1).map_or(rest.len(), |(at, _)| at);
        let Some(cut) = rest[..end].rfind(' ').filter(|cut| *cut > 0) else { break };
        let next = rest[cut..].trim_start().to_owned();
        rest.truncate(cut);
        parts.push(std::mem::replace(&mut rest, next));
    }
    parts.push(rest);
    parts
}

/// The first characters of an ID, as Nomad's command line shows it.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// The end of a text, which is more specific than its start: the task is last.
pub fn tail(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut kept: Vec<char> = Vec::new();
    let mut taken = 1;
    for c in text.chars().rev() {
        taken += measure_text_width(c.encode_utf8(&mut [0; 4]));
        if taken > width {
            break;
        }
        kept.push(c);
    }
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

/// A bar proportional to the whole; never empty unless zero.
pub fn bar(part: f64, whole: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if whole <= 0.0 || part <= 0.0 {
        return String::new();
    }
    let eighths = ((part / whole * (BAR * 8) as f64).round() as usize).clamp(1, BAR * 8);
    // Full only if it is the whole.
    let eighths = if part < whole { eighths.min(BAR * 8 - 1) } else { eighths };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_for_100_percent_and_empty_only_for_0() {
        assert_eq!(bar(0.0, 10.0), "");
        assert_eq!(bar(10.0, 10.0), "████████");
        assert_eq!(bar(999.0, 1000.0), "███████▉");
        assert_eq!(bar(1.0, 100_000.0), "▏");
        assert_eq!(bar(5.0, 10.0), "████");
    }

    #[test]
    fn the_end_of_a_long_name_is_kept() {
        assert_eq!(tail("payments/checkout/api/server", 12), "…/api/server");
        assert_eq!(tail("short", 12), "short");
    }

    #[test]
    fn long_lines_are_folded_at_spaces() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("one", 8), ["one"]);
    }
}
