//! Text layout: folding, truncation, and bars.

use std::collections::BTreeSet;

use console::{measure_text_width, truncate_str};

/// The width of a bar, in columns of text.
const BAR: usize = 8;

/// Wraps a line at spaces to a width. A word that is wider than that is cut.
pub fn fold(line: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut taken = 0;
    for word in line.split(' ') {
        let word = truncate_str(word, width, "…");
        let wide = measure_text_width(&word);
        match lines.last_mut().filter(|_| taken == 0 || taken + 1 + wide <= width) {
            Some(last) => {
                last.push(' ');
                last.push_str(&word);
                taken += 1 + wide;
            }
            None => {
                lines.push(word.into_owned());
                taken = wide;
            }
        }
    }
    lines
}

/// The first characters of an ID, as Nomad's command line shows it.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Names cut in the middle to a width, so that as many as possible of those that differ still differ: what comes first
/// (the namespace and the job) gets most of the room, unless the ends tell more of the names apart.
pub fn cut_names(names: &[String], width: usize) -> Vec<String> {
    const SIXTHS: [usize; 5] = [4, 3, 5, 2, 1];
    let cut = |sixths: usize| names.iter().map(|name| cut_middle(name, width, sixths)).collect::<Vec<_>>();
    let mut best: Option<(usize, Vec<String>)> = None;
    for sixths in SIXTHS {
        let cut = cut(sixths);
        let apart = cut.iter().collect::<BTreeSet<_>>().len();
        if best.as_ref().is_none_or(|(most, _)| apart > *most) {
            best = Some((apart, cut));
        }
    }
    best.map(|(_, cut)| cut).unwrap_or_default()
}

/// A text cut in the middle to a width; of what stays, so many sixths are from its beginning.
fn cut_middle(text: &str, width: usize, sixths: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let first = taken(text.chars(), room * sixths / 6);
    let last = taken(text.chars().rev(), room - measure_text_width(&first));
    first.chars().chain(['…']).chain(last.chars().rev()).collect()
}

/// The first characters that fit a width.
fn taken(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    let fits = |c: &char| {
        let fitting = left.checked_sub(measure_text_width(c.encode_utf8(&mut [0; 4])));
        left = fitting.unwrap_or(left);
        fitting.is_some()
    };
    chars.take_while(fits).collect()
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
    fn names_are_cut_where_they_still_differ() {
        let cut =
            |names: &[&str], width| cut_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), width);
        assert_eq!(cut(&["short"], 12), ["short"]);
        assert_eq!(cut(&["payments/checkout/api/server"], 16), ["payments/c…erver"]);
        let jobs = ["prod/load/load-1795458518-128360fc/g/work", "prod/load/load-1795458518-33f1a002/g/work"];
        let cut = cut(&jobs, 24);
        assert!(cut[0] != cut[1] && cut.iter().all(|name| name.starts_with("prod/") && name.contains('…')), "{cut:?}");
    }

    #[test]
    fn wide_characters_count_by_their_display_width() {
        for width in 2..30 {
            let name = vec!["default/ünïcode-作业作业/группа/задача".to_owned()];
            let cut = cut_names(&name, width);
            assert!(measure_text_width(&cut[0]) <= width, "{width}: {}", cut[0]);
        }
        assert_eq!(fold("作业 作业 作业", 9), ["作业 作业", "作业"]);
    }

    #[test]
    fn long_lines_are_folded_at_spaces() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("one", 8), ["one"]);
    }
}
