//! Plans which views to compute and which of their columns other views need, and splits a view into its SELECTs.
//!
//! Each common table expression is computed separately, once. Otherwise, the engine would inline it wherever it is
//! named, recompute it for each filter, and resolve all its columns again for each SELECT above it. For small inputs,
//! resolving the columns took longer than everything else.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::OnceLock;

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
    /// True if it is a result; otherwise only other views read it.
    pub is_wanted: bool,
    /// Its SQL, with the group columns of the run.
    sql: Cow<'static, str>,
    /// The names of all columns in its text. Columns with other names do not affect its rows.
    pub(super) columns: BTreeSet<&'static str>,
    /// The columns that are kept for other plans, if the view is not a result; `None` for all columns.
    pub(super) kept_columns: Option<BTreeSet<&'static str>>,
    /// Its SELECTs, parsed when they are first needed.
    steps: OnceLock<Vec<SelectStep>>,
}

impl Plan {
    /// Plans one view, without the views that it reads. `by` gives the group columns.
    pub fn new(view: &'static View, by: &GroupBy, is_wanted: bool) -> Plan {
        let mut columns: BTreeSet<&str> = view.columns.iter().copied().collect();
        let mut sql = Cow::Borrowed(view.sql);
        if view.is_grouped() {
            columns.extend(by.columns());
            sql = by.edit(view.sql).into();
        }
        Plan { view, is_wanted, sql, columns, kept_columns: None, steps: OnceLock::new() }
    }

    /// Makes the view a result.
    pub fn want(&mut self) {
        self.is_wanted = true;
        self.kept_columns = None;
        self.steps = OnceLock::new(); // the rows of a result are sorted
    }

    /// Returns true if a column of its rows is part of a result or may be read by another plan.
    pub(super) fn keeps(&self, column: &str) -> bool {
        self.kept_columns.as_ref().is_none_or(|kept| kept.contains(column))
    }

    /// Its SELECTs, in order; the last one gives its rows.
    ///
    /// # Errors
    /// When its file is not a single SELECT.
    pub(super) fn steps(&self) -> Result<&[SelectStep]> {
        if let Some(steps) = self.steps.get() {
            return Ok(steps);
        }
        let steps = steps(self.view.name, &self.sql, self.is_wanted);
        let steps = steps.with_context(|| format!("queries/{}.sql", self.view.name))?;
        Ok(self.steps.get_or_init(|| steps))
    }
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
    /// Earlier steps that no later step reads after this one.
    pub last_use_of: Vec<String>,
}

/// Plans these views and all views that they need, in a valid order. The rows of a view that is not a result are not
/// sorted.
pub fn needed(wanted: &[&'static View], by: &GroupBy) -> Vec<Plan> {
    let mut names: BTreeSet<&str> = wanted.iter().map(|view| view.name).collect();
    let mut plans = Vec::new();
    for view in VIEWS.iter().rev() {
        if names.contains(view.name) {
            let mut plan = Plan::new(view, by, wanted.contains(&view));
            names.extend(view.reads);
            plan.kept_columns = (!plan.is_wanted).then(|| columns_read(view.name, &plans));
            plans.push(plan);
        }
    }
    plans.reverse();
    plans
}

/// The columns of a view that these plans may read.
fn columns_read(view: &str, plans: &[Plan]) -> BTreeSet<&'static str> {
    plans.iter().filter(|plan| plan.view.reads.contains(&view)).flat_map(|plan| plan.columns.iter().copied()).collect()
}

/// The stored tables that these views read directly.
pub fn tables(plans: &[Plan]) -> BTreeSet<Table> {
    let is_read = |table: &Table| plans.iter().any(|plan| plan.view.reads.contains(&table.name()));
    Table::ALL.into_iter().filter(is_read).collect()
}

