//! FROM: tables, subqueries and joins.

use polars::prelude::{
    DataFrame, DataType, Expr, IntoLazy, JoinCoalesce, JoinType, LazyFrame, MaintainOrderJoin, NamedFrom, PlSmallStr,
    Series, coalesce, col,
};
use sqlparser::ast::{
    self, Join, JoinConstraint, JoinOperator, Select as SelectAst, TableFactor, TableWithJoins, visit_expressions,
};

use super::cast::common;
use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{Planner, Relation, ScopeColumn, SqlType, rename, same_name};
use crate::error::Result;

/// The unmatched rows that a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    None,
    Left,
    Right,
    Both,
}

impl Planner {
    /// The rows of the FROM clause.
    pub fn from(&mut self, select: &SelectAst) -> Result<Relation> {
        let mut rows: Option<Relation> = None;
        for item in &select.from {
            let next = self.joined(item)?;
            rows = Some(match rows {
                None => next,
                Some(rows) => self.join(rows, next, Keeps::None, &JoinConstraint::None)?,
            });
        }
        match rows {
            Some(rows) => Ok(rows),
            None => {
                // A SELECT without FROM has one row.
                let one = DataFrame::new_infer_height(vec![Series::new("#0".into(), [0i64]).into()])?;
                Ok(Relation { frame: one.lazy(), columns: Vec::new() })
            }
        }
    }

