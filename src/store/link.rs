//! A connection of the daemon that survives trouble.
//!
//! Whatever happens to the file, a [`Link`] leads to the database that lies at its path now, or says that
//! it cannot. Before each question it compares the files at the path with those that it opened; it refuses
//! a database with another identity, and goes back to normal by itself when the cause of a trouble is gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Params, Row, StatementStatus};

use super::files::{Files, Names};
use super::frozen::Frozen;
use super::sqlite::{decode, open, wal};
use super::{Error, reserve};
use crate::password::tag::TagKey;

/// How long after a failure to open, or after opening a file that proved damaged, the next attempt
/// to open comes at the earliest: a second after the end of its cause all must be as before.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// The identity of the database that this process serves, shared by all its readers.
///
/// Pinned by the first database that is opened. Another one in its place is trouble, not the truth: a
/// volume mounted by mistake must not become "wrong password" for a whole site.
#[derive(Debug, Clone, Default)]
pub struct Identity(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pinned: Mutex<Option<[u8; 16]>>,
    held: Mutex<Held>,
    /// How many connections the links have open.
    connections: AtomicUsize,
}

/// What the connections of this process have open.
///
/// All of them share one index of the log, in SQLite's hands, until the last is closed. Once somebody
/// has deleted the files of the log, a new connection would join the others on the deleted index and
/// miss what the command line writes into the new one.
#[derive(Debug, Default)]
struct Held {
    files: Option<Files>,
    /// One for each link that lives.
    slots: Vec<Weak<Mutex<Slot>>>,
}

impl Held {
    /// Closes the connections of all links that are not in the middle of a question. It waits for
    /// none of them: one that waits for the disk would hold up the others.
    ///
    /// `now` are the files at the path.
    fn close_idle(&self, now: Files) {
        for slot in self.slots.iter().filter_map(Weak::upgrade) {
            let mut slot = match slot.try_lock() {
                Ok(slot) => slot,
                Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            if let Some(open) = slot.open.take() {
                open.close(now);
            }
        }
    }
}

impl Identity {
    /// Takes whatever database is opened next (after a reload).
    pub fn forget(&self) {
        *locked(&self.0.pinned) = None;
    }

    /// Whether `found`, just opened, is the one served; the first one is from here on.
    fn pin(&self, found: [u8; 16]) -> bool {
        *locked(&self.0.pinned).get_or_insert(found) == found
    }

    fn new_slot(&self) -> Arc<Mutex<Slot>> {
        let slot = Arc::default();
        let mut held = locked(&self.0.held);
        held.slots.retain(|slot| slot.strong_count() > 0);
        held.slots.push(Arc::downgrade(&slot));
        slot
    }

    fn pinned(&self) -> Option<[u8; 16]> {
        *locked(&self.0.pinned)
    }
}

/// Every state behind these locks is whole at any moment, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one connection for as long as it lives.
#[derive(Debug)]
struct Lease(Identity);

impl Lease {
    fn new(identity: &Identity) -> Self {
        identity.0.connections.fetch_add(1, Ordering::SeqCst);
        Self(identity.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Reading,
    /// On a thread that must not wait.
    ReadingAtOnce,
    Writing,
}

impl For {
    /// Pages that it keeps in memory, in KiB as SQLite wants it said (`PRAGMA cache_size`). They are worth nothing
    /// after the next change, which in a busy hour is a second away.
    fn cache(self) -> &'static str {
        match self {
            // SQLite's own default. Nearly every log-in is looked up with these.
            Self::ReadingAtOnce | Self::Writing => "-2000",
            // There are more of them, for what is left, and memory stays flat under a flood.
            Self::Reading => "-500",
        }
    }

    /// How long it may wait for a lock.
    fn patience(self) -> Duration {
        match self {
            // Readers of a write-ahead log hardly ever meet one: only while the log is recovered after
            // a crash, or in a database taken out of WAL mode by hand.
            Self::Reading => Duration::from_secs(2),
            // Somebody else asks again, who may wait.
            Self::ReadingAtOnce => Duration::ZERO,
            // What is to be written waits in memory meanwhile, and is tried again.
            Self::Writing => Duration::from_millis(100),
        }
    }
}

/// One connection. It opens and reopens by itself.
#[derive(Debug)]
pub(super) struct Link {
    names: Names,
    identity: Identity,
    purpose: For,
    /// Locked for as long as a question takes; between questions another link may close what is in
    /// it (see [`Held`]).
    slot: Arc<Mutex<Slot>>,
}

/// Where a link keeps its connection.
#[derive(Debug, Default)]
struct Slot {
    open: Option<Open>,
    /// After a failure: when to try again.
    retry: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: Connection,
    purpose: For,
    path: PathBuf,
    files: Files,
    since: Instant,
    identity: [u8; 16],
    pub(super) tag_key: TagKey,
    /// The file system is read-only, and this is open for one question.
    frozen: Option<Frozen>,
    /// Last, so that it is given back after the connection was closed.
    _lease: Lease,
}

impl Link {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf, identity: Identity, purpose: For) -> Self {
        let slot = identity.new_slot();
        Self {
            names: Names::of(path),
            identity,
            purpose,
            slot,
        }
    }

