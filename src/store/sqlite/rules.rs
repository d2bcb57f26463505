//! What the tables refuse, and what the settings of a connection and the plan of the look-up are.

use std::time::Duration;

use rusqlite::{Connection, params_from_iter};

use super::{decode, list, open, prune, uses};
use crate::store::contract::{label, mailbox, now};
use crate::store::trouble::{Site, ask};
use crate::store::{Error, Revoked};

#[test]
fn every_connection_syncs_each_commit() {
    let site = Site::new();
    let connection = open::connect(&site.path, Duration::from_secs(1)).unwrap();
    for (name, expected) in [
        ("synchronous", "2"),
        ("journal_mode", "wal"),
        ("foreign_keys", "1"),
        ("mmap_size", "0"),
        ("trusted_schema", "0"),
    ] {
        let value = open::setting(&connection, name).unwrap();
        assert_eq!(value.as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn a_row_that_nobody_writes_is_an_error_and_no_verdict() {
    for damage in [
        "UPDATE mailbox SET enabled = 2",
        "UPDATE device_password SET services = 16",
        "UPDATE device_password SET services = 0",
        "UPDATE device_password SET services = 300",
        "UPDATE device_password SET networks = '192.0.2.0/33'",
        "UPDATE device_password SET networks = ''",
        "UPDATE device_password SET expires_unused_days = -1",
        "UPDATE device_password SET public_id = 'dp-UPPERCASE_' WHERE label = 'phone'",
        "UPDATE device_password SET access_id = 99",
        "UPDATE secret SET device_id = 99",
        "UPDATE secret SET phc = NULL",
        "UPDATE secret SET phc = 7",
        "UPDATE secret SET phc = x'02'",
        "UPDATE device_password SET revoked = 1, revoked_by = 'root' WHERE label = 'phone'",
    ] {
        let site = Site::new();
        Connection::open(&site.path)
            .unwrap()
            .execute_batch(&format!(
                "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;
                 DROP TRIGGER device_password_stays_where_it_is;
                 DROP TRIGGER secret_stays_where_it_is;
                 DROP TRIGGER device_password_revoked_last;
                 {damage}"
            ))
            .unwrap();
        let refused = ask(&mut site.reader(), 0);
        assert!(
            matches!(refused, Err(Error::Undecodable { .. })),
            "{damage}: {refused:?}"
        );
        assert!(!site.store().check().unwrap().is_empty(), "{damage}");
    }
}

#[test]
fn a_home_or_a_list_that_nobody_wrote_is_an_error_and_not_another_home() {
    for damage in [
        "UPDATE mailbox SET fields = 'home=relative'",
        "UPDATE mailbox SET fields = 'uid=0'",
        "UPDATE mailbox SET fields = 'user=eve@example.org'",
        "UPDATE mailbox SET fields = 'no field at all'",
        "UPDATE mailbox SET fields = 'acl=x' || char(10) || 'acl=y'",
        "UPDATE mailbox SET fields = 'acl=%{home}'",
    ] {
        let site = Site::new();
        Connection::open(&site.path)
            .unwrap()
            .execute_batch(damage)
            .unwrap();
        let refused = site.reader().home(&mailbox("ana@example.org"), now());
        assert!(
            matches!(refused, Err(Error::Undecodable { .. })),
            "{damage}: {refused:?}"
        );
        assert!(!site.store().check().unwrap().is_empty(), "{damage}");
        // Whom it lets in has nothing to do with it.
        assert!(ask(&mut site.reader(), 0).unwrap(), "{damage}");
    }

    for damage in [
        "UPDATE mailbox SET name = 'a/b'",
        // Read as "zed", which does not come before "ana".
        "UPDATE mailbox SET name = 'ZED';
         INSERT INTO mailbox (name, added) VALUES ('ana', 1)",
    ] {
        let site = Site::new();
        Connection::open(&site.path)
            .unwrap()
            .execute_batch(&format!("DROP TRIGGER mailbox_removed_for_good; {damage}"))
            .unwrap();
        let refused = site.reader().names(None, 10, now());
        assert!(
            matches!(refused, Err(Error::Undecodable { .. })),
            "{damage}: {refused:?}"
        );
    }
}

#[test]
fn a_damaged_history_is_found_by_the_check() {
    for table in ["used", "tombstone_attempt"] {
        let site = Site::new();
        let history = format!("INSERT INTO {table} VALUES (1, 'imap', 'nowhere', 1, 1, 1");
        let rest = if table == "used" { ")" } else { ", NULL)" };
        let by_hand = Connection::open(&site.path).unwrap();
        by_hand.execute_batch(&(history + rest)).unwrap();
        let found = site.store().check().unwrap();
        assert!(
            found.iter().any(|line| line.contains("address")),
            "{found:?}"
        );
    }
}

#[test]
fn what_must_not_happen_cannot_be_stored() {
    let site = Site::new();
    let by_hand = Connection::open(&site.path).unwrap();
    by_hand.pragma_update(None, "foreign_keys", "ON").unwrap();
    by_hand
        .execute_batch(
            "INSERT INTO mailbox (id, name, added) VALUES (7, 'bob@example.org', 1);
             INSERT INTO person (id, name, added) VALUES (1, 'bob', 1);
             INSERT INTO access (id, public_id, mailbox_id, person_id, given, given_by)
                VALUES (1, 'ac-aaaaaaaaaa', 7, 1, 1, 'root');",
        )
        .unwrap();
    for forbidden in [
        "UPDATE device_password SET revoked = NULL, revoked_by = NULL WHERE label = 'laptop'",
        "UPDATE device_password SET revoked = 5 WHERE label = 'laptop'",
        "UPDATE device_password SET revoked = 5, revoked_by = 'x' WHERE label = 'phone'",
        "UPDATE secret SET ended = NULL WHERE tag = 2",
        "UPDATE secret SET tag = 1 WHERE tag = 2",
        "UPDATE secret SET kind = 0",
        "UPDATE secret SET tag = NULL WHERE tag = 1",
        "UPDATE secret SET phc = NULL WHERE tag = 2",
        "UPDATE mailbox SET removed = 5 WHERE id = 1",
        "UPDATE mailbox SET removed = 5 WHERE id = 7",
        "UPDATE mailbox SET name = 'eve@example.org' WHERE id = 1",
        "INSERT INTO mailbox (name, added) VALUES ('ana@example.org', 1)",
        "UPDATE person SET removed = 5",
        "UPDATE person SET name = 'eve'",
        "UPDATE access SET mailbox_id = 1",
        "INSERT INTO used (device_id, service, address, first, last, count)
            VALUES (1, 'imap', '', 2, 1, 1)",
        "INSERT INTO tombstone_attempt (secret_id, service, address, first, last, count)
            VALUES (99, 'imap', '', 1, 1, 1)",
        "UPDATE event SET actor = 'nobody'",
        "DELETE FROM mailbox",
        "DELETE FROM device_password",
        "INSERT INTO secret (device_id, mailbox_id, kind, format, tag, phc) VALUES (1, 7, 1, 1, 9, 'x')",
        "INSERT INTO secret (device_id, mailbox_id, kind, format, tag, phc) VALUES (2, 1, 1, 1, 9, 'x')",
        // Bob's access opens Bob's mailbox, not Ana's.
        "INSERT INTO device_password (public_id, mailbox_id, access_id, label, issued, issued_by)
            VALUES ('dp-aaaaaaaaaa', 1, 1, 'x', 1, 'root')",
        "INSERT INTO device_password (public_id, mailbox_id, label, issued, issued_by)
            VALUES ('dp-aaaaaaaaaa', 1, 'phone', 1, 'root')",
        "INSERT INTO access (public_id, mailbox_id, person_id, given, given_by)
            VALUES ('ac-bbbbbbbbbb', 7, 1, 2, 'root')",
    ] {
        assert!(by_hand.execute_batch(forbidden).is_err(), "{forbidden}");
    }
    // Another access, another label space.
    by_hand
        .execute_batch(
            "INSERT INTO device_password (public_id, mailbox_id, access_id, label, issued, issued_by)
                VALUES ('dp-aaaaaaaaaa', 7, 1, 'phone', 1, 'root');
             INSERT INTO device_password (public_id, mailbox_id, label, issued, issued_by)
                VALUES ('dp-bbbbbbbbbb', 7, 'phone', 1, 'root');",
        )
        .unwrap();
    by_hand
        .execute_batch("UPDATE access SET ended = 5, ended_by = 'root'")
        .unwrap_err();
    let both = site
        .store()
        .devices_labelled(
            &mailbox("bob@example.org"),
            &label("phone"),
            Revoked::Hidden,
        )
        .unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].person.as_ref().unwrap().as_str(), "bob");
}

#[test]
fn the_look_up_reads_no_row_but_those_it_needs() {
    let site = Site::new();
    for (sql, values, steps) in [
        (decode::LOOK_UP, &[1, 1][..], 5),
        (decode::LOOK_AGAIN, &[1], 5),
        // The row that it begins with, and wanted mailbox, person and access besides.
        (decode::LOOK_UP_DELEGATED, &[1, 1, 1], 9),
        (decode::LOOK_AGAIN_DELEGATED, &[1, 1, 1], 9),
        (decode::HOME, &[1], 1),
        // In the order of the index: nothing is sorted.
        (decode::NAMES, &[1, 1], 1),
    ] {
        let plan = plan(&site, sql, values);
        assert!(
            plan.iter().all(|step| step.starts_with("SEARCH")),
            "{plan:#?}"
        );
        assert_eq!(plan.len(), steps, "{plan:#?}");
    }
}

#[test]
fn no_device_password_is_searched_for_among_all() {
    let site = Site::new();
    let by_id = format!("{} WHERE d.public_id = ?1", list::DEVICES);
    for (sql, values) in [
        (by_id.as_str(), &[1][..]),
        (uses::ATTEMPTS, &[1]),
        (prune::END, &[1, 1]),
        (prune::FORGET, &[1, 1]),
    ] {
        let plan = plan(&site, sql, values);
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN")),
            "{plan:#?}"
        );
    }
}

fn plan(site: &Site, sql: &str, values: &[i64]) -> Vec<String> {
    Connection::open(&site.path)
        .unwrap()
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap()
        .query_map(params_from_iter(values), |row| row.get("detail"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}
