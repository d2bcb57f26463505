//! Mailboxes: added, enabled, disabled, given fields, removed.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::{DeviceRow, Error, MailboxRow};
use super::device::end_all_devices;
use super::event::Line;
use super::{IfThere, Store, access, decode, list};
use crate::model::{Action, Actor, FieldError, Fields, Mailbox, Timestamp};

impl Store {
    /// Adds a mailbox: enabled, without any device password.
    ///
    /// # Errors
    ///
    /// [`Error::MailboxExists`] if there is one of that name. A removed one does not count, and nothing
    /// of it comes back.
    pub fn add_mailbox(
        &mut self,
        mailbox: &Mailbox,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.add_mailboxes(std::slice::from_ref(mailbox), IfThere::Refuse, by, now)
            .map(drop)
    }

    /// Adds several mailboxes, all or none, and returns those that were not there.
    ///
    /// # Errors
    ///
    /// [`Error::MailboxExists`] for the first that exists or is named twice, with [`IfThere::Refuse`].
    pub fn add_mailboxes(
        &mut self,
        mailboxes: &[Mailbox],
        if_there: IfThere,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<Mailbox>, Error> {
        let tx = self.begin()?;
        let mut added = Vec::new();
        for mailbox in mailboxes {
            if row_id(&tx, mailbox)?.is_some() {
                match if_there {
                    IfThere::Skip => continue,
                    IfThere::Refuse => {
                        return Err(Error::MailboxExists {
                            mailbox: mailbox.clone(),
                        });
                    }
                }
            }
            tx.prepare_cached("INSERT INTO mailbox (name, added) VALUES (?1, ?2)")?
                .execute(params![mailbox.as_str(), now.as_unix()])?;
            record(&tx, now, by, Action::MailboxAdded, tx.last_insert_rowid())?;
            added.push(mailbox.clone());
        }
        tx.commit()?;
        Ok(added)
    }

    /// All mailboxes, by name.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn mailboxes(&self) -> Result<Vec<MailboxRow>, Error> {
        self.connection
            .prepare_cached(&format!("{} ORDER BY m.name", list::MAILBOXES))?
            .query_and_then([], list::mailbox)?
            .collect()
    }

    /// One mailbox.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`].
    pub fn mailbox(&self, mailbox: &Mailbox) -> Result<MailboxRow, Error> {
        self.connection
            .prepare_cached(&format!("{} AND m.name = ?1", list::MAILBOXES))?
            .query_and_then([mailbox.as_str()], list::mailbox)?
            .next()
            .unwrap_or_else(|| {
                Err(Error::NoSuchMailbox {
                    mailbox: mailbox.clone(),
                })
            })
    }

    /// Enables or disables a mailbox. A disabled one refuses log-ins; its device passwords stay. No
    /// event if it was so before.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`].
    pub fn set_mailbox_enabled(
        &mut self,
        mailbox: &Mailbox,
        enabled: bool,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.begin()?;
        let id = living(&tx, mailbox)?;
        let changed = tx.execute(
            "UPDATE mailbox SET enabled = ?2 WHERE id = ?1 AND enabled <> ?2",
            params![id, enabled],
        )?;
        if changed > 0 {
            let action = if enabled {
                Action::MailboxEnabled
            } else {
                Action::MailboxDisabled
            };
            record(&tx, now, by, action, id)?;
        }
        Ok(tx.commit()?)
    }

    /// Changes a mailbox's own userdb fields, and returns them as they are then. The event has the names of
    /// what was set, with a `-` of what was removed, and no value: one may be a key of the mail. No event
    /// if nothing changed.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`]; [`Error::Fields`] if `change` refuses.
    pub fn set_mailbox_fields(
        &mut self,
        mailbox: &Mailbox,
        change: impl FnOnce(&mut Fields) -> Result<(), FieldError>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Fields, Error> {
        let tx = self.begin()?;
        let id = living(&tx, mailbox)?;
        let before = tx
            .prepare_cached("SELECT fields FROM mailbox WHERE id = ?1")?
            .query_and_then([id], |row| decode::fields(row, 0))?
            .next()
            .transpose()?
            .unwrap_or_default();
        let mut after = before.clone();
        change(&mut after).map_err(|source| Error::Fields {
            mailbox: mailbox.clone(),
            source,
        })?;
        let detail = difference(&before, &after);
        if !detail.is_empty() {
            let text = (!after.is_empty()).then(|| after.to_string());
            tx.execute(
                "UPDATE mailbox SET fields = ?2 WHERE id = ?1",
                params![id, text],
            )?;
            Line {
                mailbox_id: Some(id),
                detail: Some(&detail),
                ..Line::new(Action::FieldsSet)
            }
            .record(&tx, now, by)?;
        }
        tx.commit()?;
        Ok(after)
    }

    /// Removes a mailbox, revokes everything on it and ends every access to it; returns what was revoked,
    /// as it is then. The tombstones stay, and so does what a person of the same name may open elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`].
    pub fn remove_mailbox(
        &mut self,
        mailbox: &Mailbox,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<DeviceRow>, Error> {
        let tx = self.begin()?;
        let id = living(&tx, mailbox)?;
        let revoked = end_all_devices(&tx, id, by, now)?;
        access::end_all(&tx, access::Of::Mailbox(id), by, now)?;
        record(&tx, now, by, Action::MailboxRemoved, id)?;
        tx.execute(
            "UPDATE mailbox SET removed = ?2 WHERE id = ?1",
            params![id, now.as_unix()],
        )?;
        tx.commit()?;
        Ok(revoked)
    }
}

/// `quota_rule, -home`
fn difference(before: &Fields, after: &Fields) -> String {
    let set = (after.iter())
        .filter(|(name, value)| before.get(name) != Some(value))
        .map(|(name, _)| name.to_string());
    let removed = (before.iter())
        .filter(|(name, _)| after.get(name).is_none())
        .map(|(name, _)| format!("-{name}"));
    set.chain(removed).collect::<Vec<_>>().join(", ")
}

fn record(
    tx: &Transaction<'_>,
    now: Timestamp,
    by: &Actor,
    action: Action,
    mailbox_id: i64,
) -> Result<(), Error> {
    Line {
        mailbox_id: Some(mailbox_id),
        ..Line::new(action)
    }
    .record(tx, now, by)
}

/// The row of a mailbox that was not removed.
pub(super) fn living(connection: &Connection, mailbox: &Mailbox) -> Result<i64, Error> {
    row_id(connection, mailbox)?.ok_or_else(|| Error::NoSuchMailbox {
        mailbox: mailbox.clone(),
    })
}

fn row_id(connection: &Connection, mailbox: &Mailbox) -> Result<Option<i64>, Error> {
    Ok(connection
        .prepare_cached("SELECT id FROM mailbox WHERE name = ?1 AND removed IS NULL")?
        .query_row([mailbox.as_str()], |row| row.get(0))
        .optional()?)
}
