//! Functions that are computed value by value, because the engine lacks them or gives them other semantics.

use std::iter;

use polars::prelude::{
    BooleanChunked, Column, DataType, Expr, Field, Float64Chunked, Int64Chunked, IntoSeries, NewChunkedArray,
    PolarsResult, StringChunked,
};

use super::SqlType;

/// A column of values of one type.
enum Values {
    Int(Int64Chunked),
    Float(Float64Chunked),
    Text(StringChunked),
}

fn ints(column: &Column) -> PolarsResult<Int64Chunked> {
    Ok(column.as_materialized_series().cast(&DataType::Int64)?.i64()?.clone())
}

fn floats(column: &Column) -> PolarsResult<Float64Chunked> {
    Ok(column.as_materialized_series().cast(&DataType::Float64)?.f64()?.clone())
}

fn texts(column: &Column) -> PolarsResult<StringChunked> {
    Ok(column.as_materialized_series().cast(&DataType::String)?.str()?.clone())
}

/// The number of rows. A column with a single value has this value in every row.
fn height(columns: &[Column]) -> usize {
    columns.iter().map(Column::len).find(|len| *len != 1).unwrap_or(1)
}

/// The values of a column. A single value is repeated.
fn repeat<'v, T: Copy + 'v>(
    mut values: impl Iterator<Item = Option<T>> + 'v,
    own: usize,
    height: usize,
) -> Box<dyn Iterator<Item = Option<T>> + 'v> {
    if own == height {
        Box::new(values)
    } else {
        let one = values.next().flatten();
        Box::new(iter::repeat_n(one, height))
    }
}

fn field(kind: SqlType) -> impl Fn(&polars::prelude::Schema, &[Field]) -> PolarsResult<Field> + Send + Sync + 'static {
    move |_, fields| Ok(Field::new(fields[0].name().clone(), kind.dtype()))
}

/// Computes an integer from two integers; null if one of them is null.
pub fn int_of_ints(
    left: Expr,
    right: Expr,
    f: impl Fn(i64, i64) -> PolarsResult<Option<i64>> + Send + Sync + 'static,
) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let (left, right) = (ints(&columns[0])?, ints(&columns[1])?);
        let height = height(columns);
        let pairs = repeat(left.iter(), left.len(), height).zip(repeat(right.iter(), right.len(), height));
        let values = pairs.map(|pair| if let (Some(l), Some(r)) = pair { f(l, r) } else { Ok(None) });
        let values = values.collect::<PolarsResult<Vec<_>>>()?;
        Ok(Int64Chunked::from_slice_options(columns[0].name().clone(), &values).into_series().into())
    };
    left.map_many(compute, &[right], field(SqlType::Int))
}

/// Computes an integer from an integer; null if the argument is null.
pub fn int_of_int(value: Expr, f: impl Fn(i64) -> PolarsResult<Option<i64>> + Send + Sync + 'static) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let values = ints(&columns[0])?;
        let values = values.iter().map(|n| n.map_or(Ok(None), &f)).collect::<PolarsResult<Vec<_>>>()?;
        Ok(Int64Chunked::from_slice_options(columns[0].name().clone(), &values).into_series().into())
    };
    value.map_many(compute, &[], field(SqlType::Int))
}

/// Computes an integer from a float; null if the float is null.
pub fn int_of_float(value: Expr, f: impl Fn(f64) -> PolarsResult<Option<i64>> + Send + Sync + 'static) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let values = floats(&columns[0])?;
        let values = values.iter().map(|n| n.map_or(Ok(None), &f)).collect::<PolarsResult<Vec<_>>>()?;
        Ok(Int64Chunked::from_slice_options(columns[0].name().clone(), &values).into_series().into())
    };
    value.map_many(compute, &[], field(SqlType::Int))
}

