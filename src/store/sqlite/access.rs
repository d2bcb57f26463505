//! Access: that a person may open a mailbox, and has device passwords there in their own name.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::{AccessListRow, DeviceRow, Error};
use super::event::Line;
use super::{Store, device, list, mailbox, person};
use crate::model::{AccessId, Action, Actor, Mailbox, Person, Timestamp};

impl Store {
    /// Gives a person access to a mailbox, a disabled one too. An access that was taken away stays
    /// ended: this is another one, and revives no device password.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`], [`Error::NoSuchPerson`], [`Error::AccessExists`]; [`Error::OwnMailbox`]
    /// for the person of the mailbox's name, who needs none.
    pub fn give_access(
        &mut self,
        mailbox: &Mailbox,
        person: &Person,
        by: &Actor,
        now: Timestamp,
    ) -> Result<AccessId, Error> {
        let id = AccessId::random()?;
        let tx = self.begin()?;
        let mailbox_id = mailbox::living(&tx, mailbox)?;
        if mailbox.as_str() == person.as_str() {
            return Err(Error::OwnMailbox {
                mailbox: mailbox.clone(),
            });
        }
        let person_id = person::living(&tx, person)?;
        if between(&tx, mailbox_id, person_id)?.is_some() {
            return Err(Error::AccessExists {
                mailbox: mailbox.clone(),
                person: person.clone(),
            });
        }
        tx.execute(
            "INSERT INTO access (public_id, mailbox_id, person_id, given, given_by)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id.as_str(), mailbox_id, person_id, now.as_unix(), by.name],
        )?;
        Line {
            mailbox_id: Some(mailbox_id),
            person_id: Some(person_id),
            access_id: Some(tx.last_insert_rowid()),
            ..Line::new(Action::AccessGiven)
        }
        .record(&tx, now, by)?;
        tx.commit()?;
        Ok(id)
    }

    /// Takes access away: revokes this person's device passwords on this mailbox, returns them as they
    /// are then, and touches no other.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`], [`Error::NoSuchPerson`], [`Error::NoAccess`].
    pub fn take_access(
        &mut self,
        mailbox: &Mailbox,
        person: &Person,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<DeviceRow>, Error> {
        let tx = self.begin()?;
        let access_id = require(&tx, mailbox, person)?;
        let revoked = end(&tx, access_id, by, now)?;
        tx.commit()?;
        Ok(revoked)
    }

    /// The living accesses to one mailbox or of one person, or all, by mailbox and person.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`] or [`Error::NoSuchPerson`] for one asked for that does not exist.
    pub fn accesses(
        &self,
        mailbox: Option<&Mailbox>,
        person: Option<&Person>,
    ) -> Result<Vec<AccessListRow>, Error> {
        let mailbox_id = match mailbox {
            Some(mailbox) => Some(mailbox::living(&self.connection, mailbox)?),
            None => None,
        };
        let person_id = match person {
            Some(person) => Some(person::living(&self.connection, person)?),
            None => None,
        };
        let of_mailbox = mailbox_id.map_or("?1 IS NULL", |_| "a.mailbox_id = ?1");
        let of_person = person_id.map_or("?2 IS NULL", |_| "a.person_id = ?2");
        let sql = format!(
            "{} AND {of_mailbox} AND {of_person} ORDER BY m.name, p.name",
            list::ACCESSES
        );
        self.connection
            .prepare_cached(&sql)?
            .query_and_then([mailbox_id, person_id], list::access)?
            .collect()
    }
}

/// The living access of a person to a mailbox, as a row id.
pub(super) fn require(
    connection: &Connection,
    mailbox: &Mailbox,
    person: &Person,
) -> Result<i64, Error> {
    let mailbox_id = mailbox::living(connection, mailbox)?;
    let person_id = person::living(connection, person)?;
    between(connection, mailbox_id, person_id)?.ok_or_else(|| Error::NoAccess {
        mailbox: mailbox.clone(),
        person: person.clone(),
    })
}

fn between(connection: &Connection, mailbox_id: i64, person_id: i64) -> Result<Option<i64>, Error> {
    Ok(connection
        .prepare_cached(
            "SELECT id FROM access WHERE mailbox_id = ?1 AND person_id = ?2 AND ended IS NULL",
        )?
        .query_row([mailbox_id, person_id], |row| row.get(0))
        .optional()?)
}

/// Whose accesses end.
pub(super) enum Of {
    Mailbox(i64),
    Person(i64),
}

/// Ends every living access of a mailbox or a person; returns the device passwords that were revoked.
pub(super) fn end_all(
    tx: &Transaction<'_>,
    of: Of,
    by: &Actor,
    now: Timestamp,
) -> Result<Vec<DeviceRow>, Error> {
    let (sql, id) = match of {
        Of::Mailbox(id) => (
            "SELECT id FROM access WHERE mailbox_id = ?1 AND ended IS NULL ORDER BY id",
            id,
        ),
        Of::Person(id) => (
            "SELECT id FROM access WHERE person_id = ?1 AND ended IS NULL ORDER BY id",
            id,
        ),
    };
    let accesses: Vec<i64> = tx
        .prepare_cached(sql)?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut revoked = Vec::new();
    for access_id in accesses {
        revoked.append(&mut end(tx, access_id, by, now)?);
    }
    Ok(revoked)
}

/// First the device passwords on it, then the access itself. Returns those as they are then.
fn end(
    tx: &Transaction<'_>,
    access_id: i64,
    by: &Actor,
    now: Timestamp,
) -> Result<Vec<DeviceRow>, Error> {
    let revoked = device::end_devices_of_access(tx, access_id, by, now)?;
    let (mailbox_id, person_id) = tx
        .prepare_cached("UPDATE access SET ended = ?2, ended_by = ?3 WHERE id = ?1 RETURNING mailbox_id, person_id")?
        .query_row(params![access_id, now.as_unix(), by.name], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Line {
        mailbox_id: Some(mailbox_id),
        person_id: Some(person_id),
        access_id: Some(access_id),
        ..Line::new(Action::AccessTaken)
    }
    .record(tx, now, by)?;
    Ok(revoked)
}
