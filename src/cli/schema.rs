//! `alloclog schema`: documents the tables and their columns.

use std::fmt::Write;

use super::{ddl, print};
use crate::error::{Exit, Usage};
use crate::query::VIEWS;
use crate::tables::Table;
use crate::tables::column::Described;

/// Print the columns of tables: type, unit, meaning, when null
///
/// Without TABLE, all of them. Key columns (`*`) form a row's identity. Every column may be null; a timestamp `x_at` is
/// UTC in microseconds and has a companion `x_at_ns`, exact in nanoseconds since the epoch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stored table or view, such as task_events or coverage
    table: Option<String>,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
    /// Print the SQL that registers a lake in another engine
    #[arg(long, value_enum, conflicts_with_all = ["table", "markdown"])]
    dialect: Option<ddl::Dialect>,
    /// With --dialect, the location of the lake
    #[arg(long, value_name = "URL", requires = "dialect", default_value = "s3://BUCKET/PREFIX")]
    lake: String,
    /// With --dialect, print only the SQL that recomputes statistics
    ///
    /// For a schedule, on engines where the statistics are tables.
    #[arg(long, requires = "dialect")]
    refresh: bool,
}

/// A table or view with its documentation.
struct Documented {
    name: &'static str,
    kind: &'static str,
    text: Vec<String>,
    columns: Vec<Described>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(dialect) = args.dialect {
        let part = if args.refresh { ddl::Part::Refresh } else { ddl::Part::All };
        return print(ddl::statements(dialect, &args.lake, part)?.as_bytes());
    }
    let mut all = Vec::new();
    for table in Table::ALL {
        let text = vec![format!("One row is {}.", table.row_is())];
        all.push(Documented { name: table.name(), kind: "stored table", text, columns: table.columns() });
    }
    for view in &VIEWS {
        let head = view.head()?;
        let mut text = vec![head.question, String::new()];
        text.extend(head.definition);
        all.push(Documented { name: view.name, kind: "view", text, columns: head.columns });
    }
    if let Some(wanted) = &args.table {
        let names: Vec<&str> = all.iter().map(|d| d.name).collect();
        if !names.contains(&wanted.as_str()) {
            return Err(Usage(format!("there is no table {wanted:?}; there are {}", names.join(", "))).into());
        }
        all.retain(|d| d.name == wanted);
    }
    let texts: Vec<String> = all.iter().map(if args.markdown { markdown } else { plain }).collect();
    print(texts.join("\n").as_bytes())
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
