//! LIKE, ILIKE and regular expressions.

use polars::prelude::{DataFrame, IntoLazy, NamedFrom, Series, lit};
use sqlparser::ast;

use super::Typed;
use super::compute::{self, OfText};
use super::expr::negate;
use super::refusal::refused;
use super::select::Select;
use crate::error::Result;

impl Select<'_> {
    /// Plans LIKE and ILIKE.
    pub fn like(
        &mut self,
        inner: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
        ignores_case: bool,
        whole: &ast::Expr,
    ) -> Result<Typed> {
        let expr_text = whole.to_string();
        let value = self.expr(inner)?;
        let value = self.text(value, &expr_text)?;
        let escape = escape.and_then(|value| value.value.clone().into_string()).and_then(|text| text.chars().next());
        let fold = move |text: &str| if ignores_case { text.to_lowercase() } else { text.to_owned() };
        let pattern = self.expr(pattern)?;
        let found = match pattern.text() {
            Some(pattern) => {
                let pattern = Pattern::new(&fold(pattern), escape);
                compute::of_text(value, OfText::Bool(Box::new(move |text| Ok(Some(pattern.matches(&fold(text)))))))
            }
            None => {
                let pattern = self.text(pattern, &expr_text)?;
                let matches = move |text: &str, pattern: &str| {
                    i64::from(Pattern::new(&fold(pattern), escape).matches(&fold(text)))
                };
                compute::int_of_texts(value, pattern, matches).eq(lit(1i64))
            }
        };
        Ok(negate(found, negated))
    }

    /// A constant regular expression.
    pub fn pattern(&mut self, expr: &ast::Expr) -> Result<String> {
        let value = self.expr(expr)?;
        let Some(pattern) = value.text() else {
            return Err(refused(format!("the pattern {expr} must be a constant text")));
        };
        let probe = DataFrame::new_infer_height(vec![Series::new("t".into(), [""]).into()])?.lazy();
        let probe = probe.select([polars::prelude::col("t").str().contains(lit(pattern), true)]);
        if probe.collect().is_err() {
            return Err(refused(format!("{expr} is not a regular expression")));
        }
        Ok(pattern.to_owned())
    }
}

/// A LIKE pattern.
struct Pattern(Vec<PatternPart>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum PatternPart {
    /// `%`
    Any,
    /// `_`
    One,
    Char(char),
}

impl Pattern {
    fn new(pattern: &str, escape: Option<char>) -> Pattern {
        let mut parts = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                c if Some(c) == escape => PatternPart::Char(chars.next().unwrap_or(c)),
                '%' => PatternPart::Any,
                '_' => PatternPart::One,
                c => PatternPart::Char(c),
            });
        }
        Pattern(parts)
    }

    /// Returns true if the whole text matches.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // The positions in the text and the pattern to backtrack to. From there, the last % takes one more character.
        let mut back: Option<(usize, usize)> = None;
        loop {
            match self.0.get(part) {
                Some(PatternPart::Any) => {
                    back = Some((at, part));
                    part += 1;
                    continue;
                }
                Some(PatternPart::One) if at < text.len() => {
                    at += 1;
                    part += 1;
                    continue;
                }
                Some(PatternPart::Char(c)) if text.get(at) == Some(c) => {
                    at += 1;
                    part += 1;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match back {
                Some((from, any)) if from < text.len() => {
                    back = Some((from + 1, any));
                    at = from + 1;
                    part = any + 1;
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_whole_texts() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern, Some('!')).matches(text);
        assert!(matches("a%c", "abbc") && matches("%", "") && matches("_ä", "xä") && matches("%a%b", "xaxbab"));
        assert!(matches("100!%", "100%") && !matches("100!%", "1000") && !matches("a", "ab") && !matches("_", ""));
    }
}
