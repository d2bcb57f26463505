//! A backup becomes the database again, and nothing that was revoked since becomes alive again.
//!
//! `source` reads the backup, `merge` makes of it what is to be, in memory, and `aside` moves a file out
//! of the way that nothing can be done with. Where the current database can be read and is of the same
//! identity, it says what was revoked, replaced, disabled and limited since, and the result is copied
//! into it by SQLite in one transaction: whoever asks before the commit sees the old database, whoever
//! asks afterwards the new one, in every process, and a kill leaves the old one. Where it cannot be read,
//! is another database, or an older state of the one that was backed up, nothing can tell what was revoked
//! since, and somebody has to say what becomes of that ([`Wishes`]).

mod aside;
mod merge;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::Backup;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, params_from_iter};

use super::super::node::Node;
use super::super::{AccessListRow, DeviceRow, Error};
use super::{Revoked, Store, backup, create, open};
use crate::model::{Actor, Mailbox, Person, Timestamp};
use merge::Merge;

/// Why a backup was not restored. Nothing was changed, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("cannot use backup {path:?}")]
    Backup { path: PathBuf, source: Error },
    #[error("backup {path:?} is damaged: {finding}")]
    BackupDamaged { path: PathBuf, finding: String },
    #[error("backup {path:?} is the database itself")]
    SameFile { path: PathBuf },
    /// Somebody must say what becomes of what was revoked after the backup was made.
    #[error("nothing tells what was revoked after the backup was made")]
    Undecided { source: Unknown },
    #[error("the two databases do not make a whole one: {finding}")]
    Merged { finding: String },
    #[error("cannot move {path:?} out of the way")]
    Aside { path: PathBuf, source: io::Error },
    /// What was there lay in several files; the first of them is out of the way by now.
    #[error("cannot move {path:?} out of the way; what it belongs to is {aside:?} now")]
    HalfAside {
        path: PathBuf,
        aside: PathBuf,
        source: io::Error,
    },
    /// The old file is out of the way by now.
    #[error("cannot put the new database in place; what was there is {aside:?} now")]
    NotPlaced { aside: PathBuf, source: Error },
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<rusqlite::Error> for RestoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Why the current database does not tell what was revoked since the backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("there is no database {path:?}")]
    Missing { path: PathBuf },
    #[error("database {path:?} cannot be read: {why}")]
    Unreadable { path: PathBuf, why: String },
    #[error("{path:?} is another database than the one that was backed up")]
    Other { path: PathBuf },
    /// A backup that was put in place by hand, or what came with an older image of the host.
    #[error("{path:?} is older than the backup: it lacks the last change in it")]
    Older { path: PathBuf },
}

/// What somebody wants to become of device passwords of which nothing tells whether they were revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Those that were issued before this time are revoked, whatever is known of them. By the issue of the
    /// entry: a later rotation makes it no younger.
    pub revoke_before: Option<Timestamp>,
    /// What was revoked after the backup was made may work again.
    pub accept_revived: bool,
}

/// What is alive in a database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Living {
    pub mailboxes: Vec<Mailbox>,
    /// Those of the mailboxes that are disabled.
    pub disabled: Vec<Mailbox>,
    pub persons: Vec<Person>,
    pub accesses: Vec<AccessListRow>,
    /// The active ones.
    pub devices: Vec<DeviceRow>,
    /// The time of the last line of its log; `None` in a difference of two.
    pub last_change: Option<Timestamp>,
}

/// What a restore does, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What is alive in the backup.
    pub backup: Living,
    /// Alive again; not in the current database.
    pub back: Living,
    /// Alive in the current database, not in the backup: ended from here on.
    pub lost: Living,
    /// Alive in the backup, and not afterwards, because the current database has ended it.
    pub ended: Living,
    /// Revoked because somebody wished it, for its age ([`Wishes::revoke_before`]).
    pub aged: Vec<DeviceRow>,
    /// Device passwords that keep the secret which a rotation gave them since the backup.
    pub newer: Vec<DeviceRow>,
    /// Mailboxes that stay disabled, and were not when the backup was made.
    pub disabled: Vec<Mailbox>,
    /// Where the current file is now, or a copy of it; its log, where there was no file.
    pub aside: Option<PathBuf>,
}

impl Living {
    fn of(store: &Store) -> Result<Self, Error> {
        let mailboxes = store.mailboxes()?;
        let disabled = mailboxes.iter().filter(|row| !row.enabled);
        Ok(Self {
            disabled: disabled.map(|row| row.mailbox.clone()).collect(),
            mailboxes: mailboxes.into_iter().map(|row| row.mailbox).collect(),
            persons: store.persons()?.into_iter().map(|row| row.person).collect(),
            accesses: store.accesses(None, None)?,
            devices: store.devices(None, Revoked::Hidden)?,
            last_change: last_change(store)?,
        })
    }

