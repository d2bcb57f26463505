//! Secrets under their entries. Normally one is live; during a rotation two are.

use rusqlite::types::Value;
use rusqlite::{Transaction, params};

use super::super::{Error, SecretId};
use super::Store;
use super::device::{Active, exists};
use super::event::Line;
use crate::model::{Action, Actor, DeviceId, Timestamp};
use crate::password::packed;
use crate::password::tag::Tag;

/// `secret.kind`: made by us. Imported ones, 0, have no tag.
const GENERATED: u8 = 1;

/// `secret.format`: twenty letters, shown in five groups of four.
const TWENTY_LETTERS: u8 = 1;

/// A secret to be stored.
#[derive(Debug)]
pub struct NewSecret<'a> {
    pub tag: Tag,
    pub phc: &'a str,
}

impl Store {
    /// Adds a second live secret to an active entry. The old one works on until
    /// [`Self::finish_rotation`], so that a new password that could not be shown costs nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::AlreadyRevoked`]; [`Error::TagTaken`]: draw again.
    pub fn add_secret(
        &mut self,
        id: &DeviceId,
        secret: &NewSecret<'_>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SecretId, Error> {
        let tx = self.begin()?;
        let active = Active::find(&tx, id)?;
        insert(&tx, active.device_id, active.mailbox_id, secret)?;
        let added = SecretId(tx.last_insert_rowid());
        active.line(Action::RotationBegun).record(&tx, now, by)?;
        tx.commit()?;
        Ok(added)
    }

    /// Ends every live secret of the entry but `keep`, with the event "rotated". With `old_until` they
    /// live on until then, or until an earlier time from a rotation before: each as long as was said.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::AlreadyRevoked`]; [`Error::AlreadyEnded`] if another rotation
    /// of the same entry was finished meanwhile. Its secret is the new one: `keep` has ended then, also
    /// where that rotation took it for an old one that may live on for a while.
    pub fn finish_rotation(
        &mut self,
        id: &DeviceId,
        keep: SecretId,
        old_until: Option<Timestamp>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.begin()?;
        let active = Active::find(&tx, id)?;
        require_live(&tx, &active, keep)?;
        let replaced = "SELECT 1 FROM secret WHERE id = ?1 AND valid_until IS NOT NULL";
        if exists(&tx, replaced, [keep.0])? {
            withdraw(&tx, &active, keep, by, now)?;
            tx.commit()?;
            return Err(Error::AlreadyEnded { id: id.clone() });
        }
        let old_until = old_until.filter(|until| *until > now);
        if let Some(until) = old_until {
            tx.execute(
                "UPDATE secret SET valid_until = min(?3, coalesce(valid_until, ?3))
                 WHERE device_id = ?1 AND id <> ?2 AND ended IS NULL",
                params![active.device_id, keep.0, until.as_unix()],
            )?;
        } else {
            tx.execute(
                "UPDATE secret SET ended = min(?3, coalesce(valid_until, ?3))
                 WHERE device_id = ?1 AND id <> ?2 AND ended IS NULL",
                params![active.device_id, keep.0, now.as_unix()],
            )?;
        }
        let until = old_until.map(|until| format!("{until:#}"));
        Line {
            detail: until.as_deref(),
            ..active.line(Action::Rotated)
        }
        .record(&tx, now, by)?;
        Ok(tx.commit()?)
    }

    /// Takes back a second secret that nobody saw, with the event "withdrawn".
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::AlreadyRevoked`], [`Error::AlreadyEnded`].
    pub fn withdraw_secret(
        &mut self,
        id: &DeviceId,
        secret: SecretId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.begin()?;
        let active = Active::find(&tx, id)?;
        require_live(&tx, &active, secret)?;
        withdraw(&tx, &active, secret, by, now)?;
        Ok(tx.commit()?)
    }
}

/// Ends a secret that nobody should use, with the event "withdrawn".
fn withdraw(
    tx: &Transaction<'_>,
    active: &Active,
    secret: SecretId,
    by: &Actor,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE secret SET ended = ?2 WHERE id = ?1",
        params![secret.0, now.as_unix()],
    )?;
    active.line(Action::Withdrawn).record(tx, now, by)
}

/// Tombstones count as long as they have their tag: an attempt with one must be recognised.
pub(super) fn insert(
    tx: &Transaction<'_>,
    device_id: i64,
    mailbox_id: i64,
    secret: &NewSecret<'_>,
) -> Result<(), Error> {
    let taken = "SELECT 1 FROM secret WHERE mailbox_id = ?1 AND tag = ?2";
    if exists(tx, taken, params![mailbox_id, secret.tag.bits()])? {
        return Err(Error::TagTaken);
    }
    tx.prepare_cached(
        "INSERT INTO secret (device_id, mailbox_id, kind, format, tag, phc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        device_id,
        mailbox_id,
        GENERATED,
        TWENTY_LETTERS,
        secret.tag.bits(),
        packed::pack(secret.phc).map_or_else(|| Value::from(secret.phc.to_owned()), Value::from),
    ])?;
    Ok(())
}

pub(super) fn end_all(tx: &Transaction<'_>, device_id: i64, now: Timestamp) -> Result<(), Error> {
    tx.prepare_cached(
        "UPDATE secret SET ended = min(?2, coalesce(valid_until, ?2))
         WHERE device_id = ?1 AND ended IS NULL",
    )?
    .execute(params![device_id, now.as_unix()])?;
    Ok(())
}

fn require_live(tx: &Transaction<'_>, active: &Active, secret: SecretId) -> Result<(), Error> {
    let live = "SELECT 1 FROM secret WHERE id = ?1 AND device_id = ?2 AND ended IS NULL";
    if exists(tx, live, params![secret.0, active.device_id])? {
        return Ok(());
    }
    Err(Error::AlreadyEnded {
        id: active.row.id.clone(),
    })
}
