//! What is said of a damaged row: its column, and never what stands in it.

use rusqlite::{Connection, Row};

use super::Error;
use super::decode::{found, home, name};
use super::list::{access, device, event, mailbox, person};

/// What `decode` says of one row of these values.
fn said<T>(values: &[&str], decode: fn(&Row<'_>) -> Result<T, Error>) -> Option<String> {
    let connection = Connection::open_in_memory().unwrap();
    let sql = format!("SELECT {}", values.join(", "));
    let mut query = connection.prepare(&sql).unwrap();
    let mut rows = query.query([]).unwrap();
    let row = rows.next().unwrap().unwrap();
    decode(row).err().map(|error| error.to_string())
}

/// Each value of a good row damaged in turn: by a value that no column has, and that is secret.
fn every_damage_names_its_column<T>(
    good: &[&str],
    columns: &[&str],
    decode: fn(&Row<'_>) -> Result<T, Error>,
) {
    assert_eq!(said(good, decode), None);
    assert_eq!(good.len(), columns.len());
    for (index, column) in columns.iter().enumerate() {
        let mut values = good.to_vec();
        values[index] = "x'736563726574'";
        let expected = format!("a row of the database cannot be understood: {column}");
        assert_eq!(said(&values, decode), Some(expected));
    }
}

#[test]
fn an_error_names_the_column_and_never_shows_the_value() {
    every_damage_names_its_column(
        &[
            "1",
            "'ana@example.org'",
            "1",
            "2",
            "'$argon2id$'",
            "20",
            "30",
            "1",
            "'dp-kqtmwhzrnb'",
            "NULL",
            "1",
            "'192.0.2.0/24'",
            "40",
            "50",
            "60",
            "3",
            "'ac-kqtmwhzrnb'",
            "'bob@example.org'",
            "70",
        ],
        &[
            "mailbox.id",
            "mailbox.name",
            "mailbox.enabled",
            "secret.id",
            "secret.phc",
            "secret.ended",
            "secret.valid_until",
            "device_password.mailbox_id",
            "device_password.public_id",
            "device_password.revoked",
            "device_password.services",
            "device_password.networks",
            "device_password.expires",
            "device_password.expires_unused_days",
            "device_password.issued",
            "device_password.access_id",
            "access.public_id",
            "person.name",
            "access.ended",
        ],
        found,
    );
    every_damage_names_its_column(
        &[
            "'dp-kqtmwhzrnb'",
            "'ana@example.org'",
            "NULL",
            "'phone'",
            "NULL",
            "NULL",
            "NULL",
            "NULL",
            "10",
            "'root'",
            "NULL",
            "NULL",
            "'ac-kqtmwhzrnb'",
            "20",
            "30",
            "'imap'",
            "'192.0.2.1'",
            "1",
            "30",
            "40",
            "'imap'",
            "''",
            "2",
            "40",
            "50",
        ],
        &[
            "device_password.public_id",
            "mailbox.name",
            "person.name",
            "device_password.label",
            "device_password.services",
            "device_password.networks",
            "device_password.expires",
            "device_password.expires_unused_days",
            "device_password.issued",
            "device_password.issued_by",
            "device_password.revoked",
            "device_password.revoked_by",
            "access.public_id",
            "secret.valid_until",
            "used.last",
            "used.service",
            "used.address",
            "used.count",
            "used.first",
            "tombstone_attempt.last",
            "tombstone_attempt.service",
            "tombstone_attempt.address",
            "tombstone_attempt.count",
            "tombstone_attempt.first",
            "device_password.last_used",
        ],
        device,
    );
    every_damage_names_its_column(
        &["'ana@example.org'", "1", "10", "0", "'acl=x'"],
        &[
            "mailbox.name",
            "mailbox.enabled",
            "mailbox.added",
            "device_password.mailbox_id",
            "mailbox.fields",
        ],
        mailbox,
    );
    every_damage_names_its_column(
        &["'ana@example.org'", "NULL"],
        &["mailbox.name", "mailbox.fields"],
        home,
    );
    every_damage_names_its_column(&["'ana@example.org'"], &["mailbox.name"], name);
    every_damage_names_its_column(
        &[
            "10", "'root'", "'cli'", "'issued'", "NULL", "NULL", "NULL", "NULL", "1", "NULL",
            "NULL",
        ],
        &[
            "event.at",
            "event.actor",
            "event.via",
            "event.action",
            "mailbox.name",
            "device_password.public_id",
            "event.label",
            "event.detail",
            "event.id",
            "person.name",
            "access.public_id",
        ],
        event,
    );
    every_damage_names_its_column(
        &["'bob'", "10", "1", "2"],
        &[
            "person.name",
            "person.added",
            "access.person_id",
            "device_password.access_id",
        ],
        person,
    );
    every_damage_names_its_column(
        &["'ac-kqtmwhzrnb'", "'ana'", "'bob'", "10", "'root'", "2"],
        &[
            "access.public_id",
            "mailbox.name",
            "person.name",
            "access.given",
            "access.given_by",
            "device_password.access_id",
        ],
        access,
    );
}
