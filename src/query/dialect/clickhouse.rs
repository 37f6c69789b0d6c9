//! The views in ClickHouse's dialect, so that ClickHouse computes the same numbers as other engines.
//!
//! ClickHouse inlines views and common table expressions wherever they are read, so it takes minutes to plan these
//! nested views. Therefore each view becomes a refreshable materialized view: a table that ClickHouse fills every
//! hour, after the tables that it reads.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{self, Tokenizer, TokenizerError};

use crate::error::{Result, bail};
use crate::query::{VIEWS, View};

/// Settings fixed in each view, independent of session and profile. The first three change ClickHouse's defaults to
/// the behaviour of other engines: a name means the column even if the SELECT has an alias with that name; a row
/// without a join partner has nulls; CAST of null is null. The other settings repeat ClickHouse's defaults, because a
/// profile may change them.
const SETTINGS: &str = "prefer_column_name_to_alias = 1, join_use_nulls = 1, cast_keep_nullable = 1, \
                        transform_null_in = 0, join_default_strictness = 'ALL', \
                        count_distinct_implementation = 'uniqExact'";

/// The statement that creates a view.
///
/// # Errors
/// When the header of the view's file cannot be parsed.
pub fn define(view: &'static View) -> Result<String> {
    let mut columns = Vec::new();
    for column in view.head()?.columns {
        columns.push(format!("{} Nullable({})", column.name, kind(column.kind)?));
    }
    let columns = columns.join(", ");
    let others: Vec<&str> = VIEWS.iter().map(|other| other.name).filter(|name| view.reads.contains(name)).collect();
    let after = if others.is_empty() { String::new() } else { format!(" DEPENDS ON {}", others.join(", ")) };
    let select = spell(view.sql.trim_end())?;
    // After a UNION ALL, settings would apply to its last SELECT only.
    Ok(format!(
        "CREATE OR REPLACE MATERIALIZED VIEW {} REFRESH EVERY 1 HOUR{after}\n({columns})\nENGINE = MergeTree ORDER BY \
         tuple() AS\nSELECT * FROM (\n{select}\n)\nSETTINGS {SETTINGS};\n",
        view.name
    ))
}

/// ClickHouse's name of a type.
fn kind(kind: &str) -> Result<&'static str> {
    Ok(match kind {
        "string" => "String",
        "int64" => "Int64",
        "int32" => "Int32",
        "double" => "Float64",
        "bool" => "Bool",
        "timestamp" => "DateTime64(6, 'UTC')",
        "date" => "Date32",
        _ => bail!("no ClickHouse type is defined for {kind:?}"),
    })
}

/// A view's SQL in ClickHouse's dialect:
///
/// - an integer literal becomes a BIGINT, since ClickHouse would pick the smallest type, which is often unsigned;
/// - COUNT becomes a SUM of BIGINTs, since COUNT is unsigned;
/// - LAG and LEAD get a nullable argument, since otherwise the first or last row has 0 instead of null;
/// - `a.x` in a SELECT list gets the name x, since ClickHouse uses that name only if no other table has a column x.
fn spell(sql: &str) -> Result<String, TokenizerError> {
    let mut sql = sql.replace("VARCHAR(10)", "VARCHAR");
    for part in ["dispatch", "periodic"] {
        let split = format!("splitByString('/{part}-', job_id)[1]");
        sql = sql.replace(&format!("SPLIT_PART(job_id, '/{part}-', 1)"), &split);
    }
    let tokens = tokens(&sql)?;
    let at = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    // For each depth of parentheses: true while the loop is in the list of a SELECT.
    let mut in_list = vec![false];
    let mut text = String::with_capacity(2 * sql.len());
    for (index, token) in tokens.iter().enumerate() {
        let word = token.text.as_str();
        match word {
            "(" => in_list.push(false),
            ")" => {
                in_list.pop();
            }
            "SELECT" | "FROM" => {
                in_list.pop();
                in_list.push(word == "SELECT");
            }
            _ => {}
        }
        let (before, after) = (at(index.wrapping_sub(1)), at(index + 1));
        // The name of the function whose first argument is this token.
        let call = if before == "(" { at(index.wrapping_sub(2)) } else { "" };
        let is_listed = in_list.last() == Some(&true)
            && matches!(before, "SELECT" | "DISTINCT" | ",")
            && matches!(after, "," | "FROM");
        text.push_str(&token.space);
        if word == "COUNT" && after == "(" && at(index + 3) == ")" {
            text.push_str("SUM");
        } else if call == "COUNT" && after == ")" {
            text.push_str(&if word == "*" { "toInt64(1)".to_owned() } else { format!("toInt64({word} IS NOT NULL)") });
        } else if matches!(call, "LAG" | "LEAD") {
            text.push_str(&format!("toNullable({word})"));
        } else if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("toInt64({word})"));
        } else if let Some((_, name)) =
            word.split_once('.').filter(|(of, name)| is_listed && is_name(of) && is_name(name))
        {
            text.push_str(&format!("{word} AS {name}"));
        } else {
            text.push_str(word);
        }
    }
    Ok(text)
}