    fn joined(&mut self, item: &TableWithJoins) -> Result<Relation> {
        let mut rows = self.factor(&item.relation)?;
        for join in &item.joins {
            let next = self.factor(&join.relation)?;
            let (keeps, constraint) = kind(join)?;
            rows = self.join(rows, next, keeps, constraint)?;
        }
        Ok(rows)
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<Relation> {
        let (mut rows, alias) = match factor {
            TableFactor::Table { name, alias, args: None, sample: None, .. } => {
                let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
                    return Err(refused(format!("there is no table {name}")));
                };
                (self.table(&ident.value)?, alias)
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let mut rows = self.query(subquery)?;
                rows.columns.iter_mut().for_each(|column| column.relation.clear());
                (rows, alias)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.joined(table_with_joins),
            other => return Err(refused(format!("FROM {other}: only tables, views and subqueries can be read"))),
        };
        if let Some(alias) = alias {
            rename(&mut rows, alias)?;
        }
        Ok(rows)
    }

    /// The rows of a table or common table expression. Columns get new names, because the query may read the table
    /// twice.
    fn table(&mut self, name: &str) -> Result<Relation> {
        let known = self.ctes.iter().rev().find(|(cte, _)| same_name(cte, name)).map(|(_, rows)| rows.clone());
        if let Some(rows) = known {
            let mut columns = Vec::new();
            let mut items = Vec::new();
            for column in &rows.columns {
                let id = self.fresh();
                items.push(col(column.id.clone()).alias(id.clone()));
                columns.push(ScopeColumn { id, relation: name.to_owned(), is_hidden: false, ..column.clone() });
            }
            return Ok(Relation { frame: rows.frame.clone().select(items), columns });
        }
        let Some(mut frame) = self.tables.get(&name.to_lowercase()).cloned() else {
            return Err(refused(format!("there is no table {name:?}")));
        };
        let schema = frame.collect_schema()?;
        let mut columns = Vec::new();
        let mut items = Vec::new();
        for (column, dtype) in schema.iter() {
            let id = self.fresh();
            items.push(col(column.clone()).alias(id.clone()));
            let kind = SqlType::from_dtype(dtype)?;
            let (relation, name) = (name.to_owned(), column.to_string());
            columns.push(ScopeColumn { relation, name, id, kind, is_hidden: false });
        }
        Ok(Relation { frame: frame.select(items), columns })
    }

    fn join(&mut self, left: Relation, right: Relation, keeps: Keeps, constraint: &JoinConstraint) -> Result<Relation> {
        let mut columns: Vec<ScopeColumn> = left.columns.iter().chain(&right.columns).cloned().collect();
        let mut pairs: Vec<(Expr, Expr)> = Vec::new();
        let mut rest: Vec<&ast::Expr> = Vec::new();
        let mut shared: Vec<String> = Vec::new();
        let conjuncts = match constraint {
            JoinConstraint::On(condition) => conjuncts(condition),
            JoinConstraint::Using(names) => {
                shared = names.iter().map(|name| name.to_string()).collect();
                Vec::new()
            }
            JoinConstraint::Natural => {
                let in_both =
                    |column: &&ScopeColumn| right.columns.iter().any(|other| same_name(&other.name, &column.name));
                shared = left.columns.iter().filter(in_both).map(|column| column.name.clone()).collect();
                Vec::new()
            }
            JoinConstraint::None => Vec::new(),
        };
        for conjunct in conjuncts {
            match self.equality(conjunct, &left, &right)? {
                Some(pair) => pairs.push(pair),
                None => rest.push(conjunct),
            }
        }
        for name in &shared {
            let side = |rows: &Relation| {
                let found = rows.columns.iter().find(|column| same_name(&column.name, name) && !column.is_hidden);
                found.cloned().ok_or_else(|| refused(format!("USING ({name}): one side has no such column")))
            };
            let (one, other) = (side(&left)?, side(&right)?);
            pairs.push((wide(&one), wide(&other)));
        }
        let rest = match rest.into_iter().cloned().reduce(and) {
            None => None,
            Some(condition) => {
                let mut scope = Select::over(self, columns.clone());
                Some(scope.condition(&condition)?)
            }
        };
        let frame = self.join_frames(left.frame, right.frame, keeps, pairs, rest, constraint)?;
        let frame = self.share(frame, &shared, &mut columns, left.columns.len(), keeps);
        Ok(Relation { frame, columns })
    }

    /// Keeps one visible column per name in USING: the column of the side whose rows are all kept, or the left column
    /// for an inner join. For FULL JOIN, this is a new column with the value of either side.
    fn share(
        &mut self,
        frame: LazyFrame,
        shared: &[String],
        columns: &mut Vec<ScopeColumn>,
        lefts: usize,
        keeps: Keeps,
    ) -> LazyFrame {
        let mut frame = frame;
        for name in shared {
            let at = |columns: &[ScopeColumn], from: usize, to: usize| {
                (from..to).find(|at| same_name(&columns[*at].name, name) && !columns[*at].is_hidden)
            };
            let (left, right) = (at(columns, 0, lefts), at(columns, lefts, columns.len()));
            let (Some(left), Some(right)) = (left, right) else { continue };
            match keeps {
                Keeps::None | Keeps::Left => columns[right].is_hidden = true,
                Keeps::Right => columns[left].is_hidden = true,
                Keeps::Both => {
                    let id = self.fresh();
                    let both = [col(columns[left].id.clone()), col(columns[right].id.clone())];
                    frame = frame.with_columns([coalesce(&both).alias(id.clone())]);
                    let merged = ScopeColumn { relation: String::new(), id, ..columns[left].clone() };
                    columns[left].is_hidden = true;
                    columns[right].is_hidden = true;
                    columns.push(merged);
                }
            }
        }
        frame
    }

    /// The two sides of a condition `left = right`; `None` for any other condition.
    fn equality(&mut self, conjunct: &ast::Expr, left: &Relation, right: &Relation) -> Result<Option<(Expr, Expr)>> {
        let ast::Expr::BinaryOp { left: one, op: ast::BinaryOperator::Eq, right: other } = conjunct else {
            return Ok(None);
        };
        let (one, other) = if names_only(one, left, right) && names_only(other, right, left) {
            (one, other)
        } else if names_only(one, right, left) && names_only(other, left, right) {
            (other, one)
        } else {
            return Ok(None);
        };
        let one = Select::over(self, left.columns.clone()).expr(one)?;
        let other = Select::over(self, right.columns.clone()).expr(other)?;
        let expr_text = conjunct.to_string();
        let Some(kind) = common(&one, &other) else { return Ok(None) };
        let scope = Select::over(self, Vec::new());
        Ok(Some((scope.coerce(one, kind, &expr_text)?.expr, scope.coerce(other, kind, &expr_text)?.expr)))
    }

    /// Joins two frames on equal keys, and on an additional condition over both.
    fn join_frames(
        &mut self,
        left: LazyFrame,
        right: LazyFrame,
        keeps: Keeps,
        pairs: Vec<(Expr, Expr)>,
        rest: Option<Expr>,
        constraint: &JoinConstraint,
    ) -> Result<LazyFrame> {
        let mut keys = (Vec::new(), Vec::new());
        let (mut left, mut right) = (left, right);
        for (one, other) in pairs {
            let ids = (self.fresh(), self.fresh());
            left = left.with_columns([one.alias(ids.0.clone())]);
            right = right.with_columns([other.alias(ids.1.clone())]);
            keys.0.push(ids.0);
            keys.1.push(ids.1);
        }
        let is_plain = rest.is_none() && !keys.0.is_empty();
        match keeps {
            Keeps::None => {
                let all = pair(left, right, JoinType::Inner, &keys);
                Ok(match rest {
                    None => all,
                    Some(rest) => all.filter(rest),
                })
            }
            Keeps::Left if is_plain => Ok(pair(left, right, JoinType::Left, &keys)),
            Keeps::Right if is_plain => Ok(pair(left, right, JoinType::Right, &keys)),
            Keeps::Both if is_plain => Ok(pair(left, right, JoinType::Full, &keys)),
            Keeps::Left => self.outer(left, right, rest, &keys, true),
            Keeps::Right => self.outer(left, right, rest, &keys, false),
            Keeps::Both => {
                let JoinConstraint::On(condition) = constraint else {
                    return Err(refused("FULL JOIN needs a condition"));
                };
                let problem = format!("FULL JOIN … ON {condition}: only equal columns of both sides can be compared");
                Err(refused_with(problem, "filter in common table expressions before", None))
            }
        }
    }

    /// An outer join on any condition. Computes the matching pairs, and joins them to all rows of the preserved side.
    fn outer(
        &mut self,
        left: LazyFrame,
        right: LazyFrame,
        rest: Option<Expr>,
        keys: &(Vec<PlSmallStr>, Vec<PlSmallStr>),
        keeps_left: bool,
    ) -> Result<LazyFrame> {
        let (number, again) = (self.fresh(), self.fresh());
        let kept = if keeps_left { &left } else { &right };
        let kept = kept.clone().with_row_index(number.clone(), None);
        let mut other = if keeps_left { right.clone() } else { left.clone() };
        let (one, two) = if keeps_left { (kept.clone(), right) } else { (left, kept.clone()) };
        let all = pair(one, two, JoinType::Inner, keys);
        let met = match rest {
            None => all,
            Some(rest) => all.filter(rest),
        };
        let mut items = vec![col(number.clone()).alias(again.clone())];
        items.extend(other.collect_schema()?.iter_names().map(|name| col(name.clone())));
        let on = (vec![number], vec![again]);
        Ok(pair(kept, met.select(items), JoinType::Left, &on))
    }
}

/// Joins two frames on equal keys. Without keys, combines every row of one frame with every row of the other. Keeps the
/// row order of the left side.
pub fn pair(
    left: LazyFrame,
    right: LazyFrame,
    how: JoinType,
    (left_on, right_on): &(Vec<PlSmallStr>, Vec<PlSmallStr>),
) -> LazyFrame {
    if left_on.is_empty() {
        return left.cross_join(right, None);
    }
    let keys = |ids: &[PlSmallStr]| ids.iter().map(|id| col(id.clone())).collect::<Vec<_>>();
    let order = match how {
        JoinType::Right => MaintainOrderJoin::RightLeft,
        _ => MaintainOrderJoin::LeftRight,
    };
    let join = left.join_builder().with(right).how(how).left_on(keys(left_on)).right_on(keys(right_on));
    join.coalesce(JoinCoalesce::KeepColumns).maintain_order(order).finish()
}

fn kind(join: &Join) -> Result<(Keeps, &JoinConstraint)> {
    use JoinOperator as J;
    Ok(match &join.join_operator {
        J::Join(constraint) | J::Inner(constraint) | J::CrossJoin(constraint) => (Keeps::None, constraint),
        J::Left(constraint) | J::LeftOuter(constraint) => (Keeps::Left, constraint),
        J::Right(constraint) | J::RightOuter(constraint) => (Keeps::Right, constraint),
        J::FullOuter(constraint) => (Keeps::Both, constraint),
        _ => return Err(refused(format!("{join} is not supported; write EXISTS or a LEFT JOIN"))),
    })
}

/// The operands of nested ANDs.
pub fn conjuncts(expr: &ast::Expr) -> Vec<&ast::Expr> {
    match expr {
        ast::Expr::Nested(inner) => conjuncts(inner),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        other => vec![other],
    }
}

/// Two conditions joined by AND.
pub fn and(left: ast::Expr, right: ast::Expr) -> ast::Expr {
    let nested = |expr| Box::new(ast::Expr::Nested(Box::new(expr)));
    ast::Expr::BinaryOp { left: nested(left), op: ast::BinaryOperator::And, right: nested(right) }
}

/// Returns true if an expression reads columns, and each of them is a column of `own` and not of `other`.
fn names_only(expr: &ast::Expr, own: &Relation, other: &Relation) -> bool {
    let has = |rows: &Relation, parts: &[ast::Ident]| {
        rows.columns.iter().any(|column| match parts {
            [name] => same_name(&column.name, &name.value),
            [relation, name] => same_name(&column.relation, &relation.value) && same_name(&column.name, &name.value),
            _ => false,
        })
    };
    let (mut owns, mut others) = (0, 0);
    for parts in names(expr) {
        owns += usize::from(has(own, &parts) && !has(other, &parts));
        others += usize::from(!has(own, &parts) || has(other, &parts));
    }
    owns > 0 && others == 0
}

/// The column names in an expression.
pub fn names(expr: &ast::Expr) -> Vec<Vec<ast::Ident>> {
    let mut all = Vec::new();
    let _ = visit_expressions(expr, |expr| {
        match expr {
            ast::Expr::Identifier(name) => all.push(vec![name.clone()]),
            ast::Expr::CompoundIdentifier(parts) => all.push(parts.clone()),
            _ => {}
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    all
}

/// A column as a join key. Integers of any width are converted to 64 bits.
fn wide(column: &ScopeColumn) -> Expr {
    let expr = col(column.id.clone());
    if column.kind == SqlType::Int { expr.cast(DataType::Int64) } else { expr }
}
