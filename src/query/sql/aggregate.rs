//! Aggregates over groups.

use polars::prelude::{
    DataType, Expr, Operator, PlSmallStr, QuantileMethod, RoundMode, SortOptions, as_struct, binary_expr, col, len,
    lit, pearson_corr, when,
};
use sqlparser::ast::{
    self, DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    OrderByExpr,
};

use super::cast::{article, null};
use super::compute;
use super::function::arguments;
use super::refusal::{Check, refused, refused_with};
use super::select::{Select, order_by, sort_options};
use super::{Constant, SqlType, Typed};
use crate::error::{Refused, Result};

/// The names of the aggregates.
pub const NAMES: &str = "\
    any_value approx_count_distinct arg_max arg_min array_agg avg bool_and bool_or corr count count_if countif \
    every first group_concat last list listagg max max_by mean median min min_by mode percentile_cont \
    percentile_disc quantile quantile_cont quantile_disc stddev stddev_pop stddev_samp string_agg sum var_pop \
    var_samp variance variance_samp";

/// Returns true if a function is an aggregate.
pub fn is_aggregate(name: &str) -> bool {
    let name = name.to_lowercase();
    NAMES.split_whitespace().any(|known| known == name)
}

/// The base for splitting integers into halves: the sums of both halves fit 64 bits.
pub const HALF: i64 = 1 << 32;