    /// The path of the database.
    pub(super) fn database(&self) -> &Path {
        &self.names.database
    }

    /// Has `question` answered by the database that lies at the path now.
    pub(super) fn ask<T>(
        &mut self,
        now: Instant,
        question: impl FnOnce(&mut Open) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut slot = locked(&self.slot);
        slot.ready(self, now)?;
        self.answer(&mut slot, now, question)
    }

    /// The same by the database that answered the question before, whatever lies at the path by now: looking
    /// there costs as much as a question. If it is not open any more, this is [`Self::ask`].
    pub(super) fn ask_again<T>(
        &mut self,
        now: Instant,
        question: impl FnOnce(&mut Open) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut slot = locked(&self.slot);
        if slot.open.is_none() {
            slot.ready(self, now)?;
        }
        self.answer(&mut slot, now, question)
    }

    fn answer<T>(
        &self,
        slot: &mut Slot,
        now: Instant,
        question: impl FnOnce(&mut Open) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(open) = slot.open.as_mut() else {
            return Err(Error::Unavailable {
                path: self.names.database.clone(),
            });
        };
        let since = open.since;
        let answer = question(open);
        if let Some(frozen) = open.frozen.take() {
            slot.open = None;
            if !frozen.is_still() {
                return Err(Error::Replaced {
                    path: self.names.database.clone(),
                });
            }
            return answer;
        }
        // A damaged file may have been put right in place, which SQLite notices only when it opens it.
        // Not more often than twice a second: pages that are whole go on answering meanwhile.
        if matches!(answer, Err(Error::Corrupt { .. } | Error::Io { .. }))
            && now.saturating_duration_since(since) >= REOPEN_AFTER
        {
            slot.open = None;
        }
        // Asked again it would not notice: its statements are those for the new schema now.
        let is_other = |error: &Error| {
            matches!(
                error,
                Error::SchemaTooNew { .. }
                    | Error::SchemaTooOld { .. }
                    | Error::OtherIdentity { .. }
            )
        };
        if answer.as_ref().is_err_and(is_other) {
            slot.open = None;
        }
        answer
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let (Some(open), Ok(now)) = (locked(&self.slot).open.take(), Files::at(&self.names)) {
            open.close(now);
        }
    }
}

impl Slot {
    /// Opens the database that lies at the path now, if it is not open yet.
    fn ready(&mut self, link: &Link, now: Instant) -> Result<(), Error> {
        let path = link.names.database.as_path();
        let opened = match self.open.take() {
            Some(open) => open.still_current(link),
            None => Ok(None),
        };
        let ready = opened.and_then(|open| match open {
            Some(open) => Ok(open),
            None if self.retry.is_some_and(|retry| now < retry) => Err(Error::Unavailable {
                path: path.to_owned(),
            }),
            None => Open::new(link, now),
        });
        match ready {
            Ok(open) => {
                self.retry = None;
                self.open = Some(open);
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::Unavailable { .. }) {
                    self.retry = Some(now + REOPEN_AFTER);
                }
                Err(error)
            }
        }
    }
}

