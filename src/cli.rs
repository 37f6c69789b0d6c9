//! The command line: one file per command. Data goes to files or stdout, messages to stderr.

mod args;
mod broken_pipe;
mod cluster;
mod color;
mod console;
mod exit;
mod export;
mod fail_if;
mod fetch;
mod gather;
mod help;
mod ingest;
mod lake;
mod metrics;
mod query;
mod redaction;
mod report;
mod result_file;
mod schema;
mod screen;
mod signals;
mod spooling;
mod timeline;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::Exit;

/// Keeps the task-event history that Nomad throws away.
///
/// A Nomad task keeps its last ten events, and finished allocations vanish within hours. alloclog reads allocation JSON
/// from wherever you have it, merges overlapping snapshots into one exact, deduplicated task-event log, says how
/// complete that log is, and computes restart, failure and start-latency statistics.
#[derive(Debug, Parser)]
#[command(name = "alloclog", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some input was
rejected; 4 a --fail-if condition holds. After 1, only `ingest` and `lake` may
have written something; the message says what.";

#[derive(Debug, Subcommand)]
enum Command {
    Report(report::Args),
    Timeline(timeline::Args),
    Export(export::Args),
    Query(query::Args),
    Ingest(ingest::Args),
    Fetch(fetch::Args),
    Lake(lake::Args),
    Schema(schema::Args),
    /// Print a completion script for a shell
    Completions {
        /// Shell to generate the script for
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write all of them
    Man {
        /// Command whose page to print, such as: report, or lake check
        command: Vec<String>,
        /// Write the pages of all commands to DIR
        ///
        /// The files are named alloclog.1, alloclog-report.1 and so on. DIR is created if missing.
        #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
        output: Option<PathBuf>,
    },
}

/// Runs the program with its command-line arguments and returns the exit code.
pub fn main() -> ExitCode {
    let parsed = help::unwrapped(Cli::command()).try_get_matches().and_then(|given| Cli::from_arg_matches(&given));
    let result = match parsed {
        Ok(cli) => run(cli),
        Err(wrong) if wrong.use_stderr() => wrong.exit(),
        Err(help) => print_help(&help),
    };
    let exit = result.unwrap_or_else(|error| {
        // After a signal, the handler removes the temporary files, which may be the cause of this error. In this case,
        // wait here until the handler ends the program.
        signals::with_cleanup_lock(|_| ());
        if broken_pipe::is_reader_closed(&error) {
            return Exit::Done;
        }
        console::write_line("alloclog: ", &format!("{error:#}"));
        for line in exit::refused(&error).iter().flat_map(|refused| &refused.advice) {
            console::write_line("  ", line);
        }
        Exit::from_error(&error)
    });
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Report(args) => report::run(&args),
        Command::Timeline(args) => timeline::run(args),
        Command::Export(args) => export::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Lake(args) => lake::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "alloclog", &mut script);
            print(&script)
        }
        Command::Man { output: Some(directory), .. } => {
            help::write_manual_pages(Cli::command(), &directory)?;
            Ok(Exit::Done)
        }
        Command::Man { command, .. } => print(&help::manual_page(Cli::command(), &command)?),
    }
}

/// Prints the requested help or version.
fn print_help(help: &clap::Error) -> anyhow::Result<Exit> {
    help.print().and_then(|()| io::stdout().flush()).map_err(broken_pipe::mark_reader_closed)?;
    Ok(Exit::Done)
}

fn print(bytes: &[u8]) -> anyhow::Result<Exit> {
    let mut out = broken_pipe::stdout();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(Exit::Done)
}
