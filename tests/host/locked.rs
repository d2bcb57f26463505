//! A stranger holds a lock on the database, for 30 s.

use std::time::Duration;

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::client::{Client, now};
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::trial;

const HELD: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_stranger_who_writes_for_30_seconds_keeps_nobody_from_logging_in",
            writer,
        ),
        trial(
            "a_stranger_who_has_the_database_alone_is_try_later_until_he_goes",
            alone,
        ),
    ]
}

fn writer() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    let stranger = Connection::open(host.database()).unwrap();
    let begun = now();
    stranger
        .execute_batch("BEGIN EXCLUSIVE; UPDATE mailbox SET enabled = 0")
        .unwrap();
    let waits = || {
        let begun = now();
        host.refused(
            75,
            "the database is locked by another program",
            &["revoke", ANA, "phone"],
        );
        let elapsed = begun.elapsed();
        assert!(
            elapsed < Duration::from_secs(15),
            "it waited for {elapsed:?}"
        );
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(waits);
        while begun.elapsed() < HELD {
            client.assert_right();
            std::thread::sleep(Duration::from_millis(100)); // Not to wait for: to ask less often.
        }
        waiting.join().unwrap();
    });
    daemon.wait_for("uses cannot be written");
    stranger.execute_batch("ROLLBACK").unwrap();
    client.assert_right();
    host.done(&["rename", ANA, "phone", "telephone"]);
    daemon.wait_for("uses are written again");
    daemon.stop();
}

/// In exclusive locking mode there is not even reading beside him; who came first stays.
fn alone() {
    let host = Host::new();
    let alone = || {
        let stranger = Connection::open(host.database()).unwrap();
        stranger
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE mailbox SET enabled = 0; ROLLBACK",
            )
            .map(|()| stranger)
    };
    let stranger = alone().unwrap();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_later();
    host.refused(75, "the database is locked by another program", &["list"]);
    client.assert_later();
    drop(stranger);
    client.assert_right_again();
    alone().expect_err("the daemon came first");
    client.assert_right();
    daemon.stop();
}
