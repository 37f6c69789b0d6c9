//! Exit codes: a promise to scripts.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed. Nothing was written, but for `ingest` and the `lake` commands, which can be run again safely.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Done, but some input was rejected; what and why is on standard error.
    Rejected = 3,
    /// Done, and a condition of `--fail-if` holds; wins over [`Exit::Rejected`].
    ConditionHolds = 4,
}

/// A mistake in what the user asked for: [`Exit::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Exit {
    /// The code of an error that reached the top.
    pub fn of(error: &anyhow::Error) -> Exit {
        if error.is::<Usage>() || error.is::<Refused>() { Exit::Usage } else { Exit::Failed }
    }
}

/// A mistake in a query or a condition, with what may help: [`Exit::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Refused {
    /// What is wrong.
    pub problem: String,
    /// What may help, a line each.
    pub advice: Vec<String>,
}

impl Refused {
    /// A refusal that speaks for itself.
    pub fn because(problem: String) -> Refused {
        Refused { problem, advice: Vec::new() }
    }
}
