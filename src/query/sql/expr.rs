//! Expressions: names, operators and conditions.

use polars::prelude::{
    AnyValue, DataFrame, DataType, Expr, IntoLazy, LiteralValue, NULL, NamedFrom, Series, lit, when,
};
use sqlparser::ast::{self, Value};

use super::cast::{article, common, null};
use super::moment;
use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{Constant, Planner, ScopeColumn, SqlType, Typed, same_name};
use crate::error::{Error, Refused, Result};
use crate::query::question::nearest;

impl Select<'_> {
    /// Plans an expression.
    ///
    /// # Errors
    /// When the expression has an unknown name, or is not supported.
    pub fn expr(&mut self, expr: &ast::Expr) -> Result<Typed> {
        if self.is_grouped
            && let Some(key) = self.key(expr)
        {
            return Ok(key);
        }
        use ast::Expr as E;
        match expr {
            E::Identifier(name) => self.name(std::slice::from_ref(name), expr),
            E::CompoundIdentifier(parts) => self.name(parts, expr),
            E::Nested(inner) => self.expr(inner),
            E::Value(value) => constant(&value.value, ""),
            E::TypedString(typed) => {
                let text = Typed {
                    constant: typed.value.value.clone().into_string().map(Constant::Text),
                    ..constant(&typed.value.value, "")?
                };
                let kind = match typed.data_type.to_string().to_uppercase().as_str() {
                    "DATE" => SqlType::Date,
                    name if name.starts_with("TIMESTAMP") || name == "DATETIME" => SqlType::Timestamp,
                    _ => return Err(refused(format!("{expr} is not supported; only DATE and TIMESTAMP are"))),
                };
                self.coerce(text, kind, &expr.to_string())
            }
            E::Interval(interval) => {
                let (months, micros) = moment::interval(interval)?;
                Ok(self.span(months, micros, expr))
            }
            E::UnaryOp { op, expr: inner } => self.unary(*op, inner, expr),
            E::BinaryOp { left, op, right } => self.binary(left, op, right, expr),
            E::IsNull(inner) => Ok(Typed::new(self.expr(inner)?.expr.is_null(), SqlType::Bool)),
            E::IsNotNull(inner) => Ok(Typed::new(self.expr(inner)?.expr.is_not_null(), SqlType::Bool)),
            E::IsTrue(inner) => Ok(Typed::new(self.condition(inner)?.fill_null(lit(false)), SqlType::Bool)),
            E::IsNotTrue(inner) => Ok(Typed::new(self.condition(inner)?.fill_null(lit(false)).not(), SqlType::Bool)),
            E::IsFalse(inner) => Ok(Typed::new(self.condition(inner)?.fill_null(lit(true)).not(), SqlType::Bool)),
            E::IsNotFalse(inner) => Ok(Typed::new(self.condition(inner)?.fill_null(lit(true)), SqlType::Bool)),
            E::IsUnknown(inner) => Ok(Typed::new(self.condition(inner)?.is_null(), SqlType::Bool)),
            E::IsNotUnknown(inner) => Ok(Typed::new(self.condition(inner)?.is_not_null(), SqlType::Bool)),
            E::IsDistinctFrom(left, right) => {
                let (left, right, _) = self.pair(left, right, expr)?;
                Ok(Typed::new(left.neq_missing(right), SqlType::Bool))
            }
            E::IsNotDistinctFrom(left, right) => {
                let (left, right, _) = self.pair(left, right, expr)?;
                Ok(Typed::new(left.eq_missing(right), SqlType::Bool))
            }
            E::Between { expr: inner, negated, low, high } => {
                let (value, low, _) = self.pair(inner, low, expr)?;
                let (again, high, _) = self.pair(inner, high, expr)?;
                Ok(negate(value.gt_eq(low).and(again.lt_eq(high)), *negated))
            }
            E::InList { expr: inner, list, negated } => {
                let found = self.in_list(inner, list, expr)?;
                Ok(negate(found, *negated))
            }
            E::InSubquery { expr: inner, subquery, negated } => self.in_subquery(inner, subquery, *negated, expr),
            E::Exists { subquery, negated } => self.exists(subquery, *negated),
            E::Subquery(query) => self.scalar(query, expr),
            E::Like { negated, any: false, expr: inner, pattern, escape_char } => {
                self.like(inner, pattern, escape_char.as_ref(), *negated, false, expr)
            }
            E::ILike { negated, any: false, expr: inner, pattern, escape_char } => {
                self.like(inner, pattern, escape_char.as_ref(), *negated, true, expr)
            }
            E::SimilarTo { negated, expr: inner, pattern, escape_char: None } => {
                let value = self.expr(inner)?;
                let value = self.text(value, &expr.to_string())?;
                let pattern = self.pattern(pattern)?;
                Ok(negate(value.str().contains(lit(format!("^(?:{pattern})$")), true), *negated))
            }
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), expr)
            }
            E::Cast { kind, expr: inner, data_type, format: None, .. } => {
                let is_try = matches!(kind, ast::CastKind::TryCast | ast::CastKind::SafeCast);
                let value = self.expr(inner)?;
                self.cast(value, data_type, is_try, expr, inner)
            }
            E::Extract { field, expr: inner, .. } => {
                let value = self.expr(inner)?;
                self.part(&field.to_string(), value, expr)
            }
            E::Ceil { expr: inner, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                let value = self.number(inner, expr)?;
                Ok(Typed::new(value.expr.cast(DataType::Float64).ceil(), SqlType::Float))
            }
            E::Floor { expr: inner, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                let value = self.number(inner, expr)?;
                Ok(Typed::new(value.expr.cast(DataType::Float64).floor(), SqlType::Float))
            }
            E::Position { expr: part, r#in } => self.position(r#in, part, expr),
            E::Substring { expr: inner, substring_from: Some(from), substring_for, .. } => {
                self.substring(inner, from, substring_for.as_deref(), expr)
            }
            E::Trim { trim_where, trim_what, expr: inner, trim_characters } => {
                let what = trim_what.as_deref().or(trim_characters.as_ref().and_then(|list| list.first()));
                let (start, end) = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => (true, true),
                    Some(ast::TrimWhereField::Leading) => (true, false),
                    Some(ast::TrimWhereField::Trailing) => (false, true),
                };
                self.trim(inner, what, start, end, expr)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                let zone = time_zone.to_string();
                if !["'UTC'", "'Etc/UTC'", "'GMT'"].contains(&zone.as_str()) {
                    let advice = "timestamps are UTC";
                    let runs = self.planner.instead(expr, &timestamp.to_string());
                    return Err(refused_with(format!("AT TIME ZONE {zone} is not supported"), advice, Some(runs)));
                }
                let value = self.expr(timestamp)?;
                self.coerce(value, SqlType::Timestamp, &expr.to_string())
            }
            E::Function(function) => self.function(function, expr),
            other => Err(refused(format!("{other} is not supported"))),
        }
    }

    /// Resolves a column name; `None` if no column has it.
    ///
    /// # Errors
    /// When the name is ambiguous.
    pub fn resolve(&self, parts: &[ast::Ident]) -> Result<Option<&ScopeColumn>> {
        let (relation, name) = match parts {
            [name] => (None, name),
            [relation, name] => (Some(relation), name),
            _ => return Ok(None),
        };
        let is_meant = |column: &&ScopeColumn| {
            same_name(&column.name, &name.value)
                && relation.map_or(!column.is_hidden, |relation| same_name(&column.relation, &relation.value))
        };
        let found: Vec<&ScopeColumn> = self.columns.iter().filter(is_meant).collect();
        match found.as_slice() {
            [] => Ok(None),
            [column] => Ok(Some(column)),
            [column, ..] => {
                let tables: Vec<&str> = found.iter().map(|column| column.relation.as_str()).collect();
                let qualified = format!("{}.{}", column.relation, column.name);
                let runs = self.planner.instead(&ast::Expr::Identifier(name.clone()), &qualified);
                let problem = format!("column {} is in {}", name.value, tables.join(" and in "));
                Err(refused_with(problem, &format!("qualify it: {qualified}"), Some(runs)))
            }
        }
    }

    fn name(&mut self, parts: &[ast::Ident], expr: &ast::Expr) -> Result<Typed> {
        if let Some(column) = self.resolve(parts)? {
            if self.is_grouped {
                let name = expr.to_string();
                let runs = self.planner.instead(expr, &format!("MAX({name})"));
                let problem = format!("column {name} is neither in GROUP BY nor in an aggregate");
                return Err(refused_with(problem, "group by it, or aggregate it", Some(runs)));
            }
            return Ok(Typed::column(&column.id, column.kind));
        }
        // An alias of the result, as in ORDER BY, HAVING and GROUP BY.
        if let [name] = parts
            && let Some(at) = self.aliases.iter().position(|(alias, _)| same_name(alias, &name.value))
        {
            let (alias, meaning) = self.aliases.remove(at);
            let planned = self.expr(&meaning);
            self.aliases.insert(at, (alias, meaning));
            return planned;
        }
        Err(self.unknown(parts, expr))
    }

    fn unknown(&self, parts: &[ast::Ident], expr: &ast::Expr) -> Error {
        let name = parts.last().map_or("", |name| name.value.as_str());
        let mut refused = Refused::because(format!("there is no column {expr}"));
        let near = nearest(name, self.columns.iter().map(|column| column.name.as_str()));
        if let Some(near) = near {
            refused.advice.push(format!("did you mean {near}?"));
        }
        let mut relations: Vec<&str> = Vec::new();
        for column in &self.columns {
            if !relations.contains(&column.relation.as_str()) {
                relations.push(&column.relation);
            }
        }
        for relation in relations {
            let of = self.columns.iter().filter(|column| column.relation == relation);
            let names: Vec<&str> = of.map(|column| column.name.as_str()).collect();
            refused.advice.push(format!("columns of {relation}: {}", names.join(", ")));
        }
        match near {
            Some(near) => refused.with_query(self.planner.instead(expr, near)).into(),
            None => refused.into(),
        }
    }

    /// Converts two values to their common type.
    pub fn pair(&mut self, left: &ast::Expr, right: &ast::Expr, whole: &ast::Expr) -> Result<(Expr, Expr, SqlType)> {
        let (one, other) = (self.expr(left)?, self.expr(right)?);
        let Some(kind) = common(&one, &other) else {
            let problem = format!("{whole}: {} and {} cannot be compared", article(one.kind), article(other.kind));
            let instead = format!("CAST({left} AS VARCHAR) = CAST({right} AS VARCHAR)");
            let is_moment =
                [one.kind, other.kind].iter().any(|kind| matches!(kind, SqlType::Timestamp | SqlType::Span));
            let runs = (!is_moment).then(|| self.planner.instead(whole, &instead));
            return Err(refused_with(problem, "CAST one of them", runs));
        };
        // Two untyped nulls are compared as booleans, the narrowest type.
        let kind = if kind == SqlType::Null { SqlType::Bool } else { kind };
        let expr_text = whole.to_string();
        Ok((self.coerce(one, kind, &expr_text)?.expr, self.coerce(other, kind, &expr_text)?.expr, kind))
    }

    /// Protects an operand of an expression that may fail. In rows where an enclosing condition does not hold, null
    /// replaces the operand. The value of the expression is not used in these rows, and must not raise an error.
    pub fn guarded(&self, expr: Expr, kind: SqlType) -> Expr {
        match self.guards.iter().cloned().reduce(Expr::and) {
            None => expr,
            Some(guard) => when(guard).then(expr).otherwise(null(kind)),
        }
    }

    /// Plans an expression whose value is only used where `guard` holds.
    pub fn under(&mut self, guard: Expr, expr: &ast::Expr) -> Result<Typed> {
        self.guards.push(guard);
        let planned = self.expr(expr);
        self.guards.pop();
        planned
    }

    fn in_list(&mut self, inner: &ast::Expr, list: &[ast::Expr], whole: &ast::Expr) -> Result<Expr> {
        let mut values = vec![self.expr(inner)?];
        for item in list {
            values.push(self.expr(item)?);
        }
        let (mut exprs, kind) = self.alike(values, &whole.to_string())?;
        let value = exprs.remove(0);
        if exprs.len() > 8 && list.iter().all(|item| matches!(item, ast::Expr::Value(_))) {
            let list = self.planner.constants(exprs, kind)?;
            return Ok(is_in(value, list));
        }
        let any = exprs.into_iter().map(|item| value.clone().eq(item)).reduce(Expr::or);
        Ok(any.unwrap_or_else(|| lit(false)))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        whole: &ast::Expr,
    ) -> Result<Typed> {
        let guards = self.guards.len();
        let (mut tests, mut values) = (Vec::new(), Vec::new());
        for case in conditions {
            let test = match operand {
                None => self.condition(&case.condition)?,
                Some(operand) => {
                    let (left, right, _) = self.pair(operand, &case.condition, whole)?;
                    left.eq(right)
                }
            };
            let holds = test.fill_null(lit(false));
            values.push(self.under(holds.clone(), &case.result)?);
            self.guards.push(holds.clone().not());
            tests.push(holds);
        }
        let last = match otherwise {
            Some(expr) => self.expr(expr)?,
            None => Typed::new(lit(NULL), SqlType::Null),
        };
        self.guards.truncate(guards);
        values.push(last);
        let (mut exprs, kind) = self.alike(values, "CASE")?;
        let last = exprs.pop().unwrap_or_else(|| null(kind));
        let chosen = tests.into_iter().zip(exprs).rev();
        let expr = chosen.fold(last, |otherwise, (test, value)| when(test).then(value).otherwise(otherwise));
        Ok(Typed::new(expr, kind))
    }
}

