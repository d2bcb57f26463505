//! Who signed in, and who tried to with a secret that had ended: histories in groups, with a bound.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rusqlite::{Transaction, params};

use super::super::{Attempts, Error, UseRow, Uses};
use super::event::Line;
use super::{Store, decode, device, list};
use crate::model::{Action, Actor, DeviceId, Label, Timestamp, Via};

/// Lines of attempts kept for each ended secret: whoever knows one can come from many addresses.
const MAX_ATTEMPT_LINES: u32 = 100;

/// An attempt from an address that had its event within so many seconds gets none.
const QUIET: i64 = 3_600;

/// Most events for one ended secret within [`QUIET`]. Well below [`MAX_ATTEMPT_LINES`], because they are
/// counted by those lines.
const MAX_REPORTS: u32 = 10;

/// The lines of all ended secrets of a device password, `?1`, by service and address.
pub(super) const ATTEMPTS: &str =
    "SELECT max(t.last), t.service, t.address, sum(t.count), min(t.first)
    FROM secret s JOIN tombstone_attempt t ON t.secret_id = s.id
    WHERE s.device_id = ?1 GROUP BY t.service, t.address
    ORDER BY max(t.last) DESC, t.service, t.address";

impl Store {
    /// The history of a device password: where it was used, the newest first.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`].
    pub fn uses(&self, id: &DeviceId) -> Result<Vec<UseRow>, Error> {
        let sql = format!(
            "SELECT {} FROM used WHERE device_id = ?1 ORDER BY last DESC, service, address",
            list::USE
        );
        self.history(&sql, id)
    }

    /// The attempts with secrets of a device password that had ended, the newest first.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`].
    pub fn attempts(&self, id: &DeviceId) -> Result<Vec<UseRow>, Error> {
        self.history(ATTEMPTS, id)
    }

    fn history(&self, sql: &str, id: &DeviceId) -> Result<Vec<UseRow>, Error> {
        let device_id = device::row_id(&self.connection, id)?
            .ok_or_else(|| Error::NoSuchDevice { id: id.clone() })?;
        self.connection
            .prepare_cached(sql)?
            .query_and_then([device_id], |row| list::use_of(row, 0))?
            .collect()
    }
}

