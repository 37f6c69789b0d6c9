//! Answers a user's SELECT: translates its syntax tree to polars' lazy frames.
//!
//! polars' own SQL front end returns wrong results for some SQL without an error (see docs/design.md). So only the
//! views use it, and tests check their results. In this module, names, types, nulls, groups, windows and joins have
//! DuckDB's semantics; the planner refuses every construct that it does not know. A query can only read the tables
//! that it is given: no function and no name opens a file.
//!
//! One SELECT is planned in phases: FROM and WHERE over rows, then groups, then windows, then the result. Each
//! intermediate value is a column added to the frame.

mod aggregate;
mod cast;
mod compute;
mod expr;
mod from;
mod function;
mod group;
mod like;
mod moment;
mod operator;
mod refusal;
mod select;
mod set;
mod sorted;
mod subquery;
mod text;
mod time;
mod window;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use polars::prelude::{DataFrame, DataType, Expr, IntoLazy, LazyFrame, PlSmallStr, TimeUnit, col};
use sqlparser::ast::{self, Cte, LimitClause, Query, SetExpr, Statement, visit_relations};

use crate::error::{Error, Refused, Result, bail};
pub use aggregate::is_aggregate;
use refusal::{Failures, refused, refused_with};
use select::Select;

/// The types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SqlType {
    /// An untyped NULL.
    Null,
    Bool,
    /// An integer of any width; computed with 64 bits.
    Int,
    Float,
    Text,
    /// Microseconds since 1970, UTC.
    Timestamp,
    Date,
    /// An interval in microseconds, as an integer.
    Span,
}

impl SqlType {
    /// The type of an engine column.
    fn from_dtype(dtype: &DataType) -> Result<SqlType> {
        Ok(match dtype {
            DataType::Null => SqlType::Null,
            DataType::Boolean => SqlType::Bool,
            kind if kind.is_integer() => SqlType::Int,
            kind if kind.is_float() => SqlType::Float,
            DataType::String => SqlType::Text,
            DataType::Datetime(TimeUnit::Microseconds, _) => SqlType::Timestamp,
            DataType::Date => SqlType::Date,
            other => bail!("a column has the type {other}"),
        })
    }

    /// The engine's type for computed values of this type.
    fn dtype(self) -> DataType {
        match self {
            SqlType::Null => DataType::Null,
            SqlType::Bool => DataType::Boolean,
            SqlType::Int | SqlType::Span => DataType::Int64,
            SqlType::Float => DataType::Float64,
            SqlType::Text => DataType::String,
            SqlType::Timestamp => DataType::Datetime(TimeUnit::Microseconds, None),
            SqlType::Date => DataType::Date,
        }
    }

    /// The name of the type in SQL.
    fn name(self) -> &'static str {
        match self {
            SqlType::Null => "NULL",
            SqlType::Bool => "BOOLEAN",
            SqlType::Int => "BIGINT",
            SqlType::Float => "DOUBLE",
            SqlType::Text => "VARCHAR",
            SqlType::Timestamp => "TIMESTAMP",
            SqlType::Date => "DATE",
            SqlType::Span => "INTERVAL",
        }
    }
}

/// The value of a constant, for cases in which it affects planning.
#[derive(Debug, Clone, PartialEq)]
enum Constant {
    Int(i64),
    /// A number with a decimal point. Rounding it moves halves away from zero.
    Decimal(f64),
    Text(String),
    /// Months and microseconds.
    Span(i64, i64),
}

/// An expression with its type.
#[derive(Debug, Clone)]
struct Typed {
    expr: Expr,
    kind: SqlType,
    constant: Option<Constant>,
}

impl Typed {
    fn new(expr: Expr, kind: SqlType) -> Typed {
        Typed { expr, kind, constant: None }
    }

    /// A column of the frame.
    fn column(id: &PlSmallStr, kind: SqlType) -> Typed {
        Typed::new(col(id.clone()), kind)
    }

    /// The text of a constant.
    fn text(&self) -> Option<&str> {
        if let Some(Constant::Text(text)) = &self.constant { Some(text) } else { None }
    }

    /// The value of a constant integer.
    fn int(&self) -> Option<i64> {
        if let Some(Constant::Int(n)) = self.constant { Some(n) } else { None }
    }
}

