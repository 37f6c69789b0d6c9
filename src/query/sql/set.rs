//! UNION, EXCEPT, INTERSECT and VALUES.

use polars::prelude::{
    DataFrame, Expr, IntoLazy, JoinCoalesce, JoinType, LazyFrame, MaintainOrderJoin, NamedFrom, Series, UnionArgs,
    UniqueKeepStrategy, col, concat,
};
use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier, Values};

use super::cast::{article, common};
use super::refusal::refused;
use super::select::Select;
use super::{Planner, Relation, ScopeColumn, Typed};
use crate::error::Result;

impl Planner {
    /// Plans a query without WITH, ORDER BY and LIMIT.
    pub fn body(&mut self, body: &SetExpr) -> Result<Relation> {
        match body {
            SetExpr::Select(select) => Select::plan(self, select, None),
            SetExpr::Query(query) => self.query(query),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let (left, right) = (self.body(left)?, self.body(right)?);
                let (left, right) = self.side_by_side(left, right, &op.to_string())?;
                let is_all = match set_quantifier {
                    SetQuantifier::All => true,
                    SetQuantifier::None | SetQuantifier::Distinct => false,
                    other => return Err(refused(format!("{op} {other} is not supported"))),
                };
                let frame = match (op, is_all) {
                    (SetOperator::Union, true) => concat([left.frame, right.frame], UnionArgs::default())?,
                    (SetOperator::Union, false) => distinct(concat([left.frame, right.frame], UnionArgs::default())?),
                    (SetOperator::Intersect, false) => matching(left.frame, right.frame, &left.columns, JoinType::Semi),
                    (SetOperator::Except | SetOperator::Minus, false) => {
                        matching(left.frame, right.frame, &left.columns, JoinType::Anti)
                    }
                    _ => return Err(refused(format!("{op} ALL is not supported"))),
                };
                Ok(Relation { frame, columns: left.columns })
            }
            other => Err(refused(format!("{other} is not a SELECT"))),
        }
    }

    /// Aligns two results: both get the names of the left one, and common types.
    fn side_by_side(&mut self, left: Relation, right: Relation, op: &str) -> Result<(Relation, Relation)> {
        if left.columns.len() != right.columns.len() {
            let counts = (left.columns.len(), right.columns.len());
            return Err(refused(format!("{op}: one side has {} columns, the other {}", counts.0, counts.1)));
        }
        let mut columns = Vec::new();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (one, other) in left.columns.iter().zip(&right.columns) {
            let values = (Typed::column(&one.id, one.kind), Typed::column(&other.id, other.kind));
            let Some(kind) = common(&values.0, &values.1) else {
                let kinds = (article(one.kind), article(other.kind));
                return Err(refused(format!("{op}: column {} is {} and {}", one.name, kinds.0, kinds.1)));
            };
            let id = self.fresh();
            let scope = Select::over(self, Vec::new());
            ours.push(scope.coerce(values.0, kind, op)?.expr.alias(id.clone()));
            theirs.push(scope.coerce(values.1, kind, op)?.expr.alias(id.clone()));
            columns.push(ScopeColumn { id, kind, ..one.clone() });
        }
        let right = Relation { frame: right.frame.select(theirs), columns: columns.clone() };
        Ok((Relation { frame: left.frame.select(ours), columns }, right))
    }

    fn values(&mut self, values: &Values) -> Result<Relation> {
        let mut rows = Vec::new();
        for row in &values.rows {
            let mut scope = Select::over(self, Vec::new());
            rows.push(row.iter().map(|expr| scope.expr(expr)).collect::<Result<Vec<_>>>()?);
        }
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 || rows.iter().any(|row| row.len() != width) {
            return Err(refused("VALUES: each row needs the same number of values"));
        }
        let (mut columns, mut kinds) = (Vec::new(), Vec::new());
        for at in 0..width {
            let id = self.fresh();
            let scope = Select::over(self, Vec::new());
            let (exprs, kind) = scope.alike(rows.iter().map(|row| row[at].clone()).collect(), "VALUES")?;
            columns.push(ScopeColumn { relation: String::new(), name: format!("col{at}"), id, kind, is_hidden: false });
            kinds.push(exprs);
        }
        let one = DataFrame::new_infer_height(vec![Series::new("#0".into(), [0i64]).into()])?.lazy();
        let frames = (0..rows.len()).map(|row| {
            let items = columns.iter().zip(&kinds).map(|(column, exprs)| exprs[row].clone().alias(column.id.clone()));
            one.clone().select(items.collect::<Vec<_>>())
        });
        let frame = concat(frames.collect::<Vec<_>>(), UnionArgs::default())?;
        Ok(Relation { frame, columns })
    }
}

fn distinct(frame: LazyFrame) -> LazyFrame {
    frame.unique_stable(None, UniqueKeepStrategy::First)
}

/// The distinct rows of `left` that are in `right` (a semi join), or that are not in `right` (an anti join). Nulls
/// compare equal.
fn matching(left: LazyFrame, right: LazyFrame, columns: &[ScopeColumn], how: JoinType) -> LazyFrame {
    let keys: Vec<Expr> = columns.iter().map(|column| col(column.id.clone())).collect();
    let join = left.join_builder().with(right).how(how).left_on(&keys).right_on(&keys).join_nulls(true);
    distinct(join.coalesce(JoinCoalesce::JoinSpecific).maintain_order(MaintainOrderJoin::Left).finish())
}