/// Computes a float from two floats; null if one of them is null.
pub fn float_of_floats(left: Expr, right: Expr, f: impl Fn(f64, f64) -> f64 + Send + Sync + 'static) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let (left, right) = (floats(&columns[0])?, floats(&columns[1])?);
        let height = height(columns);
        let pairs = repeat(left.iter(), left.len(), height).zip(repeat(right.iter(), right.len(), height));
        let values: Vec<Option<f64>> = pairs.map(|(l, r)| Some(f(l?, r?))).collect();
        Ok(Float64Chunked::from_slice_options(columns[0].name().clone(), &values).into_series().into())
    };
    left.map_many(compute, &[right], field(SqlType::Float))
}

/// Rounds a float to a number of digits after the point, halves away from zero. A float that is too large to be rounded
/// is returned unchanged. The exact value of the double decides, not its printed form. For example, the double printed
/// as 2.675 is slightly smaller than 2.675, so it gives 2.67.
pub fn rounded(x: f64, digits: i64) -> f64 {
    let unit = 10f64.powi(digits.unsigned_abs().try_into().unwrap_or(i32::MAX));
    let scaled = if digits < 0 { x / unit } else { x * unit };
    // If the scaled number looks like a half, the part that the scaling lost decides how it is rounded.
    let lost = if digits < 0 { -scaled.mul_add(unit, -x) } else { x.mul_add(unit, -scaled) };
    let is_less = (scaled - scaled.trunc()).abs() == 0.5 && lost * scaled < 0.0;
    let whole = if is_less { scaled.trunc() } else { scaled.round() };
    let rounded = if digits < 0 { whole * unit } else { whole / unit };
    if rounded.is_finite() { rounded } else { x }
}

/// Rounds an integer to tens, hundreds and so on (`digits` is negative), halves away from zero; `None` if the result
/// does not fit 64 bits.
pub fn rounded_int(n: i64, digits: i64) -> Option<i64> {
    let Some(unit) = digits.unsigned_abs().try_into().ok().and_then(|digits| 10i64.checked_pow(digits)) else {
        return Some(0);
    };
    let part = n % unit;
    let down = n - part;
    if part.unsigned_abs() < unit.unsigned_abs() / 2 { Some(down) } else { down.checked_add(unit * n.signum()) }
}

/// A function of a text. `None` as a result means null.
type TextFunction<T> = Box<dyn Fn(&str) -> PolarsResult<Option<T>> + Send + Sync>;

/// A function of a text, by the type of its result.
pub enum OfText {
    Int(TextFunction<i64>),
    Float(TextFunction<f64>),
    Bool(TextFunction<bool>),
    Text(TextFunction<String>),
}

/// Computes a value from a text; null if the text is null.
pub fn of_text(value: Expr, f: OfText) -> Expr {
    let kind = match f {
        OfText::Int(_) => SqlType::Int,
        OfText::Float(_) => SqlType::Float,
        OfText::Bool(_) => SqlType::Bool,
        OfText::Text(_) => SqlType::Text,
    };
    let compute = move |columns: &mut [Column]| {
        let name = columns[0].name().clone();
        let texts = texts(&columns[0])?;
        let texts = texts.iter();
        Ok(match &f {
            OfText::Int(f) => {
                let values = texts.map(|t| t.map_or(Ok(None), f)).collect::<PolarsResult<Vec<_>>>()?;
                Int64Chunked::from_slice_options(name, &values).into_series()
            }
            OfText::Float(f) => {
                let values = texts.map(|t| t.map_or(Ok(None), f)).collect::<PolarsResult<Vec<_>>>()?;
                Float64Chunked::from_slice_options(name, &values).into_series()
            }
            OfText::Bool(f) => {
                let values = texts.map(|t| t.map_or(Ok(None), f)).collect::<PolarsResult<Vec<_>>>()?;
                BooleanChunked::from_slice_options(name, &values).into_series()
            }
            OfText::Text(f) => {
                let values = texts.map(|t| t.map_or(Ok(None), f)).collect::<PolarsResult<Vec<_>>>()?;
                StringChunked::from_iter_options(name, values.into_iter()).into_series()
            }
        }
        .into())
    };
    value.map_many(compute, &[], field(kind))
}

