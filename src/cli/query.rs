//! `alloclog query`: prints a table, a view or the result of the user's SQL.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::args::StatisticsArgs;
use super::color;
use super::console::Console;
use super::exit::Exit;
use super::gather::gather;
use super::help;
use super::result_file::{self, ResultTarget};
use super::{fail_if, print, signals};
use crate::error::{Refused, Usage};
use crate::lake::scan::DEFAULT_SPAN;
use crate::pipeline::Pipeline;
use crate::query::{self, Condition, Question, ShortForm, VIEWS};
use crate::render::{self, Cells, Format};
use crate::store::Store;

/// Name of the result in the store. No table or view has this name.
const ANSWER: &str = "answer";

/// Name in the store of the part of the result that is shown.
const SHOWN: &str = "shown";

const EXAMPLES: &str = "\
Examples:
  alloclog query --list                      tables and statistics by name
  alloclog query restarts dumps/
  alloclog query failure_summary dumps/ --by node_name --since 24h
  alloclog query restarts dumps/ --columns job_id,task,restarts,cause_oom
  alloclog query \"SELECT event_type, COUNT(*) AS n FROM task_events
                  GROUP BY event_type\" dumps/
  alloclog query mine.sql dumps/ --format csv -o mine.csv
  alloclog query crash_loops dumps/ --fail-if 'restarts_last_hour > 5'

On a terminal, a view that is queried by its name has a short form: its most
informative columns, with the worst rows first. With --all-columns, or if the
output is not a terminal, all columns are shown, in the row order of the view.
If a result is too wide for the terminal, a few rows are shown vertically. For
more rows, columns in the middle are left out, and a note names them.

SQL is one SELECT, with WITH, joins, groups, windows, subqueries and UNION,
over the stored tables and views; `alloclog schema` lists their columns. It
has DuckDB's semantics, with three exceptions. NOW(), CURRENT_TIMESTAMP and
CURRENT_DATE are the newest observation, so that the same input gives the same
result. SUM and integer arithmetic that overflow a BIGINT are refused. A
result has no columns of lists or intervals. Timestamps `x_at` are UTC;
arithmetic uses their nanoseconds `x_at_ns`, or INTERVAL. Unsupported SQL is
refused, with a query that runs instead. docs/semantics.md has the functions.";

/// Print a table or statistic by name, or the result of an SQL query
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Table, view, SQL, or a file that ends in .sql
    #[arg(value_name = "NAME|SQL|FILE.sql", required_unless_present = "list", value_parser = help::table_names(),
        hide_possible_values = true)]
    query: Option<String>,
    /// List tables and statistics with their meaning
    #[arg(long, exclusive = true)]
    list: bool,
    /// Columns to show, in this order
    ///
    /// By default all columns; on a terminal, the most informative columns of a view.
    #[arg(long, help_heading = "Result", value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// On a terminal, show all columns of a view, in the row order of its SQL
    #[arg(long, help_heading = "Result", conflicts_with = "columns")]
    all_columns: bool,
    /// Output format
    #[arg(long, help_heading = "Result", value_enum, default_value = "table")]
    format: Format,
    /// Write to FILE instead of stdout
    ///
    /// An existing file is replaced once the new one is complete.
    #[arg(short, long, help_heading = "Result", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not prefix CSV cells that look like formulas with '
    #[arg(long, help_heading = "Result")]
    csv_raw: bool,
    /// Exit with 4 if this SQL condition holds for any row; repeatable
    ///
    /// The condition can use the columns of the result.
    #[arg(long, help_heading = "Result", value_name = "CONDITION")]
    fail_if: Vec<String>,
    /// Accept filters and a period that select nothing
    ///
    /// No warning is printed, and --fail-if is evaluated on the empty result.
    #[arg(long, help_heading = "Result")]
    allow_empty: bool,
    #[command(flatten)]
    input: StatisticsArgs,
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
        result_file::refuse_input("-o", file, &sources, query.as_slice())?;
    }
    let (tables, views) = (question.tables.clone(), question.views.clone());
    let wanted = args.input.pipeline(sources)?;
    let pipeline = Pipeline { tables, views, lake_span: Some(DEFAULT_SPAN), ..wanted };
    let output_target = ResultTarget::begin(output)?;
    let store = output_target.store();
    let gathered = gather(&args.input, &pipeline, &store, &console, None)?;
    if !args.allow_empty {
        gathered.expect_something(!conditions.is_empty(), &console)?;
    }
    query::answer(&store, &question, ANSWER)?;
    let schema = render::plain_schema(&store, ANSWER)?;
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    conditions.iter().try_for_each(|condition| condition.check(&columns))?;
    let form = args.form(is_terminal, &columns)?;
    let cells = Cells { has_formulas: args.csv_raw, is_for_terminal: is_terminal };
    let exit = fail_if::judge(&store, conditions.iter().map(|c| (c, ANSWER)), gathered.exit, &console)?;
    let shown = match &form {
        Form::Short(short, _) => Some(short.sql(ANSWER)),
        Form::Columns(columns, _) => Some(format!("SELECT {} FROM {ANSWER}", columns.join(", "))),
        Form::All(_) => None,
    };
    shown.iter().try_for_each(|sql| query::derive(&store, ANSWER, sql, SHOWN))?;
    let name = if shown.is_some() { SHOWN } else { ANSWER };
    output_target.finish(|out| match form.screen() {
        Some(width) => Ok(out.write_all(on_terminal(&store, name, &form, width)?.as_bytes())?),
        None => {
            let schema = render::plain_schema(&store, name)?;
            Ok(render::table(&store, name, &schema, args.format, cells, out).map(drop)?)
        }
    })?;
    Ok(exit)
}

