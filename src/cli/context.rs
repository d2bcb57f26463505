//! What every command needs before it can begin: the configuration that counts, the open database,
//! and who is asking.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::error::Error;
use super::output::{Output, shown};
use super::prompt::Input;
use crate::admin::{self, Admin};
use crate::clock;
use crate::config::{self, Config, Environment};
use crate::model::{Actor, Mailbox, Person, Timestamp, Via};
use crate::store::{self, Created, Store};
use crate::verify;

/// Read where neither `--config` nor `DOVELATCH_CONFIG` names another, if it is there.
const DEFAULT_CONFIG: &str = "/etc/dovelatch/dovelatch.toml";

/// Longest name in the audit log, in bytes; systems allow 32 for a user's.
const MAX_ACTOR: usize = 64;

/// One run of one command.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    global: Global,
    environment: Environment,
    /// The database that was opened, or tried.
    opened: Option<PathBuf>,
    pub(crate) output: &'a mut Output,
    pub(crate) input: Input,
}

/// An open database, with what the configuration says about it.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) config: Config,
    pub(crate) admin: Admin,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        global: Global,
        environment: Environment,
        output: &'a mut Output,
        input: Input,
    ) -> Self {
        Self {
            global,
            environment,
            opened: None,
            output,
            input,
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn now(&self) -> Timestamp {
        clock::now()
    }

    /// The file named by `--config` or the environment, else the usual one.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.named_config()
            .unwrap_or(Path::new(DEFAULT_CONFIG))
            .to_owned()
    }

    /// The configuration that counts, with `--database` in it. Without a file, all is default: the
    /// first command on a new host needs none.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a file was named and is missing, or any file is wrong;
    /// [`Error::DatabaseName`].
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let path = self.config_path();
        let mut config = if self.named_config().is_some() || path.exists() {
            Config::load(&path)?
        } else {
            Config::without_file()
        };
        if let Some((place, path)) = self.named_database() {
            config.database =
                config::database_path(path).map_err(|source| Error::DatabaseName {
                    place,
                    value: source.shown(path),
                    source,
                })?;
        }
        Ok(config)
    }

    /// The database, which must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] and [`Error::Store`].
    pub(crate) fn database(&mut self) -> Result<Database, Error> {
        let config = self.config()?;
        self.opened = Some(config.database.clone());
        let store = Store::open(&config.database)?;
        Ok(self.with_store(config, store))
    }

    /// The same for what takes something away, which must be possible on a full disk too.
    ///
    /// # Errors
    ///
    /// As [`Self::database`].
    pub(crate) fn database_to_take_away(&mut self) -> Result<Database, Error> {
        store::make_room(&self.config()?.database);
        self.database()
    }

    /// The database, made if it is missing; says so then.
    ///
    /// # Errors
    ///
    /// As [`Self::database`].
    pub(crate) fn database_or_new(&mut self) -> Result<Database, Error> {
        let config = self.config()?;
        self.opened = Some(config.database.clone());
        let (store, created) = Store::open_or_create(&config.database, self.now())?;
        match created {
            Created::Yes => self
                .output
                .note(format_args!("created database {:?}", config.database)),
            Created::No => {}
        }
        Ok(self.with_store(config, store))
    }

    /// Where the database is, for the command that puts one there.
    ///
    /// # Errors
    ///
    /// As [`Self::config`].
    pub(crate) fn database_path(&mut self) -> Result<PathBuf, Error> {
        let path = self.config()?.database;
        self.opened = Some(path.clone());
        Ok(path)
    }

    /// Who is asking, for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            name: self.actor_name(),
            via: Via::CommandLine,
        }
    }

    /// The same error, with the database named where the store does not know which it is.
    pub(crate) fn explained(&self, error: Error) -> Error {
        match (error, &self.opened) {
            (
                Error::Store(source)
                | Error::Admin(admin::Error::Store(source))
                | Error::Verify(verify::Trouble::Store(source)),
                Some(path),
            ) if is_trouble(&source) => Error::Database {
                path: path.clone(),
                source: Box::new(source),
            },
            (error, _) => error,
        }
    }

    /// Whoever was shown a new password should know that it opens nothing yet.
    pub(crate) fn note_disabled(&mut self, mailbox: &Mailbox) {
        let name = shown(mailbox.as_str());
        self.output.note(format_args!(
            "{name} is disabled: no log-in works until `dovelatch mailbox enable {name}`"
        ));
    }

    fn with_store(&self, config: Config, store: Store) -> Database {
        let cost = config.hash.generated;
        let actor = self.actor();
        Database {
            config,
            admin: Admin { store, actor, cost },
        }
    }

    /// Who stands behind this command: the user, or whoever became root through sudo.
    fn actor_name(&self) -> String {
        let uid = nix::unistd::getuid();
        let behind_root = self.environment.sudo_user.clone().filter(|_| uid.is_root());
        behind_root
            .or_else(|| Some(nix::unistd::User::from_uid(uid).ok()??.name))
            .filter(|name| {
                (1..=MAX_ACTOR).contains(&name.len()) && !name.chars().any(char::is_control)
            })
            .unwrap_or_else(|| uid.to_string())
    }

    /// The database that is named instead of the configured one, and where it is.
    fn named_database(&self) -> Option<(&'static str, &Path)> {
        let option = self.global.database.as_deref();
        let variable = self.environment.database.as_deref();
        option
            .map(|path| ("--database", path))
            .or(variable.map(|path| ("DOVELATCH_DATABASE", path)))
    }

    fn named_config(&self) -> Option<&Path> {
        self.global
            .config
            .as_deref()
            .or(self.environment.config.as_deref())
    }
}

