//! Native twins: views that a function computes instead of their SQL.
//!
//! A view gets a twin if SQL is the wrong tool for the view and the view takes a large part of the time. The SQL file
//! remains the definition of the view: other engines run the file, and so does this program with [`Method::Sql`]. Tests
//! compare the rows of both (tests/twins.rs).

mod logged_events;
mod task_numbers;
mod timeline;

use std::str::FromStr;

use polars::prelude::DataFrame;

use crate::error::Result;

/// How to compute the views that have a native twin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// By the twin.
    #[default]
    Native,
    /// By their SQL, as all other views.
    Sql,
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Method, String> {
        match text {
            "native" => Ok(Method::Native),
            "sql" => Ok(Method::Sql),
            _ => Err("expected native or sql".to_owned()),
        }
    }
}

/// Reads columns of a stored table or of a view that is computed already.
pub(super) type ReadColumns<'a> = dyn Fn(&str, &[&str]) -> Result<DataFrame> + 'a;

/// Computes the rows of a view, with columns in any order. Sorts them by the ORDER BY of the view if the last
/// argument is true.
pub(super) type Twin = fn(&ReadColumns<'_>, bool) -> Result<DataFrame>;

/// The twin of a view, if it has one.
pub(super) fn twin(view: &str) -> Option<Twin> {
    match view {
        "timeline" => Some(timeline::rows),
        _ => None,
    }
}
