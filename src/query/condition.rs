//! Conditions of `--fail-if` over the columns of a result.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, VisitMut, VisitorMut};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::{GroupBy, View, question, sql, view};
use crate::error::Refused;

/// An SQL expression over the columns of one result.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The text of the condition as the user wrote it.
    pub text: String,
    /// The view that qualifies its columns; `None` if they are unqualified.
    pub view: Option<&'static View>,
    /// The expression with unqualified columns.
    pub sql: String,
    /// The columns that the condition reads.
    pub columns: BTreeSet<String>,
}

impl Condition {
    /// Parses a condition with unqualified columns.
    ///
    /// # Errors
    /// When the text is not an expression, or a column is qualified.
    pub fn bare(text: &str) -> Result<Condition, Refused> {
        let condition = parse(text)?;
        match condition.view {
            None => Ok(condition),
            Some(view) => Err(refuse(text, format!("write columns without {}. here", view.name))),
        }
    }

    /// Parses a condition whose columns are qualified by one view.
    ///
    /// # Errors
    /// When the text is not an expression, a column is unqualified, or the view has no such column.
    pub fn qualified(text: &str, by: &GroupBy) -> Result<Condition, Refused> {
        let condition = parse(text)?;
        let Some(view) = condition.view else {
            return Err(refuse(text, "columns need the statistic as a prefix, such as restarts.lost_restarts".into()));
        };
        let columns = view.columns(by).map_err(|e| refuse(text, e.to_string()))?;
        condition.check(&columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>())?;
        Ok(condition)
    }

    /// Checks that a result with the columns `known` has every column of the condition.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn check(&self, known: &[&str]) -> Result<(), Refused> {
        let Some(missing) = self.columns.iter().find(|column| !known.contains(&column.as_str())) else { return Ok(()) };
        let mut refused = refuse(&self.text, format!("there is no column {missing:?}"));
        if let Some(near) = question::nearest(missing, known.iter().copied()) {
            refused.advice.push(format!("did you mean {near}?"));
        }
        refused.advice.push(format!("columns: {}", known.join(", ")));
        Err(refused)
    }
}

fn refuse(text: &str, problem: String) -> Refused {
    Refused::because(format!("--fail-if '{text}': {problem}"))
}

fn parse(text: &str) -> Result<Condition, Refused> {
    let no_expression = |e: String| refuse(text, format!("not a condition: {e}"));
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(|e| no_expression(e.to_string()))?;
    let mut expr = parser.parse_expr().map_err(|e| no_expression(e.to_string()))?;
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        return Err(no_expression(format!("unexpected {rest} after its end")));
    }
    let mut reading = ConditionVisitor::default();
    let _ = VisitMut::visit(&mut expr, &mut reading);
    if let Some(problem) = reading.problem {
        return Err(refuse(text, problem));
    }
    if reading.columns.is_empty() {
        return Err(refuse(text, "has no column".into()));
    }
    let found = match reading.views.iter().collect::<Vec<_>>().as_slice() {
        [] => None,
        [_] if reading.has_bare => {
            return Err(refuse(text, "some columns have a view as a prefix and some do not".into()));
        }
        [name] => Some(view(name).ok_or_else(|| {
            let mut refused = question::no_table(name);
            refused.problem = format!("--fail-if '{text}': there is no statistic {name:?}");
            refused
        })?),
        _ => return Err(refuse(text, "has columns of several statistics; write one --fail-if for each".into())),
    };
    Ok(Condition { text: text.to_owned(), view: found, sql: expr.to_string(), columns: reading.columns })
}

/// Facts collected from an expression. The visitor also removes the qualifiers of the columns.
#[derive(Default)]
struct ConditionVisitor {
    views: BTreeSet<String>,
    columns: BTreeSet<String>,
    has_bare: bool,
    problem: Option<String>,
}

impl VisitorMut for ConditionVisitor {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.problem = Some("a condition is evaluated on one row and cannot contain SELECT".into());
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(column) => {
                self.has_bare = true;
                self.columns.insert(column.value.clone());
            }
            Expr::CompoundIdentifier(parts) => {
                let [view, column] = parts.as_slice() else {
                    self.problem = Some(format!("{expr} is not a column"));
                    return ControlFlow::Break(());
                };
                self.views.insert(view.value.clone());
                self.columns.insert(column.value.clone());
                *expr = Expr::Identifier(column.clone());
                // Do not visit the new expression as an unqualified column.
                return ControlFlow::Continue(());
            }
            Expr::Function(function) if function.over.is_some() || sql::is_aggregate(&function.name.to_string()) => {
                self.problem = Some(format!(
                    "a condition is evaluated on one row, but {function} needs several; write a query that aggregates: alloclog \
                     query \"SELECT … AS n FROM …\" --fail-if 'n > 0'"
                ));
                return ControlFlow::Break(());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualified_condition_names_its_view() {
        let text = "start_latency.p95_seconds > 60 and start_latency.tasks >= 20";
        let condition = Condition::qualified(text, &GroupBy::default()).unwrap();
        assert_eq!(condition.view.unwrap().name, "start_latency");
        assert_eq!(condition.sql, "p95_seconds > 60 AND tasks >= 20");
        assert_eq!(condition.columns.into_iter().collect::<Vec<_>>(), ["p95_seconds", "tasks"]);
    }

    #[test]
    fn an_invalid_condition_is_explained() {
        for (text, word) in [
            ("lost_restarts > 0", "such as restarts.lost_restarts"),
            ("restarts.lost_restart > 0", "no column \"lost_restart\""),
            ("restart.lost_restarts > 0", "no statistic \"restart\""),
            ("restarts.restarts > 0 and failures.attempt > 1", "several statistics"),
            ("restarts.restarts > (select 1)", "cannot contain SELECT"),
            ("restarts.restarts >", "not a condition"),
            ("restarts.restarts > 1 2", "after its end"),
            ("1 > 0", "has no column"),
            ("SUM(restarts.restarts) > 1", "is evaluated on one row"),
            ("restarts.restarts > avg(restarts.restarts)", "is evaluated on one row"),
            ("ROW_NUMBER() OVER (ORDER BY restarts.restarts) > 1", "is evaluated on one row"),
        ] {
            let refused = Condition::qualified(text, &GroupBy::default()).unwrap_err();
            assert!(refused.problem.contains(word), "{text}: {}", refused.problem);
        }
        assert!(Condition::bare("restarts.restarts > 1").is_err());
        assert_eq!(Condition::bare("restarts > 1e3").unwrap().sql, "restarts > 1e3");
    }
}
