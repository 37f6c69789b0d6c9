//! Text functions: parts, replacements, and JSON keys.

use polars::prelude::{lit, when};
use serde_json::Value;
use sqlparser::ast;

use super::cast::null;
use super::compute::{self, OfText};
use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{SqlType, Typed};
use crate::error::Result;

impl Select<'_> {
    /// Returns a text argument that must be constant.
    pub fn constant_text(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> Result<String> {
        let value = self.expr(expr)?;
        let text = value.text().map(str::to_owned);
        text.ok_or_else(|| refused(format!("{whole}: {expr} has to be a constant text")))
    }

    /// The position of a text in another text, from 1; 0 if it is absent.
    pub fn position(&mut self, x: &ast::Expr, part: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let expr_text = whole.to_string();
        let (x, part) = (self.words(x, &expr_text)?, self.words(part, &expr_text)?);
        let found = |text: &str, part: &str| text.find(part).map_or(0, |at| text[..at].chars().count() as i64 + 1);
        Ok(Typed::new(compute::int_of_texts(x, part, found), SqlType::Int))
    }

    /// The characters from a position on. The position counts from 1, or from the end if it is negative.
    pub fn substring(
        &mut self,
        x: &ast::Expr,
        from: &ast::Expr,
        count: Option<&ast::Expr>,
        whole: &ast::Expr,
    ) -> Result<Typed> {
        let expr_text = whole.to_string();
        let mut numbers = vec![self.number_of(from, &expr_text)?];
        if let Some(count) = count {
            numbers.push(self.number_of(count, &expr_text)?);
        }
        let expr = compute::text_of_text_and_ints(self.words(x, &expr_text)?, &numbers, substring);
        Ok(Typed::new(expr, SqlType::Text))
    }

    /// Removes the given characters from the ends; spaces by default.
    pub fn trim(
        &mut self,
        x: &ast::Expr,
        what: Option<&ast::Expr>,
        start: bool,
        end: bool,
        whole: &ast::Expr,
    ) -> Result<Typed> {
        let what: Vec<char> = match what {
            None => vec![' '],
            Some(what) => self.constant_text(what, whole)?.chars().collect(),
        };
        let f = move |text: &str| {
            let text = if start { text.trim_start_matches(what.as_slice()) } else { text };
            Ok(Some(if end { text.trim_end_matches(what.as_slice()) } else { text }.to_owned()))
        };
        let expr = compute::of_text(self.words(x, &whole.to_string())?, OfText::Text(Box::new(f)));
        Ok(Typed::new(expr, SqlType::Text))
    }

    /// Replaces matches of a pattern.
    pub fn regexp_replace(
        &mut self,
        x: &ast::Expr,
        pattern: &ast::Expr,
        new: &ast::Expr,
        is_global: bool,
        whole: &ast::Expr,
    ) -> Result<Typed> {
        let pattern = self.pattern(pattern)?;
        let new = replacement(&self.constant_text(new, whole)?);
        let text = self.words(x, &whole.to_string())?;
        // Put the pattern in a group. Otherwise, if the pattern has no punctuation, the engine takes both the pattern
        // and the replacement literally.
        let (pattern, new) = (lit(format!("(?:{pattern})")), lit(new));
        let text = text.str();
        let expr = if is_global { text.replace_all(pattern, new, false) } else { text.replace(pattern, new, false) };
        Ok(Typed::new(expr, SqlType::Text))
    }

    /// The first match of a pattern, or of a group in it; empty if nothing matches.
    pub fn regexp_extract(
        &mut self,
        x: &ast::Expr,
        pattern: &ast::Expr,
        group: usize,
        whole: &ast::Expr,
    ) -> Result<Typed> {
        let pattern = self.pattern(pattern)?;
        let text = self.words(x, &whole.to_string())?;
        let found = text.clone().str().extract(lit(pattern), group).fill_null(lit(""));
        Ok(Typed::new(when(text.is_null()).then(null(SqlType::Text)).otherwise(found), SqlType::Text))
    }

    /// The value at a key or path of a JSON text: either as text, or as JSON with its quotes.
    pub fn json(&mut self, x: &ast::Expr, path: &ast::Expr, as_text: bool, whole: &ast::Expr) -> Result<Typed> {
        let path = self.constant_text(path, whole)?;
        let Some(keys) = keys(&path) else {
            let runs = self.planner.instead(whole, &format!("JSON_EXTRACT_STRING({x}, '$.exit_code')"));
            return Err(refused_with(
                format!("{whole}: {path} is not a path such as $.key"),
                "name one key",
                Some(runs),
            ));
        };
        let f = move |text: &str| {
            let Ok(mut value) = serde_json::from_str::<Value>(text) else { return Ok(None) };
            for key in &keys {
                let Some(inner) = value.get_mut(key.as_str()).map(Value::take) else { return Ok(None) };
                value = inner;
            }
            Ok(match value {
                Value::Null if as_text => None,
                Value::String(text) if as_text => Some(text),
                other => Some(other.to_string()),
            })
        };
        let text = self.words(x, &whole.to_string())?;
        Ok(Typed::new(compute::of_text(text, OfText::Text(Box::new(f))), SqlType::Text))
    }
}

