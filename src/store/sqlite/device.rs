//! Device passwords as entries: issued, listed, renamed, revoked. Always by id, never by mailbox and
//! label: two persons may each have a "tablet" on one mailbox.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::{DeviceRow, Error};
use super::event::Line;
use super::secret::{self, NewSecret};
use super::{Store, access, list, mailbox};
use crate::model::{Action, Actor, DeviceId, Label, Limits, Mailbox, Person, Timestamp};

/// A device password to be stored.
#[derive(Debug)]
pub struct NewDevice<'a> {
    pub id: &'a DeviceId,
    pub mailbox: &'a Mailbox,
    /// Whose it is, through an access that is alive. `None`, or the person of the mailbox's own name:
    /// the owner's own.
    pub person: Option<&'a Person>,
    pub label: &'a Label,
    pub limits: &'a Limits,
    pub secret: NewSecret<'a>,
}

/// Whether lists show revoked device passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    Hidden,
    Only,
    Shown,
}

impl Revoked {
    /// A condition on the row `d`.
    fn condition(self) -> &'static str {
        match self {
            Self::Hidden => "d.revoked IS NULL",
            Self::Only => "d.revoked IS NOT NULL",
            Self::Shown => "TRUE",
        }
    }
}

/// Which active device passwords are meant together: those for which all that is said holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    pub mailbox: Option<&'a Mailbox>,
    /// Those of a person, or of the owner of the mailbox of that name.
    pub person: Option<&'a Person>,
    /// Those that nobody has used since then; one that was never used counts from its issue.
    pub unused_since: Option<Timestamp>,
}

impl Selection<'_> {
    /// By mailbox and age.
    fn active(&self, connection: &Connection) -> Result<Vec<DeviceRow>, Error> {
        let mailbox_id = match self.mailbox {
            Some(mailbox) => Some(mailbox::living(connection, mailbox)?),
            None => None,
        };
        let unused = |device: &DeviceRow, then| {
            let used = (device.last_use.as_ref()).map_or(device.issued, |last| last.at);
            used.max(device.issued) < then
        };
        let mut devices = select_devices(connection, mailbox_id, Revoked::Hidden)?;
        devices.retain(|device| {
            self.person.is_none_or(|person| device.is_of(person))
                && (self.unused_since).is_none_or(|then| unused(device, then))
        });
        Ok(devices)
    }
}

impl Store {
    /// Stores a new device password and returns it as it is listed. A disabled mailbox may have one too.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`], [`Error::NoSuchPerson`], [`Error::NoAccess`], [`Error::LabelTaken`];
    /// [`Error::TagTaken`] and [`Error::IdTaken`]: draw again.
    pub fn issue(
        &mut self,
        new: &NewDevice<'_>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRow, Error> {
        let tx = self.begin()?;
        let issued = issue(&tx, new, by, now)?;
        // Read before the commit: once it is issued, nothing may go wrong before it is shown.
        tx.commit()?;
        Ok(issued)
    }

