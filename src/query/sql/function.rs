//! Scalar functions.

use polars::lazy::dsl::{max_horizontal, min_horizontal};
use polars::prelude::{DataType, Expr, RoundMode, coalesce, concat_str, lit, when};
use sqlparser::ast::{self, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::cast::null;
use super::compute::{self, OfText};
use super::moment::{self, Unit};
use super::operator::micros;
use super::refusal::{Check, refused, refused_with};
use super::select::Select;
use super::{Constant, SqlType, Typed, aggregate, window};
use crate::error::{Error, Refused, Result};
use crate::query::question::nearest;

/// The names of all functions, for suggestions.
const NAMES: &str = "\
    abs ceil ceiling char_length coalesce concat concat_ws contains current_date current_timestamp date_add \
    date_diff date_part date_sub date_trunc datediff datepart datetrunc day dayofmonth dayofweek dayofyear \
    ends_with epoch epoch_ms epoch_ns epoch_us exp floor get_json_object greatest hour if ifnull instr isodow \
    json_extract json_extract_path_text json_extract_string lcase least left len length ln log log10 log2 lower \
    lpad ltrim make_timestamp minute mod month now nullif nvl pi pow power quarter regexp_extract regexp_matches \
    regexp_replace repeat replace reverse right round rpad rtrim second sign split_part sqrt starts_with strftime \
    strpos strptime substr substring time_bucket to_timestamp today trim trunc upper";

/// The arguments of a function as expressions.
///
/// # Errors
/// When an argument is named or is `*`.
pub fn arguments(function: &Function) -> Result<Vec<&ast::Expr>> {
    let list = match &function.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::List(list) => list,
        FunctionArguments::Subquery(_) => return Err(refused(format!("{function} is not supported"))),
    };
    let exprs = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        _ => Err(refused(format!("{function}: the argument {argument} is not supported"))),
    });
    exprs.collect()
}

