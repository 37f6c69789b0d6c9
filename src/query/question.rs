//! What a user asks: SQL over the stored tables and views, checked before anything is read.
//!
//! The engine, polars, is known to answer some SQL wrongly without a word. A text in which such a thing stands is
//! refused where the answer would be wrong, and warned about where it may be.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint,
    JoinOperator, ObjectName, Query, Select, Statement, TableFactor, Visit, Visitor, WindowType,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::{VIEWS, View, view};
use crate::error::Refused;
use crate::tables::Table;

/// A question that can be asked.
#[derive(Debug)]
pub struct Question {
    /// Its text.
    pub sql: String,
    /// The stored tables that it names.
    pub tables: BTreeSet<Table>,
    /// The views that it names.
    pub views: Vec<&'static View>,
    /// What may be wrong in its answer.
    pub warnings: Vec<String>,
}

impl Question {
    /// Everything of one table or view.
    pub fn all_of(name: &str) -> Result<Question, Refused> {
        Question::parse(&format!("SELECT * FROM {name}"))
    }

    /// Reads a text of SQL.
    ///
    /// # Errors
    /// When it is not one SELECT over tables that there are, or the engine would answer it wrongly.
    pub fn parse(sql: &str) -> Result<Question, Refused> {
        let statements =
            Parser::parse_sql(&GenericDialect {}, sql).map_err(|e| Refused::because(format!("not SQL: {e}")))?;
        let [statement @ Statement::Query(_)] = statements.as_slice() else {
            return Err(Refused::because("a query is one SELECT, or WITH and one SELECT".into()));
        };
        let mut reading = Reading::default();
        let _ = statement.visit(&mut reading);
        if let Some(problem) = reading.problems.into_iter().next() {
            return Err(problem);
        }
        let mut question = Question {
            sql: sql.trim().trim_end_matches(';').to_owned(),
            tables: BTreeSet::new(),
            views: Vec::new(),
            warnings: reading.warnings.into_iter().collect(),
        };
        for name in reading.relations.difference(&reading.own) {
            match (Table::ALL.into_iter().find(|table| table.name() == name), view(name)) {
                (Some(table), _) => {
                    question.tables.insert(table);
                }
                (None, Some(view)) => question.views.push(view),
                (None, None) => return Err(no_table(name)),
            }
        }
        Ok(question)
    }

    /// The names of the tables and views that it reads, with their columns.
    pub fn known_columns(&self) -> anyhow::Result<Vec<(&'static str, Vec<String>)>> {
        let mut known = Vec::new();
        for table in &self.tables {
            known.push((table.name(), table.columns().into_iter().map(|column| column.name).collect()));
        }
        for view in &self.views {
            known.push((view.name, view.head()?.columns.into_iter().map(|column| column.name).collect()));
        }
        Ok(known)
    }
}

/// All that can be asked by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    Table::ALL.into_iter().map(Table::name).chain(VIEWS.iter().map(|view| view.name))
}

/// The refusal of a name that no table has.
pub fn no_table(name: &str) -> Refused {
    let mut advice = Vec::new();
    if let Some(near) = nearest(name, names()) {
        advice.push(format!("did you mean {near}?"));
    }
    advice.push(format!("tables and views: {}", names().collect::<Vec<_>>().join(", ")));
    Refused { problem: format!("there is no table {name:?}"), advice }
}

/// The name that is most like this one, if any is like it.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = name.to_lowercase();
    let scored = names.map(|known| (strsim::jaro_winkler(&wanted, known), known));
    let (score, nearest) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.8).then_some(nearest)
}

/// What is found while reading a text.
#[derive(Default)]
struct Reading {
    relations: BTreeSet<String>,
    /// The text's own common table expressions.
    own: BTreeSet<String>,
    problems: Vec<Refused>,
    warnings: BTreeSet<String>,
}

impl Reading {
    fn refuse(&mut self, problem: &str, advice: &str) {
        self.problems.push(Refused { problem: problem.to_owned(), advice: vec![advice.to_owned()] });
    }
}

