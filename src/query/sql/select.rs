//! One SELECT, phase by phase.

use polars::prelude::{Expr, LazyFrame, PlSmallStr, Selector, SortMultipleOptions, UniqueKeepStrategy, by_name, col};
use sqlparser::ast::{
    self, Distinct, OrderBy, OrderByExpr, OrderByKind, Select as SelectAst, SelectItem, SelectItemQualifiedWildcardKind,
};

use super::from::conjuncts;
use super::group::ordinal;
use super::refusal::refused;
use super::sorted::WindowFunction;
use super::{Planner, Relation, ScopeColumn, Typed, same_name};
use crate::error::Result;

/// A SELECT that is being planned.
pub struct Select<'p> {
    pub planner: &'p mut Planner,
    /// The rows after the phases that are already planned.
    pub frame: LazyFrame,
    /// The columns that names resolve to.
    pub columns: Vec<ScopeColumn>,
    /// Named items of the result, to which other clauses may refer.
    pub aliases: Vec<(String, ast::Expr)>,
    /// Conditions under which the value of the current expression is used.
    pub guards: Vec<Expr>,
    /// True if names refer to groups.
    pub is_grouped: bool,
    /// The grouping expressions as [`Select::canonical`] text, and their columns.
    pub keys: Vec<(String, Typed)>,
    /// Columns that are computed before grouping, because the grouping or an aggregate needs them.
    pub before: Vec<Expr>,
    /// Aggregates, each with the name of its column.
    pub aggregates: Vec<Expr>,
    /// Planned aggregates, by their canonical text.
    pub planned: Vec<(String, Typed)>,
    /// The correlated subqueries that are joined to the groups. Each has a frame, expressions over the groups, and the
    /// columns of the frame that must equal these expressions.
    pub attached: Vec<(LazyFrame, Vec<Expr>, Vec<PlSmallStr>)>,
    /// Columns that window functions need, and the window functions.
    pub window_columns: Vec<Expr>,
    pub windows: Vec<WindowFunction>,
    /// The windows of the WINDOW clause, by name.
    pub named_windows: Vec<(String, ast::WindowSpec)>,
    /// Whether subqueries may be joined to the frame. It is false in the condition of a join.
    pub can_attach: bool,
}

/// One column of the result.
struct ResultColumn {
    name: String,
    value: Typed,
}

/// A sort key.
pub struct Order {
    pub value: Typed,
    pub descending: bool,
    pub nulls_last: bool,
}

