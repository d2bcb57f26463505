//! Persons: added and removed. What they may open is in `access`.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{DeviceRow, Error, PersonRow};
use super::event::Line;
use super::{IfThere, Store, access, list};
use crate::model::{Action, Actor, Person, Timestamp};

impl Store {
    /// Adds persons, all or none, and returns those that were not there.
    ///
    /// # Errors
    ///
    /// [`Error::PersonExists`] for the first that exists or is named twice, with [`IfThere::Refuse`].
    pub fn add_persons(
        &mut self,
        persons: &[Person],
        if_there: IfThere,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<Person>, Error> {
        let tx = self.begin()?;
        let mut added = Vec::new();
        for person in persons {
            if row_id(&tx, person)?.is_some() {
                match if_there {
                    IfThere::Skip => continue,
                    IfThere::Refuse => {
                        return Err(Error::PersonExists {
                            person: person.clone(),
                        });
                    }
                }
            }
            tx.prepare_cached("INSERT INTO person (name, added) VALUES (?1, ?2)")?
                .execute(params![person.as_str(), now.as_unix()])?;
            Line {
                person_id: Some(tx.last_insert_rowid()),
                ..Line::new(Action::PersonAdded)
            }
            .record(&tx, now, by)?;
            added.push(person.clone());
        }
        tx.commit()?;
        Ok(added)
    }

    /// All persons, by name.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn persons(&self) -> Result<Vec<PersonRow>, Error> {
        self.connection
            .prepare_cached(&format!("{} ORDER BY p.name", list::PERSONS))?
            .query_and_then([], list::person)?
            .collect()
    }

    /// One person.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchPerson`].
    pub fn person(&self, person: &Person) -> Result<PersonRow, Error> {
        self.connection
            .prepare_cached(&format!("{} AND p.name = ?1", list::PERSONS))?
            .query_and_then([person.as_str()], list::person)?
            .next()
            .unwrap_or_else(|| {
                Err(Error::NoSuchPerson {
                    person: person.clone(),
                })
            })
    }

    /// Removes a person: takes away every access, with the device passwords on it, and returns what was
    /// revoked. A mailbox of the person's own name stays as it is, with its owner's device passwords.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchPerson`].
    pub fn remove_person(
        &mut self,
        person: &Person,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<DeviceRow>, Error> {
        let tx = self.begin()?;
        let person_id = living(&tx, person)?;
        let revoked = access::end_all(&tx, access::Of::Person(person_id), by, now)?;
        tx.execute(
            "UPDATE person SET removed = ?2 WHERE id = ?1",
            params![person_id, now.as_unix()],
        )?;
        Line {
            person_id: Some(person_id),
            ..Line::new(Action::PersonRemoved)
        }
        .record(&tx, now, by)?;
        tx.commit()?;
        Ok(revoked)
    }
}

/// The row of a person that was not removed.
pub(super) fn living(connection: &Connection, person: &Person) -> Result<i64, Error> {
    row_id(connection, person)?.ok_or_else(|| Error::NoSuchPerson {
        person: person.clone(),
    })
}

fn row_id(connection: &Connection, person: &Person) -> Result<Option<i64>, Error> {
    Ok(connection
        .prepare_cached("SELECT id FROM person WHERE name = ?1 AND removed IS NULL")?
        .query_row([person.as_str()], |row| row.get(0))
        .optional()?)
}
