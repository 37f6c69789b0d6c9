//! Functions of moments.

use polars::prelude::{Expr, lit};
use sqlparser::ast;

use super::cast::{date, timestamp};
use super::compute;
use super::moment::{self, Unit};
use super::operator::micros;
use super::refusal::{refused, refused_with};
use super::select::Select;
use super::{Kind, Typed};

impl Select<'_> {
    /// A moment.
    pub fn moment(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> anyhow::Result<Typed> {
        let value = self.expr(expr)?;
        self.coerce(value, Kind::Timestamp, &whole.to_string())
    }

    /// The unit that a text or name means.
    pub fn unit(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> anyhow::Result<Unit> {
        let name = match expr {
            // DATEDIFF(second, …) of other engines.
            ast::Expr::Identifier(name) => name.value.clone(),
            _ => self.constant_text(expr, whole)?,
        };
        Unit::named(&name).ok_or_else(|| {
            let runs = self.planner.instead(expr, "'day'");
            refused_with(format!("{whole}: there is no unit {name:?}"), "write second, minute, hour or day", Some(runs))
        })
    }

    /// The form of a moment's text.
    pub fn form(&mut self, expr: &ast::Expr, whole: &ast::Expr) -> anyhow::Result<String> {
        let text = self.constant_text(expr, whole)?;
        moment::format(&text).ok_or_else(|| {
            let runs = self.planner.instead(expr, "'%Y-%m-%d %H:%M:%S'");
            let problem = format!("{whole}: a code of the form is not supported");
            refused_with(problem, "there are %Y %m %d %H %M %S %f %j %a %b %p %I %y %u %w %V %G", Some(runs))
        })
    }

    /// A part of a moment, or the seconds of a moment or span.
    pub fn part(&mut self, name: &str, value: Typed, whole: &ast::Expr) -> anyhow::Result<Typed> {
        let place = whole.to_string();
        if name.eq_ignore_ascii_case("epoch") {
            let micros = if value.kind == Kind::Span {
                value.expr
            } else {
                micros(self.coerce(value, Kind::Timestamp, &place)?)
            };
            let seconds = compute::float_of_floats(micros, lit(0.0), |micros, _| micros / 1e6);
            return Ok(Typed::new(seconds, Kind::Float));
        }
        let value = self.coerce(value, Kind::Timestamp, &place)?;
        let Some(part) = moment::part(name) else {
            return Err(refused(format!("{place}: there is no part {name:?} of a moment")));
        };
        Ok(Typed::new(compute::int_of_int(micros(value), move |at| Ok(Some(part(at)))), Kind::Int))
    }

    /// The newest observation, and its day.
    pub fn now(&self) -> anyhow::Result<(Expr, Expr)> {
        let Some(now) = self.planner.now else {
            return Err(refused("NOW is the newest observation, and none is known"));
        };
        Ok((timestamp(now), date(i32::try_from(now.div_euclid(86_400_000_000))?)))
    }
}