impl<'p> Select<'p> {
    fn new(planner: &'p mut Planner, rows: Relation) -> Select<'p> {
        Select {
            planner,
            frame: rows.frame,
            columns: rows.columns,
            aliases: Vec::new(),
            guards: Vec::new(),
            is_grouped: false,
            keys: Vec::new(),
            before: Vec::new(),
            aggregates: Vec::new(),
            planned: Vec::new(),
            attached: Vec::new(),
            window_columns: Vec::new(),
            windows: Vec::new(),
            named_windows: Vec::new(),
            can_attach: true,
        }
    }

    /// A scope for expressions over these columns, without rows.
    pub fn over(planner: &'p mut Planner, columns: Vec<ScopeColumn>) -> Select<'p> {
        let rows = Relation { frame: LazyFrame::default(), columns };
        Select { can_attach: false, ..Select::new(planner, rows) }
    }

    /// Plans a SELECT with its ORDER BY.
    pub fn plan(planner: &'p mut Planner, select: &SelectAst, order: Option<&OrderBy>) -> Result<Relation> {
        check(select)?;
        let rows = planner.from(select)?;
        let mut plan = Select::new(planner, rows);
        plan.aliases = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } => Some((alias.value.clone(), expr.clone())),
                _ => None,
            })
            .collect();
        for window in &select.named_window {
            if let ast::NamedWindowExpr::WindowSpec(spec) = &window.1 {
                plan.named_windows.push((window.0.value.clone(), spec.clone()));
            }
        }
        if let Some(selection) = &select.selection {
            plan.filter(selection)?;
        }
        let groups = plan.groups(select, order)?;
        if let Some(keys) = &groups {
            plan.begin_groups(keys)?;
        }
        let items = plan.items(select)?;
        let having = select.having.as_ref().map(|having| plan.condition(having)).transpose()?;
        let qualify = select.qualify.as_ref().map(|qualify| plan.condition(qualify)).transpose()?;
        let distinct_on = match &select.distinct {
            Some(Distinct::On(exprs)) => Some(exprs.iter().map(|expr| plan.expr(expr)).collect::<Result<Vec<_>>>()?),
            _ => None,
        };
        let order = plan.order_items(order, &items)?;
        if groups.is_some() {
            plan.end_groups(having)?;
        } else if having.is_some() {
            return Err(refused("HAVING needs GROUP BY or an aggregate"));
        }
        plan.compute_windows(qualify)?;
        plan.finish(items, order, matches!(select.distinct, Some(Distinct::Distinct)), distinct_on)
    }

    /// Filters rows. Each operand of an AND is evaluated only on the rows for which no earlier operand is false.
    fn filter(&mut self, selection: &ast::Expr) -> Result<()> {
        let mut all: Option<Expr> = None;
        for conjunct in conjuncts(selection) {
            let condition = self.condition(conjunct)?;
            self.guards.push(condition.clone().fill_null(polars::prelude::lit(true)));
            all = Some(match all {
                None => condition,
                Some(all) => all.and(condition),
            });
        }
        self.guards.clear();
        if let Some(all) = all {
            let id = self.planner.fresh();
            // A constant condition is added as a column first. Without that, it would give one value instead of one per
            // row.
            let frame = self.frame.clone();
            self.frame = if names_column(&all) {
                frame.filter(all)
            } else {
                frame.with_columns([all.alias(id.clone())]).filter(col(id))
            };
        }
        Ok(())
    }

    /// The columns of the result.
    fn items(&mut self, select: &SelectAst) -> Result<Vec<ResultColumn>> {
        let mut items = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let name = match expr {
                        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => self.own_name(expr),
                        other => other.to_string(),
                    };
                    items.push(ResultColumn { name, value: self.expr(expr)? });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(ResultColumn { name: alias.value.clone(), value: self.expr(expr)? });
                }
                SelectItem::Wildcard(options) => self.wildcard(None, options, &mut items)?,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    self.wildcard(Some(&name.to_string()), options, &mut items)?;
                }
                other => return Err(refused(format!("{other} is not supported"))),
            }
        }
        if items.is_empty() { Err(refused("SELECT names no column")) } else { Ok(items) }
    }

    /// The name of a column as written in its table.
    fn own_name(&self, expr: &ast::Expr) -> String {
        let parts = match expr {
            ast::Expr::Identifier(name) => vec![name.clone()],
            ast::Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => Vec::new(),
        };
        let known = self.resolve(&parts).ok().flatten().map(|column| column.name.clone());
        known.unwrap_or_else(|| parts.last().map_or_else(|| expr.to_string(), |name| name.value.clone()))
    }

    fn wildcard(
        &mut self,
        relation: Option<&str>,
        options: &ast::WildcardAdditionalOptions,
        items: &mut Vec<ResultColumn>,
    ) -> Result<()> {
        if options.opt_replace.is_some() || options.opt_rename.is_some() || options.opt_ilike.is_some() {
            return Err(refused("* REPLACE, RENAME and ILIKE are not supported; name the columns"));
        }
        let mut left_out: Vec<String> = match &options.opt_exclude {
            None => Vec::new(),
            Some(ast::ExcludeSelectItem::Single(name)) => vec![name.to_string()],
            Some(ast::ExcludeSelectItem::Multiple(names)) => names.iter().map(ToString::to_string).collect(),
        };
        if let Some(except) = &options.opt_except {
            left_out.push(except.first_element.value.clone());
            left_out.extend(except.additional_elements.iter().map(|name| name.value.clone()));
        }
        let mut found = false;
        for column in self.columns.clone() {
            let is_meant = relation.map_or(!column.is_hidden, |relation| same_name(relation, &column.relation));
            if !is_meant {
                continue;
            }
            found = true;
            if left_out.iter().any(|name| same_name(name, &column.name)) {
                continue;
            }
            let value = if self.is_grouped {
                let name = if column.relation.is_empty() {
                    ast::Expr::Identifier(ast::Ident::new(&column.name))
                } else {
                    let parts = [&column.relation, &column.name].map(|part| ast::Ident::new(part.as_str()));
                    ast::Expr::CompoundIdentifier(parts.to_vec())
                };
                self.expr(&name)?
            } else {
                Typed::column(&column.id, column.kind)
            };
            items.push(ResultColumn { name: column.name, value });
        }
        match relation {
            Some(relation) if !found => Err(refused(format!("there is no table {relation} in FROM"))),
            _ => Ok(()),
        }
    }

    /// The sort keys of the result. Each is a position, an alias, or an expression.
    fn order_items(&mut self, order: Option<&OrderBy>, items: &[ResultColumn]) -> Result<Vec<Order>> {
        let by_all = |options| Ok(items.iter().map(|item| order_by(item.value.clone(), options)).collect());
        let exprs = match order.map(|order| &order.kind) {
            None => return Ok(Vec::new()),
            Some(OrderByKind::Expressions(exprs)) => exprs,
            Some(OrderByKind::All(options)) => return by_all(options),
        };
        // The parser reads ALL as the name of a column.
        if let [OrderByExpr { expr: ast::Expr::Identifier(name), options, .. }] = exprs.as_slice()
            && name.quote_style.is_none()
            && same_name(&name.value, "all")
        {
            return by_all(options);
        }
        let mut orders = Vec::new();
        for OrderByExpr { expr, options, .. } in exprs {
            let named = match expr {
                ast::Expr::Identifier(name) => items.iter().find(|item| same_name(&item.name, &name.value)),
                _ => None,
            };
            let value = match (ordinal(expr), named) {
                (Some(number), _) => {
                    let item = items.get(number.wrapping_sub(1));
                    item.ok_or_else(|| refused(format!("ORDER BY {number}: there is no such column")))?.value.clone()
                }
                (None, Some(item)) => item.value.clone(),
                (None, None) => self.expr(expr)?,
            };
            orders.push(order_by(value, options));
        }
        Ok(orders)
    }

    /// Gives the result its columns, and sorts it.
    fn finish(
        self,
        items: Vec<ResultColumn>,
        order: Vec<Order>,
        is_distinct: bool,
        distinct_on: Option<Vec<Typed>>,
    ) -> Result<Relation> {
        let mut columns = Vec::new();
        let mut computed = Vec::new();
        for item in items {
            let id = self.planner.fresh();
            // Add the new columns to the existing ones, so that a constant gets a value in each row.
            computed.push(item.value.expr.alias(id.clone()));
            let (relation, name) = (String::new(), item.name);
            columns.push(ScopeColumn { relation, name, id, kind: item.value.kind, is_hidden: false });
        }
        let mut sorts = Vec::new();
        let (mut descending, mut nulls_last) = (Vec::new(), Vec::new());
        for order in order {
            let id = self.planner.fresh();
            computed.push(order.value.expr.alias(id.clone()));
            sorts.push(id);
            descending.push(order.descending);
            nulls_last.push(order.nulls_last);
        }
        let mut on = Vec::new();
        for value in distinct_on.into_iter().flatten() {
            let id = self.planner.fresh();
            computed.push(value.expr.alias(id.clone()));
            on.push(id);
        }
        let mut frame = self.frame.with_columns(computed);
        let items: Vec<PlSmallStr> = columns.iter().map(|column| column.id.clone()).collect();
        if is_distinct {
            // DISTINCT keeps one of several equal rows. Therefore ORDER BY should name only columns of the result; this
            // is not checked.
            frame = frame.unique_stable(Some(named(&items)), UniqueKeepStrategy::First);
        }
        if !sorts.is_empty() {
            let by: Vec<Expr> = sorts.into_iter().map(col).collect();
            frame = frame.sort_by_exprs(by, sort_options(descending, nulls_last));
        }
        if !on.is_empty() {
            frame = frame.unique_stable(Some(named(&on)), UniqueKeepStrategy::First);
        }
        let frame = frame.select(items.into_iter().map(col).collect::<Vec<_>>());
        Ok(Relation { frame, columns })
    }
}