/// Returns true if a token is a name or a keyword.
fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// A name (qualified or not), keyword, number, string or operator, and the white space and comments before it.
struct SqlToken {
    space: String,
    text: String,
}

/// The tokens of a text. Concatenated, they are equal to the text.
fn tokens(sql: &str) -> Result<Vec<SqlToken>, TokenizerError> {
    let mut tokens: Vec<SqlToken> = Vec::new();
    let mut space = String::new();
    for token in Tokenizer::new(&GenericDialect {}, sql).with_unescape(false).tokenize()? {
        let text = token.to_string();
        match tokens.last_mut() {
            _ if matches!(token, tokenizer::Token::Whitespace(_)) => space.push_str(&text),
            Some(name) if space.is_empty() && (text == "." || name.text.ends_with('.')) => name.text.push_str(&text),
            _ => tokens.push(SqlToken { space: std::mem::take(&mut space), text }),
        }
    }
    tokens.push(SqlToken { space, text: String::new() });
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use crate::error::Context;

    use super::*;

    #[test]
    fn every_view_can_be_defined() -> Result<()> {
        for view in VIEWS {
            let begin = format!("CREATE OR REPLACE MATERIALIZED VIEW {} REFRESH EVERY 1 HOUR", view.name);
            let definition = define(view)?;
            assert!(definition.starts_with(&begin) && !definition.contains("AS *"), "{definition}");
        }
        let restarts = crate::query::view("restarts").context("there is a view restarts")?;
        assert!(
            define(restarts)?
                .contains(" DEPENDS ON period, task_states, coverage, restart_log\n(region Nullable(String), ")
        );
        Ok(())
    }

    #[test]
    fn numbers_are_signed_and_names_are_kept_as_written() -> Result<()> {
        assert_eq!(spell("SELECT a.x, b.y AS z FROM t")?, "SELECT a.x AS x, b.y AS z FROM t");
        assert_eq!(
            spell("SELECT f(a.x, 1) AS y FROM t WHERE a.x = 10")?,
            "SELECT f(a.x, toInt64(1)) AS y FROM t WHERE a.x = toInt64(10)"
        );
        assert_eq!(
            spell("SELECT COUNT(*) AS n, COUNT(x) OVER (ORDER BY a.b, a.c) AS m FROM t")?,
            "SELECT SUM(toInt64(1)) AS n, SUM(toInt64(x IS NOT NULL)) OVER (ORDER BY a.b, a.c) AS m FROM t"
        );
        assert_eq!(
            spell("SELECT COUNT(DISTINCT x), LAG(x) OVER (ORDER BY y)")?,
            "SELECT COUNT(DISTINCT x), LAG(toNullable(x)) OVER (ORDER BY y)"
        );
        assert_eq!(
            spell("SELECT CAST(NULL AS VARCHAR(10)) -- 5 's\n, '7 a.b', 0.5")?,
            "SELECT CAST(NULL AS VARCHAR) -- 5 's\n, '7 a.b', 0.5"
        );
        assert_eq!(spell("SELECT a.*, b.x FROM t")?, "SELECT a.*, b.x AS x FROM t");
        assert_eq!(spell("SELECT a.x FROM t GROUP BY a.x, a.y")?, "SELECT a.x AS x FROM t GROUP BY a.x, a.y");
        Ok(())
    }
}
