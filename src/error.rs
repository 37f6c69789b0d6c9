//! Exit codes: a promise to scripts.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, nothing written.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Done, but some input was rejected; what and why is on standard error.
    Rejected = 3,
}

/// A mistake in what the user asked for: [`Exit::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Exit {
    /// The code of an error that reached the top.
    pub fn of(error: &anyhow::Error) -> Exit {
        if error.is::<Usage>() { Exit::Usage } else { Exit::Failed }
    }
}
