//! The sources and filters with which a user reads the same input again, for the commands that a report suggests.

use crate::render::text::one_line;

/// The sources and filters of a report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Again {
    /// Flags that select the same rows, with their values.
    pub filters: Vec<(&'static str, String)>,
    /// The sources as given; empty for the cluster of NOMAD_ADDR.
    pub sources: Vec<String>,
}

impl Again {
    /// The command that queries a view. `filter` replaces the same flag of the report. Unless `is_whole`, the word
    /// SOURCE stands for the sources, and the other flags are left out.
    pub fn query(&self, view: &str, filter: Option<&(&'static str, String)>, is_whole: bool) -> String {
        let mut words = vec![format!("alloclog query {view}")];
        let flag = |(flag, value): &(&'static str, String)| format!("{flag} {}", quoted(value));
        if is_whole {
            words.extend(self.sources.iter().map(|source| quoted(source)));
            words.extend(self.filters.iter().filter(|given| Some(given.0) != filter.map(|f| f.0)).map(flag));
        } else if !self.sources.is_empty() {
            words.push("SOURCE".to_owned());
        }
        words.extend(filter.map(flag));
        one_line(&words.join(" "))
    }
}

/// Quotes a text as one word for a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_repeats_the_sources_and_filters() {
        let again = Again {
            filters: vec![("--since", "24h".into()), ("--job", "api*".into())],
            sources: vec!["my dumps/".into(), "it's.json".into()],
        };
        let job = ("--job", "api".to_owned());
        assert_eq!(
            again.query("starts", None, true),
            r"alloclog query starts 'my dumps/' 'it'\''s.json' --since 24h --job 'api*'"
        );
        assert_eq!(
            again.query("starts", Some(&job), true),
            r"alloclog query starts 'my dumps/' 'it'\''s.json' --since 24h --job api"
        );
        assert_eq!(again.query("starts", Some(&job), false), "alloclog query starts SOURCE --job api");
        assert_eq!(Again::default().query("starts", None, false), "alloclog query starts");
    }
}
