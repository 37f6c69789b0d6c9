//! Operators: arithmetic that fails instead of wrapping, comparisons, timestamps and intervals.

use polars::prelude::{DataType, Expr, Operator, concat_str, lit};
use sqlparser::ast::{self, BinaryOperator as B, UnaryOperator as U, Value};

use super::cast::{article, null};
use super::compute;
use super::expr::constant;
use super::moment;
use super::refusal::{Check, refused, refused_with};
use super::select::Select;
use super::{Constant, Kind, Typed};
use crate::error::{Refused, Result};

impl Select<'_> {
    /// Plans a unary operator.
    pub fn unary(&mut self, op: U, inner: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        match op {
            U::Not => Ok(Typed::new(self.condition(inner)?.not(), Kind::Bool)),
            U::Plus => self.number(inner, whole),
            U::Minus => {
                if let ast::Expr::Value(value) = inner
                    && matches!(value.value, Value::Number(..))
                {
                    return constant(&value.value, "-");
                }
                let value = self.expr(inner)?;
                match value.kind {
                    Kind::Float => Ok(Typed::new(lit(-1.0f64) * value.expr, Kind::Float)),
                    Kind::Span => match value.constant {
                        Some(Constant::Span(months, micros)) => Ok(self.span(-months, -micros, whole)),
                        _ => Ok(Typed::new(lit(-1i64) * value.expr, Kind::Span)),
                    },
                    _ => {
                        let zero = Typed::new(lit(0i64), Kind::Int);
                        self.int_arithmetic(&B::Minus, zero, value, whole, (inner, inner))
                    }
                }
            }
            _ => Err(refused(format!("{whole} is not supported"))),
        }
    }

    /// A number.
    pub fn number(&mut self, inner: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let value = self.expr(inner)?;
        match value.kind {
            Kind::Int | Kind::Float => Ok(value),
            Kind::Null => Ok(Typed::new(null(Kind::Float), Kind::Float)),
            _ => self.coerce(value, Kind::Float, &whole.to_string()),
        }
    }

    /// A number as a float.
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
            return Ok(Typed::new(polars::prelude::binary_expr(left, op, right), Kind::Bool));
        }
        match op {
            B::And => {
                let one = self.condition(left)?;
                let other = self.under(one.clone().fill_null(lit(true)), right)?;
                let other = self.coerce(other, Kind::Bool, &whole.to_string())?;
                Ok(Typed::new(one.and(other.expr), Kind::Bool))
            }
            B::Or => {
                let one = self.condition(left)?;
                let other = self.under(one.clone().fill_null(lit(false)).not(), right)?;
                let other = self.coerce(other, Kind::Bool, &whole.to_string())?;
                Ok(Typed::new(one.or(other.expr), Kind::Bool))
            }
            B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo | B::DuckIntegerDivide | B::MyIntegerDivide => {
                self.arithmetic(left, op, right, whole)
            }
            B::StringConcat => {
                let (left, right) = (self.printed(left)?, self.printed(right)?);
                Ok(Typed::new(concat_str([left, right], "", false), Kind::Text))
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
        let place = whole.to_string();
        // A constant text takes the type of the other operand, if that is a number or a timestamp.
        if one.kind == Kind::Text && other.kind != Kind::Text {
            one = self.coerce(one, other.kind, &place)?;
        } else if other.kind == Kind::Text && one.kind != Kind::Text {
            other = self.coerce(other, one.kind, &place)?;
        }
        match (one.kind, op, other.kind) {
            (Kind::Timestamp | Kind::Date, B::Plus | B::Minus, Kind::Span) => {
                self.moved(one, other, matches!(op, B::Minus), &place)
            }
            (Kind::Span, B::Plus, Kind::Timestamp | Kind::Date) => self.moved(other, one, false, &place),
            (Kind::Date, B::Minus, Kind::Date) => {
                let days = |value: Typed| value.expr.cast(DataType::Int32).cast(DataType::Int64);
                Ok(Typed::new(days(one) - days(other), Kind::Int))
            }
            (Kind::Date, B::Plus | B::Minus, Kind::Int) => {
                let days = one.expr.cast(DataType::Int32).cast(DataType::Int64);
                let moved = if matches!(op, B::Plus) { days + other.expr } else { days - other.expr };
                Ok(Typed::new(moved.cast(DataType::Int32).cast(DataType::Date), Kind::Date))
            }
            (Kind::Timestamp | Kind::Date, B::Minus, Kind::Timestamp | Kind::Date) => {
                Ok(Typed::new(micros(one) - micros(other), Kind::Span))
            }
            (Kind::Span, B::Plus | B::Minus, Kind::Span)
            | (Kind::Span, B::Multiply, Kind::Int)
            | (Kind::Int, B::Multiply, Kind::Span) => self.span_arithmetic(op, one, other, whole),
            (Kind::Int | Kind::Float | Kind::Null, _, Kind::Int | Kind::Float | Kind::Null) => {
                let is_float = matches!(op, B::Divide) || one.kind == Kind::Float || other.kind == Kind::Float;
                if one.kind == Kind::Null || other.kind == Kind::Null {
                    let kind = if is_float { Kind::Float } else { Kind::Int };
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
                    _ => return Err(refused(format!("{place}: {op} is for integers"))),
                };
                Ok(Typed::new(expr, Kind::Float))
            }
            (one, _, other) => {
                let problem = format!("{place}: {op} of {} and {} is not supported", article(one), article(other));
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
        let place = whole.to_string();
        let divides = matches!(op, B::Modulo | B::DuckIntegerDivide | B::MyIntegerDivide);
        let instead = if divides { format!("{left} {op} NULLIF({right}, 0)") } else { with_double(whole) };
        let runs = self.planner.instead(whole, &instead);
        let advice = vec![format!("write {instead}")];
        let problem = if divides { "a division by zero" } else { "a value does not fit a BIGINT" };
        let reason = Refused { problem: format!("{place}: {problem}"), advice };
        let check = Check::new(&self.planner.failures, reason.with_query(runs));
        let (l, r) = (self.int(one, &place)?, self.int(other, &place)?);
        let l = self.guarded(l, Kind::Int);
        let f: fn(i64, i64) -> Option<i64> = match op {
            B::Plus => i64::checked_add,
            B::Minus => i64::checked_sub,
            B::Multiply => i64::checked_mul,
            B::Modulo => i64::checked_rem,
            _ => i64::checked_div,
        };
        let expr = compute::int_of_ints(l, r, move |l, r| f(l, r).map(Some).ok_or_else(|| check.fail()));
        Ok(Typed::new(expr, Kind::Int))
    }

    /// A constant interval. Months have no fixed length: one with months can be added to a timestamp or computed with
    /// constants, and is an error elsewhere.
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
        Typed { constant: Some(Constant::Span(months, micros)), ..Typed::new(expr, Kind::Span) }
    }

    /// Adds, subtracts or multiplies intervals; fails if the result does not fit 64 bits.
    fn span_arithmetic(&self, op: &B, one: Typed, other: Typed, whole: &ast::Expr) -> Result<Typed> {
        let f: fn(i64, i64) -> Option<i64> = match op {
            B::Plus => i64::checked_add,
            B::Minus => i64::checked_sub,
            _ => i64::checked_mul,
        };
        let reason = Refused::because(format!("{whole}: an interval is too long"));
        // A number multiplies both parts.
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
        Ok(Typed::new(expr, Kind::Span))
    }

    /// Adds or subtracts an interval.
    fn moved(&self, moment: Typed, span: Typed, back: bool, place: &str) -> Result<Typed> {
        let moment = self.coerce(moment, Kind::Timestamp, place)?.expr.cast(DataType::Int64);
        let sign = if back { -1 } else { 1 };
        let moved = match span.constant {
            Some(Constant::Span(months, micros)) if months != 0 => {
                let (months, micros) = (months * sign, micros * sign);
                compute::int_of_int(moment, move |at| Ok(moment::add_months(at, months).map(|at| at + micros)))
            }
            Some(Constant::Span(_, micros)) => moment + lit(micros * sign),
            _ => moment + lit(sign) * span.expr,
        };
        Ok(Typed::new(moved.cast(Kind::Timestamp.dtype()), Kind::Timestamp))
    }

    /// Any value as text.
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
        if value.kind == Kind::Timestamp {
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
    value.expr.cast(Kind::Timestamp.dtype()).cast(DataType::Int64)
}

/// The expression with its first operand cast to double, so that all of it is computed with doubles.
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
