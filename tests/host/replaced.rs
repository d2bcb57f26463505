//! What may lie in the place of the database, and of its log.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::client::Client;
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::{only_for_root, trial};

/// A user that nobody is.
pub(crate) const OTHER: u32 = 47_110;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_database_that_comes_later_is_served_when_it_is_there",
            comes_later,
        ),
        trial("a_database_that_goes_is_try_later_until_it_is_back", goes),
        trial(
            "what_is_truncated_under_the_daemon_and_put_right_in_place_is_served_again",
            truncated,
        ),
        trial(
            "what_is_damaged_at_the_start_is_served_when_it_is_put_right",
            damaged_at_start,
        ),
        trial("a_copy_that_takes_its_place_is_in_force_at_once", copy),
        trial(
            "another_database_in_its_place_is_try_later_until_sighup",
            other,
        ),
        trial(
            "a_log_or_an_index_that_is_deleted_is_made_anew",
            log_deleted,
        ),
        only_for_root(
            "a_log_and_an_index_of_root_are_try_later_until_they_are_given_back",
            of_root,
        ),
    ]
}

fn comes_later() {
    let mut host = Host::bare();
    let daemon = Daemon::start(&host);
    daemon.wait_for("there is no database");
    host.good = "bbbb-bbbb-bbbb-bbbb-bbbb".to_owned();
    host.revoked.clone_from(&host.good);
    Client::new(&host).assert_later();
    host.fill();
    Client::new(&host).assert_right_again();
    daemon.stop();
}

fn goes() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    // A volume that is unmounted, and mounted again.
    let aside = host.path().join("aside");
    fs::rename(host.place(), &aside).unwrap();
    client.assert_later();
    host.refused(74, "there is no database", &["list"]);
    fs::rename(&aside, host.place()).unwrap();
    client.assert_right_again();
    daemon.stop();
}

/// In place, as by a copy that is interrupted: the same file, other content.
fn truncated() {
    let host = Host::new();
    let whole = fs::read(host.database()).unwrap();
    for damage in [
        &[][..],
        &whole[..5_000],
        &whole[..whole.len() / 2],
        &[0xa5; 20_000],
    ] {
        let daemon = Daemon::start(&host);
        let mut client = Client::new(&host);
        client.assert_right();
        fs::write(host.database(), damage).unwrap();
        client.assert_not_wrong();
        // It looks at the file anew.
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for("reloaded");
        client.assert_not_wrong();
        fs::write(host.database(), &whole).unwrap();
        client.assert_right_again();
        daemon.stop();
    }
}

fn damaged_at_start() {
    let host = Host::new();
    let whole = fs::read(host.database()).unwrap();
    for damage in [
        &[][..],
        &whole[..5_000],
        &whole[..whole.len() / 2],
        &[0xa5; 20_000],
    ] {
        fs::write(host.database(), damage).unwrap();
        let daemon = Daemon::start(&host);
        let mut client = Client::new(&host);
        client.assert_not_wrong();
        client.assert_not_wrong();
        fs::write(host.database(), &whole).unwrap();
        client.assert_right_again();
        daemon.stop();
    }
}

fn copy() {
    let host = Host::new();
    let backup = host.place().join("backup.db");
    host.done(&["db", "backup", backup.to_str().unwrap()]);
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    let later = host.issue("later");
    fs::rename(&backup, host.database()).unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(host.beside(suffix)).unwrap();
    }
    client.assert_right_again();
    assert_eq!(client.sign_in(&later), crate::client::Answer::Deny);
    daemon.stop();
}

fn other() {
    let mut host = Host::new();
    let mut stranger = Host::bare();
    stranger.fill();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    // The daemon's database goes aside with its log.
    for suffix in ["", "-wal", "-shm"] {
        fs::rename(
            host.beside(suffix),
            host.path().join(format!("aside{suffix}")),
        )
        .unwrap();
    }
    fs::copy(stranger.database(), host.database()).unwrap();
    client.assert_later();
    client.assert_later();
    daemon.wait_for("was replaced by another one");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded");
    // Now it is served: Ana's passwords are those of the other database.
    drop(client);
    (host.good, host.revoked) = (stranger.good, stranger.revoked);
    Client::new(&host).assert_right_again();
    daemon.stop();
}

fn log_deleted() {
    for suffixes in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        let mut host = Host::new();
        let daemon = Daemon::start(&host);
        Client::new(&host).assert_right();
        for suffix in suffixes {
            fs::remove_file(host.beside(suffix)).unwrap();
        }
        let mut client = Client::new(&host);
        client.assert_right_again();
        drop(client);
        // What is said into the new one is heard.
        host.good = host.issue("tablet");
        host.done(&["revoke", ANA, "phone"]);
        Client::new(&host).assert_right_again();
        assert_eq!(host.active(), ["tablet"], "{suffixes:?}");
        daemon.stop();
        host.done(&["db", "check"]);
    }
}

/// A stranger who was root has made them, say by copying all three files. The daemon is nobody special.
fn of_root() {
    let host = Host::new();
    host.give_to(OTHER);
    let daemon = Daemon::start(&host);
    daemon.wait_for("serving as the owner of the database");
    let mut client = Client::new(&host);
    client.assert_right();
    let give = |user| {
        for suffix in ["-wal", "-shm"] {
            chown(host.beside(suffix), Some(user), Some(user)).unwrap();
        }
    };
    give(0);
    client.assert_right();
    // It opens all anew.
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded");
    client.assert_not_wrong();
    // What root changes now is heard as soon as it can be.
    host.done(&["rename", ANA, "phone", "telephone"]);
    client.assert_not_wrong();
    give(OTHER);
    client.assert_right_again();
    // The next one finds them so at its start.
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    give(0);
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_later();
    give(OTHER);
    client.assert_right_again();
    daemon.stop();
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&host.database()), OTHER);
}