impl Planner {
    /// Computes the values of constant expressions.
    fn constants(&self, exprs: Vec<Expr>, kind: SqlType) -> Result<Series> {
        let one = DataFrame::new_infer_height(vec![Series::new("t".into(), [0i64]).into()])?.lazy();
        let named = exprs.into_iter().enumerate().map(|(n, expr)| expr.alias(n.to_string()));
        let row = self.collect(one.select(named.collect::<Vec<_>>()))?;
        let values = row.columns().iter().map(|column| Ok(column.get(0)?.into_static()));
        let values: Vec<AnyValue<'static>> = values.collect::<Result<_>>()?;
        Ok(Series::from_any_values_and_dtype("list".into(), &values, &kind.dtype(), false)?)
    }
}

/// Returns whether a value is in a list; null if this is unknown.
pub fn is_in(value: Expr, list: Series) -> Expr {
    let has_null = list.null_count() > 0;
    let is_empty = list.is_empty();
    let list = list.drop_nulls();
    let literal = Expr::Literal(LiteralValue::Series(polars::prelude::SpecialEq::new(list)));
    let found = value.clone().is_in(literal.implode(true), false);
    if is_empty {
        return found.fill_null(lit(false));
    }
    let unknown = if has_null { lit(true) } else { value.is_null() };
    when(found.clone().fill_null(lit(false)))
        .then(lit(true))
        .when(unknown)
        .then(null(SqlType::Bool))
        .otherwise(lit(false))
}

