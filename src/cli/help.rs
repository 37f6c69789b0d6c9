//! Help texts, manual pages and completions of the command line.
//!
//! clap wraps the text after the options at the width of the terminal, which breaks examples. This module prints it
//! unchanged.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::builder::{PossibleValue, Resettable, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use clap_mangen::Man;

use crate::error::Usage;
use crate::query;

/// clap's own template without the text after the options.
const TEMPLATE: &str = "{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}";

/// The command and its subcommands, with the texts after their options unwrapped.
pub fn unwrapped(command: Command) -> Command {
    let text = command.get_after_help().map(ToString::to_string);
    let command = command.mut_subcommands(unwrapped);
    match text {
        Some(text) => command.help_template(format!("{TEMPLATE}\n\n{text}")),
        None => command,
    }
}

/// The manual page of a subcommand; `words` are its name, such as `lake compact`.
///
/// # Errors
/// When no subcommand has this name.
pub fn manual_page(command: Command, words: &[String]) -> anyhow::Result<Vec<u8>> {
    // Without this, the page refers to a manual page of `help`, which is not written.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut found = &command;
    for word in words {
        let known = || found.get_subcommands().map(Command::get_name).collect::<Vec<_>>().join(", ");
        found = found.find_subcommand(word).ok_or_else(|| match known().as_str() {
            "" => Usage(format!("{} has no subcommands", found.get_name())),
            known => Usage(format!("no command is called {word:?}; the commands are {known}")),
        })?;
    }
    page(found.clone())
}

/// Writes the manual pages of the command and of all its subcommands to a directory, each under its name.
///
/// # Errors
/// When a file cannot be written.
pub fn write_manual_pages(command: Command, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    // Without this, the page refers to a manual page of `help`, which is not written.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().cloned());
        let file = directory.join(Man::new(command.clone()).get_filename());
        fs::write(&file, page(command)?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A manual page in which each line of the examples stays a separate line.
fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let text = command.get_after_help().map(ToString::to_string);
    let mut page = Vec::new();
    Man::new(command.after_help(Resettable::Reset)).render(&mut page)?;
    if let Some(text) = text {
        let (title, text) = match text.split_once(":\n") {
            Some(("Examples", examples)) => ("EXAMPLES", examples),
            _ => ("NOTES", text.as_str()),
        };
        let lines: Vec<String> = text.lines().map(roff).collect();
        page.extend(format!(".SH {title}\n.nf\n{}\n.fi\n", lines.join("\n")).into_bytes());
    }
    Ok(page)
}

/// A line of text in a manual page.
fn roff(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

/// A value parser that accepts what `parser` accepts, and lists values that a shell can complete.
#[derive(Debug, Clone)]
pub struct Completed<P> {
    parser: P,
    values: Vec<&'static str>,
}

/// Adds values for completion to `parser`, which still decides what is accepted.
pub fn completed<P: TypedValueParser>(
    parser: P,
    values: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = P::Value> {
    Completed { parser, values: values.into_iter().collect() }
}

/// A text, completed by the names of tables and views.
pub fn table_names() -> impl TypedValueParser<Value = String> {
    completed(StringValueParser::new(), query::question::names())
}

impl<P: TypedValueParser> TypedValueParser for Completed<P> {
    type Value = P::Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<P::Value, clap::Error> {
        self.parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.values.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use console::measure_text_width;

    use super::*;
    use crate::cli::Cli;

    fn all() -> Vec<Command> {
        let mut command = Cli::command();
        command.build();
        let (mut left, mut all) = (vec![command], Vec::new());
        while let Some(command) = left.pop() {
            left.extend(command.get_subcommands().cloned());
            all.push(command);
        }
        all
    }

    #[test]
    fn texts_after_the_options_fit_eighty_columns_and_are_no_templates() {
        for command in all() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                assert!(measure_text_width(line) <= 80, "{}: {line}", command.get_name());
                assert!(!line.contains(['{', '}']), "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn help_at_any_width_has_the_examples_as_they_are_written() {
        for command in all() {
            let Some(text) = command.get_after_help().map(ToString::to_string) else { continue };
            let help = unwrapped(command.clone()).term_width(40).render_help().to_string();
            assert!(help.ends_with(&format!("\n\n{}\n", text.trim_end())), "{}: {help}", command.get_name());
        }
    }

    #[test]
    fn selection_comes_before_the_connection() {
        for name in ["report", "query", "export"] {
            let mut command = Cli::command();
            let help =
                command.find_subcommand_mut(name).map(|found| found.render_help().to_string()).unwrap_or_default();
            let place =
                |flag: &str| help.find(&format!(" {flag} ")).unwrap_or_else(|| panic!("{name}: {flag}\n{help}"));
            let places = ["--since", "--by", "--job", "--format", "--observed-at", "--address"].map(place);
            assert!(places.is_sorted(), "{name}: {places:?}");
        }
    }

    #[test]
    fn every_page_that_a_manual_page_refers_to_exists() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        write_manual_pages(Cli::command(), directory.path())?;
        let mut references = 0;
        for entry in fs::read_dir(directory.path())? {
            let text = fs::read_to_string(entry?.path())?.replace("\\-", "-");
            for (before, _) in text.match_indices("(1)").map(|(at, _)| text.split_at(at)) {
                let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
                assert!(directory.path().join(format!("{name}.1")).is_file(), "{name}(1)");
                references += 1;
            }
        }
        assert!(references > 12, "{references}");
        Ok(())
    }

    #[test]
    fn a_line_of_a_manual_page_is_not_a_request() {
        assert_eq!(roff(".x -o C:\\dir"), "\\&.x \\-o C:\\edir");
    }
}
