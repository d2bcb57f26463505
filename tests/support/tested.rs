//! The program under test.

use std::ffi::OsStr;
use std::process::Command;

/// Where it is.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dovelatch");

/// Runs it; which configuration it reads is still to be said.
pub(crate) fn command() -> Command {
    started_by(PROGRAM)
}

/// Runs what starts it in turn: a shell, say.
///
/// The environment is that of whoever runs the tests, without the configuration and the database that it may
/// name: the program would prefer those to the test's own, and the test would change a real database.
pub(crate) fn started_by(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in ["DOVELATCH_CONFIG", "DOVELATCH_DATABASE"] {
        command.env_remove(variable);
    }
    command
}
