//! `alloclog schema`: documents the tables and their columns.

use std::fmt::Write;

use super::exit::Exit;
use super::help;
use super::print;
use crate::query::dialect::{self, Dialect};
use crate::query::{self, VIEWS};
use crate::tables::Table;
use crate::tables::column::Described;

/// Print the columns of tables: type, unit, meaning, when null
///
/// Without TABLE, prints all tables. Key columns (`*`) form a row's identity. Every column may be null; a timestamp
/// `x_at` is UTC in microseconds and has a companion `x_at_ns`, exact in nanoseconds since the epoch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stored table or view, such as task_events or coverage
    #[arg(value_parser = help::table_names(), hide_possible_values = true)]
    table: Option<String>,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
    /// Print the SQL that registers a lake in another engine
    #[arg(long, value_enum, conflicts_with_all = ["table", "markdown"])]
    dialect: Option<Dialect>,
    /// With --dialect, the location of the lake
    #[arg(long, value_name = "URL", requires = "dialect", default_value = "s3://BUCKET/PREFIX")]
    lake: String,
    /// With --dialect, print only the SQL that recomputes statistics
    ///
    /// Run this SQL on a schedule, on engines where the statistics are tables.
    #[arg(long, requires = "dialect")]
    refresh: bool,
}

/// The beginning of docs/schema.md.
const PREFACE: &str = "\
# Tables

Every table and column. `alloclog schema --markdown > docs/schema.md` writes this page. Key columns make up a row's
identity. Every column may be null, because a value that a document lacks stays missing. A timestamp `x_at` is UTC in
microseconds, cut and not rounded. It has a companion `x_at_ns`, exact in nanoseconds since the epoch.

";

/// A table or view with its documentation.
struct Documented {
    name: &'static str,
    kind: String,
    text: Vec<String>,
    columns: Vec<Described>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(engine) = args.dialect {
        let part = if args.refresh { dialect::StatementKind::Refresh } else { dialect::StatementKind::All };
        return print(dialect::statements(engine, &args.lake, part)?.as_bytes());
    }
    let stored = Table::ALL.into_iter().map(|table| Documented {
        name: table.name(),
        kind: kind("stored table", table.is_exported()),
        text: vec![format!("One row is {}.", table.row_is())],
        columns: table.columns(),
    });
    let mut all: Vec<Documented> = stored.collect();
    for view in VIEWS {
        let head = view.head()?;
        let mut text = vec![head.question, String::new()];
        text.extend(head.definition);
        let kind = kind("view", view.is_exported());
        all.push(Documented { name: view.name, kind, text, columns: head.columns });
    }
    if let Some(wanted) = &args.table {
        all.retain(|d| d.name == wanted);
        if all.is_empty() {
            return Err(query::question::no_table(wanted).into());
        }
    }
    let texts: Vec<String> = all.iter().map(if args.markdown { markdown } else { plain }).collect();
    let preface = if args.markdown && args.table.is_none() { PREFACE } else { "" };
    print((preface.to_owned() + &texts.join("\n")).as_bytes())
}

/// The kind of a table, for its heading.
fn kind(kind: &str, is_exported: bool) -> String {
    if is_exported { format!("{kind}, exported by default") } else { kind.to_owned() }
}

fn plain(d: &Documented) -> String {
    let mut text = format!("{} ({})\n", d.name, d.kind);
    for line in &d.text {
        text.push_str(format!("  {line}").trim_end());
        text.push('\n');
    }
    let width = d.columns.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for c in &d.columns {
        let key = if c.is_key { '*' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} {:width$}  {:9}  {}", c.name, c.kind, c.meaning);
    }
    text
}

fn markdown(d: &Documented) -> String {
    let mut text = format!("## `{}`\n\nA {}. ", d.name, d.kind);
    for line in &d.text {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("\n| column | type | key | meaning |\n|---|---|---|---|\n");
    for c in &d.columns {
        let key = if c.is_key { "yes" } else { "" };
        let _ = writeln!(text, "| `{}` | {} | {key} | {} |", c.name, c.kind, c.meaning.replace('|', "\\|"));
    }
    text
}
