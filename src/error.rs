//! Exit codes, which scripts rely on.

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
    /// Done, and a condition of `--fail-if` holds; takes precedence over [`Exit::Rejected`].
    ConditionHolds = 4,
}

/// A usage error: [`Exit::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Exit {
    /// The exit code of an error.
    pub fn of(error: &anyhow::Error) -> Exit {
        if error.is::<Usage>() || error.is::<Refused>() { Exit::Usage } else { Exit::Failed }
    }
}

/// An error in a query or a condition, with advice: [`Exit::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Refused {
    /// The problem.
    pub problem: String,
    /// Advice, one line each.
    pub advice: Vec<String>,
}

impl Refused {
    /// A refusal without advice.
    pub fn because(problem: String) -> Refused {
        Refused { problem, advice: Vec::new() }
    }
}
