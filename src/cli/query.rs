//! `alloclog query`: a table, a view or the user's own SQL over what the sources hold.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::console::Console;
use super::input::{self, Needs, Place};
use super::{fail_if, interrupt, print, target};
use crate::error::{Exit, Refused, Usage};
use crate::lake::read::USUAL_SPAN;
use crate::query::{self, Condition, Question, VIEWS};
use crate::render::{self, Cells, Format};

/// What the answer is called in the store. No table and no view has this name.
const ANSWER: &str = "answer";

const EXAMPLES: &str = "\
Examples:
  alloclog query --list                                     what can be asked by name
  alloclog query restarts dumps/
  alloclog query failure_summary dumps/ --by node_name --since 24h
  alloclog query \"SELECT event_type, COUNT(*) AS events FROM task_events GROUP BY event_type\" dumps/
  alloclog query mine.sql dumps/ --format csv -o mine.csv
  alloclog query crash_loops dumps/ --fail-if 'restarts_last_hour > 5'   exit code 4 if one loops so fast

SQL is one SELECT, with WITH, joins, groups, windows, subqueries and UNION, over the stored tables and views; `alloclog
schema` names their columns. It means what it means in DuckDB, but for this: NOW(), CURRENT_TIMESTAMP and CURRENT_DATE are the
newest observation, so that the same input gives the same answer; SUM and arithmetic of integers that do not fit a BIGINT are
refused; columns of an answer are no lists and no spans of time. Moments `x_at` are UTC; arithmetic is done on their twins
`x_at_ns`, or with INTERVAL. What is not supported is refused, with a query that runs. docs/semantics.md lists the functions.";

/// Ask for a table or a statistic by name, or with SQL of one's own
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A table or view, SQL, or a file that ends in .sql
    #[arg(value_name = "NAME|SQL|FILE.sql", required_unless_present = "list")]
    query: Option<String>,
    #[command(flatten)]
    input: input::Args,
    /// Say what can be asked by name, and what it means
    #[arg(long, exclusive = true)]
    list: bool,
    /// What to write the answer as
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write to this file instead of standard output; one that exists is replaced when the new one is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not put ' before CSV cells that a spreadsheet would run as a formula
    #[arg(long)]
    csv_raw: bool,
    /// End with exit code 4 if this SQL condition over the answer's columns holds for any row; may be repeated
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
    /// Take filters and a period that select nothing for an answer: do not warn, and judge --fail-if by it
    #[arg(long)]
    allow_empty: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.list {
        return print(list()?.as_bytes());
    }
    let question = question(args.query.as_deref().unwrap_or_default())?;
    let conditions = args.fail_if.iter().map(|text| Condition::bare(text)).collect::<Result<Vec<_>, _>>()?;
    let output = target::file(args.output.as_deref());
    let is_terminal = output.is_none() && io::stdout().is_terminal();
    if args.format.is_binary() && is_terminal {
        return Err(Usage("that format is not for a terminal; use --format csv, or -o FILE".into()).into());
    }
    let inputs = args.input.inputs()?;
    let console = Console::new(args.input.loudness(), &inputs);
    interrupt::listen()?;
    if let Some(file) = output {
        let query = args.query.as_deref().map(Path::new);
        target::refuse_input(file, &inputs, &args.input.reading.lakes(), query.as_slice())?;
    }
    let place = Place::begin(output)?;
    let store = place.store();
    let needs = Needs { tables: question.tables.clone(), views: question.views.clone(), lake_span: Some(USUAL_SPAN) };
    let gathered = args.input.gather(&inputs, &needs, &store, &console, None)?;
    if !args.allow_empty {
        gathered.expect_something(!conditions.is_empty(), &console)?;
    }
    query::ask(&store, &question, ANSWER)?;
    let schema = render::plain_schema(&store, ANSWER)?;
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    conditions.iter().try_for_each(|condition| condition.check(&columns))?;
    let cells = Cells { has_formulas: args.csv_raw, is_for_terminal: is_terminal };
    let exit = fail_if::judge(&store, conditions.iter().map(|c| (c, ANSWER)), gathered.exit, &console)?;
    place.finish(|out| render::table(&store, ANSWER, &schema, args.format, cells, out).map(drop))?;
    Ok(exit)
}

/// What the user asks: a name, a file, or SQL.
fn question(text: &str) -> anyhow::Result<Question> {
    let text = text.trim();
    if query::question::names().any(|name| name == text) {
        return Ok(Question::all_of(text)?);
    }
    if Path::new(text).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql")) {
        let sql = fs::read_to_string(text).with_context(|| format!("{text} cannot be read"))?;
        return Question::parse(&sql).map_err(|refused| {
            Refused { problem: format!("{text}: {}", refused.problem), advice: refused.advice }.into()
        });
    }
    if text.contains(char::is_whitespace) {
        return Ok(Question::parse(text)?);
    }
    let mut refused = query::question::no_table(text);
    if Path::new(text).exists() {
        refused.advice.insert(0, "a query comes before the SOURCE: alloclog query NAME SOURCE".into());
    }
    Err(refused.into())
}

fn list() -> anyhow::Result<String> {
    let mut text = String::new();
    for view in &VIEWS {
        let head = view.head()?;
        text.push_str(&format!("{}: {}\n", view.name, head.question));
        for line in &head.definition {
            text.push_str(format!("  {line}").trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str("Stored tables can be asked for too. `alloclog schema NAME` explains every column.\n");
    Ok(text)
}
