//! Tables for people: padded columns for a terminal, or Markdown.

use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use chrono::DateTime;
use console::{Alignment, measure_text_width, pad_str, truncate_str};

use crate::error::Result;
use crate::time;

/// Maximum width of a cell in a terminal table, in columns of text; other formats have the full text.
const WIDEST: usize = 60;

/// A table of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextTable {
    /// Titles and alignment of the columns.
    pub columns: Vec<(String, Side)>,
    /// The rows, with one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// Alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Alignment for texts.
    Left,
    /// Alignment for numbers.
    Right,
}

impl TextTable {
    /// The lines of a terminal table: titles, then rows, with two spaces between columns. Cells may contain colour
    /// codes.
    pub fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                let cells = self.rows.iter().map(|row| measure_text_width(&row[i]));
                cells.chain([measure_text_width(&self.columns[i].0)]).max().unwrap_or(0)
            })
            .collect();
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| title.clone()).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, side)), width)| {
                let alignment = if *side == Side::Left { Alignment::Left } else { Alignment::Right };
                pad_str(cell, *width, alignment, None)
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        std::iter::once(&titles).chain(&self.rows).map(line).collect()
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut line = |cells: Vec<String>| {
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        };
        line(self.columns.iter().map(|(title, _)| markdown(title)).collect());
        line(
            self.columns.iter().map(|(_, side)| if *side == Side::Left { "---" } else { "---:" }.to_owned()).collect(),
        );
        for row in &self.rows {
            line(row.iter().map(|cell| markdown(cell)).collect());
        }
        text
    }
}

/// Escapes control characters, because file names and texts of documents must not control a terminal.
pub fn one_line(text: &str) -> String {
    let shown = |c: char| if is_unseen(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// Returns true for characters that a terminal does not show: control characters, marks that change the text
/// direction, and others. With one of them, two different names would look equal.
pub(super) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Escapes Markdown syntax.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '*' | '`' | '[' | ']' | '\\' | '~' | '_' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Writes batches as a terminal table, with long texts truncated.
///
/// # Errors
/// When a batch is an error or the output cannot be written.
pub fn write_table(
    mut out: impl Write,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<()> {
    let mut text = read(schema, batches, cell)?;
    for cell in text.rows.iter_mut().flatten() {
        *cell = truncate_str(&one_line(cell), WIDEST, "…").into_owned();
    }
    for line in text.lines() {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes batches as a Markdown table.
///
/// # Errors
/// When a batch is an error or the output cannot be written.
pub fn write_markdown(
    mut out: impl Write,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<()> {
    out.write_all(read(schema, batches, cell)?.markdown().as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Formats rows as texts. `cell` formats the value of a column in a row.
pub(super) fn read(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    cell: fn(&dyn Array, usize) -> String,
) -> Result<TextTable> {
    let side = |kind: &DataType| {
        let is_number = matches!(kind, DataType::Int64 | DataType::Int32 | DataType::Float64);
        if is_number { Side::Right } else { Side::Left }
    };
    let columns = schema.fields().iter().map(|field| (field.name().clone(), side(field.data_type()))).collect();
    let mut text = TextTable { columns, rows: Vec::new() };
    for batch in batches {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            text.rows.push(batch.columns().iter().map(|column| cell(column.as_ref(), row)).collect());
        }
    }
    Ok(text)
}

/// The text of a value; null becomes an empty text.
pub(super) fn cell(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Float64 => decimal(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let moment = DateTime::from_timestamp_micros(micros).unwrap_or_default();
            moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
        }
        DataType::Date32 => time::day(column.as_primitive::<Date32Type>().value(row)),
        _ => String::new(),
    }
}

/// Formats a number with up to six decimal places and without trailing zeros. A number below 0.0001 has all its digits,
/// because six places would show few or none of them.
fn decimal(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-4 { number.to_string() } else { trimmed(format!("{number:.6}")) }
}

/// Removes trailing zeros from decimal places.
pub(super) fn trimmed(decimal: String) -> String {
    decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_by_display_width() {
        let columns = vec![("task".to_owned(), Side::Left), ("restarts".to_owned(), Side::Right)];
        let rows =
            vec![vec!["wéb".to_owned(), "7".to_owned()], vec!["\x1b[31mdatabase\x1b[0m".to_owned(), "12".to_owned()]];
        let lines = TextTable { columns, rows }.lines();
        assert_eq!(lines, ["task      restarts", "wéb              7", "\x1b[31mdatabase\x1b[0m        12"]);
    }

    #[test]
    fn markdown_shows_a_text_as_it_is() {
        assert_eq!(markdown("<b>|a_b*"), "&lt;b&gt;\\|a\\_b\\*");
        assert_eq!(markdown("a\nb"), "a\\\\nb");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(one_line("a\x1b[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!(one_line("a\u{200b}b\u{feff}é"), "a\\u{200b}b\\u{feff}é");
    }

    #[test]
    fn small_decimals_are_never_shown_as_zero_nor_with_an_exponent() {
        for (number, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (2.0 / 3.0, "0.666667"),
            (0.00001, "0.00001"),
            (-2.5e-7, "-0.00000025"),
            (-120.0, "-120"),
        ] {
            assert_eq!(decimal(number), text);
        }
    }
}
