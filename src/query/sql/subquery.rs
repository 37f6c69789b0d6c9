//! Subqueries in expressions. A correlated subquery is joined to the outer rows; any other subquery is computed once.

use polars::prelude::{Expr, LiteralValue, Scalar, col, lit};
use sqlparser::ast::{
    self, BinaryOperator, Distinct, GroupByExpr, Ident, Query, Select as SelectAst, SelectItem, SetExpr,
};

use super::cast::{common, null};
use super::expr::{is_in, negate};
use super::from::{and, conjuncts, names};
use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{Relation, ScopeColumn, SqlType, Typed, aggregate, same_name};
use crate::error::Result;

/// A correlated subquery, divided into its equality keys and the remaining SELECT.
struct Correlated {
    /// Pairs of expressions that must be equal. The first is over the columns of the subquery, the second over the
    /// columns of the outer query.
    keys: Vec<(ast::Expr, ast::Expr)>,
    /// The SELECT of the subquery without these conditions.
    select: SelectAst,
}

impl Select<'_> {
    /// Plans a scalar subquery. Its value is null if it has no row.
    pub fn scalar(&mut self, query: &Query, whole: &ast::Expr) -> Result<Typed> {
        if let Some(correlated) = self.correlated(query)? {
            return self.correlated_scalar(correlated, whole);
        }
        let rows = self.planner.query(query)?;
        let column = one_column(&rows, whole)?;
        let frame = self.planner.collect(rows.frame)?;
        if frame.height() > 1 {
            let runs = self.planner.instead(whole, &format!("(SELECT MAX(x) FROM ({query}) AS t (x))"));
            let problem = format!("{whole} has {} rows where one value is needed", frame.height());
            return Err(refused_with(problem, "aggregate it", Some(runs)));
        }
        let expr = if frame.height() == 0 {
            null(column.kind)
        } else {
            let value = frame.column(&column.id)?.get(0)?.into_static();
            let dtype = frame.column(&column.id)?.dtype().clone();
            Expr::Literal(LiteralValue::Scalar(Scalar::new(dtype, value))).cast(column.kind.dtype())
        };
        Ok(Typed::new(expr, column.kind))
    }

    /// Plans EXISTS.
    pub fn exists(&mut self, query: &Query, negated: bool) -> Result<Typed> {
        match self.correlated(query)? {
            None => {
                let rows = self.planner.query(query)?;
                let frame = self.planner.collect(rows.frame.slice(0, 1))?;
                Ok(Typed::new(lit((frame.height() > 0) != negated), SqlType::Bool))
            }
            Some(correlated) => {
                let mark = self.mark(correlated)?;
                Ok(negate(mark, negated))
            }
        }
    }

    /// Plans IN with a subquery.
    pub fn in_subquery(&mut self, value: &ast::Expr, query: &Query, negated: bool, whole: &ast::Expr) -> Result<Typed> {
        if let Some(mut correlated) = self.correlated(query)? {
            if negated {
                let advice = "write NOT EXISTS with the comparison in its WHERE; it also defines the result for nulls";
                return Err(refused_with(format!("{whole} is not supported"), advice, None));
            }
            let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
                correlated.select.projection.as_slice()
            else {
                return Err(refused(format!("{whole}: the subquery needs one column")));
            };
            correlated.keys.push((item.clone(), value.clone()));
            return Ok(Typed::new(self.mark(correlated)?, SqlType::Bool));
        }
        let rows = self.planner.query(query)?;
        let column = one_column(&rows, whole)?;
        let value = self.expr(value)?;
        let expr_text = whole.to_string();
        let list = Typed::column(&column.id, column.kind);
        let Some(kind) = common(&value, &list) else {
            return Err(refused(format!("{expr_text}: the types are incompatible; CAST one of them")));
        };
        let value = self.coerce(value, kind, &expr_text)?.expr;
        let list = self.coerce(list, kind, &expr_text)?.expr.alias("list");
        let list = self.planner.collect(rows.frame.select([list]))?;
        let list = list.column("list")?.as_materialized_series().unique()?;
        Ok(negate(is_in(value, list), negated))
    }

    /// Adds a column that says whether a row has matches in a subquery.
    fn mark(&mut self, correlated: Correlated) -> Result<Expr> {
        let Correlated { keys, mut select } = correlated;
        if has_groups(&select) {
            return Err(refused("a subquery that groups and names columns outside of it is not supported"));
        }
        select.projection = keys.iter().map(|(own, _)| SelectItem::UnnamedExpr(own.clone())).collect();
        select.distinct = Some(Distinct::Distinct);
        let mark = self.planner.fresh();
        let rows = Select::plan(self.planner, &select, None)?;
        let frame = rows.frame.clone().with_columns([lit(true).alias(mark.clone())]);
        self.attach_rows(frame, &rows.columns, keys.iter().map(|(_, outer)| outer))?;
        Ok(col(mark).is_not_null())
    }

    /// The value of a correlated subquery that aggregates the matches of each row.
    fn correlated_scalar(&mut self, correlated: Correlated, whole: &ast::Expr) -> Result<Typed> {
        let Correlated { keys, mut select } = correlated;
        let item = match select.projection.as_slice() {
            [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] => item.clone(),
            _ => return Err(refused(format!("{whole}: a subquery needs one column here"))),
        };
        let ast::Expr::Function(function) = &item else {
            return Err(refused_with(
                format!("{whole}: a subquery that names columns outside of it has to be one aggregate"),
                "write MAX(…), or join",
                None,
            ));
        };
        let name = function.name.to_string();
        if !aggregate::is_aggregate(&name) || function.over.is_some() || has_groups(&select) {
            return Err(refused_with(
                format!("{whole}: a subquery that names columns outside of it has to be one aggregate"),
                "write MAX(…), or join",
                None,
            ));
        }
        let own: Vec<ast::Expr> = keys.iter().map(|(own, _)| own.clone()).collect();
        select.projection = own.iter().cloned().map(SelectItem::UnnamedExpr).collect();
        select.projection.push(SelectItem::UnnamedExpr(item.clone()));
        select.group_by = GroupByExpr::Expressions(own, Vec::new());
        let mut rows = Select::plan(self.planner, &select, None)?;
        let Some(value) = rows.columns.pop() else { return Err(refused(format!("{whole} has no column"))) };
        self.attach_rows(rows.frame, &rows.columns, keys.iter().map(|(_, outer)| outer))?;
        let expr = col(value.id);
        // COUNT is 0 if there are no matches.
        let counts = name.to_lowercase().starts_with("count");
        Ok(Typed::new(if counts { expr.fill_null(lit(0i64)) } else { expr }, value.kind))
    }

    /// Joins the rows of a subquery on outer expressions. The first columns of the subquery are its keys.
    fn attach_rows<'e>(
        &mut self,
        frame: polars::prelude::LazyFrame,
        columns: &[ScopeColumn],
        outer: impl Iterator<Item = &'e ast::Expr>,
    ) -> Result<()> {
        let (mut frame, mut ours, mut theirs) = (frame, Vec::new(), Vec::new());
        for (column, outer) in columns.iter().zip(outer) {
            let (one, other) = (self.expr(outer)?, Typed::column(&column.id, column.kind));
            let expr_text = outer.to_string();
            let Some(kind) = common(&one, &other) else {
                return Err(refused(format!("{expr_text}: the types are incompatible; CAST one of them")));
            };
            ours.push(self.coerce(one, kind, &expr_text)?.expr);
            let id = self.planner.fresh();
            frame = frame.with_columns([self.coerce(other, kind, &expr_text)?.expr.alias(id.clone())]);
            theirs.push(id);
        }
        self.attach(frame, ours, theirs)
    }

    /// Splits a correlated subquery; `None` if it is not correlated.
    fn correlated(&mut self, query: &Query) -> Result<Option<Correlated>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return Ok(None) };
        let Some(selection) = &select.selection else { return Ok(None) };
        if query.with.is_some() || self.columns.is_empty() {
            return Ok(None);
        }
        let columns = self.planner.from(select)?.columns;
        let has = |columns: &[ScopeColumn], parts: &[Ident]| {
            columns.iter().any(|column| match parts {
                [name] => same_name(&column.name, &name.value),
                [relation, name] => {
                    same_name(&column.relation, &relation.value) && same_name(&column.name, &name.value)
                }
                _ => false,
            })
        };
        let is_own = |parts: &[Ident]| has(&columns, parts) || !has(&self.columns, parts);
        let (mut keys, mut rest): (Vec<(ast::Expr, ast::Expr)>, Vec<ast::Expr>) = (Vec::new(), Vec::new());
        for conjunct in conjuncts(selection) {
            if names(conjunct).iter().all(|parts| is_own(parts)) {
                rest.push(conjunct.clone());
                continue;
            }
            let wrong = || {
                refused_with(
                    format!("{conjunct}: a subquery may compare its columns with columns outside of it only by ="),
                    "join instead of a subquery",
                    None,
                )
            };
            let ast::Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = conjunct else { return Err(wrong()) };
            let is_inner = |expr: &ast::Expr| names(expr).iter().all(|parts| is_own(parts));
            let is_outer = |expr: &ast::Expr| names(expr).iter().all(|parts| !is_own(parts));
            if is_inner(left) && is_outer(right) {
                keys.push((left.as_ref().clone(), right.as_ref().clone()));
            } else if is_inner(right) && is_outer(left) {
                keys.push((right.as_ref().clone(), left.as_ref().clone()));
            } else {
                return Err(wrong());
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        if query.limit_clause.is_some() || query.order_by.is_some() || query.fetch.is_some() {
            return Err(refused_with(
                "ORDER BY and LIMIT in a subquery that names columns outside of it are not supported",
                "write MAX(…), or number the rows with ROW_NUMBER in a common table expression, and join",
                None,
            ));
        }
        let mut select = select.as_ref().clone();
        select.selection = rest.into_iter().reduce(and);
        Ok(Some(Correlated { keys, select }))
    }
}

fn has_groups(select: &SelectAst) -> bool {
    let is_grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
    };
    is_grouped || select.having.is_some() || select.qualify.is_some()
}

fn one_column(rows: &Relation, whole: &ast::Expr) -> Result<ScopeColumn> {
    match rows.columns.as_slice() {
        [column] => Ok(column.clone()),
        _ => Err(refused(format!("{whole}: the subquery needs one column"))),
    }
}
