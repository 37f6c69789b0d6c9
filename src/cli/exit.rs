//! Exit codes, which scripts rely on.

use crate::error::{Error, Kind, Refused, Usage};
use crate::pipeline;

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed. Nothing was written, except by `ingest` and the `lake` commands, which can safely be run again.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Done, but some input was rejected; stderr says what and why.
    Rejected = 3,
    /// Done, and a condition of `--fail-if` holds (see `fail_if.rs`); takes precedence over [`Exit::Rejected`].
    ConditionHolds = 4,
}

impl Exit {
    /// The exit code of an error.
    pub fn from_error(error: &anyhow::Error) -> Exit {
        if is_usage(error) || refused(error).is_some() { Exit::Usage } else { Exit::Failed }
    }
}

/// Returns true if the error is a usage error.
pub fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<Usage>()
        || matches!(error.downcast_ref(), Some(pipeline::Error::Usage(_)))
        || error.downcast_ref::<Error>().is_some_and(|error| error.kind() == Kind::Usage)
}

/// The refused query or condition in an error, if any.
pub fn refused(error: &anyhow::Error) -> Option<&Refused> {
    let of_pipeline = || match error.downcast_ref() {
        Some(pipeline::Error::Refused(refused)) => Some(refused),
        _ => None,
    };
    error.downcast_ref().or_else(of_pipeline).or_else(|| error.downcast_ref::<Error>()?.refused())
}