    /// What is here and not in `other`: names by name, the rest by public id.
    fn without(&self, other: &Self) -> Self {
        let accesses: BTreeSet<_> = other.accesses.iter().map(|access| &access.id).collect();
        let devices: BTreeSet<_> = other.devices.iter().map(|device| &device.id).collect();
        Self {
            mailboxes: without(&self.mailboxes, &other.mailboxes),
            disabled: without(&self.disabled, &other.disabled),
            persons: without(&self.persons, &other.persons),
            accesses: (self.accesses.iter())
                .filter(|access| !accesses.contains(&access.id))
                .cloned()
                .collect(),
            devices: (self.devices.iter())
                .filter(|device| !devices.contains(&device.id))
                .cloned()
                .collect(),
            last_change: None,
        }
    }
}

fn without<T: Ord + Clone>(these: &[T], others: &[T]) -> Vec<T> {
    let others: BTreeSet<&T> = others.iter().collect();
    let missing = these.iter().filter(|this| !others.contains(this));
    missing.cloned().collect()
}

impl Restored {
    /// For the audit log; of device passwords.
    fn detail(&self) -> String {
        format!(
            "{} came back, {} lost, {} stayed ended, {} revoked for their age",
            self.back.devices.len(),
            self.lost.devices.len(),
            self.ended.devices.len(),
            self.aged.len()
        )
    }
}

/// What lies where the database belongs.
#[derive(Debug)]
enum Current {
    /// The one that was backed up, as it is now.
    Same(Store),
    Other(Store),
    /// One that went on from before the backup: it would lift what was limited until then.
    Older(Store),
    Missing,
    Unreadable {
        why: String,
    },
}

/// A backup that was read and found whole, and what lies in the place that it is for.
#[derive(Debug)]
pub struct Restore {
    backup: Store,
    /// What is alive in it.
    then: Living,
    database: PathBuf,
    /// The file that was looked at, if there was one.
    file: Option<Node>,
    current: Current,
}

impl Restore {
    /// Reads the backup and looks at the current database. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Backup`], [`RestoreError::BackupDamaged`], [`RestoreError::SameFile`]; whatever keeps
    /// the current database from being opened although it may be whole: permissions, a lock, a newer
    /// schema.
    pub fn prepare(file: &Path, database: &Path) -> Result<Self, RestoreError> {
        let here = Node::at(database)?;
        if here.is_some() && Node::at(file).is_ok_and(|file| file == here) {
            return Err(RestoreError::SameFile {
                path: file.to_owned(),
            });
        }
        let backup = source::read(file)?;
        // A link in its place stays, and what it leads to is replaced.
        let database = database
            .canonicalize()
            .unwrap_or_else(|_| database.to_owned());
        let file = Node::at(&database)?;
        let current = match file {
            Some(_) => look_at(&database, &backup)?,
            None => Current::Missing,
        };
        Ok(Self {
            then: Living::of(&backup)?,
            backup,
            database,
            file,
            current,
        })
    }

    /// Why the current database does not tell what was revoked since; `None` if it does.
    pub fn unknown(&self) -> Option<Unknown> {
        let path = self.database.clone();
        match &self.current {
            Current::Same(_) => None,
            Current::Other(_) => Some(Unknown::Other { path }),
            Current::Older(_) => Some(Unknown::Older { path }),
            Current::Missing => Some(Unknown::Missing { path }),
            Current::Unreadable { why } => Some(Unknown::Unreadable {
                path,
                why: why.clone(),
            }),
        }
    }