/// Adds good log-ins. `last_used`, which expiry reads, moves along in the same transaction, so that no
/// bound of the history makes a device password look unused.
pub(in crate::store) fn record_uses(
    tx: &Transaction<'_>,
    uses: &[Uses],
    keep: u32,
) -> Result<(), Error> {
    let mut touched = BTreeSet::new();
    for used in uses {
        let Some(device_id) = device::row_id(tx, &used.device)? else {
            continue;
        };
        let last = used.last.as_unix();
        tx.prepare_cached(
            "INSERT INTO used (device_id, service, address, first, last, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
                first = min(first, excluded.first), last = max(last, excluded.last),
                count = count + excluded.count",
        )?
        .execute(params![
            device_id,
            used.service.to_string(),
            stored(used.address),
            used.first.as_unix(),
            last,
            used.count,
        ])?;
        tx.prepare_cached(
            "UPDATE device_password SET last_used = ?2
             WHERE id = ?1 AND (last_used IS NULL OR last_used < ?2)",
        )?
        .execute([device_id, last])?;
        touched.insert(device_id);
    }
    for device_id in touched {
        tx.prepare_cached(
            "DELETE FROM used WHERE device_id = ?1 AND (service, address) IN
                (SELECT service, address FROM used WHERE device_id = ?1
                ORDER BY last DESC, service, address LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![device_id, keep])?;
    }
    Ok(())
}

/// Adds attempts with ended secrets, with an event each where it is news.
pub(in crate::store) fn record_attempts(
    tx: &Transaction<'_>,
    attempts: &[Attempts],
) -> Result<(), Error> {
    for attempt in attempts {
        let Some(tombstone) = Tombstone::find(tx, attempt)? else {
            continue;
        };
        let address = stored(attempt.address);
        tx.prepare_cached(
            "INSERT INTO tombstone_attempt (secret_id, service, address, first, last, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
                first = min(first, excluded.first), last = max(last, excluded.last),
                count = count + excluded.count",
        )?
        .execute(params![
            attempt.secret.0,
            attempt.service.to_string(),
            address,
            attempt.first.as_unix(),
            attempt.last.as_unix(),
            attempt.count,
        ])?;
        if is_news(tx, attempt, &address)? {
            tx.prepare_cached(
                "UPDATE tombstone_attempt SET reported = ?4
                 WHERE secret_id = ?1 AND service = ?2 AND address = ?3",
            )?
            .execute(params![
                attempt.secret.0,
                attempt.service.to_string(),
                address,
                attempt.last.as_unix(),
            ])?;
            tombstone.report(tx, attempt.last, &address)?;
        }
        // Those that had their event lately go last: they are what the events are counted by.
        tx.prepare_cached(
            "DELETE FROM tombstone_attempt WHERE secret_id = ?1 AND (service, address) IN
                (SELECT service, address FROM tombstone_attempt WHERE secret_id = ?1
                ORDER BY reported IS NOT NULL AND abs(reported - ?2) < ?3 DESC, last DESC, service,
                    address LIMIT -1 OFFSET ?4)",
        )?
        .execute(params![
            attempt.secret.0,
            attempt.last.as_unix(),
            QUIET,
            MAX_ATTEMPT_LINES
        ])?;
    }
    Ok(())
}

/// Whether this attempt deserves an event: none was written of late for this secret and address, and
/// not too many for this secret. A clock that went back counts as late too.
fn is_news(tx: &Transaction<'_>, attempt: &Attempts, address: &str) -> Result<bool, Error> {
    let (here, everywhere): (u32, u32) = tx
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE address = ?2), count(*) FROM tombstone_attempt
             WHERE secret_id = ?1 AND abs(reported - ?3) < ?4",
        )?
        .query_row(
            params![attempt.secret.0, address, attempt.last.as_unix(), QUIET],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
    Ok(here == 0 && everywhere < MAX_REPORTS)
}

/// The ended secret that was tried, with what an event says about it.
struct Tombstone {
    mailbox_id: i64,
    person_id: Option<i64>,
    access_id: Option<i64>,
    device_id: i64,
    label: Label,
}

impl Tombstone {
    /// `None` if the secret is not there, or another device's: the database was replaced.
    fn find(tx: &Transaction<'_>, attempt: &Attempts) -> Result<Option<Self>, Error> {
        tx.prepare_cached(
            "SELECT d.mailbox_id, a.person_id, d.access_id, d.id, d.label
             FROM secret s JOIN device_password d ON d.id = s.device_id
             LEFT JOIN access a ON a.id = d.access_id WHERE s.id = ?1 AND d.public_id = ?2",
        )?
        .query_and_then(
            params![attempt.secret.0, attempt.device.as_str()],
            |row| -> Result<Self, Error> {
                Ok(Self {
                    mailbox_id: row.get(0)?,
                    person_id: row.get(1)?,
                    access_id: row.get(2)?,
                    device_id: row.get(3)?,
                    label: decode::parsed(row, 4, "device_password.label")?,
                })
            },
        )?
        .next()
        .transpose()
    }

    fn report(&self, tx: &Transaction<'_>, at: Timestamp, address: &str) -> Result<(), Error> {
        let daemon = Actor {
            name: "dovelatch".to_owned(),
            via: Via::Daemon,
        };
        Line {
            mailbox_id: Some(self.mailbox_id),
            person_id: self.person_id,
            access_id: self.access_id,
            device_id: Some(self.device_id),
            label: Some(&self.label),
            detail: Some(address).filter(|address| !address.is_empty()),
            ..Line::new(Action::TriedAgain)
        }
        .record(tx, at, &daemon)
    }
}

/// `''` where the peer named none, and IPv4 in IPv6 clothes as the IPv4 that it is.
fn stored(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| address.to_canonical().to_string())
}
