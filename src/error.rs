//! Errors shared by several modules.

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A usage error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An error in a query or a condition, with advice.
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
