//! Type conversions, implicit and by CAST.

use polars::prelude::{DataType, Expr, NULL, RoundMode, lit};
use sqlparser::ast;

use super::compute::{self, OfText};
use super::moment;
use super::refusal::{Check, refused, refused_with};
use super::select::Select;
use super::{Constant, SqlType, Typed};
use crate::error::{Refused, Result};

/// A null of a type.
pub fn null(kind: SqlType) -> Expr {
    lit(NULL).cast(kind.dtype())
}

/// A timestamp in microseconds since 1970.
pub fn timestamp(micros: i64) -> Expr {
    lit(micros).cast(SqlType::Timestamp.dtype())
}

/// A day in days since 1970.
pub fn date(days: i32) -> Expr {
    lit(days).cast(DataType::Date)
}

/// The type that can hold the values of both expressions, if they are compatible.
pub fn common(one: &Typed, other: &Typed) -> Option<SqlType> {
    let is_constant = |value: &Typed| value.text().is_some();
    Some(match (one.kind, other.kind) {
        (a, b) if a == b => a,
        (SqlType::Null, kind) | (kind, SqlType::Null) => kind,
        (SqlType::Int, SqlType::Float) | (SqlType::Float, SqlType::Int) => SqlType::Float,
        (SqlType::Date, SqlType::Timestamp) | (SqlType::Timestamp, SqlType::Date) => SqlType::Timestamp,
        // A day combined with a text that contains a time gives a timestamp.
        (SqlType::Date, SqlType::Text) if other.text().is_some_and(|text| moment::parse_date(text).is_none()) => {
            SqlType::Timestamp
        }
        (SqlType::Text, SqlType::Date) if one.text().is_some_and(|text| moment::parse_date(text).is_none()) => {
            SqlType::Timestamp
        }
        (kind, SqlType::Text) if is_constant(other) => kind,
        (SqlType::Text, kind) if is_constant(one) => kind,
        _ => return None,
    })
}