impl Select<'_> {
    /// Plans a call of a window function, an aggregate, or a scalar function.
    pub fn function(&mut self, function: &Function, whole: &ast::Expr) -> Result<Typed> {
        let name = function.name.to_string().to_lowercase();
        if function.over.is_some() {
            return self.window(&name, function, whole);
        }
        if aggregate::is_aggregate(&name) {
            return self.aggregate(&name, function, whole);
        }
        if window::is_window(&name) {
            return Err(refused(format!("{whole} needs OVER (…)")));
        }
        if function.filter.is_some() || !function.within_group.is_empty() {
            return Err(refused(format!("{whole}: FILTER and WITHIN GROUP are for aggregates")));
        }
        let arguments = arguments(function)?;
        self.call(&name, &arguments, whole)
    }

    fn unknown_function(&self, name: &str, count: usize, whole: &ast::Expr) -> Error {
        let mut refused = Refused::because(format!("{whole}: there is no function {name} of {count} arguments here"));
        let all = [NAMES, aggregate::NAMES, window::NAMES].into_iter().flat_map(str::split_whitespace);
        match nearest(name, all).filter(|near| *near != name) {
            Some(near) => refused.advice.push(format!("did you mean {near}?")),
            None => refused.advice.push("docs/semantics.md lists the functions".to_owned()),
        }
        refused.into()
    }

    fn call(&mut self, name: &str, a: &[&ast::Expr], whole: &ast::Expr) -> Result<Typed> {
        let expr_text = whole.to_string();
        let bool_of = |expr| Ok(Typed::new(expr, SqlType::Bool));
        let int_of = |expr: Expr| Ok(Typed::new(expr.cast(DataType::Int64), SqlType::Int));
        let float_of = |expr| Ok(Typed::new(expr, SqlType::Float));
        let text_of = |expr| Ok(Typed::new(expr, SqlType::Text));
        match (name, a) {
            ("now" | "current_timestamp" | "get_current_timestamp" | "localtimestamp", []) => {
                Ok(Typed::new(self.now()?.0, SqlType::Timestamp))
            }
            ("current_date" | "today", []) => Ok(Typed::new(self.now()?.1, SqlType::Date)),
            ("pi", []) => float_of(lit(std::f64::consts::PI)),
            ("abs", [x]) => {
                let x = self.number(x, whole)?;
                match x.kind {
                    SqlType::Float => float_of(x.expr.abs()),
                    _ => {
                        let reason = Refused::because(format!("{expr_text}: a value does not fit a BIGINT"));
                        let check = Check::new(&self.planner.failures, reason);
                        let x = self.guarded(x.expr, SqlType::Int);
                        let f = move |n: i64| n.checked_abs().map(Some).ok_or_else(|| check.fail());
                        Ok(Typed::new(compute::int_of_int(x, f), SqlType::Int))
                    }
                }
            }
            ("sign", [x]) => {
                let x = self.float(x, whole)?;
                let positive = when(x.clone().gt(lit(0.0))).then(lit(1i64));
                let expr = positive.when(x.clone().lt(lit(0.0))).then(lit(-1i64)).otherwise(lit(0i64));
                int_of(when(x.is_null()).then(null(SqlType::Int)).otherwise(expr))
            }
            ("ceil" | "ceiling", [x]) => float_of(self.float(x, whole)?.ceil()),
            ("floor", [x]) => float_of(self.float(x, whole)?.floor()),
            ("trunc", [x]) => float_of(compute::float_of_floats(self.float(x, whole)?, lit(0.0), |x, _| x.trunc())),
            ("round", [x]) => {
                let x = self.number(x, whole)?;
                match x.kind {
                    SqlType::Int => Ok(x),
                    _ => float_of(x.expr.round(0, RoundMode::HalfAwayFromZero)),
                }
            }
            ("round", [x, digits]) => {
                let (x, digits) = (self.number(x, whole)?, self.expr(digits)?);
                let Some(digits) = digits.int() else {
                    return Err(refused(format!("{expr_text}: the number of digits has to be a constant")));
                };
                match x.kind {
                    SqlType::Int if digits >= 0 => Ok(x),
                    SqlType::Int => {
                        let reason = Refused::because(format!("{expr_text}: a value does not fit a BIGINT"));
                        let check = Check::new(&self.planner.failures, reason);
                        let x = self.guarded(x.expr, SqlType::Int);
                        let f = move |n| compute::rounded_int(n, digits).map(Some).ok_or_else(|| check.fail());
                        Ok(Typed::new(compute::int_of_int(x, f), SqlType::Int))
                    }
                    _ => {
                        let x = x.expr.cast(DataType::Float64);
                        float_of(compute::float_of_floats(x, lit(0.0), move |x, _| compute::rounded(x, digits)))
                    }
                }
            }
            ("sqrt", [x]) => float_of(self.one_float(x, whole, f64::sqrt)?),
            ("exp", [x]) => float_of(self.one_float(x, whole, f64::exp)?),
            ("ln", [x]) => float_of(self.one_float(x, whole, f64::ln)?),
            ("log" | "log10", [x]) => float_of(self.one_float(x, whole, f64::log10)?),
            ("log2", [x]) => float_of(self.one_float(x, whole, f64::log2)?),
            ("power" | "pow", [x, y]) => {
                float_of(compute::float_of_floats(self.float(x, whole)?, self.float(y, whole)?, f64::powf))
            }
            ("mod", [x, y]) => {
                let expr = ast::Expr::BinaryOp {
                    left: Box::new((*x).clone()),
                    op: ast::BinaryOperator::Modulo,
                    right: Box::new((*y).clone()),
                };
                self.expr(&expr)
            }
            ("coalesce", [_, ..]) | ("ifnull" | "nvl", [_, _]) => {
                let (exprs, kind) = self.all(a, &expr_text)?;
                Ok(Typed::new(coalesce(&exprs), kind))
            }
            ("nullif", [x, y]) => {
                let (one, other, kind) = self.pair(x, y, whole)?;
                let is_equal = one.clone().eq(other).fill_null(lit(false));
                Ok(Typed::new(when(is_equal).then(null(kind)).otherwise(one), kind))
            }
            ("greatest", [_, ..]) => {
                let (exprs, kind) = self.all(a, &expr_text)?;
                Ok(Typed::new(extreme(exprs, kind, true)?, kind))
            }
            ("least", [_, ..]) => {
                let (exprs, kind) = self.all(a, &expr_text)?;
                Ok(Typed::new(extreme(exprs, kind, false)?, kind))
            }
            ("if", [test, yes, no]) => {
                let test = self.condition(test)?.fill_null(lit(false));
                let (exprs, kind) = self.all(&[yes, no], &expr_text)?;
                Ok(Typed::new(when(test).then(exprs[0].clone()).otherwise(exprs[1].clone()), kind))
            }
            ("lower" | "lcase", [x]) => text_of(self.words(x, &expr_text)?.str().to_lowercase()),
            ("upper" | "ucase", [x]) => text_of(self.words(x, &expr_text)?.str().to_uppercase()),
            ("length" | "len" | "char_length" | "character_length", [x]) => {
                int_of(self.words(x, &expr_text)?.str().len_chars())
            }
            ("trim", [x]) => self.trim(x, None, true, true, whole),
            ("ltrim", [x]) => self.trim(x, None, true, false, whole),
            ("rtrim", [x]) => self.trim(x, None, false, true, whole),
            ("trim", [x, what]) => self.trim(x, Some(what), true, true, whole),
            ("ltrim", [x, what]) => self.trim(x, Some(what), true, false, whole),
            ("rtrim", [x, what]) => self.trim(x, Some(what), false, true, whole),
            ("substr" | "substring", [x, from]) => self.substring(x, from, None, whole),
            ("substr" | "substring", [x, from, count]) => self.substring(x, from, Some(count), whole),
            ("left", [x, n]) => {
                let numbers = [self.number_of(n, &expr_text)?];
                text_of(compute::text_of_text_and_ints(self.words(x, &expr_text)?, &numbers, |text, n| {
                    let all = text.chars().count() as i64;
                    let count = if n[0] < 0 { all + n[0] } else { n[0] };
                    text.chars().take(usize::try_from(count).unwrap_or(0)).collect()
                }))
            }
            ("right", [x, n]) => {
                let numbers = [self.number_of(n, &expr_text)?];
                text_of(compute::text_of_text_and_ints(self.words(x, &expr_text)?, &numbers, |text, n| {
                    let all = text.chars().count() as i64;
                    let skip = if n[0] < 0 { -n[0] } else { all - n[0] };
                    text.chars().skip(usize::try_from(skip).unwrap_or(0)).collect()
                }))
            }
            ("lpad" | "rpad", [x, n, fill]) => {
                let fill = self.constant_text(fill, whole)?;
                let numbers = [self.number_of(n, &expr_text)?];
                let is_left = name == "lpad";
                text_of(compute::text_of_text_and_ints(self.words(x, &expr_text)?, &numbers, move |text, n| {
                    let width = usize::try_from(n[0]).unwrap_or(0);
                    let missing = width.saturating_sub(text.chars().count());
                    let padding: String = fill.chars().cycle().take(missing).collect();
                    let text: String = text.chars().take(width).collect();
                    if is_left { padding + &text } else { text + &padding }
                }))
            }
            ("repeat", [x, n]) => {
                let numbers = [self.number_of(n, &expr_text)?];
                text_of(compute::text_of_text_and_ints(self.words(x, &expr_text)?, &numbers, |text, n| {
                    text.repeat(usize::try_from(n[0]).unwrap_or(0))
                }))
            }
            ("reverse", [x]) => {
                let f = |text: &str| Ok(Some(text.chars().rev().collect()));
                text_of(compute::of_text(self.words(x, &expr_text)?, OfText::Text(Box::new(f))))
            }
            ("replace", [x, old, new]) => {
                let (old, new) = (self.constant_text(old, whole)?, self.constant_text(new, whole)?);
                let f =
                    move |text: &str| Ok(Some(if old.is_empty() { text.to_owned() } else { text.replace(&old, &new) }));
                text_of(compute::of_text(self.words(x, &expr_text)?, OfText::Text(Box::new(f))))
            }
            ("concat", [_, ..]) => {
                let exprs = a.iter().map(|expr| self.printed(expr)).collect::<Result<Vec<_>>>()?;
                text_of(concat_str(exprs, "", true))
            }
            ("concat_ws", [between, rest @ ..]) if !rest.is_empty() => {
                let between = self.constant_text(between, whole)?;
                let exprs = rest.iter().map(|expr| self.printed(expr)).collect::<Result<Vec<_>>>()?;
                text_of(concat_str(exprs, &between, true))
            }
            ("strpos" | "instr", [x, part]) => self.position(x, part, whole),
            ("starts_with" | "prefix", [x, part]) => {
                bool_of(self.words(x, &expr_text)?.str().starts_with(self.words(part, &expr_text)?))
            }
            ("ends_with" | "suffix", [x, part]) => {
                bool_of(self.words(x, &expr_text)?.str().ends_with(self.words(part, &expr_text)?))
            }
            ("contains", [x, part]) => {
                bool_of(self.words(x, &expr_text)?.str().contains_literal(self.words(part, &expr_text)?))
            }
            ("split_part", [x, between, n]) => {
                let between = self.constant_text(between, whole)?;
                let numbers = [self.number_of(n, &expr_text)?];
                text_of(compute::text_of_text_and_ints(self.words(x, &expr_text)?, &numbers, move |text, n| {
                    // With an empty separator, every character is a part.
                    let parts: Vec<&str> = match between.as_str() {
                        "" => text.split("").filter(|part| !part.is_empty()).collect(),
                        between => text.split(between).collect(),
                    };
                    let at = if n[0] < 0 { parts.len() as i64 + n[0] } else { n[0] - 1 };
                    usize::try_from(at)
                        .ok()
                        .and_then(|at| parts.get(at))
                        .map_or_else(String::new, |part| (*part).into())
                }))
            }
            ("regexp_matches", [x, pattern]) => {
                let pattern = self.pattern(pattern)?;
                bool_of(self.words(x, &expr_text)?.str().contains(lit(pattern), true))
            }
            ("regexp_full_match", [x, pattern]) => {
                let pattern = self.pattern(pattern)?;
                bool_of(self.words(x, &expr_text)?.str().contains(lit(format!("^(?:{pattern})$")), true))
            }
            ("regexp_like" | "rlike", [x, pattern]) => {
                let runs = self.planner.instead(whole, &format!("REGEXP_MATCHES({x}, {pattern})"));
                Err(refused_with(format!("{expr_text} is not supported"), "write REGEXP_MATCHES", Some(runs)))
            }
            ("regexp_replace", [x, pattern, new]) => self.regexp_replace(x, pattern, new, false, whole),
            ("regexp_replace", [x, pattern, new, options]) => {
                let options = self.constant_text(options, whole)?;
                if options.chars().any(|option| option != 'g') {
                    let advice = "begin the pattern with (?i) to ignore case";
                    let runs = self.planner.instead(whole, &format!("REGEXP_REPLACE({x}, {pattern}, {new}, 'g')"));
                    let problem = format!("{expr_text}: only the option 'g' is supported");
                    return Err(refused_with(problem, advice, Some(runs)));
                }
                self.regexp_replace(x, pattern, new, !options.is_empty(), whole)
            }
            ("regexp_extract", [x, pattern]) => self.regexp_extract(x, pattern, 0, whole),
            ("regexp_extract", [x, pattern, group]) => {
                let group = self.expr(group)?.int().and_then(|n| usize::try_from(n).ok());
                let group =
                    group.ok_or_else(|| refused(format!("{expr_text}: the group has to be a constant number")))?;
                self.regexp_extract(x, pattern, group, whole)
            }
            ("json_extract_string" | "json_extract_path_text" | "get_json_object", [x, path]) => {
                self.json(x, path, true, whole)
            }
            ("json_extract", [x, path]) => self.json(x, path, false, whole),
            ("date_trunc" | "datetrunc", [unit, x]) => {
                let unit = self.unit(unit, whole)?;
                let moment = micros(self.moment(x, whole)?);
                let begun = compute::int_of_int(moment, move |at| Ok(Some(unit.truncate(at))));
                Ok(Typed::new(begun.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp))
            }
            ("time_bucket", [width, x]) => {
                let width = self.expr(width)?;
                let Some(Constant::Span(0, width)) = width.constant.filter(|_| width.kind == SqlType::Span) else {
                    return Err(refused(format!(
                        "{expr_text}: the width has to be a constant such as INTERVAL '5 minutes'"
                    )));
                };
                if width <= 0 {
                    return Err(refused(format!("{expr_text}: the width has to be positive")));
                }
                let moment = micros(self.moment(x, whole)?);
                let begun = compute::int_of_int(moment, move |at| Ok(Some(moment::bucket(at, width))));
                Ok(Typed::new(begun.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp))
            }
            ("date_part" | "datepart" | "extract", [part, x]) => {
                let part = self.constant_text(part, whole)?;
                let x = self.expr(x)?;
                self.part(&part, x, whole)
            }
            ("date_diff" | "datediff", [unit, from, to]) => {
                let unit = self.unit(unit, whole)?;
                if unit == Unit::Week {
                    let advice = "count the days: some engines count Mondays, others whole weeks";
                    let runs = self.planner.instead(whole, &format!("DATE_DIFF('day', {from}, {to}) // 7"));
                    return Err(refused_with(format!("{expr_text}: weeks are not supported"), advice, Some(runs)));
                }
                let (from, to) = (micros(self.moment(from, whole)?), micros(self.moment(to, whole)?));
                int_of(compute::int_of_ints(from, to, move |from, to| Ok(Some(unit.between(from, to)))))
            }
            ("date_add" | "date_sub", [x, span]) => {
                let (x, span) = ((*x).clone(), (*span).clone());
                let op = if name == "date_add" { ast::BinaryOperator::Plus } else { ast::BinaryOperator::Minus };
                self.expr(&ast::Expr::BinaryOp { left: Box::new(x), op, right: Box::new(span) })
            }
            ("epoch", [x]) => {
                let x = self.expr(x)?;
                self.part("epoch", x, whole)
            }
            ("epoch_ms" | "epoch_us" | "epoch_ns", [x]) => {
                let moment = micros(self.moment(x, whole)?);
                int_of(match name {
                    "epoch_ms" => {
                        compute::int_of_int(moment, |at| Ok(compute::rounded_int(at, -3).map(|at| at / 1000)))
                    }
                    "epoch_us" => moment,
                    _ => moment * lit(1000i64),
                })
            }
            ("to_timestamp", [x]) => {
                let x = self.float(x, whole)?;
                let micros = compute::int_of_float(x, |seconds| Ok(Some((seconds * 1e6).round_ties_even() as i64)));
                Ok(Typed::new(micros.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp))
            }
            ("make_timestamp", [x]) => {
                let x = self.number_of(x, &expr_text)?;
                Ok(Typed::new(x.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp))
            }
            ("strftime", [x, form]) => {
                let form = self.form(form, whole)?;
                let moment = micros(self.moment(x, whole)?);
                text_of(compute::text_of(moment, SqlType::Timestamp, move |at| Some(moment::print(at, &form))))
            }
            ("strptime" | "try_strptime", [x, form]) => {
                let form = self.form(form, whole)?;
                let reason = Refused::because(format!("{expr_text}: a text does not match the format"));
                let check = Check::new(&self.planner.failures, reason);
                let is_try = name == "try_strptime";
                let x = self.words(x, &expr_text)?;
                let read = move |text: &str| {
                    let read = moment::parse_form(text, &form);
                    if read.is_none() && !is_try { Err(check.fail()) } else { Ok(read) }
                };
                let micros = compute::of_text(self.guarded(x, SqlType::Text), OfText::Int(Box::new(read)));
                Ok(Typed::new(micros.cast(SqlType::Timestamp.dtype()), SqlType::Timestamp))
            }
            (
                "year" | "quarter" | "month" | "week" | "day" | "hour" | "minute" | "second" | "dayofweek" | "isodow"
                | "dayofyear" | "dayofmonth" | "weekofyear",
                [x],
            ) => {
                let x = self.expr(x)?;
                self.part(name, x, whole)
            }
            ("list" | "array_agg" | "collect_list", [x]) => self.no_list(x, whole),
            _ => Err(self.unknown_function(name, a.len(), whole)),
        }
    }

    /// Refuses a list, because some output formats do not support lists.
    pub fn no_list(&self, x: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let instead = format!("STRING_AGG({x}, ', ' ORDER BY {x})");
        let runs = self.planner.instead(whole, &instead);
        Err(refused_with(
            format!("{whole}: some output formats do not support lists"),
            &format!("write {instead}"),
            Some(runs),
        ))
    }

    fn all(&mut self, exprs: &[&ast::Expr], expr_text: &str) -> Result<(Vec<Expr>, SqlType)> {
        let values = exprs.iter().map(|expr| self.expr(expr)).collect::<Result<Vec<_>>>()?;
        self.alike(values, expr_text)
    }

    /// Plans a text argument.
    pub fn words(&mut self, expr: &ast::Expr, expr_text: &str) -> Result<Expr> {
        let value = self.expr(expr)?;
        self.text(value, expr_text)
    }

    /// Plans an integer argument.
    pub fn number_of(&mut self, expr: &ast::Expr, expr_text: &str) -> Result<Expr> {
        let value = self.expr(expr)?;
        self.int(value, expr_text)
    }

    fn one_float(&mut self, x: &ast::Expr, whole: &ast::Expr, f: fn(f64) -> f64) -> Result<Expr> {
        Ok(compute::float_of_floats(self.float(x, whole)?, lit(0.0), move |x, _| f(x)))
    }
}

fn extreme(exprs: Vec<Expr>, kind: SqlType, is_greatest: bool) -> Result<Expr> {
    if matches!(kind, SqlType::Int | SqlType::Float | SqlType::Span | SqlType::Timestamp | SqlType::Date) {
        let expr = if is_greatest { max_horizontal(exprs) } else { min_horizontal(exprs) };
        return Ok(expr?.cast(kind.dtype()));
    }
    let chosen = exprs.into_iter().reduce(|one, other| {
        let takes_one = if is_greatest { one.clone().gt_eq(other.clone()) } else { one.clone().lt_eq(other.clone()) };
        let takes_one = takes_one.fill_null(lit(false)).or(other.clone().is_null());
        when(takes_one).then(one).otherwise(other)
    });
    chosen.ok_or_else(|| refused("GREATEST and LEAST need values"))
}
