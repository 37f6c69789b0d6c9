//! Text that fits the width of a terminal: folds lines, leaves out less important columns, and cuts names in the
//! middle.

use std::collections::BTreeSet;

use console::{measure_text_width, truncate_str};

use super::text::{Side, TextTable};

/// Minimum width of the column of names, unless all names are shorter. Other columns are left out to keep this width.
const NAME: usize = 24;

/// The number of spaces between two columns of a table.
pub(super) const GAP: usize = 2;

/// A column next to the column of names.
#[derive(Debug, Clone, Copy)]
pub struct RankedColumn<'t> {
    /// The title of the column.
    pub title: &'t str,
    /// The alignment of the column.
    pub side: Side,
    /// 0 for a column that is always shown. If the terminal is too narrow, columns with the largest rank are left out
    /// first.
    pub rank: u8,
}

/// A left-aligned column.
pub const fn left(title: &str, rank: u8) -> RankedColumn<'_> {
    RankedColumn { title, side: Side::Left, rank }
}

/// A right-aligned column.
pub const fn right(title: &str, rank: u8) -> RankedColumn<'_> {
    RankedColumn { title, side: Side::Right, rank }
}

/// Lays out rows of cells in at most `width` columns of text. The column of names comes last; its title is the first
/// of `titles` that fits. Cells may contain colour codes.
pub fn fit(
    columns: &[RankedColumn<'_>],
    rows: Vec<Vec<String>>,
    titles: [&str; 2],
    names: &[String],
    width: usize,
) -> TextTable {
    // A cell with a text from the cluster, such as a list of causes, takes at most a third of the width.
    let longest = (width / 3).max(20);
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.iter().map(|cell| truncate_str(cell, longest, "…").into_owned()).collect())
        .collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| {
            let cells = rows.iter().map(|row| measure_text_width(&row[i]));
            cells.chain([measure_text_width(columns[i].title)]).max().unwrap_or(0) + GAP
        })
        .collect();
    let wanted = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0);
    let shown = shown(columns, &widths, width.saturating_sub(wanted.min(NAME)));
    let room = width.saturating_sub(shown.iter().map(|i| widths[*i]).sum()).max(8);
    let title = titles.into_iter().find(|title| measure_text_width(title) <= room).unwrap_or(titles[1]);
    let of_table = shown.iter().map(|i| (columns[*i].title.to_owned(), columns[*i].side));
    let cells = rows.into_iter().zip(cut_names(names, room)).map(|(mut row, name)| {
        let cells = shown.iter().map(|i| std::mem::take(&mut row[*i]));
        cells.chain([name]).collect()
    });
    TextTable { columns: of_table.chain([(title.to_owned(), Side::Left)]).collect(), rows: cells.collect() }
}

/// The indices of the columns that are shown: together they take at most `room`.
fn shown(columns: &[RankedColumn<'_>], widths: &[usize], room: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    while shown.iter().map(|i| widths[*i]).sum::<usize>() > room {
        let Some(last) = shown.iter().map(|i| columns[*i].rank).max().filter(|rank| *rank > 0) else { break };
        shown.retain(|i| columns[*i].rank < last);
    }
    shown
}

/// Cuts names in the middle to a width, so that as many different names as possible stay different. The beginning
/// (the namespace and the job) gets most of the room, unless more room for the end keeps more names different.
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

/// Cuts a text in the middle to a width. `sixths` is how many sixths of the remaining text come from its beginning.
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

/// Wraps a line at spaces to a width. A word that is wider than a line is cut.
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

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [RankedColumn<'_>; 3] = [right("restarts", 0), left("last", 1), left("causes seen", 2)];

    fn lines(width: usize) -> Vec<String> {
        let rows = vec![
            vec!["114".to_owned(), "4 s ago".to_owned(), "15 failure, 5 unknown".to_owned()],
            vec!["3".to_owned(), "12 min ago".to_owned(), "3 oom".to_owned()],
        ];
        let names = ["prod/payments/checkout/server".to_owned(), "prod/payments/checkout/sidecar".to_owned()];
        fit(&COLUMNS, rows, ["namespace/job/group/task", "task"], &names, width).lines()
    }

    #[test]
    fn lesser_columns_are_dropped_and_headings_stay_whole() {
        assert_eq!(
            lines(76),
            [
                "restarts  last        causes seen            namespace/job/group/task",
                "     114  4 s ago     15 failure, 5 unknown  prod/payments/checkout/server",
                "       3  12 min ago  3 oom                  prod/payments/checkout/sidecar",
            ]
        );
        assert_eq!(
            lines(48),
            [
                "restarts  last        namespace/job/group/task",
                "     114  4 s ago     prod/payments/ch…ut/server",
                "       3  12 min ago  prod/payments/ch…t/sidecar",
            ]
        );
        assert_eq!(lines(24), ["restarts  task", "     114  prod/pay…erver", "       3  prod/pay…decar"]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 24..240 {
            for line in lines(width) {
                assert!(measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
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
    fn wide_characters_are_cut_by_their_display_width() {
        for width in 2..30 {
            let name = vec!["default/ünïcode-作业作业/группа/задача".to_owned()];
            let cut = cut_names(&name, width);
            assert!(measure_text_width(&cut[0]) <= width, "{width}: {}", cut[0]);
        }
    }

    #[test]
    fn wide_characters_count_by_their_display_width() {
        assert_eq!(fold("作业 作业 作业", 9), ["作业 作业", "作业"]);
    }

    #[test]
    fn long_lines_are_folded_at_spaces() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("one", 8), ["one"]);
    }
}
