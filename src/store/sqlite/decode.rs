//! Rows into domain types. A value that no version of this program writes makes the whole row
//! undecodable: an error, never a guess, because a limit that is guessed away lets somebody in.

use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};

use super::super::{AccessRow, Candidate, Delegated, Error, Found, Home, SecretId, Wanted};
use super::neighbours;
use crate::model::{Fields, Limits, Mailbox, Services, Timestamp};
use crate::password::packed;

/// The columns of [`found`], over `m`ailbox, `s`ecret, `d`evice_password, `a`ccess and `p`erson.
macro_rules! found_columns {
    () => {
        "m.id, m.name, m.enabled, s.id, s.phc, s.ended, s.valid_until, d.mailbox_id, d.public_id, \
         d.revoked, d.services, d.networks, d.expires, d.expires_unused_days, \
         max(d.issued, coalesce(d.limits_changed, d.issued), coalesce(d.last_used, d.issued)), \
         d.access_id, a.public_id, p.name, a.ended"
    };
}

/// From a secret to the person behind it.
macro_rules! behind_secret {
    () => {
        "LEFT JOIN device_password d ON d.id = s.device_id \
         LEFT JOIN access a ON a.id = d.access_id \
         LEFT JOIN person p ON p.id = a.person_id"
    };
}

/// All that [`Reader`](super::super::Reader) asks.
pub(in crate::store) const QUESTIONS: [&str; 9] = [
    LOOK_UP,
    LOOK_AGAIN,
    LOOK_AT_DEVICE,
    LOOK_UP_DELEGATED,
    LOOK_AGAIN_DELEGATED,
    HOME,
    NAMES,
    neighbours::OF_NAME,
    neighbours::OF_TAG,
];

/// The look-up of a log-in: `?1` the mailbox's name, `?2` the tag. Two index entries and five rows at
/// most, however many device passwords the mailbox has.
pub(in crate::store) const LOOK_UP: &str = concat!(
    "SELECT ",
    found_columns!(),
    " FROM mailbox m LEFT JOIN secret s ON s.mailbox_id = m.id AND s.tag = ?2 ",
    behind_secret!(),
    " WHERE m.name = ?1 AND m.removed IS NULL"
);

/// The same row by the secret's id, `?1`.
pub(in crate::store) const LOOK_AGAIN: &str = concat!(
    "SELECT ",
    found_columns!(),
    " FROM secret s JOIN mailbox m ON m.id = s.mailbox_id ",
    behind_secret!(),
    " WHERE s.id = ?1 AND m.removed IS NULL"
);

/// The same row of a device password, `?1`: of its newest secret that is live, else of its newest.
pub(in crate::store) const LOOK_AT_DEVICE: &str = concat!(
    "SELECT ",
    found_columns!(),
    " FROM secret s JOIN mailbox m ON m.id = s.mailbox_id ",
    behind_secret!(),
    " WHERE d.public_id = ?1 AND s.phc IS NOT NULL AND m.removed IS NULL \
     ORDER BY s.ended IS NOT NULL, s.id DESC LIMIT 1"
);

/// The columns of [`delegated`], behind those of [`found`]: the `w`anted mailbox, and the access `g`iven
/// to `o`ne person.
macro_rules! delegated_columns {
    () => {
        "w.name, w.enabled, g.public_id, o.name, g.ended"
    };
}

/// One row, always, whatever exists, because `meta` has one: `?1` the wanted mailbox's name, `?2` the
/// person's.
macro_rules! wanted_by {
    () => {
        " FROM meta LEFT JOIN mailbox w ON w.name = ?1 AND w.removed IS NULL \
         LEFT JOIN person o ON o.name = ?2 AND o.removed IS NULL \
         LEFT JOIN access g ON g.mailbox_id = w.id AND g.person_id = o.id AND g.ended IS NULL "
    };
}

/// The look-up of a delegated log-in: whether the person has access to the wanted mailbox, and the
/// secret with the tag `?3` of the mailbox of the person's own name.
pub(in crate::store) const LOOK_UP_DELEGATED: &str = concat!(
    "SELECT ",
    found_columns!(),
    ", ",
    delegated_columns!(),
    wanted_by!(),
    "LEFT JOIN mailbox m ON m.name = ?2 AND m.removed IS NULL \
     LEFT JOIN secret s ON s.mailbox_id = m.id AND s.tag = ?3 ",
    behind_secret!(),
    " WHERE meta.id = 1"
);

/// The same by the secret's id, `?3`.
pub(in crate::store) const LOOK_AGAIN_DELEGATED: &str = concat!(
    "SELECT ",
    found_columns!(),
    ", ",
    delegated_columns!(),
    wanted_by!(),
    "LEFT JOIN secret s ON s.id = ?3 \
     LEFT JOIN mailbox m ON m.id = s.mailbox_id AND m.removed IS NULL ",
    behind_secret!(),
    " WHERE meta.id = 1"
);

/// Every secret of a living mailbox that still has its hash, for the check.
pub(super) const ALL_FOUND: &str = concat!(
    "SELECT ",
    found_columns!(),
    " FROM secret s JOIN mailbox m ON m.id = s.mailbox_id ",
    behind_secret!(),
    " WHERE s.phc IS NOT NULL AND m.removed IS NULL"
);

/// A mailbox's own fields, whether it is disabled or not: `?1` its name.
pub(in crate::store) const HOME: &str =
    "SELECT m.name, m.fields FROM mailbox m WHERE m.name = ?1 AND m.removed IS NULL";

/// The names behind `?1`, in their order, at most `?2`: as they stand in the index of the names.
pub(in crate::store) const NAMES: &str = "SELECT m.name FROM mailbox m \
    WHERE m.name > ?1 AND m.removed IS NULL ORDER BY m.name LIMIT ?2";