impl Planner {
    /// Sorts rows by names, positions or expressions over their columns.
    pub fn order(&mut self, rows: Relation, order: Option<&OrderBy>) -> Result<Relation> {
        if order.is_none() {
            return Ok(rows);
        }
        let columns = rows.columns.clone();
        let mut plan = Select::new(self, rows);
        let items = columns
            .iter()
            .map(|column| ResultColumn { name: column.name.clone(), value: Typed::column(&column.id, column.kind) });
        let items: Vec<ResultColumn> = items.collect();
        let order = plan.order_items(order, &items)?;
        plan.finish(items, order, false, None)
    }
}

/// Options of a stable sort.
pub fn sort_options(descending: Vec<bool>, nulls_last: Vec<bool>) -> SortMultipleOptions {
    SortMultipleOptions { descending, nulls_last, maintain_order: true, ..SortMultipleOptions::default() }
}

/// A sort key. Nulls come last unless NULLS FIRST is given.
pub fn order_by(value: Typed, options: &ast::OrderByOptions) -> Order {
    Order { value, descending: options.asc == Some(false), nulls_last: options.nulls_first != Some(true) }
}

fn named(ids: &[PlSmallStr]) -> Selector {
    by_name(ids.iter().cloned(), true, false)
}

fn check(select: &SelectAst) -> Result<()> {
    let unsupported = [
        ("TOP", select.top.is_some()),
        ("INTO", select.into.is_some()),
        ("LATERAL VIEW", !select.lateral_views.is_empty()),
        ("PREWHERE", select.prewhere.is_some()),
        ("CONNECT BY", !select.connect_by.is_empty()),
        ("CLUSTER BY", !select.cluster_by.is_empty()),
        ("DISTRIBUTE BY", !select.distribute_by.is_empty()),
        ("SORT BY", !select.sort_by.is_empty()),
        ("SELECT … EXCLUDE", select.exclude.is_some()),
        ("SELECT AS", select.value_table_mode.is_some()),
    ];
    match unsupported.iter().find(|(_, is_there)| *is_there) {
        Some((clause, _)) => Err(refused(format!("{clause} is not supported"))),
        None => Ok(()),
    }
}

/// Returns true if an engine expression reads a column.
fn names_column(expr: &Expr) -> bool {
    expr.into_iter().any(|expr| matches!(expr, Expr::Column(_)))
}
