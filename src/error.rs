//! The error type of every module: a cause, the contexts in which it arose, and a kind. The kind tells a caller how to
//! react.

use std::array::TryFromSliceError;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::num::TryFromIntError;
use std::sync::mpsc::RecvError;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use polars::prelude::PolarsError;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::TokenizerError;

/// An error of any type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The result of a fallible function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, which tells a caller how to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An option, a source or a location is invalid. The user must correct it.
    Usage,
    /// A query or a condition is not supported, or one of its values cannot be computed; see [`Error::refused`].
    Refused,
    /// An object was read completely and is invalid, or it certainly does not exist although other objects refer to it.
    /// An error of any other kind does not prove that a lake is damaged.
    Damaged,
    /// The lake, file or object that was named does not exist.
    NotFound,
    /// Another writer changed the lake meanwhile. The user can run the command again.
    Conflict,
    /// A format or a feature of a newer or a different program. The user needs that program.
    Unsupported,
    /// A file, an object storage or a connection failed; [`Error::cause`] has the [`io::Error`] or
    /// [`object_store::Error`].
    Io,
    /// Any other cause; the message names it.
    Other,
}

/// An error with its context. `{}` prints the outermost context; `{:#}` prints all contexts and causes, separated by
/// colons.
pub struct Error {
    kind: Kind,
    layer: Box<Layer>,
}

#[derive(Debug, thiserror::Error)]
enum Layer {
    #[error("{0}")]
    Message(String),
    #[error("{message}")]
    Context { message: String, source: Error },
    #[error(transparent)]
    Cause(BoxError),
}

impl Error {
    /// An error of kind [`Kind::Other`].
    pub fn new(message: impl Into<String>) -> Error {
        Error::of(Kind::Other, message)
    }

    /// An error of the given kind.
    pub fn of(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, layer: Box::new(Layer::Message(message.into())) }
    }

    /// An error of kind [`Kind::Damaged`].
    pub fn damaged(message: impl Into<String>) -> Error {
        Error::of(Kind::Damaged, message)
    }

    /// An error of kind [`Kind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::of(Kind::Conflict, message)
    }

    fn from_cause(kind: Kind, cause: BoxError) -> Error {
        Error { kind, layer: Box::new(Layer::Cause(cause)) }
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns true if the kind is [`Kind::Damaged`].
    pub fn is_damaged(&self) -> bool {
        self.kind == Kind::Damaged
    }

    /// The first cause of this type.
    pub fn cause<T: StdError + 'static>(&self) -> Option<&T> {
        match self.layer.as_ref() {
            Layer::Message(_) => None,
            Layer::Context { source, .. } => source.cause(),
            Layer::Cause(cause) => {
                let first: &(dyn StdError + 'static) = cause.as_ref();
                chain(Some(first)).find_map(|cause| cause.downcast_ref())
            }
        }
    }

    /// The contexts and causes below the outermost context, down to the first cause.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        chain(self.source())
    }

    /// The refused query or condition of an error of kind [`Kind::Refused`].
    pub fn refused(&self) -> Option<&Refused> {
        self.cause()
    }

    /// Adds a context; the kind stays.
    fn within(self, message: String) -> Error {
        Error { kind: self.kind, layer: Box::new(Layer::Context { message, source: self }) }
    }
}

/// An error and its causes.
fn chain<'e>(first: Option<&'e (dyn StdError + 'static)>) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(first, |cause| (*cause).source())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.layer)?;
        if f.alternate() {
            self.causes().try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.layer.source()
    }
}

/// Adds to an error what could not be done, or turns a missing value into an error.
pub trait Context<T> {
    /// Adds a context; the kind stays.
    ///
    /// # Errors
    /// The error with this context.
    fn context(self, message: impl Into<String>) -> Result<T>;

    /// Adds a context that is computed only if there is an error; the kind stays.
    ///
    /// # Errors
    /// The error with this context.
    fn with_context(self, message: impl FnOnce() -> String) -> Result<T>;

    /// Adds a context, and makes the kind [`Kind::Damaged`].
    ///
    /// # Errors
    /// The error with this context.
    fn or_damaged(self, message: impl FnOnce() -> String) -> Result<T>
    where
        Self: Sized,
    {
        self.with_context(message).map_err(|error| Error { kind: Kind::Damaged, ..error })
    }
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().within(message.into()))
    }

    fn with_context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().within(message()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| Error::new(message))
    }

    fn with_context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.ok_or_else(|| Error::new(message()))
    }
}

/// Returns an [`Error`] with a formatted message.
macro_rules! bail {
    ($($message:tt)*) => { return Err($crate::error::Error::new(format!($($message)*))) };
}
pub(crate) use bail;

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Io };
        Error::from_cause(kind, error.into())
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Error {
        let kind = match error {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => Kind::Unsupported,
            _ => Kind::Io,
        };
        Error::from_cause(kind, error.into())
    }
}

/// Implements the conversions of errors whose type alone determines their kind.
macro_rules! from_causes {
    ($($cause:ty => $kind:ident),* $(,)?) => {$(
        impl From<$cause> for Error {
            fn from(error: $cause) -> Error {
                Error::from_cause(Kind::$kind, error.into())
            }
        }
    )*};
}

from_causes! {
    Usage => Usage,
    Refused => Refused,
    ArrowError => Other,
    ParquetError => Other,
    PolarsError => Other,
    serde_json::Error => Other,
    tempfile::PersistError => Io,
    TryFromIntError => Other,
    fmt::Error => Other,
    RecvError => Other,
    ParserError => Other,
    TokenizerError => Other,
    TryFromSliceError => Other,
}

/// A usage error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl From<String> for Usage {
    fn from(problem: String) -> Usage {
        Usage(problem)
    }
}

impl From<&str> for Usage {
    fn from(problem: &str) -> Usage {
        Usage(problem.to_owned())
    }
}

/// An error in a query or a condition, with advice.
#[derive(Debug, Clone, thiserror::Error)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_printed_from_the_outermost_to_the_cause() {
        let error = Err::<(), _>(io::Error::other("disk on fire")).context("cannot read a").context("table b");
        let error = error.err().map(|error| (error.to_string(), format!("{error:#}")));
        let printed = ("table b".to_owned(), "table b: cannot read a: disk on fire".to_owned());
        assert_eq!(error, Some(printed));
    }

    #[test]
    fn a_context_keeps_the_kind_and_the_cause() {
        let missing = || Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)).context("cannot read a");
        assert_eq!(missing().map_err(|error| error.kind()), Err(Kind::NotFound));
        assert_eq!(missing().or_damaged(|| "b".to_owned()).map_err(|error| error.kind()), Err(Kind::Damaged));
        let cause = missing().err().and_then(|error| error.cause::<io::Error>().map(io::Error::kind));
        assert_eq!(cause, Some(io::ErrorKind::NotFound));
        assert!(missing().err().is_some_and(|error| error.refused().is_none()));
    }
}
