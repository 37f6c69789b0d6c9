//! Window functions: the rows are sorted and numbered once per window, and the functions are computed within
//! each partition.
//!
//! The rows are sorted here, because the engine's own window functions ignore three things: where nulls are sorted, the
//! ORDER BY of averages, and the peers in the default frame.

use polars::prelude::{DataType, Expr, PlSmallStr, col, lit, when};
use sqlparser::ast::{
    self, Function, FunctionArg, FunctionArgExpr, FunctionArguments, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowSpec, WindowType,
};

use super::aggregate::{self, HALF};
use super::cast::null;
use super::compute;
use super::function::arguments;
use super::refusal::{refused, refused_with};
use super::select::{Select, order_by};
use super::sorted::{Call, FrameBounds, Marks, WindowFunction};
use super::{SqlType, Typed};
use crate::error::Result;

/// The names of window functions.
pub const NAMES: &str = "\
    cume_dist dense_rank first_value lag last_value lead ntile percent_rank rank row_number";

/// Maximum number of rows in a bounded frame.
const WIDEST: i64 = 100;

/// Returns true if a function requires OVER.
pub fn is_window(name: &str) -> bool {
    NAMES.split_whitespace().any(|known| known == name)
}

impl Select<'_> {
    /// Plans a window function.
    pub fn window(&mut self, name: &str, function: &Function, whole: &ast::Expr) -> Result<Typed> {
        let expr_text = whole.to_string();
        if function.filter.is_some() && !aggregate::is_aggregate(name) {
            return Err(refused(format!("{expr_text}: FILTER is for aggregates")));
        }
        if function.null_treatment.is_some() {
            return Err(refused(format!("{expr_text}: IGNORE NULLS is not supported")));
        }
        let spec = self.spec(function, whole)?;
        let frame = frame(&spec, whole)?;
        let mut partition = Vec::new();
        for expr in &spec.partition_by {
            let value = self.expr(expr)?;
            partition.push(self.window_column(value.expr));
        }
        let mut order = Vec::new();
        for by in &spec.order_by {
            let by = order_by(self.expr(&by.expr)?, &by.options);
            order.push((self.window_column(by.value.expr), by.descending, by.nulls_last));
        }
        let is_star = matches!(
            &function.args,
            FunctionArguments::List(list)
                if matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] | [])
        );
        let arguments = if is_star { Vec::new() } else { arguments(function)? };
        let filter = function.filter.as_deref().map(|filter| self.condition(filter)).transpose()?;
        let masked = |value: Typed| match &filter {
            None => value,
            Some(filter) => {
                let kept = filter.clone().fill_null(lit(false));
                Typed::new(when(kept).then(value.expr).otherwise(null(value.kind)), value.kind)
            }
        };
        let add = |plan: &mut Self, call: Call, kind: SqlType| {
            let id = plan.planner.fresh();
            let (partition, order) = (partition.clone(), order.clone());
            plan.windows.push(WindowFunction { id: id.clone(), partition, order, call });
            Typed::column(&id, kind)
        };
        match (name, arguments.as_slice()) {
            ("row_number", []) => Ok(add(self, Call::RowNumber, SqlType::Int)),
            ("rank", []) => Ok(add(self, Call::Rank, SqlType::Int)),
            ("dense_rank", []) => Ok(add(self, Call::DenseRank, SqlType::Int)),
            ("percent_rank", []) => Ok(add(self, Call::PercentRank, SqlType::Float)),
            ("cume_dist", []) => Ok(add(self, Call::CumeDist, SqlType::Float)),
            ("ntile", [count]) => match self.expr(count)?.int().filter(|count| *count > 0) {
                Some(count) => Ok(add(self, Call::Ntile(count), SqlType::Int)),
                None => Err(refused(format!("{expr_text}: the number of buckets has to be a constant from 1 on"))),
            },
            ("lag" | "lead", [value, rest @ ..]) if rest.len() < 3 => {
                let value = self.expr(value)?;
                let count = match rest.first() {
                    None => 1,
                    Some(count) => match self.expr(count)?.int() {
                        Some(count) => count,
                        None => return Err(refused(format!("{expr_text}: the number of rows has to be a constant"))),
                    },
                };
                let count = if name == "lag" { count } else { -count };
                let (mut values, default) = match rest.get(1) {
                    None => (vec![value], false),
                    Some(default) => (vec![value, self.expr(default)?], true),
                };
                if !default {
                    let value = values.remove(0);
                    let column = self.window_column(value.expr);
                    return Ok(add(self, Call::Shift(column, count, None), value.kind));
                }
                let (mut exprs, kind) = self.alike(values, &expr_text)?;
                let default = exprs.pop().map(|expr| self.window_column(expr));
                let column = self.window_column(exprs.remove(0));
                Ok(add(self, Call::Shift(column, count, default), kind))
            }
            ("first_value" | "first", [value]) => {
                if !matches!(frame, FrameBounds::All | FrameBounds::ToPeers | FrameBounds::ToRow) {
                    return Err(refused(format!("{expr_text}: this frame is not supported")));
                }
                let value = self.expr(value)?;
                let column = self.window_column(value.expr);
                Ok(add(self, Call::First(column), value.kind))
            }
            ("last_value" | "last", [value]) => {
                if matches!(frame, FrameBounds::Between(..)) {
                    return Err(refused(format!("{expr_text}: this frame is not supported")));
                }
                let value = self.expr(value)?;
                let column = self.window_column(value.expr);
                Ok(add(self, Call::Last(column, frame), value.kind))
            }
            ("count", []) => {
                let column = filter.clone().map(|filter| {
                    let kept = when(filter.fill_null(lit(false))).then(lit(1i64)).otherwise(null(SqlType::Int));
                    self.window_column(kept)
                });
                Ok(add(self, Call::Count(column, frame), SqlType::Int))
            }
            ("count", [value]) if !is_distinct(function) => {
                let value = masked(self.expr(value)?);
                let column = self.window_column(value.expr);
                Ok(add(self, Call::Count(Some(column), frame), SqlType::Int))
            }
            ("sum" | "avg" | "mean", [x]) if !is_distinct(function) => {
                let value = masked(self.expr(x)?);
                let value = match value.kind {
                    SqlType::Bool if name == "sum" => Typed::new(value.expr.cast(DataType::Int64), SqlType::Int),
                    SqlType::Int | SqlType::Float | SqlType::Null => value,
                    _ => return Err(refused(format!("{expr_text}: only numbers can be added up"))),
                };
                let column = self.window_column(value.expr.clone());
                let count = add(self, Call::Count(Some(column), frame), SqlType::Int).expr;
                let is_int = name == "sum" && value.kind != SqlType::Float;
                let total = if is_int {
                    let int = value.expr.cast(DataType::Int64);
                    let low = compute::int_of_int(int.clone(), |n| Ok(Some(n.rem_euclid(HALF))));
                    let high = compute::int_of_int(int, |n| Ok(Some(n.div_euclid(HALF))));
                    let (low, high) = (self.window_column(low), self.window_column(high));
                    let low = add(self, Call::Sum(low, frame), SqlType::Int).expr;
                    let high = add(self, Call::Sum(high, frame), SqlType::Int).expr;
                    self.joined(low, high, whole, x)
                } else {
                    let column = self.window_column(value.expr.cast(DataType::Float64));
                    add(self, Call::Sum(column, frame), SqlType::Float).expr
                };
                let kind = if is_int { SqlType::Int } else { SqlType::Float };
                let total = if name == "sum" { total } else { total / count.clone().cast(DataType::Float64) };
                let expr = when(count.gt(lit(0i64))).then(total).otherwise(null(kind));
                Ok(Typed::new(expr, kind))
            }
            ("min" | "max" | "bool_and" | "bool_or" | "every", [value]) => {
                let value = masked(self.expr(value)?);
                let kind = value.kind;
                let is_bool = kind == SqlType::Bool;
                if kind == SqlType::Text && frame != FrameBounds::All {
                    let advice = "join with the minimum or maximum of each group, or use FIRST_VALUE";
                    return Err(refused_with(
                        format!("{expr_text} is not supported over a bounded frame"),
                        advice,
                        None,
                    ));
                }
                let stored = match kind {
                    SqlType::Bool | SqlType::Timestamp | SqlType::Date | SqlType::Int | SqlType::Span => {
                        value.expr.to_physical().cast(DataType::Int64)
                    }
                    _ => value.expr,
                };
                let number = if matches!(kind, SqlType::Float | SqlType::Text) { kind } else { SqlType::Int };
                let column = self.window_column(stored);
                let call = if matches!(name, "max" | "bool_or") {
                    Call::Most(column, frame)
                } else {
                    Call::Least(column, frame)
                };
                let found = add(self, call, number).expr;
                Ok(Typed::new(
                    match kind {
                        SqlType::Date => found.cast(DataType::Int32).cast(DataType::Date),
                        SqlType::Timestamp => found.cast(kind.dtype()),
                        _ if is_bool => found.eq(lit(1i64)),
                        _ => found,
                    },
                    kind,
                ))
            }
            _ => Err(refused_with(
                format!("{expr_text}: this function is not supported over a window"),
                "aggregate in a common table expression, and join",
                None,
            )),
        }
    }

    /// The window of an OVER clause.
    fn spec(&self, function: &Function, whole: &ast::Expr) -> Result<WindowSpec> {
        let named = |name: &ast::Ident| {
            let found = self.named_windows.iter().find(|(known, _)| super::same_name(known, &name.value));
            found.map(|(_, spec)| spec.clone()).ok_or_else(|| refused(format!("{whole}: there is no window {name}")))
        };
        match &function.over {
            Some(WindowType::NamedWindow(name)) => named(name),
            Some(WindowType::WindowSpec(spec)) => match &spec.window_name {
                None => Ok(spec.clone()),
                Some(name) => {
                    let mut base = named(name)?;
                    base.partition_by.extend(spec.partition_by.iter().cloned());
                    base.order_by.extend(spec.order_by.iter().cloned());
                    base.window_frame = spec.window_frame.clone().or(base.window_frame);
                    Ok(base)
                }
            },
            None => Err(refused(format!("{whole} needs OVER (…)"))),
        }
    }

    /// Adds a column that window functions read.
    fn window_column(&mut self, expr: Expr) -> PlSmallStr {
        self.planner.column(&mut self.window_columns, expr)
    }

    /// Computes the window functions, and filters rows by QUALIFY.
    pub fn compute_windows(&mut self, qualify: Option<Expr>) -> Result<()> {
        let columns = std::mem::take(&mut self.window_columns).into_iter();
        let mut frame = columns.fold(std::mem::take(&mut self.frame), |frame, column| frame.with_columns([column]));
        let mut windows = std::mem::take(&mut self.windows);
        while let Some(first) = windows.first().cloned() {
            let (now, later): (Vec<WindowFunction>, Vec<WindowFunction>) = windows
                .into_iter()
                .partition(|window| window.partition == first.partition && window.order == first.order);
            windows = later;
            let marks =
                Marks { row: self.planner.fresh(), partition: self.planner.fresh(), peers: self.planner.fresh() };
            frame = marks.mark(frame, &first)?;
            // Functions of the same window are computed together. Some need a second pass to treat peers alike.
            let values = now.iter().map(|window| Ok(marks.value(&window.call)?.alias(window.id.clone())));
            frame = frame.with_columns(values.collect::<Result<Vec<_>>>()?);
            let spread: Vec<Expr> = now.iter().filter_map(|window| marks.spread(window)).collect::<Result<_, _>>()?;
            if !spread.is_empty() {
                frame = frame.with_columns(spread);
            }
        }
        if let Some(qualify) = qualify {
            let id = self.planner.fresh();
            frame = frame.with_columns([qualify.alias(id.clone())]).filter(col(id));
        }
        self.frame = frame;
        Ok(())
    }
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct))
}

