//! The command line: arguments in, one command, an exit code out.
//!
//! `args` turns words into domain types, [`context::Context`] finds configuration and database, and each command
//! is a file of its own that asks [`crate::admin`] or [`crate::store`] and hands an answer to
//! `output`, which alone prints. An [`error::Error`] knows what to say in three parts and which
//! exit code it means. The demonstration runs these same commands with their output kept in memory.

mod access;
mod add;
mod args;
mod bulk;
mod completions;
mod config;
mod context;
mod db;
mod demo;
mod error;
mod explain;
mod limits;
mod list;
mod live;
mod log;
mod mailbox;
mod names;
mod output;
mod password;
mod person;
mod prompt;
mod rename;
mod restore;
mod revoke;
mod rotate;
mod serve;
mod set;
mod show;
mod sign_in;
mod span;
mod table;
mod test;
mod which;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use crate::config::Environment;
use crate::dumping;
use args::{Args, Command};
use context::Context;
use error::{Error, Exit};
use output::Output;
use prompt::Input;

/// The whole program, from arguments to exit code.
///
/// A panic on the way is a bug of ours: it is reported as one, with exit code 70.
pub fn main() -> ExitCode {
    // Passwords are issued, typed and verified here. Where it is refused, the daemon says so in its log; a
    // command is over in a moment.
    let _ = dumping::forbid();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment = Environment::read();
    let mut output = Output::process();
    let exit = catch_unwind(AssertUnwindSafe(|| {
        run(&arguments, &environment, &mut output, Input::Process)
    }))
    .unwrap_or_else(|_| {
        output.failed(&Error::Bug);
        Exit::Bug
    });
    exit.into()
}

/// What is said to a command line before any command runs.
#[derive(Debug)]
pub struct Answered {
    pub exit_code: u8,
    /// To standard output: help, or the version.
    pub out: Vec<u8>,
    /// To standard error: what does not fit.
    pub err: String,
}

/// Reads command lines and runs nothing. For `fuzz/`, which reads millions: to make the grammar takes four
/// times as long as to read one.
#[derive(Debug)]
pub struct Reader(clap::Command);

impl Default for Reader {
    fn default() -> Self {
        Self(args::grammar())
    }
}

impl Reader {
    /// What is said to a command line; `None` where it is a command.
    pub fn read(&mut self, arguments: &[OsString]) -> Option<Answered> {
        let mut output = Output::memory();
        let exit = args::parse(&mut self.0, arguments, &mut output).err()?;
        let (out, err) = output.into_parts();
        Some(Answered {
            exit_code: exit.code(),
            out: out.expose().to_vec(),
            err,
        })
    }
}

/// Runs one command line. Whatever it has to say went through `output` when it returns.
pub(crate) fn run(
    arguments: &[OsString],
    environment: &Environment,
    output: &mut Output,
    input: Input,
) -> Exit {
    let args = match args::parse(&mut args::grammar(), arguments, output) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let Args { global, command } = args;
    output.set_style(global.style());
    let mut context = Context::new(global, environment.clone(), output, input);
    match dispatch(command, &mut context) {
        Ok(exit) => exit,
        // The reader of a list has seen enough.
        Err(error) if error.is_broken_pipe() => Exit::Done,
        Err(error) => {
            let error = context.explained(error);
            output.failed(&error);
            error.exit()
        }
    }
}

fn dispatch(command: Command, context: &mut Context<'_>) -> Result<Exit, Error> {
    match command {
        Command::Add(add) => add.run(context)?,
        Command::List(list) => list.run(context)?,
        Command::Show(show) => show.run(context)?,
        Command::Rename(rename) => rename.run(context)?,
        Command::Rotate(rotate) => rotate.run(context)?,
        Command::Revoke(revoke) => revoke.run(context)?,
        Command::Set(set) => set.run(context)?,
        Command::Person(person) => person.run(context)?,
        Command::Access(access) => access.run(context)?,
        Command::Mailbox(mailbox) => mailbox.run(context)?,
        Command::Test(test) => test.run(context)?,
        Command::Explain(explain) => return explain.run(context),
        Command::Log(log) => log.run(context)?,
        Command::Config(config) => config.run(context)?,
        Command::Db(db) => return db.run(context),
        Command::Serve(serve) => serve.run(context)?,
        Command::Demo(demo) => demo.run(context)?,
        Command::Completions(completions) => completions.run(context)?,
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_does_not_fit_cannot_steer_the_terminal() {
        let words = ["dovelatch", "re\rvo\u{202e}ke"].map(OsString::from);
        let Answered { exit_code, err, .. } = Reader::default().read(&words).unwrap();
        assert_eq!(exit_code, 64);
        assert!(err.contains(r"re\u{d}vo\u{202e}ke"), "{err:?}");
        assert!(err.contains("\nUsage: "), "{err:?}");
    }
}
