//! What went wrong, in three parts (what was tried, what happened, what to do), and the exit code
//! that it means.

mod restore;

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::model::{DeviceId, Label, Mailbox, NameError, Person};
use crate::store::RestoreError;
use crate::wire::auth_client::NoGreeting;
use crate::{admin, config, server, store, verify};

/// Exit codes of sysexits(3), as doveadm's and Postfix's are. An interface: `--help` lists them, and a
/// change goes into the changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Usage,
    /// Malformed, ambiguous, or taken.
    Data,
    /// The file that is to be read is not there.
    NoInput,
    /// No such mailbox or device.
    Unknown,
    /// The daemon cannot be reached.
    Unavailable,
    Bug,
    CannotCreate,
    /// Database missing or corrupt, input or output.
    Io,
    TryAgain,
    /// Refused, or no permission.
    Refused,
    /// Configuration, or a database of a newer schema.
    Config,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unknown => 67,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::TryAgain => 75,
            Self::Refused => 77,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{shown}")]
    Usage { shown: String },
    #[error("invalid value {value:?} for {argument}")]
    Value {
        value: String,
        argument: String,
        cause: String,
    },
    #[error("invalid value {value:?}: it is not UTF-8")]
    NotText { value: String },
    #[error("{place} cannot be {value:?}")]
    DatabaseName {
        place: &'static str,
        value: String,
        source: config::Wrong,
    },
    #[error("{name:?} cannot be a name in the default domain")]
    DefaultDomain { name: String, source: NameError },
    #[error("{act} asks for confirmation, and there is no terminal")]
    NeedsYes { act: &'static str },
    #[error("not confirmed; nothing was changed")]
    NotConfirmed,
    #[error("cannot read {what}")]
    Input {
        what: &'static str,
        source: io::Error,
    },
    #[error("cannot write to standard output")]
    Print(#[from] io::Error),
    #[error("the new password of {label:?} could not be shown, so it does not work")]
    NotShown { label: String, source: io::Error },
    #[error("the new password of {label:?} could not be shown, and could not be taken back")]
    NotWithdrawn {
        id: DeviceId,
        label: String,
        /// What ends it.
        command: &'static str,
        source: Box<admin::Error>,
    },
    #[error("the new password works, but the old one could not be ended")]
    NotEnded { source: admin::Error },
    #[error("mailbox {:?} has no {what} {:?}{}", mailbox.as_str(), label.as_str(), of(person))]
    NoSuchDevice {
        what: &'static str,
        mailbox: Mailbox,
        label: Label,
        person: Option<Person>,
    },
    #[error("mailbox {:?} has several device passwords {:?}", mailbox.as_str(), label.as_str())]
    Ambiguous {
        mailbox: Mailbox,
        label: Label,
        ids: Vec<DeviceId>,
    },
    #[error("device password {:?} is revoked", id.as_str())]
    IsRevoked { id: DeviceId },
    #[error("cannot use database {path:?}")]
    Database {
        path: PathBuf,
        source: Box<store::Error>,
    },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Restore(Box<RestoreError>),
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    Verify(#[from] verify::Trouble),
    #[error(transparent)]
    Config(Box<config::Error>),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error("cannot start the log")]
    Log { source: io::Error },
    #[error("{path:?} exists already")]
    Exists { path: PathBuf },
    #[error("database {path:?} is damaged")]
    Damaged { path: PathBuf, findings: usize },
    #[error("there is no listener to ask")]
    NoListener,
    #[error("cannot reach the daemon at {}", places(tried))]
    Unreachable { tried: Vec<(PathBuf, io::Error)> },
    #[error("what listens at {path:?} is no auth server of Dovecot's protocol, version 1")]
    OtherProtocol { path: PathBuf, source: NoGreeting },
    #[error("the daemon at {path:?} cannot decide now")]
    TryLater { path: PathBuf, cause: String },
    #[error("the daemon at {path:?} refuses this password for {:?}", mailbox.as_str())]
    LoginRefused { path: PathBuf, mailbox: Mailbox },
    #[error("the demonstration cannot write below {path:?}")]
    DemoPlace { path: PathBuf, source: io::Error },
    #[error("the demonstration stopped: {step}")]
    Demo { step: String, cause: String },
    #[error("interrupted; nothing is left behind")]
    Interrupted,
    #[error("dovelatch met a mistake of its own")]
    Bug,
}

/// Boxed: it holds much, and every result of a command would be as large.
impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(Box::new(error))
    }
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::NeedsYes { .. } => Exit::Usage,
            Self::Value { .. }
            | Self::NotText { .. }
            | Self::DefaultDomain { .. }
            | Self::DatabaseName { .. }
            | Self::Ambiguous { .. } => Exit::Data,
            Self::NoSuchDevice { .. } | Self::IsRevoked { .. } => Exit::Unknown,
            Self::NotConfirmed | Self::LoginRefused { .. } => Exit::Refused,
            Self::Input { .. }
            | Self::Print(_)
            | Self::NotShown { .. }
            | Self::NotWithdrawn { .. }
            | Self::Damaged { .. } => Exit::Io,
            Self::NotEnded { source } | Self::Admin(source) => admin_exit(source),
            Self::Store(error) | Self::Verify(verify::Trouble::Store(error)) => store_exit(error),
            Self::Verify(verify::Trouble::Hash { .. } | verify::Trouble::Random(_)) => Exit::Io,
            Self::Database { source, .. } => store_exit(source),
            Self::Restore(error) => restore::exit(error),
            Self::Config(_) | Self::NoListener => Exit::Config,
            Self::Server(error) => server_exit(error),
            Self::Exists { .. } | Self::DemoPlace { .. } => Exit::CannotCreate,
            Self::Unreachable { tried } if is_forbidden(tried) => Exit::Refused,
            Self::Unreachable { .. } | Self::OtherProtocol { .. } => Exit::Unavailable,
            Self::TryLater { .. } | Self::Interrupted | Self::Log { .. } => Exit::TryAgain,
            Self::Demo { .. } | Self::Bug => Exit::Bug,
        }
    }

    /// The word for programs. An interface: it stays when the sentence changes.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Value { .. }
            | Self::NotText { .. }
            | Self::DefaultDomain { .. }
            | Self::DatabaseName { .. } => "invalid_value",
            Self::NeedsYes { .. } => "needs_confirmation",
            Self::NotConfirmed => "not_confirmed",
            Self::Input { .. } => "input",
            Self::Print(_) => "output",
            Self::NotShown { .. } => "password_not_shown",
            Self::NotWithdrawn { .. } => "password_not_withdrawn",
            Self::NotEnded { .. } => "old_password_not_ended",
            Self::NoSuchDevice { .. } => "no_such_device",
            Self::Ambiguous { .. } => "ambiguous_device",
            Self::IsRevoked { .. } => "already_revoked",
            Self::Store(error) => error.code(),
            Self::Database { source, .. } => source.code(),
            Self::Restore(error) => restore::code(error),
            Self::Admin(error) => error.code(),
            Self::Verify(error) => error.code(),
            Self::Config(_) => "configuration",
            Self::Server(_) => "server",
            Self::Log { .. } => "log",
            Self::Exists { .. } => "file_exists",
            Self::Damaged { .. } => "database_damaged",
            Self::NoListener => "no_listener",
            Self::Unreachable { .. } => "daemon_unreachable",
            Self::OtherProtocol { .. } => "other_protocol",
            Self::TryLater { .. } => "try_later",
            Self::LoginRefused { .. } => "login_refused",
            Self::DemoPlace { .. } => "demo_place",
            Self::Demo { .. } => "demo",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        }
    }

    /// What was tried. Of a usage error the first line, without the help that follows it.
    pub(crate) fn message(&self) -> String {
        if let Self::Usage { shown } = self {
            let error = shown.lines().find_map(|line| line.strip_prefix("error: "));
            // Help in place of an error: the command has commands of its own.
            return error.unwrap_or("a command is missing").to_owned();
        }
        self.to_string()
    }

    /// What happened: the errors below this one, outermost first.
    pub(crate) fn cause(&self) -> Option<String> {
        if let Self::Value { cause, .. } | Self::TryLater { cause, .. } | Self::Demo { cause, .. } =
            self
        {
            return Some(cause.clone());
        }
        if let Self::Ambiguous { ids, .. } = self {
            let ids: Vec<String> = ids.iter().map(|id| format!("{:?}", id.as_str())).collect();
            return Some(format!("they are {}", ids.join(", ")));
        }
        if let Self::Unreachable { tried } = self {
            return Some(reasons(tried));
        }
        if let Self::Damaged { findings, .. } = self {
            return Some(match findings {
                1 => "1 finding, above".to_owned(),
                findings => format!("{findings} findings, above"),
            });
        }
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(error) = next {
            let cause = error.to_string();
            // Some repeat what is below them.
            causes.retain(|above: &String| !cause.contains(above.as_str()));
            causes.push(cause);
            next = error.source();
        }
        (!causes.is_empty()).then(|| causes.join(": "))
    }

    /// What to do.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Value { argument, .. } => hint_for(argument)?,
            Self::NotText { .. } => {
                "names, labels and ids are UTF-8; is the terminal set to another encoding?"
            }
            Self::DatabaseName { source, .. } => source.hint(),
            Self::NeedsYes { .. } => "say --yes if it is meant",
            Self::DefaultDomain { .. } => "write the whole name, or shorten default_domain",
            Self::Print(_) => "the command itself is done; `dovelatch list` shows how things are",
            Self::NotShown { .. } => {
                "give standard output a terminal, a pipe or a file, and try again"
            }
            Self::NotWithdrawn { id, command, .. } => {
                return Some(format!("it may work: run `dovelatch {command} --id {id}`"));
            }
            Self::NotEnded { .. } => "run `dovelatch rotate` again, or revoke the device password",
            Self::NoSuchDevice { mailbox, .. } => {
                return Some(format!("`dovelatch list {mailbox}` shows the devices"));
            }
            Self::Ambiguous { .. } => "name one with --id, or say whose with --person",
            Self::IsRevoked { .. } => "revoked is for good; `dovelatch add` issues a new one",
            Self::Store(error) => error.hint()?,
            Self::Database { source, .. } => source.hint()?,
            Self::Restore(error) => restore::hint(error)?,
            Self::Admin(error) => error.hint()?,
            Self::Verify(error) => error.hint()?,
            Self::Server(error) => error.hint()?,
            Self::Config(error) => error.hint()?,
            Self::Exists { .. } => "name a file that does not exist yet",
            Self::Damaged { .. } => {
                "`dovelatch db restore FILE` puts a backup in its place, and keeps the file"
            }
            Self::NoListener => {
                "add a [[listen]] of type \"auth\" or \"login\" to the configuration"
            }
            Self::Unreachable { tried } if is_forbidden(tried) => {
                "run it as root or as a user who may open the socket"
            }
            Self::Unreachable { .. } => {
                "start it with `systemctl start dovelatch`, or `dovelatch serve`"
            }
            Self::OtherProtocol { .. } => {
                "the first [[listen]] of the configuration must have the path of dovelatch's own socket"
            }
            Self::TryLater { .. } => "try again in a moment",
            Self::LoginRefused { mailbox, .. } => {
                return Some(format!("`dovelatch explain {mailbox}` says why"));
            }
            Self::DemoPlace { .. } => {
                "let TMPDIR name a directory that you may write to, with room in it"
            }
            Self::Bug => "please report it, with the lines above",
            Self::Usage { shown } => {
                let tip = shown
                    .lines()
                    .find_map(|line| line.trim().strip_prefix("tip: "));
                tip.unwrap_or("`dovelatch --help` shows the grammar")
            }
            Self::NotConfirmed => "answer y, or say --yes",
            Self::Input { .. } => "type it at a terminal, or write it to standard input",
            Self::Log { .. } => "raise the limit on threads",
            Self::Demo { .. } => {
                "if nothing on this host explains it, please report it, with the lines above"
            }
            // The message says it all, for whoever asked for it.
            Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the reader of our output has gone, as `head` does.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// How what was typed for `argument` is written, where the cause does not say it.
