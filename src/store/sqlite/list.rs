//! Rows of lists as domain types, and the queries that they come from. What [`decode`](super::decode) says
//! of undecodable rows holds here too.

use std::net::IpAddr;

use rusqlite::Row;

use super::super::{
    AccessListRow, AttemptsRow, DeviceRow, Error, EventId, EventRow, MailboxRow, PersonRow, UseRow,
};
use super::decode::{fields, flag, get, limits, optional, parsed, time};
use crate::model::{Service, Timestamp};

/// The beginning of every query for [`device`]; a `WHERE` may follow. `u` is the newest use, `t` the
/// newest attempt with an ended secret.
pub(super) const DEVICES: &str = "SELECT d.public_id, m.name, p.name, d.label, \
    d.services, d.networks, d.expires, d.expires_unused_days, \
    d.issued, d.issued_by, d.revoked, d.revoked_by, a.public_id, \
    (SELECT max(s.valid_until) FROM secret s WHERE s.device_id = d.id AND s.ended IS NULL), \
    u.last, u.service, u.address, u.count, u.first, \
    t.last, t.service, t.address, \
    (SELECT sum(t.count) FROM secret s JOIN tombstone_attempt t ON t.secret_id = s.id \
        WHERE s.device_id = d.id), \
    (SELECT min(t.first) FROM secret s JOIN tombstone_attempt t ON t.secret_id = s.id \
        WHERE s.device_id = d.id), \
    max(d.issued, coalesce(d.limits_changed, d.issued), coalesce(d.last_used, d.issued)) \
    FROM device_password d JOIN mailbox m ON m.id = d.mailbox_id \
    LEFT JOIN access a ON a.id = d.access_id LEFT JOIN person p ON p.id = a.person_id \
    LEFT JOIN used u ON u.device_id = d.id AND (u.service, u.address) = \
        (SELECT service, address FROM used WHERE device_id = d.id \
        ORDER BY last DESC, service, address LIMIT 1) \
    LEFT JOIN tombstone_attempt t ON (t.secret_id, t.service, t.address) = \
        (SELECT t.secret_id, t.service, t.address FROM secret s \
        JOIN tombstone_attempt t ON t.secret_id = s.id WHERE s.device_id = d.id \
        ORDER BY t.last DESC, t.secret_id, t.service, t.address LIMIT 1)";

pub(super) fn device(row: &Row<'_>) -> Result<DeviceRow, Error> {
    Ok(DeviceRow {
        id: parsed(row, 0, "device_password.public_id")?,
        mailbox: parsed(row, 1, "mailbox.name")?,
        person: optional(row, 2, "person.name")?,
        label: parsed(row, 3, "device_password.label")?,
        limits: limits(row, 4)?,
        issued: Timestamp::from_unix(get(row, 8, "device_password.issued")?),
        issued_by: get(row, 9, "device_password.issued_by")?,
        revoked: time(row, 10, "device_password.revoked")?,
        revoked_by: get(row, 11, "device_password.revoked_by")?,
        access: optional(row, 12, "access.public_id")?,
        old_until: time(row, 13, "secret.valid_until")?,
        last_use: match time(row, 14, "used.last")? {
            Some(_) => Some(use_of(row, 14)?),
            None => None,
        },
        attempts: match time(row, 19, "tombstone_attempt.last")? {
            Some(last) => Some(AttemptsRow {
                last,
                service: service(row, 20, "tombstone_attempt.service")?,
                address: address(row, 21, "tombstone_attempt.address")?,
                count: count(row, 22, "tombstone_attempt.count")?,
                first: Timestamp::from_unix(get(row, 23, "tombstone_attempt.first")?),
            }),
            None => None,
        },
        last_sign_of_life: Timestamp::from_unix(get(row, 24, "device_password.last_used")?),
    })
}

/// The columns of [`use_of`], in `used` and in `tombstone_attempt`.
pub(super) const USE: &str = "last, service, address, count, first";

/// Five columns from `first` on.
pub(super) fn use_of(row: &Row<'_>, first: usize) -> Result<UseRow, Error> {
    Ok(UseRow {
        at: Timestamp::from_unix(get(row, first, "used.last")?),
        service: service(row, first + 1, "used.service")?,
        address: address(row, first + 2, "used.address")?,
        count: count(row, first + 3, "used.count")?,
        first: Timestamp::from_unix(get(row, first + 4, "used.first")?),
    })
}