/// Computes a text from a text and integers; null if one of them is null.
pub fn text_of_text_and_ints(
    text: Expr,
    numbers: &[Expr],
    f: impl Fn(&str, &[i64]) -> String + Send + Sync + 'static,
) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let height = height(columns);
        let text = texts(&columns[0])?;
        let numbers = columns[1..].iter().map(ints).collect::<PolarsResult<Vec<_>>>()?;
        let mut rows: Vec<_> = numbers.iter().map(|n| repeat(n.iter(), n.len(), height)).collect();
        let mut values = Vec::with_capacity(height);
        for text in repeat(text.iter(), text.len(), height) {
            let numbers: Vec<Option<i64>> = rows.iter_mut().map(|row| row.next().flatten()).collect();
            let known: Option<Vec<i64>> = numbers.into_iter().collect();
            values.push(text.zip(known).map(|(text, numbers)| f(text, &numbers)));
        }
        Ok(StringChunked::from_iter_options(columns[0].name().clone(), values.into_iter()).into_series().into())
    };
    text.map_many(compute, numbers, field(SqlType::Text))
}

/// Computes an integer from two texts; null if one of them is null.
pub fn int_of_texts(left: Expr, right: Expr, f: impl Fn(&str, &str) -> i64 + Send + Sync + 'static) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let (left, right) = (texts(&columns[0])?, texts(&columns[1])?);
        let height = height(columns);
        let pairs = repeat(left.iter(), left.len(), height).zip(repeat(right.iter(), right.len(), height));
        let values: Vec<Option<i64>> = pairs.map(|(l, r)| Some(f(l?, r?))).collect();
        Ok(Int64Chunked::from_slice_options(columns[0].name().clone(), &values).into_series().into())
    };
    left.map_many(compute, &[right], field(SqlType::Int))
}

/// Computes a text from any value; null if the value is null.
pub fn text_of(value: Expr, kind: SqlType, f: impl Fn(i64) -> Option<String> + Send + Sync + 'static) -> Expr {
    let compute = move |columns: &mut [Column]| {
        let values = match kind {
            SqlType::Float => Values::Float(floats(&columns[0])?),
            SqlType::Text => Values::Text(texts(&columns[0])?),
            _ => Values::Int(ints(&columns[0])?),
        };
        let texts: Vec<Option<String>> = match &values {
            Values::Int(values) => values.iter().map(|n| n.and_then(&f)).collect(),
            Values::Float(values) => values.iter().map(|n| n.map(|n| format!("{n:?}"))).collect(),
            Values::Text(values) => values.iter().map(|text| text.map(str::to_owned)).collect(),
        };
        Ok(StringChunked::from_iter_options(columns[0].name().clone(), texts.into_iter()).into_series().into())
    };
    value.map_many(compute, &[], field(SqlType::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_rounded_by_their_exact_value() {
        for (x, digits, is) in [
            (2.675, 2, 2.67),
            (-2.675, 2, -2.67),
            (1.005, 2, 1.0),
            (0.285, 2, 0.28),
            (0.125, 2, 0.13),
            (-0.375, 2, -0.38),
            (15.0, -1, 20.0),
            (-5.5, -1, -10.0),
            (1e300, 20, 1e300),
            (5e-324, 1, 0.0),
            (1234.5678, 3, 1234.568),
        ] {
            assert_eq!(rounded(x, digits), is, "{x} to {digits} digits");
        }
    }

    #[test]
    fn integers_are_rounded_without_a_float() {
        let at = 1_795_458_486_976_131_544;
        assert_eq!(rounded_int(at, -3), Some(1_795_458_486_976_132_000));
        assert_eq!(rounded_int(-at, -3), Some(-1_795_458_486_976_132_000));
        assert_eq!([15, -15, 14, -14, 0].map(|n| rounded_int(n, -1)), [20, -20, 10, -10, 0].map(Some));
        assert_eq!([-18, -19, -400].map(|digits| rounded_int(at, digits)), [2_000_000_000_000_000_000, 0, 0].map(Some));
        assert_eq!([i64::MAX, i64::MIN].map(|n| rounded_int(n, -1)), [None, None]);
    }
}
