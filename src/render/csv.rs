//! CSV as in RFC 4180, with commas, `"` where needed, and a header. Unlike in the RFC, lines end with a line feed only.
//!
//! alloclog has its own writer for two reasons: no library writes null as an empty cell and an empty text as `""` in
//! one file, and a text that a spreadsheet would run as a formula must be neutralised.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use super::Cells;
use super::text::one_line;
use crate::error::{Result, bail};
use crate::time;

/// The characters at which a formula can start: the signs, their full-width forms, and characters that a spreadsheet
/// skips in front of a sign (OWASP, "CSV Injection").
const FORMULA_STARTS: [char; 12] =
    ['=', '+', '-', '@', '\u{FF1D}', '\u{FF0B}', '\u{FF0D}', '\u{FF20}', '\t', '\r', '\n', '\0'];

/// Writes batches as CSV.
///
/// # Errors
/// When a batch is an error or the output cannot be written.
pub fn write(
    mut out: impl Write,
    schema: &SchemaRef,
    cells: Cells,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<()> {
    let header: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    writeln!(out, "{}", header.join(","))?;
    let mut line = String::new();
    for batch in batches {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            line.clear();
            for (i, column) in batch.columns().iter().enumerate() {
                if i > 0 {
                    line.push(',');
                }
                if column.is_valid(row) {
                    cell(column, row, cells, &mut line)?;
                }
            }
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}

fn cell(column: &dyn Array, row: usize, cells: Cells, line: &mut String) -> Result<()> {
    match column.data_type() {
        DataType::Utf8 => text(column.as_string::<i32>().value(row), cells, line),
        DataType::Int64 => write!(line, "{}", column.as_primitive::<Int64Type>().value(row))?,
        DataType::Int32 => write!(line, "{}", column.as_primitive::<Int32Type>().value(row))?,
        DataType::Float64 => write!(line, "{}", column.as_primitive::<Float64Type>().value(row))?,
        DataType::Boolean => write!(line, "{}", column.as_boolean().value(row))?,
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            line.push_str(&time::micros_to_rfc3339(micros).unwrap_or_default());
        }
        DataType::Date32 => line.push_str(&time::day(column.as_primitive::<Date32Type>().value(row))),
        other => bail!("a column of type {other} has no form in CSV; this is a bug in alloclog"),
    }
    Ok(())
}

fn text(text: &str, cells: Cells, line: &mut String) {
    let is_formula = !cells.has_formulas && text.starts_with(FORMULA_STARTS);
    let shown = if cells.is_for_terminal { Cow::Owned(one_line(text)) } else { Cow::Borrowed(text) };
    let text = shown.as_ref();
    let needs_quotes = text.is_empty() || text.contains(['"', ',', '\n', '\r']);
    if needs_quotes {
        line.push('"');
    }
    if is_formula {
        line.push('\'');
    }
    if needs_quotes {
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: Cells = Cells { has_formulas: false, is_for_terminal: false };
    const RAW: Cells = Cells { has_formulas: true, is_for_terminal: false };

    fn written(cells: Cells, given: &str) -> String {
        let mut line = String::new();
        text(given, cells, &mut line);
        line
    }

    #[test]
    fn quotes_what_csv_needs_and_empty_text() {
        for (given, expected) in
            [("", "\"\""), ("plain", "plain"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\"")]
        {
            assert_eq!(written(SAFE, given), expected);
            assert_eq!(written(RAW, given), expected);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for cells in [SAFE, RAW] {
            let shown = Cells { is_for_terminal: true, ..cells };
            assert_eq!(written(shown, "a\x1b]0;b\x07\nc,\u{9b}1m"), "\"a\\u{1b}]0;b\\u{7}\\nc,\\u{9b}1m\"");
        }
        assert_eq!(written(SAFE, "a\x1b"), "a\x1b");
    }

    #[test]
    fn formulas_are_prefixed_for_spreadsheets() {
        for given in ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", "＋1", "－1", "＠SUM(A1)", "\tx", "\r=1", "\n=1", "\0=1"]
        {
            let safe = written(SAFE, given);
            assert!(safe.trim_start_matches('"').starts_with('\''), "{safe:?}");
            assert!(!written(RAW, given).contains('\''));
        }
        assert_eq!(written(SAFE, "a=1"), "a=1");
        assert_eq!(written(SAFE, "a＝1"), "a＝1");
    }
}
