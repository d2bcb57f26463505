//! The grammar: what may be typed, and what is answered to the rest.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches as _, Parser, Subcommand};

use super::error::{Error, Exit};
use super::output::{Output, Style, shown_lines};
use super::{
    access, add, completions, config, db, demo, explain, list, log, mailbox, person, rename,
    revoke, rotate, serve, set, show, test,
};

/// Device passwords for Dovecot and Postfix: one mailbox, many passwords, revoked one by one
#[derive(Debug, Parser)]
#[command(name = "dovelatch", version, propagate_version = true)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Global {
    /// Configuration file [env: DOVELATCH_CONFIG, else /etc/dovelatch/dovelatch.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Database, instead of the configured one [env: DOVELATCH_DATABASE]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) database: Option<PathBuf>,
    /// Answer with one JSON document; errors are JSON too, on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Print only the password, the ids or the names
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

impl Global {
    /// `--json` wins over `--quiet`: a document has no short form.
    pub(crate) fn style(&self) -> Style {
        match (self.json, self.quiet) {
            (true, _) => Style::Json,
            (false, true) => Style::Quiet,
            (false, false) => Style::Words,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(visible_alias = "create")]
    Add(add::Add),
    #[command(visible_alias = "ls")]
    List(list::List),
    Show(show::Show),
    Rename(rename::Rename),
    Rotate(rotate::Rotate),
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke(revoke::Revoke),
    Set(set::Set),
    Mailbox(mailbox::Command),
    Person(person::Command),
    Access(access::Command),
    Log(log::Log),
    Test(test::Test),
    Explain(explain::Explain),
    Config(config::Command),
    Db(db::Command),
    Serve(serve::Serve),
    Demo(demo::Demo),
    Completions(completions::Completions),
}

/// Words → [`Args`], by the grammar. Help and version are answered here, and so is whatever does not fit.
pub(crate) fn parse(
    grammar: &mut clap::Command,
    arguments: &[OsString],
    output: &mut Output,
) -> Result<Args, Exit> {
    // A mistake may come before clap has seen `--json`.
    if arguments.iter().any(|argument| argument == "--json") {
        output.set_style(Style::Json);
    }
    let matches = grammar.try_get_matches_from_mut(arguments);
    let args = matches.and_then(|mut matches| {
        Args::from_arg_matches_mut(&mut matches).map_err(|error| error.format(grammar))
    });
    let error = match args {
        Ok(args) => return Ok(args),
        Err(error) => error,
    };
    let shown = if error.kind() == ErrorKind::DisplayVersion {
        // clap would put the command's name before the version.
        concat!("dovelatch ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
    } else {
        error.render().to_string()
    };
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return Err(match output.text(&shown) {
            Err(error) if !error.is_broken_pipe() => {
                output.failed(&error);
                error.exit()
            }
            Ok(()) | Err(_) => Exit::Done,
        });
    }
    let garbled = arguments
        .iter()
        .find(|argument| argument.to_str().is_none());
    let error = match (error.kind(), garbled) {
        (ErrorKind::ValueValidation, _) => refused_value(&error),
        // clap keeps to itself which one.
        (ErrorKind::InvalidUtf8, Some(argument)) => Error::NotText {
            value: argument.to_string_lossy().into_owned(),
        },
        // clap repeats words as they came.
        (_, _) => Error::Usage {
            shown: shown_lines(&shown),
        },
    };
    output.failed(&error);
    Err(error.exit())
}

/// The grammar as clap's value.
pub(crate) fn grammar() -> clap::Command {
    Args::command()
}

/// A value that its domain type refuses: bad data, not bad usage.
fn refused_value(error: &clap::Error) -> Error {
    let word = |kind| {
        if let Some(ContextValue::String(word)) = error.get(kind) {
            word.clone()
        } else {
            String::new()
        }
    };
    let cause = std::error::Error::source(error).map(ToString::to_string);
    Error::Value {
        value: word(ContextKind::InvalidValue),
        // "<MAILBOX>", "--id <ID>", "[DEVICE]..."
        argument: word(ContextKind::InvalidArg)
            .chars()
            .filter(|c| !"<>[].".contains(*c))
            .collect(),
        cause: cause.unwrap_or_default(),
    }
}

const EXIT_STATUS: &str = "\
Exit status: 0 done, 64 usage, 65 malformed, ambiguous or taken, 66 no input file,
67 no such mailbox, person or device, 69 daemon unreachable, 70 bug, 73 cannot create, 74 database missing, corrupt, or input/output,
75 try again, 77 refused or no permission, 78 configuration";
