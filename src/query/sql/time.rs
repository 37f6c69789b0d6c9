//! Timestamp functions.

use polars::prelude::{Expr, lit};
use sqlparser::ast;

use super::cast::{date, timestamp};
use super::compute;
use super::moment::{self, Unit};
use super::operator::micros;
use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{SqlType, Typed};
use crate::error::Result;

impl Select<'_> {
    /// Plans a timestamp argument.
    pub fn moment(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> Result<Typed> {
        let value = self.expr(expr)?;
        self.coerce(value, SqlType::Timestamp, &whole.to_string())
    }

    /// Returns a unit, which the query gives as a text or as a name.
    pub fn unit(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> Result<Unit> {
        let name = match expr {
            // Other engines allow a unit as a name, as in DATEDIFF(second, …).
            ast::Expr::Identifier(name) => name.value.clone(),
            _ => self.constant_text(expr, whole)?,
        };
        Unit::named(&name).ok_or_else(|| {
            let runs = self.planner.instead(expr, "'day'");
            refused_with(format!("{whole}: there is no unit {name:?}"), "write second, minute, hour or day", Some(runs))
        })
    }

    /// Returns a timestamp format, which must be constant.
    pub fn form(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> Result<String> {
        let text = self.constant_text(expr, whole)?;
        moment::format(&text).ok_or_else(|| {
            let runs = self.planner.instead(expr, "'%Y-%m-%d %H:%M:%S'");
            let problem = format!("{whole}: a code of the format is not supported");
            refused_with(problem, "supported are %Y %m %d %H %M %S %f %j %a %b %p %I %y %u %w %V %G", Some(runs))
        })
    }

    /// Plans a part of a timestamp, or the seconds of a timestamp or interval.
    pub fn part(&mut self, name: &str, value: Typed, whole: &ast::Expr) -> Result<Typed> {
        let expr_text = whole.to_string();
        if name.eq_ignore_ascii_case("epoch") {
            let micros = if value.kind == SqlType::Span {
                value.expr
            } else {
                micros(self.coerce(value, SqlType::Timestamp, &expr_text)?)
            };
            let seconds = compute::float_of_floats(micros, lit(0.0), |micros, _| micros / 1e6);
            return Ok(Typed::new(seconds, SqlType::Float));
        }
        let value = self.coerce(value, SqlType::Timestamp, &expr_text)?;
        let Some(part) = moment::part(name) else {
            return Err(refused(format!("{expr_text}: a timestamp has no part {name:?}")));
        };
        Ok(Typed::new(compute::int_of_int(micros(value), move |at| Ok(Some(part(at)))), SqlType::Int))
    }

    /// The time of the newest observation, which is NOW, and its day.
    pub fn now(&self) -> Result<(Expr, Expr)> {
        let Some(now) = self.planner.now else {
            return Err(refused("NOW is the newest observation, and there is none"));
        };
        Ok((timestamp(now), date(i32::try_from(now.div_euclid(86_400_000_000))?)))
    }
}
