//! A user's query: SQL over the stored tables and views, parsed and checked before anything is read.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, ObjectName, Query, Statement, TableFactor, Value, Visit, Visitor, visit_expressions_mut,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::{VIEWS, View, view};
use crate::error::Refused;
use crate::tables::Table;

/// A parsed and checked query.
#[derive(Debug)]
pub struct Question {
    /// The parsed query.
    pub query: Query,
    /// The stored tables that it reads.
    pub tables: BTreeSet<Table>,
    /// The views that it reads.
    pub views: Vec<&'static View>,
}

/// Parses a single SELECT.
///
/// # Errors
/// When the text is anything else.
pub(super) fn parse(sql: &str) -> Result<Query, Refused> {
    let mut statements =
        Parser::parse_sql(&GenericDialect {}, sql).map_err(|e| Refused::because(format!("not SQL: {e}")))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(mut query)), true) => {
            let _ = visit_expressions_mut(&mut *query, |expr| {
                bind_arrow(expr);
                ControlFlow::<()>::Continue(())
            });
            Ok(*query)
        }
        _ => Err(Refused::because("a query is one SELECT, or WITH and one SELECT".into())),
    }
}

/// Corrects the operand of `->` and `->>`: the parser reads `details->>'a' = 'b'` as `details->>('a' = 'b')`.
fn bind_arrow(expr: &mut Expr) {
    let Expr::BinaryOp { left, op: op @ (BinaryOperator::Arrow | BinaryOperator::LongArrow), right } = expr else {
        return;
    };
    if first_operand(right).is_none() {
        return;
    }
    let json = take(left);
    bind_first(right, json, op.clone());
    *expr = take(right);
}

/// Applies `->` or `->>` with the JSON text to the innermost first operand of an expression.
fn bind_first(expr: &mut Expr, json: Expr, op: BinaryOperator) {
    match first_operand(expr) {
        Some(inner) => bind_first(inner, json, op),
        None => *expr = Expr::BinaryOp { left: Box::new(json), op, right: Box::new(take(expr)) },
    }
}

/// Takes an expression out of the tree, and leaves a null in its place.
fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// The first operand of an infix operator.
fn first_operand(expr: &mut Expr) -> Option<&mut Expr> {
    match expr {
        Expr::BinaryOp { left: inner, .. }
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsDistinctFrom(inner, _)
        | Expr::IsNotDistinctFrom(inner, _)
        | Expr::InList { expr: inner, .. }
        | Expr::InSubquery { expr: inner, .. }
        | Expr::Between { expr: inner, .. }
        | Expr::Like { expr: inner, .. }
        | Expr::ILike { expr: inner, .. }
        | Expr::SimilarTo { expr: inner, .. } => Some(inner),
        _ => None,
    }
}

impl Question {
    /// Selects all rows of a table or view.
    pub fn all_of(name: &str) -> Result<Question, Refused> {
        Question::parse(&format!("SELECT * FROM {name}"))
    }

    /// Parses a query.
    ///
    /// # Errors
    /// When it is not a single SELECT over existing tables.
    pub fn parse(sql: &str) -> Result<Question, Refused> {
        let query = parse(sql).map_err(|refused| refused.with_query(EXAMPLE.to_owned()))?;
        let mut reading = QuestionVisitor::default();
        let _ = query.visit(&mut reading);
        if let Some(problem) = reading.problems.into_iter().next() {
            return Err(problem);
        }
        let mut question = Question { query, tables: BTreeSet::new(), views: Vec::new() };
        for name in &reading.relations {
            // A common table expression may have the same name as a table, and read that table.
            match (Table::ALL.into_iter().find(|table| table.name() == name), view(name)) {
                (Some(table), _) => {
                    question.tables.insert(table);
                }
                (None, Some(view)) => question.views.push(view),
                (None, None) if reading.own.contains(name) => {}
                (None, None) => {
                    let near = nearest(name, names()).unwrap_or("task_events");
                    return Err(no_table(name).with_query(format!("SELECT * FROM {near} LIMIT 10")));
                }
            }
        }
        Ok(question)
    }
}

/// An example of a query, shown in errors.
const EXAMPLE: &str = "SELECT event_type, COUNT(*) AS events FROM task_events GROUP BY event_type";

/// The names of all tables and views.
pub fn names() -> impl Iterator<Item = &'static str> {
    Table::ALL.into_iter().map(Table::name).chain(VIEWS.iter().map(|view| view.name))
}