/// A row of [`HOME`].
pub(in crate::store) fn home(row: &Row<'_>) -> Result<Home, Error> {
    Ok(Home {
        mailbox: parsed(row, 0, "mailbox.name")?,
        fields: fields(row, 1)?,
    })
}

/// A row of [`NAMES`].
pub(in crate::store) fn name(row: &Row<'_>) -> Result<Mailbox, Error> {
    parsed(row, 0, "mailbox.name")
}

/// A row of [`LOOK_UP`], [`LOOK_AGAIN`] or [`ALL_FOUND`].
pub(in crate::store) fn found(row: &Row<'_>) -> Result<Found, Error> {
    Ok(Found {
        mailbox: parsed(row, 1, "mailbox.name")?,
        enabled: flag(row, 2, "mailbox.enabled")?,
        candidate: match get(row, 3, "secret.id")? {
            Some(id) => Some(candidate(row, SecretId(id))?),
            None => None,
        },
    })
}

/// A row of [`LOOK_UP_DELEGATED`] or [`LOOK_AGAIN_DELEGATED`].
pub(in crate::store) fn delegated(row: &Row<'_>) -> Result<Delegated, Error> {
    Ok(Delegated {
        wanted: if is_there(row, 19, "mailbox.name")? {
            Some(Wanted {
                mailbox: parsed(row, 19, "mailbox.name")?,
                enabled: flag(row, 20, "mailbox.enabled")?,
            })
        } else {
            None
        },
        access: if is_there(row, 21, "access.public_id")? {
            Some(AccessRow {
                id: parsed(row, 21, "access.public_id")?,
                person: parsed(row, 22, "person.name")?,
                ended: time(row, 23, "access.ended")?,
            })
        } else {
            None
        },
        found: match get::<Option<i64>>(row, 0, "mailbox.id")? {
            Some(_) => Some(found(row)?),
            None => None,
        },
    })
}

fn candidate(row: &Row<'_>, secret: SecretId) -> Result<Candidate, Error> {
    // A damaged index can lead to a row of another mailbox.
    let mailbox: i64 = get(row, 0, "mailbox.id")?;
    if get::<Option<i64>>(row, 7, "device_password.mailbox_id")? != Some(mailbox) {
        return Err(Error::undecodable("secret.mailbox_id"));
    }
    let ended = time(row, 5, "secret.ended")?;
    let revoked = time(row, 9, "device_password.revoked")?;
    // Revoking ends the secrets too, so one damaged field cannot bring a device password back.
    if revoked.is_some() && ended.is_none() {
        return Err(Error::undecodable("secret.ended"));
    }
    Ok(Candidate {
        secret,
        phc: phc(row.get_ref(4)?)?,
        ended,
        valid_until: time(row, 6, "secret.valid_until")?,
        device: parsed(row, 8, "device_password.public_id")?,
        revoked,
        limits: limits(row, 10)?,
        // The latest of three; which of them is damaged, the row does not say.
        last_sign_of_life: Timestamp::from_unix(get(row, 14, "device_password.issued")?),
        access: match get::<Option<i64>>(row, 15, "device_password.access_id")? {
            Some(_) => Some(AccessRow {
                id: parsed(row, 16, "access.public_id")?,
                person: parsed(row, 17, "person.name")?,
                ended: time(row, 18, "access.ended")?,
            }),
            None => None,
        },
    })
}

/// Packed, or the string itself where that has no packed form.
fn phc(stored: ValueRef<'_>) -> Result<String, Error> {
    let phc = match stored {
        ValueRef::Blob(packed) => packed::unpack(packed),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).ok(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    };
    phc.ok_or_else(|| Error::undecodable("secret.phc"))
}

/// Four columns from `first` on.
pub(super) fn limits(row: &Row<'_>, first: usize) -> Result<Limits, Error> {
    let services = match get(row, first, "device_password.services")? {
        Some(bits) => Some(
            Services::from_bits(bits)
                .ok_or_else(|| Error::undecodable("device_password.services"))?,
        ),
        None => None,
    };
    Ok(Limits {
        services,
        networks: optional(row, first + 1, "device_password.networks")?,
        expires: time(row, first + 2, "device_password.expires")?,
        expires_unused_days: get(row, first + 3, "device_password.expires_unused_days")?,
    })
}

/// A text in the form of its domain type. The name of the column is all that an error says: what
/// stands in a damaged row may be anything, a hash too.
pub(super) fn parsed<T: std::str::FromStr>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
) -> Result<T, Error> {
    optional(row, index, column)?.ok_or_else(|| Error::undecodable(column))
}

pub(super) fn optional<T: std::str::FromStr>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
) -> Result<Option<T>, Error> {
    let text: Option<String> = get(row, index, column)?;
    text.map(|text| text.parse().map_err(|_| Error::undecodable(column)))
        .transpose()
}

/// Nothing is stored for none.
pub(super) fn fields(row: &Row<'_>, index: usize) -> Result<Fields, Error> {
    Ok(optional(row, index, "mailbox.fields")?.unwrap_or_default())
}

fn is_there(row: &Row<'_>, index: usize, column: &'static str) -> Result<bool, Error> {
    Ok(get::<Option<String>>(row, index, column)?.is_some())
}

pub(super) fn flag(row: &Row<'_>, index: usize, column: &'static str) -> Result<bool, Error> {
    match get::<i64>(row, index, column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::undecodable(column)),
    }
}

pub(super) fn time(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
) -> Result<Option<Timestamp>, Error> {
    let seconds: Option<i64> = get(row, index, column)?;
    Ok(seconds.map(Timestamp::from_unix))
}

pub(super) fn get<T: FromSql>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
) -> Result<T, Error> {
    row.get(index).map_err(|_| Error::undecodable(column))
}
