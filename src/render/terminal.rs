//! Shows results on a terminal, in lines that are never wider than the terminal. A result that is too wide is shown
//! vertically if it has few rows; otherwise columns are left out.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use console::{measure_text_width, truncate_str};

use super::fit::{GAP, RankedColumn, fit};
use super::text::{self, Side, TextTable, one_line};
use crate::error::Result;
use crate::store::{Store, parquet};

/// Maximum number of rows in the vertical form.
const FEW: usize = 3;

/// Widths to which texts in a table are cut. The first width at which all columns fit is used.
const TEXTS: [usize; 3] = [60, 32, 20];

/// Marks the position of columns that are left out.
const LEFT_OUT: &str = "…";

/// A result that fits a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fitted {
    /// The lines of the result.
    pub lines: Vec<String>,
    /// The columns that are left out because the terminal is too narrow.
    pub left_out: Vec<String>,
}

/// Lays out a table of the store, with columns in the middle left out if the terminal is too narrow.
///
/// # Errors
/// When the table cannot be read, or a column has an unsupported type.
pub fn whole(store: &Store, name: &str, width: usize) -> Result<Fitted> {
    Ok(lay_out(&read(store, name, text::cell)?, width))
}

/// Lays out the short form of a result. Its first `names` columns identify a row, and are joined into one column, which
/// comes last. If the terminal is too narrow, the other columns are left out, starting with the last. IDs have eight
/// characters, and times are in whole seconds.
///
/// # Errors
/// When the table cannot be read, or a column has an unsupported type.
pub fn short(store: &Store, name: &str, names: usize, width: usize) -> Result<Fitted> {
    Ok(lay_out_short(read(store, name, short_cell)?, names, width))
}

/// The rows of a table as texts.
fn read(store: &Store, name: &str, cell: fn(&dyn Array, usize) -> String) -> Result<TextTable> {
    let schema = super::plain_schema(store, name)?;
    let batches = parquet::read(&store.path(name))?.map(|batch| super::typed(&batch?, &schema));
    let mut table = text::read(&schema, batches, cell)?;
    table.rows.iter_mut().flatten().for_each(|cell| *cell = one_line(cell));
    table.columns.iter_mut().for_each(|(title, _)| *title = one_line(title));
    Ok(table)
}

fn short_cell(column: &dyn Array, row: usize) -> String {
    let text = text::cell(column, row);
    match column.data_type() {
        DataType::Timestamp(..) => text.get(..19).unwrap_or(&text).to_owned(),
        DataType::Float64 if column.is_valid(row) => {
            let number = column.as_primitive::<Float64Type>().value(row);
            if number.abs() >= 1.0 { text::trimmed(format!("{number:.3}")) } else { text }
        }
        DataType::Utf8 if is_id(&text) => text.chars().take(8).collect(),
        _ => text,
    }
}

/// Returns true if a text has the form of a UUID.
fn is_id(text: &str) -> bool {
    let is_digit = |(i, byte): (usize, u8)| match i {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_digit)
}

fn lay_out(table: &TextTable, width: usize) -> Fitted {
    for longest in TEXTS {
        let cut = cut(table, longest);
        if widths(&cut).iter().sum::<usize>() <= width + GAP {
            return Fitted { lines: cut.lines(), left_out: Vec::new() };
        }
    }
    if is_few(table) {
        return Fitted { lines: vertical(table, width), left_out: Vec::new() };
    }
    let cut = cut(table, TEXTS[TEXTS.len() - 1]);
    let widths = widths(&cut);
    let columns = table.columns.len();
    // Take columns from both ends in turn, while they fit next to the mark.
    let (mut first, mut last, mut room) = (0, 0, width.saturating_sub(1));
    loop {
        let next = if first <= last { first } else { columns - 1 - last };
        if first + last >= columns || widths[next] > room {
            break;
        }
        room -= widths[next];
        if first <= last { first += 1 } else { last += 1 }
    }
    let first = first.max(1);
    let left_out = cut.columns[first..columns - last].iter().map(|(title, _)| title.clone()).collect();
    let around = |row: &[String]| -> Vec<String> {
        row[..first].iter().cloned().chain([LEFT_OUT.to_owned()]).chain(row[columns - last..].iter().cloned()).collect()
    };
    let mark = (LEFT_OUT.to_owned(), Side::Left);
    let titles =
        cut.columns[..first].iter().cloned().chain([mark]).chain(cut.columns[columns - last..].iter().cloned());
    let shown = TextTable { columns: titles.collect(), rows: cut.rows.iter().map(|row| around(row)).collect() };
    let lines = shown.lines().into_iter().map(|line| truncate_str(&line, width, "…").into_owned());
    Fitted { lines: lines.collect(), left_out }
}

