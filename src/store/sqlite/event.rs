//! The audit log: lines are added in the transaction that they report, and never changed.

use rusqlite::{Transaction, params};

use super::super::{Error, EventId, EventRow};
use super::{Store, list};
use crate::model::{Action, Actor, Label, Mailbox, Timestamp};

/// Which events are asked for.
#[derive(Debug, Clone, Copy)]
pub struct EventFilter<'a> {
    /// Of every mailbox that had this name.
    pub mailbox: Option<&'a Mailbox>,
    pub since: Option<Timestamp>,
    /// Only later ones than this.
    pub after: Option<EventId>,
    /// At most so many.
    pub most: u32,
}

impl EventFilter<'_> {
    /// The latest `most` events.
    pub fn latest(most: u32) -> Self {
        Self {
            mailbox: None,
            since: None,
            after: None,
            most,
        }
    }
}

impl Store {
    /// Events, oldest first. If there are more than asked for: the first of them behind `after`, or
    /// the latest where there is no `after`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchMailbox`] if none ever had the name asked for.
    pub fn events(&self, filter: EventFilter<'_>) -> Result<Vec<EventRow>, Error> {
        if let Some(mailbox) = filter.mailbox {
            let known = self
                .connection
                .prepare_cached("SELECT 1 FROM mailbox WHERE name = ?1")?
                .exists([mailbox.as_str()])?;
            if !known {
                return Err(Error::NoSuchMailbox {
                    mailbox: mailbox.clone(),
                });
            }
        }
        let of_mailbox = filter.mailbox.map_or(
            "?1 IS NULL",
            |_| "e.mailbox_id IN (SELECT id FROM mailbox WHERE name = ?1)",
        );
        let since = filter.since.map_or("?2 IS NULL", |_| "e.at >= ?2");
        let after = filter.after.map_or("?3 IS NULL", |_| "e.id > ?3");
        let order = filter.after.map_or("DESC", |_| "ASC");
        let sql = format!(
            "{} WHERE {of_mailbox} AND {since} AND {after} ORDER BY e.id {order} LIMIT ?4",
            list::EVENTS
        );
        let mut events: Vec<EventRow> = self
            .connection
            .prepare_cached(&sql)?
            .query_and_then(
                params![
                    filter.mailbox.map(Mailbox::as_str),
                    filter.since.map(Timestamp::as_unix),
                    filter.after.map(|id| id.0),
                    filter.most
                ],
                list::event,
            )?
            .collect::<Result<_, _>>()?;
        if filter.after.is_none() {
            events.reverse();
        }
        Ok(events)
    }
}

/// One line, by row ids: a name may have belonged to another mailbox or person before.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) action: Action,
    pub(super) mailbox_id: Option<i64>,
    pub(super) person_id: Option<i64>,
    pub(super) access_id: Option<i64>,
    pub(super) device_id: Option<i64>,
    pub(super) label: Option<&'a Label>,
    pub(super) detail: Option<&'a str>,
}

impl Line<'_> {
    pub(super) fn new(action: Action) -> Self {
        Self {
            action,
            mailbox_id: None,
            person_id: None,
            access_id: None,
            device_id: None,
            label: None,
            detail: None,
        }
    }

    pub(super) fn record(
        &self,
        tx: &Transaction<'_>,
        at: Timestamp,
        by: &Actor,
    ) -> Result<(), Error> {
        tx.prepare_cached(
            "INSERT INTO event (at, actor, via, action, mailbox_id, person_id, access_id, device_id,
                label, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            at.as_unix(),
            by.name,
            by.via.as_str(),
            self.action.as_str(),
            self.mailbox_id,
            self.person_id,
            self.access_id,
            self.device_id,
            self.label.map(Label::as_str),
            self.detail,
        ])?;
        Ok(())
    }
}