/// The error for an unknown table.
pub fn no_table(name: &str) -> Refused {
    let near = nearest(name, names()).map(|near| format!("did you mean {near}?"));
    let all = format!("tables and views: {}", names().collect::<Vec<_>>().join(", "));
    Refused { problem: format!("there is no table {name:?}"), advice: near.into_iter().chain([all]).collect() }
}

/// The most similar name, if one is similar enough.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = name.to_lowercase();
    let scored = names.map(|known| (strsim::jaro_winkler(&wanted, known), known));
    let (score, nearest) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.8).then_some(nearest)
}

/// Facts collected from a query.
#[derive(Default)]
struct QuestionVisitor {
    /// Names in FROM, in lower case.
    relations: BTreeSet<String>,
    /// Names of the common table expressions in the query.
    own: BTreeSet<String>,
    problems: Vec<Refused>,
}

impl Visitor for QuestionVisitor {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.to_lowercase());
        self.own.extend(names);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.insert(match relation.0.as_slice() {
            [part] => part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.to_lowercase()),
            _ => relation.to_string(),
        });
        ControlFlow::Continue(())
    }

    /// Allows only a name, a subquery, or a join of these. A table function could open files and URLs.
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { lateral: false, .. }
            | TableFactor::NestedJoin { .. } => {}
            _ => {
                let problem = format!("FROM {factor}: only tables, views and subqueries can be read");
                self.problems.push(Refused::because(problem).with_query(EXAMPLE.to_owned()));
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(sql: &str) -> String {
        Question::parse(sql).map_or_else(|refused| refused.problem, |_| String::new())
    }

    #[test]
    fn finds_the_tables_and_views_that_a_query_reads() {
        let question =
            Question::parse("WITH x AS (SELECT * FROM restarts) SELECT * FROM x JOIN task_events USING (task);");
        let question = question.unwrap();
        assert_eq!(question.views.iter().map(|view| view.name).collect::<Vec<_>>(), ["restarts"]);
        assert_eq!(question.tables.iter().map(|table| table.name()).collect::<Vec<_>>(), ["task_events"]);
    }

    #[test]
    fn suggests_the_table_that_was_meant() {
        let refused = Question::parse("SELECT * FROM restart").unwrap_err();
        assert_eq!(refused.advice[0], "did you mean restarts?");
        let refused = Question::parse("SELECT * FROM zzz").unwrap_err();
        assert!(refused.advice[0].starts_with("tables and views: task_events"));
        assert_eq!(refused.advice[1], "a query that runs: SELECT * FROM task_events LIMIT 10");
    }

    #[test]
    fn an_arrow_binds_to_its_key() {
        for (sql, meant) in [
            ("SELECT d->>'a' = 'b' AND x FROM restarts", "SELECT d ->> 'a' = 'b' AND x FROM restarts"),
            ("SELECT d->>'a' IS NOT NULL FROM restarts", "SELECT d ->> 'a' IS NOT NULL FROM restarts"),
        ] {
            let query = parse(sql).unwrap();
            assert_eq!(query.to_string(), meant);
            let mut operators = Vec::new();
            let _ = sqlparser::ast::visit_expressions(&query, |expr| {
                if let Expr::BinaryOp { op: BinaryOperator::LongArrow, right, .. } = expr {
                    operators.push(right.to_string());
                }
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(operators, ["'a'"], "{sql}");
        }
    }

    #[test]
    fn refuses_functions_in_from() {
        for sql in [
            "SELECT * FROM read_parquet('/x')",
            "WITH read_parquet AS (SELECT 1 AS a) SELECT * FROM read_parquet('/x')",
            "SELECT (SELECT MAX(a) FROM read_csv('/x')) AS a FROM restarts",
            "SELECT * FROM restarts JOIN read_ipc('/x') AS r ON r.task = restarts.task",
            "SELECT * FROM restarts WHERE task IN (SELECT a FROM read_json('/x'))",
            "SELECT * FROM (restarts CROSS JOIN read_parquet('/x') AS r)",
            "SELECT * FROM restarts, LATERAL (SELECT 1 AS a) AS x",
            "SELECT * FROM UNNEST([1, 2]) AS u (a)",
            "SELECT * FROM TABLE(read_parquet('/x'))",
        ] {
            assert!(problem(sql).contains("only tables, views and subqueries"), "{sql}: {}", problem(sql));
        }
    }

    #[test]
    fn accepts_only_one_select() {
        for sql in ["DROP TABLE restarts", "SELECT 1; SELECT 2", "", "SELEC 1", "SELECT * FROM read_csv('x')"] {
            assert!(!problem(sql).is_empty(), "{sql}");
        }
    }
}