/// The frame of a window; if none is given, SQL's default.
fn frame(spec: &WindowSpec, whole: &ast::Expr) -> Result<FrameBounds> {
    let wrong = || {
        refused_with(
            format!("{whole}: this frame is not supported"),
            "write ROWS BETWEEN n PRECEDING AND n FOLLOWING with at most 100 rows",
            None,
        )
    };
    let Some(WindowFrame { units, start_bound, end_bound }) = &spec.window_frame else {
        return Ok(if spec.order_by.is_empty() { FrameBounds::All } else { FrameBounds::ToPeers });
    };
    let is_range = match units {
        WindowFrameUnits::Rows => false,
        WindowFrameUnits::Range => true,
        WindowFrameUnits::Groups => return Err(wrong()),
    };
    let rows = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => Some(0),
        WindowFrameBound::Preceding(Some(n)) => n.to_string().parse::<i64>().ok(),
        WindowFrameBound::Following(Some(n)) => n.to_string().parse::<i64>().ok().map(|n| -n),
        _ => None,
    };
    let end = end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow);
    Ok(match (start_bound, end) {
        (WindowFrameBound::Preceding(None), WindowFrameBound::Following(None)) => FrameBounds::All,
        (WindowFrameBound::Preceding(None), WindowFrameBound::CurrentRow) => match (is_range, spec.order_by.is_empty())
        {
            (true, true) => FrameBounds::All,
            (true, false) => FrameBounds::ToPeers,
            (false, _) => FrameBounds::ToRow,
        },
        (WindowFrameBound::CurrentRow, WindowFrameBound::Following(None)) => {
            if is_range {
                FrameBounds::FromPeers
            } else {
                FrameBounds::FromRow
            }
        }
        (start, end) if !is_range => {
            let (before, last) = (rows(start).ok_or_else(wrong)?, rows(end).ok_or_else(wrong)?);
            // In these variables, the offset of a row after the current row is negative.
            if before < last || before - last > WIDEST {
                return Err(wrong());
            }
            FrameBounds::Between(before, -last)
        }
        _ => return Err(wrong()),
    })
}
