//! Operators: arithmetic that fails instead of wrapping, comparisons, timestamps and intervals.

use polars::prelude::{DataType, Expr, Operator, concat_str, lit};
use sqlparser::ast::{self, BinaryOperator as B, UnaryOperator as U, Value};

use super::cast::{article, null};
use super::compute;
use super::expr::constant;
use super::moment;
use super::refusal::{Check, refused, refused_with};
use super::select::Select;
use super::{Constant, SqlType, Typed};
use crate::error::{Refused, Result};

impl Select<'_> {
    /// Plans a unary operator.
    pub fn unary(&mut self, op: U, inner: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        match op {
            U::Not => Ok(Typed::new(self.condition(inner)?.not(), SqlType::Bool)),
            U::Plus => self.number(inner, whole),
            U::Minus => {
                if let ast::Expr::Value(value) = inner
                    && matches!(value.value, Value::Number(..))
                {
                    return constant(&value.value, "-");
                }
                let value = self.expr(inner)?;
                match value.kind {
                    SqlType::Float => Ok(Typed::new(lit(-1.0f64) * value.expr, SqlType::Float)),
                    SqlType::Span => match value.constant {
                        Some(Constant::Span(months, micros)) => Ok(self.span(-months, -micros, whole)),
                        _ => Ok(Typed::new(lit(-1i64) * value.expr, SqlType::Span)),
                    },
                    _ => {
                        let zero = Typed::new(lit(0i64), SqlType::Int);
                        self.int_arithmetic(&B::Minus, zero, value, whole, (inner, inner))
                    }
                }
            }
            _ => Err(refused(format!("{whole} is not supported"))),
        }
    }

    /// Plans an operand that must be a number.
    pub fn number(&mut self, inner: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let value = self.expr(inner)?;
        match value.kind {
            SqlType::Int | SqlType::Float => Ok(value),
            SqlType::Null => Ok(Typed::new(null(SqlType::Float), SqlType::Float)),
            _ => self.coerce(value, SqlType::Float, &whole.to_string()),
        }
    }

    /// Plans an operand that must be a number, and converts it to a float.
    pub fn float(&mut self, inner: &ast::Expr, whole: &ast::Expr) -> Result<Expr> {
        Ok(self.number(inner, whole)?.expr.cast(DataType::Float64))
    }

    /// Plans a binary operator.
    pub fn binary(&mut self, left: &ast::Expr, op: &B, right: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let comparison = match op {
            B::Eq => Some(Operator::Eq),
            B::NotEq => Some(Operator::NotEq),
            B::Lt => Some(Operator::Lt),
            B::LtEq => Some(Operator::LtEq),
            B::Gt => Some(Operator::Gt),
            B::GtEq => Some(Operator::GtEq),
            _ => None,
        };
        if let Some(op) = comparison {
            let (left, right, _) = self.pair(left, right, whole)?;
            return Ok(Typed::new(polars::prelude::binary_expr(left, op, right), SqlType::Bool));
        }
        match op {
            B::And => {
                let one = self.condition(left)?;
                let other = self.under(one.clone().fill_null(lit(true)), right)?;
                let other = self.coerce(other, SqlType::Bool, &whole.to_string())?;
                Ok(Typed::new(one.and(other.expr), SqlType::Bool))
            }
            B::Or => {
                let one = self.condition(left)?;
                let other = self.under(one.clone().fill_null(lit(false)).not(), right)?;
                let other = self.coerce(other, SqlType::Bool, &whole.to_string())?;
                Ok(Typed::new(one.or(other.expr), SqlType::Bool))
            }
            B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo | B::DuckIntegerDivide | B::MyIntegerDivide => {
                self.arithmetic(left, op, right, whole)
            }
            B::StringConcat => {
                let (left, right) = (self.printed(left)?, self.printed(right)?);
                Ok(Typed::new(concat_str([left, right], "", false), SqlType::Text))
            }
            B::Arrow | B::LongArrow => self.json(left, right, matches!(op, B::LongArrow), whole),
            B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch => {
                let advice = "engines disagree on ~, which matches all of a text or a part of it";
                let instead = format!("REGEXP_MATCHES({left}, {right})");
                let runs = self.planner.instead(whole, &instead);
                Err(refused_with(format!("{whole} is not supported"), advice, Some(runs)))
            }
            _ => Err(refused(format!("{whole}: the operator {op} is not supported"))),
        }
    }

    fn arithmetic(&mut self, left: &ast::Expr, op: &B, right: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let (mut one, mut other) = (self.expr(left)?, self.expr(right)?);
        let expr_text = whole.to_string();
        // A constant text is converted to the type of the other operand.
        if one.kind == SqlType::Text && other.kind != SqlType::Text {
            one = self.coerce(one, other.kind, &expr_text)?;
        } else if other.kind == SqlType::Text && one.kind != SqlType::Text {
            other = self.coerce(other, one.kind, &expr_text)?;
        }
        match (one.kind, op, other.kind) {
            (SqlType::Timestamp | SqlType::Date, B::Plus | B::Minus, SqlType::Span) => {
                self.moved(one, other, matches!(op, B::Minus), &expr_text)
            }
            (SqlType::Span, B::Plus, SqlType::Timestamp | SqlType::Date) => self.moved(other, one, false, &expr_text),
            (SqlType::Date, B::Minus, SqlType::Date) => {
                let days = |value: Typed| value.expr.cast(DataType::Int32).cast(DataType::Int64);
                Ok(Typed::new(days(one) - days(other), SqlType::Int))
            }
            (SqlType::Date, B::Plus | B::Minus, SqlType::Int) => {
                let days = one.expr.cast(DataType::Int32).cast(DataType::Int64);
                let moved = if matches!(op, B::Plus) { days + other.expr } else { days - other.expr };
                Ok(Typed::new(moved.cast(DataType::Int32).cast(DataType::Date), SqlType::Date))
            }
            (SqlType::Timestamp | SqlType::Date, B::Minus, SqlType::Timestamp | SqlType::Date) => {
                Ok(Typed::new(micros(one) - micros(other), SqlType::Span))
            }
            (SqlType::Span, B::Plus | B::Minus, SqlType::Span)
            | (SqlType::Span, B::Multiply, SqlType::Int)
            | (SqlType::Int, B::Multiply, SqlType::Span) => self.span_arithmetic(op, one, other, whole),
            (SqlType::Int | SqlType::Float | SqlType::Null, _, SqlType::Int | SqlType::Float | SqlType::Null) => {
                let is_float = matches!(op, B::Divide) || one.kind == SqlType::Float || other.kind == SqlType::Float;
                if one.kind == SqlType::Null || other.kind == SqlType::Null {
                    let kind = if is_float { SqlType::Float } else { SqlType::Int };
                    return Ok(Typed::new(null(kind), kind));
                }
                if !is_float {
                    return self.int_arithmetic(op, one, other, whole, (left, right));
                }
                let (l, r) = (one.expr.cast(DataType::Float64), other.expr.cast(DataType::Float64));
                let expr = match op {
                    B::Plus => l + r,
                    B::Minus => l - r,
                    B::Multiply => l * r,
                    B::Divide => compute::float_of_floats(l, r, |l, r| l / r),
                    B::Modulo => compute::float_of_floats(l, r, |l, r| l % r),
                    _ => return Err(refused(format!("{expr_text}: {op} is for integers"))),
                };
                Ok(Typed::new(expr, SqlType::Float))
            }
            (one, _, other) => {
                let problem = format!("{expr_text}: {op} of {} and {} is not supported", article(one), article(other));
                Err(refused(problem))
            }
        }
    }

    /// Integer arithmetic; fails if the result does not fit 64 bits.
    fn int_arithmetic(
        &self,
        op: &B,
        one: Typed,
        other: Typed,
        whole: &ast::Expr,
        (left, right): (&ast::Expr, &ast::Expr),
    ) -> Result<Typed> {
        let expr_text = whole.to_string();
        let divides = matches!(op, B::Modulo | B::DuckIntegerDivide | B::MyIntegerDivide);
        let instead = if divides { format!("{left} {op} NULLIF({right}, 0)") } else { with_double(whole) };
        let runs = self.planner.instead(whole, &instead);
        let advice = vec![format!("write {instead}")];
        let problem = if divides { "a division by zero" } else { "a value does not fit a BIGINT" };
        let reason = Refused { problem: format!("{expr_text}: {problem}"), advice };
        let check = Check::new(&self.planner.failures, reason.with_query(runs));
        let (l, r) = (self.int(one, &expr_text)?, self.int(other, &expr_text)?);
        let l = self.guarded(l, SqlType::Int);
        let f: fn(i64, i64) -> Option<i64> = match op {
            B::Plus => i64::checked_add,
            B::Minus => i64::checked_sub,
            B::Multiply => i64::checked_mul,
            B::Modulo => i64::checked_rem,
            _ => i64::checked_div,
        };
        let expr = compute::int_of_ints(l, r, move |l, r| f(l, r).map(Some).ok_or_else(|| check.fail()));
        Ok(Typed::new(expr, SqlType::Int))
    }

    /// A constant interval. Months have no fixed length, so an interval with months can only be added to or
    /// subtracted from a timestamp, or combined with constants. Any other use is an error.
    pub fn span(&self, months: i64, micros: i64, whole: &ast::Expr) -> Typed {
        let mut expr = lit(micros);
        if months != 0 {
            let days = format!("INTERVAL '{} days'", months.saturating_mul(30));
            let advice = vec![format!("write {days}, or add it to a timestamp")];
            let reason = Refused { problem: format!("{whole}: a month has no fixed length"), advice };
            let reason = reason.with_query(self.planner.instead(whole, &days));
            let check = Check::new(&self.planner.failures, reason);
            expr = compute::int_of_int(expr, move |_| Err(check.fail()));
        }
        Typed { constant: Some(Constant::Span(months, micros)), ..Typed::new(expr, SqlType::Span) }
    }

    /// Adds, subtracts or multiplies intervals; fails if the result does not fit 64 bits.
    fn span_arithmetic(&self, op: &B, one: Typed, other: Typed, whole: &ast::Expr) -> Result<Typed> {
        let f: fn(i64, i64) -> Option<i64> = match op {
            B::Plus => i64::checked_add,
            B::Minus => i64::checked_sub,
            _ => i64::checked_mul,
        };
        let reason = Refused::because(format!("{whole}: an interval is too long"));
        // A number multiplies both the months and the microseconds.
        let part = |value: &Typed| match value.constant {
            Some(Constant::Span(months, micros)) => Some((months, micros)),
            Some(Constant::Int(n)) => Some((n, n)),
            _ => None,
        };
        if let (Some(one), Some(other)) = (part(&one), part(&other)) {
            let (Some(months), Some(micros)) = (f(one.0, other.0), f(one.1, other.1)) else {
                return Err(reason.into());
            };
            return Ok(self.span(months, micros, whole));
        }
        let check = Check::new(&self.planner.failures, reason);
        let expr = compute::int_of_ints(one.expr, other.expr, move |one, other| {
            f(one, other).map(Some).ok_or_else(|| check.fail())
        });
        Ok(Typed::new(expr, SqlType::Span))
    }

    /// Adds an interval to a timestamp, or subtracts it if `back` is true.
    fn moved(&self, moment: Typed, span: Typed, back: bool, expr_text: &str) -> Result<Typed> {
        let moment = self.coerce(moment, SqlType::Timestamp, expr_text)?.expr.cast(DataType::Int64);
        let sign = if back { -1 } else { 1 };
        let moved = match span.constant {
            Some(Constant::Span(months, micros)) if months != 0 => {
                let (months, micros) = (months * sign, micros * sign);
                compute::int_of_int(moment, move |at| Ok(moment::add_months(at, months).map(|at| at + micros)))
            }
            Some(Constant::Span(_, micros)) => moment + lit(micros * sign),
            _ => moment + lit(sign) * span.expr,
        };
        Ok(Typed::new(moved.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp))
    }

    /// Plans an expression, and converts its value of any type to a text.
    pub fn printed(&mut self, expr: &ast::Expr) -> Result<Expr> {
        let value = self.expr(expr)?;
        let target = ast::DataType::Varchar(None);
        let whole = ast::Expr::Cast {
            kind: ast::CastKind::Cast,
            expr: Box::new(expr.clone()),
            data_type: target.clone(),
            array: false,
            format: None,
        };
        if value.kind == SqlType::Timestamp {
            let instead = format!("STRFTIME({expr}, '%Y-%m-%d %H:%M:%S')");
            let runs = self.planner.instead(expr, &instead);
            let problem = format!("{expr}: engines format timestamps differently");
            return Err(refused_with(problem, &format!("give the format: {instead}"), Some(runs)));
        }
        Ok(self.cast(value, &target, false, &whole, expr)?.expr)
    }
}

/// A timestamp in microseconds.
pub fn micros(value: Typed) -> Expr {
    value.expr.cast(SqlType::Timestamp.dtype()).cast(DataType::Int64)
}

/// Returns the text of an expression with its first operand cast to double, so that the whole expression is computed
/// with doubles.
fn with_double(expr: &ast::Expr) -> String {
    match expr {
        ast::Expr::BinaryOp { left, op: op @ (B::Plus | B::Minus | B::Multiply), right } => {
            format!("{} {op} {right}", with_double(left))
        }
        ast::Expr::Nested(inner) => format!("({})", with_double(inner)),
        ast::Expr::UnaryOp { op: U::Minus, expr } if !matches!(**expr, ast::Expr::Value(_)) => {
            format!("-{}", with_double(expr))
        }
        other => format!("CAST({other} AS DOUBLE)"),
    }
}
