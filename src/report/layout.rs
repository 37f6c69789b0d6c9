//! Text layout: short IDs and bars.

/// The width of a bar, in columns of text.
const BAR: usize = 8;

/// The first characters of an ID, as many as Nomad's command line shows.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A bar that shows a part in proportion to the whole. Only a part of zero gives an empty bar.
pub fn bar(part: f64, whole: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if whole <= 0.0 || part <= 0.0 {
        return String::new();
    }
    let eighths = ((part / whole * (BAR * 8) as f64).round() as usize).clamp(1, BAR * 8);
    // The bar is full only if the part is the whole.
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
}
