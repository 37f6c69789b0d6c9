//! The views as ClickHouse has to be told of them, so that it gives the numbers that other engines give.
//!
//! ClickHouse puts a view's text into every place that reads it, and likewise a common table expression's. A view over
//! views over views so grows beyond what it plans within minutes. That is why each view is a refreshable materialized
//! one: a table that it fills anew every hour, after those that the view reads.

use anyhow::bail;
use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{self, Tokenizer, TokenizerError};

use crate::query::{By, VIEWS, View, plan};

/// What a view's SELECT asks for, so that neither a session nor a profile decides it. The first three are those in
/// which ClickHouse departs from other engines: a name means the column, even where the same SELECT makes another one
/// of that name; a row without a partner has nulls; CAST of a null is null. The others are its defaults, which a
/// profile may change.
const SETTINGS: &str = "prefer_column_name_to_alias = 1, join_use_nulls = 1, cast_keep_nullable = 1, \
                        transform_null_in = 0, join_default_strictness = 'ALL', \
                        count_distinct_implementation = 'uniqExact'";

/// The statement that makes a view known.
///
/// # Errors
/// When the view's file has not the form that tests hold it to.
pub fn define(view: &'static View) -> anyhow::Result<String> {
    let mut columns = Vec::new();
    for column in view.head()?.columns {
        columns.push(format!("{} Nullable({})", column.name, kind(column.kind)?));
    }
    let columns = columns.join(", ");
    let reads = plan::of(view, &By::default())?.reads;
    let others: Vec<&str> = VIEWS.iter().map(|other| other.name).filter(|&name| reads.contains(name)).collect();
    let after = if others.is_empty() { String::new() } else { format!(" DEPENDS ON {}", others.join(", ")) };
    let select = spell(view.sql.trim_end())?;
    // Settings behind a UNION ALL would be those of its last SELECT alone.
    Ok(format!(
        "CREATE OR REPLACE MATERIALIZED VIEW {} REFRESH EVERY 1 HOUR{after}\n({columns})\nENGINE = MergeTree ORDER BY \
         tuple() AS\nSELECT * FROM (\n{select}\n)\nSETTINGS {SETTINGS};\n",
        view.name
    ))
}

/// ClickHouse's name of a type.
fn kind(kind: &str) -> anyhow::Result<&'static str> {
    Ok(match kind {
        "string" => "String",
        "int64" => "Int64",
        "int32" => "Int32",
        "double" => "Float64",
        "bool" => "Bool",
        "timestamp" => "DateTime64(6, 'UTC')",
        "date" => "Date32",
        _ => bail!("ClickHouse is not told of the type {kind:?}"),
    })
}

/// A view's text as ClickHouse has to read it:
///
/// - a whole number is a BIGINT, not the smallest type that holds it, often one without a sign;
/// - COUNT is a SUM of these, since a count has no sign;
/// - LAG and LEAD get a column that may be null, or the first and last row have 0 and not null;
/// - `a.x` in the list of a SELECT is called x, which ClickHouse only does where no other table has an x.
fn spell(sql: &str) -> Result<String, TokenizerError> {
    let mut sql = sql.replace("VARCHAR(10)", "VARCHAR");
    for part in ["dispatch", "periodic"] {
        let split = format!("splitByString('/{part}-', job_id)[1]");
        sql = sql.replace(&format!("SPLIT_PART(job_id, '/{part}-', 1)"), &split);
    }
    let tokens = tokens(&sql)?;
    let at = |place: usize| tokens.get(place).map_or("", |token| token.text.as_str());
    // Whether the list of a SELECT is being read, at each depth of parentheses.
    let mut in_list = vec![false];
    let mut text = String::with_capacity(2 * sql.len());
    for (place, token) in tokens.iter().enumerate() {
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
        let (before, after) = (at(place.wrapping_sub(1)), at(place + 1));
        // The function whose first argument this is.
        let call = if before == "(" { at(place.wrapping_sub(2)) } else { "" };
        let is_listed = in_list.last() == Some(&true)
            && matches!(before, "SELECT" | "DISTINCT" | ",")
            && matches!(after, "," | "FROM");
        text.push_str(&token.space);
        if word == "COUNT" && after == "(" && at(place + 3) == ")" {
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

/// Whether a token is a name, or a key word.
fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// A name (with its table's), a key word, a number, a string or a sign, and the white space and comments before it.
struct Token {
    space: String,
    text: String,
}

/// The tokens of a text; together they are the text.
fn tokens(sql: &str) -> Result<Vec<Token>, TokenizerError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut space = String::new();
    for token in Tokenizer::new(&GenericDialect {}, sql).with_unescape(false).tokenize()? {
        let text = token.to_string();
        match tokens.last_mut() {
            _ if matches!(token, tokenizer::Token::Whitespace(_)) => space.push_str(&text),
            Some(name) if space.is_empty() && (text == "." || name.text.ends_with('.')) => name.text.push_str(&text),
            _ => tokens.push(Token { space: std::mem::take(&mut space), text }),
        }
    }
    tokens.push(Token { space, text: String::new() });
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn every_view_can_be_defined() -> anyhow::Result<()> {
        for view in &VIEWS {
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
    fn numbers_have_a_sign_and_names_are_what_is_written() -> anyhow::Result<()> {
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