fn hint_for(argument: &str) -> Option<&'static str> {
    Some(match argument.split(' ').next()? {
        "MAILBOX" | "NAME" | "PERSON" | "--person" => {
            "a name is written like ana@example.org, without blanks and / \\ % * : < > \""
        }
        "DEVICE" | "NEW" => {
            "a label has 1 to 64 characters, none of them a control character, no blank at an end"
        }
        "--id" => "`dovelatch list` shows the ids",
        "--field" | "--remove-field" => {
            "a field is a setting of Dovecot, like quota_rule=*:storage=1G, or home, uid or gid"
        }
        _ => return None,
    })
}

fn of(person: &Option<Person>) -> String {
    person
        .as_ref()
        .map_or(String::new(), |person| format!(" of {:?}", person.as_str()))
}

/// Whether a daemon may be there, but not for us.
fn is_forbidden(tried: &[(PathBuf, io::Error)]) -> bool {
    tried
        .iter()
        .any(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied)
}

/// `"/a", "/b"`
fn places(tried: &[(PathBuf, io::Error)]) -> String {
    let places: Vec<String> = tried.iter().map(|(path, _)| format!("{path:?}")).collect();
    places.join(", ")
}

/// What each of them said; once, where all say the same.
fn reasons(tried: &[(PathBuf, io::Error)]) -> String {
    let mut reasons: Vec<String> = tried.iter().map(|(_, error)| error.to_string()).collect();
    if reasons.iter().any(|reason| Some(reason) != reasons.first()) {
        reasons = tried
            .iter()
            .map(|(path, error)| format!("{path:?}: {error}"))
            .collect();
    } else {
        reasons.truncate(1);
    }
    reasons.join("; ")
}

