//! The SQL behind [`Store`]: one function, one transaction, its audit event inside.
//!
//! `open` and `create` make a connection that can be trusted, `new_file` a file that can be, `schema`
//! brings the tables up to date, `mailbox`, `person`, `access`, `device` and `secret` change them,
//! `event` keeps the audit log, `uses` and `prune` are what the daemon writes, `decode` and `list` turn
//! rows into domain types or refuse them, `neighbours` says whether it can be believed that there is none,
//! `backup` copies and checks the whole, `restore` puts such a copy in its place again, `wal` keeps the
//! write-ahead log short.

mod access;
mod backup;
mod create;
#[cfg(test)]
mod damage;
pub(super) mod decode;
mod device;
mod event;
mod list;
mod mailbox;
pub(super) mod neighbours;
mod new_file;
pub(super) mod open;
mod person;
mod prune;
mod restore;
#[cfg(test)]
mod rules;
mod schema;
mod secret;
#[cfg(test)]
mod size;
mod uses;
pub(super) mod wal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use create::{Created, Exposed, exposed};
pub use device::{NewDevice, Revoked, Selection};
pub use event::EventFilter;
pub(super) use prune::prune;
pub use restore::{Living, Restore, RestoreError, Restored, Unknown, Wishes};
pub use schema::migrate;
pub use secret::NewSecret;
pub(super) use uses::{record_attempts, record_uses};
pub use wal::LONGEST_LOG;

use super::Error;
use crate::password::tag::TagKey;

/// How long the command line waits for another writer. A human is waiting: ten seconds, then 75.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What happens to a name that is there already when several are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    /// Nothing is added at all.
    Refuse,
    /// It stays as it is, and the others are added.
    Skip,
}

/// The database, for the command line: reads and writes.
///
/// Every change is one transaction together with its audit event, and is on the disk when the
/// function returns: after a crash both are there or neither.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// `None` where it is in memory, without a log.
    path: Option<PathBuf>,
    tag_key: TagKey,
}

impl Store {
    /// Opens the database, which must exist, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::NotADatabase`], [`Error::SchemaTooNew`], [`Error::Permission`], or
    /// whatever else keeps it from being read and written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut connection = open::connect(path, BUSY_TIMEOUT)?;
        // The daemon checkpoints, so that no commit that a human waits for pays for it, unless the log
        // has become long (see `wal`). While no daemon runs it stays small all the same: the last
        // connection to close writes it back and deletes it, whatever this setting says.
        open::set(&connection, "wal_autocheckpoint", "0")?;
        schema::bring_up_to_date(&mut connection, path)?;
        let meta = open::meta(&connection)?;
        Ok(Self {
            connection,
            path: Some(path.to_owned()),
            tag_key: meta.tag_key,
        })
    }

    /// A database in memory, where nobody else can come: a copy of one.
    fn of_memory(connection: Connection) -> Result<Self, Error> {
        for (name, wanted) in [
            ("foreign_keys", "ON"),
            ("trusted_schema", "OFF"),
            ("cell_size_check", "ON"),
        ] {
            open::set(&connection, name, wanted)?;
        }
        let meta = open::meta(&connection)?;
        Ok(Self {
            connection,
            path: None,
            tag_key: meta.tag_key,
        })
    }

    /// The key of this database's tags.
    pub fn tag_key(&self) -> &TagKey {
        &self.tag_key
    }

    /// For tests of locked databases, which would wait for ten seconds.
    #[cfg(test)]
    pub(super) fn set_patience(&self, timeout: Duration) {
        self.connection.busy_timeout(timeout).unwrap();
    }

    /// For tests of those who must not wait.
    #[cfg(test)]
    pub(super) fn while_locked(&mut self, act: impl FnOnce()) {
        let tx = self.begin().unwrap();
        act();
        tx.rollback().unwrap();
    }

    /// A transaction that holds the write lock from its first moment: what it reads stays true until
    /// it commits, and it waits for another writer at its beginning or not at all.
    fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        if let Some(path) = &self.path {
            wal::cut_if_long(&self.connection, path, BUSY_TIMEOUT);
        }
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}