/// A condition, negated if `negated` is true.
pub fn negate(expr: Expr, negated: bool) -> Typed {
    Typed::new(if negated { expr.not() } else { expr }, SqlType::Bool)
}

/// Parses a constant, with an optional sign.
pub fn constant(value: &Value, sign: &str) -> Result<Typed> {
    if let Some(text) = value.clone().into_string() {
        return Ok(Typed { constant: Some(Constant::Text(text.clone())), ..Typed::new(lit(text), SqlType::Text) });
    }
    Ok(match value {
        Value::Number(digits, _) => {
            let digits = format!("{sign}{}", digits.replace('_', ""));
            let wrong = || refused(format!("{digits} is not a number that fits a BIGINT or DOUBLE"));
            if digits.contains(['e', 'E', '.']) {
                let number: f64 = digits.parse().map_err(|_| wrong())?;
                let is_decimal = !digits.contains(['e', 'E']);
                let constant = is_decimal.then_some(Constant::Decimal(number));
                Typed { constant, ..Typed::new(lit(number), SqlType::Float) }
            } else {
                let number: i64 = digits.parse().map_err(|_| wrong())?;
                Typed { constant: Some(Constant::Int(number)), ..Typed::new(lit(number), SqlType::Int) }
            }
        }
        Value::Boolean(value) => Typed::new(lit(*value), SqlType::Bool),
        Value::Null => Typed::new(lit(NULL), SqlType::Null),
        other => return Err(refused(format!("{other} is not supported"))),
    })
}