fn admin_exit(error: &admin::Error) -> Exit {
    match error {
        admin::Error::Store(error) => store_exit(error),
        admin::Error::Password(_) | admin::Error::Random(_) => Exit::Bug,
    }
}

fn store_exit(error: &store::Error) -> Exit {
    use store::Error as E;
    match error {
        E::NoSuchMailbox { .. }
        | E::NoSuchPerson { .. }
        | E::NoAccess { .. }
        | E::NoSuchDevice { .. }
        | E::AlreadyRevoked { .. } => Exit::Unknown,
        E::MailboxExists { .. }
        | E::PersonExists { .. }
        | E::AccessExists { .. }
        | E::OwnMailbox { .. }
        | E::Fields { .. }
        | E::LabelTaken { .. } => Exit::Data,
        E::Create { .. } | E::TargetExists { .. } | E::LeftBehind { .. } => Exit::CannotCreate,
        E::Locked { .. } | E::AlreadyEnded { .. } => Exit::TryAgain,
        E::Permission { .. } => Exit::Refused,
        E::SchemaTooNew { .. } => Exit::Config,
        E::TagTaken | E::IdTaken { .. } | E::Random(_) | E::SqliteTooOld { .. } => Exit::Bug,
        E::Missing { .. }
        | E::Unavailable { .. }
        | E::LogDeleted { .. }
        | E::Replaced { .. }
        | E::NotADatabase { .. }
        | E::SchemaTooOld { .. }
        | E::OtherIdentity { .. }
        | E::Open { .. }
        | E::Examine { .. }
        | E::Setting { .. }
        | E::Full { .. }
        | E::ReadOnly { .. }
        | E::Corrupt { .. }
        | E::Io { .. }
        | E::Undecodable { .. }
        | E::Query(_) => Exit::Io,
    }
}

fn server_exit(error: &server::Error) -> Exit {
    match error.kind() {
        server::Kind::Configuration => Exit::Config,
        server::Kind::Socket => Exit::CannotCreate,
        server::Kind::System => Exit::TryAgain,
    }
}
