//! `alloclog query`: prints a table, a view or the result of the user's SQL.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::args::StatisticsArgs;
use super::console::Console;
use super::exit::Exit;
use super::gather::gather;
use super::result_file::{self, ResultTarget};
use super::{fail_if, print, signals};
use crate::error::{Refused, Usage};
use crate::lake::scan::DEFAULT_SPAN;
use crate::pipeline::Pipeline;
use crate::query::{self, Condition, Question, VIEWS};
use crate::render::{self, Cells, Format};

/// Name of the result in the store. No table or view has this name.
const ANSWER: &str = "answer";

const EXAMPLES: &str = "\
Examples:
  alloclog query --list                                     tables and statistics by name
  alloclog query restarts dumps/
  alloclog query failure_summary dumps/ --by node_name --since 24h
  alloclog query \"SELECT event_type, COUNT(*) AS events FROM task_events GROUP BY event_type\" dumps/
  alloclog query mine.sql dumps/ --format csv -o mine.csv
  alloclog query crash_loops dumps/ --fail-if 'restarts_last_hour > 5'   exit code 4 if a task does

SQL is one SELECT, with WITH, joins, groups, windows, subqueries and UNION, over the stored tables
and views; `alloclog schema` lists their columns. It has DuckDB's semantics, except: NOW(),
CURRENT_TIMESTAMP and CURRENT_DATE are the newest observation, so that the same input gives the same
result; SUM and integer arithmetic that overflow a BIGINT are refused; a result has no columns of
lists or intervals. Timestamps `x_at` are UTC; arithmetic uses their nanoseconds `x_at_ns`, or
INTERVAL. Unsupported SQL is refused, with a query that runs instead. docs/semantics.md lists the
functions.";

/// Print a table or statistic by name, or the result of an SQL query
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Table, view, SQL, or a file that ends in .sql
    #[arg(value_name = "NAME|SQL|FILE.sql", required_unless_present = "list")]
    query: Option<String>,
    #[command(flatten)]
    input: StatisticsArgs,
    /// List tables and statistics with their meaning
    #[arg(long, exclusive = true)]
    list: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write to FILE instead of stdout
    ///
    /// An existing file is replaced once the new one is complete.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not prefix CSV cells that look like formulas with '
    #[arg(long)]
    csv_raw: bool,
    /// Exit with 4 if this SQL condition holds for any row; repeatable
    ///
    /// It reads the columns of the result.
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
    /// Accept filters and a period that select nothing
    ///
    /// No warning is printed, and --fail-if is evaluated on the empty result.
    #[arg(long)]
    allow_empty: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.list {
        return print(list()?.as_bytes());
    }
    let question = question(args.query.as_deref().unwrap_or_default())?;
    let conditions = args.fail_if.iter().map(|text| Condition::bare(text)).collect::<Result<Vec<_>, _>>()?;
    let output = result_file::file(args.output.as_deref());
    let is_terminal = output.is_none() && io::stdout().is_terminal();
    if args.format.is_binary() && is_terminal {
        return Err(Usage("this format is binary and stdout is a terminal; use --format csv, or -o FILE".into()).into());
    }
    let sources = args.input.sources()?;
    let console = Console::new(args.input.verbosity(), sources.inputs());
    signals::listen()?;
    if let Some(file) = output {
        let query = args.query.as_deref().map(Path::new);
        result_file::refuse_input(file, &sources, query.as_slice())?;
    }
    let (tables, views) = (question.tables.clone(), question.views.clone());
    let wanted = args.input.pipeline(sources)?;
    let pipeline = Pipeline { tables, views, lake_span: Some(DEFAULT_SPAN), ..wanted };
    let place = ResultTarget::begin(output)?;
    let store = place.store();
    let gathered = gather(&args.input, &pipeline, &store, &console, None)?;
    if !args.allow_empty {
        gathered.expect_something(!conditions.is_empty(), &console)?;
    }
    query::answer(&store, &question, ANSWER)?;
    let schema = render::plain_schema(&store, ANSWER)?;
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    conditions.iter().try_for_each(|condition| condition.check(&columns))?;
    let cells = Cells { has_formulas: args.csv_raw, is_for_terminal: is_terminal };
    let exit = fail_if::judge(&store, conditions.iter().map(|c| (c, ANSWER)), gathered.exit, &console)?;
    place.finish(|out| Ok(render::table(&store, ANSWER, &schema, args.format, cells, out).map(drop)?))?;
    Ok(exit)
}

/// Parses the argument: a name, a file, or SQL.
fn question(text: &str) -> anyhow::Result<Question> {
    let text = text.trim();
    if query::question::names().any(|name| name == text) {
        return Ok(Question::all_of(text)?);
    }
    if Path::new(text).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql")) {
        let sql = fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?;
        return Question::parse(&sql).map_err(|refused| {
            Refused { problem: format!("{text}: {}", refused.problem), advice: refused.advice }.into()
        });
    }
    if text.contains(char::is_whitespace) {
        return Ok(Question::parse(text)?);
    }
    let mut refused = query::question::no_table(text);
    if Path::new(text).exists() {
        refused.advice.insert(0, "the query comes before the SOURCE: alloclog query NAME SOURCE".into());
    }
    Err(refused.into())
}

fn list() -> anyhow::Result<String> {
    let mut text = String::new();
    for view in VIEWS {
        let head = view.head()?;
        text.push_str(&format!("{}: {}\n", view.name, head.question));
        for line in &head.definition {
            text.push_str(format!("  {line}").trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str("Stored tables can be queried, too. `alloclog schema NAME` explains every column.\n");
    Ok(text)
}