/// A column that a name can resolve to.
#[derive(Debug, Clone)]
struct ScopeColumn {
    /// The name or alias of the column's table; empty if the table has none.
    relation: String,
    /// The name of the column.
    name: String,
    /// The name of the column in the frame: unique in the whole query.
    id: PlSmallStr,
    kind: SqlType,
    /// True if only a qualified name resolves to this column. With USING, an unqualified name means the column of one
    /// side.
    is_hidden: bool,
}

/// Rows with named columns: a table, a common table expression, the result of a SELECT.
#[derive(Clone)]
struct Relation {
    frame: LazyFrame,
    columns: Vec<ScopeColumn>,
}

/// Plans queries over given tables.
struct Planner {
    tables: BTreeMap<String, LazyFrame>,
    /// The newest trusted observation in microseconds since 1970.
    now: Option<i64>,
    /// Common table expressions in scope, the innermost last.
    ctes: Vec<(String, Rc<Relation>)>,
    next: usize,
    failures: Failures,
    /// The whole query. An error recommends a changed copy of it.
    whole: Query,
}

/// Answers a query over these tables. `now` is the newest trusted observation, in microseconds since 1970.
///
/// # Errors
/// [`Refused`] if the query is not supported or a value cannot be computed. The error suggests another query that runs.
pub fn answer(query: &Query, tables: BTreeMap<String, LazyFrame>, now: Option<i64>) -> Result<DataFrame, Refused> {
    let fallback = fallback(query, &tables);
    let mut planner =
        Planner { tables, now, ctes: Vec::new(), next: 0, failures: Failures::default(), whole: query.clone() };
    // The engine panics in cases that are not foreseen. Turn a panic into an error.
    let answered = catch_unwind(AssertUnwindSafe(|| {
        let rows = planner.query(query)?;
        planner.check_spans(&rows)?;
        let names = unique(rows.columns.iter().map(|column| column.name.clone()));
        let named = rows.columns.iter().zip(&names).map(|(column, name)| {
            let value = col(column.id.clone()).alias(name.as_str());
            // An untyped null cannot be written to a file.
            if column.kind == SqlType::Null { value.cast(DataType::String) } else { value }
        });
        planner.collect(rows.frame.select(named.collect::<Vec<_>>()))
    }));
    let unexpected = || Refused::because("the engine cannot compute this query".to_owned());
    let error = match answered {
        Ok(Ok(frame)) => return Ok(frame),
        Ok(Err(error)) => error.refused().cloned().unwrap_or_else(unexpected),
        Err(_) => unexpected(),
    };
    Err(error.with_query(fallback))
}