impl Open {
    fn new(link: &Link, now: Instant) -> Result<Self, Error> {
        let (path, shared) = (link.names.database.as_path(), &link.identity);
        let mut held = match link.purpose {
            For::Reading | For::Writing => locked(&shared.0.held),
            // Another one opens at this moment, and waits for the disk perhaps.
            For::ReadingAtOnce => match shared.0.held.try_lock() {
                Ok(held) => held,
                Err(TryLockError::Poisoned(held)) => held.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Unavailable {
                        path: path.to_owned(),
                    });
                }
            },
        };
        let before = Files::at(&link.names)?;
        let deleted = |files: Files| files.database == before.database && files != before;
        if held.files.is_some_and(deleted) {
            // An idle reader may never ask again, and so never notice by itself.
            held.close_idle(before);
            if shared.0.connections.load(Ordering::SeqCst) > 0 {
                // One is in the middle of a question: it will be closed at the next try.
                return Err(Error::LogDeleted {
                    path: path.to_owned(),
                });
            }
        }
        if before.index.is_none() {
            reserve::give_up_a_piece(path);
        }
        let mut frozen = None;
        let connection = match open::connect(path, link.purpose.patience()) {
            Err(error @ Error::ReadOnly { .. }) if link.purpose != For::Writing => {
                frozen = Some(Frozen::at(path).ok_or(error)?);
                open::connect_frozen(path)?
            }
            opened => opened?,
        };
        match link.purpose {
            // It opens for writing because a reader of a write-ahead log must write its index; nothing
            // else.
            For::Reading | For::ReadingAtOnce => open::set(&connection, "query_only", "ON")?,
            // The daemon writes the log back on another thread.
            For::Writing => open::set(&connection, "wal_autocheckpoint", "0")?,
        }
        open::set(&connection, "cache_size", link.purpose.cache())?;
        open::require_newest_schema(&connection, path)?;
        if link.purpose != For::Writing && frozen.is_none() {
            // All of them now, so that SQLite prepares one again if the schema changes, and says so.
            for question in decode::QUESTIONS {
                connection.prepare_cached(question)?;
            }
            open::require_newest_schema(&connection, path)?;
        }
        let meta = open::meta(&connection)?;
        let files = Files::at(&link.names)?;
        if files.database != before.database {
            // Replaced in this very moment: which of the two was opened?
            return Err(Error::Replaced {
                path: path.to_owned(),
            });
        }
        if !shared.pin(meta.identity) {
            return Err(Error::OtherIdentity {
                path: path.to_owned(),
            });
        }
        held.files = Some(files);
        let lease = Lease::new(shared);
        drop(held);
        Ok(Self {
            connection,
            purpose: link.purpose,
            path: path.to_owned(),
            files,
            since: now,
            identity: meta.identity,
            tag_key: meta.tag_key,
            frozen,
            _lease: lease,
        })
    }

    /// `None` if other files lie at the path now, or the identity was forgotten. An error closes the
    /// connection too: while there is no database at the path, the one that was there says nothing.
    fn still_current(self, link: &Link) -> Result<Option<Self>, Error> {
        let now = Files::at(&link.names)?;
        if now != self.files || link.identity.pinned() != Some(self.identity) {
            self.close(now);
            return Ok(None);
        }
        // A newer program may have changed the schema in place, or a restore all of it. For reading, `rows`
        // looks after that.
        if link.purpose != For::Writing {
            return Ok(Some(self));
        }
        match self.require_same() {
            Ok(()) => Ok(Some(self)),
            Err(
                error @ (Error::SchemaTooNew { .. }
                | Error::SchemaTooOld { .. }
                | Error::OtherIdentity { .. }),
            ) => Err(error),
            // The question itself will meet the same trouble, and say what it is.
            Err(_) => Ok(Some(self)),
        }
    }

    /// The rows of one of [`decode::QUESTIONS`].
    ///
    /// If a newer program has changed the schema since they were prepared, or a restore has copied another
    /// database into the file, SQLite prepares this one again, and what it says is worth nothing then.
    /// Noticing it by that costs nothing; asking for the version each time was a read transaction of its own.
    pub(super) fn rows<T>(
        &self,
        question: &'static str,
        values: impl Params,
        decode: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare_cached(question)?;
        let rows = statement
            .query_and_then(values, decode)
            .map_err(Error::from)
            .and_then(Iterator::collect);
        if statement.reset_status(StatementStatus::RePrepare) > 0 {
            self.require_same()?;
        }
        rows
    }

    /// Whether the file still holds what was opened: our schema, and the database of that identity, whose
    /// key of the tags is in use here.
    fn require_same(&self) -> Result<(), Error> {
        open::require_newest_schema(&self.connection, &self.path)?;
        if open::meta(&self.connection)?.identity == self.identity {
            return Ok(());
        }
        Err(Error::OtherIdentity {
            path: self.path.clone(),
        })
    }

    /// Writes the log back, and cuts it if it is longer than so many bytes.
    pub(super) fn write_back(&self, longest_log: u64) -> Result<(), Error> {
        let patience = self.purpose.patience();
        Ok(wal::write_back(
            &self.connection,
            &self.path,
            longest_log,
            patience,
        )?)
    }

    /// Before a change: cuts a log that has become long, if that can be done.
    pub(super) fn cut_long_log(&self) {
        wal::cut_if_long(&self.connection, &self.path, self.purpose.patience());
    }

    /// Closes it where these files lie at the path.
    ///
    /// The last to close writes the log back and deletes it, by its name. If another log has come there
    /// since, that would be somebody's changes: a revocation would be undone.
    fn close(self, now: Files) {
        if now.log.is_some() && now.log != self.files.log {
            let setting = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            // It is known since SQLite 3.16.2, and so cannot fail.
            let _ = self.connection.set_db_config(setting, true);
        }
    }
}
