//! A view's common table expressions, one by one.
//!
//! The engine would put each into every place that names it, and compute it anew in each: it sees that two places are
//! alike only until they filter or need other columns.

use std::ops::ControlFlow;

use anyhow::bail;
use sqlparser::ast::{Statement, Visit, visit_relations};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// A common table expression.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// Its SELECT.
    pub sql: String,
    /// Whether it is named more than once.
    pub is_shared: bool,
}

/// Cuts a view into its common table expressions and the SELECT over them.
///
/// # Errors
/// When it is not one SELECT in SQL.
pub fn of(sql: &str) -> anyhow::Result<(Vec<Step>, String)> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, sql)?;
    let [Statement::Query(query)] = statements.as_mut_slice() else { bail!("a view is one SELECT") };
    let tables = query.with.take().map_or_else(Vec::new, |with| with.cte_tables);
    let steps = tables.iter().map(|table| {
        let name = table.alias.name.value.clone();
        let uses: usize = tables.iter().map(|other| uses(&name, &other.query)).sum();
        let is_shared = uses + self::uses(&name, query) > 1;
        Step { sql: table.query.to_string(), name, is_shared }
    });
    Ok((steps.collect(), query.to_string()))
}

/// How often a query names a table.
fn uses(name: &str, query: &impl Visit) -> usize {
    let mut uses = 0;
    let _ = visit_relations(query, |relation| {
        uses += usize::from(relation.to_string() == name);
        ControlFlow::<()>::Continue(())
    });
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_named_more_than_once() {
        let sql = "WITH a AS (SELECT 1 AS x), b AS (SELECT a.x FROM a), c AS (SELECT x FROM a JOIN b ON a.x = b.x) \
                   SELECT * FROM c";
        let (steps, last) = of(sql).unwrap();
        let shared: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.is_shared)).collect();
        assert_eq!(shared, [("a", true), ("b", false), ("c", false)]);
        assert_eq!((steps[1].sql.as_str(), last.as_str()), ("SELECT a.x FROM a", "SELECT * FROM c"));
    }
}