fn service(row: &Row<'_>, index: usize, column: &'static str) -> Result<Service, Error> {
    let word: String = get(row, index, column)?;
    Ok(Service::from_wire(word.as_bytes()))
}

/// Stored as `''` where the peer named none.
fn address(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<IpAddr>, Error> {
    let text: String = get(row, index, column)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Error::undecodable(column))
}

/// More than can be told is told as the most.
fn count(row: &Row<'_>, index: usize, column: &'static str) -> Result<u32, Error> {
    let count: i64 = get(row, index, column)?;
    Ok(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}

/// The beginning of every query for [`person`]; more of the `WHERE` may follow.
pub(super) const PERSONS: &str = "SELECT p.name, p.added, \
    (SELECT count(*) FROM access a WHERE a.person_id = p.id AND a.ended IS NULL), \
    (SELECT count(*) FROM access a JOIN device_password d \
        ON d.mailbox_id = a.mailbox_id AND d.access_id = a.id \
        WHERE a.person_id = p.id AND a.ended IS NULL AND d.revoked IS NULL) \
    FROM person p WHERE p.removed IS NULL";

pub(super) fn person(row: &Row<'_>) -> Result<PersonRow, Error> {
    Ok(PersonRow {
        person: parsed(row, 0, "person.name")?,
        added: Timestamp::from_unix(get(row, 1, "person.added")?),
        accesses: get(row, 2, "access.person_id")?,
        active: get(row, 3, "device_password.access_id")?,
    })
}

/// The beginning of every query for [`access`]; more of the `WHERE` may follow.
pub(super) const ACCESSES: &str = "SELECT a.public_id, m.name, p.name, a.given, a.given_by, \
    (SELECT count(*) FROM device_password d \
        WHERE d.mailbox_id = a.mailbox_id AND d.access_id = a.id AND d.revoked IS NULL) \
    FROM access a JOIN mailbox m ON m.id = a.mailbox_id JOIN person p ON p.id = a.person_id \
    WHERE a.ended IS NULL";

pub(super) fn access(row: &Row<'_>) -> Result<AccessListRow, Error> {
    Ok(AccessListRow {
        id: parsed(row, 0, "access.public_id")?,
        mailbox: parsed(row, 1, "mailbox.name")?,
        person: parsed(row, 2, "person.name")?,
        given: Timestamp::from_unix(get(row, 3, "access.given")?),
        given_by: get(row, 4, "access.given_by")?,
        active: get(row, 5, "device_password.access_id")?,
    })
}

/// The beginning of every query for [`mailbox`]; more of the `WHERE` may follow.
pub(super) const MAILBOXES: &str = "SELECT m.name, m.enabled, m.added, \
    (SELECT count(*) FROM device_password d WHERE d.mailbox_id = m.id AND d.revoked IS NULL), \
    m.fields FROM mailbox m WHERE m.removed IS NULL";

pub(super) fn mailbox(row: &Row<'_>) -> Result<MailboxRow, Error> {
    Ok(MailboxRow {
        mailbox: parsed(row, 0, "mailbox.name")?,
        enabled: flag(row, 1, "mailbox.enabled")?,
        added: Timestamp::from_unix(get(row, 2, "mailbox.added")?),
        active: get(row, 3, "device_password.mailbox_id")?,
        fields: fields(row, 4)?,
    })
}

/// The beginning of every query for [`event`].
pub(super) const EVENTS: &str = "SELECT e.at, e.actor, e.via, e.action, m.name, d.public_id, \
    e.label, e.detail, e.id, p.name, a.public_id \
    FROM event e LEFT JOIN mailbox m ON m.id = e.mailbox_id \
    LEFT JOIN person p ON p.id = e.person_id LEFT JOIN access a ON a.id = e.access_id \
    LEFT JOIN device_password d ON d.id = e.device_id";

pub(super) fn event(row: &Row<'_>) -> Result<EventRow, Error> {
    Ok(EventRow {
        at: Timestamp::from_unix(get(row, 0, "event.at")?),
        actor: get(row, 1, "event.actor")?,
        via: get(row, 2, "event.via")?,
        action: get(row, 3, "event.action")?,
        mailbox: optional(row, 4, "mailbox.name")?,
        device: optional(row, 5, "device_password.public_id")?,
        label: optional(row, 6, "event.label")?,
        detail: get(row, 7, "event.detail")?,
        id: EventId(get(row, 8, "event.id")?),
        person: optional(row, 9, "person.name")?,
        access: optional(row, 10, "access.public_id")?,
    })
}