/// The shown columns of a result, and the width of the terminal if they are shown as a table on a terminal.
#[derive(Debug)]
enum Form {
    /// The short form of a view.
    Short(ShortForm, usize),
    /// These columns, quoted.
    Columns(Vec<String>, Option<usize>),
    /// All columns.
    All(Option<usize>),
}

impl Form {
    fn screen(&self) -> Option<usize> {
        match self {
            Form::Short(_, width) => Some(*width),
            Form::Columns(_, width) | Form::All(width) => *width,
        }
    }
}

impl Args {
    /// Selects which columns of a result to show. `columns` are all of its columns.
    fn form(&self, is_terminal: bool, columns: &[&str]) -> anyhow::Result<Form> {
        let screen = (is_terminal && self.format == Format::Table).then(|| color::width(true));
        if !self.columns.is_empty() {
            let known = |name: &String| match columns.iter().find(|column| *column == name) {
                Some(column) => Ok(quoted(column)),
                None => Err(no_column(name, columns)),
            };
            return Ok(Form::Columns(self.columns.iter().map(known).collect::<Result<_, _>>()?, screen));
        }
        let name = self.query.as_deref().unwrap_or_default().trim();
        let is_name = query::question::names().any(|known| known == name);
        match screen.filter(|_| is_name && !self.all_columns) {
            None => Ok(Form::All(screen)),
            Some(width) => Ok(match ShortForm::of(name, &self.input.by) {
                Some(short) => Form::Short(short, width),
                None => Form::Columns(without_twins(columns), screen),
            }),
        }
    }
}

/// Lays out a result for a terminal, with a note about the columns that are not shown.
fn on_terminal(store: &Store, name: &str, form: &Form, width: usize) -> anyhow::Result<String> {
    let fitted = match form {
        Form::Short(short, _) => render::terminal::short(store, name, short.names.len(), width)?,
        _ => render::terminal::whole(store, name, width)?,
    };
    let mut notes = Vec::new();
    if !fitted.left_out.is_empty() {
        notes.push(format!("left out for lack of space: {} (--format csv has all)", fitted.left_out.join(", ")));
    }
    if matches!(form, Form::Short(..)) {
        notes.push("short form; --all-columns shows all columns, --columns NAME,... some".to_owned());
    }
    let notes = notes.iter().flat_map(|note| render::fit::fold(note, width));
    let lines: Vec<String> = fitted.lines.into_iter().chain(notes).map(|line| line + "\n").collect();
    Ok(lines.concat())
}

/// The columns, quoted. Leaves out a column of nanoseconds if the timestamp of the same time is also a column.
fn without_twins(columns: &[&str]) -> Vec<String> {
    let is_twin = |column: &str| column.strip_suffix("_ns").is_some_and(|time| columns.contains(&time));
    columns.iter().filter(|column| !is_twin(column)).map(|column| quoted(column)).collect()
}

/// A name as an SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The error for a column that the result does not have.
fn no_column(name: &str, columns: &[&str]) -> Refused {
    let near = query::question::nearest(name, columns.iter().copied()).map(|near| format!("did you mean {near}?"));
    let all = format!("its columns: {}", columns.join(", "));
    Refused { problem: format!("the result has no column {name:?}"), advice: near.into_iter().chain([all]).collect() }
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