    /// What [`Self::run`] would do now. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Undecided`]; whatever keeps either database from being read.
    pub fn plan(
        &self,
        wishes: Wishes,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Restored, RestoreError> {
        self.require_decision(wishes)?;
        self.merge(&self.new_merge()?, wishes, by, now)
    }

    /// Restores. On the disk when it returns, with an event "restored" and one for whatever it ended.
    ///
    /// # Errors
    ///
    /// As [`Self::plan`]; whatever keeps the database from being written.
    pub fn run(self, wishes: Wishes, by: &Actor, now: Timestamp) -> Result<Restored, RestoreError> {
        self.require_decision(wishes)?;
        let merge = self.new_merge()?;
        match &self.current {
            Current::Same(_) | Current::Other(_) | Current::Older(_) => {
                self.overwrite(&merge, wishes, by, now)
            }
            Current::Missing | Current::Unreadable { .. } => {
                let outcome = self.merge(&merge, wishes, by, now)?;
                let aside = self.place(&merge.store)?;
                Ok(Restored { aside, ..outcome })
            }
        }
    }

    fn require_decision(&self, wishes: Wishes) -> Result<(), RestoreError> {
        match self.unknown() {
            Some(source) if wishes == Wishes::default() => Err(RestoreError::Undecided { source }),
            Some(_) | None => Ok(()),
        }
    }

    /// While somebody was asked, another database may have come there, or this one gone.
    fn require_same_file(&self) -> Result<(), Error> {
        let path = self.database.clone();
        match Node::at(&self.database)? {
            found if found == self.file => Ok(()),
            Some(_) => Err(Error::Replaced { path }),
            None => Err(Error::Missing { path }),
        }
    }

    fn new_merge(&self) -> Result<Merge, Error> {
        let tells = match self.current {
            Current::Same(_) => {
                self.require_same_file()?;
                Some(self.database.as_path())
            }
            Current::Other(_)
            | Current::Older(_)
            | Current::Missing
            | Current::Unreadable { .. } => None,
        };
        Merge::new(&self.backup, tells)
    }

    fn merge(
        &self,
        merge: &Merge,
        wishes: Wishes,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Restored, RestoreError> {
        let was = match &self.current {
            Current::Same(store) | Current::Other(store) | Current::Older(store) => {
                Living::of(store)?
            }
            Current::Missing | Current::Unreadable { .. } => Living::default(),
        };
        merge.run(&self.then, &was, wishes.revoke_before, by, now)
    }

    /// Into the file that lies there. The lock is taken first, and what the current database says is read
    /// under it: nobody revokes anything in between that would come back.
    fn overwrite(
        &self,
        merge: &Merge,
        wishes: Wishes,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Restored, RestoreError> {
        let mut live = Store::open(&self.database)?;
        self.require_same_file()?;
        // Under a write-ahead log the size of pages cannot change; SQLite would call that read-only.
        if page_size(&live)? != page_size(&merge.store)? {
            return Err(Error::Setting {
                name: "page_size",
                wanted: "1024",
            }
            .into());
        }
        let copy = Backup::new(&merge.store.connection, &mut live.connection)?;
        backup::step(&copy, 0)?;
        let mut outcome = self.merge(merge, wishes, by, now)?;
        if let Current::Other(store) | Current::Older(store) = &self.current {
            let aside = aside::name(&self.database)?;
            store.backup(&aside)?;
            outcome.aside = Some(aside);
        }
        // In one step, and so in one transaction, which the last page commits.
        backup::step(&copy, backup::ALL)?;
        Ok(outcome)
    }

    /// As a new file, where no database is, or none that is good for anything. In between there is none:
    /// that is *try later* for the daemon, and the other order could give it the old log with the new file.
    fn place(&self, merged: &Store) -> Result<Option<PathBuf>, RestoreError> {
        let new = create::finished(&self.database, &merged.connection)?;
        self.require_same_file()?;
        let aside = aside::move_away(&self.database)?;
        match (create::name(new, &self.database), aside) {
            (Ok(()), aside) => Ok(aside),
            (Err(error), None) => Err(error.into()),
            (Err(source), Some(aside)) => Err(RestoreError::NotPlaced { aside, source }),
        }
    }
}

/// What lies at `database`. One that opens may be damaged further inside, and a revocation may lie there.
fn look_at(database: &Path, backup: &Store) -> Result<Current, Error> {
    let store = match Store::open(database) {
        Ok(store) => store,
        Err(error) if is_damage(&error) => {
            let why = with_causes(&error);
            return Ok(Current::Unreadable { why });
        }
        Err(error) => return Err(error),
    };
    if let Some(why) = store.check()?.into_iter().next() {
        return Ok(Current::Unreadable { why });
    }
    let identity = |store: &Store| Ok::<_, Error>(open::meta(&store.connection)?.identity);
    if identity(&store)? != identity(backup)? {
        return Ok(Current::Other(store));
    }
    Ok(match goes_on_from(&store, backup)? {
        true => Current::Same(store),
        false => Current::Older(store),
    })
}

/// Whether the log of the current database has the last line of the backup's, as it has unless it was put
/// back to a state before it. A line that it has pruned it had: there all lines are younger, or none is left.
fn goes_on_from(current: &Store, backup: &Store) -> Result<bool, Error> {
    const LAST: &str =
        "SELECT id, at, actor, action, label, detail FROM event ORDER BY id DESC LIMIT 1";
    const HAS: &str = "SELECT coalesce(?1 < min(id) OR ?2 < min(at), true)
        OR EXISTS (SELECT 1 FROM event WHERE id = ?1 AND at = ?2 AND actor = ?3 AND action = ?4
            AND label IS ?5 AND detail IS ?6) FROM event";
    let last = backup.connection.query_row(LAST, [], |row| {
        (0..6)
            .map(|column| row.get(column))
            .collect::<Result<Vec<Value>, _>>()
    });
    let Some(last) = last.optional()? else {
        return Ok(true);
    };
    let has = (current.connection).query_row(HAS, params_from_iter(last), |row| row.get(0))?;
    Ok(has)
}

/// Whether the file is the trouble, and no permission, lock or setting.
fn is_damage(error: &Error) -> bool {
    let is_of_disk = |source: &rusqlite::Error| {
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
    };
    matches!(
        error,
        Error::NotADatabase { .. }
            | Error::Corrupt { .. }
            | Error::Undecodable { .. }
            | Error::Query(_)
    ) || matches!(error, Error::Io { source } if is_of_disk(source))
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

fn last_change(store: &Store) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT max(at) FROM event";
    let at: Option<i64> = store.connection.query_row(sql, [], |row| row.get(0))?;
    Ok(at.map(Timestamp::from_unix))
}

fn page_size(store: &Store) -> Result<i64, Error> {
    Ok(store
        .connection
        .pragma_query_value(None, "page_size", |row| row.get(0))?)
}
