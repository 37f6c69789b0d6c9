//! Standard output, of which it is known that nobody reads it any longer.

use std::io::{self, ErrorKind, Stdout, Write};

/// Whoever read our output has seen enough.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("nobody reads what is written any longer")]
pub struct Enough;

/// Standard output. That its reader went away is told from a connection that broke, which is a failure.
pub struct Heard(Stdout);

/// Standard output.
pub fn stdout() -> Heard {
    Heard(io::stdout())
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told)
    }
}

/// The error of standard output as one that [`is_enough`] knows, where its reader went away.
pub fn told(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe { io::Error::new(ErrorKind::BrokenPipe, Enough) } else { error }
}

/// Whether an error is that whoever read our output has seen enough.
pub fn is_enough(error: &anyhow::Error) -> bool {
    let io = |cause: &'_ (dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<Enough>())
    };
    error.chain().any(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_breaks_is_no_reader_that_went_away() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        assert!(!is_enough(&anyhow::Error::from(broken()).context("the lake cannot be written")));
        assert!(is_enough(&anyhow::Error::from(told(broken())).context("table restarts")));
        assert!(!is_enough(&anyhow::Error::from(told(ErrorKind::StorageFull.into()))));
    }
}