    /// Stores several, all or none, in one transaction with an event each: a whole site in seconds.
    ///
    /// # Errors
    ///
    /// As [`Self::issue`], for the first that cannot be stored.
    pub fn issue_all(
        &mut self,
        new: &[NewDevice<'_>],
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<DeviceRow>, Error> {
        let tx = self.begin()?;
        let issued = new
            .iter()
            .map(|new| issue(&tx, new, by, now))
            .collect::<Result<_, _>>()?;
        tx.commit()?;
        Ok(issued)
    }

    /// Device passwords of one mailbox or of all, by mailbox and age.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`] if the one asked for does not exist.
    pub fn devices(
        &self,
        mailbox: Option<&Mailbox>,
        revoked: Revoked,
    ) -> Result<Vec<DeviceRow>, Error> {
        let mailbox_id = match mailbox {
            Some(mailbox) => Some(mailbox::living(&self.connection, mailbox)?),
            None => None,
        };
        select_devices(&self.connection, mailbox_id, revoked)
    }

    /// All device passwords of a mailbox with this label: of several persons, or revoked ones.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`].
    pub fn devices_labelled(
        &self,
        mailbox: &Mailbox,
        label: &Label,
        revoked: Revoked,
    ) -> Result<Vec<DeviceRow>, Error> {
        let mailbox_id = mailbox::living(&self.connection, mailbox)?;
        let sql = format!(
            "{} WHERE d.mailbox_id = ?1 AND d.label = ?2 AND {} ORDER BY d.id",
            list::DEVICES,
            revoked.condition()
        );
        self.connection
            .prepare_cached(&sql)?
            .query_and_then(params![mailbox_id, label.as_str()], list::device)?
            .collect()
    }

    /// One device password, active or revoked.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`].
    pub fn device(&self, id: &DeviceId) -> Result<DeviceRow, Error> {
        select_device(&self.connection, id)
    }

    /// Changes the label of an active device password.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::AlreadyRevoked`], [`Error::LabelTaken`] (by another one).
    pub fn rename(
        &mut self,
        id: &DeviceId,
        label: &Label,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.begin()?;
        let active = Active::find(&tx, id)?;
        if active.row.label == *label {
            return Ok(());
        }
        require_free_label(
            &tx,
            active.mailbox_id,
            active.access_id,
            &active.row.mailbox,
            label,
        )?;
        tx.execute(
            "UPDATE device_password SET label = ?2 WHERE id = ?1",
            params![active.device_id, label.as_str()],
        )?;
        Line {
            label: Some(label),
            detail: Some(active.row.label.as_str()),
            ..active.line(Action::Renamed)
        }
        .record(&tx, now, by)?;
        Ok(tx.commit()?)
    }

    /// Changes the limits of an active device password, and returns it as it is listed then. From now
    /// on `expires_unused_days` counts again. `change` gets the limits as they are within the transaction:
    /// of two operators who each change one, neither undoes what the other did.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::AlreadyRevoked`].
    pub fn set_limits(
        &mut self,
        id: &DeviceId,
        change: impl FnOnce(Limits) -> Limits,
        by: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRow, Error> {
        let tx = self.begin()?;
        let active = Active::find(&tx, id)?;
        let limits = change(active.row.limits.clone());
        tx.execute(
            "UPDATE device_password SET services = ?2, networks = ?3, expires = ?4,
                expires_unused_days = ?5, limits_changed = ?6 WHERE id = ?1",
            params![
                active.device_id,
                limits.services.map(|services| services.bits()),
                limits.networks.as_ref().map(ToString::to_string),
                limits.expires.map(Timestamp::as_unix),
                limits.expires_unused_days,
                now.as_unix(),
            ],
        )?;
        Line {
            detail: Some(&limits.to_string()),
            ..active.line(Action::LimitsSet)
        }
        .record(&tx, now, by)?;
        let set = select_device(&tx, id)?;
        tx.commit()?;
        Ok(set)
    }

    /// Revokes these for good, all or none, in one transaction with an event each; returns them as they
    /// are listed now, each once.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::AlreadyRevoked`] for the first that cannot be revoked; then
    /// none of them was.
    pub fn revoke(
        &mut self,
        ids: &[DeviceId],
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<DeviceRow>, Error> {
        let tx = self.begin()?;
        let mut seen = BTreeSet::new();
        let revoked = ids
            .iter()
            .filter(|id| seen.insert(*id))
            .map(|id| end_device(&tx, id, Action::Revoked, by, now))
            .collect::<Result<_, _>>()?;
        tx.commit()?;
        Ok(revoked)
    }

    /// Revokes whatever a selection means at this moment, in one transaction with an event each; returns
    /// what was revoked, as it is listed now. What was read before may have changed since: in an
    /// emergency, "all" must not fail because one of them is gone, nor leave a new one alone, and what was
    /// used meanwhile is not unused.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`].
    pub fn revoke_selected(
        &mut self,
        selection: &Selection<'_>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<DeviceRow>, Error> {
        let tx = self.begin()?;
        let revoked = revoke_each(&tx, &selection.active(&tx)?, by, now)?;
        tx.commit()?;
        Ok(revoked)
    }

    /// The active device passwords that [`Self::revoke_selected`] would revoke now, by mailbox and age.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`].
    pub fn selected(&self, selection: &Selection<'_>) -> Result<Vec<DeviceRow>, Error> {
        selection.active(&self.connection)
    }

    /// Takes back a device password whose secret nobody saw, with the event "withdrawn".
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::AlreadyRevoked`].
    pub fn withdraw(&mut self, id: &DeviceId, by: &Actor, now: Timestamp) -> Result<(), Error> {
        let tx = self.begin()?;
        end_device(&tx, id, Action::Withdrawn, by, now)?;
        Ok(tx.commit()?)
    }
}

/// Stores a new device password, with its event; returns it as it is listed.
fn issue(
    tx: &Transaction<'_>,
    new: &NewDevice<'_>,
    by: &Actor,
    now: Timestamp,
) -> Result<DeviceRow, Error> {
    let mailbox_id = mailbox::living(tx, new.mailbox)?;
    let access_id = match new.person {
        Some(person) if person.as_str() != new.mailbox.as_str() => {
            Some(access::require(tx, new.mailbox, person)?)
        }
        Some(_) | None => None,
    };
    require_free_label(tx, mailbox_id, access_id, new.mailbox, new.label)?;
    if exists(
        tx,
        "SELECT 1 FROM device_password WHERE public_id = ?1",
        [new.id.as_str()],
    )? {
        return Err(Error::IdTaken { id: new.id.clone() });
    }
    tx.prepare_cached(
        "INSERT INTO device_password (public_id, mailbox_id, access_id, label, services, networks,
            expires, expires_unused_days, issued, issued_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        new.id.as_str(),
        mailbox_id,
        access_id,
        new.label.as_str(),
        new.limits.services.map(|services| services.bits()),
        new.limits.networks.as_ref().map(ToString::to_string),
        new.limits.expires.map(Timestamp::as_unix),
        new.limits.expires_unused_days,
        now.as_unix(),
        by.name,
    ])?;
    secret::insert(tx, tx.last_insert_rowid(), mailbox_id, &new.secret)?;
    let issued = Active::find(tx, new.id)?;
    issued.line(Action::Issued).record(tx, now, by)?;
    Ok(issued.row)
}

/// An active device password, with the row ids by which it is changed.
pub(super) struct Active {
    pub(super) row: DeviceRow,
    pub(super) device_id: i64,
    pub(super) mailbox_id: i64,
    access_id: Option<i64>,
    person_id: Option<i64>,
}

impl Active {
    pub(super) fn find(tx: &Transaction<'_>, id: &DeviceId) -> Result<Self, Error> {
        let row = select_device(tx, id)?;
        if row.revoked.is_some() {
            return Err(Error::AlreadyRevoked { id: id.clone() });
        }
        let (device_id, mailbox_id, access_id, person_id) = tx
            .prepare_cached(
                "SELECT d.id, d.mailbox_id, d.access_id, a.person_id FROM device_password d
                 LEFT JOIN access a ON a.id = d.access_id WHERE d.public_id = ?1",
            )?
            .query_row([id.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        Ok(Self {
            row,
            device_id,
            mailbox_id,
            access_id,
            person_id,
        })
    }

    /// A line of the audit log about it.
    pub(super) fn line(&self, action: Action) -> Line<'_> {
        Line {
            mailbox_id: Some(self.mailbox_id),
            person_id: self.person_id,
            access_id: self.access_id,
            device_id: Some(self.device_id),
            label: Some(&self.row.label),
            ..Line::new(action)
        }
    }
}

/// Revokes every active device password of a mailbox, and returns them as they are then.
pub(super) fn end_all_devices(
    tx: &Transaction<'_>,
    mailbox_id: i64,
    by: &Actor,
    now: Timestamp,
) -> Result<Vec<DeviceRow>, Error> {
    let active = select_devices(tx, Some(mailbox_id), Revoked::Hidden)?;
    revoke_each(tx, &active, by, now)
}

/// Revokes active device passwords, and returns them as they are then.
fn revoke_each(
    tx: &Transaction<'_>,
    active: &[DeviceRow],
    by: &Actor,
    now: Timestamp,
) -> Result<Vec<DeviceRow>, Error> {
    active
        .iter()
        .map(|device| end_device(tx, &device.id, Action::Revoked, by, now))
        .collect()
}

/// Revokes every active device password that hangs on an access, as [`end_all_devices`].
pub(super) fn end_devices_of_access(
    tx: &Transaction<'_>,
    access_id: i64,
    by: &Actor,
    now: Timestamp,
) -> Result<Vec<DeviceRow>, Error> {
    // By the mailbox first: no index leads from an access to its device passwords.
    let sql = format!(
        "{} WHERE d.mailbox_id = (SELECT mailbox_id FROM access WHERE id = ?1) AND d.access_id = ?1
         AND d.revoked IS NULL ORDER BY d.id",
        list::DEVICES
    );
    let active: Vec<DeviceRow> = tx
        .prepare_cached(&sql)?
        .query_and_then([access_id], list::device)?
        .collect::<Result<_, _>>()?;
    revoke_each(tx, &active, by, now)
}

/// Ends an active device password and all its secrets, with the event `action`; returns it as it is
/// then.
fn end_device(
    tx: &Transaction<'_>,
    id: &DeviceId,
    action: Action,
    by: &Actor,
    now: Timestamp,
) -> Result<DeviceRow, Error> {
    let active = Active::find(tx, id)?;
    secret::end_all(tx, active.device_id, now)?;
    tx.prepare_cached("UPDATE device_password SET revoked = ?2, revoked_by = ?3 WHERE id = ?1")?
        .execute(params![active.device_id, now.as_unix(), by.name])?;
    active.line(action).record(tx, now, by)?;
    Ok(DeviceRow {
        revoked: Some(now),
        revoked_by: Some(by.name.clone()),
        ..active.row
    })
}

fn select_devices(
    connection: &Connection,
    mailbox_id: Option<i64>,
    revoked: Revoked,
) -> Result<Vec<DeviceRow>, Error> {
    let of_mailbox = match mailbox_id {
        Some(_) => "d.mailbox_id = ?1",
        None => "?1 IS NULL",
    };
    let sql = format!(
        "{} WHERE {of_mailbox} AND {} ORDER BY m.name, d.id",
        list::DEVICES,
        revoked.condition()
    );
    connection
        .prepare_cached(&sql)?
        .query_and_then([mailbox_id], list::device)?
        .collect()
}

/// The row of a device password, active or revoked.
pub(super) fn row_id(connection: &Connection, id: &DeviceId) -> Result<Option<i64>, Error> {
    Ok(connection
        .prepare_cached("SELECT id FROM device_password WHERE public_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?)
}

fn select_device(connection: &Connection, id: &DeviceId) -> Result<DeviceRow, Error> {
    connection
        .prepare_cached(&format!("{} WHERE d.public_id = ?1", list::DEVICES))?
        .query_and_then([id.as_str()], list::device)?
        .next()
        .unwrap_or_else(|| Err(Error::NoSuchDevice { id: id.clone() }))
}

fn require_free_label(
    tx: &Transaction<'_>,
    mailbox_id: i64,
    access_id: Option<i64>,
    mailbox: &Mailbox,
    label: &Label,
) -> Result<(), Error> {
    let sql = "SELECT 1 FROM device_password WHERE mailbox_id = ?1 AND label = ?2
        AND access_id IS ?3 AND revoked IS NULL";
    if exists(tx, sql, params![mailbox_id, label.as_str(), access_id])? {
        return Err(Error::LabelTaken {
            mailbox: mailbox.clone(),
            label: label.clone(),
        });
    }
    Ok(())
}

pub(super) fn exists(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<bool, Error> {
    Ok(connection.prepare_cached(sql)?.exists(values)?)
}