/// A query over the first table that the refused query reads. An error message recommends it if it has no better query.
fn fallback(query: &Query, tables: &BTreeMap<String, LazyFrame>) -> String {
    let mut first = None;
    let _ = visit_relations(query, |name| {
        let name = name.to_string().to_lowercase();
        if first.is_none() && tables.contains_key(&name) {
            first = Some(name);
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    format!("SELECT * FROM {} LIMIT 10", first.as_deref().unwrap_or("task_events"))
}

/// Makes names unique, because a file cannot hold two columns with the same name.
fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let mut free = name.clone();
        let mut number = 1;
        while taken.contains(&free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        taken.push(free);
    }
    taken
}

impl Planner {
    /// A unique name for a column of a frame.
    fn fresh(&mut self) -> PlSmallStr {
        self.next += 1;
        format!("#{}", self.next).into()
    }

    /// Adds an expression to `columns` and returns the name of the new column. If the expression is only a column of
    /// the frame, returns the name of that column and adds nothing.
    fn column(&mut self, columns: &mut Vec<Expr>, expr: Expr) -> PlSmallStr {
        if let Expr::Column(id) = &expr
            && id.starts_with('#')
        {
            return id.clone();
        }
        let id = self.fresh();
        columns.push(expr.alias(id.clone()));
        id
    }

    /// Computes a frame.
    fn collect(&self, frame: LazyFrame) -> Result<DataFrame> {
        // An error that an expression of this module raised arrives here as an engine error.
        frame.collect().map_err(|error| self.failures.take().map_or_else(|| error.into(), Error::from))
    }

    /// The whole query with one expression replaced.
    fn instead(&self, old: &ast::Expr, new: &str) -> String {
        let old = old.to_string();
        let mut query = self.whole.clone();
        let _ = ast::visit_expressions_mut(&mut query, |expr| {
            if expr.to_string() == old
                && let Some(new) = parse(new)
            {
                *expr = new;
                return std::ops::ControlFlow::Break(());
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        query.to_string()
    }

    /// Refuses intervals as result columns, because the output formats write them differently.
    fn check_spans(&self, rows: &Relation) -> Result<()> {
        let Some(span) = rows.columns.iter().find(|column| column.kind == SqlType::Span) else { return Ok(()) };
        let problem = format!("column {} is an interval, and output formats write intervals differently", span.name);
        let advice = "subtract the `x_at_ns` columns, which gives nanoseconds, or take seconds";
        let item = match self.whole.body.as_ref() {
            SetExpr::Select(select) => select.projection.iter().find_map(|item| match item {
                ast::SelectItem::UnnamedExpr(expr) if expr.to_string() == span.name => Some(expr),
                ast::SelectItem::ExprWithAlias { expr, alias } if alias.value == span.name => Some(expr),
                _ => None,
            }),
            _ => None,
        };
        let runs = item.map(|expr| self.instead(expr, &format!("EXTRACT(EPOCH FROM ({expr}))")));
        Err(refused_with(problem, advice, runs))
    }

    /// Plans a query with its common table expressions, order and limit.
    fn query(&mut self, query: &Query) -> Result<Relation> {
        let scope = self.ctes.len();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(refused("WITH RECURSIVE is not supported"));
            }
            for cte in &with.cte_tables {
                let rows = self.cte(cte, query)?;
                self.ctes.push((cte.alias.name.value.to_lowercase(), Rc::new(rows)));
            }
        }
        if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties || fetch.percent) {
            return Err(refused("FETCH … WITH TIES and PERCENT are not supported"));
        }
        if !query.locks.is_empty() || query.for_clause.is_some() || !query.pipe_operators.is_empty() {
            return Err(refused("FOR and |> after a query are not supported"));
        }
        let order = query.order_by.as_ref();
        let rows = match query.body.as_ref() {
            SetExpr::Select(select) => Select::plan(self, select, order)?,
            body => {
                let rows = self.body(body)?;
                self.order(rows, order)?
            }
        };
        self.ctes.truncate(scope);
        self.limit(rows, query)
    }

    /// Plans a common table expression. If the query reads it several times, it is computed now, once.
    fn cte(&mut self, cte: &Cte, query: &Query) -> Result<Relation> {
        let mut rows = self.query(&cte.query)?;
        rename(&mut rows, &cte.alias)?;
        let name = cte.alias.name.value.to_lowercase();
        let mut uses = 0;
        let _ = visit_relations(query, |relation| {
            uses += usize::from(relation.to_string().to_lowercase() == name);
            std::ops::ControlFlow::<()>::Continue(())
        });
        if uses > 1 {
            rows.frame = self.collect(rows.frame)?.lazy();
        }
        Ok(rows)
    }

    fn limit(&mut self, rows: Relation, query: &Query) -> Result<Relation> {
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            Some(_) => return Err(refused("LIMIT … BY is not supported")),
        };
        let limit = limit.or(query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref()));
        let number = |expr: Option<&ast::Expr>| match expr {
            None => Ok(None),
            Some(expr) => {
                expr.to_string().parse::<u32>().map(Some).map_err(|_| refused(format!("LIMIT {expr} is not a number")))
            }
        };
        let (limit, offset) = (number(limit)?, number(offset)?);
        if limit.is_none() && offset.is_none() {
            return Ok(rows);
        }
        let frame = rows.frame.slice(i64::from(offset.unwrap_or(0)), limit.unwrap_or(u32::MAX));
        Ok(Relation { frame, columns: rows.columns })
    }
}

/// Applies a table alias to the columns of some rows.
fn rename(rows: &mut Relation, alias: &ast::TableAlias) -> Result<()> {
    if alias.columns.len() > rows.columns.len() {
        return Err(refused(format!("{alias} names more columns than there are")));
    }
    for (column, named) in rows.columns.iter_mut().zip(&alias.columns) {
        column.name.clone_from(&named.name.value);
    }
    for column in &mut rows.columns {
        column.relation.clone_from(&alias.name.value);
        column.is_hidden = false;
    }
    Ok(())
}

/// Parses an expression generated by this module.
fn parse(text: &str) -> Option<ast::Expr> {
    let statements =
        sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::GenericDialect {}, &format!("SELECT {text}")).ok()?;
    let [Statement::Query(query)] = statements.as_slice() else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [ast::SelectItem::UnnamedExpr(expr)] => Some(expr.clone()),
        _ => None,
    }
}

/// Returns true if two names are equal; SQL names are case-insensitive.
fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
