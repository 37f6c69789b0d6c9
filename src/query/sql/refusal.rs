//! Refusals: the reason why a query is not supported, and a query that runs instead.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Refused};
use polars::prelude::{PolarsError, polars_err};

/// The prefix of the line of advice that contains a query that runs.
const RUNS: &str = "a query that runs: ";

impl Refused {
    /// Adds a query that runs, unless the refusal has one.
    pub fn with_query(mut self, sql: String) -> Refused {
        if self.query().is_none() {
            self.advice.push(format!("{RUNS}{sql}"));
        }
        self
    }

    /// The query that the refusal recommends.
    pub fn query(&self) -> Option<&str> {
        self.advice.iter().find_map(|line| line.strip_prefix(RUNS))
    }

    /// Replaces the query that the refusal recommends.
    pub fn with_other_query(mut self, sql: String) -> Refused {
        self.advice.retain(|line| !line.starts_with(RUNS));
        self.with_query(sql)
    }
}

/// A refusal that recommends no query.
pub fn refused(problem: impl Into<String>) -> Error {
    Refused::because(problem.into()).into()
}

/// A refusal with advice, and with a query that follows this advice.
pub fn refused_with(problem: impl Into<String>, advice: &str, runs: Option<String>) -> Error {
    let refused = Refused { problem: problem.into(), advice: vec![advice.to_owned()] };
    match runs {
        Some(sql) => refused.with_query(sql).into(),
        None => refused.into(),
    }
}

/// The reason why the first failed expression stopped the engine.
#[derive(Debug, Clone, Default)]
pub struct Failures(Arc<Mutex<Option<Refused>>>);

impl Failures {
    /// Records the reason, and returns the error that stops the engine.
    pub fn fail(&self, reason: &Refused) -> PolarsError {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| Refused { problem: reason.problem.clone(), advice: reason.advice.clone() });
        polars_err!(ComputeError: "refused")
    }

    /// The reason, if there is one.
    pub fn take(&self) -> Option<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A check that can fail while rows are computed.
#[derive(Debug, Clone)]
pub struct Check {
    failures: Failures,
    reason: Arc<Refused>,
}

impl Check {
    /// A check that fails for this reason.
    pub fn new(failures: &Failures, reason: Refused) -> Check {
        Check { failures: failures.clone(), reason: Arc::new(reason) }
    }

    /// The error that stops the engine.
    pub fn fail(&self) -> PolarsError {
        self.failures.fail(&self.reason)
    }
}