/// Splits the SQL of a view into its SELECTs. The row order of a view that is not a result is irrelevant.
fn steps(view: &str, sql: &str, is_wanted: bool) -> Result<Vec<SelectStep>> {
    let mut steps: Vec<SelectStep> = Vec::new();
    for (name, query) in selects(view, sql, is_wanted)? {
        let named = relations(&query);
        let own: Vec<String> = steps.iter().map(|step| step.name.clone()).filter(|own| named.contains(own)).collect();
        for step in &mut steps {
            step.last_use_of.retain(|earlier| !own.contains(earlier));
        }
        steps.push(SelectStep { name, sql: query.to_string(), only_groups: only_groups(&query), last_use_of: own });
    }
    Ok(steps)
}

/// The common table expressions of a view, with their names, and its final SELECT, with the name of the view.
fn selects(view: &str, sql: &str, is_wanted: bool) -> Result<Vec<(String, Box<Query>)>> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql)?;
    let Some(Statement::Query(mut query)) = statements.pop().filter(|_| statements.is_empty()) else {
        bail!("a view is one SELECT")
    };
    if !is_wanted {
        query.order_by = None;
    }
    let tables = query.with.take().map_or_else(Vec::new, |with| with.cte_tables);
    let named = tables.into_iter().map(|table| (table.alias.name.value, table.query));
    Ok(named.chain([(view.to_owned(), query)]).collect())
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
    use sqlparser::ast::{Expr, SelectItem, SetQuantifier, visit_expressions};

    use super::*;

    /// Returns true if a column that a query does not name may affect the rows of the view: through `*` in the final
    /// SELECT, or where `*` decides which rows are equal.
    fn needs_all_columns(body: &SetExpr, is_final: bool) -> bool {
        let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        match body {
            SetExpr::Select(select) => (is_final || select.distinct.is_some()) && select.projection.iter().any(is_star),
            SetExpr::SetOperation { set_quantifier, left, right, .. } => {
                let is_final = is_final || *set_quantifier != SetQuantifier::All;
                needs_all_columns(left, is_final) || needs_all_columns(right, is_final)
            }
            SetExpr::Query(query) => needs_all_columns(&query.body, is_final),
            _ => true,
        }
    }

    /// The names of the columns in the expressions of a query.
    fn columns(query: &impl Visit) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let _ = visit_expressions(query, |expr| {
            let name = match expr {
                Expr::Identifier(name) => Some(name),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            names.extend(name.map(|name| name.value.clone()));
            ControlFlow::<()>::Continue(())
        });
        names
    }

    /// The tables and views that a view reads, and the columns that it names, as a parser of SQL finds them. `None` for
    /// the columns if a column that it does not name may affect its rows.
    fn parsed(sql: &str) -> (BTreeSet<String>, Option<BTreeSet<String>>) {
        let selects = selects("final", sql, true).unwrap();
        let own: BTreeSet<&String> = selects.iter().map(|(name, _)| name).collect();
        let named = selects.iter().flat_map(|(_, query)| relations(query));
        let reads = named.filter(|name| !own.contains(name)).collect();
        let may_need_all =
            (1..).zip(&selects).any(|(index, (_, query))| needs_all_columns(&query.body, index == selects.len()));
        let columns = (!may_need_all).then(|| selects.iter().flat_map(|(_, query)| columns(query)).collect());
        (reads, columns)
    }

    #[test]
    fn a_step_is_released_after_its_last_use() {
        let sql = "WITH a AS (SELECT x FROM task_events), b AS (SELECT a.x FROM a), \
                   c AS (SELECT b.x FROM a JOIN b ON a.x = b.x JOIN coverage AS o ON o.x = a.x) SELECT * FROM c ORDER BY x";
        let found = steps("v", sql, false).unwrap();
        let last: Vec<_> = found.iter().map(|step| (step.name.as_str(), step.last_use_of.join(" "))).collect();
        let wanted = [("a", ""), ("b", ""), ("c", "a b"), ("v", "c")];
        assert_eq!(last, wanted.map(|(name, last)| (name, last.to_owned())));
        assert_eq!((found[1].sql.as_str(), found[3].sql.as_str()), ("SELECT a.x FROM a", "SELECT * FROM c"));
    }

    #[test]
    fn the_build_script_finds_what_a_parser_finds() {
        for by in ["task", "region,job_id,node_class,datacenter"] {
            let by: GroupBy = by.parse().unwrap();
            for view in VIEWS {
                let plan = Plan::new(view, &by, true);
                let (reads, columns) = parsed(&plan.sql);
                assert_eq!(reads.iter().map(String::as_str).collect::<Vec<_>>(), view.reads, "{}", view.name);
                let columns =
                    columns.unwrap_or_else(|| panic!("{}: a column without a name affects its rows", view.name));
                let missing: Vec<_> = columns.iter().filter(|name| !plan.columns.contains(name.as_str())).collect();
                assert!(missing.is_empty(), "{}: {missing:?}", view.name);
            }
        }
    }

    #[test]
    fn a_star_in_the_result_names_no_columns() {
        let base = "WITH a AS (SELECT *, x + 1 AS y FROM task_events), b AS (SELECT a.*, MAX(v) OVER (PARTITION BY p) AS m \
                    FROM a WHERE w > 0)";
        let named = parsed(&format!("{base} SELECT b.y AS z FROM b ORDER BY o")).1.unwrap();
        assert_eq!(named.into_iter().collect::<Vec<_>>().join(" "), "o p v w x y");
        for all in ["SELECT * FROM b", "SELECT b.* FROM b", "SELECT y FROM a UNION ALL SELECT * FROM b"] {
            assert_eq!(parsed(&format!("{base} {all}")).1, None, "{all}");
        }
        for distinct in ["SELECT DISTINCT * FROM b", "SELECT * FROM b UNION SELECT * FROM a"] {
            assert_eq!(parsed(&format!("{base}, c AS ({distinct}) SELECT y FROM c")).1, None, "{distinct}");
        }
    }

    #[test]
    fn a_view_that_is_no_result_keeps_the_columns_that_others_read() {
        let wanted: Vec<_> = crate::query::view("coverage").into_iter().collect();
        let plans = needed(&wanted, &GroupBy::default());
        assert!(plans.iter().all(|plan| plan.is_wanted == plan.kept_columns.is_none()));
        let kept = |view: &str| plans.iter().find(|plan| plan.view.name == view).unwrap().kept_columns.clone().unwrap();
        assert!(kept("allocations").contains("alloc_id"));
        assert!(!kept("allocations").contains("client_description"));
    }

    #[test]
    fn views_that_only_group_one_table_are_detected() {
        let sql = "WITH a AS (SELECT x, MAX(y) AS y FROM task_events GROUP BY x), b AS (SELECT x FROM a), \
                   c AS (SELECT a.x FROM a JOIN b ON a.x = b.x GROUP BY a.x) \
                   SELECT x, COUNT(*) AS n FROM c GROUP BY x ORDER BY x";
        let only_groups = |is_wanted| -> Vec<bool> {
            steps("v", sql, is_wanted).unwrap().iter().map(|step| step.only_groups).collect()
        };
        assert_eq!(only_groups(true), [true, false, false, false]);
        assert_eq!(only_groups(false), [true, false, false, true]);
    }

    #[test]
    fn a_view_follows_its_dependencies() {
        let plans = needed(&VIEWS.iter().collect::<Vec<_>>(), &GroupBy::default());
        assert_eq!(plans.len(), VIEWS.len());
        for (i, plan) in plans.iter().enumerate() {
            for name in plan.view.reads {
                let index = plans[..i].iter().position(|other| other.view.name == *name);
                let is_stored = Table::ALL.iter().any(|table| table.name() == *name);
                assert!(is_stored || index.is_some(), "{} reads {name}", plan.view.name);
            }
        }
    }
}
