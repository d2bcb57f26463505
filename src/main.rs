//! Hands the process over to [`dovelatch::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    dovelatch::cli::main()
}
