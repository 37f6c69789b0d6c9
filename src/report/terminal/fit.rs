//! Tables that fit the width of a terminal: lesser columns are left out, and names are cut in the middle.

use console::{measure_text_width, truncate_str};

use super::super::layout::cut_names;
use crate::render::text::{Side, TextTable};

/// Width that the column of names gets before any other column is dropped.
const NAME: usize = 24;

/// Columns of text between two columns of a table.
const GAP: usize = 2;

/// A column of a section, beside the column of names.
#[derive(Debug, Clone, Copy)]
pub struct SectionColumn {
    /// Its heading.
    pub title: &'static str,
    /// Its alignment.
    pub side: Side,
    /// 0 for a column that is always shown. Where the room is short, columns of the largest rank are dropped first.
    pub rank: u8,
}

/// A left-aligned column.
pub const fn left(title: &'static str, rank: u8) -> SectionColumn {
    SectionColumn { title, side: Side::Left, rank }
}

/// A right-aligned column.
pub const fn right(title: &'static str, rank: u8) -> SectionColumn {
    SectionColumn { title, side: Side::Right, rank }
}

/// Lays out rows of cells, with the column of names last, in at most `width` columns of text. The heading of the names
/// is the first of `titles` that fits. Cells may contain colour codes.
pub fn fit(
    columns: &[SectionColumn],
    rows: Vec<Vec<String>>,
    titles: [&str; 2],
    names: &[String],
    width: usize,
) -> TextTable {
    // A text of the cluster, such as a list of causes, takes at most a third.
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

/// The indices of the columns that together take at most `room`.
fn shown(columns: &[SectionColumn], widths: &[usize], room: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    while shown.iter().map(|i| widths[*i]).sum::<usize>() > room {
        let Some(last) = shown.iter().map(|i| columns[*i].rank).max().filter(|rank| *rank > 0) else { break };
        shown.retain(|i| columns[*i].rank < last);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [SectionColumn; 3] = [right("restarts", 0), left("last", 1), left("causes seen", 2)];

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
}
