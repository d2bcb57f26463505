//! Which device password is meant: `MAILBOX DEVICE`, or `--id dp-…` alone.

use super::context::Database;
use super::error::Error;
use crate::model::{DeviceId, Label, Mailbox, Person};
use crate::store::{DeviceRow, Revoked};

/// Names one device password on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Mailbox that the password opens, for example ana@example.org
    #[arg(required_unless_present = "id", requires = "device")]
    mailbox: Option<Mailbox>,
    /// Name of the device, as `list` shows it
    #[arg(value_name = "DEVICE", id = "device")]
    label: Option<Label>,
    /// Whose it is, where several persons have a device of that name
    #[arg(long, value_name = "PERSON", conflicts_with = "id")]
    person: Option<Person>,
    /// Public id instead of mailbox and device, for example dp-kqtmwhzrnb
    #[arg(long, value_name = "ID", conflicts_with_all = ["mailbox", "device"])]
    id: Option<DeviceId>,
}

impl Which {
    /// The active device password that is meant.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::Ambiguous`], [`Error::IsRevoked`], or the store's.
    pub(crate) fn active(&self, database: &Database) -> Result<DeviceRow, Error> {
        match (&self.id, &self.mailbox, &self.label) {
            (Some(id), _, _) => active_by_id(database, id),
            (None, Some(mailbox), Some(label)) => {
                let mailbox = database.mailbox(mailbox)?;
                let person = database.any_person(self.person.as_ref())?;
                Named::new(&mailbox, label, person.as_ref()).active(database)
            }
            (None, _, _) => Err(incomplete()),
        }
    }

    /// As [`Self::active`], and a revoked one where no active one has the label.
    ///
    /// # Errors
    ///
    /// As [`Self::active`].
    pub(crate) fn any(&self, database: &Database) -> Result<DeviceRow, Error> {
        match (&self.id, &self.mailbox, &self.label) {
            (Some(id), _, _) => Ok(database.admin.store.device(id)?),
            (None, Some(mailbox), Some(label)) => {
                let mailbox = database.mailbox(mailbox)?;
                let person = database.any_person(self.person.as_ref())?;
                Named::new(&mailbox, label, person.as_ref()).any(database)
            }
            (None, _, _) => Err(incomplete()),
        }
    }
}

/// The active device password with that id.
///
/// # Errors
///
/// [`Error::IsRevoked`], or the store's.
pub(crate) fn active_by_id(database: &Database, id: &DeviceId) -> Result<DeviceRow, Error> {
    let device = database.admin.store.device(id)?;
    if device.revoked.is_some() {
        return Err(Error::IsRevoked { id: id.clone() });
    }
    Ok(device)
}

/// A device password by its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    mailbox: &'a Mailbox,
    label: &'a Label,
    person: Option<&'a Person>,
}

impl<'a> Named<'a> {
    pub(crate) fn new(mailbox: &'a Mailbox, label: &'a Label, person: Option<&'a Person>) -> Self {
        Self {
            mailbox,
            label,
            person,
        }
    }

    /// The active device password of that name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], [`Error::Ambiguous`], or the store's.
    pub(crate) fn active(self, database: &Database) -> Result<DeviceRow, Error> {
        let found = self.one(database, Revoked::Hidden)?;
        found.ok_or_else(|| self.missing("active device password"))
    }

    /// As [`Self::active`], and a revoked one where no active one has the name.
    ///
    /// # Errors
    ///
    /// As [`Self::active`].
    pub(crate) fn any(self, database: &Database) -> Result<DeviceRow, Error> {
        if let Some(active) = self.one(database, Revoked::Hidden)? {
            return Ok(active);
        }
        let found = self.one(database, Revoked::Only)?;
        found.ok_or_else(|| self.missing("device password"))
    }

    fn one(self, database: &Database, revoked: Revoked) -> Result<Option<DeviceRow>, Error> {
        let store = &database.admin.store;
        let mut found = store.devices_labelled(self.mailbox, self.label, revoked)?;
        found.retain(|device| (self.person).is_none_or(|person| device.is_of(person)));
        if found.len() < 2 {
            return Ok(found.pop());
        }
        Err(Error::Ambiguous {
            mailbox: self.mailbox.clone(),
            label: self.label.clone(),
            ids: found.into_iter().map(|device| device.id).collect(),
        })
    }

    fn missing(self, what: &'static str) -> Error {
        Error::NoSuchDevice {
            what,
            mailbox: self.mailbox.clone(),
            label: self.label.clone(),
            person: self.person.cloned(),
        }
    }
}

/// The grammar does not let this happen; should it, it is a mistake in usage.
fn incomplete() -> Error {
    Error::Usage {
        shown: "error: MAILBOX DEVICE or --id ID is missing\n".to_owned(),
    }
}
