//! The header of a query file: the question that the view answers, and every column.
//!
//! ```sql
//! -- coverage: is the history of each task complete, and what is missing?
//! --
//! -- One row is one task of one allocation.
//! -- What is counted and what is left out.
//! --
//! -- Exported: yes
//! -- Columns:
//! --   alloc_id        string     allocation ID
//! --   lost_restarts   int64      restarts whose events were lost; null when
//! --                              that is not known
//! ```
//!
//! Before the columns, the header may have these lines, each with `yes`:
//! - `Exported`: `export` writes the view unless `--table` names other tables.
//! - `Grouped`: the rows are groups, by the columns of `--by`. Wherever the SQL names the group columns, it contains
//!   exactly the text [`super::group_by::GROUP`].

use crate::error::{Context, Result, bail};
use crate::tables::column::{Described, KINDS};

/// The lines before the columns that control how the program uses the view.
const FLAGS: [&str; 2] = ["Exported: yes", "Grouped: yes"];

/// Returns true if the header of a query file has this line before its columns.
pub(super) fn says(sql: &str, flag: &str) -> bool {
    comment(sql).map(str::trim).take_while(|line| *line != COLUMNS).any(|line| line == flag)
}

/// The line in front of the columns.
const COLUMNS: &str = "Columns:";

/// The lines of a query file's first comment, without the hyphens.
fn comment(sql: &str) -> impl Iterator<Item = &str> {
    sql.lines().map_while(|line| line.strip_prefix("--"))
}

/// The header of a query file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocHeader {
    /// The question that the view answers.
    pub question: String,
    /// What one row is, what is counted and what is excluded; one element per line.
    pub definition: Vec<String>,
    /// The columns of the view, in order.
    pub columns: Vec<Described>,
}

impl DocHeader {
    /// Parses the header of a query file.
    ///
    /// # Errors
    /// When the header has another form.
    pub fn parse(sql: &str) -> Result<DocHeader> {
        let mut lines = comment(sql);
        let first = lines.next().context("has no header comment")?;
        let (_, question) = first.split_once(": ").context("does not start with `-- name: question`")?;
        let definition: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != COLUMNS).collect();
        let (flags, definition): (Vec<&str>, Vec<&str>) =
            definition.into_iter().partition(|line| line.ends_with(": yes") || line.ends_with(": no"));
        if let Some(unknown) = flags.iter().map(|line| line.trim()).find(|line| !FLAGS.contains(line)) {
            bail!("its head has the line {unknown:?}; allowed are {}", FLAGS.join(" and "));
        }
        let mut columns: Vec<Described> = Vec::new();
        for line in lines.map(str::trim_end).filter(|line| !line.is_empty()) {
            let text = line.trim_start();
            if is_continued(line) {
                let last = columns.last_mut().with_context(|| format!("{text:?} does not continue a column"))?;
                last.meaning.push(' ');
                last.meaning.push_str(text);
                continue;
            }
            let (name, rest) = text.split_once(' ').with_context(|| format!("column {text:?} has no type"))?;
            let (kind, meaning) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
            let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
                bail!("column {name} has the type {kind:?}; the types are {}", KINDS.join(", "));
            };
            columns.push(Described { name: name.into(), kind, meaning: meaning.trim().into(), is_key: false });
        }
        let definition = definition.join("\n");
        Ok(DocHeader {
            question: question.trim().to_owned(),
            definition: joined_items(definition.trim_matches('\n')),
            columns,
        })
    }
}

/// The lines of a definition, without their indentation. A line that continues an item of a list is joined to it.
fn joined_items(definition: &str) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for line in definition.lines() {
        let text = line.trim();
        match joined.last_mut() {
            Some(item) if is_continued(line) => {
                item.push(' ');
                item.push_str(text);
            }
            _ => joined.push(text.to_owned()),
        }
    }
    joined
}

/// Returns true if a line continues the meaning of a column, or an item of a list. Such a line is indented further than
/// a name.
fn is_continued(line: &str) -> bool {
    let text = line.trim_start();
    !text.is_empty() && line.len() - text.len() > 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_question_definition_and_columns() -> Result<()> {
        let head = DocHeader::parse(
            "-- v: what is it?\n--\n-- One row is one.\n--   a    one\n--        thing\n-- More.\n--\n-- Exported: yes\n-- Columns:\n--   a_at   timestamp   when; null\n\
             --                      for never\n--   b      int64   count\n\nSELECT 1 -- x\n",
        )?;
        assert_eq!(head.question, "what is it?");
        assert_eq!(head.definition, ["One row is one.", "a    one thing", "More."]);
        let columns: Vec<_> = head.columns.iter().map(|c| (c.name.as_str(), c.kind, c.meaning.as_str())).collect();
        assert_eq!(columns, [("a_at", "timestamp", "when; null for never"), ("b", "int64", "count")]);
        Ok(())
    }

    #[test]
    fn flags_are_only_in_the_head() {
        let sql =
            "-- v: q?\n--\n-- Exported: yes\n-- Columns:\n--   a   int64   Grouped: yes\n\n-- Grouped: yes\nSELECT 1";
        assert!(says(sql, "Exported: yes") && !says(sql, "Grouped: yes"));
        assert!(DocHeader::parse("-- v: q?\n-- Exported: no\n-- Columns:\n").is_err());
    }

    #[test]
    fn refuses_a_type_that_no_table_has() {
        assert!(DocHeader::parse("-- v: q?\n-- Columns:\n--   a   float   x\n").is_err());
        assert!(DocHeader::parse("SELECT 1").is_err());
    }
}
