//! Splits a view into its SELECTs, with the tables and views that they read.
//!
//! Each common table expression is computed separately, once. The engine would inline it wherever it is named,
//! recompute it for each filter, and resolve the columns of all of it for each SELECT above it: for small inputs that
//! took longer than everything else.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{GroupByExpr, Query, SetExpr, Statement, TableFactor, Visit, visit_relations};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::{GroupBy, VIEWS, View};
use crate::error::{Context, Result, bail};
use crate::tables::Table;

/// A view to compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The view.
    pub view: &'static View,
    /// The stored tables and views that it names.
    pub reads: BTreeSet<String>,
    /// True if it is a result; otherwise only other views read it.
    pub is_wanted: bool,
    /// Its SELECTs, in order; the last one gives its rows.
    pub(super) steps: Vec<SelectStep>,
}

/// One SELECT of a view: a common table expression, or the final one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectStep {
    /// The name of a common table expression; the final SELECT has the name of the view.
    pub name: String,
    /// Its text.
    pub sql: String,
    /// True if it only groups the rows of one table.
    pub only_groups: bool,
    /// Earlier steps that no later step reads.
    pub last_use_of: Vec<String>,
}

/// Plans one view, without the views that it reads. Groups are those of `by`.
///
/// # Errors
/// When its file is not a single SELECT.
pub fn for_view(view: &'static View, by: &GroupBy) -> Result<Plan> {
    plan(view, by, true)
}

/// Plans these views and all views that they need, in a valid order. Views that are not results need no sorted rows.
///
/// # Errors
/// As [`for_view`].
pub fn needed(wanted: &[&'static View], by: &GroupBy) -> Result<Vec<Plan>> {
    let mut names: BTreeSet<String> = wanted.iter().map(|view| view.name.to_owned()).collect();
    let mut plans = Vec::new();
    for view in VIEWS.iter().rev() {
        if names.contains(view.name) {
            let plan = plan(view, by, wanted.contains(&view))?;
            names.extend(plan.reads.iter().cloned());
            plans.push(plan);
        }
    }
    plans.reverse();
    Ok(plans)
}

/// The stored tables that these views read directly.
pub fn tables(plans: &[Plan]) -> BTreeSet<Table> {
    let is_read = |table: &Table| plans.iter().any(|plan| plan.reads.contains(table.name()));
    Table::ALL.into_iter().filter(is_read).collect()
}

fn plan(view: &'static View, by: &GroupBy, is_wanted: bool) -> Result<Plan> {
    let what = || format!("queries/{}.sql", view.name);
    let sql = if view.is_grouped() { &by.edit(view.sql) } else { view.sql };
    cut(view, sql, is_wanted).with_context(what)
}

/// Splits a view's SQL into its SELECTs. The row order of a view that is not a result is irrelevant.
fn cut(view: &'static View, sql: &str, is_wanted: bool) -> Result<Plan> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql)?;
    let [Statement::Query(query)] = statements.as_mut_slice() else { bail!("a view is one SELECT") };
    if !is_wanted {
        query.order_by = None;
    }
    let tables = query.with.take().map_or_else(Vec::new, |with| with.cte_tables);
    let mut reads = BTreeSet::new();
    let mut steps: Vec<SelectStep> = Vec::new();
    let named = tables.into_iter().map(|table| (table.alias.name.value, table.query));
    for (name, query) in named.chain([(view.name.to_owned(), query.clone())]) {
        let named = relations(&query);
        let own: Vec<String> = steps.iter().map(|step| step.name.clone()).filter(|own| named.contains(own)).collect();
        for step in &mut steps {
            step.last_use_of.retain(|earlier| !own.contains(earlier));
        }
        reads.extend(named.into_iter().filter(|name| !own.contains(name)));
        steps.push(SelectStep { name, sql: query.to_string(), only_groups: only_groups(&query), last_use_of: own });
    }
    Ok(Plan { view, reads, is_wanted, steps })
}

/// Returns true if a query only groups the rows of one table.
fn only_groups(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let is_grouped = matches!(&select.group_by, GroupByExpr::Expressions(columns, _) if !columns.is_empty());
    let [from] = select.from.as_slice() else { return false };
    let is_plain = select.having.is_none() && select.distinct.is_none() && query.order_by.is_none();
    is_grouped && is_plain && from.joins.is_empty() && matches!(from.relation, TableFactor::Table { .. })
}

/// The tables that a query reads.
fn relations(query: &impl Visit) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _ = visit_relations(query, |relation| {
        names.insert(relation.to_string());
        ControlFlow::<()>::Continue(())
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_released_after_its_last_use() {
        let sql = "WITH a AS (SELECT x FROM task_events), b AS (SELECT a.x FROM a), \
                   c AS (SELECT b.x FROM a JOIN b ON a.x = b.x JOIN coverage AS o ON o.x = a.x) SELECT * FROM c ORDER BY x";
        let plan = cut(&VIEWS[0], sql, false).unwrap();
        let steps: Vec<_> = plan.steps.iter().map(|step| (step.name.as_str(), step.last_use_of.join(" "))).collect();
        let wanted = [("a", ""), ("b", ""), ("c", "a b"), (VIEWS[0].name, "c")];
        assert_eq!(steps, wanted.map(|(name, last)| (name, last.to_owned())));
        assert_eq!((plan.steps[1].sql.as_str(), plan.steps[3].sql.as_str()), ("SELECT a.x FROM a", "SELECT * FROM c"));
        assert_eq!(plan.reads.into_iter().collect::<Vec<_>>(), ["coverage", "task_events"]);
    }

    #[test]
    fn views_that_only_group_one_table_are_detected() {
        let sql = "WITH a AS (SELECT x, MAX(y) AS y FROM task_events GROUP BY x), b AS (SELECT x FROM a), \
                   c AS (SELECT a.x FROM a JOIN b ON a.x = b.x GROUP BY a.x) \
                   SELECT x, COUNT(*) AS n FROM c GROUP BY x ORDER BY x";
        let only_groups = |is_wanted| -> Vec<bool> {
            cut(&VIEWS[0], sql, is_wanted).unwrap().steps.iter().map(|step| step.only_groups).collect()
        };
        assert_eq!(only_groups(true), [true, false, false, false]);
        assert_eq!(only_groups(false), [true, false, false, true]);
    }

    #[test]
    fn a_view_follows_its_dependencies() {
        let plans = needed(&VIEWS.iter().collect::<Vec<_>>(), &GroupBy::default()).unwrap();
        assert_eq!(plans.len(), VIEWS.len());
        for (i, plan) in plans.iter().enumerate() {
            for name in &plan.reads {
                let place = plans[..i].iter().position(|other| other.view.name == name);
                let is_stored = Table::ALL.iter().any(|table| table.name() == name);
                assert!(is_stored || place.is_some(), "{} reads {name}", plan.view.name);
            }
        }
    }
}
