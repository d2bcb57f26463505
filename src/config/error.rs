//! Why a configuration cannot be used: where, what stands there, what is wrong with it, what to do.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::model::{FieldError, NameError, SeparatorError};
use crate::password::phc::CostError;

/// Longest value repeated in a message, in characters; the rest is cut off.
const MAX_SHOWN: usize = 100;

/// Shown in place of a database URL: it may hold a password.
const HIDDEN_URL: &str = "postgresql://…";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read configuration {path:?}")]
    Read { path: PathBuf, source: io::Error },
    /// No TOML, or a key that this version does not know, or a value of another kind.
    #[error("cannot use configuration {path:?}: {place}")]
    Syntax {
        path: PathBuf,
        place: Place,
        source: Syntax,
    },
    /// The value is of the right kind, and still cannot be.
    #[error("cannot use configuration {path:?}: {place}: {key} = {value}")]
    Value {
        path: PathBuf,
        place: Place,
        key: Cow<'static, str>,
        /// As it stands in the file.
        value: String,
        source: Wrong,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("name another file with --config, or make this one readable"),
            Self::Syntax { .. } => Some("correct it, or leave it out to have the default"),
            Self::Value { source, .. } => Some(source.hint()),
        }
    }

    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::Syntax {
            path: path.to_owned(),
            place: Place::of(text, error.span().map_or(0, |span| span.start)),
            source: Syntax(error.message().lines().collect::<Vec<_>>().join("; ")),
        }
    }

    pub(super) fn value(
        path: &Path,
        text: &str,
        key: Cow<'static, str>,
        span: &Range<usize>,
        source: Wrong,
    ) -> Self {
        let value = if matches!(source, Wrong::Postgres) {
            format!("{HIDDEN_URL:?}")
        } else {
            shown(text.get(span.clone()).unwrap_or_default())
        };
        Self::Value {
            path: path.to_owned(),
            place: Place::of(text, span.start),
            key,
            value,
            source,
        }
    }
}

/// One line of it, of bounded length.
fn shown(value: &str) -> String {
    let line = value.chars().take_while(|c| !c.is_control());
    let mut shown: String = line.clone().take(MAX_SHOWN).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What the TOML reader says, without its picture of the line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Syntax(String);

/// What is wrong with a value.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("the path is not absolute")]
    NotAbsolute,
    #[error("the path has a control character in it")]
    ControlCharacter,
    #[error("the path has {0} bytes; a socket's may have 107")]
    SocketPathTooLong(usize),
    #[error("this version keeps its database in a file; PostgreSQL comes with a later one")]
    Postgres,
    #[error("not a domain: {0}")]
    Domain(NameError),
    #[error("there is no listener of that type")]
    UnknownType,
    #[error("nobody logs in through a listener of type \"{0}\"")]
    NoLogIns(&'static str),
    #[error("a listener of this type tells where mail lives, and there is no [userdb] to say it")]
    NoUserdb,
    #[error("mail processes do not run as root")]
    Root,
    #[error(transparent)]
    Field(FieldError),
    #[error("uid, gid and home are keys of [userdb] itself")]
    FieldHasKey,
    #[error("not one of \"auto\", \"anvil\", \"doveadm\" and \"off\"")]
    Kick,
    #[error("neither the whole path of a program nor its bare name")]
    Program,
    #[error("a name has 1 to 64 letters, digits, \".\", \"_\" or \"-\"")]
    Name,
    #[error("another listener has the same name")]
    NameTaken,
    #[error("another listener has the same path")]
    PathTaken,
    #[error("there is no such user on this host")]
    NoSuchUser,
    #[error("there is no such group on this host")]
    NoSuchGroup,
    #[error("users and groups cannot be looked up: {0}")]
    LookUp(io::Error),
    #[error("not an octal mode from \"0000\" to \"0777\"")]
    Mode,
    #[error("not a span of seconds or milliseconds")]
    Delay,
    #[error("refusals may be put off by 4 s at most: the peers give up soon after")]
    DelayTooLong,
    #[error("there is no mechanism of that name; this version has \"PLAIN\" and \"LOGIN\"")]
    UnknownMechanism,
    #[error("a mechanism is named twice")]
    MechanismTwice,
    #[error("no mechanism is left to log in with")]
    NoMechanism,
    #[error(transparent)]
    Cost(CostError),
    #[error("not a number of threads from 0 to 256")]
    Threads,
    #[error(transparent)]
    Separator(SeparatorError),
    #[error("not a span from 1 to 36500 days")]
    Days,
    #[error("not a number of lines from 1 to 10000")]
    Uses,
}

impl Wrong {
    /// A value that is wrong in this way, as it may be shown.
    pub fn shown(&self, value: &Path) -> String {
        if matches!(self, Self::Postgres) {
            HIDDEN_URL.to_owned()
        } else {
            value.display().to_string()
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAbsolute | Self::ControlCharacter => "write the whole path, from \"/\" on",
            Self::SocketPathTooLong(_) => "choose a shorter path; the limit is the system's",
            Self::Postgres => "write the path of a file, or leave it out",
            Self::Domain(_) => "write a domain like \"example.org\", or \"\" for none",
            Self::UnknownType => {
                "write \"auth\" for Postfix and the Lua script, \"login\" for login processes, \
                 \"master\" for mail processes, or \"userdb\" for LMTP and doveadm"
            }
            Self::NoLogIns(_) => "leave the key out",
            Self::NoUserdb => "add [userdb] with uid, gid and home",
            Self::Root => "name the user to whom the mail belongs, like \"vmail\"",
            Self::Field(FieldError::Home | FieldError::Variable) => {
                "write the whole path, like \"/var/vmail/%{domain}/%{local}\""
            }
            Self::Field(FieldError::Reserved) => "leave it out: dovelatch says who somebody is",
            Self::Field(FieldError::TooLong | FieldError::TooMany) => {
                "shorten it; what is the same for all mailboxes can stand in Dovecot's configuration"
            }
            Self::Field(
                FieldError::Name
                | FieldError::NoValue
                | FieldError::Value
                | FieldError::Number
                | FieldError::Twice,
            ) => "write a setting of Dovecot and its value, like quota_rule = \"*:storage=1G\"",
            Self::FieldHasKey => "move it up, above [userdb.fields]",
            Self::Kick => "write kick = \"auto\", or leave the key out",
            Self::Program => "write doveadm = \"/usr/bin/doveadm\", or leave the key out",
            Self::Name => "choose a name like \"postfix\"; it stands in the log",
            Self::NameTaken => {
                "give each listener a name of its own; without one it has its type's"
            }
            Self::PathTaken => "give each listener a path of its own",
            Self::NoSuchUser => "check the spelling, or add the user first",
            Self::NoSuchGroup => "check the spelling, or add the group first",
            Self::LookUp(_) => "write the number of the user or group instead",
            Self::Mode => "write four octal digits in quotes, like \"0660\"",
            Self::Delay | Self::DelayTooLong => "write a span like \"2s\", \"1500ms\" or \"0s\"",
            Self::UnknownMechanism | Self::MechanismTwice | Self::NoMechanism => {
                "write mechanisms = [\"PLAIN\", \"LOGIN\"], or leave the key out"
            }
            Self::Cost(_) => {
                "leave the key out, or write for example \"m=1024,t=1,p=1\" (KiB, passes, lanes)"
            }
            Self::Threads => "write 0 for one thread for each core",
            Self::Separator(_) => "write separator = \"*\", or leave the key out",
            Self::Days => "write a span like \"365d\"",
            Self::Uses => "write a number like 100, without quotes",
        }
    }
}
