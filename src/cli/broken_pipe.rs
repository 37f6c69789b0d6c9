//! Stdout whose closed pipe is distinguishable from other broken pipes.

use std::io::{self, ErrorKind, Stdout, Write};

/// The reader of stdout closed its end.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the reader of stdout closed the pipe")]
pub struct Enough;

/// Stdout; an error says whether its reader closed the pipe. A broken connection elsewhere is a failure.
pub struct Heard(Stdout);

/// Opens stdout.
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

/// Converts a broken pipe on stdout to an error that [`is_enough`] recognizes.
pub fn told(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe { io::Error::new(ErrorKind::BrokenPipe, Enough) } else { error }
}

/// Returns true if the error is a broken pipe on stdout.
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
    fn a_broken_connection_is_not_a_closed_pipe() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        assert!(!is_enough(&anyhow::Error::from(broken()).context("cannot write the lake")));
        assert!(is_enough(&anyhow::Error::from(told(broken())).context("table restarts")));
        assert!(!is_enough(&anyhow::Error::from(told(ErrorKind::StorageFull.into()))));
    }
}