impl Database {
    /// The mailbox that was meant: in the default domain, where none was typed.
    ///
    /// # Errors
    ///
    /// [`Error::DefaultDomain`] if both together are too long.
    pub(crate) fn mailbox(&self, typed: &Mailbox) -> Result<Mailbox, Error> {
        in_default_domain(typed, &self.config)
    }

    /// As [`Self::mailbox`], where one was typed.
    ///
    /// # Errors
    ///
    /// As [`Self::mailbox`].
    pub(crate) fn any_mailbox(&self, typed: Option<&Mailbox>) -> Result<Option<Mailbox>, Error> {
        typed.map(|typed| self.mailbox(typed)).transpose()
    }

    /// As [`Self::person`], where one was typed.
    ///
    /// # Errors
    ///
    /// As [`Self::mailbox`].
    pub(crate) fn any_person(&self, typed: Option<&Person>) -> Result<Option<Person>, Error> {
        typed.map(|typed| self.person(typed)).transpose()
    }

    /// The person that was meant, named as the mailbox that they may own.
    ///
    /// # Errors
    ///
    /// As [`Self::mailbox`].
    pub(crate) fn person(&self, typed: &Person) -> Result<Person, Error> {
        typed
            .clone()
            .in_domain(self.config.default_domain.as_ref())
            .map_err(|source| Error::DefaultDomain {
                name: typed.to_string(),
                source,
            })
    }
}

/// As [`Database::mailbox`], for commands without a database.
pub(crate) fn in_default_domain(typed: &Mailbox, config: &Config) -> Result<Mailbox, Error> {
    typed
        .clone()
        .in_domain(config.default_domain.as_ref())
        .map_err(|source| Error::DefaultDomain {
            name: typed.to_string(),
            source,
        })
}

/// Whether the open database itself is the trouble, and not what was asked of it.
fn is_trouble(error: &store::Error) -> bool {
    use store::Error as E;
    matches!(
        error,
        E::Locked { .. }
            | E::Full { .. }
            | E::ReadOnly { .. }
            | E::Corrupt { .. }
            | E::Io { .. }
            | E::Undecodable { .. }
            | E::Setting { .. }
            | E::Query(_)
    )
}