impl Select<'_> {
    /// Plans an aggregate in three parts: the columns computed before grouping, the aggregation, and the value.
    pub fn aggregate(&mut self, name: &str, function: &Function, whole: &ast::Expr) -> Result<Typed> {
        if !self.is_grouped {
            let problem = format!("{whole}: an aggregate is not allowed here");
            return Err(refused_with(problem, "write the condition in HAVING, or aggregate in a subquery", None));
        }
        let canonical = self.canonical(whole);
        if let Some((_, value)) = self.planned.iter().find(|(known, _)| *known == canonical) {
            return Ok(value.clone());
        }
        // The arguments are evaluated on rows, not on groups.
        self.is_grouped = false;
        let value = self.row_aggregate(name, function, whole);
        self.is_grouped = true;
        let value = value?;
        self.planned.push((canonical, value.clone()));
        Ok(value)
    }

    fn row_aggregate(&mut self, name: &str, function: &Function, whole: &ast::Expr) -> Result<Typed> {
        let expr_text = whole.to_string();
        let (distinct, clauses) = match &function.args {
            FunctionArguments::List(list) => {
                (list.duplicate_treatment == Some(DuplicateTreatment::Distinct), list.clauses.as_slice())
            }
            _ => (false, [].as_slice()),
        };
        let filter = function.filter.as_deref().map(|filter| self.condition(filter)).transpose()?;
        let filter = filter.map(|filter| filter.fill_null(lit(false)));
        let is_star = matches!(
            &function.args,
            FunctionArguments::List(list)
                if matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
        );
        let no_arguments = matches!(&function.args, FunctionArguments::List(list) if list.args.is_empty());
        if name == "count" && (is_star || no_arguments) {
            return Ok(match filter {
                None => self.group(len().cast(DataType::Int64), SqlType::Int),
                Some(filter) => {
                    let id = self.row(filter.cast(DataType::Int64));
                    self.group(col(id).sum(), SqlType::Int)
                }
            });
        }
        let arguments = arguments(function)?;
        let masked = |value: Typed| match &filter {
            None => value,
            Some(filter) => Typed::new(when(filter.clone()).then(value.expr).otherwise(null(value.kind)), value.kind),
        };
        let order = self.sorting(clauses, &function.within_group)?;
        let first = match arguments.first() {
            Some(ast::Expr::Tuple(exprs)) if name == "count" && distinct => {
                let mut fields = Vec::new();
                for expr in exprs {
                    let value = self.expr(expr)?;
                    fields.push(col(self.row(value.expr)));
                }
                return Ok(self.group(as_struct(fields).n_unique().cast(DataType::Int64), SqlType::Int));
            }
            Some(expr) => Some(masked(self.expr(expr)?)),
            None => None,
        };
        let is_quantile = matches!(name, "percentile_cont" | "percentile_disc");
        let Some(value) = first else { return Err(refused(format!("{expr_text} needs an argument"))) };
        if distinct
            && !matches!(name, "count" | "sum" | "avg" | "min" | "max" | "string_agg" | "group_concat" | "listagg")
        {
            return Err(refused(format!("{expr_text}: DISTINCT is not supported here")));
        }
        match (name, arguments.as_slice()) {
            ("count", [_]) => {
                let id = self.row(value.expr);
                let counted = if distinct { col(id).drop_nulls().n_unique() } else { col(id).count() };
                Ok(self.group(counted.cast(DataType::Int64), SqlType::Int))
            }
            ("approx_count_distinct", [x]) => {
                let runs = self.planner.instead(whole, &format!("COUNT(DISTINCT {x})"));
                Err(refused_with(format!("{expr_text} is not exact"), "write COUNT(DISTINCT …)", Some(runs)))
            }
            ("count_if" | "countif", [_]) => {
                let value = self.coerce(value, SqlType::Bool, &expr_text)?;
                let id = self.row(value.expr.fill_null(lit(false)).cast(DataType::Int64));
                Ok(self.group(col(id).sum(), SqlType::Int))
            }
            ("sum", [x]) => self.sum(value, distinct, whole, x),
            ("avg" | "mean", [_]) => {
                let id = self.floats(value, &expr_text)?;
                let values = if distinct { col(id).unique() } else { col(id) };
                Ok(self.group(values.mean(), SqlType::Float))
            }
            ("min", [_]) => self.extreme(value, false),
            ("max", [_]) => self.extreme(value, true),
            ("bool_or", [_]) => {
                let value = self.coerce(value, SqlType::Bool, &expr_text)?;
                let id = self.row(value.expr.cast(DataType::Int64));
                let most = self.group(col(id).max(), SqlType::Int);
                Ok(Typed::new(most.expr.eq(lit(1i64)), SqlType::Bool))
            }
            ("bool_and" | "every", [_]) => {
                let value = self.coerce(value, SqlType::Bool, &expr_text)?;
                let id = self.row(value.expr.cast(DataType::Int64));
                let least = self.group(col(id).min(), SqlType::Int);
                Ok(Typed::new(least.expr.eq(lit(1i64)), SqlType::Bool))
            }
            ("stddev" | "stddev_samp", [_]) => {
                let id = self.floats(value, &expr_text)?;
                Ok(self.group(col(id).std(1), SqlType::Float))
            }
            ("stddev_pop", [_]) => {
                let id = self.floats(value, &expr_text)?;
                Ok(self.group(col(id).std(0), SqlType::Float))
            }
            ("variance" | "var_samp" | "variance_samp", [_]) => {
                let id = self.floats(value, &expr_text)?;
                Ok(self.group(col(id).var(1), SqlType::Float))
            }
            ("var_pop", [_]) => {
                let id = self.floats(value, &expr_text)?;
                Ok(self.group(col(id).var(0), SqlType::Float))
            }
            ("median", [_]) => self.quantile(value, 0.5, false, true, &expr_text),
            ("quantile_cont", [_, q]) => {
                let q = self.fraction(q, whole)?;
                self.quantile(value, q, false, true, &expr_text)
            }
            ("quantile_disc" | "quantile", [_, q]) => {
                let q = self.fraction(q, whole)?;
                self.quantile(value, q, false, false, &expr_text)
            }
            (_, [q]) if is_quantile => {
                let q = self.fraction(q, whole)?;
                let [(id, kind, descending, _)] = order.as_slice() else {
                    return Err(refused(format!("{expr_text} needs WITHIN GROUP (ORDER BY one expression)")));
                };
                let value = masked(Typed::column(id, *kind));
                self.quantile(value, q, *descending, name == "percentile_cont", &expr_text)
            }
            ("string_agg" | "group_concat" | "listagg", [x, rest @ ..]) => {
                let between = match rest {
                    [] => ",".to_owned(),
                    [between] => self.constant_text(between, whole)?,
                    _ => return Err(refused(format!("{expr_text} has too many arguments"))),
                };
                if value.kind != SqlType::Text {
                    let instead = format!("STRING_AGG(CAST({x} AS VARCHAR), '{between}')");
                    let runs = self.planner.instead(whole, &instead);
                    return Err(refused_with(format!("{expr_text}: not a text"), "CAST it", Some(runs)));
                }
                let id = self.row(value.expr);
                let mut texts = sorted(col(id.clone()), &order).drop_nulls();
                if distinct {
                    texts = texts.unique_stable();
                }
                let joined = self.group(texts.str().join(&between, true), SqlType::Text);
                let count = self.group(col(id).count(), SqlType::Int);
                let expr = when(count.expr.gt(lit(0u32))).then(joined.expr).otherwise(null(SqlType::Text));
                Ok(Typed::new(expr, SqlType::Text))
            }
            ("any_value", [_]) => {
                let kind = value.kind;
                let id = self.row(value.expr);
                Ok(self.group(col(id).drop_nulls().first(), kind))
            }
            ("first" | "last", [x]) => {
                if order.is_empty() {
                    let instead = format!("MAX({x})");
                    let runs = self.planner.instead(whole, &instead);
                    let problem = format!("{expr_text}: rows have no defined order");
                    return Err(refused_with(problem, "write ARG_MAX(x, y) for the x of the largest y", Some(runs)));
                }
                let kind = value.kind;
                let id = self.row(value.expr);
                let values = sorted(col(id), &order);
                Ok(self.group(if name == "first" { values.first() } else { values.last() }, kind))
            }
            ("arg_max" | "max_by" | "arg_min" | "min_by", [_, by]) => {
                let by = self.expr(by)?;
                let kind = value.kind;
                let (id, by) = (self.row(value.expr), self.row(by.expr));
                let known = col(id.clone()).is_not_null().and(col(by.clone()).is_not_null());
                let descending = name.contains("max");
                let options = sort_options(vec![descending], vec![true]);
                let values = col(id).filter(known.clone()).sort_by([col(by).filter(known)], options);
                Ok(self.group(values.first(), kind))
            }
            ("corr", [_, other]) => {
                let other = masked(self.expr(other)?);
                let (x, y) = (self.floats(value, &expr_text)?, self.floats(other, &expr_text)?);
                let known = col(x.clone()).is_not_null().and(col(y.clone()).is_not_null());
                let (x, y) = (col(x).filter(known.clone()), col(y).filter(known));
                Ok(self.group(pearson_corr(x, y), SqlType::Float))
            }
            ("list" | "array_agg", [x]) => self.no_list(x, whole),
            _ => Err(refused(format!("{expr_text} is not supported"))),
        }
    }

    /// Adds a column that is computed for each row.
    fn row(&mut self, expr: Expr) -> PlSmallStr {
        self.planner.column(&mut self.before, expr)
    }

    /// Adds a column of floats that is computed for each row.
    fn floats(&mut self, value: Typed, expr_text: &str) -> Result<PlSmallStr> {
        match value.kind {
            SqlType::Null | SqlType::Int | SqlType::Float => Ok(self.row(value.expr.cast(DataType::Float64))),
            SqlType::Timestamp | SqlType::Date => {
                Err(refused(format!("{expr_text}: take the mean of the `x_at_ns` column, which is a number")))
            }
            kind => Err(refused(format!("{expr_text}: {} is not a number", article(kind)))),
        }
    }

    /// Adds a column that is computed for each group.
    fn group(&mut self, expr: Expr, kind: SqlType) -> Typed {
        let id = self.planner.fresh();
        self.aggregates.push(expr.alias(id.clone()));
        Typed::column(&id, kind)
    }

    /// A sum: null if all values are null, and an error if it overflows.
    fn sum(&mut self, value: Typed, distinct: bool, whole: &ast::Expr, x: &ast::Expr) -> Result<Typed> {
        let value = match value.kind {
            SqlType::Bool => Typed::new(value.expr.cast(DataType::Int64), SqlType::Int),
            SqlType::Null => Typed::new(null(SqlType::Int), SqlType::Int),
            _ => value,
        };
        let (kind, id) = match value.kind {
            SqlType::Int => (SqlType::Int, self.row(value.expr.cast(DataType::Int64))),
            SqlType::Float => (SqlType::Float, self.row(value.expr)),
            kind => return Err(refused(format!("{whole}: {} cannot be added up", article(kind)))),
        };
        let count = self.group(col(id.clone()).count(), SqlType::Int).expr;
        let values = |id: PlSmallStr| if distinct { col(id).drop_nulls().unique() } else { col(id) };
        let total = if kind == SqlType::Float {
            self.group(values(id).sum(), kind).expr
        } else {
            // Distinct values may have equal halves, so split them after removing duplicates.
            let values = values(id);
            let low = compute::int_of_int(values.clone(), |n| Ok(Some(n.rem_euclid(HALF))));
            let high = compute::int_of_int(values, |n| Ok(Some(n.div_euclid(HALF))));
            let (low, high) =
                if distinct { (low.sum(), high.sum()) } else { (col(self.row(low)).sum(), col(self.row(high)).sum()) };
            let (low, high) = (self.group(low, SqlType::Int).expr, self.group(high, SqlType::Int).expr);
            self.joined(low, high, whole, x)
        };
        let expr = when(count.gt(lit(0u32))).then(total).otherwise(null(kind));
        Ok(Typed::new(expr, kind))
    }

    /// The sum of integers, computed from the sums of their lower and upper halves.
    pub fn joined(&self, low: Expr, high: Expr, whole: &ast::Expr, x: &ast::Expr) -> Expr {
        let instead = whole.to_string().replacen(&x.to_string(), &format!("CAST({x} AS DOUBLE)"), 1);
        let reason = Refused {
            problem: format!("{whole} does not fit a BIGINT"),
            advice: vec![format!("write {instead}, or take differences of timestamps first")],
        };
        let check = Check::new(&self.planner.failures, reason.with_query(self.planner.instead(whole, &instead)));
        compute::int_of_ints(low, high, move |low, high| {
            let sum = i128::from(high) * i128::from(HALF) + i128::from(low);
            i64::try_from(sum).map(Some).map_err(|_| check.fail())
        })
    }

    fn extreme(&mut self, value: Typed, is_max: bool) -> Result<Typed> {
        // The engine cannot compute the minimum of booleans per group.
        let is_bool = value.kind == SqlType::Bool;
        let id = self.row(if is_bool { value.expr.cast(DataType::Int64) } else { value.expr });
        let chosen = if is_max { col(id).max() } else { col(id).min() };
        let found = self.group(chosen, value.kind);
        Ok(if is_bool { Typed::new(found.expr.eq(lit(1i64)), SqlType::Bool) } else { found })
    }

    fn fraction(&mut self, q: &ast::Expr, whole: &ast::Expr) -> Result<f64> {
        let q = match self.expr(q)?.constant {
            Some(Constant::Decimal(q)) => Some(q),
            Some(Constant::Int(q)) => Some(q as f64),
            _ => None,
        };
        q.filter(|q| (0.0..=1.0).contains(q))
            .ok_or_else(|| refused(format!("{whole}: the share has to be a constant from 0 to 1")))
    }

    fn quantile(
        &mut self,
        value: Typed,
        q: f64,
        descending: bool,
        is_continuous: bool,
        expr_text: &str,
    ) -> Result<Typed> {
        if is_continuous {
            let q = if descending { 1.0 - q } else { q };
            let id = self.floats(value, expr_text)?;
            return Ok(self.group(col(id).quantile(lit(q), QuantileMethod::Linear), SqlType::Float));
        }
        let kind = value.kind;
        let id = self.row(value.expr);
        let options = SortOptions { descending, nulls_last: true, ..SortOptions::default() };
        let known = col(id.clone()).drop_nulls().sort(options);
        let number = (col(id).count().cast(DataType::Float64) * lit(q)).round(9, RoundMode::HalfAwayFromZero).ceil();
        let at = number.cast(DataType::Int64) - lit(1i64);
        let at = when(binary_expr(at.clone(), Operator::Lt, lit(0i64))).then(lit(0i64)).otherwise(at);
        Ok(self.group(known.get(at, true), kind))
    }

    /// The sort order of an aggregate's values: columns, their kinds, whether descending, and whether nulls are last.
    fn sorting(
        &mut self,
        clauses: &[FunctionArgumentClause],
        within: &[OrderByExpr],
    ) -> Result<Vec<(PlSmallStr, SqlType, bool, bool)>> {
        let mut exprs: Vec<&OrderByExpr> = within.iter().collect();
        for clause in clauses {
            match clause {
                FunctionArgumentClause::OrderBy(by) => exprs.extend(by),
                other => return Err(refused(format!("{other} in an aggregate is not supported"))),
            }
        }
        let mut sorting = Vec::new();
        for by in exprs {
            let order = order_by(self.expr(&by.expr)?, &by.options);
            let kind = order.value.kind;
            sorting.push((self.row(order.value.expr), kind, order.descending, order.nulls_last));
        }
        Ok(sorting)
    }
}

fn sorted(values: Expr, order: &[(PlSmallStr, SqlType, bool, bool)]) -> Expr {
    if order.is_empty() {
        return values;
    }
    let by: Vec<Expr> = order.iter().map(|(id, ..)| col(id.clone())).collect();
    let (descending, nulls_last) = order.iter().map(|(_, _, descending, last)| (*descending, *last)).unzip();
    values.sort_by(by, sort_options(descending, nulls_last))
}