impl Select<'_> {
    /// Converts a value implicitly: between integer widths, from days to timestamps, and from constant texts.
    pub fn coerce(&self, value: Typed, kind: SqlType, expr_text: &str) -> Result<Typed> {
        if value.kind == kind && kind != SqlType::Int {
            return Ok(value);
        }
        let wrong = |problem: String| Err(refused(format!("{expr_text}: {problem}")));
        let text = value.text().map(str::to_owned);
        let expr = match (value.kind, kind) {
            (SqlType::Null, _) => null(kind),
            (SqlType::Int, SqlType::Int | SqlType::Float) | (SqlType::Date, SqlType::Timestamp) => {
                value.expr.cast(kind.dtype())
            }
            (SqlType::Text, _) => {
                let Some(text) = text else {
                    return wrong(format!("a text is not {}; CAST it", article(kind)));
                };
                let read = match kind {
                    SqlType::Timestamp => moment::parse(&text).map(timestamp),
                    SqlType::Date => moment::parse_date(&text).map(date),
                    SqlType::Int => text.trim().parse::<i64>().ok().map(lit),
                    SqlType::Float => text.trim().parse::<f64>().ok().map(lit),
                    SqlType::Bool => boolean(&text).map(lit),
                    SqlType::Span => {
                        moment::span(&text).filter(|(months, _)| *months == 0).map(|(_, micros)| lit(micros))
                    }
                    _ => None,
                };
                match read {
                    Some(expr) => expr,
                    None => return wrong(format!("'{text}' is not {}", article(kind))),
                }
            }
            (from, _) => return wrong(format!("{} where {} is needed", article(from), article(kind))),
        };
        Ok(Typed::new(expr, kind))
    }

    /// Converts a value to an integer of 64 bits.
    pub fn int(&self, value: Typed, expr_text: &str) -> Result<Expr> {
        Ok(self.coerce(value, SqlType::Int, expr_text)?.expr)
    }

    /// Converts a value to a text.
    pub fn text(&self, value: Typed, expr_text: &str) -> Result<Expr> {
        Ok(self.coerce(value, SqlType::Text, expr_text)?.expr)
    }

    /// Plans a condition.
    pub fn condition(&mut self, expr: &ast::Expr) -> Result<Expr> {
        let value = self.expr(expr)?;
        Ok(self.coerce(value, SqlType::Bool, &expr.to_string())?.expr)
    }

    /// Converts values to their common type.
    pub fn alike(&self, values: Vec<Typed>, expr_text: &str) -> Result<(Vec<Expr>, SqlType)> {
        let mut all = Typed::new(lit(NULL), SqlType::Null);
        for value in &values {
            let Some(kind) = common(&all, value) else {
                let (one, other) = (article(all.kind), article(value.kind));
                return Err(refused(format!("{expr_text}: {one} and {other} are incompatible; CAST one of them")));
            };
            let constant =
                if kind == SqlType::Text || all.kind == SqlType::Null { value.constant.clone() } else { None };
            all = Typed {
                kind,
                constant: constant.filter(|_| all.kind == SqlType::Null || all.constant.is_some()),
                ..all
            };
        }
        let exprs = values.into_iter().map(|value| Ok(self.coerce(value, all.kind, expr_text)?.expr));
        Ok((exprs.collect::<Result<_>>()?, all.kind))
    }

    /// Plans CAST or TRY_CAST; `whole` is the whole expression, and `inner` its operand.
    pub fn cast(
        &self,
        value: Typed,
        target: &ast::DataType,
        is_try: bool,
        whole: &ast::Expr,
        inner: &ast::Expr,
    ) -> Result<Typed> {
        let Some(target) = CastTarget::from_ast(target) else {
            return Err(refused(format!("{whole}: the type {target} is not supported")));
        };
        let reason = |problem: String, instead: String| {
            let advice = vec![format!("write {instead}")];
            let refused = Refused { problem: format!("{whole}: {problem}"), advice };
            Check::new(&self.planner.failures, refused.with_query(self.planner.instead(whole, &instead)))
        };
        let wide = reason(format!("a value does not fit {}", target.name), format!("CAST({inner} AS DOUBLE)"));
        let no_value = reason(
            format!("a text is not {}", article(target.kind)),
            format!("TRY_CAST({inner} AS {})", target.kind.name()),
        );
        let constant = value.text().map(|text| Constant::Text(text.to_owned()));
        let guarded = |value: Typed| self.guarded(value.expr, value.kind);
        let expr = match (value.kind, target.kind) {
            (SqlType::Null, kind) => null(kind),
            (SqlType::Int, SqlType::Int) => match target.range {
                None => value.expr.cast(DataType::Int64),
                Some((least, most)) => compute::int_of_int(guarded(value), move |n| {
                    if (least..=most).contains(&n) {
                        Ok(Some(n))
                    } else if is_try {
                        Ok(None)
                    } else {
                        Err(wide.fail())
                    }
                }),
            },
            (SqlType::Float, SqlType::Int) => {
                let is_decimal = matches!(value.constant, Some(Constant::Decimal(_)));
                let (least, most) = target.range.unwrap_or((i64::MIN, i64::MAX));
                compute::int_of_float(guarded(value), move |x| {
                    // Rounding a double moves halves to the even number; rounding a decimal moves them away from
                    // zero.
                    let whole = if is_decimal { x.round() } else { x.round_ties_even() };
                    // 2^63 is the first double beyond the largest integer.
                    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole);
                    if fits && (least..=most).contains(&(whole as i64)) {
                        Ok(Some(whole as i64))
                    } else if is_try {
                        Ok(None)
                    } else {
                        Err(wide.fail())
                    }
                })
            }
            (SqlType::Int | SqlType::Float, SqlType::Float) => match target.scale {
                None => value.expr.cast(DataType::Float64),
                Some(scale) => value.expr.cast(DataType::Float64).round(scale, RoundMode::HalfAwayFromZero),
            },
            (SqlType::Bool, SqlType::Int | SqlType::Float) | (SqlType::Date, SqlType::Timestamp) => {
                value.expr.cast(target.kind.dtype())
            }
            (SqlType::Int, SqlType::Bool) => value.expr.neq(lit(0i64)),
            (SqlType::Timestamp, SqlType::Date) => value.expr.cast(DataType::Date),
            (SqlType::Text, SqlType::Int) => {
                let (least, most) = target.range.unwrap_or((i64::MIN, i64::MAX));
                let read = move |text: &str| {
                    let read = whole_number(text).filter(|n| (least..=most).contains(n));
                    if read.is_none() && !is_try { Err(no_value.fail()) } else { Ok(read) }
                };
                compute::of_text(guarded(value), OfText::Int(Box::new(read)))
            }
            (SqlType::Text, SqlType::Float) => {
                let read = move |text: &str| {
                    let read = text.trim().parse::<f64>().ok();
                    if read.is_none() && !is_try { Err(no_value.fail()) } else { Ok(read) }
                };
                compute::of_text(guarded(value), OfText::Float(Box::new(read)))
            }
            (SqlType::Text, SqlType::Bool) => {
                let read = move |text: &str| {
                    let read = boolean(text);
                    if read.is_none() && !is_try { Err(no_value.fail()) } else { Ok(read) }
                };
                compute::of_text(guarded(value), OfText::Bool(Box::new(read)))
            }
            (SqlType::Text, SqlType::Timestamp | SqlType::Date) => {
                let is_day = target.kind == SqlType::Date;
                let read = move |text: &str| {
                    let read = moment::parse(text);
                    if read.is_none() && !is_try { Err(no_value.fail()) } else { Ok(read) }
                };
                let micros = compute::of_text(guarded(value), OfText::Int(Box::new(read)));
                let moment = micros.cast(SqlType::Timestamp.dtype());
                if is_day { moment.cast(DataType::Date) } else { moment }
            }
            (SqlType::Int, SqlType::Text) => compute::text_of(value.expr, SqlType::Int, |n| Some(n.to_string())),
            (SqlType::Float, SqlType::Text) => value.expr.cast(DataType::String),
            (SqlType::Bool, SqlType::Text) => {
                let printed = |n| Some(if n == 0 { "false" } else { "true" }.to_owned());
                compute::text_of(value.expr, SqlType::Bool, printed)
            }
            (SqlType::Date, SqlType::Text) => {
                compute::text_of(value.expr.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp, |micros| {
                    Some(moment::print(micros, "%Y-%m-%d"))
                })
            }
            (SqlType::Timestamp, SqlType::Text) => {
                let instead = format!("STRFTIME({inner}, '%Y-%m-%d %H:%M:%S')");
                let runs = self.planner.instead(whole, &instead);
                let problem = format!("{whole}: engines format timestamps differently");
                return Err(refused_with(problem, &format!("give the format: {instead}"), Some(runs)));
            }
            (from, to) if from == to => value.expr,
            (from, to) => {
                return Err(refused(format!("{whole}: {} cannot become {}", article(from), article(to))));
            }
        };
        let kind = target.kind;
        Ok(Typed { expr, kind, constant: constant.filter(|_| kind == SqlType::Text) })
    }
}

