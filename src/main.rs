//! The `alloclog` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    alloclog::cli::main()
}
