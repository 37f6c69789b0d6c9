//! GROUP BY.

use polars::prelude::{Expr, LazyFrame, PlSmallStr, col};
use sqlparser::ast::{
    self, GroupByExpr, OrderBy, Select as SelectAst, SelectItem, Visit, Visitor, visit_expressions_mut,
};

use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{Typed, aggregate, same_name};
use crate::error::Result;

impl Select<'_> {
    /// The grouping expressions; `None` if the SELECT does not group.
    pub fn groups(&self, select: &SelectAst, order: Option<&OrderBy>) -> Result<Option<Vec<ast::Expr>>> {
        let mut has_aggregate = HasAggregate::default();
        let _ = select.projection.visit(&mut has_aggregate);
        let _ = select.having.visit(&mut has_aggregate);
        let _ = select.qualify.visit(&mut has_aggregate);
        if let Some(order) = order {
            let _ = order.visit(&mut has_aggregate);
        }
        let keys: Vec<ast::Expr> = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs.clone(),
            GroupByExpr::All(modifiers) if modifiers.is_empty() => {
                let exprs = select.projection.iter().filter_map(|item| match item {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                    _ => None,
                });
                exprs.filter(|expr| !HasAggregate::is_in(expr)).cloned().collect()
            }
            _ => return Err(refused("GROUP BY … WITH is not supported")),
        };
        if keys.is_empty() && !has_aggregate.found {
            return Ok(None);
        }
        let mut meant = Vec::new();
        for key in keys {
            if matches!(key, ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_)) {
                let advice = "query each grouping separately, and UNION ALL the results";
                return Err(refused_with(format!("GROUP BY {key} is not supported"), advice, None));
            }
            let key = match ordinal(&key) {
                Some(number) => {
                    item_at(select, number).ok_or_else(|| refused(format!("there is no column {number}")))?
                }
                None => key,
            };
            // A name means a column if a column has this name; otherwise it means an alias of the result.
            let key = match &key {
                ast::Expr::Identifier(name) if self.resolve(std::slice::from_ref(name))?.is_none() => {
                    let alias = self.aliases.iter().find(|(alias, _)| same_name(alias, &name.value));
                    alias.map_or_else(|| key.clone(), |(_, meaning)| meaning.clone())
                }
                _ => key,
            };
            meant.push(key);
        }
        Ok(Some(meant))
    }

    /// Adds a column for each grouping expression. From now on, names refer to these columns.
    pub fn begin_groups(&mut self, keys: &[ast::Expr]) -> Result<()> {
        for key in keys {
            let value = self.expr(key)?;
            let id = self.planner.fresh();
            self.before.push(value.expr.alias(id.clone()));
            let canonical = self.canonical(key);
            self.keys.push((canonical, Typed::column(&id, value.kind)));
        }
        self.is_grouped = true;
        Ok(())
    }

    /// The column of a grouping expression; `None` for any other expression.
    pub fn key(&self, expr: &ast::Expr) -> Option<Typed> {
        if self.keys.is_empty() {
            return None;
        }
        let canonical = self.canonical(expr);
        self.keys.iter().find(|(key, _)| *key == canonical).map(|(_, column)| column.clone())
    }

    /// The canonical text of an expression, in which each column always has the same name.
    pub fn canonical(&self, expr: &ast::Expr) -> String {
        let mut expr = expr.clone();
        while let ast::Expr::Nested(inner) = expr {
            expr = *inner;
        }
        let _ = visit_expressions_mut(&mut expr, |expr| {
            let parts = match expr {
                ast::Expr::Identifier(name) => Some(vec![name.clone()]),
                ast::Expr::CompoundIdentifier(parts) => Some(parts.clone()),
                ast::Expr::Function(function) => {
                    for part in &mut function.name.0 {
                        if let ast::ObjectNamePart::Identifier(name) = part {
                            name.value = name.value.to_lowercase();
                        }
                    }
                    None
                }
                _ => None,
            };
            if let Some(parts) = parts
                && let Ok(Some(column)) = self.resolve(&parts)
            {
                *expr = ast::Expr::Identifier(ast::Ident::new(column.id.to_string()));
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        expr.to_string()
    }

    /// Groups the rows; from now on each row is a group.
    pub fn end_groups(&mut self, having: Option<Expr>) -> Result<()> {
        // Add the columns one after the other, because some depend on earlier ones.
        let before = std::mem::take(&mut self.before).into_iter();
        let frame = before.fold(self.frame.clone(), |frame, column| frame.with_columns([column]));
        let keys: Vec<Expr> = self.keys.iter().map(|(_, key)| key.expr.clone()).collect();
        let aggregates = std::mem::take(&mut self.aggregates);
        let mut frame = if keys.is_empty() {
            // An aggregate without GROUP BY gives one row, even if it has no input rows.
            let aggregates = if aggregates.is_empty() { vec![polars::prelude::len().alias("#0")] } else { aggregates };
            frame.select(aggregates)
        } else {
            frame.group_by_stable(keys).agg(aggregates)
        };
        for (rows, ours, theirs) in std::mem::take(&mut self.attached) {
            frame = self.attach_to(frame, rows, ours, theirs);
        }
        if let Some(having) = having {
            let id = self.planner.fresh();
            frame = frame.with_columns([having.alias(id.clone())]).filter(col(id));
        }
        self.frame = frame;
        Ok(())
    }

    /// Joins the columns of a subquery to the frame. At most one row of the subquery matches each row of the frame.
    pub fn attach(&mut self, rows: LazyFrame, ours: Vec<Expr>, theirs: Vec<PlSmallStr>) -> Result<()> {
        if !self.can_attach {
            return Err(refused("a subquery in the condition of a join is not supported; put it in WHERE"));
        }
        if self.is_grouped {
            self.attached.push((rows, ours, theirs));
        } else {
            self.frame = self.attach_to(self.frame.clone(), rows, ours, theirs);
        }
        Ok(())
    }

    fn attach_to(&mut self, frame: LazyFrame, rows: LazyFrame, ours: Vec<Expr>, theirs: Vec<PlSmallStr>) -> LazyFrame {
        let ids: Vec<PlSmallStr> = ours.iter().map(|_| self.planner.fresh()).collect();
        let keys: Vec<Expr> = ours.into_iter().zip(&ids).map(|(key, id)| key.alias(id.clone())).collect();
        super::from::pair(frame.with_columns(keys), rows, polars::prelude::JoinType::Left, &(ids, theirs))
    }
}

/// The position in GROUP BY 1 or ORDER BY 1.
pub fn ordinal(expr: &ast::Expr) -> Option<usize> {
    if let ast::Expr::Value(value) = expr
        && let ast::Value::Number(digits, _) = &value.value
    {
        return digits.parse().ok();
    }
    None
}

fn item_at(select: &SelectAst, number: usize) -> Option<ast::Expr> {
    match select.projection.get(number.checked_sub(1)?)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    }
}

/// Detects aggregates outside of subqueries. Ignores aggregates that are used as window functions.
#[derive(Default)]
struct HasAggregate {
    found: bool,
    depth: usize,
}

impl HasAggregate {
    fn is_in(expr: &ast::Expr) -> bool {
        let mut search = HasAggregate::default();
        let _ = expr.visit(&mut search);
        search.found
    }
}

impl Visitor for HasAggregate {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> std::ops::ControlFlow<()> {
        self.depth += 1;
        std::ops::ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> std::ops::ControlFlow<()> {
        self.depth -= 1;
        std::ops::ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> std::ops::ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && self.depth == 0
            && function.over.is_none()
            && aggregate::is_aggregate(&function.name.to_string())
        {
            self.found = true;
        }
        std::ops::ControlFlow::Continue(())
    }
}