impl Visitor for Reading {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.clone();
            if names().any(|table| table == name) {
                self.refuse(
                    &format!("WITH {name}: there is a table of that name, and the engine would read that one"),
                    "give it another name",
                );
            }
            self.own.insert(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.insert(match relation.0.as_slice() {
            [part] => part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.clone()),
            _ => relation.to_string(),
        });
        ControlFlow::Continue(())
    }

    /// Only a name, a subquery or a join of these can be read: a function in FROM would open files and addresses.
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { lateral: false, .. }
            | TableFactor::NestedJoin { .. } => {}
            _ => self.refuse(
                &format!("FROM {factor}: only tables, views and subqueries can be read"),
                "name a table: SELECT * FROM task_events LIMIT 10",
            ),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let Some(condition) = condition(join).filter(|condition| !compares_columns(condition)) {
                self.refuse(
                    &format!("JOIN … ON {condition}: a condition on one side may be looked up on the other"),
                    "compare columns of both sides in ON, and filter in WHERE or in a common table expression before",
                );
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.window(function),
            Expr::BinaryOp { op: BinaryOperator::Modulo, .. } => {
                let warning = "% of a negative number is floored here (-7 % 3 is 2); most engines give -1";
                self.warnings.insert(warning.to_owned());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Reading {
    fn window(&mut self, function: &Function) {
        let Some(WindowType::WindowSpec(spec)) = &function.over else { return };
        let name = function.name.to_string().to_uppercase();
        if spec.order_by.iter().any(|order| order.options.nulls_first.is_some()) {
            self.refuse(
                &format!("{name} OVER (… NULLS FIRST or LAST): the engine ignores where nulls should stand"),
                "order by COALESCE(column, …), computed in a common table expression before",
            );
        }
        if arguments(function).any(is_aggregate) {
            self.refuse(
                &format!("{name} over an aggregate: the engine gives a wrong total"),
                "aggregate in a common table expression, then use OVER",
            );
        }
        if spec.order_by.is_empty() {
            return;
        }
        let ignores_order =
            ["AVG", "MEAN", "MEDIAN", "STD", "STDDEV", "STDDEV_SAMP", "STDEV", "VAR", "VAR_SAMP", "VARIANCE"];
        if ignores_order.contains(&name.as_str()) {
            self.refuse(
                &format!("{name} OVER (… ORDER BY …): the engine ignores the order"),
                "divide a running SUM by a running COUNT",
            );
        }
        if spec.window_frame.is_none() && ["SUM", "MIN", "MAX", "COUNT"].contains(&name.as_str()) {
            let warning = "OVER (… ORDER BY …) without a frame goes row by row here, also where rows tie; \
                           write ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW over an order without ties";
            self.warnings.insert(warning.to_owned());
        }
    }
}

fn condition(join: &Join) -> Option<&Expr> {
    let constraint = match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint) => constraint,
        _ => return None,
    };
    if let JoinConstraint::On(condition) = constraint { Some(condition) } else { None }
}

/// Whether it is comparisons joined by AND, each with a column on either side.
fn compares_columns(condition: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => compares_columns(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => compares_columns(left) && compares_columns(right),
        Expr::BinaryOp { left, right, .. } => has_column(left) && has_column(right),
        _ => false,
    }
}

fn has_column(expr: &Expr) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Columns).is_break()
}

fn arguments(function: &Function) -> impl Iterator<Item = &Expr> {
    let list = if let FunctionArguments::List(list) = &function.args { list.args.as_slice() } else { &[] };
    list.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    })
}

fn is_aggregate(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = function.name.to_string().to_uppercase();
    function.over.is_none()
        && ["SUM", "COUNT", "MIN", "MAX", "AVG", "MEDIAN", "STDDEV", "VARIANCE"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(sql: &str) -> String {
        Question::parse(sql).map_or_else(|refused| refused.problem, |_| String::new())
    }

    #[test]
    fn tells_which_tables_and_views_are_read() {
        let question =
            Question::parse("WITH x AS (SELECT * FROM restarts) SELECT * FROM x JOIN task_events USING (task);");
        let question = question.unwrap();
        assert_eq!(question.views.iter().map(|view| view.name).collect::<Vec<_>>(), ["restarts"]);
        assert_eq!(question.tables.iter().map(|table| table.name()).collect::<Vec<_>>(), ["task_events"]);
        assert!(question.warnings.is_empty() && !question.sql.ends_with(';'));
    }

    #[test]
    fn suggests_the_table_that_was_meant() {
        let refused = Question::parse("SELECT * FROM restart").unwrap_err();
        assert_eq!(refused.advice[0], "did you mean restarts?");
        let refused = Question::parse("SELECT * FROM zzz").unwrap_err();
        assert!(refused.advice[0].starts_with("tables and views: task_events"));
    }

    #[test]
    fn refuses_what_the_engine_answers_wrongly() {
        for (sql, word) in [
            ("WITH coverage AS (SELECT 1 AS x) SELECT * FROM coverage", "WITH coverage"),
            ("SELECT * FROM restarts a JOIN failures b ON a.task = b.task AND b.gave_up", "JOIN"),
            ("SELECT * FROM restarts a LEFT JOIN failures b ON a.task = b.task AND b.attempt = 1", "JOIN"),
            ("SELECT ROW_NUMBER() OVER (ORDER BY task NULLS LAST) FROM restarts", "NULLS"),
            ("SELECT SUM(COUNT(*)) OVER () FROM restarts GROUP BY task", "over an aggregate"),
            ("SELECT AVG(restarts) OVER (PARTITION BY job_id ORDER BY task) FROM restarts", "ignores the order"),
        ] {
            assert!(problem(sql).contains(word), "{sql}: {:?}", problem(sql));
        }
    }

    #[test]
    fn warns_of_what_the_engine_may_answer_otherwise() {
        let warnings = |sql: &str| Question::parse(sql).unwrap().warnings.len();
        assert_eq!(warnings("SELECT restarts % 2 FROM restarts"), 1);
        assert_eq!(warnings("SELECT SUM(restarts) OVER (ORDER BY task) FROM restarts"), 1);
        let framed = "SELECT SUM(restarts) OVER (ORDER BY task ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) \
                      FROM restarts";
        assert_eq!(warnings(framed), 0);
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
    fn takes_one_select_only() {
        for sql in ["DROP TABLE restarts", "SELECT 1; SELECT 2", "", "SELEC 1", "SELECT * FROM read_csv('x')"] {
            assert!(!problem(sql).is_empty(), "{sql}");
        }
    }
}
