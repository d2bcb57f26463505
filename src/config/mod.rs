//! File → `Raw` (unknown keys refused) → [`Config`] (cannot be wrong).
//!
//! A typing mistake in a configuration must not become a daemon that does something else: what this
//! version does not know is refused, with file, line, key and value. The keys are an interface: a
//! change of them goes into the changelog. The environment is read beside it, by [`Environment`], and
//! nowhere else.

mod dovecot;
mod environment;
mod error;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use environment::Environment;
pub use error::{Error, Wrong};

use crate::model::{Domain, Mechanism, Separator, Userdb};
use crate::password::phc::Cost;

/// Where the database is if nothing says otherwise.
pub const DEFAULT_DATABASE: &str = "/var/lib/dovelatch/dovelatch.db";

/// Longest time by which a refusal may be put off. chasquid and Radicale give up 5 s after they
/// asked, Postfix 10 s after (`AUTH_TIMEOUT`, src/xsasl/xsasl_dovecot_server.c, Postfix 3.7), and each
/// then reports a lost connection where we meant a refusal.
pub const MAX_FAILURE_DELAY: Duration = Duration::from_secs(4);

/// By what time refusals are put off if a listener says nothing; as stock Dovecot's
/// `auth_failure_delay`.
pub const DEFAULT_FAILURE_DELAY: Duration = Duration::from_secs(2);

/// Mode of a socket whose listener says nothing: its owner alone.
pub const DEFAULT_MODE: u32 = 0o600;

/// Where Dovecot's sockets are if nothing says otherwise: its packages' `base_dir`.
pub const DEFAULT_BASE_DIR: &str = "/run/dovecot";

/// Where a database lies that the command line or the environment names: checked like the key
/// `database`, but a relative path is meant from the current directory.
///
/// # Errors
///
/// [`Wrong`] without the value: a URL may hold a password.
pub fn database_path(named: &Path) -> Result<PathBuf, Wrong> {
    raw::check_database(named)?;
    std::path::absolute(named).map_err(|_| Wrong::NotAbsolute)
}

/// A configuration that cannot be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Absolute.
    pub database: PathBuf,
    /// Added to a log-in name without a domain.
    pub default_domain: Option<Domain>,
    /// In the order of the file; names and paths are unique. May be empty: then there is nothing to
    /// serve, but the command line works.
    pub listeners: Vec<Listener>,
    pub hash: Hash,
    /// Between mailbox and person in a log-in name; without one only SASL authorization identities
    /// delegate.
    pub separator: Option<Separator>,
    pub keep: Keep,
    /// `[userdb]`: required with a listener of type `master` or `userdb`.
    pub userdb: Option<Userdb>,
    pub dovecot: Dovecot,
}

/// `[dovecot]`: how live sessions are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dovecot {
    pub kick: Kick,
    /// Absolute. Dovecot's `base_dir`: its sockets are in there.
    pub base_dir: PathBuf,
    /// The program, by its path or by a name that is searched for in `PATH`.
    pub doveadm: PathBuf,
    /// Given to it with `-c`.
    pub config: Option<PathBuf>,
}

/// Whom to ask for the end of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kick {
    /// anvil where it is Dovecot 2.4's and can be reached, else doveadm where there is one, else nobody.
    Auto,
    Anvil,
    Doveadm,
    Off,
}

impl Kick {
    pub const ALL: [Self; 4] = [Self::Auto, Self::Anvil, Self::Doveadm, Self::Off];

    /// As the configuration says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Anvil => "anvil",
            Self::Doveadm => "doveadm",
            Self::Off => "off",
        }
    }
}

/// Which protocol a socket speaks, and with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerType {
    /// Postfix, the Lua script.
    Auth,
    /// Login processes.
    Login,
    /// Mail processes.
    Master,
    /// LMTP, doveadm.
    Userdb,
}

impl ListenerType {
    pub const ALL: [Self; 4] = [Self::Auth, Self::Login, Self::Master, Self::Userdb];

    /// As the configuration says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Login => "login",
            Self::Master => "master",
            Self::Userdb => "userdb",
        }
    }

    /// Whether somebody logs in there. Only then there are mechanisms, and refusals to be put off.
    pub fn has_log_ins(self) -> bool {
        match self {
            Self::Auth | Self::Login => true,
            Self::Master | Self::Userdb => false,
        }
    }

    /// Whether homes are told there.
    pub fn needs_userdb(self) -> bool {
        match self {
            Self::Master | Self::Userdb => true,
            Self::Auth | Self::Login => false,
        }
    }
}

/// `[[listen]]`: one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// For the log, and for the systemd descriptor of that name: letters, digits, `.`, `_`, `-`.
    pub name: String,
    pub kind: ListenerType,
    /// Absolute, and short enough for a socket.
    pub path: PathBuf,
    /// Numeric, resolved from a name when the configuration is read; unchanged if absent.
    pub owner: Option<u32>,
    pub group: Option<u32>,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    /// How long after a request a refusal leaves; at most [`MAX_FAILURE_DELAY`]. 0 where nobody logs in.
    pub failure_delay: Duration,
    /// At least one, none twice, in the order in which they are offered. None where nobody logs in.
    pub mechanisms: Vec<Mechanism>,
}

/// `[hash]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash {
    /// What a new device password costs to check.
    pub generated: Cost,
    /// Hashing threads; 0: one for each core.
    pub threads: usize,
}

/// `[keep]`: what is forgotten when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How long a secret that has ended is recognised when it is tried again.
    pub tombstones: Duration,
    /// How long lines of the audit log stay.
    pub events: Duration,
    /// Lines of the history of uses, for each device password.
    pub uses: u32,
}

impl Config {
    /// Reads and checks a configuration file. Users and groups are resolved; no socket and no
    /// database is touched.
    ///
    /// # Errors
    ///
    /// [`Error`] with file, line, key and value; see [`Error::hint`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// As [`Self::load`], where the text of the file has been read already.
    ///
    /// # Errors
    ///
    /// As [`Self::load`], but for [`Error::Read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        raw::checked(path, text)
    }

    /// What holds where there is no file: everything default, no listener.
    pub fn without_file() -> Self {
        Self {
            database: PathBuf::from(DEFAULT_DATABASE),
            default_domain: None,
            listeners: Vec::new(),
            hash: Hash {
                generated: Cost::default(),
                threads: 0,
            },
            separator: None,
            keep: DEFAULT_KEEP,
            userdb: None,
            dovecot: Dovecot {
                kick: Kick::Auto,
                base_dir: PathBuf::from(DEFAULT_BASE_DIR),
                doveadm: PathBuf::from("doveadm"),
                config: None,
            },
        }
    }
}

/// A year in which a lost phone is recognised, and two of "who did that?".
const DEFAULT_KEEP: Keep = Keep {
    tombstones: Duration::from_secs(365 * DAY),
    events: Duration::from_secs(730 * DAY),
    uses: 100,
};

/// In seconds.
const DAY: u64 = 24 * 60 * 60;