/// The target of a CAST.
struct CastTarget {
    kind: SqlType,
    name: String,
    /// The minimum and maximum, if the target is an integer narrower than 64 bits.
    range: Option<(i64, i64)>,
    /// Fractional digits.
    scale: Option<u32>,
}

impl CastTarget {
    fn from_ast(target: &ast::DataType) -> Option<CastTarget> {
        use ast::DataType as T;
        let name = target.to_string().to_uppercase();
        let base = name.split('(').next().unwrap_or_default().trim().to_owned();
        let (mut range, mut scale) = (None, None);
        let kind = match base.as_str() {
            "TINYINT" | "INT1" => {
                range = Some((i8::MIN.into(), i8::MAX.into()));
                SqlType::Int
            }
            "SMALLINT" | "INT2" => {
                range = Some((i16::MIN.into(), i16::MAX.into()));
                SqlType::Int
            }
            "INT" | "INTEGER" | "INT4" | "SIGNED" => {
                range = Some((i32::MIN.into(), i32::MAX.into()));
                SqlType::Int
            }
            "BIGINT" | "INT8" | "LONG" | "INT64" => SqlType::Int,
            "DOUBLE" | "DOUBLE PRECISION" | "FLOAT8" | "FLOAT64" => SqlType::Float,
            "DECIMAL" | "NUMERIC" | "DEC" => {
                scale = Some(match target {
                    T::Decimal(ast::ExactNumberInfo::PrecisionAndScale(_, scale))
                    | T::Numeric(ast::ExactNumberInfo::PrecisionAndScale(_, scale))
                    | T::Dec(ast::ExactNumberInfo::PrecisionAndScale(_, scale)) => u32::try_from(*scale).ok()?,
                    T::Decimal(ast::ExactNumberInfo::Precision(_)) | T::Numeric(ast::ExactNumberInfo::Precision(_)) => {
                        0
                    }
                    _ => 3,
                });
                SqlType::Float
            }
            "VARCHAR" | "TEXT" | "STRING" | "CHAR" | "CHARACTER VARYING" | "CHARACTER" => SqlType::Text,
            "BOOLEAN" | "BOOL" => SqlType::Bool,
            "DATE" => SqlType::Date,
            "TIMESTAMP" | "DATETIME" | "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" | "TIMESTAMP WITHOUT TIME ZONE" => {
                SqlType::Timestamp
            }
            _ => return None,
        };
        Some(CastTarget { kind, name: base, range, scale })
    }
}

/// The name of a type with its article.
pub fn article(kind: SqlType) -> String {
    match kind {
        SqlType::Null => "NULL".to_owned(),
        SqlType::Int => "an integer".to_owned(),
        SqlType::Float => "a number".to_owned(),
        SqlType::Text => "a text".to_owned(),
        SqlType::Bool => "a condition".to_owned(),
        SqlType::Timestamp => "a timestamp such as 2026-11-23T18:28:01Z".to_owned(),
        SqlType::Date => "a day such as 2026-11-23".to_owned(),
        SqlType::Span => "an interval such as INTERVAL '90 minutes'".to_owned(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" => Some(true),
        "false" | "f" | "0" | "no" | "n" => Some(false),
        _ => None,
    }
}

/// Parses an integer. A fraction is rounded; halves are rounded away from zero.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse::<i64>().ok().or_else(|| {
        let x = text.parse::<f64>().ok()?.round();
        (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x).then_some(x as i64)
    })
}
