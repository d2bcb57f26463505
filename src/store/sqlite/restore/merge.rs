//! One database out of two: the backup, and what the current database says about it. In memory; the SQL
//! is `merge.sql`, which says what becomes of which row.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::params;

use super::super::super::{DeviceRow, Error};
use super::super::event::Line;
use super::super::{BUSY_TIMEOUT, Store, backup, create, open};
use super::{Living, RestoreError, Restored};
use crate::model::{Action, Actor, DeviceId, Timestamp};

const MERGE: &str = include_str!("merge.sql");

/// Who has a live secret that the backup does not know.
const NEWER: &str =
    "SELECT d.public_id FROM newcomer n JOIN main.device_password d ON d.id = n.device_id
    WHERE n.ended IS NULL AND d.revoked IS NULL";

/// Who had been revoked before the restore.
const ENDED_BEFORE: &str =
    "SELECT d.public_id FROM ended_before e JOIN main.device_password d ON d.id = e.id
    WHERE e.kind = 'device'";

/// What the triggers demand, which are off while rows are merged. Each finds rows that must not be.
const RULES: [(&str, &str); 6] = [
    (
        "an active device password on a removed mailbox",
        "SELECT 1 FROM device_password d JOIN mailbox m ON m.id = d.mailbox_id
         WHERE d.revoked IS NULL AND m.removed IS NOT NULL",
    ),
    (
        "an active device password on an access that has ended",
        "SELECT 1 FROM device_password d JOIN access a ON a.id = d.access_id
         WHERE d.revoked IS NULL AND a.ended IS NOT NULL",
    ),
    (
        "an access to a removed mailbox",
        "SELECT 1 FROM access a JOIN mailbox m ON m.id = a.mailbox_id
         WHERE a.ended IS NULL AND m.removed IS NOT NULL",
    ),
    (
        "an access of a removed person",
        "SELECT 1 FROM access a JOIN person p ON p.id = a.person_id
         WHERE a.ended IS NULL AND p.removed IS NOT NULL",
    ),
    (
        "a live secret of a revoked device password",
        "SELECT 1 FROM secret s JOIN device_password d ON d.id = s.device_id
         WHERE s.ended IS NULL AND d.revoked IS NOT NULL",
    ),
    (
        "a secret of another mailbox than its device password",
        "SELECT 1 FROM secret s JOIN device_password d ON d.id = s.device_id
         WHERE s.mailbox_id <> d.mailbox_id",
    ),
];

/// A copy of the backup in memory, with the current database beside it as `cur`.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) store: Store,
}

impl Merge {
    /// `current` is the database that tells what was revoked since; `None`: none can.
    ///
    /// It is attached and not copied: what it says is read by [`Self::run`], under the lock by then.
    pub(super) fn new(backup: &Store, current: Option<&Path>) -> Result<Self, Error> {
        let mut connection = backup.copy()?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // One that has gone is not made: without a mode, SQLite would make an empty one.
        let name = current.map_or(":memory:".to_owned(), |path| open::uri(path, "mode=rw"));
        connection.execute("ATTACH ?1 AS cur", [name])?;
        if current.is_none() {
            let empty = create::without_rows(Path::new(":memory:"))?;
            let all = Backup::new_with_names(&empty, "main", &mut connection, "cur")?;
            backup::step(&all, backup::ALL)?;
        }
        let store = Store::of_memory(connection)?;
        Ok(Self { store })
    }

    /// Makes the copy what the restore leaves, once. `then` is what lives in the backup, `was` what lives in the
    /// database that is replaced.
    pub(super) fn run(
        &self,
        then: &Living,
        was: &Living,
        revoke_before: Option<Timestamp>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Restored, RestoreError> {
        let connection = &self.store.connection;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        let tx = connection.unchecked_transaction()?;
        tx.execute_batch("CREATE TEMP TABLE act (at, actor, via, before)")?;
        tx.execute(
            "INSERT INTO act VALUES (?1, ?2, ?3, ?4)",
            params![
                now.as_unix(),
                by.name,
                by.via.as_str(),
                revoke_before.map(Timestamp::as_unix)
            ],
        )?;
        tx.execute_batch(MERGE)?;
        let outcome = self.outcome(then, was, revoke_before)?;
        let detail = outcome.detail();
        Line {
            detail: Some(&detail),
            ..Line::new(Action::Restored)
        }
        .record(&tx, now, by)?;
        tx.commit()?;
        connection.execute_batch("DETACH cur")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
        self.require_whole()?;
        Ok(outcome)
    }

    fn outcome(
        &self,
        then: &Living,
        was: &Living,
        revoke_before: Option<Timestamp>,
    ) -> Result<Restored, Error> {
        let now = Living::of(&self.store)?;
        let newer = self.ids(NEWER)?;
        let ended_before = self.ids(ENDED_BEFORE)?;
        let mut ended = then.without(&now);
        let mut lost = was.without(&now);
        let (aged, stays) = ended.devices.into_iter().partition(|device: &DeviceRow| {
            revoke_before.is_some_and(|before| device.issued < before)
                && !ended_before.contains(device.id.as_str())
        });
        ended.devices = stays;
        let ids: BTreeSet<&DeviceId> = aged.iter().map(|aged: &DeviceRow| &aged.id).collect();
        lost.devices.retain(|lost| !ids.contains(&lost.id));
        let is_newer = |device: &&DeviceRow| newer.contains(device.id.as_str());
        Ok(Restored {
            back: now.without(was),
            lost,
            ended,
            aged,
            newer: now.devices.iter().filter(is_newer).cloned().collect(),
            disabled: now.without(then).disabled,
            backup: then.clone(),
            aside: None,
        })
    }

    /// Public ids of device passwords.
    fn ids(&self, sql: &str) -> Result<BTreeSet<String>, Error> {
        self.store
            .connection
            .prepare(sql)?
            .query_map([], |row| row.get(0))?
            .map(|id| Ok(id?))
            .collect()
    }

    /// Nothing is put in place that the tables would not have let in.
    fn require_whole(&self) -> Result<(), RestoreError> {
        for (rule, sql) in RULES {
            if self.store.connection.prepare(sql)?.exists([])? {
                let finding = rule.to_owned();
                return Err(RestoreError::Merged { finding });
            }
        }
        match self.store.check()?.into_iter().next() {
            Some(finding) => Err(RestoreError::Merged { finding }),
            None => Ok(()),
        }
    }
}