fn substring(text: &str, numbers: &[i64]) -> String {
    let all = text.chars().count() as i64;
    let from = if numbers[0] < 0 { all.saturating_add(numbers[0]).saturating_add(1) } else { numbers[0] };
    let (mut first, mut end) = (from, all + 1);
    if let Some(count) = numbers.get(1) {
        let other = from.saturating_add(*count);
        (first, end) = (from.min(other), from.max(other));
    }
    let first = first.clamp(1, all + 1);
    let end = end.clamp(first, all + 1);
    text.chars().skip((first - 1) as usize).take((end - first) as usize).collect()
}

/// Translates a replacement to the engine's syntax: `\1` refers to a group, and `$` is an ordinary character.
fn replacement(text: &str) -> String {
    let mut new = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                new.push_str(&format!("${{{digit}}}"));
                chars.next();
            }
            ('\\', Some('\\')) => {
                new.push('\\');
                chars.next();
            }
            ('$', _) => new.push_str("$$"),
            _ => new.push(c),
        }
    }
    new
}

/// The keys of a path: `key`, `$.key`, `$."key".inner` or `/key/inner`.
fn keys(path: &str) -> Option<Vec<String>> {
    if let Some(pointer) = path.strip_prefix('/') {
        return Some(pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect());
    }
    let Some(mut rest) = path.strip_prefix('$') else { return Some(vec![path.to_owned()]) };
    let mut keys = Vec::new();
    while !rest.is_empty() {
        rest = rest.strip_prefix('.')?;
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if key.is_empty() || key.contains(['[', '*']) {
            return None;
        }
        keys.push(key.to_owned());
        rest = after;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substring_counts_from_either_end() {
        for (numbers, part) in [
            (&[-2][..], "lo"),
            (&[-2, 1], "l"),
            (&[0, 2], "h"),
            (&[0], "hello"),
            (&[-10, 7], "he"),
            (&[2, -1], "h"),
            (&[-3, 2], "ll"),
            (&[9], ""),
        ] {
            assert_eq!(substring("hello", numbers), part, "{numbers:?}");
        }
    }

    #[test]
    fn paths_select_keys() {
        assert_eq!(keys("exit_code"), Some(vec!["exit_code".to_owned()]));
        assert_eq!(keys("$.a.\"b.c\""), Some(vec!["a".to_owned(), "b.c".to_owned()]));
        assert_eq!(keys("/a/b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((keys("$[0]"), keys("$.*")), (None, None));
    }

    #[test]
    fn replacements_refer_to_groups_by_backslash() {
        assert_eq!(replacement(r"\2 $1 \\"), r"${2} $$1 \");
    }
}
