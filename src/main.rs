//! The doorway: parse, call, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    backup::cli::main()
}
