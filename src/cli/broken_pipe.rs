//! Stdout whose closed pipe is distinguishable from other broken pipes.

use std::io::{self, ErrorKind, Write};

use crate::error::Error;

/// The error of a write to stdout after its reader closed the pipe.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the reader of stdout closed the pipe")]
pub struct ReaderClosed;

/// Stdout, whose errors say whether its reader closed the pipe. A broken pipe elsewhere is an ordinary failure.
pub struct Stdout(io::Stdout);

/// Opens stdout.
pub fn stdout() -> Stdout {
    Stdout(io::stdout())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(mark_reader_closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(mark_reader_closed)
    }
}

/// Converts a broken pipe on stdout to an error that [`is_reader_closed`] recognizes.
pub fn mark_reader_closed(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe { io::Error::new(ErrorKind::BrokenPipe, ReaderClosed) } else { error }
}

/// Returns true if the error is a broken pipe on stdout.
pub fn is_reader_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io: Option<&io::Error> = cause.downcast_ref().or_else(|| cause.downcast_ref::<Error>()?.cause());
        io.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<ReaderClosed>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Context;

    #[test]
    fn a_broken_connection_is_not_a_closed_pipe() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        assert!(!is_reader_closed(&anyhow::Error::from(broken()).context("cannot write the lake")));
        assert!(is_reader_closed(&anyhow::Error::from(mark_reader_closed(broken())).context("table restarts")));
        assert!(!is_reader_closed(&anyhow::Error::from(mark_reader_closed(ErrorKind::StorageFull.into()))));
        // The error with a context, as functions of the library return it.
        let render = Err::<(), _>(mark_reader_closed(broken())).context("table restarts");
        assert!(render.is_err_and(|error| is_reader_closed(&error.into())));
    }
}