fn lay_out_short(mut table: TextTable, names: usize, width: usize) -> Fitted {
    // Without `--region`, every region is an empty text.
    let is_blank = table.rows.iter().all(|row| row.first().is_some_and(String::is_empty));
    let names = if names > 1 && is_blank && table.columns[0].0 == "region" {
        table.columns.remove(0);
        table.rows.iter_mut().for_each(|row| drop(row.remove(0)));
        names - 1
    } else {
        names
    };
    let columns: Vec<RankedColumn<'_>> = table.columns[names..]
        .iter()
        .enumerate()
        .map(|(i, (title, side))| RankedColumn { title, side: *side, rank: u8::try_from(i).unwrap_or(u8::MAX) })
        .collect();
    let titles: Vec<&str> = table.columns[..names].iter().map(|(title, _)| title.as_str()).collect();
    let unknown = |text: &String| if text.is_empty() { "?".to_owned() } else { text.clone() };
    let named: Vec<String> =
        table.rows.iter().map(|row| row[..names].iter().map(unknown).collect::<Vec<_>>().join("/")).collect();
    let cells = table.rows.iter().map(|row| row[names..].to_vec()).collect();
    let shown = fit(&columns, cells, [&titles.join("/"), titles.last().unwrap_or(&"")], &named, width);
    let is_shown = |title: &str| shown.columns.iter().any(|(shown, _)| shown == title);
    let left_out: Vec<String> =
        columns.iter().map(|column| column.title).filter(|title| !is_shown(title)).map(str::to_owned).collect();
    if !left_out.is_empty() && is_few(&table) {
        return Fitted { lines: vertical(&table, width), left_out: Vec::new() };
    }
    Fitted { lines: shown.lines(), left_out }
}

/// Returns true if a table has few enough rows for the vertical form.
fn is_few(table: &TextTable) -> bool {
    (1..=FEW).contains(&table.rows.len())
}

/// Cuts the texts of a table to a width.
fn cut(table: &TextTable, longest: usize) -> TextTable {
    let cut = |text: &String| truncate_str(text, longest, "…").into_owned();
    TextTable {
        columns: table.columns.clone(),
        rows: table.rows.iter().map(|row| row.iter().map(cut).collect()).collect(),
    }
}

/// The width of each column, including the gap after it.
fn widths(table: &TextTable) -> Vec<usize> {
    let cells = |i: usize| table.rows.iter().map(move |row| measure_text_width(&row[i]));
    let titles = table.columns.iter().map(|(title, _)| measure_text_width(title));
    titles.enumerate().map(|(i, title)| cells(i).fold(title, usize::max) + GAP).collect()
}

/// One line for each column of each row.
fn vertical(table: &TextTable, width: usize) -> Vec<String> {
    let longest = table.columns.iter().map(|(title, _)| measure_text_width(title)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (i, row) in table.rows.iter().enumerate() {
        if i > 0 {
            lines.push(String::new());
        }
        for ((title, _), cell) in table.columns.iter().zip(row) {
            let pad = " ".repeat(longest - measure_text_width(title) + GAP);
            lines.push(truncate_str(format!("{title}{pad}{cell}").trim_end(), width, "…").into_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize, rows: usize) -> TextTable {
        let title = |i| (format!("column_{i}"), Side::Left);
        let row = |n| (0..columns).map(|i| format!("cell {i} of row {n}")).collect();
        TextTable { columns: (0..columns).map(title).collect(), rows: (0..rows).map(row).collect() }
    }

    #[test]
    fn columns_in_the_middle_are_left_out_and_named() {
        let fitted = lay_out(&table(6, 4), 60);
        assert_eq!(
            fitted.lines[..2],
            ["column_0         column_1         …  column_5", "cell 0 of row 0  cell 1 of row 0  …  cell 5 of row 0"]
        );
        assert_eq!(fitted.left_out, ["column_2", "column_3", "column_4"]);
        assert_eq!(lay_out(&table(6, 4), 200).left_out, Vec::<String>::new());
        assert_eq!(lay_out(&table(20, 0), 60).lines.len(), 1);
    }

    #[test]
    fn few_rows_that_are_too_wide_are_shown_vertically() {
        let fitted = lay_out(&table(6, 2), 60);
        assert_eq!(fitted.lines[..2], ["column_0  cell 0 of row 0", "column_1  cell 1 of row 0"]);
        assert_eq!((fitted.lines.len(), fitted.left_out.len()), (13, 0));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut hostile = table(7, 4);
        hostile.rows[1][3] = "作业".repeat(50);
        hostile.rows[2][0] = "e\u{301}".repeat(90);
        for width in 60..240 {
            for fitted in [lay_out(&hostile, width), lay_out_short(hostile.clone(), 3, width)] {
                for line in fitted.lines {
                    assert!(measure_text_width(&line) <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn a_short_form_ends_with_the_name_and_leaves_the_last_columns_out() {
        let titles = ["region", "job_id", "task", "restarts", "node_name", "message"];
        let columns = titles.map(|title| (title.to_owned(), Side::Left)).to_vec();
        let cells = ["", "api", "web", "7", "client-3", "out of memory"].map(str::to_owned).to_vec();
        let short = |rows: usize, width| {
            lay_out_short(TextTable { columns: columns.clone(), rows: vec![cells.clone(); rows] }, 3, width)
        };
        let wide = short(4, 80);
        assert_eq!(
            wide.lines[..2],
            ["restarts  node_name  message        job_id/task", "7         client-3   out of memory  api/web"]
        );
        let narrow = short(4, 40);
        assert_eq!(
            (narrow.lines[0].as_str(), &narrow.left_out[..]),
            ("restarts  node_name  job_id/task", &["message".to_owned()][..])
        );
        assert_eq!(short(1, 40).lines[..2], ["job_id     api", "task       web"]);
    }

    #[test]
    fn ids_are_recognized_by_their_form() {
        assert!(is_id("77a4f90a-9266-c176-84aa-03f00176abf6"));
        assert!(!is_id("77a4f90a-9266-c176-84aa-03f00176abfg") && !is_id("77a4f90a"));
    }
}
